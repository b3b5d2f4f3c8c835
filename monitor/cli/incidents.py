"""`heistwatch incidents`: what was found, and what people say of it."""

from __future__ import annotations

import getpass
import time
from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored, table
from monitor.cli.show import show_incident
from monitor.errors import ConfigError
from monitor.verdicts import KINDS, verdict

__all__ = ["command"]


async def _load(config: Any) -> tuple[Any, Any]:
    """(correlator with all stored incidents, verdicts not yet in force)."""
    from monitor.incidents import Correlator

    async with stored(config) as store:
        correlator = Correlator()
        correlator.load(await store.incidents())
        return correlator, await store.said(pending=True)


@click.group()
def command() -> None:
    """List and show incidents; confirm or dismiss them."""


@command.command("list")
@config_option
@json_option
def list_(config: str | None, as_json: bool) -> None:
    """List all incidents, oldest first."""
    from monitor.app import asset_names
    from monitor.published import incident_data

    found_config = find_config(config)
    names = asset_names(found_config)
    correlator, _ = run(_load(found_config))
    found = [incident_data(incident, names) for incident in correlator.all()]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no incidents")
        return
    rows = [
        (i["id"], i["opened_at"], i["severity"], i["status"], i["entity"], ", ".join(x["display"] for x in i["lost"]))
        for i in found
    ]
    table(("id", "opened", "severity", "status", "entity", "lost"), rows)


@command.command()
@click.argument("incident_id", metavar="ID")
@config_option
@json_option
def show(incident_id: str, config: str | None, as_json: bool) -> None:
    """Show one incident; the first characters of its id are enough."""
    from monitor.app import asset_names
    from monitor.explain import commands
    from monitor.published import incident_data

    found_config = find_config(config)
    correlator, pending = run(_load(found_config))
    name = _find(correlator, incident_id)
    incident = correlator.incident(name)
    found = incident_data(incident, asset_names(found_config))
    if as_json:
        print_json(found)
        return
    show_incident(found)
    for finding in found["findings"]:
        click.echo(f"  {finding['at']}  {finding['detector']:<6} {finding['severity']:<8} {finding['summary']}")
    for entry in found["history"]:
        click.echo(f"  {entry.get('at', '')}  {entry['what']} by {entry['by']}: {entry['comment']}")
    for event in pending:
        if event.incident_id == name:
            click.echo(f"  said and not yet in force: {event.kind} by {event.by} (a running monitor takes it up)")
    for line in commands(incident, config or ""):
        click.echo(f"  {line}")


def _find(correlator: Any, text: str) -> str:
    names: list[str] = [name for name in correlator.records if name.startswith(text)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError(f"no incident {text!r}: `heistwatch incidents list` shows those there are")
    raise ConfigError(f"incident {text!r} is not unique: {', '.join(sorted(names))}")


def _say(word: str, incident_id: str, config: str | None, by: str | None, comment: str) -> None:
    found_config = find_config(config)
    correlator, _ = run(_load(found_config))
    name = _find(correlator, incident_id)
    event = verdict(word, name, by=by or getpass.getuser(), comment=comment, at=time.time())

    async def say() -> None:
        async with stored(found_config) as store:
            await store.say(event)

    run(say())
    click.echo(f"{event.kind} of {name} is recorded; a running monitor takes it up at its next block")


def _add(word: str, text: str) -> None:
    @command.command(word, help=text)
    @click.argument("incident_id", metavar="ID")
    @click.option("--by", metavar="WHO", help="Who says so (default: the user of this machine).")
    @click.option("--comment", default="", metavar="TEXT", help="Why.")
    @config_option
    def say(incident_id: str, by: str | None, comment: str, config: str | None) -> None:
        _say(word, incident_id, config, by, comment)


for _word, _text in {
    "ack": "Somebody looks at it.",
    "confirm": "It is a theft: nothing of it is ever learned.",
    "false-alarm": "It is not: its destinations become ordinary, up to the amounts seen.",
    "resolve": "It is over.",
    "reopen": "It is not over.",
}.items():
    assert _word in KINDS
    _add(_word, _text)
