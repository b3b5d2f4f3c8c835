"""The watch list: which address belongs to which wallet, and transfers as flows of watched wallets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain as chain_of
from itertools import groupby
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.addresses.compact import AddressSet, WatchedAddresses
from monitor.coin_flows import utxo_flows
from monitor.derived import DerivedAddresses, DerivedBook
from monitor.model import Block, Direction, Flow, Transfer, TransferKind, Wallet
from monitor.texts.numbers import Numbers

__all__ = ["LURES", "Watch", "Watchlist"]

LURES = (TransferKind.NATIVE, TransferKind.TOKEN)
"""What may arrive without value, to show an address: never real to a wallet."""


class Watch(Protocol):
    """The watched addresses of a chain: a dict, or more than fits into one.

    Where some are derived it may grow, and has ``used(address)``: to note that an address was paid; True where more are
    watched from then on. `len` tells one state of it from the next.
    """

    def __contains__(self, address: object, /) -> bool:
        """Whether it is watched."""

    def __len__(self) -> int:
        """How many are."""

    def get(self, address: str, /) -> Wallet | None:
        """Whose it is."""


class _Growing(dict[str, Wallet]):
    """Single addresses of one chain, those of descriptors among them, as a `Watch`."""

    def __init__(self, single: Mapping[str, Wallet], derived: Sequence[tuple[DerivedAddresses, Wallet]]) -> None:
        super().__init__(single)
        self._derived = [each for each, _ in derived]
        self._owners = {id(each): wallet for each, wallet in derived}
        for each, _ in derived:
            each.follow(self)  # first: another thread may be using it
            self.grown(each, each.addresses)

    def grown(self, derived: DerivedAddresses, addresses: Sequence[str]) -> None:
        """Take addresses in; what another wallet has stays with it."""
        for address in addresses:
            self.setdefault(address, self._owners[id(derived)])

    def used(self, address: str) -> bool:
        """Note that an address was paid; whether more are watched from now on."""
        if address not in self:
            return False
        grown = [each.use(address) for each in self._derived]
        return any(grown)


class _Long:
    """Single addresses and long lists of one chain, as a `Watch`."""

    def __init__(self, single: Mapping[str, Wallet], lists: Sequence[tuple[AddressSet, Wallet]]) -> None:
        self._single, self._lists = single, lists

    @property
    def single(self) -> Mapping[str, Wallet]:
        """Those that are named one by one, or come from descriptors."""
        return self._single

    def __contains__(self, address: object) -> bool:
        return address in self._single or any(address in members for members, _ in self._lists)

    def __len__(self) -> int:
        return len(self._single) + sum(len(members) for members, _ in self._lists)

    def among(self, addresses: Collection[str]) -> set[str]:
        """Those of many addresses that are watched: faster than one look-up after another."""
        asked = list(addresses)
        found = {address for address in asked if address in self._single}
        column = pl.Series(asked, dtype=pl.String)
        for members, _ in self._lists:
            found |= {asked[n] for n in np.flatnonzero(members.contains(column))}
        return found

    def used(self, address: str) -> bool:
        """See `Watch`."""
        return isinstance(self._single, _Growing) and self._single.used(address)

    def get(self, address: str) -> Wallet | None:
        """Whose it is."""
        found = self._single.get(address)
        if found is None:
            found = next((wallet for members, wallet in self._lists if address in members), None)
        return found


class Watchlist:
    """Wallets by address.

    Parameters
    ----------
    wallets : wallets with canonical addresses; an address belongs to one wallet at most

    Attributes
    ----------
    derived : what of the use of derived addresses is kept over restarts
    """

    def __init__(self, wallets: Iterable[Wallet]) -> None:
        self.wallets = {wallet.id: wallet for wallet in wallets}
        self._single: dict[str, dict[str, Wallet]] = {}
        self._lists: dict[str, list[tuple[AddressSet, Wallet]]] = {}
        self._chains_of: dict[str, tuple[str, ...]] = {}
        self._numbers: dict[str, tuple[tuple[int, dict[str, int]], Numbers]] = {}
        for wallet in self.wallets.values():
            for chain, address in wallet.addresses:
                self._single.setdefault(chain, {})[address] = wallet
            for chain, members in wallet.fleets:
                self._lists.setdefault(chain, []).append((members, wallet))
            self._chains_of[wallet.id] = wallet.chains
        derived: dict[str, list[tuple[DerivedAddresses, Wallet]]] = {}
        for wallet in self.wallets.values():
            for each in wallet.derived:
                derived.setdefault(each.chain, []).append((each, wallet))
        for chain, those in derived.items():
            self._single[chain] = _Growing(self._single.get(chain, {}), those)
        self.derived = DerivedBook(each for those in derived.values() for each, _ in those)
        self._by_chain: dict[str, Watch] = dict(self._single)  # a plain dict wherever there is no long list
        for chain, lists in self._lists.items():
            self._by_chain[chain] = _Long(self._single.get(chain, {}), lists)

    @property
    def chains(self) -> tuple[str, ...]:
        """Chains with a watched address."""
        return tuple(self._by_chain)

    def watch(self, chain: str) -> Watch:
        """Watched addresses of a chain: answers ``address in ...``."""
        return self._by_chain.get(chain, {})

    def watched(self, chain: str) -> WatchedAddresses:
        """Watched addresses of a chain, for whole columns."""
        lists = tuple(members for members, _ in self._lists.get(chain, ()))
        return WatchedAddresses(frozenset(self._single.get(chain, ())), lists)

    def wallet_at(self, chain: str, address: str) -> Wallet | None:
        """The wallet that an address belongs to."""
        return self.watch(chain).get(address)

    def owners(self, chain: str, column: pl.Series, places: Mapping[str, int]) -> NDArray[np.int32]:
        """The place of each address's wallet, -1 where it has none: shape (n,).

        Parameters
        ----------
        places : number of each wallet by its id
        """
        found = self._numbered(chain, places).of(column)
        for members, wallet in self._lists.get(chain, ()):
            found = np.where((found < 0) & members.contains(column), np.int32(places[wallet.id]), found)
        return found

    def _numbered(self, chain: str, places: Mapping[str, int]) -> Numbers:
        """The single addresses of a chain with the place of their wallet; made anew where more came or places moved."""
        single = self._single.get(chain, {})
        of = (len(single), dict(places))
        held = self._numbers.get(chain)
        if held is None or held[0] != of:
            held = of, Numbers(list(single), [places[wallet.id] for wallet in single.values()])
            self._numbers[chain] = held
        return held[1]

    def chains_of(self, wallet: str) -> tuple[str, ...]:
        """Chains on which a wallet has an address."""
        return self._chains_of[wallet]

    def has_long_list(self, wallet: str, chain: str) -> bool:
        """Whether a wallet has more addresses on a chain than can be asked about one by one."""
        return any(on == chain for on, _ in self.wallets[wallet].fleets)

    def addresses(self, wallet: str, chain: str) -> tuple[str, ...]:
        """A wallet's addresses on one chain by now, those of long lists apart."""
        owner = self.wallets[wallet]
        named = tuple(address for on, address in owner.addresses if on == chain)
        derived = [each.addresses for each in owner.derived if each.chain == chain]
        return tuple(dict.fromkeys(chain_of(named, *derived))) if derived else named

    def accounts(self, chain: str) -> tuple[str, ...]:
        """Watched addresses of a chain that are named one by one, and derived ones by now; long lists apart."""
        return tuple(self._single.get(chain, ()))

    def budget(self, wallet: str, chain: str) -> float:
        """False alarms a 30 days that a wallet may have on one of its chains: an equal part of its budget."""
        return self.wallets[wallet].budget / max(1, len(self._chains_of[wallet]))

    def flows(self, block: Block) -> list[Flow]:
        """The flows of a block, in chain order; a transfer between two watched wallets is two flows."""
        watched = self.watch(block.ref.chain)
        found: list[Flow] = []
        ordered = sorted(block.transfers, key=lambda transfer: (transfer.tx.index, transfer.index))
        if block.ref.chain.startswith("bip122:"):
            for _, group in groupby(ordered, key=lambda transfer: transfer.tx.hash):
                found.extend(utxo_flows(list(group), watched, block.timestamp))
        else:
            for transfer in ordered:
                found.extend(account_flows(transfer, watched, block.timestamp))
        return found


def account_flows(transfer: Transfer, watched: Watch, timestamp: int) -> list[Flow]:
    """Flows of one transfer of an account chain."""
    sender = watched.get(transfer.from_addresses[0]) if transfer.from_addresses else None
    receiver = watched.get(transfer.to_address) if transfer.to_address else None
    if sender is not None and sender is receiver:
        return [Flow(transfer, sender.id, Direction.INTERNAL, transfer.to_address, transfer.value, timestamp)]
    flows = []
    if sender is not None:
        flows.append(Flow(transfer, sender.id, Direction.OUT, transfer.to_address, transfer.value, timestamp))
    if receiver is not None and (transfer.value or transfer.kind in LURES):
        origin = transfer.from_addresses[0] if transfer.from_addresses else ""
        flows.append(Flow(transfer, receiver.id, Direction.IN, origin, transfer.value, timestamp))
    return flows
