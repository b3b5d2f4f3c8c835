"""Blocks of the Bitcoin family made from known movements: serialised, with a right merkle root, linked, with work.

What history tells of a theft is addresses and amounts, not keys. So the signature in an input is a digest that no node
would accept, and a reader has to be told what the inputs spend, as nodes do. Work is that of a regression test network,
of which every other hash has enough: real networks ask for more, and their readers leave it unchecked (``replay``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chains.bitcoin.base import Coin
from chains.bitcoin.block import RawBlock, RawTx, parse_block, parse_tx
from chains.bitcoin.build import Input, Output, build_block, build_coinbase, build_tx
from chains.bitcoin.script import script_of, type_of
from chains.recorded.bitcoin_coins import Lot, Move, Planned, Planner, Script
from monitor.addresses.bitcoin import canonical
from monitor.networks import Network

__all__ = ["Draft", "Move", "RecordedBlock", "Recording"]

NO_KEY = 64  # bytes of a made-up signature


class Draft(NamedTuple):
    """A block to be: UTC seconds, its transactions (a serialised one as it is), and what its coinbase pays."""

    time: int
    txs: tuple[Move | bytes, ...] = ()
    reward: tuple[tuple[Script, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RecordedBlock:
    """A block, its height, and what its inputs spend, as far as that is known."""

    number: int
    data: bytes
    raw: RawBlock
    prevouts: Mapping[bytes, Coin]
    made: tuple[Coin, ...]

    @property
    def hash(self) -> str:
        """As people write it."""
        return self.raw.header.hash

    @property
    def time(self) -> int:
        """UTC seconds."""
        return self.raw.header.time


class Recording:
    """A chain of constructed blocks that begins somewhere.

    Parameters
    ----------
    network : whose blocks they are
    drafts : the first blocks, in order
    height : of the first one, above that of the block that the network's identifier names
    opening : base units that addresses have before it; what they spend beyond that they have, too

    Attributes
    ----------
    blocks : in order; see `replace`
    older : serialised transactions from before the first block, by hash
    names : hashes of named moves

    Raises
    ------
    ValueError : the height is too low, or something is no address of the network
    """

    def __init__(
        self,
        network: Network,
        drafts: Iterable[Draft],
        *,
        height: int | None = None,
        opening: Mapping[str, int] | None = None,
    ) -> None:
        self.network = network
        self.named_height = int(network.params.get("at", 0))
        self.base = self.named_height + 1 if height is None else height
        if self.base <= self.named_height:
            raise ValueError(f"height was {height}, expected one above {self.named_height}")
        self.blocks: list[RecordedBlock] = []
        self.older: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self._had: list[Coin] = []
        self._scripts: dict[Script, bytes] = {}
        self._branches = 0
        scripts = {self._script(address): value for address, value in (opening or {}).items()}
        self._append(list(drafts), Planner(scripts))

    @property
    def identity(self) -> str:
        """The hash of the block that the network's identifier names; of which only the first half is known here."""
        return self.network.chain.partition(":")[2].ljust(64, "0")

    @property
    def parent(self) -> str:
        """The hash of the block below the first one."""
        if self.base == self.named_height + 1:
            return self.identity
        return hashlib.sha256(f"recorded {self.network.chain} {self.base - 1}".encode()).hexdigest()

    def replace(self, kept: int, drafts: Iterable[Draft]) -> None:
        """Keep the first ``kept`` blocks, and put others on them: their coins are spent whole, with change."""
        if not 0 <= kept <= len(self.blocks):
            raise ValueError(f"kept was {kept}, expected 0 to {len(self.blocks)}")
        self._branches += 1
        del self.blocks[kept:]
        self._append(list(drafts), Planner({}, list(self.unspent(kept).values())))

    def unspent(self, count: int) -> dict[bytes, Coin]:
        """The coins after the first ``count`` blocks, by outpoint, oldest first."""
        coins = {coin.outpoint: coin for coin in self._had}
        for block in self.blocks[:count]:
            coins |= {coin.outpoint: coin for coin in block.made}
            for point in block.prevouts:
                coins.pop(point, None)
        return coins

    # -- construction ---------------------------------------------------------------------------------------------

    def _append(self, drafts: Sequence[Draft], planner: Planner) -> None:
        start = self.base + len(self.blocks)
        plans = [
            [self._plan(tx, planner, start + n) for tx in draft.txs] for n, draft in enumerate(drafts)
        ]
        planner.finish()
        self._found(planner.before)
        known = self.unspent(len(self.blocks))
        parent = self.blocks[-1].hash if self.blocks else self.parent
        for n, (draft, planned) in enumerate(zip(drafts, plans, strict=True)):
            txs = [tx if isinstance(tx, bytes) else self._built(tx) for tx in planned]
            block = self._block(parent, start + n, draft, txs, known)
            self.blocks.append(block)
            parent = block.hash

    def _plan(self, tx: Move | bytes, planner: Planner, height: int) -> Planned | bytes:
        if isinstance(tx, bytes):
            raw = parse_tx(tx)
            planner.spend(raw.outpoints)
            for coin in _coins(raw, height):
                planner.add(coin)
            return tx
        inputs = [(self._script(owner), value) for owner, value in tx.inputs]
        outputs = [(self._script(owner), value) for owner, value in tx.outputs]
        return planner.plan(tx, inputs, outputs)

    def _built(self, planned: Planned) -> bytes:
        move = planned.move
        inputs = [_input(piece.point, piece.lot.script, move.sequence) for piece in planned.spent]
        outputs = [(value, lot.script) for lot in planned.made for value in lot.pieces]
        tx = build_tx(inputs, outputs, version=move.version, lock_time=move.lock_time)
        hash = parse_tx(tx).hash
        _name(planned.made, hash)
        if move.name:
            self.names[move.name] = hash
        return tx

    def _block(
        self, parent: str, height: int, draft: Draft, txs: list[bytes], known: dict[bytes, Coin]
    ) -> RecordedBlock:
        reward: list[Output] = [(value, self._script(owner)) for owner, value in draft.reward]
        extra = self._branches.to_bytes(4, "little")
        coinbase = build_coinbase(height, reward or [(0, b"\x6a")], txs, extra)
        kind = str(self.network.params.get("work", "unknown"))
        data = build_block(parent, draft.time, [coinbase, *txs], kind=kind)
        raw = parse_block(data, self.network, check_work=False)
        spent: dict[bytes, Coin] = {}
        made: list[Coin] = []
        for tx in raw.txs:
            spent |= {point: known.pop(point) for point in tx.outpoints if point in known}
            coins = _coins(tx, height)
            known |= {coin.outpoint: coin for coin in coins}
            made += coins
        return RecordedBlock(height, data, raw, spent, tuple(made))

    def _found(self, lots: Sequence[Lot]) -> None:
        """Transactions that made what was there before the first block, one for each script."""
        owned: dict[bytes, list[Lot]] = {}
        for lot in lots:
            owned.setdefault(lot.script, []).append(lot)
        for script, found in owned.items():
            text = b"before " + script + len(self.older).to_bytes(4, "little")
            source = hashlib.sha256(text).digest() + bytes(4)
            outputs = [(value, script) for lot in found for value in lot.pieces]
            tx = build_tx([_input(source, script, 0xFFFFFFFF)], outputs)
            raw = parse_tx(tx)
            _name(found, raw.hash)
            self.older[raw.hash] = tx
            self._had += _coins(raw, self.base - 1)

    def _script(self, owner: Script) -> bytes:
        if isinstance(owner, bytes):
            return owner
        if owner not in self._scripts:
            script = script_of(canonical(owner, self.network), self.network)
            if script is None:
                raise ValueError(f"{owner} does not tell its script")
            self._scripts[owner] = script
        return self._scripts[owner]


def _name(lots: Iterable[Lot], hash: str) -> None:
    """Tell lots the outpoints of their coins, which are the outputs of one transaction in their order."""
    owner, place = bytes.fromhex(hash)[::-1], 0
    for lot in lots:
        for _ in lot.pieces:
            lot.points.append(owner + place.to_bytes(4, "little"))
            place += 1


def _input(point: bytes, script: bytes, sequence: int) -> Input:
    """An input with a made-up signature, where one of this form of script has it."""
    signature = hashlib.sha512(point + script).digest()[:NO_KEY]
    if type_of(script).startswith(("p2w", "p2tr", "witness")):
        return point, b"", sequence, [signature]
    return point, bytes([NO_KEY]) + signature, sequence, ()


def _coins(tx: RawTx, height: int) -> list[Coin]:
    owner, is_coinbase = bytes.fromhex(tx.hash)[::-1], tx.is_coinbase
    return [
        Coin(owner + n.to_bytes(4, "little"), value, script, height, is_coinbase)
        for n, (value, script) in enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
        if type_of(script) != "null_data"
    ]
