"""Endpoints in the configuration: URLs alone or with weight and rate, and the quorum."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.app import chain_spec
from monitor.config import config_from_mapping
from monitor.errors import ConfigError

CANARY = "c4n4ryKEY"
WALLET = {"id": "hot", "role": "hot", "addresses": ["ethereum:0x" + "a" * 40]}


def made(**chain):
    return config_from_mapping({"wallets": [WALLET], "chains": [{"name": "ethereum", **chain}]}, Path("/srv"), "case")


def problems(**chain):
    with pytest.raises(ConfigError) as caught:
        made(**chain)
    return [str(problem) for problem in caught.value.problems]


def test_urls_and_mappings():
    """A URL alone has weight 1 and no rate; the chain family gets both, and nothing shows the URL."""
    plain, heavy = f"https://a.example/{CANARY}", f"wss://b.example/{CANARY}"
    config = made(endpoints=[plain, {"url": heavy, "weight": 2, "rate": 10}], quorum=2)
    spec = chain_spec(config.chain("ethereum"))
    assert (spec.endpoints, spec.quorum) == ((plain, heavy), 2)
    assert [(spec.terms[url].weight, spec.terms[url].rate) for url in spec.endpoints] == [(1.0, None), (2.0, 10.0)]
    assert config.public()["chains"][0]["endpoints"] == ["<secret>", {"url": "<secret>", "weight": 2.0, "rate": 10.0}]
    assert "2 endpoints, of which 2 must agree on each block" in config.summary()[0]
    assert CANARY not in f"{config!r} {config.public()} {config.summary()} {spec.terms!r:.0}"


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ({"url": f"node/{CANARY}"}, "chains[0].endpoints[0].url is not a URL such as https://host/path"),
        (f"node/{CANARY}", "chains[0].endpoints[0] is not a URL such as https://host/path"),
        ({"weight": 2}, "chains[0].endpoints[0].url is missing"),
        ({"url": "https://h", "wieght": 2}, "unknown key 'wieght' in chains[0].endpoints[0]: did you mean 'weight'?"),
        ({"url": "https://h", "weight": 0}, "chains[0].endpoints[0].weight is not valid, expected a number above 0"),
        ({"url": "https://h", "rate": -1}, "chains[0].endpoints[0].rate is not valid, expected a number above 0"),
        (7, "chains[0].endpoints[0] was a single value, expected a mapping"),
    ],
)
def test_bad_endpoints(endpoint, said):
    """What is wrong is said with its place and without the URL."""
    (found,) = problems(endpoints=[endpoint])
    assert said in found and CANARY not in found


@pytest.mark.parametrize(
    ("urls", "hosts"), [([], 0), (["https://h/a"], 1), (["https://h/a", "https://u:p@h/b", "wss://h/c"], 1)]
)
def test_a_quorum_that_cannot_be_reached(urls, hosts):
    """Endpoints of one host are one voice."""
    (found,) = problems(endpoints=urls, quorum=2)
    assert f"chains[0].quorum was 2, but its endpoints are at {hosts} different hosts" in found


def test_a_quorum_elsewhere():
    """A quorum is for EVM chains; one voice is what every chain has."""
    sections = {"wallets": [{**WALLET, "addresses": ["nem:" + "NAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABFX5GWH"]}]}
    two = [{"name": "nem", "endpoints": ["http://a", "http://b"], "quorum": 2}]
    with pytest.raises(ConfigError, match=r"chains\[0\].quorum is for EVM chains alone"):
        config_from_mapping({**sections, "chains": two}, Path("/srv"), "case")
    config_from_mapping({**sections, "chains": [{**two[0], "quorum": 1}]}, Path("/srv"), "case")
