"""The nouns of heistwatch: frozen values that every other module speaks in.

Units: every amount is an ``int`` in base units (wei, satoshi, micro-XEM), never a float; every time is an ``int`` of
UTC seconds as the chain states it, unless a name says otherwise. Addresses are in the canonical text form of their
chain (lower-case hex on EVM, case-sensitive base58, upper-case without dashes on NEM), without a chain prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.addresses.compact import AddressSet
    from monitor.derived import DerivedAddresses

__all__ = [
    "UNEXPLAINED",
    "Alert",
    "AlertKind",
    "Block",
    "BlockRef",
    "ControlEvent",
    "ControlKind",
    "Delivery",
    "Direction",
    "Finding",
    "Flow",
    "Incident",
    "Movement",
    "Outcome",
    "Pending",
    "Reading",
    "Reason",
    "Role",
    "Severity",
    "Status",
    "Transfer",
    "TransferKind",
    "Trusted",
    "Tx",
    "TxFlag",
    "Wallet",
]


UNEXPLAINED = "unexplained"  # the other side of a transfer of kind `TransferKind.RECONCILED`: no address


class Role(StrEnum):
    """What a wallet is for; it chooses detectors and default budgets."""

    HOT = "hot"
    COLD = "cold"
    DEPOSIT = "deposit"
    TREASURY = "treasury"
    PERSONAL = "personal"

    @property
    def is_exact(self) -> bool:
        """Whether exact rules alone judge such a wallet: a budget of false alarms is nothing to it."""
        return self in (Role.COLD, Role.DEPOSIT)


class Severity(IntEnum):
    """How rare or how bad; ``info`` never opens an incident. ``str()`` is the lower-case word."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Severity:
        """``low``, ``HIGH``, ... ; ValueError names the valid words."""
        try:
            return cls[word.strip().upper()]
        except KeyError:
            valid = ", ".join(str(s) for s in cls)
            raise ValueError(f"severity was {word!r}, expected one of {valid}") from None


class Status(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"
    RESOLVED = "resolved"
    FALSE_ALARM = "false_alarm"
    RETRACTED = "retracted"


class Direction(IntEnum):
    """A flow as its wallet sees it."""

    IN = 0
    OUT = 1
    INTERNAL = 2


class TransferKind(StrEnum):
    """How the value moved. ``reconciled`` is an unexplained balance change where no traces are to be had."""

    NATIVE = "native"
    INTERNAL = "internal"
    TOKEN = "token"
    FEE = "fee"
    RECONCILED = "reconciled"


class ControlKind(StrEnum):
    """What changed in who may move the coins."""

    APPROVAL = "approval"
    OWNER_CHANGE = "owner_change"
    THRESHOLD_CHANGE = "threshold_change"
    IMPLEMENTATION_CHANGE = "implementation_change"
    MODULE_CHANGE = "module_change"
    GUARD_CHANGE = "guard_change"
    FALLBACK_CHANGE = "fallback_change"
    DELEGATION = "delegation"
    DELEGATE_CALL = "delegate_call"
    REFUND = "refund"
    ROLE_CHANGE = "role_change"
    DELAY_CHANGE = "delay_change"
    PROPOSAL = "proposal"
    SIGNATORY_CHANGE = "signatory_change"
    IMPORTANCE_TRANSFER = "importance_transfer"


class TxFlag(IntFlag):
    """Bits of `Tx.flags` on UTXO chains; the lower four are part of a transaction's look (HW-7)."""

    REPLACEABLE = 1  # a sequence number below 0xfffffffe: signals replace-by-fee (BIP 125)
    LOCKED = 2  # a lock time above 0
    ROUND_FEE = 4  # the fee is a round amount of coins, as people type it
    ROUND_AMOUNT = 8  # so is the largest output that is no change
    COINJOIN = 16  # looks like a CoinJoin: several owners, equal outputs
    COINBASE = 32  # new coins, not to be spent before they are mature


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block of one chain; ``chain`` is CAIP-2, ``hash`` lower-case hex as the chain writes it."""

    chain: str
    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Tx:
    """What is known of the transaction around a transfer. None is "the source did not say"."""

    hash: str
    index: int  # position in the block
    initiator: str | None = None  # who signed or paid
    nonce: int | None = None
    fee: int | None = None  # base units of the native asset
    fee_rate: float | None = None  # wei per gas; satoshi per virtual byte
    gas_limit: int | None = None
    version: int | None = None
    flags: int = 0  # family specific bits: `TxFlag` on UTXO chains
    n_outputs: int | None = None
    target: str | None = None  # the account that was called (EVM ``to``)
    pending: bool = False
    n_inputs: int | None = None  # UTXO chains
    script_type: str = ""  # UTXO chains: that of all inputs (``p2wpkh``, ...), ``mixed``; empty: not known
    spends: tuple[str, ...] = ()  # UTXO chains: the watched coins that it spends, ``txid:vout``


@dataclass(frozen=True, slots=True)
class Transfer:
    """Value that moved. On UTXO chains a transfer is one output, with all the inputs of its transaction.

    ``index`` is the position in the block, stable when the block is read again. ``asset`` is CAIP-19.
    ``input_values`` has one entry an entry of ``from_addresses``; on account chains both have length one.
    """

    block: BlockRef
    tx: Tx
    index: int
    kind: TransferKind
    asset: str
    from_addresses: tuple[str, ...]
    to_address: str
    value: int  # base units
    input_values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """A change in who may move the coins of ``account``."""

    block: BlockRef
    tx: Tx
    kind: ControlKind
    account: str
    subject: str  # the new owner, spender, implementation, ...
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the chain's state says of a watched account after a block; see `chains.evm.accounts` for the keys.

    A key that is not there was not read, and says nothing; an empty value means "none". ``tx`` is the transaction of
    the block that most likely changed it.
    """

    account: str
    values: Mapping[str, str]
    tx: Tx | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A block as a chain adapter hands it over: what touches the watch set, and a count of the rest."""

    ref: BlockRef
    parent_hash: str
    timestamp: int
    transfers: tuple[Transfer, ...] = ()
    controls: tuple[ControlEvent, ...] = ()
    transfers_seen: int = 0  # all transfers of the block, watched or not
    undecoded: tuple[str, ...] = ()  # transactions that could not be understood, by hash
    source: str = ""  # endpoint that answered, secrets removed
    blind_spots: tuple[str, ...] = ()  # what this reading cannot show, e.g. "internal transfers"
    readings: tuple[Reading, ...] = ()  # state of watched accounts after it, where it was read
    balances: tuple[tuple[str, str, int], ...] = ()  # (address, CAIP-19 asset, base units) before it, where asked


@dataclass(frozen=True, slots=True)
class Pending:
    """A transaction that waits to be mined, and what it would do, as far as its own words say.

    ``transfers`` and ``controls`` carry a block that does not exist. ``gap`` counts the nonces before its own that its
    sender has not used, and for which nothing waits.
    """

    tx: Tx
    transfers: tuple[Transfer, ...] = ()
    controls: tuple[ControlEvent, ...] = ()
    gap: int = 0


@dataclass(frozen=True, slots=True)
class Trusted:
    """A counterparty that its owner expects, with optional limits.

    ``max_value`` (base units) bounds the sum to this address within ``window`` seconds; None is no bound. ``start``
    (inclusive) and ``end`` (exclusive) bound the time in which the entry holds.
    """

    chain: str
    address: str
    asset: str | None = None
    max_value: int | None = None
    window: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Wallet:
    """One wallet of one entity, possibly with addresses on several chains."""

    id: str
    entity: str
    role: Role
    addresses: tuple[tuple[str, str], ...]  # (CAIP-2 chain, address)
    trusted: tuple[Trusted, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    budget: float = 1.0  # false alarms a 30 days
    fleets: tuple[tuple[str, AddressSet], ...] = ()  # (CAIP-2 chain, addresses of a long list), beside ``addresses``
    derived: tuple[DerivedAddresses, ...] = ()  # of descriptors and extended keys, beside both

    @property
    def chains(self) -> tuple[str, ...]:
        """Chains on which it has an address."""
        found = [chain for chain, _ in self.addresses]
        if self.fleets or self.derived:
            found += [*(chain for chain, _ in self.fleets), *(derived.chain for derived in self.derived)]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Flow:
    """A transfer as one watched wallet sees it.

    ``value`` is the wallet's own part: on UTXO chains with inputs of several owners it is less than the output.
    """

    transfer: Transfer
    wallet: str
    direction: Direction
    counterparty: str
    value: int
    timestamp: int
    usd: float | None = None
    authorised: bool = False


@dataclass(frozen=True, slots=True)
class Movement:
    """An outflow of an incident: what went to a suspect, exactly."""

    wallet: str
    chain: str
    asset: str
    counterparty: str
    value: int
    at: int
    tx: str
    index: int
    block_number: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector says of one flow.

    ``tx`` and ``at`` are the flow whose processing raised it, never earlier evidence. ``score`` is the fused score in
    log10 units; ``return_period_days`` how rarely this wallet shows as much (None: not a statistical finding).
    """

    id: str
    detector: str
    wallet: str
    chain: str
    severity: Severity
    score: float
    summary: str
    tx: str
    at: int
    block_number: int
    index: int = 0  # of the transfer in its block
    asset: str = ""
    destination: str = ""
    value: int = 0
    return_period_days: float | None = None
    budget_exceeded: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything found about one theft of one entity; each change raises ``revision``."""

    id: str
    entity: str
    wallets: tuple[str, ...]
    status: Status
    severity: Severity
    opened_at: int
    opened_block: int
    opened_chain: str
    opened_tx: str
    revision: int
    findings: tuple[Finding, ...]
    movements: tuple[Movement, ...]
    suspects: tuple[tuple[str, str], ...]  # (chain, address)
    lost: tuple[tuple[str, int], ...]  # (CAIP-19 asset, base units), sorted
    share_lost: float | None
    share_lost_at_open: float | None
    updated_at: int = 0
    paged_at: int | None = None
    paged_tx: str | None = None
    return_period_days: float | None = None
    budget_exceeded: bool = False
    explanation: tuple[str, ...] = ()
    lost_usd: float | None = None
    history: tuple[Mapping[str, Any], ...] = ()  # verdicts: {what, by, comment, at}
    returned: tuple[tuple[str, int], ...] = ()  # of what was lost: (CAIP-19 asset, base units), sorted
    worth: tuple[tuple[str, float], ...] = ()  # of what was lost: (CAIP-19 asset, US dollars), where there was a price
    unconfirmed: bool = False  # nothing of it is mined so far; otherwise ``lost`` counts what is mined alone


class AlertKind(StrEnum):
    """Why a person hears of an incident now."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UPDATED = "updated"
    RESOLVED = "resolved"
    RETRACTED = "retracted"
    DRILL = "drill"
    BLIND = "blind"
    RECOVERED = "recovered"
    SUMMARY = "summary"  # several held messages of one entity, in one
    REMINDER = "reminder"  # an incident that is open is said again


_PLAYED = {"opened", "escalated", "updated", "resolved", "retracted", "reminder"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One message to people: ``id`` is a hash of incident, revision and kind.

    ``incident`` is the incident as published (see `monitor.published.incident_data`), None for `monitor.*` alerts.
    ``links`` are made for one receiver when its rows are: ``incident``, ``acknowledge``, ``confirm``, ``false_alarm``
    and ``resolve``, to URLs; so is ``zone``, the IANA zone of whoever reads it (empty: UTC alone). ``covers`` are the
    ids of the alerts that a summary stands for.
    """

    id: str
    kind: AlertKind
    title: str
    body: str
    severity: Severity | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str = ""
    incident: Mapping[str, Any] | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    zone: str = ""

    @property
    def type(self) -> str:
        """The webhook type: ``incident.opened``, ``monitor.blind``, ``drill.opened`` for example.

        A drill plays an incident: what its label ``kind`` says, else ``opened``.
        """
        if self.kind is AlertKind.DRILL:
            played = self.labels.get("kind", "")
            return f"drill.{played}" if played in _PLAYED else "drill.opened"
        family = "monitor" if self.kind in (AlertKind.BLIND, AlertKind.RECOVERED) else "incident"
        return f"{family}.{self.kind}"


class Outcome(StrEnum):
    """How one attempt ended."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    REJECTED = "rejected"  # will never be accepted: a dead letter at once


class Reason(StrEnum):
    """Why an attempt ended as it did: a closed list, also the metric label."""

    OK = "ok"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"
    AUTH = "auth"
    GONE = "gone"
    EXPIRED = "expired"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver one alert to one channel."""

    alert_id: str
    receiver: str
    channel: str
    attempt: int
    outcome: Outcome
    reason: Reason
    at: float  # wall clock, UTC seconds
    external_id: str | None = None
    detail: str = ""
