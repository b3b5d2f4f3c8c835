"""The layouts of the tables that documents become; see `chains.tables.documents.rows` for their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from chains.tables.chain import ChainColumn
from chains.tables.controls import CONTROLS_TABLE
from chains.tables.documents.rows import TRANSFERS
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw
from monitor.model import TransferKind

__all__ = ["LAYOUTS"]


def _transfers(raw: Raw, chain: ChainColumn) -> Build:
    """Rows as the chain's decoder gives them. A row without a kind stands for a block, and counts its transactions."""
    kind, value = raw.text("kind"), raw.value("value", needed=False)
    sender, receiver = raw.text("from_address"), raw.text("to_address")
    columns: dict[str, pl.Expr] = {
        "block_number": raw.whole("block_number", needed=True),
        "transaction_hash": raw.text("transaction_hash"),
        "transaction_index": raw.whole("transaction_index"),
        "transfer_index": raw.text("transfer_index").cast(pl.Int64),
        "kind": kind,
        "asset": raw.text("asset"),
        "from_address": sender,
        "to_address": receiver,
        "value": value,
        "tx_from": raw.text("tx_from"),
        "nonce": raw.whole("nonce"),
        "fee": raw.value("fee", needed=False),
        "fee_rate": raw.number("fee_rate"),
        "gas_limit": raw.whole("gas_limit"),
        "n_outputs": raw.whole("n_outputs"),
        "version": raw.text("version").cast(pl.Int64),
        "flags": raw.whole("flags"),
        "script_type": raw.text("script_type"),
    }
    senders: pl.Expr | None = None
    if chain.may_be_utxo:
        values = raw.text("input_values")
        senders = pl.when(values.is_not_null()).then(sender.fill_null("").str.split("|"))
        columns |= {"inputs": senders, "input_values": values.str.split("|")}
        columns["from_address"] = sender = pl.lit(None, dtype=pl.String)
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    moved = raw.positive("value") & (kind != TransferKind.FEE).fill_null(False)
    return Build(
        columns, time, kind.is_not_null(), sender, receiver, senders,
        transfers=moved, unknown_status=moved & raw.text("status").is_null(), rows=raw.text("rows").cast(pl.Int64),
    )  # fmt: skip


def _times(raw: Raw, chain: ChainColumn) -> Build:
    return Build({"block_number": raw.whole("number", needed=True)}, raw.time("timestamp"), rows=pl.lit(0))


def _controls(raw: Raw, chain: ChainColumn) -> Build:
    return replace(CONTROLS_TABLE.build(raw, chain), rows=pl.lit(0))


def _of(name: str, kind: str) -> Mapping[str, Layout]:
    def made(gives: str, build: Callable[[Raw, ChainColumn], Build], optional: tuple[str, ...], time: str) -> Layout:
        own = name if gives == "transfers" else f"{gives} of {name}"
        return Layout(
            name=own, gives=gives, kind=kind, required=frozenset(), build=build, optional=optional, time=time,
            shows=frozenset({"native", "internal", "token"}),
        )  # fmt: skip

    return {
        "transfers": made("transfers", _transfers, TRANSFERS, "block_timestamp"),
        "controls": made("controls", _controls, tuple(sorted(CONTROLS_TABLE.known)), "block_timestamp"),
        "times": made("times", _times, ("number", "timestamp"), "timestamp"),
    }


#: Chain family to what a table gives to its layout.
LAYOUTS: Mapping[str, Mapping[str, Layout]] = {
    "evm": _of("Ethereum JSON-RPC documents", "evm"),
    "bitcoin": _of("blocks of the Bitcoin family", "bitcoin"),
    "nem": _of("NIS1 documents", "nem"),
}
