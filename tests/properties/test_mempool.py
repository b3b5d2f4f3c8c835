"""What waits to be mined leaves no trace: with and without it, the same state and the same confirmed incidents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.engine import Engine, Folded
from monitor.model import Block, Pending
from monitor.unconfirmed import Unconfirmed

SEEDS, STEPS = st.integers(0, 2**32), st.integers(4, 26)


def waiting(block: Block, own: Iterable[str], mark: str = "") -> list[Pending]:
    """The transactions of a block as they waited: what leaves ``own`` addresses. ``mark`` makes them others."""
    found: dict[str, list[Any]] = {}
    for transfer in block.transfers:
        if transfer.kind != "fee" and set(transfer.from_addresses) & set(own):
            found.setdefault(transfer.tx.hash, []).append(transfer)
    for event in block.controls:
        found.setdefault(event.tx.hash, [])
    pending = []
    for hash, moves in found.items():
        txs = [t.tx for t in (*block.transfers, *block.controls) if t.tx.hash == hash]
        tx = replace(txs[0], hash=hash + mark, pending=True)
        controls = tuple(replace(c, tx=tx) for c in block.controls if c.tx.hash == hash)
        pending.append(Pending(tx, tuple(replace(move, tx=tx) for move in moves), controls))
    return pending


class Watching:
    """A monitor that hears of what waits between the views of a script."""

    def __init__(self, lab: Any, story: Any, runner: Any, seed: int) -> None:
        self.lab, self.story, self.runner, self.rng = lab, story, runner, Random(seed)
        self.told: dict[tuple[str, str], None] = {}
        self.alarms = 0

    async def run(self) -> None:
        for n, view in enumerate(self.story.views):
            await self.runner.see(view)
            if self.rng.random() < 0.6:
                await self.hear(view.chain, self.coming(n, view.chain))
        for chain, hash in self.told:  # whatever is left did not happen
            await self.hear(chain, [SimpleNamespace(hash=hash, why="mined", block=0)])
        for chain in self.story.chains:
            await self.runner.pipeline.flush(chain)
        assert not any(self.runner.pipeline.foresight.known(chain) for chain in self.story.chains)

    async def hear(self, chain: str, events: list[Any]) -> None:
        await self.runner.pipeline.flush(chain)
        before = self.runner.engine.dump()
        await self.runner.pipeline.foresee(chain, events)
        assert self.runner.engine.dump() == before
        self.alarms += sum(i.unconfirmed for i in self.runner.correlator.all())

    def coming(self, n: int, chain: str) -> list[Any]:
        """Some of what the next views show, some that never will be, and some that is there no more."""
        later = [view for view in self.story.views[n + 1 : n + 4] if view.chain == chain]
        blocks = {block.ref: block for view in later for block in view.blocks[-3:]}
        events: list[Any] = []
        for block in blocks.values():
            mark = self.rng.choice(["", "", "-never"])
            for pending in waiting(block, self.lab.OWN[chain], mark):
                self.told[chain, pending.tx.hash] = None
                events.append(SimpleNamespace(pending=pending))
        for on, hash in list(self.told):
            if on == chain and self.rng.random() < 0.1:
                why = self.rng.choice(["mined", "replaced", "dropped"])
                events.append(SimpleNamespace(hash=hash, why=why, block=None))
        self.rng.shuffle(events)
        return events


def holds(lab: Any, seed: int, steps: int, chains: tuple[str, ...], engine: Any = None, **options: Any) -> int:
    """AssertionError where what waited left a trace; how often something unconfirmed stood."""

    async def run() -> int:
        story = lab.script(seed, steps, chains, **options)
        runner = await lab.Live(story, lab.MemoryStore(), rng=Random(1), engine=engine and engine()).start()
        watching = Watching(lab, story, runner, seed)
        await watching.run()
        calm = await lab.plain(story)
        lab.same_state(runner.engine, calm.engine)
        lab.same_incidents(runner.correlator, calm.correlator)
        return watching.alarms

    return asyncio.run(run())


def campaign(lab: Any, usual: int, chains: tuple[str, ...], **options: Any) -> None:
    alarms = []

    @lab.tries(usual)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        alarms.append(holds(lab, seed, steps, chains, **options))

    check()
    assert sum(count > 0 for count in alarms) > len(alarms) // 3  # in many scripts something unconfirmed was told


def test_an_account_chain(lab: Any) -> None:
    """Thefts, payments and forgeries wait, are mined, replaced, dropped and reorganised."""
    campaign(lab, 24, (lab.ETH,), approvals=True)


def test_several_chains(lab: Any) -> None:
    """One owner on three chains, one of them with outputs."""
    campaign(lab, 10, (lab.ETH, lab.BSC, lab.BTC))


def caught(check: Any, scripts: int = 30) -> None:
    for seed in range(scripts):
        try:
            check(seed)
        except AssertionError:
            return
    pytest.fail(f"{scripts} scripts did not show the fault")


def test_an_engine_that_learns_from_what_waits_is_caught(lab: Any) -> None:
    """Planted fault: the fold is not undone."""

    class Hasty(Engine):
        def foresee(self, block: Block, told: Any = None) -> Folded:
            return self.connect(block, told)

    caught(lambda seed: holds(lab, seed, 12, (lab.ETH,), engine=lambda: lab.engine_of(Hasty)))


def test_evidence_that_is_never_settled_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: what did not happen stays in its incident."""
    monkeypatch.setattr(Unconfirmed, "settle", lambda self, chain, why: [])
    caught(lambda seed: holds(lab, seed, 12, (lab.ETH,)))
