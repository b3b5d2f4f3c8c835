"""The Redis store under faults: cut connections, lost keys, wrong settings, two writers, passwords."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from monitor.errors import ConfigError, StoreError
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.redis_store import RedisStore
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, OperatorEvent, OutboxRow

CHAIN = "eip155:1"
MARKED = ("meta", "revision", "checkpoint", "state", "incidents", "outbox", "events", "due")


def make(number: int, fork: str = "a", gone: tuple[BlockRef, ...] = ()) -> Commit:
    """A commit in which every part says the block's number."""
    mark = b"%d" % number
    flows = tuple(FlowRecord(CHAIN, number, f"t{number}", n, "hot", 1, "eth", "x", number, number) for n in range(3))
    ref = BlockRef(CHAIN, number, f"{fork}{number}")
    record = BlockRecord(ref, f"a{number - 1}", number, ((b"tip", b"%d" % (number - 1)),), flows)
    return Commit(
        CHAIN, ref, gone, (record,), ((b"tip", mark), (b"gone", None)), ((f"i{number}", mark),),
        (OutboxRow(f"a{number}", "soc", "0:webhook", mark, float(number)),),
        (CoverageRange(CHAIN, number, number, "node"),), final=number - 5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """``host:port`` of a Redis server that lives as long as these tests; its password is ``hunter2``."""
    if shutil.which("redis-server") is None:
        reason = "redis-server is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "hunter2"]
        command += ["--save", "", "--appendonly", "no", "--dir", folder, "--daemonize", "no"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert any(b"Ready to accept" in line for line in process.stdout), f"redis-server ended: {process.poll()}"
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()


@pytest.fixture
async def raw(server: str) -> AsyncIterator[Any]:
    """A plain client on an empty server."""
    async with Redis.from_url(f"redis://:hunter2@{server}/0") as client:
        await client.flushall()
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 0)
        yield client


@pytest.fixture
async def store(server: str, raw: Any) -> AsyncIterator[RedisStore]:
    """An open store on an empty server."""
    made = RedisStore(f"redis://:hunter2@{server}/0")
    await made.open()
    yield made
    await made.aclose()


async def content(raw: Any) -> dict[bytes, Any]:
    """Every key with its value."""
    found = {}
    for key in sorted(await raw.keys("*")):
        kind = await raw.type(key)
        if kind == b"hash":
            found[key] = await raw.hgetall(key)
        elif kind == b"zset":
            found[key] = await raw.zrange(key, 0, -1, withscores=True)
        elif kind == b"set":
            found[key] = await raw.smembers(key)
        elif kind == b"list":
            found[key] = await raw.lrange(key, 0, -1)
        else:
            found[key] = await raw.get(key)
    return found


class Cutter:
    """A relay to the server that ends the connection, once, after ``limit`` bytes of the client's."""

    def __init__(self, server: str) -> None:
        self._host, _, self._port = server.partition(":")
        self.limit: int | None = None
        self.sent = bytearray()
        self._lines: set[Any] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(asyncio.current_task())
        up, down = await asyncio.open_connection(self._host, int(self._port))
        cut = asyncio.Event()
        back = asyncio.ensure_future(self._answers(up, writer, cut))
        while not cut.is_set() and (data := await reader.read(65536)):
            room = len(data) if self.limit is None else max(0, self.limit - len(self.sent))
            if room < len(data) or len(self.sent) + len(data) == self.limit:
                cut.set()
                self.limit = None  # another line would go through
            self.sent += data[:room]
            down.write(data[:room])
        down.write_eof()
        await back  # the server has dealt with all of it when it closes
        for side in (down, writer):
            side.close()
            with contextlib.suppress(ConnectionError):
                await side.wait_closed()

    @staticmethod
    async def _answers(up: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await up.read(65536):
                if not cut.is_set():
                    writer.write(data)

    async def aclose(self) -> None:
        self._server.close()
        await asyncio.gather(*self._lines)


@pytest.fixture
async def cutter(server: str) -> AsyncIterator[Cutter]:
    """A relay to the server, ended after the test's stores are."""
    made = Cutter(server)
    await made.start()
    yield made
    await made.aclose()


def boundaries(sent: bytes) -> list[int]:
    """The offsets at which a command ends."""
    found, at = [], 0
    while at < len(sent):
        end = sent.index(b"\r\n", at)
        count, at = int(sent[at + 1 : end]), end + 2
        for _ in range(count):
            end = sent.index(b"\r\n", at)
            at = end + 2 + int(sent[at + 1 : end]) + 2
        found.append(at)
    return found


async def test_a_commit_is_all_or_nothing_wherever_the_line_breaks(cutter: Cutter, raw: Any) -> None:
    """Cut at and around every command of a reorg commit: before EXEC nothing is stored, after it everything."""
    commit = replace(make(3, "b", (BlockRef(CHAIN, 3, "a3"),)), effective=(("e1", BlockRef(CHAIN, 3, "b3")),))

    async def attempt(limit: int | None) -> tuple[bool, dict[bytes, Any], dict[bytes, Any]]:
        await raw.flushall()
        cutter.limit = None
        store = RedisStore(f"redis://:hunter2@{cutter.address}/0")
        await store.open()
        for number in (1, 2, 3):
            await store.commit(make(number))
        await store.say(OperatorEvent("e1", "confirm", "i1", "ann", "", 1.0))
        before = await content(raw)
        cutter.sent.clear()
        cutter.limit = limit
        try:
            await store.commit(commit)
            done = True
        except StoreError:
            done = False
        await store.aclose()
        return done, before, await content(raw)

    done, before, after = await attempt(None)
    assert done and after != before
    ends = boundaries(bytes(cutter.sent))
    assert len(ends) > 40
    total = len(cutter.sent)

    def plain(found: dict[bytes, Any]) -> str:
        generation = found[b"heistwatch:meta"][b"generation"].decode()
        return repr(found).replace(generation, "generation")

    wholes = {True: plain(after), False: plain(before)}
    whole = 0
    for end in ends:
        for limit in {max(1, end - 1), end}:
            done, _, found = await attempt(limit)
            assert not done, f"cut at {limit} of {total} was not noticed"
            assert plain(found) == wholes[limit == total], f"half done, cut at {limit} of {total}"
            whole += limit == total
    assert whole == 1


@pytest.mark.parametrize("name", MARKED)
async def test_a_lost_key_is_said(server: str, raw: Any, store: RedisStore, name: str) -> None:
    """A key that is gone is found by every read and write, and by the next start: never read as empty or zero."""
    await store.commit(make(1))
    await raw.delete(f"heistwatch:{name}")
    left = await content(raw)
    reading = store.state()
    for job in (store.checkpoint(CHAIN), anext(reading), store.commit(make(2)), store.due(9.0), store.outbox()):
        with pytest.raises(StoreError, match=r"lost data; put a backup in its place"):
            await job
    again = RedisStore(f"redis://:hunter2@{server}/0")
    with pytest.raises(StoreError, match="lost data"):
        await again.open()
    await again.aclose()
    assert await content(raw) == left


async def test_a_flushed_server_is_never_written_on(server: str, raw: Any, store: RedisStore) -> None:
    """When everything goes under a running monitor it stops; only a new start reads "no checkpoint"."""
    await store.commit(make(1))
    await raw.flushall()
    with pytest.raises(StoreError, match="lost data"):
        await store.commit(make(2))
    with pytest.raises(StoreError, match="lost data"):
        await store.checkpoint(CHAIN)
    assert await content(raw) == {}
    again = RedisStore(f"redis://:hunter2@{server}/0")
    await again.open()
    assert await again.checkpoint(CHAIN) is None
    with pytest.raises(StoreError, match="lost data"):  # the new store is another one
        await store.commit(make(2))
    await again.aclose()


async def test_an_outbox_row_that_is_gone_is_said(raw: Any, store: RedisStore) -> None:
    """A due alert whose row is missing is not skipped."""
    await store.enqueue([OutboxRow("a", "soc", "0:webhook", b"{}", 1.0)])
    [name] = await raw.smembers("heistwatch:alert:a")
    await raw.hdel("heistwatch:outbox", name)
    with pytest.raises(StoreError, match="lost data"):
        await store.due(9.0)
    with pytest.raises(StoreError, match="lost data"):
        await store.outbox(alert_id="a")


async def test_a_value_that_is_damaged_is_said(raw: Any, store: RedisStore) -> None:
    """A value that cannot be unpacked is a StoreError."""
    await store.commit(make(1))
    await raw.hset("heistwatch:checkpoint", b"." + CHAIN.encode(), b"\xc1")
    with pytest.raises(StoreError, match="cannot be read back"):
        await store.checkpoint(CHAIN)


@pytest.mark.parametrize(
    "key",
    ["undo:eip155:1", "blocks:eip155:1", "coverage:eip155:1", "flows:eip155%3A1:hot", "alert:a2", "wallets", "chains"],
)
async def test_a_key_of_a_wrong_type_stores_nothing(raw: Any, store: RedisStore, key: str) -> None:
    """Redis goes on inside a transaction after an error: such an error comes before anything is written."""
    await store.commit(make(1))
    await raw.set(f"heistwatch:{key}", "something else")
    before = await content(raw)
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.commit(make(2))
    assert await content(raw) == before


async def test_a_server_without_memory_stores_nothing(raw: Any, store: RedisStore) -> None:
    """A commit that does not fit is refused as a whole."""
    await store.commit(make(1))
    before = await content(raw)
    await raw.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match="maxmemory"):
        await store.commit(make(2))
    await raw.config_set("maxmemory", 0)
    assert await content(raw) == before
    await store.commit(make(2))
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, 2, "a2")


async def test_a_server_that_evicts_is_refused(server: str, raw: Any) -> None:
    """A server that may drop keys is no store; the error says how to set it."""
    await raw.config_set("maxmemory-policy", "allkeys-lru")
    store = RedisStore(f"redis://:hunter2@{server}/0")
    with pytest.raises(StoreError, match="config set maxmemory-policy noeviction"):
        await store.open()
    await store.aclose()
    assert await content(raw) == {}


async def test_a_server_that_hides_its_settings_is_a_warning(
    server: str, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where CONFIG is refused the store works and the log says what to check."""
    await raw.acl_setuser("guest", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-config"])
    store = RedisStore(f"redis://guest:pw@{server}/0")
    with caplog.at_level(logging.WARNING):
        await store.open()
    assert "maxmemory-policy noeviction" in caplog.text
    assert "pw" not in caplog.text
    await store.commit(make(1))
    await store.aclose()
    await raw.acl_deluser("guest")


async def test_a_server_that_forgets_at_its_end_is_a_warning(
    server: str, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the append-only file what is stored lives as long as the server."""
    store = RedisStore(f"redis://:hunter2@{server}/0")
    with caplog.at_level(logging.WARNING):
        await store.open()
    assert "set appendonly yes" in caplog.text
    assert "hunter2" not in caplog.text
    await store.aclose()


async def test_a_newer_store_is_refused(server: str, raw: Any, store: RedisStore) -> None:
    """Another layout is neither read nor changed."""
    await raw.hset("heistwatch:meta", "schema", 99)
    again = RedisStore(f"redis://:hunter2@{server}/0")
    with pytest.raises(StoreError, match="of version 99, this program reads 2"):
        await again.open()
    await again.aclose()


async def test_a_store_of_the_version_before_is_renewed(server: str, raw: Any, store: RedisStore) -> None:
    """A store without notes gets them and keeps what it holds; one that lost something as well is refused."""
    await store.commit(make(1))
    row = OutboxRow("a9", "soc", "0:x", b"body", 1.0, incident_id="i9")
    await store.enqueue([row])
    await store.aclose()
    await raw.delete("heistwatch:notes", "heistwatch:messages:i9", "heistwatch:messages:i")
    await raw.hset("heistwatch:meta", "schema", 1)
    again = RedisStore(f"redis://:hunter2@{server}/0")
    await again.open()
    assert list(await again.outbox(incident_id="i9")) == [row]
    assert await again.checkpoint(CHAIN) == BlockRef(CHAIN, 1, make(1).connected[0].ref.hash)
    assert await again.note([("a", b"1")]) and list(await again.notes()) == [("a", b"1")]
    await again.aclose()
    await raw.delete("heistwatch:notes", "heistwatch:events")
    await raw.hset("heistwatch:meta", "schema", 1)
    broken = RedisStore(f"redis://:hunter2@{server}/0")
    with pytest.raises(StoreError, match="lost data"):
        await broken.open()
    await broken.aclose()


async def test_what_other_processes_queue_retry_and_record_is_ready(server: str, store: RedisStore) -> None:
    """What is ready is kept in memory: it follows what this process writes, and what others write meanwhile."""
    soc = ("soc", "0:x")
    rows = [OutboxRow(f"a{n}", *soc, b"body", 1.0 + n, incident_id="i", severity=2) for n in range(3)]
    await store.enqueue(rows[:1])

    async def ready(now: float = 10.0) -> list[str]:
        return [row.alert_id for row in await store.ready(soc, now)]

    assert await ready() == ["a0"]
    other = RedisStore(f"redis://:hunter2@{server}/0")
    await other.open()
    await other.enqueue(rows[1:])
    assert await ready() == ["a0", "a1", "a2"]
    await other.record(Delivery("a0", *soc, 1, Outcome.RETRY, Reason.TIMEOUT, 9.0), state="due", next_at=50.0)
    assert await ready() == [] and await store.next_ready(soc, 10.0) == 50.0
    assert await ready(60.0) == ["a0", "a1", "a2"]
    await store.record(Delivery("a0", *soc, 2, Outcome.REJECTED, Reason.GONE, 60.0), state="dead")
    assert await ready() == ["a1", "a2"] and await store.next_ready(soc, 10.0) is None
    assert await other.revive([("a0", *soc)], 70.0) == 1
    assert await ready() == ["a1", "a2", "a0"]
    assert [row.alert_id for row in await store.outbox(incident_id="i")] == ["a0", "a1", "a2"]
    await other.note([("silence/1", b"x")])
    assert list(await store.notes("silence/")) == [("silence/1", b"x")]
    await other.aclose()


async def test_a_second_monitor_cannot_mix_in(server: str, raw: Any, store: RedisStore) -> None:
    """The commit of a monitor that lags behind another one fails; the chain stays one."""
    other = RedisStore(f"redis://:hunter2@{server}/0")
    await other.open()
    await store.commit(make(1))
    await other.commit(make(2))
    with pytest.raises(StoreError, match="one monitor only"):
        await store.commit(make(2, "b"))
    assert await store.checkpoint(CHAIN) == BlockRef(CHAIN, 2, "a2")
    await other.aclose()


async def test_writers_in_other_processes_lose_nothing(server: str, raw: Any, store: RedisStore) -> None:
    """Verdicts and queued rows of a second client at the same time as commits are all kept, in one order."""
    other = RedisStore(f"redis://:hunter2@{server}/0")
    await other.open()

    async def blocks() -> None:
        for number in range(1, 16):
            await store.commit(make(number))

    async def words() -> None:
        for number in range(15):
            await other.say(OperatorEvent(f"e{number}", "confirm", "i1", "ann", "", 1.0))

    await asyncio.gather(blocks(), words())
    assert await other.checkpoint(CHAIN) == BlockRef(CHAIN, 15, "a15")
    assert [event.id for event in await store.said(pending=True)] == [f"e{n}" for n in range(15)]
    assert int(await raw.get("heistwatch:revision")) == 30
    await other.aclose()


async def test_an_attempt_is_sent_once_when_the_line_breaks(cutter: Cutter, raw: Any) -> None:
    """A broken line is an error, not a silent second try: an attempt whose answer was lost is there once."""
    store = RedisStore(f"redis://:hunter2@{cutter.address}/0")
    await store.open()
    await store.enqueue([OutboxRow("a", "soc", "0:webhook", b"{}", 1.0)])
    delivery = Delivery("a", "soc", "0:webhook", 1, Outcome.RETRY, Reason.TIMEOUT, 2.0)
    cutter.sent.clear()
    await store.record(delivery, state="due", next_at=5.0)
    cutter.limit = len(cutter.sent)  # the next attempt is as long
    cutter.sent.clear()
    with pytest.raises(StoreError):
        await store.record(replace(delivery, attempt=2), state="due", next_at=5.0)
    assert [found.attempt for found in await store.deliveries("a")] == [1, 2]  # a new line is opened for this
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    ["redis://:hunter3@{server}/0", "redis://127.0.0.1:1/0?password=hunter3", "unix:///none.sock?password=hunter3"],
)
async def test_passwords_stay_inside(server: str, raw: Any, url: str) -> None:
    """A server that is not there or refuses the password is a StoreError that shows where, never the password."""
    store = RedisStore(url.format(server=server))
    with pytest.raises(StoreError) as caught:
        await store.open()
    text = f"{caught.value} {caught.value.__cause__!r} {store!r} {store._link!r}"
    assert "hunter3" not in text
    assert "store redis://127.0.0.1:" in text or "store unix:///none.sock" in text
    await store.aclose()


async def test_a_password_that_the_server_repeats_stays_inside() -> None:
    """Some relays repeat the arguments of what they refuse; the password among them is blotted out."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(b"-ERR unknown command, with args beginning with: 'hunter3'\r\n")
        writer.close()

    relay = await asyncio.start_server(refuse, "127.0.0.1", 0)
    store = RedisStore(f"redis://:hunter3@127.0.0.1:{relay.sockets[0].getsockname()[1]}/0")
    with pytest.raises(StoreError, match=r"beginning with: '\*\*\*'") as caught:
        await store.open()
    assert "hunter3" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await store.aclose()
    relay.close()
    await relay.wait_closed()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:hunter/4@127.0.0.1:6379/0", "cannot be read"),
        ("redis://:hunter4#x@127.0.0.1/0", "cannot be read|'#'"),
        ("redis://:hunter4@/0", "needs a host"),
        ("redis://:hunter4@127.0.0.1/zero", "not a number"),
        ("redis://:hunter4@127.0.0.1/0?paswword=hunter4", "did you mean 'password'"),
        ("redis://127.0.0.1/0?password=hunter4&socket_timeout=hunter4", "cannot be used"),
        ("unix://?password=hunter4", "path of a socket"),
        ("http://:hunter4@127.0.0.1", "starts with redis://"),
    ],
)
async def test_a_url_that_cannot_be_used_is_a_configuration_error(url: str, says: str) -> None:
    """A mistake in the URL is found before any connection, and the message repeats no secret."""
    with pytest.raises(ConfigError, match=says) as caught:
        RedisStore(url)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
