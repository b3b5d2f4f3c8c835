"""The engine: one block in, hits and state changes out. Pure: no clock, no I/O, no random number.

Live blocks and history pass through the same intake rules and the same compiled fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.fees import fee_spike
from monitor.intake import Intake, destination_key
from monitor.labels import LabelBook
from monitor.maturity import MaturityBook
from monitor.model import Block, Direction, Finding, Flow
from monitor.policies.base import Holding
from monitor.policies.book import PolicyBook
from monitor.state import EngineState
from monitor.store import Delta
from monitor.trust import TrustBook
from monitor.watchlist import Watchlist

__all__ = ["SIGNAL", "Engine", "Folded", "Hit", "plain"]

SIGNAL = 3  # kind of a hit close under its threshold


@dataclass(frozen=True, slots=True)
class Hit:
    """A flow that exceeded something, or went to a suspect; ``record`` has the fields of `HIT`, see `plain`."""

    flow: Flow
    record: Mapping[str, Any]

    @property
    def fired(self) -> bool:
        """Whether it exceeded a threshold (else it only went to a suspect)."""
        return int(self.record["kind"]) == 1


def plain(records: NDArray[np.void]) -> list[dict[str, Any]]:
    """Records as dictionaries of numbers and lists: all fields of an array at once, which costs less than a few do."""
    names = records.dtype.names or ()
    columns = (records[name].tolist() for name in names)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Folded:
    """What a block did to the state."""

    flows: tuple[Flow, ...]  # that are real to their owner
    hits: tuple[Hit, ...]
    state: Delta
    undo: Delta
    ignored: int  # flows that are not real to their owner
    findings: tuple[Finding, ...] = ()  # of policies
    signals: tuple[Hit, ...] = ()  # payments close under their threshold
    blind_spots: tuple[str, ...] = ()  # of the block


class Engine:
    """State and rules for a watch list.

    Parameters
    ----------
    watchlist : whom to watch
    listed : CAIP-19 assets that the owner named as real
    policies : exact rules beside the statistics; none where it is not given
    labels : what is known of addresses, and since when
    settings : parameters of detectors by wallet and detector, see `monitor.parameters`
    state : records to begin with; empty ones where it is not given
    """

    def __init__(
        self,
        watchlist: Watchlist,
        listed: Iterable[str] = (),
        policies: PolicyBook | None = None,
        labels: LabelBook | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        state: EngineState | None = None,
    ) -> None:
        self.watchlist = watchlist
        self.state = state or EngineState()
        self.trust = TrustBook(watchlist)
        self.settings = settings or {}
        self.intake = Intake(watchlist, self.state, self.trust, listed, labels, settings)
        self.policies = policies or PolicyBook(watchlist)
        self.names = AssetNames()  # for the texts of policies; whoever runs the engine may know more names

    def connect(self, block: Block, told: Mapping[tuple[str, str, str], int] | None = None) -> Folded:
        """Fold a block.

        Parameters
        ----------
        told : balances before this block by (wallet, chain, asset), base units, for records that begin here
        """
        flows = tuple(self.watchlist.flows(block))
        trusted = self.trust.keys_for(flow for flow in flows if flow.direction is Direction.OUT)
        maturing = self.intake.maturing.keys_for(flows, told or {})
        books = {key: self._book(key) for key in sorted(trusted | maturing)}
        kept = {key: book.get(key) for key, book in books.items()}
        taken, proven = self.intake.take(flows, block.controls, told or {}, block.timestamp)
        held = self._held(block, told or {})
        before = self.state.before(taken.rows, proven)
        for slot in proven:
            self.state.prove(slot)
        records, undone = self.state.fold(taken.rows, keep_undo=True)
        state, undo = self.state.after(before, undone)
        changed = tuple((key, book.get(key)) for key, book in books.items() if book.get(key) != kept[key])
        hits: list[Hit] = []
        signals: list[Hit] = []
        for record in plain(records):
            flow = taken.flows[record["row"]]
            assert flow is not None  # only payments hit
            (signals if record["kind"] == SIGNAL else hits).append(Hit(flow, record))
        judged = self.policies.fold(
            block.ref.chain,
            block.ref.number,
            block.timestamp,
            taken.real,
            told or {},
            taken.trust,
            self.names,
            block.controls,
            block.readings,
            taken.shown,
            holding=lambda wallet, asset: self._holding(wallet, block.ref.chain, asset, held),
        )
        return Folded(
            tuple(taken.real),
            tuple(hits),
            state + changed + judged.state,
            undo + tuple((key, kept[key]) for key, _ in changed) + judged.undo,
            len(taken.shown),
            judged.findings,
            tuple(signals),
            block.blind_spots,
        )

    def _held(self, block: Block, told: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str], float]:
        """Balances before the block of what approvals in it are about, as far as they are known."""
        held: dict[tuple[str, str], float] = {}
        for event in block.controls:
            owner, asset = self.watchlist.wallet_at(block.ref.chain, event.account), str(event.detail.get("asset"))
            slot = self.state.asset(owner.id, block.ref.chain, asset) if owner is not None else -1
            if owner is not None and (owner.id, block.ref.chain, asset) in told:
                held[owner.id, asset] = float(told[owner.id, block.ref.chain, asset])
            elif owner is not None and slot >= 0 and self.state.balance(slot)[1]:
                held[owner.id, asset] = self.state.balance(slot)[0]
        return held

    def _holding(self, wallet: str, chain: str, asset: str, held: Mapping[tuple[str, str], float]) -> Holding:
        """What the statistics know of an asset of a wallet after a block, with balances before it."""
        slot = self.state.asset(wallet, chain, asset)
        if slot < 0:
            return Holding()
        balance, known = self.state.balance(slot)
        most = max(balance, held.get((wallet, asset), 0.0), 0.0)
        return Holding(round(most) if known else None, self.state.is_proven(slot))

    def foresee(self, block: Block, told: Mapping[tuple[str, str, str], int] | None = None) -> Folded:
        """What a block would show that may come; the state stays as it is, and nothing is learned."""
        folded = self.connect(block, told)
        undo = dict(folded.undo)
        self.disconnect(folded.undo)
        self.policies.leave(key for key, value in folded.state if value is None and key not in undo)
        return folded

    def fee_against_usual(self, wallet: str, chain: str, fee_rate: float) -> float | None:
        """How many times its usual fee rate this is, where it pays as much nearly never; None where it is usual."""
        record = self.state.look(wallet, chain)
        return None if record is None else fee_spike(record, fee_rate)

    def disconnect(self, undo: Delta) -> None:
        """Put the state back to what it was before a block."""
        self.load(undo)

    def load(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take stored records over."""
        rest = []
        for key, value in records:
            if self.trust.owns(key) or self.intake.maturing.owns(key):
                self._book(key).put(key, value)
            elif self.policies.owns(key):
                self.policies.put(key, value)
            else:
                rest.append((key, value))
        self.state.put(rest)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """The canonical state, sorted by key."""
        return sorted([*self.state.dump(), *self.trust.dump(), *self.intake.maturing.dump(), *self.policies.dump()])

    def _book(self, key: bytes) -> TrustBook | MaturityBook:
        """Whose record this is, of what intake remembers."""
        return self.trust if self.trust.owns(key) else self.intake.maturing

    def unknown_balances(self, block: Block) -> list[tuple[str, str, str]]:
        """(wallet, chain, asset) that this block touches and whose balance nobody has told yet, sorted."""
        wanted = {
            (owner.id, event.block.chain, asset)
            for event in block.controls
            if (found := self.intake.approved(event)) is not None
            for owner, asset in [found]
            if not self._knows(owner.id, event.block.chain, asset)
        }
        for flow in self.watchlist.flows(block):
            if flow.direction is Direction.INTERNAL or not flow.value:
                continue
            chain, asset = flow.transfer.block.chain, flow.transfer.asset
            known = self.state.asset(flow.wallet, chain, asset) >= 0
            if (known or self._deserves_record(flow)) and not self._knows(flow.wallet, chain, asset):
                wanted.add((flow.wallet, chain, asset))
        return sorted(wanted)

    def _knows(self, wallet: str, chain: str, asset: str) -> bool:
        """Whether a balance was told already."""
        slot = self.state.asset(wallet, chain, asset)
        exact = wallet not in self.policies.wallets or self.policies.knows(wallet, chain, asset)
        return exact and slot >= 0 and self.state.balance(slot)[1]

    def _deserves_record(self, flow: Flow) -> bool:
        if self.intake.is_genuine(flow):
            return True
        return flow.direction is Direction.OUT and self.intake.is_own(flow)

    def clear_suspect(
        self, wallet: str, chain: str, address: str, learned: Mapping[str, int], *, false_alarm: bool = False
    ) -> tuple[Delta, Delta]:
        """Payments to this address are ordinary again, up to ``learned`` (base units by asset).

        Policies learn from a ``false_alarm`` alone.

        Returns
        -------
        (what changed, how to undo it)
        """
        amounts = {asset: float(value) for asset, value in learned.items()}
        changed, undo = self.state.clear_suspect(wallet, chain, destination_key(address), amounts)
        if false_alarm:
            now, before = self.policies.clear(wallet, chain, address)
            changed, undo = changed + now, undo + before
        return changed, undo

    def confirm_theft(self, suspects: Sequence[tuple[str, str, str]]) -> tuple[Delta, Delta]:
        """A confirmed theft, by (wallet, chain, address): no threshold adapts to it, the addresses stay suspects.

        Returns
        -------
        (what changed, how to undo it)
        """
        changed: dict[bytes, bytes | None] = {}
        undo: dict[bytes, bytes | None] = {}
        for wallet, chain, address in suspects:
            now, before = self.state.confirm_theft(wallet, chain, destination_key(address))
            changed.update(now)
            undo = {**dict(before), **undo}
        return tuple(sorted(changed.items())), tuple(sorted(undo.items()))
