"""Escalation: an incident that nobody acknowledges is told to the next receiver, by another kind of channel. Pure.

A policy is a list of steps, each a time since the incident was told and a receiver::

    opened --after--> step 1 --after--> step 2 ...
       ^ acknowledged at any time: no further step
       ^ grows past the severity that was acknowledged: from the first step again

How it works elsewhere: PagerDuty and Opsgenie escalate through levels until somebody acknowledges; Alertmanager has no
acknowledgement and can only repeat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.errors import ConfigError, Problem
from monitor.ids import stable_id
from monitor.model import Alert, AlertKind, Severity
from monitor.registry import did_you_mean

__all__ = [
    "Policy", "Step", "applies", "next_step_at", "parse_policies", "same_ways", "starts_anew", "step_alert",
    "steps_due", "waited",
]  # fmt: skip

SEVERITIES = frozenset((Severity.HIGH, Severity.CRITICAL))
"""What escalates where a step does not say otherwise."""

Grade = Severity | int | None
"""A severity, also as a note keeps it."""


@dataclass(frozen=True, slots=True)
class Step:
    """``receiver`` is told when ``after`` seconds passed since the incident was told, and nobody acknowledged."""

    after: float
    receiver: str
    severities: frozenset[Severity] = SEVERITIES


@dataclass(frozen=True, slots=True)
class Policy:
    """Steps by rising time; they are numbered from 1."""

    name: str
    steps: tuple[Step, ...]


def applies(policy: Policy, severity: Grade) -> bool:
    """Whether an incident of this severity escalates at all."""
    return any(severity in step.severities for step in policy.steps)


def steps_due(
    policy: Policy, taken: Collection[int], since: float, acknowledged: bool, severity: Grade, now: float
) -> list[tuple[int, str]]:
    """The steps whose time has come: (number, receiver), several where the monitor was away.

    Parameters
    ----------
    taken : numbers of the steps that were taken since ``since``
    since : wall clock when the incident was told, reopened, or grew past what was acknowledged; UTC seconds
    acknowledged : whether somebody looks at it, or it is closed
    severity : of the incident now; it may have risen past what an earlier step was for
    now : wall clock, UTC seconds

    Examples
    --------
    >>> policy = Policy("night", (Step(600, "lead"), Step(1800, "boss")))
    >>> steps_due(policy, (), 0.0, False, Severity.HIGH, 599.0), steps_due(policy, (), 0.0, False, Severity.HIGH, 600.0)
    ([], [(1, 'lead')])
    >>> steps_due(policy, (1,), 0.0, True, Severity.HIGH, 1e9), steps_due(policy, (1,), 0.0, False, Severity.HIGH, 1e9)
    ([], [(2, 'boss')])
    """
    left = _left(policy, taken, acknowledged, severity)
    return [(number, step.receiver) for number, step in left if now >= since + step.after]


def next_step_at(
    policy: Policy, taken: Collection[int], since: float, acknowledged: bool, severity: Grade
) -> float | None:
    """When the next step is due, wall clock in UTC seconds; None: never, as things are.

    >>> policy = Policy("night", (Step(600, "lead"), Step(1800, "boss")))
    >>> [next_step_at(policy, taken, 1000.0, False, Severity.HIGH) for taken in ((1,), (1, 2))]
    [2800.0, None]
    """
    return min((since + step.after for _, step in _left(policy, taken, acknowledged, severity)), default=None)


def _left(
    policy: Policy, taken: Collection[int], acknowledged: bool, severity: Grade
) -> list[tuple[int, Step]]:
    if acknowledged:
        return []
    steps = enumerate(policy.steps, start=1)
    return [(number, step) for number, step in steps if number not in taken and severity in step.severities]


def starts_anew(acknowledged: Grade, severity: Grade) -> bool:
    """Whether an incident outgrew its acknowledgement, which was for less: it counts as not acknowledged.

    Parameters
    ----------
    acknowledged : severity when somebody acknowledged, None: nobody did
    severity : now
    """
    return acknowledged is not None and severity is not None and int(severity) > int(acknowledged)


def waited(seconds: float) -> str:
    """A time as people say it, never rounded up.

    >>> waited(45), waited(600), waited(5400), waited(7200)
    ('45 s', '10 min', '1 h 30 min', '2 h')
    """
    if seconds < 60:
        return f"{int(seconds)} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)


def step_alert(alert: Alert, incident_id: str, policy: Policy, step: int, since: float) -> Alert:
    """The message of a step: the incident as it was told last, under a title that says that nobody acknowledged it.

    Its id follows from incident, policy, step and start, so that a restart sends no second one. A drill stays a drill.

    Parameters
    ----------
    alert : the latest message of the incident
    step : from 1
    since : as in `steps_due`
    """
    time = waited(policy.steps[step - 1].after)
    drill = alert.kind is AlertKind.DRILL
    title = f"NOT ACKNOWLEDGED for {time}: {alert.title}"
    told = f"Nobody acknowledged this for {time}: step {step} of {len(policy.steps)} of escalation {policy.name!r}."
    return replace(
        alert,
        id=stable_id("escalation", incident_id, policy.name, step, repr(float(since))),
        kind=AlertKind.DRILL if drill else AlertKind.REMINDER,
        title=f"DRILL: {title.replace('DRILL: ', '', 1)}" if drill else title,
        body=f"{told}\n{alert.body}",
        labels={**alert.labels, "kind": str(AlertKind.REMINDER)},
        links={},
        covers=(),
    )


# -- configuration ----------------------------------------------------------------------------------------------------


def parse_policies(given: Mapping[str, Any], receivers: Collection[str]) -> dict[str, Policy]:
    """The policies of an ``escalations`` mapping; ConfigError with every problem found, each at its place.

    Parameters
    ----------
    given : ``{NAME: [{after: seconds, receiver, severities}]}``; ``after`` counts from the first message, and rises
        from step to step
    receivers : names that exist

    Examples
    --------
    >>> parse_policies({"night": [{"after": 600, "receiver": "led"}]}, ["lead"])
    Traceback (most recent call last):
    monitor.errors.ConfigError: escalations.night[0].receiver: unknown receiver 'led': did you mean 'lead'?
    """
    problems: list[Problem] = []
    policies = {str(name): _policy(str(name), entry, receivers, problems) for name, entry in given.items()}
    if problems:
        raise ConfigError(problems)
    return policies


def _policy(name: str, entry: Any, receivers: Collection[str], problems: list[Problem]) -> Policy:
    where = f"escalations.{name}"
    if not isinstance(entry, Sequence) or isinstance(entry, str | bytes) or not entry:
        problems.append(Problem("expected a list of steps, such as [{after: 10m, receiver: lead}]", where))
        return Policy(name, ())
    steps = [_step(item, f"{where}[{place}]", receivers, problems) for place, item in enumerate(entry)]
    for place in range(1, len(steps)):
        if steps[place].after <= steps[place - 1].after:
            message = "must be later than the step before: it counts from the first message"
            problems.append(Problem(message, f"{where}[{place}].after"))
    return Policy(name, tuple(steps))


def _step(item: Any, where: str, receivers: Collection[str], problems: list[Problem]) -> Step:
    if not isinstance(item, Mapping):
        problems.append(Problem("expected a mapping with after and receiver", where))
        return Step(0.0, "")
    problems += _unknown(item, ("after", "receiver", "severities"), where)
    after, receiver = item.get("after"), item.get("receiver")
    if not isinstance(after, int | float) or isinstance(after, bool) or not 0 < after < float("inf"):
        problems.append(Problem("expected a time over 0", f"{where}.after"))
        after = 0.0
    if not isinstance(receiver, str) or receiver not in receivers:
        named = f"unknown receiver {receiver!r}: {did_you_mean(str(receiver), receivers)}"
        problems.append(Problem(named if receiver is not None else "receiver is missing", f"{where}.receiver"))
    severities = SEVERITIES
    if item.get("severities") is not None:
        severities = _severities(item["severities"], f"{where}.severities", problems)
    return Step(float(after), str(receiver), severities)


def _unknown(given: Mapping[Any, Any], valid: Sequence[str], where: str) -> list[Problem]:
    wrong = (str(key) for key in given if key not in valid)
    return [Problem(f"unknown key {key!r}: {did_you_mean(key, valid)}", where) for key in wrong]


def _severities(given: Any, where: str, problems: list[Problem]) -> frozenset[Severity]:
    found = set()
    for word in [given] if isinstance(given, str) else given if isinstance(given, Sequence) else [None]:
        try:
            found.add(Severity.parse(str(word)))
        except ValueError as error:
            problems.append(Problem(str(error), where))
    if not found:
        problems.append(Problem("an empty list never escalates: name severities, or remove the key", where))
    return frozenset(found)


def same_ways(policy: Policy, first: Collection[str], types: Mapping[str, Collection[str]]) -> list[str]:
    """What is weak in a policy: steps that reach people only by kinds of channels that already failed to.

    Parameters
    ----------
    first : receivers of the incident's own messages
    types : channel types by receiver

    Examples
    --------
    >>> night = Policy("night", (Step(600, "lead"),))
    >>> same_ways(night, ["soc"], {"soc": ["slack", "smtp"], "lead": ["smtp"]})
    ["escalation 'night', step 1: 'lead' is told by smtp alone, as others were before: add another type of channel"]
    """
    used = {kind for name in first for kind in types.get(name, ())}
    found = []
    for number, step in enumerate(policy.steps, start=1):
        ways = set(types.get(step.receiver, ()))
        if ways and ways <= used:
            by = " and ".join(sorted(ways))
            found.append(
                f"escalation {policy.name!r}, step {number}: {step.receiver!r} is told by {by} alone, "
                "as others were before: add another type of channel"
            )
        used |= ways
    return found
