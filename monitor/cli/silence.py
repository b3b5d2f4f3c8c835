"""`heistwatch silence`: what people do not want to hear of for a while."""

from __future__ import annotations

import getpass
import time
from collections.abc import Collection, Sequence
from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored, table
from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso, iso

__all__ = ["command"]


@click.group()
def command() -> None:
    """Do not say some messages for a while: add, list and end silences.

    What is silenced is kept, and said when the silence ends and it is still going on. Critical alerts are silenced by
    naming `severity=critical` alone, and whoever is sent a summary is told of it.
    """


@command.command()
@click.option(
    "--match", "matches", multiple=True, required=True, metavar="LABEL=VALUE[,VALUE]",
    help="By severity, entity, wallet, role, chain, detector, kind or incident; repeatable: all must fit.",
)
@click.option("--for", "length", metavar="TIME", help="How long from now: 30m, 2h, 1d.")
@click.option("--until", "until", metavar="WHEN", help="Until when instead, ISO 8601.")
@click.option("--comment", required=True, metavar="TEXT", help="Why.")
@click.option("--by", metavar="WHO", help="Who says so (default: the user of this machine).")
@config_option
@json_option
def add(
    matches: Sequence[str], length: str | None, until: str | None, comment: str, by: str | None, config: str | None,
    as_json: bool,
) -> None:
    """Silence what matches, from now on; a running monitor takes it up at once."""
    from alerts.matchers import MatchReader, shown
    from alerts.silence import make_silence, silence_key, without_effect, write_silence
    from alerts.silencing import silence_data
    from monitor.alerting import labels_known

    found_config = find_config(config)
    now = time.time()
    reader = MatchReader(*labels_known(found_config))
    matchers = reader.pairs(matches, "--match")
    expires = _end(length, until, now, reader.problems)
    if not comment.strip():
        reader.wrong("--comment", "says nothing: why is this silenced, and whom can one ask?")
    if reader.problems:
        raise ConfigError(reader.problems)
    if "incident" in matchers:
        matchers["incident"] = run(_whole(found_config, matchers["incident"]))
    silence = make_silence(matchers, author=by or getpass.getuser(), comment=comment, created=now, expires=expires)
    run(_write(found_config, silence_key(silence.id), write_silence(silence)))
    if as_json:
        print_json(silence_data(silence))
        return
    click.echo(f"silence {silence.id} of {shown(matchers)} holds until {iso(silence.expires)}")
    if effect := without_effect(silence):
        click.echo(f"it keeps nothing from being said: {effect}")
    elif silence.touches_critical:
        click.echo("it keeps CRITICAL alerts from being said: every summary will say so until it ends")
    elif "severity" not in matchers:
        click.echo("critical alerts, and those that say that an incident grew, are said all the same")


async def _whole(config: Any, incidents: Collection[str]) -> frozenset[str]:
    """The ids that begin so, each of one incident."""
    from monitor.cli.incidents import find_incident
    from monitor.incidents import Correlator

    correlator = Correlator()
    async with stored(config) as store:
        correlator.load(await store.incidents())
    return frozenset(find_incident(correlator, name) for name in incidents)


def _end(length: str | None, until: str | None, now: float, problems: list[Problem]) -> float:
    """When it ends; what is wrong joins ``problems``."""
    from monitor.config.shape import parse_duration

    if (length is None) == (until is None):
        problems.append(Problem("say how long with --for 2h, or until when with --until, and not both"))
        return now
    try:
        return now + parse_duration(length) if length is not None else float(from_iso(until or ""))
    except (ValueError, OverflowError) as error:
        problems.append(Problem(str(error), "--for" if length is not None else "--until"))
        return now


async def _write(config: Any, key: str, value: bytes) -> None:
    """Keep a silence; the store is made where it is not there yet."""
    from monitor.app import make_store

    if config.store.kind == "memory":
        raise ConfigError("store.url is memory://, which keeps nothing: name a file, sqlite:///heistwatch.db")
    store = make_store(config)
    await store.open()
    try:
        await store.note([(key, value)])
    finally:
        await store.aclose()


@command.command("list")
@click.option("--all", "all_", is_flag=True, help="Those that ended within the last week, too.")
@config_option
@json_option
def list_(all_: bool, config: str | None, as_json: bool) -> None:
    """List silences, the next to end first."""
    from alerts.matchers import shown
    from alerts.silence import touching_critical
    from alerts.silencing import silence_data

    now = time.time()
    silences = [item for item in run(_stored(find_config(config))) if all_ or item.expires > now]
    if as_json:
        print_json([{**silence_data(item), "active": item.created <= now < item.expires} for item in silences])
        return
    if not silences:
        click.echo("no silences")
        return
    columns = ("id", "until", "match", "by", "comment")
    table(columns, [(s.id, iso(s.expires) or "", shown(s.matchers), s.author, s.comment) for s in silences])
    for line in touching_critical(silences, now):
        click.echo(f"CRITICAL alerts are silenced: {line}", err=True)


async def _stored(config: Any) -> Sequence[Any]:
    from alerts.silence import PREFIX, in_order, read_silence

    async with stored(config) as store:
        return in_order(read_silence(value) for _, value in await store.notes(PREFIX))


@command.command()
@click.argument("silence_id", metavar="ID")
@config_option
def expire(silence_id: str, config: str | None) -> None:
    """End a silence now; the first characters of its id are enough."""
    click.echo(f"silence {run(_expired(find_config(config), silence_id))} ended")


async def _expired(config: Any, text: str) -> str:
    from alerts.silence import PREFIX, read_silence
    from alerts.silencing import Silencing

    now = time.time()
    async with stored(config) as store:
        found = [read_silence(value) for _, value in await store.notes(PREFIX)]
        names = sorted(item.id for item in found if item.id.startswith(text) and item.expires > now)
        if len(names) > 1:
            raise ConfigError(f"silence {text!r} is not unique: {', '.join(names)}")
        if not names or not text or not await Silencing(store).expire(names[0], now):
            raise ConfigError(f"no silence {text!r} holds: `heistwatch silence list` shows those that do")
        return names[0]
