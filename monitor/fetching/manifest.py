"""The manifest of a fetched folder: what it holds, line by line. Lines are added, and cut off again, never changed.

The first line is the `Header`, each other one a `Part`: blocks that are there, or a `Closing`: balances that could be
told at the end alone. A line that a kill cut short counts for nothing. Nothing in it tells when, from where or how fast
it was fetched, so that equal blocks give equal bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from monitor.errors import ConfigError, Problem, StoreError

__all__ = ["NAME", "SCHEMA", "Closing", "Header", "Manifest", "Part"]

NAME = "_fetch.ndjson"  # readers of history leave files of such a name out
SCHEMA = "heistwatch/fetch/1"


class Header(msgspec.Struct, frozen=True, tag="header", tag_field="line"):
    """What the folder is. ``first`` is its first block; ``part`` and ``step`` are sizes, see `monitor.fetching.cut`."""

    chain: str  # CAIP-2
    kind: str
    first: int
    part: int
    step: int
    watch: str  # fingerprint of the watch list
    addresses: int  # named ones, for people
    reading: str  # fingerprint of what else decides the rows
    schema: str = SCHEMA


class Part(msgspec.Struct, frozen=True, tag="part", tag_field="line"):
    """Blocks ``first`` to ``last`` (inclusive), stored whole.

    ``files`` are sizes in bytes by path, ``begun`` is (wallet, asset, block, (address, moved before)) for what came to
    matter, ``net`` what moved by (address, asset): base units as text. ``used`` says how far derived addresses are in
    use, by the first address of their branch. ``untold`` balances were asked for and not told.
    """

    first: int
    last: int
    parent: str
    hash: str
    start: int  # UTC seconds of its first block
    end: int
    files: dict[str, int]
    rows: dict[str, int]
    begun: tuple[tuple[str, str, int, tuple[tuple[str, str], ...]], ...] = ()
    net: tuple[tuple[str, str, str], ...] = ()
    used: dict[str, int] = {}
    spots: tuple[str, ...] = ()
    undecoded: int = 0
    untold: int = 0


class Closing(msgspec.Struct, frozen=True, tag="closing", tag_field="line"):
    """Balances that were told after block ``last``; ``carried``: and carried back to before the first block."""

    last: int
    carried: bool
    files: dict[str, int]
    rows: dict[str, int]


_DECODER = msgspec.json.Decoder(Header | Part | Closing)


class Manifest:
    """The file, open for as long as this lives.

    Attributes
    ----------
    header : None in a new folder
    lines : parts in the order of their blocks, and closings between them
    parts : the parts alone
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.header: Header | None = None
        self.lines: list[Part | Closing] = []
        self.parts: list[Part] = []  # of them
        self._ends: list[int] = []  # where each line ends
        self._head_end = 0

    def read(self) -> None:
        """Read what is there. ConfigError where it is no manifest of this version."""
        with os.fdopen(os.dup(self.fd), "rb") as file:
            file.seek(0)
            at = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the kill came while it was written
                at += len(line)
                self._take(line, at)
        self._cut(self._ends[-1] if self._ends else self._head_end)

    def begin(self, header: Header) -> None:
        """Write the first line of a new folder."""
        self.header = header
        self._head_end = self._add(header)

    def add(self, line: Part | Closing) -> None:
        """Add a line; it is on the disk when this returns."""
        self._keep(line, self._add(line))

    def keep(self, count: int) -> list[Part | Closing]:
        """Cut off all but the first ``count`` lines; those that went."""
        gone = self.lines[count:]
        del self.lines[count:], self._ends[count:]
        self.parts = [line for line in self.lines if isinstance(line, Part)]
        self._cut(self._ends[-1] if self._ends else self._head_end)
        return gone

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _take(self, line: bytes, end: int) -> None:
        try:
            found = _DECODER.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigError(
                Problem(f"it cannot be read ({error}): it is damaged, or of another version", str(self.path))
            ) from None
        if isinstance(found, Header) is not (self.header is None):
            raise ConfigError(Problem("its first line alone must say what it is", str(self.path)))
        if isinstance(found, Header):
            if found.schema != SCHEMA:
                raise ConfigError(Problem(f"its schema is {found.schema!r}, expected {SCHEMA}", str(self.path)))
            self.header, self._head_end = found, end
        else:
            self._keep(found, end)

    def _keep(self, line: Part | Closing, end: int) -> None:
        self.lines.append(line)
        self._ends.append(end)
        if isinstance(line, Part):
            self.parts.append(line)

    def _add(self, line: Header | Part | Closing) -> int:
        end = os.lseek(self.fd, 0, os.SEEK_END)
        data = memoryview(msgspec.json.encode(line) + b"\n")
        size = len(data)
        try:
            while data:
                data = data[os.write(self.fd, data) :]
            os.fsync(self.fd)
        except OSError as error:  # what was written of the line is cut off at the next start
            raise StoreError(f"{self.path}: it cannot be written: {error.strerror}") from None
        return end + size

    def _cut(self, end: int) -> None:
        if os.fstat(self.fd).st_size > end:
            os.ftruncate(self.fd, end)
            os.fsync(self.fd)
