"""What the parts of the Bitcoin family hand to each other: `Prevout`, `Coin`, `Fetched`, `Unspent`, the `Source`.

An outpoint is the 36 bytes that an input holds: the transaction's hash as it is in blocks (the reverse of how people
write it), and the number of the output, little-endian. So it is a key as it comes, without decoding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from chains.base import EndpointState
from monitor.model import BlockRef

if TYPE_CHECKING:
    from chains.bitcoin.block import RawBlock

__all__ = ["Coin", "Fetched", "Prevout", "Source", "Unspent", "outpoint", "outpoint_text"]


class Prevout(NamedTuple):
    """The output that an input spends: base units, and its output script."""

    value: int
    script: bytes


class Coin(NamedTuple):
    """An unspent output. ``height`` is that of its block; ``coinbase``: new coins, which have to mature."""

    outpoint: bytes
    value: int
    script: bytes
    height: int
    coinbase: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """A block as a source gives it.

    ``prevouts`` are, by outpoint, those of its inputs that the source knows; ``complete``: it knows all of them (but
    those of the coinbase, which has none). ``endpoint`` is the redacted name of who answered.
    """

    raw: RawBlock
    prevouts: Mapping[bytes, Prevout] = field(default_factory=dict)
    complete: bool = False
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Unspent:
    """The coins of some scripts after block ``at``."""

    at: BlockRef
    coins: tuple[Coin, ...]


class Source(Protocol):
    """Where blocks of one chain are read from: nodes or services of one kind, of which any may answer.

    Raises only `ChainError`s; `MethodUnsupported` for what it never offers.
    """

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""

    async def open(self) -> None:
        """Reach it, and check that it is this very chain by the hash of block ``params["at"]``."""

    async def head(self) -> BlockRef:
        """The newest block."""

    async def hash_at(self, number: int) -> str:
        """The hash of a block of the best chain; ChainUnavailable where it is not there (yet)."""

    async def block(self, number: int, hash: str) -> Fetched:
        """A block by its hash, checked: see `chains.bitcoin.block.parse_block`."""

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """What these outpoints are, confirmed or not, spent or not: those that it can tell, the others are left out."""

    async def unspent(self, scripts: Mapping[bytes, str]) -> Unspent | None:
        """The coins of some output scripts (and their addresses) at its newest block; None where it cannot tell.

        What waits to be mined does not count. It may take minutes.
        """

    async def waiting(self) -> Collection[str]:
        """The hashes of transactions that wait to be mined: all of them, or those that touch ``spec.accounts`` where
        that is all that the source tells."""

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Transactions by hash, serialised; those that are not known (any more) are left out."""

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""

    def rotate(self) -> None:
        """Prefer another endpoint for a while."""

    def contradicted(self) -> None:
        """What the endpoint in use gave contradicts itself, or others."""

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""


def outpoint(hash: str, number: int) -> bytes:
    """The outpoint of output ``number`` of a transaction, whose hash is as people write it.

    >>> outpoint("00" * 31 + "ff", 1).hex()[:4]
    'ff00'
    """
    return bytes.fromhex(hash)[::-1] + number.to_bytes(4, "little")


def outpoint_text(point: bytes) -> str:
    """``txid:vout`` of an outpoint.

    >>> outpoint_text(outpoint("ab" * 32, 7))[-4:]
    'ab:7'
    """
    return f"{point[31::-1].hex()}:{int.from_bytes(point[32:], 'little')}"
