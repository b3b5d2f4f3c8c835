"""From the configuration to channels: what every channel takes, and who gets a receiver's template."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from alerts.make import make_channel
from alerts.outbox import channel_key
from monitor.errors import ConfigError
from monitor.registry import CHANNELS


def test_pace_is_set_on_any_channel() -> None:
    """And where it is not given, the type's own holds."""
    channel = make_channel({"type": "console", "rate": 2, "concurrency": 1})
    assert (channel.rate, channel.concurrency) == (2.0, 1)
    assert make_channel({"type": "console"}).rate is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 0}, "rate must be a number"),
        ({"rate": "fast"}, "rate must be a number"),
        ({"rate": True}, "rate must be a number"),
        ({"name": "0"}, "name must be 1 to 40 letters"),
        ({"name": "a:b"}, "name must be"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 64"),
        ({"concurrency": 1.5}, "concurrency must be"),
        ({"urll": "x"}, "unknown option 'urll'"),
    ],
)
def test_wrong_options_are_said(options: dict[str, Any], says: str) -> None:
    """With the type, and without any value."""
    with pytest.raises(ConfigError, match=f"console channel: {says}"):
        make_channel({"type": "console", **options})


def test_a_name_is_what_a_channel_is_known_by() -> None:
    """So that channels can change places while messages wait; without one, the place is."""
    assert channel_key(1, make_channel({"type": "console", "name": "wall"})) == "wall:console"
    assert channel_key(1, make_channel({"type": "console"})) == "1:console"


def test_all_problems_at_once() -> None:
    """Those of the channel and those of its pace."""
    with pytest.raises(ConfigError) as failed:
        make_channel({"type": "webhook", "rate": -1})
    assert len(failed.value.problems) >= 3


def test_an_unknown_type_is_named() -> None:
    """With the nearest."""
    with pytest.raises(ConfigError, match="did you mean 'slack'"):
        make_channel({"type": "slak"})


def test_a_receivers_template_is_for_those_without_their_own() -> None:
    """A template that is wrong shows that it got there."""
    wrong = {"title": "{{ nonsense }}"}
    url = {"type": "discord", "url": "https://discord.test/api/webhooks/1/abc"}
    with pytest.raises(ConfigError, match="nonsense"):
        make_channel(url, wrong)
    make_channel({**url, "template": {"title": "{{ title }}"}}, wrong)
    make_channel({"type": "console"}, wrong)  # has no template


def test_every_templated_type_takes_one() -> None:
    """What says that it has the option has it, and nobody else."""
    for name, place in CHANNELS.items():
        module, _, attribute = place.partition(":")
        made_by = getattr(import_module(module), attribute)
        said = made_by.__doc__ or ""
        assert made_by.templated == ("template : " in said and "template : has no effect" not in said), name
