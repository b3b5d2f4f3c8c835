"""``python -m tests.soak backtest``: 100 million transfers through `heistwatch backtest`, in under 2 GB of memory.

The transfers are made first (about 9 GB on disk, removed afterwards). Memory is that of the program and all that it
starts, looked at twenty times a second.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.measured import measured
from tests.bench.transfers import History, made, watched_addresses

BOUND = 2 * 10**9  # bytes
A_ROW = 100  # bytes on disk, with room to spare
WALLETS = 1000


def main(rows: int, engine: str) -> None:
    """Make the files, run the command, and judge."""
    history = History(rows, max(1, rows // 1_250_000))
    with TemporaryDirectory(prefix="heistwatch-soak-") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 2 * A_ROW * rows:
            sys.exit(f"{folder}: {2 * A_ROW * rows / 1e9:.0f} GB must be free")
        config = folder / "heistwatch.json"
        wallets = [
            {"id": f"w{n}", "entity": f"Exchange {n % 10}", "role": "hot", "addresses": [f"ethereum:{address}"]}
            for n, address in enumerate(watched_addresses(WALLETS))
        ]
        config.write_text(json.dumps({"version": 1, "wallets": wallets}))
        data = folder / "data"
        data.mkdir()
        with made(history, data):
            command = [sys.executable, "-m", "monitor", "backtest", str(config), "--data", str(data), "--json"]
            run = measured([*command, "--engine", engine], whole=True)
    found = run.said["data"]
    figures = {
        "transfers": found["rows"], "flows": found["flows"], "engine": engine, "seconds": round(run.whole, 1),
        "transfers a second": round(rows / run.whole), "peak memory, MB": round(run.peak / 1e6),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if found["rows"] != history.rows // history.files * history.files or found["bad_rows"] or run.peak >= BOUND:
        sys.exit("the soak failed: see the figures")
