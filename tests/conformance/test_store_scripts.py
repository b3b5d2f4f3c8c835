"""Random lives of a store, against a model that keeps everything in plain lists."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.store import BlockRecord, Commit, CoverageRange, Delta, FlowRecord, OutboxRow

CHAINS = ("eip155:1", "nem:mainnet")
KEYS = [b"", b"\x00", b"a", b"a\xff", b"b", b"\xff"]
WALLETS = ("hot", "hot:2")

deltas = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=6), max_size=4)
amounts = st.sampled_from([0, 1, 2**53 + 1, 2**64, 2**256 - 1])
flows = st.lists(st.tuples(st.sampled_from(WALLETS), st.integers(0, 3), amounts, st.integers(0, 40)), max_size=4)
blocks = st.tuples(deltas, flows, st.sampled_from(["node", "other"]), st.sampled_from([(), ("traces",)]))
commits = st.tuples(
    st.just("commit"), st.sampled_from(CHAINS), st.integers(0, 3), st.lists(blocks, max_size=3),
    st.lists(st.sampled_from("ijk"), max_size=2), st.lists(st.integers(0, 5), max_size=2),
    st.none() | st.integers(0, 4),
)  # fmt: skip
queued = st.tuples(st.just("enqueue"), st.lists(st.integers(0, 5), max_size=2))
recorded = st.tuples(
    st.just("record"), st.integers(0, 5), st.sampled_from(["due", "done", "dead"]), st.integers(0, 9)
)
reopened = st.tuples(st.just("reopen"))
scripts = st.lists(commits | commits | queued | recorded | reopened, max_size=12)


@dataclass
class Model:
    """What a store should hold: every connected block with the state before it, and plain rows."""

    blocks: dict[str, list[BlockRecord]] = field(default_factory=lambda: {chain: [] for chain in CHAINS})
    sources: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    final: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHAINS, 0))
    state: dict[bytes, bytes] = field(default_factory=dict)
    incidents: dict[str, bytes] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    forks: Any = field(default_factory=itertools.count)

    def queue(self, rows: list[OutboxRow]) -> None:
        known = {row.alert_id for row in self.outbox}
        for row in rows:
            if row.alert_id not in known:
                known.add(row.alert_id)
                self.outbox.append(row)

    def put(self, delta: Delta) -> None:
        for key, value in delta:
            self.state.pop(key, None)
            if value is not None:
                self.state[key] = value

    def coverage(self, chain: str) -> list[CoverageRange]:
        found: list[CoverageRange] = []
        for number in sorted(n for c, n in self.sources if c == chain):
            source, spots = self.sources[chain, number]
            last = found[-1] if found else None
            if last and last.last == number - 1 and (last.source, last.blind_spots) == (source, spots):
                found[-1] = replace(last, last=number)
            else:
                found.append(CoverageRange(chain, number, number, source, spots))
        return found


def alert(number: int) -> OutboxRow:
    return OutboxRow(f"a{number}", "soc", "0:webhook", b"%d" % number, queued_at=float(number % 3))


def make_commit(model: Model, store_undo: list[Delta], step: tuple[Any, ...]) -> Commit:
    """The step as a commit, applied to the model; ``store_undo`` is the undo read for the blocks that go."""
    _, chain, _, connected, incidents, alerts, final = step
    lineage = model.blocks[chain]
    changed: dict[bytes, bytes | None] = {}
    gone = []
    for undo in store_undo:
        record = lineage.pop()
        del model.sources[chain, record.ref.number]
        gone.append(record.ref)
        model.put(undo)
        changed |= dict(undo)
    made, ranges = [], []
    for delta, moves, source, spots in connected:
        number = lineage[-1].ref.number + 1 if lineage else 100
        undo = tuple((key, model.state.get(key)) for key in sorted(delta))
        records = tuple(
            FlowRecord(chain, number, f"t{index}", index, wallet, 1, "asset", "x", value, at, None)
            for wallet, index, value, at in moves
        )
        parent = lineage[-1].ref.hash if lineage else "root"
        ref = BlockRef(chain, number, f"{number}-{next(model.forks)}")
        lineage.append(BlockRecord(ref, parent, 7, undo, records))
        made.append(lineage[-1])
        ranges.append(CoverageRange(chain, number, number, source, spots))
        model.sources[chain, number] = (source, spots)
        model.put(tuple(delta.items()))
        changed |= delta
    if final is not None and lineage:
        model.final[chain] = max(model.final[chain], lineage[-1].ref.number - final)
    stories = tuple((name, b"%d" % next(model.forks)) for name in incidents)
    model.incidents.update(stories)
    rows = tuple(alert(number) for number in alerts)
    model.queue(list(rows))
    return Commit(
        chain, lineage[-1].ref if lineage else None, tuple(gone), tuple(made), tuple(changed.items()), stories, rows,
        tuple(ranges), final=model.final[chain] or None,
    )  # fmt: skip


async def apply(backend: Any, store: Any, model: Model, step: tuple[Any, ...]) -> Any:
    if step[0] == "commit":
        lineage, floor = model.blocks[step[1]], model.final[step[1]]
        undo: list[Delta] = []
        for record in reversed(lineage[len(lineage) - step[2] :] if step[2] else []):
            if record.ref.number <= floor:
                break
            found = await store.block(step[1], record.ref.number)
            assert found == replace(record, flows=())  # the undo too, byte for byte
            undo.append(found.undo)
        await store.commit(make_commit(model, undo, step))
    elif step[0] == "enqueue":
        rows = [alert(number) for number in step[1]]
        model.queue(rows)
        await store.enqueue(rows)
    elif step[0] == "record":
        await record_step(store, model, *step[1:])
    else:
        return await backend.again(store)
    return store


async def record_step(store: Any, model: Model, number: int, state: str, at: int) -> None:
    for index, row in enumerate(model.outbox):
        if row.alert_id == f"a{number}":
            made = Delivery(
                row.alert_id, "soc", "0:webhook", row.attempts + 1, Outcome.RETRY, Reason.TIMEOUT, float(at)
            )
            model.outbox[index] = replace(row, attempts=made.attempt, state=state, next_at=float(at))
            model.deliveries.append(made)
            await store.record(made, state=state, next_at=float(at))


async def agree(store: Any, model: Model) -> None:
    assert [item async for item in store.state()] == sorted(model.state.items())
    assert list(await store.incidents()) == list(model.incidents.values())
    assert list(await store.outbox()) == model.outbox
    assert list(await store.deliveries()) == model.deliveries
    due = [row for row in model.outbox if row.state == "due"]
    assert await store.next_due() == min((row.next_at for row in due), default=None)
    ripe = [row for row in due if row.next_at <= 4.0]
    assert list(await store.due(4.0)) == sorted(ripe, key=lambda row: row.queued_at)
    for chain in CHAINS:
        lineage = model.blocks[chain]
        assert await store.checkpoint(chain) == (lineage[-1].ref if lineage else None)
        assert list(await store.coverage(chain)) == model.coverage(chain)
        for wallet in WALLETS:
            kept = [f for r in lineage for f in sorted(r.flows, key=lambda f: f.transfer_index) if f.wallet == wallet]
            assert list(await store.flows(wallet, chain)) == kept
            late = [f for f in kept if 10 <= f.timestamp < 30]
            assert list(await store.flows(wallet, chain, since=10, until=30)) == late


@settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(script=scripts)
async def test_any_script_ends_as_the_model_says(backend: Any, script: list[tuple[Any, ...]]) -> None:
    """After any connects, reorgs, queued rows, attempts and restarts the store holds what a plain list would."""
    store, model = await backend.fresh(), Model()
    for step in script:
        store = await apply(backend, store, model, step)
        await agree(store, model)
    await store.aclose()
