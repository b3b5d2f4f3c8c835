"""A backtest against labelled incidents: how many alarms were right, how many thefts were caught, and how soon.

An incident *matches* a labelled one where all of these hold:

1. Whose it is: one of its wallets is among the labelled wallets; without those, its entity is the labelled one.
2. Where: one of its findings is on one of the labelled chains; without those, anywhere.
3. When: one of its transactions is a labelled one, or its evidence (from its first finding to its last finding or
   payment) and the labelled time have a moment in common. The labelled time is ``from`` to ``until`` (24 hours where
   only the first is known); of transactions alone it is the time that the data shows them at, from the first to the
   last.

One theft may open several incidents, and one incident may cover several thefts. All incidents of the report count, of
whatever severity: the budget of false alarms counts them, too. An incident that came to nothing is not in a report.

Labelled incidents of wallets that are not watched, and those of which the data shows nothing (no transaction of theirs,
and no payment of their wallets in their time), are told apart: they are neither caught nor missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from monitor.backtesting.intervals import poisson, wilson
from monitor.backtesting.truth import LASTS, Truth, TruthIncident, in_words
from monitor.backtesting.truth_place import First, Placed, place
from monitor.backtesting.truth_seen import Seen, seen_in
from monitor.ids import iso
from monitor.model import Severity

if TYPE_CHECKING:
    from monitor.backtesting.outcome import Outcome

__all__ = ["CAUGHT", "MISSED", "OUTSIDE", "UNWATCHED", "Fate", "Scored", "judge", "months_of", "score"]

CAUGHT, MISSED, OUTSIDE, UNWATCHED = "caught", "missed", "outside", "unwatched"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a labelled incident; ``incidents`` are those that match, the earliest first."""

    labelled: TruthIncident
    fate: str
    first: First | None = None
    incidents: tuple[Seen, ...] = ()

    def delay(self, *, paged: bool = False) -> tuple[int | None, int | None]:
        """(seconds, blocks) from the first transaction until the first alarm opened, or paged; below 0 came before.

        Blocks only where the alarm rests on the chain of that transaction.
        """
        if self.first is None:
            return None, None
        moments = [
            (s.paged_at, s.paged_chain, s.paged_block) if paged else (s.opened_at, s.opened_chain, s.opened_block)
            for s in self.incidents
        ]
        told = sorted((at, chain, block) for at, chain, block in moments if at is not None and block is not None)
        if not told:
            return None, None
        at, chain, block = told[0]
        return at - self.first.at, block - self.first.block if chain == self.first.chain else None

    def share(self, *, paged: bool = False) -> float | None:
        """Part of the loss that had gone by then, of the incident that opened (or paged) first."""
        if paged:
            told = sorted((s for s in self.incidents if s.paged_at is not None), key=lambda s: (s.paged_at, s.id))
            return told[0].share_at_page if told else None
        return self.incidents[0].share_at_open if self.incidents else None


@dataclass(frozen=True, slots=True)
class Scored:
    """The verdict on a whole backtest.

    Attributes
    ----------
    fates : of each labelled incident, in the order of the file
    matched, unmatched : incidents of the report, in its order
    wallet_months : days in which wallets were seen, over 30
    """

    fates: tuple[Fate, ...]
    matched: tuple[Seen, ...]
    unmatched: tuple[Seen, ...]
    wallet_months: float
    path: str = ""

    def count(self, fate: str) -> int:
        """Labelled incidents of one fate."""
        return sum(each.fate == fate for each in self.fates)

    @property
    def precision(self) -> float | None:
        """Part of the incidents that match something; None without any."""
        total = len(self.matched) + len(self.unmatched)
        return len(self.matched) / total if total else None

    @property
    def recall(self) -> float | None:
        """Part of the labelled incidents that were caught, of those that could be; None without any."""
        total = self.count(CAUGHT) + self.count(MISSED)
        return self.count(CAUGHT) / total if total else None

    @property
    def false_alarms(self) -> float | None:
        """Incidents that match nothing, a wallet and 30 days; None where no wallet was seen for any time."""
        return len(self.unmatched) / self.wallet_months if self.wallet_months > 0 else None

    def median_delay(self, *, paged: bool = False) -> float | None:
        """Median seconds until the alarm of those that were caught (and paged)."""
        found = [seconds for each in self.fates if (seconds := each.delay(paged=paged)[0]) is not None]
        return float(median(found)) if found else None

    def mean_share(self, *, paged: bool = False) -> float | None:
        """Mean part of the loss that had gone by the alarm, of those that were caught (and paged)."""
        found = [share for each in self.fates if (share := each.share(paged=paged)) is not None]
        return sum(found) / len(found) if found else None

    def mean_loss(self) -> float | None:
        """Mean part of the loss that had gone by the alarm, of all that could be caught: of what was missed, all."""
        caught = [each.share() for each in self.fates if each.fate == CAUGHT]
        found = [share for share in caught if share is not None] + [1.0] * self.count(MISSED)
        return math.fsum(found) / len(found) if found else None

    def data(self) -> dict[str, Any]:
        """As plain data: the key ``truth`` of a report."""
        caught, missed = self.count(CAUGHT), self.count(MISSED)
        months = self.wallet_months
        false = poisson(len(self.unmatched))
        return {
            "labelled": len(self.fates),
            "caught": caught,
            "missed": missed,
            "outside": self.count(OUTSIDE),
            "unwatched": self.count(UNWATCHED),
            "recall": _rate(caught, caught + missed),
            "incidents": len(self.matched) + len(self.unmatched),
            "matched": len(self.matched),
            "precision": _rate(len(self.matched), len(self.matched) + len(self.unmatched)),
            "by_severity": self._by_severity(),
            "false_alarms": {
                "count": len(self.unmatched),
                "wallet_months": round(months, 6),
                "per_wallet_month": _rounded(self.false_alarms),
                "low": round(false[0] / months, 6) if months > 0 else None,
                "high": round(false[1] / months, 6) if months > 0 else None,
            },
            "delay": {
                "opened_seconds": self.median_delay(),
                "paged_seconds": self.median_delay(paged=True),
            },
            "share_lost": {
                "at_open": _rounded(self.mean_share()),
                "at_page": _rounded(self.mean_share(paged=True)),
            },
            "fates": [_fate(each) for each in self.fates],
            "unmatched": [_unmatched(each) for each in self.unmatched],
        }

    def _by_severity(self) -> dict[str, dict[str, int]]:
        found = {}
        for severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW):
            name = str(severity)
            mine = [sum(seen.severity == name for seen in some) for some in (self.matched, self.unmatched)]
            found[name] = {"matched": mine[0], "unmatched": mine[1]}
        return found


def judge(placed: Placed, incidents: Sequence[Seen], wallet_months: float) -> Scored:
    """Hold the incidents of a backtest against labelled ones; see the module's docstring."""
    fates: list[Fate] = []
    right: set[str] = set()
    for labelled in placed.truth.incidents:
        first = placed.firsts.get(labelled.id)
        if labelled.id not in placed.watched:
            fates.append(Fate(labelled, UNWATCHED))
            continue
        mine = [seen for seen in incidents if _matches(labelled, first, seen)]
        mine.sort(key=lambda seen: (seen.opened_at, seen.id))
        right.update(seen.id for seen in mine)
        if mine:
            fates.append(Fate(labelled, CAUGHT, first, tuple(mine)))
        else:
            fates.append(Fate(labelled, OUTSIDE if first is None else MISSED, first))
    matched = tuple(seen for seen in incidents if seen.id in right)
    unmatched = tuple(seen for seen in incidents if seen.id not in right)
    return Scored(tuple(fates), matched, unmatched, wallet_months, placed.truth.path)


def _matches(labelled: TruthIncident, first: First | None, seen: Seen) -> bool:
    if labelled.wallets:
        if seen.wallets.isdisjoint(labelled.wallets):
            return False
    elif seen.entity != labelled.entity:
        return False
    if labelled.chains and seen.chains.isdisjoint(labelled.chains):
        return False
    if not seen.transactions.isdisjoint(labelled.transactions):
        return True
    if labelled.start is not None:
        start, end = labelled.start, labelled.end if labelled.end is not None else labelled.start + LASTS
    elif first is not None:
        start, end = first.at, first.last
    else:
        return False
    return seen.start <= end and start <= seen.end


def score(outcome: Outcome, truth: Truth) -> Scored:
    """Hold a backtest against labelled incidents.

    Parameters
    ----------
    outcome : `monitor.backtesting.outcome.Outcome`, its history not closed
    """
    placed = place(truth, outcome.config, outcome.history.batches())
    return judge(placed, [seen_in(incident) for incident in outcome.incidents], months_of(outcome.report))


def months_of(report: Mapping[str, Any]) -> float:
    """Wallet-months of a report: the days in which each wallet was seen, over 30."""
    return math.fsum(wallet["days"] for wallet in report["wallets"]) / 30.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _rate(hits: int, total: int) -> dict[str, float | None]:
    if not total:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(hits, total)
    return {"value": round(hits / total, 6), "low": round(low, 6), "high": round(high, 6)}


def _fate(each: Fate) -> dict[str, Any]:
    opened, paged = each.delay(), each.delay(paged=True)
    first = each.first
    return {
        "id": each.labelled.id,
        "fate": each.fate,
        **in_words(each.labelled),
        "first": None
        if first is None
        else {"at": iso(first.at), "chain": first.chain, "block": first.block, "tx": first.tx},
        "incidents": [seen.id for seen in each.incidents],
        "opened_seconds": opened[0],
        "opened_blocks": opened[1],
        "paged_seconds": paged[0],
        "paged_blocks": paged[1],
        "share_lost_at_open": _rounded(each.share()),
        "share_lost_at_page": _rounded(each.share(paged=True)),
    }


def _unmatched(seen: Seen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "entity": seen.entity,
        "wallets": sorted(seen.wallets),
        "severity": seen.severity,
        "opened_at": iso(seen.opened_at),
    }
