"""Which incidents are drawn, and which stretch of which wallet's coins is looked at for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.model import Incident

__all__ = ["HOUR", "Track", "Window", "tracks_of", "windows_of", "worst"]

HOUR, DAY = 3600, 86400
MONTH = 30 * DAY
TRACKS = 3  # wallet, chain and asset that are drawn of one incident
STEP = 12 * HOUR  # of the month before
AROUND = 24  # moments of the hours around, spread evenly,
MOVES = 24  # and at its payments
LEAST_PAD, MOST_PAD = 2 * HOUR, DAY
MOST_AFTER = 7 * DAY

Track = tuple[str, str, str]  # wallet, CAIP-2 chain, CAIP-19 asset


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at of one track of one incident; all times are UTC seconds.

    Attributes
    ----------
    begin, end : the month before, and the incident
    zoom_begin, zoom_end : the hours around it
    opened : when the incident was opened
    moments : when the smallest payment that would raise an alarm is asked for, ascending
    suspects : addresses that the incident names
    """

    track: Track
    begin: int
    end: int
    zoom_begin: int
    zoom_end: int
    opened: int
    moments: tuple[int, ...]
    suspects: frozenset[str]


def worst(incidents: Sequence[Incident], most: int) -> list[int]:
    """Places of the worst incidents, worst first: by severity, share lost, time."""
    order = sorted(
        range(len(incidents)),
        key=lambda n: (-int(incidents[n].severity), -(incidents[n].share_lost or 0.0), incidents[n].opened_at, n),
    )
    return order[:most]


def tracks_of(incident: Incident) -> tuple[list[Track], int]:
    """The tracks of an incident that are drawn, and how many are left out: that of the opening first, then by payments.

    Amounts of different assets do not compare, so the number of payments to suspects decides.
    """
    counts: dict[Track, int] = {}
    opening = incident.opened_tx
    for finding in incident.findings:
        if finding.asset:
            key = (finding.wallet, finding.chain, finding.asset)
            counts[key] = counts.get(key, 0) + (1_000_000 if finding.tx == opening else 1)
    for move in incident.movements:
        key = (move.wallet, move.chain, move.asset)
        counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return ordered[:TRACKS], len(ordered) - len(ordered[:TRACKS])


def windows_of(incident: Incident, tracks: Iterable[Track]) -> list[Window]:
    """The windows of an incident's tracks."""
    moves = [move.at for move in incident.movements] or [incident.opened_at]
    first = max(min(*moves, incident.opened_at), incident.opened_at - DAY)
    last = min(max(*moves, incident.opened_at), incident.opened_at + MOST_AFTER)
    pad = min(MOST_PAD, max(LEAST_PAD, (last - first) // 2))
    zoom_begin, zoom_end = first - pad, last + pad
    begin, end = incident.opened_at - MONTH, max(zoom_end, incident.opened_at + DAY)
    asked = {*range(begin, end, STEP), end, incident.opened_at}
    asked |= {zoom_begin + (zoom_end - zoom_begin) * n // AROUND for n in range(AROUND + 1)}
    near = sorted({at for at in moves if first <= at <= last})
    asked |= {at + after for at in near[:: max(1, -(-len(near) // MOVES))] for after in (0, 1)}
    suspects = frozenset(address for _, address in incident.suspects)
    return [
        Window(track, begin, end, zoom_begin, zoom_end, incident.opened_at, tuple(sorted(asked)), suspects)
        for track in tracks
    ]
