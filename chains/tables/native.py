"""The native table: one row a transfer, on any chain; on UTXO chains one row an output."""

from __future__ import annotations

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw
from monitor.model import TransferKind

__all__ = ["NATIVE"]

_KINDS = [str(kind) for kind in TransferKind]


def _build(raw: Raw, chain: ChainColumn) -> Build:
    raw.need("transaction_hash")
    value = raw.value("value")
    asset = chain.asset("asset")
    failed = raw.failed("status")
    said = raw.text("kind").str.to_lowercase()
    raw.checks.append(
        Check(~said.is_in(_KINDS), pl.format("kind was '{}', expected one of {}", said, pl.lit(", ".join(_KINDS))))
    )
    guessed = pl.when(asset == chain.native).then(pl.lit("native")).otherwise(pl.lit("token"))
    sender, receiver = raw.text("from_address"), raw.text("to_address")
    utxo = chain.utxo if chain.may_be_utxo else pl.lit(False)
    is_fee = (said == TransferKind.FEE).fill_null(False)
    raw.checks += [
        Check(chain.known & sender.is_null() & ~utxo, pl.lit("from_address is empty")),
        Check(chain.known & receiver.is_null() & ~utxo & ~is_fee, pl.lit("to_address is empty")),
    ]
    one, to = chain.address(sender), chain.address(receiver)
    columns = {
        "block_number": raw.whole("block_number", needed=raw.has("block_number")),
        "transaction_hash": chain.hash(raw.text("transaction_hash")),
        "transaction_index": raw.whole("transaction_index"),
        "transfer_index": raw.whole("transfer_index"),
        "kind": pl.coalesce(said, guessed),
        "asset": asset,
        "from_address": pl.when(~utxo).then(one) if chain.may_be_utxo else one,
        "to_address": to,
        "value": value,
        "tx_from": chain.address(raw.text("tx_from")),
        "nonce": raw.whole("nonce"),
        "fee": raw.value("fee", needed=False),
        "fee_rate": raw.number("fee_rate"),
        "gas_limit": raw.whole("gas_limit"),
        "n_outputs": raw.whole("n_outputs"),
        "version": raw.whole("version"),
        "flags": raw.whole("flags"),
        "script_type": raw.text("script_type").str.to_lowercase(),
    }
    if chain.may_be_utxo:
        inputs = raw.list_text("from_address")
        values = raw.list_text("input_values")
        raw.checks += [
            Check(
                utxo & (inputs.list.len() != values.list.len()),
                pl.lit("from_address and input_values differ in length"),
            ),
            Check(
                utxo & ~values.list.eval(pl.element().str.contains(r"^[0-9]{1,18}$")).list.all(),
                pl.lit("input_values holds something that is not a whole number of base units"),
            ),
        ]
        columns["inputs"] = pl.when(utxo).then(inputs)
        columns["input_values"] = pl.when(utxo).then(values)
    moves = raw.positive("value") & ~failed
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    return Build(columns, time, moves, columns["from_address"], to, columns.get("inputs"))


NATIVE = Layout(
    name="the native table",
    gives="transfers",
    kind=None,
    required=frozenset({"transaction_hash", "from_address", "to_address", "asset", "value"}),
    one_of=frozenset({"block_timestamp", "block_number"}),
    optional=(
        "chain", "transaction_index", "transfer_index", "kind", "status", "tx_from", "nonce", "fee", "fee_rate",
        "gas_limit", "n_outputs", "version", "flags", "script_type", "input_values",
    ),
    evidence=("status", "tx_from", "nonce", "fee", "fee_rate", "gas_limit"),
    build=_build,
    extras=True,
)
