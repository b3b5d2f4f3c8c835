"""`heistwatch deliveries`: what was sent to whom, and what waits."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored, table
from monitor.ids import iso

__all__ = ["command"]


@click.group()
def command() -> None:
    """What was sent to whom, and what waits."""


@command.command("list")
@click.option("--state", type=click.Choice(["due", "done", "dead"]), help="Only these.")
@config_option
@json_option
def list_(state: str | None, config: str | None, as_json: bool) -> None:
    """List queued, delivered and dead messages."""
    rows = run(_rows(find_config(config), state))
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no messages")
        return
    columns = ("alert", "type", "receiver", "channel", "state", "attempts", "queued", "next")
    table(columns, [[str(row[name] if row[name] is not None else "-") for name in columns] for row in rows])


async def _rows(config: Any, state: str | None) -> list[dict[str, Any]]:
    async with stored(config) as store:
        found = await store.outbox(state=state)
    return [
        {
            "alert": row.alert_id,
            "type": row.kind,
            "receiver": row.receiver,
            "channel": row.channel,
            "state": row.state,
            "attempts": row.attempts,
            "queued": iso(row.queued_at),
            "next": iso(row.next_at) if row.state == "due" and row.next_at else None,
            "incident": row.incident_id,
        }
        for row in found
    ]
