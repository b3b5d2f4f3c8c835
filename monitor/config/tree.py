"""The configuration as a tree in which every value knows where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.errors import Problem

__all__ = ["MAX_NODES", "Node", "Source", "from_mapping", "key_shown"]

MAX_NODES = 5_000_000  # aliases of aliases grow without end; ten thousand wallets need about 200,000


@dataclass(frozen=True, slots=True)
class Source:
    """A file (or another origin): its name in messages, and the folder from which its relative paths start."""

    name: str
    folder: Path


@dataclass(slots=True, eq=False, repr=False)  # the values hold secrets
class Node:
    """A value and its place. ``line`` counts from 1; 0 where the origin has no lines.

    ``raw`` is the text as written where a substitution changed it: the only form of it that may be shown.
    ``lost`` are keys and indices that already led to a problem of their own.
    """

    value: Any  # dict[str, Node] | list[Node] | str | int | float | bool | None
    source: Source
    line: int = 0
    raw: str | None = None
    parent: Node | None = None
    key: str | int = ""
    broken: bool = False  # its substitution failed, which is a problem already
    lost: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        """``file:line``, or the name of the origin alone."""
        return f"{self.source.name}:{self.line}" if self.line else self.source.name

    @property
    def label(self) -> str:
        """The place inside the configuration, ``wallets[2].role`` for example."""
        if self.parent is None:
            return ""
        if isinstance(self.key, int):
            return f"{self.parent.label}[{self.key}]"
        before = self.parent.label
        return f"{before}.{self.key}" if before else self.key

    def problem(self, message: str) -> Problem:
        """A problem at this place."""
        return Problem(message, self.where)

    def spoken(self, text: object) -> str:
        """``text`` (made of this value) for a message: how it was written where the value was substituted."""
        return str(text) if self.raw is None else self.raw

    def child(self, key: str | int) -> Node | None:
        """The value under a key or index, None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            child: Node = self.value[key]
            return child
        return None

    def find(self, path: Sequence[str | int]) -> tuple[Node, int]:
        """The deepest value on ``path`` that exists, and how many steps of the path lead to it."""
        node = self
        for depth, key in enumerate(path):
            child = node.child(key)
            if child is None:
                return node, depth
            node = child
        return node, len(path)

    def at(self, *path: str | int) -> Node:
        """The value at ``path``, else its nearest ancestor."""
        return self.find(path)[0]

    def children(self) -> Iterator[Node]:
        """What is directly inside."""
        if isinstance(self.value, dict):
            yield from self.value.values()
        elif isinstance(self.value, list):
            yield from self.value

    def remove(self, child: Node) -> None:
        """Take a child out, as if it had not been written (lists close up; keys of the others stay as they were)."""
        self.lost.add(str(child.key))
        if isinstance(self.value, dict):
            self.value.pop(child.key, None)
        elif isinstance(self.value, list):
            self.value = [item for item in self.value if item is not child]

    def is_empty(self, key: str) -> bool:
        """Whether the list under ``key`` was written (or left) without entries, and nothing was said of it yet."""
        child = self.child(key)
        return child is None or not (child.value or child.lost or key in self.lost)

    def link(self) -> None:
        """Tell every value its parent and key."""
        pairs = self.value.items() if isinstance(self.value, dict) else enumerate(self.children())
        for key, child in pairs:
            child.parent, child.key = self, key
            child.link()

    def plain(self) -> Any:
        """The values alone."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def key_shown(key: str) -> str:
    """A key for a message: text that is not like a name may be a secret in the wrong place."""
    return repr(key) if re.fullmatch(r"[\w .-]{1,40}", key) else "(not a name)"


def from_mapping(value: Any, source: Source) -> Node:
    """A tree of plain Python values, with the origin as every place; nothing is substituted."""
    if isinstance(value, Mapping):
        return Node({str(key): from_mapping(item, source) for key, item in value.items()}, source)
    if isinstance(value, (list, tuple)):
        return Node([from_mapping(item, source) for item in value], source)
    return Node(value, source)
