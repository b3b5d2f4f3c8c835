"""Marks: how the state of a chain began, where it was not with the first live block. One small record a chain.

A mark lies in the store beside the engine's state, under a key of its own, and changes with the block that changes it:
it is undone and stored like everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

from monitor.errors import StoreError
from monitor.model import Block

__all__ = [
    "MARKS",
    "Mark",
    "MarkState",
    "begun",
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


class Mark(msgspec.Struct, frozen=True):
    """What is known of a chain's beginning.

    ``block`` and ``time`` (UTC s) are those of the last block of history where calibrated, else of the first live block
    that was folded while learning; ``parent`` is that block's parent hash. ``stale`` are (wallet, asset) whose balance
    came with history and must be asked again. ``started``: a live block followed.
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

    @property
    def total(self) -> int:
        """Blocks of history in all, 0 while not known."""
        return self.block - self.low if self.low >= 0 else 0

    def after(self, block: Block, told: Mapping[tuple[str, str, str], int]) -> Mark:
        """The mark after a live block, with the balances that were told at it by (wallet, chain, asset)."""
        asked = {(wallet, asset) for wallet, chain, asset in told if chain == block.ref.chain}
        left = tuple(pair for pair in self.stale if pair not in asked) if asked else self.stale
        return msgspec.structs.replace(self, started=True, stale=left)


def begun(block: Block, seconds: int) -> Mark:
    """The mark at the first block of a chain that learns from so much history before it."""
    since = block.timestamp - seconds
    return Mark(MarkState.BACKFILLING, block.ref.number, block.timestamp, block.parent_hash, since, started=True)


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
