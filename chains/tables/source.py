"""Where history comes from: the ``--data`` argument, the files behind it, and the chains that they may belong to."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["ChainInfo", "Source", "chain_named", "default_chain", "expand", "parse_source"]

_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.:-]*)=(.+)", re.DOTALL)
_NOT_DATA = re.compile(r"(readme|license|copying|notice|changelog)(\..*)?|.*\.(md|rst|crc|sha256|md5)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One ``--data`` argument.

    Attributes
    ----------
    path : a file, a folder or a glob
    chain : chain name or CAIP-2 for files without a chain column, None where the user gave none
    """

    path: str
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """What a table reader must know of one configured chain.

    Attributes
    ----------
    chain : CAIP-2
    kind : chain family, ``evm`` for example
    native : CAIP-19 of the native asset
    block_seconds : the usual time between blocks, in seconds; only for estimates, 0 where it is not known
    """

    chain: str
    kind: str
    native: str
    block_seconds: float = 0.0


def parse_source(text: str) -> Source:
    """``[CHAIN=]PATH`` as given to ``--data``. A text that is itself the path of something is never split.

    >>> parse_source("ethereum=history/*.csv")
    Source(path='history/*.csv', chain='ethereum')
    >>> parse_source("history/day=1/a.csv")
    Source(path='history/day=1/a.csv', chain=None)
    """
    match = _PREFIX.fullmatch(text)
    if match and not Path(text).exists():
        return Source(match[2], match[1])
    if not text.strip():
        raise ConfigError("--data was empty, expected [CHAIN=]PATH")
    return Source(text)


def expand(sources: Sequence[Source]) -> tuple[list[tuple[str, Source]], list[str]]:
    """The files behind the sources, in the order given and by name inside each, each file once.

    Returns
    -------
    (files, skipped) : (path, its source) pairs; files of folders that are documents or hidden, left out

    Raises
    ------
    ConfigError : a path that is not there, a folder or glob without a file
    """
    files: dict[str, Source] = {}
    skipped: list[str] = []
    problems: list[Problem] = []
    for source in sources:
        path = Path(source.path)
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.is_file())
            hidden = [p for p in inside if _hidden(Path(p).relative_to(path))]
            skipped += [p for p in hidden if not Path(p).name.startswith((".", "_"))]
            found = [p for p in inside if p not in set(hidden)]
            what = "the folder has no data file"
        elif path.exists():
            found, what = [source.path], ""
        elif glob.has_magic(source.path):
            found = sorted(p for p in glob.iglob(source.path, recursive=True) if Path(p).is_file())  # noqa: PTH207
            what = "no file matches"
        else:
            found, what = [], "no such file or folder"
        if not found:
            problems.append(Problem(what, source.path))
        for name in found:
            files.setdefault(name, source)
    if problems:
        raise ConfigError(problems)
    return list(files.items()), skipped


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts) or _NOT_DATA.fullmatch(path.name) is not None


def chain_named(name: str, chains: Mapping[str, ChainInfo]) -> ChainInfo | None:
    """The configured chain of that name or CAIP-2, or None."""
    if name in chains:
        return chains[name]
    return next((info for info in chains.values() if info.chain == name), None)


def default_chain(path: str, source: Source, kind: str | None, chains: Mapping[str, ChainInfo]) -> ChainInfo | str:
    """The chain of a file's rows that name none, else the sentence that says what to write.

    Parameters
    ----------
    path : the file, for the sentence
    source : where the file came from; its ``chain`` wins
    kind : chain family of the layout; None takes every family
    chains : the configured chains by name
    """
    if source.chain is not None:
        info = chain_named(source.chain, chains)
        if info is None:
            return f"chain {source.chain!r} before the path is not configured: {did_you_mean(source.chain, chains)}"
        if kind is not None and info.kind != kind:
            return f"chain {source.chain!r} is of kind {info.kind}, but this layout is of kind {kind}"
        return info
    fitting = {info.chain: info for info in chains.values() if kind in (None, info.kind)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    of_kind = f" of kind {kind}" if kind else ""
    if not fitting:
        return f"the file names no chain and no chain{of_kind} is configured: add one, then write CHAIN={path}"
    names = ", ".join(sorted(name for name, info in chains.items() if info.chain in fitting))
    return f"the file names no chain and {len(fitting)} chains{of_kind} are configured ({names}): write CHAIN={path}"
