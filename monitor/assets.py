"""What assets are called: symbol and decimals by CAIP-19, for people; the engine never needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitor.amounts import AssetInfo, display
from monitor.networks import NETWORKS, by_chain

__all__ = ["AssetInfo", "AssetNames"]


class AssetNames:
    """Names of assets: built-in native coins, and what the owner or the data says of others."""

    def __init__(self, known: Mapping[str, AssetInfo] | None = None) -> None:
        self._known = {n.asset: AssetInfo(n.asset, n.symbol, n.decimals) for n in NETWORKS}
        self._known.update(known or {})

    def add(self, items: Iterable[AssetInfo]) -> None:
        """Learn names; what is already known stays (data cannot rename what the owner named)."""
        for info in items:
            self._known.setdefault(info.asset, info)

    def info(self, asset: str) -> AssetInfo:
        """The name of an asset, its shortened reference where nobody told one."""
        found = self._known.get(asset)
        if found is not None:
            return found
        chain, _, reference = asset.partition("/")
        network = by_chain(chain)
        if network is not None and network.asset == asset:
            return AssetInfo(asset, network.symbol, network.decimals)
        name = reference.rpartition(":")[2]
        return AssetInfo(asset, f"{name[:6]}…{name[-4:]}" if len(name) > 14 else name, None)

    def display(self, asset: str, value: int) -> str:
        """An amount (base units) for people.

        >>> AssetNames().display("nem:mainnet/slip44:43", 526_300_010_000_000)
        '526,300,010 XEM'
        """
        info = self.info(asset)
        if info.decimals is None:
            return f"{display(value, None, '')} of {info.symbol}"
        return display(value, info.decimals, info.symbol)
