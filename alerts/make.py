"""From one channel's mapping in the configuration to a channel: its type, and what every channel understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alerts.base import Channel
from monitor.errors import ConfigError, Problem
from monitor.registry import CHANNELS, load

__all__ = ["make_channel"]

MOST = 64  # attempts in flight of one channel
_NAME = re.compile(r"[A-Za-z][\w-]{0,39}", re.ASCII)


def make_channel(options: Mapping[str, Any], template: Mapping[str, str] | None = None) -> Channel:
    """A channel, not yet used.

    Parameters
    ----------
    options : with ``type``; ``name``, ``rate`` (messages a second) and ``concurrency`` (attempts in flight, of
        different incidents) take the place of what the type has
    template : of the receiver, for channels that people read and that have none of their own

    Raises
    ------
    ConfigError : unknown type, or options that are wrong; no value is quoted
    """
    own = dict(options)
    name = str(own.get("type", ""))
    made_by = load(CHANNELS, name, "channel type")
    rate, concurrency, called = own.pop("rate", None), own.pop("concurrency", None), own.pop("name", None)
    if template and made_by.templated and not own.get("template"):
        own["template"] = dict(template)
    problems = []
    if called is not None and not (isinstance(called, str) and _NAME.fullmatch(called)):
        problems.append(Problem(f"{name} channel: name must be 1 to 40 letters, digits, - or _, a letter first"))
    if rate is not None and not (_is_number(rate) and 0 < rate <= 10_000):
        problems.append(Problem(f"{name} channel: rate must be a number of messages a second over 0, at most 10,000"))
    if concurrency is not None and not (type(concurrency) is int and 1 <= concurrency <= MOST):
        problems.append(Problem(f"{name} channel: concurrency must be a whole number from 1 to {MOST}"))
    try:
        channel: Channel = made_by(own)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if problems:
        raise ConfigError(problems)
    if called is not None:
        channel.name = called
    if rate is not None:
        channel.rate = float(rate)
    if concurrency is not None:
        channel.concurrency = concurrency
    return channel


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
