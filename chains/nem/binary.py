"""Hashes of NEM transactions: the Keccak-256 of their binary form, which the public API does not tell.

Source: NIS1 API documentation, "Transaction binary layouts": little-endian integers, every text and structure with its
length in four bytes before it, no signature. Lists keep the order in which the node gives them, which is the order in
which they were hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from Crypto.Hash import keccak

from monitor.errors import DecodeError

__all__ = [
    "AGGREGATE_MODIFICATION",
    "HASHED",
    "IMPORTANCE_TRANSFER",
    "MOSAIC_DEFINITION",
    "MOSAIC_SUPPLY",
    "MULTISIG",
    "NAMESPACE",
    "TRANSFER",
    "inner_hash",
    "serialize",
    "transaction_hash",
]

TRANSFER = 257
IMPORTANCE_TRANSFER = 2049
AGGREGATE_MODIFICATION = 4097
MULTISIG = 4100
NAMESPACE = 8193
MOSAIC_DEFINITION = 16385
MOSAIC_SUPPLY = 16386

Json = Mapping[str, Any]


def transaction_hash(tx: Json) -> str:
    """The transaction's hash, lower-case hex.

    Of the types that this module can serialise, which are all of NIS1, it is the chain's own hash. Of another type it
    is the Keccak-256 of the signature: unique and stable over re-reads, but not what explorers show.

    Raises
    ------
    DecodeError : a field is missing or out of range
    """
    try:
        data = serialize(tx) if tx["type"] in _BODIES else bytes.fromhex(tx["signature"])
    except DecodeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DecodeError(f"NEM transaction cannot be hashed: {type(error).__name__}") from None
    return keccak.new(digest_bits=256, data=data).hexdigest()


def inner_hash(tx: Json) -> str | None:
    """The hash of a multisig's inner transaction, which its cosignatures refer to; None where it cannot be computed.

    Inner transactions carry no signature of their own.
    """
    inner = tx.get("otherTrans")
    if not isinstance(inner, Mapping):
        return None
    kind = inner.get("type")
    if type(kind) is not int or kind not in _BODIES:
        return None
    return transaction_hash(inner)


def serialize(tx: Json) -> bytes:
    """The binary form of a transaction, without its signature; DecodeError where its type has none."""
    body = _BODIES.get(tx["type"])
    if body is None:
        raise DecodeError(f"no binary layout for NEM transaction type {tx['type']}")
    head = _int(tx["type"]) + _signed(tx["version"]) + _int(tx["timeStamp"]) + _hex(tx["signer"])
    return head + _long(tx["fee"]) + _int(tx["deadline"]) + body(tx)


def _transfer(tx: Json) -> bytes:
    data = _text(_bare(tx["recipient"])) + _long(tx["amount"])
    message = tx.get("message") or {}
    if message.get("payload"):
        data += _sized(_int(message["type"]) + _hex(message["payload"]))
    else:
        data += _int(0)
    if tx["version"] & 0xFF < 2:
        return data
    mosaics = tx.get("mosaics") or []
    return data + _int(len(mosaics)) + b"".join(_sized(_mosaic(m)) for m in mosaics)


def _mosaic(mosaic: Json) -> bytes:
    return _mosaic_id(mosaic["mosaicId"]) + _long(mosaic["quantity"])


def _mosaic_id(name: Json) -> bytes:
    return _sized(_text(name["namespaceId"]) + _text(name["name"]))


def _importance_transfer(tx: Json) -> bytes:
    return _int(tx["mode"]) + _hex(tx["remoteAccount"])


def _aggregate_modification(tx: Json) -> bytes:
    changes = tx["modifications"]
    data = _int(len(changes))
    for change in changes:
        data += _sized(_int(change["modificationType"]) + _hex(change["cosignatoryAccount"]))
    if tx["version"] & 0xFF < 2:
        return data
    least = tx.get("minCosignatories") or {}
    return data + (_sized(_signed(least["relativeChange"])) if "relativeChange" in least else _int(0))


def _multisig(tx: Json) -> bytes:
    inner = tx["otherTrans"]
    if inner["type"] == MULTISIG:
        raise DecodeError("a multisig transaction cannot hold another")
    return _sized(serialize(inner))


def _namespace(tx: Json) -> bytes:
    parent = tx.get("parent")
    part = _NULL if parent is None else _text(parent)
    return _text(_bare(tx["rentalFeeSink"])) + _long(tx["rentalFee"]) + _text(tx["newPart"]) + part


def _mosaic_definition(tx: Json) -> bytes:
    it = tx["mosaicDefinition"]
    data = _hex(it["creator"]) + _mosaic_id(it["id"]) + _text(it["description"])
    properties = it["properties"]
    data += _int(len(properties))
    for one in properties:
        data += _sized(_text(one["name"]) + _text(one["value"]))
    levy = it.get("levy") or None
    if levy is None:
        data += _int(0)
    else:
        recipient = _text(_bare(levy["recipient"]))
        data += _sized(_int(levy["type"]) + recipient + _mosaic_id(levy["mosaicId"]) + _long(levy["fee"]))
    return _sized(data) + _text(_bare(tx["creationFeeSink"])) + _long(tx["creationFee"])


def _mosaic_supply(tx: Json) -> bytes:
    return _mosaic_id(tx["mosaicId"]) + _int(tx["supplyType"]) + _long(tx["delta"])


_BODIES: dict[int, Callable[[Json], bytes]] = {
    TRANSFER: _transfer,
    IMPORTANCE_TRANSFER: _importance_transfer,
    AGGREGATE_MODIFICATION: _aggregate_modification,
    MULTISIG: _multisig,
    NAMESPACE: _namespace,
    MOSAIC_DEFINITION: _mosaic_definition,
    MOSAIC_SUPPLY: _mosaic_supply,
}
_NULL = b"\xff\xff\xff\xff"  # the length of a text that is not there
HASHED = frozenset(_BODIES)  # the types whose hash is known


def _int(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _signed(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


def _long(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _sized(data: bytes) -> bytes:
    return _int(len(data)) + data


def _text(text: str) -> bytes:
    return _sized(text.encode())


def _bare(address: str) -> str:
    return address.replace("-", "")


def _hex(digits: str) -> bytes:
    return _sized(bytes.fromhex(digits))
