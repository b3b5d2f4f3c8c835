"""What is final: the depth, and what nodes say where they are asked; never more than either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.app import chain_spec
from monitor.assets import AssetNames
from monitor.config import config_from_mapping
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Block, BlockRef, Role, Wallet
from monitor.pipeline import Pipeline
from monitor.watchlist import Watchlist

CHAIN = "eip155:1"
ADDRESS = "0x" + "1" * 40


def config(*chains: dict[str, Any], address: str = f"ethereum:{ADDRESS}") -> Any:
    sections = {"wallets": [{"id": "w", "role": "hot", "addresses": [address]}], "chains": list(chains)}
    return config_from_mapping(sections, Path("/srv"), "case")


@pytest.mark.parametrize(
    ("entry", "tag"),
    [
        ({"name": "ethereum"}, "finalized"),
        ({"name": "ethereum", "finality": "safe"}, "safe"),
        ({"name": "ethereum", "finality": "depth"}, "depth"),
        ({"name": "linea"}, "depth"),
        ({"name": "own", "kind": "evm", "chain_id": "eip155:31337"}, "depth"),
    ],
)
def test_who_is_asked(entry: dict[str, Any], tag: str) -> None:
    """As the network has it, unless the chain says otherwise."""
    spec = chain_spec(config(entry).chains[0])
    assert (spec.finality, spec.finality_depth) == (tag, 256 if entry["name"] == "linea" else 64)


def test_tags_are_for_evm_chains() -> None:
    """Others are told so, and a word that is none of the three."""
    with pytest.raises(ConfigError, match="needs an EVM chain"):
        config({"name": "ethereum"}, {"name": "nem", "finality": "finalized"})
    with pytest.raises(ConfigError, match="finality"):
        config({"name": "ethereum", "finality": "probably"})


@pytest.mark.parametrize(("told", "final"), [(None, 8), (9, 8), (4, 4), (0, 0)])
async def test_what_can_be_undone(told: int | None, final: int) -> None:
    """Ten blocks, two of them above the depth: where nodes call fewer final, more stay undoable, never fewer."""
    store = MemoryStore()
    engine = Engine(Watchlist([Wallet("w", "One", Role.HOT, ((CHAIN, ADDRESS),))]))
    pipeline = Pipeline(engine, Correlator(), store, AssetNames(), lambda *_: [], lambda: 5.0, {CHAIN: 2})
    if told is not None:
        pipeline.final_heights[CHAIN] = told
    for number in range(1, 11):
        block = Block(BlockRef(CHAIN, number, str(number)), str(number - 1), 1_700_000_000 + number)
        await pipeline.connect(block, {("w", CHAIN, "eip155:1/slip44:60"): 100 + number})
        await pipeline.flush(CHAIN)
    records = [await store.block(CHAIN, number) for number in range(1, 11)]
    assert [record.ref.number for record in records if record and record.undo] == list(range(final + 1, 11))
