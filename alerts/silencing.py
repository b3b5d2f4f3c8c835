"""Silences in a store, as data: what the HTTP interface adds, lists and ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from alerts.matchers import MatchReader
from alerts.silence import (
    PREFIX,
    Silence,
    applies,
    in_order,
    make_silence,
    read_silence,
    silence_key,
    write_silence,
)
from monitor.errors import ConfigError
from monitor.ids import iso
from monitor.model import Alert
from monitor.store import Store

__all__ = ["Silencing", "silence_data"]


def silence_data(silence: Silence) -> dict[str, Any]:
    """A silence for JSON; ``critical`` says whether it keeps critical alerts from being said."""
    return {
        "id": silence.id,
        "match": {label: list(values) for label, values in silence.matchers.items()},
        "author": silence.author,
        "comment": silence.comment,
        "created": iso(silence.created),
        "expires": iso(silence.expires),
        "critical": silence.touches_critical,
    }


class Silencing:
    """Silences of ``store``, wall clock in UTC seconds everywhere.

    Parameters
    ----------
    known, chains : what matchers may name, see `alerts.matchers.MatchReader`
    """

    def __init__(
        self,
        store: Store,
        known: Mapping[str, Collection[str]] | None = None,
        chains: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._known = known
        self._chains = chains

    async def all(self, now: float) -> Sequence[Mapping[str, Any]]:
        """Those that hold now, the next to end first."""
        return [silence_data(silence) for silence in await self._active(now)]

    async def add(
        self, match: object, *, author: str, comment: str, expires: float, now: float
    ) -> Mapping[str, Any]:
        """A new one, from now on; ConfigError says everything that is wrong with it."""
        reader = MatchReader(self._known, self._chains)
        matchers = reader.match(match, "match")
        problems = list(reader.problems)
        try:
            # Of values that are wrong already it need not be said again that none are left.
            silence = make_silence(
                matchers or ({"severity": ["low"]} if problems else {}),
                author=author, comment=comment, created=now, expires=expires,
            )  # fmt: skip
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        await self._store.note([(silence_key(silence.id), write_silence(silence))])
        return silence_data(silence)

    async def expire(self, silence_id: str, now: float) -> bool:
        """End one now; False where none with this id holds."""
        key = silence_key(silence_id)
        for name, value in await self._store.notes(key):
            silence = read_silence(value)
            if name == key and silence.expires > now:
                ended = write_silence(msgspec.structs.replace(silence, expires=now))
                return await self._store.note([(key, ended)], expect=[(key, value)])
        return False

    async def touching(self, alert: Alert, now: float) -> Sequence[Mapping[str, Any]]:
        """Those that keep an alert from being said now."""
        return [silence_data(silence) for silence in await self._active(now) if applies(silence, alert, now)]

    async def _active(self, now: float) -> Sequence[Silence]:
        found = [read_silence(value) for _, value in await self._store.notes(PREFIX)]
        return in_order(silence for silence in found if silence.created <= now < silence.expires)

