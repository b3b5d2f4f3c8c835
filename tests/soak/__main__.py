"""Long runs in little time: does the monitor stay small and miss nothing while its endpoint misbehaves for a day?

``python -m tests.soak`` watches 24 hours of a 2-second chain, compressed. The memory after the warm-up (the first four
hours) and at the end is compared; every block must be scanned, and no incident be raised. ``python -m tests.soak
deliver`` is the campaign of faults of the deliveries, see `tests.soak.deliver`; ``python -m tests.soak decode`` that of
damaged inputs, see `tests.soak.decode`; ``python -m tests.soak backtest`` a backtest of 100 million transfers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.soak import backtest, decode, deliver
from tests.soak.node import BLOCK_SECONDS, CHAIN_ID, HOT, TOKEN

ROOT = Path(__file__).resolve().parents[2]
GROWTH = 1.10
CHAIN = f"eip155:{CHAIN_ID}"


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def asked(url: str) -> Any:
    with urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


def run(hours: float, rate: float, seed: int = 1) -> dict[str, Any]:
    """One run; its figures.

    Parameters
    ----------
    hours : of the chain's time
    rate : blocks a second of ours
    """
    blocks = int(hours * 3600 / BLOCK_SECONDS)
    options = ["--rate", str(rate), "--blocks", str(blocks), "--seed", str(seed)]
    command = [sys.executable, "-m", "tests.soak.node", *options]
    with tempfile.TemporaryDirectory(prefix="heistwatch-soak-") as folder:
        node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert node.stdout is not None
            url = f"http://127.0.0.1:{int(node.stdout.readline())}"
            return watched(Path(folder), url, blocks)
        finally:
            node.kill()
            node.wait()
            if node.stdout is not None:
                node.stdout.close()


def watched(folder: Path, url: str, blocks: int) -> dict[str, Any]:
    """Watch the chain to its end."""
    config = {
        "version": 1,
        "chains": [{"name": "soak", "kind": "evm", "chain_id": CHAIN, "endpoints": [url], "replay": True,
                    "backfill": 0, "start": 0, "poll_seconds": 0.1}],
        "assets": [{"chain": "soak", "asset": TOKEN, "symbol": "COIN", "decimals": 18}],
        "wallets": [{"id": "hot", "entity": "Exchange", "role": "hot", "addresses": [f"soak:{HOT}"]}],
        "http": {"listen": "127.0.0.1:0"},
    }  # fmt: skip
    path = folder / "heistwatch.yaml"
    path.write_text(json.dumps(config))
    log = (folder / "log").open("w+")
    monitor = subprocess.Popen(
        [sys.executable, "-m", "monitor", "watch", str(path)], cwd=folder, stdout=subprocess.DEVNULL, stderr=log,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        web = _web(folder / "log", monitor)
        sizes: list[tuple[int, int]] = []
        began, done = time.monotonic(), -1
        while done < blocks:
            time.sleep(0.25)
            if monitor.poll() is not None:
                sys.exit(f"the monitor ended:\n{(folder / 'log').read_text()[-3000:]}")
            ranges = asked(f"{web}/coverage").get(CHAIN, {"ranges": []})["ranges"]
            last = max((part["last"] for part in ranges), default=-1)
            if last > done:
                done = last
                sizes.append((done, resident(monitor.pid)))
        coverage = asked(f"{web}/coverage")[CHAIN]
        incidents = asked(f"{web}/incidents")
        figures = asked(f"{url}/figures")
        return _figures(sizes, blocks, coverage, incidents, figures, time.monotonic() - began)
    finally:
        monitor.terminate()
        monitor.wait(30)
        log.close()


def _web(log: Path, monitor: subprocess.Popen[bytes]) -> str:
    """Where the monitor serves its state."""
    end = time.monotonic() + 120
    while time.monotonic() < end and monitor.poll() is None:
        for line in log.read_text().splitlines():
            if "watching; http://" in line:
                return line.split("watching; ")[1].split("/")[0] + "//" + line.split("//")[1].split("/")[0]
        time.sleep(0.1)
    sys.exit(f"the monitor did not start:\n{log.read_text()[-3000:]}")


def _figures(
    sizes: list[tuple[int, int]], blocks: int, coverage: dict[str, Any], incidents: list[Any], node: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    warm = max((size for done, size in sizes if done <= blocks / 6), default=sizes[0][1])
    late = max(size for done, size in sizes if done > blocks * 5 / 6)
    scanned = [(part["first"], part["last"]) for part in coverage["ranges"]]
    return {
        "blocks": blocks, "hours of the chain": round(blocks * BLOCK_SECONDS / 3600, 2), "seconds": round(seconds),
        "memory after the warm-up, MB": round(warm / 2**20, 1),
        "memory in the last sixth, MB": round(late / 2**20, 1),
        "growth": round(late / warm, 3), "scanned": scanned, "gaps": coverage["gaps"],
        "incidents": [incident["title"] if "title" in incident else incident["id"] for incident in incidents],
        "node": node,
    }  # fmt: skip


def main() -> None:
    """Run and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", choices=["watch", "deliver", "decode", "backtest"], default="watch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of decode, over all of its targets")
    parser.add_argument("--again", default="", help="of decode: one input, TARGET:NUMBER")
    parser.add_argument("--rows", type=int, default=100_000_000, help="of backtest")
    parser.add_argument("--engine", default="local", help="of backtest")
    options = parser.parse_args()
    if options.part == "deliver":
        deliver.main(options.alerts, options.kills, options.seed)
        return
    if options.part == "decode":
        decode.main(options.minutes, options.seed, options.again)
        return
    if options.part == "backtest":
        backtest.main(options.rows, options.engine)
        return
    found = run(options.hours, options.rate)
    print(json.dumps(found, indent=1))
    whole = found["scanned"] and min(first for first, _ in found["scanned"]) == 0 and not found["gaps"]
    if not whole or found["growth"] > GROWTH or found["incidents"]:
        sys.exit("the soak failed: see the figures")


if __name__ == "__main__":
    main()
