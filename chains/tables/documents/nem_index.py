"""Transactions of NEM among some files: each once, and its place among those of its block. Kept on disk."""

from __future__ import annotations

from collections.abc import Sequence

from chains.nem.binary import transaction_hash
from chains.tables.documents.forms import Piece
from chains.tables.documents.nem import NemBlock, NemTransaction, found_in
from chains.tables.documents.pieces import pieces_in
from chains.tables.documents.scratch import scratch
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["NemIndex"]


class NemIndex:
    """The index of some files.

    Parameters
    ----------
    paths : files of one chain
    network : whose they are

    Raises
    ------
    ConfigError : a file cannot be opened
    """

    def __init__(self, paths: Sequence[str], network: Network) -> None:
        self._disk = scratch()
        for statement in (
            "CREATE TABLE tx (hash TEXT PRIMARY KEY, height INTEGER, id INTEGER, path TEXT, place INTEGER)",
            "CREATE TABLE block (hash TEXT PRIMARY KEY, path TEXT, place INTEGER) WITHOUT ROWID",
            "CREATE INDEX heights ON tx (height)",
            "BEGIN",
        ):
            self._disk.execute(statement)
        for path in sorted(paths):
            for place, piece in pieces_in(path):
                if isinstance(piece, Piece):
                    self._add(str(path), place, piece, network)
        self._disk.execute("COMMIT")

    def close(self) -> None:
        """Remove it from the disk; calling it twice is fine."""
        self._disk.close()

    def is_first(self, found: NemBlock | NemTransaction, path: str, place: int) -> bool:
        """Whether what lies at this place of a file is what counts of all that is the same: blocks before pages."""
        table = "block" if isinstance(found, NemBlock) else "tx"
        row = self._disk.execute(f"SELECT path, place FROM {table} WHERE hash = ?", (found.hash,)).fetchone()
        return row is None or row == (str(path), place)

    def position(self, found: NemTransaction) -> int:
        """The place of a transaction among the known ones of its block, in the order in which a node took them in."""
        query = "SELECT count(*) FROM tx WHERE height = ? AND (id, hash) < (SELECT id, hash FROM tx WHERE hash = ?)"
        return int(self._disk.execute(query, (found.height, found.hash)).fetchone()[0])

    def _add(self, path: str, place: int, piece: Piece, network: Network) -> None:
        try:
            found = found_in(piece, network)
        except DecodeError:
            return  # told where the file itself is read
        if isinstance(found, NemTransaction):
            self._disk.execute(
                "INSERT INTO tx VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET id = min(id, excluded.id)"
                " WHERE path != ''",
                (found.hash, found.height, found.id, path, place),
            )
            return
        self._disk.execute("INSERT OR IGNORE INTO block VALUES (?, ?, ?)", (found.hash, path, place))
        for n, tx in enumerate(found.raw.transactions):
            try:
                hash = found.hashes[n] if found.hashes is not None else transaction_hash(tx)
            except (DecodeError, KeyError):
                continue
            self._disk.execute(
                "INSERT OR REPLACE INTO tx VALUES (?, ?, ?, '', 0)", (hash.lower(), found.raw.height, n)
            )
