"""Reading label files of any layout, told by their content."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from monitor.errors import ConfigError, Problem
from monitor.labels import imported
from monitor.labels.gathered import Gathered
from monitor.labels.given import Given, Maker, fields_of, given_of
from monitor.labels.kind import LabelKind, hinted
from monitor.labels.packs import pack_rows, yaml_layout
from monitor.labels.place import Foreign, Places
from monitor.labels.tables import csv_fields, csv_rows, is_list, json_rows, list_rows
from monitor.networks import by_chain, by_name

__all__ = ["expand", "read_labels"]

_SUFFIXES = {".yaml", ".yml", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".parquet"}
_DOCUMENT = re.compile(r"(readme|license|licence|notice|changelog|contributing)\b", re.I)
_LAYOUTS = (
    "layout not known: expected a TagPack (YAML with `tags:`), a pack (YAML with `heistwatch_labels: 1`), a list of"
    " addresses, CSV or JSON with a column `address` and `label` or `kind`, or Parquet with the same"
)
_NO_KIND = "it does not say what these addresses are: use --kind, CSV with a column `kind`, or a name like {}"
_LISTED_COIN = re.compile(r"_([A-Z0-9]{2,6})$")


def expand(texts: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The files that paths, folders and patterns name, and the files of folders that are left out as no data.

    Raises
    ------
    ConfigError : something that is not there
    """
    files: dict[Path, None] = {}
    skipped: list[str] = []
    problems: list[Problem] = []
    for text in texts:
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            data = [p for p in inside if p.suffix.lower() in _SUFFIXES and not _DOCUMENT.match(p.name)]
            skipped += [str(p) for p in inside if p not in set(data)]
            found = data
        elif path.is_file() or not glob.has_magic(text):
            found = [path] if path.is_file() else []
        else:
            found = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if p.is_file())  # noqa: PTH207
        if not found:
            problems.append(Problem("no such file" if not path.is_dir() else "no label files in this folder", text))
        files |= dict.fromkeys(found)
    if problems:
        raise ConfigError(problems)
    return list(files), skipped


def read_labels(
    files: Sequence[Path], places: Places, *, undated: int | None = None, kind: LabelKind | None = None
) -> Gathered:
    """The labels of files.

    Parameters
    ----------
    files : in any layout of this package
    places : chains by name
    undated : UTC seconds from which labels count whose source has no date (the time of import); None: from the last
        change of their file, which live and history see alike
    kind : what addresses are where the content does not say it

    Raises
    ------
    ConfigError : with every file that cannot be read at all, or of which no row can be read
    """
    gathered, problems = Gathered(), list[Problem]()
    for path in files:
        try:
            since = int(path.stat().st_mtime) if undated is None else undated
            _read(path, Maker(places, since, path.stem, kind), gathered)
        except ConfigError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(f"cannot be read: {error.strerror or 'unknown reason'}", str(path)))
        except ValueError as error:
            problems.append(_placed(path, str(error)))
        else:
            read = gathered.files[-1]
            if read.bad and not read.labels and not read.foreign:
                first = next((bad for bad in gathered.bad if bad.path == read.path), None)
                where = f"{path}:{first.line}" if first else str(path)
                problems.append(Problem(f"no row can be read: {first.reason if first else 'all are bad'}", where))
    if problems:
        raise ConfigError(problems)
    return gathered


def _placed(path: Path, message: str) -> Problem:
    """A message that begins with its line has it in its place."""
    match = re.match(r"line (\d+)(?::| is) ", message)
    return Problem(message[match.end() :], f"{path}:{match[1]}") if match else Problem(message, str(path))


def _read(path: Path, maker: Maker, gathered: Gathered) -> None:
    raw = path.read_bytes() if path.suffix.lower() != ".parquet" and not _is_parquet(path) else None
    if raw is None:
        return _parquet(path, maker, gathered)
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    layout, rows, maker = _text(path, text, maker)
    gathered.begin(str(path), layout)
    _take(rows, maker, gathered)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _text(path: Path, text: str, maker: Maker) -> tuple[str, Iterator[tuple[int, list[Given] | str]], Maker]:
    """Layout, rows, and how to make labels of them."""
    layout = yaml_layout(text)
    if layout is not None:
        return layout, pack_rows(text), maker
    table = _hinted(path, maker)
    if text.lstrip()[:1] in ("[", "{"):
        bare, rows = json_rows(text)
        return ("JSON list", rows, _listed(path, table)) if bare else ("JSON", rows, table)
    if "address" in (fields := csv_fields(text)):
        _check_columns(fields, table)
        return "CSV", csv_rows(text), table
    if is_list(text):
        return "list", list_rows(text), _listed(path, table)
    raise ValueError(_LAYOUTS)


def _hinted(path: Path, maker: Maker) -> Maker:
    return replace(maker, hint=maker.hint or hinted(path.stem), chain=_folder_chain(path))


def _listed(path: Path, maker: Maker) -> Maker:
    """For lists, whose name says what and where the addresses are: ``sanctioned_addresses_XBT.txt``."""
    if maker.hint is None:
        raise ValueError(_NO_KIND.format("sanctioned_addresses_ETH.txt"))
    coin = _LISTED_COIN.search(path.stem)
    return replace(maker, chain="", coin=coin[1]) if coin else maker


def _folder_chain(path: Path) -> str:
    """The chain of data sets that have a folder a chain: ``labels/10/phishing.csv``, ``ethereum/phishing.csv``."""
    name = path.absolute().parent.name
    network = by_name(name) or (by_chain(f"eip155:{name}") if name.isdigit() else None)
    return network.chain if network is not None and by_name(network.name) else ""


def _check_columns(fields: dict[str, list[str]], maker: Maker) -> None:
    if "address" not in fields or not ({"name", "kind", "category"} & set(fields) or maker.hint is not None):
        raise ValueError(_LAYOUTS)


def _take(rows: Iterable[tuple[int, list[Given] | str]], maker: Maker, gathered: Gathered) -> None:
    for line, said in rows:
        if isinstance(said, str):
            gathered.add_bad(line, said)
            continue
        for given in said:
            try:
                gathered.add(maker.label(given))
            except Foreign as error:
                gathered.add_foreign(str(error))
            except ValueError as error:
                gathered.add_bad(line, str(error))


def _parquet(path: Path, maker: Maker, gathered: Gathered) -> None:
    if imported.is_imported(path):
        gathered.begin(str(path), "imported")
        gathered.add_frame(imported.read_imported(path))
        return
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError:
        raise ValueError("not a Parquet file that can be read") from None
    fields, table = fields_of(frame.columns), _hinted(path, maker)
    _check_columns(fields, table)
    gathered.begin(str(path), "Parquet")
    texts = frame.with_columns(pl.all().cast(pl.String, strict=False)).iter_rows(named=True)
    rows = ({key: value or "" for key, value in row.items()} for row in texts)
    _take(((number, given_of(row, fields)) for number, row in enumerate(rows, 1)), table, gathered)
