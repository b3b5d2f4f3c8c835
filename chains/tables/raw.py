"""Typed expressions over the columns of a file, whatever types they have there; each comes with its checks.

Text formats give every column as text (null where empty, lists joined by ``|``); Parquet gives its own types.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from chains.tables.bad import Check

__all__ = ["UINT256_MAX", "Raw", "digits"]

UINT256_MAX = str(2**256 - 1)
_YEAR_2200 = 7_258_118_400  # UTC seconds: a later time is taken for milliseconds, never silently divided
_EXACT_FLOAT = 2**53
_ISO = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"\s*(?:UTC|Z|([+-])(\d{2})(?::?(\d{2}))?)?$"
)


def digits(text: pl.Expr) -> pl.Expr:
    """A valid whole number in its shortest text form.

    Parameters
    ----------
    text : text expression of values that passed `Raw.value`'s checks
    """
    bare = text.str.strip_prefix("+").str.strip_chars_start("0")
    return pl.when(bare == "").then(pl.lit("0")).otherwise(bare)


class Raw:
    """The columns of one file.

    Parameters
    ----------
    dtypes : column name to type; in text formats all are text
    frame : the rows of one chunk in text formats, to look at before an expression is chosen; None in Parquet
    """

    def __init__(self, dtypes: Mapping[str, pl.DataType], frame: pl.DataFrame | None = None) -> None:
        self.dtypes = dict(dtypes)
        self.frame = frame
        self.checks: list[Check] = []

    def has(self, name: str) -> bool:
        """Whether the file has the column."""
        return name in self.dtypes

    def need(self, name: str) -> None:
        """Check that the column is not empty."""
        self._check(self.text(name).is_null(), pl.lit(f"{name} is empty"))

    def text(self, name: str) -> pl.Expr:
        """The column as text; null where it is empty or absent. Bytes become 0x hex."""
        dtype = self.dtypes.get(name)
        column = pl.col(name)
        if dtype is None or dtype == pl.Null:
            return pl.lit(None, dtype=pl.String)
        if dtype == pl.String:
            return column if self.frame is not None else pl.when(column != "").then(column)
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
        return column.cast(pl.String, strict=False)

    def list_text(self, name: str) -> pl.Expr:
        """The column as a list of text: a list as it is, text split at ``|``."""
        dtype = self.dtypes.get(name)
        if isinstance(dtype, pl.List):
            inner = pl.element().cast(pl.String)
            if dtype.inner == pl.Binary:
                inner = pl.lit("0x") + pl.element().bin.encode("hex")
            return pl.col(name).list.eval(inner)
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

    def value(self, name: str, needed: bool = True) -> pl.Expr:
        """The column as decimal integer text, exact, checked to lie in [0, 2^256)."""
        if not self.has(name):
            return pl.lit(None, dtype=pl.String)
        if needed:
            self.need(name)
        if self.dtypes[name].is_integer():
            self._check(pl.col(name) < 0, self._was(name, "no negative amount"))
            return pl.col(name).cast(pl.String)
        text = self.text(name)
        small = text.cast(pl.Int128, strict=False)
        bare = text.str.strip_chars_start("0")
        length = bare.str.len_bytes()
        huge = (length < 78) | ((length == 78) & (bare <= UINT256_MAX))
        whole = (text.str.len_bytes() > 38) & text.str.contains(r"^[0-9]+$")
        is_float = text.str.contains(r"^[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?$")
        self._check(text.str.starts_with("-") & small.is_not_null(), self._was(name, "no negative amount"))
        self._check(small.is_null() & whole & ~huge, self._was(name, "at most 2^256 - 1"))
        self._check(
            small.is_null() & text.is_not_null() & ~whole & is_float,
            self._was(name, "a whole number of base units (a decimal or rounded number is not exact)"),
        )
        self._check(
            small.is_null() & text.is_not_null() & ~whole, self._was(name, "a whole number of base units")
        )
        return digits(text)

    def positive(self, name: str) -> pl.Expr:
        """Whether a valid value is above zero; false where it is empty."""
        if self.dtypes[name].is_numeric():
            return (pl.col(name) > 0).fill_null(False)
        return (self.text(name).str.strip_chars_start("+0").str.len_bytes() > 0).fill_null(False)

    def time(self, name: str) -> pl.Expr:
        """The column as UTC seconds from unix seconds or ISO 8601 (naive is UTC); milliseconds are refused."""
        dtype = self.dtypes[name]
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
        expected = "UTC seconds or ISO 8601 such as 2018-01-25T15:02:00Z"
        self._check(seconds.is_null() | (seconds < 0), self._was(name, expected))
        self._check(seconds >= _YEAR_2200, self._was(name, f"{expected} (it looks like milliseconds)"))
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


def _joined(column: pl.Expr, dtype: pl.List) -> pl.Expr:
    inner = pl.element().cast(pl.String)
    if dtype.inner == pl.Binary:
        inner = pl.lit("0x") + pl.element().bin.encode("hex")
    text = column.list.eval(inner).list.join("|")
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
