"""What a policy is: a deterministic detector with exact amounts, whose state is undone and stored with its block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from monitor.assets import AssetNames
from monitor.ids import finding_id
from monitor.model import ControlEvent, Direction, Finding, Flow, Movement, Reading, Severity, TransferKind
from monitor.store import Delta
from monitor.trust import Trust

__all__ = [
    "Dealing",
    "Deals",
    "Guards",
    "Holding",
    "Learns",
    "Place",
    "Policy",
    "Quiet",
    "Running",
    "Seen",
    "Suspicious",
    "Unweighed",
    "Waits",
    "finding_for",
    "is_payment",
    "left_by",
    "movement_for",
    "net_of",
    "place_of",
]

Place = tuple[str, str, int, str]
"""Wallet, transaction, index of the transfer in its block, counterparty: which payment of a block."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the statistics know of an asset: its ``balance`` before or after the block, whichever is more (base units,
    rounded; None: never told), and whether it is ``moved``, that is, real since the wallet itself moved it."""

    balance: int | None = None
    moved: bool = False


_UNKNOWN = Holding()


def knows_nothing(wallet: str, asset: str) -> Holding:
    return _UNKNOWN


def place_of(flow: Flow) -> Place:
    """Which payment of its block this is."""
    return (flow.wallet, flow.transfer.tx.hash, flow.transfer.index, flow.counterparty)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a policy may know beside the flows.

    ``at`` is the greatest time of this chain's blocks with such flows so far, this one included: it never runs
    backwards. ``balances`` are exact, before the block's first flow, and carried on from block to block once told; a
    missing entry was never told. ``controls`` and ``readings`` are those of the block at addresses of wallets that a
    policy guards. ``shown`` are flows that are not real to their owner: forged, worthless, or without value.
    ``holding`` says of a wallet and asset what the statistics know; over history nothing.
    """

    chain: str
    number: int  # of the block
    at: int  # UTC seconds
    balances: Mapping[tuple[str, str, str], int]  # (wallet, chain, asset) to base units
    trust: Mapping[Place, Trust]  # payments that are expected; decided once a flow
    names: AssetNames
    first: Mapping[tuple[str, str], int]  # (wallet, chain) to `since`
    controls: tuple[ControlEvent, ...] = ()
    readings: tuple[Reading, ...] = ()
    shown: tuple[Flow, ...] = ()
    holding: Callable[[str, str], Holding] = knows_nothing

    def expects(self, flow: Flow) -> bool:
        """Whether an outflow is expected: authorised, listed as trusted for this amount and time, or to a sister."""
        return self.trusted(flow) is not Trust.UNKNOWN

    def trusted(self, flow: Flow) -> Trust:
        """How far an outflow is expected."""
        if flow.authorised:
            return Trust.PLANNED
        return self.trust.get(place_of(flow), Trust.UNKNOWN)

    def balance(self, wallet: str, asset: str) -> int | None:
        """Balance before the block's first flow, base units; None: nobody told it."""
        return self.balances.get((wallet, self.chain, asset))

    def since(self, wallet: str) -> int:
        """When this wallet was first seen on this chain: a flow, or a told balance; UTC seconds."""
        return self.first.get((wallet, self.chain), self.at)


class Running:
    """Exact balances while the flows of one block are gone through."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._net: dict[tuple[str, str], int] = {}

    def step(self, flow: Flow) -> tuple[int | None, int | None]:
        """Balance of the flow's wallet and asset before and after it, base units; None: nobody told it."""
        key = (flow.wallet, flow.transfer.asset)
        start = self._seen.balance(*key)
        net = self._net.get(key, 0)
        self._net[key] = net + net_of(flow)
        return (None, None) if start is None else (start + net, start + net + net_of(flow))


def net_of(flow: Flow) -> int:
    """What a flow adds to its wallet's balance, base units."""
    return {Direction.IN: flow.value, Direction.OUT: -flow.value}.get(flow.direction, 0)


def is_payment(flow: Flow) -> bool:
    """Whether coins leave the wallet other than as a fee."""
    return flow.direction is Direction.OUT and flow.transfer.kind is not TransferKind.FEE


class Policy(Protocol):
    """A deterministic detector: exact, with state that is undone and stored with its block.

    Everything that decides a finding is under keys that begin with ``prefix``. `judge` may change those alone that
    `keys_for` names. Nothing may depend on how blocks are grouped, on dict order or on any clock but ``seen.at``.
    """

    @property
    def id(self) -> str:
        """The detector's id, ``RULE`` for example; its findings may carry finer ones (``CW-1``)."""
        ...

    @property
    def prefix(self) -> bytes:
        """What its state keys begin with, ``b"r\\x1f"`` for example; no other record begins so.

        The parts of a key are joined by ``\\x1f``, and the third is the chain: ``prefix`` wallet ``\\x1f`` chain ...
        """
        ...

    @property
    def wallets(self) -> frozenset[str]:
        """Ids of the wallets whose flows it wants; empty: never called."""
        ...

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """State keys that `judge` may change for these flows, and for those that are not real (`Seen.shown`)."""
        ...

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """Flows (in, out, fees; no internal moves) of its wallets of one block, in chain order; may be empty."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Stored form of one record; None: there is none."""
        ...

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take a stored record over; None takes it away."""
        ...

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Every record, sorted by key."""
        ...


@runtime_checkable
class Guards(Protocol):
    """A policy that judges changes of control: events, and what the chain's state says of accounts."""

    @property
    def guarded(self) -> frozenset[str]:
        """Ids of the wallets whose control events and readings it wants."""
        ...

    def guard_keys(self, events: Sequence[ControlEvent], readings: Sequence[Reading], chain: str) -> set[bytes]:
        """State keys that `guard` may change for these."""
        ...

    def guard(self, events: Sequence[ControlEvent], readings: Sequence[Reading], seen: Seen) -> list[Finding]:
        """Events and readings of its wallets of one block, in chain order; called before `Policy.judge`."""
        ...


@runtime_checkable
class Suspicious(Protocol):
    """A policy that also wants flows that are not real to their owner (`Seen.shown`)."""

    @property
    def suspicious(self) -> frozenset[str]:
        """Ids of the wallets of which it wants them."""
        ...


@runtime_checkable
class Unweighed(Protocol):
    """A policy that needs no exact balances: for wallets that only such ones judge, the book keeps none."""

    @property
    def unweighed(self) -> bool:
        """Always true."""
        ...


Dealing = tuple[str, str, int, str, int, bool, bool]
"""A payment that is real to its owner and like nothing that would be judged: wallet, the other address, UTC seconds,
asset, base units, whether the wallet paid, whether the asset cannot be forged."""


@runtime_checkable
class Deals(Protocol):
    """A policy that only remembers most payments: history need not make a flow of each."""

    def dealt_with(self, wallet: str, chain: str) -> set[str]:
        """Addresses that it knows: payments with what looks like one of them are judged."""
        ...

    def deal(self, chain: str, dealings: Sequence[Dealing]) -> None:
        """Take payments in, in chain order."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A policy that learns from verdicts."""

    def clear(self, wallet: str, chain: str, address: str) -> tuple[Delta, Delta]:
        """A false alarm: this address is ordinary from now on. Returns (what changed, how to undo it)."""
        ...


@runtime_checkable
class Waits(Protocol):
    """A policy of which parts say nothing until a balance is told."""

    @property
    def waits(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """(wallet, what waits in few words, CAIP-19 assets; none: whichever is told first)."""
        ...


@runtime_checkable
class Quiet(Protocol):
    """A policy to which expected payments, fees and arriving tokens say nothing: history need not show them to it."""

    @property
    def quiet(self) -> frozenset[str]:
        """Ids of the wallets of which that holds."""
        ...


def finding_for(
    flow: Flow, detector: str, severity: Severity, summary: str, evidence: Mapping[str, Any] | None = None
) -> Finding:
    """A policy's finding about a flow; ``evidence`` holds plain JSON values, amounts as text of base units.

    ``evidence["balance_after"]``, where given, is what the payment left and counts for the share lost.
    """
    transfer = flow.transfer
    return Finding(
        id=finding_id(detector, flow.wallet, transfer.tx.hash, transfer.asset, flow.counterparty),
        detector=detector,
        wallet=flow.wallet,
        chain=transfer.block.chain,
        severity=severity,
        score=0.0,
        summary=summary,
        tx=transfer.tx.hash,
        at=flow.timestamp,
        block_number=transfer.block.number,
        index=transfer.index,
        asset=transfer.asset,
        destination=flow.counterparty,
        value=flow.value,
        evidence=dict(evidence or {}),
    )


def movement_for(finding: Finding) -> Movement | None:
    """The payment that a policy's finding is about; None where it is about no payment (a fee, a control change)."""
    if not finding.destination or not finding.asset or not finding.value:
        return None
    return Movement(
        finding.wallet, finding.chain, finding.asset, finding.destination, finding.value, finding.at, finding.tx,
        finding.index, finding.block_number,
    )  # fmt: skip


def left_by(finding: Finding) -> tuple[float, ...]:
    """What the payment of a policy's finding left, base units; empty where no balance is known."""
    left = finding.evidence.get("balance_after")
    return () if left is None else (float(left),)
