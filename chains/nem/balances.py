"""Balances of NEM accounts: at the head from any node, in the past where a node keeps them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from chains.nem.decode import identity
from chains.nem.mosaic import MOST, XEM, Name, mosaic_name
from chains.nem.nodes import NemNodes
from chains.rpc import Refused
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = ["Balances"]

log = logging.getLogger(__name__)

Wanted = tuple[str, str]  # address and CAIP-19 asset
HISTORICAL = "account/historical/get"


class Balances:
    """Asks for balances after a block.

    NIS1 knows them at its head; XEM of the past where a node has the optional feature ``HISTORICAL_ACCOUNT_DATA``.
    """

    def __init__(self, nodes: NemNodes, network: Network) -> None:
        self._nodes, self._network = nodes, network
        self._without: set[str] = set()  # endpoints that keep no past balances

    async def after(self, wanted: Sequence[Wanted], at: BlockRef) -> Mapping[Wanted, int | None]:
        """See `chains.base.Chain.balances`: None where nothing is known, or ``at`` is of another branch."""
        unknown: dict[Wanted, int | None] = dict.fromkeys(wanted)
        if not wanted:
            return unknown
        height = await self._height()
        if height is None or height < at.number:
            return unknown
        if height == at.number:
            found = await self._now(unknown)
            if await self._height() == at.number:
                return found if await self._is_ours(at) else unknown
        found = await self._then(unknown, at.number)
        known = any(value is not None for value in found.values())
        return found if known and await self._is_ours(at) else unknown

    async def _is_ours(self, at: BlockRef) -> bool:
        return identity(await self._nodes.at(at.number)) == at.hash

    async def _now(self, wanted: Mapping[Wanted, Any]) -> dict[Wanted, int | None]:
        found: dict[Wanted, int | None] = dict.fromkeys(wanted)
        owned: dict[str, dict[Name, int | None] | None] = {}
        for address, asset in found:
            if asset == self._network.asset:
                found[address, asset] = await self._xem(address)
            elif asset.startswith(f"{self._network.chain}/") and (name := mosaic_name(asset)) is not None:
                if address not in owned:
                    owned[address] = await self._mosaics(address)
                mosaics = owned[address]
                found[address, asset] = None if mosaics is None else mosaics.get(name, 0)
        return found

    async def _then(self, wanted: Mapping[Wanted, Any], number: int) -> dict[Wanted, int | None]:
        """XEM after a past block."""
        found: dict[Wanted, int | None] = dict.fromkeys(wanted)
        if self._without.issuperset(self._nodes.pool.names):
            return found
        for address, asset in found:
            if asset == self._network.asset:
                query = {"address": address, "startHeight": number, "endHeight": number, "increment": 1}
                try:
                    answer = await self._nodes.pool.get(HISTORICAL, query)
                except Refused:
                    log.info("%s: no node keeps balances of the past", self._nodes.spec.name)
                    self._without.update(self._nodes.pool.names)
                    break
                found[address, asset] = _historical(answer, address, number)
        return found

    async def _height(self) -> int | None:
        answer = await self._nodes.pool.get("chain/height")
        height = answer.get("height") if isinstance(answer, dict) else None
        return height if type(height) is int else None

    async def _xem(self, address: str) -> int | None:
        answer = await self._nodes.pool.get("account/get", {"address": address})
        try:
            return _amount(answer["account"]["balance"])
        except (KeyError, TypeError):
            return None

    async def _mosaics(self, address: str) -> dict[Name, int | None] | None:
        answer = await self._nodes.pool.get("account/mosaic/owned", {"address": address})
        try:
            return {
                (m["mosaicId"]["namespaceId"], m["mosaicId"]["name"]): _amount(m["quantity"])
                for m in answer["data"]
                if (m["mosaicId"]["namespaceId"], m["mosaicId"]["name"]) != XEM
            }
        except (KeyError, TypeError):
            return None


def _historical(answer: Any, address: str, number: int) -> int | None:
    try:
        (entry,) = (one for one in answer["data"] if one["height"] == number and one["address"] == address)
        return _amount(entry["balance"])
    except (KeyError, TypeError, ValueError):
        return None


def _amount(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
