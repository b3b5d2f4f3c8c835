"""What the HTTP interface needs of alerts, which it does not know: functions that are handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.model import Alert

__all__ = ["Claim", "Hooks", "Silences"]


class Claim(Protocol):
    """What a valid link says, see `alerts.link`."""

    @property
    def incident_id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def expires(self) -> int: ...
    @property
    def nonce(self) -> str: ...


class Silences(Protocol):
    """Silences as data for JSON. Times are wall clock, UTC seconds."""

    async def all(self, now: float) -> Sequence[Mapping[str, Any]]:
        """Those that hold."""

    async def add(
        self, match: object, *, author: str, comment: str, expires: float, now: float
    ) -> Mapping[str, Any]:
        """A new one; ConfigError says everything that is wrong with it."""
        ...

    async def expire(self, silence_id: str, now: float) -> bool:
        """End one now; False where there is none."""
        ...

    async def touching(self, alert: Alert, now: float) -> Sequence[Mapping[str, Any]]:
        """Those that keep an alert from being said."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """``read`` gives a link's claim at a wall clock, or the word why it does not count; None: there are no links."""

    read: Callable[[str, float], Claim | str] | None = None
    silences: Silences | None = None
