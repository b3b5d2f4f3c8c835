"""Proof of work: what a header claims, and whether its hash shows it.

That the claim is the one that the network asked for at that height is not checked: it takes the history of headers.
It may not be easier than the easiest of the network.
"""

from __future__ import annotations

import hashlib

from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["check", "sha256d", "target"]


def sha256d(data: bytes) -> bytes:
    """SHA-256 of the SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def target(bits: int) -> int:
    """The number that a hash must not exceed, from its short form.

    Raises
    ------
    DecodeError : it is negative, zero, or larger than any hash

    Examples
    --------
    >>> hex(target(0x1D00FFFF))[:8]
    '0xffff00'
    """
    size, mantissa = bits >> 24, bits & 0x7FFFFF
    value = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
    if bits & 0x800000 or not value or value >= 1 << 256:
        raise DecodeError(f"its target 0x{bits:08x} makes no sense")
    return value


def check(header: bytes, bits: int, network: Network) -> None:
    """Whether 80 bytes of a header show the work of ``bits``, by the hash that the network's miners look for.

    Nothing is checked where that hash is not one of those here.

    Raises
    ------
    DecodeError : they do not, or the claim is easier than the network ever allows
    """
    kind = network.params.get("work", "unknown")
    if kind == "unknown":
        return
    wanted = target(bits)
    if wanted >> int(network.params["easiest"]):
        raise DecodeError(f"its target 0x{bits:08x} is easier than {network.name} allows")
    if kind == "sha256d":
        digest = sha256d(header)
    elif kind == "scrypt":
        digest = hashlib.scrypt(header, salt=header, n=1024, r=1, p=1, dklen=32)
    else:
        raise DecodeError(f"no such proof of work: {kind}")
    if int.from_bytes(digest, "little") > wanted:
        raise DecodeError("its header does not show the work that it claims")
