"""The body of webhooks: every field with its unit. The documents that receivers get are made from it.

`alerts.wire` writes the body, and `monitor.published` the incident in it; these models describe both and are used to
check, never to write, so that a message is not lost to a form that its description does not know. They are strict: a
field that is not described is a fault of ours. Receivers must be laxer: see `alerts.payload_schema`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from monitor.model import AlertKind

__all__ = ["KINDS", "MODELS", "TYPES", "Message"]

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$"
_Time = Annotated[str, Field(pattern=_TIME, json_schema_extra={"format": "date-time"})]
_Amount = Annotated[str, Field(pattern=r"^[0-9]+$", description="Base units, as decimal text: it may pass 2^64.")]
_Address = Annotated[str, Field(min_length=1, json_schema_extra={"format": "uri"})]
_Ids = Annotated[list[str], Field(min_length=1)]
_Share = Annotated[float, Field(ge=0.0)]
_Severity = Literal["info", "low", "medium", "high", "critical"]
_IncidentKind = Literal["opened", "escalated", "updated", "resolved", "retracted", "reminder"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AssetAmount(_Form):
    """An amount of one asset."""

    chain: str = Field(description="CAIP-2: `eip155:1`; `nem:mainnet` for NEM.")
    asset: str = Field(description="CAIP-19: `eip155:1/slip44:60`.")
    value: _Amount
    display: str = Field(description="For people. A token's own name in it is its maker's word.")


class Loss(AssetAmount):
    """What went to suspects of one asset."""

    usd: float | None = Field(
        None, description="Worth as of the blocks, US dollars; null: no price. Missing where nothing had a price."
    )


class Finding(_Form):
    """What one detector says of one payment or change of control."""

    id: str
    detector: str = Field(description="`HW-3`; `heistwatch detectors` explains each.")
    wallet: str = Field(description="Id of the wallet in the configuration.")
    chain: str = Field(description="CAIP-2.")
    severity: _Severity
    at: _Time = Field(description="Time of its block, as the chain states it.")
    tx: str = Field(description="Hash of the transaction that raised it.")
    block: int = Field(description="Number of its block.")
    asset: str = Field(description="CAIP-19, empty where none is meant.")
    destination: str = Field(description="Address that was paid or given control, empty where there is none.")
    value: _Amount
    summary: str = Field(description="One sentence for people.")
    evidence: dict[str, Any] = Field(description="What was seen, by detector. More names may come at any time.")


class Judgement(_Form):
    """What a person, or the return of the funds, said of an incident."""

    what: str = Field(description="`acknowledge`, `confirm`, `false-alarm`, `resolve`, `reopen` or `merged`.")
    by: str
    comment: str
    at: _Time | SkipJsonSchema[None] = None


class Incident(_Form):
    """Everything found about one theft of one owner, as of `revision`."""

    id: str = Field(description="The same in every message of the incident.")
    entity: str = Field(description="The owner.")
    wallets: list[str] = Field(description="Ids of wallets with findings.")
    status: Literal["open", "acknowledged", "confirmed", "resolved", "false_alarm", "retracted"]
    severity: _Severity
    revision: int = Field(ge=0, description="Rises with each change: of two messages the higher one is newer.")
    opened_at: _Time = Field(description="Time of the payment that opened it, as the chain states it.")
    opened_block: int
    opened_chain: str = Field(description="CAIP-2.")
    opened_tx: str
    updated_at: _Time = Field(description="Time of its latest evidence, as the chain states it.")
    paged_at: _Time | None = Field(description="First finding of high or critical severity.")
    paged_tx: str | None
    return_period_days: float | None = Field(
        description="Days in which this wallet shows as much once; null: no statistical threshold was passed."
    )
    budget_exceeded: bool = Field(description="A statistical threshold or the guard rail fired.")
    unconfirmed: bool = Field(description="Nothing of it is mined so far.")
    findings: list[Finding]
    suspects: list[str] = Field(description="Addresses that were paid or given control.")
    lost: list[Loss] = Field(description="All that went to suspects, by asset.")
    returned: list[AssetAmount] = Field(description="What came back of it, by asset.")
    lost_usd: float | None = Field(description="Worth of what was lost as of the blocks, US dollars; null: no price.")
    share_lost_at_open: _Share | None = Field(
        description="Part of the loss that had gone when it opened, 0 to 1; mean over assets."
    )
    share_lost: _Share | None = Field(
        description="Part of the balance before the incident that went to suspects; mean over assets."
    )
    explanation: list[str] = Field(description="Sentences for people.")
    history: list[Judgement] = Field(description="What was said of it, oldest first.")


class Links(_Form):
    """Where a person can look and answer. Whoever has one may use it: it acts once, and only for some days."""

    incident: _Address | SkipJsonSchema[None] = None
    acknowledge: _Address | SkipJsonSchema[None] = None
    confirm: _Address | SkipJsonSchema[None] = None
    false_alarm: _Address | SkipJsonSchema[None] = None
    resolve: _Address | SkipJsonSchema[None] = None


class _Data(_Form):
    id: str = Field(min_length=1, description="Identity of the message, equal to `webhook-id`.")
    title: str = Field(description="One line, without control or bidirectional characters.")
    body: str = Field(description="Lines for people, plain text.")
    labels: dict[str, str] = Field(description="Labels of routes; several values are joined by commas.")
    runbook: str = Field(description="What to do first; may be empty.")
    links: Links = Field(default_factory=Links, description="Missing where no address of this monitor is configured.")


class IncidentData(_Data):
    """A message about an incident."""

    kind: _IncidentKind
    severity: _Severity
    incident: Incident | None = Field(description="Null only in a message that could not be written whole.")
    covers: _Ids | SkipJsonSchema[None] = Field(
        None,
        description="Ids of earlier messages of the incident that waited and that this one stands for; missing where "
        "there are none. Programs may have had some of them.",
    )


class SummaryData(_Data):
    """Several messages of one owner that were held, in one: for people; programs get the messages themselves."""

    kind: Literal["summary"]
    severity: _Severity = Field(description="The highest of them.")
    incident: Incident | None = Field(description="The incident, where all of them are about one; else null.")
    covers: _Ids = Field(description="Ids of the messages that it stands for.")


class DrillData(_Data):
    """A message about a theft that is not real."""

    kind: Literal["drill"]
    severity: _Severity
    incident: Incident | None = Field(description="An incident that is not real.")


class MonitorData(_Data):
    """A message of the monitor about itself; it has no severity."""

    kind: Literal["blind", "recovered"]
    incident: None


class Message(_Form):
    """What every body has."""

    timestamp: _Time = Field(description="When the message was queued; the same in every attempt.")


class IncidentMessage(Message):
    """A theft, as it is found and grows, until it is over."""

    type: Literal[
        "incident.opened", "incident.escalated", "incident.updated", "incident.resolved", "incident.retracted",
        "incident.reminder",
    ]  # fmt: skip
    data: IncidentData


class SummaryMessage(Message):
    """Several held messages of one owner."""

    type: Literal["incident.summary"]
    data: SummaryData


class DrillMessage(Message):
    """A drill: take it in as the real one, and do nothing to real coins."""

    type: Literal[
        "drill.opened", "drill.escalated", "drill.updated", "drill.resolved", "drill.retracted", "drill.reminder"
    ]
    data: DrillData


class MonitorMessage(Message):
    """The monitor does not see, or sees again."""

    type: Literal["monitor.blind", "monitor.recovered"]
    data: MonitorData


class PauseRequest(_Form):
    """What a circuit breaker asks for; signed by itself, see `request_signature`."""

    action: Literal["pause_withdrawals", "pause_withdrawals.dry_run"]
    incident: str = Field(description="Id of the incident.")
    entity: str = Field(description="The owner whose withdrawals are to be paused.")
    wallets: list[str]
    requested_at: _Time
    expires_at: _Time = Field(description="After that, do nothing.")
    nonce: str = Field(pattern="^[0-9a-f]{32}$", description="One that came before is the same request again.")


class PauseAlert(_Form):
    """The message that made the breaker ask."""

    id: str = Field(min_length=1, description="`webhook-id` and `Idempotency-Key` are `breaker-` and this.")
    kind: Literal["opened", "escalated", "updated", "drill"]
    severity: Literal["critical"]
    title: str
    entity: str


class PauseData(_Form):
    """A request with its own signature."""

    alert: PauseAlert
    drill: bool = Field(description="The theft is not real; then `dry_run` is true.")
    dry_run: bool = Field(description="Nothing is to be paused.")
    request: PauseRequest
    request_signature: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="HMAC-SHA256, as hex, by the second secret, of `action|incident|entity|wallets|requested_at|"
        "expires_at|nonce`: in each `%`, `|` and `,` are written `%25`, `%7C` and `%2C`; wallets are joined by commas.",
    )


class PauseMessage(Message):
    """A circuit breaker asks to pause withdrawals. It comes from channels of that type alone."""

    type: Literal["breaker.pause_withdrawals", "breaker.pause_withdrawals.dry_run"]
    data: PauseData


MODELS: tuple[type[Message], ...] = (IncidentMessage, SummaryMessage, DrillMessage, MonitorMessage, PauseMessage)
"""The forms of bodies."""


def _types(model: type[Message]) -> tuple[str, ...]:
    return get_args(model.model_fields["type"].annotation)


TYPES: dict[str, type[Message]] = {name: model for model in MODELS for name in _types(model)}
"""Every type of message, to the form of its body."""

KINDS: dict[str, str] = {
    name: str(AlertKind.DRILL) if name.startswith("drill.") else name.partition(".")[2]
    for name in TYPES
    if not name.startswith("breaker.")
}
"""``data.kind`` of every type of message; requests of a circuit breaker have none."""
