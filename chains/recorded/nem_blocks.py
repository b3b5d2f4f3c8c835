"""NEM blocks made from known movements, in the JSON of NIS1.

What history tells of a theft is addresses, amounts and times, not public keys or signatures. So a constructed
transaction carries a made-up key in place of the sender's, `Recording.signers` says which address it stands for (see
`chains.nem.watcher.NemChain`), and signatures are digests that no node would accept. Blocks are linked, and each digest
covers everything in its block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from Crypto.Hash import keccak

from chains.nem.binary import TRANSFER, transaction_hash
from chains.nem.decode import EPOCH
from monitor.ids import canonical_json
from monitor.networks import Network, by_name

__all__ = ["Move", "Recording", "block_hash", "construct", "made_up_key", "make_block"]

Json = dict[str, Any]

SLOT = 60  # seconds: NEM's usual time between blocks
FEE = 50_000  # micro-XEM
DEADLINE = 3600  # seconds after the transaction's time


class Move(NamedTuple):
    """A transfer of XEM: ``at`` in UTC seconds, amounts in micro-XEM, ``sender`` an address or a public key in hex."""

    at: int
    sender: str
    receiver: str
    value: int
    fee: int = FEE


@dataclass(frozen=True, slots=True)
class Recording:
    """Linked blocks in the JSON of NIS1, lowest first, and what their made-up keys stand for."""

    network: Network
    blocks: tuple[Json, ...]
    signers: Mapping[str, str] = field(default_factory=dict)  # public key to address


def made_up_key(address: str) -> str:
    """The key that stands for an address whose key is not known: 64 hex digits, the same every time, nobody's."""
    return hashlib.sha256(b"heistwatch: no real key of " + address.encode()).hexdigest()


def construct(
    moves: Iterable[Move | tuple[Any, ...]],
    *,
    network: Network | None = None,
    parent: Json | None = None,
    height: int = 1,
    slot: int = SLOT,
    quiet: int = 0,
    salt: str = "",
) -> Recording:
    """Blocks that hold ``moves``: those of one slot of time in one block, at the time of the slot's last move.

    Parameters
    ----------
    moves : in any order; equal ones stay apart
    network : NEM's main network unless said otherwise
    parent : the block to build on; None makes an empty first block one slot before the first move
    height : of that first block, at least 1
    slot : seconds
    quiet : the most empty blocks between two with moves; 0 leaves quiet times out
    salt : other text makes other blocks of the same moves, for a reorg

    Raises
    ------
    ValueError : no move, or one that is not after ``parent``
    """
    network = network or _mainnet()
    ordered = sorted((Move(*move) for move in moves), key=lambda move: move.at)
    if not ordered:
        raise ValueError("no moves to construct blocks from")
    slots: dict[int, list[Move]] = {}
    for move in ordered:
        slots.setdefault(move.at // slot, []).append(move)
    blocks: list[Json] = []
    if parent is None:
        parent = make_block(None, (min(slots) - 1) * slot, [], network=network, height=height, salt=salt)
        blocks.append(parent)
    elif ordered[0].at <= parent["timeStamp"] + EPOCH:
        raise ValueError(f"a move at {ordered[0].at} is not after the parent block")
    makers = _Transactions(network)
    for place in _plan(slots, (parent["timeStamp"] + EPOCH) // slot, quiet):
        found = slots.get(place, [])
        at = found[-1].at if found else place * slot
        parent = make_block(parent, at, makers.of(found), network=network, salt=salt)
        blocks.append(parent)
    return Recording(network, tuple(blocks), makers.signers)


def make_block(
    parent: Json | None,
    at: int,
    transactions: Sequence[Mapping[str, Any]],
    *,
    network: Network | None = None,
    height: int = 1,
    salt: str = "",
) -> Json:
    """One block on ``parent`` at UTC second ``at``; ``height`` counts where there is no parent."""
    network = network or _mainnet()
    block: Json = {
        "timeStamp": at - EPOCH,
        "prevBlockHash": {"data": block_hash(parent) if parent is not None else "0" * 64},
        "type": 1,
        "transactions": [dict(tx) for tx in transactions],
        "version": _version(network, 1),
        "signer": made_up_key(f"harvester {salt}"),
        "height": parent["height"] + 1 if parent is not None else height,
    }
    return {**block, "signature": _signature(block)}


def block_hash(block: Mapping[str, Any]) -> str:
    """What the next block names as its parent: a digest of all of the block."""
    return keccak.new(digest_bits=256, data=canonical_json(block)).hexdigest()


def _plan(slots: Iterable[int], before: int, quiet: int) -> list[int]:
    """The slots that get a block, with at most ``quiet`` empty ones, evenly spread, in a gap."""
    plan: list[int] = []
    for place in sorted(slots):
        gap = place - before - 1
        count = max(0, min(gap, quiet))
        plan += [before + (i + 1) * (gap + 1) // (count + 1) for i in range(count)]
        plan.append(place)
        before = place
    return plan


class _Transactions:
    """Transfers with their made-up keys; equal moves differ in their deadline, as no chain holds one twice."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._hashes: set[str] = set()
        self.signers: dict[str, str] = {}

    def of(self, moves: Sequence[Move]) -> list[Json]:
        return [self._transfer(move) for move in moves]

    def _transfer(self, move: Move) -> Json:
        key = move.sender
        if len(key) != 64:
            key = made_up_key(move.sender)
            self.signers[key] = move.sender
        tx: Json = {
            "timeStamp": move.at - EPOCH,
            "amount": move.value,
            "fee": move.fee,
            "recipient": move.receiver,
            "type": TRANSFER,
            "deadline": move.at - EPOCH + DEADLINE,
            "message": {},
            "version": _version(self._network, 1),
            "signer": key,
        }
        while (digest := transaction_hash(tx)) in self._hashes:
            tx["deadline"] += 1
        self._hashes.add(digest)
        return {**tx, "signature": _signature(tx)}


def _signature(value: Json) -> str:
    return hashlib.sha512(canonical_json(value)).hexdigest()


def _version(network: Network, version: int) -> int:
    """The network byte in the highest place; NIS1 writes it as a signed number."""
    number = network.params["network_byte"] << 24 | version
    return int(number - (1 << 32) if number >> 31 else number)


def _mainnet() -> Network:
    network = by_name("nem")
    assert network is not None
    return network
