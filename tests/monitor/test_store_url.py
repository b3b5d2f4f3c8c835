"""From store URLs to stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.memory_store import MemoryStore
from monitor.redis_store import RedisStore
from monitor.sqlite_store import SqliteStore
from monitor.store_url import open_store


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///heistwatch.db", "heistwatch.db"),
        ("sqlite:///data/h w.db", "data/h w.db"),
        ("SQLITE:///h.db", "h.db"),
        ("sqlite:////var/lib/h.db", "/var/lib/h.db"),
    ],
)
def test_sqlite_paths(tmp_path: Path, url: str, path: str) -> None:
    """Three slashes are relative to the configuration's folder, four are absolute."""
    store = open_store(url, base=tmp_path)
    assert isinstance(store, SqliteStore)
    assert store._path == tmp_path / path


async def test_the_other_kinds(tmp_path: Path) -> None:
    """Redis, TLS, sockets and memory are found by their scheme."""
    for url in ("redis://127.0.0.1:6379/2", "rediss://h", "unix:///run/r.sock?db=1"):
        store = open_store(url, base=tmp_path)
        assert isinstance(store, RedisStore)
        await store.aclose()
    assert isinstance(open_store("memory://", base=tmp_path), MemoryStore)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("heistwatch.db", r"no scheme, expected one such as sqlite:///heistwatch\.db"),
        ("", "no scheme"),
        (":secret@host://x", "no scheme"),
        ("sqllite:///h.db", "unknown store 'sqllite': did you mean 'sqlite'"),
        ("postgres://u:secret@h/db", "unknown store 'postgres': expected one of memory, redis"),
        ("sqlite://h.db", "three slashes"),
        ("sqlite:///", "needs a file"),
        ("sqlite:///:memory:", "memory:// keeps nothing"),
        ("sqlite:///folder/", "not a file name"),
        ("memory://x", "takes no path"),
        ("redis://:secret@host:port/0", "cannot be read"),
    ],
)
def test_a_bad_url_is_said_without_its_secrets(tmp_path: Path, url: str, says: str) -> None:
    """A URL that cannot be understood is a ConfigError with a hint; credentials are not repeated."""
    with pytest.raises(ConfigError, match=says) as caught:
        open_store(url, base=tmp_path)
    assert "secret" not in str(caught.value)
