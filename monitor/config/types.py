"""What a checked configuration consists of, beside the nouns of `monitor.model`. Secrets are `SecretStr` throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from monitor import amounts
from monitor.amounts import AssetInfo
from monitor.config import show as config_show
from monitor.errors import ConfigError, Problem
from monitor.ids import chain_of_asset
from monitor.model import ControlKind, Severity, Wallet
from monitor.networks import Network, by_chain
from monitor.registry import did_you_mean

if TYPE_CHECKING:
    from monitor.own import OwnDetector, OwnFile

__all__ = [
    "Alerting",
    "ChainConfig",
    "ChannelConfig",
    "Config",
    "EndpointConfig",
    "HeartbeatConfig",
    "HttpConfig",
    "Planned",
    "PricesConfig",
    "Receiver",
    "Rule",
    "RuleKind",
    "StoreConfig",
    "reveal",
    "seal",
]

_OPEN_OPTIONS = {"type", "name", "format", "timezone", "language", "locale", "priority", "group_by"}


def seal(value: Any, key: str = "") -> Any:
    """Options with every text wrapped, but those whose key is known to be harmless."""
    if isinstance(value, Mapping):
        return {str(k): seal(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(seal(item, key) for item in value)
    return SecretStr(value) if isinstance(value, str) and key not in _OPEN_OPTIONS else value


def reveal(value: Any) -> Any:
    """Options as they were written: never print, log or store the result."""
    if isinstance(value, Mapping):
        return {k: reveal(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [reveal(item) for item in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A node or provider: the heavier is preferred; ``rate`` is in calls a second, None for any."""

    url: SecretStr
    weight: float = 1.0
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """One chain. ``poll_seconds`` None is the network's default; ``start`` None is the head; ``options`` are sealed."""

    name: str
    kind: str
    chain: str  # CAIP-2
    network: Network
    endpoints: tuple[EndpointConfig, ...] = ()
    quorum: int = 1  # endpoints that must agree on a block
    replay: bool = False
    poll_seconds: float | None = None
    start: int | None = None
    finality_depth: int = 64  # blocks
    finality: str = "depth"  # or the tag by which nodes must agree, safe or finalized
    timeout: float = 10.0  # seconds
    backfill: int = 0  # seconds of history to learn from at the first start
    backfill_rate: float = 5.0  # requests a second for it
    catch_up_seconds: float = 60.0  # missed blocks that take longer to read are fetched beside the head
    blind_after: int | None = None  # seconds without a new head; None: as the network has it
    mempool: str = "auto"  # at nodes of one's own; on: at every endpoint that offers it; off
    options: Mapping[str, Any] = field(default_factory=dict)


class RuleKind(StrEnum):
    """The plain rules."""

    OUTFLOW = "outflow"
    OVER = "over"
    NOT_IN = "not_in"
    BALANCE_BELOW = "balance_below"


@dataclass(frozen=True, slots=True)
class Rule:
    """A plain rule of one wallet. ``limits`` are (CAIP-19 asset, base units) on each chain where the rule holds.

    ``share`` is a limit as a part of the balance, over 0 and at most 1, of each of ``assets`` (CAIP-19; empty: all).
    """

    kind: RuleKind
    limits: tuple[tuple[str, int], ...] = ()
    window: int | None = None  # seconds; None: each outflow on its own
    list_name: str | None = None
    severity: Severity | None = None
    share: Fraction | None = None
    assets: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether it says nothing until somebody told a balance."""
        return self.share is not None or self.kind is RuleKind.BALANCE_BELOW


@dataclass(frozen=True, slots=True)
class Planned:
    """A change of control that the owner expects: exactly ``value``, from ``start`` (inclusive) to ``end``."""

    chain: str
    account: str
    kind: ControlKind
    value: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class PricesConfig:
    """Where prices come from; ``path`` is absolute. Assets are CAIP-19, chains CAIP-2, times seconds."""

    source: str = "none"
    path: str | None = None
    url: SecretStr | None = None
    feeds: tuple[tuple[str, str, str], ...] = ()  # (asset, chain of the feed, contract of the feed)
    ids: Mapping[str, str] = field(default_factory=dict)  # the service's id by asset
    pick: str = "{id}.usd"
    every: int = 60
    max_age: int = 3600
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """``url`` with an absolute path where it names a file; ``kind`` is a key of `monitor.registry.STORES`."""

    kind: str
    url: SecretStr


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where the monitor listens; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8787
    token: SecretStr | None = None
    public_url: str = ""  # at which people reach it, without a slash at its end
    link_secrets: tuple[SecretStr, ...] = ()  # the first signs, each is believed
    link_hours: float = 72.0

    @property
    def listen(self) -> str:
        """``host:port``, brackets around an IPv6 host."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One channel of a receiver. ``options`` are sealed; `plain` is what a channel's constructor takes."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def plain(self) -> dict[str, Any]:
        """Options in the clear, with ``type``: never print them."""
        return {"type": self.type, **reveal(self.options)}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who can be told."""

    name: str
    channels: tuple[ChannelConfig, ...]
    template: Mapping[str, str] = field(default_factory=dict)
    storm: int | None = None  # messages a minute; None: as its channels have it
    zone: str = ""  # IANA


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """One dead-man's switch; ``type`` is ``ping`` or ``alertmanager``, ``every`` in seconds."""

    type: str
    url: SecretStr
    every: float


@dataclass(frozen=True, slots=True)
class Alerting:
    """What the file says of alerts beyond receivers and routes, as written but for lengths of time, in seconds."""

    times: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    inhibit: tuple[Mapping[str, Any], ...] = ()
    escalations: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    drill: Mapping[str, Any] | None = None
    heartbeat: tuple[HeartbeatConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration in which every name is resolved and every value checked.

    Relative paths are absolute here. ``rules`` and ``detectors`` are by wallet id. ``route`` is the tree as written
    (``receiver``, ``match`` with lists, ``continue``, ``routes``), empty without receivers. ``warnings`` do not stop
    anything, but people should read them.
    """

    path: Path | None
    base: Path
    chains: tuple[ChainConfig, ...]
    wallets: tuple[Wallet, ...]
    rules: Mapping[str, tuple[Rule, ...]]
    detectors: Mapping[str, Mapping[str, Any]]
    planned: tuple[Planned, ...]
    assets: Mapping[str, AssetInfo]  # by CAIP-19; native assets of the chains too
    labels: tuple[str, ...]  # paths and patterns
    prices: PricesConfig
    store: StoreConfig
    http: HttpConfig
    receivers: tuple[Receiver, ...]
    route: Mapping[str, Any]
    false_alarms_per_wallet_month: float
    warnings: tuple[Problem, ...] = ()
    lists: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)  # (CAIP-2, address) by name
    alerting: Alerting = Alerting()
    own: tuple[OwnFile | OwnDetector, ...] = ()  # detectors beside the built-in ones
    budgets: frozenset[str] = frozenset()  # wallets with a budget of their own
    places: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, repr=False, compare=False)

    def chain(self, name: str) -> ChainConfig:
        """A chain by name or CAIP-2 identifier; ConfigError with a hint where there is none."""
        for chain in self.chains:
            if name in (chain.name, chain.chain):
                return chain
        raise ConfigError(f"unknown chain {name!r}: {did_you_mean(name, (chain.name for chain in self.chains))}")

    def display(self, asset: str, value: int) -> str:
        """An amount (base units) of a CAIP-19 asset for people; base units where its decimals are not known."""
        info = self.assets.get(asset)
        if info is not None:
            return amounts.display(value, info.decimals, info.symbol)
        network = by_chain(chain_of_asset(asset))
        if network is not None and network.asset == asset:
            return amounts.display(value, network.decimals, network.symbol)
        return amounts.display(value, None, "")

    def place(self, *path: str | int) -> str:
        """Where something was written: ``place("route", "routes", 0)`` is ``file:line`` of it, or of what is around.

        Kept are all places of the route, and elsewhere those of sections and their items.
        """
        known = (path[:length] for length in range(len(path), -1, -1) if path[:length] in self.places)
        return self.places.get(next(known, ()), "")

    def public(self) -> dict[str, Any]:
        """Everything as plain JSON values, with ``<secret>`` for every secret."""
        return config_show.public(self)

    def summary(self) -> list[str]:
        """What the configuration amounts to, one line a thing; warnings last."""
        return config_show.summary(self)
