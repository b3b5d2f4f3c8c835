"""What a chain watcher is: `head`, `block`, `balances`, `wake`, `aclose`; the two chain events; past blocks."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.model import Block, BlockRef

__all__ = ["BlockConnected", "BlockDisconnected", "Chain", "ChainEvent", "ChainSpec", "History", "Stretch"]


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """``block`` extends the tip."""

    block: Block


@dataclass(frozen=True, slots=True)
class BlockDisconnected:
    """``ref`` was the tip and is no longer part of the chain."""

    ref: BlockRef


ChainEvent = BlockConnected | BlockDisconnected


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """How to reach one chain, as the configuration says it.

    ``endpoints`` are URLs with their secrets: never print them, see `chains.rpc.redact`.
    """

    name: str
    kind: str
    chain: str  # CAIP-2
    endpoints: tuple[str, ...]
    replay: bool = False  # block times are not compared with the wall clock
    poll_seconds: float | None = None  # None: the network's default
    timeout_seconds: float = 10.0
    finality_depth: int = 64  # blocks below head - depth are final
    options: Mapping[str, Any] | None = None  # family specific
    accounts: tuple[str, ...] = ()  # watched addresses that are named one by one: their state may be read


class Chain(Protocol):
    """A chain that can be followed. Raises only `ChainError`s; cancellation passes through.

    Constructed as ``Family(spec, watch)``; nothing is opened before the first call. ``watch`` answers whether a
    canonical address belongs to a watched wallet: only transfers and controls that touch one are handed over.
    """

    spec: ChainSpec

    def __init__(self, spec: ChainSpec, watch: Container[str]) -> None: ...

    async def open(self) -> None:
        """Connect and check that the endpoint serves this very chain (ChainError says what was found instead)."""

    async def head(self) -> BlockRef:
        """The newest block of the chain."""

    async def block(self, number: int) -> Block:
        """One block, wholly and consistently read (by hash inside). ChainUnavailable where it is not there (yet)."""

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        """Balances of (address, CAIP-19 asset) after block ``at``; None where the endpoint cannot tell."""

    async def wake(self) -> None:
        """Return when a new block may exist: a subscription's hint, or the poll interval at the latest."""

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of past blocks, each the parent of the next. ``blocks`` are those of them that touch the watch set."""

    first: BlockRef
    parent_hash: str  # of the first
    last: BlockRef
    start: int  # time of the first, UTC seconds
    end: int  # of the last
    source: str  # endpoint that answered, secrets removed
    blind_spots: tuple[str, ...] = ()  # what this reading cannot show
    blocks: tuple[Block, ...] = ()


class History(Protocol):
    """What a chain family may offer beside `Chain`: past blocks, on connections of its own and at a bounded rate.

    Constructed as ``Family(spec, watch, rate)``, ``rate`` in requests a second. Every block equals the one that
    `Chain.block` gives. Raises only `ChainError`s; `HistoryRefused` where no endpoint ever will.
    """

    def __init__(self, spec: ChainSpec, watch: Container[str], rate: float) -> None: ...

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive, above ``start``)."""

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
