"""Identities: pure functions of their inputs, so that live, backtest and replay agree."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

__all__ = ["canonical_json", "chain_of_asset", "finding_id", "from_iso", "hash64", "iso", "stable_id"]


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and shortest floats: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def stable_id(*parts: str | int, length: int = 20) -> str:
    """A hex identity of its parts.

    >>> stable_id("a", 1) == stable_id("a", 1), stable_id("a", 1) == stable_id("a1")
    (True, False)
    """
    text = "\x1f".join(str(p) for p in parts)
    return hashlib.blake2b(text.encode(), digest_size=length // 2).hexdigest()


def hash64(*parts: str) -> int:
    """A 64-bit key for compiled tables; never 0 (which marks an empty place)."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def finding_id(detector: str, wallet: str, tx: str, asset: str, destination: str) -> str:
    """The identity of a finding. No block is part of it: a transaction mined again is the same finding."""
    return stable_id("finding", detector, wallet, tx, asset, destination)


def iso(seconds: float | None) -> str | None:
    """UTC seconds as ISO 8601 with ``Z``.

    >>> iso(1516892520)
    '2018-01-25T15:02:00Z'
    """
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}Z" if moment.microsecond else f"{text}Z"


def from_iso(text: str) -> int:
    """ISO 8601 (or plain seconds) to UTC seconds; naive times are UTC; ValueError says what was expected.

    >>> from_iso("2018-01-25T15:02") == from_iso("2018-01-25T15:02:00Z") == 1516892520
    True
    """
    text = text.strip()
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time was {text!r}, expected ISO 8601 such as 2018-01-25T15:02:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def chain_of_asset(asset: str) -> str:
    """The CAIP-2 chain of a CAIP-19 asset.

    >>> chain_of_asset("eip155:1/slip44:60")
    'eip155:1'
    """
    return asset.split("/", 1)[0]
