"""What was queued, what a receiver saw, and what may be said of it. Pure.

An acceptance is a 2xx answer that the receiver wrote. The sender cannot know of it where the answer did not reach it
whole, or where it was killed before it recorded it: after these alone may the same message come again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Figures", "Key", "Queued", "Seen", "judge"]

Key = tuple[str, str]
"""(destination, alert id)."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A message in the outbox, in order of queueing within its destination."""

    key: Key
    incident: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that reached a receiver whole, in order of arrival."""

    key: Key
    body: bytes
    accepted: bool
    told: bool = True  # the answer reached the sender whole
    life: int = 0  # of the sender: one more after each kill


@dataclass(slots=True)
class Figures:
    """What came of it; ``problems`` is empty where every promise was kept."""

    alerts: int = 0
    requests: int = 0
    accepted: int = 0
    repeats_after_a_kill: int = 0
    repeats_after_a_lost_answer: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, what: object) -> None:
        """Note a broken promise."""
        self.problems.append(f"{kind}: {what}")

    @property
    def kinds(self) -> Counter[str]:
        """How often each promise was broken."""
        return Counter(problem.partition(":")[0] for problem in self.problems)


def judge(
    queued: Iterable[Queued], seen: Iterable[Seen], states: Mapping[Key, str], timeouts: Mapping[Key, int] | None = None
) -> Figures:
    """Compare everything with everything.

    Parameters
    ----------
    states : of the outbox rows at the end
    timeouts : attempts that the sender recorded as timed out: on a busy machine an answer comes too late that the
        receiver wrote in time
    """
    excused = Counter(timeouts or {})
    messages = {one.key: one for one in queued}
    figures = Figures(alerts=len(messages))
    last: dict[Key, Seen] = {}
    firsts: dict[Key, list[Key]] = defaultdict(list)  # (destination, incident) -> first acceptances in order
    for one in seen:
        figures.requests += 1
        message = messages.get(one.key)
        if message is None:
            figures.add("unknown", one.key)
            continue
        if one.body != message.body:
            figures.add("other bytes", one.key)
        if not one.accepted:
            continue
        figures.accepted += 1
        before = last.get(one.key)
        if before is not None and before.told and before.life == one.life and excused[one.key] > 0:
            excused[one.key] -= 1
            figures.repeats_after_a_lost_answer += 1
        elif before is None:
            firsts[one.key[0], message.incident].append(one.key)
        elif not before.told:
            figures.repeats_after_a_lost_answer += 1
        elif before.life != one.life:
            figures.repeats_after_a_kill += 1
        else:
            figures.add("repeated without a reason", one.key)
        last[one.key] = one
    wanted: dict[Key, list[Key]] = defaultdict(list)
    for key, message in messages.items():
        wanted[key[0], message.incident].append(key)
        if key not in last:
            figures.add("lost", key)
        if states.get(key) != "done":
            figures.add("not recorded as delivered", (key, states.get(key)))
    for incident, keys in wanted.items():
        came = [key for key in keys if key in last]
        if firsts[incident] != came:
            figures.add("out of order", incident)
    return figures
