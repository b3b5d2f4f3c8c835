"""The spool: fetched blocks, and live blocks that pass meanwhile, as records beside the engine's state.

They lie in the store like the state, so that whatever keeps the one keeps the other, and both change in one commit::

    b|chain|h|number of the first block    a stretch of history
    b|chain|l|number                       a live block

``|`` is the unit separator 0x1f; numbers have 16 digits. Only blocks that touch the watch set are kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from monitor.errors import StoreError
from monitor.marks import spool_prefix
from monitor.model import Block

__all__ = [
    "Head",
    "Said",
    "Seen",
    "live_key",
    "live_prefix",
    "pack_seen",
    "pack_stretch",
    "past_key",
    "past_prefix",
    "unpack_blocks",
    "unpack_head",
    "unpack_seen",
]

T = TypeVar("T")
_LEVEL = 3  # of compression: fast, and a fifth of the size


class Head(msgspec.Struct, frozen=True):
    """What a stretch of history is: blocks ``first`` to ``last`` (inclusive), how it links, and its times (UTC s)."""

    first: int
    last: int
    parent_hash: str
    last_hash: str
    start: int
    end: int
    source: str = ""
    blind_spots: tuple[str, ...] = ()
    headers: tuple[tuple[str, int], ...] = ()  # hash and time of its highest blocks, those that may still be undone
    watched: int = 0  # derived addresses that were watched when it was read


class Said(msgspec.Struct, frozen=True):
    """What a verdict (``confirm``, ``false-alarm``, ``resolve``) did to the engine before a block.

    ``learned`` are (asset, value) up to which payments to the address are ordinary from then on.
    """

    what: str
    wallet: str
    address: str
    learned: tuple[tuple[str, int], ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """A live block as the engine got it: balances told before it (wallet, asset, value), and verdicts before it."""

    block: Block
    told: tuple[tuple[str, str, int], ...] = ()
    said: tuple[Said, ...] = ()

    @property
    def balances(self) -> Mapping[tuple[str, str, str], int]:
        """What was told, by (wallet, chain, asset)."""
        return {(wallet, self.block.ref.chain, asset): value for wallet, asset, value in self.told}


def past_prefix(chain: str) -> bytes:
    """What the keys of a chain's stretches begin with."""
    return spool_prefix(chain) + b"h\x1f"


def live_prefix(chain: str) -> bytes:
    """What the keys of a chain's live blocks begin with."""
    return spool_prefix(chain) + b"l\x1f"


def past_key(chain: str, first: int) -> bytes:
    """The key of a stretch, in the order of its blocks."""
    return past_prefix(chain) + b"%016d" % first


def live_key(chain: str, number: int) -> bytes:
    """The key of a live block, in the order of their numbers."""
    return live_prefix(chain) + b"%016d" % number


def pack_stretch(head: Head, blocks: tuple[Block, ...]) -> bytes:
    """The stored form; its head can be read alone."""
    return msgspec.json.encode(head) + b"\n" + zlib.compress(msgspec.json.encode(blocks), _LEVEL)


def unpack_head(value: bytes) -> Head:
    """The head of a stored stretch; StoreError where it is damaged."""
    return _decoded(value.partition(b"\n")[0], Head)


def unpack_blocks(value: bytes) -> tuple[Block, ...]:
    """The blocks of a stored stretch; StoreError where it is damaged."""
    return _decoded(_expanded(value.partition(b"\n")[2]), tuple[Block, ...])


def pack_seen(seen: Seen) -> bytes:
    """The stored form."""
    return zlib.compress(msgspec.json.encode(seen), _LEVEL)


def unpack_seen(value: bytes) -> Seen:
    """A live block from its stored form; StoreError where it is damaged."""
    return _decoded(_expanded(value), Seen)


def _expanded(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise StoreError(f"stored history cannot be read ({error})") from None


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(f"stored history cannot be read ({error}): was it written by another version?") from None
