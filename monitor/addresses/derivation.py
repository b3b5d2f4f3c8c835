"""Runs of addresses, and the public derivation of BIP 32 for single keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from monitor.addresses.encode import hash160

__all__ = ["Run", "single_key"]

_TWEAK = hashlib.sha256(b"TapTweak").digest() * 2  # BIP 340: tagged hashes


class Run:
    """Addresses 0, 1, 2 and so on of one branch, or a single one.

    Parameters
    ----------
    addresses : those at an index (a ``combo`` has several), or those of a descriptor without ``*``
    kin : of one without ``*``: the first address of the run that it would be part of with it, where there is one
    """

    __slots__ = ("_addresses", "kin")

    def __init__(self, addresses: Callable[[int], tuple[str, ...]] | tuple[str, ...], kin: str = "") -> None:
        self._addresses, self.kin = addresses, kin

    @property
    def is_ranged(self) -> bool:
        """Whether it goes on."""
        return not isinstance(self._addresses, tuple)

    def at(self, index: int) -> tuple[str, ...]:
        """Canonical addresses at an index; one that does not go on has them at 0."""
        return self._addresses if isinstance(self._addresses, tuple) else self._addresses(index)


def single_key(form: str, key: Any, is_parent: bool) -> Callable[[int], tuple[bytes, ...]]:
    """What makes output scripts of one key.

    Parameters
    ----------
    form : ``pk``, ``pkh``, ``wpkh``, ``sh(wpkh``, ``tr`` or ``combo``
    key : embit's key
    is_parent : its children are paid, by index; else it is itself
    """
    make = _MAKERS[form]
    if not is_parent:
        fixed = make(bytes(key.sec()))
        return lambda index: fixed
    child = _children(bytes(key.sec()), bytes(key.chain_code))
    return lambda index: make(child(index))


def _children(public: bytes, chain: bytes) -> Callable[[int], bytes]:
    """Public child keys by index (BIP 32, CKDpub)."""
    from coincurve import PublicKey

    point = PublicKey(public)

    def child(index: int) -> bytes:
        tweak = hmac.digest(chain, public + index.to_bytes(4, "big"), "sha512")[:32]
        return point.add(tweak).format()

    return child


def _pk(key: bytes) -> tuple[bytes, ...]:
    return (bytes([len(key)]) + key + b"\xac",)


def _pkh(key: bytes) -> tuple[bytes, ...]:
    return (b"\x76\xa9\x14" + hash160(key) + b"\x88\xac",)


def _wpkh(key: bytes) -> tuple[bytes, ...]:
    return (b"\x00\x14" + hash160(key),)


def _wrapped(key: bytes) -> tuple[bytes, ...]:
    return (b"\xa9\x14" + hash160(_wpkh(key)[0]) + b"\x87",)


def _tr(key: bytes) -> tuple[bytes, ...]:
    """Without a script tree (BIP 86, 341)."""
    from coincurve import PublicKey

    x = key[1:33]
    tweak = hashlib.sha256(_TWEAK + x).digest()
    return (b"\x51\x20" + PublicKey(b"\x02" + x).add(tweak).format()[1:],)


def _combo(key: bytes) -> tuple[bytes, ...]:
    compressed = len(key) == 33
    return (*_pk(key), *_pkh(key), *(_wpkh(key) if compressed else ()), *(_wrapped(key) if compressed else ()))


_MAKERS: dict[str, Callable[[bytes], tuple[bytes, ...]]] = {
    "pk": _pk, "pkh": _pkh, "wpkh": _wpkh, "sh(wpkh": _wrapped, "tr": _tr, "combo": _combo,
}  # fmt: skip
