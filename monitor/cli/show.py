"""Reports and incidents for people: colours and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from monitor.cli.common import count, table

__all__ = ["clean", "show_files", "show_incident", "show_report"]

_COLOURS = {"critical": "red", "high": "bright_red", "medium": "yellow", "low": "cyan", "info": "white"}
_MANY = 100_000  # rows from which on their number a second says something
_LISTED = 50  # incidents in a table
_WALLETS = 20  # wallets in a table


def clean(text: str) -> str:
    """Text without control characters: on-chain text is hostile."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def severity(word: str) -> str:
    """A severity, coloured on a terminal."""
    if not _is_coloured():
        return word.upper()
    return click.style(f" {word.upper()} ", bg=_COLOURS.get(word, "white"), fg="white", bold=True)


def bold(text: str) -> str:
    """Bold on a terminal."""
    return click.style(text, bold=True) if _is_coloured() else text


def _is_coloured() -> bool:
    """A terminal whose user did not ask for none (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def show_files(written: Mapping[str, str]) -> None:
    """What lies in which file."""
    for what, path in written.items():
        click.echo(f"{what}: {path}")


def show_report(found: Mapping[str, Any], budgets: Mapping[str, float] | None = None) -> None:
    """A backtest's summary.

    Parameters
    ----------
    found : the report
    budgets : false alarms a 30 days that a wallet's owner accepts, by wallet, where statistics judge it
    """
    _show_data(found)
    incidents = found["incidents"]
    if not incidents:
        click.echo(bold("no incident"))
    shown = incidents
    if len(incidents) > 1 and sys.stdout.isatty():
        click.echo("")
        _show_table(incidents)
        shown = _worst(incidents)
    for incident in shown:
        click.echo("")
        show_incident(incident)
    if len(shown) < len(incidents):
        click.echo("")
        click.echo(f"the worst {len(shown)} of {len(incidents):,} are shown in full; --report has all of them")
    click.echo("")
    _show_wallets(found["wallets"], budgets or {})


def _show_data(found: Mapping[str, Any]) -> None:
    data, speed = found["data"], found["speed"]
    click.echo(
        f"{data['rows']:,} rows, {data['transfers']:,} transfers, {data['flows']:,} flows of watched wallets, "
        f"{data['first'] or '-'} to {data['last'] or '-'}; {speed['wall_seconds']:.2f} s"
        + (f", {speed['rows_per_second']:,.0f} rows a second" if data["rows"] >= _MANY else "")
    )
    if data["bad_rows"]:
        click.echo(f"{count(data['bad_rows'], 'row')} cannot be read:")
        for bad in data["bad"][:5]:
            click.echo(clean(f"  {bad['path']}, row {bad['row']}: {bad['reason']}"))
        if data["bad_rows"] > 5:
            click.echo(f"  and {data['bad_rows'] - 5:,} more")
    for note in data["notes"]:
        click.echo(clean(f"note: {note}"))


def _show_table(incidents: Sequence[Mapping[str, Any]]) -> None:
    """One line an incident; of very many the worst."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    listed = _worst(incidents, _LISTED)
    title = f"{len(incidents):,} incidents; gone: the part of the loss that had gone when it opened"
    shown = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("severity", "opened", "owner", "lost", "gone", "incident"):
        right, whole = column == "gone", column in ("severity", "opened", "gone")
        shown.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=whole)
    for item in listed:
        share, lost = item.get("share_lost_at_open"), ", ".join(part["display"] for part in item["lost"][:2])
        shown.add_row(
            f"[bold white on {_COLOURS.get(item['severity'], 'black')}] {item['severity'].upper()} [/]",
            item["opened_at"], escape(clean(item["entity"])),
            escape(clean(lost)) + (f" and {len(item['lost']) - 2} more" if len(item["lost"]) > 2 else ""),
            "-" if share is None else f"{share * 100:.0f} %", item["id"],
        )  # fmt: skip
    Console().print(shown)
    if len(listed) < len(incidents):
        click.echo(f"the worst {len(listed)} of {len(incidents):,}")


def _worst(incidents: Sequence[Mapping[str, Any]], most: int = 5) -> Sequence[Mapping[str, Any]]:
    """The most severe ones, the earlier of equals, in the report's order."""
    ranks = list(_COLOURS)
    places = sorted(range(len(incidents)), key=lambda n: (ranks.index(incidents[n]["severity"]), n))[:most]
    return [incidents[n] for n in sorted(places)]


def _show_wallets(wallets: Sequence[Mapping[str, Any]], budgets: Mapping[str, float]) -> None:
    """How often each wallet was alarmed about: a line each, or on a terminal a table of those that were most often."""
    if len(wallets) < 2 or not sys.stdout.isatty():
        for wallet in wallets:
            click.echo(_wallet(wallet, budgets.get(wallet["id"])))
        return
    listed = sorted(wallets, key=lambda wallet: -wallet["incidents"])[:_WALLETS]
    table(
        ["wallet", "outflows", "days", "incidents", "in 30 days", "budget"],
        [_cells(wallet, budgets.get(wallet["id"])) for wallet in listed],
        numbers=True,
    )
    names = {wallet["id"] for wallet in listed}
    if rest := [wallet for wallet in wallets if wallet["id"] not in names]:
        outflows = count(sum(wallet["flows_out"] for wallet in rest), "outflow")
        incidents = count(sum(wallet["incidents"] for wallet in rest), "incident")
        click.echo(f"and {count(len(rest), 'wallet')} more: {outflows}, {incidents}; all are in --json and --report")


def _cells(wallet: Mapping[str, Any], budget: float | None) -> list[str]:
    rate = f"{wallet['per_30_days']:.2f}" if wallet["days"] >= 1 else "-"
    return [
        wallet["id"], f"{wallet['flows_out']:,}", f"{wallet['days']:.1f}", f"{wallet['incidents']:,}", rate,
        "-" if budget is None else f"{budget:g}",
    ]  # fmt: skip


def _wallet(wallet: Mapping[str, Any], budget: float | None) -> str:
    rate = f", {wallet['per_30_days']:.2f} in 30 days" if wallet["days"] >= 1 else ""
    if rate and budget is not None:
        rate += f" (budget of false alarms: {budget:g})"
    return clean(
        f"wallet {wallet['id']}: {wallet['flows_out']:,} outflows in {wallet['days']:.1f} days, "
        f"{count(wallet['incidents'], 'incident')}{rate}"
    )


def show_incident(incident: Mapping[str, Any]) -> None:
    """One incident."""
    lost = ", ".join(item["display"] for item in incident["lost"]) or "nothing yet"
    click.echo(clean_line(f"{severity(incident['severity'])} {bold(incident['entity'])}: {lost} sent to suspects"))
    click.echo(f"  incident {incident['id']}, {incident['status']}, opened {incident['opened_at']}")
    if incident.get("share_lost_at_open") is not None:
        at_open = f"  {incident['share_lost_at_open'] * 100:.0f} % of the loss had gone when it opened"
        if incident.get("share_lost") is not None:
            at_open += f"; {incident['share_lost'] * 100:.0f} % of the balance went in all"
        click.echo(at_open)
    wide = max(30, min(110, shutil.get_terminal_size((112, 24)).columns - 2)) if sys.stdout.isatty() else 110
    for line in incident["explanation"]:
        click.echo(textwrap.indent(textwrap.fill(clean(line), wide), "  "))
    suspects = list(dict.fromkeys(incident["suspects"]))  # one may be paid on several chains
    for address in suspects[:5]:
        click.echo(clean(f"  suspect {address}"))
    if len(suspects) > 5:
        click.echo(f"  and {len(suspects) - 5} more suspects")


def clean_line(text: str) -> str:
    """One line: like `clean`, but the terminal's own colour codes stay."""
    return "".join(c if c.isprintable() or c == "\x1b" else "?" for c in text)
