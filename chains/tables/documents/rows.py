"""Transfers and changes of control as the rows of tables: every column is text, as readers of text formats give it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl

from chains.tables.text import ROW
from monitor.model import ControlEvent, Transfer

__all__ = ["CONTROLS", "LATEST", "TIMES", "TRANSFERS", "Rows"]

LATEST = 7_258_118_400  # year 2200, UTC seconds: no block has a later time
_LARGEST = 1 << 63  # of numbers that are no amounts: a larger one says nothing
TRANSFERS = (
    "block_number", "block_timestamp", "transaction_hash", "transaction_index", "transfer_index", "kind", "asset",
    "from_address", "input_values", "to_address", "value", "status", "tx_from", "nonce", "fee", "fee_rate", "gas_limit",
    "n_outputs", "version", "flags", "script_type", "rows",
)  # fmt: skip
CONTROLS = (
    "block_number", "block_timestamp", "transaction_hash", "transaction_index", "kind", "account", "subject", "detail",
)  # fmt: skip
TIMES = ("number", "timestamp")
_NO_TRANSFER = (None,) * (len(TRANSFERS) - 3)


class Rows:
    """Rows of one table, gathered until they are asked for.

    Parameters
    ----------
    names : columns of the table
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._rows: list[tuple[object, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def transfers(
        self, place: int, number: int, time: int | None, count: int, transfers: Iterable[Transfer], status: str | None
    ) -> None:
        """The transfers of the block at ``place``, mined at ``time`` (UTC seconds), after a row that stands for it.

        ``count`` transactions are in it; ``status`` is that of all transfers, None where it is not known.
        """
        block, when = str(number), _text(time)
        self._rows.append((place, block, when, *_NO_TRANSFER, str(count)))
        for t in transfers:
            tx = t.tx
            self._rows.append((
                place, block, when, tx.hash, _text(tx.index), str(t.index), str(t.kind), t.asset,
                "|".join(t.from_addresses), "|".join(map(str, t.input_values)), t.to_address, str(t.value), status,
                tx.initiator, _text(tx.nonce), None if tx.fee is None else str(tx.fee),
                None if tx.fee_rate is None else repr(tx.fee_rate), _text(tx.gas_limit), _text(tx.n_outputs),
                _text(tx.version), _text(tx.flags), tx.script_type, "0",
            ))  # fmt: skip

    def controls(self, place: int, number: int, time: int | None, controls: Iterable[ControlEvent]) -> None:
        """Changes of control of the block at ``place``."""
        for c in controls:
            detail = json.dumps(dict(c.detail), sort_keys=True)
            self._rows.append((
                place, str(number), _text(time), c.tx.hash, _text(c.tx.index), str(c.kind), c.account, c.subject,
                detail,
            ))  # fmt: skip

    def block(self, place: int, number: int, time: int) -> None:
        """The time of a block (UTC seconds)."""
        self._rows.append((place, str(number), str(time)))

    def taken(self, wanted: frozenset[str]) -> pl.DataFrame:
        """The rows so far with the wanted columns, which are let go of."""
        schema = {ROW: pl.Int64()} | {name: pl.String() for name in self._names}
        frame = pl.DataFrame(self._rows, schema=schema, orient="row")
        self._rows = []
        kept = [name for name in self._names if name in wanted]
        return frame.select(ROW, *[pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in kept])


def _text(number: int | None) -> str | None:
    return None if number is None or not -_LARGEST <= number < _LARGEST else str(number)
