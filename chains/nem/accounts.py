"""Which blocks touch a few accounts, from what a node lists of each account: far fewer requests than all blocks.

A node lists an account's transactions newest first, in pages, each after the ``id`` of the last one before. Those ids
are the node's own, so a view belongs to one endpoint; where another one has to answer, it begins anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains.rpc import HttpPool
from monitor.errors import ChainInconsistent

__all__ = ["AccountViews", "TooBusy"]

LISTED = "account/transfers/all"
PAGE = 100  # that are asked for; older nodes give 25 at a time
FIRST_PAGES = 100  # beside those that the blocks pay for


class TooBusy(Exception):
    """The accounts have so many transactions that reading the blocks costs less."""


@dataclass(slots=True)
class _View:
    """What one endpoint lists of one account, so far: (height, signature), newest first."""

    entries: list[tuple[int, str]] = field(default_factory=list)
    last_id: int | None = None
    ended: bool = False

    @property
    def reaches(self) -> int:
        """The lowest height of which everything may be missing still."""
        return 0 if self.ended else self.entries[-1][0] if self.entries else 1 << 62


class AccountViews:
    """The transactions of accounts, read as far back as they are needed.

    Parameters
    ----------
    pool : the chain's endpoints
    accounts : canonical addresses
    take : awaited before each request
    """

    def __init__(self, pool: HttpPool, accounts: Sequence[str], take: Callable[[], Awaitable[None]]) -> None:
        self._pool, self.accounts, self._take = pool, tuple(accounts), take
        self._endpoint = ""
        self._views: dict[str, _View] = {}
        self._pages = self._blocks = 0

    def forget(self) -> None:
        """Begin anew: the chain was rewritten, or the endpoint contradicts itself."""
        self._views, self._endpoint = {}, ""

    async def between(self, start: int, end: int) -> dict[int, dict[str, set[str]]]:
        """Accounts by signature of each transaction in blocks ``start`` to ``end`` (exclusive), by height.

        Raises
        ------
        TooBusy : reading all the blocks costs less
        ChainUnavailable, ChainInconsistent : ask again later
        """
        self._blocks += end - start
        found: dict[int, dict[str, set[str]]] = {}
        if self._endpoint not in self._pool.names[:1]:
            self.forget()
            self._endpoint = self._pool.names[0]
        views = {account: self._views.setdefault(account, _View()) for account in self.accounts}
        for account, view in views.items():
            while view.reaches >= start:
                await self._page(account, view)
            for height, signature in view.entries:
                if start <= height < end:
                    found.setdefault(height, {}).setdefault(signature, set()).add(account)
        return found

    async def _page(self, account: str, view: _View) -> None:
        """The next page of an account."""
        if self._pages > FIRST_PAGES + 2 * len(self.accounts) + self._blocks // 2:
            raise TooBusy
        self._pages += 1
        await self._take()
        query: dict[str, Any] = {"address": account, "pageSize": PAGE}
        if view.last_id is not None:
            query["id"] = view.last_id
        answer = await self._pool.only(self._endpoint).get(LISTED, query)
        try:
            rows = [
                (entry["meta"]["height"], entry["transaction"]["signature"], entry["meta"]["id"])
                for entry in answer["data"]
            ]
        except (KeyError, TypeError):
            raise ChainInconsistent(f"{self._endpoint}: the answer to {LISTED} cannot be understood") from None
        height, last = (view.entries[-1][0] if view.entries else 1 << 62), view.last_id
        for row in rows:
            if type(row[0]) is not int or type(row[2]) is not int or not isinstance(row[1], str):
                raise ChainInconsistent(f"{self._endpoint}: the answer to {LISTED} cannot be understood")
            if row[0] > height or (last is not None and row[2] >= last):
                raise ChainInconsistent(f"{self._endpoint}: transactions of an account are not in order")
            height, last = row[0], row[2]
            view.entries.append((height, row[1]))
        view.last_id, view.ended = last, not rows
