"""The lines of a text file, plain or compressed, in chunks of bounded size. The packing is read off the content."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from chains.tables import remote
from chains.tables.place import Url, clean
from monitor.errors import ConfigError, Problem

__all__ = ["BROKEN", "CHUNK_BYTES", "as_lines", "head", "lines", "packing", "reading", "size", "unpacked", "unpacking"]

CHUNK_BYTES = 32 << 20  # of decompressed text
_LINE_BYTES = 1 << 30  # of one line: a JSON array may be one, and no honest one is longer
_UNPACKED_BYTES = 1 << 30  # of a compressed file that must be in memory as a whole
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what decompression raises of corrupt or cut-off files


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn whatever a library raises about an unreadable file into a ConfigError of one line that names it."""
    try:
        yield
    except (*BROKEN, pl.exceptions.PolarsError) as error:
        raise ConfigError(Problem(f"cannot be read: {_one_line(path, error)}", path)) from (
            None if isinstance(path, Url) else error  # the library's own text holds the whole URL
        )
    except pl.exceptions.PanicException as error:  # polars' own bug on a broken file; not an Exception
        raise ConfigError(Problem(f"cannot be read (it is corrupt): {_one_line(path, error)}", path)) from None


def _one_line(path: str, error: BaseException) -> str:
    if isinstance(path, Url):
        return remote.why(error)[:200]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if "precision must be between 1 and 38" in text:  # of Polars, about any column, whether it is read or not
        return (
            "it has a decimal column of more than 38 digits (BIGNUMERIC), which no reader here knows: export that"
            " column as text, or leave it out"
        )
    return clean((text.strip().splitlines() or [type(error).__name__])[0])[:200]


def size(path: str) -> int:
    """Bytes on disk; 0 for a file on another machine, which is not asked."""
    if isinstance(path, Url):
        return 0
    with reading(path):
        return Path(path).stat().st_size


def packing(path: str) -> str:
    """``gzip``, ``zstd``, ``bzip2`` or ``xz`` by the file's first bytes, ``remote`` for a URL, an empty text else."""
    if isinstance(path, Url):
        return "remote"
    with reading(path), Path(path).open("rb") as file:
        return _packing(file.read(6))


def _packing(start: bytes) -> str:
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def unpacking(disk: BufferedReader) -> BinaryIO:
    """The content of a file on disk, decompressed as it is read; zstd stays as it is.

    Reading it raises one of `BROKEN` where the compressed data is corrupt or ends too early.
    """
    kind = _packing(disk.peek(6)[:6])
    if kind == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=disk))
    if kind == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(disk))
    return cast(BinaryIO, lzma.LZMAFile(disk) if kind == "xz" else disk)


def unpacked(path: str) -> bytes:
    """The whole content of a file that is not zstd.

    Raises
    ------
    ConfigError : it cannot be read, is on another machine, or a compressed one has more than a GiB
    """
    kind = packing(path)
    if kind in ("remote", "zstd"):
        how = "download" if kind == "remote" else "decompress"
        raise ConfigError(Problem(f"cannot be read from there as it is: {how} it first", path))
    with reading(path), Path(path).open("rb") as disk:
        content = unpacking(disk).read(_UNPACKED_BYTES + 1 if kind else -1)
    if kind and len(content) > _UNPACKED_BYTES:
        raise ConfigError(Problem(f"more than {_UNPACKED_BYTES >> 20} MiB inside {kind}: decompress it first", path))
    return content


def head(path: str, size: int = 1 << 18) -> bytes:
    """About the first ``size`` bytes of the decompressed content; of Parquet on another machine the first four."""
    with reading(path):
        if isinstance(path, Url):
            return remote.head(path, size)
        with Path(path).open("rb") as disk:
            if _packing(disk.peek(6)[:6]) != "zstd":
                return unpacking(disk).read(size)
        batch = next(remote.batches(path, limit=1000), None)
        return "\n".join(batch if batch is not None else []).encode()[:size]


def lines(path: str, tick: Callable[[int], None] | None = None) -> Iterator[tuple[int, pl.Series]]:
    """Chunks of lines as (number of the first line, text series).

    Parameters
    ----------
    path : a plain or compressed text file, or a URL of a plain, gzip or zstd one; bytes that are not UTF-8 become
        U+FFFD
    tick : told the bytes of the file on disk read so far; never for zstd and files on other machines

    Raises
    ------
    ConfigError : the file is corrupt, truncated or unreadable
    """
    first = 1
    with reading(path):
        for chunk in remote.batches(path) if packing(path) in ("remote", "zstd") else _cut(path, tick):
            yield first, chunk
            first += len(chunk)


def _cut(path: str, tick: Callable[[int], None] | None) -> Iterator[pl.Series]:
    """Lines of a file on disk; whatever its line breaks, no more than a chunk and a line are in memory."""
    rest: list[bytes] = []
    long = 0
    with Path(path).open("rb") as disk:
        stream = unpacking(disk)
        while block := stream.read(CHUNK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield as_lines(b"".join((*rest, block[:end])))
                rest, long = [], 0
            rest.append(block[end:])
            long += len(block) - end
            if long > _LINE_BYTES:
                raise ConfigError(Problem(f"a line has more than {_LINE_BYTES >> 20} MiB", path))
            if tick is not None:
                tick(disk.tell())
    if long:
        yield as_lines(b"".join(rest))


def as_lines(block: bytes) -> pl.Series:
    """The lines of a text; bytes that are not UTF-8 become U+FFFD."""
    try:
        return pl.scan_lines(block).collect()["line"]
    except pl.exceptions.ComputeError:
        return pl.scan_lines(block.decode("utf-8", "replace").encode()).collect()["line"]
