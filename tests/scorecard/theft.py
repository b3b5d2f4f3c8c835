"""Kinds of thefts, drawn from a seed: what is taken when, as shares of what the wallet holds when it begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.scorecard.dynamics import OF_BALANCE, UNITS, Piece
from tests.scorecard.world import DAY, HOUR, Life, generator

__all__ = ["KINDS", "NO_HISTORY", "steal"]

MINUTE = 60
Draw = Callable[[np.random.Generator, Life, int], list[Piece]]


def _coincheck(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """A test of ten dollars, some minutes later 8 to 12 payments of 95 to 99 % in all, within 6 to 18 minutes."""
    n, total, span = int(r.integers(8, 13)), r.uniform(0.95, 0.99), r.uniform(6, 18) * MINUTE
    begin = start + r.uniform(2, 8) * MINUTE
    when = begin + np.sort(np.r_[0.0, r.random(n - 1)]) * span
    shares = r.dirichlet(np.full(n, 20.0)) * total
    first = Piece(start, life.main, float(10 * life.dollar[life.main]), 0, UNITS)
    return [first, *_pieces(when, life.main, shares, np.zeros(n, int))]


def _zaif(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """85 to 95 % of every asset in 10 to 40 payments each over two hours, one or two addresses an asset."""
    found = []
    for asset in range(len(life.assets)):
        n, total = int(r.integers(10, 41)), r.uniform(0.85, 0.95)
        shares = r.dirichlet(np.full(n, 1.5)) * total
        when = start + np.sort(r.random(n)) * 2 * HOUR
        thieves = 2 * asset + r.integers(0, int(r.integers(1, 3)), n)
        found += _pieces(when, asset, shares, thieves)
    return found


def _single60(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """60 % in one payment."""
    return [Piece(start, life.main, 0.60, 0)]


def _fanout(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """95 % within an hour, each payment to another of 60 to 100 addresses."""
    n = int(r.integers(60, 101))
    when = start + np.sort(r.random(n)) * HOUR
    return _pieces(when, life.main, r.dirichlet(np.full(n, 2.0)) * 0.95, np.arange(n))


def _staged24(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """95 % over a day in 60 payments to five addresses."""
    when = start + np.sort(r.random(60)) * DAY
    return _pieces(when, life.main, r.dirichlet(np.full(60, 5.0)) * 0.95, r.integers(0, 5, 60))


def _bleed(r: np.random.Generator, life: Life, start: int, *, rotated: bool) -> list[Piece]:
    found: list[Piece] = []
    for day in range(10):
        n = int(r.integers(1, 4))
        for part in np.sort(r.random(n)):
            at = start + int((day + part) * DAY)
            found.append(Piece(at, life.main, 0.03 / n, len(found) if rotated else 0, OF_BALANCE))
    return found


def _bleed_same(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """3 % of the balance a day for ten days, in one to three payments a day, to one address."""
    return _bleed(r, life, start, rotated=False)


def _bleed_rotated(r: np.random.Generator, life: Life, start: int) -> list[Piece]:
    """The same, each payment to a new address."""
    return _bleed(r, life, start, rotated=True)


KINDS: dict[str, Draw] = {
    "coincheck": _coincheck,
    "zaif": _zaif,
    "single60": _single60,
    "fanout": _fanout,
    "staged24": _staged24,
    "bleed_same": _bleed_same,
    "bleed_rotated": _bleed_rotated,
}
NO_HISTORY = ("single60", "coincheck")  # kinds that are also tried on wallets in their first week


def _pieces(when: np.ndarray, asset: int, shares: np.ndarray, thieves: np.ndarray) -> list[Piece]:
    return [Piece(int(t), asset, float(s), int(d)) for t, s, d in zip(when, shares, thieves, strict=True)]


def steal(kind: str, life: Life, first: float, last: float) -> list[Piece]:
    """A theft of a kind that begins between day ``first`` and day ``last``, in order of time."""
    r = generator("theft", kind, life.seed)
    start = int(r.uniform(first, last) * DAY)
    return sorted(KINDS[kind](r, life, start), key=lambda p: p.at)
