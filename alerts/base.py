"""What a channel is: `render` freezes an alert to bytes, `send` makes one attempt, `aclose` ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["Channel", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """How one attempt ended. ``retry_after`` in seconds where the other side asked for a pause."""

    outcome: Outcome
    reason: Reason
    retry_after: float | None = None
    external_id: str | None = None
    detail: str = ""  # for people; secrets removed


class Channel(Protocol):
    """One way to reach people. Constructed as ``Type(options)`` from its mapping in the configuration.

    The constructor checks its options and raises `ConfigError`; nothing is opened before the first `send`.
    """

    type: str

    def __init__(self, options: Mapping[str, Any]) -> None: ...

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The message, frozen when queued: every attempt sends these bytes. ``queued_at``: UTC seconds."""
        ...

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt at wall clock ``now``. Never raises for a remote failure; only cancellation passes through."""
        ...

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
