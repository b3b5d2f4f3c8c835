"""Rules in the configuration: shares, named lists, what is wrong with them; and the engine that is made of it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine
from monitor.config import Config, RuleKind, config_from_mapping, json_schema
from monitor.errors import ConfigError

HOT, COLD, KNOWN = (f"ethereum:0x{digit * 40}" for digit in "123")
ETHER, BASE = "eip155:1/slip44:60", "eip155:8453/slip44:60"


def made(rules: list[dict[str, Any]], base: Path = Path(), **more: Any) -> Config:
    hot = {"id": "hot", "role": "hot", "addresses": [HOT, f"base:0x{'1' * 40}"], "rules": rules}
    cold = {"id": "cold", "role": "cold", "addresses": [COLD]}
    return config_from_mapping({"wallets": [hot, cold], **more}, base, "case")


def problems(rules: list[dict[str, Any]], base: Path = Path(), **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        made(rules, base, **more)
    return [problem.message for problem in caught.value.problems]


def test_a_share_is_exact() -> None:
    """A share is a fraction, of every asset or of the one that is named, on each chain that has it."""
    every, native = made([{"over": "0.1 %", "window": "1h"}, {"over": "20%", "asset": "native"}]).rules["hot"]
    assert (every.kind, every.share, every.window, every.assets) == (RuleKind.OVER, Fraction(1, 1000), 3600, ())
    assert (native.share, native.window, native.assets) == (Fraction(1, 5), None, (ETHER, BASE))
    assert every.limits == native.limits == ()


@pytest.mark.parametrize("text", ["0 %", "100.1 %", "999%"])
def test_a_share_that_can_never_hold(text: str) -> None:
    """A share is above nothing and at most all."""
    assert problems([{"over": text}]) == ["wallets[0].rules[0].over is not above 0 % and at most 100 %"]


def test_a_share_is_for_over_alone() -> None:
    """A balance below a share of itself means nothing, and a strange share is no amount."""
    assert len(problems([{"balance_below": "20 %"}])) == 1
    assert len(problems([{"over": "-5 %"}])) == 1
    (said,) = problems([{"over": "20 %", "asset": "NOPE"}])
    assert said.startswith("wallets[0].rules[0].asset") and "is not known on" in said


def test_named_lists(tmp_path: Path) -> None:
    """A list holds addresses and files of them, each once, canonical and on its chain."""
    (tmp_path / "known.txt").write_text(f"{KNOWN}\n# nobody\n{KNOWN}\nbase:0x{'A' * 40}\n")
    (tmp_path / "plain.csv").write_text(f"address\n0x{'b' * 40}\n")
    lists = {"all": [HOT, "file:known.txt", "ethereum:file:plain.csv"], "one": KNOWN}
    config = made([{"not_in": "all"}], tmp_path, lists=lists)
    assert config.lists["all"] == {
        ("eip155:1", "0x" + "1" * 40), ("eip155:1", "0x" + "3" * 40), ("eip155:8453", "0x" + "a" * 40),
        ("eip155:1", "0x" + "b" * 40),
    }  # fmt: skip
    assert config.lists["one"] == {("eip155:1", "0x" + "3" * 40)}
    assert config.public()["lists"] == {"all": 4, "one": 1}
    assert config.rules["hot"][0].list_name == "all"


def test_what_is_wrong_with_lists(tmp_path: Path) -> None:
    """Each mistake once, with its place: an unknown name, a bad address, a file that is not there, nothing in it."""
    (tmp_path / "bad.txt").write_text(f"{KNOWN}\nethereum:0x12\nnowhere:0x{'1' * 40}\n")
    lists = {"known": ["0xnothing", "file:none.txt", "file:bad.txt"], "empty": []}
    with pytest.raises(ConfigError) as caught:
        made([{"not_in": "knwn"}], tmp_path, lists=lists)
    said = {(p.where, p.message.split(":")[0]) for p in caught.value.problems}
    assert ("case", "wallets[0].rules[0].not_in is not the name of a list") in said
    assert {where for where, _ in said} == {"case", f"{tmp_path}/bad.txt:2", f"{tmp_path}/bad.txt:3"}
    assert len(said) == len(caught.value.problems) == 6
    assert any("did you mean 'known'" in p.message for p in caught.value.problems)
    assert "there are no lists" in problems([{"not_in": "known"}])[0]


def test_the_schema_describes_lists_and_shares() -> None:
    """An editor that reads the schema knows both."""
    schema = json_schema()
    assert "not_in" in schema["properties"]["lists"]["description"]
    assert "20 %" in json.dumps(schema["$defs"]["RuleEntry"]["properties"]["over"])


def test_the_engine_has_the_policies_of_the_configuration() -> None:
    """Wallets with rules and cold wallets are judged exactly; others are not looked at."""
    assert make_engine(made([{"outflow": "any"}])).policies.wallets == {"hot", "cold"}
    assert make_engine(made([])).policies.wallets == {"cold"}


def test_planned_changes_hold_for_cold_wallets() -> None:
    """What is checked and not applied is said: planned changes of wallets that are not cold."""
    plan = {"kind": "owner_change", "value": "0x" + "9" * 40}
    line = "not applied by this version: planned changes of control of wallets that are not cold"
    assert line not in made([], planned=[{**plan, "account": COLD}]).summary()
    assert line in made([], planned=[{**plan, "account": HOT}]).summary()
