"""Names of tokens that nobody listed: asked from the tokens themselves, before the block that moves them is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from monitor.assets import AssetNames
from monitor.errors import ChainError

__all__ = ["Naming"]

log = logging.getLogger("heistwatch.watch")

Describe = Callable[[Sequence[str]], Awaitable[Mapping[str, tuple[str, int]]]]

PATIENCE = 0.5  # seconds that a block may wait for names
MOST = 20  # assets of one block
REST = 50  # blocks without questions after one that took too long: anybody may send worthless tokens


class Naming:
    """Tells `AssetNames` what tokens call themselves.

    Parameters
    ----------
    describe : (symbol, decimals) of CAIP-19 assets, as far as they answer
    """

    def __init__(self, names: AssetNames, describe: Describe) -> None:
        self._names, self._describe = names, describe
        self._rest = 0

    async def learn(self, assets: Iterable[str]) -> None:
        """Ask for those that have no name yet; names are for people, so a failure is no more than a missing name."""
        self._rest = max(0, self._rest - 1)
        wanted = [asset for asset in dict.fromkeys(assets) if not self._names.is_named(asset)][:MOST]
        if not wanted or self._rest:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._describe(wanted)
        except (TimeoutError, ChainError) as error:
            log.debug("names of tokens were not told: %s", error)
            self._rest = REST
            return
        for asset, (symbol, decimals) in found.items():
            self._names.tell(asset, symbol, decimals)
