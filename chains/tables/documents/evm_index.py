"""Where the parts of Ethereum blocks lie among files: receipts, logs and traces by their block, kept on disk.

One reading of all files of a chain fills it. Blocks that lie there more than once count once, wherever they come first.
Of blocks of one height the one counts that the next higher one stands on, else the one with the smallest hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from chains.evm.wire import RpcBlock
from chains.tables.documents.evm import identity, link, stamp
from chains.tables.documents.evm_json import block_of, frames_of
from chains.tables.documents.forms import Form, Piece
from chains.tables.documents.heights import heights_of
from chains.tables.documents.pieces import pieces_in
from chains.tables.documents.rows import LATEST
from chains.tables.documents.scratch import scratch
from monitor.errors import DecodeError

__all__ = ["EvmIndex"]

_BLOCK = re.compile(rb'"block_?[hH]ash"\s*:\s*"(0x[0-9a-fA-F]{64})"')
_NUMBER = re.compile(rb'"block_?[nN]umber"\s*:\s*"?(0x[0-9a-fA-F]{1,16}|[0-9]{1,19})')
_KINDS = {Form.EVM_RECEIPT: "receipts", Form.EVM_LOG: "logs", Form.EVM_TRACE: "traces"}
_BATCH = 2_000


class EvmIndex:
    """The index of some files.

    Parameters
    ----------
    paths : files of one chain

    Raises
    ------
    ConfigError : a file cannot be opened
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._disk = scratch()
        for statement in (
            "CREATE TABLE part (kind TEXT, key TEXT, place INTEGER, data BLOB)",
            "CREATE TABLE block (hash TEXT PRIMARY KEY, path TEXT, place INTEGER, number INTEGER, parent TEXT)"
            " WITHOUT ROWID",
            "CREATE TABLE used (key TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE time (hash TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._disk.execute(statement)
        rows: list[tuple[str, str, int, bytes]] = []
        for path in sorted(paths):
            for place, piece in pieces_in(path):
                if isinstance(piece, Piece):
                    rows += self._rows(path, place, piece)
                if len(rows) >= _BATCH:
                    self._put(rows)
        self._put(rows)
        self._disk.execute("CREATE INDEX place ON part (kind, key)")
        if self._disk.execute("SELECT 1 FROM part WHERE kind = 'frames' LIMIT 1").fetchone() is not None:
            self._match_frames(paths)
        self._beaten = self._branches()
        self._disk.execute("COMMIT")

    def close(self) -> None:
        """Remove it from the disk; calling it twice is fine."""
        self._disk.close()

    def is_first(self, hash: str, path: str, place: int) -> bool:
        """Whether the block at this place of a file is the one that counts."""
        row = self._disk.execute("SELECT path, place FROM block WHERE hash = ?", (hash,)).fetchone()
        return row is None or row == (str(path), place)

    def is_main(self, hash: str) -> bool:
        """Whether no other block of its height counts in its place."""
        return hash not in self._beaten

    def lost(self, piece: Piece) -> str:
        """The block of a part where it is not among the data; empty where it is, or the part does not say it."""
        hash = _BLOCK.search(piece.raw)
        if piece.form is Form.EVM_FRAMES:
            query = "SELECT 1 FROM used WHERE key = ?"
            keys = [key for _, key, _ in _frames(piece)]
            is_used = any(self._disk.execute(query, (key,)).fetchone() for key in keys)
            return "" if is_used or not frames_of(piece.raw) else "that it does not name"
        if hash is None:
            return ""
        key = hash[1].decode().lower()
        found = self._disk.execute("SELECT 1 FROM block WHERE hash = ?", (key,)).fetchone()
        return key if found is None else ""

    def time_of(self, hash: str) -> int | None:
        """The time of a block by its header elsewhere among the data; UTC seconds."""
        row = self._disk.execute("SELECT at FROM time WHERE hash = ?", (hash,)).fetchone()
        return int(row[0]) if row is not None else None

    # -- the parts of a block -------------------------------------------------------------------------------------

    def receipts(self, block: RpcBlock) -> list[bytes]:
        """Receipts of a block's transactions, as JSON."""
        return self._found("receipts", _names(block))

    def logs(self, block: RpcBlock) -> list[bytes]:
        """Logs of a block."""
        return self._found("logs", _names(block))

    def traces(self, block: RpcBlock) -> list[bytes]:
        """Flat traces of a block."""
        return self._found("traces", _names(block))

    def frames(self, block: RpcBlock) -> list[bytes]:
        """Frames of a block's transactions: by its number, by their hashes, or by what they were called with."""
        if found := self._found("frames", [_names(block)[1], _mark(block)]):
            return found[:1]
        found = [raw for tx in block.transactions for raw in self._found("frames", [tx.hash.lower()])[:1]]
        return found if len(found) == len(block.transactions) else []

    # -- filling --------------------------------------------------------------------------------------------------

    def _rows(self, path: str, place: int, piece: Piece) -> Iterator[tuple[str, str, int, bytes]]:
        if piece.form in (Form.EVM_BLOCK, Form.EVM_HEADER, Form.EVM_TRACED):
            self._add(path, place, piece)
        elif piece.form is Form.EVM_FRAMES:
            yield from ((kind, key, place, raw) for kind, key, raw in _frames(piece))
        elif piece.form in _KINDS and (key := _key(piece.raw)):
            yield _KINDS[piece.form], key, place, piece.raw

    def _add(self, path: str, place: int, piece: Piece) -> None:
        """A block, or its header: where it lies, and its time."""
        try:
            hash = identity(piece)
            if piece.form is not Form.EVM_HEADER:
                row = (hash, str(path), place, *link(piece))
                self._disk.execute("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", row)
            if piece.form is not Form.EVM_TRACED and 0 <= (at := stamp(piece)[1]) < LATEST:
                self._disk.execute("INSERT OR IGNORE INTO time VALUES (?, ?)", (hash, at))
        except DecodeError:
            return  # told where the file itself is read

    def _branches(self) -> frozenset[str]:
        """Blocks in whose place another one of the same height counts."""
        self._disk.execute("CREATE INDEX height ON block (number)")
        several = "SELECT number FROM block WHERE number IS NOT NULL GROUP BY number HAVING count(*) > 1"
        near = f"number IN ({several}) OR number IN (SELECT number + 1 FROM ({several}))"
        rows = self._disk.execute(f"SELECT hash, parent, number FROM block WHERE {near}")
        places = heights_of(((hash.encode(), parent.encode(), number) for hash, parent, number in rows), b"", 0)
        return frozenset(hash.decode() for hash, place in places.items() if not place.is_main)

    def _match_frames(self, paths: Sequence[str]) -> None:
        """Which frames are those of a block among the data."""
        for path in sorted(paths):
            for _, piece in pieces_in(path):
                if isinstance(piece, str) or piece.form is not Form.EVM_BLOCK:
                    continue
                try:
                    block, _ = block_of(piece.raw)
                except DecodeError:
                    continue
                keys = [_names(block)[1], _mark(block), *(tx.hash.lower() for tx in block.transactions)]
                self._disk.executemany("INSERT OR IGNORE INTO used VALUES (?)", ((key,) for key in keys))

    def _put(self, rows: list[tuple[str, str, int, bytes]]) -> None:
        self._disk.executemany("INSERT INTO part VALUES (?, ?, ?, ?)", rows)
        rows.clear()

    def _found(self, kind: str, keys: Iterable[str]) -> list[bytes]:
        """Parts under the first of these keys that has any, each once, in the order of the files."""
        for key in keys:
            query = "SELECT data FROM part WHERE kind = ? AND key = ? ORDER BY rowid"
            found = [row[0] for row in self._disk.execute(query, (kind, key))]
            if found:
                return list(dict.fromkeys(found))
        return []


def _names(block: RpcBlock) -> list[str]:
    return [block.hash.lower(), f"#{int(block.number, 16)}"]


def _key(raw: bytes) -> str:
    if found := _BLOCK.search(raw):
        return found[1].decode().lower()
    if found := _NUMBER.search(raw):
        text = found[1].decode()
        return f"#{int(text, 16 if text.startswith('0x') else 10)}"
    return ""


def _frames(piece: Piece) -> Iterator[tuple[str, str, bytes]]:
    raw = piece.raw
    if "block_number" in piece.fields:
        if key := _key(raw):
            yield "frames", key, raw
        return
    try:
        frames = frames_of(raw)
    except DecodeError:
        return  # told where the file itself is read
    if frames and all(frame.tx_hash for frame in frames):
        items = [raw] if raw[:1] == b"{" else [bytes(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]
        for frame, item in zip(frames, items, strict=True):
            yield "frames", str(frame.tx_hash).lower(), item
        return
    calls = [(frame.result.sender, frame.result.value, frame.result.input) for frame in frames if frame.result]
    if len(calls) == len(frames):
        yield "frames", _digest(calls), raw


def _mark(block: RpcBlock) -> str:
    """What tells the frames of a block that say neither block nor transactions: who called with what."""
    calls = []
    for tx in block.transactions:
        try:
            calls.append((tx.sender, tx.value, msgspec.json.decode(tx.input, type=str)))
        except (msgspec.DecodeError, UnicodeError):
            return ""
    return _digest(calls)


def _digest(calls: Sequence[tuple[object, object, object]]) -> str:
    text = repr([tuple(str(part or "0x0").lower() for part in call) for call in calls])
    return "calls " + blake2b(text.encode(), digest_size=16).hexdigest()
