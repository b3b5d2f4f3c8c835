"""Where history comes from: the ``--data`` argument, the files behind it, and the chains that they may belong to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chains.tables.lines import reading
from chains.tables.place import Url, address, clean, place
from chains.tables.remote import listed
from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["ChainInfo", "Source", "chain_named", "default_chain", "expand", "parse_source"]

_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.:-]*)=(.+)", re.DOTALL)
_NOT_DATA = re.compile(
    r"(readme|license|copying|notice|changelog)(\..*)?|xor\.dat|.*\.(md|rst|crc|sha256|md5)", re.IGNORECASE
)


@dataclass(frozen=True)
class Source:
    """One ``--data`` argument.

    Attributes
    ----------
    path : a file, a folder or a glob; `chains.tables.place.Url` of what lies on another machine
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
    decimals : CAIP-19 of assets whose decimals are configured, for tables that hold amounts in coins
    """

    chain: str
    kind: str
    native: str
    block_seconds: float = 0.0
    decimals: Mapping[str, int] = field(default_factory=dict, hash=False)


def parse_source(text: str) -> Source:
    """``[CHAIN=]PATH`` as given to ``--data``. A text that is itself the path, or glob, of something is never split.

    >>> parse_source("ethereum=history/*.csv")
    Source(path='history/*.csv', chain='ethereum')
    >>> parse_source("history/day=1/a.csv")
    Source(path='history/day=1/a.csv', chain=None)

    Raises
    ------
    ConfigError : it is empty, or a URL that cannot be read
    """
    match = _PREFIX.fullmatch(text)
    is_path = os.path.exists(text) or _matches(text)  # noqa: PTH110
    chain, path = (match[1], match[2]) if match and not is_path else (None, text)
    if not path.strip():
        raise ConfigError("--data was empty, expected [CHAIN=]PATH")
    try:
        return Source(place(path), chain)
    except ValueError as error:
        raise ConfigError(Problem(str(error), clean(path))) from None


def _matches(text: str) -> bool:
    """Whether a glob is one of something."""
    return glob.has_magic(text) and next(glob.iglob(text, recursive=True), None) is not None  # noqa: PTH207


def expand(sources: Sequence[Source]) -> tuple[list[tuple[str, Source]], list[str]]:
    """The files behind the sources, in the order given and by name inside each, each file once.

    Returns
    -------
    (files, skipped) : (path, its source) pairs, a path being text or `chains.tables.place.Url`; files of folders that
        are documents or hidden, left out

    Raises
    ------
    ConfigError : a path that is not there, a folder or glob without a file, an object store that cannot be listed
    """
    files: dict[str, tuple[str, Source]] = {}
    skipped: list[str] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            found, left, what = _remote(source.path) if isinstance(source.path, Url) else _local(source.path)
        except ConfigError as error:
            problems += error.problems
            continue
        skipped += left
        if not found:
            problems.append(Problem(what, source.path))
        for name in found:
            files.setdefault(_same(name), (name, source))
    if problems:
        raise ConfigError(problems)
    return list(files.values()), list(dict.fromkeys(skipped))


def _local(path: str) -> tuple[list[str], list[str], str]:
    """Files of a path, those left out, and what to say where there is none."""
    if os.path.isdir(path):  # noqa: PTH112  # a name that is too long is no error of its own
        inside = sorted((str(p), str(p.relative_to(path))) for p in _below(Path(path)))
        return (*_without_hidden(inside), "the folder has no data file")
    if os.path.exists(path):  # noqa: PTH110
        return [path], [], ""
    if glob.has_magic(path):
        found = sorted(p for p in glob.iglob(path, recursive=True) if Path(p).is_file())  # noqa: PTH207
        return found, [], "no file matches"
    return [], [], "no such file or folder"


def _below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files below a folder, behind links too but for those that lead back; ``above``: real folders it lies in."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with reading(str(folder)):
        entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.is_dir():
            yield from _below(entry, above | {real})
        elif entry.is_file():
            yield entry


def _remote(url: Url) -> tuple[list[str], list[str], str]:
    """Objects of a URL: itself, those that match a glob, or those below it where it ends with a slash."""
    path = url.address.split("://", 1)[1]
    if not url.listable:
        if path.endswith("/") or "*" in path.split("?")[0]:
            return [], [], "a folder or glob of an HTTP server cannot be listed: name each file"
        return [url], [], ""
    if not path.endswith("/") and not glob.has_magic(path):
        return [url], [], ""
    with reading(url):
        if not path.endswith("/"):
            return [name for name in listed(url) if "/." not in name], [], "no object matches"  # as a glob of files
        inside = [(name, name.removeprefix(url)) for name in listed(Url(f"{url.address}**/*"))]
    return (*_without_hidden(inside), "there is no data file below it")


def _without_hidden(inside: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Files of a folder, each with its name in there, without documents and hidden ones; and the documents."""
    hidden = {path for path, name in inside if _hidden(name.split("/"))}
    told = [path for path, name in inside if path in hidden and not name.rsplit("/", 1)[-1].startswith((".", "_"))]
    return [path for path, _ in inside if path not in hidden], told


def _same(path: str) -> str:
    """What two names of one file have in common: the whole URL, or the path without links and detours."""
    return address(path) if isinstance(path, Url) else os.path.realpath(path)


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith((".", "_")) for part in parts) or _NOT_DATA.fullmatch(parts[-1]) is not None


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
