"""What a channel is: `render` freezes an alert to bytes, `send` makes one attempt, `aclose` ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow, Store

__all__ = ["Attached", "Channel", "ChannelTraits", "Previewed", "Probed", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """How one attempt ended. ``retry_after`` in seconds where the other side asked for a pause."""

    outcome: Outcome
    reason: Reason
    retry_after: float | None = None
    external_id: str | None = None
    detail: str = ""  # for people; secrets removed


class ChannelTraits:
    """What a delivery needs to know of a channel, as most have it; a channel type inherits and says otherwise.

    The configuration's ``name``, ``rate`` and ``concurrency`` are set on the channel in their place.
    """

    name = ""  # the owner's, unique within the receiver; without one a channel is known by its place
    threads = False  # `send` wants `OutboxRow.reply_to`
    machine = False  # a program reads it: it gets every message singly, however many come
    templated = False  # it has an option `template`
    rate: float | None = None  # messages a second that the service allows; None: any
    concurrency = 4  # attempts in flight, of different incidents


class Channel(Protocol):
    """One way to reach people. Constructed as ``Type(options)`` from its mapping in the configuration.

    The constructor checks its options and raises `ConfigError`; nothing is opened before the first `send`.
    """

    type: str
    name: str
    threads: bool
    machine: bool
    rate: float | None
    concurrency: int

    def __init__(self, options: Mapping[str, Any]) -> None: ...

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The message, frozen when queued: every attempt sends these bytes. ``queued_at``: UTC seconds."""
        ...

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt at wall clock ``now``. Never raises for a remote failure; only cancellation passes through."""
        ...

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""


@runtime_checkable
class Attached(Protocol):
    """What a channel offers that keeps something of its own, as notes."""

    def attach(self, store: Store) -> None:
        """The open store, before the first `Channel.send`."""


@runtime_checkable
class Previewed(Protocol):
    """What a channel offers whose messages people can read before they are sent."""

    def preview(self, body: bytes) -> str:
        """A rendered message as readable text, without secrets."""
        ...


@runtime_checkable
class Probed(Protocol):
    """What a channel offers that can be tried without a message to anybody."""

    async def probe(self, now: float) -> Receipt:
        """Reach the service, and have it check what proves who we are, as far as it does that; never raises."""
        ...
