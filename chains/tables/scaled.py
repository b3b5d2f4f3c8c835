"""Amounts in text that are no whole base units: decimals scaled by moving the point, hexadecimal ones. All exact."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

__all__ = ["from_hex", "scaled"]

_NUMBER = r"^\+?([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?$"
_LONGEST = 400  # digits of a written number: more are no amount


def scaled(text: pl.Expr, decimals: pl.Expr) -> pl.Expr:
    """Whole base units, as digits, of an amount in coins.

    Parameters
    ----------
    text : ``1234.5``, ``1,234.5``, ``1e-05``; white space around it does not matter
    decimals : Int64: how many digits after the point are base units

    Returns
    -------
    digits without leading zeros; null where the text is no number, or has digits beyond the base unit
    """
    return pl.map_batches([text, decimals], _scaled, return_dtype=pl.String, is_elementwise=True)


def _scaled(columns: Sequence[pl.Series]) -> pl.Series:
    text, decimals = columns
    if len(decimals) == 1:  # a constant
        decimals = decimals.new_from_index(0, len(text))
    frame = pl.DataFrame({"text": text, "decimals": decimals.cast(pl.Int64)})
    found = frame.select(_plain(pl.col("text"), pl.col("decimals")).alias("found")).to_series()
    odd = (found.is_null() & text.is_not_null()).arg_true()
    if len(odd):  # exponents, thousands, white space, or no amount at all
        found = found.scatter(odd, frame[odd].select(_shifted(pl.col("text"), pl.col("decimals"))).to_series())
    return found


def _plain(text: pl.Expr, decimals: pl.Expr) -> pl.Expr:
    """The same of digits with a point, or none, without looking for patterns; null of all else."""
    parts = text.str.splitn(".", 2).struct
    before, after = parts.field("field_0"), parts.field("field_1").fill_null("")
    places = decimals.clip(0, _LONGEST).cast(pl.UInt64)
    rest = after.str.slice(places.cast(pl.Int64)).str.strip_chars_start("0")
    whole = pl.concat_str(before, after.str.slice(0, places).str.pad_end(places, "0"))
    digits = whole.str.strip_chars_start("0123456789").str.len_bytes() == 0
    plain = digits & (before != "") & (rest == "") & (whole.str.len_bytes() <= _LONGEST)
    bare = whole.str.strip_chars_start("0")
    return pl.when(plain).then(pl.when(bare == "").then(pl.lit("0")).otherwise(bare))


def _shifted(text: pl.Expr, decimals: pl.Expr) -> pl.Expr:
    bare = text.str.strip_chars().str.replace_all(",", "", literal=True)
    groups = bare.str.extract_groups(_NUMBER).struct
    before, after = groups.field("1").fill_null(""), groups.field("2").fill_null("")
    power = groups.field("3").cast(pl.Int64, strict=False).fill_null(0)
    digits = pl.concat_str(before, after)
    length = digits.str.len_bytes().cast(pl.Int64)
    wanted = length + decimals - after.str.len_bytes().cast(pl.Int64) + power  # digits of the whole number
    sane = (length > 0) & (length <= _LONGEST) & (wanted <= _LONGEST) & text.is_not_null()
    keep = pl.when(sane).then(wanted.clip(0, _LONGEST)).otherwise(0)
    rest = digits.str.slice(keep.cast(pl.UInt32))
    whole = digits.str.slice(0, keep.cast(pl.UInt64)).str.pad_end(keep.cast(pl.UInt64), "0").str.strip_chars_start("0")
    exact = rest.str.strip_chars_start("0").str.len_bytes() == 0
    return pl.when(sane & exact).then(pl.when(whole == "").then(pl.lit("0")).otherwise(whole))


def from_hex(text: pl.Expr) -> pl.Expr:
    """Digits of a number written as ``0x`` and hexadecimal digits; other text as it is."""
    return text.map_batches(_from_hex, pl.String, is_elementwise=True)


def _from_hex(column: pl.Series) -> pl.Series:
    if not column.str.starts_with("0x").any():
        return column
    return pl.Series(column.name, [_number(text) for text in column], dtype=pl.String)


def _number(text: str | None) -> str | None:
    if text is None or not text.startswith("0x") or len(text) > 66:  # 32 bytes
        return text
    try:
        return str(int(text[2:] or "0", 16))
    except ValueError:
        return text
