"""What a table layout is, and which layout a file has.

A new layout is one file with a `Layout` and one entry in `LAYOUTS`. Its ``build`` says, over the raw columns of the
file, how each column of `FRAME` is made; reading, checking, filtering, times and order are common to all. Columns that
other programs name otherwise are renamed before anything else happens (`Layout.spellings`), so that a ``build`` knows
one name of each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib import import_module

import polars as pl

from chains.tables.chain import ChainColumn
from chains.tables.raw import Raw
from monitor.errors import ConfigError, Problem

__all__ = [
    "BALANCES", "CONTROLS", "FRAME", "HASH", "INTERNAL_BASE", "LAYOUTS", "PART", "STATUS", "Build", "Layout",
    "detect", "known_columns", "layouts", "spelled",
]  # fmt: skip

LAYOUTS = (  # module:attribute, the most specific first
    "chains.tables.native:NATIVE",
    "chains.tables.ethereum_etl:TRANSACTIONS",
    "chains.tables.ethereum_etl:TOKEN_TRANSFERS",
    "chains.tables.ethereum_etl:TRACES",
    "chains.tables.ethereum_etl:BLOCKS",
    "chains.tables.ethereum_etl:WAREHOUSE_TRACES",
    "chains.tables.ethereum_etl:WAREHOUSE_BLOCKS",
    "chains.tables.cryo:TRANSACTIONS",
    "chains.tables.cryo:ERC20_TRANSFERS",
    "chains.tables.cryo:NATIVE_TRANSFERS",
    "chains.tables.cryo:TRACES",
    "chains.tables.explorer:TRANSACTIONS",
    "chains.tables.explorer:AMOUNTS",
    "chains.tables.explorer:INTERNAL",
    "chains.tables.explorer:INTERNAL_AMOUNTS",
    "chains.tables.explorer:TOKEN_TRANSFERS",
    "chains.tables.explorer_api:TRANSACTIONS",
    "chains.tables.explorer_api:INTERNAL",
    "chains.tables.explorer_api:TOKEN_TRANSFERS",
    "chains.tables.bitcoin_etl:TRANSACTIONS",
    "chains.tables.native:UNHASHED",
    "chains.tables.balances:BALANCES_TABLE",
    "chains.tables.controls:CONTROLS_TABLE",
)

STATUS = frozenset({"status", "receipt_status", "isError"})  # columns that say whether a transaction succeeded
HASH = "transaction_hash"
PART = "__part"  # of a layout whose rows are split: the place of a part in its row, from 0
INTERNAL_BASE = 2**32  # ``transfer_index`` of internal transfers: after all logs, as live (chains.evm.decode)
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
    receivers : list of such addresses, of a layout whose rows are split; `receiver` is then of a part
    transfers : how many transfers a row is, where that is not one or none; `moves` is then of a part
    whole : of a layout whose rows are split: columns that are made of a whole row before
    roots : rows that are their transaction's own value: they move where no table of transactions is among the data
    marks : text that tells two rows apart which are equal in every column of `FRAME`
    still : over Parquet columns, a simple comparison that holds for every row that does not move (and maybe for some
        that do), so that statistics of the file can answer it; None where there is none
    skipped : rows that would move value but cannot be placed; they are counted for a note
    unknown_status : rows whose status is not known; they are counted for a note
    fee_rows : whether the fee in ``columns`` is a movement of its own, apart from the row
    rows : how many rows of the input a row is, where that is not one
    same : columns that have the same name in the file, and are canonical as they are where they are plain, see
        `chains.tables.canonical`
    """

    columns: dict[str, pl.Expr]
    time: pl.Expr | None = None
    moves: pl.Expr = field(default_factory=lambda: pl.lit(False))
    sender: pl.Expr | None = None
    receiver: pl.Expr | None = None
    senders: pl.Expr | None = None
    receivers: pl.Expr | None = None
    transfers: pl.Expr | None = None
    whole: Mapping[str, pl.Expr] = field(default_factory=dict)
    roots: pl.Expr | None = None
    marks: pl.Expr | None = None
    still: pl.Expr | None = None
    skipped: pl.Expr | None = None
    unknown_status: pl.Expr | None = None
    fee_rows: bool = False
    same: tuple[str, ...] = ()
    rows: pl.Expr | None = None


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
    spellings : column to the names that files give it, the best first; upper and lower case are the same, ``*`` is
        any text
    unless : columns that a file of this layout never has
    shows : which transfers it shows: ``native``, ``internal``, ``token``
    splits : columns that are lists of one length: a row becomes one row an entry, once it is known to touch
    prepare : applied to rows before they are looked at, where whether one moves depends on others; it needs the rows
        of a transaction (columns ``together``) in one piece
    together : columns that are equal in the rows of one transaction
    note : a sentence for the notes on what is assumed
    instead : the layout that takes its place where another table tells the same transfers better
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
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: frozenset[str] = frozenset()
    shows: frozenset[str] = frozenset()
    splits: tuple[str, ...] = ()
    prepare: Callable[[pl.LazyFrame, Collection[str]], pl.LazyFrame] | None = None
    together: tuple[str, ...] = ()
    note: str = ""
    instead: Layout | None = None

    @property
    def known(self) -> frozenset[str]:
        """Every column that the layout reads."""
        return self.required | self.one_of | frozenset(self.optional)

    def is_excluded(self, columns: Collection[str]) -> bool:
        """Whether a column is there that files of this layout never have; upper and lower case are the same."""
        return not self.unless.isdisjoint(column.strip().lower() for column in columns)

    def names(self, columns: Collection[str]) -> dict[str, str]:
        """Columns of a file that have another name here: to that name. One that it displaces is set aside."""
        lower = {column.strip().lower(): column for column in columns}
        found: dict[str, str] = {}
        for name, others in self.spellings.items():
            match = next((lower[key] for other in others for key in lower if fnmatchcase(key, other)), None)
            if match is not None and match != name and match not in found:
                found[match] = name
                if name in columns:
                    found[name] = f"{name} (replaced)"
        return found

    def missing(self, columns: Collection[str]) -> list[str]:
        """Required columns that are not among ``columns``, sorted."""
        missing = sorted(self.required.difference(columns))
        if self.one_of and not self.one_of.intersection(columns):
            missing.append(" or ".join(sorted(self.one_of)))
        return missing


@cache
def layouts() -> Sequence[Layout]:
    """All layouts."""
    found = [entry.split(":") for entry in LAYOUTS]
    return [getattr(import_module(module), name) for module, name in found]


@cache
def known_columns() -> frozenset[str]:
    """Every name, in small letters, of a column that any layout reads."""
    names = {name for layout in layouts() for name in layout.known}
    names |= {name for layout in layouts() for others in layout.spellings.values() for name in others}
    return frozenset(name.partition(".")[0].lower() for name in names if "*" not in name)


def detect(path: str, columns: Collection[str]) -> Layout:
    """The layout of a file by its columns: of those that fit, the one that requires most.

    Raises
    ------
    ConfigError : none fits; names the nearest, what it misses, and ``--map``
    """
    everyone = layouts()
    found = _best(everyone, columns)
    if found is not None:
        return found

    def nearness(layout: Layout) -> tuple[float, int]:
        missing = len(layout.missing(_renamed(layout, columns)))
        return -missing / (len(layout.required) + bool(layout.one_of)), -missing

    nearest = max((layout for layout in everyone if _may_be_meant(layout, columns)), key=nearness)
    names = _renamed(nearest, columns)
    missing = ", ".join(nearest.missing(names))
    unused = ", ".join(sorted(set(names) - nearest.known)[:12]) or "none"
    raise ConfigError(
        Problem(
            f"unknown layout; the nearest is {nearest.name}, which also needs {missing} (columns of the file that it"
            f" does not know: {unused}); if a column only has another name, write --map NEW=OLD",
            path,
        )
    )


def spelled(columns: Collection[str], given: Collection[str] = ()) -> tuple[Layout | None, dict[str, str]]:
    """The layout of a file, None where none fits, and its columns to the names that the layout knows them by.

    Parameters
    ----------
    given : columns that the user named: they stay what they are. Those whose name stays are left out of the answer
    """
    found, names = _spelled(tuple(columns), frozenset(given))
    return found, dict(names)


@lru_cache(64)  # histories have many files of the same columns
def _spelled(columns: tuple[str, ...], given: frozenset[str]) -> tuple[Layout | None, Mapping[str, str]]:
    found = _best(layouts(), columns)
    if found is not None:
        names: Mapping[str, str] = found.names(columns)
        return found, {old: new for old, new in names.items() if new not in given and old not in given}
    lower = {column: column if column in given else column.strip().lower() for column in columns}
    if tuple(lower.values()) == columns or len({*lower.values()}) < len(lower):
        return None, {}
    found, names = _spelled(tuple(lower.values()), given)  # some warehouses write every name in upper case
    return found, {old: names.get(new, new) for old, new in lower.items() if names.get(new, new) != old}


def _may_be_meant(layout: Layout, columns: Collection[str]) -> bool:
    """Whether an unknown file may be nearest to a layout: to the native table, or where it has a column of its own."""
    native = layouts()[0]
    own = layout.required - native.known
    return layout is native or (not layout.is_excluded(columns) and not own.isdisjoint(_renamed(layout, columns)))


def _best(everyone: Sequence[Layout], columns: Collection[str]) -> Layout | None:
    fitting = [
        layout
        for layout in everyone
        if not layout.is_excluded(columns) and not layout.missing(_renamed(layout, columns))
    ]
    return max(fitting, key=lambda layout: len(layout.required), default=None)


def _renamed(layout: Layout, columns: Collection[str]) -> list[str]:
    names = layout.names(columns)
    return [names.get(column, column) for column in columns]
