"""Exponential and logarithm of the kernels: against exact arithmetic, and with no library function inside."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from random import Random
from types import ModuleType

import pytest

from monitor import fusion
from monitor.detectors import guard, hw1, hw2, hw3, hw4, hw5, hw6
from monitor.features import kernel, maths, table

EXACT = {"frexp", "ldexp", "floor", "inf", "factorial"}  # no rounding in them


def units_off(found: Callable[[float], float], exact: Callable[[Decimal], Decimal], x: float) -> float:
    with localcontext() as context:
        context.prec = 50
        value = exact(Decimal(x))
        return float(abs(Decimal(found(x)) - value) / Decimal(math.ulp(float(value))))


def test_against_exact_arithmetic() -> None:
    """At most two units in the last place off; powers of ten fourteen digits."""
    rng = Random(1)
    for _ in range(500):
        assert units_off(maths.exp, Decimal.exp, rng.uniform(-300, 300)) <= 2
        assert units_off(maths.log, Decimal.ln, 10 ** rng.uniform(-200, 200)) <= 2
        assert units_off(maths.log, Decimal.ln, 1 + rng.uniform(-1e-3, 1e-3)) <= 2
        assert units_off(maths.log10, Decimal.log10, 10 ** rng.uniform(-12, 12)) <= 3
        x = rng.uniform(-9, 9)
        assert maths.exp10(x) == pytest.approx(10**x, rel=2e-14)


def test_ends_and_exact_points() -> None:
    """Far below nothing, far above infinite; 1 and 0 are exact; powers of two come out of their logarithms."""
    assert maths.exp(0.0) == 1.0 and maths.log(1.0) == 0.0 and maths.log10(1.0) == 0.0 and maths.exp10(0.0) == 1.0
    assert maths.exp(-1e9) == 0.0 and maths.exp(1e9) == math.inf
    assert maths.log(8.0) == pytest.approx(3 * math.log(2), rel=1e-16)


def library_calls(source: str) -> set[str]:
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
             and isinstance(node.value, ast.Name) and node.value.id == "math"}  # fmt: skip
    powers = {"**" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Pow)}
    return (names - EXACT) | powers


@pytest.mark.parametrize("module", [fusion, kernel, maths, table, guard, hw1, hw2, hw3, hw4, hw5, hw6])
def test_kernels_call_no_library_function_that_rounds(module: ModuleType) -> None:
    """Of the C library only what is exact; NumPy's own functions are not asked either."""
    source = inspect.getsource(module)
    assert library_calls(source) == set()
    assert not any(f"np.{name}(" in source for name in ("exp", "log", "log10", "power", "sqrt"))


def test_a_library_function_would_be_found() -> None:
    """Planted faults: an exponential, a power operator."""
    assert library_calls("y = math.exp(x)") == {"exp"} and library_calls("y = 10.0 ** x") == {"**"}
