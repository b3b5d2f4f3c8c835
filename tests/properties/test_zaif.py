"""Zaif's three chains in any order of arrival: one incident, opened by the first block of the theft that arrives."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.app import make_engine
from monitor.assets import AssetNames
from monitor.case import Case, load_case
from monitor.case_blocks import blocks_of, told_of
from monitor.config import Config, config_from_mapping
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Block, Incident, Severity
from monitor.networks import by_name
from monitor.pipeline import Pipeline

BITCOIN, CASH, MONA = (network.chain for name in ("bitcoin", "bitcoin-cash", "monacoin") if (network := by_name(name)))
SHORT = 10  # days of ordinary traffic where all of it is shuffled


@dataclass(frozen=True)
class Story:
    """The case as blocks, and what a monitor has stored of everything up to the theft."""

    config: Config
    case: Case
    quiet: tuple[Block, ...]
    theft: tuple[Block, ...]
    stored: bytes = b""  # the store after the quiet time, pickled: that is much faster than `copy`

    @property
    def chains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(block.ref.chain for block in self.theft))

    async def pipeline(self, store: MemoryStore, kind: type[Correlator] = Correlator) -> Pipeline:
        """A monitor on a store, as after a start."""
        engine, names = make_engine(self.config), AssetNames(self.config.assets)
        pipeline = Pipeline(engine, kind(), store, names, lambda *_: [], lambda: 0.0, {})
        await pipeline.start()
        for chain in self.chains:
            pipeline.tips[chain] = await store.checkpoint(chain)
        return pipeline

    async def robbed(self, order: Sequence[str], rng: Random, kind: type[Correlator] = Correlator) -> list[Any]:
        """The theft's blocks by the order of their chains: the incidents after each of them, and last the pipeline."""
        pipeline = await self.pipeline(pickle.loads(self.stored), kind)
        left = {chain: iter([b for b in self.theft if b.ref.chain == chain]) for chain in self.chains}
        seen: list[Any] = []
        for chain in order:
            await pipeline.connect(next(left[chain]), {})
            if rng.random() < 0.6:
                await pipeline.flush(chain)
            seen.append(pipeline.correlator.all())
        return [*seen, pipeline]


def story_of(case: Case) -> Story:
    blocks = tuple(blocks_of(case.rows()))
    quiet = tuple(block for block in blocks if block.timestamp < case.theft_starts_at)
    config = config_from_mapping(case.config(), Path.cwd(), case.id)
    return Story(config, case, quiet, blocks[len(quiet) :])


async def fold(story: Story, pipeline: Pipeline, blocks: Sequence[Block]) -> None:
    """Blocks from the first on, with the balances before them."""
    told = told_of(story.case, pipeline.engine.watchlist)
    for block in blocks:
        mine = {key: told.pop(key) for key in [key for key in told if key[1] == block.ref.chain]}
        await pipeline.connect(block, mine)
    for chain in story.chains:
        await pipeline.flush(chain)


def arrivals(story: Story, rng: Random, blocks: Sequence[Block]) -> list[str]:
    """A random order of chains, by how lopsided chance has it: each block its own turn, or whole chains in a row."""
    order = [block.ref.chain for block in blocks]
    rng.shuffle(order)
    first = list(story.chains)
    rng.shuffle(first)
    lead = rng.choice([0, 1, 3, len(order)])  # so many places go to chains in a row, before the rest is mixed
    head = sorted(order, key=first.index)[:lead]
    rest = list(order)
    for chain in head:
        rest.remove(chain)
    return head + rest


@pytest.fixture(scope="module")
def story() -> Story:
    """The case after its 30 days of ordinary traffic, before the theft."""
    story = story_of(load_case("zaif-2018"))

    async def learn() -> bytes:
        store = MemoryStore()
        pipeline = await story.pipeline(store)
        await fold(story, pipeline, story.quiet)
        assert not pipeline.correlator.all()
        return pickle.dumps(store)

    return replace(story, stored=asyncio.run(learn()))


def calm(story: Story, rng: Random) -> Pipeline:
    """The theft in the order of its block times."""
    pipeline: Pipeline = asyncio.run(story.robbed([block.ref.chain for block in story.theft], rng))[-1]
    return pipeline


def check_course(order: Sequence[str], seen: Sequence[Sequence[Incident]]) -> None:
    """One incident from the first block on; a chain joins with its first block and never lowers the severity."""
    before: Incident | None = None
    for n, incidents in enumerate(seen):
        (incident,) = incidents
        assert {finding.chain for finding in incident.findings} == set(order[: n + 1])
        if before is not None:
            assert incident.id == before.id and incident.revision > before.revision
            assert incident.severity >= before.severity
        before = incident


def test_any_order_of_arrival_gives_one_and_the_same_incident(lab: Any, story: Story) -> None:
    """Findings, severity, suspects and lost amounts do not depend on which chain is read first, nor does the state."""
    base = calm(story, Random(0))
    firsts: set[str] = set()

    @lab.tries(12)
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        rng = Random(seed)
        order = arrivals(story, rng, story.theft)
        *seen, pipeline = asyncio.run(story.robbed(order, rng))
        check_course(order, seen)
        lab.same_incidents(pipeline.correlator, base.correlator)
        lab.same_state(pipeline.engine, base.engine)
        firsts.add(order[0])

    check()
    assert firsts == {BITCOIN, CASH, MONA}
    (incident,) = base.correlator.all()
    assert {asset.partition("/")[0]: value for asset, value in incident.lost} == {
        BITCOIN: 5966_10000000, CASH: 42327_10000000, MONA: 6236810_10000000,
    }  # fmt: skip


@pytest.mark.parametrize(("first", "second"), list(permutations((BITCOIN, CASH, MONA), 2)))
def test_the_second_chain_joins_at_once(story: Story, first: str, second: str) -> None:
    """One block of each of two chains: the incident is opened by the first and raised by the second."""
    opened, joined, _ = asyncio.run(story.robbed([first, second], Random(1)))
    (one,), (two,) = opened, joined
    assert one.severity >= Severity.MEDIUM and one.opened_chain == first
    assert two.severity is Severity.CRITICAL and two.revision == one.revision + 1 and two.id == one.id
    assert {asset.partition("/")[0] for asset, _ in two.lost} == {first, second}


def test_the_whole_history_in_any_order(lab: Any) -> None:
    """Ordinary traffic shuffled as well: nothing before the theft, then the same incident and state."""
    file = load_case("zaif-2018").file
    assert file.background is not None
    short = file.model_copy(update={"background": file.background.model_copy(update={"days": SHORT})})
    story = story_of(Case(short))
    found = []
    for seed in range(3):
        pipeline = asyncio.run(_whole(story, Random(seed) if seed else None))
        found.append(pipeline)
    for other in found[1:]:
        lab.same_incidents(other.correlator, found[0].correlator)
        lab.same_state(other.engine, found[0].engine)


async def _whole(story: Story, rng: Random | None) -> Pipeline:
    pipeline = await story.pipeline(MemoryStore())
    blocks = [*story.quiet, *story.theft]
    if rng is not None:
        order = arrivals(story, rng, blocks)
        left = {chain: iter([b for b in blocks if b.ref.chain == chain]) for chain in story.chains}
        blocks = [next(left[chain]) for chain in order]
    await fold(story, pipeline, blocks)
    return pipeline


def test_a_correlator_that_keeps_chains_apart_is_caught(story: Story) -> None:
    """Planted fault: evidence joins an open incident only where that began on the same chain."""

    class Apart(Correlator):
        def add(self, entity: str, findings: Any, movements: Any, *rest: Any) -> list[str]:
            chain = next((item.chain for item in (*findings, *movements)), "")
            return super().add(f"{entity} {chain}", findings, movements, *rest)

    order = [MONA, CASH, BITCOIN]
    *seen, _ = asyncio.run(story.robbed(order, Random(0), Apart))
    with pytest.raises(ValueError, match="too many values"):
        check_course(order, seen)
