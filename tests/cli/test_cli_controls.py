"""`heistwatch controls` on a store that a monitor left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine
from monitor.config import load_config
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Reading, Tx
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit

CHAIN, SAFE = "eip155:31337", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
OWNERS = ["0x" + digit * 40 for digit in "ab"]
SINGLETON, OTHER = "0x41675c099f32341bf84bfc5382af534df5c7461a", "0x" + "66" * 20
VALUES = {
    "code": "contract", "code_hash": "0x1", "form": "safe", "implementation": SINGLETON,
    "implementation_code": "0x1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4",
    "owners": ",".join(OWNERS), "threshold": "2", "modules": "", "guard": "", "fallback": OTHER,
}  # fmt: skip


@pytest.fixture
def stored(config: Path) -> Path:
    """A Safe was read, and an event changed its threshold an hour later."""
    engine = make_engine(load_config(config))
    first, second = (BlockRef(CHAIN, number, f"0x{number}") for number in (8, 9))
    event = ControlEvent(second, Tx("0xt", 0), ControlKind.THRESHOLD_CHANGE, SAFE, "1")
    engine.connect(Block(first, "0x7", 1_700_000_000, readings=(Reading(SAFE, VALUES),)))
    engine.connect(Block(second, "0x8", 1_700_003_600, controls=(event,)))

    async def write() -> None:
        store = SqliteStore(config.parent / "heistwatch.db")
        await store.open()
        record = BlockRecord(second, "0x8", 1_700_003_600)
        await store.commit(Commit(CHAIN, second, connected=(record,), state=tuple(engine.dump())))
        await store.aclose()

    asyncio.run(write())
    return config


def test_it_shows_what_is_taken_for_right(heistwatch: Callable[..., Any], stored: Path) -> None:
    """An account a paragraph, with the release of its code and since when a value is what it is; the same as JSON."""
    ran = heistwatch("controls")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"hot: {SAFE} on {CHAIN}, read since 2023-11-14T22:13:20Z",
        "  form: safe",
        f"  implementation: {SINGLETON} (Safe 1.4.1)",
        f"  owners: {OWNERS[0]}, {OWNERS[1]}",
        "  threshold: 1 of 2, since 2023-11-14T23:13:20Z",
        f"  fallback: {OTHER}",
    ]
    (entry,) = json.loads(heistwatch("controls", "hot", "--json").out)
    assert (entry["release"], entry["owners"], entry["modules"]) == ("Safe 1.4.1", OWNERS, [])
    assert entry["changed"] == {"threshold": "2023-11-14T23:13:20Z"} and entry["wallet"] == "hot"


def test_wallets_that_were_not_read(heistwatch: Callable[..., Any], stored: Path) -> None:
    """It says so, and what reads them."""
    assert heistwatch("controls", "other").out.startswith("no account was read yet")
    assert json.loads(heistwatch("controls", "other", "--json").out) == []
