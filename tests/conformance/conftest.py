"""A Redis server of its own, and one handle on every kind of store."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.memory_store import MemoryStore
from monitor.redis_store import RedisStore
from monitor.sqlite_store import SqliteStore


def _start(folder: str) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", folder, "--daemonize", "no"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if b"Ready to accept connections" in line:
            return process, port
    raise RuntimeError(f"redis-server ended with {process.wait()}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis server that lives as long as the tests."""
    if shutil.which("redis-server") is None:
        reason = "redis-server is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        process, port = _start(folder)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


class Backend:
    """Makes stores of one kind: ``fresh`` is a new empty one, ``again`` the same data opened anew."""

    def __init__(self, kind: str, make: Callable[[str], Any]) -> None:
        self.kind = kind
        self._make = make
        self._count = 0
        self._open: list[tuple[str, Any]] = []

    async def fresh(self) -> Any:
        self._count += 1
        return await self._start(str(self._count))

    async def again(self, store: Any) -> Any:
        name = next(name for name, known in self._open if known is store)
        await store.aclose()
        return store if self.kind == "memory" else await self._start(name)

    async def _start(self, name: str) -> Any:
        store = self._make(name)
        await store.open()
        self._open.append((name, store))
        return store

    async def aclose(self) -> None:
        for _, store in self._open:
            await store.aclose()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Every kind of store in turn."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_server")
        made = Backend("redis", lambda name: RedisStore(url, prefix=f"{tmp_path.name}-{name}:"))
    elif request.param == "sqlite":
        made = Backend("sqlite", lambda name: SqliteStore(tmp_path / f"{name}.db"))
    else:
        made = Backend("memory", lambda name: MemoryStore())
    yield made
    await made.aclose()


@pytest.fixture
async def store(backend: Backend) -> Any:
    """A new, empty store of every kind."""
    return await backend.fresh()
