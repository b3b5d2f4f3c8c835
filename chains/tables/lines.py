"""The lines of a text file, plain or compressed, in chunks of bounded size. The packing is read off the content."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from monitor.errors import ConfigError, Problem

__all__ = ["CHUNK_BYTES", "head", "lines", "packing", "reading", "unpacked"]

CHUNK_BYTES = 32 << 20  # of decompressed text
_ZSTD_LINES = 200_000
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn whatever a library raises about an unreadable file into a ConfigError of one line that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise ConfigError(Problem(f"cannot be read: {_one_line(error)}", path)) from error
    except pl.exceptions.PanicException as error:  # polars' own bug on a broken file; not an Exception
        raise ConfigError(Problem(f"cannot be read (it is corrupt): {_one_line(error)}", path)) from None


def _one_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


def packing(path: str) -> str:
    """``gzip``, ``zstd`` or an empty text, by the file's first bytes."""
    with reading(path), Path(path).open("rb") as file:
        magic = file.read(4)
    return "gzip" if magic[:2] == _GZIP else "zstd" if magic == _ZSTD else ""


def unpacked(path: str) -> bytes:
    """The whole content of a plain or gzip file."""
    with reading(path):
        return gzip.decompress(Path(path).read_bytes()) if packing(path) == "gzip" else Path(path).read_bytes()


def head(path: str, size: int = 1 << 18) -> bytes:
    """About the first ``size`` bytes of the decompressed content."""
    kind = packing(path)
    with reading(path):
        if kind == "zstd":
            batch = next(iter(pl.scan_lines(path, glob=False).head(1000).collect_batches()), None)
            return "\n".join(batch["line"] if batch is not None else []).encode()[:size]
        with gzip.open(path) if kind == "gzip" else Path(path).open("rb") as file:
            return file.read(size)


def lines(path: str, tick: Callable[[int], None] | None = None) -> Iterator[tuple[int, pl.Series]]:
    """Chunks of lines as (number of the first line, text series).

    Parameters
    ----------
    path : a plain, gzip or zstd text file; bytes that are not UTF-8 become U+FFFD (zstd: ConfigError)
    tick : told the bytes of the file on disk read so far

    Raises
    ------
    ConfigError : the file is corrupt, truncated or unreadable
    """
    first = 1
    with reading(path):
        for chunk in _zstd(path) if packing(path) == "zstd" else _cut(path, tick):
            yield first, chunk
            first += len(chunk)


def _zstd(path: str) -> Iterator[pl.Series]:
    for batch in pl.scan_lines(path, glob=False).collect_batches(chunk_size=_ZSTD_LINES):
        yield batch["line"]


def _cut(path: str, tick: Callable[[int], None] | None) -> Iterator[pl.Series]:
    rest = b""
    with Path(path).open("rb") as disk:
        packed = disk.peek(2)[:2] == _GZIP
        stream = gzip.GzipFile(fileobj=disk) if packed else disk
        while block := stream.read(CHUNK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield _series(rest + block[:end])
                rest = block[end:]
            else:
                rest += block
            if tick is not None:
                tick(disk.tell())
    if rest:
        yield _series(rest)


def _series(block: bytes) -> pl.Series:
    try:
        return pl.scan_lines(block).collect()["line"]
    except pl.exceptions.ComputeError:
        return pl.scan_lines(block.decode("utf-8", "replace").encode()).collect()["line"]
