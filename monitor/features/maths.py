"""Exponential and logarithm of the kernels, from the four operations alone.

The C library's own differ in their last bit between processors (it has a version for each) and between systems; these
give the same bits everywhere, because IEEE 754 leaves no choice in +, -, * and /, and nothing here is reordered. They
are exact to two units in the last place, powers of ten to fourteen digits.
"""

from __future__ import annotations

import math

import numpy as np

from monitor.compiled import compiled

__all__ = ["exp", "exp10", "log", "log10"]

_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # the first 32 bits of ln 2: times a small integer it is exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")  # and the rest
_PER_LN2 = 1.4426950408889634
_LN10 = 2.302585092994046
_PER_LN10 = 0.4342944819032518
_ROOT_HALF = 0.7071067811865476
_SMALLEST = 2.2250738585072014e-308  # of the numbers with all their bits
_HIDDEN, _BIAS = 52, 1023  # bits behind the point of a float64, and what is added to its exponent
_HALF = np.int64(_BIAS - 1) << _HIDDEN  # the exponent of numbers in [0.5, 1)
_FRACTION = (np.int64(1) << _HIDDEN) - 1
_E = tuple(1.0 / math.factorial(n) for n in range(14))
_L = tuple(1.0 / n for n in range(3, 23, 2))


@compiled()
def exp(x):  # type: ignore[no-untyped-def]
    """e to the power ``x``: 0 below -708, infinite above 709."""
    if x < -708.0:
        return 0.0
    if x > 709.0:
        return math.inf
    k = math.floor(x * _PER_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW  # at most half of ln 2
    r2 = r * r
    r4 = r2 * r2
    # the series behind 1 + r, in groups that do not wait for one another
    low = (_E[2] + r * _E[3]) + r2 * (_E[4] + r * _E[5])
    middle = (_E[6] + r * _E[7]) + r2 * (_E[8] + r * _E[9])
    high = (_E[10] + r * _E[11]) + r2 * (_E[12] + r * _E[13])
    total = 1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))
    return total * np.int64((np.int64(k) + _BIAS) << _HIDDEN).view(np.float64)


@compiled()
def log(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of a positive ``x``."""
    if x < _SMALLEST:
        m, power = math.frexp(x)
        k = np.int64(power)
    else:
        bits = np.float64(x).view(np.int64)
        k = (bits >> _HIDDEN) - np.int64(_BIAS - 1)
        m = np.int64((bits & _FRACTION) | _HALF).view(np.float64)
    if m < _ROOT_HALF:
        m *= 2.0
        k -= 1
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = (_L[0] + z * _L[1]) + z2 * (_L[2] + z * _L[3])
    high = ((_L[4] + z * _L[5]) + z2 * (_L[6] + z * _L[7])) + z4 * (_L[8] + z * _L[9])
    total = z * (low + z4 * high)  # 2 artanh(s) without its first term
    return k * _LN2_HIGH + (2.0 * s + (2.0 * s * total + k * _LN2_LOW))


@compiled()
def log10(x):  # type: ignore[no-untyped-def]
    """Decimal logarithm of a positive ``x``."""
    return log(x) * _PER_LN10


@compiled()
def exp10(x):  # type: ignore[no-untyped-def]
    """10 to the power ``x``."""
    return exp(x * _LN10)
