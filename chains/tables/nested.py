"""Columns that hold records: each part that a layout reads becomes a column of its own, ``outer.part``.

A record gives a value, a list of records a list. Only the parts below are read, so that the nesting that a hostile file
may have does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

__all__ = ["LISTS", "PARTS", "dotted", "part_of", "parts_dtype", "parts_of", "texts", "written"]

_SPENT = ("addresses", "value", "sequence")
_MADE = ("addresses", "value", "script_hex")
_ACTION = (
    "from_address", "to_address", "call_type", "value", "value_lossless", "author", "reward_type", "refund_address",
    "refund_balance", "refund_balance_lossless", "self_destructed_address",
)  # fmt: skip
#: outer column to the parts that are read. ``inputs`` and ``outputs`` are lists of records, the others records.
PARTS: Mapping[str, tuple[str, ...]] = {
    "inputs": _SPENT,
    "outputs": _MADE,
    "action": _ACTION,
    "result": ("address",),
    "value": ("string_value", "bignumeric_value"),
}
LISTS = frozenset({"inputs", "outputs"})
_LISTED = frozenset({"addresses"})  # parts that are lists themselves


def dotted(schema: Mapping[str, pl.DataType]) -> dict[str, tuple[pl.Expr, pl.DataType]]:
    """Columns of the parts of a typed file's records: name to (expression, type)."""
    found: dict[str, tuple[pl.Expr, pl.DataType]] = {}
    for outer in PARTS:
        column, dtype = _unwrapped(pl.col(outer), schema.get(outer))
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
            for name, (inner, its) in _fields(pl.element(), dtype.inner, outer).items():
                found[f"{outer}.{name}"] = (column.list.eval(inner), pl.List(its))
        elif isinstance(dtype, pl.Struct):
            for name, (inner, its) in _fields(column, dtype, outer).items():
                found[f"{outer}.{name}"] = (inner, its)
    return found


def _fields(record: pl.Expr, dtype: pl.Struct, outer: str) -> dict[str, tuple[pl.Expr, pl.DataType]]:
    there = {field.name: field.dtype for field in dtype.fields}
    return {name: _unwrapped(record.struct.field(name), there[name]) for name in PARTS[outer] if name in there}


def _unwrapped(column: pl.Expr, dtype: Any) -> tuple[pl.Expr, Any]:
    """Lists as BigQuery may export them, ``{list: [{element: x}]}``, made plain."""
    if isinstance(dtype, pl.Struct) and [field.name for field in dtype.fields] == ["list"]:
        listed = dtype.fields[0].dtype
        if isinstance(listed, pl.List) and isinstance(listed.inner, pl.Struct) and len(listed.inner.fields) == 1:
            inner = listed.inner.fields[0]
            return column.struct.field("list").list.eval(pl.element().struct.field(inner.name)), pl.List(inner.dtype)
    return column, dtype


def parts_of(nested: Collection[str], columns: Collection[str]) -> list[str]:
    """Columns of the parts of a JSON file's records, by the names of its nested columns and of all."""
    outers = [name for name in PARTS if name in nested or (name in columns and name in LISTS and LISTS & set(nested))]
    return [f"{outer}.{part}" for outer in outers for part in PARTS[outer]]


def parts_dtype(outer: str, parts: Iterable[str]) -> pl.DataType:
    """The type as which JSON text is read: all texts."""
    record = pl.Struct({part: pl.List(pl.String) if part in _LISTED else pl.String for part in parts})
    return pl.List(record) if outer in LISTS else record


def texts(outer: str, part: str) -> pl.Expr:
    """The part of a column of `parts_dtype` as text: entries of lists joined by ``|``, lists inside by ``,``.

    An empty list is null; one entry that is empty is an empty text.
    """
    if outer not in LISTS:
        return pl.col(outer).struct.field(part)
    entry = pl.element().struct.field(part)
    entry = entry.list.join(",") if part in _LISTED else entry
    return pl.when(pl.col(outer).list.len() > 0).then(pl.col(outer).list.eval(entry.fill_null("")).list.join("|"))


def part_of(record: Mapping[str, Any], name: str) -> str | None:
    """What `texts` gives, of a parsed JSON record with numbers as text; null where it has another shape."""
    outer, _, part = name.partition(".")
    inside = record.get(outer)
    if outer not in LISTS:
        value = inside.get(part) if isinstance(inside, dict) else None
        return written(value) if isinstance(value, str) and value else None
    if not isinstance(inside, list) or not inside:
        return None
    return "|".join(_entry(entry.get(part) if isinstance(entry, dict) else None) for entry in inside)


def _entry(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(written(v) for v in value if isinstance(v, str))
    return written(value) if isinstance(value, str) else ""


def written(text: str) -> str:
    """A text of JSON; halves of characters, which it may hold, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
