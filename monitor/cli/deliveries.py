"""`heistwatch deliveries`: what was sent to whom, what waits, what was given up; and trying that once more."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from monitor.cli.common import config_option, count, find_config, json_option, print_json, run, stored, table
from monitor.errors import ConfigError, Problem
from monitor.ids import iso

__all__ = ["command"]

_COLUMNS = ("alert", "type", "receiver", "channel", "state", "attempts", "queued", "next", "last")

_receiver_option = click.option("--receiver", metavar="NAME", help="Only messages to this receiver.")


@click.group()
def command() -> None:
    """What was sent to whom, what waits, and what was given up."""


@command.command("list")
@click.option("--state", type=click.Choice(["due", "done", "dead"]), help="Only these.")
@_receiver_option
@click.option("--since", metavar="WHEN", help="Only messages queued since: ISO 8601, or 30m, 2h, 1d ago.")
@config_option
@json_option
def list_(state: str | None, receiver: str | None, since: str | None, config: str | None, as_json: bool) -> None:
    """List queued (due), delivered (done) and given up (dead) messages, with how the last attempt ended."""
    from monitor.cli.handover import moment

    found_config = find_config(config)
    start = moment(since, time.time()) if since is not None else float("-inf")
    rows = [row for row in run(_rows(found_config, state, receiver)) if row.pop("at") >= start]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no messages")
        return
    table(_COLUMNS, [[_cell(row, name) for name in _COLUMNS] for row in rows])


@command.command()
@click.argument("alert_ids", metavar="[ALERT_ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@_receiver_option
@config_option
@json_option
def retry(
    alert_ids: tuple[str, ...], everything: bool, receiver: str | None, config: str | None, as_json: bool
) -> None:
    """Try messages once more that were given up (dead), for another day.

    A running `heistwatch watch` takes them up; otherwise they go out when it is started. They keep their ids and their
    text, so that a receiver knows a message that it has seen.
    """
    if bool(alert_ids) == everything:
        raise ConfigError("name alerts that were given up, or --all: `heistwatch deliveries list --state dead`")
    found_config = find_config(config)
    tried = run(_retry(found_config, alert_ids, receiver))
    receivers = found_config.receivers
    known = {(one.name, f"{place}:{made.type}") for one in receivers for place, made in enumerate(one.channels)}
    if known and any((row["receiver"], row["channel"]) not in known for row in tried):
        click.echo(
            "note: channels that left the configuration take nothing; at its next start `heistwatch watch` gives such "
            "messages to another channel of the type, if there is one", err=True,
        )  # fmt: skip
    if as_json:
        print_json(tried)
        return
    for row in tried:
        click.echo(f"{row['alert']} to {row['receiver']} {row['channel']}")
    click.echo(f"{count(len(tried), 'message')} will be tried once more" if tried else "no message was given up")


def _cell(row: dict[str, Any], name: str) -> str:
    if name == "last":
        words = (row["outcome"], row["reason"] if row["outcome"] != "accepted" else None, row["detail"])
        return " ".join(word for word in words if word) or "-"
    return str(row[name] if row[name] is not None else "-")


async def _rows(config: Any, state: str | None, receiver: str | None) -> list[dict[str, Any]]:
    async with stored(config) as store:
        found = await store.outbox(state=state)
        last = {(one.alert_id, one.receiver, one.channel): one for one in await store.deliveries()}
    return [
        _shown(row, last.get((row.alert_id, row.receiver, row.channel)))
        for row in found
        if receiver is None or row.receiver == receiver
    ]


def _shown(row: Any, last: Any) -> dict[str, Any]:
    return {
        "alert": row.alert_id,
        "type": row.kind,
        "receiver": row.receiver,
        "channel": row.channel,
        "state": row.state,
        "attempts": row.attempts,
        "queued": iso(row.queued_at),
        "next": iso(row.next_at) if row.state == "due" and row.next_at else None,
        "incident": row.incident_id,
        "outcome": str(last.outcome) if last is not None else None,
        "reason": str(last.reason) if last is not None else None,
        "detail": last.detail if last is not None else None,
        "attempted": iso(last.at) if last is not None else None,
        "external_id": row.external_id,
        "at": row.queued_at,
    }


async def _retry(config: Any, alert_ids: Sequence[str], receiver: str | None) -> list[dict[str, Any]]:
    async with stored(config) as store:
        rows = await store.outbox(state=None if alert_ids else "dead")
        mine = [row for row in rows if receiver is None or row.receiver == receiver]
        if alert_ids:
            wanted = _named({row.alert_id for row in mine}, alert_ids)
            mine = [row for row in mine if row.alert_id in wanted]
        dead = [row for row in mine if row.state == "dead"]
        await store.revive([(row.alert_id, row.receiver, row.channel) for row in dead], time.time())
    return [{"alert": row.alert_id, "receiver": row.receiver, "channel": row.channel} for row in dead]


def _named(known: Iterable[str], texts: Sequence[str]) -> set[str]:
    """The alerts that are named, each by its id or the first characters of it; ConfigError with all that are not."""
    found, problems, names = set(), [], sorted(known)
    for text in texts:
        matching = [text] if text in names else [name for name in names if text and name.startswith(text)]
        if len(matching) == 1:
            found.add(matching[0])
        elif not matching:
            problems.append(Problem(f"no message of an alert {text!r}: see `heistwatch deliveries list`"))
        else:
            problems.append(Problem(f"alert {text!r} is not unique: {', '.join(matching[:5])}"))
    if problems:
        raise ConfigError(problems)
    return found
