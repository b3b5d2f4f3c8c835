"""Address poisoning: an address that imitates a counterparty shows itself, and then it is paid by mistake."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from monitor.derived import DerivedAddresses
from monitor.detectors.base import Detector
from monitor.ids import finding_id, iso
from monitor.lookalike import difference
from monitor.model import ControlEvent, ControlKind, Direction, Finding, Flow, Role, Severity, TransferKind, Wallet
from monitor.policies.base import Dealing, Seen, finding_for, is_payment
from monitor.policies.counterparties import DAY, Circle, Likeness, Planted
from monitor.policies.settings import Given, Settings
from monitor.store import Delta
from monitor.watchlist import Watchlist

__all__ = ["POISONING", "Poisoning"]

POISONING = Detector(
    id="PW-6",
    title="Payment to a look-alike address",
    catches="A payment or an approval to an address whose first three and last four characters are those of a "
    "counterparty of the last 90 days, of a trusted address or of one of the owner's: critical.",
    misses="Imitations of fewer characters, and of whom the wallet has not dealt with for 90 days.",
    lookalikes="Two honest addresses that agree by chance: once in 270 million pairs of EVM addresses. Where a wallet "
    "has so many counterparties that this counts, an imitator must have shown itself, or agree in more characters.",
    evidence=(),
    rules=("an imitator that shows itself by a worthless or forged transfer is info: it opens no incident",),
    references=("Tsuchiya et al., Blockchain Address Poisoning, USENIX Security 2025",),
)
PLANTINGS = 8  # that are told of a wallet, a chain and a UTC day: strangers decide how many there are
_ROLES = (Role.TREASURY, Role.PERSONAL)  # people who copy addresses; an exchange pays from its books
_SEPARATOR = "\x1f"
_HOW = {
    "zero": "a transfer of nothing", "dust": "a tiny amount", "fake": "a worthless or forged token transfer",
    "value": "a payment",
}  # fmt: skip


class Poisoning:
    """PW-6, as a policy.

    Counterparties are addresses that the wallet paid or let spend its coins, and those from which it got native or
    listed coins that are more than dust, that is, at least a ten-thousandth of a typical payment of the asset. What
    imitates a counterparty never becomes one, however much it sends.

    Parameters
    ----------
    watchlist : wallets of every role; hot, treasury and personal ones are judged
    listed : CAIP-19 assets that are known to be real
    settings : what wallets set for the detectors
    """

    id = POISONING.id
    prefix = b"q\x1f"
    unweighed = True

    def __init__(self, watchlist: Watchlist, listed: Container[str] = (), settings: Given | None = None) -> None:
        given = Settings([POISONING], settings)
        self._watchlist, self._listed = watchlist, listed
        self._wallets = frozenset(
            w.id for w in watchlist.wallets.values() if w.role in _ROLES and given.enabled(w.id, POISONING.id)
        )
        self._circles: dict[tuple[str, str], Circle] = {}
        self._own: dict[tuple[str, str], set[str]] = {}  # addresses by entity and chain
        self._derived: dict[tuple[str, str], list[DerivedAddresses]] = {}  # and those that may become more
        self._seen: dict[tuple[str, str], int] = {}  # how many of the latter the circle of a wallet and chain has
        for wallet in watchlist.wallets.values():
            for chain, address in wallet.addresses:
                self._own.setdefault((wallet.entity, chain), set()).add(address)
            for derived in wallet.derived:
                self._derived.setdefault((wallet.entity, derived.chain), []).append(derived)

    @property
    def wallets(self) -> frozenset[str]:
        """Hot, treasury and personal wallets."""
        return self._wallets

    suspicious = wallets
    guarded = wallets

    def likeness(self, wallet: str, chain: str, address: str, at: int) -> Likeness | None:
        """Whom an address imitates at a time (UTC seconds), where it does so by more than chance."""
        found = self._circle(wallet, chain).likeness(address, at)
        return found if found is not None and found.counts else None

    # -- payments and plantings -----------------------------------------------------------------------------------

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        findings: list[Finding] = []
        odd = {id(flow) for flow in seen.shown}
        mine = [*flows, *(flow for flow in seen.shown if flow.wallet in self._wallets)]
        for flow in sorted(mine, key=lambda flow: (flow.transfer.tx.index, flow.transfer.index)):
            if not flow.counterparty or self._is_own(flow.wallet, seen.chain, flow.counterparty):
                continue
            if id(flow) in odd or flow.direction is not Direction.OUT:
                findings += self._arrival(flow, seen, forged=id(flow) in odd)
            elif is_payment(flow):
                findings += self._payment(flow, seen)
        return findings

    def _payment(self, flow: Flow, seen: Seen) -> Iterator[Finding]:
        circle = self._circle(flow.wallet, seen.chain)
        found = circle.likeness(flow.counterparty, seen.at)
        if found is None or not found.counts:
            circle.pay(flow.counterparty, seen.at, flow.transfer.asset, flow.value)
            return
        amount = seen.names.display(flow.transfer.asset, flow.value)
        text = f"{amount} to {self._said(found, circle, seen.at)}"
        yield finding_for(flow, self.id, Severity.CRITICAL, text, _evidence(found))

    def _arrival(self, flow: Flow, seen: Seen, *, forged: bool) -> Iterator[Finding]:
        """Coins that came, or a transfer that is not real to the owner, whichever way it seems to go."""
        circle, asset = self._circle(flow.wallet, seen.chain), flow.transfer.asset
        real = not forged and (flow.transfer.kind is not TransferKind.TOKEN or asset in self._listed)
        dust = circle.is_dust(asset, flow.value)
        found = circle.likeness(flow.counterparty, seen.at)
        if found is None:
            if real and not dust:
                circle.receive(flow.counterparty, seen.at)
            return
        if found.planted is not None:
            return
        how = "zero" if not flow.value else "fake" if not real else "dust" if dust else "value"
        told = sum(at // DAY == seen.at // DAY for at, _ in circle.planted.entries.values())
        circle.plant(flow.counterparty, Planted(seen.at, how, flow.transfer.tx.hash, found.real))
        if told < PLANTINGS:
            text = f"{flow.counterparty} showed itself by {_HOW[how]}; it looks like {found.real}, which this wallet "
            text += "deals with: do not copy addresses from the list of transactions"
            evidence = _evidence(found) | {"how": how, "counterfeit": seen.names.is_counterfeit(asset)}
            yield replace(finding_for(flow, self.id, Severity.INFO, text, evidence), value=0)

    def _said(self, found: Likeness, circle: Circle, at: int) -> str:
        """An imitator and whom it imitates, both in full, for people."""
        one, other = difference(found.address, found.real)
        who = "which the wallet deals with" if found.real not in circle.fixed else "which is the owner's or trusted"
        text = (
            f"{found.address}, which looks like {found.real}, {who}: the first {found.leading} and the last "
            f"{found.trailing} characters agree, between them it has {one} and not {other}"
        )
        if found.planted is not None:
            text += f"; it showed itself by {_HOW.get(found.planted.how, 'a transfer')} at {iso(found.planted.at)}"
        return text

    # -- history --------------------------------------------------------------------------------------------------

    def dealt_with(self, wallet: str, chain: str) -> set[str]:
        """See `Deals.dealt_with`."""
        return self._circle(wallet, chain).addresses()

    def deal(self, chain: str, dealings: Sequence[Dealing]) -> None:
        """See `Deals.deal`: as `judge` would, where nothing looks like anything."""
        circles = {wallet: self._circle(wallet, chain) for wallet in {d[0] for d in dealings} & self._wallets}
        watched = self._watchlist.watch(chain)
        for wallet, address, at, asset, value, paid, genuine in dealings:
            circle = circles.get(wallet)
            if circle is None or (address in watched and self._is_own(wallet, chain, address)):
                continue
            if paid:
                circle.pay(address, at, asset, value)
            elif genuine and not circle.is_dust(asset, value):
                circle.receive(address, at)

    # -- approvals ------------------------------------------------------------------------------------------------

    def guard(self, events: Sequence[ControlEvent], readings: object, seen: Seen) -> list[Finding]:
        """See `Guards.guard`: whoever may spend the coins is paid in all but name."""
        findings = []
        for event in events:
            owner = self._approver(event, seen.chain)
            if owner is None:
                continue
            circle = self._circle(owner.id, seen.chain)
            found = circle.likeness(event.subject, seen.at)
            if found is None or not found.counts:
                circle.approve(event.subject, seen.at)
            else:
                findings.append(self._approval(event, owner, found, circle, seen))
        return findings

    def _approver(self, event: ControlEvent, chain: str) -> Wallet | None:
        """The wallet that let somebody else spend; None where it did not, or where others can forge the event."""
        owner = self._watchlist.wallet_at(chain, event.account)
        if owner is None or owner.id not in self._wallets or event.kind is not ControlKind.APPROVAL:
            return None
        if event.detail.get("value") == "0" or self._is_own(owner.id, chain, event.subject):
            return None
        signed = event.account in (event.tx.initiator, event.tx.target)
        return owner if signed or event.detail.get("asset") in self._listed else None

    def _approval(self, event: ControlEvent, owner: Wallet, found: Likeness, circle: Circle, seen: Seen) -> Finding:
        asset = str(event.detail.get("asset") or "")
        name = seen.names.info(asset).symbol if asset else "coins"
        return Finding(
            id=finding_id(self.id, owner.id, event.tx.hash, asset, event.subject),
            detector=self.id,
            wallet=owner.id,
            chain=seen.chain,
            severity=Severity.CRITICAL,
            score=0.0,
            summary=f"leave to spend {name} to {self._said(found, circle, seen.at)}",
            tx=event.tx.hash,
            at=seen.at,
            block_number=event.block.number,
            asset=asset,
            destination=event.subject,
            evidence=_evidence(found) | {"kind": str(event.kind), "account": event.account},
        )

    # -- state ----------------------------------------------------------------------------------------------------

    def _circle(self, wallet: str, chain: str) -> Circle:
        circle = self._circles.get((wallet, chain))
        owner = self._watchlist.wallets[wallet]
        if circle is None:
            trusted = {entry.address for entry in owner.trusted if entry.chain == chain}
            circle = self._circles[wallet, chain] = Circle(trusted | self._own.get((owner.entity, chain), set()))
        derived = self._derived.get((owner.entity, chain), ())
        number = sum(map(len, derived))
        if number != self._seen.get((wallet, chain), 0):
            self._seen[wallet, chain] = number
            for each in derived:
                circle.own(each.addresses)
        return circle

    def _is_own(self, wallet: str, chain: str, address: str) -> bool:
        home = self._watchlist.wallet_at(chain, address)
        return home is not None and home.entity == self._watchlist.wallets[wallet].entity

    def clear(self, wallet: str, chain: str, address: str) -> tuple[Delta, Delta]:
        """A false alarm: this address is honest. Returns (what changed, how to undo it)."""
        if wallet not in self._wallets:
            return (), ()
        circle = self._circle(wallet, chain)
        if address in circle.cleared or not circle.resembles(address):
            return (), ()
        key = self._key(wallet, chain, "c", address)
        self.put(key, b"1")
        return ((key, b"1"),), ((key, None),)

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        keys: set[bytes] = set()
        touched: dict[tuple[str, str, str], set[str]] = {}
        odd = [flow for flow in shown if flow.wallet in self._wallets]
        for flow, forged in [*((flow, False) for flow in flows), *((flow, True) for flow in odd)]:
            if not flow.counterparty or flow.transfer.kind is TransferKind.FEE:
                continue
            place = (flow.wallet, flow.transfer.block.chain)
            if forged or flow.direction is not Direction.OUT:
                touched.setdefault((*place, "l"), set()).add(flow.counterparty)
            if not forged:
                out = flow.direction is Direction.OUT
                touched.setdefault((*place, "o" if out else "i"), set()).add(flow.counterparty)
                keys |= {self._key(*place, "t", flow.transfer.asset)} if out else set()
        return keys | self._with_gone(touched)

    def guard_keys(self, events: Sequence[ControlEvent], readings: object, chain: str) -> set[bytes]:
        """See `Guards.guard_keys`."""
        touched: dict[tuple[str, str, str], set[str]] = {}
        for event in events:
            owner = self._approver(event, chain)
            if owner is not None:
                touched.setdefault((owner.id, chain, "s"), set()).add(event.subject)
        return self._with_gone(touched)

    def _with_gone(self, touched: dict[tuple[str, str, str], set[str]]) -> set[bytes]:
        """Keys of these, and of those that may go for them."""
        keys = set()
        for (wallet, chain, kind), names in touched.items():
            gone = self._circle(wallet, chain).may_go(kind, len(names))
            keys |= {self._key(wallet, chain, kind, name) for name in (*names, *gone)}
        return keys

    def _key(self, wallet: str, chain: str, kind: str, name: str) -> bytes:
        return self.prefix + _SEPARATOR.join((wallet, chain, kind, name)).encode()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        wallet, chain, kind, name = _parts(key)
        circle = self._circles.get((wallet, chain))
        return None if circle is None else circle.get(kind, name)

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of wallets that are not judged any more are not taken over."""
        wallet, chain, kind, name = _parts(key)
        if wallet in self._wallets:
            self._circle(wallet, chain).put(kind, name, value)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        keys = [
            self._key(*place, kind, name) for place, circle in self._circles.items() for kind, name in circle.names()
        ]
        return sorted((key, value) for key in keys if (value := self.get(key)) is not None)


def _parts(key: bytes) -> tuple[str, str, str, str]:
    _, wallet, chain, kind, name = key.decode().split(_SEPARATOR, 4)
    return wallet, chain, kind, name


def _evidence(found: Likeness) -> dict[str, object]:
    """Plain values of a likeness."""
    evidence: dict[str, object] = {
        "resembles": found.real, "leading": found.leading, "trailing": found.trailing,
        "chance": float(f"{found.chance:.3g}"),
    }  # fmt: skip
    if found.planted is not None:
        evidence |= {"planted_at": iso(found.planted.at), "planted_tx": found.planted.tx, "how": found.planted.how}
    return evidence
