"""NEM blocks and transactions, as NIS1 writes them in JSON, to transfers: pure, no I/O.

Every movement of a transaction takes the next position of the block, its fee the last one, watched or not, so that
`Transfer.index` depends on the block alone. What moves nothing (an amount of 0) takes no position. After each mosaic a
position is kept for its levy, whether or not the mosaic has one: that is not in the block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chains.nem import binary
from chains.nem.mosaic import XEM, Levy, Name, account, mosaic_asset, name_of, quantity_of, whole
from monitor.addresses.nem import of_public_key
from monitor.errors import DecodeError
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Transfer, TransferKind, Tx
from monitor.networks import Network

__all__ = [
    "BLIND_SPOTS",
    "EPOCH",
    "LEVIES",
    "MULTISIG_FLAG",
    "Decoded",
    "RawBlock",
    "decode_block",
    "decode_transaction",
    "identity",
    "mosaics_sent",
    "parse_block",
    "sender_of",
    "timestamp",
]

EPOCH = 1_427_587_585  # unix seconds of NEM time 0: 2015-03-29T00:06:25Z
MULTISIG_FLAG = 1  # in Tx.flags: the transaction is a multisig's
NEMESIS_PARENT = "0" * 64  # parent_hash of block 1
NEWEST_TIME = 1 << 40  # seconds: more than any clock of NEM can say

#: Who owns a mosaic may take a levy from whoever sends it, and make more of it or less; who harvests gets the fees.
BLIND_SPOTS = ("received mosaic levies", "mosaic supply changes", "harvested fees")
LEVIES = "mosaic levies"  # those that a watched account paid, where no definition of the mosaic was told

MOST_COSIGNATORIES = 32  # of one account
_FEE_ONLY = frozenset({binary.NAMESPACE, binary.MOSAIC_DEFINITION, binary.MOSAIC_SUPPLY})
_SINKS = (("rentalFee", "rentalFeeSink"), ("creationFee", "creationFeeSink"))

Json = Mapping[str, Any]


class _Hash(msgspec.Struct):
    data: str


class RawBlock(msgspec.Struct):
    """A block as the node gives it, only what is used here; ``timeStamp`` is in seconds since `EPOCH`."""

    timeStamp: int
    signature: str
    prevBlockHash: _Hash
    height: int
    transactions: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One transaction: what it moved (its fee last) and what it changed.

    ``places`` counts the positions of the block that it takes, ``unlevied`` the mosaics in it whose levy is not known.
    """

    tx: Tx
    transfers: tuple[Transfer, ...]
    controls: tuple[ControlEvent, ...]
    places: int
    unlevied: int = 0


def parse_block(raw: Any) -> RawBlock:
    """The block behind a JSON answer; DecodeError says which field is wrong."""
    try:
        block = msgspec.convert(raw, RawBlock)
        bytes.fromhex(block.signature + block.prevBlockHash.data)
        if block.height < 1 or not 0 <= block.timeStamp < NEWEST_TIME:
            raise DecodeError("not a NIS1 block: height or timeStamp is out of range")
    except msgspec.ValidationError as error:
        raise DecodeError(f"not a NIS1 block: {error}") from None
    except ValueError:
        raise DecodeError("not a NIS1 block: signature or prevBlockHash is not hexadecimal") from None
    return block


def identity(block: RawBlock) -> str:
    """What stands for a block's hash, which the public API does not tell: a SHA-256 of signature and parent's hash.

    The signature covers the whole block, so two blocks of one identity are the same block. Explorers do not know it:
    find a block there by its height.
    """
    return hashlib.sha256(bytes.fromhex(block.signature) + bytes.fromhex(block.prevBlockHash.data)).hexdigest()


def timestamp(nem_time: int) -> int:
    """NEM seconds to UTC seconds.

    >>> timestamp(89_304_935)
    1516892520
    """
    return EPOCH + nem_time


def decode_block(
    block: RawBlock,
    parent_hash: str,
    network: Network,
    watch: Container[str],
    *,
    signers: Mapping[str, str] | None = None,
    hashes: Sequence[str] | None = None,
    levies: Mapping[Name, Levy | None] | None = None,
    source: str = "",
) -> Block:
    """What a block moved and changed, as far as it touches ``watch`` (canonical addresses).

    Parameters
    ----------
    block : see `parse_block`
    parent_hash : `identity` of the block below
    signers : addresses to show for public keys (lower-case hex), for replays whose keys are constructed
    hashes : the node's own transaction hashes in block order, where they are known
    levies : those of mosaics whose definition is known, None for one without
    source : the endpoint's name

    Notes
    -----
    A transaction that cannot be understood is named in ``undecoded`` and takes no position.
    """
    ref = BlockRef(network.chain, block.height, identity(block))
    transfers: list[Transfer] = []
    controls: list[ControlEvent] = []
    undecoded: list[str] = []
    place = seen = unlevied = 0
    for position, raw in enumerate(block.transactions):
        known = hashes[position] if hashes is not None else None
        try:
            decoded = decode_transaction(
                raw, ref, position, place, network, signers=signers, known_hash=known, levies=levies
            )
        except DecodeError:
            undecoded.append(known or _name(raw, ref, position))
            continue
        place += decoded.places
        unlevied += decoded.unlevied if decoded.tx.initiator in watch else 0
        seen += sum(t.kind is not TransferKind.FEE for t in decoded.transfers)
        transfers += (t for t in decoded.transfers if t.from_addresses[0] in watch or t.to_address in watch)
        controls += (c for c in decoded.controls if any(a in watch for a in _touched(c)))
    return Block(
        ref=ref,
        parent_hash=parent_hash,
        timestamp=timestamp(block.timeStamp),
        transfers=tuple(transfers),
        controls=tuple(controls),
        transfers_seen=seen,
        undecoded=tuple(undecoded),
        source=source,
        blind_spots=(*BLIND_SPOTS, LEVIES) if unlevied else BLIND_SPOTS,
    )


def decode_transaction(
    raw: Json,
    ref: BlockRef,
    position: int,
    first_index: int,
    network: Network,
    *,
    signers: Mapping[str, str] | None = None,
    known_hash: str | None = None,
    levies: Mapping[Name, Levy | None] | None = None,
) -> Decoded:
    """One transaction; a multisig's inner one is what counts, under the hash of the outer one.

    Parameters
    ----------
    raw : the transaction as NIS1 writes it
    position : place of the transaction in the block
    first_index : `Transfer.index` of its first movement
    signers, known_hash, levies : see `decode_block`

    Raises
    ------
    DecodeError : a field is missing or senseless, or the type is unknown
    """
    try:
        reader = _Reader(raw, network, signers or {}, levies or {})
        tx = Tx(
            hash=known_hash or binary.transaction_hash(raw),
            index=position,
            initiator=reader.sender,
            fee=reader.fee,
            version=reader.inner["version"] & 0xFF,
            flags=MULTISIG_FLAG if reader.inner is not raw else 0,
        )
        transfers: list[Transfer] = []
        place = first_index
        for movement in reader.movements():
            if movement is not None:
                kind, asset, receiver, value = movement
                if not value:
                    continue
                transfers.append(
                    Transfer(ref, tx, place, kind, asset, (reader.sender,), receiver, value, input_values=(value,))
                )
            place += 1
        controls = tuple(ControlEvent(ref, tx, *control) for control in reader.controls())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DecodeError(f"NEM transaction {position} of block {ref.number}: {type(error).__name__}") from None
    return Decoded(tx, tuple(transfers), controls, place - first_index, reader.unlevied)


def sender_of(raw: Json, network: Network, signers: Mapping[str, str]) -> str | None:
    """Whose account a transaction acts for; None where that cannot be told."""
    try:
        return _Reader(raw, network, signers, {}).sender
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def mosaics_sent(
    block: RawBlock, network: Network, watch: Container[str], *, signers: Mapping[str, str] | None = None
) -> set[Name]:
    """Mosaics other than XEM that watched accounts send in a block: those whose levies matter."""
    found: set[Name] = set()
    for raw in block.transactions:
        try:
            reader = _Reader(raw, network, signers or {}, {})
            if reader.sender in watch and reader.inner["type"] == binary.TRANSFER:
                found.update(name for name, _ in reader.mosaics())
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # named in ``undecoded``
    return found - {XEM}


Movement = tuple[TransferKind, str, str, int]  # kind, asset, receiver, value
Control = tuple[ControlKind, str, str, dict[str, Any]]  # kind, account, subject, detail


class _Reader:
    """The parts of one transaction."""

    def __init__(
        self, raw: Json, network: Network, signers: Mapping[str, str], levies: Mapping[Name, Levy | None]
    ) -> None:
        self._network = network
        self._signers, self._levies = signers, levies
        self.unlevied = 0  # mosaics that moved, and whose levy is not known
        multisig = raw["type"] == binary.MULTISIG
        self.inner: Json = raw["otherTrans"] if multisig else raw
        self.sender = self._address(self.inner["signer"])
        self.fee = whole(raw["fee"])  # of a multisig the account itself pays all three
        if multisig:
            self.fee += whole(self.inner["fee"]) + sum(whole(s["fee"]) for s in raw.get("signatures") or ())

    def movements(self) -> Iterator[Movement | None]:
        """What left the sender, the fee last; amounts may be 0. None is a position that is kept."""
        tx, xem = self.inner, self._network.asset
        if tx["type"] == binary.TRANSFER:
            yield from self._transfer()
        elif tx["type"] in _FEE_ONLY:
            for fee, sink in _SINKS:
                if tx.get(sink):
                    yield TransferKind.NATIVE, xem, account(tx[sink]), whole(tx[fee])
        elif tx["type"] not in (binary.IMPORTANCE_TRANSFER, binary.AGGREGATE_MODIFICATION):
            raise DecodeError(f"unknown NEM transaction type {tx['type']}")
        yield TransferKind.FEE, xem, "", self.fee

    def mosaics(self) -> Iterator[tuple[Name, int]]:
        """What a transfer has attached, and how much of it moves (smallest units); nothing for plain XEM."""
        amount = whole(self.inner["amount"])
        for mosaic in (self.inner.get("mosaics") or ()) if self.inner["version"] & 0xFF >= 2 else ():
            yield name_of(mosaic["mosaicId"]), quantity_of(mosaic, amount)

    def _transfer(self) -> Iterator[Movement | None]:
        receiver, mosaics = account(self.inner["recipient"]), list(self.mosaics())
        if not mosaics:
            yield TransferKind.NATIVE, self._network.asset, receiver, whole(self.inner["amount"])
        for name, value in mosaics:
            yield self._moved(name, receiver, value)
            if name != XEM:
                yield self._levied(name, value)

    def _moved(self, name: Name, receiver: str, value: int) -> Movement:
        if name == XEM:
            return TransferKind.NATIVE, self._network.asset, receiver, value
        return TransferKind.TOKEN, mosaic_asset(self._network.chain, *name), receiver, value

    def _levied(self, name: Name, value: int) -> Movement | None:
        if name not in self._levies:
            self.unlevied += 1
            return None
        levy = self._levies[name]
        due = 0 if levy is None else levy.of(value)
        return None if levy is None or not due else self._moved(levy.mosaic, levy.recipient, due)

    def controls(self) -> Iterator[Control]:
        """Changes in who may act for the account."""
        tx = self.inner
        if tx["type"] == binary.IMPORTANCE_TRANSFER:
            mode = _word(tx["mode"], {1: "activate", 2: "deactivate"})
            remote = self._address(tx["remoteAccount"])
            yield ControlKind.IMPORTANCE_TRANSFER, self.sender, remote, {"mode": mode}
        elif tx["type"] == binary.AGGREGATE_MODIFICATION:
            yield self._signatories()

    def _signatories(self) -> Control:
        changes = [
            {
                "type": _word(change["modificationType"], {1: "add", 2: "remove"}),
                "cosignatory": self._address(change["cosignatoryAccount"]),
            }
            for change in self.inner["modifications"]
        ]
        least = (self.inner.get("minCosignatories") or {}).get("relativeChange", 0)
        if type(least) is not int or abs(least) > MOST_COSIGNATORIES:
            raise ValueError("not a change of the number of cosignatories")
        subjects = sorted(changes, key=lambda change: change["type"] != "add")  # an added one first
        subject = subjects[0]["cosignatory"] if subjects else self.sender
        detail = {"modifications": changes, "min_cosignatories_change": least}
        return ControlKind.SIGNATORY_CHANGE, self.sender, subject, detail

    def _address(self, public_key: str) -> str:
        key = public_key.lower()
        return self._signers.get(key) or of_public_key(key, self._network.params["network_byte"])


def _touched(control: ControlEvent) -> Iterator[str]:
    yield control.account
    yield control.subject
    for change in control.detail.get("modifications", ()):
        yield change["cosignatory"]


def _word(value: Any, words: Mapping[int, str]) -> str:
    """What a number stands for, itself where that is not known; ValueError for what is no number."""
    if type(value) is not int:
        raise ValueError("expected a number")
    return words.get(value, str(value))


def _name(raw: Json, ref: BlockRef, position: int) -> str:
    """What to call a transaction that cannot be understood: its hash where that much can be read, else its place."""
    try:
        return binary.transaction_hash(raw)
    except DecodeError:
        return f"{ref.number}/{position}"
