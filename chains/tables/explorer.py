"""What block explorers of the Etherscan family give to download: CSV of normal, internal and ERC-20 transactions.

Amounts are decimal coins, and seen from the address of the page: in one column what it got, in another what it gave.
Headers changed over the years (``Txhash``, ``Transaction Hash``, ``DateTime``, ``DateTime (UTC)``) and name the coin
(``Value_IN(BNB)``). The download of an address and that of its counterparty hold the same transfer: the rows differ in
those columns and are one here. There is no place in the block: file order stands in for it.
"""

from __future__ import annotations

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw
from monitor.networks import NETWORKS

__all__ = ["AMOUNTS", "INTERNAL", "INTERNAL_AMOUNTS", "TOKEN_TRANSFERS", "TRANSACTIONS"]

_SUCCESS = ("", "success", "ok", "1", "true")
_FAILURE = ("0", "false", "fail", "failed", "failure", "reverted", "revert")
_US = r"^\s*(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp][Mm])?\s*$"
_UNITS = {"ether": 18, "gwei": 9, "wei": 0}  # on every chain


def _american(text: pl.Expr) -> pl.Expr:
    """UTC seconds of text such as ``3/6/2017 1:02:03 PM``, as older downloads have it; else null."""
    groups = text.str.extract_groups(_US).struct
    hour, noon = groups.field("4").cast(pl.Int64, strict=False), groups.field("7").str.to_lowercase()
    hour = pl.when(noon.is_null()).then(hour).otherwise(hour % 12 + 12 * (noon == "pm").cast(pl.Int64))
    day = pl.concat_str(
        [groups.field("3"), *[groups.field(n).str.zfill(2) for n in ("1", "2")]], separator="-"
    ).str.to_date("%Y-%m-%d", strict=False)
    clock = hour * 3600 + groups.field("5").cast(pl.Int64) * 60 + groups.field("6").cast(pl.Int64).fill_null(0)
    return day.cast(pl.Datetime("us")).dt.epoch("s") + clock


def _failed(raw: Raw, inverse: bool = False) -> pl.Expr:
    """Whether a row says that it failed. ``inverse``: 0 is success, as in downloads of internal transactions."""
    said = raw.text("status").str.strip_chars().str.to_lowercase().fill_null("")
    zero = said.is_in(["0"])
    error = said.str.starts_with("error") | said.is_in(_FAILURE)
    known = error | said.is_in(_SUCCESS)
    raw.checks.append(Check(~known, pl.format("Status was '{}', expected success or an error", said.str.slice(0, 60))))
    if inverse:
        error = (error & ~zero) | said.is_in(["1"])
    return error | raw.text("errcode").is_not_null()


_SYMBOLS = {network.chain: network.symbol.lower() for network in NETWORKS}


def _seen(raw: Raw, chain: ChainColumn) -> tuple[pl.Expr, pl.Expr]:
    """(amount, whether it is above zero) of what the page's address got or gave."""
    coin = chain.decimals(chain.native)
    got, gave = (raw.coins(name, coin, "the coin") for name in ("value_in", "value_out"))
    got, gave = got.fill_null("0"), gave.fill_null("0")
    raw.checks.append(Check(
        (got != "0") & (gave != "0") & (got != gave), pl.lit("Value_IN and Value_OUT are both given, and differ")
    ))  # fmt: skip
    raw.checks.append(Check(raw.text("value_in").is_null() & raw.text("value_out").is_null(), pl.lit("no value")))
    value = pl.when(got != "0").then(got).otherwise(gave)
    return value, value != "0"


def _columns(raw: Raw, chain: ChainColumn) -> dict[str, pl.Expr]:
    hash = "txhash" if raw.has("txhash") else "parenthash"
    for name in (hash, "from"):
        raw.need(name)
    return {
        "block_number": raw.whole("block_number", needed=True),
        "transaction_hash": chain.hash(raw.text(hash)),
        "from_address": chain.address(raw.text("from")),
    }


def _native(raw: Raw, chain: ChainColumn, value: pl.Expr, positive: pl.Expr, failed: pl.Expr) -> Build:
    """Rows of normal transactions."""
    to = chain.address(pl.coalesce(raw.text("to"), raw.text("contractaddress")))
    columns = _columns(raw, chain)
    sender = columns["from_address"]
    fee = raw.coins("txnfee", chain.decimals(chain.native), "the coin") if raw.has("txnfee") else None
    columns |= {
        "transfer_index": pl.lit(-1, dtype=pl.Int64), "kind": pl.lit("native"), "asset": chain.native,
        "to_address": to, "value": value, "tx_from": sender,
    }  # fmt: skip
    if fee is not None:
        columns["fee"] = fee
    moved = (positive & ~failed).fill_null(False)
    time = raw.time("block_timestamp", _american)
    return Build(columns, time, moved & to.is_not_null(), sender, to, skipped=moved & to.is_null(), fee_rows=True)


def _transactions(raw: Raw, chain: ChainColumn) -> Build:
    value, positive = _seen(raw, chain)
    return _native(raw, chain, value, positive, _failed(raw))


def _amounts(raw: Raw, chain: ChainColumn) -> Build:
    value = _amount(raw, chain)
    return _native(raw, chain, value, value != "0", _failed(raw))


def _amount(raw: Raw, chain: ChainColumn) -> pl.Expr:
    """Base units of the newest downloads: one amount, with its coin behind it."""
    raw.need("amount")
    groups = raw.text("amount").str.extract_groups(r"^\s*([-+0-9.,eE]+)\s+(\S+)\s*$").struct
    symbol = groups.field("2").str.to_lowercase()
    own = chain.chain.replace_strict(_SYMBOLS, default=None, return_dtype=pl.String)
    decimals = pl.when(symbol == own).then(chain.decimals(chain.native)).otherwise(
        symbol.replace_strict(_UNITS, default=None, return_dtype=pl.Int64)
    )
    shown = raw.text("amount").fill_null("").str.slice(0, 60)
    raw.checks.append(Check(decimals.is_null(), pl.format("Amount was '{}', expected the chain's own coin", shown)))
    return raw.coins("amount", decimals, "the coin", groups.field("1"))


def _internal_amounts(raw: Raw, chain: ChainColumn) -> Build:
    value = _amount(raw, chain)
    return _inner(raw, chain, value, value != "0", _failed(raw))


def _internal(raw: Raw, chain: ChainColumn) -> Build:
    value, positive = _seen(raw, chain)
    return _inner(raw, chain, value, positive, _failed(raw, inverse=True))


def _inner(raw: Raw, chain: ChainColumn, value: pl.Expr, positive: pl.Expr, failed: pl.Expr) -> Build:
    """Rows of internal transactions."""
    to = chain.address(pl.coalesce(raw.text("txto"), raw.text("to"), raw.text("contractaddress")))
    columns = _columns(raw, chain)
    columns |= {
        "kind": pl.lit("internal"), "asset": chain.native, "to_address": to, "value": value,
        "tx_from": chain.address(raw.text("parenttxfrom")),
    }  # fmt: skip
    still = raw.text("type").str.to_lowercase().is_in(["delegatecall", "callcode", "staticcall"]).fill_null(False)
    moved = (positive & ~failed & ~still).fill_null(False)
    time, sender = raw.time("block_timestamp", _american), columns["from_address"]
    return Build(columns, time, moved & to.is_not_null(), sender, to, skipped=moved & to.is_null())


def _token_transfers(raw: Raw, chain: ChainColumn) -> Build:
    for name in ("to", "contractaddress", "tokenvalue"):
        raw.need(name)
    token = chain.token(raw.text("contractaddress"))
    shown = raw.text("contractaddress").fill_null("")
    raw.checks.append(Check(token.is_null(), pl.format("ContractAddress was '{}', expected 0x...", shown)))
    decimals = chain.decimals(token)
    if raw.has("tokendecimal"):
        decimals = pl.coalesce(raw.whole("tokendecimal").cast(pl.Int64), decimals)
    value = raw.coins("tokenvalue", decimals, "the token")
    to = chain.address(raw.text("to"))
    columns = _columns(raw, chain)
    columns |= {"kind": pl.lit("token"), "asset": token, "to_address": to, "value": value}
    time, moved = raw.time("block_timestamp", _american), (value != "0").fill_null(False)
    return Build(columns, time, moved, columns["from_address"], to)


_SPELLINGS = {
    "txhash": ("txhash", "transaction hash", "transactionhash", "tx hash"),
    "block_number": ("blockno", "block", "block number"),
    "block_timestamp": ("unixtimestamp", "datetime (utc)", "datetime", "date time (utc)"),
    "from": ("from",),
    "to": ("to",),
    "contractaddress": ("contractaddress", "contract address"),
    "status": ("status",),
    "errcode": ("errcode",),
}
_SEEN = {"value_in": ("value_in(*)", "value in(*)"), "value_out": ("value_out(*)", "value out(*)")}
TRANSACTIONS = Layout(
    name="a block explorer's transactions",
    gives="transfers",
    kind="evm",
    required=frozenset({"txhash", "block_number", "from", "to", "value_in", "value_out", "block_timestamp"}),
    optional=("chain", "contractaddress", "txnfee", "status", "errcode"),
    evidence=("status", "txnfee"),
    build=_transactions,
    spellings=_SPELLINGS | _SEEN | {"txnfee": ("txnfee(*)",)},
    unless=frozenset({"asset", "parenttxfrom", "txto"}),
    shows=frozenset({"native"}),
)
AMOUNTS = Layout(
    name="a block explorer's transactions with amounts",
    gives="transfers",
    kind="evm",
    required=frozenset({"txhash", "block_number", "from", "to", "amount", "status", "block_timestamp"}),
    optional=("chain", "txnfee", "errcode"),
    evidence=("txnfee",),
    build=_amounts,
    spellings=_SPELLINGS | {"amount": ("amount", "value"), "txnfee": ("txn fee", "txnfee")},
    unless=frozenset({"asset", "token", "tokensymbol", "contractaddress", "contract address"}),
    shows=frozenset({"native"}),
)
INTERNAL_AMOUNTS = Layout(
    name="a block explorer's internal transactions with amounts",
    gives="transfers",
    kind="evm",
    required=frozenset({"parenthash", "block_number", "from", "to", "amount", "block_timestamp"}),
    optional=("chain", "status", "errcode", "type"),
    build=_internal_amounts,
    joins=True,
    spellings=_SPELLINGS | {
        "parenthash": ("parent transaction hash",), "amount": ("amount", "value"), "type": ("type",),
    },
    shows=frozenset({"internal"}),
)  # fmt: skip
INTERNAL = Layout(
    name="a block explorer's internal transactions",
    gives="transfers",
    kind="evm",
    required=frozenset(
        {"txhash", "block_number", "parenttxfrom", "from", "txto", "value_in", "value_out", "block_timestamp"}
    ),
    optional=("chain", "contractaddress", "status", "errcode", "type"),
    build=_internal,
    joins=True,
    spellings=_SPELLINGS | _SEEN | {"parenttxfrom": ("parenttxfrom",), "txto": ("txto",), "type": ("type",)},
    shows=frozenset({"internal"}),
)
TOKEN_TRANSFERS = Layout(
    name="a block explorer's token transfers",
    gives="transfers",
    kind="evm",
    required=frozenset({"txhash", "block_number", "from", "to", "tokenvalue", "contractaddress", "block_timestamp"}),
    optional=("chain", "tokendecimal"),
    build=_token_transfers,
    joins=True,
    spellings=_SPELLINGS | {
        "tokenvalue": ("tokenvalue", "value", "amount", "quantity"), "tokendecimal": ("tokendecimal", "decimals"),
    },
    unless=frozenset({"tokenid", "token id"}),
    shows=frozenset({"token"}),
)  # fmt: skip
