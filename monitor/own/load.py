"""Reading files with detectors: once a process, from the text that was read first, wherever that process runs."""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from monitor.errors import ConfigError, Problem
from monitor.own.card import OwnDetector
from monitor.registry import DETECTORS

__all__ = ["OwnFile", "gather", "load_detectors"]

MOST_BYTES = 1_000_000
_HOW = "put @detector(ID, TITLE) of monitor.own above a function of (flow, view)"
_loaded: dict[OwnFile, tuple[OwnDetector, ...]] = {}


@dataclass(frozen=True, slots=True, repr=False)
class OwnFile:
    """A file with detectors as it was when it was read. It may be pickled: other processes run this very text."""

    path: str
    source: str

    @property
    def digest(self) -> str:
        """Of path and text: another text, another file."""
        return hashlib.blake2b(f"{self.path}\0{self.source}".encode(), digest_size=8).hexdigest()

    def __repr__(self) -> str:
        return f"OwnFile({self.path!r}, {self.digest})"

    @classmethod
    def read(cls, path: Path | str) -> OwnFile:
        """Read a file; nothing of it runs yet. ConfigError where it cannot be read."""
        try:
            data = Path(path).read_bytes()
            if len(data) > MOST_BYTES:
                raise ConfigError(Problem(f"it is larger than {MOST_BYTES:,} bytes: is it Python?", str(path)))
            return cls(str(path), data.decode("utf-8-sig"))
        except OSError as error:
            raise ConfigError(Problem(f"the detectors cannot be read: {error.strerror}", str(path))) from None
        except UnicodeDecodeError:
            raise ConfigError(Problem("the detectors cannot be read: it is no UTF-8 text", str(path))) from None

    def load(self) -> tuple[OwnDetector, ...]:
        """Its detectors, in the order in which the file names them; the file runs once a process.

        Raises
        ------
        ConfigError : it does not run, or defines no detector, or a wrong one; with file and line
        """
        if self not in _loaded:
            module = _run(self)
            found = [value for value in vars(module).values() if isinstance(value, OwnDetector)]
            if not found:
                raise ConfigError(Problem(f"no detector is defined: {_HOW}", self.path))
            _loaded[self] = tuple(dict.fromkeys(found))
        return _loaded[self]


def load_detectors(path: Path | str) -> tuple[OwnDetector, ...]:
    """The detectors of a plain Python file.

    Raises
    ------
    ConfigError : the file cannot be read, does not run, or defines no detector, or a wrong one; with file and line
    """
    return gather([OwnFile.read(path)])


def gather(own: Iterable[OwnFile | OwnDetector]) -> tuple[OwnDetector, ...]:
    """All detectors of files, and those that are given as they are.

    Raises
    ------
    ConfigError : a file is wrong, or two detectors have the same id, in any case of letters
    """
    problems: list[Problem] = []
    found: list[OwnDetector] = []
    for item in own:
        try:
            found += [item] if isinstance(item, OwnDetector) else item.load()
        except ConfigError as error:
            problems += error.problems
    problems += _collisions(list(dict.fromkeys(found)))
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(found))


def _collisions(found: Sequence[OwnDetector]) -> list[Problem]:
    taken = {name.lower(): "a built-in detector" for name in DETECTORS}
    problems = []
    for each in found:
        key = each.id.lower()
        if key in taken:
            problems.append(Problem(f"the id {each.id!r} is taken by {taken[key]}: choose another one", each.where))
        taken.setdefault(key, f"the detector at {each.where}")
    return problems


def _run(file: OwnFile) -> ModuleType:
    """Run a file as a module of its own."""
    module = ModuleType(f"heistwatch_own_{file.digest}")
    module.__file__ = file.path
    # Tracebacks show the text that runs, though the file may have changed, or lie on another machine.
    linecache.cache[file.path] = (len(file.source), None, file.source.splitlines(keepends=True), file.path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(file.source, file.path, "exec", dont_inherit=True), module.__dict__)
    except ConfigError:
        raise
    except SyntaxError as error:
        raise ConfigError(Problem(f"it is no Python: {error.msg}", _place(error, file))) from None
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())[:500]
        hint = ": install it beside heistwatch" if isinstance(error, ModuleNotFoundError) else ""
        text = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise ConfigError(Problem(f"it does not run: {text}{hint}", _place(error, file))) from None
    finally:
        if not any(isinstance(value, OwnDetector) for value in vars(module).values()):
            sys.modules.pop(module.__name__, None)
    return module


def _place(error: BaseException, file: OwnFile) -> str:
    """``file:line`` of the file's own line that failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file.path]
    if frames:
        return f"{file.path}:{frames[-1].lineno}"
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{file.path}:{error.lineno}"
    return file.path
