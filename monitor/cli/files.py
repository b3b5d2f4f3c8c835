"""Files that commands write: whether they can be is known before the work, and none is ever half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monitor.errors import ConfigError, Problem

__all__ = ["check_place", "check_places", "write_report", "written"]


def check_place(path: Path, what: str = "report") -> None:
    """Before hours of work: can a file be written there at all?"""
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not path.parent.is_dir():
        why = "its folder is not there"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "permission denied"
    if why:
        raise ConfigError(Problem(f"the {what} cannot be written: {why}", str(path)))


def check_places(places: Mapping[str, Path | None]) -> None:
    """All places of one command, by what is written there; two of them may not be one file."""
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    for what, path in places.items():
        if path is None:
            continue
        try:
            check_place(path, what)
        except ConfigError as error:
            problems += error.problems
        other = taken.setdefault(os.path.realpath(path), what)
        if other != what:
            problems.append(Problem(f"the {other} and the {what} cannot both be written there", str(path)))
    if problems:
        raise ConfigError(problems)


def written(path: Path, write: Callable[[Path], object], what: str = "report") -> None:
    """Write a file under another name beside it, then give it its own: what was there is there until the end.

    Raises
    ------
    ConfigError : it cannot be written
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device
            write(path)
            return
        write(beside)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(Problem(f"the {what} cannot be written: {error.strerror}", str(path))) from None
    finally:
        beside.unlink(missing_ok=True)


def write_report(path: Path, found: Mapping[str, Any]) -> None:
    """Write a report with sorted keys."""
    text = json.dumps(dict(found), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    written(path, lambda place: place.write_text(text, encoding="utf-8"))
