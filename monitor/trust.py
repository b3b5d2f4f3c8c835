"""Trusted counterparties: payments that their owner expects, up to a ceiling and within a time window."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from enum import IntEnum

from monitor.model import Flow, Role, Trusted
from monitor.networks import by_chain, token_asset
from monitor.watchlist import Watchlist

__all__ = ["Trust", "TrustBook"]

_PREFIX = b"t\x1f"


class Trust(IntEnum):
    """How far an outflow is expected. Planned: an entry bounds its destination, its amount and both ends of its time.

    Only payments of cold wallets are told to be planned; elsewhere they are expected.
    """

    UNKNOWN = 0
    EXPECTED = 1
    PLANNED = 2


class TrustBook:
    """Decides whether an outflow is expected. Sums over windows are state: undone and stored with the block."""

    def __init__(self, watchlist: Watchlist) -> None:
        self._watchlist = watchlist
        self._entries: dict[tuple[str, str, str], list[tuple[int, Trusted]]] = {}
        for wallet in watchlist.wallets.values():
            for place, entry in enumerate(wallet.trusted):
                self._entries.setdefault((wallet.id, entry.chain, entry.address), []).append((place, entry))
        self._spent: dict[bytes, deque[tuple[int, int]]] = {}
        self._wraps: dict[str, tuple[str, frozenset[str]]] = {}  # chain: contract, and the two forms of its coin

    def listed(self, chain: str) -> frozenset[str]:
        """Every address of a chain that may be expected; to all others, sisters alone are."""
        known = frozenset(address for _, on, address in self._entries if on == chain)
        wrapped = self._wrapped(chain)[0]
        return known | {wrapped} if wrapped else known

    def _wrapped(self, chain: str) -> tuple[str, frozenset[str]]:
        """The contract that gives the chain's coin a token's form ("" for none), and the assets that it exchanges."""
        if chain not in self._wraps:
            network = by_chain(chain)
            wrapped = network.wrapped if network is not None else ""
            forms = {network.asset, token_asset(chain, wrapped)} if network is not None and wrapped else set()
            self._wraps[chain] = wrapped, frozenset(forms)
        return self._wraps[chain]

    def _keeps(self, flow: Flow, chain: str) -> bool:
        """Whether coins only change their form: those wrapped are the sender's, who gets them back one for one."""
        wrapped, forms = self._wrapped(chain)
        return bool(wrapped) and flow.counterparty == wrapped and flow.transfer.asset in forms

    def _is_sister(self, wallet: str, chain: str, address: str) -> bool:
        other = self._watchlist.wallet_at(chain, address)
        return other is not None and other.entity == self._watchlist.wallets[wallet].entity

    def expects(self, flow: Flow, at: int) -> bool:
        """Whether this outflow is expected; an amount within a window is used up by it.

        ``at`` is the wallet's clock, UTC seconds.
        """
        return self.answer(flow, at) is not Trust.UNKNOWN

    def answer(self, flow: Flow, at: int) -> Trust:
        """How far this outflow is expected; ask once a flow, since an amount within a window is used up by it."""
        chain = flow.transfer.block.chain
        cold = self._watchlist.wallets[flow.wallet].role is Role.COLD
        sister = self._is_sister(flow.wallet, chain, flow.counterparty)
        found = Trust.EXPECTED if sister or self._keeps(flow, chain) else Trust.UNKNOWN
        for place, entry in self._entries.get((flow.wallet, chain, flow.counterparty), ()):
            planned = cold and None not in (entry.max_value, entry.start, entry.end)
            if found and not planned:
                continue
            if self._covers(entry, flow, at) and self._within(place, entry, flow, at):
                if planned:
                    return Trust.PLANNED
                found = Trust.EXPECTED
        return found

    @staticmethod
    def _covers(entry: Trusted, flow: Flow, at: int) -> bool:
        return (
            (entry.asset is None or entry.asset == flow.transfer.asset)
            and (entry.start is None or at >= entry.start)
            and (entry.end is None or at < entry.end)
        )

    def _within(self, place: int, entry: Trusted, flow: Flow, at: int) -> bool:
        if entry.max_value is None:
            return True
        if entry.window is None:
            return flow.value <= entry.max_value
        key = self._key(flow.wallet, place, flow.transfer.asset)
        spent = self._spent.setdefault(key, deque())
        while spent and spent[0][0] <= at - entry.window:
            spent.popleft()
        if sum(value for _, value in spent) + flow.value > entry.max_value:
            return False
        spent.append((at, flow.value))
        return True

    @staticmethod
    def _key(wallet: str, place: int, asset: str) -> bytes:
        return _PREFIX + "\x1f".join((wallet, str(place), asset)).encode()

    def keys_for(self, flows: Iterable[Flow]) -> set[bytes]:
        """The state keys that `expects` may touch for these flows."""
        return {
            self._key(flow.wallet, place, flow.transfer.asset)
            for flow in flows
            for place, entry in self._entries.get((flow.wallet, flow.transfer.block.chain, flow.counterparty), ())
            if entry.window is not None
        }

    def get(self, key: bytes) -> bytes | None:
        """Stored form of one window (None: nothing spent in it)."""
        spent = self._spent.get(key)
        return json.dumps([[at, str(value)] for at, value in spent]).encode() if spent else None

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take a stored window over."""
        if value is None:
            self._spent.pop(key, None)
        else:
            self._spent[key] = deque((int(at), int(amount)) for at, amount in json.loads(value))

    @staticmethod
    def owns(key: bytes) -> bool:
        """Whether a state key belongs here."""
        return key.startswith(_PREFIX)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Every window, sorted by key."""
        return sorted((key, value) for key in self._spent if (value := self.get(key)) is not None)
