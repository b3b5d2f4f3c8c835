"""What a fold of history shows, gathered batch by batch: for one setting, or for several that share the reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.engine import SIGNAL, Engine, Hit, plain
from monitor.findings import bare_findings, finding_of
from monitor.incidents import movement_key
from monitor.model import Direction, Finding, Flow, Movement
from monitor.replay_policies import add_judged
from monitor.replay_recent import Payment, RecentPayments, payment_of
from monitor.replay_rows import flow_from
from monitor.replayed import Evidence, add_early, by_suspect, movement_for_flow
from monitor.returns import returns_of
from monitor.rows import IN, FlowRows
from monitor.watchlist import Watchlist

__all__ = ["AccountBatch", "AccountGather", "Fold", "UtxoGather", "fold_of", "gather_batch", "lone_wallets"]

Fold = Callable[[FlowRows], Sequence[NDArray[np.void]]]
"""Folds rows in chain order for one or several settings, in one state each; gives the hits of each."""


def fold_of(engine: Engine) -> Fold:
    """The fold of an engine's own state: one setting."""
    return lambda rows: (engine.state.fold(rows)[0],)


def lone_wallets(watchlist: Watchlist) -> frozenset[str]:
    """Wallets on one chain whose owner has no other: nothing can stand beside their signals (`monitor.signals`)."""
    places: dict[str, int] = {}
    for wallet in watchlist.wallets.values():
        places[wallet.entity] = places.get(wallet.entity, 0) + len(watchlist.chains_of(wallet.id))
    return frozenset(wallet.id for wallet in watchlist.wallets.values() if places[wallet.entity] == 1)


@dataclass(slots=True)
class AccountBatch:
    """A batch of an account chain after its fold: its rows, and the row of the frame that each is of."""

    engine: Engine
    source: Batch
    rows: FlowRows
    origin: NDArray[np.int64]
    made: dict[int, Payment] = field(default_factory=dict)  # of rows that were asked for, for all settings
    arrivals: dict[int, list[Movement]] = field(default_factory=dict)  # of rows that may be returns
    sent: list[tuple[int, str, int]] = field(default_factory=list)  # row, sender and block of each

    def make(self, rows: NDArray[np.int64]) -> None:
        """Make payments of rows, all at once: one after another is slow."""
        wallets = self.rows.wallets[rows].tolist()
        records = self.source.rows(self.origin[rows])
        for at, wallet, record in zip(rows.tolist(), wallets, records, strict=True):
            self.made[at] = payment_of(record, self.source.chain, self.engine.state.wallet_name(wallet))

    def expect(self, suspects: Sequence[str]) -> None:
        """Arrivals from these, and no others, are asked about."""
        if not suspects:
            return
        frame = self.source.frame
        came = frame["from_address"].is_in(pl.Series(suspects, dtype=pl.String).implode()).fill_null(False)
        arrived = np.flatnonzero(self.rows.ops == IN)
        rows = arrived[came.to_numpy()[self.origin[arrived]]]
        some = frame[self.origin[rows]]
        senders, blocks = some["from_address"].to_list(), some["block_number"].to_list()
        self.sent = list(zip(rows.tolist(), senders, blocks, strict=True))

    def returned(self, rows: Sequence[int]) -> list[Movement]:
        """What the arrivals of rows bring back, where their senders are suspects: the same in every setting."""
        chain, new = self.source.chain, [at for at in rows if at not in self.arrivals]
        for at, record in zip(new, self.source.rows(self.origin[new]) if new else (), strict=True):
            wallet = self.engine.state.wallet_name(int(self.rows.wallets[at]))
            flow = flow_from(record, chain, wallet, Direction.IN)
            self.arrivals[at] = returns_of(flow, {(chain, flow.counterparty)})
        return [movement for at in rows for movement in self.arrivals[at]]


class AccountGather:
    """Evidence of one setting on one account chain.

    Parameters
    ----------
    names : what assets are called; None: findings without words, for whoever only counts
    lone : wallets whose signals are left out
    """

    def __init__(self, names: AssetNames | None, lone: frozenset[str] = frozenset()) -> None:
        self.evidence = Evidence()
        self.suspects: dict[str, int] = {}  # address to the first block with a finding about it
        self._names, self._lone = names, lone

    def hit(self, batch: AccountBatch, records: NDArray[np.void], judged: Sequence[Finding]) -> list[Finding]:
        """Add what a batch's fold and policies found; gives its findings."""
        known = len(self.evidence.findings)
        paid = [batch.made[at] for at in records["row"].tolist()]
        add_hits(self.evidence, paid, records, self._names, self._lone)
        add_judged(self.evidence, judged)
        found = self.evidence.findings[known:]
        for finding in found:
            if finding.destination:
                number = self.suspects.get(finding.destination, finding.block_number)
                self.suspects[finding.destination] = min(number, finding.block_number)
        return found

    def end(self, engine: Engine, judged: Sequence[Finding], paid: RecentPayments) -> None:
        """Add what policies found after the last batch, and what went to the suspects of that before."""
        known = len(self.evidence.findings)
        add_judged(self.evidence, judged)
        paid.tell(engine, self.evidence, self.evidence.findings[known:])

    def deal(self, batch: AccountBatch, found: Sequence[Finding], paid: RecentPayments) -> None:
        """Add what went to the suspects of new findings before, and what any sent, from the first finding about it."""
        paid.tell(batch.engine, self.evidence, found)
        rows = [at for at, sender, number in batch.sent if number >= self.suspects.get(sender, number + 1)]
        self.evidence.returns += batch.returned(rows)


def gather_batch(
    batch: AccountBatch,
    gathers: Sequence[AccountGather],
    records: Sequence[NDArray[np.void]],
    judged: Sequence[Finding],
    paid: RecentPayments,
) -> None:
    """A batch into the evidence of every setting; ``paid`` takes its payments, ``judged`` is of policies."""
    batch.make(np.unique(np.concatenate([hits["row"] for hits in records])))
    found = [gather.hit(batch, hits, judged) for gather, hits in zip(gathers, records, strict=True)]
    paid.add(batch.source, batch.rows, batch.origin, batch.made)
    paid.expect([finding for findings in found for finding in findings])
    batch.expect(list(dict.fromkeys(address for gather in gathers for address in gather.suspects)))
    for gather, findings in zip(gathers, found, strict=True):
        gather.deal(batch, findings, paid)


class UtxoGather:
    """Evidence of one setting on one UTXO chain; see `AccountGather`."""

    def __init__(self, chain: str, names: AssetNames | None, lone: frozenset[str] = frozenset()) -> None:
        self.evidence = Evidence()
        self._chain, self._names, self._lone = chain, names, lone
        self._suspects: dict[tuple[str, str], None] = {}

    def take(
        self,
        flows: Sequence[Flow | None],
        records: NDArray[np.void],
        judged: Sequence[Finding],
        recent: Sequence[Flow],
    ) -> None:
        """Add what a batch shows: the flow of each row, and payments since a day before (those of the batch too)."""
        payments = []
        for at in records["row"].tolist():
            flow = flows[at]
            assert flow is not None  # only payments hit
            movement = movement_for_flow(flow)
            payments.append(Payment(flow, movement, movement_key(movement), {}))
        known = len(self.evidence.findings)
        add_hits(self.evidence, payments, records, self._names, self._lone)
        add_judged(self.evidence, judged)
        suspects = by_suspect(self.evidence.findings[known:])
        if suspects:
            for paid in recent:
                if (paid.wallet, paid.counterparty) in suspects:
                    movement = movement_for_flow(paid)
                    add_early(self.evidence, suspects, movement, movement_key(movement))
        self._suspects.update(dict.fromkeys((self._chain, address) for _, address in suspects))
        if self._suspects:
            for seen in flows:
                if seen is not None and seen.direction is Direction.IN:
                    self.evidence.returns += returns_of(seen, self._suspects)


def add_hits(
    evidence: Evidence,
    payments: Sequence[Payment],
    records: NDArray[np.void],
    names: AssetNames | None,
    lone: frozenset[str],
) -> None:
    """Add hits of one chain as findings, exact movements, and what each payment left.

    Signals of ``lone`` wallets are no findings: they could never count.
    """
    kinds = records["kind"].tolist()
    news = [
        n
        for n, (payment, kind) in enumerate(zip(payments, kinds, strict=True))
        if kind == 1 or (kind == SIGNAL and payment.flow.wallet not in lone)
    ]
    if names is None:
        some = [payments[n] for n in news]
        places = [p.key.rpartition("|")[0] for p in some]  # of findings of one identity the higher score counts
        often = Counter(places)
        scored = [often[place] > 1 for place in places]
        evidence.findings += bare_findings([p.flow for p in some], records[news], [p.said for p in some], scored)
    else:
        told = zip(news, plain(records[news]), strict=True)
        evidence.findings += [finding_of(Hit(payments[n].flow, record), names) for n, record in told]
    for payment, left in zip(payments, records["balance"].tolist(), strict=True):
        evidence.movements.append(payment.movement)
        evidence.moved.add(payment.key)
        evidence.balances[payment.key] = left
