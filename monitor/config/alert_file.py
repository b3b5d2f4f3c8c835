"""The shape of what the configuration says of alerts: routes, times, inhibition, escalation, drills, heartbeats."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from monitor.config.shape import Duration, Entry, SeverityWord, Text, Texts, described, no_bool, parse_duration

__all__ = [
    "DrillEntry",
    "EscalationEntry",
    "HeartbeatEntry",
    "InhibitEntry",
    "RouteEntry",
    "Secrets",
    "TemplateEntry",
    "TimesEntry",
]


def _wait(value: Any) -> int:
    return 0 if not isinstance(value, bool) and str(value).strip() in ("0", "0s") else parse_duration(value)


def _secrets(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Wait = Annotated[int, BeforeValidator(_wait, json_schema_input_type=int | str)]
Secrets = Annotated[list[SecretStr], BeforeValidator(_secrets, json_schema_input_type=SecretStr | list[SecretStr])]
Match = dict[str, Texts]


class TemplateEntry(Entry):
    """The owner's own words, as Jinja2 templates in the markup of the channel."""

    title: Text | None = described("Template of the title.", None)
    body: Text | None = described("Template of the body.", None)


class RouteEntry(Entry):
    """Which receiver gets which alerts; the first route that matches wins, unless it says `continue`.

    What is not said of waiting is that of the route around it.
    """

    receiver: Text | None = described("Name of a receiver. Default: that of the route around this one.", None)
    match: Match = described("Label and the values that match: `{severity: [critical, high]}`.", {})
    go_on: bool = described("Also try the routes after this one.", False, alias="continue")
    group_by: Texts | None = described("Labels that keep messages in separate summaries; `entity` always does.", None)
    group_wait: Wait | None = described("How long what may wait is collected before its first summary.", None)
    group_interval: Wait | None = described("Shortest time between two messages of one group that may wait.", None)
    repeat_interval: Wait | None = described("An open incident that nobody acknowledged is said again so often.", None)
    quiet: Texts | None = described("Names of `times` in which messages of low and medium wait.", None)
    active: Texts | None = described("Names of `times` outside which messages of low and medium wait.", None)
    escalation: Text | None = described("Name of one of `escalations`; `none` for none.", None)
    routes: list[RouteEntry] = described("Routes inside this one, tried in order.", [])


class TimesEntry(Entry):
    """A time of the week."""

    days: Texts = described("Days: `mon`, `mon-fri`, ... Default: all.", [])
    start: Text = described("Time of day from which it holds (inclusive): `22:00`.", "00:00", alias="from")
    end: Text = described("Time of day until which it holds (exclusive); before `from`: of the next day.", "24:00",
                          alias="to")  # fmt: skip
    zone: Text = described("IANA time zone: `Europe/Berlin`.", "UTC")


class InhibitEntry(Entry):
    """While an incident that `source` matches is open, messages that `target` matches wait."""

    source: Match = described("Labels of the open incident.")
    target: Match = described("Labels of what waits; never critical.")
    equal: Texts = described("Labels in which both must agree.", ["entity"])


class EscalationEntry(Entry):
    """One step: who is told next where nobody acknowledged in time."""

    after: Duration = described("Time since the incident was told first: `10m`.")
    receiver: Text = described("Name of a receiver, of another channel type than those before.")
    severities: list[SeverityWord] = described(
        "Severities that come so far.", [SeverityWord.HIGH, SeverityWord.CRITICAL]
    )


class DrillEntry(Entry):
    """A theft that is not real, played through everything at a fixed time."""

    every: Text = described("`weekly`, `monthly` or a length of time such as `30d`.")
    at: Text = described("Time of day: `10:00`.", "10:00")
    zone: Text = described("IANA time zone of `at`.", "UTC")
    case: Text = described("Which built-in theft is played.", "coincheck-2018")
    escalate: bool = described("It also escalates while nobody acknowledges it.", False)
    grace: Duration = described("A drill that did not arrive so long after its time is an alert.", 86400)


class HeartbeatEntry(Entry):
    """A dead-man's switch: when the pings stop, somebody else raises the alarm."""

    type: Literal["ping", "alertmanager"] = described("A URL that is fetched, or a Prometheus Alertmanager.", "ping")
    url: SecretStr = described("Where to. It is a secret.", min_length=1)
    every: Annotated[Duration, Field(ge=5), BeforeValidator(no_bool)] = described("Time between two pings.", 60)
