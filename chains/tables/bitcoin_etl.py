"""bitcoin-etl's ``transactions``, and the public warehouse's: a row is a transaction with its inputs and outputs.

A row becomes one row an output with all inputs on it, as live gives it (`chains.bitcoin.transfers`). Only what its
addresses tell is known of the scripts that inputs spend, and amounts are satoshi.

Source: the schemas of blockchain-etl/bitcoin-etl and bitcoin-etl-airflow (``crypto_bitcoin``); ``crypto_litecoin`` and
the others are the same. Output scripts without an address have one that begins with ``nonstandard``, those of several
owners have several: both are nobody's here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawTx
from chains.bitcoin.script import script_of
from chains.bitcoin.shape import shape_of
from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import PART, Build, Layout
from chains.tables.raw import Raw
from monitor.model import TxFlag
from monitor.networks import Network, by_chain

__all__ = ["TRANSACTIONS"]

_SHAPE = pl.Struct({"flags": pl.Int64, "script_type": pl.String})
_WHOLE = r"^[0-9]{1,18}$"
_ROW = "__row"
_OUTPUTS = 2**20  # places for the outputs of a transaction whose own place is not known


@dataclass(frozen=True, slots=True)
class _Tx:
    """What `shape_of` asks of a transaction."""

    is_coinbase: bool
    sequences: tuple[int, ...]
    lock_time: int
    output_values: tuple[int, ...]
    output_scripts: tuple[bytes, ...]
    script_sigs: tuple[bytes, ...] = ()
    witnesses: tuple[tuple[bytes, ...], ...] = ()


def _build(raw: Raw, chain: ChainColumn) -> Build:
    raw.need("hash")
    number, place = raw.whole("block_number", needed=True), raw.whole("transaction_index")
    fee = raw.value("fee", needed=False)
    coinbase = raw.text("is_coinbase").str.to_lowercase().is_in(["true", "1"]).fill_null(False)
    inputs = _owners(raw.list_text("inputs.addresses"))
    spent = raw.list_text("inputs.value").list.eval(_filled(pl.element()))
    made, receivers = raw.list_text("outputs.value"), _owners(raw.list_text("outputs.addresses"))
    _check(raw, inputs, spent, made, receivers)
    inputs, spent = (_unless(coinbase, entries) for entries in (inputs, spent))
    to, value = _owner(pl.col("outputs.addresses")), _digits(pl.col("outputs.value"))  # of one output
    columns = {
        "block_number": number,
        "transaction_hash": raw.text("hash").str.to_lowercase(),
        "transaction_index": place,
        "transfer_index": pl.when(place.is_null()).then(pl.col(_ROW) * _OUTPUTS + pl.col(PART)).otherwise(pl.col(PART)),
        "kind": pl.lit("native"),
        "asset": chain.native,
        "inputs": inputs,
        "input_values": spent,
        "to_address": to,
        "value": value,
        "fee": pl.when(~coinbase).then(fee),
        "fee_rate": pl.when(~coinbase).then(fee.cast(pl.Float64, strict=False) / raw.number("virtual_size")),
        "n_outputs": pl.col("__outputs"),
        "version": raw.whole("version"),
        "flags": pl.col("__shape").struct.field("flags"),
        "script_type": pl.col("__shape").struct.field("script_type"),
    }
    whole = {"__outputs": made.list.len().cast(pl.Int64), "__shape": _shape(raw, chain, coinbase, inputs, spent)}
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    moved = made.list.eval(_digits(pl.element()) != "0").list.sum()
    return Build(columns, time, value != "0", None, to, inputs, receivers, transfers=moved, whole=whole)


def _check(raw: Raw, inputs: pl.Expr, spent: pl.Expr, made: pl.Expr, receivers: pl.Expr) -> None:
    wrong = [
        (inputs.list.len() != spent.list.len(), "the addresses and the values of inputs differ in number"),
        (receivers.list.len() != made.list.len(), "the addresses and the values of outputs differ in number"),
        (made.is_null() | (made.list.len() == 0), "there are no outputs"),
    ]
    for name, values in (("inputs", spent), ("outputs", made)):
        not_whole = ~values.list.eval(pl.element().str.contains(_WHOLE).fill_null(False)).list.all()
        wrong.append((not_whole, f"{name} hold an amount that is no whole number of base units"))
    raw.checks += [Check(bad, pl.lit(reason)) for bad, reason in wrong]


def _filled(value: pl.Expr) -> pl.Expr:
    """What an input spends is empty where the export was not told: nothing is known to be spent."""
    return pl.when(value.fill_null("") == "").then(pl.lit("0")).otherwise(value)


def _digits(text: pl.Expr) -> pl.Expr:
    bare = text.str.strip_chars_start("0")
    return pl.when(bare == "").then(pl.lit("0")).otherwise(bare)


def _owner(text: pl.Expr) -> pl.Expr:
    """The one address of an entry; empty where there is none, or several."""
    alone = text.is_not_null() & ~text.str.contains(",", literal=True) & ~text.str.starts_with("nonstandard")
    return pl.when(alone.fill_null(False)).then(text).otherwise(pl.lit(""))


def _owners(lists: pl.Expr) -> pl.Expr:
    return lists.list.eval(_owner(pl.element()))


def _unless(coinbase: pl.Expr, entries: pl.Expr) -> pl.Expr:
    """New coins are spent from nobody."""
    none = pl.lit([], dtype=pl.List(pl.String))
    return pl.when(coinbase | entries.is_null()).then(none).otherwise(entries)


def _shape(raw: Raw, chain: ChainColumn, coinbase: pl.Expr, inputs: pl.Expr, spent: pl.Expr) -> pl.Expr:
    """``flags`` and ``script_type`` of a transaction."""
    parts = {
        "chain": chain.chain, "coinbase": coinbase, "inputs": inputs, "spent": spent,
        "sequences": raw.list_text("inputs.sequence"), "lock_time": raw.whole("lock_time"), "fee": raw.text("fee"),
        "values": raw.list_text("outputs.value"), "owners": _owners(raw.list_text("outputs.addresses")),
        "scripts": raw.list_text("outputs.script_hex"),
    }  # fmt: skip
    record = pl.struct([part.alias(name) for name, part in parts.items()])
    return record.map_batches(_shapes, _SHAPE, is_elementwise=True)


def _shapes(column: pl.Series) -> pl.Series:
    return pl.Series(column.name, [_shape_of(row) for row in column], dtype=_SHAPE)


def _shape_of(row: Mapping[str, Any]) -> dict[str, Any]:
    network = by_chain(row["chain"])
    values = tuple(int(value or 0) for value in row["values"])
    owners = row["owners"]
    texts = row["scripts"] or [None] * len(owners)
    scripts = tuple(_script(text, owner, network) for text, owner in zip(texts, owners, strict=True))
    prevouts = [
        Prevout(int(value), script) if (script := _of_address(owner, network)) is not None else None
        for owner, value in zip(row["inputs"], row["spent"], strict=True)
    ]
    sequences = tuple(int(text) for text in row["sequences"] or () if text and text.isdigit())
    unknown = tuple(b"" for _ in prevouts)
    witnesses: tuple[tuple[bytes, ...], ...] = tuple(() for _ in prevouts)
    tx = _Tx(bool(row["coinbase"]), sequences, row["lock_time"] or 0, values, scripts, unknown, witnesses)
    payers = set(row["inputs"]) - {""}
    change = {n for n, owner in enumerate(owners) if owner in payers}
    fee = int(row["fee"]) if row["fee"] and row["fee"].isdigit() and not tx.is_coinbase else None
    shape = shape_of(cast("RawTx", tx), prevouts, change, fee)
    return {"flags": int(shape.flags | (TxFlag.COINBASE if tx.is_coinbase else 0)), "script_type": shape.script_type}


def _script(text: str | None, owner: str, network: Network | None) -> bytes:
    """The script of an output; where the file has none, what its address tells, or something of its own."""
    try:
        return bytes.fromhex(text) if text else _of_address(owner, network) or owner.encode()
    except ValueError:
        return owner.encode()


def _of_address(owner: str, network: Network | None) -> bytes | None:
    if not owner or network is None:
        return None
    try:
        return script_of(owner, network)
    except ValueError:
        return None


TRANSACTIONS = Layout(
    name="bitcoin-etl transactions",
    gives="transfers",
    kind="bitcoin",
    required=frozenset({
        "hash", "block_number", "inputs.addresses", "inputs.value", "outputs.addresses", "outputs.value",
    }),
    one_of=frozenset({"block_timestamp", "block_number"}),
    optional=(
        "chain", "transaction_index", "is_coinbase", "fee", "virtual_size", "version", "lock_time", "inputs.sequence",
        "outputs.script_hex",
    ),
    evidence=("fee", "virtual_size"),
    build=_build,
    spellings={"hash": ("hash", "transaction_hash"), "transaction_index": ("transaction_index", "index")},
    shows=frozenset({"native"}),
    splits=("outputs.addresses", "outputs.value"),
)  # fmt: skip
