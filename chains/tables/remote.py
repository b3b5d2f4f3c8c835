"""Files on other machines, through polars: object stores, and HTTP servers that answer range requests.

Credentials come from the environment as polars takes them (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME``, ``HF_TOKEN``, ...; see
https://docs.pola.rs/user-guide/io/cloud-storage/). Nothing is downloaded as a whole: of Parquet the parts that a query
needs are read, text formats come in chunks, decompressed on the way.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import polars as pl

from chains.tables.place import Url, clean
from monitor.errors import ConfigError, Problem

__all__ = ["batches", "head", "listed", "why"]

_PARQUET = b"PAR1"
_SAID = re.compile(r"status code: (\d{3}[A-Za-z -]*[A-Za-z])")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def listed(pattern: Url) -> list[str]:
    """The objects that match a glob (``**`` too), by name. An empty list where none does.

    Raises
    ------
    ConfigError : the installed polars cannot list
    OSError, polars errors : the store cannot be reached, or refuses
    """
    try:
        from polars.io._expand_paths import _expand_paths
    except ImportError:
        text = "this version of polars lists no objects: name each object, or install polars 1.37 or newer"
        raise ConfigError(Problem(text, pattern)) from None
    _calm()
    found: list[str] = _expand_paths(pattern.address).collect().to_series().to_list()
    return sorted(Url(name) for name in found)


def head(url: Url, size: int) -> bytes:
    """About the first ``size`` bytes of the decompressed content of a text file; of Parquet the first four alone."""
    _calm()
    try:
        pl.scan_parquet(url.address, glob=False).collect_schema()
    except pl.exceptions.ComputeError:  # it says that the magic number is not there
        batch = next(batches(url, limit=1000), None)
        return "\n".join(batch if batch is not None else []).encode()[:size]
    return _PARQUET


def batches(path: str, rows: int = 200_000, limit: int | None = None) -> Iterator[pl.Series]:
    """The lines of a text file that polars unpacks (gzip, zstd), in order; bytes that are not UTF-8 become U+FFFD.

    Parameters
    ----------
    path : a path or a URL
    rows : lines a batch
    limit : at most so many lines
    """
    source = path.address if isinstance(path, Url) else path
    _calm()
    given = 0
    lines = pl.scan_lines(source, glob=False)
    try:
        for batch in (lines if limit is None else lines.head(limit)).collect_batches(chunk_size=rows):
            yield batch["line"]
            given += batch.height
    except pl.exceptions.ComputeError as error:
        if "utf8" not in str(error) and "utf-8" not in str(error):
            raise
        # The reader of CSV knows a lossy way: one column of everything up to the end of the line.
        lossy = pl.scan_csv(
            source, glob=False, has_header=False, separator="\x00", quote_char=None, encoding="utf8-lossy",
            schema={"line": pl.String}, extra_columns="ignore", empty_string_is_null=False,
        ).slice(given, None if limit is None else limit - given)  # fmt: skip
        for batch in lossy.collect_batches(chunk_size=rows):
            yield batch["line"]


def why(error: BaseException) -> str:
    """What a library says about a file on another machine, in words without the URL's secrets."""
    text = str(error)
    if "Range request not supported" in text:
        return "the server sends whole files only (it knows no range requests): download it, then name the file"
    if code := _SAID.search(text):
        reason = _CODE.search(text)
        named = f" ({reason[1]})" if reason else ""
        return f"the server answered {code[1].strip()}{named}"
    causes = [line.split(":", 1)[1].strip() for line in text.splitlines() if re.match(r"\s+\d+: ", line)]
    if causes:
        return f"not reached: {clean(causes[-1])}"
    return clean((text.strip().splitlines() or [type(error).__name__])[0].removeprefix("object-store error: "))


def _calm() -> None:
    """Polars asks the bucket for its region where none is set, and warns that it does."""
    warnings.filterwarnings("ignore", message=r"'\(default_\)region' not set")
