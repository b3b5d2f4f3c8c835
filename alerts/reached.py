"""Who of several recipients has a message already, where one channel writes to many and not all took it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from monitor.store import OutboxRow, Store, read_note

__all__ = ["Reached"]

PREFIX = "reached/"
MOST = 1000  # messages that are remembered without a store


class Reached:
    """Remembers it, in the store's notes once there is one, so that a restart repeats a message to nobody.

    Only messages that some took and others may yet take are kept; `forget` ends that.
    """

    def __init__(self) -> None:
        self._store: Store | None = None
        self._known: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._loaded = False

    def attach(self, store: Store) -> None:
        """The open store."""
        self._store = store

    async def of(self, row: OutboxRow) -> frozenset[str]:
        """Recipients that have ``row``; empty for nearly every message."""
        if self._store is not None and not self._loaded:
            for key, value in await self._store.notes(PREFIX):
                self._known.setdefault(key, frozenset(read_note(value, list[str], "who took a mail")))
            self._loaded = True
        return self._known.get(_key(row), frozenset())

    async def add(self, row: OutboxRow, recipients: Iterable[str]) -> None:
        """``recipients`` took it."""
        key = _key(row)
        known = self._known[key] = self._known.get(key, frozenset()) | frozenset(recipients)
        if self._store is not None:
            await self._store.note([(key, msgspec.json.encode(sorted(known)))])
            return
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    async def forget(self, row: OutboxRow) -> None:
        """Nothing more is to be sent of it."""
        if self._known.pop(_key(row), None) is not None and self._store is not None:
            await self._store.note([(_key(row), None)])


def _key(row: OutboxRow) -> str:
    return f"{PREFIX}{row.receiver}/{row.channel}/{row.alert_id}"
