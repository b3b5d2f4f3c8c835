"""The checksums of bech32 and CashAddr by tables: one look-up a byte instead of one step a character and more.

Both are codes over 5-bit groups in which the checksum of two messages combined is that of the one combined with that of
the other. So what each byte at each place does to it can be looked up. Sources: BIP 173, 350; CashAddr.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["BECH32", "CASHADDR", "Code", "text"]

_BASE32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DOUBLES = [a + b for a in _BASE32 for b in _BASE32]


@dataclass(frozen=True, slots=True)
class Code:
    """A checksum of ``groups`` 5-bit groups; ``generators`` say what each bit that leaves its register does."""

    groups: int
    generators: tuple[int, ...]

    def feed(self, register: int, values: Iterable[int]) -> int:
        """The register after more 5-bit groups."""
        shift = 5 * (self.groups - 1)
        for value in values:
            top = register >> shift
            register = (register & (1 << shift) - 1) << 5 ^ value
            for bit, generator in enumerate(self.generators):
                if top >> bit & 1:
                    register ^= generator
        return register

    def of(self, first: Sequence[int], payload: bytes, final: int) -> int:
        """The checksum.

        Parameters
        ----------
        first : 5-bit groups that come before, those of the prefix among them
        payload : bytes that follow, filled up with zeros to whole groups
        final : what the checksum is combined with at the end
        """
        register = _start(self, tuple(first), len(payload)) ^ final
        for table, byte in zip(_tables(self, len(payload)), payload, strict=True):
            register ^= table[byte]
        return register


BECH32 = Code(6, (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3))
CASHADDR = Code(8, (0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470))


def text(payload: bytes, checksum: int, groups: int) -> str:
    """Bytes, filled up with zeros to whole 5-bit groups, and a checksum of ``groups`` of them, as characters.

    >>> text(b"", 1, 6)
    'qqqqqp'
    """
    bits = 8 * len(payload)
    count = -(-bits // 5)
    number = int.from_bytes(payload) << 5 * count - bits
    number = number << 5 * groups | checksum
    count += groups
    found = "".join([_DOUBLES[number >> shift & 1023] for shift in range(5 * count - 10, -1, -10)])
    return found + _BASE32[number & 31] if count % 2 else found


@cache
def _start(code: Code, first: tuple[int, ...], size: int) -> int:
    """The register after a payload of zeros and a checksum of zeros."""
    return code.feed(code.feed(1, first), bytes(-(-8 * size // 5) + code.groups))


@cache
def _tables(code: Code, size: int) -> list[list[int]]:
    """For each byte of a payload, by its value, what it does to the checksum."""
    groups = -(-8 * size // 5)
    bits = []
    for bit in range(8 * size):
        value = 16 >> bit % 5
        bits.append(code.feed(value, bytes(groups - 1 - bit // 5 + code.groups)))
    tables = []
    for at in range(0, 8 * size, 8):
        table = [0]
        for mark in reversed(bits[at : at + 8]):
            table += [value ^ mark for value in table]
        tables.append(table)
    return tables
