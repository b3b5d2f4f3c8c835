"""Ordinary traffic, generated: what a wallet might have done in the weeks before a theft. Pure and seeded.

Nothing here happened. Payments arrive as a Poisson process (hot wallets with a daily rhythm), amounts are log-normal up
to a policy cap, customers come back, and deposits pull the balance towards its target. Limits are hard: no payment
above ``cap``, no hour above ``hour_cap``, both as shares of the target balance. The same seed gives the same payments
on every machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

__all__ = ["Hot", "Occasional", "Payment", "Storage", "Traffic", "generate"]

HOUR = 3600
DAY = 86400
MONTH = 30 * DAY
PULL = 4.0  # deposits are five times their usual size when the wallet is empty, none when it holds 1.25 targets
LARGE = 0.25  # of the cap: from here on customers are new half as often
DIGITS = 6  # amounts keep about this many significant digits of the balance


@dataclass(frozen=True)
class Hot:
    """An exchange's hot wallet: many withdrawals with a daily rhythm, deposits swept in."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["hot"]
    per_day: float = 100.0  # withdrawals
    turnover: float = 0.10  # withdrawn a day, as a share of the balance
    cap: float = 0.02  # largest withdrawal, as a share of the balance
    hour_cap: float = 0.05  # largest sum of withdrawals in any hour, likewise
    sigma: float = 1.5  # of the logarithm of the amounts
    new_share: float = 0.25  # withdrawals to an address never paid before
    deposits_per_day: float = 24.0
    amplitude: float = 0.5  # of the daily rhythm: 0 none, 1 silent at the quietest hour
    peak_hour: float = 12.0  # UTC


@dataclass(frozen=True)
class Occasional:
    """A personal wallet or a treasury: a few payments a month to a handful of counterparties."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["personal", "treasury"]
    per_month: float = 6.0  # payments
    typical: float = 0.004  # median payment, as a share of the balance
    cap: float = 0.02
    hour_cap: float = 0.04
    sigma: float = 0.6
    counterparties: int = 5
    deposits_per_month: float = 3.0


@dataclass(frozen=True)
class Storage:
    """Coins that lie still: deposits now and then, nothing leaves."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["storage"]
    deposits_per_month: float = 4.0
    typical: float = 0.005  # median deposit, as a share of the balance
    sigma: float = 0.4
    counterparties: int = 2


Traffic = Hot | Occasional | Storage


@dataclass(frozen=True, slots=True)
class Payment:
    """One generated payment. ``at`` is UTC seconds, ``value`` base units; ``out``: the wallet pays."""

    at: int
    out: bool
    counterparty: str
    value: int


def generate(
    traffic: Traffic, seed: str, start: int, end: int, balance: int, address: Callable[[int], str]
) -> tuple[Payment, ...]:
    """Payments of one wallet in one asset, in order of time.

    Parameters
    ----------
    traffic : what kind of wallet, with its numbers
    seed : any text; equal seeds give equal payments
    start, end : UTC seconds; ``start`` inclusive, ``end`` exclusive
    balance : base units that the wallet aims to hold, and holds when the traffic starts
    address : the address of the n-th counterparty

    Returns
    -------
    payments that never overdraw a wallet which starts with ``balance``
    """
    return _Wallet(traffic, Random(seed), balance, address).run(start, end)


class _Wallet:
    """The running state: balance, last hour's withdrawals, customers seen so far."""

    def __init__(self, traffic: Traffic, random: Random, target: int, address: Callable[[int], str]) -> None:
        self._traffic = traffic
        self._random = random
        self._target = target
        self._address = address
        self._balance = target
        self._quantum: int = 10 ** max(0, len(str(target)) - 1 - DIGITS)
        self._hour: deque[tuple[int, int]] = deque()
        self._paid: list[int] = []  # customer of every payment so far
        self._customers = 0

    def run(self, start: int, end: int) -> tuple[Payment, ...]:
        """All payments from ``start`` to ``end``."""
        found: list[Payment] = []
        for at, out in self._times(start, end):
            payment = self._withdraw(at) if out else self._deposit(at)
            if payment is not None:
                self._balance += -payment.value if out else payment.value
                found.append(payment)
        return tuple(found)

    def _times(self, start: int, end: int) -> list[tuple[int, bool]]:
        t = self._traffic
        if isinstance(t, Hot):
            outs = self._rhythm(start, end, t.per_day / DAY, t.amplitude, t.peak_hour)
            ins = self._rhythm(start, end, t.deposits_per_day / DAY, t.amplitude, t.peak_hour)
        else:
            rate = t.per_month if isinstance(t, Occasional) else 0.0
            outs = self._rhythm(start, end, rate / MONTH, 0.0, 0.0)
            ins = self._rhythm(start, end, t.deposits_per_month / MONTH, 0.0, 0.0)
        return sorted([(at, True) for at in outs] + [(at, False) for at in ins])

    def _rhythm(self, start: int, end: int, rate: float, amplitude: float, peak: float) -> list[int]:
        """A Poisson process of ``rate`` a second, thinned to a daily cosine around it."""
        found: list[int] = []
        at = float(start)
        top = rate * (1.0 + amplitude)
        while top > 0.0:
            at += self._random.expovariate(top)
            if at >= end:
                break
            now = 1.0 + amplitude * math.cos(2.0 * math.pi * (at / HOUR - peak) / 24.0)
            if self._random.random() * (1.0 + amplitude) < now:
                found.append(int(at))
        return found

    def _withdraw(self, at: int) -> Payment | None:
        t = self._traffic
        assert not isinstance(t, Storage)
        middle = math.exp(-t.sigma * t.sigma / 2.0)  # median of a log-normal variable with mean 1
        typical = t.turnover / t.per_day * middle if isinstance(t, Hot) else t.typical
        share = min(t.cap, self._random.lognormvariate(math.log(typical), t.sigma))
        value = self._rounded(share * self._target)
        customer = self._customer(t, share)
        while self._hour and self._hour[0][0] <= at - HOUR:
            self._hour.popleft()
        spent = sum(earlier for _, earlier in self._hour)
        if not 0 < value <= min(self._balance, t.hour_cap * self._target - spent):
            return None  # policy: held back
        self._hour.append((at, value))
        self._paid.append(customer)
        self._customers = max(self._customers, customer + 1)
        return Payment(at, True, self._address(customer), value)

    def _customer(self, t: Hot | Occasional, share: float) -> int:
        """A new customer, or whoever got one of the payments so far: who was paid often is paid often."""
        if isinstance(t, Occasional):
            return self._random.randrange(t.counterparties)
        new = t.new_share / 2.0 if share > LARGE * t.cap else t.new_share
        if not self._paid or self._random.random() < new:
            return self._customers
        return self._paid[self._random.randrange(len(self._paid))]

    def _deposit(self, at: int) -> Payment | None:
        t = self._traffic
        if isinstance(t, Hot):
            mean = t.turnover / t.deposits_per_day
        elif isinstance(t, Occasional):
            mean = t.typical * math.exp(t.sigma * t.sigma / 2.0) * t.per_month / t.deposits_per_month
        else:
            mean = t.typical
        size = mean * self._random.lognormvariate(0.0, 0.5 if isinstance(t, Hot) else t.sigma)
        pull = 0.0 if isinstance(t, Storage) else PULL * (self._target - self._balance) / self._target
        value = self._rounded(size * max(0.0, 1.0 + pull) * self._target)
        sender = self._random.randrange(1000 if isinstance(t, Hot) else t.counterparties)
        return Payment(at, False, self._address(1_000_000 + sender), value) if value > 0 else None

    def _rounded(self, value: float) -> int:
        """Whole multiples of a small unit: nothing depends on the last bits of a logarithm."""
        return int(value / self._quantum + 0.5) * self._quantum
