"""The follower: whatever endpoints do, what it hands over is the chain, each block once and in order."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chains.base import BlockConnected, BlockDisconnected, ChainEvent, ChainSpec
from chains.follow import Follower
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError, ReorgTooDeep
from monitor.model import Block, BlockRef

CHAIN = "eip155:31337"
SPEC = ChainSpec(name="scripted", kind="evm", chain=CHAIN, endpoints=(), finality_depth=4)


def make(number: int, parent: str, salt: object) -> Block:
    """A block whose hash covers the whole header, its parent included, so that branches differ all the way up."""
    digest = hashlib.sha256(repr((number, parent, salt)).encode()).hexdigest()
    return Block(BlockRef(CHAIN, number, digest), parent, 1000 + number)


def grow(blocks: Sequence[Block], count: int, salt: object = "") -> list[Block]:
    """``blocks`` with ``count`` more on top."""
    longer = list(blocks)
    for _ in range(count):
        number, parent = (longer[-1].ref.number + 1, longer[-1].ref.hash) if longer else (0, "")
        longer.append(make(number, parent, salt))
    return longer


class Scripted:
    """A chain in memory, from block 0. ``views`` are the branches that an endpoint may still stand on, newest last.

    ``behave(call)`` is asked at each call: an exception to raise, or how many views back the answer comes from.
    """

    def __init__(self, blocks: Sequence[Block], spec: ChainSpec = SPEC) -> None:
        self.spec = spec
        self.views: list[list[Block]] = [list(blocks)]
        self.behave: Callable[[str], BaseException | int] = lambda call: 0
        self.on_wake: Callable[[], bool] = lambda: False  # False: nothing more will happen
        self.idle = asyncio.Event()
        self.calls: list[str] = []
        self.reading = 0
        self.most_reading = 0

    @property
    def blocks(self) -> list[Block]:
        return self.views[-1]

    def become(self, blocks: Sequence[Block]) -> None:
        self.views.append(list(blocks))

    def _view(self, call: str) -> list[Block]:
        self.calls.append(call)
        answer = self.behave(call)
        if isinstance(answer, BaseException):
            raise answer
        return self.views[max(0, len(self.views) - 1 - answer)]

    async def open(self) -> None: ...

    async def head(self) -> BlockRef:
        await asyncio.sleep(0)
        return self._view("head")[-1].ref

    async def block(self, number: int) -> Block:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            await asyncio.sleep(0)
            view = self._view(f"block {number}")
            if number >= len(view):
                raise ChainUnavailable(f"block {number} is not there")
            return view[number]
        finally:
            self.reading -= 1

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        return {}

    async def wake(self) -> None:
        await asyncio.sleep(0)
        self._view("wake")
        if not self.on_wake():
            self.idle.set()
            await asyncio.Event().wait()

    async def aclose(self) -> None: ...


class Broken(AssertionError):
    """The events are not a chain."""


@dataclass
class Consumer:
    """Applies events to a stack as the engine does, and refuses what does not fit."""

    stack: list[BlockRef] = field(default_factory=list)
    events: list[ChainEvent] = field(default_factory=list)

    def apply(self, event: ChainEvent) -> None:
        self.events.append(event)
        if isinstance(event, BlockDisconnected):
            if not self.stack or self.stack[-1] != event.ref:
                raise Broken(f"disconnected {event.ref}, the top is {self.stack[-1:]}")
            self.stack.pop()
            return
        block = event.block
        if self.stack and (self.stack[-1].hash != block.parent_hash or self.stack[-1].number + 1 != block.ref.number):
            raise Broken(f"connected {block.ref} on {self.stack[-1]}")
        self.stack.append(block.ref)

    async def ancestor(self, number: int) -> BlockRef | None:
        return next((ref for ref in self.stack if ref.number == number), None)

    def must_be(self, blocks: Sequence[Block]) -> None:
        if self.stack != [b.ref for b in blocks]:
            raise Broken(f"{[r.number for r in self.stack]} is not the chain {[b.ref.number for b in blocks]}")


def follower(
    chain: Scripted, consumer: Consumer, kind: type[Follower] = Follower, sleeps: list[float] | None = None, **kw: Any
) -> Follower:
    async def sleep(seconds: float) -> None:
        if sleeps is not None:
            sleeps.append(seconds)
        await asyncio.sleep(0)

    tip = consumer.stack[-1] if consumer.stack else None
    options: dict[str, Any] = {"sleep": sleep, "rng": random.Random(1), "ancestor": consumer.ancestor} | kw
    return kind(chain, tip=tip, **options)


async def drain(chain: Scripted, consumer: Consumer, follow: Follower) -> None:
    """Apply events until the script of the chain is over (or something fails)."""
    chain.idle.clear()

    async def consume() -> None:
        async with aclosing(follow.events()) as events:
            async for event in events:
                consumer.apply(event)

    reader, idle = asyncio.create_task(consume()), asyncio.create_task(chain.idle.wait())
    try:
        await asyncio.wait({reader, idle}, return_when=asyncio.FIRST_COMPLETED)
        if reader.done():
            await reader
    finally:
        for task in (reader, idle):
            task.cancel()
        await asyncio.gather(reader, idle, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- property: any script -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """What happens at each wake, how each call goes, and how the follower is set up."""

    moves: tuple[tuple[str, int, int], ...]  # (extend | reorg | rollback, depth, blocks)
    calls: tuple[tuple[str, int], ...]  # (ok | lag | error | contradiction | move, how far back)
    start: int | None
    prefetch: int
    restarts: frozenset[int]  # after these moves the process is killed and starts from what is stored


depths = st.integers(1, 6)
scripts = st.builds(
    Script,
    moves=st.lists(st.tuples(st.sampled_from(["extend", "reorg", "rollback"]), depths, depths), max_size=12).map(tuple),
    calls=st.lists(
        st.tuples(st.sampled_from(["ok", "ok", "lag", "error", "contradiction", "move"]), st.integers(1, 3)),
        max_size=40,
    ).map(tuple),
    start=st.sampled_from([0, 0, 3, None]),
    prefetch=st.integers(1, 5),
    restarts=st.frozensets(st.integers(0, 12), max_size=3),
)


class Play:
    """Runs one script against one kind of follower."""

    def __init__(self, script: Script, kind: type[Follower]) -> None:
        self.script, self.kind = script, kind
        self.chain = Scripted(grow([], 4))
        self.consumer = Consumer()
        self.moves, self.calls = list(script.moves), list(script.calls)
        self.made = 0
        self.longest = 4
        self.over = False

    def move(self) -> bool:
        """The next change of the chain; after the last one it grows past everything seen, so that all must agree."""
        if not self.moves:
            if self.over:
                return False
            self.over = True
            self.calls.clear()
            self.chain.become(grow(self.chain.blocks, self.longest + 1 - len(self.chain.blocks), "end"))
            return True
        what, depth, count = self.moves.pop(0)
        keep = self.chain.blocks if what == "extend" else self.chain.blocks[: max(1, len(self.chain.blocks) - depth)]
        self.made += 1
        self.chain.become(keep if what == "rollback" else grow(keep, count, self.made))
        self.longest = max(self.longest, len(self.chain.blocks))
        return self.made not in self.script.restarts

    def behave(self, call: str) -> BaseException | int:
        how, back = self.calls.pop(0) if self.calls else ("ok", 0)
        if how == "move" and self.moves:
            self.move()
        if how == "error":
            return ChainUnavailable("scripted", retry_after=None if back < 3 else 1.0)
        if how == "contradiction":
            return ChainInconsistent("scripted")
        return back if how == "lag" else 0

    async def run(self) -> None:
        self.chain.behave, self.chain.on_wake = self.behave, self.move
        for _ in range(len(self.script.restarts) + 2):
            follow = follower(
                self.chain, self.consumer, self.kind, start=self.script.start, prefetch=self.script.prefetch
            )
            async with asyncio.timeout(20):
                await drain(self.chain, self.consumer, follow)
            assert len(follow._recent) <= 2 * SPEC.finality_depth
        assert self.over
        final = self.chain.blocks
        first = self.consumer.stack[0].number if self.consumer.stack else len(final)
        if self.script.start is not None and first != self.script.start:
            raise Broken(f"started at {first}")
        self.consumer.must_be(final[first:])


def play(script: Script, kind: type[Follower] = Follower) -> None:
    asyncio.run(Play(script, kind).run())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=scripts)
def test_the_events_are_the_chain(script: Script) -> None:
    """Whatever mixture of growth, reorgs, rollbacks, lag, errors and restarts: the net effect is the final chain."""
    try:
        play(script)
    except ReorgTooDeep:
        # Legal only where a restart forgot that nothing below the first block is ours, or the script cut to block 0.
        assert script.restarts or script.start is None


class TrustsNumbers(Follower):
    """Planted fault: a block fits where its number fits."""

    def _misfit(self, block: Block) -> bool:
        return False


class TrustsHeads(Follower):
    """Planted fault: a head that is no higher than the tip is never compared."""

    async def _compare(self, head: BlockRef) -> ChainEvent | None:
        self._rest(agreed=False)
        return None


class SkipsOnError(Follower):
    """Planted fault: a block that could not be read is given up."""

    async def _back_off(self, error: ChainError) -> None:
        await super()._back_off(error)
        if self.tip is not None and self.head is not None and self.head.number > self.tip.number + 1:
            self.tip = replace(self.tip, number=self.tip.number + 1)


class Repeats(Follower):
    """Planted fault: the tip is forgotten after an error, so that a block is handed over twice."""

    async def _back_off(self, error: ChainError) -> None:
        await super()._back_off(error)
        if self.tip is not None and self.tip.number - 1 in self._recent:
            self.tip = self._recent[self.tip.number - 1]


class BelievesGuesses(Follower):
    """Planted fault: a block read ahead is connected as it is, and a reorg seen without a second look."""

    async def _forward(self, number: int, goal: BlockRef) -> ChainEvent:
        return self._connect(await self._ahead.take(number, goal.number))


@pytest.mark.parametrize("kind", [TrustsNumbers, SkipsOnError, Repeats, BelievesGuesses])
def test_the_property_catches_planted_faults(kind: type[Follower]) -> None:
    """The property above fails for followers with a known fault: its checker can see."""

    @settings(max_examples=200, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(script=scripts)
    def attempt(script: Script) -> None:
        try:
            play(script, kind)
        except ReorgTooDeep:
            pass

    with pytest.raises(Broken):
        attempt()
