"""Exponential and logarithm of the kernels, from the four operations alone.

The C library's own differ in their last bit between processors (it has a version for each) and between systems; these
give the same bits everywhere, because IEEE 754 leaves no choice in +, -, * and /, and nothing here is reordered. They
are exact to two units in the last place, powers of ten to fourteen digits.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["exp", "exp10", "log", "log10"]

_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # the first 32 bits of ln 2: times a small integer it is exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")  # and the rest
_PER_LN2 = 1.4426950408889634
_LN10 = 2.302585092994046
_PER_LN10 = 0.4342944819032518
_SERIES = tuple(1.0 / math.factorial(n) for n in range(13, -1, -1))
_ODD = tuple(1.0 / n for n in range(21, 1, -2))
_ROOT_HALF = 0.7071067811865476


@njit(cache=True)
def exp(x):  # type: ignore[no-untyped-def]
    """e to the power ``x``: 0 below -708, infinite above 709."""
    if x < -708.0:
        return 0.0
    if x > 709.0:
        return math.inf
    k = math.floor(x * _PER_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW  # at most half of ln 2
    total = 0.0
    for c in _SERIES:  # from its smallest term
        total = total * r + c
    return math.ldexp(total, int(k))


@njit(cache=True)
def log(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of a positive ``x``."""
    m, k = math.frexp(x)
    if m < _ROOT_HALF:
        m *= 2.0
        k -= 1
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    total = 0.0
    for c in _ODD:  # 2 artanh(s), from its smallest term
        total = (total + c) * z
    return k * _LN2_HIGH + (2.0 * s + (2.0 * s * total + k * _LN2_LOW))


@njit(cache=True)
def log10(x):  # type: ignore[no-untyped-def]
    """Decimal logarithm of a positive ``x``."""
    return log(x) * _PER_LN10


@njit(cache=True)
def exp10(x):  # type: ignore[no-untyped-def]
    """10 to the power ``x``."""
    return exp(x * _LN10)
