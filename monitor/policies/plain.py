"""Plain rules: what an owner says must not happen, taken at its word.

Every outflow counts, to trusted and sister addresses too; internal moves and fees do not, but fees lower a balance.
Nothing is learned. A rule over a window, or over a balance, speaks when its limit is passed, and again only after it
was kept in between, or after the window's sum doubled.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from monitor.assets import AssetNames
from monitor.config.types import Rule, RuleKind
from monitor.detectors.base import Detector
from monitor.errors import StoreError
from monitor.ids import stable_id
from monitor.model import Direction, Finding, Flow, Severity
from monitor.policies.base import Running, Seen, finding_for, is_payment
from monitor.policies.settings import Given, Settings
from monitor.policies.words import long_span, percent, short_span

__all__ = ["RULE", "PlainRules"]

RULE = Detector(
    id="RULE",
    title="Plain rule",
    catches="What the owner's own rules name: any outflow, more than an amount or a share of the balance within a "
    "window, an address outside a list, a balance below a level.",
    misses="Everything that keeps to the rules; shares and balances until a balance was told.",
    lookalikes="Ordinary business above the limit: trusted destinations count like all others.",
    evidence=(),
    rules=("what it takes at its word is under rules of a wallet",),
)
_SEPARATOR = "\x1f"

Addresses = frozenset[tuple[str, str]]
"""(CAIP-2 chain, address)."""


@dataclass(slots=True)
class _Window:
    """Payments of one rule and asset within its window, merged by time: (UTC s, base units, balance before them)."""

    paid: deque[tuple[int, int, int | None]] = field(default_factory=deque)
    total: int = 0
    fired: int = 0  # the sum at which the rule last spoke; 0: it has not since it was kept

    def expire(self, until: int) -> None:
        """Forget payments at or before a time."""
        while self.paid and self.paid[0][0] <= until:
            self.total -= self.paid.popleft()[1]

    def add(self, at: int, value: int, before: int | None) -> None:
        """Count a payment."""
        self.total += value
        if self.paid and self.paid[-1][0] == at:
            _, earlier, first = self.paid.pop()
            self.paid.append((at, earlier + value, first))
        else:
            self.paid.append((at, value, before))

    @property
    def start_balance(self) -> int | None:
        """The balance before the first payment of the window."""
        return self.paid[0][2] if self.paid else None


@dataclass(frozen=True, slots=True)
class _Held:
    """A rule as it holds for one asset. ``name`` is of its content: the order in the file does not matter."""

    rule: Rule
    name: str
    limit: int | Fraction  # base units, or a share of a balance

    def breaks(self, total: int, balance: int | None) -> bool:
        """Whether a sum is over the limit; a share of a balance that nobody told is never passed."""
        if self.rule.share is None:
            return total > self.limit
        return balance is not None and total > self.limit * balance

    def over(self, flow: Flow, total: int, balance: int | None, when: str, names: AssetNames) -> str:
        """What people read of a broken limit."""
        asset = flow.transfer.asset
        within = f" in {short_span(self.rule.window)}" if self.rule.window else ""
        if self.rule.share is None:
            return f"{names.display(asset, total)} {when}, rule: over {names.display(asset, int(self.limit))}{within}"
        held = names.display(asset, balance or 0)
        share = percent(self.rule.share)
        return f"{names.display(asset, total)} of {held} {when}, rule: over {share} of the balance{within}"


class PlainRules:
    """The plain rules of all wallets, as a policy.

    Parameters
    ----------
    rules : by wallet id
    lists : addresses by the names that `not_in` uses; KeyError later where one is missing
    settings : what wallets set for the detector: whether it is on
    """

    id = RULE.id
    prefix = b"r\x1f"

    def __init__(
        self,
        rules: Mapping[str, Sequence[Rule]],
        lists: Mapping[str, Addresses] | None = None,
        settings: Given | None = None,
    ) -> None:
        given = Settings([RULE], settings)
        self._rules = {
            wallet: tuple(own) for wallet, own in rules.items() if own and given.enabled(wallet, RULE.id)
        }
        self._lists = dict(lists or {})
        self._about: dict[tuple[str, str], tuple[_Held, ...]] = {}
        self._windows: dict[bytes, _Window] = {}
        self._below: set[bytes] = set()

    @property
    def wallets(self) -> frozenset[str]:
        """Wallets that have a rule."""
        return frozenset(self._rules)

    @property
    def waits(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """See `Waits`."""
        return tuple(
            (wallet, _short(rule), tuple(asset for asset, _ in rule.limits) or rule.assets)
            for wallet, own in sorted(self._rules.items())
            for rule in own
            if rule.waits and _severity(rule) is not Severity.INFO
        )

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        return {
            self._key(flow, held)
            for flow in flows
            for held in self._held(flow.wallet, flow.transfer.asset)
            if held.rule.kind is RuleKind.BALANCE_BELOW or (held.rule.window and is_payment(flow))
        }

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`: one finding a flow, that names every rule which it breaks."""
        running = Running(seen)
        findings = []
        for flow in flows:
            before, after = running.step(flow)
            said = [
                (held.rule, text)
                for held in self._held(flow.wallet, flow.transfer.asset)
                for text in self._apply(held, flow, before, after, seen)
            ]
            if said:
                evidence: dict[str, Any] = {"rules": [str(rule.kind) for rule, _ in said]}
                if after is not None:
                    evidence["balance_after"] = str(after)
                worst = max(_severity(rule) for rule, _ in said)
                text = "; ".join(text for _, text in said)
                findings.append(finding_for(flow, RULE.id, worst, text, evidence))
        return findings

    # -- rules ----------------------------------------------------------------------------------------------------

    def _held(self, wallet: str, asset: str) -> tuple[_Held, ...]:
        """The rules of a wallet that are about an asset; of equal ones that of the greatest severity."""
        found = self._about.get((wallet, asset))
        if found is None:
            by_name: dict[str, _Held] = {}
            for rule in self._rules.get(wallet, ()):
                limit = rule.share if rule.share is not None else dict(rule.limits).get(asset)
                elsewhere = limit is None or bool(rule.assets and asset not in rule.assets)
                if elsewhere and rule.kind in (RuleKind.OVER, RuleKind.BALANCE_BELOW):
                    continue
                if _severity(rule) is Severity.INFO:  # asked not to speak
                    continue
                parts = (rule.kind, f"{limit}{'' if rule.share is None else ' of the balance'}", rule.window or 0)
                name = stable_id("rule", *parts, rule.list_name or "", length=12)
                if name not in by_name or _severity(rule) > _severity(by_name[name].rule):
                    by_name[name] = _Held(rule, name, limit or 0)
            found = self._about[wallet, asset] = tuple(by_name.values())
        return found

    def _apply(self, held: _Held, flow: Flow, before: int | None, after: int | None, seen: Seen) -> Iterator[str]:
        """What a flow says of a rule: one sentence where it breaks it."""
        rule = held.rule
        if rule.kind is RuleKind.BALANCE_BELOW:
            yield from self._balance(held, flow, after, seen.names)
        elif not is_payment(flow):
            return
        elif rule.kind is RuleKind.OVER and rule.window:
            yield from self._window(held, rule.window, flow, before, seen)
        elif rule.kind is RuleKind.OVER:
            if held.breaks(flow.value, before):
                yield held.over(flow, flow.value, before, "in one payment", seen.names)
        elif rule.kind is RuleKind.OUTFLOW:
            yield f"{seen.names.display(flow.transfer.asset, flow.value)} left, rule: any outflow"
        elif (seen.chain, flow.counterparty) not in self._lists[rule.list_name or ""]:
            amount = seen.names.display(flow.transfer.asset, flow.value)
            yield f"{amount} to an address that is not in {rule.list_name}, rule: not in {rule.list_name}"

    def _window(self, held: _Held, length: int, flow: Flow, before: int | None, seen: Seen) -> Iterator[str]:
        """The sum within the window: speaks when it passes the limit, then when it has doubled."""
        window = self._windows.setdefault(self._key(flow, held), _Window())
        window.expire(seen.at - length)
        if not held.breaks(window.total, window.start_balance):
            window.fired = 0
        window.add(seen.at, flow.value, before)
        if not held.breaks(window.total, window.start_balance):
            return
        if not window.fired or window.total >= 2 * window.fired:
            window.fired = window.total
            yield held.over(flow, window.total, window.start_balance, f"within {long_span(length)}", seen.names)

    def _balance(self, held: _Held, flow: Flow, after: int | None, names: AssetNames) -> Iterator[str]:
        """Speaks at the outflow that leaves less than the limit, and again only after there was enough."""
        key, asset, limit = self._key(flow, held), flow.transfer.asset, int(held.limit)
        if after is None:
            return
        if after >= limit:
            self._below.discard(key)
        elif key not in self._below and flow.direction is Direction.OUT:
            self._below.add(key)
            yield f"{names.display(asset, after)} left, rule: balance below {names.display(asset, limit)}"

    # -- state ----------------------------------------------------------------------------------------------------

    def _key(self, flow: Flow, held: _Held) -> bytes:
        transfer = flow.transfer
        return self.prefix + _SEPARATOR.join((flow.wallet, transfer.block.chain, transfer.asset, held.name)).encode()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        if key in self._below:
            return b"below"
        window = self._windows.get(key)
        if window is None or not (window.paid or window.fired):
            return None
        paid = [[at, str(value), None if before is None else str(before)] for at, value, before in window.paid]
        return json.dumps({"fired": str(window.fired), "paid": paid}, separators=(",", ":")).encode()

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of rules that are no more are not taken over."""
        self._below.discard(key)
        self._windows.pop(key, None)
        _, wallet, _, asset, name = key.decode().split(_SEPARATOR)
        if value is None or all(held.name != name for held in self._held(wallet, asset)):
            return
        if value == b"below":
            self._below.add(key)
            return
        try:
            stored = json.loads(value)
            paid = [(int(at), int(sent), None if had is None else int(had)) for at, sent, had in stored["paid"]]
            self._windows[key] = _Window(deque(paid), sum(sent for _, sent, _ in paid), int(stored["fired"]))
        except (ValueError, KeyError, TypeError):
            raise StoreError("a stored window of a rule cannot be read: written by another version?") from None

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        keys = [*self._windows, *self._below]
        return sorted((key, value) for key in keys if (value := self.get(key)) is not None)


def _short(rule: Rule) -> str:
    return str(rule.kind) if rule.share is None else f"{rule.kind} {percent(rule.share)}"


def _severity(rule: Rule) -> Severity:
    return Severity.MEDIUM if rule.severity is None else rule.severity
