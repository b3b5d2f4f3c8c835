"""Typed expressions over the columns of a file, whatever types they have there; each comes with its checks.

Text formats give every column as text (null where empty, lists joined by ``|``); Parquet gives its own types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import polars as pl

from chains.tables.bad import Check
from chains.tables.mapping import Unit
from chains.tables.scaled import from_hex, scaled
from chains.tables.whole import REASONS, UINT256_MAX, digits, faults, is_positive
from monitor.errors import ConfigError

__all__ = ["YEAR_2200", "Raw"]

YEAR_2200 = 7_258_118_400  # UTC seconds: a later time is taken for milliseconds, never silently divided
_EXACT_FLOAT = 2**53
_FLOAT_DIGITS = 15  # that every float of 64 bits keeps as they were written
_ESCAPED = r"^\\x"
_ISO = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"\s*(?:UTC|Z|([+-])(\d{2})(?::?(\d{2}))?)?$"
)


class Raw:
    """The columns of one file.

    Parameters
    ----------
    dtypes : column name to type; in text formats all are text
    frame : the rows of one chunk in text formats, to look at before an expression is chosen; None in Parquet
    units : column to the unit of its numbers, where they are not base units or seconds

    Attributes
    ----------
    checks : what is looked at in each row
    made : columns that must be added to the rows before any other expression is evaluated: each is used often, and
        written out it would make expressions that take seconds to plan
    """

    def __init__(
        self,
        dtypes: Mapping[str, pl.DataType],
        frame: pl.DataFrame | None = None,
        units: Mapping[str, Unit] | None = None,
    ) -> None:
        self.dtypes = dict(dtypes)
        self.frame = frame
        self.units = dict(units or {})
        self.made: dict[str, pl.Expr] = {}
        self._escaped: dict[str, bool] = {}
        self.checks: list[Check] = []

    def has(self, name: str) -> bool:
        """Whether the file has the column."""
        return name in self.dtypes

    def need(self, name: str) -> None:
        """Check that the column is not empty."""
        plain = self.has(name) and self.dtypes[name].is_integer()  # of these no text need be made
        self._check((pl.col(name) if plain else self.text(name)).is_null(), pl.lit(f"{name} is empty"))

    def text(self, name: str) -> pl.Expr:
        """The column as text; null where it is empty or absent. Bytes become 0x hex."""
        dtype = self.dtypes.get(name)
        column = pl.col(name)
        if dtype is None or dtype == pl.Null:
            return pl.lit(None, dtype=pl.String)
        if dtype == pl.String:
            if self.frame is None:
                return pl.when(column != "").then(column)
            return column.str.replace(_ESCAPED, "0x") if self._is_escaped(name) else column
        if dtype == pl.Binary:
            return pl.lit("0x") + column.bin.encode("hex")
        if isinstance(dtype, pl.List):
            return _joined(column, dtype)
        if dtype.is_decimal():
            text = column.cast(pl.String)
            whole = text.str.strip_chars_end("0").str.strip_chars_end(".")
            return pl.when(text.str.contains(".", literal=True)).then(whole).otherwise(text)
        if dtype.is_float():  # a whole float below 2^53 is exact, any other stays visibly a float
            column = column.fill_nan(None)  # how pandas writes a missing number
            exact = (column == column.floor()) & (column.abs() < _EXACT_FLOAT)
            return pl.when(exact).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(
                column.cast(pl.String)
            )
        text = column.cast(pl.String, strict=False)
        return pl.when(text != "").then(text)  # of categories, one may be the empty text

    def list_text(self, name: str) -> pl.Expr:
        """The column as a list of text: a list as it is, text split at ``|``; lists inside are joined by ``,``."""
        dtype = self.dtypes.get(name)
        if isinstance(dtype, pl.List):
            return pl.col(name).list.eval(_inner(dtype))
        return self.text(name).str.split("|")

    def whole(self, name: str, needed: bool = False) -> pl.Expr:
        """The column as Int64, checked to be a whole number of 0 or more; null where it is empty or absent."""
        if not self.has(name):
            return pl.lit(None, dtype=pl.Int64)
        dtype = self.dtypes[name]
        number = pl.col(name) if dtype.is_integer() else self.text(name)
        number = number.cast(pl.Int64, strict=False)
        if needed:
            self.need(name)
        there = pl.col(name) if dtype.is_integer() else self.text(name)
        wrong = (number < 0) | (number.is_null() & there.is_not_null())
        self._check(wrong, self._was(name, "a whole number of 0 or more"))
        return number

    def number(self, name: str) -> pl.Expr:
        """The column as Float64, checked to be a number; null where it is empty or absent."""
        if not self.has(name):
            return pl.lit(None, dtype=pl.Float64)
        if self.dtypes[name].is_numeric():
            return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)
        number = self.text(name).cast(pl.Float64, strict=False)
        self._check(
            (number.is_null() & self.text(name).is_not_null()) | number.is_nan() | number.is_infinite(),
            self._was(name, "a number"),
        )
        return number

    def value(self, name: str, needed: bool = True, decimals: pl.Expr | None = None, hex: bool = False) -> pl.Expr:
        """The column as decimal integer text, exact, checked to lie in [0, 2^256).

        Parameters
        ----------
        needed : whether it may not be empty
        decimals : Int64, those of the row's asset: for a column in the unit ``token``
        hex : whether it may be hexadecimal
        """
        if not self.has(name):
            return pl.lit(None, dtype=pl.String)
        if needed:
            self.need(name)
        unit = self.units.get(name)
        if unit is not None and unit.decimals != 0:
            known = pl.lit(unit.decimals, dtype=pl.Int64) if unit.decimals is not None else decimals
            if known is None:
                raise ConfigError(f"{name} cannot be in the unit {unit.name}: its rows are of no token")
            return self.coins(name, known, f"{unit.name} decimals" if unit.name.isdigit() else unit.name)
        if self.dtypes[name].is_integer():
            self._check(pl.col(name) < 0, self._was(name, "no negative amount"))
            return pl.col(name).cast(pl.String)
        text = from_hex(self.text(name)) if hex else self.text(name)
        fault = faults(text)
        reason = reduce(
            lambda other, one: pl.when(fault == one[0]).then(self._was(name, one[1])).otherwise(other),
            REASONS.items(),
            pl.lit(None, dtype=pl.String),
        )
        self._check(fault > 0, reason)
        return digits(text)

    def coins(self, name: str, decimals: pl.Expr, unit: str, text: pl.Expr | None = None) -> pl.Expr:
        """The column, an amount in coins, as whole base units: exact, checked to lie in [0, 2^256).

        Parameters
        ----------
        decimals : Int64; null where they are not known, which is a bad row
        unit : what the amount is in, for the reason of a bad row
        text : the amount alone, where the column holds more
        """
        text = self.text(name) if text is None else text
        if self.has(name) and self.dtypes[name].is_float():
            text = pl.col(name).fill_nan(None).cast(pl.String)
            long = text.str.replace(r"[eE].*$", "").str.replace_all(r"[^0-9]", "").str.strip_chars_start("0")
            rounded = long.str.strip_chars_end("0").str.len_bytes() > _FLOAT_DIGITS
            self._check(rounded, self._was(name, "an amount that a float holds exactly (at most 15 digits)"))
        self.made[f"__coins_{name}"] = scaled(text, decimals)
        whole, there = pl.col(f"__coins_{name}"), text.is_not_null()
        self._check(text.str.strip_chars().str.starts_with("-"), self._was(name, "no negative amount"))
        self._check(there & decimals.is_null(), pl.lit("the token's decimals are not known: add it under assets"))
        is_number = text.str.contains(r"^\s*[+]?[0-9,]*\.?[0-9]+([eE][+-]?[0-9]{1,3})?\s*$")
        self._check(
            there & whole.is_null() & is_number, self._was(name, f"no digits beyond the base unit of {unit}")
        )
        self._check(there & whole.is_null(), self._was(name, f"an amount in {unit}"))
        huge = (whole.str.len_bytes() > 78) | ((whole.str.len_bytes() == 78) & (whole > UINT256_MAX))
        self._check(huge, self._was(name, "at most 2^256 - 1"))
        return whole

    def positive(self, name: str) -> pl.Expr:
        """Whether a valid value is above zero; false where it is empty."""
        if self.dtypes[name].is_numeric():
            return (pl.col(name) > 0).fill_null(False)
        if self.dtypes[name] == pl.Binary:
            return self.text(name).str.contains(r"^0x0*[1-9a-f]").fill_null(False)
        if name in self.units:
            return self.text(name).str.contains(r"^[+0.,\s]*[1-9]").fill_null(False)
        return self.text(name).map_batches(is_positive, pl.Boolean, is_elementwise=True)

    def still(self, value: str, status: str) -> pl.Expr | None:
        """See `chains.tables.layout.Build.still`: for rows whose value is 0 or empty or whose status is 0."""
        dtype, column = self.dtypes[value], pl.col(value)
        if self.frame is not None or value in self.units or not (dtype == pl.String or dtype.is_integer()):
            return None
        found = (column < "1" if dtype == pl.String else column <= 0) | column.is_null()
        if not self.has(status):
            return found
        if self.dtypes[status] == pl.Boolean:
            return found | ~pl.col(status)
        return found | (pl.col(status) < 1) if self.dtypes[status].is_integer() else None

    def time(self, name: str, other: Callable[[pl.Expr], pl.Expr] | None = None) -> pl.Expr:
        """The column as UTC seconds from unix seconds or ISO 8601 (naive is UTC); milliseconds are refused.

        Parameters
        ----------
        other : UTC seconds of text in a form that files of this layout may have, null where it is not in that form
        """
        dtype = self.dtypes[name]
        unit = self.units.get(name)
        if unit is not None and unit.per_second > 1 and not dtype.is_temporal():
            self.need(name)
            count = self.text(name).cast(pl.Int64, strict=False)
            seconds = count // unit.per_second
            expected = f"a whole number of {unit.name} since 1970"
            self._check(count.is_null() | (seconds < 0) | (seconds >= YEAR_2200), self._was(name, expected))
            return seconds
        if dtype.is_temporal():
            moment = pl.col(name).cast(pl.Datetime("us")) if dtype == pl.Date else pl.col(name)
            self._check(moment.is_null(), pl.lit(f"{name} is empty"))
            return moment.dt.epoch("s")
        self.need(name)
        if dtype.is_integer():
            seconds = pl.col(name).cast(pl.Int64, strict=False)
        else:
            seconds = self.text(name).cast(pl.Int64, strict=False)
            if not self._all_whole(name):
                seconds = pl.coalesce(seconds, _iso_seconds(self.text(name)))
                seconds = seconds if other is None else pl.coalesce(seconds, other(self.text(name)))
        expected = "UTC seconds or ISO 8601 such as 2018-01-25T15:02:00Z, from 1970 to 2199"
        self._check(seconds.is_null() | (seconds < 0), self._was(name, expected))
        late = pl.when(seconds >= 100 * YEAR_2200).then(pl.lit(" (it looks like milliseconds)")).otherwise(pl.lit(""))
        self._check(seconds >= YEAR_2200, pl.concat_str(self._was(name, expected), late))
        return seconds

    def failed(self, name: str) -> pl.Expr:
        """Whether a status column says that the transaction failed; empty means that it succeeded."""
        if not self.has(name):
            return pl.lit(False)
        dtype = self.dtypes[name]
        if dtype == pl.Boolean:
            return ~pl.col(name).fill_null(True)
        if dtype.is_integer():
            self._check(~pl.col(name).is_in([0, 1]), self._was(name, "0 (failed) or 1"))
            return (pl.col(name) == 0).fill_null(False)
        word = self.text(name).str.to_lowercase()
        self._check(~word.is_in(["0", "1", "0x0", "0x1", "false", "true"]), self._was(name, "0 (failed) or 1"))
        return word.is_in(["0", "0x0", "false"]).fill_null(False)

    def _is_escaped(self, name: str) -> bool:
        """Whether bytes may be written as a database does that keeps them, ``\\x`` for 0x."""
        if name not in self._escaped:
            found = self.frame is not None and name in self.frame.columns
            self._escaped[name] = found and bool(self.frame[name].str.starts_with("\\x").any())  # type: ignore[index]
        return self._escaped[name]

    def _all_whole(self, name: str) -> bool:
        if self.frame is None:
            return False
        column = self.frame[name]
        return column.cast(pl.Int64, strict=False).null_count() == column.null_count()

    def _was(self, name: str, expected: str) -> pl.Expr:
        shown = self.text(name).str.slice(0, 60).fill_null("")
        return pl.format("{} was '{}', expected {}", pl.lit(name), shown, pl.lit(expected))

    def _check(self, bad: pl.Expr, reason: pl.Expr) -> None:
        self.checks.append(Check(bad, reason))


def _inner(dtype: pl.List) -> pl.Expr:
    """Entries of a list as text; lists inside are joined by ``,``."""
    inner = dtype.inner
    if inner == pl.Binary:
        return pl.lit("0x") + pl.element().bin.encode("hex")
    if isinstance(inner, pl.List):
        return pl.element().list.eval(pl.element().cast(pl.String)).list.join(",")
    if isinstance(inner, pl.DataType) and inner.is_decimal():
        return pl.element().cast(pl.String).str.replace(r"\.0*$", "")
    return pl.element().cast(pl.String)


def _joined(column: pl.Expr, dtype: pl.List) -> pl.Expr:
    text = column.list.eval(_inner(dtype).fill_null("")).list.join("|")
    return pl.when(text != "").then(text)


def _iso_seconds(text: pl.Expr) -> pl.Expr:
    groups = text.str.strip_chars().str.extract_groups(_ISO).struct
    clock = pl.concat_str(
        groups.field("1"), pl.lit("T"), groups.field("2").fill_null("00:00"), pl.lit(":"),
        groups.field("3").fill_null("00"),
    )
    base = clock.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us").dt.epoch("s")
    hours = groups.field("5").cast(pl.Int64, strict=False).fill_null(0)
    minutes = groups.field("6").cast(pl.Int64, strict=False).fill_null(0)
    offset = hours * 3600 + minutes * 60
    return base - pl.when(groups.field("4") == "-").then(-offset).otherwise(offset)
