"""The blocks table of any chain: when each block was, and how it hangs on the one below."""

from __future__ import annotations

from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw

__all__ = ["BLOCKS_TABLE"]


def _build(raw: Raw, chain: ChainColumn) -> Build:
    return Build({"block_number": raw.whole("number", needed=True)}, raw.time("timestamp"))


BLOCKS_TABLE = Layout(
    name="the blocks table",
    gives="times",
    kind=None,
    required=frozenset({"chain", "number", "timestamp", "hash", "parent_hash"}),
    build=_build,
    time="timestamp",
)
