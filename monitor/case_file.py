"""The layout of a built-in case: facts about one theft, each with its sources and the precision of its time.

Amounts are text such as ``"100000000 XEM"`` or base units; times are ISO 8601 in UTC; addresses carry their chain where
the chain is not given beside them. Unknown keys are errors, and so is a fact whose sources are not listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from monitor.amounts import AssetInfo, parse_amount
from monitor.background import Hot, Occasional, Storage
from monitor.ids import from_iso
from monitor.model import Role
from monitor.networks import Network, by_name, token_asset

__all__ = [
    "AssetEntry",
    "Background",
    "BalanceEntry",
    "CaseFile",
    "Fact",
    "Height",
    "Leg",
    "Movement",
    "Noticed",
    "Phase",
    "Precision",
    "Source",
    "Suspect",
    "Total",
    "WalletEntry",
    "network_of",
]


def network_of(name: str) -> Network:
    """The built-in network of that name; ValueError where there is none."""
    network = by_name(name)
    if network is None:
        raise ValueError(f"{name!r} is not the name of a built-in network")
    return network


def _moment(value: object) -> object:
    return from_iso(value) if isinstance(value, str) else value


def _known(value: str) -> str:
    network_of(value)
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1)]
Moment = Annotated[int, BeforeValidator(_moment)]  # UTC seconds
ChainName = Annotated[str, BeforeValidator(_known)]
Keys = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]


class Precision(StrEnum):
    """How exactly a time is known."""

    SECOND = "second"
    MINUTE = "minute"
    BRACKET = "bracket"  # between two times
    HOUR = "hour"
    DAY = "day"
    WINDOW = "window"  # one of several payments of which only the sum and the first and last time are known


class Phase(StrEnum):
    """What a movement was."""

    PROBE = "probe"  # the thief tries whether it works
    THEFT = "theft"
    OWNER = "owner"  # the victim's own payment
    BAIT = "bait"  # the thief plants an address


class Entry(BaseModel):
    """A part of the file: strict about keys, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Entry):
    """Where facts come from. ``kept`` false: a recollection, or a page whose address was not kept."""

    title: Text
    url: Text | None = None
    kept: bool = True


class Sourced(Entry):
    """Something that is claimed. ``verified`` false: shown as unverified."""

    source: Keys
    verified: bool = True
    note: Text | None = None


class WalletEntry(Sourced):
    """A victim's wallet. ``made`` counts addresses per chain that are invented since the real ones are not known."""

    id: Text
    entity: Text | None = None  # None: the case's
    role: Role
    addresses: list[Text] = []
    made: dict[ChainName, Annotated[int, Field(ge=1)]] = {}
    contract: bool = False  # its payments are calls, begun by somebody else's transaction


class Suspect(Sourced):
    """An address of the thief."""

    address: Text
    label: Text


class AssetEntry(Entry):
    """A token that moved."""

    chain: ChainName
    asset: Text  # contract address
    symbol: Text
    decimals: Annotated[int, Field(ge=0, le=77)]


class Movement(Sourced):
    """One transaction. ``from`` names addresses, or a wallet for all of its addresses on that chain."""

    phase: Phase = Phase.THEFT
    at: Moment
    precision: Precision
    earliest: Moment | None = None  # of a bracket
    latest: Moment | None = None
    placed: Text | None = None  # how the replay chose a time that is not known to the second
    chain: ChainName
    block: Annotated[int, Field(ge=0)] | None = None
    sender: Annotated[list[Text], BeforeValidator(_listed), Field(alias="from", min_length=1)]
    to: Text
    asset: Text  # native, or the symbol of a listed asset
    value: Text
    tx: Text | None = None
    inputs: list[Text] | None = None  # UTXO: amount of each address in ``from``; None: half of the first, rest evenly

    @model_validator(mode="after")
    def _times(self) -> Movement:
        if self.precision is Precision.BRACKET and (self.earliest is None or self.latest is None):
            raise ValueError("a time in a bracket needs `earliest` and `latest`")
        if self.precision is not Precision.SECOND and self.placed is None:
            raise ValueError("a time that is not known to the second needs `placed`")
        if not (self.earliest or self.at) <= self.at <= (self.latest or self.at):
            raise ValueError("the time is outside its bracket")
        if self.inputs is not None and len(self.inputs) != len(self.sender):
            raise ValueError("`inputs` and `from` differ in length")
        return self


class Total(Sourced):
    """Payments of which only the sum and the window are known: the replay splits it into ``payments`` equal ones."""

    chain: ChainName
    wallet: Text
    to: Text
    asset: Text
    value: Text
    first: Moment
    last: Moment
    payments: Annotated[int, Field(ge=2)]
    placed: Text


class BalanceEntry(Entry):
    """What a wallet held right before the theft: from a source, or assumed for a stated reason."""

    wallet: Text
    chain: ChainName
    asset: Text
    value: Text
    source: Keys | None = None
    assumed: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> BalanceEntry:
        if (self.source is None) == (self.assumed is None):
            raise ValueError("a balance has either `source` or `assumed`")
        return self


class Noticed(Sourced):
    """When the victim noticed; no ``at``: not known, or never."""

    at: Moment | None = None
    precision: Precision | None = None

    @model_validator(mode="after")
    def _why(self) -> Noticed:
        if (self.at is None) != (self.precision is None) or (self.at is None and self.note is None):
            raise ValueError("either a time with its precision, or a note")
        return self


class Fact(Sourced):
    """Something else that is known: shown, never replayed."""

    text: Text
    at: Moment | None = None
    precision: Precision | None = None


class Height(Entry):
    """The block number that the replay gives to the first movement of a chain where the real one is not known."""

    number: Annotated[int, Field(ge=1)]
    note: Text


class Leg(Entry):
    """Generated traffic of one wallet in one asset."""

    wallet: Text
    chain: ChainName
    asset: Text = "native"
    traffic: Annotated[Hot | Occasional | Storage, Field(discriminator="kind")]


class Background(Entry):
    """Generated traffic before the theft."""

    seed: Text
    days: Annotated[int, Field(ge=1, le=400)]
    legs: Annotated[list[Leg], Field(min_length=1)]


class CaseFile(Entry):
    """One case."""

    version: Literal[1]
    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: Text
    date: Text
    entity: Text
    summary: Text
    replayable: bool
    why_not: Text | None = None
    wallets: list[WalletEntry] = []
    suspects: list[Suspect] = []
    assets: list[AssetEntry] = []
    theft: list[Movement] = []
    totals: list[Total] = []
    balance_before: list[BalanceEntry] = []
    heights: dict[ChainName, Height] = {}
    noticed: Noticed | None = None
    facts: list[Fact] = []
    conflicts: list[Fact] = []
    background: Background | None = None
    background_note: Text | None = None
    sources: Annotated[dict[str, Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> CaseFile:
        if self.replayable:
            if self.why_not or not (self.wallets and self.theft and self.balance_before and self.noticed):
                raise ValueError("a case to replay needs wallets, theft, balance_before and noticed, and no why_not")
            if self.background is None or self.background_note is None:
                raise ValueError("a case to replay needs background and background_note")
        elif self.why_not is None:
            raise ValueError("a case that cannot be replayed needs why_not")
        for claim in self.claims():
            self._check_sources(claim)
        for balance in self.balance_before:
            self._check_keys(balance.source or [])
        return self

    def claims(self) -> Iterator[Sourced]:
        """Everything that has sources."""
        yield from self.wallets
        yield from self.suspects
        yield from self.theft
        yield from self.totals
        yield from self.facts
        yield from self.conflicts
        if self.noticed is not None:
            yield self.noticed

    def _check_keys(self, keys: list[str]) -> None:
        for key in keys:
            if key not in self.sources:
                raise ValueError(f"source {key!r} is not listed")

    def _check_sources(self, claim: Sourced) -> None:
        self._check_keys(claim.source)
        if claim.verified and not any(self.sources[key].kept for key in claim.source):
            raise ValueError(f"a fact that rests on {', '.join(claim.source)} alone needs `verified: false`")

    @property
    def chains(self) -> tuple[str, ...]:
        """Names of the networks on which coins moved."""
        return tuple(dict.fromkeys([m.chain for m in self.theft] + [t.chain for t in self.totals]))

    def asset(self, chain: str, name: str) -> tuple[str, AssetInfo]:
        """How rows name an asset (``native`` or a contract), and its CAIP-19, symbol and decimals."""
        network = network_of(chain)
        if name == "native":
            return "native", AssetInfo(network.asset, network.symbol, network.decimals)
        for entry in self.assets:
            if (entry.chain, entry.symbol) == (chain, name):
                contract = entry.asset.lower()
                return contract, AssetInfo(token_asset(network.chain, contract), entry.symbol, entry.decimals)
        raise ValueError(f"asset {name!r} of {chain} is not listed")

    def amount(self, chain: str, asset: str, text: str) -> int:
        """Base units of an amount."""
        return parse_amount(text, self.asset(chain, asset)[1])
