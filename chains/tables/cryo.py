"""The tables of cryo: transactions, erc20_transfers, native_transfers and traces, with bytes or hex text.

Source: ``crates/freeze/src/datasets`` and ``types`` of paradigmxyz/cryo. Its amounts come in up to three columns, exact
as text or 32 bytes, and rounded as float; the exact ones are read where there are any. Rows carry no time unless it was
asked for: cryo's own ``blocks`` among the data give it. Calls that failed, and those inside of them, cryo leaves out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import polars as pl

from chains.tables.calls import AFTER_ALL, Call, build_calls, without_failed
from chains.tables.chain import ChainColumn
from chains.tables.ethereum_etl import build_token_transfers, build_transactions
from chains.tables.layout import INTERNAL_BASE, Build, Layout
from chains.tables.raw import Raw

__all__ = ["ERC20_TRANSFERS", "NATIVE_TRANSFERS", "TRACES", "TRANSACTIONS"]

_TRANSACTION = ("block_number", "transaction_hash")
_NUMBERED = ("block_number", "transaction_index")
_FIRST = 2**40  # above any place in a block
_NONE = "0x" + "0" * 64  # the receiver of a creation that gave no contract


def _amounts(name: str) -> tuple[str, ...]:
    exact = ("string", "str", "d128", "binary", "u256binary", "u64", "u32")
    rounded = ("f64", "float", "f32")
    return (*(f"{name}_{suffix}" for suffix in exact), name, *(f"{name}_{suffix}" for suffix in rounded))


_COMMON = {"chain": ("chain", "chain_id"), "block_timestamp": ("block_timestamp", "timestamp")}


def _transactions(raw: Raw, chain: ChainColumn) -> Build:
    return build_transactions(raw, chain, hex=True)


def _erc20_transfers(raw: Raw, chain: ChainColumn) -> Build:
    return build_token_transfers(raw, chain, hex=True)


def _native_transfers(raw: Raw, chain: ChainColumn) -> Build:
    """Rows of native transfers, of which `_first_marked` has marked the transactions' own values."""
    number, place = raw.whole("block_number", needed=True), raw.whole("transaction_index")
    given = raw.text("transaction_hash").is_null()  # by the chain: a reward
    receiver = raw.text("to_address")
    receiver = chain.address(pl.when(receiver != _NONE).then(receiver))
    sender = pl.when(given).then(pl.lit("")).otherwise(chain.address(raw.text("from_address")))
    index = raw.whole("transfer_index", needed=True)
    root = (index >= _FIRST) & ~given
    named = [pl.lit("reward"), receiver.fill_null(""), number.cast(pl.String), (index % _FIRST).cast(pl.String)]
    columns = {
        "block_number": number,
        "transaction_hash": pl.when(given).then(pl.concat_str(named, separator="-")).otherwise(
            chain.hash(raw.text("transaction_hash"))
        ),
        "transaction_index": pl.when(given).then(AFTER_ALL).otherwise(place),
        "transfer_index": pl.when(root).then(-1).otherwise(index % _FIRST + INTERNAL_BASE),
        "kind": pl.when(root).then(pl.lit("native")).otherwise(pl.lit("internal")),
        "asset": chain.native,
        "from_address": sender,
        "to_address": receiver,
        "value": raw.value("value", hex=True),
        "tx_from": pl.when(root).then(sender),
    }
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    moved, there = raw.positive("value"), receiver.is_not_null()
    return Build(
        columns, time, moved & there, sender, receiver, roots=root.fill_null(False), skipped=moved & ~there
    )


def _first_marked(rows: pl.LazyFrame, columns: Collection[str]) -> pl.LazyFrame:
    """Add `_FIRST` to the ``transfer_index`` of the first transfer of each transaction, which is its own value: cryo
    numbers calls through the block and does not say how deep they lie.
    """
    index = pl.col("transfer_index").cast(pl.Int64, strict=False)
    keys = [pl.col(name).cast(pl.String).alias(f"__{name}") for name in _NUMBERED if name in columns]
    names = [f"__{name}" for name in _NUMBERED if name in columns]
    firsts = rows.select(*keys, __first=index).group_by(names).agg(pl.col("__first").min()).collect(engine="streaming")
    marked = pl.when(index == pl.col("__first")).then(index + _FIRST).otherwise(index)
    as_it_was = pl.col("transfer_index").cast(pl.String)  # text that is no number stays what it is
    joined = rows.with_columns(*keys).join(firsts.lazy(), on=names, how="left", maintain_order="left", nulls_equal=True)
    return joined.with_columns(transfer_index=pl.coalesce(marked.cast(pl.String), as_it_was)).drop(*names, "__first")


def _traces(raw: Raw, chain: ChainColumn) -> Build:
    kind = raw.text("action_type")
    said = raw.text("action_from")
    receiver = (
        pl.when(kind.str.starts_with("create")).then(raw.text("result_address"))
        .when(kind.str.starts_with("reward")).then(said).otherwise(raw.text("action_to"))
    )  # fmt: skip
    call = Call(
        kind=kind, call_type=raw.text("action_call_type"), path=_path(raw),
        sender=chain.address(said), receiver=chain.address(receiver), value=raw.value("action_value", hex=True),
        positive=raw.positive("action_value"), failed=raw.text("error").is_not_null(),
        reward=raw.text("action_reward_type"),
    )
    return build_calls(raw, chain, call, "transaction_hash", "transaction_index")


def _path(raw: Raw) -> pl.Expr:
    return raw.text("trace_address").str.replace_all("_", ",", literal=True)


def _failed_traces(rows: pl.LazyFrame, columns: Collection[str]) -> pl.LazyFrame:
    """Old versions of cryo, and ``--exclude-failed`` not given, leave failed calls in."""
    raw = Raw(dict(rows.collect_schema()))
    failed = raw.text("error").is_not_null()
    return without_failed(rows, columns, _TRANSACTION, _path(raw), failed, "action_type")


TRANSACTIONS = Layout(
    name="cryo transactions",
    gives="transfers",
    kind="evm",
    required=frozenset({"hash", "block_number", "from_address", "to_address", "value", "gas"}),
    optional=(
        "chain", "block_timestamp", "transaction_index", "nonce", "gas_price", "receipt_status", "receipt_gas_used",
    ),
    evidence=("receipt_status", "receipt_gas_used", "nonce", "gas_price"),
    build=_transactions,
    spellings=_COMMON | {
        "hash": ("transaction_hash",), "gas": ("gas_limit",), "value": _amounts("value"),
        "receipt_status": ("success",), "receipt_gas_used": ("gas_used",),
    },
    unless=frozenset({"asset", "erc20", "token_address", "action_type", "trace_type"}),
    shows=frozenset({"native"}),
)  # fmt: skip
ERC20_TRANSFERS = Layout(
    name="cryo erc20_transfers",
    gives="transfers",
    kind="evm",
    required=frozenset(
        {"token_address", "from_address", "to_address", "value", "transaction_hash", "log_index", "block_number"}
    ),
    optional=("chain", "block_timestamp", "transaction_index"),
    build=_erc20_transfers,
    joins=True,
    spellings=_COMMON | {"token_address": ("erc20",), "value": _amounts("value")},
    unless=frozenset({"asset"}),
    shows=frozenset({"token"}),
)
def _repeated(raw: Raw, chain: ChainColumn) -> Build:
    return replace(_native_transfers(raw, chain), moves=pl.lit(False), roots=None, skipped=None)


NATIVE_TRANSFERS = Layout(
    name="cryo native_transfers",
    gives="transfers",
    kind="evm",
    required=frozenset({
        "block_number", "transaction_index", "transfer_index", "transaction_hash", "from_address", "to_address",
        "value",
    }),
    optional=("chain", "block_timestamp"),
    build=_native_transfers,
    joins=True,
    spellings=_COMMON | {"value": _amounts("value")},
    unless=frozenset({"asset", "erc20", "token_address", "hash", "gas", "gas_limit"}),
    shows=frozenset({"native", "internal"}),
    prepare=_first_marked,
    together=_NUMBERED,
    note="what kind a call was is not told: the value that a delegatecall shows counts as a transfer",
)  # fmt: skip
NATIVE_TRANSFERS = replace(
    NATIVE_TRANSFERS,
    instead=replace(
        NATIVE_TRANSFERS, build=_repeated, shows=frozenset(),
        note="the traces among the data tell the same transfers with their kind: these rows count as none",
    ),
)  # fmt: skip
TRACES = Layout(
    name="cryo traces",
    gives="transfers",
    kind="evm",
    required=frozenset({
        "action_type", "action_from", "action_to", "action_value", "trace_address", "transaction_hash", "block_number",
    }),
    optional=(
        "chain", "block_timestamp", "transaction_index", "action_call_type", "action_reward_type", "result_address",
        "error",
    ),
    build=_traces,
    joins=True,
    spellings=_COMMON | {
        "transaction_index": ("transaction_position", "transaction_index"), "action_value": _amounts("action_value"),
    },
    shows=frozenset({"native", "internal"}),
    prepare=_failed_traces,
    together=_TRANSACTION,
)  # fmt: skip
