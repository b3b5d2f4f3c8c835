"""What one reading of blocks comes to: rows, how it links, whose balances begin to matter, what moved. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from monitor.engine import Engine
from monitor.errors import ChainInconsistent
from monitor.fetching.rows import block_rows, control_rows, transfer_rows
from monitor.model import Block, Direction
from monitor.past import Stretch

__all__ = ["Begin", "Piece", "net_of", "piece_of"]

Net = dict[tuple[str, str], int]
"""What moved, by (address, CAIP-19 asset), base units."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first block in which an asset of a wallet matters, and what moved before it.

    ``before`` is by address, since the beginning of whatever this belongs to; ``parent`` is the hash of the block
    below.
    """

    wallet: str
    asset: str
    number: int
    parent: str
    before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks ``first`` to ``last`` (inclusive), each the parent of the next; times are UTC seconds.

    ``watched`` is how many derived addresses were watched when the reading began.
    """

    first: int
    last: int
    parent_hash: str
    last_hash: str
    start: int
    end: int
    tables: Mapping[str, pl.DataFrame]
    begins: tuple[Begin, ...]
    net: Mapping[tuple[str, str], int]
    spots: tuple[str, ...] = ()
    undecoded: int = 0
    watched: int = 0

    @property
    def rows(self) -> int:
        """Of transfers and controls."""
        return sum(self.tables[name].height for name in ("transfers", "controls"))


def piece_of(stretch: Stretch, engine: Engine, watched: int = 0) -> Piece:
    """A stretch as rows.

    Raises
    ------
    ChainInconsistent : its headers are not those of its blocks
    """
    chain = stretch.first.chain
    _check(stretch)
    utxo = chain.startswith("bip122:")
    first = stretch.first.number
    net: Net = {}
    begins: dict[tuple[str, str], Begin] = {}
    for block in stretch.blocks:
        for wallet, asset in _mattering(engine, block):
            if (wallet, asset) not in begins:
                addresses = engine.watchlist.addresses(wallet, chain)
                before = {address: net[address, asset] for address in addresses if net.get((address, asset))}
                begins[wallet, asset] = Begin(wallet, asset, block.ref.number, block.parent_hash, before)
        for key, value in net_of(block, engine).items():
            net[key] = net.get(key, 0) + value
    tables = {
        "transfers": transfer_rows(stretch.blocks, utxo),
        "controls": control_rows(stretch.blocks),
        "blocks": block_rows(chain, first, stretch.parent_hash, stretch.headers),
    }
    return Piece(
        first, stretch.last.number, stretch.parent_hash, stretch.last.hash, stretch.start, stretch.end, tables,
        tuple(begins.values()), net, stretch.blind_spots, sum(len(block.undecoded) for block in stretch.blocks),
        watched,
    )  # fmt: skip


def net_of(block: Block, engine: Engine) -> Net:
    """What a block adds to each watched address, those of long lists apart; amounts of inputs count once."""
    chain = block.ref.chain
    watch = engine.watchlist.watch(chain)
    found: Net = {}
    spent: set[str] = set()

    def add(address: str, asset: str, value: int) -> None:
        owner = watch.get(address) if address else None
        if owner is not None and not engine.watchlist.has_long_list(owner.id, chain):
            found[address, asset] = found.get((address, asset), 0) + value

    for transfer in block.transfers:
        add(transfer.to_address, transfer.asset, transfer.value)
        if not chain.startswith("bip122:"):
            add(transfer.from_addresses[0] if transfer.from_addresses else "", transfer.asset, -transfer.value)
        elif transfer.tx.hash not in spent:
            spent.add(transfer.tx.hash)
            for address, value in zip(transfer.from_addresses, transfer.input_values, strict=True):
                add(address, transfer.asset, -value)
    return found


def _mattering(engine: Engine, block: Block) -> Iterator[tuple[str, str]]:
    """(wallet, asset) whose balance a live monitor would ask for at this block: see `Engine.unknown_balances`."""
    intake = engine.intake
    for event in block.controls:
        if (found := intake.approved(event)) is not None:
            yield found[0].id, found[1]
    for flow in engine.watchlist.flows(block):
        if flow.direction is Direction.INTERNAL or not flow.value:
            continue
        if intake.is_genuine(flow) or (flow.direction is Direction.OUT and intake.is_own(flow)):
            yield flow.wallet, flow.transfer.asset


def _check(stretch: Stretch) -> None:
    """Where nobody gives the hashes of all blocks, nothing shows that none is missing."""
    headers = stretch.headers
    whole = len(headers) == stretch.last.number - stretch.first.number + 1
    if not whole or headers[0][0] != stretch.first.hash or headers[-1][0] != stretch.last.hash:
        reach = f"{stretch.first.number} to {stretch.last.number}"
        raise ChainInconsistent(f"{stretch.source}: blocks {reach} lack headers")
    hashes = {stretch.first.number + place: hash for place, (hash, _) in enumerate(headers)}
    hashes[stretch.first.number - 1] = stretch.parent_hash
    for block in stretch.blocks:
        number = block.ref.number
        if hashes.get(number) != block.ref.hash or hashes.get(number - 1) != block.parent_hash:
            raise ChainInconsistent(f"{stretch.source}: block {number} is another one than its header says")
