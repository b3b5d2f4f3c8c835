"""Made transfers in the native table, seeded, by the million: strangers pay each other, and a few wallets are watched.

Amounts are log-normal around one coin, hashes and addresses random as real ones are (they hardly compress), rows in
chain order within a file, and the files follow each other. Whoever may be watched begins with a deposit of thousands of
payments, and gets no less than it pays: wallets that pay what they do not have would be one alarm after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.config import Config, config_from_mapping

__all__ = ["COLUMNS", "History", "bench_config", "made", "watched_addresses"]

STRANGERS = 400_000
OPENED = 10_000  # addresses with a deposit: those that may be watched
DEPOSIT = 5000 * 10**18  # base units; a payment is of 1.6 coins in the mean
FIRST_BLOCK, GENESIS, SPACING = 10_000_000, 1_438_269_973, 15  # seconds
COLUMNS = [
    "chain", "block_number", "block_timestamp", "transaction_hash", "transaction_index", "transfer_index",
    "from_address", "to_address", "asset", "value",
]  # fmt: skip


@dataclass(frozen=True)
class History:
    """What is made.

    Attributes
    ----------
    rows, files : so many rows in all, in so many Parquet files
    wallets : watched addresses; they are the first ones of those that are drawn
    dense : whether every row touches a watched wallet, else under one percent of them do (of 1,000 wallets)
    per_block : rows of a block
    """

    rows: int
    files: int = 8
    wallets: int = 1000
    dense: bool = False
    per_block: int = 200


def _texts(raw: NDArray[np.uint8]) -> pl.Series:
    """Rows of bytes as hex with 0x."""
    data, width = raw.tobytes(), raw.shape[1]
    cut = pl.Series("raw", [data[at : at + width] for at in range(0, len(data), width)], dtype=pl.Binary)
    return cut.to_frame().select("0x" + pl.col("raw").bin.encode("hex")).to_series()


def _addresses(count: int) -> pl.Series:
    """The same addresses at each call; a longer list begins with a shorter one."""
    return _texts(np.random.default_rng(11).integers(0, 256, (count, 20), dtype=np.uint8))


def watched_addresses(wallets: int) -> list[str]:
    """Addresses of the watched wallets, one each."""
    return _addresses(wallets).to_list()


def bench_config(wallets: int, entities: int = 10) -> Config:
    """A configuration that watches them as hot wallets of several owners."""
    listed = [
        {"id": f"w{n}", "entity": f"Exchange {n % entities}", "role": "hot", "addresses": [f"ethereum:{address}"]}
        for n, address in enumerate(watched_addresses(wallets))
    ]
    return config_from_mapping({"version": 1, "wallets": listed}, Path.cwd(), "bench")


def _part(history: History, names: pl.Series, part: int) -> pl.DataFrame:
    """The rows of one file."""
    rng = np.random.default_rng([7, part])
    per = history.rows // history.files
    serial = np.arange(part * per, (part + 1) * per)
    number = FIRST_BLOCK + serial // history.per_block
    sender, receiver = (rng.integers(0, len(names), per) for _ in range(2))
    if history.dense:
        own, out = rng.integers(0, history.wallets, per), rng.random(per) < 0.48
        strangers = (rng.integers(history.wallets, len(names), per) for _ in range(2))
        sender, receiver = (np.where(mine, own, other) for mine, other in zip((out, ~out), strangers, strict=True))
    opened = min(OPENED, per // 4) if part == 0 else 0
    receiver[:opened], sender[:opened] = np.arange(opened), rng.integers(OPENED, len(names), opened)
    values = (np.exp(rng.normal(size=per).clip(-5, 2.5)) * 1e18).astype(np.uint64)
    return pl.DataFrame(
        {
            "chain": pl.Series(["ethereum"]).new_from_index(0, per),
            "block_number": number,
            "block_timestamp": GENESIS + number * SPACING,
            "transaction_hash": _texts(rng.integers(0, 256, (per, 32), dtype=np.uint8)),
            "transaction_index": serial % history.per_block,
            "transfer_index": serial % history.per_block,
            "from_address": names.gather(sender),
            "to_address": names.gather(receiver),
            "asset": pl.Series(["native"]).new_from_index(0, per),
            "value": pl.Series(values).cast(pl.String).set(pl.Series(np.arange(per) < opened), str(DEPOSIT)),
        }
    )


@contextmanager
def made(history: History, folder: Path | None = None) -> Iterator[list[Path]]:
    """Make the files, and remove them afterwards; those in ``folder`` stay.

    Yields
    ------
    their paths, in chain order
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as own, made(history, Path(own)) as paths:
            yield paths
        return
    names = _addresses(STRANGERS)
    paths = [folder / f"part-{part:04}.parquet" for part in range(history.files)]
    for part, path in enumerate(paths):
        _part(history, names, part).write_parquet(path)
    yield paths

