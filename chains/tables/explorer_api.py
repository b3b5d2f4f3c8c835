"""What the APIs of block explorers of the Etherscan family answer: ``txlist``, ``txlistinternal``, ``tokentx``.

Amounts are whole base units as text. The answers of two addresses hold the same transfer twice, equal in every column
but ``confirmations``, which nobody reads. Blockscout adds the log index of token transfers; elsewhere file order stands
in for it.
"""

from __future__ import annotations

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw

__all__ = ["INTERNAL", "TOKEN_TRANSFERS", "TRANSACTIONS"]

_STILL = ("delegatecall", "callcode", "staticcall")


def _failed(raw: Raw) -> pl.Expr:
    """``isError`` is 1 where a call failed; ``txreceipt_status`` 0, and empty before Byzantium."""
    wrong = raw.text("isError")
    raw.checks.append(Check(~wrong.is_in(["0", "1"]), pl.format("isError was '{}', expected 0 or 1", wrong)))
    return (wrong == "1").fill_null(False) | raw.failed("txreceipt_status")


def _columns(raw: Raw, chain: ChainColumn) -> dict[str, pl.Expr]:
    for name in ("hash", "from"):
        raw.need(name)
    to = pl.coalesce(raw.text("to"), raw.text("contractAddress"))
    return {
        "block_number": raw.whole("block_number", needed=True),
        "transaction_hash": chain.hash(raw.text("hash")),
        "transaction_index": raw.whole("transaction_index"),
        "from_address": chain.address(raw.text("from")),
        "to_address": chain.address(to),
        "value": raw.value("value"),
        "asset": chain.native,
    }


def _transactions(raw: Raw, chain: ChainColumn) -> Build:
    columns = _columns(raw, chain)
    sender, to = columns["from_address"], columns["to_address"]
    price = raw.whole("gasPrice")
    columns |= {
        "transfer_index": pl.lit(-1, dtype=pl.Int64), "kind": pl.lit("native"), "tx_from": sender,
        "nonce": raw.whole("nonce"), "fee_rate": price.cast(pl.Float64), "gas_limit": raw.whole("gas"),
        "fee": (raw.whole("gasUsed").cast(pl.Int128) * price.cast(pl.Int128)).cast(pl.String),
    }  # fmt: skip
    moved = raw.positive("value") & ~_failed(raw)
    return Build(
        columns, raw.time("timeStamp"), moved & to.is_not_null(), sender, to, skipped=moved & to.is_null(),
        fee_rows=True,
    )


def _internal(raw: Raw, chain: ChainColumn) -> Build:
    columns = _columns(raw, chain) | {"kind": pl.lit("internal")}
    sender, to = columns["from_address"], columns["to_address"]
    still = raw.text("type").str.to_lowercase().is_in(_STILL).fill_null(False)
    moved = raw.positive("value") & ~_failed(raw) & ~still
    return Build(
        columns, raw.time("timeStamp"), moved & to.is_not_null(), sender, to, skipped=moved & to.is_null(),
        marks=raw.text("traceId"),
    )


def _token_transfers(raw: Raw, chain: ChainColumn) -> Build:
    raw.need("to")
    token = chain.token(raw.text("contractAddress"))
    shown = raw.text("contractAddress").fill_null("")
    raw.checks.append(Check(token.is_null(), pl.format("contractAddress was '{}', expected 0x...", shown)))
    columns = _columns(raw, chain) | {
        "kind": pl.lit("token"), "asset": token, "to_address": chain.address(raw.text("to")),
        "transfer_index": raw.whole("logIndex"),
    }  # fmt: skip
    sender, to = columns["from_address"], columns["to_address"]
    return Build(columns, raw.time("timeStamp"), raw.positive("value"), sender, to)


_SPELLINGS = {"block_number": ("blocknumber",), "transaction_index": ("transactionindex",)}
_ONE = ("chain", "transaction_index", "contractAddress", "isError", "txreceipt_status")
TRANSACTIONS = Layout(
    name="a block explorer's txlist",
    gives="transfers",
    kind="evm",
    required=frozenset({"block_number", "timeStamp", "hash", "from", "to", "value", "gasPrice"}),
    optional=(*_ONE, "nonce", "gas", "gasUsed"),
    evidence=("nonce", "gasUsed"),
    build=_transactions,
    time="timeStamp",
    spellings=_SPELLINGS,
    unless=frozenset({"tokensymbol", "tokendecimal", "tokenid"}),
    shows=frozenset({"native"}),
)
INTERNAL = Layout(
    name="a block explorer's txlistinternal",
    gives="transfers",
    kind="evm",
    required=frozenset({"block_number", "timeStamp", "hash", "from", "to", "value", "isError", "type"}),
    optional=(*_ONE, "traceId"),
    build=_internal,
    joins=True,
    time="timeStamp",
    spellings=_SPELLINGS | {"hash": ("hash", "transactionhash")},
    unless=frozenset({"tokensymbol", "tokendecimal", "tokenid", "gasprice"}),
    shows=frozenset({"internal"}),
)
TOKEN_TRANSFERS = Layout(
    name="a block explorer's tokentx",
    gives="transfers",
    kind="evm",
    required=frozenset({"block_number", "timeStamp", "hash", "from", "to", "value", "contractAddress", "tokenSymbol"}),
    optional=(*_ONE, "logIndex", "tokenDecimal"),
    build=_token_transfers,
    joins=True,
    time="timeStamp",
    spellings=_SPELLINGS,
    unless=frozenset({"tokenid"}),
    shows=frozenset({"token"}),
)
