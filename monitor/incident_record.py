"""An incident as it is kept, and as others see it: every field computed anew from its evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from monitor.grouping import order
from monitor.ids import iso
from monitor.model import Finding, Incident, Movement, Severity, Status
from monitor.returns import is_returned, returned_at, total
from monitor.signals import is_signal

__all__ = ["UNJUDGED", "Limbo", "Place", "Record", "build", "is_pending", "movement_key"]

Place = tuple[str, int]  # what one transaction can take: a sender's nonce, or a coin (``txid:vout``, 0)
UNJUDGED = (Status.OPEN, Status.ACKNOWLEDGED)  # the return of the funds closes these; a verdict stands
_RESOLVED: dict[str, Any] = {"what": "resolve", "by": "heistwatch", "comment": "the funds came back"}


class Limbo(msgspec.Struct, frozen=True):
    """A transaction that evidence rests on and that is in no block; when ``tip`` is passed, it did not happen.

    Its block was disconnected at tip ``tip``, or (``pending``) it was never mined so far. ``sender`` and ``nonce``, or
    ``spends`` (watched coins, ``txid:vout``) are of the latter alone; ``why`` is what is said when its time is over.
    """

    chain: str
    tx: str
    tip: int
    pending: bool = False
    sender: str = ""
    nonce: int = -1
    why: str = ""
    spends: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """What it takes, and what others that take it compete for."""
        coins = tuple((point, 0) for point in self.spends)
        return coins or (((self.sender, self.nonce),) if self.sender else ())

    @property
    def parents(self) -> frozenset[str]:
        """Transactions whose coins it spends."""
        return frozenset(point.partition(":")[0] for point in self.spends)


class Record(msgspec.Struct):
    """An incident as it is kept: its evidence, what people said, and what is in doubt after a reorg."""

    id: str
    entity: str
    status: Status
    revision: int
    findings: dict[str, Finding]
    movements: dict[str, Movement]  # by `movement_key`, as are the two below
    balances: dict[str, float]  # balance that a payment to a suspect left, base units
    loose: dict[str, Movement] = msgspec.field(default_factory=dict)  # payments to its suspects, too far off for now
    history: list[dict[str, Any]] = msgspec.field(default_factory=list)
    limbo: list[Limbo] = msgspec.field(default_factory=list)
    retracted: dict[str, Finding] = msgspec.field(default_factory=dict)
    told: int = 0  # highest severity that people were told of
    told_lost: dict[str, str] = msgspec.field(default_factory=dict)  # losses in the last message, by asset
    raised_lost: dict[str, str] = msgspec.field(default_factory=dict)  # losses when it was opened or last escalated
    receivers: list[str] = msgspec.field(default_factory=list)  # who was told, in order; a correction goes to all
    returned: dict[str, Movement] = msgspec.field(default_factory=dict)  # what came back, by `movement_key`
    kept_open: bool = False  # a person opened it again after the funds had come back
    told_return: bool = False  # the last message said that it is over, since the funds came back
    opening: str = ""  # id of the finding with which it began, where that is not the first
    usd: dict[str, float] = msgspec.field(default_factory=dict)  # worth of movements as of their blocks, by their keys
    told_unconfirmed: bool = False  # in the last message nothing of it was mined
    merged_into: str = ""  # nothing but a reference to the incident that took its evidence over


def movement_key(m: Movement) -> str:
    """What makes a movement one movement."""
    return "|".join((m.chain, m.tx, m.wallet, m.asset, m.counterparty, str(m.index)))


def is_pending(finding: Finding) -> bool:
    """Whether a finding rests on a transaction that is not mined yet."""
    return bool(finding.evidence.get("pending"))


def _counted(record: Record, *, unconfirmed: bool) -> list[Movement]:
    """Movements that count as lost: of transactions that wait only where nothing is mined at all."""
    waits = set() if unconfirmed else {(item.chain, item.tx) for item in record.limbo if item.pending}
    return sorted((m for m in record.movements.values() if (m.chain, m.tx) not in waits), key=order)


def build(record: Record) -> Incident:
    """The incident of a record.

    Where the funds came back it is over, at severity ``low``, unless a person judged it: that follows from the evidence
    as everything else does, so a further loss, or the loss of the returning transaction, opens it again.
    """
    shown = record.findings or record.retracted
    findings = sorted(shown.values(), key=lambda f: (order(f), f.id))
    unconfirmed = bool(findings) and all(map(is_pending, findings))
    movements = _counted(record, unconfirmed=unconfirmed)
    opening = shown.get(record.opening, findings[0]) if findings else None
    severity = max((f.severity for f in findings), default=Severity.INFO)
    together = bool(findings) and all(map(is_signal, findings))
    if together:
        severity = Severity.LOW
    paged = next((f for f in findings if f.severity >= Severity.HIGH), None)
    lost = total(movements)
    back = (m for m in record.returned.values() if m.asset in lost)
    returns = sorted(back, key=lambda m: (order(m), movement_key(m)))
    returned = total(returns)
    status, history = record.status, tuple(record.history)
    if status in UNJUDGED and not record.kept_open and is_returned(lost, returned):
        status, severity = Status.RESOLVED, min(severity, Severity.LOW)
        history = (*history, _RESOLVED | {"at": iso(returned_at(lost, returns))})
    periods = [f.return_period_days for f in findings if f.return_period_days is not None]
    return Incident(
        id=record.id,
        entity=record.entity,
        wallets=tuple(sorted({f.wallet for f in findings})),
        status=status,
        severity=severity,
        opened_at=opening.at if opening else 0,
        opened_block=opening.block_number if opening else 0,
        opened_chain=opening.chain if opening else "",
        opened_tx=opening.tx if opening else "",
        revision=record.revision,
        findings=tuple(findings),
        movements=tuple(movements),
        suspects=tuple(sorted({(f.chain, f.destination) for f in findings if f.destination})),
        lost=tuple(sorted(lost.items())),
        share_lost=_share_lost(record, movements),
        share_lost_at_open=_share_at_open(opening, movements, lost) if opening else None,
        updated_at=max((*(f.at for f in findings), *(m.at for m in movements), *(m.at for m in returns)), default=0),
        paged_at=paged.at if paged else None,
        paged_tx=paged.tx if paged else None,
        return_period_days=max(periods) if periods else None,
        budget_exceeded=together or any(f.budget_exceeded for f in findings),
        history=history,
        returned=tuple(sorted(returned.items())),
        unconfirmed=unconfirmed,
        **_worth(record, movements),
    )


def _worth(record: Record, movements: Sequence[Movement]) -> dict[str, Any]:
    """What was lost in US dollars, by asset and in all, as far as there were prices."""
    found: dict[str, float] = {}
    for m in movements:
        worth = record.usd.get(movement_key(m))
        if worth is not None:
            found[m.asset] = found.get(m.asset, 0.0) + worth
    worth_of = tuple((asset, round(value, 2)) for asset, value in sorted(found.items()))
    return {"lost_usd": round(sum(found.values()), 2) if found else None, "worth": worth_of}


def _share_at_open(opening: Finding, movements: Sequence[Movement], lost: Mapping[str, int]) -> float | None:
    """Mean over assets of what had gone to suspects when the incident opened, over what went in all."""
    if not lost:
        return None
    before: dict[str, int] = dict.fromkeys(lost, 0)
    for m in movements:
        if m.chain == opening.chain:
            early = (m.block_number, m.index) <= (opening.block_number, opening.index)
        else:
            early = m.at <= opening.at
        if early:
            before[m.asset] += m.value
    return sum(before[asset] / total for asset, total in lost.items()) / len(lost)


def _share_lost(record: Record, movements: Sequence[Movement]) -> float | None:
    """Mean over assets of what went to suspects over the balances before the incident, where those are known."""
    sent: dict[str, int] = {}
    places: dict[tuple[str, str, str], list[Movement]] = {}
    for m in movements:
        sent[m.asset] = sent.get(m.asset, 0) + m.value
        places.setdefault((m.wallet, m.chain, m.asset), []).append(m)
    held: dict[str, float] = {}
    for (_, _, asset), moved in sorted(places.items()):
        before = _held_before(record, moved)
        if before is not None:
            held[asset] = held.get(asset, 0.0) + before
    shares = [min(1.0, sent[asset] / held[asset]) for asset in sorted(sent) if held.get(asset, 0.0) > 0.0]
    return sum(shares) / len(shares) if shares else None


def _held_before(record: Record, moved: Sequence[Movement]) -> float | None:
    """What the first payment with a known balance left, and all that had gone to suspects by then."""
    gone = 0
    for m in sorted(moved, key=lambda m: (m.block_number, m.index, movement_key(m))):
        gone += m.value
        left = record.balances.get(movement_key(m))
        if left is not None:
            return left + gone
    return None
