"""The line to a Redis server: one MULTI/EXEC a write, errors mapped, and lost keys noticed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from monitor.errors import ConfigError, StoreError
from monitor.redis_rows import MARKER, SCHEMA_VERSION, Keys, split_place, unpack_outbox
from monitor.store_url import redis_url

__all__ = ["RedisLink"]

log = logging.getLogger(__name__)

Pipe = Any  # the client's types know neither bytes as field names nor queued commands
Ask = Callable[[Pipe], object]
Write = Callable[[Pipe, list[Any], int], Any]
Written = Callable[[int, Sequence[Any]], object]

_TRIES = 50  # of a transaction, while other processes write at the same time
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 30.0


class RedisLink:
    """Reads and write transactions on the keys under a prefix; any failure is a StoreError without the password.

    No command is sent twice: a connection that breaks is an error, and its transaction was done wholly or not at all.
    """

    def __init__(self, url: str, prefix: str) -> None:
        safe = redis_url(url)
        self.where, self._secret = safe.shown, safe.secret
        try:
            self._redis: Any = Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
            )
        except (ValueError, TypeError):
            raise ConfigError("an option in the redis store url has a value that cannot be used") from None
        self.keys = Keys(prefix)
        self._generation: bytes | None = None
        self.writing = asyncio.Lock()
        """Held while this process writes."""
        self.on_written: Written | None = None
        """Told of every write transaction: the revision that it made, and what its ``write`` gave, if anything."""
        self._closed = False

    async def open(self) -> None:
        """Reach the server, check that it evicts nothing, then create or check the layout."""
        if self._closed:
            raise StoreError(f"store {self.where} is closed")
        with self._mapped():
            await self._check_server()
            for _ in range(_TRIES):
                try:
                    self._generation = await self._layout()
                    return
                except WatchError as error:
                    _raise_broken(error)
        raise self.busy()

    async def aclose(self) -> None:
        """Close the connections; calling it twice is fine."""
        self._closed = True
        self._generation = None
        with self._mapped():
            await self._redis.aclose()

    async def read(self, ask: Ask) -> list[Any]:
        """The answers to the commands that ``ask`` queues, all of one moment, from a store that is whole."""
        return (await self.read_at(ask))[1]

    async def read_at(self, ask: Ask) -> tuple[int, list[Any]]:
        """`read`, with the store's revision of that moment."""
        generation = self._opened()
        with self._mapped():
            return await self._ask(ask, generation)

    async def transact(
        self, ask: Ask, write: Write, more: Callable[[list[Any]], Awaitable[list[Any]]] | None = None
    ) -> None:
        """Read what ``ask`` queues, then send what ``write`` queues in one transaction.

        ``write`` is given the answers and the new revision; ``more`` may read on in between, by `read`, and change
        the answers. When another process wrote meanwhile, all of it is done again. A lease for several machines
        would be one more watched key.
        """
        generation, key = self._opened(), self.keys.revision
        async with self.writing:
            for _ in range(_TRIES):
                with self._mapped():
                    try:
                        async with self._redis.pipeline(transaction=True) as pipe:
                            await pipe.watch(key)
                            revision, answers = await self._ask(ask, generation)
                            if more is not None:
                                answers = await more(answers)
                            pipe.multi()
                            pipe.set(key, revision + 1)
                            written = write(pipe, answers, revision + 1)
                            await pipe.execute()
                            if self.on_written is not None:
                                self.on_written(revision + 1, written or ())
                            return
                    except WatchError as error:
                        _raise_broken(error)
        raise self.busy()

    def busy(self) -> StoreError:
        """The error that says that nothing stays as it is for long enough."""
        return StoreError(f"store {self.where}: other processes write too often")

    def lost(self) -> StoreError:
        """The error that says that keys are missing."""
        return StoreError(
            f"store {self.where}: the store lost data; put a backup in its place, or remove the rest of its keys "
            "to start anew"
        )

    async def _ask(self, ask: Ask, generation: bytes) -> tuple[int, list[Any]]:
        async with self._redis.pipeline(transaction=True) as pipe:
            self._ask_whole(pipe)
            ask(pipe)
            return self._check_whole(await pipe.execute(), generation)

    def _ask_whole(self, pipe: Pipe) -> None:
        keys = self.keys
        pipe.hget(keys.meta, "generation")
        for key in keys.marked:
            pipe.hget(key, MARKER)
        pipe.zrange(keys.due, -1, -1)
        pipe.get(keys.revision)

    def _check_whole(self, answers: Sequence[Any], generation: bytes) -> tuple[int, list[Any]]:
        """(revision, the answers that follow); StoreError where a marker is gone or of another store."""
        markers = len(self.keys.marked) + 1
        last, revision = answers[markers], answers[markers + 1]
        same = all(answer == generation for answer in answers[:markers])
        if not same or last != [MARKER + generation] or revision is None:
            raise self.lost()
        return int(revision), list(answers[markers + 2 :])

    async def _check_server(self) -> None:
        await self._redis.ping()
        try:
            settings = await self._redis.config_get("maxmemory-policy")
            settings |= await self._redis.config_get("appendonly")
        except ResponseError:
            log.warning("store %s: the server does not tell its settings; set maxmemory-policy noeviction", self.where)
            return
        told = {_text(name): _text(value) for name, value in settings.items()}
        policy = told.get("maxmemory-policy", "unknown")
        if policy != "noeviction":
            raise StoreError(
                f"store {self.where}: the server may drop keys (maxmemory-policy is {policy}); run "
                "'redis-cli config set maxmemory-policy noeviction' and put it into redis.conf"
            )
        if told.get("appendonly") != "yes":
            log.warning("store %s: a stop of the server loses data; set appendonly yes", self.where)

    async def _layout(self) -> bytes:
        """The generation of the store, which is made where none of its keys exist."""
        keys = self.keys
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(keys.meta, keys.revision)
            async with self._redis.pipeline(transaction=True) as reader:
                self._ask_whole(reader)
                reader.exists(keys.chains, keys.wallets)
                reader.hget(keys.meta, "schema")
                *whole, version = await reader.execute()
            if version is None and not any(whole):
                return await self._create(pipe)
            generation: bytes | None = whole[0]
            if version is None or generation is None:
                raise self.lost()
            if version == b"1":  # had no notes
                whole[1 + keys.marked.index(keys.notes)] = generation
                self._check_whole(whole, generation)
                outbox = await self._redis.hgetall(keys.outbox)
                return await self._renew(pipe, generation, outbox)
        if version != str(SCHEMA_VERSION).encode():
            raise StoreError(
                f"store {self.where}: it is of version {_text(version)}, this program reads {SCHEMA_VERSION}; "
                "use the program that made it, or another database"
            )
        self._check_whole(whole, generation)
        return generation

    async def _create(self, pipe: Pipe) -> bytes:
        keys, generation = self.keys, secrets.token_hex(8).encode()
        pipe.multi()
        pipe.hset(keys.meta, mapping={"schema": SCHEMA_VERSION, "generation": generation})
        pipe.set(keys.revision, 0)
        for key in keys.marked:
            pipe.hset(key, MARKER, generation)
        pipe.zadd(keys.due, {MARKER + generation: "+inf"})
        await pipe.execute()
        return generation

    async def _renew(self, pipe: Pipe, generation: bytes, outbox: Mapping[bytes, bytes]) -> bytes:
        """Bring a store of the version before up to this one: it had no notes, and no outbox by incident."""
        pipe.multi()
        for name, value in outbox.items():
            if name != MARKER and (incident_id := unpack_outbox(split_place(value)[1]).incident_id):
                pipe.sadd(self.keys.messages(incident_id), name)
        pipe.hset(self.keys.notes, MARKER, generation)
        pipe.hset(self.keys.meta, "schema", SCHEMA_VERSION)
        await pipe.execute()
        return generation

    def _opened(self) -> bytes:
        if self._generation is None:
            raise StoreError(f"store {self.where} is {'closed' if self._closed else 'not open'}")
        return self._generation

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            if self._secret:
                text = text.replace(self._secret, "***")
            raise StoreError(f"store {self.where}: {text}") from None  # the cause may show the password
        except (OverflowError, UnicodeError, msgspec.MsgspecError) as error:
            raise StoreError(f"store {self.where}: a value cannot be stored or read back: {error}") from error


def _raise_broken(error: WatchError) -> None:
    """Raise where the connection broke; return where another process was faster."""
    if isinstance(error.__context__, (RedisConnectionError, RedisTimeoutError)):
        raise error.__context__


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
