"""What is known of who may move the coins of one account: one record, that is stored and undone with its block."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.ids import canonical_json
from monitor.policies.control.change import ZERO, Change, How

__all__ = ["DERIVED", "MOST_PROPOSALS", "SETS", "WINDOW", "Known", "Proposal"]

WINDOW = 7 * 86400  # seconds within which changes of owners are counted together
MOST_PROPOSALS = 64  # of one account that are remembered
SETS = frozenset({"owners", "modules", "owner_delegates"})  # keys whose values are members joined by commas
_KEPT = SETS | {
    "implementation", "beacon", "admin", "owner", "pending_owner", "threshold", "guard", "module_guard", "fallback",
    "delay", "delegate",
}  # fmt: skip
DERIVED = {"implementation": "implementation_code", "delegate": "implementation_code"}
"""What says something of another value, and is not known of a new one until it is read."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed transaction that was told: ``name`` is its hash, ``told`` the severity, ``at`` UTC seconds."""

    name: str
    told: int
    at: int


@dataclass(slots=True)
class Known:
    """One account.

    Attributes
    ----------
    first : when its state was first read, UTC seconds; None: only events told of it so far
    values : as `monitor.model.Reading.values` has them
    since : when a value was last seen to change, UTC seconds; those that are not here are as old as ``first``
    owners : unplanned changes of owners within `WINDOW`: (UTC seconds, owner, whether he came)
    proposals : oldest first
    unchecked : whether the code of its first implementation was not read yet
    turn : how many changes it has seen
    """

    first: int | None = None
    values: dict[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    owners: list[tuple[int, str, bool]] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    unchecked: bool = False
    turn: int = 0

    def members(self, key: str) -> set[str] | None:
        """The members of a set; None where it is not known."""
        value = self.values.get(key)
        return None if value is None else set(filter(None, value.split(",")))

    def has(self, change: Change) -> bool:
        """Whether a change brings nothing new."""
        if change.key in SETS:
            members = self.members(change.key)
            return members is not None and (change.value in members) is (change.how is not How.REMOVED)
        return change.key in _KEPT and self.values.get(change.key) == _plain(change.value)

    def apply(self, change: Change, at: int) -> None:
        """Take a change over; of a set that is not known it changes nothing."""
        if change.key in SETS:
            members = self.members(change.key)
            if members is None:
                return
            (members.discard if change.how is How.REMOVED else members.add)(change.value)
            self._set(change.key, ",".join(sorted(members)), at)
        elif change.key in _KEPT:
            self._set(change.key, _plain(change.value), at)
            if change.key in DERIVED:
                self.values.pop(DERIVED[change.key], None)
                self.unchecked = False

    def _set(self, key: str, value: str, at: int) -> None:
        self.values[key] = value
        self.since[key] = at
        self.turn += 1

    def adopt(self, values: Mapping[str, str], at: int, *, renew: bool = False) -> None:
        """Take a whole reading over; with ``renew`` what it does not say is forgotten."""
        if renew:
            self.values, self.since = {}, {}
            self.turn += 1
        for key, value in values.items():
            if key == "implementation_age":  # from young to old in time, which is no change
                continue
            if key in self.values and self.values[key] != value:
                self._set(key, value, at)
            self.values[key] = value

    # -- owners ---------------------------------------------------------------------------------------------------

    def count_owner(self, change: Change, at: int) -> None:
        """Remember an unplanned change of owners."""
        self.owners = [entry for entry in self.owners if entry[0] > at - WINDOW]
        self.owners.append((at, change.value, change.how is not How.REMOVED))

    def owners_changed(self, change: Change, at: int) -> tuple[int, int | None]:
        """How many owners came or went within `WINDOW`, this change included, and of how many before (None: unknown).

        Who takes another's place counts once.
        """
        recent = [entry for entry in self.owners if entry[0] > at - WINDOW]
        entries = [*recent, (at, change.value, change.how is not How.REMOVED)]
        came = {owner for _, owner, is_new in entries if is_new}
        went = {owner for _, owner, is_new in entries if not is_new}
        now = self.members("owners")
        size = None if now is None else len(now) - sum(1 if is_new else -1 for _, _, is_new in recent)
        return max(len(came), len(went)), size

    # -- proposals ------------------------------------------------------------------------------------------------

    def told(self, name: str) -> int:
        """The severity at which a proposal was told last; 0 where it never was."""
        return next((entry.told for entry in self.proposals if entry.name == name), 0)

    def tell(self, name: str, severity: int, at: int) -> None:
        """Remember that a proposal was told."""
        others = [entry for entry in self.proposals if entry.name != name]
        self.proposals = [*others, Proposal(name, severity, at)][-MOST_PROPOSALS:]

    # -- storage --------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Its stored form: equal records give equal bytes."""
        return canonical_json(
            {
                "first": self.first,
                "values": self.values,
                "since": self.since,
                "owners": [list(entry) for entry in self.owners],
                "proposals": [[entry.name, entry.told, entry.at] for entry in self.proposals],
                "unchecked": self.unchecked,
                "turn": self.turn,
            }
        )

    @classmethod
    def load(cls, data: bytes) -> Known:
        """A stored record; ValueError, KeyError or TypeError where it is none."""
        stored = json.loads(data)
        return cls(
            first=None if stored["first"] is None else int(stored["first"]),
            values={str(key): str(value) for key, value in stored["values"].items()},
            since={str(key): int(at) for key, at in stored["since"].items()},
            owners=[(int(at), str(owner), bool(is_new)) for at, owner, is_new in stored["owners"]],
            proposals=[Proposal(str(name), int(told), int(at)) for name, told, at in stored["proposals"]],
            unchecked=bool(stored["unchecked"]),
            turn=int(stored["turn"]),
        )


def _plain(value: str) -> str:
    """As readings write it: empty for no address."""
    return "" if value == ZERO else value
