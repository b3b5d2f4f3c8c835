"""What the blocks of the Bitcoin family among some files say of one another: heights, branches, and what inputs spend.

It is kept on disk. Files are read once for headers and undo data, and a second time for the outputs that are spent by
blocks of which nobody tells it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock
from chains.bitcoin.build import length
from chains.bitcoin.told import can_be
from chains.bitcoin.transaction import NOTHING
from chains.bitcoin.undo import core_undo, plain_undo
from chains.tables.documents.bitcoin_files import Binary
from chains.tables.documents.bitcoin_pieces import CoinBlock, Undo, blocks_in
from chains.tables.documents.heights import Place, heights_of
from chains.tables.documents.scratch import scratch
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["CoinIndex"]

_TABLES = (
    "CREATE TABLE header (hash BLOB PRIMARY KEY, parent BLOB, height INTEGER, txs INTEGER, path TEXT, place INTEGER,"
    " told INTEGER) WITHOUT ROWID",
    "CREATE INDEX sizes ON header (txs)",
    "CREATE TABLE undo (txs INTEGER, sum BLOB, data BLOB, path TEXT, place INTEGER)",
    "CREATE TABLE wanted (tx BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE outputs (tx BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID",
    "BEGIN",
)
_BETTER = (
    "ON CONFLICT (hash) DO UPDATE SET height = coalesce(height, excluded.height), told = excluded.told,"
    " path = excluded.path, place = excluded.place WHERE excluded.told > told"
)


class CoinIndex:
    """The index of some files.

    Parameters
    ----------
    files : files of one chain with what they hold (None: JSON)
    network : whose they are

    Raises
    ------
    ConfigError : a file cannot be opened
    """

    def __init__(self, files: Sequence[tuple[str, Binary | None]], network: Network) -> None:
        self._disk = scratch()
        for statement in _TABLES:
            self._disk.execute(statement)
        self._network = network
        self._files = sorted(files, key=lambda file: str(file[0]))
        self._has_undo = any(binary in (Binary.UNDO, Binary.PLAIN_UNDO) for _, binary in self._files)
        self._read_headers()
        self._disk.execute("CREATE INDEX undone ON undo (txs)")
        self._places = self._placed()
        if self._has_undo:
            self._want_what_is_not_undone()
        if self._disk.execute("SELECT 1 FROM wanted LIMIT 1").fetchone() is not None:
            self._read_outputs()
        self._disk.execute("COMMIT")

    def close(self) -> None:
        """Remove it from the disk; calling it twice is fine."""
        self._disk.close()

    def place_of(self, hash: str) -> Place | None:
        """Height and branch of a block; None where its height cannot be known."""
        return self._places.get(bytes.fromhex(hash))

    def is_first(self, hash: str, path: str, place: int) -> bool:
        """Whether the block at this place of a file is the one that counts of those that are the same: the first that
        tells what all its inputs spend, else the first."""
        row = self._disk.execute("SELECT path, place FROM header WHERE hash = ?", (bytes.fromhex(hash),)).fetchone()
        return row is None or row == (str(path), place)

    def is_used(self, path: str, place: int) -> bool:
        """Whether the undo data at this place of a file may be that of a block among the data."""
        row = self._disk.execute("SELECT txs, sum, data FROM undo WHERE path = ? AND place = ?", (str(path), place))
        txs, check, data = row.fetchone()
        if txs == -1:
            return True
        parents = self._disk.execute("SELECT parent FROM header WHERE txs = ?", (txs + 1,))
        return any(_sum(parent[::-1], data) == check for (parent,) in parents)

    def undone(self, raw: RawBlock) -> dict[bytes, Prevout] | None:
        """What undo data among the files says of a block's inputs; None where none is its own."""
        if not self._has_undo:
            return None
        parent = bytes.fromhex(raw.header.parent)[::-1]
        for check, data in self._disk.execute("SELECT sum, data FROM undo WHERE txs = ?", (len(raw.txs) - 1,)):
            if _sum(parent, data) == check:
                return core_undo(data, raw)
        fitting = []
        for (data,) in self._disk.execute("SELECT DISTINCT data FROM undo WHERE txs = -1"):
            try:
                found = plain_undo(data, raw)
            except DecodeError:
                continue  # it is another block's
            if can_be(raw, found):
                fitting.append(found)
        return fitting[0] if len(fitting) == 1 else None  # where several fit, nothing says which is its own

    def known(self, raw: RawBlock, told: dict[bytes, Prevout]) -> dict[bytes, Prevout]:
        """What a block's inputs spend, as far as it lies among the data, beyond what is told."""
        found = dict(told)
        own = {hash: place for place, hash in enumerate(raw.hashes)}
        for point in raw.outpoints:
            if point in found or point == NOTHING:
                continue
            number = int.from_bytes(point[32:], "little")
            if (at := own.get(point[:32])) is not None:
                place = raw.first_output[at] + number
                if place < raw.first_output[at + 1]:
                    found[point] = Prevout(raw.output_values[place], raw.output_scripts[place])
                continue
            row = self._disk.execute("SELECT data FROM outputs WHERE tx = ?", (point[:32],)).fetchone()
            if row is not None and (output := _output(row[0], number)) is not None:
                found[point] = output
        return found

    # -- filling --------------------------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[tuple[str, int, CoinBlock | Undo | str]]:
        for path, binary in self._files:
            for place, found in blocks_in(path, binary, self._network):
                yield str(path), place, found

    def _read_headers(self) -> None:
        for path, place, found in self._blocks():
            if isinstance(found, CoinBlock):
                header = found.raw.header
                hash, parent = bytes.fromhex(header.hash), bytes.fromhex(header.parent)
                row = (hash, parent, found.height, found.rows, path, place, found.is_told)
                self._disk.execute(f"INSERT INTO header VALUES (?, ?, ?, ?, ?, ?, ?) {_BETTER}", row)
                if not self._has_undo:
                    self._want(found)
            elif isinstance(found, Undo):
                txs = _count(found.data) if found.check else -1
                row_ = (txs, found.check, found.data, path, place)
                self._disk.execute("INSERT INTO undo VALUES (?, ?, ?, ?, ?)", row_)

    def _want(self, found: CoinBlock) -> None:
        if found.is_told:
            return
        own = set(found.raw.hashes)
        points = (p for p in found.raw.outpoints if p not in found.told and p != NOTHING)
        self._disk.executemany(
            "INSERT OR IGNORE INTO wanted VALUES (?)", ((tx,) for tx in {p[:32] for p in points} - own)
        )

    def _want_what_is_not_undone(self) -> None:
        for _, _, found in self._blocks():
            if isinstance(found, CoinBlock) and not found.is_told:
                try:
                    if self.undone(found.raw) is None:
                        self._want(found)
                except DecodeError:
                    self._want(found)  # told where the block is read

    def _read_outputs(self) -> None:
        for _, _, found in self._blocks():
            if not isinstance(found, CoinBlock):
                continue
            raw = found.raw
            for place, hash in enumerate(raw.hashes):
                if self._disk.execute("SELECT 1 FROM wanted WHERE tx = ?", (hash,)).fetchone() is None:
                    continue
                first, last = raw.first_output[place], raw.first_output[place + 1]
                pairs = zip(raw.output_values[first:last], raw.output_scripts[first:last], strict=True)
                data = b"".join(value.to_bytes(8, "little") + length(len(script)) + script for value, script in pairs)
                self._disk.execute("INSERT OR IGNORE INTO outputs VALUES (?, ?)", (hash, data))

    def _placed(self) -> dict[bytes, Place]:
        at = int(self._network.params.get("at", 0))
        begin = bytes.fromhex(self._network.chain.partition(":")[2])
        return heights_of(self._disk.execute("SELECT hash, parent, height FROM header"), begin, at)


def _sum(parent: bytes, data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(parent + data).digest()).digest()


def _count(data: bytes) -> int:
    """How many transactions undo data is of; -2 where that cannot be read."""
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(data[0], 0) if data else 0
    if len(data) <= size:
        return -2
    return min(int.from_bytes(data[1 : 1 + size], "little") if size else data[0], 1 << 40)


def _output(data: bytes, number: int) -> Prevout | None:
    """One of the outputs that `CoinIndex` keeps of a transaction."""
    at = 0
    while at < len(data):
        value, first = int.from_bytes(data[at : at + 8], "little"), data[at + 8]
        wide = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(first, 0)
        size = int.from_bytes(data[at + 9 : at + 9 + wide], "little") if wide else first
        at += 9 + wide
        if not number:
            return Prevout(value, data[at : at + size])
        number, at = number - 1, at + size
    return None
