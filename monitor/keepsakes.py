"""What the reader of a chain wants back after a restart: small facts by key, stored with the chain's blocks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Keepsakes", "prefix_of"]


def prefix_of(chain: str) -> str:
    """What the keys of a chain's notes begin with."""
    return f"kept/{chain}/"


class Keepsakes:
    """The facts of one chain, oldest first; beyond ``most`` the oldest go.

    Parameters
    ----------
    chain : CAIP-2
    notes : stored before, by key with its prefix
    """

    def __init__(self, chain: str, notes: Iterable[tuple[str, bytes]] = (), most: int = 50_000) -> None:
        self._prefix, self._most = prefix_of(chain), most
        self._facts = {key.removeprefix(self._prefix): value for key, value in notes}
        self._news: dict[str, bytes | None] = {}

    @property
    def facts(self) -> Mapping[str, bytes]:
        """All of them."""
        return self._facts

    def put(self, key: str, value: bytes) -> None:
        """Keep a fact; one that is kept already costs nothing."""
        if self._facts.get(key) == value:
            return
        self._facts[key] = self._news[key] = value
        while len(self._facts) > self._most:
            oldest = next(iter(self._facts))
            del self._facts[oldest]
            self._news[oldest] = None

    def taken(self) -> tuple[tuple[str, bytes | None], ...]:
        """Notes of what changed since this was last asked, to be stored."""
        news, self._news = self._news, {}
        return tuple((self._prefix + key, value) for key, value in news.items())
