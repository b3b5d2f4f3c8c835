"""`heistwatch calibrate`: what history teaches, into the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from monitor.cli.common import count, data_option, find_config, json_option, print_json
from monitor.cli.history_options import period, period_options, renamed
from monitor.cli.progress import progress
from monitor.cli.show import clean

__all__ = ["command"]

_SHOWN = ("single", "dest_1h", "total_1h", "total_24h")


@click.command()
@click.argument("config", metavar="CONFIG")
@data_option
@period_options
@click.option("--replace", is_flag=True, help="Take the place of what the store knows of these wallets.")
@json_option
def command(
    config: str,
    data: tuple[str, ...],
    more: tuple[str, ...],
    start: str | None,
    end: str | None,
    mapped: tuple[str, ...],
    replace: bool,
    as_json: bool,
) -> None:
    """Learn from history, so that `heistwatch watch` starts warm: baselines, thresholds, known addresses.

    Reads the same tables as `heistwatch backtest` and stores the state that is left at their end. What would have
    alarmed in the past is counted, not told to anybody.
    """
    from monitor.app import calibrate
    from monitor.calibrate import calibration_data

    first, last = period(start, end)
    rename, found = renamed(mapped), find_config(config)
    with progress(as_json) as told:
        report, learned, past = calibrate(
            found, [*data, *more], replace=replace, start=first, end=last, rename=rename, progress=told
        )
    learnt = calibration_data(report, learned, past, time.time(), [wallet.id for wallet in found.wallets])
    if as_json:
        print_json(learnt)
    else:
        _show(learnt, {chain.chain: chain.name for chain in found.chains})


def _show(told: Mapping[str, Any], names: Mapping[str, str]) -> None:
    data = told["data"]
    click.echo(f"{data['rows']:,} rows, {data['flows']:,} flows of watched wallets")
    if data["bad_rows"]:
        click.echo(f"{data['bad_rows']:,} rows cannot be read; `heistwatch backtest` shows them")
    for note in data["notes"]:
        click.echo(clean(f"note: {note}"))
    for item in told["chains"]:
        click.echo(
            f"chain {names.get(item['chain'], item['chain'])}: history from {item['first']} to {item['last']} "
            f"(block {item['last_block']:,}), {_ago(item['gap_seconds'])} before now"
        )
    for item in told["wallets"]:
        _show_wallet(item, names)
    for name in told["without_history"]:
        click.echo(f"wallet {name}: no history, it learns from its first flow on")
    many = "no incident" if not told["incidents"] else count(told["incidents"], "incident")
    click.echo(f"history would have raised {many}; they are not alarms, `heistwatch backtest` shows them")
    click.echo("stored: `heistwatch watch` starts with this, and asks for today's balances at its first block")


def _show_wallet(item: Mapping[str, Any], names: Mapping[str, str]) -> None:
    on = "on now" if item["statistics_on"] else f"on from {item['statistics_from']}"
    click.echo(
        f"wallet {item['id']} on {names.get(item['chain'], item['chain'])}: {item['flows_out']:,} outflows in "
        f"{item['days']:.1f} days, {item['daily_maxima']} daily maxima known, statistics {on}, "
        f"{count(item['incidents'], 'incident')}"
    )
    for usual in item["usual"]:
        if usual["statistic"] in _SHOWN and item["daily_maxima"] >= 3:
            click.echo(f"  {usual['says']}: usual daily maximum {_percent(usual['share'])}")


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def _ago(seconds: int) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}s"
    return f"{seconds} seconds"
