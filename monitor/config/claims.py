"""Which wallet of a configuration has an address: one at most."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from monitor.config.fleets import MAX_LISTED, Fleet
from monitor.config.types import ChainConfig
from monitor.errors import Problem

if TYPE_CHECKING:
    from monitor.derived import DerivedAddresses

__all__ = ["Claims"]

Claim = tuple[str, str, int]
"""A wallet as messages name it, and where it names the address: file and line (0: not known)."""


class Claims:
    """Addresses taken so far, single ones and long lists."""

    def __init__(self) -> None:
        self.fleets: list[Fleet] = []
        self._singles: dict[tuple[str, str], Claim] = {}  # by (CAIP-2 chain, address)
        self._runs: dict[tuple[str, str], Claim] = {}  # of descriptors, by their first address
        self._kin: dict[tuple[str, str], Claim] = {}  # of single addresses of such a run, by the same

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether any wallet has this (CAIP-2 chain, address)."""
        return key in self._singles or any(
            fleet.chain.chain == key[0] and key[1] in fleet.members for fleet in self.fleets
        )

    def single(
        self, found: tuple[ChainConfig, str], wallet: str, file: str, line: int, problems: list[Problem]
    ) -> Iterator[tuple[str, str]]:
        """Take one address: its (chain, address), or a problem where another wallet has it."""
        key = (found[0].chain, found[1])
        first = self._singles.setdefault(key, (wallet, file, line))
        if first[0] == wallet:
            first = self._listed(key, wallet) or first
        if first[0] == wallet:
            yield key
        else:
            problems.append(_in_two(found, first, (wallet, file, line)))

    def derived(
        self, chain: ChainConfig, derived: DerivedAddresses, wallet: str, file: str, line: int, problems: list[Problem]
    ) -> bool:
        """Take the addresses of a descriptor; False, and one problem, where another wallet has any of them."""
        claim = (wallet, file, line)
        common: dict[str, Claim] = {}
        for address in derived.addresses:
            key = (chain.chain, address)
            first = self._singles.setdefault(key, claim)
            if first[0] == wallet:
                first = self._listed(key, wallet) or first
            if first[0] != wallet:
                common[address] = first
        for run in derived.runs:  # those of an address further on than is watched yet
            own, others = (self._runs, self._kin) if run.is_ranged else (self._kin, self._runs)
            name = run.at(0)[0] if run.is_ranged else run.kin
            other = others.get((chain.chain, name)) if name else None
            if other is not None and other[0] != wallet:
                common.setdefault(name if not run.is_ranged else run.at(0)[0], other)
            if name:
                own.setdefault((chain.chain, name), claim)
        if common:
            problems.append(_overlap(chain, derived, common, claim))
        return not common

    def _listed(self, key: tuple[str, str], wallet: str) -> Claim | None:
        """Another wallet whose long list has this address."""
        for fleet in self.fleets:
            if fleet.chain.chain == key[0] and fleet.wallet != wallet and key[1] in fleet.members:
                return fleet.wallet, str(fleet.path), next((row for row, _ in fleet.rows_of({key[1]})), 0)
        return None

    def long(self, fleet: Fleet) -> list[Problem]:
        """Take a long list; a problem for each of its addresses that another wallet has."""
        problems = [*self._with_singles(fleet), *self._with_lists(fleet)]
        self.fleets.append(fleet)
        return problems

    def _with_singles(self, fleet: Fleet) -> Iterator[Problem]:
        others = {
            address: claim
            for (chain, address), claim in self._singles.items()
            if chain == fleet.chain.chain and claim[0] != fleet.wallet and address in fleet.members
        }
        rows = {address: row for row, address in fleet.rows_of(others)} if others else {}
        for address in [*rows, *(address for address in others if address not in rows)]:
            second = (fleet.wallet, str(fleet.path), rows.get(address, 0))
            yield _in_two((fleet.chain, address), others[address], second)

    def _with_lists(self, fleet: Fleet) -> Iterator[Problem]:
        for other in self.fleets:
            if other.chain.chain != fleet.chain.chain or other.wallet == fleet.wallet:
                continue
            common = fleet.members.common(other.members)
            if not len(common):
                continue
            rows = {address: row for row, address in islice(fleet.rows_of(common), MAX_LISTED - 1)}
            first = {address: row for row, address in other.rows_of(rows)}
            for address, row in rows.items():
                owner = (other.wallet, str(other.path), first.get(address, 0))
                yield _in_two((fleet.chain, address), owner, (fleet.wallet, str(fleet.path), row))
            if len(common) > len(rows):
                count = f"{len(common) - len(rows):,} more addresses of {fleet.chain.name}"
                yield Problem(f"{count} are in two wallets: {other.wallet} and {fleet.wallet}", str(fleet.path))


def _overlap(chain: ChainConfig, derived: DerivedAddresses, common: dict[str, Claim], second: Claim) -> Problem:
    """The problem of a descriptor with addresses of another wallet."""
    (owner, at_file, at_line), (wallet, file, line) = next(iter(common.values())), second
    place = f"{at_file}:{at_line}" if at_line else at_file
    more = f" and {len(common) - 1:,} more" if len(common) > 1 else ""
    message = (
        f"{derived.shown} of {wallet} overlaps with wallet {owner} ({place}): "
        f"{chain.name}:{next(iter(common))}{more}"
    )
    return Problem(message, f"{file}:{line}" if line else file)


def _in_two(found: tuple[ChainConfig, str], first: Claim, second: Claim) -> Problem:
    """The problem of an address of two wallets."""
    (owner, at_file, at_line), (wallet, file, line) = first, second
    place = f"{at_file}:{at_line}" if at_line else at_file
    message = f"address {found[0].name}:{found[1]} is in two wallets: {owner} ({place}) and {wallet}"
    return Problem(message, f"{file}:{line}" if line else file)
