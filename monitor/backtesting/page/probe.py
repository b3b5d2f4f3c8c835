"""An engine state that looks at itself while it folds: what left, what was there, what would have raised an alarm.

The fold is the ordinary one. Batches are cut where a moment that somebody asks about falls between two rows, which
changes nothing (any split of the same flows gives the same state), and payments are tried on copies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.backtesting.page.windows import HOUR, Window
from monitor.intake import destination_key
from monitor.rows import OUT, TELL, TRUSTED, FlowRows
from monitor.state import EngineState
from monitor.trial import Smallest, smallest_alarm

__all__ = ["Payment", "Probe", "Sample", "Seen"]

DAY = 86400
MOST_PAYMENTS = 240  # drawn one by one, the largest


@dataclass(frozen=True, slots=True)
class Sample:
    """A track right before the first flow at or after ``at``.

    Attributes
    ----------
    balance : base units
    known : whether the balance was told, not only inferred from flows
    learning : days until the statistics may fire, 0: they may
    smallest : the smallest payment to a new address that would raise an alarm; None: none would
    """

    at: int
    balance: float
    known: bool
    learning: float
    smallest: Smallest | None


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment out, in base units. ``expected``: to a trusted counterparty, which the statistics leave out."""

    at: int
    value: float
    expected: bool
    suspect: bool


@dataclass(slots=True)
class Seen:
    """What was seen of a window.

    Attributes
    ----------
    by_hour : what left (fees apart) in each hour since ``first_hour`` (hours since 1970), base units
    payments : the largest in the hours around, in their order
    left_out : smaller payments of these hours that are not among them
    since : time of the track's first flow, None: it has none
    """

    window: Window
    first_hour: int
    by_hour: NDArray[np.float64]
    samples: list[Sample] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    left_out: int = 0
    since: int | None = None
    at: int = 0  # how many of the window's moments are passed

    def day_before(self, at: int) -> float:
        """What left in the 24 whole hours up to the one of ``at``, that included."""
        place = at // HOUR - self.first_hour + 1
        return float(self.by_hour[max(0, place - 24) : max(0, place)].sum())


class Probe(EngineState):
    """The state of an engine that folds the history of the windows' wallets.

    Parameters
    ----------
    exact : wallets that exact rules alone judge: no payment of theirs raises an alarm of the statistics
    """

    def __init__(self, windows: Sequence[Window], exact: Collection[str] = ()) -> None:
        super().__init__()
        self._exact = frozenset(exact)
        self.seen = [_unseen(window) for window in windows]
        self._of: dict[tuple[str, str], list[Seen]] = {}
        for seen in self.seen:
            self._of.setdefault(seen.window.track[:2], []).append(seen)

    def fold(self, rows: FlowRows, *, keep_undo: bool = False) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Fold rows, see `EngineState.fold`, and look between them where a moment is due."""
        due: dict[int, list[tuple[Seen, int]]] = {}
        for place in np.unique(rows.wallets).tolist():
            mine = self._of.get(self._wallet_names[place], [])
            if mine:
                self._plan(mine, rows, np.flatnonzero(rows.wallets == place), due)
        hits, undone, begin = [], [], 0
        for cut in [*sorted(due), len(rows)]:
            if cut > begin or not len(rows):
                found, undo = super().fold(rows[begin:cut], keep_undo=keep_undo)
                found["row"] += begin
                hits.append(found)
                undone.append(undo)
                begin = cut
            for seen, at in due.get(cut, ()):
                self._sample(seen, at)
        return np.concatenate(hits), np.concatenate(undone)

    def finish(self) -> None:
        """The moments after the last flow."""
        for seen in self.seen:
            for at in seen.window.moments[seen.at :]:
                self._sample(seen, at)
            seen.at = len(seen.window.moments)
            kept = sorted(seen.payments, key=lambda p: (not p.suspect, -p.value, p.at))
            seen.left_out += len(kept[MOST_PAYMENTS:])
            seen.payments = sorted(kept[:MOST_PAYMENTS], key=lambda p: (p.at, p.value))

    def _plan(
        self, mine: Sequence[Seen], rows: FlowRows, places: NDArray[np.intp], due: dict[int, list[tuple[Seen, int]]]
    ) -> None:
        """Where moments of one wallet's windows fall among its rows, and what its rows move."""
        times = np.maximum.accumulate(rows.times[places])
        for seen in mine:
            moments = seen.window.moments
            stop = int(np.searchsorted(moments, times[-1], side="right"))
            for at in moments[seen.at : stop]:
                place = int(np.searchsorted(times, at, side="left"))
                while place < len(places) - 1 and rows.ops[places[place]] == TELL:
                    place += 1  # a balance that is told right before a flow is known by then
                due.setdefault(int(places[place]), []).append((seen, at))
            seen.at = max(seen.at, stop)
            slot = self.asset(*seen.window.track)
            if slot >= 0:
                self._collect(seen, rows, places[rows.slots[places] == slot])

    def _collect(self, seen: Seen, rows: FlowRows, places: NDArray[np.intp]) -> None:
        """Payments of one track."""
        if seen.since is None and len(places):
            seen.since = int(rows.times[places[0]])
        paid = places[rows.ops[places] == OUT]
        hours = rows.times[paid] // HOUR - seen.first_hour
        inside = (hours >= 0) & (hours < len(seen.by_hour))
        np.add.at(seen.by_hour, hours[inside], rows.amounts[paid[inside]])
        window = seen.window
        times = rows.times[paid]
        near = paid[(times >= window.zoom_begin) & (times <= window.zoom_end)]
        suspects = np.array(sorted(destination_key(address) for address in window.suspects), np.uint64)
        named = np.isin(rows.keys[near], suspects)
        order = np.lexsort((-rows.amounts[near], ~named))
        seen.left_out += len(order[MOST_PAYMENTS:])
        for n in order[:MOST_PAYMENTS].tolist():
            at = int(near[n])
            expected = bool(rows.flags[at] & TRUSTED)
            seen.payments.append(Payment(int(rows.times[at]), float(rows.amounts[at]), expected, bool(named[n])))

    def _sample(self, seen: Seen, at: int) -> None:
        """What the state says of a track now."""
        records = self.records(*seen.window.track)
        if records is None:
            return
        now = max(at, int(records.fusion["clock"][0]))
        balance, known = float(records.asset["balance"][0]), bool(records.asset["known"][0])
        if seen.window.track[0] in self._exact:
            seen.samples.append(Sample(at, balance, known, 0.0, None))
            return
        learning = max(0.0, float(records.fusion["warm_from"][0] - now) / DAY)
        seen.samples.append(Sample(at, balance, known, learning, smallest_alarm(records, now)))


def _unseen(window: Window) -> Seen:
    first = window.begin // HOUR - 24
    return Seen(window, first, np.zeros(window.end // HOUR - first + 1))
