"""The addresses of one wallet: single ones, lists, and descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain as chain_of
from pathlib import Path
from typing import Any

from monitor.config.chains import Chains, bad
from monitor.config.claims import Claims
from monitor.config.descriptors import read_derived
from monitor.config.file import AddressEntry, WalletEntry
from monitor.config.fleets import LONG_LIST, MAX_LISTED, Fleet, LongList, address_of
from monitor.config.lists import read_parts
from monitor.config.template import PLACEHOLDERS
from monitor.config.tree import Node
from monitor.config.types import ChainConfig
from monitor.derived import DerivedAddresses
from monitor.errors import Problem

__all__ = ["OwnAddresses"]

_LIST = re.compile(r"(?:(?P<chain>[^\s]+?):)?file:(?P<path>.+)")


class OwnAddresses:
    """Reads them. What another wallet has is a problem; long lists join the claims.

    Attributes
    ----------
    derived : those of descriptors
    """

    def __init__(self, chains: Chains, claims: Claims, problems: list[Problem], warnings: list[Problem]) -> None:
        self._chains, self._claims, self._problems, self._warnings = chains, claims, problems, warnings
        self.derived: list[DerivedAddresses] = []

    def read(self, entry: WalletEntry, node: Node, wallet: str) -> Iterator[tuple[str, str]]:
        """(CAIP-2 chain, canonical address) of each that is named one by one; ``wallet`` is how messages name it."""
        if node.is_empty("addresses"):
            self._problems.append(node.at("addresses").problem(f"{node.label}.addresses is empty"))
        written = node.at("addresses")
        items = written.value if isinstance(written.value, list) else [written]
        for item, each in zip(items, entry.addresses, strict=True):
            match = _LIST.fullmatch(each.descriptor) if isinstance(item.value, str) else None
            if match is not None:
                yield from self._listed(match, item, wallet)
            else:
                yield from self._single(each, item, wallet)

    def _single(self, entry: AddressEntry, item: Node, wallet: str) -> Iterator[tuple[str, str]]:
        """An address or a descriptor, as text or as a mapping."""
        from monitor.addresses.extended import refuse_private  # loads a library: only where it is needed

        is_plain = isinstance(item.value, str)
        place = item if is_plain else item.at("descriptor")
        try:
            read = read_derived(self._chains, entry.descriptor, entry.gap_limit, entry.used)
            if read is not None:
                self._take(*read, wallet, item.source.name, item.line, self._problems)
                return
            if not is_plain:
                refuse_private(entry.descriptor)
                raise ValueError("is no descriptor and no extended public key: write addresses as text")
            found = self._chains.address(entry.descriptor)
        except ValueError as error:
            self._problems.append(bad(place, error))
            return
        yield from self._claims.single(found, wallet, item.source.name, item.line, self._problems)
        self._check_placeholder(found, item)

    def _take(
        self, chain: ChainConfig, found: DerivedAddresses, wallet: str, file: str, line: int, problems: list[Problem]
    ) -> None:
        if self._claims.derived(chain, found, wallet, file, line, problems):
            self.derived.append(found)

    def _listed(self, match: re.Match[str], item: Node, wallet: str) -> Iterator[tuple[str, str]]:
        """The addresses of a file, where it is short; a long one joins the claims.

        Problems of a file beyond the first 20 are only counted.
        """
        path = item.source.folder / match["path"]
        chain = self._chains.get(match["chain"]) if match["chain"] else None
        if match["chain"] and chain is None:
            try:
                self._chains.split(item.value)
            except ValueError as error:
                self._problems.append(bad(item, error))
            return
        found: list[Problem] = []
        more = rows = 0
        try:
            parts = read_parts(path)
            first = []
            for part in parts:
                first.append(part)
                rows += part.height
                if rows > LONG_LIST:
                    more = self._long(path, chain, wallet, chain_of(first, parts), found)
                    break
            else:
                for number, text, name in chain_of(*(part.iter_rows() for part in first)):
                    yield from self._row(number, text, name, chain, wallet, path, found)
        except ValueError as error:
            self._problems.append(bad(item, error))
        else:
            if not rows:
                self._problems.append(item.problem(f"{item.label}: file {item.spoken(path)} has no addresses"))
        self._problems += found[:MAX_LISTED]
        more += max(0, len(found) - MAX_LISTED)
        if more:
            self._problems.append(item.problem(f"{more:,} more problems in {path}"))

    def _row(
        self, number: int, text: str, name: str, chain: ChainConfig | None, wallet: str, path: Path,
        problems: list[Problem],
    ) -> Iterator[tuple[str, str]]:
        """One row of a short list; ``name`` is its own chain (empty: not said), ``chain`` that of the whole list."""
        try:
            read = read_derived(self._chains, text, chain=self._chains.get(name) if name else chain)
            if read is not None:
                self._take(*read, wallet, str(path), number, problems)
                return
            address = address_of(self._chains, text, name, chain)
        except ValueError as error:
            problems.append(Problem(f"bad address: {error}", f"{path}:{number}"))
            return
        yield from self._claims.single(address, wallet, str(path), number, problems)

    def _long(
        self, path: Path, chain: ChainConfig | None, wallet: str, parts: Iterable[Any], problems: list[Problem]
    ) -> int:
        """Take a long list in; how many of its problems are only counted."""
        reader = LongList(path, chain, self._chains)
        sets = reader.read(parts)
        taken = []
        for on, members in sets.items():
            taken += self._claims.long(Fleet(wallet, self._chains.by_chain[on], members, path))
        room = max(0, MAX_LISTED - len(reader.problems))
        problems += [*reader.problems, *taken[:room]]
        return reader.wrong - len(reader.problems) + max(0, len(taken) - room)

    def _check_placeholder(self, found: tuple[ChainConfig, str], item: Node) -> None:
        if PLACEHOLDERS.get(found[0].network.name) == found[1]:
            self._warnings.append(
                item.problem(f"{item.label} is still the placeholder, which is nobody's wallet: put your address here")
            )
