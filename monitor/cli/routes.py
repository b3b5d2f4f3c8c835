"""`heistwatch routes test`: who would be told of what, when, and how it would look."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored, table
from monitor.cli.show import clean
from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso, iso

__all__ = ["command"]


@click.group()
def command() -> None:
    """Who is told of what."""


@command.command()
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL=VALUE[,VALUE]",
    help="What the message carries: severity, entity, wallet, role, chain, detector or kind; repeatable.",
)
@click.option("--incident", "incident_id", metavar="ID", help="A stored incident instead of a made-up one.")
@click.option("--at", "at", metavar="WHEN", help="At what time, ISO 8601 (default: now).")
@click.option("--render", is_flag=True, help="Show what each channel would send.")
@config_option
@json_option
def test(
    labels: Sequence[str], incident_id: str | None, at: str | None, render: bool, config: str | None, as_json: bool
) -> None:
    """Who would get a message, by which route, now or later and why. Nothing is sent.

    Without --incident the message is made up: a theft from the first wallet of the configuration that fits the labels.
    """
    from monitor.alerting import labels_known, make_channels, make_links, make_planner, make_policies
    from monitor.cli.sample import sample_alert

    found_config = find_config(config)
    channels = make_channels(found_config)
    planner, policies = make_planner(found_config, channels), make_policies(found_config, channels)
    given, now = _asked(labels, at, *labels_known(found_config))
    board, incident = run(_known(found_config, incident_id))
    alert = sample_alert(found_config, given, incident, at=int(now))
    receivers = [_receiver(verdict, channels) for verdict in planner.plan(alert, now, board)]
    if render:
        links = make_links(found_config)
        zones = {receiver.name: receiver.zone for receiver in found_config.receivers}
        for entry in receivers:
            name = entry["receiver"]
            own = replace(
                alert, links=links.links(name, alert.labels.get("incident", ""), now), zone=zones.get(name, "")
            )
            entry["rendered"] = {key: _preview(channel, own, now) for key, channel in _named(channels[name])}
    goes_on = _goes_on(alert)
    policy = policies.get(planner.policy(alert)) if goes_on else None
    found = {
        "at": iso(now),
        "type": alert.type,
        "labels": {name: value for name, value in sorted(alert.labels.items()) if value},
        "receivers": receivers,
        "escalation": _escalation(policy, alert),
        "repeats": planner.repeats(alert) if goes_on else {},
        "silenced_critical": _silenced(board, now),
    }
    run(_close(channels))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _asked(
    labels: Sequence[str], at: str | None, known: Mapping[str, Any], chains: Mapping[str, str]
) -> tuple[dict[str, frozenset[str]], float]:
    """The labels and the time that were asked for."""
    from alerts.matchers import MatchReader

    reader = MatchReader(known, chains)
    given = reader.pairs(labels, "--label")
    reader.problems += [
        Problem(f"a message has one {label}, not {len(given[label])}", "--label")
        for label in ("severity", "entity", "kind") if len(given.get(label, ())) > 1
    ]  # fmt: skip
    if "incident" in given:
        reader.wrong("--label", "name a stored incident with --incident")
    now = time.time()
    try:
        now = float(from_iso(at)) if at is not None else now
    except (ValueError, OverflowError) as error:
        reader.wrong("--at", str(error))
    if reader.problems:
        raise ConfigError(reader.problems)
    return given, now


async def _known(config: Any, incident_id: str | None) -> tuple[Any, Any]:
    """(what was said and silenced so far, the incident asked for or None)."""
    from alerts.board import PREFIXES, Board
    from monitor.incidents import Correlator

    board, correlator = Board(), Correlator()
    async with stored(config) as store:
        for prefix in PREFIXES:
            board.load(await store.notes(prefix))
        if incident_id is None:
            return board, None
        correlator.load(await store.incidents())
    names = [name for name in correlator.records if name.startswith(incident_id)]
    if len(names) != 1:
        wrong = f"is not unique: {', '.join(sorted(names))}" if names else "is none: see `heistwatch incidents list`"
        raise ConfigError(f"incident {incident_id!r} {wrong}")
    return board, correlator.incident(names[0])


async def _close(channels: Mapping[str, Sequence[Any]]) -> None:
    for group in channels.values():
        for channel in group:
            await channel.aclose()


def _named(channels: Sequence[Any]) -> list[tuple[str, Any]]:
    from alerts.outbox import channel_key

    return [(channel_key(place, channel), channel) for place, channel in enumerate(channels)]


def _receiver(verdict: Any, channels: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {
        "receiver": verdict.receiver,
        "channels": [name for name, _ in _named(channels[verdict.receiver])],
        "now": verdict.goes_now,
        "why": verdict.why or None,
        "until": iso(verdict.until),
        "detail": verdict.detail,
        "path": list(verdict.path),
    }


def _goes_on(alert: Any) -> bool:
    """Whether an incident is open after it, which somebody has to acknowledge."""
    from alerts.case import is_correction
    from monitor.model import AlertKind

    return alert.kind not in (AlertKind.BLIND, AlertKind.RECOVERED, AlertKind.DRILL) and not is_correction(alert)


def _escalation(policy: Any, alert: Any) -> dict[str, Any] | None:
    """What follows where nobody acknowledges; None where nothing does."""
    from alerts.escalate import applies

    if policy is None or not applies(policy, alert.severity):
        return None
    steps = [{"after": step.after, "receiver": step.receiver} for step in policy.steps]
    return {"policy": policy.name, "steps": steps}


def _silenced(board: Any, now: float) -> list[str]:
    from alerts.silence import touching_critical

    return touching_critical(board.silences.values(), now)


def _preview(channel: Any, alert: Any, now: float) -> str:
    """What a channel would send, as text."""
    from alerts.base import Previewed

    body: bytes = channel.render(alert, now)
    if isinstance(channel, Previewed):
        return channel.preview(body)
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")


_WHEN = {
    "quiet": "waits",
    "silence": "silenced",
    "inhibited": "inhibited",
    "group": "gathered",
    "storm": "gathered",
    "over": "not told",
}


def _print(found: Mapping[str, Any]) -> None:
    from alerts.escalate import waited

    labels = " ".join(f"{name}={value}" for name, value in found["labels"].items())
    click.echo(clean(f"{found['type']} at {found['at']}: {labels}"))
    rows = [
        (
            entry["receiver"], ", ".join(entry["channels"]),
            "now" if entry["now"] else f"{_WHEN[entry['why']]}: {entry['detail']}", " > ".join(entry["path"]),
        )
        for entry in found["receivers"]
    ]  # fmt: skip
    table(("receiver", "channels", "when", "route"), rows)
    for receiver, every in found["repeats"].items():
        click.echo(f"said again to {receiver} every {waited(every)} until somebody acknowledges")
    if found["escalation"]:
        for step in found["escalation"]["steps"]:
            policy = found["escalation"]["policy"]
            click.echo(f"not acknowledged for {waited(step['after'])}: {step['receiver']} (escalation {policy})")
    for line in found["silenced_critical"]:
        click.echo(f"CRITICAL alerts are silenced: {line}")
    for entry in found["receivers"]:
        for name, text in entry.get("rendered", {}).items():
            click.echo(f"\n--- {entry['receiver']}, {name}\n{text}")
