"""Changes of control as a policy: what is known of each account, what changed, and what that means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from monitor.config.types import Planned
from monitor.errors import StoreError
from monitor.ids import finding_id, stable_id
from monitor.labels import LabelBook
from monitor.model import ControlEvent, ControlKind, Finding, Flow, Reading, Role, Severity, Wallet
from monitor.policies.base import Seen
from monitor.policies.control.baseline import Doubt, doubts, odd_implementation
from monitor.policies.control.change import Change, How
from monitor.policies.control.events import change_of, in_force
from monitor.policies.control.judge import judged
from monitor.policies.control.known import Known
from monitor.policies.control.ownership import signatories_of
from monitor.policies.control.readings import changes, is_new_account
from monitor.policies.control.verdict import Facts, Verdict
from monitor.policies.planned import Calendar
from monitor.policies.settings import Given, Settings
from monitor.watchlist import Watchlist

__all__ = ["RECORDS", "ControlChanges", "record_of"]

RECORDS = b"g\x1f"  # what the keys of all records begin with
_SEPARATOR = "\x1f"
_COLD = "CW-3"  # cold wallets have one detector for all of it, with zero tolerance


class ControlChanges:
    """The detectors of control changes, for wallets of every role.

    Events and readings of one change are one finding: whichever comes first is told, and the other finds nothing new.
    Where both are in one block that is the event. What is read for the first time is the baseline; what is odd about it
    is told, too. Approvals are judged elsewhere.

    Parameters
    ----------
    watchlist : wallets of every role
    planned : changes that their owner expects
    labels : what is known of addresses
    settings : what wallets set for the detectors: whether they are on
    """

    id = "CT"
    prefix = RECORDS

    def __init__(
        self,
        watchlist: Watchlist,
        planned: Iterable[Planned] = (),
        labels: LabelBook | None = None,
        settings: Given | None = None,
    ) -> None:
        self._watchlist = watchlist
        self._calendar = Calendar(planned)
        self._labels = labels if labels is not None else LabelBook()
        self._settings = Settings((), settings)
        self._known: dict[bytes, Known] = {}

    @property
    def wallets(self) -> frozenset[str]:
        """None: flows say nothing of control."""
        return frozenset()

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        return set()

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        return []

    # -- judging --------------------------------------------------------------------------------------------------

    @property
    def guarded(self) -> frozenset[str]:
        """Every wallet."""
        return frozenset(self._watchlist.wallets)

    def guard_keys(self, events: Sequence[ControlEvent], readings: Sequence[Reading], chain: str) -> set[bytes]:
        """See `Guards.guard_keys`."""
        accounts = {event.account for event in events if event.kind is not ControlKind.APPROVAL}
        accounts.update(reading.account for reading in readings)
        homes = ((self._watchlist.wallet_at(chain, account), account) for account in accounts)
        return {self._key(home.id, chain, account) for home, account in homes if home is not None}

    def guard(self, events: Sequence[ControlEvent], readings: Sequence[Reading], seen: Seen) -> list[Finding]:
        """See `Guards.guard`."""
        read = {reading.account: reading.values for reading in readings}
        findings = [
            finding
            for event in in_force(events, readings)
            if event.kind is not ControlKind.APPROVAL
            for finding in self._event(event, read.get(event.account), seen)
        ]
        findings += [finding for reading in readings for finding in self._reading(reading, seen)]
        by_id = {finding.id: finding for finding in findings}  # the last of equal ones: twice in one transaction
        return [f for f in by_id.values() if self._settings.enabled(f.wallet, f.detector)]

    def _event(self, event: ControlEvent, read: Mapping[str, str] | None, seen: Seen) -> Iterator[Finding]:
        wallet = self._watchlist.wallet_at(seen.chain, event.account)
        if wallet is None:
            return
        known = self._known.setdefault(self._key(wallet.id, seen.chain, event.account), Known())
        change = change_of(event, known.values, read if read is not None else known.values)
        if change is not None and not known.has(change):
            yield from self._change(change, known, wallet, seen)
        self._drop_if_empty(wallet, seen.chain, event.account)

    def _reading(self, reading: Reading, seen: Seen) -> Iterator[Finding]:
        wallet = self._watchlist.wallet_at(seen.chain, reading.account)
        if wallet is None:
            return
        known = self._known.setdefault(self._key(wallet.id, seen.chain, reading.account), Known())
        facts = self._facts(wallet, known, seen)
        if is_new_account(known, reading):
            known.first = seen.at
            known.adopt(reading.values, seen.at, renew=True)
            known.unchecked = _is_unchecked(reading.values)
            yield from self._doubts(doubts(reading.account, reading.values, facts), reading.account, facts, seen)
            return
        for change in changes(known, reading):
            yield from self._change(change, known, wallet, seen)
        known.adopt(reading.values, seen.at)
        if known.unchecked and not _is_unchecked(reading.values):
            known.unchecked = False
            late = odd_implementation(reading.account, reading.values, facts)
            yield from self._doubts(late, reading.account, facts, seen)

    def _change(self, change: Change, known: Known, wallet: Wallet, seen: Seen) -> Iterator[Finding]:
        """Judge a change, then take it over."""
        planned = self._is_planned(change, seen)
        verdict = None if planned else judged(change, self._facts(wallet, known, seen))
        if change.kind is ControlKind.PROPOSAL and verdict is not None:
            if verdict.severity <= known.told(change.value):
                return
            known.tell(change.value, int(verdict.severity), seen.at)
        if change.key == "owners" and not planned:
            known.count_owner(change, seen.at)
        turn = known.turn
        known.apply(change, seen.at)
        if verdict is not None:
            yield _finding(change, verdict, wallet, seen, turn)

    def _is_planned(self, change: Change, seen: Seen) -> bool:
        """Whether exactly this was announced; of facets and signatories each one, and nothing but them."""

        def holds(kind: ControlKind, value: str) -> bool:
            return self._calendar.holds(seen.chain, change.account, kind, value, seen.at)

        if change.key == "facets":
            return all(holds(change.kind, one) for one in str(change.detail.get("facets") or change.value).split(","))
        if change.kind is not ControlKind.SIGNATORY_CHANGE:
            return holds(change.kind, change.value.rpartition("=")[2])
        modified = signatories_of(change.detail)
        less = str(change.detail.get("min_cosignatories_change") or 0)
        return all(holds(change.kind, address) for address, _ in modified or [(change.value, True)]) and (
            less == "0" or holds(ControlKind.THRESHOLD_CHANGE, less)
        )

    def _doubts(self, found: Iterable[Doubt], account: str, facts: Facts, seen: Seen) -> Iterator[Finding]:
        """What a first reading shows, but for what was announced."""
        for doubt in found:
            value = doubt.value.rpartition("=")[2]
            if not self._calendar.holds(seen.chain, account, doubt.kind, value, seen.at):
                change = Change(doubt.kind, account, doubt.key, doubt.value, is_read=True)
                yield _finding(change, doubt.verdict, facts.wallet, seen, facts.known.turn, {"baseline": True})

    def _facts(self, wallet: Wallet, known: Known, seen: Seen) -> Facts:
        return Facts(seen.chain, seen.at, wallet, known, self._watchlist, self._labels)

    # -- state ----------------------------------------------------------------------------------------------------

    def _key(self, wallet: str, chain: str, account: str) -> bytes:
        return self.prefix + _SEPARATOR.join((wallet, chain, account)).encode()

    def _drop_if_empty(self, wallet: Wallet, chain: str, account: str) -> None:
        """An event that leaves nothing to remember leaves no record."""
        key = self._key(wallet.id, chain, account)
        if self._known[key] == Known():
            del self._known[key]

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        known = self._known.get(key)
        return None if known is None else known.dump()

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of accounts that nobody watches any more are not taken over."""
        self._known.pop(key, None)
        wallet, chain, account, known = record_of(key, value)
        home = self._watchlist.wallet_at(chain, account)
        if known is not None and home is not None and home.id == wallet:
            self._known[key] = known

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        return sorted((key, known.dump()) for key, known in self._known.items())


def record_of(key: bytes, value: bytes | None) -> tuple[str, str, str, Known | None]:
    """Wallet, chain, account and content of a stored record.

    Raises
    ------
    StoreError : it cannot be read
    """
    _, wallet, chain, account = key.decode().split(_SEPARATOR, 3)
    try:
        return wallet, chain, account, None if value is None else Known.load(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError("a stored record of who controls an account cannot be read: the store lost data") from None


def _is_unchecked(values: Mapping[str, str]) -> bool:
    return values.get("form") == "safe" and "implementation_code" not in values


def _finding(
    change: Change, verdict: Verdict, wallet: Wallet, seen: Seen, turn: int, more: Mapping[str, Any] | None = None
) -> Finding:
    """What people hear of; ``turn`` is how many changes the account had seen before."""
    detector, severity = verdict.detector, verdict.severity
    if wallet.role is Role.COLD:
        detector = _COLD
        if change.kind is not ControlKind.PROPOSAL and not more:
            severity = Severity.CRITICAL if verdict.grants else max(severity, Severity.HIGH)
    tx = change.tx.hash if change.tx is not None else _no_transaction(change, verdict, seen, turn)
    text = verdict.text
    if change.is_read and not more:
        text += (
            "; no event told of it"
            if change.tx is not None
            else "; found by reading the account, no transaction of this block touched it: it may be older"
        )
    value = f"{change.how} {change.value}" if change.how is not How.SET else change.value
    if change.kind is ControlKind.PROPOSAL:
        value = f"{value} {severity}"  # more signatures, another finding
    return Finding(
        id=finding_id(detector, wallet.id, tx, f"{change.key} {change.account}", value),
        detector=detector,
        wallet=wallet.id,
        chain=seen.chain,
        severity=severity,
        score=0.0,
        summary=text,
        tx=tx,
        at=seen.at,
        block_number=seen.number,
        destination=verdict.suspect,
        evidence={
            "kind": str(change.kind),
            "account": change.account,
            "key": change.key,
            "value": change.value,
            **({} if change.before is None else {"before": change.before}),
            **({} if change.how is How.SET else {"change": str(change.how)}),
            **({"eventless": True} if change.is_read and not more else {}),
            **(more or {}),
        },
    )


def _no_transaction(change: Change, verdict: Verdict, seen: Seen, turn: int) -> str:
    """The name of what no transaction did: the same when the block is mined again, and no other finding's."""
    what = (change.key, change.before or "", change.how, change.value)
    return f"reading-{stable_id(seen.chain, change.account, *what, turn, verdict.detector, length=16)}"
