"""Definitions of mosaics, asked from nodes: decimal places for people, levies for what a transfer costs, supply."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chains.nem.mosaic import MOST, XEM, Definition, Levy, Name, mosaic_name, parse_definition
from chains.rpc import HttpPool, Refused
from monitor.errors import ChainUnavailable, DecodeError

__all__ = ["Definitions", "shown"]

REMEMBERED = 10_000  # definitions
UNKNOWN_SECONDS = 600.0  # until a mosaic that no node knew is asked for again
MOST_ASKED = 50  # assets of one question
MOST_PAGES = 20  # of a namespace that are looked through
PAGE = 100
LONGEST = 16  # characters of a name that is shown


class Definitions:
    """Asks each mosaic's definition once; what it says may change only while its creator owns all of it.

    Parameters
    ----------
    pool : the chain's endpoints
    chain : CAIP-2
    clock : monotonic seconds
    """

    def __init__(self, pool: HttpPool, chain: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool, self._chain, self._clock = pool, chain, clock
        self._known: dict[Name, Definition] = {}
        self._unknown: dict[Name, float] = {}  # since when

    def forget(self, name: Name) -> None:
        """A block defines this mosaic anew."""
        self._known.pop(name, None)
        self._unknown.pop(name, None)

    async def definition(self, name: Name) -> Definition | None:
        """The definition of a mosaic; None where no node tells one.

        Raises
        ------
        ChainUnavailable : ask again later
        """
        if (known := self._known.get(name)) is not None:
            return known
        since = self._unknown.get(name)
        if since is not None and self._clock() - since < UNKNOWN_SECONDS:
            return None
        found = await self._asked(name) or await self._paged(name)
        table: dict[Name, Any] = self._known if found is not None else self._unknown
        table[name] = found if found is not None else self._clock()
        while len(table) > REMEMBERED:
            del table[next(iter(table))]
        return found

    async def supply(self, name: Name) -> int | None:
        """How much of a mosaic there is now, in whole units; None where no node tells."""
        try:
            answer = await self._pool.get("mosaic/supply", {"mosaicId": ":".join(name)})
        except Refused:
            return None
        supply = answer.get("supply") if isinstance(answer, dict) else None
        return supply if type(supply) is int and 0 <= supply <= MOST else None

    async def levies(self, names: Iterable[Name]) -> dict[Name, Levy | None]:
        """Levies of mosaics, None for one without; those that no node knows are left out."""
        found = {name: await self.definition(name) for name in sorted(names)}
        return {name: definition.levy for name, definition in found.items() if definition is not None}

    async def describe(self, assets: Iterable[str]) -> Mapping[str, tuple[str, int]]:
        """(name, decimal places) of CAIP-19 assets, those without an answer left out; names are fit to be shown."""
        found: dict[str, tuple[str, int]] = {}
        wanted = [asset for asset in dict.fromkeys(assets) if asset.startswith(f"{self._chain}/")]
        for asset in wanted[:MOST_ASKED]:
            name = mosaic_name(asset)
            if name is None or name == XEM:
                continue
            definition = await self.definition(name)
            if definition is not None and (text := shown(name)):
                found[asset] = text, definition.divisibility
        return found

    async def _asked(self, name: Name) -> Definition | None:
        try:
            answer = await self._pool.get("mosaic/definition", {"mosaicId": ":".join(name)})
        except Refused:
            return None
        return _matching(name, answer)

    async def _paged(self, name: Name) -> Definition | None:
        """From the pages of its namespace, for nodes that do not answer for one mosaic."""
        query: dict[str, Any] = {"namespace": name[0], "pageSize": PAGE}
        for _ in range(MOST_PAGES):
            try:
                answer = await self._pool.get("namespace/mosaic/definition/page", query)
            except Refused:
                return None
            entries = answer.get("data") if isinstance(answer, dict) else None
            if not isinstance(entries, list) or not entries:
                return None
            last: Any = None
            for entry in entries:
                if not isinstance(entry, dict):
                    raise ChainUnavailable(f"{self._pool.endpoint}: a page of definitions cannot be understood")
                if (found := _matching(name, entry.get("mosaic"))) is not None:
                    return found
                last = (entry.get("meta") or {}).get("id")
            if type(last) is not int or last >= query.get("id", last + 1):
                return None
            query["id"] = last
        return None


def _matching(name: Name, raw: Any) -> Definition | None:
    """The definition in an answer, where it is this mosaic's."""
    try:
        found = parse_definition(raw)
    except DecodeError:
        return None
    return found if found.name == name else None


def shown(name: Name) -> str:
    """A mosaic's name as people read it: NIS1 allows lower-case letters, digits, quotes and a few signs alone.

    >>> shown(("dim", "coin")), shown(("acme", "a\u202eb"))
    ('coin', 'ab')
    """
    letters = (c for c in name[1] if c.isascii() and (c.isalnum() or c in "-_.'"))
    return "".join(letters)[:LONGEST]
