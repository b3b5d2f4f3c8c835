"""What is kept of a deposit fleet: counterparties that are not listed, and the last hours; as bytes and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from monitor.errors import StoreError

__all__ = ["CAP", "WINDOW", "Counterparty", "Recent", "Sums", "Table"]

CAP = 4_096  # counterparties kept of a fleet, a chain and a kind
DROPPED = CAP // 8  # of them, when there are more
MEMBERS = 24  # members kept of a counterparty, the newest
WINDOW = 6 * 3600  # seconds, where a wallet says nothing else
_STEP = 600  # seconds that sums are kept by


@dataclass(slots=True)
class Sums:
    """Exact sums of some hours by asset, in steps of ten minutes: {asset: {step: base units}}."""

    by_asset: dict[str, dict[int, int]] = field(default_factory=dict)

    def add(self, asset: str, value: int, at: int, window: int = WINDOW) -> int:
        """Count a payment; the sum of this asset before it, within the window (seconds)."""
        steps = self.by_asset.setdefault(asset, {})
        while steps and ((oldest := next(iter(steps))) + 1) * _STEP <= at - window:  # times never run backwards
            del steps[oldest]
        before = sum(steps.values())
        steps[at // _STEP] = steps.get(at // _STEP, 0) + value
        return before

    def plain(self) -> Any:
        """As JSON values."""
        return {
            asset: [[step, str(value)] for step, value in sorted(steps.items())]
            for asset, steps in sorted(self.by_asset.items())
        }

    @classmethod
    def of(cls, plain: Any) -> Sums:
        """From JSON values."""
        return cls({asset: {int(step): int(value) for step, value in steps} for asset, steps in plain.items()})


@dataclass(slots=True)
class Counterparty:
    """An address that members paid, or that paid members, and that nobody listed.

    ``members`` are the newest `MEMBERS` distinct ones, the newest last: {address: (UTC seconds, base units)}; their
    order is part of the record. ``told`` is the sum or the time at which it was last told.
    """

    first: int
    last: int
    expected: bool = False
    told: int = 0
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    sums: Sums = field(default_factory=Sums)

    def see(self, member: str, at: int, value: int) -> None:
        """A payment with a member."""
        self.last = max(self.last, at)
        self.members.pop(member, None)
        self.members[member] = (at, value)
        if len(self.members) > MEMBERS:
            del self.members[next(iter(self.members))]

    def distinct(self, since: int) -> int:
        """Members that it had to do with after ``since``, at most `MEMBERS`."""
        return sum(at > since for at, _ in self.members.values())

    def dump(self) -> bytes:
        """Its stored form."""
        members = [[name, at, str(value)] for name, (at, value) in self.members.items()]
        return _bytes([self.first, self.last, int(self.expected), str(self.told), members, self.sums.plain()])

    @classmethod
    def load(cls, data: bytes) -> Counterparty:
        """From its stored form."""
        first, last, expected, told, members, sums = _plain(data, 6)
        seen = {str(name): (int(at), int(value)) for name, at, value in members}
        return cls(int(first), int(last), bool(expected), int(told), seen, Sums.of(sums))


@dataclass(slots=True)
class Recent:
    """A fleet's last hours on one chain, as far as unexpected addresses were paid; and how many ever were new."""

    members: dict[str, int] = field(default_factory=dict)  # address to UTC seconds, the newest last
    sums: Sums = field(default_factory=Sums)
    new: int = 0  # recipients that were new, ever; those that became expected are taken off again
    starts: list[int] = field(default_factory=list)  # when the newest of them were first paid

    def see(self, member: str, at: int) -> None:
        """A member paid an unexpected address."""
        self.members.pop(member, None)
        self.members[member] = at
        if len(self.members) > MEMBERS:
            del self.members[next(iter(self.members))]

    def distinct(self, since: int) -> int:
        """Members that paid unexpected addresses after ``since``, at most `MEMBERS`."""
        return sum(seen > since for seen in self.members.values())

    def begin(self, at: int) -> None:
        """A new recipient."""
        self.new += 1
        self.starts = [*self.starts, at][-MEMBERS:]

    def settled(self, since: int) -> int:
        """Recipients that were new up to ``since``."""
        return max(0, self.new - sum(start > since for start in self.starts))

    def dump(self) -> bytes:
        """Its stored form."""
        return _bytes([list(self.members.items()), self.sums.plain(), self.new, self.starts])

    @classmethod
    def load(cls, data: bytes) -> Recent:
        """From its stored form."""
        members, sums, new, starts = _plain(data, 4)
        return cls({str(m): int(at) for m, at in members}, Sums.of(sums), int(new), [int(at) for at in starts])


class Table:
    """Counterparties of one fleet, chain and kind, by address. The oldest go where there are more than `CAP`.

    Expected ones stay. Which go depends on times and addresses alone.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Counterparty] = {}

    def open(self, address: str, at: int) -> Counterparty:
        """The record of an address, begun where there is none; others may go for it."""
        entry = self.entries.get(address)
        if entry is None:
            if len(self.entries) >= CAP:
                for old in self.oldest(DROPPED):
                    del self.entries[old]
            entry = self.entries[address] = Counterparty(at, at)
        return entry

    def oldest(self, count: int) -> list[str]:
        """Addresses that would go first."""
        free = sorted((entry.last, address) for address, entry in self.entries.items() if not entry.expected)
        return [address for _, address in free[:count]]

    def may_go(self, new: int) -> list[str]:
        """Addresses that may go while up to ``new`` others are opened."""
        if len(self.entries) + new <= CAP:
            return []
        return self.oldest(DROPPED * (1 + new // DROPPED) + new)


def _bytes(plain: Any) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode()


def _plain(data: bytes, length: int) -> list[Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, list) or len(found) != length:
        raise StoreError("a stored record of a deposit fleet cannot be read: the store lost data")
    return found
