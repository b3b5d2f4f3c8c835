"""What a backtest found as tables (Polars data frames): one place for their columns, types and units.

Times are aware datetimes in UTC. Amounts are text of base units (``value``), since they may pass 128 bits. Beside it is
``amount``, a float in whole units of the asset for plots, null where its decimals are not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from monitor.backtesting.flow_frames import FLOWS, flows_of, sum_exactly
from monitor.model import Severity
from monitor.watchlist import Watchlist

if TYPE_CHECKING:
    from monitor.backtesting.outcome import Outcome
    from monitor.backtesting.sweep import Sweep

__all__ = ["COLUMNS", "Frames", "sweep_frame"]

_TIME = pl.Datetime("us", "UTC")
_SEVERITY = pl.Enum([str(severity) for severity in Severity])
_TEXTS = pl.List(pl.String)

COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "incidents": {
        "id": pl.String, "entity": pl.String, "wallets": _TEXTS, "severity": _SEVERITY, "status": pl.String,
        "opened_at": _TIME, "opened_chain": pl.String, "opened_block": pl.Int64, "opened_tx": pl.String,
        "paged_at": _TIME, "paged_tx": pl.String, "return_period_days": pl.Float64, "budget_exceeded": pl.Boolean,
        "findings": pl.Int64, "suspects": _TEXTS, "lost_usd": pl.Float64, "share_lost_at_open": pl.Float64,
        "share_lost": pl.Float64, "explanation": pl.String,
    },
    "findings": {
        "incident": pl.String, "id": pl.String, "detector": pl.String, "wallet": pl.String, "chain": pl.String,
        "severity": _SEVERITY, "at": _TIME, "block": pl.Int64, "tx": pl.String, "asset": pl.String,
        "destination": pl.String, "value": pl.String, "amount": pl.Float64, "display": pl.String,
        "summary": pl.String, "evidence": pl.String,
    },
    "lost": {
        "incident": pl.String, "chain": pl.String, "asset": pl.String, "symbol": pl.String, "value": pl.String,
        "amount": pl.Float64, "display": pl.String, "returned": pl.String, "usd": pl.Float64,
    },
    "wallets": {
        "id": pl.String, "entity": pl.String, "role": pl.String, "budget": pl.Float64, "flows": pl.Int64,
        "flows_out": pl.Int64, "days": pl.Float64, "incidents": pl.Int64, "per_30_days": pl.Float64,
    },
    "bad_rows": {"path": pl.String, "row": pl.Int64, "reason": pl.String},
    "chains": {"chain": pl.String, "rows": pl.Int64, "transfers": pl.Int64, "first": _TIME, "last": _TIME},
    "daily": {
        "wallet": pl.String, "chain": pl.String, "asset": pl.String, "symbol": pl.String, "day": pl.Date,
        "inflow_value": pl.String, "outflow_value": pl.String, "inflow": pl.Float64, "outflow": pl.Float64,
        "flows_in": pl.Int64, "flows_out": pl.Int64,
    },
    "flows": {
        "wallet": pl.String, "chain": pl.String, "at": _TIME, "block": pl.Int64, "tx": pl.String, "index": pl.Int64,
        "kind": pl.String, "asset": pl.String, "symbol": pl.String, "direction": pl.String,
        "counterparty": pl.String, "value": pl.String, "amount": pl.Float64, "suspect": pl.Boolean,
    },
}  # fmt: skip
"""Columns and types of each table, in order."""


class Frames:
    """Tables of one outcome. Those of the report are made once; `daily` and `flows` go through the history.

    >>> Frames.__name__
    'Frames'
    """

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    # -- of the report --------------------------------------------------------------------------------------------

    @cached_property
    def incidents(self) -> pl.DataFrame:
        """One row an incident, in the order of the report."""
        return self._made("incidents", (
            {**entry, "opened_at": _moment(entry["opened_at"]), "paged_at": _moment(entry["paged_at"]),
             "findings": len(entry["findings"]), "explanation": "\n".join(entry["explanation"])}
            for entry in self._outcome.report["incidents"]
        ))  # fmt: skip

    @cached_property
    def findings(self) -> pl.DataFrame:
        """One row a finding of an incident; ``evidence`` is JSON."""
        return self._made("findings", (
            {**f, "incident": entry["id"], "at": _moment(f["at"]), **self._shown(f["asset"], f["value"]),
             "evidence": json.dumps(f["evidence"], sort_keys=True, ensure_ascii=False)}
            for entry in self._outcome.report["incidents"]
            for f in entry["findings"]
        ))  # fmt: skip

    @cached_property
    def lost(self) -> pl.DataFrame:
        """One row an incident and asset: what went to suspects, and what came back (base units)."""
        rows = []
        for entry in self._outcome.report["incidents"]:
            back = {item["asset"]: item["value"] for item in entry["returned"]}
            rows += [
                {**item, "incident": entry["id"], "symbol": self._symbol(item["asset"]),
                 "amount": self._amount(item["asset"], item["value"]), "returned": back.get(item["asset"], "0")}
                for item in entry["lost"]
            ]  # fmt: skip
        return self._made("lost", rows)

    @cached_property
    def wallets(self) -> pl.DataFrame:
        """One row a watched wallet, seen or not; ``budget`` and ``per_30_days`` are false alarms and incidents a 30
        days."""
        watched = {wallet.id: wallet for wallet in self._outcome.config.wallets}
        return self._made("wallets", (
            {**entry, "entity": watched[entry["id"]].entity, "role": str(watched[entry["id"]].role),
             "budget": watched[entry["id"]].budget}
            for entry in self._outcome.report["wallets"]
        ))  # fmt: skip

    @cached_property
    def bad_rows(self) -> pl.DataFrame:
        """Rows that could not be read, as far as the report names them."""
        return self._made("bad_rows", self._outcome.report["data"]["bad"])

    @cached_property
    def chains(self) -> pl.DataFrame:
        """One row a chain of the data."""
        return self._made("chains", (
            {**entry, "chain": chain, "first": _moment(entry["first"]), "last": _moment(entry["last"])}
            for chain, entry in self._outcome.report["data"]["chains"].items()
        ))  # fmt: skip

    # -- of the history -------------------------------------------------------------------------------------------

    def daily(self) -> pl.DataFrame:
        """What came and went on each UTC day, a row a wallet, chain, asset and day with any flow; fees are outflow.

        It goes through the history once; memory grows with the rows of the result alone. Moves inside a wallet are
        left out. Tokens forged in a wallet's name are in the data, each with an asset of its own.
        """
        watchlist = Watchlist(self._outcome.config.wallets)
        by = ("wallet", "chain", "asset", "day")
        amounts, counts = ("inflow_value", "outflow_value"), ("flows_in", "flows_out")
        parts = []
        for batch in self._outcome.history.batches():
            into, out, fee = pl.col("direction") == "in", pl.col("direction") == "out", pl.col("kind") == "fee"
            flows = flows_of(watchlist, batch, hashes=False).filter(into | out).with_columns(
                day=pl.from_epoch("at").dt.date(),
                inflow_value=pl.when(into).then("value"), outflow_value=pl.when(out).then("value"),
                flows_in=into.cast(pl.Int64), flows_out=(out & ~fee).cast(pl.Int64),
            )  # fmt: skip
            parts.append(_summed(flows, by, amounts, counts))
        if not parts:
            return pl.DataFrame(schema=dict(COLUMNS["daily"]))
        found = _summed(pl.concat(parts), by, amounts, counts).sort(by)
        return found.with_columns(
            symbol=self._column(found["asset"], self._symbol, pl.String),
            inflow=self._amounts(found["asset"], found["inflow_value"]),
            outflow=self._amounts(found["asset"], found["outflow_value"]),
        ).select(*COLUMNS["daily"])

    def flows(self, incident: str, *, before: int = 86400, after: int = 86400) -> pl.DataFrame:
        """Flows of an incident's wallets around it, in chain order.

        Parameters
        ----------
        incident : its id, or the beginning of it
        before, after : seconds before it opened, and after its last finding or loss

        Raises
        ------
        KeyError : no incident, or several, have such an id
        """
        found = [each for each in self._outcome.incidents if each.id.startswith(incident)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} incidents have an id that begins with {incident!r}")
        of = found[0]
        watchlist = Watchlist(self._outcome.config.wallets)
        last = max([of.opened_at, *(f.at for f in of.findings), *(m.at for m in of.movements)])
        times = pl.col("block_timestamp").is_between(of.opened_at - before, last + after)
        suspects = {address for _, address in of.suspects}
        parts = [pl.DataFrame(schema=dict(FLOWS))]
        for batch in self._outcome.history.batches():
            near = batch.part(times)
            if len(near.frame):
                parts.append(flows_of(watchlist, near, of.wallets))
        rows = pl.concat(parts)
        return rows.with_columns(
            at=pl.from_epoch("at").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
            symbol=self._column(rows["asset"], self._symbol, pl.String),
            amount=self._amounts(rows["asset"], rows["value"]),
            suspect=pl.col("counterparty").is_in(list(suspects)),
        ).select(*COLUMNS["flows"])

    # -- amounts --------------------------------------------------------------------------------------------------

    def _made(self, name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
        columns = COLUMNS[name]
        return pl.DataFrame([{key: row.get(key) for key in columns} for row in rows], schema=dict(columns))

    def _symbol(self, asset: str) -> str:
        return self._outcome.names.info(asset).symbol

    def _amount(self, asset: str, value: str | None) -> float | None:
        decimals = self._outcome.names.info(asset).decimals
        return None if decimals is None or value is None else int(value) / 10**decimals

    def _shown(self, asset: str, value: str) -> dict[str, Any]:
        """Of a finding; of a change of control there is no amount."""
        if not asset or value == "0":
            return {"amount": None, "display": ""}
        return {"amount": self._amount(asset, value), "display": self._outcome.names.display(asset, int(value))}

    def _column(self, assets: pl.Series, of: Any, kind: Any) -> pl.Series:
        """Something of each asset, as a column."""
        known = {asset: of(asset) for asset in assets.unique().to_list()}
        return assets.replace_strict(known, return_dtype=kind) if known else pl.Series([], dtype=kind)

    def _amounts(self, assets: pl.Series, values: pl.Series) -> pl.Series:
        units = self._column(assets, lambda asset: self._outcome.names.info(asset).decimals, pl.Int64)
        return values.cast(pl.Float64) / pl.select(pl.lit(10.0).pow(units)).to_series()


def sweep_frame(sweep: Sweep) -> pl.DataFrame:
    """A sweep as a table: a row a setting, in its order, the settings' own values first.

    ``false_alarms`` are a wallet and 30 days, ``share_lost`` is what had gone when the alarm opened, ``delay`` is the
    median of seconds until then; ``precision``, ``recall`` and ``delay`` are null without labelled incidents.
    """
    rows = [
        {
            **row.values, "incidents": row.count, "false_alarms": row.false_alarms, "share_lost": row.share_lost,
            "precision": row.scored and row.scored.precision, "recall": row.scored and row.scored.recall,
            "delay": row.scored and row.scored.median_delay(),
        }
        for row in sweep.rows
    ]  # fmt: skip
    floats = dict.fromkeys(("false_alarms", "share_lost", "precision", "recall", "delay"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides={**floats, "incidents": pl.Int64}, infer_schema_length=None)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _summed(frame: pl.DataFrame, by: Sequence[str], amounts: Sequence[str], counts: Sequence[str]) -> pl.DataFrame:
    sums = sum_exactly(frame, by, amounts)
    more = frame.group_by(*by, maintain_order=True).agg(pl.col(name).sum() for name in counts)
    return sums.join(more, on=list(by), how="left", maintain_order="left")
