"""What a chain watcher is: `head`, `block`, `balances`, `wake`, `aclose`; the chain events; past blocks; what waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from monitor.model import Block, BlockRef, Pending
from monitor.networks import Network

__all__ = [
    "BlockConnected",
    "BlockDisconnected",
    "BlocksLeftOut",
    "Chain",
    "ChainEvent",
    "ChainSpec",
    "EndpointState",
    "History",
    "Kept",
    "Mempool",
    "PendingEvent",
    "PendingGone",
    "PendingSeen",
    "Stretch",
    "Terms",
    "terms_within",
]


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """``block`` extends the tip."""

    block: Block


@dataclass(frozen=True, slots=True)
class BlockDisconnected:
    """``ref`` was the tip and is no longer part of the chain."""

    ref: BlockRef


@dataclass(frozen=True, slots=True)
class BlocksLeftOut:
    """Reading on from ``tip`` would take too long: the next block connected is the head or near it."""

    tip: BlockRef
    head: BlockRef


ChainEvent = BlockConnected | BlockDisconnected | BlocksLeftOut


@dataclass(frozen=True, slots=True)
class Terms:
    """How one endpoint may be used."""

    weight: float = 1.0  # the heavier is preferred
    rate: float | None = None  # calls a second that it allows; None: no bound


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What one endpoint is worth now; everything is fit to be shown."""

    name: str  # host and port
    transport: str  # http | ws
    weight: float
    rate: float | None  # calls a second
    in_use: bool
    circuit: str  # closed | open | half-open | quarantined
    head: int | None  # the newest block that it told of
    lagging: bool
    requests: int  # attempts since the start
    failures: Mapping[str, int]  # by reason, of `chains.exchange.Kind`
    seconds: float  # that all its answers took together
    reason: str = ""  # what is wrong with it
    offers: Mapping[str, bool] = field(default_factory=dict)  # by capability, where it is known


class Kept(Protocol):
    """What a reader wants back after a restart: small facts, stored with the blocks of its chain."""

    @property
    def facts(self) -> Mapping[str, bytes]:
        """All of them, oldest first."""

    def put(self, key: str, value: bytes) -> None:
        """Keep one."""


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
    finality: str = "depth"  # or the tag by which nodes must agree: safe, finalized
    options: Mapping[str, Any] | None = None  # family specific
    terms: Mapping[str, Terms] = field(default_factory=dict, repr=False, hash=False)  # by URL, where not the usual ones
    quorum: int = 1  # endpoints that must agree on a block
    accounts: tuple[str, ...] = ()  # watched addresses that are named one by one: their state may be read
    network: Network | None = None  # None: the built-in one of ``chain``
    kept: Kept | None = field(default=None, repr=False, hash=False, compare=False)


def terms_within(spec: ChainSpec, rate: float | None) -> Mapping[str, Terms]:
    """The terms of a chain's endpoints, none of them above ``rate`` calls a second; None: as they are."""
    if rate is None:
        return dict(spec.terms)
    usual = {url: spec.terms.get(url, Terms()) for url in spec.endpoints}
    return {url: replace(terms, rate=min(rate, terms.rate or rate)) for url, terms in usual.items()}


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
    headers: tuple[tuple[str, int], ...] = ()  # hash and time (UTC s) of each block, lowest first


class History(Protocol):
    """What a chain family may offer beside `Chain`: past blocks, on connections of its own and at a bounded rate.

    Constructed as ``Family(spec, watch, rate)``, ``rate`` in requests a second. Every block equals the one that
    `Chain.block` gives. Raises only `ChainError`s; `HistoryRefused` where no endpoint ever will. A family that finds
    blocks of interest without reading all of them also has ``brief(start, end)``: as `history`, without headers.
    """

    def __init__(self, spec: ChainSpec, watch: Container[str], rate: float) -> None: ...

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive, above ``start``)."""

    def contradicted(self) -> None:
        """What was read does not fit what was read elsewhere: another endpoint is preferred for a while."""

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""


@dataclass(frozen=True, slots=True)
class PendingSeen:
    """A transaction that waits to be mined and touches the watch set."""

    pending: Pending


@dataclass(frozen=True, slots=True)
class PendingGone:
    """A transaction that was told before does not wait any more.

    ``why`` is ``mined`` (``block`` is where), ``replaced`` (its nonce, or a coin that it spends, was used otherwise) or
    ``dropped``. Of the last two, ``block`` is the height of the head at which that was seen, where it is known.
    """

    hash: str
    why: str
    block: int | None = None


PendingEvent = PendingSeen | PendingGone


class Mempool(Protocol):
    """What a chain family may offer beside `Chain`: transactions that wait to be mined, on connections of its own.

    Constructed as ``Family(spec, watch)``; ``spec`` names the endpoints that may be asked.

    Attributes
    ----------
    dropped : transactions that were not looked at, since more came than the bound allows
    """

    dropped: int

    def __init__(self, spec: ChainSpec, watch: Container[str]) -> None: ...

    def pending(self, known: Mapping[str, tuple[str, int]]) -> AsyncGenerator[Sequence[PendingEvent]]:
        """What comes and goes, for ever; it ends where no endpoint offers it. Never raises a `ChainError`.

        Parameters
        ----------
        known : transactions of before a restart, by hash, with sender and nonce ("" and -1 where coins are spent):
            they are told again, or to be gone
        """

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
