"""Intervals of small counts: 95 %, plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["poisson", "wilson"]

Z = 1.959963984540054
ALPHA = 0.05
MANY = 500  # counts from here on by Byar's approximation, which is right to four digits there


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson's score interval); total above 0.

    >>> [round(x, 3) for x in wilson(9, 10)]
    [0.596, 0.982]
    """
    share, square = hits / total, Z * Z / total
    centre = share + square / 2
    spread = Z * math.sqrt(share * (1 - share) / total + square / (4 * total))
    low, high = (centre - spread) / (1 + square), (centre + spread) / (1 + square)
    return (0.0 if hits == 0 else max(0.0, low)), (1.0 if hits == total else min(1.0, high))


def poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of the mean of a count (Garwood's).

    >>> [round(x, 3) for x in poisson(0)], [round(x, 3) for x in poisson(3)]
    ([0.0, 3.689], [0.619, 8.767])
    """
    if count >= MANY:
        return _byar(count, -Z), _byar(count + 1, Z)
    low = _solve(lambda mean: 1.0 - _at_most(count - 1, mean), ALPHA / 2, count) if count else 0.0
    return low, _solve(lambda mean: 1.0 - _at_most(count, mean), 1.0 - ALPHA / 2, count)


def _byar(count: int, z: float) -> float:
    return count * (1.0 - 1.0 / (9.0 * count) + z / (3.0 * math.sqrt(count))) ** 3


def _at_most(count: int, mean: float) -> float:
    """Chance of ``count`` events or fewer."""
    if mean <= 0.0:
        return 1.0
    return min(1.0, math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count + 1)))


def _solve(rising: Callable[[float], float], level: float, count: int) -> float:
    low, high = 0.0, 10.0 + 4.0 * count
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return high
