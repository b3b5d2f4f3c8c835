"""The report of a backtest as types: each field with its unit. `heistwatch schema backtest` is made from them.

`monitor.report` writes the report; these models describe and read it. A field that they do not know is kept beside the
others (``model_extra``), so that a report of a later version can be read; a test holds them to be complete.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

__all__ = [
    "Amount",
    "BadRow",
    "ChainRead",
    "DataRead",
    "FindingEntry",
    "IncidentEntry",
    "Report",
    "Speed",
    "WalletEntry",
    "backtest_schema",
]


def _exact(value: Any) -> Any:
    """Base units of their text; a float is never exact."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("expected base units as decimal text")


BaseUnits = Annotated[
    int,
    BeforeValidator(_exact),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+$", "description": "Base units as decimal text."}),
]
Moment = Annotated[AwareDatetime, WithJsonSchema({"type": "string", "format": "date-time"})]
SeverityName = Literal["info", "low", "medium", "high", "critical"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class BadRow(_Entry):
    """A row that could not be read."""

    path: str = Field(description="The file.")
    row: int = Field(description="Its row, counted from 1 without the header.")
    reason: str = Field(description="What is wrong, in words.")


class ChainRead(_Entry):
    """What the data shows of one chain."""

    rows: int = Field(description="Rows of its transfers in the data.")
    transfers: int = Field(description="Movements that were read, watched or not.")
    first: Moment | None = Field(description="Time of its first transfer.")
    last: Moment | None = Field(description="Time of its last transfer.")


class DataRead(_Entry):
    """What was read."""

    rows: int = Field(description="Data rows in the input.")
    bad_rows: int = Field(description="Rows that could not be read.")
    bad: tuple[BadRow, ...] = Field((), description="The first of them.")
    transfers: int = Field(description="Movements that were read, watched or not; on UTXO chains one an output.")
    flows: int = Field(description="Transfers that touch a wallet, once a wallet, internal ones once.")
    first: Moment | None = Field(description="Time of the first transfer.")
    last: Moment | None = Field(description="Time of the last transfer.")
    chains: dict[str, ChainRead] = Field(description="By CAIP-2.")
    notes: tuple[str, ...] = Field((), description="What the data lacks, and what was assumed.")


class Speed(_Entry):
    """How fast it went: the one part that differs between two runs."""

    wall_seconds: float = Field(description="From the first read to the finished result, without imports.")
    rows_per_second: float
    flows_per_second: float
    peak_rss_bytes: int | float = Field(description="Most memory that the process held.")


class FindingEntry(_Entry):
    """What one detector says of one payment or change of control."""

    id: str
    detector: str
    wallet: str
    chain: str = Field(description="CAIP-2.")
    severity: SeverityName
    at: Moment = Field(description="Time of the block whose processing raised it.")
    tx: str
    block: int
    asset: str = Field(description="CAIP-19; empty for most changes of control.")
    destination: str
    value: BaseUnits
    summary: str
    evidence: dict[str, Any] = Field(description="What the detector measured.")


class Amount(_Entry):
    """An amount of one asset."""

    chain: str = Field(description="CAIP-2.")
    asset: str = Field(description="CAIP-19.")
    value: BaseUnits
    display: str = Field(description="For people.")
    usd: float | None = Field(None, description="Worth as of the blocks; null: no price.")


class IncidentEntry(_Entry):
    """Everything found about one theft of one owner."""

    id: str
    entity: str
    wallets: tuple[str, ...]
    severity: SeverityName
    status: Literal["open", "resolved", "retracted"]
    opened_at: Moment = Field(description="Event time.")
    opened_block: int
    opened_chain: str
    opened_tx: str
    paged_at: Moment | None = Field(description="First time at high or critical; null: never.")
    paged_tx: str | None
    return_period_days: float | None = Field(description="How rarely this wallet shows as much; null: no statistics.")
    budget_exceeded: bool = Field(description="A statistical threshold or the guard rail fired.")
    unconfirmed: bool
    findings: tuple[FindingEntry, ...]
    suspects: tuple[str, ...]
    lost: tuple[Amount, ...] = Field(description="What went to suspects.")
    returned: tuple[Amount, ...] = Field(description="What came back of it.")
    lost_usd: float | None
    share_lost_at_open: float | None = Field(description="Of all that it lost, what was gone when it opened.")
    share_lost: float | None = Field(description="Of the balance before it.")
    explanation: tuple[str, ...]


class WalletEntry(_Entry):
    """What was seen of one wallet."""

    id: str
    flows: int
    flows_out: int
    days: float = Field(description="From its first to its last flow.")
    incidents: int
    per_30_days: float = Field(description="Incidents in 30 days.")


class Report(_Entry):
    """A report of schema heistwatch/backtest/1."""

    schema_: Literal["heistwatch/backtest/1"] = Field(alias="schema")
    data: DataRead
    speed: Speed
    incidents: tuple[IncidentEntry, ...] = Field(description="By (opened_at, id).")
    wallets: tuple[WalletEntry, ...] = Field(description="By id; all that are watched, seen or not.")

    def incident(self, name: str) -> IncidentEntry:
        """An incident by its id, or by the beginning of it that no other has; KeyError otherwise."""
        found = [incident for incident in self.incidents if incident.id.startswith(name)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} incidents have an id that begins with {name!r}")
        return found[0]


def backtest_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "heistwatch/backtest/1",
        **Report.model_json_schema(by_alias=True),
        "title": "heistwatch backtest report",
    }
