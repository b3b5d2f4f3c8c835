"""The backtest report, `heistwatch/backtest/1`: plain data, equal for equal inputs but for ``speed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.assets import AssetNames
from monitor.ids import iso
from monitor.model import Incident, Status
from monitor.published import incident_data
from monitor.replay import Replayed, WalletCount

__all__ = ["SCHEMA", "report"]

SCHEMA = "heistwatch/backtest/1"
_SHOWN_STATUS = {Status.ACKNOWLEDGED: Status.OPEN, Status.CONFIRMED: Status.OPEN, Status.FALSE_ALARM: Status.RESOLVED}
_OMITTED = ("history", "updated_at", "revision")


def report(
    data: Mapping[str, Any],
    replayed: Replayed,
    incidents: Sequence[Incident],
    names: AssetNames,
    wallets: Sequence[str],
    speed: Mapping[str, Any],
) -> dict[str, Any]:
    """Assemble a report.

    Parameters
    ----------
    data : what was read: rows, bad_rows, transfers, first, last (UTC s), chains, notes, bad
    incidents : those of ``replayed`` (`Replayed.incidents`)
    wallets : ids of all watched wallets, seen or not
    speed : wall_seconds, rows_per_second, flows_per_second, peak_rss_bytes
    """
    notes = list(data.get("notes", ()))
    if replayed.ignored:
        notes.append(
            f"{replayed.ignored} token transfers were left out: forged in a wallet's name, or of idle tokens"
        )
    return {
        "schema": SCHEMA,
        "data": {
            "rows": data["rows"],
            "bad_rows": data["bad_rows"],
            "bad": list(data.get("bad", ())),
            "transfers": data["transfers"],
            "flows": replayed.flows,
            "first": iso(data["first"]),
            "last": iso(data["last"]),
            "chains": {
                chain: {**entry, "first": iso(entry["first"]), "last": iso(entry["last"])}
                for chain, entry in data["chains"].items()
            },
            "notes": notes,
        },
        "speed": dict(speed),
        "incidents": [_incident(incident, names) for incident in incidents],
        "wallets": [_wallet(name, replayed.wallets.get(name), incidents) for name in sorted(wallets)],
    }


def _incident(incident: Incident, names: AssetNames) -> dict[str, Any]:
    found = incident_data(incident, names)
    found["status"] = str(_SHOWN_STATUS.get(incident.status, incident.status))
    return {key: value for key, value in found.items() if key not in _OMITTED}


def _wallet(name: str, seen: WalletCount | None, incidents: Sequence[Incident]) -> dict[str, Any]:
    mine = sum(name in incident.wallets for incident in incidents)
    days = 0.0
    if seen is not None and seen.first is not None and seen.last is not None:
        days = (seen.last - seen.first) / 86400
    return {
        "id": name,
        "flows": seen.flows if seen else 0,
        "flows_out": seen.flows_out if seen else 0,
        "days": round(days, 6),
        "incidents": mine,
        "per_30_days": round(mine * 30 / days, 6) if days > 0 else 0.0,
    }
