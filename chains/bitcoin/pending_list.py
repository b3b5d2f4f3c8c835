"""The pool of a node as it lists it: what is new there, what is to be fetched, whether a transaction waits.

A pool may list some hundred thousand transactions each time. Of each only a 64-bit mark is kept: Python's own hash of
its text, which is salted in each process, so that nobody can make a transaction that passes for another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Listed"]

QUEUED = 300_000  # transactions that are to be fetched; beyond, they are counted and left
READ = 65_536  # transactions that are known before they are listed


class Listed:
    """What waits, by its hash.

    Attributes
    ----------
    dropped : transactions that were left out, since too many came
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._marks: NDArray[np.int64] = np.zeros(0, np.int64)  # sorted
        self._listed = False
        self._new: deque[str] = deque()  # came since the first list: these first
        self._old: deque[str] = deque()
        self._read: dict[int, None] = {}

    def __contains__(self, hash_: str) -> bool:
        mark = np.int64(hash(hash_))
        at = int(np.searchsorted(self._marks, mark))
        return at < len(self._marks) and bool(self._marks[at] == mark)

    def __len__(self) -> int:
        return len(self._marks)

    @property
    def queued(self) -> int:
        """How many are to be fetched."""
        return len(self._new) + len(self._old)

    def update(self, hashes: Collection[str]) -> None:
        """The pool as it is now; those that are new are queued."""
        texts = hashes if isinstance(hashes, list) else list(hashes)
        marks = np.fromiter(map(hash, texts), np.int64, len(texts))
        order = np.argsort(marks)
        fresh = np.sort(order[~_among(marks[order], self._marks)])
        line = self._new if self._listed else self._old
        for n in fresh.tolist():
            if self._read and self._read.pop(int(marks[n]), 0) is None:
                continue
            if self.queued >= QUEUED:
                self.dropped += 1
            else:
                line.append(texts[n])
        self._listed, self._marks = True, marks[order]

    def read(self, hashes: Iterable[str]) -> None:
        """These came by another way: they need not be fetched."""
        for one in hashes:
            if one not in self:
                self._read[hash(one)] = None
        while len(self._read) > READ:
            del self._read[next(iter(self._read))]

    def take(self, most: int) -> list[str]:
        """Some that are to be fetched and still wait; those that came last first."""
        found: list[str] = []
        while self.queued and len(found) < most:
            one = self._new.pop() if self._new else self._old.popleft()
            if one in self:
                found.append(one)
        return found

    def give_back(self, hashes: Iterable[str]) -> None:
        """They could not be fetched."""
        self._old.extendleft(hashes)

    def take_back(self, hash_: str) -> None:
        """It was given back, and is not to be fetched after all."""
        self._old.remove(hash_)


def _among(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some are among others; both are sorted."""
    if not len(others):
        return np.zeros(len(some), np.bool_)
    found: NDArray[np.bool_] = others[np.minimum(np.searchsorted(others, some), len(others) - 1)] == some
    return found
