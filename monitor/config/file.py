"""The shape of the configuration file: pydantic models, from which the JSON Schema is made.

They check one value at a time; what needs several values (references, addresses, amounts) is `monitor.config.build`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from monitor.config.alert_file import (
    DrillEntry,
    EscalationEntry,
    HeartbeatEntry,
    InhibitEntry,
    RouteEntry,
    Secrets,
    TemplateEntry,
    TimesEntry,
)
from monitor.config.shape import (
    Amount,
    Backfill,
    Count,
    Duration,
    Entry,
    Moment,
    Positive,
    SeverityWord,
    Text,
    Texts,
    as_descriptor,
    as_endpoint,
    as_list,
    as_mapping,
    described,
    no_bool,
    written,
)
from monitor.model import ControlKind, Role

__all__ = [
    "AddressEntry",
    "AssetEntry",
    "BudgetEntry",
    "ChainEntry",
    "ChannelEntry",
    "ConfigFile",
    "EndpointEntry",
    "HttpEntry",
    "PlannedEntry",
    "PricesEntry",
    "ReceiverEntry",
    "RuleEntry",
    "StoreEntry",
    "TrustedEntry",
    "WalletEntry",
]

GAP_LIMIT = 20  # of BIP 44; `monitor.derived` would load more than a schema needs


class AddressEntry(Entry):
    """A descriptor or extended public key, and how far its addresses are watched."""

    descriptor: Text = described(
        "Output descriptor or extended public key with its chain, `bitcoin:wpkh([d34db33f/84h/0h/0h]xpub.../<0;1>/*)`, "
        "`bitcoin:zpub...`. Nothing private is accepted."
    )
    gap_limit: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(no_bool)] = described(
        "Unused addresses that are watched beyond the last used one, on each branch.", GAP_LIMIT
    )
    used: Annotated[int, Field(ge=0, le=100_000), BeforeValidator(no_bool)] = described(
        "So many addresses of each branch, from the first on, are in use already.", 0
    )


class BudgetEntry(Entry):
    """How many false alarms people accept."""

    false_alarms_per_wallet_month: Positive = described(
        "False alarms that each wallet may raise in 30 days; the one knob of the statistical detectors. Personal "
        "wallets use 0.1 at most. A wallet may override it with its own `budget`.",
        1.0,
    )


class EndpointEntry(Entry):
    """A node or provider."""

    url: SecretStr = described("URL: http, https, and for EVM chains ws or wss. It is a secret.", min_length=1)
    weight: Positive = described("The heaviest endpoint that is sound is asked first.", 1.0)
    rate: Positive | None = described("Calls a second that it allows, those of a batch too. Default: any.", None)


class ChainEntry(Entry):
    """A chain and how to reach it. A built-in network needs only its name, or no entry for work on history."""

    name: Text = described("Name of your choice, used as the prefix of addresses.", pattern=r"^[A-Za-z0-9][\w.-]*$")
    kind: Text | None = described("Chain family: evm, bitcoin or nem. Built-in networks know theirs.", None)
    chain_id: Text | None = described("CAIP-2 identifier, `eip155:1` for example. Built-in networks know theirs.", None)
    endpoints: list[
        Annotated[EndpointEntry, BeforeValidator(as_endpoint, json_schema_input_type=SecretStr | EndpointEntry)]
    ] = described(
        "Nodes or providers, of equal weight the first first: URLs, or mappings with more. URLs are secrets.",
        [],
    )
    quorum: Annotated[int, Field(ge=1), BeforeValidator(no_bool)] = described(
        "Endpoints, of different hosts, that must give the same hash and logs for a block before it counts (EVM).", 1
    )
    replay: bool = described("The chain repeats history: block times are not compared with the wall clock.", False)
    poll_seconds: Positive | None = described("Seconds between looks for a new block. Default: the network's.", None)
    start: Count | None = described("First block to read when nothing is stored yet. Default: the head.", None)
    finality_depth: Annotated[int, Field(ge=1), BeforeValidator(no_bool)] | None = described(
        "Blocks this far below the head are final. Default: the network's.", None
    )
    finality: Literal["depth", "safe", "finalized"] | None = described(
        "Who says what is final: `depth` alone, or nodes too by the tag `safe` or `finalized`. Default: the network's.",
        None,
    )
    timeout: Positive = described("Seconds to wait for one answer of an endpoint.", 10.0)
    backfill: Backfill | None = described(
        "History to learn from at the first start: `14d`, `0` for none. Default: 14d, none where `replay` is set.", None
    )
    backfill_rate: Positive = described("Requests a second that fetching this history may make.", 5.0)
    catch_up_seconds: Positive = described(
        "Missed blocks that would take longer than this to read are fetched beside the head, which is followed.", 60.0
    )
    blind_after: Duration | None = described(
        "Without a new head for so long the monitor says that it is blind there. Default: 12 usual block times, at "
        "least 60 s, on networks that are not built in 5 min.",
        None,
    )
    mempool: Literal["auto", "on", "off"] = described(
        "Watch transactions that wait to be mined: `auto` at nodes of your own (in a private network), `on` at every "
        "endpoint that offers it (providers charge for each transaction of the whole network), `off` nowhere.",
        "auto",
    )
    options: dict[str, Any] = described("Settings of the chain family.", {})


class AssetEntry(Entry):
    """A token: its symbol may then be used in amounts, and amounts of it are shown to people."""

    chain: Text = described("Name of the chain.")
    asset: Text = described("Contract address, or CAIP-19 identifier.")
    symbol: Text = described("How people write it, `USDC` for example.", pattern=r"^\S+$")
    decimals: Annotated[int, Field(ge=0, le=77), BeforeValidator(no_bool)] = described(
        "Digits after the point: 6 means that one unit is 1,000,000 base units."
    )


class TrustedEntry(Entry):
    """A counterparty that the owner expects, with optional limits."""

    address: Text = described("Address with its chain, `ethereum:0x...`.")
    asset: Text | None = described("`native`, a symbol, a contract address or CAIP-19. Default: every asset.", None)
    max: Amount | None = described(
        "Most that may go there within the window: `100 ETH`, or base units as a whole number (of the native asset "
        "unless `asset` says otherwise).",
        None,
    )
    window: Duration | None = described("Length of the window for `max`: `1d`, `6h`, `30m` or seconds.", None)
    start: Moment | None = described("Time from which the entry holds (inclusive, ISO 8601).", None, alias="from")
    end: Moment | None = described("Time until which the entry holds (exclusive, ISO 8601).", None, alias="until")


class RuleEntry(Entry):
    """A plain rule: exactly one of `outflow`, `over`, `not_in` and `balance_below`."""

    outflow: Literal["any"] | None = described("`any`: every outflow breaks the rule.", None)
    over: Amount | None = described(
        "Outflow above this amount, or above a share of the balance such as `20 %`, within the window (or at once) "
        "breaks the rule.",
        None,
    )
    not_in: Text | None = described("Outflow to an address that is not in this one of `lists` breaks the rule.", None)
    balance_below: Amount | None = described("A balance below this amount breaks the rule.", None)
    asset: Text | None = described("Asset of `over` and `balance_below`: `native`, a symbol, a contract.", None)
    window: Duration | None = described("Length of the window for `over`: `1h` for example.", None)
    severity: SeverityWord | None = described("Severity of a break; the rule's own where it is not given.", None)


Addresses = Annotated[
    list[Annotated[AddressEntry, BeforeValidator(as_descriptor, json_schema_input_type=Text | AddressEntry)]],
    BeforeValidator(as_list, json_schema_input_type=Text | list[Text | AddressEntry]),
]


class WalletEntry(Entry):
    """A wallet to watch, with addresses on one chain or several."""

    id: Text = described("Unique name.")
    entity: Text | None = described("Owner: incidents are per entity, across wallets. Default: the id.", None)
    role: Role = described("What the wallet is for; it chooses detectors and the default budget.")
    addresses: Addresses = described(
        "Addresses with their chain, `ethereum:0x...`; also `file:PATH` or `ethereum:file:PATH` (text with one a "
        "line, CSV or Parquet with a column `address`). On chains of the Bitcoin family also descriptors, "
        "`bitcoin:wpkh(xpub.../<0;1>/*)`, and extended public keys, `bitcoin:zpub...`, of which more addresses come "
        "to be watched as they are used; as a mapping with a gap limit of their own."
    )
    trusted: list[Annotated[TrustedEntry, BeforeValidator(as_mapping, json_schema_input_type=Text | TrustedEntry)]] = (
        described("Counterparties that the owner expects: an address, or a mapping with limits.", [])
    )
    rules: list[RuleEntry] = described("Plain rules, beside the statistical detectors.", [])
    labels: dict[str, str] = described("Labels for routing and for people.", {})
    budget: Positive | None = described("False alarms that this wallet may raise in 30 days.", None)
    detectors: dict[str, Any] = described("Settings of detectors for this wallet, by their names.", {})


class PlannedEntry(Entry):
    """A planned change of who may move the coins: exactly this value is expected, nothing else.

    Where several change, as owners do, each has an entry.
    """

    account: Text = described("Address whose control changes, with its chain.")
    kind: ControlKind = described("What changes.")
    value: Annotated[Text, BeforeValidator(written, json_schema_input_type=int | str)] = described(
        "The exact new value: an address (owner, also one who goes; implementation, module, delegate, target of a "
        "delegatecall, ...), `none` for a guard that goes, a number (threshold, delay in seconds), or the hash of a "
        "proposed Safe transaction."
    )
    start: Moment | None = described("Time from which the change is expected (inclusive).", None, alias="from")
    end: Moment | None = described("Time until which the change is expected (exclusive).", None, alias="until")


class PricesEntry(Entry):
    """Where prices come from. They are shown to people and never enter detection."""

    source: Literal["none", "file", "chainlink", "http"] = described("Source of prices.", "none")
    path: Text | None = described("Table of prices, for `file`.", None)
    url: SecretStr | None = described("Address of the service, for `http`, with `{ids}`. It is a secret.", None)
    feeds: dict[str, Text] = described("For `chainlink`: the feed's contract by asset.", {})
    ids: dict[str, Text] = described("For `http`: the service's id by asset.", {})
    pick: Text = described("For `http`: where in the answer a price lies, keys joined by points.", "{id}.usd")
    every: Duration = described("Time between two readings.", 60)
    max_age: Duration | None = described("How long a price holds: 1h, of a table 2d.", None)
    options: dict[str, Any] = described("Settings of the source.", {})


class StoreEntry(Entry):
    """Where everything is kept that must survive a restart."""

    url: SecretStr = described(
        "`sqlite:///FILE` (relative to this file), `sqlite:////absolute/FILE`, or `redis://...`.",
        SecretStr("sqlite:///heistwatch.db"),
        json_schema_extra={"default": "sqlite:///heistwatch.db"},
    )


class HttpEntry(Entry):
    """The monitor's own HTTP interface: health, metrics, incidents."""

    listen: Text = described("Host and port to listen on.", "127.0.0.1:8787")
    token: SecretStr | None = described("Bearer token that requests must carry.", None)
    public_url: Text | None = described("Address at which people reach it, for links in messages.", None)
    link_secret: Secrets = described("Signs links; several while one replaces another. Default: the token.", [])
    link_hours: Positive = described("Hours for which a link in a message works.", 72.0)


class ChannelEntry(BaseModel):
    """A way to reach people. Further keys are options of the channel type."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: Text = described("Channel type: webhook, console, ...")


class ReceiverEntry(Entry):
    """People or a system that get alerts, through one channel or several."""

    name: Text = described("Unique name, used in routes.")
    channels: list[ChannelEntry] = described("Each alert goes through every channel.")
    template: TemplateEntry | None = described("Templates for all its channels that have none of their own.", None)
    storm: Count | None = described(
        "Messages a minute beyond which what may wait comes as one summary an entity; 0: none. Default: 30, and none "
        "where only programs read.",
        None,
    )
    zone: Text | None = described("Time zone of these people, `Asia/Tokyo`: shown beside UTC.", None)


class ConfigFile(Entry):
    """A configuration of heistwatch. Only `wallets` is needed for work on history."""

    version: Literal[1] = described("Version of this layout.", 1)
    include: Texts = described("More files, relative to this one: their lists are added, mappings joined.", [])
    budget: BudgetEntry = described("The false alarms that people accept.", default_factory=BudgetEntry)
    chains: list[ChainEntry] = described("Chains and how to reach them.", [])
    assets: list[AssetEntry] = described("Tokens whose symbols and decimals are known.", [])
    wallets: list[WalletEntry] = described("Wallets to watch.")
    planned: list[PlannedEntry] = described("Planned changes of control.", [])
    lists: dict[str, Texts] = described(
        "Named lists of addresses, for `not_in`: addresses with their chain, `file:PATH` or `ethereum:file:PATH`.", {}
    )
    detectors: Texts = described(
        "Python files with detectors of your own, see `heistwatch detectors`. They run as part of heistwatch.", []
    )
    labels: Texts = described("Files with labels of addresses; patterns such as `labels/*.yaml` are allowed.", [])
    prices: PricesEntry = described("Where prices come from.", default_factory=PricesEntry)
    store: StoreEntry = described("Where the state is kept.", default_factory=StoreEntry)
    http: HttpEntry = described("The monitor's own HTTP interface.", default_factory=HttpEntry)
    receivers: list[ReceiverEntry] = described("Who can be told.", [])
    route: RouteEntry | None = described("Who is told of what. Default: the first receiver, of everything.", None)
    times: dict[str, list[TimesEntry]] = described("Named times, for `quiet` and `active` of routes.", {})
    inhibit: list[InhibitEntry] = described("What need not be told while something else is open.", [])
    escalations: dict[str, list[EscalationEntry]] = described("Who comes next while nobody acknowledges, by name.", {})
    drill: DrillEntry | None = described("Drills that run by themselves.", None)
    heartbeat: list[HeartbeatEntry] = described("Dead-man's switches: pinged while scanning is healthy.", [])
