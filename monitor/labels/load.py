"""The labels of a configuration: the built-in pack, the files under ``labels:``, and what was imported."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

import polars as pl

from monitor.config import Config
from monitor.labels import imported
from monitor.labels.book import LabelBook
from monitor.labels.gathered import BadRow, Gathered
from monitor.labels.place import Places
from monitor.labels.read import read_labels

__all__ = ["PACK", "import_path", "label_files", "load_book", "places_of"]

PACK = Path(__file__).with_name("pack.yaml")
"""Built-in labels: facts with their sources."""
_NAME = "imported.parquet"


def places_of(config: Config) -> Places:
    """Chains by the names of a configuration and those that are built in."""
    return Places((chain.name, chain.network) for chain in config.chains)


def import_path(config: Config) -> Path:
    """The file of `labels import`: the first Parquet file that ``labels:`` names, else ``imported.parquet``.

    That lies in the folder of the first entry of ``labels:``, or in ``labels/`` beside the configuration.
    """
    for entry in config.labels:
        if not glob.has_magic(entry) and entry.endswith(".parquet"):
            return Path(entry)
    for entry in config.labels:
        parts = Path(entry).parent.parts
        plain = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        return Path(*parts[:plain]) / _NAME
    return config.base / "labels" / _NAME


def label_files(config: Config) -> list[Path]:
    """The files that `load_book` reads."""
    own = import_path(config)
    return [PACK, *_configured(config, own), *([own] if own.is_file() else [])]


def load_book(config: Config, *, undated: int | None = None, bad: list[BadRow] | None = None) -> LabelBook:
    """The book of a configuration. It reads the file of `labels import` where that is, named or not.

    Parameters
    ----------
    undated : UTC seconds from which labels count whose source has no date; None: from the last change of their file
    bad : takes the rows that cannot be read (the first thousand); the rest of their file counts

    Raises
    ------
    ConfigError : with every file that cannot be read, of an unknown layout, or without one good row
    """
    own = import_path(config)
    files = [PACK, *_configured(config, own)]
    gathered: Gathered = read_labels(files, places_of(config), undated=undated)
    if bad is not None:
        bad += gathered.bad
    lazy = own.is_file() and imported.is_imported(own)
    if own.is_file() and not lazy:
        other = read_labels([own], places_of(config), undated=undated)
        if bad is not None:
            bad += other.bad
        return LabelBook(pl.concat([gathered.frame(), other.frame()]))
    return LabelBook.of_columns(_columns(gathered.frame(), own if lazy else None))


def _columns(frame: pl.DataFrame, path: Path | None) -> Callable[[str], pl.Series]:
    if path is None:
        return frame.get_column
    return lambda name: pl.concat([frame.get_column(name), imported.column(path, name)])


def _configured(config: Config, own: Path) -> list[Path]:
    """The files of ``labels:``, sorted within a pattern, each once; the imported one apart."""
    found: dict[Path, None] = {}
    for entry in config.labels:
        names = sorted(glob.glob(entry, recursive=True)) if glob.has_magic(entry) else [entry]  # noqa: PTH207
        found |= dict.fromkeys(Path(name) for name in names if not Path(name).is_dir())
    return [path for path in found if path != own and not (own.is_file() and path.exists() and path.samefile(own))]
