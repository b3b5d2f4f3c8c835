"""Files of documents as chunks of rows, by the decoders of their chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator

from chains.bitcoin.decode import BLIND_INPUTS
from chains.tables.documents.bitcoin_pieces import CoinBlock, Undo, blocks_in
from chains.tables.documents.coin_index import CoinIndex
from chains.tables.documents.coins import read_coins
from chains.tables.documents.document import Document
from chains.tables.documents.evm import identity, read_block, stamp
from chains.tables.documents.evm_index import EvmIndex
from chains.tables.documents.evm_json import HIGHEST
from chains.tables.documents.forms import FAMILY, Form, Piece
from chains.tables.documents.indices import coin_index, evm_index, nem_index
from chains.tables.documents.nem import NemBlock, NemTransaction, found_in, read_transaction
from chains.tables.documents.nem import read_block as read_nem_block
from chains.tables.documents.pieces import pieces_in
from chains.tables.documents.rows import CONTROLS, LATEST, TIMES, TRANSFERS, Rows
from chains.tables.text import Chunk
from monitor.errors import DecodeError
from monitor.networks import by_chain

__all__ = ["chunks_of"]

_ROWS = 50_000  # of a chunk, and the rest of a block
_COLUMNS = {"transfers": TRANSFERS, "controls": CONTROLS, "times": TIMES}
TWICE = "{} blocks or transactions lie in the data more than once and were read once"
TIMELESS = "{} changes of control in blocks whose time nothing tells were left out"
BRANCHES = "{} blocks of branches that others of the same height won were left out"
SIGNED = "times of {} transactions are those that they say themselves, up to some minutes before their block's"
UNTOLD = "{} blocks spend coins of which nothing among the data tells: inputs say whose they are as far as they show it"
Tick = Callable[[int], None] | None


def chunks_of(document: Document, wanted: frozenset[str], tick: Tick, watch: Container[str]) -> Iterator[Chunk]:
    """The rows of a document's table; parameters as for `Document.chunks`."""
    if document.gives == "transfers" and not document.timed:
        wanted -= {"block_timestamp"}
    work = {"evm": _Evm, "bitcoin": _Coins, "nem": _Nem}[document.sight.family](document, wanted, watch)
    for _ in work.read(tick):
        if len(work.rows) >= _ROWS:
            yield work.chunk()
    yield work.chunk()


class _Work:
    """One reading of one file; `read` goes on by a document at a time.

    Attributes
    ----------
    counted : data rows so far, broken ones too
    """

    def __init__(self, document: Document, wanted: frozenset[str], watch: Container[str]) -> None:
        network = by_chain(document.chain)
        assert network is not None, "a document's chain is one of the built-in networks"
        self.document, self.network, self.watch = document, network, watch
        self.gives = document.gives
        self.rows = Rows(_COLUMNS[document.gives])
        self._wanted = wanted
        self._bad: list[tuple[int, str]] = []
        self._counted = 0
        self._blind: set[str] = set()
        self._notes: Counter[str] = Counter()

    def read(self, tick: Tick) -> Iterator[None]:
        """Read on."""
        raise NotImplementedError

    def chunk(self) -> Chunk:
        """What was read since the last one. Only tables of transfers count and tell what is wrong: a file has one."""
        chunk = Chunk(self.rows.taken(self._wanted), self._bad, 0, frozenset(self._blind), dict(self._notes))
        if self.gives == "transfers":
            chunk.rows = self._counted
        else:
            chunk.bad, chunk.blind, chunk.notes = [], frozenset(), {}
        self._bad, self._counted, self._blind, self._notes = [], 0, set(), Counter()
        return chunk

    def count(self, rows: int) -> None:
        """Count data rows."""
        self._counted += rows

    def broken(self, place: int, reason: str) -> None:
        """A row that cannot be read at all."""
        self._counted += 1
        self._bad.append((place, reason))

    def wrong(self, place: int, reason: str) -> None:
        """Something that is wrong with rows that are counted otherwise."""
        self._bad.append((place, reason))

    def blind(self, *spots: str) -> None:
        """What cannot be seen."""
        self._blind.update(spots)

    def note(self, sentence: str) -> None:
        """Count one case of a sentence for the notes."""
        self._notes[sentence] += 1


class _Evm(_Work):
    """Ethereum blocks, and what belongs to them."""

    def read(self, tick: Tick) -> Iterator[None]:
        index = evm_index(self.document)
        told = ("", "")
        for place, piece in pieces_in(self.document.path, tick):
            if isinstance(piece, str):
                self.broken(place, piece)
            elif FAMILY[piece.form] != "evm":
                self.broken(place, f"{piece.form} among those of Ethereum")
            elif piece.form in (Form.EVM_BLOCK, Form.EVM_HEADER, Form.EVM_TRACED):
                try:
                    self._block(place, piece, index)
                except DecodeError as error:
                    self.broken(place, str(error))
            elif (lost := index.lost(piece)) and (piece.form, lost) != told:
                told = (piece.form, lost)
                self.broken(place, f"{piece.form}: its block ({lost}) is not among the data")
            yield

    def _block(self, place: int, piece: Piece, index: EvmIndex) -> None:
        if self.gives == "times":
            number, mined = stamp(piece) if piece.form is not Form.EVM_TRACED else (HIGHEST, 0)
            if 0 <= number < HIGHEST and 0 <= mined < LATEST and index.is_main(identity(piece)):
                self.rows.block(place, number, mined)
            return
        if piece.form is Form.EVM_HEADER:
            return
        hash = identity(piece)
        is_first, is_main = index.is_first(hash, self.document.path, place), index.is_main(hash)
        if not (is_first and is_main) and self.gives == "controls":
            return
        read = read_block(piece, self.document.chain, index)
        ref = read.block.ref
        time = read.time if read.time is not None else index.time_of(ref.hash)
        self.count(read.rows)
        for reason in read.bad:
            self.wrong(place, f"block {ref.number}: {reason}")
        if not is_first:
            self.note(TWICE)
            return
        if not is_main:
            self.note(BRANCHES)
            return
        if not 0 <= (time or 0) < LATEST:
            self.wrong(place, f"block {ref.hash}: its number or time makes no sense")
        elif time is None and self.document.timed:
            self.wrong(place, f"block {ref.number} has no time: add its header or a blocks table to the data")
        elif self.gives == "controls":
            self.rows.controls(place, ref.number, time, read.block.controls if time is not None else ())
        else:
            for _ in read.block.controls if time is None else ():
                self.note(TIMELESS)
            self.blind(*read.blind)
            self.rows.transfers(place, ref.number, time, read.rows, read.block.transfers, "1" if read.known else None)


class _Coins(_Work):
    """Blocks of the Bitcoin family."""

    def read(self, tick: Tick) -> Iterator[None]:
        index = coin_index(self.document, self.network)
        for place, found in blocks_in(self.document.path, self.document.sight.binary, self.network, tick):
            if isinstance(found, str):
                self.broken(place, found)
            elif isinstance(found, CoinBlock):
                try:
                    self._block(place, found, index)
                except DecodeError as error:
                    self.broken(place, str(error))
            elif isinstance(found, Undo) and not index.is_used(self.document.path, place):
                self.broken(place, "undo data of a block that is not among the data")
            yield

    def _block(self, place: int, found: CoinBlock, index: CoinIndex) -> None:
        header = found.raw.header
        where = index.place_of(header.hash)
        self.count(found.rows)
        if where is None:
            reason = "its height is not known: no block below it is among the data, and it does not say it (BIP 34)"
            self.wrong(place, f"block {header.hash}: {reason}")
            return
        if not index.is_first(header.hash, self.document.path, place):
            self.note(TWICE)
            return
        if not where.is_main:
            self.note(BRANCHES)
            return
        if self.gives == "times":
            self.rows.block(place, where.height, header.time)
            return
        read = read_coins(found, where.height, index, self.watch, self.network)
        for reason in read.bad:
            self.wrong(place, f"block {where.height}: {reason}")
        self.blind(*read.blind)
        if BLIND_INPUTS in read.blind:
            self.note(UNTOLD)
        self.rows.transfers(place, where.height, header.time, found.rows, read.transfers, "1")


class _Nem(_Work):
    """Blocks and transactions of NEM."""

    def read(self, tick: Tick) -> Iterator[None]:
        self._index = nem_index(self.document, self.network)
        for place, piece in pieces_in(self.document.path, tick):
            if isinstance(piece, str):
                self.broken(place, piece)
            elif piece.form in (Form.NEM_BLOCK, Form.NEM_TRANSACTION):
                try:
                    self._take(place, found_in(piece, self.network))
                except DecodeError as error:
                    self.broken(place, str(error))
            else:
                self.broken(place, f"{piece.form} among those of NEM")
            yield

    def _take(self, place: int, found: NemBlock | NemTransaction) -> None:
        is_block = isinstance(found, NemBlock)
        rows = len(found.raw.transactions) if isinstance(found, NemBlock) else 1
        if not self._index.is_first(found, self.document.path, place):
            self.count(rows)
            self.note(TWICE)
            return
        if isinstance(found, NemBlock):
            read = read_nem_block(found, self.network)
        else:
            read = read_transaction(found, self._index.position(found), self.network)
        self.count(rows)
        for reason in read.bad:
            self.wrong(place, f"block {read.number}: {reason}")
        if self.gives == "times":
            if is_block:
                self.rows.block(place, read.number, read.time)
        elif self.gives == "controls":
            self.rows.controls(place, read.number, read.time, read.controls)
        else:
            if not is_block:
                self.note(SIGNED)
            self.blind(*read.blind)
            self.rows.transfers(place, read.number, read.time, rows, read.transfers, "1")
