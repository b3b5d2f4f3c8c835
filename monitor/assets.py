"""What assets are called: symbol and decimals by CAIP-19, for people; the engine never needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

from monitor.networks import NETWORKS, by_chain

__all__ = ["AssetInfo", "AssetNames"]


@dataclass(frozen=True, slots=True)
class AssetInfo:
    """``decimals`` None: not known, amounts are shown in base units."""

    symbol: str
    decimals: int | None


class AssetNames:
    """Names of assets: built-in native coins, and what the owner or the data says of others."""

    def __init__(self, known: Mapping[str, AssetInfo] | None = None) -> None:
        self._known = {network.asset: AssetInfo(network.symbol, network.decimals) for network in NETWORKS}
        self._known.update(known or {})

    def add(self, items: Iterable[tuple[str, AssetInfo]]) -> None:
        """Learn names; what is already known stays (data cannot rename what the owner named)."""
        for asset, info in items:
            self._known.setdefault(asset, info)

    def info(self, asset: str) -> AssetInfo:
        """The name of an asset, its shortened reference where nobody told one."""
        found = self._known.get(asset)
        if found is not None:
            return found
        chain, _, reference = asset.partition("/")
        network = by_chain(chain)
        if network is not None and network.asset == asset:
            return AssetInfo(network.symbol, network.decimals)
        name = reference.rpartition(":")[2]
        return AssetInfo(f"{name[:6]}…{name[-4:]}" if len(name) > 14 else name, None)

    def display(self, asset: str, value: int) -> str:
        """An amount for people.

        >>> AssetNames().display("nem:mainnet/slip44:43", 526_300_010_000_000)
        '526,300,010 XEM'
        """
        info = self.info(asset)
        if info.decimals is None:
            return f"{value:,} base units of {info.symbol}"
        with localcontext() as context:
            context.prec = 100
            amount = Decimal(value).scaleb(-info.decimals)
        text = f"{amount:,.{min(info.decimals, 8)}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return f"{text} {info.symbol}"
