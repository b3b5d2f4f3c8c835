"""Labels: a million of them, their load, memory and look-ups.

Targets: at most 5 s to load, at most 150 MB resident beside what the program needs anyway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from monitor.config import config_from_mapping
from monitor.labels.book import SCHEMA, LabelBook
from monitor.labels.imported import write_imported
from monitor.labels.load import import_path, load_book

LABELS = 1_000_000
LOOKUPS = 200_000
CHAIN = "eip155:1"
AT = 1_650_000_000
HOT = "dev:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"


def made(count: int) -> pl.DataFrame:
    """Seeded labels: random EVM addresses, a name each, seven sources."""
    random = np.random.default_rng(1)
    text = random.bytes(20 * count).hex()
    return pl.DataFrame(
        {
            "chain": pl.repeat(CHAIN, count, eager=True),
            "address": ["0x" + text[40 * i : 40 * i + 40] for i in range(count)],
            "name": [f"Fake_Phishing{i}" for i in range(count)],
            "kind": random.integers(1, 12, count),
            "source": [f"source {i % 7}" for i in range(count)],
            "known_since": random.integers(1_500_000_000, 1_700_000_000, count),
        },
        schema=SCHEMA,
    )


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def write(folder: Path) -> None:
    """The file, by a process of its own: what making it needs is not measured."""
    subprocess.run([sys.executable, "-m", "tests.bench.labels", str(folder / "labels" / "waiting")], check=True)


def measure(folder: Path) -> dict[str, object]:
    """Load a million labels, look at them one by one and all at once."""
    config = config_from_mapping(
        {
            "chains": [{"name": "dev", "kind": "evm", "chain_id": "eip155:31337"}],
            "wallets": [{"id": "hot", "role": "hot", "addresses": [HOT]}],
        },
        folder,
        "bench",
    )
    load_book(config)  # imports, the built-in pack
    path = import_path(config)
    path.with_name("waiting").rename(path)
    before = resident()
    begin = time.perf_counter()
    book = load_book(config)
    seconds = time.perf_counter() - begin
    time.sleep(1.5)  # the allocator gives pages back after a moment
    grown = resident() - before
    known = pl.read_parquet(path, columns=["address"])["address"].head(LOOKUPS)
    strange = [f"0x{i:040x}" for i in range(LOOKUPS)]
    rows = known.sample(LABELS, with_replacement=True, seed=1)
    return {
        "labels": f"{len(book):,}",
        "load, s (target 5)": round(seconds, 2),
        "resident, MB (target 150)": round(grown),
        "look-ups a second, labelled": f"{_rate(book, known.to_list()):,.0f}",
        "look-ups a second, not labelled": f"{_rate(book, strange):,.0f}",
        f"kinds of {LABELS:,} rows, {LOOKUPS:,} labelled addresses, s": _kinds(book, rows),
        f"kinds of {LABELS:,} rows, {LOOKUPS:,} other addresses, s": _kinds(book, pl.Series(strange * 5)),
    }


def _rate(book: LabelBook, addresses: list[str]) -> float:
    look = book.kind_at
    begin = time.perf_counter()
    for address in addresses:
        look(CHAIN, address, AT)
    return len(addresses) / (time.perf_counter() - begin)


def _kinds(book: LabelBook, rows: pl.Series) -> float:
    times = np.full(len(rows), AT)
    begin = time.perf_counter()
    book.kinds(CHAIN, rows, times)
    return round(time.perf_counter() - begin, 2)


def main() -> None:
    """Measure in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as name:
        write(Path(name))
        print(json.dumps(measure(Path(name))))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_imported(Path(sys.argv[1]), made(LABELS))
    else:
        main()
