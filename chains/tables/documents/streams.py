"""Documents out of files, plain or compressed, one after another and never the whole file at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from chains.tables.documents.walk import ENDED, MORE, START, fresh, walk
from chains.tables.lines import BROKEN, packing, reading, unpacking
from chains.tables.remote import batches, why

__all__ = ["LARGEST", "Cut", "blocks_of", "start_of", "values_of"]

LARGEST = 1 << 29  # bytes of one document: a block of Bitcoin with all inputs has 30 MB, traces of Ethereum 300 MB
_READ = 4 << 20
_BLOCK_FILE = re.compile(r"(blk|rev)[0-9]+\.dat")
_BLANK = b" \t\r\n,\x1e"  # between documents; 0x1e: JSON text sequences (RFC 7464)


class Cut(Exception):  # it ends a reading and is no error of this program
    """The file ends, or breaks, inside of something; the text says how."""


def blocks_of(path: str, tick: Callable[[int], None] | None = None, size: int = _READ) -> Iterator[bytes]:
    """The decompressed content, piece by piece.

    Parameters
    ----------
    path : a file on disk, packed as `chains.tables.lines` knows it; zstd and files on other machines must hold text
    tick : told the bytes of the file on disk read so far
    size : bytes of a piece, at most; of text in zstd or on other machines, it is a thousand lines

    Raises
    ------
    Cut : the compressed data is corrupt, or ends too early
    ConfigError : the file cannot be opened
    """
    if packing(path) in ("zstd", "remote"):
        try:
            for batch in batches(path, rows=1000):
                yield "".join(f"{line}\n" for line in batch).encode()
        except (*BROKEN, pl.exceptions.PolarsError) as error:
            raise Cut(f"the file is cut off or corrupt: {why(error)[:100]}") from None
        return
    with reading(path):
        disk = Path(path).open("rb")  # noqa: SIM115  # closed below
    with disk:
        stream = unpacking(disk)
        read = getattr(stream, "read1", stream.read)  # gives what comes before a broken part
        key, place = _key_beside(path), 0
        while True:
            try:
                block = read(size)
            except BROKEN as error:
                raise Cut(f"the file is cut off or corrupt: {str(error)[:100]}") from None
            if not block:
                return
            yield _unmasked(block, key, place) if key else block
            place += len(block)
            if tick is not None:
                tick(disk.tell())


def _key_beside(path: str) -> bytes:
    """What Bitcoin Core (28 and later) hides block files behind: 8 bytes in ``xor.dat`` beside them; empty: nothing.

    Source: Bitcoin Core, node/blockstorage.cpp, ``InitBlocksdirXorKey``.
    """
    key = Path(path).parent / "xor.dat"
    if not _BLOCK_FILE.fullmatch(Path(path).name) or not key.is_file():
        return b""
    with reading(str(key)):
        found = key.read_bytes()
    return found if len(found) == 8 and any(found) else b""


def _unmasked(block: bytes, key: bytes, place: int) -> bytes:
    """Bytes of a file from ``place`` on, without the key that repeats through the file."""
    mask = np.frombuffer(key[place % 8 :] + key[: place % 8], np.uint8)
    data = np.frombuffer(block, np.uint8)
    return (data ^ np.resize(mask, len(data))).tobytes()


def start_of(path: str, size: int) -> tuple[bytes, bool]:
    """The first ``size`` bytes of the decompressed content, as far as it can be read, and whether that is all.

    Raises
    ------
    ConfigError : the file cannot be opened
    """
    data = bytearray()
    try:
        for block in blocks_of(path, size=size):
            data += block
            if len(data) >= size:
                return bytes(data[:size]), False
    except Cut:
        pass  # told where the file is read
    return bytes(data), True


def values_of(path: str, tick: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """JSON objects, arrays and strings of a file, as their bytes: one after another, or those of one array.

    An array that holds arrays, or texts, is a value itself. What stands between values is passed over, so that a broken
    line costs itself alone. A value is not checked beyond its brackets.

    Raises
    ------
    Cut : after the last whole value, where something follows that is none, or is larger than `LARGEST`
    """
    splitter = _Splitter()
    for block in blocks_of(path, tick):
        yield from splitter.feed(block)
    yield from splitter.end()


class _Splitter:
    """Cuts a stream of JSON into its values; looks at brackets and texts alone.

    In a file with a value a line, what is broken ends with its line; else see `chains.tables.documents.walk`.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # up to where it was looked at
        self._state = fresh()
        self._by_line = False
        self._in_array = False  # whether the values are those of one array

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The values that end in this block."""
        self._data += block
        while (value := self._line() if self._by_line else self._next()) is not None:
            if value:
                yield value
        start = int(self._state[START])
        keep = self._at if start < 0 else start
        if keep:
            del self._data[:keep]
            self._at -= keep
            self._state[START] = -1 if start < 0 else 0
        if len(self._data) > LARGEST:
            raise Cut(f"a document has more than {LARGEST >> 20} MiB")

    def end(self) -> Iterator[bytes]:
        """What a last line without a line break holds."""
        if self._by_line and (rest := bytes(self._data[self._at :]).strip(_BLANK)):
            yield rest
        if self._state[START] >= 0 and not self._by_line:
            raise Cut("the file ends inside of a document")
        if self._in_array:
            raise Cut("the file ends inside of its array")

    def _next(self) -> bytes | None:
        """The next value; empty where the array of values ended, None where more is needed."""
        if self._state[START] < 0 and not self._in_array and not self._begins():
            return None
        self._at, what = walk(np.frombuffer(self._data, np.uint8), self._at, self._state)
        if what == MORE:
            return None
        if what == ENDED:
            self._in_array = False
            return b""
        value = bytes(self._data[int(self._state[START]) : self._at])
        self._state = fresh()
        follows = self._data[self._at : self._at + 2].lstrip(b"\r")
        self._by_line = not self._in_array and b"\n" not in value and follows.startswith(b"\n")
        return value

    def _begins(self) -> bool:
        """Look at what comes between values: an array of objects is opened, its objects are the values."""
        data = self._data
        while self._at < len(data) and (data[self._at] in _BLANK or data[self._at : self._at + 3] == b"\xef\xbb\xbf"):
            self._at += 3 if data[self._at] == 0xEF else 1
        if self._at >= len(data) or data[self._at] != 0x5B:
            return self._at < len(data)
        after = self._at + 1
        while after < len(data) and data[after] in _BLANK:
            after += 1
        if after >= len(data):
            return False  # more is needed to tell
        if data[after] == 0x7B:
            self._in_array, self._at = True, after
        return True

    def _line(self) -> bytes | None:
        """The next line that is not blank, whatever it holds."""
        while (end := self._data.find(b"\n", self._at)) >= 0:
            line = bytes(self._data[self._at : end]).strip(_BLANK)
            self._at = end + 1
            if line:
                return line
        return None
