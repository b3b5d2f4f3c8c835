"""Signed links: what one says is what it was made for, until its time, and nobody without a key makes one."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.link import ACTIONS, PATH, Claim, Links, base_url, keys_of
from monitor.errors import ConfigError

NOW = 1_700_000_000.0
BASE = "https://watch.example.com"


def links(*secrets: str, hours: float = 24.0) -> Links:
    return Links(BASE, keys_of(*(secrets or ("a secret of the tests",))), hours)


def token_of(url: str) -> str:
    assert url.startswith(BASE + PATH)
    return url.removeprefix(BASE + PATH)


def test_every_action_has_a_link_that_says_what_it_is_for() -> None:
    """Incident, action, receiver and expiry come back; nonces differ; a URL needs no escaping."""
    made = links().links("night shift, 2nd", "0123abcd", NOW)
    assert tuple(made) == ACTIONS
    claims = [links().read(token_of(url), NOW) for url in made.values()]
    assert all(isinstance(claim, Claim) for claim in claims)
    said = [(c.incident_id, c.action, c.receiver, c.expires) for c in claims if isinstance(c, Claim)]
    assert said == [("0123abcd", action, "night shift, 2nd", int(NOW) + 24 * 3600) for action in ACTIONS]
    assert len({c.nonce for c in claims if isinstance(c, Claim)}) == len(ACTIONS)
    for url in made.values():
        parts = urlsplit(url)
        assert not parts.query and not parts.fragment and len(url) < 400
        assert set(token_of(url)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_equal_messages_have_equal_links_and_others_do_not() -> None:
    """What is rendered again is the same bytes; another time, receiver or incident is another nonce."""
    assert links().links("soc", "i1", NOW) == links().links("soc", "i1", NOW)
    tokens = {
        links().token(receiver, incident, "acknowledge", at)
        for receiver in ("soc", "boss") for incident in ("i1", "i2") for at in (NOW, NOW + 0.001)
    }  # fmt: skip
    claims = [links().read(token, NOW) for token in tokens]
    assert len({claim.nonce for claim in claims if isinstance(claim, Claim)}) == 8


def test_expiry() -> None:
    """Valid to the last second, not a second longer; expired is told apart from forged."""
    token = links(hours=0.5).token("soc", "i1", "confirm", NOW)
    assert isinstance(links().read(token, NOW + 1799.9), Claim)
    assert links().read(token, NOW + 1800.0) == "expired"
    assert links("another secret of the tests").read(token, NOW + 1800.0) == "forged"


def test_two_keys_while_a_secret_rotates() -> None:
    """The first signs, each is believed; a key that is gone is not."""
    old, both, new = links("old secret"), links("new secret", "old secret"), links("new secret")
    by_old, by_both = (made.token("soc", "i1", "resolve", NOW) for made in (old, both))
    assert isinstance(both.read(by_old, NOW), Claim) and isinstance(new.read(by_both, NOW), Claim)
    assert old.read(by_both, NOW) == "forged" and new.read(by_old, NOW) == "forged"


@given(place=st.integers(0, 400), letter=st.sampled_from("AZaz09-_.=% é"))
def test_a_token_that_was_touched_is_forged(place: int, letter: str) -> None:
    """Whatever character is changed, added or left out; also those that base64 would not notice."""
    made = links()
    token = made.token("soc", "i1", "acknowledge", NOW)
    place %= len(token)
    changed = (token[:place] + letter + token[place + 1 :], token[:place] + letter + token[place:], token[:place])
    for text in changed:
        if text != token:
            assert made.read(text, NOW) == "forged"


@given(st.text(max_size=300))
def test_noise_is_forged(text: str) -> None:
    """Whatever comes, the answer is a word."""
    assert links().read(text, NOW) == "forged"


@pytest.mark.parametrize(
    "payload", [[], {}, "text", ["i", "acknowledge", "r", "soon", "n"], ["i", "delete", "r", 2e9, "n"], [1] * 5]
)
def test_a_payload_of_another_form_is_forged(payload: object) -> None:
    """Even where it is signed, by a later version say."""
    import hmac

    [key] = keys_of("s")
    text = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")
    assert Links(BASE, (key,)).read(f"{text}.{signature}", NOW) == "forged"


def test_the_key_is_not_the_secret() -> None:
    """A link made with the bearer token itself as key is not believed, and nothing shows either."""
    [key] = keys_of("the bearer token")
    assert key != b"the bearer token" and len(key) == 32
    wrong = Links(BASE, (b"the bearer token",)).token("soc", "i1", "confirm", NOW)
    made = links("the bearer token")
    assert made.read(wrong, NOW) == "forged"
    assert "bearer" not in repr(made) and key.hex() not in repr(made)


def test_where_nothing_leads_there_are_no_links() -> None:
    """No address, no key or no incident: no links; a token never counts without a key."""
    assert Links("", keys_of("s")).links("soc", "i1", NOW) == {}
    assert Links(BASE, ()).links("soc", "i1", NOW) == {}
    assert links().links("soc", "", NOW) == {}
    assert Links(BASE, ()).read(links().token("soc", "i1", "confirm", NOW), NOW) == "forged"
    for hours in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="link_hours"):
            links(hours=hours)


@pytest.mark.parametrize(
    ("public", "address", "expected"),
    [
        ("https://w.example.com/alarm/", "127.0.0.1:1", "https://w.example.com/alarm"),
        ("", "[::1]:80", "http://[::1]:80"),
        (None, "localhost:8787", "http://localhost:8787"),
        (None, "127.0.0.2:80", "http://127.0.0.2:80"),
        (None, "0.0.0.0:80", ""),
        (None, "[::]:80", ""),
        (None, "10.0.0.7:80", ""),
    ],
)
def test_base_url(public: str | None, address: str, expected: str) -> None:
    """Without a public URL only a monitor on loopback has links: nobody elsewhere could open others."""
    assert base_url(public, address) == expected
