"""What the page says, as plain values for its template: every bound is stated beside what it leaves out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.charts.balance import balance
from monitor.backtesting.page.charts.graph import graph
from monitor.backtesting.page.charts.loss import loss, shares_at_open
from monitor.backtesting.page.charts.outflow import outflow
from monitor.backtesting.page.charts.payments import payments
from monitor.backtesting.page.given import Labelled, Setting, Told
from monitor.backtesting.page.parts import settings_view, sweep_view, truth_view, wallet_rows
from monitor.backtesting.page.probe import Seen
from monitor.backtesting.page.windows import tracks_of, worst
from monitor.backtesting.page.words import clock, length, percent
from monitor.findings import title_of
from monitor.ids import from_iso
from monitor.model import Finding, Incident, Severity

__all__ = ["DRAWN", "drawn", "view"]

DRAWN = 20  # incidents with charts, the worst
WORDED = 200  # and those with findings in words
LISTED = 5000  # rows of the table of incidents
FINDINGS = 30  # of one incident
BAD_ROWS = 200


def drawn(incidents: Sequence[Incident]) -> list[int]:
    """Places of the incidents with charts."""
    return worst(incidents, DRAWN)


def view(
    told: Told, seen: Mapping[int, Sequence[Seen]], truth: Labelled | None = None, settings: Sequence[Setting] = ()
) -> dict[str, Any]:
    """Everything that the template shows.

    Parameters
    ----------
    seen : what was seen of the windows of each incident with charts, by its place; none where history is not kept
    truth : verdicts on labelled incidents, None: there are no labels
    settings : results by setting
    """
    report, incidents = told.report, told.incidents
    ranked = worst(incidents, len(incidents))
    return {
        "facts": _facts(report, told),
        "verdict": _verdict(incidents, report),
        "counts": _counts(incidents),
        "rows": [{**_row(n, incidents[n], told, truth), "linked": at < WORDED} for at, n in enumerate(ranked[:LISTED])],
        "unlisted": max(0, len(ranked) - LISTED),
        "details": [_detail(n, incidents[n], told, truth, seen.get(n)) for n in ranked[:WORDED]],
        "drawn": min(DRAWN, len(ranked)),
        "kept": told.history is not None,
        "total": len(ranked),
        "worded": min(WORDED, len(ranked)),
        **wallet_rows(told, truth),
        "chains": _chains(report["data"]["chains"]),
        "notes": list(report["data"]["notes"]),
        "bad": list(report["data"].get("bad", ()))[:BAD_ROWS],
        "bad_rows": report["data"]["bad_rows"],
        "settings": settings_view(told.config),
        "truth": truth_view(truth) if truth is not None else None,
        "sweep": sweep_view(settings) if settings else None,
    }


def _moment(text: str | None) -> str:
    return clock(from_iso(text)) if text else "—"


def _number(value: int) -> str:
    return f"{value:,}"


def _facts(report: Mapping[str, Any], told: Told) -> list[tuple[str, str]]:
    """What was read."""
    data = report["data"]
    span = from_iso(data["last"]) - from_iso(data["first"]) if data["first"] and data["last"] else 0
    return [
        ("rows read", _number(data["rows"])),
        ("transfers", _number(data["transfers"])),
        ("flows of watched wallets", _number(data["flows"])),
        ("wallets watched", _number(len(told.config.wallets))),
        ("chains", _number(len(data["chains"]))),
        ("history", length(span)),
        ("rows that could not be read", _number(data["bad_rows"])),
    ]


def _verdict(incidents: Sequence[Incident], report: Mapping[str, Any]) -> str:
    """The headline."""
    data = report["data"]
    if not data["rows"]:
        return "No rows were read"
    where = f"{day_span(data['first'], data['last'])}"
    if not incidents:
        return f"No incident {where}"
    worst_one = max(incident.severity for incident in incidents)
    count = f"{len(incidents):,} incident{'s' if len(incidents) > 1 else ''}"
    return f"{count} {where}, the worst {worst_one}"


def day_span(first: str | None, last: str | None) -> str:
    """From which day to which.

    >>> day_span("2022-08-21T05:21:12Z", "2022-09-20T05:09:12Z")
    'from 21 Aug 2022 to 20 Sep 2022'
    """
    if not first or not last:
        return "in rows without a time"
    return f"from {clock(from_iso(first)).rpartition(' ')[0]} to {clock(from_iso(last)).rpartition(' ')[0]}"


def _counts(incidents: Sequence[Incident]) -> list[tuple[str, int]]:
    found = [(str(severity), sum(i.severity == severity for i in incidents)) for severity in reversed(Severity)]
    return [(name, count) for name, count in found if name != "info"]


def _row(place: int, incident: Incident, told: Told, truth: Labelled | None) -> dict[str, Any]:
    """A line of the table."""
    lost = [told.names.display(asset, value) for asset, value in incident.lost]
    return {
        "key": f"i{place}",
        "severity": str(incident.severity),
        "rank": int(incident.severity),
        "entity": incident.entity,
        "wallets": list(incident.wallets[:4]),
        "more_wallets": len(incident.wallets[4:]),
        "opened": clock(incident.opened_at),
        "opened_at": incident.opened_at,
        "paged": clock(incident.paged_at) if incident.paged_at is not None else "—",
        "paged_at": incident.paged_at or 0,
        "lost": lost[:3],
        "more_lost": len(lost[3:]),
        "share": percent(incident.share_lost),
        "share_value": incident.share_lost if incident.share_lost is not None else -1,
        "at_open": percent(incident.share_lost_at_open),
        "at_open_value": incident.share_lost_at_open if incident.share_lost_at_open is not None else -1,
        "status": str(told.report["incidents"][place]["status"]),
        "judged": "" if truth is None else "false alarm" if incident.id in truth.false_alarms else "labelled",
    }


def _detail(
    place: int, incident: Incident, told: Told, truth: Labelled | None, seen: Sequence[Seen] | None
) -> dict[str, Any]:
    """An incident in words, and in charts where ``seen`` is there."""
    tracks, left_out = tracks_of(incident)
    found = incident.findings
    return {
        **_row(place, incident, told, truth),
        "id": incident.id,
        "explanation": list(told.report["incidents"][place]["explanation"]),
        "findings": [_finding(f, incident, told.names) for f in found[:FINDINGS]],
        "more_findings": len(found[FINDINGS:]),
        "suspects": [f"{address} ({chain})" for chain, address in incident.suspects[:40]],
        "more_suspects": len(incident.suspects[40:]),
        "at_open_words": shares_at_open(incident, told.names),
        "returned": [told.names.display(asset, value) for asset, value in incident.returned],
        "graph": graph(f"i{place}g", incident, told.names),
        "tracks": [_track(f"i{place}t{n}", incident, s, told) for n, s in enumerate(seen or ())],
        "has_charts": seen is not None,
        "more_tracks": left_out if tracks else 0,
    }


def _track(key: str, incident: Incident, seen: Seen, told: Told) -> dict[str, Any]:
    """The charts of one wallet's coins."""
    wallet, chain, asset = seen.window.track
    role = next((w.role for w in told.config.wallets if w.id == wallet), None)
    charts: list[Markup] = []
    if seen.samples:
        charts = [outflow(f"{key}o", seen, told.names), payments(f"{key}p", seen, told.names)]
        charts.append(balance(f"{key}b", seen, told.names))
    if any(move.asset == asset for move in incident.movements):
        charts.append(loss(f"{key}l", incident, seen.window, told.names))
    return {
        "wallet": wallet,
        "chain": chain,
        "symbol": told.names.info(asset).symbol,
        "asset": asset,
        "charts": charts,
        "exact": role is not None and role.is_exact,
        "left_out": seen.left_out,
        "waits": bool(seen.samples) and all(sample.smallest is None for sample in seen.samples),
    }


def _finding(finding: Finding, incident: Incident, names: AssetNames) -> dict[str, Any]:
    after = finding.at - incident.opened_at
    return {
        "at": clock(finding.at),
        "after": f"+{length(after)}" if after > 0 else f"−{length(-after)}" if after < 0 else "opens",
        "severity": str(finding.severity),
        "title": title_of(finding),
        "detector": finding.detector,
        "summary": finding.summary,
        "wallet": finding.wallet,
        "tx": finding.tx,
        "amount": names.display(finding.asset, finding.value) if finding.asset and finding.value else "",
    }


def _chains(chains: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was covered; whatever else a chain's entry says is shown by its name."""
    known = ("rows", "transfers", "first", "last")
    return [
        {
            "chain": chain,
            "rows": _number(entry.get("rows", 0)),
            "transfers": _number(entry.get("transfers", 0)),
            "first": _moment(entry.get("first")),
            "last": _moment(entry.get("last")),
            "others": [f"{key.replace('_', ' ')}: {value}" for key, value in sorted(entry.items()) if key not in known],
        }
        for chain, entry in sorted(chains.items())
    ]
