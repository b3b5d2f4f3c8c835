"""`heistwatch incidents`: what was found, and what people say of it."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored, table
from monitor.cli.show import clean, show_incident
from monitor.cli.standing import standing, standing_lines
from monitor.errors import ConfigError
from monitor.verdicts import KINDS, verdict

__all__ = ["command", "find_incident"]


async def _load(config: Any) -> tuple[Sequence[Any], list[dict[str, Any]]]:
    """All stored incidents, and where each stands with people."""
    async with stored(config) as store:
        found = (await _correlator(store)).all()
        return found, await standing(config, store, found, time.time())


async def _correlator(store: Any) -> Any:
    from monitor.incidents import Correlator

    correlator = Correlator()
    correlator.load(await store.incidents())
    return correlator


async def _history(config: Any, incident_id: str) -> tuple[Any, list[Any], dict[str, Any]]:
    """(an incident, its timeline, where it stands with people)."""
    from monitor.timeline import ids_of, stored_timeline

    async with stored(config) as store:
        correlator = await _correlator(store)
        incident = correlator.incident(find_incident(correlator, incident_id))
        [stands] = await standing(config, store, [incident], time.time())
        entries = await stored_timeline(store, ids_of(correlator, incident.id), incident.history)
        return incident, entries, stands


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
    incidents, stands = run(_load(found_config))
    found = [{**incident_data(incident, names), **own} for incident, own in zip(incidents, stands, strict=True)]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no incidents")
        return
    rows = [
        (
            i["id"], i["opened_at"], i["severity"], i["status"], i["entity"],
            ", ".join(x["display"] for x in i["lost"]),
            (i["acknowledged"] or {}).get("by", ""),
            max((silence["expires"] for silence in i["silences"]), default=""),
        )
        for i in found
    ]  # fmt: skip
    table(("id", "opened", "severity", "status", "entity", "lost", "acknowledged by", "silenced until"), rows)


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
    incident, entries, stands = run(_history(found_config, incident_id))
    found = {**incident_data(incident, asset_names(found_config)), **stands}
    if as_json:
        print_json({**found, "timeline": [entry.data() for entry in entries]})
        return
    show_incident(found)
    for line in standing_lines(found):
        click.echo(clean(f"  {' '.join(line.split())}"))
    for finding in found["findings"]:
        line = f"  {finding['at']}  {finding['detector']:<6} {finding['severity']:<8} {finding['summary']}"
        click.echo(clean(line))
    for entry in entries:
        click.echo(clean(f"  {entry.when:<20}  {' '.join(entry.text.splitlines())}"))
    for line in commands(incident, config or ""):
        click.echo(f"  {line}")


def find_incident(correlator: Any, text: str, drills: Sequence[str] = ()) -> str:
    """The id that begins so: of an incident (of the one that took it over where it was merged), or of a drill."""
    begun = [name for name in (*correlator.records, *correlator.merged, *drills) if name.startswith(text)]
    names: list[str] = list(dict.fromkeys(name if name in drills else correlator.get(name).id for name in begun))
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError(f"no incident {text!r}: `heistwatch incidents list` shows those there are")
    raise ConfigError(f"incident {text!r} is not unique: {', '.join(sorted(names))}")


async def _say(config: Any, word: str, incident_id: str, by: str | None, comment: str) -> Any:
    """Record what was said of an incident or a drill; the event."""
    async with stored(config) as store:
        drills = [name.removeprefix("drill/") for name, _ in await store.notes("drill/drill-")]
        name = find_incident(await _correlator(store), incident_id, drills)
        event = verdict(word, name, by=by or getpass.getuser(), comment=comment, at=time.time())
        await store.say(event)
        return event


def _add(word: str, text: str) -> None:
    @command.command(word, help=text)
    @click.argument("incident_id", metavar="ID")
    @click.option("--by", metavar="WHO", help="Who says so (default: the user of this machine).")
    @click.option("--comment", default="", metavar="TEXT", help="Why.")
    @config_option
    def say(incident_id: str, by: str | None, comment: str, config: str | None) -> None:
        event = run(_say(find_config(config), word, incident_id, by, comment))
        click.echo(f"{event.kind} of {event.incident_id} is recorded; a running monitor takes it up at its next block")


for _word, _text in {
    "ack": "Somebody looks at it.",
    "confirm": "It is a theft: nothing of it is ever learned.",
    "false-alarm": "It is not: its destinations become ordinary, up to the amounts seen.",
    "resolve": "It is over.",
    "reopen": "It is not over.",
}.items():
    assert _word in KINDS
    _add(_word, _text)


@command.command()
@click.argument("incident_id", metavar="ID")
@click.argument("text", metavar="TEXT")
@click.option("--by", metavar="WHO", help="Who says so (default: the user of this machine).")
@config_option
def note(incident_id: str, text: str, by: str | None, config: str | None) -> None:
    """Write something into the history of an incident; nothing else changes."""
    if not text.strip():
        raise ConfigError("the note is empty")
    event = run(_say(find_config(config), "note", incident_id, by, text.strip()))
    click.echo(f"noted for {event.incident_id}; a running monitor takes it up at its next block")


@command.command()
@click.option("--since", default="12h", show_default=True, metavar="TIME", help="A length of time, or ISO 8601.")
@config_option
@json_option
def handover(since: str, config: str | None, as_json: bool) -> None:
    """What the next person on call must know: text to paste at a change of shift."""
    from monitor.cli.handover import gathered, moment
    from monitor.handover import handover_text

    now = time.time()
    found = run(gathered(find_config(config), moment(since, now), now))
    if as_json:
        print_json(found)
        return
    for line in handover_text(found).splitlines():
        click.echo(clean(line))
