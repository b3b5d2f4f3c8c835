"""The tables of ethereum-etl, as exported to CSV or JSON lines and as the public warehouse names them."""

from __future__ import annotations

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw

__all__ = ["BLOCKS", "TOKEN_TRANSFERS", "TRANSACTIONS"]

# Log indices start at 0 in a block, and the value of a transaction moves before anything that its code does.
_BEFORE_LOGS = -1


def _time(raw: Raw) -> pl.Expr | None:
    return raw.time("block_timestamp") if raw.has("block_timestamp") else None


def _transactions(raw: Raw, chain: ChainColumn) -> Build:
    for name in ("hash", "from_address"):
        raw.need(name)
    failed = raw.failed("receipt_status")
    created = raw.text("receipt_contract_address")
    to = chain.address(pl.coalesce(raw.text("to_address"), created))
    sender = chain.address(raw.text("from_address"))
    price = pl.coalesce(raw.whole("receipt_effective_gas_price"), raw.whole("gas_price"))
    fee = raw.whole("receipt_gas_used").cast(pl.Int128) * price.cast(pl.Int128)
    columns = {
        "block_number": raw.whole("block_number", needed=True),
        "transaction_hash": chain.hash(raw.text("hash")),
        "transaction_index": raw.whole("transaction_index"),
        "transfer_index": pl.lit(_BEFORE_LOGS, dtype=pl.Int64),
        "kind": pl.lit("native"),
        "asset": chain.native,
        "from_address": sender,
        "to_address": to,
        "value": raw.value("value"),
        "tx_from": sender,
        "nonce": raw.whole("nonce"),
        "fee": fee.cast(pl.String),
        "fee_rate": price.cast(pl.Float64),
        "gas_limit": raw.whole("gas"),
    }
    valued = raw.positive("value") & ~failed
    return Build(
        columns, _time(raw), valued & to.is_not_null(), sender, to, skipped=valued & to.is_null(), fee_rows=True,
        unknown_status=raw.text("receipt_status").is_null() if raw.has("receipt_status") else None,
    )


def _token_transfers(raw: Raw, chain: ChainColumn) -> Build:
    for name in ("token_address", "from_address", "to_address", "transaction_hash"):
        raw.need(name)
    sender, to = chain.address(raw.text("from_address")), chain.address(raw.text("to_address"))
    token = chain.token(raw.text("token_address"))
    shown = raw.text("token_address").fill_null("")
    raw.checks.append(Check(token.is_null(), pl.format("token_address was '{}', expected 0x...", shown)))
    columns = {
        "block_number": raw.whole("block_number", needed=True),
        "transaction_hash": chain.hash(raw.text("transaction_hash")),
        "transaction_index": raw.whole("transaction_index"),
        "transfer_index": raw.whole("log_index", needed=True),
        "kind": pl.lit("token"),
        "asset": token,
        "from_address": sender,
        "to_address": to,
        "value": raw.value("value"),
    }
    return Build(columns, _time(raw), raw.positive("value"), sender, to)


def _blocks(raw: Raw, chain: ChainColumn) -> Build:
    return Build({"block_number": raw.whole("number", needed=True)}, raw.time("timestamp"))


TRANSACTIONS = Layout(
    name="ethereum-etl transactions",
    gives="transfers",
    kind="evm",
    required=frozenset({"hash", "block_number", "from_address", "to_address", "value", "gas"}),
    optional=(
        "chain", "block_timestamp", "transaction_index", "nonce", "gas_price", "receipt_status", "receipt_gas_used",
        "receipt_effective_gas_price", "receipt_contract_address",
    ),
    evidence=("receipt_status", "receipt_gas_used", "nonce", "gas_price"),
    build=_transactions,
)
TOKEN_TRANSFERS = Layout(
    name="ethereum-etl token_transfers",
    gives="transfers",
    kind="evm",
    required=frozenset(
        {"token_address", "from_address", "to_address", "value", "transaction_hash", "log_index", "block_number"}
    ),
    optional=("chain", "block_timestamp", "transaction_index"),
    build=_token_transfers,
    joins=True,
)
BLOCKS = Layout(
    name="ethereum-etl blocks",
    gives="times",
    kind="evm",
    required=frozenset({"number", "timestamp", "hash"}),
    optional=("chain",),
    build=_blocks,
    time="timestamp",
)
