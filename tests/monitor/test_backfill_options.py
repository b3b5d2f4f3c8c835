"""The options of a backfill, and where what it does is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_chain, make_history
from monitor.backfill import Backfill, abandon
from monitor.cli.watch import _learning
from monitor.config import Config, config_from_mapping, json_schema
from monitor.coverage import coverage_data
from monitor.errors import ConfigError
from monitor.followed import backfill_of, begin
from monitor.marks import Mark, MarkState, Place
from monitor.memory_store import MemoryStore
from monitor.model import BlockRef
from monitor.past import Progress
from monitor.pipeline import Pipeline
from monitor.store import CoverageRange

HOT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
DEV = "eip155:31337"


def config(**chain: Any) -> Config:
    mapping = {
        "version": 1,
        "chains": [{"name": "dev", "kind": "evm", "chain_id": DEV, "endpoints": ["http://127.0.0.1:1"], **chain}],
        "wallets": [{"id": "hot", "role": "hot", "addresses": [f"dev:{HOT}"]}],
    }
    return config_from_mapping(mapping, Path.cwd(), "config")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 14 * 86400), ({"replay": True}, 0), ({"backfill": "3d"}, 3 * 86400), ({"backfill": 0}, 0),
        ({"backfill": "0"}, 0), ({"backfill": 600}, 600), ({"replay": True, "backfill": "1d"}, 86400),
    ],
)  # fmt: skip
def test_how_far_back(given: dict[str, Any], seconds: int) -> None:
    """Two weeks unless said otherwise; none where the chain repeats history, or where it is switched off."""
    (chain,) = config(**given).chains
    assert (chain.backfill, chain.backfill_rate) == (seconds, 5.0)


@pytest.mark.parametrize("given", [{"backfill": "soon"}, {"backfill": True}, {"backfill": -1}, {"backfill_rate": 0}])
def test_wrong_options(given: dict[str, Any]) -> None:
    """What is no length of time, or no rate, is refused at its place."""
    with pytest.raises(ConfigError, match=next(iter(given))):
        config(**given)


def test_they_are_in_the_schema() -> None:
    """Editors know both keys."""
    keys = json_schema()["$defs"]["ChainEntry"]["properties"]
    assert {"backfill", "backfill_rate"} <= set(keys) and "14d" in keys["backfill"]["description"]


def test_check_says_what_it_takes() -> None:
    """The summary of a configuration says how much is fetched and how long that takes; nothing where it is off."""
    (line,) = (line for line in config(backfill="1d", backfill_rate=2).summary() if line.startswith("chain dev"))
    assert "learns from 1 days of history, about 7,200 blocks, 1.0 hours at 2 requests a second" in line
    assert "guard rail alone" in line
    assert "history" not in next(x for x in config(backfill=0).summary() if x.startswith("chain dev"))


def test_families_with_history() -> None:
    """All families give history, two weeks of it by default, each through a reader of its own."""
    made = config()
    history = make_history(made, made.chains[0])
    assert type(history).__name__ == "EvmHistory"
    assert history.spec.accounts == make_chain(made, made.chains[0]).spec.accounts != ()
    bitcoin = {"name": "bitcoin", "endpoints": ["http://127.0.0.1:1"]}
    wallet = {"id": "a", "role": "hot", "addresses": ["bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"]}
    text = {"version": 1, "chains": [bitcoin], "wallets": [wallet]}
    other = config_from_mapping(text, Path.cwd(), "config")
    assert other.chains[0].backfill == 14 * 86400
    assert type(make_history(other, other.chains[0])).__name__ == "BitcoinHistory"


async def pipeline(mark: Mark | None) -> tuple[Any, MemoryStore]:
    """As much of a pipeline as a decision needs."""
    from monitor.app import make_engine
    from monitor.assets import AssetNames
    from monitor.incidents import Correlator

    store = MemoryStore()
    made = Pipeline(make_engine(config()), Correlator(), store, AssetNames(), lambda *_: [], lambda: 0.0, {})
    await made.start()
    if mark is not None:
        made.marks[DEV] = mark
    return made, store


@pytest.mark.parametrize(
    ("tip", "mark", "given", "runs"),
    [
        (None, None, {}, True),  # the first start
        (5, None, {}, False),  # followed before without it
        (5, MarkState.BACKFILLING, {}, True),  # it goes on
        (5, MarkState.BACKFILLING, {"backfill": 0}, False),  # switched off meanwhile
        (5, MarkState.BACKFILLED, {}, False),
        (5, MarkState.REFUSED, {}, False),
        (None, MarkState.CALIBRATED, {}, False),  # tables were better
        (None, None, {"backfill": 0}, False),
    ],
)
async def test_when_it_runs(tip: int | None, mark: MarkState | None, given: dict[str, Any], runs: bool) -> None:
    """It learns at the first start of a chain that nothing is known of, and until it is over; gaps it fills always."""
    made, store = await pipeline(Mark(mark, 5, 0) if mark is not None else None)
    now = config(**given)
    ref = BlockRef(DEV, tip, "x") if tip is not None else None
    found: Backfill | None = await backfill_of(now, now.chains[0], ref, made, store, None)
    assert found is not None and (DEV in made.backfills) is runs
    if mark is MarkState.BACKFILLING and not runs:
        assert made.marks[DEV].state is MarkState.REFUSED and made.marks[DEV].note == "backfill is off"


async def test_abandon_leaves_other_marks_alone() -> None:
    """Only a backfill that runs can be given up."""
    made, store = await pipeline(Mark(MarkState.BACKFILLED, 5, 0))
    await abandon(made, store, DEV, "why")
    assert made.marks[DEV].state is MarkState.BACKFILLED


def test_the_live_view() -> None:
    """The column says the backfill while it runs, else the days that are left."""

    class Item:
        backfill: Any = None

    item = Item()
    assert _learning(item, []) == "-" and _learning(item, [3.6, 1.0]) == "4 days left"
    item.backfill = Item()
    item.backfill.progress = Progress(4_300, 10_000, 7_200.0)
    assert _learning(item, [6.9]) == "backfill 43 %, 2 h left"
    item.backfill.progress = None
    assert _learning(item, []) == "-"


def test_coverage_says_how_a_chain_learns() -> None:
    """State, blocks, time left and what was refused; chains without a mark say nothing of it."""
    mark = Mark(MarkState.BACKFILLING, 1000, 86400, since=0, low=200, done=300)
    found = coverage_data([CoverageRange("a", 1, 2, "n")], {"b": mark}, {"b": 61.4})
    assert "learning" not in found["a"] and found["b"]["ranges"] == []
    said = found["b"]["learning"]
    assert (said["state"], said["blocks_done"], said["blocks_total"]) == ("backfilling", 300, 800)
    assert said["seconds_left"] == 61
    assert said["history_from"] == "1970-01-01T00:00:00Z" and "guard rail alone" in said["says"]


@pytest.mark.parametrize("block", [-1, 9])
async def test_a_gap_goes_on_where_it_was(block: int) -> None:
    """After a restart: at the head where no block above the gap is stored, else above the last one."""
    below, tip = Place(5, "x"), BlockRef(DEV, 9, "y")
    mark = Mark(MarkState.GAP, block, 0, low=6, below=below, anchor=below)
    made, store = await pipeline(mark)
    now = config(backfill=0)
    assert await backfill_of(now, now.chains[0], tip, made, store, None) is not None
    assert made.marks[DEV] == mark and DEV not in made.backfills
    assert await begin(now.chains[0], tip, mark, None) == ((None, None) if block < 0 else (tip, None))


def test_coverage_says_what_is_being_filled() -> None:
    """The gap, how far it is, and how the chain began, which the gap does not change."""
    before = Mark(MarkState.BACKFILLED, 3, 0, since=0, low=1)
    mark = Mark(MarkState.GAP, 1000, 0, low=200, done=300, before=before)
    found = coverage_data([], {"a": mark, "b": Mark(MarkState.GAP, -1, 0, low=7)}, {"a": 61.4})
    told = found["a"]["filling"]
    assert (told["first"], told["last"], told["blocks_done"], told["blocks_total"]) == (200, 999, 300, 800)
    assert told["seconds_left"] == 61 and found["a"]["learning"]["state"] == "backfilled"
    assert found["b"]["filling"]["last"] is None and "learning" not in found["b"]
