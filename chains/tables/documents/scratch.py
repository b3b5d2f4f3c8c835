"""A database on disk for what a reading must keep for a while, and memory cannot hold."""

from __future__ import annotations

import sqlite3

__all__ = ["scratch"]

_CACHE = 64 << 10  # KiB in memory, beyond which it is on disk


def scratch() -> sqlite3.Connection:
    """An empty database in the folder for temporary files; it goes with its connection, or with the process."""
    disk = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", f"PRAGMA cache_size=-{_CACHE}"):
        disk.execute(statement)
    return disk
