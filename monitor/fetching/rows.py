"""Blocks as rows of the native tables: transfers, controls, blocks, balances. Pure.

Amounts are text. On UTXO chains a row is one output, with the inputs of its transaction as lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from monitor.model import Block, ControlEvent, Transfer

__all__ = ["BALANCES", "BLOCKS", "CONTROLS", "TABLES", "balance_rows", "block_rows", "control_rows", "transfer_rows"]

_MOST = 2**63  # what an Int64 column cannot hold is not stored
_PLACE: Mapping[str, Any] = {
    "chain": pl.String, "block_number": pl.Int64, "block_timestamp": pl.Int64, "transaction_hash": pl.String,
    "transaction_index": pl.Int64,
}  # fmt: skip
_ACCOUNT: Mapping[str, Any] = {
    **_PLACE, "transfer_index": pl.Int64, "kind": pl.String, "status": pl.Int64, "asset": pl.String,
    "from_address": pl.String, "to_address": pl.String, "value": pl.String, "tx_from": pl.String, "nonce": pl.Int64,
    "fee": pl.String, "fee_rate": pl.Float64, "gas_limit": pl.Int64, "n_outputs": pl.Int64, "version": pl.Int64,
    "flags": pl.Int64, "script_type": pl.String,
}  # fmt: skip
_OUTPUT: Mapping[str, Any] = {
    **_ACCOUNT, "from_address": pl.List(pl.String), "input_values": pl.List(pl.String)
}  # fmt: skip
CONTROLS: Mapping[str, Any] = {
    **_PLACE, "kind": pl.String, "account": pl.String, "subject": pl.String, "detail": pl.String
}  # fmt: skip
BLOCKS: Mapping[str, Any] = {
    "chain": pl.String, "number": pl.Int64, "timestamp": pl.Int64, "hash": pl.String, "parent_hash": pl.String
}  # fmt: skip
BALANCES: Mapping[str, Any] = {
    "chain": pl.String, "address": pl.String, "asset": pl.String, "block_number": pl.Int64, "value": pl.String
}  # fmt: skip
TABLES = ("transfers", "controls", "blocks", "balances")


def transfer_rows(blocks: Iterable[Block], utxo: bool) -> pl.DataFrame:
    """All transfers of blocks (lowest first) in chain order; what a block shows has succeeded, so ``status`` is 1."""
    rows = [
        _transfer(transfer, block.timestamp, utxo)
        for block in blocks
        for transfer in sorted(block.transfers, key=lambda transfer: (transfer.tx.index, transfer.index))
    ]
    return pl.DataFrame(rows, schema=dict(_OUTPUT if utxo else _ACCOUNT), orient="row")


def control_rows(blocks: Iterable[Block]) -> pl.DataFrame:
    """All changes of control of blocks, in chain order."""
    rows = [
        _control(event, block.timestamp)
        for block in blocks
        for event in sorted(block.controls, key=lambda event: event.tx.index)
    ]
    return pl.DataFrame(rows, schema=dict(CONTROLS), orient="row")


def block_rows(chain: str, first: int, parent_hash: str, headers: Sequence[tuple[str, int]]) -> pl.DataFrame:
    """Blocks from ``first`` on by hash and time (UTC s), each the parent of the next."""
    parents = [parent_hash, *(hash for hash, _ in headers[:-1])]
    rows = [
        (chain, first + place, time, hash, parent)
        for place, ((hash, time), parent) in enumerate(zip(headers, parents, strict=True))
    ]
    return pl.DataFrame(rows, schema=dict(BLOCKS), orient="row")


def balance_rows(chain: str, rows: Iterable[tuple[str, str, int, int]]) -> pl.DataFrame:
    """Balances by (address, CAIP-19 asset, block after which they hold, base units), by block, address and asset."""
    ordered = sorted(set(rows), key=lambda row: (row[2], row[0], row[1]))
    found = [(chain, address, asset, number, str(value)) for address, asset, number, value in ordered]
    return pl.DataFrame(found, schema=dict(BALANCES), orient="row")


def _transfer(transfer: Transfer, time: int, utxo: bool) -> tuple[Any, ...]:
    tx, senders = transfer.tx, transfer.from_addresses
    sender = list(senders) if utxo else (senders[0] if senders else None)
    row = (
        transfer.block.chain, transfer.block.number, time, tx.hash, tx.index, transfer.index, str(transfer.kind), 1,
        transfer.asset, sender, transfer.to_address, str(transfer.value), tx.initiator, _whole(tx.nonce),
        None if tx.fee is None else str(tx.fee), tx.fee_rate, _whole(tx.gas_limit), _whole(tx.n_outputs),
        _whole(tx.version), tx.flags, tx.script_type or None,
    )  # fmt: skip
    return (*row, [str(value) for value in transfer.input_values]) if utxo else row


def _control(event: ControlEvent, time: int) -> tuple[Any, ...]:
    detail = json.dumps(event.detail, sort_keys=True, separators=(",", ":")) if event.detail else None
    return (
        event.block.chain, event.block.number, time, event.tx.hash, event.tx.index, str(event.kind), event.account,
        event.subject, detail,
    )  # fmt: skip


def _whole(number: int | None) -> int | None:
    return None if number is None or not -_MOST <= number < _MOST else number
