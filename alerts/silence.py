"""Silences: what people do not want to hear of for a while, by whom, why and until when. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from alerts.matchers import agrees, labels_of, severity_of, shown
from alerts.text import bounded, clean
from monitor.errors import ConfigError, Problem
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind, Severity
from monitor.store import read_note

__all__ = [
    "KEPT_SECONDS", "PREFIX", "Silence", "applies", "make_silence", "mute", "read_silence", "silence_key",
    "touching_critical", "without_effect", "write_silence",
]  # fmt: skip

PREFIX = "silence/"
KEPT_SECONDS = 7 * 86400.0
"""So long an expired silence can still be looked up."""

_LONGEST = 366 * 86400.0
_NEVER = (AlertKind.BLIND, AlertKind.RECOVERED, AlertKind.DRILL, AlertKind.RESOLVED, AlertKind.RETRACTED)
_CRITICAL = str(Severity.CRITICAL)


class Silence(msgspec.Struct, frozen=True):
    """What is not said from ``created`` to ``expires`` (wall clock, UTC seconds; the latter exclusive).

    ``matchers`` are values by label, as `alerts.matchers.Match` with sorted lists.
    """

    id: str
    matchers: dict[str, list[str]]
    author: str
    comment: str
    created: float
    expires: float

    @property
    def touches_critical(self) -> bool:
        """Whether it names severity critical: nothing else keeps a critical alert from being said."""
        return _CRITICAL in self.matchers.get("severity", ())


def make_silence(
    matchers: Mapping[str, Collection[str]], *, author: str, comment: str, created: float, expires: float
) -> Silence:
    """A silence; ConfigError where it names nothing, nobody, no reason, or no time in which it holds.

    Parameters
    ----------
    created, expires : wall clock, UTC seconds
    """
    problems = []
    if not matchers:
        problems.append("a silence needs a matcher, severity=low for example: nothing silences everything")
    if not author.strip():
        problems.append("a silence needs an author")
    if not comment.strip():
        problems.append("a silence needs a comment: why, and whom to ask")
    if not expires > created:
        problems.append("a silence must end after it begins")
    elif expires - created > _LONGEST:
        problems.append("a silence ends within a year: what nobody ever wants to hear belongs into the configuration")
    if problems:
        raise ConfigError([Problem(problem) for problem in problems])
    values = {label: sorted(items) for label, items in sorted(matchers.items())}
    name = stable_id("silence", author, comment, repr(created), repr(expires), shown(values), length=12)
    return Silence(name, values, author.strip(), comment.strip(), created, expires)


def applies(silence: Silence, alert: Alert, now: float) -> bool:
    """Whether ``silence`` keeps ``alert`` from being said at ``now``.

    A critical alert only where the silence names severity critical, one of kind ``escalated`` only where it names the
    alert's own severity. What is over or taken back is said to whoever was told, and the monitor speaks of itself, and
    drills, in any case.

    Examples
    --------
    >>> quiet = make_silence({"entity": ["X"]}, author="ann", comment="move of wallets", created=0.0, expires=60.0)
    >>> low = Alert("1", AlertKind.OPENED, "t", "b", Severity.LOW, {"entity": "X"})
    >>> critical = Alert("2", AlertKind.OPENED, "t", "b", Severity.CRITICAL, {"entity": "X"})
    >>> applies(quiet, low, 59.0), applies(quiet, low, 60.0), applies(quiet, critical, 59.0)
    (True, False, False)
    """
    if alert.kind in _NEVER or not silence.created <= now < silence.expires:
        return False
    severity, named = severity_of(alert), silence.matchers.get("severity", ())
    if severity is Severity.CRITICAL and not silence.touches_critical:
        return False
    if alert.kind is AlertKind.ESCALATED and str(severity) not in named:
        return False
    match = {label: frozenset(values) for label, values in silence.matchers.items()}
    return bool(match) and agrees(match, labels_of(alert))


def without_effect(silence: Silence) -> str:
    """Why a silence keeps nothing from being said, by its kinds alone; empty where that is not so.

    >>> without_effect(make_silence({"kind": ["drill"]}, author="ann", comment="test", created=0.0, expires=60.0))
    'messages of kind drill are never silenced'
    """
    kinds, never = set(silence.matchers.get("kind", ())), {str(kind) for kind in _NEVER}
    if kinds and kinds <= never:
        return f"messages of kind {', '.join(sorted(kinds))} are never silenced"
    if kinds and kinds <= {*never, str(AlertKind.ESCALATED)} and not silence.matchers.get("severity"):
        return "growth (kind escalated) is silenced only where its severity is named"
    return ""


def mute(silences: Iterable[Silence], alert: Alert, now: float) -> Silence | None:
    """The silence of ``silences`` that keeps ``alert`` from being said longest; None where none does."""
    return max((s for s in silences if applies(s, alert, now)), key=lambda s: (s.expires, s.id), default=None)


def touching_critical(silences: Iterable[Silence], now: float) -> list[str]:
    """A line for each silence that holds at ``now`` and keeps critical alerts from being said: nobody may overlook it.

    >>> asked = make_silence({"severity": ["critical"]}, author="ann", comment="test", created=0.0, expires=60.0)
    >>> touching_critical([asked], 30.0)
    ['SILENCED severity=critical until 1970-01-01T00:01:00Z by ann: test']
    """
    held = (s for s in silences if s.touches_critical and s.created <= now < s.expires)
    return [
        f"SILENCED {_short(shown(s.matchers))} until {iso(s.expires)} by {_short(s.author)}: {_short(s.comment)}"
        for s in sorted(held, key=lambda s: (s.expires, s.id))
    ]


def _short(text: str) -> str:
    return bounded(clean(text), 200)


# -- storage ----------------------------------------------------------------------------------------------------------


def silence_key(silence_id: str) -> str:
    """Where a silence is noted."""
    return f"{PREFIX}{silence_id}"


def write_silence(silence: Silence) -> bytes:
    """The stored form."""
    return msgspec.json.encode(silence)


def read_silence(value: bytes) -> Silence:
    """A stored silence; StoreError where it cannot be read."""
    return read_note(value, Silence, "a stored silence")


def in_order(silences: Iterable[Silence]) -> Sequence[Silence]:
    """By the time of their end."""
    return sorted(silences, key=lambda s: (s.expires, s.id))
