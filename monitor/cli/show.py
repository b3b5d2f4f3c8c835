"""Reports and incidents for people: colours and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import click

from monitor.cli.common import count

__all__ = ["clean", "show_incident", "show_report"]

_COLOURS = {"critical": "red", "high": "bright_red", "medium": "yellow", "low": "cyan", "info": "white"}


def clean(text: str) -> str:
    """Text without control characters: on-chain text is hostile."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def severity(word: str) -> str:
    """A severity, coloured on a terminal."""
    if not sys.stdout.isatty():
        return word.upper()
    return click.style(f" {word.upper()} ", bg=_COLOURS.get(word, "white"), fg="white", bold=True)


def bold(text: str) -> str:
    """Bold on a terminal."""
    return click.style(text, bold=True) if sys.stdout.isatty() else text


def show_report(found: Mapping[str, Any], out: str | None) -> None:
    """A backtest's summary."""
    data, speed = found["data"], found["speed"]
    click.echo(
        f"{data['rows']:,} rows, {data['transfers']:,} transfers, {data['flows']:,} flows of watched wallets, "
        f"{data['first'] or '-'} to {data['last'] or '-'}; {speed['wall_seconds']:.2f} s"
    )
    if data["bad_rows"]:
        click.echo(f"{data['bad_rows']:,} row{'s' if data['bad_rows'] > 1 else ''} cannot be read:")
        for bad in data["bad"][:5]:
            click.echo(clean(f"  {bad['path']}, row {bad['row']}: {bad['reason']}"))
    for note in data["notes"]:
        click.echo(clean(f"note: {note}"))
    if not found["incidents"]:
        click.echo(bold("no incident"))
    for incident in found["incidents"]:
        click.echo("")
        show_incident(incident)
    click.echo("")
    for wallet in found["wallets"]:
        rate = f", {wallet['per_30_days']:.2f} in 30 days" if wallet["days"] >= 1 else ""
        click.echo(
            f"wallet {wallet['id']}: {wallet['flows_out']:,} outflows in {wallet['days']:.1f} days, "
            f"{count(wallet['incidents'], 'incident')}{rate}"
        )
    if out:
        click.echo(f"report: {out}")


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
    for line in incident["explanation"]:
        click.echo(textwrap.indent(textwrap.fill(clean(line), 110), "  "))
    for address in incident["suspects"][:5]:
        click.echo(clean(f"  suspect {address}"))
    if len(incident["suspects"]) > 5:
        click.echo(f"  and {len(incident['suspects']) - 5} more suspects")


def clean_line(text: str) -> str:
    """One line: like `clean`, but the terminal's own colour codes stay."""
    return "".join(c if c.isprintable() or c == "\x1b" else "?" for c in text)
