"""Detectors of users' own as one policy: each sees the flows of its wallets, and remembers in JSON."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from monitor.errors import DetectorError, StoreError
from monitor.ids import canonical_json, finding_id
from monitor.labels import LabelBook
from monitor.model import ControlEvent, Finding, Flow, Reading, Severity
from monitor.own.card import OwnDetector
from monitor.own.view import View
from monitor.policies.base import Running, Seen, finding_for, is_payment
from monitor.policies.settings import Given, Settings
from monitor.watchlist import Watchlist

__all__ = ["MOST_MEMORY", "OwnDetectors"]

MOST_MEMORY = 65_536  # bytes that a detector may remember of one wallet on one chain
_SEPARATOR = "\x1f"
_LONGEST_TEXT = 500


class OwnDetectors:
    """The detectors of the owner's own files.

    Parameters
    ----------
    watchlist : wallets of every role
    detectors : their ids differ, in any case of letters
    labels : what is known of addresses
    settings : what wallets set for the detectors
    on_failure : told of a detector that failed, which then says nothing of that one flow; None: the error is raised

    Raises
    ------
    DetectorError : from `judge` and `guard`: a detector raised, or gave what is no finding; says where
    """

    id = "OWN"
    prefix = b"u\x1f"

    def __init__(
        self,
        watchlist: Watchlist,
        detectors: Sequence[OwnDetector] = (),
        labels: LabelBook | None = None,
        settings: Given | None = None,
        on_failure: Callable[[OwnDetector, DetectorError], None] | None = None,
    ) -> None:
        given = Settings([detector.card for detector in detectors], settings)
        self._watchlist = watchlist
        self._labels = labels or LabelBook()
        self._on_failure = on_failure
        self._memory: dict[bytes, bytes] = {}
        self._of_flows: dict[str, list[tuple[OwnDetector, Mapping[str, Fraction]]]] = {}
        self._of_controls: dict[str, list[tuple[OwnDetector, Mapping[str, Fraction]]]] = {}
        for wallet in watchlist.wallets.values():
            for each in detectors:
                if wallet.role in each.roles and given.enabled(wallet.id, each.id):
                    numbers = {p.name: given.number(wallet.id, each.id, p.name) for p in each.card.parameters}
                    of = self._of_controls if each.sees == "controls" else self._of_flows
                    of.setdefault(wallet.id, []).append((each, numbers))
        self._wallets, self._guarded = frozenset(self._of_flows), frozenset(self._of_controls)

    @property
    def wallets(self) -> frozenset[str]:
        """Wallets with a detector of flows."""
        return self._wallets

    @property
    def guarded(self) -> frozenset[str]:
        """Wallets with a detector of changes of control."""
        return self._guarded

    # -- judging --------------------------------------------------------------------------------------------------

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        places = {(flow.wallet, flow.transfer.block.chain) for flow in flows}
        return {self._key(w, chain, each.id) for w, chain in places for each, _ in self._of_flows.get(w, ())}

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        running, kept = Running(seen), _Kept(self._memory)
        findings: list[Finding] = []
        for flow in flows:
            before, after = running.step(flow)
            wallet = self._watchlist.wallets[flow.wallet]
            for each, numbers in self._of_flows.get(flow.wallet, ()):
                if each.sees == "payments" and not is_payment(flow):
                    continue
                key = self._key(flow.wallet, seen.chain, each.id)
                said = self._said(
                    each, flow, key, kept,
                    lambda memory: View(wallet, memory, before, after, numbers, flow, seen, self._labels),  # noqa: B023
                )  # fmt: skip
                if said is not None:
                    left = {} if after is None or not is_payment(flow) else {"balance_after": str(after)}
                    findings.append(_of_flow(each, flow, said, left))
        return findings

    def guard_keys(self, events: Sequence[ControlEvent], readings: Sequence[Reading], chain: str) -> set[bytes]:
        """See `Guards.guard_keys`."""
        owners = (self._watchlist.wallet_at(chain, event.account) for event in events)
        names = {owner.id for owner in owners if owner is not None}
        return {self._key(name, chain, each.id) for name in names for each, _ in self._of_controls.get(name, ())}

    def guard(self, events: Sequence[ControlEvent], readings: Sequence[Reading], seen: Seen) -> list[Finding]:
        """See `Guards.guard`."""
        kept = _Kept(self._memory)
        findings: list[Finding] = []
        for event in events:
            wallet = self._watchlist.wallet_at(seen.chain, event.account)
            for each, numbers in self._of_controls.get(wallet.id, ()) if wallet is not None else ():
                assert wallet is not None
                key = self._key(wallet.id, seen.chain, each.id)
                said = self._said(
                    each, event, key, kept,
                    lambda memory: View(wallet, memory, None, None, numbers, event, seen, self._labels),  # noqa: B023
                )  # fmt: skip
                if said is not None:
                    findings.append(_of_control(each, wallet.id, event, said, seen))
        return findings

    def _said(
        self, each: OwnDetector, about: Flow | ControlEvent, key: bytes, kept: _Kept, view: Callable[[Any], View]
    ) -> tuple[Severity, str, dict[str, Any]] | None:
        """What a detector says; its memory is kept only where it did not fail."""
        try:
            at = view(kept.read(key))
            try:
                answer = each.judge(about, at)
            except (Exception, SystemExit) as error:
                raise DetectorError(_failed(each, about, error)) from error
            said = _checked(each, answer)
            kept.write(key, at.memory, each)
        except DetectorError as error:
            if self._on_failure is None:
                raise
            self._on_failure(each, error)
            return None
        return said

    # -- state ----------------------------------------------------------------------------------------------------

    def _key(self, wallet: str, chain: str, detector: str) -> bytes:
        return self.prefix + _SEPARATOR.join((wallet, chain, detector)).encode()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        return self._memory.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; what detectors remember that are not configured any more is not taken over."""
        self._memory.pop(key, None)
        _, wallet, _, detector = key.decode().split(_SEPARATOR, 3)
        known = (*self._of_flows.get(wallet, ()), *self._of_controls.get(wallet, ()))
        if value is None or detector not in {each.id for each, _ in known}:
            return
        try:
            json.loads(value)
        except ValueError:
            raise StoreError(f"what detector {detector} remembers cannot be read: the store lost data") from None
        self._memory[key] = value

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        return sorted(self._memory.items())


class _Kept:
    """The memories that one block touches: always what a store would give back, whatever the code holds on to."""

    def __init__(self, memory: dict[bytes, bytes]) -> None:
        self._memory = memory

    def read(self, key: bytes) -> dict[str, Any]:
        value = self._memory.get(key)
        found: dict[str, Any] = {} if value is None else json.loads(value)
        return found

    def write(self, key: bytes, memory: Any, each: OwnDetector) -> None:
        if not isinstance(memory, dict):
            raise DetectorError(f"{each.where}: {each.id} made view.memory {_short(memory)}, expected a dict")
        if not memory and key not in self._memory:
            return
        try:
            text = canonical_json(memory)
        except (TypeError, ValueError, RecursionError) as error:
            raise DetectorError(
                f"{each.where}: {each.id} keeps in view.memory what is no JSON: {error}{_hint(error)}"
            ) from None
        if len(text) > MOST_MEMORY:
            raise DetectorError(
                f"{each.where}: {each.id} keeps {len(text):,} bytes in view.memory, at most {MOST_MEMORY:,} for a "
                "wallet and chain: forget what is old"
            )
        if json.loads(text) != memory:
            raise DetectorError(
                f"{each.where}: {each.id} keeps in view.memory what a store would give back otherwise: keys must be "
                "text, and lists no tuples"
            )
        if memory:
            self._memory[key] = text
        else:
            del self._memory[key]


def _failed(each: OwnDetector, about: Flow | ControlEvent, error: BaseException) -> str:
    """Where it failed: the last line of the detector's own file, else of whatever it called."""
    frames = traceback.extract_tb(error.__traceback__)
    own = each.where.rpartition(":")[0]
    last = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    tx = about.transfer.tx.hash if isinstance(about, Flow) else about.tx.hash
    words = " ".join(str(error).split())[:_LONGEST_TEXT]
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    code = f" in `{last.line.strip()}`" if last.line else ""
    return f"{last.filename}:{last.lineno}: detector {each.id} failed{code}: {text} (transaction {tx})"


def _checked(each: OwnDetector, answer: Any) -> tuple[Severity, str, dict[str, Any]] | None:
    """An answer in order; DetectorError says what was expected."""
    if answer is None:
        return None
    expected = 'expected None, (severity, text) or (severity, text, evidence), such as ("high", "50 ETH at night")'
    if not isinstance(answer, tuple) or not 2 <= len(answer) <= 3:
        raise DetectorError(f"{each.where}: {each.id} gave {_short(answer)}, {expected}")
    severity, text, evidence = (*answer, {})[:3]
    try:
        level = severity if isinstance(severity, Severity) else Severity.parse(severity)
    except (ValueError, AttributeError):
        words = ", ".join(map(str, Severity))
        raise DetectorError(f"{each.where}: {each.id} gave severity {severity!r}, expected one of {words}") from None
    if not isinstance(text, str) or not text.strip():
        raise DetectorError(f"{each.where}: {each.id} gave the text {_short(text)}, expected a sentence for people")
    try:
        if not isinstance(evidence, Mapping):
            raise TypeError(f"it is {_short(evidence)}, expected a mapping")
        plain: dict[str, Any] = json.loads(canonical_json(dict(evidence)))
    except (TypeError, ValueError, RecursionError) as error:
        raise DetectorError(f"{each.where}: {each.id} gave evidence that is no JSON: {error}{_hint(error)}") from None
    return level, " ".join(text.split())[:_LONGEST_TEXT], plain


def _hint(error: Exception) -> str:
    """What to write instead of the values that a view itself gives."""
    return "; write float(...) or str(...) of it" if "Fraction" in str(error) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _of_flow(
    each: OwnDetector, flow: Flow, said: tuple[Severity, str, dict[str, Any]], left: Mapping[str, str]
) -> Finding:
    severity, text, evidence = said
    return finding_for(flow, each.id, severity, text, {**evidence, **left, "title": each.card.title})


def _of_control(
    each: OwnDetector, wallet: str, event: ControlEvent, said: tuple[Severity, str, dict[str, Any]], seen: Seen
) -> Finding:
    severity, text, evidence = said
    asset = str(event.detail.get("asset") or "")
    return Finding(
        id=finding_id(each.id, wallet, event.tx.hash, f"{event.kind} {event.account} {asset}", event.subject),
        detector=each.id,
        wallet=wallet,
        chain=seen.chain,
        severity=severity,
        score=0.0,
        summary=text,
        tx=event.tx.hash,
        at=seen.at,
        block_number=event.block.number,
        asset=asset,
        destination=event.subject,
        evidence={**evidence, "kind": str(event.kind), "account": event.account, "title": each.card.title},
    )
