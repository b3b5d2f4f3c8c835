"""Killed anywhere, restarted from what is stored: as if never killed, also where the chain was rewritten meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Severity, Status
from monitor.pipeline import Pipeline
from monitor.sqlite_store import SqliteStore
from monitor.store import Commit

SEEDS, STEPS = st.integers(0, 2**32), st.integers(4, 30)


class Killed(StoreError):
    """The process ends here."""


class Mortal:
    """A store whose process dies at some commits: before it is stored, or after."""

    def __init__(self, store: Any, rng: Random) -> None:
        self.store = store
        self.kills = 0
        self._rng = rng
        self._left = rng.randrange(1, 6)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, commit: Commit) -> None:
        self._left -= 1
        if self._left:
            await self.store.commit(commit)
            return
        self._left = self._rng.randrange(1, 14)
        self.kills += 1
        if self._rng.random() < 0.4:
            await self.store.commit(commit)
        raise Killed("killed")


async def killed(lab: Any, story: Any, store: Any, rng: Random, make: Callable[[], dict[str, Any]]) -> Any:
    """A monitor that is killed and started again and again; it misses some views while it is down."""
    views = list(story.views)
    place = 0
    runner = None
    ends = [lab.View(chain, story.final(chain)) for chain in story.chains]
    while True:
        try:
            runner = runner or await lab.Live(story, store, rng=rng, **make()).start()
            while place < len(views):
                await runner.see(views[place])
                place += 1
            return await runner.run(ends)
        except Killed:
            runner = None
            place += rng.choice([0, 0, 1, 4])


async def told(store: Any, runner: Any) -> None:
    """AssertionError where people were not told of an incident that stands, or not of how bad it is."""
    rows = await store.outbox()
    for incident in runner.correlator.all():
        if incident.status is Status.RETRACTED or incident.severity is Severity.INFO:
            continue
        names = {incident.id} | {old for old in runner.correlator.merged if is_part(runner, old, incident.id)}
        mine = [row for row in rows if row.incident_id in names]
        if not mine and paid_back_at_once(runner, incident):
            continue
        assert "incident.opened" in {row.kind for row in mine}, f"nobody heard of {incident.id}"
        assert max(row.severity for row in mine) >= incident.severity, f"{incident.id} was escalated in silence"


def paid_back_at_once(runner: Any, incident: Any) -> bool:
    """Whether it was over in the block in which it began: that is no news."""
    blocks = {(m.chain, m.block_number) for m in runner.correlator.get(incident.id).returned.values()}
    return incident.status is Status.RESOLVED and blocks == {(incident.opened_chain, incident.opened_block)}


def is_part(runner: Any, old: str, name: str) -> bool:
    record = runner.correlator.get(old)
    return record is not None and record.id == name


def holds(lab: Any, story: Any, seed: int, store: Any = None, make: Callable[[], dict[str, Any]] = dict) -> int:
    """AssertionError where a killed monitor differs from one that saw the final chains alone; how often it died."""

    async def run() -> int:
        kept = store or MemoryStore()
        await kept.open()
        try:
            mortal = Mortal(kept, Random(seed))
            seen = await killed(lab, story, mortal, Random(seed + 1), make)
            calm = await lab.plain(story)
            lab.same_state(seen.engine, calm.engine)
            lab.same_incidents(seen.correlator, calm.correlator)
            await told(kept, seen)
            stored = Correlator()
            stored.load(await kept.incidents())
            lab.same_incidents(stored, calm.correlator)
            fresh = lab.engine_of()
            fresh.load([item async for item in kept.state()])
            lab.same_state(fresh, calm.engine)
            return mortal.kills
        finally:
            await kept.aclose()

    return asyncio.run(run())


def test_one_chain(lab: Any) -> None:
    """Account chain: any kills, reorgs before, while and after the monitor was down."""
    kills = []

    @lab.tries(180)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        kills.append(holds(lab, lab.script(seed, steps, (lab.ETH,)), seed))

    check()
    assert sum(kills) > 2 * len(kills)


def test_what_is_known_of_accounts(lab: Any) -> None:
    """Control changes, by event and by reading: what is stored of accounts says the same after a kill."""

    @lab.tries(30)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        holds(lab, lab.script(seed, steps, (lab.ETH,), controls="readings"), seed)

    check()


def test_several_chains(lab: Any) -> None:
    """Several chains of one entity share incidents: a kill between their commits loses nothing, no alert either."""
    kills = []

    @lab.tries(120)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        kills.append(holds(lab, lab.script(seed, steps, (lab.ETH, lab.BSC, lab.BTC)), seed))

    check()
    assert sum(kills) > 2 * len(kills)


def test_on_disk(lab: Any, tmp_path: Path) -> None:
    """The same in SQLite files."""
    count = 0

    @lab.tries(8)
    @given(SEEDS, st.integers(4, 14))
    def check(seed: int, steps: int) -> None:
        nonlocal count
        count += 1
        story = lab.script(seed, steps, (lab.ETH, lab.BTC))
        holds(lab, story, seed, SqliteStore(tmp_path / f"{count}.db"))

    check()


# -- planted faults ----------------------------------------------------------------------------------------------------


def caught(lab: Any, make: Callable[[], dict[str, Any]] = dict, store: Callable[[], Any] = MemoryStore) -> None:
    for seed in range(60):
        try:
            holds(lab, lab.script(seed, 25, (lab.ETH, lab.BSC)), seed, store(), make)
        except (AssertionError, StoreError):
            return
    pytest.fail("60 scripts did not show the fault")


def test_a_store_that_keeps_half_of_a_commit_is_caught(lab: Any) -> None:
    """Planted fault: the state of a failing commit is stored, its blocks are not."""

    class Torn(MemoryStore):
        async def commit(self, commit: Commit) -> None:
            self._state.update({key: value for key, value in commit.state if value is not None})
            if len(self._state) % 3 == 0:
                raise Killed("torn")
            await super().commit(commit)

    caught(lab, store=Torn)


def test_an_engine_that_loads_no_suspects_is_caught(lab: Any) -> None:
    """Planted fault: suspects are not taken over at the start."""

    class Trusting(Engine):
        def load(self, records: Any) -> None:
            super().load([item for item in records if item[1] is None or not item[0].startswith(b"s\x1f")])

    caught(lab, lambda: {"engine": lab.engine_of(Trusting)})


def test_a_correlator_that_starts_empty_is_caught(lab: Any) -> None:
    """Planted fault: incidents are not taken over at the start."""

    class Empty(Correlator):
        def load(self, stored: Any) -> None:
            return None

    caught(lab, lambda: {"correlator": Empty()})


def test_a_merged_incident_that_comes_back_is_caught(lab: Any) -> None:
    """Planted fault: an incident that another took over is read back from the store as one of its own."""

    class Undead(Correlator):
        def dump(self, incident_id: str) -> bytes:
            return super().dump(self.merged.get(incident_id, incident_id))

    caught(lab, lambda: {"correlator": Undead()})


def test_chains_that_store_each_other_s_news_are_caught(lab: Any) -> None:
    """Planted fault: an incident is stored by one chain while the alerts that another chain raised of it are not."""

    class Alone(Pipeline):
        async def _flush_others(self, chain: str) -> None:
            return None

    caught(lab, lambda: {"pipeline": Alone})
