"""Cold wallets: they pay a few times a month, so history says nothing, and every outflow is told."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from monitor.config.types import Planned
from monitor.detectors.base import Detector, Parameter
from monitor.errors import StoreError
from monitor.ids import finding_id
from monitor.model import ControlEvent, ControlKind, Finding, Flow, Reading, Role, Severity
from monitor.policies.base import Running, Seen, finding_for, is_payment
from monitor.policies.planned import Calendar
from monitor.policies.settings import Given, Settings
from monitor.policies.words import percent
from monitor.trust import Trust
from monitor.watchlist import Watchlist

__all__ = ["COLD", "ColdWallets"]

COLD = (
    Detector(
        id="CW-1",
        title="Outflow of a cold wallet",
        catches="Every outflow that was not planned: medium to an expected address and at most 1.5 times the largest "
        "earlier such outflow of the asset, else critical.",
        misses="A theft through an expected address; payments that a trusted entry plans.",
        lookalikes="A refill of the hot wallet: plan it with a trusted entry of address, ceiling, from and until.",
        evidence=(),
        parameters=(
            Parameter("times", (), 1.5, 1, 1000, "times the largest earlier outflow to an expected address"),
        ),
    ),
    Detector(
        id="CW-2",
        title="Dormant cold wallet spends",
        catches="The first outflow after more than 180 days without one, or after 180 days watched: high.",
        misses="A wallet that pays more often, and one watched for less than 180 days.",
        lookalikes="A yearly audit, or the move to a new cold wallet.",
        evidence=(),
        parameters=(Parameter("days", (), 180, 1, 3650, "days of silence, whole or in part"),),
    ),
    Detector(
        id="CW-3",
        title="Control of a cold wallet changed",
        catches="What CT-1 to CT-12 catch of other wallets, told as CW-3: a new owner, implementation, module, guard, "
        "delegate, role or signatory: critical; anything that gives nobody power, and an approval: high.",
        misses="What those detectors miss.",
        lookalikes="A planned change: name its exact new value under planned.",
        evidence=(),
    ),
    Detector(
        id="CW-4",
        title="Test payment of a cold wallet",
        catches="Less than a ten-thousandth of the balance (of the largest outflow where no balance is known) to an "
        "unexpected address: high, the probe of a stolen key.",
        misses="A thief who takes all at once.",
        lookalikes="The owner's own test before a large payment to a new address.",
        evidence=(),
        parameters=(Parameter("share", (), 0.0001, 1e-9, 0.1, "share of the balance below which it is a test"),),
    ),
)
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class _Limits:
    """What holds for one wallet; ``silence`` in seconds, ``speaks`` are ids of the detectors that are on."""

    speaks: frozenset[str]
    times: Fraction
    silence: Fraction
    dust: Fraction

    @classmethod
    def of(cls, settings: Settings, wallet: str) -> _Limits:
        return cls(
            speaks=frozenset(d.id for d in COLD if settings.enabled(wallet, d.id)),
            times=settings.number(wallet, "CW-1", "times"),
            silence=settings.number(wallet, "CW-2", "days") * 86400,
            dust=settings.number(wallet, "CW-4", "share"),
        )


class ColdWallets:
    """The detectors of role ``cold``, as a policy.

    Parameters
    ----------
    watchlist : wallets of every role; those of role cold are judged
    planned : approvals that the owner expects
    listed : CAIP-19 assets that are known to be real: their events cannot be forged
    settings : what wallets set for the detectors
    """

    id = "CW"
    prefix = b"k\x1f"

    def __init__(
        self,
        watchlist: Watchlist,
        planned: Iterable[Planned] = (),
        listed: Container[str] = (),
        settings: Given | None = None,
    ) -> None:
        self._watchlist = watchlist
        self._calendar = Calendar(planned)
        self._listed = listed
        self._wallets = frozenset(w.id for w in watchlist.wallets.values() if w.role is Role.COLD)
        given = Settings(COLD, settings)
        self._limits = {wallet: _Limits.of(given, wallet) for wallet in self._wallets}
        self._last: dict[bytes, int] = {}  # time of the last outflow, by wallet and chain
        self._most: dict[bytes, tuple[int, int]] = {}  # largest outflow: to an expected address, to any

    @property
    def wallets(self) -> frozenset[str]:
        """Wallets of role cold."""
        return self._wallets

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        paid = [flow for flow in flows if is_payment(flow)]
        return {self._key(flow) for flow in paid} | {self._key(flow, flow.transfer.asset) for flow in paid}

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        running = Running(seen)
        findings: list[Finding] = []
        for flow in flows:
            before, after = running.step(flow)
            if is_payment(flow):
                left = {} if after is None else {"balance_after": str(after)}
                findings += self._payment(flow, before, left, seen)
        return [finding for finding in findings if finding.detector in self._limits[finding.wallet].speaks]

    # -- control --------------------------------------------------------------------------------------------------

    @property
    def guarded(self) -> frozenset[str]:
        """See `Guards.guarded`."""
        return self._wallets

    def guard_keys(self, events: Sequence[ControlEvent], readings: Sequence[Reading], chain: str) -> set[bytes]:
        """See `Guards.guard_keys`."""
        return set()

    def guard(self, events: Sequence[ControlEvent], readings: Sequence[Reading], seen: Seen) -> list[Finding]:
        """See `Guards.guard`."""
        findings = self._approvals(events, seen)
        return [finding for finding in findings if finding.detector in self._limits[finding.wallet].speaks]

    # -- payments -------------------------------------------------------------------------------------------------

    def _payment(self, flow: Flow, before: int | None, left: Mapping[str, str], seen: Seen) -> Iterator[Finding]:
        asset, trust, limits = flow.transfer.asset, seen.trusted(flow), self._limits[flow.wallet]
        expected, most = self._most.get(self._key(flow, asset), (0, 0))
        last = self._last.get(self._key(flow))
        self._last[self._key(flow)] = seen.at
        known = flow.value if trust else 0
        self._most[self._key(flow, asset)] = (max(expected, known), max(most, flow.value))
        if trust is Trust.PLANNED:
            return
        amount = seen.names.display(asset, flow.value)
        yield self._outflow(flow, trust, expected, limits.times, amount, left, seen)
        quiet = seen.at - (seen.since(flow.wallet) if last is None else last)
        if quiet > limits.silence:
            how = "the first outflow ever seen" if last is None else "the first outflow"
            text = f"{amount}: {how} in {quiet // 86400} days"
            yield finding_for(flow, "CW-2", Severity.HIGH, text, {"quiet_days": quiet // 86400, **left})
        whole = most if before is None else before
        if trust is Trust.UNKNOWN and flow.value < limits.dust * whole:
            of = f"{percent(limits.dust)} of the {'largest outflow so far' if before is None else 'balance'}"
            text = f"{amount} to an unexpected address, less than {of}: a stolen key on trial?"
            yield finding_for(flow, "CW-4", Severity.HIGH, text, left)

    @staticmethod
    def _outflow(
        flow: Flow,
        trust: Trust,
        expected: int,
        times: Fraction,
        amount: str,
        left: Mapping[str, str],
        seen: Seen,
    ) -> Finding:
        usual = seen.names.display(flow.transfer.asset, expected)
        if trust is Trust.UNKNOWN:
            severity, text = Severity.CRITICAL, f"{amount} to an address that is not expected"
        elif not expected:
            severity, text = Severity.MEDIUM, f"{amount} to an expected address, the first of this asset"
        elif flow.value <= times * expected:
            severity, text = Severity.MEDIUM, f"{amount} to an expected address, largest so far {usual}"
        else:
            severity = Severity.CRITICAL
            text = f"{amount} to an expected address, more than {float(times):g} times the largest so far, {usual}"
        return finding_for(flow, "CW-1", severity, text, {"largest_expected_before": str(expected), **left})

    def _approvals(self, events: Sequence[ControlEvent], seen: Seen) -> Iterator[Finding]:
        """CW-3 of approvals; other changes of control are told by `monitor.policies.control.policy`."""
        for event in events:
            owner = self._watchlist.wallet_at(seen.chain, event.account)
            if event.kind is not ControlKind.APPROVAL or owner is None or owner.id not in self._wallets:
                continue
            asset = str(event.detail.get("asset") or "")
            if event.tx.initiator != event.account and asset not in self._listed:
                continue  # anybody can write such an event in a token of his own
            if str(event.detail.get("value")) == "0":  # taken back
                continue
            if self._calendar.holds(seen.chain, event.account, event.kind, event.subject, seen.at):
                continue
            yield Finding(
                id=finding_id("CW-3", owner.id, event.tx.hash, f"{event.kind} {event.account} {asset}", event.subject),
                detector="CW-3",
                wallet=owner.id,
                chain=seen.chain,
                severity=Severity.HIGH,
                score=0.0,
                summary=f"{event.account} allowed {event.subject} to spend {asset or 'a token'}",
                tx=event.tx.hash,
                at=seen.at,
                block_number=event.block.number,
                asset=asset,
                destination=event.subject,
                evidence={"kind": str(event.kind), "account": event.account, "value": event.subject},
            )

    # -- state ----------------------------------------------------------------------------------------------------

    def _key(self, flow: Flow, asset: str = "") -> bytes:
        """Of the largest outflows of an asset; without one of the last outflow of the wallet on this chain."""
        return self.prefix + _SEPARATOR.join((flow.wallet, flow.transfer.block.chain, asset)).encode()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        if key in self._last:
            return str(self._last[key]).encode()
        most = self._most.get(key)
        return None if most is None else json.dumps([str(value) for value in most]).encode()

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of wallets that are no longer cold are not taken over."""
        self._last.pop(key, None)
        self._most.pop(key, None)
        _, wallet, _, asset = key.decode().split(_SEPARATOR, 3)
        if value is None or wallet not in self._wallets:
            return
        try:
            if asset:
                expected, most = json.loads(value)
                self._most[key] = (int(expected), int(most))
            else:
                self._last[key] = int(value)
        except (ValueError, TypeError):
            raise StoreError("a stored record of a cold wallet cannot be read: the store lost data") from None

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        return sorted((key, value) for key in [*self._last, *self._most] if (value := self.get(key)) is not None)
