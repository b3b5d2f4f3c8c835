"""Names resolved: chains of addresses, assets of amounts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monitor.amounts import AssetInfo, parse_amount, split_amount
from monitor.config.file import AssetEntry, ChainEntry
from monitor.config.problems import shown
from monitor.config.tree import Node, key_shown
from monitor.config.types import ChainConfig, EndpointConfig, seal
from monitor.errors import Problem
from monitor.networks import CAIP2, NETWORKS, Network, by_chain, by_name, token_asset
from monitor.registry import ADDRESSES, CHAINS, HISTORIES, did_you_mean

__all__ = ["Chains", "bad"]

_FAMILIES = {"eip155": "evm", "bip122": "bitcoin", "nem": "nem"}
_COIN_OPTIONS = ("api", "like")  # beside the parameters of the network
BACKFILL_SECONDS = 14 * 86400
_ASSET_HINT = "tokens are listed under assets"


class Chains:
    """The chains of one configuration: those with an entry, and built-in ones as soon as an address uses them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.by_name: dict[str, ChainConfig] = {}
        self.by_chain: dict[str, ChainConfig] = {}
        self.assets: dict[str, AssetInfo] = {}
        self._symbols: dict[str, dict[str, AssetInfo]] = {}  # chain -> symbol -> asset
        self._sole: ChainConfig | None = None

    @classmethod
    def known(cls, chains: Iterable[ChainConfig], assets: Iterable[AssetInfo]) -> Chains:
        """Of a finished configuration, to find more of the same names."""
        found = cls([])
        for chain in chains:
            found._add(chain)
        for info in assets:
            found._add_asset(info.asset.partition("/")[0], info)
        return found

    def add_entries(self, entries: Sequence[ChainEntry], nodes: Iterable[Node]) -> None:
        """Take up the ``chains`` of the file."""
        for entry, node in zip(entries, nodes, strict=True):
            network = self._network(entry, node)
            if network is None:
                continue
            if entry.name in self.by_name:
                self.problems.append(node.at("name").problem(f"chain name {entry.name!r} is used twice"))
            elif network.chain in self.by_chain:
                other = self.by_chain[network.chain].name
                self.problems.append(node.problem(f"{node.label} is {network.chain}, as chain {other!r} is already"))
            else:
                self._check_endpoints(entry, node, network)
                self._check_options(entry, node, network)
                if entry.finality not in (None, "depth") and network.kind != "evm":
                    place = node.at("finality")
                    self.problems.append(place.problem(f"{place.label} needs an EVM chain: others know no such tag"))
                self._add(_chain(entry, network))
        self._sole = next(iter(self.by_name.values())) if len(entries) == len(self.by_name) == 1 else None

    def _add(self, chain: ChainConfig) -> ChainConfig:
        self.by_name[chain.name] = self.by_chain[chain.chain] = chain
        network = chain.network
        self._add_asset(chain.chain, AssetInfo(network.asset, network.symbol, network.decimals))
        return chain

    def _add_asset(self, chain: str, info: AssetInfo) -> None:
        self.assets[info.asset] = info
        self._symbols.setdefault(chain, {})[info.symbol] = info

    def _check_endpoints(self, entry: ChainEntry, node: Node, network: Network) -> None:
        hosts = set()
        for number, endpoint in enumerate(entry.endpoints):
            url = endpoint.url.get_secret_value()
            if not re.match(r"[a-z][a-z0-9+.-]*://.", url):
                place = node.at("endpoints", number, "url")
                self.problems.append(place.problem(f"{place.label} is not a URL such as https://host/path"))
            hosts.add(url.partition("://")[2].partition("/")[0].rpartition("@")[2])
        place = node.at("quorum")
        if entry.quorum > 1 and (entry.kind or network.kind) != "evm":
            self.problems.append(place.problem(f"{place.label} is for EVM chains alone"))
        elif entry.quorum > 1 and entry.quorum > len(hosts):
            what = f"{place.label} {shown(place)}, but its endpoints are at {len(hosts)} different hosts"
            self.problems.append(place.problem(what))

    def _check_options(self, entry: ChainEntry, node: Node, network: Network) -> None:
        """Of the Bitcoin family, where a wrong word would change what is read; other families check theirs later."""
        if network.kind != "bitcoin":
            return
        for key in entry.options:
            if key not in (known := {*_COIN_OPTIONS, *network.params}):
                place = node.at("options", key)
                self.problems.append(place.problem(f"{place.label} is unknown: {did_you_mean(key, known)}"))

    def _network(self, entry: ChainEntry, node: Node) -> Network | None:
        kinds = sorted({*CHAINS, *ADDRESSES})
        if entry.kind is not None and entry.kind not in kinds:
            place = node.at("kind")
            self.problems.append(place.problem(f"{place.label} is unknown: {did_you_mean(entry.kind, kinds)}"))
            return None
        if entry.chain_id is None:
            network = by_name(entry.name)
            if network is None:
                hint = did_you_mean(entry.name, (n.name for n in NETWORKS))
                what = f"{node.label}.name {shown(node.at('name'))}, which is not a built-in network ({hint})"
                self.problems.append(node.at("name").problem(f"{what}; other networks need kind and chain_id"))
                return None
        elif not CAIP2.fullmatch(entry.chain_id) or (
            entry.chain_id.startswith("eip155:") and not entry.chain_id[7:].isdigit()
        ):
            place = node.at("chain_id")
            self.problems.append(place.problem(f"{place.label} is not CAIP-2, such as eip155:1"))
            return None
        else:
            network = by_chain(entry.chain_id) or self._custom(entry, node)
        if network and entry.kind in _FAMILIES.values() and entry.kind != network.kind:
            place = node.at("kind")
            self.problems.append(place.problem(f"{place.label} is {entry.kind}, but {network.chain} is {network.kind}"))
            return None
        return network

    def _custom(self, entry: ChainEntry, node: Node) -> Network | None:
        """A private network: like the built-in one that ``options.like`` names, else the first of its family, but for
        its identity and address form."""
        family = _FAMILIES.get(str(entry.chain_id).split(":")[0], entry.kind)
        alike = [network for network in NETWORKS if network.kind == family]
        named = entry.options.get("like")
        if named is not None and named not in [network.name for network in alike]:
            place = node.at("options", "like")
            hint = did_you_mean(str(named), [network.name for network in alike])
            self.problems.append(place.problem(f"{place.label} is no built-in network of this family: {hint}"))
            return None
        like = next((network for network in alike if named in (None, network.name)), None)
        if like is None:
            self.problems.append(node.at("chain_id").problem(f"{node.label} needs kind: its chain_id is not known"))
            return None
        params = dict(like.params)
        for key, value in like.params.items():
            given = entry.options.get(key, value)
            params[key] = tuple(given) if isinstance(given, list) else given
            if not _same_form(params[key], value):
                place = node.at("options", key)
                self.problems.append(place.problem(f"{place.label} is not of the form of {value!r}"))
                return None
        asset = f"{entry.chain_id}/{like.asset.split('/')[1]}"
        return replace(
            like, name=entry.name, chain=str(entry.chain_id), asset=asset, explorer_tx="", params=params
        )

    def add_assets(self, entries: Sequence[AssetEntry], nodes: Iterable[Node]) -> None:
        """Take up the ``assets`` of the file."""
        listed: set[str] = set()
        for entry, node in zip(entries, nodes, strict=True):
            chain = self.get(entry.chain)
            if chain is None:
                self.problems.append(bad(node.at("chain"), self._unknown(entry.chain)))
                continue
            try:
                asset = self.asset(entry.asset, chain).asset
            except ValueError as error:
                self.problems.append(bad(node.at("asset"), error))
                continue
            same = self._symbols[chain.chain].get(entry.symbol)
            if asset in listed or (same is not None and same.asset != asset):
                place = node.at("asset" if asset in listed else "symbol")
                self.problems.append(place.problem(f"{place.label} is already taken on {chain.name}"))
                continue
            listed.add(asset)
            if asset == chain.network.asset:
                self._symbols[chain.chain] = {}  # a native asset under its own name
            self._add_asset(chain.chain, AssetInfo(asset, entry.symbol, entry.decimals))

    def get(self, name: str) -> ChainConfig | None:
        """A chain by its name, its built-in name or its CAIP-2 identifier."""
        if name in self.by_name:
            return self.by_name[name]
        network = by_name(name) or by_chain(name)
        chain = network.chain if network else name
        if chain in self.by_chain:
            return self.by_chain[chain]
        return self._add(_implicit(network)) if network else None

    @property
    def only(self) -> ChainConfig | None:
        """The only configured chain, which texts without a chain are of; None where there are several or none."""
        return self._sole

    def _unknown(self, name: str) -> ValueError:
        names = {*self.by_name, *(network.name for network in NETWORKS)}
        return ValueError(f"unknown chain {key_shown(name)}: {did_you_mean(name, names)}")

    def split(self, text: str) -> tuple[ChainConfig, str]:
        """The chain of ``chain:address`` and the rest; ValueError where there is no known chain."""
        head, colon, rest = text.partition(":")
        parts = text.split(":", 2)
        if len(parts) == 3 and (chain := self.get(f"{parts[0]}:{parts[1]}")):  # CAIP-10, as outputs write it
            return chain, parts[2]
        chain = self.get(head) if colon else None
        if chain is not None:
            return chain, rest
        if self._sole is not None and (not colon or head == self._sole.network.params.get("cashaddr")):
            return self._sole, text
        if not colon:
            raise ValueError("has no chain: expected chain:address, ethereum:0x... for example")
        raise self._unknown(head)

    def address(self, text: str, chain: ChainConfig | None = None) -> tuple[ChainConfig, str]:
        """Chain and canonical address of ``chain:address``, or of an address of ``chain``; else ValueError."""
        from monitor.addresses import canonical

        text = text.strip()
        if chain is None:
            chain, text = self.split(text)
        elif ":" in text and self.get(text.split(":", 1)[0]) is chain:
            text = text.split(":", 1)[1]
        return chain, canonical(chain.network, text)

    def asset(self, text: str, chain: ChainConfig) -> AssetInfo:
        """An asset of ``chain`` by ``native``, symbol, CAIP-19 or contract; ValueError where it is none of these."""
        from monitor.addresses import canonical

        if text == "native":
            return self.assets[chain.network.asset]
        symbols = self._symbols[chain.chain]
        if text in symbols:
            return symbols[text]
        if "/" in text:
            if not text.startswith(chain.chain + "/"):
                raise ValueError(f"is not an asset of {chain.name} ({chain.chain})")
            asset = text.lower() if chain.network.kind == "evm" else text
        elif chain.network.kind == "evm" and text[:2].lower() == "0x":
            asset = token_asset(chain.chain, canonical(chain.network, text))
        else:
            hint = did_you_mean(text, ["native", *symbols])
            raise ValueError(f"is not known on {chain.name}: {hint} ({_ASSET_HINT})")
        return self.assets.get(asset, AssetInfo(asset, "", None))

    def amount(self, text: str, asset: str | None, chains: Iterable[ChainConfig]) -> tuple[tuple[str, int], ...]:
        """(CAIP-19, base units) on each of ``chains`` that has the asset; ValueError where none has."""
        symbol = split_amount(text)[2]
        wanted, found, failure = asset or symbol or "native", {}, ValueError("needs a chain")
        for chain in chains:
            try:
                info = self.asset(wanted, chain)
                if symbol and not info.symbol:
                    raise ValueError(f"is in {symbol}, but the asset's symbol is not known: {_ASSET_HINT}")
                found[info.asset] = parse_amount(text, info)
            except ValueError as error:
                failure = error if asset or not str(error).startswith("is ") else ValueError(f"{wanted} {error}")
        if not found:
            raise failure
        return tuple(found.items())


def bad(node: Node, error: Exception) -> Problem:
    """The problem of a value that several others help to judge; what was substituted is not shown."""
    if node.raw is not None:
        return node.problem(f"{node.label} is not valid (its value is {node.raw})")
    joint = " " if str(error).startswith(("is ", "has ", "needs ")) else ": "
    return node.problem(f"{node.label}{joint}{error}")


def _chain(entry: ChainEntry, network: Network) -> ChainConfig:
    return ChainConfig(
        name=entry.name,
        kind=entry.kind or network.kind,
        chain=network.chain,
        network=network,
        endpoints=tuple(EndpointConfig(each.url, each.weight, each.rate) for each in entry.endpoints),
        quorum=entry.quorum,
        replay=entry.replay,
        poll_seconds=entry.poll_seconds,
        start=entry.start,
        finality_depth=entry.finality_depth or network.finality_depth,
        finality=entry.finality or _finality(network),
        timeout=entry.timeout,
        backfill=_backfill(entry, network),
        backfill_rate=entry.backfill_rate,
        catch_up_seconds=entry.catch_up_seconds,
        blind_after=entry.blind_after,
        mempool=entry.mempool,
        options=_sealed(entry.options, network.params),
    )


def _backfill(entry: ChainEntry, network: Network) -> int:
    """Seconds of history to learn from: as said, else two weeks where the chain is live and its family gives any."""
    if entry.backfill is not None:
        return entry.backfill
    return 0 if entry.replay or (entry.kind or network.kind) not in HISTORIES else BACKFILL_SECONDS


def _finality(network: Network) -> str:
    return "finalized" if network.finalized else "depth"


def _implicit(network: Network) -> ChainConfig:
    return ChainConfig(
        network.name, network.kind, network.chain, network,
        finality_depth=network.finality_depth, finality=_finality(network),
    )  # fmt: skip


def _sealed(options: Mapping[str, Any], public: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if key in public else seal(value, key) for key, value in options.items()}


def _same_form(given: Any, example: Any) -> bool:
    if isinstance(example, tuple):
        return isinstance(given, tuple) and bool(given) and all(_same_form(item, 0) for item in given)
    if isinstance(example, int):
        most = max(255, example)
        return isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= most
    return isinstance(given, type(example)) and bool(given)
