"""Balances at heights: asked of the chain where it tells them, else told at the end and carried back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from monitor.engine import Engine
from monitor.errors import ChainError, ReorgTooDeep
from monitor.model import BlockRef

__all__ = ["BalanceSource", "Row", "Teller"]

log = logging.getLogger("heistwatch.fetch")

Row = tuple[str, str, int, int]
"""(address, CAIP-19 asset, block after which it holds, base units)"""

ASKED = 4  # times that a failed question is put again
TOGETHER = 100  # questions that are put at once
AT_HEAD = frozenset({"bitcoin"})  # families whose sources know coins at their newest block alone


class BalanceSource(Protocol):
    """What tells the head and balances: see `chains.base.Chain`."""

    async def head(self) -> BlockRef: ...

    async def balances(
        self, wanted: Sequence[tuple[str, str]], at: BlockRef
    ) -> Mapping[tuple[str, str], int | None]: ...


class Teller:
    """Asks for balances of whole wallets: a sum that lacks an address would be a wrong balance.

    Parameters
    ----------
    engine : whose watch list it is
    chain : CAIP-2
    source : tells balances
    take : waits until so many more requests may be sent
    sleep : pause
    """

    def __init__(
        self,
        engine: Engine,
        chain: str,
        source: BalanceSource,
        take: Callable[[int], Awaitable[Any]],
        sleep: Callable[[float], Awaitable[Any]],
    ) -> None:
        self._watchlist, self._chain, self._source = engine.watchlist, chain, source
        self._take, self._sleep = take, sleep

    @property
    def wallets(self) -> list[str]:
        """Those with addresses on the chain that can be asked about one by one, sorted."""
        return [
            wallet
            for wallet in sorted(self._watchlist.wallets)
            if self._watchlist.addresses(wallet, self._chain)
            and not self._watchlist.has_long_list(wallet, self._chain)
        ]

    def addresses(self, wallet: str) -> tuple[str, ...]:
        """Of a wallet on the chain, by now."""
        return self._watchlist.addresses(wallet, self._chain)

    def questions(self, pairs: Iterable[tuple[str, str]]) -> int:
        """How many questions balances of (wallet, asset) come to."""
        return sum(len(self.addresses(wallet)) for wallet, _ in pairs)

    async def head(self) -> BlockRef:
        """The newest block."""
        await self._take(1)
        return await self._source.head()

    async def at(self, pairs: Sequence[tuple[str, str]], ref: BlockRef) -> tuple[list[Row], int]:
        """Balances of (wallet, asset) after a block.

        Returns
        -------
        (rows, untold) : what was told, of every address of a wallet; how many pairs were not
        """
        wanted = list(dict.fromkeys((address, asset) for w, asset in pairs for address in self.addresses(w)))
        answers: dict[tuple[str, str], int] = {}
        for start in range(0, len(wanted), TOGETHER):
            answers |= await self._asked(wanted[start : start + TOGETHER], ref)
        rows: list[Row] = []
        untold = 0
        for wallet, asset in dict.fromkeys(pairs):
            addresses = self.addresses(wallet)
            if all((address, asset) in answers for address in addresses):
                rows += [(address, asset, ref.number, answers[address, asset]) for address in addresses]
            else:
                untold += 1
        return rows, untold

    async def _asked(self, wanted: Sequence[tuple[str, str]], ref: BlockRef) -> dict[tuple[str, str], int]:
        for attempt in range(ASKED):
            await self._take(len(wanted))
            try:
                told = await self._source.balances(wanted, ref)
            except ReorgTooDeep:
                raise
            except ChainError as error:
                log.debug("balances after block %d: %s", ref.number, error)
                if attempt + 1 < ASKED:
                    await self._sleep(0.2 * 4**attempt)
                continue
            return {item: value for item, value in told.items() if value is not None}
        return {}
