"""Amounts as people write and read them, exactly: digits are moved as text, no float takes part."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["AssetInfo", "display", "parse_amount", "split_amount"]

EXPECTED = "expected an amount such as '100 ETH', or base units as a whole number"
SHOWN_DECIMALS = 8
MAX_DIGITS = 100  # uint256 has 78; anything longer is a mistake

_AMOUNT = re.compile(r"(?P<whole>[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.(?P<fraction>[0-9]+))?(?:\s+(?P<symbol>\S+))?")


@dataclass(frozen=True, slots=True)
class AssetInfo:
    """How an asset is written. ``asset`` is CAIP-19; ``decimals`` None where they are not known."""

    asset: str
    symbol: str
    decimals: int | None


def split_amount(text: str) -> tuple[str, str, str | None]:
    """Digits before the point, digits after it, and the symbol (None: base units).

    >>> split_amount("1,000.50 ETH")
    ('1000', '50', 'ETH')

    Raises ValueError where the text is no amount.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(EXPECTED)
    whole, fraction = match["whole"].replace(",", ""), match["fraction"] or ""
    if len(whole) + len(fraction) > MAX_DIGITS:
        raise ValueError(EXPECTED)
    if match["symbol"] is None and (fraction or whole != match["whole"]):
        raise ValueError(f"{EXPECTED} (this one has no symbol)")
    return whole, fraction, match["symbol"]


def parse_amount(text: str | int, asset: AssetInfo) -> int:
    """Base units of an amount in ``asset``; text without a symbol is base units already.

    >>> parse_amount("1.5 ETH", AssetInfo("eip155:1/slip44:60", "ETH", 18))
    1500000000000000000
    >>> parse_amount("42", AssetInfo("eip155:1/slip44:60", "ETH", 18))
    42

    Raises ValueError where the text is no amount, names another symbol, or has more decimals than the asset.
    """
    whole, fraction, symbol = split_amount(str(text))
    if symbol is None:
        return int(whole)
    if symbol != asset.symbol:
        raise ValueError(f"expected an amount in {asset.symbol}, found {symbol}")
    if asset.decimals is None:
        raise ValueError(f"the decimals of {asset.symbol} are not known: expected base units as a whole number")
    fraction = fraction.rstrip("0")
    if len(fraction) > asset.decimals:
        raise ValueError(f"{asset.symbol} has {asset.decimals} decimals, the amount has {len(fraction)}")
    return int(whole + fraction.ljust(asset.decimals, "0"))


def display(value: int, decimals: int | None, symbol: str) -> str:
    """An amount for people: grouped thousands, never scientific, cut (not rounded) after 8 decimals.

    Below one the 8 decimals count from the first that is not zero, so that nothing small reads as nothing.

    >>> display(526_300_010_000_000, 6, "XEM"), display(115528802767, 8, "WBTC"), display(1, 18, "ETH")
    ('526,300,010 XEM', '1,155.28802767 WBTC', '0.000000000000000001 ETH')
    >>> display(123, None, "")
    '123 base units'
    """
    if decimals is None:
        return f"{value} base units"
    whole, rest = divmod(abs(value), 10**decimals)
    fraction = str(rest).rjust(decimals, "0") if decimals else ""
    kept = SHOWN_DECIMALS if whole else len(fraction) - len(fraction.lstrip("0")) + SHOWN_DECIMALS
    fraction = fraction[:kept].rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole:,}{'.' if fraction else ''}{fraction} {symbol}".rstrip()
