"""NEM blocks and transactions, as NIS1 writes them in JSON, to transfers: pure, no I/O.

Every movement of a transaction takes the next position of the block, its fee the last one, watched or not, so that
`Transfer.index` depends on the block alone. What moves nothing (an amount of 0) takes no position.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from chains import nem_binary
from monitor.addresses.nem import of_public_key
from monitor.errors import DecodeError
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Transfer, TransferKind, Tx
from monitor.networks import Network

__all__ = [
    "BLIND_SPOTS",
    "EPOCH",
    "MULTISIG_FLAG",
    "Decoded",
    "RawBlock",
    "decode_block",
    "decode_transaction",
    "identity",
    "mosaic_asset",
    "mosaic_name",
    "parse_block",
    "timestamp",
]

EPOCH = 1_427_587_585  # unix seconds of NEM time 0: 2015-03-29T00:06:25Z
MULTISIG_FLAG = 1  # in Tx.flags: the transaction is a multisig's
MICRO = 1_000_000
NEMESIS_PARENT = "0" * 64  # parent_hash of block 1

#: Mosaics can have a levy: its owner takes a part of each transfer from the sender. Delegated harvesting earns fees.
BLIND_SPOTS = ("mosaic levies", "harvested fees")

_FEE_ONLY = frozenset({8193, 16385, 16386})  # namespaces, mosaic definitions, mosaic supplies
_SINKS = (("rentalFee", "rentalFeeSink"), ("creationFee", "creationFeeSink"))
_PLAIN = re.compile(r"[-.a-zA-Z0-9]")

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
    """One transaction: what it moved (its fee last) and what it changed."""

    tx: Tx
    transfers: tuple[Transfer, ...]
    controls: tuple[ControlEvent, ...]


def parse_block(raw: Any) -> RawBlock:
    """The block behind a JSON answer; DecodeError says which field is wrong."""
    try:
        block = msgspec.convert(raw, RawBlock)
        bytes.fromhex(block.signature + block.prevBlockHash.data)
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


def mosaic_asset(chain: str, namespace: str, name: str) -> str:
    """CAIP-19 of a mosaic; characters that a CAIP-19 reference cannot hold are percent-encoded.

    >>> mosaic_asset("nem:mainnet", "salaryman-toushi", "test_1")
    'nem:mainnet/mosaic:salaryman-toushi%3Atest%5F1'
    """
    text = "".join(
        chr(byte) if _PLAIN.match(chr(byte)) else f"%{byte:02X}" for byte in f"{namespace}:{name}".encode()
    )
    return f"{chain}/mosaic:{text}"


def mosaic_name(asset: str) -> tuple[str, str] | None:
    """Namespace and name of a mosaic's CAIP-19 identifier; None where it is something else.

    >>> mosaic_name("nem:mainnet/mosaic:nextem%3Anex"), mosaic_name("nem:mainnet/slip44:43")
    (('nextem', 'nex'), None)
    """
    kind, _, text = asset.partition("/")[2].partition(":")
    namespace, colon, name = unquote(text).partition(":")
    return (namespace, name) if kind == "mosaic" and colon else None


def decode_block(
    block: RawBlock,
    parent_hash: str,
    network: Network,
    watch: Container[str],
    *,
    signers: Mapping[str, str] | None = None,
    hashes: Sequence[str] | None = None,
    source: str = "",
) -> Block:
    """What a block moved and changed, as far as it touches ``watch`` (canonical addresses).

    Parameters
    ----------
    block : see `parse_block`
    parent_hash : `identity` of the block below
    signers : addresses to show for public keys (lower-case hex), for replays whose keys are constructed
    hashes : the node's own transaction hashes in block order, where they are known
    source : the endpoint's name

    Notes
    -----
    A transaction that cannot be understood is named in ``undecoded`` and takes no position.
    """
    ref = BlockRef(network.chain, block.height, identity(block))
    transfers: list[Transfer] = []
    controls: list[ControlEvent] = []
    undecoded: list[str] = []
    place = seen = 0
    for position, raw in enumerate(block.transactions):
        known = hashes[position] if hashes is not None else None
        try:
            decoded = decode_transaction(raw, ref, position, place, network, signers=signers, known_hash=known)
        except DecodeError:
            undecoded.append(known or _name(raw, ref, position))
            continue
        place += len(decoded.transfers)
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
        blind_spots=BLIND_SPOTS,
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
) -> Decoded:
    """One transaction; a multisig's inner one is what counts, under the hash of the outer one.

    Parameters
    ----------
    raw : the transaction as NIS1 writes it
    position : place of the transaction in the block
    first_index : `Transfer.index` of its first movement
    signers, known_hash : see `decode_block`

    Raises
    ------
    DecodeError : a field is missing or senseless, or the type is unknown
    """
    try:
        reader = _Reader(raw, network, signers or {})
        tx = Tx(
            hash=known_hash or nem_binary.transaction_hash(raw),
            index=position,
            initiator=reader.sender,
            fee=reader.fee,
            version=reader.inner["version"] & 0xFF,
            flags=MULTISIG_FLAG if reader.inner is not raw else 0,
        )
        transfers = tuple(
            Transfer(ref, tx, first_index + i, kind, asset, (reader.sender,), receiver, value, input_values=(value,))
            for i, (kind, asset, receiver, value) in enumerate(m for m in reader.movements() if m[3])
        )
        controls = tuple(ControlEvent(ref, tx, *control) for control in reader.controls())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"NEM transaction {position} of block {ref.number}: {type(error).__name__}") from None
    return Decoded(tx, transfers, controls)


Movement = tuple[TransferKind, str, str, int]  # kind, asset, receiver, value
Control = tuple[ControlKind, str, str, dict[str, Any]]  # kind, account, subject, detail


class _Reader:
    """The parts of one transaction."""

    def __init__(self, raw: Json, network: Network, signers: Mapping[str, str]) -> None:
        self._network = network
        self._signers = signers
        multisig = raw["type"] == nem_binary.MULTISIG
        self.inner: Json = raw["otherTrans"] if multisig else raw
        self.sender = self._address(self.inner["signer"])
        self.fee = _natural(raw["fee"])  # of a multisig the account itself pays all three
        if multisig:
            self.fee += _natural(self.inner["fee"]) + sum(_natural(s["fee"]) for s in raw.get("signatures") or ())

    def movements(self) -> Iterator[Movement]:
        """What left the sender, the fee last; amounts may be 0."""
        tx, xem = self.inner, self._network.asset
        if tx["type"] == nem_binary.TRANSFER:
            yield from self._transfer()
        elif tx["type"] in _FEE_ONLY:
            for fee, sink in _SINKS:
                if tx.get(sink):
                    yield TransferKind.NATIVE, xem, _account(tx[sink]), _natural(tx[fee])
        elif tx["type"] not in (nem_binary.IMPORTANCE_TRANSFER, nem_binary.AGGREGATE_MODIFICATION):
            raise DecodeError(f"unknown NEM transaction type {tx['type']}")
        yield TransferKind.FEE, xem, "", self.fee

    def _transfer(self) -> Iterator[Movement]:
        tx, receiver, amount = self.inner, _account(self.inner["recipient"]), _natural(self.inner["amount"])
        mosaics = (tx.get("mosaics") or ()) if tx["version"] & 0xFF >= 2 else ()
        if not mosaics:
            yield TransferKind.NATIVE, self._network.asset, receiver, amount
        for mosaic in mosaics:  # amount is then a multiplier, in millionths
            namespace, name = mosaic["mosaicId"]["namespaceId"], mosaic["mosaicId"]["name"]
            value = _natural(mosaic["quantity"]) * amount // MICRO
            if (namespace, name) == ("nem", "xem"):
                yield TransferKind.NATIVE, self._network.asset, receiver, value
            else:
                yield TransferKind.TOKEN, mosaic_asset(self._network.chain, namespace, name), receiver, value

    def controls(self) -> Iterator[Control]:
        """Changes in who may act for the account."""
        tx = self.inner
        if tx["type"] == nem_binary.IMPORTANCE_TRANSFER:
            mode = {1: "activate", 2: "deactivate"}.get(tx["mode"], str(tx["mode"]))
            remote = self._address(tx["remoteAccount"])
            yield ControlKind.IMPORTANCE_TRANSFER, self.sender, remote, {"mode": mode}
        elif tx["type"] == nem_binary.AGGREGATE_MODIFICATION:
            yield self._signatories()

    def _signatories(self) -> Control:
        changes = [
            {
                "type": {1: "add", 2: "remove"}.get(change["modificationType"], str(change["modificationType"])),
                "cosignatory": self._address(change["cosignatoryAccount"]),
            }
            for change in self.inner["modifications"]
        ]
        least = (self.inner.get("minCosignatories") or {}).get("relativeChange", 0)
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


def _account(text: str) -> str:
    return text.replace("-", "").upper()


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a whole number")
    return value


def _name(raw: Json, ref: BlockRef, position: int) -> str:
    """What to call a transaction that cannot be understood: its hash where that much can be read, else its place."""
    try:
        return nem_binary.transaction_hash(raw)
    except DecodeError:
        return f"{ref.number}/{position}"
