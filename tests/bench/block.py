"""What one EVM block of 1,000 transfers costs: decode, fold, commit, in milliseconds."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from chains.evm.decode import decode_block
from chains.evm.wire import RpcReceipt, parse_block
from chains.recorded.evm_blocks import Draft, Move, construct
from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.incidents import Correlator
from monitor.model import Role, Wallet
from monitor.pipeline import Pipeline
from monitor.sqlite_store import SqliteStore
from monitor.watchlist import Watchlist

TRANSFERS = 1000
ROUNDS = 15
CHAIN = "eip155:1"


async def main() -> None:
    """Half of the transfers pay from one watched wallet, half pay into it."""
    hot = f"0x{1:040x}"
    wallet = Wallet("hot", "Bench", Role.HOT, ((CHAIN, hot),))
    drafts = []
    for number in range(ROUNDS):
        moves = []
        for i in range(TRANSFERS):
            other = f"0x{10_000 + (i * 7 + number * 13) % 5000:040x}"
            moves.append(Move(hot, other, 10**15 + i) if i % 2 else Move(other, hot, 2 * 10**15 + i))
        drafts.append(Draft(1_700_000_000 + 12 * number, tuple(moves)))
    raw = [(json.dumps(b.block).encode(), json.dumps(b.receipts).encode()) for b in construct(1, drafts)]
    watchlist = Watchlist([wallet])
    with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as folder:
        store = SqliteStore(Path(folder) / "bench.db")
        await store.open()
        pipeline = Pipeline(
            Engine(watchlist), Correlator(), store, AssetNames(), lambda alert, now, also: (), time.time, {CHAIN: 64}
        )
        decode, fold, commit = [], [], []
        for block_bytes, receipt_bytes in raw:
            t0 = time.perf_counter()
            receipts = msgspec.json.decode(receipt_bytes, type=list[RpcReceipt])
            block = decode_block(parse_block(block_bytes), receipts, watchlist.watch(CHAIN), CHAIN)
            t1 = time.perf_counter()
            await pipeline.connect(block)
            t2 = time.perf_counter()
            await pipeline.flush(CHAIN)
            t3 = time.perf_counter()
            decode.append(t1 - t0)
            fold.append(t2 - t1)
            commit.append(t3 - t2)
        await store.aclose()
    shown = {
        name: round(statistics.median(values[3:]) * 1000, 2)
        for name, values in (("decode, ms", decode), ("fold, ms", fold), ("commit (SQLite, fsync), ms", commit))
    }
    print(json.dumps({"block": f"{TRANSFERS:,} transfers, all of a watched wallet", **shown}))


if __name__ == "__main__":
    asyncio.run(main())
