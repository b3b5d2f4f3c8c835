"""A gap that is filled beside the live blocks = a straight catch-up: killed anywhere, rewritten meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import gap, swap
from monitor.backfill import Backfill
from monitor.coverage import coverage_data
from monitor.errors import ChainUnavailable, StoreError
from monitor.fetch import Fetch
from monitor.marks import Mark
from monitor.memory_store import MemoryStore
from monitor.model import BlockRef, Finding, Status
from monitor.refold import Refold

QUIET = 12  # blocks of a script before its thefts; balances are told up to three later
SEEDS, STEPS = st.integers(0, 2**32), st.integers(8, 30)


@dataclass
class Run:
    """A stretch as a chain family gives it."""

    first: BlockRef
    parent_hash: str
    last: BlockRef
    start: int
    end: int
    source: str
    blind_spots: tuple[str, ...]
    blocks: tuple[Any, ...]
    headers: tuple[tuple[str, int], ...]


class Endpoint:
    """Past blocks of one chain as the last view has them; it is slow, and fails now and then."""

    def __init__(self, rng: Random) -> None:
        self.blocks: tuple[Any, ...] = ()
        self.rng = rng

    async def time_of(self, number: int) -> int:
        raise AssertionError("where a gap ends is known")

    async def history(self, start: int, end: int) -> Run:
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.rng.random() < 0.1 or end - 1 > len(self.blocks):
            raise ChainUnavailable("scripted")
        run = self.blocks[start - 1 : end - 1]
        first, last = run[0], run[-1]
        headers = tuple((block.ref.hash, block.timestamp) for block in run)
        touching = tuple(block for block in run if block.transfers or block.controls)
        ends = (first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp)
        return Run(*ends, "node", (), touching, headers)

    async def aclose(self) -> None: ...

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        return dict.fromkeys(wanted)


class Killed(StoreError):
    """The process ends here."""


class Mortal:
    """A store whose process dies at some commits: before it is stored, or after."""

    def __init__(self, store: Any, rng: Random) -> None:
        self.store, self.kills, self._rng = store, 0, rng
        self._left = rng.randrange(8, 30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, commit: Any) -> None:
        self._left -= 1
        if self._left:
            await self.store.commit(commit)
            return
        self._left = self._rng.randrange(1, 30)
        self.kills += 1
        if self._rng.random() < 0.4:
            await self.store.commit(commit)
        raise Killed("killed")


def gapped(lab: Any) -> Any:
    """A monitor that leaves blocks out on one chain, and fills that gap beside the live blocks."""

    class Gapped(lab.Live):  # type: ignore[misc]
        def __init__(self, story: Any, store: Any, rng: Random, endpoint: Endpoint, **parts: Any) -> None:
            super().__init__(story, store, rng=rng, **parts)
            self.chain, self.endpoint, self.lock = lab.ETH, endpoint, asyncio.Lock()
            self.task: asyncio.Task[None] | None = None
            self.first = 0  # the first live block above a gap, once it was disconnected

        async def start(self) -> Any:
            await self.pipeline.start()
            for chain in self._story.chains:
                tip = await self.store.checkpoint(chain)
                mark = self.mark if chain == self.chain else None
                first = 1
                if mark is not None and mark.block < 0:
                    tip = None
                elif mark is not None:
                    first = mark.block
                self.pipeline.tips[chain] = tip
                heights = range(first, tip.number + 1) if tip else range(0)
                self._held[chain] = [(await self.store.block(chain, number)).ref for number in heights]
            self.backfill = Backfill(
                "eth", self.chain, lambda: self.endpoint, self.endpoint, self.pipeline, self.store, lab.engine_of,
                step=self._rng.choice([2, 5, 40]), width=3, sleep=lambda _: asyncio.sleep(0),
            )  # fmt: skip
            self.backfill.rejoin = lambda ref: self._held[self.chain][:1] == [ref]
            self.task = asyncio.create_task(self.backfill.run(self.between))
            return self

        @property
        def mark(self) -> Mark | None:
            found: Mark | None = self.pipeline.marks.get(self.chain)
            return found

        async def between(self, chain: str, work: Callable[[], Any]) -> Any:
            async with self.lock:
                await self.pipeline.flush(chain)
                return await work()

        async def leave_out(self, view: Any) -> bool:
            """Leave out what is missing to the head of a view, if anything is."""
            async with self.lock:
                await self.pipeline.flush(self.chain)
                held = self._held[self.chain]
                if view.chain != self.chain or not held or len(view.blocks) <= held[-1].number + 1:
                    return False
                told = [block.ref for block in self._story.final(self.chain)[: QUIET + 3]]
                if held[0].number == 1 and held[: QUIET + 3] != told:  # the gap must not hold what is told
                    return False
                await self.pipeline.leave_out(self.chain)
                self._held[self.chain], self.first = [], 0
                return True

        async def see(self, view: Any) -> None:
            """Follow one view, from the first live block where blocks were left out."""
            if view.chain == self.chain:
                self.endpoint.blocks = view.blocks
            while await self._step(view):
                for _ in range(self._rng.randrange(6)):
                    await asyncio.sleep(0)
                if self.task is not None and self.task.done():
                    self.task.result()

        async def _step(self, view: Any) -> bool:
            async with self.lock:
                chain, mark = view.chain, self.mark
                held, refs = self._held[chain], [block.ref for block in view.blocks]
                if chain == self.chain and mark is None and held and held[0].number > 1:  # it is full
                    below = [await self.store.block(chain, n) for n in range(1, held[0].number)]
                    assert None not in below, "blocks of the gap are not stored"
                    held[:] = [*(record.ref for record in below), *held]
                if held and (held[-1].number > len(refs) or refs[held[-1].number - 1] != held[-1]):
                    gone = held.pop()
                    await self.pipeline.disconnect(gone)
                    self.first = gone.number if not held else 0
                elif (at := self._next(chain, refs)) <= len(refs):
                    block = view.blocks[at - 1]
                    self.folded.append(await self.pipeline.connect(block, self._story.told_at(block)))
                    held.append(block.ref)
                    if chain == self.chain:
                        self.backfill.begin()
                else:
                    return False
                await self._maybe_flush(chain)
                return True

        def _next(self, chain: str, refs: Sequence[Any]) -> int:
            held = self._held[chain]
            if held:
                return int(held[-1].number) + 1
            if chain != self.chain or self.mark is None:
                return 1
            if self.first:
                return self.first
            assert self.mark.below is not None
            return max(len(refs), int(self.mark.below.number) + 2)

        async def fill(self) -> None:
            """Until nothing is missing."""
            for _ in range(20_000):
                if self.task is not None and self.task.done():
                    self.task.result()
                if self.mark is None and not self.lock.locked():
                    break
                await asyncio.sleep(0)
            assert self.mark is None, "the gap is not filled"

        async def stop(self) -> None:
            if self.task is not None:
                self.task.cancel()
                await asyncio.gather(self.task, return_exceptions=True)

    return Gapped


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No threads: what interleaves is what the script says."""

    async def here(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    monkeypatch.setattr("asyncio.to_thread", here)


def begins(lab: Any, story: Any) -> int | None:
    """The first view from which on no view changes the blocks in which balances were told."""
    views = [view for view in story.views if view.chain == lab.ETH]
    told = [block.ref for block in views[-1].blocks[: QUIET + 3]]
    found = None
    for place in range(len(story.views) - 1, -1, -1):
        view = story.views[place]
        if view.chain != lab.ETH:
            continue
        if [block.ref for block in view.blocks[: QUIET + 3]] != told:
            break
        found = place
    return found


def plainly(incidents: Any) -> list[Any]:
    """Incidents that stand, without what says that a finding came late."""

    def calm(finding: Finding) -> Finding:
        assert "provisional" not in finding.evidence
        return replace(finding, evidence={k: v for k, v in finding.evidence.items() if k != "late"})

    stand = [item for item in incidents if item.status is not Status.RETRACTED]
    return [replace(item, findings=tuple(map(calm, item.findings))) for item in stand]


async def watched(lab: Any, story: Any, seed: int, mortal: Mortal, **make: Callable[[], Any]) -> tuple[Any, int]:
    """The monitor after a script in which it was away once or more; how often it filled a gap."""
    rng, kind = Random(seed), gapped(lab)
    endpoint = Endpoint(Random(seed + 1))
    first = begins(lab, story)
    place, gaps, runner = 0, 0, None
    views = [*story.views, *(lab.View(chain, story.final(chain)) for chain in story.chains)]
    away = {n for n, view in enumerate(views) if first is not None and n > first and view.chain == lab.ETH}
    away = {n for n in sorted(away) if rng.random() < 0.5}
    while True:
        try:
            if runner is None:
                parts = {name: part() for name, part in make.items()}
                runner = await kind(story, mortal, rng, endpoint, **parts).start()
            while place < len(views):
                if place in away:
                    away.discard(place)
                    place = min(place + rng.choice([1, 3, 6]), len(views) - len(story.chains))
                    place += next(n for n, view in enumerate(views[place:]) if view.chain == lab.ETH)
                    gaps += await runner.leave_out(views[place])
                await runner.see(views[place])
                place += 1
            for chain in story.chains:
                await runner.pipeline.flush(chain)
            await runner.fill()
            return runner, gaps
        except Killed:
            await runner.stop() if runner is not None else None
            runner = None
            place += rng.choice([0, 0, 1])
            place = min(place, len(views) - len(story.chains))


def holds(lab: Any, story: Any, seed: int, *, immortal: bool = False, **make: Callable[[], Any]) -> SimpleNamespace:
    """AssertionError where the end differs from that of a straight catch-up."""

    async def run() -> SimpleNamespace:
        kept = MemoryStore()
        mortal = Mortal(kept, Random(seed))
        if immortal:
            mortal._left = 10**9
        seen, gaps = await watched(lab, story, seed, mortal, **make)
        try:
            calm = await lab.plain(story)
            lab.same_state(seen.engine, calm.engine)
            assert lab.essence(plainly(seen.correlator.all())) == lab.essence(calm.correlator.all())
            fresh = lab.engine_of()
            records = [item async for item in kept.state()]
            spooled = [key for key, _ in records if key.startswith((b"b\x1f", b"c\x1f"))]
            assert spooled == [], spooled
            fresh.load(records)
            lab.same_state(fresh, calm.engine)
            for wallet in fresh.watchlist.wallets:
                flows = [replace(f, transfer_index=0) for f in await kept.flows(wallet, lab.ETH)]
                assert flows == [replace(f, transfer_index=0) for f in await calm.store.flows(wallet, lab.ETH)]
            scanned = coverage_data(await kept.coverage(lab.ETH))[lab.ETH]
            assert scanned["gaps"] == [] and scanned["blocks"] == len(story.final(lab.ETH))
        finally:
            await seen.stop()
        late = [f for i in seen.correlator.all() for f in i.findings if "late" in f.evidence]
        return SimpleNamespace(gaps=gaps, kills=mortal.kills, late=len(late))

    return asyncio.run(run())


def campaign(lab: Any, usual: int, chains: tuple[str, ...], **options: Any) -> list[SimpleNamespace]:
    found: list[SimpleNamespace] = []

    @lab.tries(usual)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        found.append(holds(lab, lab.script(seed, steps, chains, quiet=QUIET), seed, **options))

    check()
    return found


def test_one_chain(lab: Any) -> None:
    """The state, the incidents, the flows: whatever was rewritten, above the gap, in it, or below it."""
    found = campaign(lab, 60, (lab.ETH,), immortal=True)
    assert sum(one.gaps for one in found) > len(found) and sum(one.late for one in found) > len(found) // 2


def test_killed_anywhere(lab: Any) -> None:
    """A monitor that dies while it fetches, folds or swaps goes on, and ends the same."""
    found = campaign(lab, 60, (lab.ETH,))
    assert sum(one.kills for one in found) > len(found) and sum(one.gaps for one in found) > len(found) // 2


def test_beside_another_chain(lab: Any) -> None:
    """The wallet's other chain goes on meanwhile; incidents join over both as if nothing had been late."""
    found = campaign(lab, 40, (lab.ETH, lab.BSC))
    assert sum(one.gaps for one in found) > len(found) // 2


# -- planted faults ----------------------------------------------------------------------------------------------------


def caught(lab: Any, *, immortal: bool = True, scripts: int = 40) -> None:
    for seed in range(scripts):
        try:
            holds(lab, lab.script(seed, 8 + seed % 23, (lab.ETH,), quiet=QUIET), seed, immortal=immortal)
        except (AssertionError, StoreError):
            return
    pytest.fail(f"{scripts} scripts did not show the fault")


def test_a_fold_on_the_provisional_state_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the gap is folded on what the live blocks left, not on the state of before it."""
    monkeypatch.setattr("monitor.backfill.state_at", lambda engine, chain, undone: gap.state_at(engine, chain, ()))
    caught(lab)


def test_a_gap_that_is_forgotten_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: fetched blocks are not folded."""
    monkeypatch.setattr(Refold, "past", lambda self, blocks: None)
    caught(lab)


def test_a_tip_that_is_trusted_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: nobody looks whether the gap fits the block below it, which may be of another branch."""
    monkeypatch.setattr("monitor.fetch._fits", lambda mark, kept: True)
    caught(lab, scripts=150)


def test_a_provisional_finding_that_stays_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: what was found above the gap is not taken out when it is full."""

    async def fill(self: Any, old: Mark, tip: BlockRef, final: int) -> list[str]:
        self._correlator.disconnect = lambda *_: []
        try:
            found: list[str] = await real(self, old, tip, final)
            return found
        finally:
            del self._correlator.disconnect

    real = swap.Swap.fill
    monkeypatch.setattr(swap.Swap, "fill", fill)
    caught(lab, scripts=150)


def test_a_restart_that_forgets_the_gap_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: what was fetched before a kill is taken for all that there is."""

    async def fetch(self: Any, mark: Mark, between: Any) -> bool:
        if [head async for head in self.heads()]:
            return True
        return await real(self, mark, between)

    real = Fetch.fetch
    monkeypatch.setattr(Fetch, "fetch", fetch)
    caught(lab, immortal=False, scripts=150)
