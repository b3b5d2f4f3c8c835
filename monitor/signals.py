"""Payments close under their threshold that mean something together: HW-6 over wallets and chains of one owner. Pure.

A signal is a payment of at least 3 % of a balance whose fast score lies at most one width of its tail under the
threshold. Alone it opens nothing. It counts where within two hours of event time another wallet or chain of the same
owner has a finding, or another signal that is close enough too.

How close, so that chance alone does not spend the budget: let an owner have ``m`` places (wallet and chain), each with
a budget of ``b`` alarms in 30 days, which is how often its daily maximum passes the threshold. Tails are exponential in
widths, so a place comes within ``x`` widths of its threshold about ``b e^x`` times. Two places do so within two hours
of one another (4 of 720 hours) about ``(b e^x)^2 / 180`` times; all ``m (m - 1) / 2`` pairs of them
``m (m - 1) b^2 e^(2 x) / 360`` times. A tenth of the owner's whole budget is ``m b / 10``. Both are equal where
``e^(2 x) = 36 / ((m - 1) b)``; half of that allows for days on which signals crowd. So the limit is

    d = 0.5 ln(18 / ((m - 1) max(b, 0.1)))

for the sum of both deficits, which is stricter than each alone. Where ``d`` is not above 0 (many wallets, a generous
budget) two signals open nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.model import Finding, Severity

if TYPE_CHECKING:
    from monitor.watchlist import Watchlist

__all__ = ["KEPT", "UNDER", "WINDOW", "Awake", "Reach", "awake", "is_signal", "limit_of", "reaches"]

WINDOW = 2 * 3600  # seconds of event time
KEPT = 2 * 86400  # and how far all chains of an owner must have passed a signal before it is forgotten
UNDER = "widths_under_threshold"  # evidence that makes a finding a signal


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an owner's signals reach: ``limit`` of the sum of two deficits, in widths; the chains of its wallets."""

    limit: float
    chains: frozenset[str]


@dataclass(slots=True)
class Awake:
    """Evidence that counts. ``opens``: ids of what opens an incident by itself, or as the second of two signals."""

    findings: list[Finding] = field(default_factory=list)
    opens: set[str] = field(default_factory=set)


def is_signal(finding: Finding) -> bool:
    """Whether a finding exceeded nothing and only may count together with others."""
    return finding.severity is Severity.INFO and UNDER in finding.evidence


def limit_of(places: int, budget: float) -> float:
    """The largest sum of deficits of two signals that open an incident, in widths; see the module's docstring.

    Parameters
    ----------
    places : wallets and chains of the owner
    budget : false alarms a place in 30 days

    >>> round(limit_of(2, 1.0), 3), round(limit_of(10, 1.0), 3), limit_of(40, 1.0) < 0, limit_of(1, 1.0)
    (1.445, 0.347, True, 0.0)
    """
    return 0.5 * math.log(18.0 / ((places - 1) * max(budget, 0.1))) if places > 1 else 0.0


def reaches(watchlist: Watchlist) -> dict[str, Reach]:
    """The reach of every owner's signals."""
    budgets: dict[str, list[float]] = {}
    chains: dict[str, set[str]] = {}
    for wallet in watchlist.wallets.values():
        if wallet.role.is_exact:
            continue
        for chain in wallet.chains:
            budgets.setdefault(wallet.entity, []).append(watchlist.budget(wallet.id, chain))
            chains.setdefault(wallet.entity, set()).add(chain)
    return {
        entity: Reach(limit_of(len(found), math.fsum(found) / len(found)), frozenset(chains[entity]))
        for entity, found in budgets.items()
    }


def awake(findings: Iterable[Finding], limit: float) -> Awake:
    """Findings, and those signals that count beside them or together: a function of the set alone."""
    found = Awake()
    signals: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.at, f.chain, f.block_number, f.index, f.id)):
        if is_signal(finding):
            signals.append(finding)
        else:
            found.findings.append(finding)
            found.opens.add(finding.id)
    if signals:
        beside = _Beside(found.findings)
        counts = {s.id for s in signals if beside.has(s)}
        for n, later in enumerate(signals if limit > 0.0 else ()):
            for earlier in reversed(signals[:n]):
                if later.at - earlier.at > WINDOW:
                    break
                if _apart(earlier, later) and 0.0 <= -earlier.score - later.score <= limit:
                    counts |= {earlier.id, later.id}
                    found.opens.add(later.id)
        found.findings += [s for s in signals if s.id in counts]
    return found


def _apart(one: Finding, two: Finding) -> bool:
    return (one.wallet, one.chain) != (two.wallet, two.chain)


class _Beside:
    """Which signals have a finding of another wallet or chain near them. ``findings`` come in order of time."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._all = [f.at for f in findings]
        self._own: dict[tuple[str, str], list[int]] = {}
        for f in findings:
            self._own.setdefault((f.wallet, f.chain), []).append(f.at)

    def has(self, signal: Finding) -> bool:
        return _near(self._all, signal.at) > _near(self._own.get((signal.wallet, signal.chain), ()), signal.at)


def _near(times: Sequence[int], at: int) -> int:
    """How many of these times, which rise, lie within the window around a moment."""
    return bisect_right(times, at + WINDOW) - bisect_left(times, at - WINDOW)
