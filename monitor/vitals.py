"""What a running monitor says of itself, read off its parts; what is judged of it is in `monitor.health`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from monitor.health import ChainStatus, MonitorStatus, blind_after
from monitor.networks import by_chain

__all__ = ["Vitals"]

HOUR = 3600.0


@dataclass(slots=True)
class _Seen:
    """What was seen of a chain so far, at monotonic times."""

    tip: Any = None
    tip_at: float = 0.0
    error_since: float | None = None
    lag: int = 0
    lag_at: float = 0.0  # when it was last as low as ever since it rose
    undecoded: deque[tuple[float, int]] = field(default_factory=deque)  # the count at earlier looks


class Vitals:
    """Reads the status of a monitor; each reading is cheap, and none waits for anything.

    Parameters
    ----------
    parts : a running monitor, see `monitor.running.Parts`
    clock : monotonic seconds
    """

    def __init__(self, parts: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def read(self) -> MonitorStatus:
        """How it is now."""
        now, watch = self._clock(), self._parts.watch
        chains = tuple(self._chain(item, now) for item in watch.followed.values())
        busy = watch.busy_since
        return MonitorStatus(chains, None if busy is None else now - busy, watch.waiting)

    def _chain(self, item: Any, now: float) -> ChainStatus:
        follower = item.follower
        seen = self._seen.setdefault(item.chain, _Seen(tip_at=now, lag_at=now))
        if follower.tip != seen.tip:
            seen.tip, seen.tip_at = follower.tip, now
        if follower.last_error is None:
            seen.error_since = None
        elif seen.error_since is None:
            seen.error_since = now
        if follower.lag <= 0 or follower.lag < seen.lag or not seen.lag:
            seen.lag, seen.lag_at = max(0, follower.lag), now
        scanned = self._parts.pipeline.tips.get(item.chain)
        known = by_chain(item.chain) is not None
        return ChainStatus(
            name=item.name,
            chain=item.chain,
            patience=blind_after(item.block_seconds, known=known, chosen=item.blind_after),
            replay=item.replay,
            head=follower.head.number if follower.head is not None else None,
            tip=follower.tip.number if follower.tip is not None else None,
            scanned=scanned.number if scanned is not None else None,
            head_age=now - follower.head_seen_at if follower.head_seen_at is not None else None,
            started_age=now - self._parts.started_monotonic,
            tip_age=now - seen.tip_at,
            error=follower.last_error,
            error_age=now - seen.error_since if seen.error_since is not None else 0.0,
            lag=follower.lag,
            lag_age=now - seen.lag_at,
            endpoints=_endpoints(item.source),
            undecoded=_last_hour(seen.undecoded, item.undecoded, now),
            filling=_filling(item),
        )


def _last_hour(counts: deque[tuple[float, int]], count: int, now: float) -> int:
    """How much a count rose within the hour."""
    while len(counts) > 1 and counts[1][0] <= now - HOUR:
        counts.popleft()
    if not counts:
        counts.append((now, 0))  # everything since the start is of the hour
    elif count != counts[-1][1]:
        counts.append((now, count))
    before = counts[0][1] if len(counts) > 1 or counts[0][0] <= now - HOUR else 0
    return count - before


def _endpoints(source: Any) -> tuple[tuple[str, str], ...]:
    states = source.endpoints() if hasattr(source, "endpoints") else ()
    return tuple((state.name, str(state.circuit)) for state in states)


def _filling(item: Any) -> str | None:
    """How far missed blocks are fetched, None where none are missing: history before the first start is no gap."""
    progress = item.backfill.progress if item.backfill is not None else None
    return str(progress) if progress is not None and progress.what == "gap" else None
