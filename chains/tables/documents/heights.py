"""Heights of blocks that do not say them, and which of several branches is the chain: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Place", "heights_of"]


class Place(NamedTuple):
    """Where a block stands; ``is_main``: in the branch that goes on, of those among the data."""

    height: int
    is_main: bool


def heights_of(headers: Iterable[tuple[bytes, bytes, int | None]], begin: bytes, at: int) -> dict[bytes, Place]:
    """The places of blocks whose height is known, or follows from their neighbours'.

    Parameters
    ----------
    headers : hash, parent's hash, height or None
    begin, at : the first bytes of the hash of a block that is known otherwise, and its height
    """
    parents: dict[bytes, bytes] = {}
    heights: dict[bytes, int] = {}
    children: dict[bytes, list[bytes]] = {}
    for hash, parent, height in headers:
        parents[hash] = parent
        children.setdefault(parent, []).append(hash)
        if height is not None:
            heights[hash] = height
        elif hash.startswith(begin):
            heights[hash] = at
        elif parent.startswith(begin):
            heights[hash] = at + 1
    if len(heights) < len(parents):
        _spread(heights, parents, children)
    main = _main(heights, parents)
    return {hash: Place(height, hash in main) for hash, height in heights.items()}


def _spread(heights: dict[bytes, int], parents: dict[bytes, bytes], children: dict[bytes, list[bytes]]) -> None:
    """Heights of the neighbours of those that are known, and of theirs."""
    todo = sorted(heights)
    while todo:
        hash = todo.pop()
        height = heights[hash]
        near = [(child, height + 1) for child in children.get(hash, ())]
        if (parent := parents[hash]) in parents and height > 0:
            near.append((parent, height - 1))
        for other, its in near:
            if other not in heights:
                heights[other] = its
                todo.append(other)


def _main(heights: dict[bytes, int], parents: dict[bytes, bytes]) -> set[bytes]:
    """Of blocks of one height the one that the next higher one stands on, else the one with the smallest hash."""
    levels: dict[int, list[bytes]] = {}
    for hash, height in heights.items():
        levels.setdefault(height, []).append(hash)
    main: set[bytes] = set()
    above = b""
    for height in sorted(levels, reverse=True):
        wanted = parents.get(above, b"") if above and heights[above] == height + 1 else b""
        above = wanted if wanted in levels[height] else min(levels[height])
        main.add(above)
    return main
