"""A case as blocks, as a watcher would hand them over: for drills, and wherever no node is to be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monitor.addresses import canonical
from monitor.case import Case
from monitor.case_file import network_of
from monitor.model import Block, BlockRef, Transfer, TransferKind, Tx
from monitor.networks import token_asset
from monitor.watchlist import Watchlist

__all__ = ["blocks_of", "told_of"]


def blocks_of(rows: Sequence[Mapping[str, Any]], shift: int = 0) -> Iterator[Block]:
    """Rows of the native table, in the order of their chains, as linked blocks in the order of time.

    Parameters
    ----------
    shift : seconds that times are moved by
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["chain"], row["block_number"]), []).append(row)
    parents: dict[str, str] = {}
    for (name, number), found in sorted(groups.items(), key=lambda item: item[1][0]["block_timestamp"]):
        ref = BlockRef(network_of(name).chain, number, f"case-{number}")
        transfers = tuple(_transfer(row, ref) for row in found)
        parent = parents.get(name, "")
        parents[name] = ref.hash
        yield Block(
            ref, parent, found[0]["block_timestamp"] + shift, transfers, transfers_seen=len(transfers), source="case"
        )


def told_of(case: Case, watchlist: Watchlist) -> dict[tuple[str, str, str], int]:
    """What wallets hold before the first block of a case, by (wallet, chain, asset)."""
    told: dict[tuple[str, str, str], int] = {}
    for row in case.balances():
        network = network_of(row["chain"])
        wallet = watchlist.wallet_at(network.chain, canonical(network, row["address"]))
        if wallet is not None:
            key = wallet.id, network.chain, _asset(row)
            told[key] = told.get(key, 0) + int(row["value"])
    return told


def _asset(row: Mapping[str, Any]) -> str:
    network = network_of(row["chain"])
    return network.asset if row["asset"] == "native" else token_asset(network.chain, row["asset"])


def _transfer(row: Mapping[str, Any], ref: BlockRef) -> Transfer:
    senders = row["from_address"]
    value = int(row["value"])
    return Transfer(
        ref,
        Tx(row["transaction_hash"], row["transaction_index"], initiator=row["tx_from"]),
        row["transfer_index"],
        TransferKind(row["kind"]),
        _asset(row),
        (senders,) if isinstance(senders, str) else tuple(senders),
        row["to_address"],
        value,
        tuple(int(part) for part in row["input_values"]) if "input_values" in row else (value,),
    )
