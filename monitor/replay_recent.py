"""Payments of the last day: those to a suspect count where they came within a day before the finding about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.backtesting.history import Batch
from monitor.engine import Engine
from monitor.grouping import GAP
from monitor.incidents import movement_key
from monitor.intake import destination_key
from monitor.model import Direction, Finding, Flow, Movement
from monitor.replay_rows import flow_from
from monitor.replayed import Evidence, add_early, by_suspect, movement_for_flow
from monitor.rows import OUT, FlowRows

__all__ = ["Payment", "RecentPayments", "payment_of"]


class Payment(NamedTuple):
    """A row that is a payment, as nouns; made once, whoever asks for it."""

    flow: Flow
    movement: Movement
    key: str  # of the movement
    said: dict[tuple[str, int], Finding]  # findings without words about it, see `monitor.findings.bare_findings`


def payment_of(record: Mapping[str, Any], chain: str, wallet: str) -> Payment:
    """The payment of one row of a history frame."""
    flow = flow_from(record, chain, wallet, Direction.OUT)
    movement = movement_for_flow(flow)
    return Payment(flow, movement, movement_key(movement), {})


@dataclass(slots=True)
class _Part:
    """Payments of one batch: rows of it, with their time, key of the destination and wallet's record.

    ``at`` is their place among the batch's rows, under which ``made`` has what was made of them.
    """

    batch: Batch
    origin: NDArray[np.int64]
    times: NDArray[np.int64]
    keys: NDArray[np.uint64]
    wallets: NDArray[np.int32]
    at: NDArray[np.int64]
    made: dict[int, Payment]
    near: NDArray[np.int64] | None = field(default=None)  # those to suspects that are asked about next

    def make(self, places: NDArray[np.int64], chain: str, engine: Engine) -> None:
        """Make payments of its rows, all at once: one after another is slow."""
        if not len(places):
            return
        for place, record in zip(places.tolist(), self.batch.rows(self.origin[places]), strict=True):
            wallet = engine.state.wallet_name(int(self.wallets[place]))
            self.made[int(self.at[place])] = payment_of(record, chain, wallet)


_LATE = 2 * 3600  # seconds by which the times of blocks may go back


class RecentPayments:
    """What wallets of one chain paid since a day before the last block."""

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._parts: list[_Part] = []

    def add(
        self, batch: Batch, rows: FlowRows, origin: NDArray[np.int64], made: dict[int, Payment]
    ) -> None:
        """Take the payments of a batch; ``made`` has those that are known as nouns already, by their rows."""
        paid = np.flatnonzero(rows.ops == OUT)
        part = _Part(batch, origin[paid], rows.times[paid], rows.keys[paid], rows.wallets[paid], paid, made)
        self._parts.append(part)

    def expect(self, found: Sequence[Finding]) -> None:
        """The suspects of these findings, and no others, are asked about until payments are added."""
        keys = _keys(found)
        since = min((f.at for f in found), default=0) - GAP
        for part in self._parts:
            part.near = np.flatnonzero(np.isin(part.keys, keys) & (part.times >= since))

    def tell(self, engine: Engine, evidence: Evidence, found: Sequence[Finding]) -> None:
        """Add to the evidence what went to the suspects of new findings within the day before them."""
        suspects = by_suspect(found)
        if not suspects:
            return
        keys, since = _keys(found), min(f.at for f in found) - GAP
        for part in self._parts:
            near = part.near
            if near is None:
                near = np.flatnonzero(np.isin(part.keys, keys) & (part.times >= since))
            else:
                near = near[np.isin(part.keys[near], keys) & (part.times[near] >= since)]
            part.make(near[[at not in part.made for at in part.at[near].tolist()]], self._chain, engine)
            for at in part.at[near].tolist():
                payment = part.made[at]
                if payment.key not in evidence.moved:
                    add_early(evidence, suspects, payment.movement, payment.key)

    def forget(self, now: int) -> None:
        """Keep what a finding at ``now`` (UTC s, of the last block) or later may still be about."""
        kept = []
        for part in self._parts:
            late = np.flatnonzero(part.times >= now - GAP - _LATE)
            if len(late) == 0:
                continue
            if len(late) < len(part.times):
                first, last = int(part.origin[late].min()), int(part.origin[late].max())
                at = part.at[late]
                rest = set(at.tolist()) if part.made else ()
                made = {row: payment for row, payment in part.made.items() if row in rest}
                batch = part.batch.part(slice(first, last + 1))
                part = _Part(
                    batch, part.origin[late] - first, part.times[late], part.keys[late], part.wallets[late], at, made
                )
            part.near = None
            kept.append(part)
        self._parts = kept


_key = lru_cache(1 << 16)(destination_key)  # the same suspects are asked about again and again


def _keys(found: Sequence[Finding]) -> NDArray[np.uint64]:
    return np.array(sorted(map(_key, {f.destination for f in found if f.destination})), np.uint64)
