"""Small facts of a chain's reader outlast a restart: stored with its blocks, restored before it opens."""

from __future__ import annotations

from typing import Any

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.incidents import Correlator
from monitor.keepsakes import Keepsakes, prefix_of
from monitor.model import Block, BlockRef, Role, Wallet
from monitor.pipeline import Pipeline
from monitor.policies.book import PolicyBook
from monitor.sqlite_store import SqliteStore
from monitor.watchlist import Watchlist

CHAIN = "bip122:000000000019d6689c085ae165831e93"


def test_news_are_taken_once() -> None:
    """What is new is stored with the next commit; what is kept already is no news."""
    kept = Keepsakes(CHAIN)
    kept.put("a", b"1")
    kept.put("b", b"2")
    kept.put("a", b"1")
    assert kept.taken() == ((f"kept/{CHAIN}/a", b"1"), (f"kept/{CHAIN}/b", b"2"))
    assert kept.taken() == ()
    assert Keepsakes(CHAIN, [(f"{prefix_of(CHAIN)}a", b"1")]).facts == {"a": b"1"}


def test_the_oldest_go() -> None:
    """Beyond the bound the oldest are forgotten, in the store too."""
    kept = Keepsakes(CHAIN, [(f"{prefix_of(CHAIN)}old", b"0")], most=2)
    for key in ("a", "b"):
        kept.put(key, b"x")
    assert list(kept.facts) == ["a", "b"]
    assert (f"kept/{CHAIN}/old", None) in kept.taken()


async def test_with_the_blocks_of_a_pipeline(tmp_path: Any) -> None:
    """A commit stores them, and a pipeline on the same store has them again."""
    wallet = Wallet("w", "w", Role.HOT, ((CHAIN, "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"),))
    for turn in range(2):
        store = SqliteStore(tmp_path / "store.db")
        await store.open()
        engine = Engine(Watchlist([wallet]), set(), PolicyBook(Watchlist([wallet]), ()), None, {})
        pipeline = Pipeline(engine, Correlator(), store, AssetNames(), lambda *_: [], lambda: 5.0, {CHAIN: 6})
        await pipeline.start()
        kept = pipeline.keepsakes[CHAIN]
        assert kept.facts == ({"coin": b"value"} if turn else {})
        kept.put("coin", b"value")
        parent = "ab" * 32 if not turn else "0" * 64
        await pipeline.connect(Block(BlockRef(CHAIN, 5 + turn, f"{turn}" * 64), parent, 1_600_000_000 + turn), {})
        await pipeline.flush(CHAIN)
        await store.aclose()
