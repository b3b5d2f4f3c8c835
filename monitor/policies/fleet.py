"""Deposit fleets: thousands of addresses that send to a few destinations only, judged as one wallet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from monitor.errors import StoreError
from monitor.model import Direction, Finding, Flow, Role, Severity, TransferKind
from monitor.policies.base import Running, Seen, finding_for, is_payment
from monitor.policies.fleet_limits import FLEET, FleetLimits
from monitor.policies.fleet_records import MEMBERS, Counterparty, Recent, Table
from monitor.policies.settings import Given, Settings
from monitor.policies.words import long_span
from monitor.store import Delta
from monitor.watchlist import Watchlist

__all__ = ["LEARNING", "DepositFleets", "poisson_tail"]

LEARNING = 14 * 86400  # seconds that a rate of new recipients is taken over at least
_SEPARATOR = "\x1f"
_PAID, _GAS, _RECENT = "d", "g", "w"


def poisson_tail(count: int, rate: float) -> float:
    """P(N >= count) for a Poisson number of mean ``rate``; basic arithmetic alone, equal on every machine.

    >>> round(poisson_tail(2, 0.5), 6), poisson_tail(0, 3.0)
    (0.090204, 1.0)
    """
    term = whole = 1.0
    tail = 1.0 if count <= 0 else 0.0
    for i in range(1, count + 200):
        term *= min(rate, 50.0) / i
        whole += term
        if i >= count:
            tail += term
    return tail / whole


class DepositFleets:
    """The detectors of role ``deposit``, as a policy.

    **Expected destinations** are trusted ones (within their limits), wallets of the same entity, and learned ones. A
    fleet that has none of the first two on a chain learns for 14 days: a destination that 20 distinct members paid
    over at least 7 days is expected from then on. Later ones are learned by a false-alarm verdict alone.

    **DF-2.** With n recipients that were new before the last six hours, and T days watched (14 at least), the rate of
    new recipients within six hours is λ = (n + 1/2) · 0.25 / T. That k distinct members pay the same one within six
    hours has the tail p = P(N >= k), N Poisson with mean λ; p <= 1e-3 is high, p <= 1e-5 critical, for k >= 2. Without
    history λ = 0.009: two members are high, three critical.

    The figures are the defaults of what a wallet may set (`FLEET`). A longer window begins with what was kept of the
    shorter one.

    Parameters
    ----------
    watchlist : wallets of every role; those of role deposit are judged
    settings : what wallets set for the detectors
    """

    id = "DF"
    prefix = b"f\x1f"

    def __init__(self, watchlist: Watchlist, settings: Given | None = None) -> None:
        self._watchlist = watchlist
        wallets = watchlist.wallets.values()
        self._wallets = frozenset(wallet.id for wallet in wallets if wallet.role is Role.DEPOSIT)
        given = Settings(FLEET, settings)
        self._limits = {wallet: FleetLimits.of(given, wallet) for wallet in self._wallets}
        self._trusted = {(w.id, entry.chain, entry.address) for w in wallets for entry in w.trusted}
        self._tables: dict[tuple[str, str, str], Table] = {}  # by wallet, chain, kind
        self._recent: dict[tuple[str, str], Recent] = {}
        payees: dict[str, dict[str, set[str]]] = {}  # by entity and chain: wallets that are paid from its fleets
        for w in wallets:
            if w.role is not Role.DEPOSIT:
                for chain in w.chains:
                    payees.setdefault(w.entity, {}).setdefault(chain, set()).add(w.id)
        self._listed = {(wallet, chain) for wallet, chain, _ in self._trusted}  # have destinations that are listed
        self._listed |= {
            (w.id, chain)
            for w in wallets
            for chain, others in payees.get(w.entity, {}).items()
            if len(others) > (w.id in others)
        }

    @property
    def wallets(self) -> frozenset[str]:
        """Wallets of role deposit."""
        return self._wallets

    @property
    def quiet(self) -> frozenset[str]:
        """All of them: see `monitor.policies.base.Quiet`."""
        return self._wallets

    # -- judging --------------------------------------------------------------------------------------------------

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        running = Running(seen)
        findings: list[Finding] = []
        for flow in flows:
            before, after = running.step(flow)
            if is_payment(flow):
                findings += self._payment(flow, before, after, seen)
            elif _is_native(flow) and flow.direction is Direction.IN:
                findings += self._gas(flow, seen)
        return findings

    def _payment(self, flow: Flow, before: int | None, after: int | None, seen: Seen) -> Iterator[Finding]:
        table = self._table(flow.wallet, seen.chain, _PAID)
        entry = table.entries.get(flow.counterparty)
        if (entry is not None and entry.expected) or seen.expects(flow):
            return
        recent = self._recent.setdefault((flow.wallet, seen.chain), Recent())
        if entry is None:
            entry = table.open(flow.counterparty, seen.at)
            recent.begin(seen.at)
        members = self._members(flow)
        for member in members:
            entry.see(member, seen.at, flow.value)
        left = {} if after is None else {"balance_after": str(after)}
        asset, limits = flow.transfer.asset, self._limits[flow.wallet]
        to_it = entry.sums.add(asset, flow.value, seen.at, limits.window)
        if self._learns(flow.wallet, seen):
            if _is_learned(entry, limits, seen):
                entry.expected = True
                recent.new -= 1
            else:
                yield from self._while_learning(flow, entry, to_it, before, left, seen)
            return
        for member in members:
            recent.see(member, seen.at)
        unexpected = recent.sums.add(asset, flow.value, seen.at, limits.window)
        if "DF-1" in limits.speaks:
            yield self._violation(flow, recent, _share(unexpected, flow.value, before), left, seen)
        yield from self._common(flow, entry, recent, left, seen)

    def _violation(
        self, flow: Flow, recent: Recent, share: Fraction | None, left: dict[str, str], seen: Seen
    ) -> Finding:
        """DF-1: a payment to an address that no sweep goes to."""
        limits = self._limits[flow.wallet]
        count, within = recent.distinct(seen.at - limits.window), long_span(limits.window)
        severity = Severity.HIGH
        text = f"{seen.names.display(flow.transfer.asset, flow.value)} from a deposit address to an unexpected address"
        if count >= limits.members:
            severity = Severity.CRITICAL
            text += f"; {_payers(count)} paid unexpected addresses within {within}"
        if share is not None and share > limits.share:
            severity = Severity.CRITICAL
            text += f"; {float(share) * 100:.1f} % of what the fleet held went there within {within}"
        return finding_for(flow, "DF-1", severity, text, {"members": count, **left})

    def _common(
        self, flow: Flow, entry: Counterparty, recent: Recent, left: dict[str, str], seen: Seen
    ) -> Iterator[Finding]:
        """DF-2: several members to the same address."""
        limits = self._limits[flow.wallet]
        begin = seen.at - limits.window
        count = entry.distinct(begin)
        days = max(LEARNING, seen.at - seen.since(flow.wallet)) / 86400
        rate = (recent.settled(begin) + 0.5) * (limits.window / 86400) / days
        tail = poisson_tail(count, rate)
        if "DF-2" not in limits.speaks or count < 2 or tail > max(limits.high, limits.critical):
            return
        severity = Severity.CRITICAL if tail <= limits.critical else Severity.HIGH
        text = (
            f"{_payers(count)} paid the same unexpected address within {long_span(limits.window)}; "
            f"by chance that is rarer than 1 in {_rarity(tail):,}"
        )
        yield finding_for(flow, "DF-2", severity, text, {"members": count, "tail": float(f"{tail:.3g}"), **left})

    def _while_learning(
        self, flow: Flow, entry: Counterparty, to_it: int, before: int | None, left: dict[str, str], seen: Seen
    ) -> Iterator[Finding]:
        """DF-2 of a fleet that does not know its destinations yet: told once, and again where the sum doubles."""
        limits = self._limits[flow.wallet]
        count = entry.distinct(seen.at - limits.window)
        share = _share(to_it, flow.value, before)
        if "DF-2" not in limits.speaks or share is None or share <= limits.share or count < 2:
            if not to_it:
                entry.told = 0
            return
        total = to_it + flow.value
        if entry.told and total < 2 * entry.told:
            return
        entry.told = total
        day = 1 + (seen.at - seen.since(flow.wallet)) // 86400
        text = (
            f"{float(share) * 100:.1f} % of what the fleet held went from {_payers(count)} to one address within "
            f"{long_span(limits.window)}; day {day} of {limits.learning // 86400} in which the fleet learns its "
            "destinations: trust one to end it"
        )
        yield finding_for(flow, "DF-2", Severity.CRITICAL, text, {"members": count, "learning": True, **left})

    def _gas(self, flow: Flow, seen: Seen) -> Iterator[Finding]:
        """DF-3: the chain's own coin to several members from one stranger."""
        wallet, sender = flow.wallet, flow.counterparty
        if not sender or (wallet, seen.chain, sender) in self._trusted or self._is_sister(wallet, seen.chain, sender):
            return
        table = self._table(wallet, seen.chain, _GAS)
        known = table.entries.get(sender)
        if known is not None and known.expected:
            return
        entry = table.open(sender, seen.at)
        entry.see(flow.transfer.to_address, seen.at, flow.value)
        limits = self._limits[wallet]
        if self._learns(wallet, seen):
            entry.expected = _is_learned(entry, limits, seen)
            return
        begin = seen.at - limits.gas_window
        alike = [
            value
            for at, value in entry.members.values()
            if at > begin and abs(value - flow.value) <= limits.gas_difference * flow.value
        ]
        if "DF-3" not in limits.speaks or len(alike) < limits.gas_members or entry.told > begin:
            return
        entry.told = seen.at
        amount = seen.names.display(flow.transfer.asset, flow.value)
        text = (
            f"an address that never funded this fleet sent about {amount} each to {_payers(len(alike))} within "
            f"{long_span(limits.gas_window)}: gas for a sweep that is not yours?"
        )
        found = finding_for(flow, "DF-3", Severity.MEDIUM, text, {"members": len(alike)})
        yield replace(found, value=0)  # coins came in: nothing of it is lost

    # -- who is expected ------------------------------------------------------------------------------------------

    def _learns(self, wallet: str, seen: Seen) -> bool:
        """Whether a fleet that lists no destination is in its first days."""
        learning = self._limits[wallet].learning
        return (wallet, seen.chain) not in self._listed and seen.at < seen.since(wallet) + learning

    def _is_sister(self, wallet: str, chain: str, address: str) -> bool:
        other = self._watchlist.wallet_at(chain, address)
        return other is not None and other.entity == self._watchlist.wallets[wallet].entity

    def _members(self, flow: Flow) -> list[str]:
        """The members that paid; on UTXO chains one transaction may spend from many."""
        if len(flow.transfer.from_addresses) == 1:
            return list(flow.transfer.from_addresses)
        chain, payers = flow.transfer.block.chain, dict.fromkeys(flow.transfer.from_addresses)
        owners = {address: self._watchlist.wallet_at(chain, address) for address in payers}
        return [address for address, owner in owners.items() if owner is not None and owner.id == flow.wallet]

    def clear(self, wallet: str, chain: str, address: str) -> tuple[Delta, Delta]:
        """A false alarm: this address is expected from now on.

        Returns
        -------
        (what changed, how to undo it)
        """
        changed: list[tuple[bytes, bytes | None]] = []
        undo: list[tuple[bytes, bytes | None]] = []
        if wallet not in self._wallets:
            return (), ()
        for kind in (_PAID, _GAS):
            entry = self._table(wallet, chain, kind).entries.get(address)
            if entry is not None and not entry.expected:
                key = self._key(wallet, chain, kind, address)
                undo.append((key, entry.dump()))
                entry.expected = True
                changed.append((key, entry.dump()))
        return tuple(changed), tuple(undo)

    # -- state ----------------------------------------------------------------------------------------------------

    def _table(self, wallet: str, chain: str, kind: str) -> Table:
        return self._tables.setdefault((wallet, chain, kind), Table())

    def _key(self, wallet: str, chain: str, kind: str, address: str = "") -> bytes:
        return self.prefix + _SEPARATOR.join((wallet, chain, kind, address)).encode()

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        touched: dict[tuple[str, str, str], set[str]] = {}
        keys = set()
        for flow in flows:
            chain = flow.transfer.block.chain
            if is_payment(flow):
                touched.setdefault((flow.wallet, chain, _PAID), set()).add(flow.counterparty)
                keys.add(self._key(flow.wallet, chain, _RECENT))
            elif _is_native(flow) and flow.direction is Direction.IN:
                touched.setdefault((flow.wallet, chain, _GAS), set()).add(flow.counterparty)
        for place, addresses in touched.items():
            gone = self._table(*place).may_go(len(addresses))
            keys |= {self._key(*place, address) for address in (*addresses, *gone)}
        return keys

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        wallet, chain, kind, address = _parts(key)
        if kind == _RECENT:
            recent = self._recent.get((wallet, chain))
            return None if recent is None else recent.dump()
        table = self._tables.get((wallet, chain, kind))
        entry = None if table is None else table.entries.get(address)
        return None if entry is None else entry.dump()

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of wallets that are no longer of this role are not taken over."""
        wallet, chain, kind, address = _parts(key)
        if wallet not in self._wallets:
            return
        try:
            if kind == _RECENT:
                self._recent.pop((wallet, chain), None)
                if value is not None:
                    self._recent[wallet, chain] = Recent.load(value)
                return
            entries = self._table(wallet, chain, kind).entries
            entries.pop(address, None)
            if value is not None:
                entries[address] = Counterparty.load(value)
        except (ValueError, TypeError, AttributeError):
            raise StoreError("a stored record of a deposit fleet cannot be read: the store lost data") from None

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        found = [
            (self._key(*place, address), entry.dump())
            for place, table in self._tables.items()
            for address, entry in table.entries.items()
        ]
        found += [(self._key(*place, _RECENT), recent.dump()) for place, recent in self._recent.items()]
        return sorted(found)


def _parts(key: bytes) -> tuple[str, str, str, str]:
    _, wallet, chain, kind, address = key.decode().split(_SEPARATOR, 4)
    return wallet, chain, kind, address


def _is_native(flow: Flow) -> bool:
    return flow.transfer.kind in (TransferKind.NATIVE, TransferKind.INTERNAL)


def _is_learned(entry: Counterparty, limits: FleetLimits, seen: Seen) -> bool:
    """Whether enough members had to do with a counterparty, over days enough."""
    return len(entry.members) >= limits.learned_members and seen.at - entry.first >= limits.learned


def _share(earlier: int, value: int, before: int | None) -> Fraction | None:
    """The part of what the fleet held that went within the window; None: nobody told what it held."""
    if before is None or before + earlier <= 0:
        return None
    return Fraction(earlier + value, before + earlier)


def _payers(count: int) -> str:
    number = f"{count} or more" if count >= MEMBERS else str(count)
    return f"{number} deposit address{'es' if count != 1 else ''}"


def _rarity(tail: float) -> int:
    """1 / tail, rounded down to one leading digit.

    >>> _rarity(4.2e-5), _rarity(1e-9)
    (20000, 1000000)
    """
    number = int(min(1 / tail, 1e6)) if tail > 0 else 1_000_000
    unit = int("1" + "0" * (len(str(number)) - 1))
    return number // unit * unit
