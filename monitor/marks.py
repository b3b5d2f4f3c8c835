"""Marks: how the state of a chain began, and what of it is still to be folded. One small record a chain.

A mark lies in the store beside the engine's state, under a key of its own, and changes with the block that changes it:
it is undone and stored like everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

from monitor.errors import StoreError
from monitor.model import Block, BlockRef

__all__ = [
    "MARKS",
    "Mark",
    "MarkState",
    "Place",
    "begun",
    "left_out",
    "mark_key",
    "of_pipeline",
    "owner_of",
    "read_mark",
    "spool_prefix",
    "write_mark",
]

_SEPARATOR = "\x1f"
MARKS = b"c\x1f"  # what the keys of all marks begin with
_SPOOL = b"b\x1f"


class MarkState(StrEnum):
    """Where a chain's state came from."""

    CALIBRATED = "calibrated"  # from tables, before the first live block
    BACKFILLING = "backfilling"  # history is being fetched, the guard rail alone watches
    BACKFILLED = "backfilled"  # history is folded in
    REFUSED = "refused"  # the endpoint gives no history: learning as it goes
    LIVE = "live"  # with the first live block; there is something to say of it all the same
    GAP = "gap"  # blocks below the live ones are being fetched, what the live ones show is provisional


class Place(msgspec.Struct, frozen=True):
    """A block of the chain."""

    number: int
    hash: str


class Mark(msgspec.Struct, frozen=True):
    """What is known of a chain's beginning, and of blocks below its live ones that are being fetched.

    ``block`` and ``time`` (UTC s) are those of the last block of history where calibrated, else of the first live block
    that was folded while blocks below it were missing (-1: it is still to come); ``parent`` is that block's parent
    hash. ``stale`` are (wallet, asset) whose balance is old and must be asked again. ``started``: a live block
    followed.
    """

    state: MarkState
    block: int
    time: int
    parent: str = ""
    since: int = 0  # time from which history is, or will be, known
    low: int = -1  # the first block of it, -1 while not known
    started: bool = False
    stale: tuple[tuple[str, str], ...] = ()
    done: int = 0  # blocks of history fetched
    note: str = ""  # why it was refused, or what it left out
    would_have: int = 0  # outflows of history that would have raised an alarm
    below: Place | None = None  # the stored block above which blocks were left out
    late: int = -1  # fetched blocks from this one on are told of, those below are history; -1: all are history
    anchor: Place | None = None  # GAP: the last block that was folded in chain order
    runs: tuple[tuple[int, int], ...] = ()  # GAP: (first, last) of earlier live blocks above the anchor, lowest first
    before: Mark | None = None  # GAP: the mark to go back to, None where there was none

    @property
    def total(self) -> int:
        """Blocks to fetch in all, 0 while not known."""
        return self.block - self.low if 0 <= self.low < self.block else 0

    @property
    def is_filling(self) -> bool:
        """Whether blocks below the live ones are being fetched."""
        return self.state in (MarkState.BACKFILLING, MarkState.GAP)

    def is_same(self, other: Mark) -> bool:
        """Whether both want the same blocks below the same live one."""
        return (self.state, self.block, self.parent) == (other.state, other.block, other.parent)

    def after(self, block: Block, told: Mapping[tuple[str, str, str], int]) -> Mark:
        """The mark after a live block, with the balances that were told at it by (wallet, chain, asset)."""
        asked = {(wallet, asset) for wallet, chain, asset in told if chain == block.ref.chain}
        left = tuple(pair for pair in self.stale if pair not in asked) if asked else self.stale
        after = msgspec.structs.replace(self, started=True, stale=left)
        if self.is_filling and self.block < 0:
            first = {"block": block.ref.number, "time": block.timestamp, "parent": block.parent_hash}
            return msgspec.structs.replace(after, **first)
        return after


def begun(block: Block, seconds: int) -> Mark:
    """The mark at the first block of a chain that learns from so much history before it."""
    since = block.timestamp - seconds
    return Mark(MarkState.BACKFILLING, block.ref.number, block.timestamp, block.parent_hash, since, started=True)


def left_out(mark: Mark | None, tip: BlockRef, stale: tuple[tuple[str, str], ...]) -> Mark:
    """The mark when blocks above the stored ``tip`` are left out, to be fetched while live blocks go on.

    A backfill goes on below the live blocks to come; it reads those that it saw so far as history. A gap that is not
    full yet becomes one with the new one.
    """
    below = Place(tip.number, tip.hash)
    if mark is None or not mark.is_filling:
        return Mark(
            MarkState.GAP, -1, 0, low=tip.number + 1, started=True, stale=stale, below=below, late=tip.number + 1,
            anchor=below, before=mark,
        )  # fmt: skip
    if mark.block < 0:  # nothing came since the last time
        return msgspec.structs.replace(mark, stale=stale)
    runs = (*mark.runs, (mark.block, tip.number)) if mark.state is MarkState.GAP else ()
    late = mark.late if mark.late >= 0 else mark.block
    return msgspec.structs.replace(
        mark, block=-1, time=0, parent="", done=0, stale=stale, below=below, late=late, runs=runs
    )


def mark_key(chain: str) -> bytes:
    """The state key of a chain's mark."""
    return MARKS + chain.encode()


def spool_prefix(chain: str) -> bytes:
    """What the keys of fetched history of a chain begin with, see `monitor.spool`."""
    return _SPOOL + chain.encode() + b"\x1f"


def of_pipeline(key: bytes) -> bool:
    """Whether a state key is a mark or spooled history: nothing that the engine knows."""
    return key.startswith((MARKS, _SPOOL))


def write_mark(mark: Mark) -> bytes:
    """The stored form."""
    return msgspec.json.encode(mark)


def read_mark(key: bytes, value: bytes) -> tuple[str, Mark] | None:
    """(chain, mark) of a state record, None where it is none; StoreError where it cannot be read."""
    if not key.startswith(MARKS):
        return None
    try:
        return key.removeprefix(MARKS).decode(), msgspec.json.decode(value, type=Mark)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StoreError(f"how a chain's state began cannot be read ({error}): written by another version?") from None


def owner_of(key: bytes, wallets: Collection[str], chains: Iterable[str]) -> tuple[str, str] | None:
    """(wallet, chain) that a record of the engine belongs to, None where it is not one of these.

    Keys are ``kind|wallet|...``, and name the chain in a later part: alone, or in front of an asset.
    """
    if of_pipeline(key):
        return None
    parts = key.decode("utf-8", "replace").split(_SEPARATOR)
    if len(parts) < 3 or parts[1] not in wallets:
        return None
    for chain in chains:
        if any(part == chain or part.startswith(chain + "/") for part in parts[2:]):
            return parts[1], chain
    return None
