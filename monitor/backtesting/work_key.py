"""What kept work belongs to: the same command on the same data, by the same code. Equal texts in every process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.backtesting.ledger import key_of
from monitor.config import Config

if TYPE_CHECKING:
    from monitor.backtesting.run import Options

__all__ = ["canonical", "command_key", "files_key"]


def command_key(config: Config, data: Sequence[str], options: Options) -> str:
    """What a place in the work folder belongs to: another configuration, other labels or another version have theirs.

    Parameters
    ----------
    data : as it was given; the files are told by `files_key`
    """
    from monitor import __version__
    from monitor.labels.load import label_files

    root = Path(__file__).parents[2]
    code = max(path.stat().st_mtime_ns for top in ("monitor", "chains") for path in (root / top).rglob("*.py"))
    units = getattr(options.rename, "units", {})
    asked = (options.start, options.end, options.strict, options.rename or {}, units)
    count = None if options.engine == "local" else options.workers
    beside = [*label_files(config), *([Path(config.prices.path)] if config.prices.path else [])]
    return key_of(
        __version__, code, canonical(config), list(data), canonical(asked), options.engine, count,
        os.fspath(Path.cwd()), *map(_state, beside),
    )  # fmt: skip


def files_key(paths: Iterable[str]) -> str:
    """Files as they are now, in their order: what is made of one depends on which others there are."""
    return key_of(*map(_state, paths))


def _state(path: str | Path) -> str:
    try:
        found = Path(path).stat()
    except OSError:
        return str(path)  # a URL, or nothing yet
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def canonical(value: Any) -> str:
    """A value as text, the same in every process: members of sets and entries of mappings in order.

    >>> canonical({"b": {2, 1}, "a": (None, "x")})
    "{'a': [None, 'x'], 'b': {1, 2}}"
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{canonical(key)}: {canonical(item)}" for key, item in value.items())) + "}"
    if isinstance(value, Set):
        return "{" + ", ".join(sorted(map(canonical, value))) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical, value)) + "]"
    if (digest := getattr(value, "digest", None)) is not None:
        return f"{type(value).__name__} {digest}"
    if is_dataclass(value) and not isinstance(value, type):
        told = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        return f"{type(value).__name__} {canonical(told)}"
    return repr(value)
