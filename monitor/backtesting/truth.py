"""Labelled incidents: what really happened, in a file of the user's own, to hold a backtest against.

YAML and JSON have ``incidents:``, a list of mappings; CSV has one row an incident with the same names as columns, and
lists parted by spaces or ``;``::

    incidents:
    - id: hot-wallet-2024
      entity: exchange            # or wallets: [hot], by the ids of the configuration
      chains: [ethereum]          # optional: elsewhere it was not
      from: 2024-03-01T10:02:11Z  # the first of the thief's transactions, and the last
      until: 2024-03-01T10:40:00Z
      transactions: ["0x..."]     # or these instead of times, or both
      lost: 4,100 ETH             # optional, shown as it is
      note: what is known of it
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitor.config.tree import Node, Source, key_shown
from monitor.config.yaml import read_tree, sorted_problems
from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso
from monitor.networks import CAIP2, NETWORKS, by_name
from monitor.registry import did_you_mean

__all__ = ["LASTS", "Truth", "TruthIncident", "load_truth", "named"]

LASTS = 86400  # seconds from ``from`` on, where ``until`` is not known: as long as an incident waits for evidence
FIELDS = ("id", "entity", "wallets", "chains", "from", "until", "transactions", "lost", "note")
_LISTS = ("wallets", "chains", "transactions")
_MOST = 100_000  # incidents of one file
_LONGEST = 10_000  # characters of one text


@dataclass(frozen=True, slots=True)
class TruthIncident:
    """One labelled incident.

    Attributes
    ----------
    wallets : ids of the wallets that lost something; empty: any of ``entity``
    chains : CAIP-2, or names that `named` makes such of; empty: any
    start, end : UTC seconds of its first and last moment, None where the transactions alone say when it was
    transactions : hashes as chains write them, in lower case without ``0x``
    """

    id: str
    entity: str
    wallets: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None
    transactions: frozenset[str] = frozenset()
    lost: str = ""
    note: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """All labelled incidents of one file."""

    path: str
    incidents: tuple[TruthIncident, ...]


def load_truth(path: Path | str) -> Truth:
    """Read labelled incidents.

    Parameters
    ----------
    path : by its ending ``.csv``, else YAML (of which JSON is a part)

    Raises
    ------
    ConfigError : with everything that is wrong, each with file and line
    """
    path = Path(path)
    problems: list[Problem] = []
    items = _csv_items(path, problems) if path.suffix.lower() == ".csv" else _tree_items(path, problems)
    if len(items) > _MOST:
        problems.append(Problem(f"{len(items):,} incidents, expected {_MOST:,} at most", str(path)))
        items = []
    found = [_Reader(item, problems).read() for item in items]
    seen: dict[str, str] = {}
    for each in found:
        if each is not None and each.id in seen:
            problems.append(Problem(f"id {each.id!r} is used twice, first at {seen[each.id]}", each.where))
        elif each is not None:
            seen[each.id] = each.where
    if problems:
        raise ConfigError(sorted_problems(problems))
    return Truth(str(path), tuple(each for each in found if each is not None))


def hash_key(text: str) -> str:
    """A transaction's hash in the form in which two writings of it are equal."""
    return text.strip().lower().removeprefix("0x")


def _tree_items(path: Path, problems: list[Problem]) -> list[Node]:
    root, _ = read_tree(path, {}, problems)
    for key, child in root.value.items():
        if key not in ("incidents", "version", "schema_version", "note"):
            hint = did_you_mean(key, ("incidents", "note", "version"))
            problems.append(child.problem(f"unknown key {key_shown(key)}: {hint}"))
    items = root.child("incidents")
    if items is None or not isinstance(items.value, list):
        problems.append((items or root).problem("expected `incidents:` with a list of incidents"))
        return []
    if not items.value:
        problems.append(items.problem("incidents is empty: there is nothing to hold the report against"))
    return items.value


def _csv_items(path: Path, problems: list[Problem]) -> list[Node]:
    """Rows as nodes with their lines."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(Problem(f"the labelled incidents cannot be read: {why}", str(path))) from None
    source = Source(str(path), path.parent)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Node] = []
    names: list[str] = []
    try:
        line = 1
        for row in reader:
            if not names:
                names = [name.strip() for name in row]
                _check_header(names, f"{path}:{line}", problems)
            elif any(cell.strip() for cell in row):
                if len(row) != len(names):
                    message = f"{len(row)} cells, expected {len(names)} as in the first line"
                    problems.append(Problem(message, f"{path}:{line}"))
                else:
                    found.append(_csv_node(names, row, source, line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(Problem(f"not valid CSV: {error}", f"{path}:{reader.line_num}")) from None
    if not found and not problems:
        problems.append(Problem("there is no incident in it", str(path)))
    return found


def _check_header(names: list[str], where: str, problems: list[Problem]) -> None:
    unknown = [name for name in names if name not in FIELDS]
    problems += [Problem(f"unknown column {key_shown(name)}: {did_you_mean(name, FIELDS)}", where) for name in unknown]
    if len(set(names)) < len(names):
        problems.append(Problem("a column is there twice", where))


def _csv_node(names: list[str], row: list[str], source: Source, line: int) -> Node:
    cells: dict[str, Node] = {}
    for name, cell in zip(names, row, strict=True):
        if not cell.strip() or name not in FIELDS:
            continue
        value: Any = cell.strip()
        if name in _LISTS:
            value = [Node(part, source, line) for part in re.split(r"[\s;]+", value) if part]
        cells[name] = Node(value, source, line)
    node = Node(cells, source, line)
    node.link()
    return node


class _Reader:
    """Reads one incident; what is wrong joins the problems."""

    def __init__(self, node: Node, problems: list[Problem]) -> None:
        self._node, self._problems, self._before = node, problems, len(problems)
        self._wrong: set[str] = set()  # keys of which something was said

    def read(self) -> TruthIncident | None:
        """The incident, None where something is wrong with it."""
        node = self._node
        if not isinstance(node.value, dict):
            self._problems.append(node.problem(f"expected a mapping with {', '.join(FIELDS)}"))
            return None
        for key, child in node.value.items():
            if key not in FIELDS:
                self._problems.append(child.problem(f"unknown key {key_shown(key)}: {did_you_mean(key, FIELDS)}"))
        found = TruthIncident(
            id=self._text("id"),
            entity=self._text("entity"),
            wallets=self._texts("wallets"),
            chains=self._texts("chains"),
            start=self._time("from"),
            end=self._time("until"),
            transactions=frozenset(map(hash_key, self._texts("transactions"))),
            lost=self._text("lost"),
            note=self._text("note"),
            where=node.where,
        )
        self._check(found)
        return found if len(self._problems) == self._before else None

    def _check(self, found: TruthIncident) -> None:
        if not found.id:
            self._say("id", "id is missing")
        if not (found.entity or found.wallets or "wallets" in self._wrong):
            self._say("entity", "whose incident is it? expected entity, or wallets")
        if found.start is None and not found.transactions and "transactions" not in self._wrong:
            self._say("from", "when was it? expected from (and until), or transactions")
        if found.end is not None and found.start is None and "from" not in self._wrong:
            self._say("until", "until without from")
        if found.start is not None and found.end is not None and found.end < found.start:
            self._say("until", "until is before from")

    def _say(self, key: str, message: str) -> None:
        if key not in self._wrong:
            self._problems.append(self._node.at(key).problem(message))

    def _read(self, key: str, convert: Callable[[Node], Any], empty: Any) -> Any:
        child = self._node.child(key)
        if child is None or child.value is None:
            return empty
        try:
            return convert(child)
        except ValueError as error:
            self._problems.append(child.problem(f"{key}: {error}"))
            self._wrong.add(key)
            return empty

    def _text(self, key: str) -> str:
        found: str = self._read(key, _as_text, "")
        return found

    def _texts(self, key: str) -> tuple[str, ...]:
        found: tuple[str, ...] = self._read(key, _as_texts, ())
        return found

    def _time(self, key: str) -> int | None:
        found: int | None = self._read(key, _as_time, None)
        return found


def _as_text(node: Node) -> str:
    if isinstance(node.value, bool) or not isinstance(node.value, str | int | float) or len(str(node.value)) > _LONGEST:
        raise ValueError("expected text")
    return str(node.value).strip()


def _as_texts(node: Node) -> tuple[str, ...]:
    items = node.value if isinstance(node.value, list) else [node]
    found = [_as_text(item) for item in items]
    if not all(found):
        raise ValueError("expected a list of texts, none of them empty")
    return tuple(dict.fromkeys(found))


def _as_time(node: Node) -> int:
    return from_iso(_as_text(node))


def named(truth: Truth, chains: Mapping[str, str]) -> Truth:
    """The same incidents, their chains as CAIP-2.

    Parameters
    ----------
    chains : name in the configuration to CAIP-2; names of built-in networks are known besides

    Raises
    ------
    ConfigError : with every name that is no chain's
    """
    problems: list[Problem] = []

    def chain(name: str, where: str) -> str:
        network = by_name(name)
        found = chains.get(name) or (network.chain if network is not None else name)
        if not CAIP2.fullmatch(found):
            known = {*chains, *(network.name for network in NETWORKS)}
            problems.append(Problem(f"unknown chain {key_shown(name)}: {did_you_mean(name, known)}", where))
        return found

    incidents = tuple(replace(i, chains=tuple(chain(name, i.where) for name in i.chains)) for i in truth.incidents)
    if problems:
        raise ConfigError(sorted_problems(problems))
    return replace(truth, incidents=incidents)


def in_words(incident: TruthIncident) -> Mapping[str, Any]:
    """What the file says, as plain data."""
    found: dict[str, Any] = {"entity": incident.entity or None, "wallets": list(incident.wallets)}
    found |= {"chains": list(incident.chains), "lost": incident.lost or None, "note": incident.note or None}
    return found
