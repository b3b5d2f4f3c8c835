"""The SQLite store under faults: statements that fail, kills, full disks, wrong files, two processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor import sqlite_file
from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.sqlite_store import SqliteStore
from monitor.sqlite_worker import Worker
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, OperatorEvent, OutboxRow

CHAIN = "eip155:1"
ROOT = Path(__file__).parents[2]


def make(number: int, fork: str = "a", gone: tuple[BlockRef, ...] = ()) -> Commit:
    """A commit in which every part says the block's number."""
    mark = b"%d" % number
    flows = tuple(FlowRecord(CHAIN, number, f"t{number}", n, "hot", 1, "eth", "x", number, number) for n in range(3))
    ref = BlockRef(CHAIN, number, f"{fork}{number}")
    record = BlockRecord(ref, f"a{number - 1}", number, ((b"tip", b"%d" % (number - 1)),), flows)
    return Commit(
        CHAIN, ref, gone, (record,), ((b"tip", mark), (b"block-%06d" % number, mark)), ((f"i{number}", mark),),
        (OutboxRow(f"a{number}", "soc", "0:webhook", mark, float(number)),),
        (CoverageRange(CHAIN, number, number, "node"),), final=number - 5,
    )  # fmt: skip


async def everything(store: SqliteStore) -> tuple[Any, ...]:
    """All that a store holds, for comparison."""
    return (
        await store.checkpoint(CHAIN),
        [await store.block(CHAIN, number) for number in range(12)],
        [item async for item in store.state()],
        [await store.incidents(), await store.outbox(), await store.deliveries()],
        [await store.flows("hot", CHAIN), await store.coverage(), await store.said(pending=False)],
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store on a new file."""
    made = SqliteStore(tmp_path / "h.db")
    await made.open()
    yield made
    await made.aclose()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Connections that raise at statement number ``at`` once ``count`` is a number."""
    plan: dict[str, Any] = {"count": None, "at": 0, "seen": []}

    def strike(sql: str) -> None:
        if plan["count"] is None:
            return
        plan["count"] += 1
        plan["seen"].append(sql.split()[0])
        if plan["count"] == plan["at"]:
            raise sqlite3.OperationalError("disk I/O error")

    class Faulty(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            strike(sql)
            return super().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            strike(sql)
            return super().executemany(sql, *args)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite_file.sqlite3, "connect", lambda *a, **k: connect(*a, factory=Faulty, **k))
    return plan


async def each_statement(faults: dict[str, Any], store: SqliteStore, job: Callable[[], Any]) -> int:
    """Fail ``job`` at every statement in turn: nothing may change until it passes. How many statements it has."""
    before = await everything(store)
    for at in range(1, 100):
        faults.update(count=0, at=at, seen=[])
        try:
            await job()
        except StoreError:
            faults["count"] = None
            assert await everything(store) == before, f"half done at statement {at}: {faults['seen']}"
            continue
        finally:
            faults["count"] = None
        assert await everything(store) != before
        return at - 1
    raise AssertionError("the job never passed")


async def test_a_commit_is_all_or_nothing_at_every_statement(faults: dict[str, Any], tmp_path: Path) -> None:
    """An error at any statement of a commit, BEGIN and COMMIT included, leaves nothing of it."""
    store = SqliteStore(tmp_path / "h.db")
    await store.open()
    for number in range(1, 8):
        await store.commit(make(number))
    await store.say(OperatorEvent("e1", "confirm", "i1", "ann", "", 1.0))
    gone = (BlockRef(CHAIN, 7, "a7"),)
    commit = replace(make(7, "b", gone), effective=(("e1", BlockRef(CHAIN, 7, "b7")),), final=6)
    assert await each_statement(faults, store, lambda: store.commit(commit)) >= 19
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, 7, "b7")
    await store.aclose()


async def test_an_attempt_is_recorded_wholly_or_not(faults: dict[str, Any], tmp_path: Path) -> None:
    """An outbox row never moves without its delivery."""
    store = SqliteStore(tmp_path / "h.db")
    await store.open()
    await store.commit(make(1))
    delivery = Delivery("a1", "soc", "0:webhook", 1, Outcome.ACCEPTED, Reason.OK, 2.0)
    assert await each_statement(faults, store, lambda: store.record(delivery, state="done")) == 4
    await store.aclose()


CHILD = """
import asyncio, sys
from pathlib import Path
from monitor.sqlite_store import SqliteStore
from test_module import make

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.acquire()
    tip = await store.checkpoint("eip155:1")
    number = tip.number if tip else 0
    print("ready", flush=True)
    while True:
        number += 1
        await store.commit(make(number))

asyncio.run(main())
"""


async def test_a_kill_at_any_moment_leaves_whole_blocks(tmp_path: Path) -> None:
    """After each SIGKILL checkpoint, state, incidents, outbox, flows, undo and coverage tell of the same block."""
    path, dice = tmp_path / "h.db", random.Random(7)
    (tmp_path / "test_module.py").write_text(Path(__file__).read_text())
    reached = 0
    for _ in range(8):
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(path), stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        await asyncio.sleep(dice.uniform(0.0, 0.15))  # the moment of the kill: any will do
        os.kill(child.pid, signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        reached = await whole(path, reached)
    assert reached > 8


async def whole(path: Path, reached: int) -> int:
    """Check that all parts agree; the height that was reached, never less than before."""
    store = SqliteStore(path)
    await store.open()
    await store.acquire()  # a killed holder does not keep the lock
    checkpoint = await store.checkpoint(CHAIN)
    tip = checkpoint.number if checkpoint else 0
    assert tip >= reached
    state = {key: value async for key, value in store.state()}
    expected = {b"block-%06d" % number: b"%d" % number for number in range(1, tip + 1)}
    assert state == (expected | {b"tip": b"%d" % tip} if tip else {})
    marks = [b"%d" % number for number in range(1, tip + 1)]
    assert list(await store.incidents()) == marks
    assert [row.body for row in await store.outbox()] == marks
    heights = [flow.block_number for flow in await store.flows("hot", CHAIN)]
    assert heights == [number for number in range(1, tip + 1) for _ in range(3)]
    assert list(await store.coverage()) == ([CoverageRange(CHAIN, 1, tip, "node")] if tip else [])
    for number in range(max(1, tip - 20), tip + 2):
        block = await store.block(CHAIN, number)
        assert (block is None) == (number > tip)
        if block is not None:
            assert bool(block.undo) == (number > tip - 5)
    await store.aclose()
    return tip


async def test_a_full_disk_stores_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, store: SqliteStore, tmp_path: Path
) -> None:
    """A commit that does not fit raises StoreError, and the store goes on from before it."""
    await store.commit(make(1))
    assert store._connection is not None
    worker, connection = store._worker, store._connection
    assert worker is not None
    pages = await worker.run(lambda: connection.execute("PRAGMA page_count").fetchone()[0])
    await worker.run(lambda: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    before = await everything(store)
    big = replace(make(2), state=((b"k", bytes(10**6)),))
    with pytest.raises(StoreError, match="full; free some disk space"):
        await store.commit(big)
    assert await everything(store) == before
    await worker.run(lambda: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await store.commit(big)
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, 2, "a2")


async def test_a_read_only_file_is_said(monkeypatch: pytest.MonkeyPatch, store: SqliteStore, tmp_path: Path) -> None:
    """Where the file cannot be written a commit names the file and what to do."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite_file.sqlite3, "connect", lambda path, **k: connect(f"file:{path}?mode=ro", uri=True, **k)
    )
    reader = SqliteStore(tmp_path / "h.db")
    await reader.open()
    with pytest.raises(StoreError, match=r"h\.db: .*readonly.*writable"):
        await reader.commit(make(1))
    await reader.aclose()


async def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """A file is made where it is missing, its folder is not."""
    store = SqliteStore(tmp_path / "none" / "h.db")
    with pytest.raises(StoreError, match=r"folder .*none does not exist"):
        await store.open()
    await store.aclose()
    assert list(tmp_path.iterdir()) == []


def not_sqlite(path: Path) -> None:
    path.write_bytes(b"# notes\n" * 200)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.close()


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {sqlite_file.SCHEMA_VERSION + 1}")
    connection.close()


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(8192, len(data), 8192):
        data[start : start + 100] = b"\xa5" * 100
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (not_sqlite, "not a database; .*move it away"),
        (empty, "the file is empty; put a backup"),
        (of_another_program, "another program; correct the store's url"),
        (newer, "version 3, this program reads up to 2; use the newer program"),
        (damaged, "damaged.*put a backup in its place"),
        (cut_short, "damaged.*put a backup in its place"),
    ],
)
async def test_a_wrong_file_is_said_and_left_alone(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    """A file that cannot be trusted raises with what to do, and not a byte of it changes."""
    path = tmp_path / "h.db"
    store = SqliteStore(path)
    await store.open()
    for number in range(1, 30):
        await store.commit(make(number))
    await store.aclose()
    spoil(path)
    before = path.read_bytes()
    again = SqliteStore(path)
    with pytest.raises(StoreError, match=f"h.db.*{says}"):
        await again.open()
    await again.aclose()
    assert path.read_bytes() == before


async def test_a_file_that_is_gone_but_for_its_log_is_lost(tmp_path: Path) -> None:
    """A log without its file means that the file was lost: it is not made anew."""
    (tmp_path / "h.db-wal").write_bytes(b"x")
    store = SqliteStore(tmp_path / "h.db")
    with pytest.raises(StoreError, match=r"the file is gone but h\.db-wal is there"):
        await store.open()
    assert not (tmp_path / "h.db").exists()


async def test_a_file_replaced_under_the_monitor_is_noticed(store: SqliteStore, tmp_path: Path) -> None:
    """Nothing more is written into a file that lost its name."""
    await store.commit(make(1))
    (tmp_path / "h.db").rename(tmp_path / "old.db")
    with pytest.raises(StoreError, match="moved or replaced"):
        await store.commit(make(2))
    with pytest.raises(StoreError, match="moved or replaced"):
        await anext(store.state())
    assert not (tmp_path / "h.db").exists()
    (tmp_path / "old.db").rename(tmp_path / "h.db")
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, 1, "a1")


async def test_a_crash_while_the_file_is_made_leaves_none(faults: dict[str, Any], tmp_path: Path) -> None:
    """A store is there as a whole or not at all."""
    store = SqliteStore(tmp_path / "h.db")
    faults.update(count=0, at=3)
    with pytest.raises(StoreError, match="disk I/O error"):
        await store.open()
    faults["count"] = None
    assert not (tmp_path / "h.db").exists()
    await store.open()
    assert await store.checkpoint(CHAIN) is None
    await store.aclose()


async def test_only_one_monitor(store: SqliteStore, tmp_path: Path) -> None:
    """`acquire` is refused while another holds it, names that process, and is free after `aclose`."""
    await store.acquire()
    await store.acquire()
    other = SqliteStore(tmp_path / "h.db")
    await other.open()
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        await other.acquire()
    await store.aclose()
    await other.acquire()
    await other.aclose()


SAY = """
import asyncio, sys
from pathlib import Path
from monitor.sqlite_store import SqliteStore
from monitor.store import OperatorEvent

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print((await store.checkpoint("eip155:1")).number)
    for number in range(20):
        await store.say(OperatorEvent(f"e{number}", "confirm", "i1", "ann", "", 1.0))
    await store.aclose()

asyncio.run(main())
"""


async def test_another_process_may_read_and_speak(store: SqliteStore, tmp_path: Path) -> None:
    """While a monitor commits, a command in another process reads and records verdicts; both are kept."""
    await store.acquire()
    await store.commit(make(1))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SAY, str(tmp_path / "h.db"), stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    ending, number = asyncio.ensure_future(child.communicate()), 1
    while not ending.done():
        number += 1
        await store.commit(make(number))
    output, _ = await ending
    assert child.returncode == 0
    assert 1 <= int(output) <= number
    assert [event.id for event in await store.said(pending=True)] == [f"e{n}" for n in range(20)]
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, number, f"a{number}")


async def test_a_lock_held_for_long_is_an_error(
    monkeypatch: pytest.MonkeyPatch, store: SqliteStore, tmp_path: Path
) -> None:
    """A writer that never ends is reported, not waited for without end."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    blocked = SqliteStore(tmp_path / "h.db")
    await blocked.open()
    holder = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked; another process holds it"):
        await blocked.commit(make(1))
    holder.execute("ROLLBACK")
    holder.close()
    await blocked.commit(make(1))
    await blocked.aclose()


async def test_block_commits_go_first() -> None:
    """Of jobs that wait, urgent ones run before the others, each kind in order of arrival."""
    worker, gate, ran = Worker("test"), threading.Event(), []
    first = asyncio.ensure_future(worker.run(gate.wait))
    others = [
        asyncio.ensure_future(worker.run(lambda name=name: ran.append(name), urgent=name.isupper())) for name in "aBcD"
    ]
    await asyncio.sleep(0)  # let each of them reach the queue
    stopping = asyncio.ensure_future(worker.stop())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others, stopping)
    assert ran == ["B", "D", "a", "c"]
    with pytest.raises(StoreError, match="closed"):
        await worker.run(lambda: None)


async def test_a_job_of_a_cancelled_caller_is_left_out() -> None:
    """A caller that gave up before its turn has no effect any more."""
    worker, gate, ran = Worker("test"), threading.Event(), []
    first = asyncio.ensure_future(worker.run(gate.wait))
    second = asyncio.ensure_future(worker.run(lambda: ran.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    await worker.stop()
    assert second.cancelled()
    assert ran == []


async def test_commits_are_on_the_disk(store: SqliteStore) -> None:
    """Write-ahead log, full synchronisation, strict tables: what durability rests on."""
    worker, connection = store._worker, store._connection
    assert worker is not None and connection is not None

    def ask(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert await worker.run(lambda: ask("journal_mode")) == "wal"
    assert await worker.run(lambda: ask("synchronous")) == 2
    tables = await worker.run(lambda: connection.execute("PRAGMA table_list").fetchall())
    assert [name for _, name, kind, _, _, strict in tables if kind == "table" and not strict] == [
        "sqlite_schema", "sqlite_temp_schema"
    ]  # fmt: skip


async def test_a_file_of_the_version_before_is_renewed(tmp_path: Path) -> None:
    """A file without notes gets them, and keeps what it holds."""
    path = tmp_path / "old.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(make(1))
    await store.aclose()
    connection = sqlite3.connect(path)
    added = ("of_incident", "of_destination", "in_order", "urgent", "later")
    gone = " ".join(f"DROP INDEX outbox_{name};" for name in added)
    connection.executescript(f"DROP TABLE note; {gone} PRAGMA user_version = 1;")
    connection.close()
    again = SqliteStore(path)
    await again.open()
    assert await again.checkpoint(CHAIN) == make(1).connected[0].ref
    assert await again.note([("a", b"1")]) and list(await again.notes()) == [("a", b"1")]
    await again.aclose()


async def test_a_value_that_does_not_fit_is_a_store_error(store: SqliteStore) -> None:
    """Numbers past 64 bits where none belong, and undo that cannot be read back, are StoreErrors."""
    with pytest.raises(StoreError, match="cannot be stored"):
        await store.commit(Commit(CHAIN, BlockRef(CHAIN, 2**63, "x")))
    await store.commit(make(1))
    worker, connection = store._worker, store._connection
    assert worker is not None and connection is not None
    await worker.run(lambda: connection.execute("UPDATE undo SET delta = x'c1'"))
    with pytest.raises(StoreError, match="read back"):
        await store.block(CHAIN, 1)
