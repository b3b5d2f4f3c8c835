"""Which evidence belongs together: a pure function of the set, so that the order of arrival cannot matter.

Two findings of an entity belong together where no more than 24 hours of event time lie between them, or between each
and the next in between. A movement belongs to the earliest such group that has its destination among the suspects and
lies within 24 hours of it. What comes back belongs to the group of the finding that it answers (`monitor.returns`).
Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from monitor.model import Finding, Movement
from monitor.returns import Answers
from monitor.signals import awake

__all__ = ["GAP", "Early", "Group", "group", "order", "suspect"]

GAP = 86400  # seconds of event time without evidence after which an incident stops collecting

Suspect = tuple[str, str, str]  # wallet, chain, destination


@dataclass(slots=True)
class Group:
    """Findings that belong together, in order of event time, and what went to their suspects."""

    findings: list[Finding]
    movements: dict[str, Movement] = field(default_factory=dict)
    loose: dict[str, Movement] = field(default_factory=dict)  # too far off, unless other findings bridge the gap
    returned: dict[str, Movement] = field(default_factory=dict)  # what came back from its suspects
    opening: str = ""  # id of the finding with which it began: signals may be older


def order(item: Finding | Movement) -> tuple[int, str, int, int]:
    """Event time, then a fixed order of what happened at one time."""
    return (item.at, item.chain, item.block_number, item.index)


def suspect(item: Finding | Movement) -> Suspect:
    """Who paid whom, on which chain."""
    return (item.wallet, item.chain, item.destination if isinstance(item, Finding) else item.counterparty)


class Early:
    """Findings about one suspect, for movements to ask whether one came soon after them.

    Its time does not grow with how many findings there are.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        told = sorted((f.block_number, f.index, f.at) for f in findings)
        self._places = [(number, index) for number, index, _ in told]
        soonest = accumulate((at for _, _, at in reversed(told)), min)  # times of blocks may go back
        self._soonest = [*soonest][::-1]

    def has(self, movement: Movement) -> bool:
        """Whether a movement came within the day before one of the findings, or is its flow."""
        first = bisect_left(self._places, (movement.block_number, movement.index))
        return first < len(self._soonest) and self._soonest[first] - GAP <= movement.at


def group(
    findings: Iterable[Finding],
    movements: Mapping[str, Movement],
    hits: Container[str],
    returns: Mapping[str, Movement] | None = None,
    limit: float = 0.0,
) -> list[Group]:
    """Evidence of one entity as groups, earliest first.

    Parameters
    ----------
    movements : by any key
    hits : keys of those that the engine raised as payments to a suspect; the others count where they are early
    returns : arrivals from suspects, by any key; those that answer no finding are left out
    limit : see `monitor.signals`; signals that do not count are left out
    """
    groups: list[Group] = []
    counted = awake(findings, limit)
    for finding in sorted(counted.findings, key=lambda f: (order(f), f.id)):
        if groups and finding.at - groups[-1].findings[-1].at <= GAP:
            groups[-1].findings.append(finding)
        else:
            groups.append(Group([finding]))
        if not groups[-1].opening and finding.id in counted.opens:
            groups[-1].opening = finding.id
    known: dict[Suspect, list[Finding]] = {}
    early: dict[Suspect, Early] = {}
    places: dict[Suspect, list[Group]] = {}
    for found in groups:
        for finding in found.findings:
            known.setdefault(suspect(finding), []).append(finding)
            options = places.setdefault(suspect(finding), [])
            if not options or options[-1] is not found:
                options.append(found)
    for key, movement in sorted(movements.items(), key=lambda item: (order(item[1]), item[0])):
        whom = suspect(movement)
        options = places.get(whom, [])
        if options and key not in hits and whom not in early:
            early[whom] = Early(known[whom])
        if options and (key in hits or early[whom].has(movement)):
            _place(key, movement, options)
    if returns:
        _give_back(returns, groups)
    return groups


def _give_back(returns: Mapping[str, Movement], groups: Sequence[Group]) -> None:
    home = {finding.id: found for found in groups for finding in found.findings}
    known = Answers(finding for found in groups for finding in found.findings)
    for key, back in sorted(returns.items(), key=lambda item: (order(item[1]), item[0])):
        answered = known.to(back)
        if answered is not None:
            home[answered.id].returned[key] = back


def _place(key: str, movement: Movement, options: Sequence[Group]) -> None:
    for found in options:
        if found.findings[0].at - GAP <= movement.at <= found.findings[-1].at + GAP:
            found.movements[key] = movement
            return
    before = [found for found in options if found.findings[0].at <= movement.at]
    (before[-1] if before else options[0]).loose[key] = movement
