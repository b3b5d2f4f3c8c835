"""Long lists of addresses: read part by part into compact sets, so that ten million fit into little memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config.chains import Chains
from monitor.config.lists import read_parts
from monitor.config.types import ChainConfig
from monitor.errors import Problem

if TYPE_CHECKING:
    import polars

    from monitor.addresses.compact import AddressSet, AddressSetBuilder

__all__ = ["LONG_LIST", "MAX_LISTED", "Fleet", "LongList", "address_of"]

LONG_LIST = 10_000  # rows; a longer list becomes a compact set
MAX_LISTED = 20  # problems of one list of addresses; more are counted
_PLAIN = 42  # characters of an EVM address
_ANY_EVM = "0x" + "1" * 40


@dataclass(frozen=True, slots=True)
class Fleet:
    """The addresses of one long list on one chain; ``wallet`` is the owner as messages name it."""

    wallet: str
    chain: ChainConfig
    members: AddressSet
    path: Path

    def rows_of(self, wanted: Collection[str] | AddressSet) -> Iterator[tuple[int, str]]:
        """(row, address) of members that are in ``wanted``, each once: reads the list again."""
        import polars as pl

        from monitor.addresses.compact import AddressSet

        mask = wanted if isinstance(wanted, AddressSet) else AddressSet.of(sorted(wanted))
        told: set[str] = set()
        for part in read_parts(self.path):
            plain = part["text"].str.split(":").list.last()
            for form in (plain, plain.str.to_lowercase(), plain.str.replace_all("-", "", literal=True)):
                named = part.select("row", form.alias("address")).filter(pl.Series(mask.contains(form)))
                for row, address in named.iter_rows():
                    if address not in told and address in self.members:
                        told.add(address)
                        yield row, address


def address_of(chains: Chains, text: str, name: str, chain: ChainConfig | None) -> tuple[ChainConfig, str]:
    """Chain and canonical address of one row of a list; ValueError where it is none."""
    if name:
        chain = chains.get(name)
        if chain is None:
            chains.split(f"{name}:")  # raises, with a hint
    return chains.address(text, chain)


@dataclass
class LongList:
    """Reads one list.

    Attributes
    ----------
    path, chain : the list, and the chain of rows that name none
    problems : the first `MAX_LISTED` rows that are wrong
    wrong : how many are
    """

    path: Path
    chain: ChainConfig | None
    chains: Chains
    problems: list[Problem] = field(default_factory=list)
    wrong: int = 0
    _builders: dict[str, AddressSetBuilder] = field(default_factory=dict)
    _fast: dict[tuple[str, str], ChainConfig | None] = field(default_factory=dict)

    def read(self, parts: Iterable[polars.DataFrame]) -> dict[str, AddressSet]:
        """Sets by chain (CAIP-2). ValueError where the file cannot be read."""
        for part in parts:
            self._add(part)
        sets = {chain: self._builders.pop(chain).build() for chain in sorted(self._builders)}
        return {chain: members for chain, members in sets.items() if len(members)}

    def _add(self, part: polars.DataFrame) -> None:
        """Plain EVM addresses at once; the others one by one, which also words what is wrong."""
        import polars as pl

        before = pl.col("text").str.head(-_PLAIN)
        before = pl.when(before.str.ends_with(":")).then(before).otherwise(pl.lit(""))
        part = part.with_columns(before=before)
        rest = []
        for (name, prefix), group in part.group_by("chain", "before", maintain_order=True):
            chain = self._evm(str(name), str(prefix))
            if chain is not None:
                texts = group["text"].str.slice(len(str(prefix)))
                good = pl.Series(self._builder(chain.chain).add_evm(texts))
                group = group.filter(~good)
            rest.append(group)
        left = pl.concat(rest)
        if left.height:
            self._carefully(left.sort("row"))

    def _carefully(self, part: polars.DataFrame) -> None:
        import polars as pl

        found: dict[str, list[str]] = {}
        for row, text, name in part.select("row", "text", "chain").iter_rows():
            try:
                chain, address = address_of(self.chains, text, name, self.chain)
            except ValueError as error:
                self.wrong += 1
                if len(self.problems) < MAX_LISTED:
                    self.problems.append(Problem(f"bad address: {error}", f"{self.path}:{row}"))
                continue
            found.setdefault(chain.chain, []).append(address)
        for on, addresses in found.items():
            self._builder(on).add(pl.Series(addresses, dtype=pl.String))

    def _evm(self, name: str, prefix: str) -> ChainConfig | None:
        """The EVM chain of rows with this chain column and this prefix; None: not that simple."""
        if (name, prefix) not in self._fast:
            try:
                chain, _ = address_of(self.chains, prefix + _ANY_EVM, name, self.chain)
            except ValueError:
                chain = None
            self._fast[name, prefix] = chain if chain is not None and chain.kind == "evm" else None
        return self._fast[name, prefix]

    def _builder(self, chain: str) -> AddressSetBuilder:
        from monitor.addresses.compact import AddressSetBuilder  # compiles code: only where it is needed

        return self._builders.setdefault(chain, AddressSetBuilder())
