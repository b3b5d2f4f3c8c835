"""The native table: one row a transfer, on any chain; on UTXO chains one row an output.

A table of transfers that names no transactions is read, too: the block and the place in it, or else the time and what
moved, stand in for the hash.
"""

from __future__ import annotations

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw
from monitor.model import TransferKind

__all__ = ["NATIVE", "UNHASHED"]

_KINDS = [str(kind) for kind in TransferKind]


def _build(raw: Raw, chain: ChainColumn) -> Build:
    if raw.has("transaction_hash"):
        raw.need("transaction_hash")
    told = raw.has("asset") and raw.dtypes["asset"] != pl.Null
    asset = chain.asset("asset") if told else chain.native  # else the unit of the value says so, see table.py
    value = raw.value("value", decimals=chain.decimals(asset))
    failed = raw.failed("status")
    said = raw.text("kind").str.to_lowercase()
    raw.checks.append(
        Check(~said.is_in(_KINDS), pl.format("kind was '{}', expected one of {}", said, pl.lit(", ".join(_KINDS))))
    )
    guessed = pl.when(asset == chain.native).then(pl.lit("native")).otherwise(pl.lit("token"))
    sender, receiver = raw.text("from_address"), raw.text("to_address")
    utxo = chain.utxo if chain.may_be_utxo else pl.lit(False)
    is_fee = (said == TransferKind.FEE).fill_null(False)
    is_paid_out = (said == TransferKind.INTERNAL).fill_null(False)  # a validator's withdrawal comes from nobody
    raw.checks += [
        Check(chain.known & sender.is_null() & ~utxo & ~is_paid_out, pl.lit("from_address is empty")),
        Check(chain.known & receiver.is_null() & ~utxo & ~is_fee, pl.lit("to_address is empty")),
    ]
    one, to = chain.address(sender), chain.address(receiver)
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    number = raw.whole("block_number", needed=raw.has("block_number"))
    hash = chain.hash(raw.text("transaction_hash"))
    if not raw.has("transaction_hash"):
        hash = _stand_in(raw, time, [one, to, value])
    columns = {
        "block_number": number,
        "transaction_hash": hash,
        "transaction_index": raw.whole("transaction_index"),
        "transfer_index": raw.whole("transfer_index"),
        "kind": pl.coalesce(said, guessed),
        "asset": asset,
        "from_address": pl.when(~utxo).then(one) if chain.may_be_utxo else one,
        "to_address": to,
        "value": value,
        "tx_from": chain.address(raw.text("tx_from")),
        "nonce": raw.whole("nonce"),
        "fee": raw.value("fee", needed=False, decimals=chain.decimals(chain.native)),
        "fee_rate": raw.number("fee_rate"),
        "gas_limit": raw.whole("gas_limit"),
        "n_outputs": raw.whole("n_outputs"),
        "version": raw.whole("version"),
        "flags": raw.whole("flags"),
        "script_type": raw.text("script_type").str.to_lowercase(),
    }
    if chain.may_be_utxo:
        columns |= _inputs(raw, utxo)
    moved, still = raw.positive("value") & ~failed, raw.still("value", "status")
    stays = ~failed & (~utxo | moved)  # what succeeded without value moves nothing, but says who dealt with whom
    return Build(
        columns, time, stays, columns["from_address"], to, columns.get("inputs"), transfers=moved, still=still,
        same=tuple(name for name in _SAME if name not in raw.units) if raw.has("transaction_hash") else (),
    )  # fmt: skip


def _inputs(raw: Raw, utxo: pl.Expr) -> dict[str, pl.Expr]:
    """Owners and amounts of the inputs of rows that are outputs, checked."""
    inputs, values = raw.list_text("from_address"), raw.list_text("input_values")
    raw.checks += [
        Check(
            utxo & (inputs.list.len() != values.list.len()), pl.lit("from_address and input_values differ in length")
        ),
        Check(
            utxo & ~values.list.eval(pl.element().str.contains(r"^[0-9]{1,18}$")).list.all(),
            pl.lit("input_values holds something that is not a whole number of base units"),
        ),
    ]
    return {"inputs": pl.when(utxo).then(inputs), "input_values": pl.when(utxo).then(values)}


def _stand_in(raw: Raw, time: pl.Expr | None, moved: list[pl.Expr]) -> pl.Expr:
    """What stands for a transaction that is not named: its place in the chain, or when and what was moved."""
    number = raw.text("block_number")
    if raw.has("block_number") and raw.has("transaction_index"):
        return pl.concat_str(number, raw.text("transaction_index").fill_null(""), separator="-")
    when = number if raw.has("block_number") or time is None else time.cast(pl.String)
    return pl.concat_str([when, *[text.fill_null("") for text in moved]], separator="-")


_OPTIONAL = (
    "chain", "transaction_index", "transfer_index", "kind", "status", "tx_from", "nonce", "fee", "fee_rate",
    "gas_limit", "n_outputs", "version", "flags", "script_type", "input_values",
)  # fmt: skip
_SAME = (
    "block_number", "block_timestamp", "transaction_hash", "transaction_index", "transfer_index", "from_address",
    "to_address", "value", "tx_from", "nonce", "fee", "gas_limit", "n_outputs", "version", "flags",
)  # fmt: skip
_EVIDENCE = ("status", "tx_from", "nonce", "fee", "fee_rate", "gas_limit")
NATIVE = Layout(
    name="the native table",
    gives="transfers",
    kind=None,
    required=frozenset({"transaction_hash", "from_address", "to_address", "asset", "value"}),
    one_of=frozenset({"block_timestamp", "block_number"}),
    optional=_OPTIONAL,
    evidence=_EVIDENCE,
    build=_build,
    extras=True,
    shows=frozenset({"native", "internal", "token"}),
)
UNHASHED = Layout(
    name="the native table without hashes",
    gives="transfers",
    kind=None,
    required=frozenset({"from_address", "to_address", "asset", "value"}),
    one_of=frozenset({"block_timestamp", "block_number"}),
    optional=_OPTIONAL,
    evidence=_EVIDENCE,
    build=_build,
    extras=True,
    unless=frozenset({"transaction_hash", "hash", "token_address", "trace_type", "input_values"}),
    shows=frozenset({"native", "internal", "token"}),
    note="no transaction_hash column: block_number-transaction_index stands in for it, or where one of them is missing"
    " the time, the addresses and the value",
)
