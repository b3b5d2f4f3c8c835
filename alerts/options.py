"""Reading a channel's options: every problem at once, and no value in any message, for any of them may be a secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from yarl import URL

from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["Options"]


class Options:
    """The options of one channel, taken out one by one; `check` raises what was wrong with them.

    Parameters
    ----------
    channel : type of the channel, for messages
    given : its mapping in the configuration; ``type`` may be there, None counts as not given, and values that hide
        their text behind ``get_secret_value`` are opened
    valid : the options that the channel knows
    """

    def __init__(self, channel: str, given: Mapping[str, Any], valid: Collection[str]) -> None:
        self._channel = channel
        self._given = {key: _opened(value) for key, value in given.items() if value is not None}
        self._problems: list[Problem] = []
        for key in given:
            if key not in valid and key != "type":
                self.wrong(f"unknown option {key!r}: {did_you_mean(str(key), valid)}")

    def __repr__(self) -> str:
        return f"Options({self._channel})"

    def wrong(self, message: str) -> None:
        """Note a problem; the message must not quote a value."""
        self._problems.append(Problem(f"{self._channel} channel: {message}"))

    def check(self) -> None:
        """ConfigError with every problem noted so far."""
        if self._problems:
            raise ConfigError(self._problems)

    def text(self, name: str, *, required: bool = False) -> str:
        """A text without white space around it, empty where it is not given."""
        value = self._given.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value is not None:
            self.wrong(f"{name} is empty or no text (a number or word that YAML reads otherwise needs quotes)")
        elif required:
            self.wrong(f"{name} is missing")
        return ""

    def texts(self, name: str) -> list[str]:
        """A list of texts, or a single one; empty where it is not given."""
        value = self._given.get(name, [])
        values = value if isinstance(value, list | tuple) else [value]
        opened = [_opened(item) for item in values]
        if all(isinstance(item, str) and item.strip() for item in opened):
            return [item.strip() for item in opened]
        self.wrong(f"{name} must be a list of texts, none of them empty")
        return []

    def mapping(self, name: str) -> dict[str, str]:
        """Text by text; empty where it is not given."""
        value = self._given.get(name, {})
        if isinstance(value, Mapping):
            opened = {key: _opened(item) for key, item in value.items()}
            if all(isinstance(part, str) for pair in opened.items() for part in pair):
                return opened
        self.wrong(f"{name} must be a mapping from text to text")
        return {}

    def address(self, name: str, default: str = "", *, required: bool = False) -> URL:
        """An HTTP address, ``default`` where it is not given; ``URL()`` where it is none."""
        text = self.text(name, required=required) or default
        try:
            url = URL(text)
            usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
        except ValueError:  # its text quotes the address
            usable = False
        if usable and not re.search(r"\s", text):
            return url
        if text:
            self.wrong(
                f"{name} is no address such as https://example.com/path (its value is not shown, it may be a secret)"
            )
        return URL()

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self._given.get(name, default)
        if isinstance(value, bool):
            return value
        self.wrong(f"{name} must be true or false")
        return default

    def choice(self, name: str, valid: Collection[str], default: str) -> str:
        """One of some words."""
        value = self._given.get(name, default)
        if isinstance(value, str) and value in valid:
            return value
        self.wrong(f"{name} must be one of {', '.join(valid)}")
        return default

    def raw(self, name: str) -> Any:
        """The value as it was given, opened wherever it hides something; None where it is not given."""
        return _opened_all(self._given.get(name))

    def seconds(self, name: str, default: float, most: float) -> float:
        """A time in seconds, over 0 and at most ``most``."""
        value = self._given.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
            return float(value)
        self.wrong(f"{name} must be a number of seconds over 0, at most {most:g}")
        return default


def _opened(value: Any) -> Any:
    hidden = getattr(value, "get_secret_value", None)
    return hidden() if callable(hidden) else value


def _opened_all(value: Any) -> Any:
    value = _opened(value)
    if isinstance(value, Mapping):
        return {key: _opened_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_opened_all(item) for item in value]
    return value
