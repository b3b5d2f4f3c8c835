"""Ten million deposit addresses as one wallet: load time, memory, look-ups, and a scan of history against them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

MEMBERS = 10_000_000
PIECE = 500_000
ROWS = 1_000_000
LOOK_UPS = 200_000
BLOCKS = 24
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def names(seed: int, count: int) -> pl.Series:
    """Random addresses, lower case."""
    raw = np.random.default_rng(seed).integers(0, 256, (count, 20), dtype=np.uint8)
    text = np.empty((count, 42), np.uint8)
    text[:, 0], text[:, 1] = 48, 120
    text[:, 2::2], text[:, 3::2] = _DIGITS[raw >> 4], _DIGITS[raw & 15]
    return pl.Series(text.reshape(-1).view("S42").astype(str))


def generate(folder: Path) -> None:
    """The fleet as Parquet, CSV and text, and a table of which one row in a hundred touches it."""
    parts = []
    for part in range(MEMBERS // PIECE):
        members = pl.DataFrame({"address": names(part, PIECE)})
        parts.append(folder / f"part-{part:02}.parquet")
        members.write_parquet(parts[-1])
        with (folder / "fleet.csv").open("ab") as stream:
            members.write_csv(stream, include_header=part == 0)
        with (folder / "fleet.txt").open("ab") as stream:
            members.write_csv(stream, include_header=False)
    pl.scan_parquet(parts).sink_parquet(folder / "fleet.parquet")
    for path in parts:
        path.unlink()
    random = np.random.default_rng(99)
    numbers = np.sort(random.integers(0, 100_000, ROWS))
    senders = pl.concat([names(0, ROWS // 100), names(1001, ROWS - ROWS // 100)])
    pl.DataFrame(
        {
            "chain": np.full(ROWS, "ethereum"),
            "block_number": numbers,
            "block_timestamp": numbers * 12 + 1_500_000_000,
            "transaction_hash": [f"0x{i:064x}" for i in range(ROWS)],
            "transaction_index": random.integers(0, 200, ROWS),
            "transfer_index": random.integers(0, 400, ROWS),
            "from_address": senders.gather(random.permutation(ROWS)),
            "to_address": names(1002, ROWS),
            "asset": np.full(ROWS, "native"),
            "value": random.integers(10**15, 10**18, ROWS).astype(str),
        }
    ).write_parquet(folder / "rows.parquet")
    print("{}")


def resident() -> tuple[int, int]:
    """Resident memory now, and at most so far, in MB."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) // 1024
    return found["VmRSS"], found["VmHWM"]


def load(path: Path) -> None:
    """What one process needs to load a fleet, and what it then has."""
    from monitor.addresses.compact import AddressSet
    from monitor.config import config_from_mapping
    from monitor.engine import Engine
    from monitor.watchlist import Watchlist

    AddressSet.of(names(1, 10))  # compiled before anything is timed
    before = resident()[0]
    begin = time.perf_counter()
    wallet = {"id": "users", "entity": "Bench", "role": "deposit", "addresses": [f"ethereum:file:{path}"]}
    config = config_from_mapping({"version": 1, "wallets": [wallet]}, path.parent, "bench")
    seconds = time.perf_counter() - begin
    engine = Engine(Watchlist(config.wallets))
    watch = engine.watchlist.watch("eip155:1")
    assert len(watch) == MEMBERS
    now, peak = resident()
    strangers = names(2000, LOOK_UPS).to_list()
    begin = time.perf_counter()
    found = sum(name in watch for name in strangers)
    each = (time.perf_counter() - begin) / LOOK_UPS * 1e6
    assert not found and names(0, 1)[0] in watch
    print(json.dumps({"s": round(seconds, 1), "before": before, "now": now, "peak": peak, "us": round(each, 2)}))


def scan(fleet: Path, rows: Path) -> None:
    """A backtest of a table against the fleet."""
    from monitor.app import run_backtest, warm_up
    from monitor.config import config_from_mapping

    warm_up()
    wallet = {"id": "users", "entity": "Bench", "role": "deposit", "addresses": [f"ethereum:file:{fleet}"]}
    config = config_from_mapping({"version": 1, "wallets": [wallet]}, fleet.parent, "bench")
    report = run_backtest(config, [str(rows)])
    assert report["data"]["flows"] == ROWS // 100
    print(json.dumps({"s": report["speed"]["wall_seconds"], "peak": resident()[1]}))


def block(fleet: Path, _: Path) -> None:
    """CPU of one block of 1,000 transactions, ten of which pay members: decoded, screened and folded."""
    import statistics

    import msgspec

    from chains.evm.decode import decode_block, screen_of
    from chains.evm.wire import RpcBlock, RpcReceipt
    from monitor.app import make_engine, warm_up
    from monitor.config import config_from_mapping
    from tests.bench.canned import FIRST, made

    warm_up()
    wallets = [
        {"id": "users", "entity": "Bench", "role": "deposit", "addresses": [f"ethereum:file:{fleet}"]},
        {"id": "hot", "entity": "Bench", "role": "hot", "addresses": ["ethereum:0x" + "a1" * 20]},
    ]
    engine = make_engine(config_from_mapping({"version": 1, "wallets": wallets}, fleet.parent, "bench"))
    watch = engine.watchlist.watch("eip155:1")
    screen = screen_of(watch)
    answers = made(BLOCKS, 1000, 500, receivers=names(0, 500).to_list())
    blocks, receipts = msgspec.json.Decoder(RpcBlock), msgspec.json.Decoder(list[RpcReceipt])
    decoding, folding = [], []
    for number in range(FIRST, FIRST + BLOCKS):
        begin = time.process_time()
        raw = blocks.decode(answers["eth_getBlockByNumber"][number])
        told = receipts.decode(answers["eth_getBlockReceipts"][number])
        made_ = decode_block(raw, told, watch, "eip155:1", screen=screen)
        middle = time.process_time()
        folded = engine.connect(made_)
        folding.append(time.process_time() - middle)
        decoding.append(middle - begin)
        assert len(folded.flows) + folded.ignored == 10
    print(json.dumps({"decode": round(1000 * statistics.median(decoding[2:]), 2),
                      "fold": round(1000 * statistics.median(folding[2:]), 2)}))  # fmt: skip


def _in_process(*arguments: object) -> dict[str, float]:
    """Each measurement in a process of its own, since memory once taken stays."""
    command = [sys.executable, "-m", "tests.bench.fleet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Generate, load in each form, look up, scan."""
    with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as name:
        folder = Path(name)
        _in_process("generate", folder)
        shown: dict[str, object] = {"addresses of one wallet": f"{MEMBERS:,}"}
        for form in ("parquet", "csv", "txt"):
            seen = _in_process("load", folder / f"fleet.{form}")
            shown[f"load from {form}, s"] = seen["s"]
            shown[f"resident after load from {form} (at most while loading), MB"] = f"{seen['now']} ({seen['peak']})"
            shown["resident before, program and libraries alone, MB"] = seen["before"]
            shown["one look-up, microseconds"] = seen["us"]
        seen = _in_process("block", folder / "fleet.parquet", folder)
        what = "CPU of a block of 1,000 transactions, 10 of which pay members: decode and screen + fold, ms"
        shown[what] = f"{seen['decode']} + {seen['fold']}"
        seen = _in_process("scan", folder / "fleet.parquet", folder / "rows.parquet")
        shown[f"backtest of {ROWS:,} rows against them, s"] = round(seen["s"], 2)
        shown["peak memory of that backtest, MB"] = seen["peak"]
    print(json.dumps(shown))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        {"generate": generate, "load": load, "scan": scan, "block": block}[sys.argv[1]](*map(Path, sys.argv[2:]))  # type: ignore[operator]
