"""With whom a wallet deals on one chain, and who imitates them: bounded, kept in small records."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from monitor.errors import StoreError
from monitor.lookalike import Lookalikes, chance, key_of, shared

__all__ = ["DAY", "DAYS", "MOST", "Circle", "Likeness", "Newest", "Planted"]

MOST = 4_096  # addresses that were paid, as many that paid, and as many that imitate
DAY = 86_400  # seconds
DAYS = 90  # since the last payment, while a counterparty counts
DUST = 10_000  # a typical payment is more than so many times as much
RARE = 1e-6  # the chance at or below which a likeness that nobody prepared counts
T = TypeVar("T")
_NEVER = (-1, None)


class Newest(Generic[T]):
    """Names with a time and a value each. Where there are more than ``most``, those of the least (time, name) go.

    What is kept is a function of the greatest time of every name: it does not matter in which order they came.
    """

    def __init__(self, most: int = MOST) -> None:
        self.entries: dict[str, tuple[int, T]] = {}
        self._most = most
        self._order: list[tuple[int, str]] = []  # a heap; places that are no more are skipped

    def set(self, name: str, time: int, value: T) -> list[str]:
        """Take a name in, or change it; the names that went for it."""
        self.load(name, time, value)
        gone: list[str] = []
        while len(self.entries) > self._most and self._first():
            gone.append(heapq.heappop(self._order)[1])
            del self.entries[gone[-1]]
        return gone

    def load(self, name: str, time: int, value: T) -> None:
        """As `set`, but nothing goes: while records are put back there may be too many for a moment."""
        self.entries[name] = (time, value)
        heapq.heappush(self._order, (time, name))
        if len(self._order) > 4 * self._most:
            self._order = sorted((at, known) for known, (at, _) in self.entries.items())

    def drop(self, name: str) -> None:
        """Take a name out, where it is in."""
        self.entries.pop(name, None)

    def may_go(self, new: int) -> list[str]:
        """Names that may go while ``new`` names are set."""
        if len(self.entries) + new <= self._most:
            return []
        kept: list[tuple[int, str]] = []
        while len(kept) < new and self._first():
            place = heapq.heappop(self._order)
            if not kept or place != kept[-1]:  # a name may have been set to one time twice
                kept.append(place)
        for place in kept:
            heapq.heappush(self._order, place)
        return [name for _, name in kept]

    def _first(self) -> bool:
        """Whether there is an oldest name; it is the first of the heap then."""
        while self._order:
            time, name = self._order[0]
            if self.entries.get(name, (None,))[0] == time:
                return True
            heapq.heappop(self._order)
        return False


@dataclass(frozen=True, slots=True)
class Planted:
    """How an address that imitates another one showed itself first; ``at`` in UTC seconds."""

    at: int
    how: str  # zero, dust, fake or value
    tx: str
    real: str  # whom it imitates


@dataclass(frozen=True, slots=True)
class Likeness:
    """An address that looks like a counterparty; ``leading`` and ``trailing`` characters are equal."""

    address: str
    real: str
    leading: int
    trailing: int
    chance: float  # that any of so many counterparties looks so
    planted: Planted | None = None

    @property
    def counts(self) -> bool:
        """Whether it is more than chance: somebody prepared it, or so much likeness is rare."""
        return self.planted is not None or self.chance <= RARE


class Circle:
    """One wallet on one chain.

    Those that were paid, those that may spend, and those that only paid are kept apart: strangers can add to the last
    alone.

    Parameters
    ----------
    fixed : addresses of the owner, and those that he trusts: never imitators, always imitated
    """

    def __init__(self, fixed: Iterable[str] = ()) -> None:
        self.fixed = frozenset(fixed)
        self.paid: Newest[None] = Newest()  # times are UTC days
        self.spenders: Newest[None] = Newest()
        self.received: Newest[None] = Newest()
        self.planted: Newest[Planted] = Newest()  # times are UTC seconds
        self.cleared: set[str] = set()  # look-alikes that a person called honest
        self.typical: dict[str, int] = {}  # by asset: near the median of its payments, base units
        self._index = Lookalikes(self.fixed)

    def own(self, addresses: Iterable[str]) -> None:
        """The owner has these, too."""
        new = frozenset(addresses) - self.fixed
        self.fixed |= new
        for address in new:
            self._index.add(address)

    # -- looking --------------------------------------------------------------------------------------------------

    def likeness(self, address: str, at: int) -> Likeness | None:
        """Whom an address imitates, as far as people see it; None where it is a counterparty itself, or like none."""
        if not address or self.knows(address, at):
            return None
        found = [real for real in self._index.like(address) if self.knows(real, at)]
        if not found:
            return None
        real = max(found, key=lambda one: (sum(shared(address, one)), one))
        leading, trailing = shared(address, real)
        known = sum(len(table.entries) for table in self._tables) + len(self.fixed)
        planted = self.planted.entries.get(address, (0, None))[1]
        return Likeness(address, real, leading, trailing, known * chance(address, leading + trailing), planted)

    def knows(self, address: str, at: int) -> bool:
        """Whether an address is the owner's, trusted, cleared, or a counterparty of the last 90 days."""
        if address in self.fixed or address in self.cleared:
            return True
        days = (table.entries.get(address, (None,))[0] for table in self._tables)
        return any(day is not None and day >= at // DAY - DAYS for day in days)

    def addresses(self) -> set[str]:
        """All that are kept, and all that imitate one."""
        return set(self.fixed).union(self.planted.entries, *(table.entries for table in self._tables))

    def resembles(self, address: str) -> bool:
        """Whether it looks like any other address that is kept, of whatever age."""
        return bool(self._index.like(address))

    def is_dust(self, asset: str, value: int) -> bool:
        """Whether an amount is next to nothing beside what the wallet pays of this asset."""
        return value <= 0 or value * DUST < self.typical.get(asset, 0)

    # -- learning -------------------------------------------------------------------------------------------------

    def pay(self, address: str, at: int, asset: str, value: int) -> None:
        """The owner paid an address; the first time of a day its amount counts for what is typical."""
        if self._know(self.paid, address, at):
            usual = self.typical.get(asset, value)
            self.typical[asset] = usual + (max(1, usual // 8) if value > usual else -(usual // 8))

    def approve(self, address: str, at: int) -> None:
        """The owner lets an address spend."""
        self._know(self.spenders, address, at)

    def receive(self, address: str, at: int) -> None:
        """An address paid the owner, in coins that are worth something."""
        self._know(self.received, address, at)

    def plant(self, address: str, planted: Planted) -> None:
        """An address that imitates a counterparty showed itself."""
        self.planted.set(address, planted.at, planted)

    def may_go(self, kind: str, new: int) -> list[str]:
        """Names of a kind that may go while up to ``new`` are learned."""
        table: Newest[None] | Newest[Planted] = self.planted if kind == "l" else self._table(kind)
        return table.may_go(new)

    def _know(self, table: Newest[None], address: str, at: int) -> bool:
        """Take an address in or renew it, once a day; whether that was done."""
        day = at // DAY
        if table.entries.get(address, _NEVER)[0] >= day:
            return False
        key = key_of(address)
        if key is None:
            return False
        self._index.put(key, address)
        for gone in table.set(address, day, None):
            self._forget(gone)
        return address in table.entries

    def _forget(self, address: str) -> None:
        if address not in self.fixed and not any(address in table.entries for table in self._tables):
            self._index.discard(address)

    # -- records --------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> bytes | None:
        """The stored form of a record; None: there is none."""
        if kind == "l":
            planted = self.planted.entries.get(name, (0, None))[1]
            if planted is None:
                return None
            return json.dumps([planted.at, planted.how, planted.tx, planted.real], separators=(",", ":")).encode()
        if kind == "c":
            return b"1" if name in self.cleared else None
        number = self.typical.get(name) if kind == "t" else self._table(kind).entries.get(name, (None,))[0]
        return None if number is None else str(number).encode()

    def put(self, kind: str, name: str, value: bytes | None) -> None:
        """Take a stored record over; None takes it away."""
        try:
            _PUT[kind](self, name, value)
        except (ValueError, TypeError, KeyError):
            text = "a stored record of a wallet's counterparties cannot be read: the store lost data"
            raise StoreError(text) from None

    def names(self) -> Iterable[tuple[str, str]]:
        """Kind and name of every record."""
        yield from (("o", name) for name in self.paid.entries)
        yield from (("s", name) for name in self.spenders.entries)
        yield from (("i", name) for name in self.received.entries)
        yield from (("l", name) for name in self.planted.entries)
        yield from (("c", name) for name in self.cleared)
        yield from (("t", name) for name in self.typical)

    @property
    def _tables(self) -> tuple[Newest[None], ...]:
        return self.paid, self.spenders, self.received

    def _table(self, kind: str) -> Newest[None]:
        return {"o": self.paid, "s": self.spenders, "i": self.received}[kind]

    def _put_known(self, table: Newest[None], name: str, value: bytes | None) -> None:
        table.drop(name)
        if value is None:
            self._forget(name)
        else:
            self._index.add(name)
            table.load(name, int(value), None)

    def _put_planted(self, name: str, value: bytes | None) -> None:
        self.planted.drop(name)
        if value is not None:
            at, how, tx, real = json.loads(value)
            self.planted.load(name, int(at), Planted(int(at), str(how), str(tx), str(real)))

    def _put_cleared(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.cleared.discard(name)
        else:
            self.cleared.add(name)

    def _put_typical(self, name: str, value: bytes | None) -> None:
        self.typical.pop(name, None)
        if value is not None:
            self.typical[name] = int(value)


_PUT: dict[str, Callable[[Circle, str, bytes | None], None]] = {
    "o": lambda circle, name, value: circle._put_known(circle.paid, name, value),
    "s": lambda circle, name, value: circle._put_known(circle.spenders, name, value),
    "i": lambda circle, name, value: circle._put_known(circle.received, name, value),
    "l": Circle._put_planted,
    "c": Circle._put_cleared,
    "t": Circle._put_typical,
}
