"""From an alert and its receivers to outbox rows: one row a channel, its message frozen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from alerts.base import Channel
from alerts.text import clean
from monitor.model import Alert
from monitor.store import OutboxRow

__all__ = ["Receivers", "channel_key", "destinations", "rows"]

Receivers = Mapping[str, Sequence[Channel]]
"""The channels of every receiver, by its name."""


def channel_key(place: int, channel: Channel) -> str:
    """What a channel is known by within its receiver: ``0:webhook``, or ``eu:webhook`` where the owner named it so."""
    return f"{getattr(channel, 'name', '') or place}:{channel.type}"


def destinations(receivers: Receivers) -> dict[tuple[str, str], Channel]:
    """Every channel by (receiver, channel key)."""
    return {
        (name, channel_key(place, channel)): channel
        for name, channels in receivers.items()
        for place, channel in enumerate(channels)
    }


def rows(alert: Alert, receivers: Receivers, names: Iterable[str], queued_at: float) -> tuple[OutboxRow, ...]:
    """The outbox rows of ``alert``: one a channel of each receiver in ``names``, to be attempted at once.

    Parameters
    ----------
    receivers : all receivers
    names : who gets this alert, see `alerts.route.receivers`; a name that comes twice counts once
    queued_at : wall clock, UTC seconds

    Raises
    ------
    KeyError : a name is no receiver (routes are checked against the receivers when they are read)
    """
    return tuple(
        OutboxRow(
            alert_id=alert.id,
            receiver=name,
            channel=channel_key(place, channel),
            body=_freeze(channel, alert, queued_at),
            queued_at=queued_at,
            kind=alert.type,
            incident_id=str(alert.incident.get("id", "")) if alert.incident is not None else "",
            severity=0 if alert.severity is None else int(alert.severity),
        )
        for name in dict.fromkeys(names)
        for place, channel in enumerate(receivers[name])
    )


def _freeze(channel: Channel, alert: Alert, queued_at: float) -> bytes:
    """The message; where the channel cannot write it, a plainer one: a fault in one form must not lose the alarm."""
    try:
        return channel.render(alert, queued_at)
    except Exception as error:
        note = f"(shortened: the whole message could not be written, {type(error).__name__})"
        plain = replace(
            alert,
            title=clean(alert.title),
            body=f"{clean(alert.body, lines=True)}\n{note}",
            labels={},
            incident=None,
        )
        return channel.render(plain, queued_at)
