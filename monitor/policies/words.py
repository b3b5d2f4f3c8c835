"""Numbers of policies as people read them, exactly."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["long_span", "percent", "short_span"]

_UNITS = ((86400, "day", "d"), (3600, "hour", "h"), (60, "minute", "min"), (1, "second", "s"))


def percent(share: Fraction) -> str:
    """A share for people, exactly.

    >>> percent(Fraction(1, 5)), percent(Fraction(1, 800))
    ('20 %', '0.125 %')
    """
    whole, rest = divmod(share * 100, 1)
    digits = ""
    while rest and len(digits) < 12:
        digit, rest = divmod(rest * 10, 1)
        digits += str(digit)
    return f"{whole}{'.' if digits else ''}{digits} %"


def long_span(seconds: int) -> str:
    """Seconds in the largest unit that divides them.

    >>> long_span(3600), long_span(5400)
    ('1 hour', '90 minutes')
    """
    size, word, _ = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    return f"{seconds // size} {word}{'s' if seconds > size else ''}"


def short_span(seconds: int) -> str:
    """As `long_span`, with the unit's sign.

    >>> short_span(3600), short_span(5400)
    ('1 h', '90 min')
    """
    size, _, sign = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    return f"{seconds // size} {sign}"
