"""The controls table: changes of who may move the coins of an account, as events of its chain."""

from __future__ import annotations

import json

import polars as pl

from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw
from monitor.model import ControlKind

__all__ = ["CONTROLS_TABLE"]

_KINDS = sorted(map(str, ControlKind))


def _build(raw: Raw, chain: ChainColumn) -> Build:
    raw.need("account")
    account = chain.address(raw.text("account"))
    kind, detail = raw.text("kind").str.to_lowercase(), raw.text("detail")
    expected = f"one of {', '.join(_KINDS)}"
    shown = raw.text("kind").fill_null("").str.slice(0, 60)
    raw.checks += [
        Check(~kind.fill_null("").is_in(_KINDS), pl.format("kind was '{}', expected {}", shown, pl.lit(expected))),
        Check(detail.map_batches(_is_no_object, pl.Boolean, is_elementwise=True), pl.lit("detail is no JSON object")),
    ]
    time = raw.time("block_timestamp")
    columns = {
        "block_number": raw.whole("block_number", needed=True),
        "block_timestamp": time,
        "transaction_hash": chain.hash(raw.text("transaction_hash")),
        "transaction_index": raw.whole("transaction_index"),
        "kind": kind,
        "account": account,
        "subject": chain.address(raw.text("subject")),
        "detail": detail,
    }
    return Build(columns, time=time, receiver=account)


def _is_no_object(column: pl.Series) -> pl.Series:
    return pl.Series([text is not None and not _is_object(text) for text in column], dtype=pl.Boolean)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


CONTROLS_TABLE = Layout(
    name="the controls table",
    gives="controls",
    kind=None,
    required=frozenset({"block_number", "block_timestamp", "transaction_hash", "kind", "account", "subject"}),
    optional=("chain", "transaction_index", "detail"),
    build=_build,
)
