"""EVM addresses: ``0x`` and 40 hex digits; the canonical form is lower-case, EIP-55 is the checksum and for display."""

from __future__ import annotations

import re

from Crypto.Hash import keccak

from monitor.addresses import PrivateKeyGiven
from monitor.networks import Network

__all__ = ["canonical", "checksum"]

_HEX = re.compile(r"[0-9a-fA-F]*")


def canonical(text: str, network: Network) -> str:
    """The lower-case form. One letter case means "no checksum"; mixed case must satisfy EIP-55.

    Raises
    ------
    PrivateKeyGiven : 64 hex digits, which may be a private key
    ValueError : not an address, or its checksum does not match

    Examples
    --------
    >>> from monitor.networks import by_name
    >>> canonical("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", by_name("ethereum"))
    '0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed'
    """
    prefix, digits = text[:2], text[2:]
    if prefix not in ("0x", "0X"):
        prefix, digits = "", text
    if not _HEX.fullmatch(digits):
        raise ValueError(f"not an address of {network.name}: expected 0x and 40 hexadecimal digits{_hint(text)}")
    if len(digits) == 64:
        raise PrivateKeyGiven(
            "64 hexadecimal digits are a transaction hash or a private key, not an address: "
            "if it is a private key, remove it from here; an address has 40"
        )
    if len(digits) != 40:
        raise ValueError(f"an address of {network.name} has 40 hexadecimal digits after 0x, found {len(digits)}")
    if not prefix:
        raise ValueError("0x is missing before the 40 hexadecimal digits")
    if digits in (digits.lower(), digits.upper()):
        return "0x" + digits.lower()
    expected = checksum("0x" + digits)
    if expected != "0x" + digits:
        raise ValueError(f"checksum does not match: expected {expected} (or write it all in lower case)")
    return expected.lower()


def checksum(address: str) -> str:
    """The EIP-55 form of a hex address, for display.

    Source: ERC-55, "Mixed-case checksum address encoding".

    >>> checksum("0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359")
    '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359'
    """
    digits = address[2:].lower()
    digest = keccak.new(digest_bits=256, data=digits.encode()).hexdigest()
    return "0x" + "".join(d.upper() if h >= "8" else d for d, h in zip(digits, digest, strict=False))


def _hint(text: str) -> str:
    if "." in text:
        return " (a name is not an address: resolve it first, its owner can point it elsewhere)"
    if ":" in text:
        return " (without a chain prefix)"
    return ""
