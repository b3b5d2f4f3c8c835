"""Detectors of the user's own: the files that a configuration names, and what their wallets may set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from monitor.config.tree import Node
from monitor.errors import ConfigError, Problem

if TYPE_CHECKING:
    from monitor.config.types import Config
    from monitor.own import OwnDetector, OwnFile

__all__ = ["Own", "build_own", "cards_of", "travels", "with_own"]

Own: TypeAlias = "str | Path | OwnFile | OwnDetector"
"""A detector, or a file with some."""


def build_own(node: Node | None, more: Sequence[Own], problems: list[Problem]) -> tuple[OwnFile | OwnDetector, ...]:
    """The files that a configuration names, and after them what its caller brings; each once.

    Parameters
    ----------
    node : the list of paths, or one path; None: there is none
    """
    items = [] if node is None else node.value if isinstance(node.value, list) else [node]
    if not (items or more):
        return ()
    from monitor.own import OwnFile  # compiles code: only where it is needed

    found: list[OwnFile | OwnDetector] = []
    for item in items:
        try:
            found.append(OwnFile.read(item.source.folder.absolute() / str(item.value)))
        except ConfigError as error:
            problems += [item.problem(f"{item.label}: {problem.message}") for problem in error.problems]
    return _joined(found, more, problems)


def with_own(config: Config, more: Sequence[Own]) -> Config:
    """A configuration with further detectors; ConfigError where they are wrong, or have ids that are taken."""
    problems: list[Problem] = []
    own = _joined(config.own, more, problems) if more else config.own
    if problems:
        raise ConfigError(problems)
    return replace(config, own=own)


def travels(config: Config) -> bool:
    """Whether other processes can have all detectors of a configuration: they read files, not functions."""
    return not config.own or all(hasattr(item, "source") for item in config.own)


def _joined(
    found: Sequence[OwnFile | OwnDetector], more: Sequence[Own], problems: list[Problem]
) -> tuple[OwnFile | OwnDetector, ...]:
    """What is there and what comes, each once; none where anything is wrong with them."""
    from monitor.own import OwnDetector, OwnFile
    from monitor.own.load import gather

    joined = list(found)
    for given in more:
        try:
            joined.append(given if isinstance(given, OwnFile | OwnDetector) else OwnFile.read(Path(given).absolute()))
        except ConfigError as error:
            problems += error.problems
    own = tuple(dict.fromkeys(joined))
    try:
        gather(own)
    except ConfigError as error:
        problems += error.problems
        return ()
    return own


def cards_of(own: Sequence[OwnFile | OwnDetector]) -> Mapping[str, OwnDetector]:
    """Detectors by id; those of `build_own` alone."""
    if not own:
        return {}
    from monitor.own.load import gather

    return {each.id: each for each in gather(own)}

