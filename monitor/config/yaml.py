"""Reading YAML files into a tree with places: syntax, duplicate keys, substitution, `include`.

Scalars follow YAML 1.2: ``0x28c6``, ``1:30`` and ``2018-01-26`` stay text, ``yes`` and ``off`` are no booleans of YAML.
No message shows a value: a wrong quote may turn a secret into a syntax error.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from monitor.config.tree import MAX_NODES, Node, Source, key_shown
from monitor.errors import ConfigError, Problem

__all__ = ["read_tree", "redacted", "sorted_problems"]

MAX_SECRET_BYTES = 1 << 20
MIN_REDACTED = 8  # characters; shorter values (a role, a number) occur in messages by themselves
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + name for name in ("str", "timestamp", "value", "merge")}
_INT = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_SUBSTITUTION = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
DEEPEST = 200  # lists and mappings within each other; libraries may raise Python's own limit
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_tree(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> tuple[Node, frozenset[str]]:
    """The whole configuration that starts at ``path``, its includes merged, and every value that was substituted.

    What is wrong joins ``problems``; ConfigError where there is nothing to go on with.
    """
    reader = _Reader(environ, problems)
    try:
        root = reader.file(path, str(path), str(path), ())
    except RecursionError:
        raise ConfigError(Problem("the configuration is nested too deeply", str(path))) from None
    if root is None:
        raise ConfigError(sorted_problems(problems))
    root.link()
    return root, frozenset(reader.substituted)


def redacted(problems: Iterable[Problem], values: frozenset[str]) -> list[Problem]:
    """The second line of defence: no substituted value and no private key is part of a message, however it came there.
    """
    from monitor.addresses.extended import hide_private  # loads a library: only where it is needed

    hidden = sorted((value for value in values if len(value) >= MIN_REDACTED), key=len, reverse=True)

    def clean(text: str) -> str:
        for value in hidden:
            text = text.replace(value, "<substituted>")
        return hide_private(text)

    return [Problem(clean(problem.message), clean(problem.where)) for problem in problems]


def sorted_problems(problems: list[Problem]) -> list[Problem]:
    """Without repetitions, by file and line; what has no line comes before what has one."""

    def order(problem: Problem) -> tuple[str, int]:
        name, _, line = problem.where.rpartition(":")
        return (name, int(line)) if name and line.isdigit() else (problem.where, 0)

    return sorted(dict.fromkeys(problems), key=order)


class _Reader:
    """Reads one configuration: the environment, the files read so far, the problems."""

    def __init__(self, environ: Mapping[str, str], problems: list[Problem]) -> None:
        self.environ = environ
        self.problems = problems
        self.seen: set[Path] = set()
        self.substituted: set[str] = set()
        self.nodes = 0

    def file(self, path: Path, spoken: str, asked_at: str, stack: tuple[Path, ...]) -> Node | None:
        """One file with its includes; ``spoken`` is its name in messages, ``asked_at`` the place that names it."""
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
            self.problems.append(Problem(f"{spoken} cannot be read: no file can be there", asked_at))
            return None
        if resolved in stack:
            names = " -> ".join(p.name for p in (*stack[stack.index(resolved) :], resolved))
            self.problems.append(Problem(f"include cycle: {names}", asked_at))
            return None
        if resolved in self.seen:  # two files may include a third
            return None
        self.seen.add(resolved)
        source = Source(str(path), path.parent)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            self.problems.append(Problem(f"{spoken} is not UTF-8 text", asked_at))
            return None
        except OSError as error:
            self.problems.append(Problem(f"{spoken} cannot be read: {error.strerror or 'unknown reason'}", asked_at))
            return None
        node = self._parse(text, source)
        return node and self._include(node, (*stack, resolved))

    def _parse(self, text: str, source: Source) -> Node | None:
        if _depth(text) > DEEPEST:
            self.problems.append(Problem("the file is nested too deeply", source.name))
            return None
        try:
            root = yaml.compose(text, Loader=_FAST)
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error, text, source))
            return None
        if root is None:
            self.problems.append(Problem("the file is empty", source.name))
        elif not isinstance(root, yaml.MappingNode):
            self.problems.append(Problem("expected 'key: value' lines at the top of the file", f"{source.name}:1"))
        else:
            return self._node(root, root.start_mark.line + 1, source, frozenset())
        return None

    def _node(self, node: Any, line: int, source: Source, inside: frozenset[int]) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ConfigError(Problem("too large: more than five million values", f"{source.name}:{line}"))
        if id(node) in inside:
            self.problems.append(Problem("an alias contains itself", f"{source.name}:{line}"))
            return Node(None, source, line, broken=True)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line, source)
        inside |= {id(node)}
        if isinstance(node, yaml.SequenceNode):
            return Node([self._node(n, n.start_mark.line + 1, source, inside) for n in node.value], source, line)
        return Node(self._mapping(node, source, inside), source, line)

    def _mapping(self, node: Any, source: Source, inside: frozenset[int]) -> dict[str, Node]:
        out: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem("a key must be plain text", f"{source.name}:{line}"))
            elif key.tag == _TAG + "merge":
                merged |= self._merged(value, line, source, inside)
            elif key.value in out:
                first = out[key.value].line
                message = f"key {key_shown(key.value)} is written twice, first in line {first}"
                self.problems.append(Problem(message, f"{source.name}:{line}"))
            else:
                out[key.value] = self._node(value, line, source, inside)
        return merged | out

    def _merged(self, node: Any, line: int, source: Source, inside: frozenset[int]) -> dict[str, Node]:
        """What ``<<: *other`` brings in; the mapping's own keys win, then the first of several."""
        out: dict[str, Node] = {}
        for part in node.value if isinstance(node, yaml.SequenceNode) else (node,):
            tree = self._node(part, line, source, inside)
            if not isinstance(tree.value, dict):
                self.problems.append(Problem("<< expects a mapping", f"{source.name}:{line}"))
                continue
            out = tree.value | out
        return out

    def _scalar(self, node: Any, line: int, source: Source) -> Node:
        tag, text = node.tag, node.value
        if not tag.startswith(_TAG):
            self.problems.append(Problem("a value that begins with ! must be in quotes", f"{source.name}:{line}"))
            return Node(text, source, line, broken=True)
        if node.style in (None, "") and tag not in _TEXT_TAGS:
            return Node(_plain_scalar(tag, text), source, line)
        if "${" not in text:
            return Node(text, source, line)
        return self._substitute(Node(text, source, line, raw=text))

    def _substitute(self, node: Node) -> Node:
        """``${NAME}`` from the environment, ``${file:PATH}`` from a file, ``$${`` for a plain ``${``."""

        def one(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            value = self._value(match[1], node)
            node.broken |= value is None
            self.substituted.add(value or "")
            return value or ""

        node.value = _SUBSTITUTION.sub(one, node.value)
        return node

    def _value(self, name: str | None, node: Node) -> str | None:
        if name is not None and name.startswith("file:"):
            return self._secret_file(node.source.folder / name[5:], node)
        if name is None or not _NAME.fullmatch(name):
            message = "expected ${NAME} or ${file:PATH} after a dollar sign; write $${ for a plain ${"
            self.problems.append(node.problem(message))
            return None
        value = self.environ.get(name)
        if value:
            return value
        state = "is not set" if value is None else "is empty"
        self.problems.append(node.problem(f"environment variable {name} {state}"))
        return None

    def _secret_file(self, path: Path, node: Node) -> str | None:
        try:
            with path.open("rb") as stream:
                text = stream.read(MAX_SECRET_BYTES).decode().strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            self.problems.append(node.problem(f"file {path} cannot be read: {reason}"))
            return None
        if not text:
            self.problems.append(node.problem(f"file {path} is empty"))
        return text or None

    def _include(self, root: Node, stack: tuple[Path, ...]) -> Node:
        wanted = root.value.pop("include", None)
        if wanted is None:
            return root
        for item in wanted.value if isinstance(wanted.value, list) else [wanted]:
            for path in self._included(item):
                other = self.file(path, item.spoken(path), item.where, stack)
                if other is not None:
                    self._merge(root, other, "")
        return root

    def _included(self, item: Node) -> list[Path]:
        if item.broken:
            return []
        if not isinstance(item.value, str) or not item.value:
            self.problems.append(item.problem("include expects a list of paths"))
            return []
        pattern = str(item.source.folder / item.value)
        if not glob.has_magic(item.value):
            return [Path(pattern)]
        found = sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 (the pattern may be absolute)
        if not found:
            self.problems.append(item.problem(f"include {item.spoken(item.value)!r} matches no file"))
        return found

    def _merge(self, into: Node, other: Node, label: str) -> None:
        """Mappings are joined, lists concatenated; one value in two files is a problem (``version`` may repeat)."""
        for key, theirs in other.value.items():
            ours, name = into.value.get(key), f"{label}.{key}" if label else key
            if ours is None:
                into.value[key] = theirs
            elif isinstance(ours.value, dict) and isinstance(theirs.value, dict):
                self._merge(ours, theirs, name)
            elif isinstance(ours.value, list) and isinstance(theirs.value, list):
                ours.value.extend(theirs.value)
            elif name != "version" or ours.value != theirs.value:
                self.problems.append(theirs.problem(f"{name} is already given at {ours.where}"))


def _depth(text: str) -> int:
    """How deep lists and mappings lie in each other, up to the first syntax error."""
    deepest = 0
    for loader in (_FAST, yaml.SafeLoader):  # the compiled one gives up before it tells
        depth = 0
        try:
            for event in yaml.parse(text, Loader=loader):
                if isinstance(event, yaml.CollectionStartEvent):
                    depth += 1
                    deepest = max(deepest, depth)
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
            return deepest
        except (yaml.YAMLError, RecursionError):
            continue
    return deepest


def _plain_scalar(tag: str, text: str) -> Any:
    if tag == _TAG + "null":
        return None
    if tag == _TAG + "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == _TAG + "int" and _INT.fullmatch(text):
        return int(text)
    if tag == _TAG + "float" and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax_problem(error: yaml.YAMLError, text: str, source: Source) -> Problem:
    """One plain sentence of a YAML error, from the portable parser (the compiled one words and places it otherwise)."""
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as better:
        error = better
    except RecursionError:
        return Problem("the file is nested too deeply", source.name)
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        return Problem("not valid YAML: a control character", f"{source.name}:{line}")
    what = str(getattr(error, "problem", ""))
    lines = text.splitlines() or [""]
    written = lines[min(mark.line, len(lines) - 1)]
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in what:
        message = "a tab is used for indentation: YAML allows spaces only"
    elif "alias" in what:
        message = "not valid YAML: a value that begins with * must be in quotes"
    else:
        message = "not valid YAML: " + re.sub(r" '[^'<]{2,}'", "", what)
    return Problem(message, f"{source.name}:{mark.line + 1}")
