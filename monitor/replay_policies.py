"""Policies over history: the flows of their wallets, block by block; other wallets cost nothing."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.incidents import movement_key
from monitor.model import BlockRef, ControlEvent, ControlKind, Finding, Flow, Severity, Tx
from monitor.policies.base import Dealing, Place, left_by, movement_for
from monitor.replayed import Evidence
from monitor.trust import Trust

__all__ = ["Changes", "PendingChanges", "PolicyBlock", "add_judged", "control_events", "judge"]

Changes = Mapping[int, tuple[int, list[ControlEvent]]]
"""Changes of control of one chain by block number, with the block's time."""


@dataclass(slots=True)
class PolicyBlock:
    """What policies see of a block. ``time`` is UTC seconds; ``told`` balances hold before it."""

    number: int
    time: int
    flows: list[Flow] = field(default_factory=list)
    told: dict[tuple[str, str, str], int] = field(default_factory=dict)
    trust: dict[Place, Trust] = field(default_factory=dict)
    controls: list[ControlEvent] = field(default_factory=list)
    shown: list[Flow] = field(default_factory=list)  # not real to their owner
    has_hidden: bool = False  # flows that nobody needs to see

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing but flows that nobody needs to see."""
        return not (self.flows or self.told or self.controls or self.shown)


def control_events(table: pl.DataFrame | None) -> dict[str, Changes]:
    """The rows of a controls table by chain and block, in chain order.

    Parameters
    ----------
    table : chain, block_number, block_timestamp, transaction_hash, transaction_index, kind, account, subject, detail
        (a JSON object, or null)
    """
    found: dict[str, dict[int, tuple[int, list[ControlEvent]]]] = {}
    for row in table.iter_rows(named=True) if table is not None else ():
        ref = BlockRef(row["chain"], int(row["block_number"]), "")
        event = ControlEvent(
            block=ref,
            tx=Tx(row["transaction_hash"] or "", int(row["transaction_index"] or 0)),
            kind=ControlKind(row["kind"]),
            account=row["account"],
            subject=row["subject"] or "",
            detail=json.loads(row["detail"]) if row["detail"] else {},
        )
        of_chain = found.setdefault(ref.chain, {})
        of_chain.setdefault(ref.number, (int(row["block_timestamp"]), []))[1].append(event)
    return dict(found)


class PendingChanges:
    """Changes of control of one chain, given out as the blocks pass.

    Parameters
    ----------
    only : wallets whose changes count, None for all

    Attributes
    ----------
    all : every one of them by block number, with the block's time
    """

    def __init__(self, engine: Engine, chain: str, changes: Changes, only: frozenset[str] | None = None) -> None:
        self.all: Changes = changes
        if only is not None:
            mine = {
                number: (time, [event for event in events if _is_of(engine, chain, event, only)])
                for number, (time, events) in changes.items()
            }
            self.all = {number: entry for number, entry in mine.items() if entry[1]}
        self._left = sorted(self.all)

    def until(self, number: int | None) -> Changes:
        """Those up to a block that were not given out yet; all of them without a number."""
        end = len(self._left) if number is None else bisect_right(self._left, number)
        due, self._left = self._left[:end], self._left[end:]
        return {block: self.all[block] for block in due}


def _is_of(engine: Engine, chain: str, event: ControlEvent, only: frozenset[str]) -> bool:
    owner = engine.watchlist.wallet_at(chain, event.account)
    return owner is not None and owner.id in only


def _with_changes(blocks: Iterable[PolicyBlock], changes: Changes) -> Iterable[PolicyBlock]:
    """Blocks with the changes of control in them, in chain order."""
    by_number = {block.number: block for block in blocks}
    for number, (time, events) in changes.items():
        by_number.setdefault(number, PolicyBlock(number, time)).controls = events
    return [by_number[number] for number in sorted(by_number)]


def judge(
    engine: Engine,
    chain: str,
    blocks: Iterable[PolicyBlock],
    names: AssetNames,
    changes: Changes | None = None,
    dealings: tuple[Sequence[int], Sequence[Dealing]] = ((), ()),
) -> list[Finding]:
    """Fold blocks (in chain order) into the policies; gives what they found.

    Parameters
    ----------
    changes : of control, of the same chain
    dealings : payments that are not judged, in chain order: the block number of each, and what it was
    """
    findings: list[Finding] = []
    done = 0
    for block in _with_changes(blocks, changes or {}):
        before = bisect_left(dealings[0], block.number, lo=done)
        engine.policies.deal(chain, dealings[1][done:before])
        done = before
        if block.has_hidden:
            engine.policies.tick(chain, block.time)
        if block.is_silent:
            continue
        findings += engine.policies.fold(
            chain, block.number, block.time, block.flows, block.told, block.trust, names, block.controls,
            shown=block.shown, keep_undo=False,
        ).findings  # fmt: skip
    engine.policies.deal(chain, dealings[1][done:])
    return findings


def add_judged(evidence: Evidence, findings: Iterable[Finding]) -> None:
    """Add what policies found, with its movements and balances, to what hits show."""
    for finding in findings:
        if finding.severity is Severity.INFO:
            continue
        evidence.findings.append(finding)
        paid = movement_for(finding)
        if paid is not None and movement_key(paid) not in evidence.moved:
            evidence.moved.add(movement_key(paid))
            evidence.movements.append(paid)
            evidence.balances.update({movement_key(paid): value for value in left_by(finding)})
