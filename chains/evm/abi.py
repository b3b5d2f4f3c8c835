"""Words of the contract ABI, read from hex text with bounds: nothing that a contract says may cost much. Pure."""

from __future__ import annotations

from functools import cache

from Crypto.Hash import keccak as _keccak

__all__ = ["address_of", "array_at", "bytes_of", "keccak", "topic", "word_at"]

PADDING = "0x" + "0" * 24


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it: 32 bytes."""
    return bytes(_keccak.new(digest_bits=256, data=data).digest())


@cache
def topic(signature: str) -> str:
    """The first topic of an event.

    >>> topic("Transfer(address,address,uint256)")
    '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef'
    """
    return "0x" + keccak(signature.encode()).hex()


def address_of(word: str) -> str:
    """The address in a 32-byte word, lower case; ValueError where there is none."""
    if len(word) != 66 or not word.startswith(PADDING):
        raise ValueError("not an address")
    address = "0x" + word[26:].lower()
    int(address, 16)
    return address


def word_at(data: str, place: int) -> int:
    """Word number ``place`` of data (hex text) as a number; ValueError where the data is shorter."""
    part = data[2 + 64 * place : 66 + 64 * place]
    if len(part) != 64 or data[:2] != "0x":
        raise ValueError("data is too short")
    return int(part, 16)


def array_at(data: str, place: int, most: int) -> list[int]:
    """The words of the dynamic array whose offset is word number ``place``.

    Raises
    ------
    ValueError : it lies outside of the data, or has more than ``most`` words
    """
    offset = word_at(data, place)
    if offset % 32 or offset > len(data):
        raise ValueError("an array outside of the data")
    start = offset // 32
    count = word_at(data, start)
    if count > most:
        raise ValueError(f"an array of more than {most} words")
    return [word_at(data, start + 1 + n) for n in range(count)]


def bytes_of(text: str) -> bytes:
    """Hex text as bytes; empty where it makes no sense."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""
