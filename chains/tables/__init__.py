"""Readers of history tables; see `chains.tables.read.read`."""

from __future__ import annotations

from chains.tables.bad import BadRow
from chains.tables.read import Reading, read
from chains.tables.source import ChainInfo, Source, parse_source

__all__ = ["BadRow", "ChainInfo", "Reading", "Source", "parse_source", "read"]
