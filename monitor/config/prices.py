"""Where prices come from: names of assets and feeds resolved, what a source needs and lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from monitor.config.chains import Chains, bad
from monitor.config.file import PricesEntry
from monitor.config.problems import shown
from monitor.config.tree import Node
from monitor.config.types import Config, PricesConfig, seal
from monitor.errors import Problem

__all__ = ["LIVE_AGE", "TABLE_AGE", "build_prices", "table_resolver"]

LIVE_AGE = 3600  # seconds for which a price that was read holds
TABLE_AGE = 2 * 86400  # the same of a table, which most often has one a day
_NEEDS = {"file": "path", "http": "url", "chainlink": "feeds"}


def build_prices(entry: PricesEntry, node: Node, chains: Chains, problems: list[Problem]) -> PricesConfig:
    """The prices of a configuration; what is wrong joins ``problems``."""
    need = _NEEDS.get(entry.source)
    if need is not None and not getattr(entry, need) and need not in node.lost:
        problems.append(node.problem(f"prices.{need} is missing: source {entry.source} needs it"))
    if entry.source == "http" and not entry.ids and "ids" not in node.lost:
        problems.append(node.problem("prices.ids is missing: source http needs the service's id of each asset"))
    path = entry.path and str(node.at("path").source.folder.absolute() / entry.path)
    return PricesConfig(
        source=entry.source,
        path=path,
        url=entry.url,
        feeds=tuple(_feeds(entry.feeds, node, chains, problems)),
        ids=dict(_ids(entry.ids, node, chains, problems)),
        pick=entry.pick,
        every=entry.every,
        max_age=entry.max_age or (TABLE_AGE if entry.source == "file" else LIVE_AGE),
        options=seal(entry.options),
    )


def priced_assets(name: str, chains: Chains) -> list[str]:
    """CAIP-19 of what a name stands for: CAIP-19 itself, ``chain:asset``, or a symbol on every chain that has it.

    Raises
    ------
    ValueError : it stands for nothing
    """
    if "/" in name or ":" in name:
        chain, rest = chains.split(name.partition("/")[0] + ":" + name.partition("/")[2] if "/" in name else name)
        return [chains.asset(name if "/" in name else rest, chain).asset]
    found = [info.asset for info in chains.assets.values() if info.symbol == name]
    if not found:
        raise ValueError(f"is no asset: expected chain:asset such as ethereum:native, or a listed symbol, not {name!r}")
    return found


def table_resolver(config: Config) -> Callable[[str], list[str]]:
    """What finds the assets of a name in a price table; it raises ValueError where the name stands for nothing."""
    chains = Chains.known(config.chains, config.assets.values())
    return lambda name: priced_assets(name, chains)


def _feeds(
    feeds: Mapping[str, str], node: Node, chains: Chains, problems: list[Problem]
) -> list[tuple[str, str, str]]:
    """(asset, chain of the feed, contract of the feed)."""
    found = []
    for name, contract in feeds.items():
        place = node.at("feeds", name)
        try:
            for asset in priced_assets(name, chains):
                home = chains.get(asset.partition("/")[0])
                on, address = chains.address(contract, None if ":" in contract else home)
                if on.network.kind != "evm":
                    raise ValueError("is on no EVM chain: feeds are contracts")
                found.append((asset, on.chain, address))
        except ValueError as error:
            problems.append(bad(place, error))
    return found


def _ids(ids: Mapping[str, str], node: Node, chains: Chains, problems: list[Problem]) -> list[tuple[str, str]]:
    found = []
    for name, ident in ids.items():
        place = node.at("ids", name)
        if not ident.strip() or any(c in ident for c in "/?#& "):
            problems.append(place.problem(f"{place.label} {shown(place)} is no id of a service"))
            continue
        try:
            found += [(asset, ident) for asset in priced_assets(name, chains)]
        except ValueError as error:
            problems.append(bad(place, error))
    return found
