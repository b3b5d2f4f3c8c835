"""The folder that is fetched into: parts are written under another name, made durable, renamed, then listed.

::

    OUT/_fetch.ndjson                                   the manifest
    OUT/_final                                          while blocks are there that were not final when they were read
    OUT/transfers/000000001000-000000001999.parquet     and controls/, blocks/, balances/

A part is there when the manifest lists it. What a kill left beside it goes at the next start. One process at a time
works in a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from monitor.errors import ConfigError, Problem, StoreError
from monitor.fetching.manifest import NAME, Closing, Header, Manifest, Part
from monitor.fetching.rows import TABLES

__all__ = ["Folder", "Hold"]

BLIND = "heistwatch.blind_spots"  # metadata of a file of transfers: what its reading could not show, by chain
FINAL = "_final"  # holds the highest block that was final, and still the chain's, when it was last looked at
OPENING = "opening"  # the file of balances that were carried back


@dataclass(frozen=True, slots=True)
class Hold:
    """What a folder holds: ``first`` and ``last`` are None where there is no block yet."""

    first: int | None
    last: int | None
    rows: Mapping[str, int]


class Folder:
    """A folder, locked until `close`.

    Parameters
    ----------
    path : made where it is not there

    Raises
    ------
    ConfigError : it holds something else, another process works in it, or it cannot be written
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = [found.name for found in path.iterdir() if found.name != NAME]
            if foreign and not (path / NAME).exists():
                raise ConfigError(
                    Problem(f"it holds {foreign[0]!r} and was not made by fetch: name a new folder", str(path))
                )
            self._manifest = Manifest(path / NAME)
        except OSError as error:
            raise ConfigError(Problem(f"cannot fetch into it: {error.strerror}", str(path))) from None
        try:
            fcntl.flock(self._manifest.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._manifest.read()
        except BlockingIOError:
            self._manifest.close()
            raise ConfigError(Problem("another fetch works in it", str(path))) from None
        except ConfigError:
            self._manifest.close()
            raise

    @property
    def header(self) -> Header | None:
        """What it was begun for; None in a new one."""
        return self._manifest.header

    @property
    def parts(self) -> Sequence[Part]:
        """What is there, lowest first."""
        return self._manifest.parts

    @property
    def closed(self) -> bool:
        """Whether balances were carried back to its beginning."""
        return any(isinstance(line, Closing) and line.carried for line in self._manifest.lines)

    @property
    def ended(self) -> bool:
        """Whether nothing of balances is left to be told."""
        return self.closed or (bool(self._manifest.lines) and isinstance(self._manifest.lines[-1], Closing))

    @property
    def settled(self) -> int:
        """The highest block that was final when it was fetched, or is known to have become so; -1: none."""
        try:
            return int((self.path / FINAL).read_text())
        except FileNotFoundError:
            return self.parts[-1].last if self.parts else -1
        except (OSError, ValueError):
            told = "it is damaged: remove it, then all blocks that are there count as final"
            raise ConfigError(Problem(told, str(self.path / FINAL))) from None

    def settle(self, final: int, highest: int) -> None:
        """Say that what is there is the chain's, and final up to ``final``; blocks up to ``highest`` are there or come.

        Raises
        ------
        StoreError : it cannot be written
        """
        path, settled = self.path / FINAL, max(final, self.settled)
        try:
            if highest > settled:
                half = path.with_name(f".{FINAL}.part")
                half.write_text(f"{settled}\n")
                half.replace(path)
            else:
                path.unlink(missing_ok=True)
            _sync(self.path)
        except OSError as error:
            raise StoreError(f"{path}: it cannot be written: {error.strerror}") from None

    @property
    def hold(self) -> Hold:
        """How much is there."""
        parts = self.parts
        rows = dict.fromkeys(TABLES, 0)
        for line in self._manifest.lines:
            for name, count in line.rows.items():
                rows[name] += count
        return Hold(parts[0].first if parts else None, parts[-1].last if parts else None, rows)

    def begin(self, header: Header) -> str:
        """Go on with what is there, or begin; what is damaged goes. What to say of it, empty where there is nothing.

        Raises
        ------
        ConfigError : the folder is of another chain, watch list or way of reading
        """
        if self.header is None:
            self._manifest.begin(header)
            _sync(self.path)
            return ""
        self._check(self.header, header)
        lines = self._manifest.lines
        sound = next((place for place, line in enumerate(lines) if not self._is_sound(line)), len(lines))
        damaged = lines[sound:]
        said = ""
        if damaged:
            first = damaged[0].first if isinstance(damaged[0], Part) else damaged[0].last + 1
            said = f"files from block {first} on are missing or changed: they are fetched again"
            self._drop(sound)
        self._sweep()
        return said

    def commit(self, part: Part, tables: Mapping[str, pl.DataFrame]) -> None:
        """Store a part; ``files`` and ``rows`` of it are filled in."""
        assert self.header is not None
        name = f"{part.first:012d}-{part.last:012d}"
        blind = {self.header.chain: list(part.spots)} if part.spots else {}
        files, rows = self._store(name, tables, blind)
        self._manifest.add(msgspec.structs.replace(part, files=files, rows=rows))

    def close_with(self, last: int, balances: pl.DataFrame, *, carried: bool) -> None:
        """Store balances that were told after block ``last``, and whether they were carried back from there."""
        files, rows = self._store(OPENING if carried else f"head-{last:012d}", {"balances": balances})
        self._manifest.add(Closing(last, carried, files, rows))

    def drop_last(self) -> Part:
        """Take the highest part away: it is none of the chain's any more."""
        lines = self._manifest.lines
        place = max(place for place, line in enumerate(lines) if isinstance(line, Part))
        part = lines[place]
        assert isinstance(part, Part)
        self._drop(place)
        return part

    def close(self) -> None:
        """Let others in; calling it twice is fine."""
        self._manifest.close()

    def _check(self, old: Header, new: Header) -> None:
        problems = []
        if old.chain != new.chain:
            problems.append(f"it holds history of {old.chain}, not of {new.chain}: name another folder")
        elif old.watch != new.watch:
            problems.append(
                "it was fetched for other addresses than the configuration watches now, and lacks what is new: name "
                "another folder"
            )
        elif old.reading != new.reading:
            problems.append(
                "it was fetched with other options of the chain, or other listed assets: name another folder"
            )
        elif new.first < old.first:
            problems.append(
                f"it begins at block {old.first}, and does not grow downwards: name another folder for the blocks below"
            )
        elif new.first > (after := self.parts[-1].last + 1 if self.parts else old.first):
            problems.append(f"blocks {after} to {new.first - 1} would be missing: begin at {after} or below")
        if problems:
            raise ConfigError([Problem(text, str(self.path)) for text in problems])

    def _is_sound(self, line: Part | Closing) -> bool:
        for name, size in line.files.items():
            try:
                if (self.path / name).stat().st_size != size:
                    return False
            except OSError:
                return False
        return True

    def _store(
        self, name: str, tables: Mapping[str, pl.DataFrame], blind: Mapping[str, list[str]] | None = None
    ) -> tuple[dict[str, int], dict[str, int]]:
        told = {BLIND: json.dumps(blind, sort_keys=True)} if blind else None
        files, rows = {}, {}
        for table in TABLES:
            frame = tables.get(table)
            if frame is None or frame.is_empty():
                continue
            place = f"{table}/{name}.parquet"
            files[place] = self._write(self.path / place, frame, told if table == "transfers" else None)
            rows[table] = frame.height
        return files, rows

    def _write(self, path: Path, frame: pl.DataFrame, told: dict[str, str] | None) -> int:
        half = path.with_name(f".{path.name}.part")
        try:
            if not path.parent.is_dir():
                path.parent.mkdir()
                _sync(self.path)
            frame.write_parquet(half, compression="zstd", row_group_size=100_000, metadata=told)
            fd = os.open(half, os.O_RDONLY)
            try:
                os.fsync(fd)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
            half.rename(path)
            _sync(path.parent)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise StoreError(f"{path}: it cannot be written: {getattr(error, 'strerror', None) or error}") from None
        return size

    def _drop(self, count: int) -> None:
        """Keep the first ``count`` lines of the manifest; the files of the others go after them."""
        for line in self._manifest.keep(count):
            for name in line.files:
                (self.path / name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a kill left beside the parts."""
        listed = {name for line in self._manifest.lines for name in line.files}
        for table in TABLES:
            for path in (self.path / table).glob("*"):
                if path.is_file() and f"{table}/{path.name}" not in listed and path.suffix in (".parquet", ".part"):
                    path.unlink()


def _sync(folder: Path) -> None:
    """Make what was renamed or made in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
