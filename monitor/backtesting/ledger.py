"""What is done of a backtest, kept in a folder so that the same command goes on after it was ended or killed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import polars as pl

from monitor.backtesting.workers.base import Workers
from monitor.errors import ConfigError, StoreError

__all__ = ["Ledger", "key_of"]

T = TypeVar("T")
R = TypeVar("R")


def key_of(*facts: object) -> str:
    """A short name of what something was made of; equal texts, equal names."""
    return hashlib.sha256("\x1f".join(str(fact) for fact in facts).encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(frozen=True)
class _Kept(Generic[T, R]):
    """A task whose result is kept where it is made: once it is there, it is not made again."""

    work: Callable[[T], R]
    task: T
    path: str
    name: str

    def done(self) -> R:
        result = self.work(self.task)
        path = Path(self.path)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                pickle.dump(result, file, pickle.HIGHEST_PROTOCOL)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"{path}: what was done cannot be kept: {reason}; name another folder by --work") from None
        return result


def _do(kept: _Kept[Any, R]) -> R:
    return kept.done()


class Ledger:
    """A folder for rows that are put aside and for results of tasks.

    Parameters
    ----------
    folder : stays until all is done, so that a later run goes on; None: a temporary one, which never outlives this run
    key : what the work is; other work in the same folder has another place

    Attributes
    ----------
    rows : folder of rows that are put aside
    resumed : results that an earlier run left
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.resumed = 0
        self.keeps = folder is not None
        self._lock: IO[bytes] | None = None
        try:
            if folder is None:
                self._place = Path(tempfile.mkdtemp(prefix="heistwatch-backtest-"))
            else:
                self._place = self._open(folder / key)
            self.rows = self._place / "rows"
            self.rows.mkdir(exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"no folder for rows that are put aside: {reason}; name one by --work") from None

    def _open(self, place: Path) -> Path:
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (place / "lock").open("ab")
        except OSError as error:
            raise ConfigError(f"--work {place.parent}: cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"--work {place.parent}: another run of the same backtest is at work there: wait for it, or name"
                " another folder"
            ) from None
        return place

    def run(
        self,
        workers: Workers,
        stage: str,
        work: Callable[[T], R],
        tasks: Sequence[T],
        names: Sequence[str],
        told: Callable[[int], None] | None = None,
    ) -> list[R]:
        """Do ``work`` on the tasks whose result is not there yet; the results of all, in order.

        Parameters
        ----------
        names : what each task is made of, so that another task never takes its result
        told : hears how many are done, those of before too
        """
        paths = [self._place / f"{stage}-{key_of(stage, name)}.pickle" for name in names]
        found: dict[int, R] = {}
        for number, path in enumerate(paths):
            if path.exists():
                found[number] = _load(path)
        self.resumed += len(found)
        missing = [number for number in range(len(tasks)) if number not in found]
        kept = [_Kept(work, tasks[n], str(paths[n]), f"{stage} {n + 1} of {len(tasks)}") for n in missing]
        before = len(found)
        results = workers.run(_do, kept, None if told is None else (lambda done: told(before + done)))
        found.update(zip(missing, results, strict=True))
        return [found[number] for number in range(len(tasks))]

    def end(self) -> None:
        """All is done, or nobody goes on from here: nothing stays."""
        shutil.rmtree(self._place, ignore_errors=True)
        self.leave()

    def leave(self) -> None:
        """Stop here; a later run goes on. A temporary folder goes all the same."""
        if not self.keeps:
            shutil.rmtree(self._place, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _load(path: Path) -> Any:
    try:
        return pickle.loads(path.read_bytes())
    except (Exception, pl.exceptions.PanicException) as error:  # a damaged pickle may raise anything
        raise StoreError(f"{path}: what an earlier run left cannot be read: remove the folder ({error})") from None
