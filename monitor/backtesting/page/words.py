"""Texts of the page: whatever comes from the chain or the user is hostile, and numbers are for people. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from monitor.assets import AssetNames

__all__ = ["amount", "clock", "coins", "compact", "date", "day", "length", "percent", "short", "visible"]

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, bidirectional, zero-width, halves of pairs, no character
MARKS = 2  # combining marks in a row that a reader may need; more pile up over the lines around
MOST = 300  # characters of one text
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale is


def visible(given: object, most: int = MOST) -> str:
    """Text in which what cannot be seen is named, marks do not pile up, and length is bounded.

    >>> visible("US\\u202eDT\\x1b[2J")
    'US‹U+202E›DT‹U+001B›[2J'
    """
    found: list[str] = []
    marks = 0
    line = str(given)
    if len(line) <= most and line.isascii() and line.isprintable():
        return line
    for c in line[:most]:
        category = unicodedata.category(c)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in HIDDEN:
            found.append(" " if c in "\t\n\r" else f"‹U+{ord(c):04X}›")
        elif marks <= MARKS:
            found.append(c)
    return "".join(found) + (f"… ({len(line) - most} more characters)" if len(line) > most else "")


def short(given: object, head: int = 8, tail: int = 6) -> str:
    """An address or hash for where there is little room.

    >>> short("0x28c6c06298d514db089934071355e5743bf21d60")
    '0x28c6c0…f21d60'
    """
    text = visible(given)
    return text if len(text) <= head + tail + 3 else f"{text[:head]}…{text[-tail:]}"


def compact(value: float) -> str:
    """A number for an axis.

    >>> [compact(x) for x in (0, 0.00012, 0.5, 12, 999.7, 1234, 56_700, 999_700, 8_900_000, 2.5e9, 3e15)]
    ['0', '0.00012', '0.5', '12', '1,000', '1,234', '56.7k', '1M', '8.9M', '2.5B', '3e15']
    """
    rounded = float(f"{value:.3g}")
    size = abs(rounded)
    if size >= 1e15 or 0 < size < 1e-5:
        digits = f"{value:.1e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
        return digits.replace(".0e", "e")
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{rounded / (1e3 if name == 'k' else unit):.3g}{name}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def coins(names: AssetNames, asset: str) -> tuple[float, str]:
    """(base units of one coin, its symbol); where decimals are not known, base units it is."""
    info = names.info(asset)
    if info.decimals is None:
        return 1.0, f"base units of {visible(info.symbol, 40)}"
    return 10.0**info.decimals, visible(info.symbol, 40)


def amount(names: AssetNames, asset: str, value: float) -> str:
    """An amount of base units that was measured, not counted: three digits.

    >>> amount(AssetNames(), "nem:mainnet/slip44:43", 1.5e12)
    '1.5M XEM'
    """
    unit, symbol = coins(names, asset)
    return f"{compact(value / unit)} {symbol}"


def percent(share: float | None) -> str:
    """A share for people.

    >>> [percent(x) for x in (None, 0.0, 1e-9, 0.0004, 0.031, 0.5, 0.999, 1.0)]
    ['not known', '0 %', 'below 0.01 %', '0.04 %', '3.1 %', '50 %', '99.9 %', '100 %']
    """
    if share is None:
        return "not known"
    value = 100 * share
    if 0 < value < 0.01:
        return "below 0.01 %"
    text = f"{value:.2g}" if value < 10 else f"{value:.3g}"
    return f"{'99.9' if text == '100' and share < 1 else text} %"


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def date(seconds: float) -> str:
    """A day without its year, UTC.

    >>> date(1516924800)
    '26 Jan'
    """
    at = _at(seconds)
    return f"{at.day} {MONTHS[at.month - 1]}"


def day(seconds: float) -> str:
    """A day, UTC.

    >>> day(1516924800)
    '26 Jan 2018'
    """
    return f"{date(seconds)} {_at(seconds).year}"


def clock(seconds: float) -> str:
    """A moment, UTC.

    >>> clock(1516924860)
    '26 Jan 2018 00:01:00'
    """
    return f"{day(seconds)} {_at(seconds):%H:%M:%S}"


def length(seconds: float) -> str:
    """How long something took; whole seconds and minutes, as `monitor.findings.span` counts them.

    >>> [length(x) for x in (0, 45, 659, 7200, 90000, 864000, -90)]
    ['0 s', '45 s', '10 min', '2 h', '25 h', '10 days', '1 min before']
    """
    if seconds < 0:
        return f"{length(-seconds)} before"
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min"
    if seconds < 172800:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 86400:.3g} days"
