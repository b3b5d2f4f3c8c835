"""Whole numbers of base units in text. Nearly all are plain digits: a column is asked for the rest before any pattern.

Written as expressions, each question would be put to each row, which costs more than all else that is done with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from monitor.texts.digits import are_plain

__all__ = ["REASONS", "UINT256_MAX", "digits", "faults", "is_positive"]

UINT256_MAX = str(2**256 - 1)
# A whole number with a fraction of 9 zeros or more, as decimal types of a fixed scale are written. With fewer it may
# have been through a float, and then its last digits are not its own.
_ZEROS = r"^([0-9]+)\.0{9,}$"
_FINE, _NEGATIVE, _HUGE, _ROUNDED, _ODD = range(5)
REASONS: Mapping[int, str] = {
    _NEGATIVE: "no negative amount",
    _HUGE: "at most 2^256 - 1",
    _ROUNDED: "a whole number of base units (a decimal or rounded number is not exact)",
    _ODD: "a whole number of base units",
}
"""What was expected instead, by what `faults` says."""


def _without_zeros(column: pl.Series) -> pl.Series:
    """The same without a fraction that is nothing but many zeros."""
    if not column.str.contains(".", literal=True).any():
        return column
    return column.str.replace(_ZEROS, "$1")


def digits(text: pl.Expr) -> pl.Expr:
    """Whole numbers without faults in their shortest text form."""
    return text.map_batches(_digits, pl.String, is_elementwise=True)


def _digits(column: pl.Series) -> pl.Series:
    if are_plain(column):
        return column
    column = _without_zeros(column)
    if not (column.str.starts_with("0") | column.str.starts_with("+")).any():
        return column
    bare = pl.col("text").str.strip_prefix("+").str.strip_chars_start("0")
    short = pl.when(bare == "").then(pl.lit("0")).otherwise(bare)
    return pl.DataFrame({"text": column}).select(short).to_series().alias(column.name)


def faults(text: pl.Expr) -> pl.Expr:
    """What is wrong with each text as a number in [0, 2^256), a key of `REASONS`: UInt8, 0 for nothing (and null)."""
    return text.map_batches(_faults, pl.UInt8, is_elementwise=True)


def _faults(column: pl.Series) -> pl.Series:
    if are_plain(column):
        return pl.Series(column.name, [_FINE], dtype=pl.UInt8).new_from_index(0, len(column))
    column = _without_zeros(column)
    small = column.cast(pl.Int128, strict=False)
    text, is_small = pl.col("text"), pl.col("small").is_not_null()
    odd = pl.when(~is_small).then(text)  # few: the costly questions are asked of them alone
    bare = odd.str.strip_chars_start("0")
    length = bare.str.len_bytes()
    fits = (length < 78) | ((length == 78) & (bare <= UINT256_MAX))
    whole = (odd.str.len_bytes() > 38) & odd.str.contains(r"^[0-9]+$")
    is_float = odd.str.contains(r"^[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?$")
    fault = (
        pl.when(text.is_null()).then(_FINE)
        .when(is_small).then(pl.when(text.str.starts_with("-")).then(_NEGATIVE).otherwise(_FINE))
        .when(whole).then(pl.when(fits).then(_FINE).otherwise(_HUGE))
        .when(is_float).then(_ROUNDED)
        .otherwise(_ODD)
    )  # fmt: skip
    return pl.DataFrame({"text": column, "small": small}).select(fault.cast(pl.UInt8)).to_series().alias(column.name)


def is_positive(column: pl.Series) -> pl.Series:
    """Whether each text, a number without faults (hexadecimal ones too), is above zero; null is not."""
    if are_plain(column):
        return (column != "0").fill_null(False)
    return (column.str.strip_chars_start("+0.x").str.len_bytes() > 0).fill_null(False)
