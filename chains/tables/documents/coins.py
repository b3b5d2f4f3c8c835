"""Blocks of the Bitcoin family out of files, with what their inputs spend."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from chains.bitcoin.base import Prevout
from chains.bitcoin.decode import BLIND_INPUTS, BLIND_WORK
from chains.bitcoin.script import address_of, spent_scripts
from chains.bitcoin.told import can_be
from chains.bitcoin.transaction import NOTHING
from chains.bitcoin.transfers import Spent, transfers_of
from chains.tables.documents.bitcoin_pieces import CoinBlock
from chains.tables.documents.coin_index import CoinIndex
from monitor.errors import DecodeError
from monitor.model import BlockRef, Transfer
from monitor.networks import Network

__all__ = ["CoinRead", "read_coins"]


@dataclass
class CoinRead:
    """The transfers of a block, what could not be read, and what cannot be seen."""

    transfers: list[Transfer] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    blind: tuple[str, ...] = ()


def read_coins(
    found: CoinBlock, height: int, index: CoinIndex, watch: Container[str], network: Network
) -> CoinRead:
    """The outputs of all transactions of a block, watched or not.

    Parameters
    ----------
    index : of all files that may tell what its inputs spend
    watch : canonical addresses: where amounts of inputs are not known, they are put to the account of a watched one
    """
    raw = found.raw
    read = CoinRead(bad=list(found.bad))
    told = dict(found.told)
    try:
        told = told or index.undone(raw) or {}
    except DecodeError as error:
        read.bad.append(f"read without its undo data: {error}")
    if told and not can_be(raw, told):
        read.bad.append("what is told of its inputs contradicts them and was left out")
        told = {}
    spent = Spent(known := index.known(raw, told), _claimed(found, known, watch, network))
    ref = BlockRef(network.chain, height, raw.header.hash)
    for tx in raw.txs:
        position = tx.index if found.positions is None else found.positions[tx.index]
        read.transfers += transfers_of(tx, ref, position, raw.first_output[tx.index], spent, watch, network)
    blind = {BLIND_INPUTS} if any(point not in known for point in raw.outpoints if point != NOTHING) else set()
    read.blind = tuple(sorted(blind if found.is_worked else blind | {BLIND_WORK}))
    return read


def _claimed(
    found: CoinBlock, known: dict[bytes, Prevout], watch: Container[str], network: Network
) -> dict[bytes, bytes]:
    """What inputs themselves show of what they spend, where nobody tells it: a watched address if it may be one."""
    raw, claimed = found.raw, {}
    for tx in raw.txs:
        for n, point in enumerate(tx.outpoints):
            if point in known or point == NOTHING:
                continue
            shown = spent_scripts(*tx.shown(n))
            if shown:
                mine = (script for script in shown if address_of(script, network) in watch)
                claimed[point] = next(mine, shown[0])
    return claimed
