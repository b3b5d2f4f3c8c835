"""What `heistwatch incidents handover` reads: a store, without a running monitor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from monitor.blind import Told
from monitor.cli.common import stored
from monitor.config.shape import parse_duration
from monitor.errors import ConfigError
from monitor.handover import Stored, handover
from monitor.ids import from_iso, iso
from monitor.incidents import Correlator

__all__ = ["gathered", "moment"]


def moment(text: str, now: float) -> float:
    """Wall clock in UTC seconds of ISO 8601, or of a length of time before now.

    >>> moment("12h", 86400.0), moment("1970-01-01T06:00", 86400.0)
    (43200.0, 21600.0)
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return float(from_iso(text))
    except ValueError:
        raise ConfigError(
            f"--since {text!r} is no length of time such as 12h, and no time such as 2026-01-31"
        ) from None


async def gathered(config: Any, since: float, now: float) -> dict[str, Any]:
    """The hand-over note of a configuration's store, as data."""
    from monitor.app import asset_names

    async with stored(config) as store:
        waiting = await _waiting(store)
        correlator = Correlator()
        correlator.load(await store.incidents())
        rows = [*await store.outbox(state="due"), *await store.outbox(state="dead")]
        names = dict.fromkeys(row.alert_id for row in rows)
        found = Stored(
            incidents=correlator.all(),
            said=await store.said(pending=True),
            rows=rows,
            attempts=[attempt for name in names for attempt in await store.deliveries(name)],
            silences=await _silences(store, now),
            escalations=_escalations(waiting, config),
            waiting={case.incident: case.since for case in waiting if case.since is not None},
            troubles=await _troubles(store),
            chains=await _chains(store),
        )
    return handover(found, asset_names(config), since, now)


async def _silences(store: Any, now: float) -> list[str]:
    from alerts.matchers import shown
    from alerts.silencing import Silencing

    return [
        f"{shown(silence['match'])} until {silence['expires']} by {silence['author']}: {silence['comment']}"
        + (" (CRITICAL alerts, too)" if silence["critical"] else "")
        for silence in await Silencing(store).all(now)
    ]


async def _waiting(store: Any) -> list[Any]:
    """The cases that nobody looks at."""
    from alerts.case import PREFIX, read_case

    cases = [read_case(value) for _, value in await store.notes(PREFIX)]
    return [case for case in cases if case.is_waiting and not case.is_drill]


def _escalations(waiting: Iterable[Any], config: Any) -> Mapping[str, Mapping[str, Any]]:
    """Where incidents that nobody acknowledged stand on their policies."""
    from alerts.escalate import next_step_at, parse_policies

    policies = parse_policies(config.alerting.escalations, {receiver.name for receiver in config.receivers})
    found = {}
    for case in waiting:
        policy = policies.get(case.policy)
        if policy is None or case.since is None:
            continue
        then = next_step_at(policy, case.steps, case.since, False, case.severity)
        found[case.incident] = {"policy": policy.name, "steps": list(case.steps), "next_at": iso(then)}
    return found


async def _troubles(store: Any) -> list[str]:
    """What the monitor said that it cannot see, or cannot tell, and did not take back."""
    from alerts.ailing import PREFIX, Health

    lines = []
    for name, value in await store.notes("blind/"):
        if name.startswith(PREFIX):
            health = msgspec.json.decode(value, type=Health)
            if health.told:
                lines.append(f"{name.removeprefix(PREFIX)} does not deliver since {iso(health.since)}: {health.reason}")
        else:
            told = msgspec.json.decode(value, type=Told)
            lines.append(f"{told.what} since {iso(told.since)}")
    return lines


async def _chains(store: Any) -> dict[str, tuple[int, int]]:
    """The last stored block of each chain, and its time."""
    found = {}
    for chain in dict.fromkeys(scanned.chain for scanned in await store.coverage()):
        tip = await store.checkpoint(chain)
        block = await store.block(chain, tip.number) if tip is not None else None
        if block is not None:
            found[chain] = (block.ref.number, block.timestamp)
    return found
