"""All policies of a configuration, as the engine sees them; and what they share: exact balances, and a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from monitor.assets import AssetNames
from monitor.errors import StoreError
from monitor.ids import chain_of_asset
from monitor.model import ControlEvent, Direction, Finding, Flow, Reading
from monitor.policies.base import (
    Dealing,
    Deals,
    Guards,
    Holding,
    Learns,
    Place,
    Policy,
    Quiet,
    Seen,
    Suspicious,
    Unweighed,
    Waits,
    knows_nothing,
    net_of,
)
from monitor.store import Delta
from monitor.trust import Trust
from monitor.watchlist import Watchlist

__all__ = ["Judged", "PolicyBook"]

K = TypeVar("K")
Told = Mapping[tuple[str, str, str], int]
_SEPARATOR = "\x1f"
_PREFIX = b"p" + _SEPARATOR.encode()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a block showed to the policies, and what it did to their state."""

    findings: tuple[Finding, ...] = ()
    state: Delta = ()
    undo: Delta = ()


class _Ledger:
    """Exact balances once told, when each wallet was first seen, and each chain's clock, for wallets with a policy."""

    def __init__(self, wallets: frozenset[str]) -> None:
        self.wallets = wallets
        self.balances: dict[tuple[str, str, str], int] = {}
        self.first: dict[tuple[str, str], int] = {}
        self.clock: dict[str, int] = {}

    @staticmethod
    def key(wallet: str, chain: str, asset: str = "") -> bytes:
        """Of a balance; without an asset of when a wallet was first seen; without a wallet of a chain's clock."""
        return _PREFIX + _SEPARATOR.join((wallet, chain, asset)).encode()

    def get(self, key: bytes) -> bytes | None:
        wallet, chain, asset = _parts(key)
        if not wallet:
            found = self.clock.get(chain)
        else:
            found = self.balances.get((wallet, chain, asset)) if asset else self.first.get((wallet, chain))
        return None if found is None else str(found).encode()

    def put(self, key: bytes, value: bytes | None) -> None:
        wallet, chain, asset = _parts(key)
        if wallet and wallet not in self.wallets:
            return
        try:
            number = None if value is None else int(value)
        except ValueError:
            raise StoreError("a stored balance is not a number: the store lost data") from None
        if not wallet:
            _set(self.clock, chain, number)
        elif asset:
            _set(self.balances, (wallet, chain, asset), number)
        else:
            _set(self.first, (wallet, chain), number)

    def names(self) -> Iterable[bytes]:
        yield from (self.key("", chain) for chain in self.clock)
        yield from (self.key(*pair) for pair in self.first)
        yield from (self.key(*place) for place in self.balances)

    def begin(self, chain: str, time: int, flows: Sequence[Flow], told: Told) -> int:
        """Take in told balances; the chain's clock after it."""
        at = self.clock[chain] = max(time, self.clock.get(chain, time))
        self.balances.update(told)
        for wallet in [*(flow.wallet for flow in flows), *(place[0] for place in told)]:
            self.first.setdefault((wallet, chain), at)
        return at

    def add(self, chain: str, flows: Sequence[Flow]) -> None:
        """Count a block's flows. A balance below zero cannot be: something was not seen, and it is unknown again."""
        for flow in flows:
            place = (flow.wallet, chain, flow.transfer.asset)
            if place in self.balances:
                self.balances[place] += net_of(flow)
        for place in {(flow.wallet, chain, flow.transfer.asset) for flow in flows}:
            if self.balances.get(place, 0) < 0:
                del self.balances[place]


def _parts(key: bytes) -> tuple[str, str, str]:
    _, wallet, chain, asset = key.decode().split(_SEPARATOR, 3)
    return wallet, chain, asset


def _set(found: dict[K, int], key: K, value: int | None) -> None:
    if value is None:
        found.pop(key, None)
    else:
        found[key] = value


class PolicyBook:
    """The policies of a configuration.

    Parameters
    ----------
    watchlist : to whom an address belongs
    policies : in the order in which they judge; no prefix may begin another

    Attributes
    ----------
    judged : ids of the wallets that any policy judges
    wallets : those of them whose exact balances are kept (see `monitor.policies.base.Unweighed`)
    suspicious : ids of the wallets of which a policy wants flows that are not real, too
    dealing : ids of the wallets of which a policy of the kind `Deals` remembers with whom they deal
    """

    def __init__(self, watchlist: Watchlist, policies: Sequence[Policy] = ()) -> None:
        self.policies = tuple(policies)
        self.judged = frozenset().union(*(policy.wallets for policy in policies))
        self.wallets = frozenset().union(*(p.wallets for p in policies if not isinstance(p, Unweighed)))
        # What kinds a policy is of is asked once: such a question costs more than most answers.
        self._guards = tuple(policy for policy in policies if isinstance(policy, Guards))
        self._deals = tuple((policy, policy) for policy in policies if isinstance(policy, Deals))
        self.dealing = frozenset().union(*(policy.wallets for policy, _ in self._deals))
        self._suspects = frozenset(policy.id for policy in policies if isinstance(policy, Suspicious))
        self._guarded = frozenset().union(*(policy.guarded for policy in self._guards))
        self.suspicious = frozenset().union(*(p.suspicious for p in policies if isinstance(p, Suspicious)))
        self._watchlist = watchlist
        self._ledger = _Ledger(self.wallets)
        self._stale: set[bytes] = set()  # stored records that no policy of this configuration wants

    def knows(self, wallet: str, chain: str, asset: str) -> bool:
        """Whether the exact balance of a wallet with a policy was told."""
        return (wallet, chain, asset) in self._ledger.balances

    def waiting(self) -> list[tuple[str, str, str]]:
        """(chain, wallet, what) of rules that say nothing there yet, since no balance that they need was told."""
        told = set(self._ledger.balances)
        found = set()
        for policy in self.policies:
            for wallet, what, assets in policy.waits if isinstance(policy, Waits) else ():
                on = {chain_of_asset(asset) for asset in assets} or self._watchlist.chains_of(wallet)
                for chain in on:
                    known = {asset for name, where, asset in told if (name, where) == (wallet, chain)}
                    if not (known.intersection(assets) if assets else known):
                        found.add((chain, wallet, what))
        return sorted(found)

    def is_quiet(self, wallet: str, chain: str) -> bool:
        """Whether expected payments, fees and arriving tokens of a wallet change no record but the chain's clock."""
        if any((name, on) == (wallet, chain) for name, on, _ in self._ledger.balances):
            return False
        return all(isinstance(p, Quiet) and wallet in p.quiet for p in self.policies if wallet in p.wallets)

    def leave(self, keys: Iterable[bytes]) -> None:
        """These stored records, which no policy wants, did not go: they go with the next block."""
        self._stale.update(key for key in keys if self.owns(key))

    def tick(self, chain: str, time: int) -> None:
        """A block with flows that nobody needed to see: the clock goes on."""
        self._ledger.clock[chain] = max(time, self._ledger.clock.get(chain, time))

    def dealt_with(self, wallet: str, chain: str) -> set[str]:
        """Addresses that policies of the kind `Deals` know of a wallet."""
        known = (deals.dealt_with(wallet, chain) for policy, deals in self._deals if wallet in policy.wallets)
        return set().union(*known)

    def deal(self, chain: str, dealings: Sequence[Dealing]) -> None:
        """Payments that nobody needs to judge, in chain order."""
        for _, deals in self._deals if dealings else ():
            deals.deal(chain, dealings)

    def fold(
        self,
        chain: str,
        number: int,
        time: int,
        flows: Sequence[Flow],
        told: Told,
        trust: Mapping[Place, Trust],
        names: AssetNames,
        controls: Sequence[ControlEvent] = (),
        readings: Sequence[Reading] = (),
        shown: Sequence[Flow] = (),
        *,
        holding: Callable[[str, str], Holding] = knows_nothing,
        keep_undo: bool = True,
    ) -> Judged:
        """Judge one block.

        Parameters
        ----------
        number, time : of the block; UTC seconds
        flows : that are real to their owners, in chain order; those of other wallets are left out here
        told : balances before this block by (wallet, chain, asset), base units
        trust : payments that are expected (those that are missing are not)
        controls, readings : of the block
        shown : flows that are not real to their owners
        holding : what the statistics know of a wallet and asset
        keep_undo : whether to say what changed
        """
        gone = tuple((key, None) for key in sorted(self._stale)) if keep_undo else ()
        if keep_undo:
            self._stale.clear()
        if not (self.judged or self._guarded):
            return Judged((), gone)
        every = [f for f in flows if f.wallet in self.judged and f.direction is not Direction.INTERNAL]
        mine = [f for f in every if f.wallet in self.wallets]
        said = {place: value for place, value in told.items() if place[0] in self.wallets}
        events = tuple(event for event in controls if self._owner(chain, event.account) in self._guarded)
        known = tuple(reading for reading in readings if self._owner(chain, reading.account) in self._guarded)
        odd = tuple(flow for flow in shown if flow.wallet in self.suspicious)
        if not (every or said or events or known or odd):
            return Judged((), gone)
        keys = sorted(self._keys(chain, every, said, odd, events, known)) if keep_undo else []
        before = [(key, self.get(key)) for key in keys]
        ledger = self._ledger
        at = ledger.begin(chain, time, mine, said) if mine or said else max(time, ledger.clock.get(chain, time))
        seen = Seen(chain, number, at, ledger.balances, trust, names, ledger.first, events, known, odd, holding)
        findings: list[Finding] = []
        for guard in self._guards if events or known else ():
            its = [event for event in events if self._owner(chain, event.account) in guard.guarded]
            read = [reading for reading in known if self._owner(chain, reading.account) in guard.guarded]
            if its or read:
                findings += guard.guard(its, read, seen)
        for policy in self.policies:
            own = [flow for flow in every if flow.wallet in policy.wallets]
            if own or (odd and policy.id in self._suspects):
                findings += policy.judge(own, seen)
        ledger.add(chain, mine)
        undo = tuple((key, value) for key, value in before if self.get(key) != value)
        return Judged(tuple(findings), (*gone, *((key, self.get(key)) for key, _ in undo)), undo)

    def _owner(self, chain: str, account: str) -> str:
        owner = self._watchlist.wallet_at(chain, account)
        return owner.id if owner is not None else ""

    def _keys(
        self,
        chain: str,
        flows: Sequence[Flow],
        told: Told,
        shown: Sequence[Flow],
        events: Sequence[ControlEvent],
        readings: Sequence[Reading],
    ) -> set[bytes]:
        weighed = (flow for flow in flows if flow.wallet in self.wallets)
        places = {(flow.wallet, chain, flow.transfer.asset) for flow in weighed} | set(told)
        keys = {_Ledger.key(*place) for place in places} | {_Ledger.key(place[0], chain) for place in places}
        if places:
            keys.add(_Ledger.key("", chain))
        for policy in self.policies:
            keys |= policy.keys_for([flow for flow in flows if flow.wallet in policy.wallets], shown)
        for guard in self._guards if events or readings else ():
            keys |= guard.guard_keys(events, readings, chain)
        return keys

    def clear(self, wallet: str, chain: str, address: str) -> tuple[Delta, Delta]:
        """A false alarm about an address. Returns (what changed, how to undo it)."""
        changed: Delta = ()
        undo: Delta = ()
        for policy in self.policies:
            if isinstance(policy, Learns):
                now, before = policy.clear(wallet, chain, address)
                changed, undo = changed + now, undo + before
        return changed, undo

    # -- state ----------------------------------------------------------------------------------------------------

    def _home(self, key: bytes) -> Policy | _Ledger | None:
        if key.startswith(_PREFIX):
            return self._ledger
        return next((policy for policy in self.policies if key.startswith(policy.prefix)), None)

    def owns(self, key: bytes) -> bool:
        """Whether a state key belongs here."""
        return self._home(key) is not None

    def get(self, key: bytes) -> bytes | None:
        """Stored form of one record; None: there is none."""
        home = self._home(key)
        return home.get(key) if home is not None else None

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take a stored record over.

        What no wallet or rule of this configuration wants goes from the store with the next block: were the rule to
        come back later, its sums and balances would be wrong.
        """
        home = self._home(key)
        if home is not None:
            home.put(key, value)
            if value is not None and home.get(key) is None:
                self._stale.add(key)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Every record, sorted by key."""
        own = [(key, value) for key in self._ledger.names() if (value := self._ledger.get(key)) is not None]
        return sorted([*own, *(item for policy in self.policies for item in policy.dump())])
