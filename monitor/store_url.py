"""From the ``store.url`` of the configuration to a store. A password in it never comes out again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from monitor.errors import ConfigError
from monitor.registry import STORES, did_you_mean, load
from monitor.store import Store

__all__ = ["RedisUrl", "open_store", "redis_url"]

_KINDS = {"sqlite": "sqlite", "redis": "redis", "rediss": "redis", "unix": "redis", "memory": "memory"}
_REDIS_OPTIONS = frozenset(
    {"db", "username", "password", "socket_timeout", "socket_connect_timeout", "max_connections"}
    | {f"ssl_{name}" for name in ("ca_certs", "ca_path", "certfile", "keyfile", "cert_reqs", "check_hostname")}
)
_EXAMPLES = "sqlite:///heistwatch.db, sqlite:////absolute/path.db, redis://host:6379/0, unix:///run/redis.sock?db=0"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What may be shown of a redis URL, and what must be kept out of every text."""

    shown: str
    secret: str


def open_store(url: str, *, base: Path) -> Store:
    """The store behind a URL; it is made, not yet opened (`Store.open` does that).

    Parameters
    ----------
    url : ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``redis://host:port/db``, ``rediss://...``,
        ``unix:///path?db=0`` or ``memory://``
    base : the folder that relative paths start from

    Raises
    ------
    ConfigError
        Where the URL cannot be understood, with a hint; its password is never part of the message.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigError(f"the store url has no scheme, expected one such as {_EXAMPLES}")
    scheme = scheme.lower()
    if scheme not in _KINDS:
        raise ConfigError(f"unknown store {scheme!r}: {did_you_mean(scheme, _KINDS)}; examples: {_EXAMPLES}")
    make = load(STORES, _KINDS[scheme], "store")
    if scheme == "memory":
        if rest.strip("/"):
            raise ConfigError("memory:// takes no path: it keeps nothing")
        return cast(Store, make())
    if scheme == "sqlite":
        return cast(Store, make(_sqlite_path(rest, base)))
    return cast(Store, make(f"{scheme}://{rest}"))


def _sqlite_path(rest: str, base: Path) -> Path:
    if not rest.startswith("/"):
        raise ConfigError("a sqlite store url has three slashes before a relative path: sqlite:///heistwatch.db")
    name = rest[1:]
    if name in ("", ":memory:"):
        raise ConfigError("a sqlite store needs a file: sqlite:///heistwatch.db; memory:// keeps nothing")
    if "\0" in name or name.endswith("/"):
        raise ConfigError("the path of the sqlite store is not a file name")
    return base / name  # an absolute name replaces the base


def redis_url(url: str) -> RedisUrl:
    """Check a redis URL; ConfigError (which shows no part that may be secret) where it cannot be used."""
    try:
        parts = urlsplit(url)
        host, port, secret = parts.hostname, parts.port, parts.password
    except ValueError:
        raise ConfigError(
            "the redis store url cannot be read; is there a '/', '#', '?' or '@' in the password? write it as %2F, ..."
        ) from None
    options = parse_qs(parts.query, keep_blank_values=True)
    for name in options:
        if name not in _REDIS_OPTIONS:
            raise ConfigError(f"unknown option in the redis store url: {did_you_mean(name, _REDIS_OPTIONS)}")
    secret = options.get("password", [unquote(secret or "")])[0]
    if parts.fragment:
        raise ConfigError("the redis store url has a '#'; in a password write it as %23")
    if parts.scheme == "unix":
        if not parts.path:
            raise ConfigError("a unix store url needs the path of a socket: unix:///run/redis.sock?db=0")
        shown = f"unix://{parts.path}"
    elif parts.scheme in ("redis", "rediss"):
        if not host:
            raise ConfigError(f"a redis store url needs a host: {parts.scheme}://127.0.0.1:6379/0")
        shown = f"{parts.scheme}://{host}:{port or 6379}"
    else:
        raise ConfigError("a redis store url starts with redis://, rediss:// or unix://")
    return RedisUrl(shown + _database(parts, options), secret)


def _database(parts: SplitResult, options: dict[str, list[str]]) -> str:
    number = options.get("db", [""])[0]
    if not number and parts.scheme != "unix":
        number = parts.path.strip("/")
    if number and not number.isdigit():
        raise ConfigError("the database of the redis store url is not a number: redis://host:6379/0")
    return f"/{number or 0}" if parts.scheme != "unix" else f"?db={number or 0}"
