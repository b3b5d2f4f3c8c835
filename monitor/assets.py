"""What assets are called: symbol and decimals by CAIP-19, for people; the engine never needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitor.amounts import AssetInfo, display
from monitor.lookalike import is_counterfeit
from monitor.networks import NETWORKS, by_chain

__all__ = ["AssetInfo", "AssetNames"]


class AssetNames:
    """Names of assets: built-in native coins, and what the owner or the data says of others."""

    def __init__(self, known: Mapping[str, AssetInfo] | None = None) -> None:
        self._known = {n.asset: AssetInfo(n.asset, n.symbol, n.decimals) for n in NETWORKS}
        self._known.update(known or {})
        self._unverified: dict[str, AssetInfo] = {}  # what tokens call themselves
        self._counterfeit: set[str] = set()  # those that call themselves like a known one

    def add(self, items: Iterable[AssetInfo]) -> None:
        """Learn names; what is already known stays (data cannot rename what the owner named)."""
        for info in items:
            self._known.setdefault(info.asset, info)

    def tell(self, asset: str, symbol: str, decimals: int) -> None:
        """What a token calls itself: anybody may call one USDT, so it is shown with its contract and as unverified."""
        reference = asset.rpartition("/")[2].rpartition(":")[2]
        fake = is_counterfeit(symbol, asset, {known.asset: known.symbol for known in self._known.values()})
        (self._counterfeit.add if fake else self._counterfeit.discard)(asset)
        how = "counterfeit" if fake else "unverified"
        self._unverified[asset] = AssetInfo(asset, f"{symbol} ({how} {_short(reference)})", decimals)

    def is_counterfeit(self, asset: str) -> bool:
        """Whether a token calls itself, or what looks, like one that the owner or the network named."""
        return asset in self._counterfeit

    def is_named(self, asset: str) -> bool:
        """Whether its decimals are known, from whomever."""
        return self.info(asset).decimals is not None

    def info(self, asset: str) -> AssetInfo:
        """The name of an asset, its shortened reference where nobody told one."""
        found = self._known.get(asset) or self._unverified.get(asset)
        if found is not None:
            return found
        chain, _, reference = asset.partition("/")
        network = by_chain(chain)
        if network is not None and network.asset == asset:
            return AssetInfo(asset, network.symbol, network.decimals)
        return AssetInfo(asset, _short(reference.rpartition(":")[2]), None)

    def display(self, asset: str, value: int) -> str:
        """An amount (base units) for people.

        >>> AssetNames().display("nem:mainnet/slip44:43", 526_300_010_000_000)
        '526,300,010 XEM'
        """
        info = self.info(asset)
        if info.decimals is None:
            return f"{display(value, None, '')} of {info.symbol}"
        return display(value, info.decimals, info.symbol)


def _short(reference: str) -> str:
    return f"{reference[:6]}…{reference[-4:]}" if len(reference) > 14 else reference
