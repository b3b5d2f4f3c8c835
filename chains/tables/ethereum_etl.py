"""The tables of ethereum-etl, as exported to CSV or JSON lines, and as the public warehouses name them.

Sources: the schemas of blockchain-etl/ethereum-etl-airflow (``crypto_ethereum``), and of Google's
``goog_blockchain_ethereum_mainnet_us``, which gives amounts as rounded numbers and beside them as text
(``value_lossless``), and the action of a trace as a record.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from chains.tables.bad import Check
from chains.tables.calls import Call, build_calls, without_failed
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw

__all__ = ["BLOCKS", "TOKEN_TRANSFERS", "TRACES", "TRANSACTIONS", "WAREHOUSE_BLOCKS", "WAREHOUSE_TRACES"]

# Log indices start at 0 in a block, and the value of a transaction moves before anything that its code does.
_BEFORE_LOGS = -1
_STANDARDS = {
    name: standard for standard in ("erc20", "erc721", "erc1155") for name in (standard, standard.replace("c", "c-"))
}


def _time(raw: Raw) -> pl.Expr | None:
    return raw.time("block_timestamp") if raw.has("block_timestamp") else None


def build_transactions(raw: Raw, chain: ChainColumn, hex: bool = False) -> Build:
    """Rows of transactions: the value that each moves, and its fee."""
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
        "value": raw.value("value", hex=hex),
        "tx_from": sender,
        "nonce": raw.whole("nonce"),
        "fee": fee.cast(pl.String),
        "fee_rate": price.cast(pl.Float64),
        "gas_limit": raw.whole("gas"),
    }
    valued, there = raw.positive("value") & ~failed, to.is_not_null()
    return Build(  # a call without value stays, too: it says whom an account deals with
        columns, _time(raw), ~failed & there, sender, to, transfers=valued & there, skipped=valued & ~there,
        fee_rows=True, unknown_status=raw.text("receipt_status").is_null() if raw.has("receipt_status") else None,
    )


def build_token_transfers(raw: Raw, chain: ChainColumn, hex: bool = False) -> Build:
    """Rows of token transfers, one a log, or one an item of a batch."""
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
        "asset": _asset(raw, chain, token),
        "from_address": sender,
        "to_address": to,
        "value": raw.value("value", hex=hex),
    }
    there = pl.lit(True)
    if raw.has("removed"):
        there = ~raw.text("removed").str.to_lowercase().is_in(["true", "1"]).fill_null(False)
    marks = raw.text("batch_index") if raw.has("batch_index") else None
    moved = raw.positive("value") & there  # transfers of nothing stay, too: they are how addresses are poisoned
    return Build(columns, _time(raw), there, sender, to, transfers=moved, marks=marks)


def _asset(raw: Raw, chain: ChainColumn, token: pl.Expr) -> pl.Expr:
    """What a row moves: coins of the contract, or where the row says so one of its collectibles."""
    if not raw.has("event_type"):
        return token
    said = raw.text("event_type").str.to_lowercase()
    expected = "event_type was '{}', expected ERC-20, ERC-721 or ERC-1155"
    raw.checks.append(Check(~said.fill_null("").is_in(list(_STANDARDS)), pl.format(expected, said.fill_null(""))))
    standard = said.replace_strict(_STANDARDS, default="erc20")
    item = pl.when(standard == "erc1155").then(pl.concat_str(pl.lit("/"), raw.text("token_id").fill_null("")))
    contract = token.str.extract("([^:]*)$")
    return pl.concat_str(chain.chain, pl.lit("/"), standard, pl.lit(":"), contract, item.otherwise(pl.lit("")))


def _traces(raw: Raw, chain: ChainColumn) -> Build:
    sender, receiver = chain.address(raw.text("from_address")), chain.address(raw.text("to_address"))
    failed = raw.failed("status") | raw.text("error").is_not_null()
    call = Call(
        kind=raw.text("trace_type"), call_type=raw.text("call_type"), path=_path(raw, "trace_address"),
        sender=sender, receiver=receiver, value=raw.value("value", needed=False), positive=raw.positive("value"),
        failed=failed, reward=raw.text("reward_type"),
    )
    return build_calls(raw, chain, call, "transaction_hash", "transaction_index")


def _path(raw: Raw, name: str) -> pl.Expr:
    """The place in the tree of calls with commas, whatever separates its numbers in the file."""
    return raw.text(name).str.replace_all("[^0-9]+", ",").str.strip_chars(",")


def _failed_traces(rows: pl.LazyFrame, columns: Collection[str]) -> pl.LazyFrame:
    """ethereum-etl's ``status`` speaks of the calls around a call, too; where there is none, they are looked at."""
    raw = Raw(dict(rows.collect_schema()))
    failed = (raw.text("error").is_not_null() | raw.text("status").is_in(["0", "false"])).fill_null(False)
    return without_failed(rows, columns, _TRANSACTION, _path(raw, "trace_address"), failed, "trace_type")


def _warehouse_traces(raw: Raw, chain: ChainColumn) -> Build:
    kind = raw.text("trace_type")
    made, died = kind.str.starts_with("create"), kind.str.starts_with("suicide")
    sender = pl.when(died).then(raw.text("action.self_destructed_address")).otherwise(raw.text("action.from_address"))
    receiver = (
        pl.when(made).then(raw.text("result.address")).when(died).then(raw.text("action.refund_address"))
        .when(kind.str.starts_with("reward")).then(raw.text("action.author")).otherwise(raw.text("action.to_address"))
    )  # fmt: skip
    value = pl.when(died).then(raw.value("action.refund_balance", needed=False)).otherwise(
        raw.value("action.value", needed=False)
    )
    none = pl.lit(False)
    positive = pl.when(died).then(
        raw.positive("action.refund_balance") if raw.has("action.refund_balance") else none
    ).otherwise(raw.positive("action.value") if raw.has("action.value") else none)
    call = Call(
        kind=kind, call_type=raw.text("action.call_type"), path=_path(raw, "trace_address"),
        sender=chain.address(sender), receiver=chain.address(receiver), value=value, positive=positive,
        failed=raw.text("error").is_not_null(), reward=raw.text("action.reward_type"),
    )
    return build_calls(raw, chain, call, "transaction_hash", "transaction_index")


def _blocks(raw: Raw, chain: ChainColumn) -> Build:
    return Build({"block_number": raw.whole("number", needed=True)}, raw.time("timestamp"))


_TRANSACTION = ("block_number", "transaction_hash", "transaction_index")
_NO_TRANSACTIONS = frozenset({"asset", "token_address", "trace_type", "trace_address", "action_type"})
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
    build=build_transactions,
    spellings={
        "hash": ("hash", "transaction_hash"),
        "value": ("value_lossless", "value.string_value", "value"),
    },
    unless=_NO_TRANSACTIONS,
    shows=frozenset({"native"}),
)
TOKEN_TRANSFERS = Layout(
    name="ethereum-etl token_transfers",
    gives="transfers",
    kind="evm",
    required=frozenset(
        {"token_address", "from_address", "to_address", "value", "transaction_hash", "log_index", "block_number"}
    ),
    optional=("chain", "block_timestamp", "transaction_index", "event_type", "token_id", "batch_index", "removed"),
    build=build_token_transfers,
    joins=True,
    spellings={
        "token_address": ("token_address", "address"),
        "value": ("quantity", "value"),
        "log_index": ("log_index", "event_index"),
    },
    unless=frozenset({"asset", "trace_type"}),
    shows=frozenset({"token"}),
)
TRACES = Layout(
    name="ethereum-etl traces",
    gives="transfers",
    kind="evm",
    required=frozenset({"trace_type", "trace_address", "from_address", "to_address", "value", "block_number"}),
    one_of=frozenset({"transaction_hash", "transaction_index"}),
    optional=("chain", "block_timestamp", "call_type", "reward_type", "status", "error"),
    build=_traces,
    joins=True,
    shows=frozenset({"native", "internal"}),
    prepare=_failed_traces,
    together=_TRANSACTION,
)
WAREHOUSE_TRACES = Layout(
    name="warehouse traces",
    gives="transfers",
    kind="evm",
    required=frozenset({
        "trace_type", "trace_address", "action.from_address", "action.to_address", "action.value", "block_number",
    }),
    one_of=frozenset({"transaction_hash", "transaction_index"}),
    optional=(
        "chain", "block_timestamp", "error", "action.call_type", "action.author", "action.reward_type",
        "action.refund_address", "action.refund_balance", "action.self_destructed_address", "result.address",
    ),
    build=_warehouse_traces,
    joins=True,
    spellings={
        "action.value": ("action.value_lossless", "action.value"),
        "action.refund_balance": ("action.refund_balance_lossless", "action.refund_balance"),
    },
    shows=frozenset({"native", "internal"}),
    prepare=_failed_traces,
    together=_TRANSACTION,
)  # fmt: skip
BLOCKS = Layout(
    name="ethereum-etl blocks",
    gives="times",
    kind="evm",
    required=frozenset({"number", "timestamp", "hash"}),
    optional=("chain",),
    build=_blocks,
    time="timestamp",
)
WAREHOUSE_BLOCKS = Layout(
    name="blocks of a warehouse or of cryo",
    gives="times",
    kind="evm",
    required=frozenset({"number", "timestamp", "hash"}),
    one_of=frozenset({"parent_hash", "parent_block_hash", "author", "miner", "extra_data"}),
    optional=("chain",),
    build=_blocks,
    time="timestamp",
    spellings={
        "number": ("block_number",), "timestamp": ("timestamp", "block_timestamp"), "hash": ("block_hash",),
        "chain": ("chain", "chain_id"),
    },
)
