"""CashAddr, the address form of Bitcoin Cash: a prefix, a version byte and a hash under a 40-bit checksum.

Source: the "CashAddr" specification of Bitcoin Cash. Only what payments use is implemented: pay to public key hash and
pay to script hash, with hashes of 20 to 64 bytes. The forms by which a wallet says that it knows of tokens (CashTokens:
types 2 and 3) name the same destinations, and are read as these.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

__all__ = ["Kind", "convert_bits", "decode", "encode"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # as in bech32
_GENERATOR = (0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470)
_SIZES = (20, 24, 28, 32, 40, 48, 56, 64)  # bytes of hash, by the low three bits of the version byte


class Kind(IntEnum):
    """What the hash is of: bits 3 to 6 of the version byte."""

    P2PKH = 0
    P2SH = 1


def encode(prefix: str, kind: Kind, digest: bytes) -> str:
    """The lower-case address with its prefix; ValueError where the hash has no valid length.

    >>> encode("bitcoincash", Kind.P2PKH, bytes.fromhex("76a04053bda0a88bda5177b86a15c3b29f559873"))
    'bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a'
    """
    version = kind << 3 | _SIZES.index(len(digest))
    payload = convert_bits(bytes([version]) + digest, 8, 5) or []
    check = _polymod([*_expand(prefix), *payload, 0, 0, 0, 0, 0, 0, 0, 0])
    values = payload + [check >> 5 * (7 - i) & 31 for i in range(8)]
    return f"{prefix}:{''.join(_CHARSET[v] for v in values)}"


def decode(text: str, prefix: str) -> tuple[Kind, bytes]:
    """Kind and hash of an address, written with or without ``prefix``, in one letter case.

    Raises
    ------
    ValueError : not CashAddr, of another prefix, or damaged

    Examples
    --------
    >>> kind, digest = decode("qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "bitcoincash")
    >>> kind.name, digest.hex()
    ('P2PKH', '76a04053bda0a88bda5177b86a15c3b29f559873')
    """
    if text not in (text.lower(), text.upper()):
        raise ValueError("CashAddr is all lower case or all upper case, never mixed")
    given, _, body = text.lower().rpartition(":")
    if given and given != prefix:
        raise ValueError(f"prefix is {given!r}, expected {prefix!r}")
    values = [_CHARSET.find(character) for character in body]
    if -1 in values:
        raise ValueError(f"character {values.index(-1) + 1} after the prefix is not used in CashAddr")
    if len(values) < 8 or _polymod([*_expand(prefix), *values]):
        raise ValueError("checksum does not match: a character is wrong or missing")
    data = convert_bits(values[:-8], 5, 8, pad=False)
    if not data or data[0] & 0x80:
        raise ValueError("padding or version byte is not valid")
    type = data[0] >> 3
    if type > 3:
        raise ValueError(f"address type {type} is unknown (0 is a key hash, 1 a script hash)")
    kind = Kind(type & 1)
    if len(data) - 1 != _SIZES[data[0] & 7]:
        raise ValueError(f"the hash has {len(data) - 1} bytes where its version byte says {_SIZES[data[0] & 7]}")
    return kind, bytes(data[1:])


def convert_bits(values: Iterable[int], width: int, to: int, pad: bool = True) -> list[int] | None:
    """The same bits in groups of another width.

    Without ``pad`` (when decoding) None is returned unless what is left over is shorter than one input group and zero.
    """
    state, bits, out = 0, 0, []
    for value in values:
        state, bits = state << width | value, bits + width
        while bits >= to:
            bits -= to
            out.append(state >> bits)
            state &= (1 << bits) - 1
    if pad and bits:
        out.append(state << to - bits)
    return None if not pad and (bits >= width or state) else out


def _expand(prefix: str) -> list[int]:
    return [ord(character) & 31 for character in prefix] + [0]


def _polymod(values: Iterable[int]) -> int:
    """The BCH code over GF(32) of the specification; 0 for a valid address."""
    state = 1
    for value in values:
        top = state >> 35
        state = (state & 0x07FFFFFFFF) << 5 ^ value
        for bit, factor in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= factor
    return state ^ 1
