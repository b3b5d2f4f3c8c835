"""Past blocks of NEM: the same as live ones."""

from __future__ import annotations

import pytest

from chains.base import ChainSpec
from chains.nem.watcher import NemChain
from chains.nem.history import NemHistory
from chains.recorded.nem import Move, RecordedNemServer, construct
from chains.recorded.pace import Pace
from monitor.errors import HistoryRefused

VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
T0 = 1_516_892_520
MOVES = [Move(T0 + 60 * n, VICTIM if n % 3 else THIEF, THIEF if n % 3 else VICTIM, 10**6 * (n + 1)) for n in range(12)]


@pytest.mark.parametrize("local_api", [True, False])
async def test_a_past_block_equals_a_live_one(local_api: bool) -> None:
    """Every field of every block, with the parents that a live reading states; and the ends of the run."""
    recording = construct(MOVES, height=1000, quiet=2)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, local_api=local_api) as server:
        await pace.release(pace.total)
        spec = ChainSpec("nem", "nem", "nem:mainnet", (server.url,), replay=True, poll_seconds=0.001,
                         options={"signers": dict(recording.signers)})  # fmt: skip
        watch = frozenset([VICTIM])
        chain, history = NemChain(spec, watch), NemHistory(spec, watch, 10_000.0)
        try:
            await chain.open()
            head = await chain.head()
            start = server.blocks[1]["height"]
            live = [await chain.block(number) for number in range(start, head.number + 1)]
            found = await history.history(start, head.number + 1)
            assert list(found.blocks) == [block for block in live if block.transfers or block.controls]
            assert len(found.blocks) == len(MOVES)
            assert (found.first, found.parent_hash, found.last) == (live[0].ref, live[0].parent_hash, head)
            assert (found.start, found.end) == (live[0].timestamp, live[-1].timestamp)
            assert await history.time_of(head.number) == live[-1].timestamp
            with pytest.raises(HistoryRefused):
                await history.history(1, 2)
        finally:
            await chain.aclose()
            await history.aclose()
