"""What a table layout is, and which layout a file has.

A new layout is one file with a `Layout` and one entry in `LAYOUTS`. Its ``build`` says, over the raw columns of the
file, how each column of `FRAME` is made; reading, checking, filtering, times and order are common to all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import polars as pl

from chains.tables.chain import ChainColumn
from chains.tables.raw import Raw
from monitor.errors import ConfigError, Problem

__all__ = ["BALANCES", "CONTROLS", "FRAME", "LAYOUTS", "STATUS", "Build", "Layout", "detect", "layouts"]

LAYOUTS = (  # module:attribute, the most specific first
    "chains.tables.native:NATIVE",
    "chains.tables.ethereum_etl:TRANSACTIONS",
    "chains.tables.ethereum_etl:TOKEN_TRANSFERS",
    "chains.tables.ethereum_etl:BLOCKS",
    "chains.tables.balances:BALANCES_TABLE",
    "chains.tables.controls:CONTROLS_TABLE",
)

STATUS = frozenset({"status", "receipt_status"})  # columns that say whether a transaction succeeded
FRAME: Mapping[str, pl.DataType] = {
    "chain": pl.String(),
    "block_number": pl.Int64(),
    "block_timestamp": pl.Int64(),
    "transaction_hash": pl.String(),
    "transaction_index": pl.Int64(),
    "transfer_index": pl.Int64(),
    "kind": pl.String(),
    "asset": pl.String(),
    "from_address": pl.String(),
    "inputs": pl.List(pl.String),
    "input_values": pl.List(pl.String),
    "to_address": pl.String(),
    "value": pl.String(),
    "amount": pl.Float64(),
    "tx_from": pl.String(),
    "nonce": pl.Int64(),
    "fee": pl.String(),
    "fee_rate": pl.Float64(),
    "gas_limit": pl.Int64(),
    "n_outputs": pl.Int64(),
    "version": pl.Int64(),
    "flags": pl.Int64(),
    "script_type": pl.String(),
}
BALANCES: Mapping[str, pl.DataType] = {
    "chain": pl.String(),
    "address": pl.String(),
    "asset": pl.String(),
    "block_number": pl.Int64(),
    "value": pl.String(),
}
CONTROLS: Mapping[str, pl.DataType] = {
    "chain": pl.String(),
    "block_number": pl.Int64(),
    "block_timestamp": pl.Int64(),
    "transaction_hash": pl.String(),
    "transaction_index": pl.Int64(),
    "kind": pl.String(),
    "account": pl.String(),
    "subject": pl.String(),
    "detail": pl.String(),
}


@dataclass
class Build:
    """How the rows of one file become canonical; every expression is over the raw columns.

    Attributes
    ----------
    columns : canonical column to expression; what is left out is null
    time : UTC seconds, None where the file has no time
    moves : whether a valid row is a transfer (above zero and not failed)
    sender, receiver : addresses that make a row touch the watch set
    senders : list of such addresses, on UTXO chains
    skipped : rows that would move value but cannot be placed; they are counted for a note
    unknown_status : rows whose status is not known; they are counted for a note
    fee_rows : whether the fee in ``columns`` is a movement of its own, apart from the row
    """

    columns: dict[str, pl.Expr]
    time: pl.Expr | None = None
    moves: pl.Expr = field(default_factory=lambda: pl.lit(False))
    sender: pl.Expr | None = None
    receiver: pl.Expr | None = None
    senders: pl.Expr | None = None
    skipped: pl.Expr | None = None
    unknown_status: pl.Expr | None = None
    fee_rows: bool = False


@dataclass(frozen=True)
class Layout:
    """One kind of table.

    Attributes
    ----------
    name : as people know it
    gives : ``transfers``, ``times``, ``balances`` or ``controls``
    kind : chain family, None where the table holds any
    required : columns without which a file is not of this layout
    one_of : columns of which at least one is required
    optional : other columns that it reads
    evidence : columns whose absence is told in the notes
    build : the columns of `FRAME` (or `BALANCES`, or `CONTROLS`) over those of the file
    time : the column with the time, where there is one
    joins : whether rows look up their transaction by hash among the other tables
    extras : whether columns that it does not know still tell two rows apart
    """

    name: str
    gives: str
    kind: str | None
    required: frozenset[str]
    build: Callable[[Raw, ChainColumn], Build]
    one_of: frozenset[str] = frozenset()
    optional: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    time: str = "block_timestamp"
    joins: bool = False
    extras: bool = False

    @property
    def known(self) -> frozenset[str]:
        """Every column that the layout reads."""
        return self.required | self.one_of | frozenset(self.optional)

    def missing(self, columns: Collection[str]) -> list[str]:
        """Required columns that are not among ``columns``, sorted."""
        missing = sorted(self.required.difference(columns))
        if self.one_of and not self.one_of.intersection(columns):
            missing.append(" or ".join(sorted(self.one_of)))
        return missing


def layouts() -> list[Layout]:
    """All layouts."""
    found = [entry.split(":") for entry in LAYOUTS]
    return [getattr(import_module(module), name) for module, name in found]


def detect(path: str, columns: Collection[str]) -> Layout:
    """The layout of a file by its columns: of those that fit, the one that requires most.

    Raises
    ------
    ConfigError : none fits; names the nearest, what it misses, and ``--map``
    """
    everyone = layouts()
    fitting = [layout for layout in everyone if not layout.missing(columns)]
    if fitting:
        return max(fitting, key=lambda layout: len(layout.required))

    def nearness(layout: Layout) -> tuple[float, int]:
        missing = len(layout.missing(columns))
        return -missing / (len(layout.required) + bool(layout.one_of)), -missing

    nearest = max(everyone, key=nearness)
    missing = ", ".join(nearest.missing(columns))
    unused = ", ".join(sorted(set(columns) - nearest.known)[:12]) or "none"
    raise ConfigError(
        Problem(
            f"unknown layout; the nearest is {nearest.name}, which also needs {missing} (columns of the file that it"
            f" does not know: {unused}); if a column only has another name, write --map NEW=OLD",
            path,
        )
    )
