"""Folding a chain anew: blocks that were fetched, then the live blocks that passed meanwhile, on an engine of its own.

Pure. The result is that of a straight fold of the same blocks, whatever was folded on the running engine before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.engine import Engine, Folded
from monitor.incidents import CLOSED, Correlator
from monitor.model import Block, BlockRef, Direction, Finding, Movement
from monitor.spool import Said, Seen
from monitor.store import Delta

__all__ = ["MOST_ASSETS", "Refold", "Refolded", "Walk", "is_known", "unjudged"]

MOST_ASSETS = 512  # of one wallet whose balances are asked for


def is_known(engine: Engine, wallet: str, chain: str, asset: str) -> bool:
    """Whether an engine was told a balance."""
    slot = engine.state.asset(wallet, chain, asset)
    return slot >= 0 and engine.state.balance(slot)[1]


class Walk:
    """The sum of what blocks did to balances, and which of them matter: to say what was there before them.

    Parameters
    ----------
    engine : whose watch list and intake rules hold; nothing is folded
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._net: dict[tuple[str, str], int] = {}
        self._paid: dict[tuple[str, str], None] = {}
        self._paid_of: dict[str, int] = {}

    def add(self, blocks: Iterable[Block]) -> None:
        """Go through blocks."""
        intake = self._engine.intake
        for block in blocks:
            for flow in self._engine.watchlist.flows(block):
                if flow.direction is Direction.INTERNAL or not flow.value:
                    continue
                key = (flow.wallet, flow.transfer.asset)
                out = flow.direction is Direction.OUT
                self._net[key] = self._net.get(key, 0) + (-flow.value if out else flow.value)
                if key not in self._paid and (intake.is_genuine(flow) or (out and intake.is_own(flow))):
                    count = self._paid_of.get(flow.wallet, 0)
                    if count < MOST_ASSETS:
                        self._paid_of[flow.wallet] = count + 1
                        self._paid[key] = None

    @property
    def wanted(self) -> list[tuple[str, str]]:
        """(wallet, asset) whose balance is worth knowing: own coins, listed tokens, what the wallet itself moved."""
        return list(self._paid)

    def before(self, after: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """Balances before all of these blocks, from those after them; 0 at least: not every inflow can be seen."""
        return {key: max(0, value - self._net.get(key, 0)) for key, value in after.items()}


@dataclass(frozen=True, slots=True)
class Refolded:
    """A block folded anew; ``undo`` also takes back what verdicts did before it."""

    seen: Seen
    folded: Folded
    undo: Delta
    is_late: bool = False  # it was fetched: nobody saw it when it was new


class Refold:
    """The fold.

    Parameters
    ----------
    engine : fresh, or in the state before the first block
    opening : balances before the first block, base units, by (wallet, asset); what is not there is learned from flows
    late : fetched blocks from this one on are told of, those below are history; -1: all are history
    earlier : blocks that were live before others were left out, by reference
    retell : balances that were told at live blocks hold where they are known, too

    Attributes
    ----------
    would_have : outflows of history that would have raised an alarm
    late : fetched blocks that are told of, folded so far, lowest first
    live : live blocks folded so far, lowest first
    """

    def __init__(
        self,
        engine: Engine,
        opening: Mapping[tuple[str, str], int],
        late: int = -1,
        earlier: Mapping[BlockRef, Seen] | None = None,
        *,
        retell: bool = True,
    ) -> None:
        self.engine = engine
        self.would_have = 0
        self.late: list[Refolded] = []
        self.live: list[Refolded] = []
        self._from = late
        self._earlier = earlier or {}
        self._retell = retell
        self._opening = dict(opening)
        self._net: dict[tuple[str, str], int] = {}

    def past(self, blocks: Iterable[Block]) -> None:
        """Fold fetched blocks, in chain order."""
        for block in blocks:
            seen = self._earlier.get(block.ref)
            item = self._one(seen or Seen(block), is_late=seen is None)
            if 0 <= self._from <= block.ref.number:
                self.late.append(item)
                continue
            folded = item.folded
            alarms = {(hit.flow.transfer.tx.hash, hit.flow.transfer.index) for hit in folded.hits if hit.fired}
            alarms |= {(finding.tx, finding.index) for finding in folded.findings}
            self.would_have += len(alarms)

    def follow(self, seen: Sequence[Seen]) -> None:
        """Fold live blocks, all of them so far in chain order: those that are no more are undone first."""
        same = 0
        while same < min(len(seen), len(self.live)) and self.live[same].seen == seen[same]:
            same += 1
        while len(self.live) > same:
            gone = self.live.pop()
            self.engine.disconnect(gone.undo)
            self._count(gone.seen.block, -1)
        for item in seen[same:]:
            self.live.append(self._one(item))

    def by_ref(self) -> dict[BlockRef, Refolded]:
        """What became of blocks that touch something, those of history apart."""
        return {item.seen.block.ref: item for item in (*self.late, *self.live)}

    def _one(self, seen: Seen, *, is_late: bool = False) -> Refolded:
        undo: dict[bytes, bytes | None] = {}
        for said in seen.said:
            for key, value in self._say(seen.block.ref.chain, said):
                undo.setdefault(key, value)
        heard = seen.balances
        if not self._retell:
            heard = {key: value for key, value in heard.items() if not is_known(self.engine, *key)}
        folded = self.engine.connect(seen.block, {**self._told(seen.block), **heard})
        return Refolded(seen, folded, tuple(sorted({**dict(folded.undo), **undo}.items())), is_late)

    def _told(self, block: Block) -> dict[tuple[str, str, str], int]:
        """Balances that the engine lacks at a block, carried on from the opening ones."""
        wanted = [key for key in self.engine.unknown_balances(block) if (key[0], key[2]) in self._opening]
        told = {key: max(0, self._opening[key[0], key[2]] + self._net.get((key[0], key[2]), 0)) for key in wanted}
        self._count(block, 1)
        return told

    def _count(self, block: Block, sign: int) -> None:
        """Carry balances on over a block, or back."""
        for flow in self.engine.watchlist.flows(block):
            key = (flow.wallet, flow.transfer.asset)
            if key in self._opening and flow.direction is not Direction.INTERNAL:
                value = sign * (flow.value if flow.direction is Direction.IN else -flow.value)
                self._net[key] = self._net.get(key, 0) + value

    def _say(self, chain: str, said: Said) -> Delta:
        """What a verdict does; how to undo it."""
        if said.what == "confirm":
            return self.engine.confirm_theft([(said.wallet, chain, said.address)])[1]
        return self.engine.clear_suspect(
            said.wallet, chain, said.address, dict(said.learned), false_alarm=said.what == "false-alarm"
        )[1]


def unjudged(folded: Folded, correlator: Correlator) -> Folded:
    """What a block shows without what people closed already: told again, that would be a new incident."""
    closed = [record for record in correlator.records.values() if record.status in CLOSED]
    if not closed or not (folded.hits or folded.findings):
        return folded
    txs: set[tuple[str, str]] = set()
    last: dict[tuple[str, str, str], int] = {}
    for record in closed:
        evidence: list[Finding | Movement] = [*record.findings.values(), *record.movements.values()]
        txs |= {(item.chain, item.tx) for item in evidence}
        for item in evidence:
            address = item.destination if isinstance(item, Finding) else item.counterparty
            place = (item.wallet, item.chain, address)
            last[place] = max(last.get(place, 0), item.at)

    def is_new(wallet: str, chain: str, tx: str, address: str, at: int) -> bool:
        return (chain, tx) not in txs and at > last.get((wallet, chain, address), -1)

    hits = tuple(
        hit
        for hit in folded.hits
        if is_new(
            hit.flow.wallet, hit.flow.transfer.block.chain, hit.flow.transfer.tx.hash, hit.flow.counterparty,
            hit.flow.timestamp,
        )
    )  # fmt: skip
    findings = tuple(f for f in folded.findings if is_new(f.wallet, f.chain, f.tx, f.destination, f.at))
    return replace(folded, hits=hits, findings=findings)
