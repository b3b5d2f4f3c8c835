"""Parts of the page beside the incidents: wallets, labels, settings that were tried, settings that were used. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.backtesting.page.charts.rates import bar
from monitor.backtesting.page.charts.sweep import front, sweep
from monitor.backtesting.page.given import Fate, Labelled, Setting, Told
from monitor.backtesting.page.words import compact, length, percent
from monitor.config import Config

__all__ = ["settings_view", "sweep_view", "truth_view", "wallet_rows"]

WALLETS = 200
LABELS = 500
SETTINGS = 500


def wallet_rows(told: Told, truth: Labelled | None) -> dict[str, Any]:
    """Incidents of each wallet against its budget, the most first; only false ones count where there are labels."""
    wallets = {wallet.id: wallet for wallet in told.config.wallets}
    false: dict[str, int] = {}
    for incident in told.incidents:
        if truth is not None and incident.id in truth.false_alarms:
            false |= {name: false.get(name, 0) + 1 for name in incident.wallets}
    entries = []
    for entry in told.report["wallets"]:
        wrong = entry["incidents"] if truth is None else false.get(entry["id"], 0)
        rate = wrong * 30 / entry["days"] if entry["days"] > 0 else 0.0
        entries.append((rate, wrong, entry))
    entries.sort(key=lambda item: (-item[0], -item[1], -item[2]["incidents"], item[2]["id"]))
    shown = entries[:WALLETS]
    budgets = {name: None if wallet.role.is_exact else wallet.budget for name, wallet in wallets.items()}
    most = max((max(rate, budgets[entry["id"]] or 0.0) for rate, _, entry in shown), default=1.0)
    rows = [
        {
            "id": entry["id"],
            "entity": wallets[entry["id"]].entity,
            "role": str(wallets[entry["id"]].role),
            "flows": f"{entry['flows']:,}",
            "out": f"{entry['flows_out']:,}",
            "days": f"{entry['days']:.1f}",
            "incidents": entry["incidents"],
            "false": wrong,
            "rate": f"{rate:.2f}",
            "budget": "exact rules" if (budget := budgets[entry["id"]]) is None else f"{budget:g}",
            "bar": bar(rate, budget, most),
        }
        for rate, wrong, entry in shown
    ]
    return {"wallets": rows, "more_wallets": len(entries) - len(shown)}


def truth_view(truth: Labelled) -> dict[str, Any]:
    """What became of labelled incidents."""
    return {
        "figures": list(truth.figures),
        "fates": [_fate(fate) for fate in truth.fates[:LABELS]],
        "more": len(truth.fates[LABELS:]),
        "lost": any(fate.lost for fate in truth.fates),
        "apart": truth.apart,
        "false": len(truth.false_alarms),
    }


def _fate(fate: Fate) -> dict[str, Any]:
    return {
        "name": fate.name,
        "whose": fate.whose,
        "lost": fate.lost,
        "note": fate.note,
        "fate": fate.fate,
        "opened": length(fate.opened_after) if fate.opened_after is not None else "never",
        "paged": length(fate.paged_after) if fate.paged_after is not None else "never",
        "share": percent(fate.share_lost_at_open),
        "incidents": len(fate.incidents),
    }


def sweep_view(settings: Sequence[Setting]) -> dict[str, Any]:
    """Settings that were tried, with their chart."""
    best = front([setting for setting in settings if setting.share_lost_at_open is not None])
    return {
        "chart": sweep("sweep-chart", settings),
        "judged": any(setting.caught is not None for setting in settings),
        "names": list(settings[0].values),
        "more_names": [name for name, _ in settings[0].figures],
        "rows": [
            {
                "values": list(setting.values.values()),
                "incidents": f"{setting.incidents:,}",
                "rate": compact(setting.false_alarms),
                "share": percent(setting.share_lost_at_open),
                "figures": [value for _, value in setting.figures],
                "best": setting in best,
            }
            for setting in settings[:SETTINGS]
        ],
        "more": len(settings[SETTINGS:]),
    }


def settings_view(config: Config) -> dict[str, Any]:
    """The settings that decide what is found; no endpoint, no receiver, no secret."""
    plain = config.public()
    return {
        "budget": f"{config.false_alarms_per_wallet_month:g}",
        "wallets": [
            (w.id, w.entity, str(w.role), len(w.addresses), sum(len(a) for _, a in w.fleets), len(w.trusted),
             f"{w.budget:g}", len(config.rules.get(w.id, ())))
            for w in config.wallets[:WALLETS]
        ],
        "more_wallets": len(config.wallets[WALLETS:]),
        "detectors": [
            f"{wallet}: {name} {parameter} = {value}"
            for wallet, by_name in sorted(config.detectors.items())
            for name, parameters in sorted(by_name.items())
            for parameter, value in (
                sorted(parameters.items()) if isinstance(parameters, Mapping) else (("", parameters),)
            )
        ][:WALLETS],
        "planned": [f"{p['kind']} of {p['account']}" for p in plain["planned"]][:WALLETS],
        "labels": len(config.labels),
        "prices": str(config.prices.source),
    }  # fmt: skip
