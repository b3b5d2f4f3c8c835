"""The fetch itself: piece by piece in chain order, each the child of the one below, whole parts into the folder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from monitor.engine import Engine
from monitor.errors import ChainInconsistent
from monitor.fetching.books import Books, restore_use, use_of
from monitor.fetching.closing import Closer
from monitor.fetching.cut import Cut
from monitor.fetching.folder import Folder
from monitor.fetching.manifest import Part
from monitor.fetching.piece import Begin, Piece, piece_of
from monitor.fetching.reader import Ahead, Reader
from monitor.fetching.rows import balance_rows
from monitor.fetching.span import Span
from monitor.fetching.standing import Standing
from monitor.fetching.told import AT_HEAD, Row, Teller
from monitor.model import BlockRef

__all__ = ["Fetching", "Target"]

log = logging.getLogger("heistwatch.fetch")

MOST_ROWS = 500_000  # of one part: it ends with the reading that reaches them
MOST_ASKED = 2_000  # balances that are asked for at the end of each part; above, those alone that moved in it
LOOKS = 3  # readings of the same blocks before it is believed that something cannot be shown
MISFITS = 3  # readings that may not fit the block below, and starts of a part, before the fetch gives up


@dataclass(frozen=True, slots=True)
class Target:
    """The chain. ``native`` is CAIP-19 of its coin, ``walk`` how many blocks balances may be carried over."""

    name: str
    chain: str  # CAIP-2
    kind: str
    native: str
    walk: int


class _Misfit(Exception):
    """A part does not hang together, or not on the part below."""


class Fetching:
    """One run.

    Parameters
    ----------
    target : the chain
    engine : whose watch list and intake rules hold; nothing is folded
    folder : begun, so that its header is there
    reader, teller : give past blocks and balances
    width : readings under way at a time
    requests : how many were made so far
    told : hears how far it is
    sleep, clock : pause and monotonic seconds

    Attributes
    ----------
    notes : what the user should know
    """

    def __init__(
        self,
        target: Target,
        engine: Engine,
        folder: Folder,
        reader: Reader,
        teller: Teller,
        *,
        width: int,
        requests: Callable[[], int],
        told: Callable[[Standing], None],
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert folder.header is not None
        self.notes: list[str] = []
        self._target, self._engine, self._folder = target, engine, folder
        self._reader, self._teller = reader, teller
        self._cut = Cut(folder.header.part, folder.header.step)
        self._ahead = Ahead(self._piece, self._cut, width)
        self._requests, self._told, self._sleep, self._clock = requests, told, sleep, clock
        self._books = Books()
        self._blind: set[str] = set()  # what cannot be shown
        self._begun_at, self._from, self._total = clock(), 0, 0

    async def run(self, span: Span) -> None:
        """Fetch what is missing of a span; what is done stays, whatever ends it.

        Raises
        ------
        HistoryRefused, ChainUnavailable : no endpoint gives (more)
        ChainInconsistent : what endpoints say does not hang together
        StoreError : the folder cannot be written
        """
        try:
            await self._anchor(span)
            self._folder.settle(span.final, max(span.end, self._next(span)) - 1)
            at = self._next(span)
            self._from, self._total = at, max(0, span.end - at)
            misfits = 0
            while at < span.end:
                try:
                    part, tables = await self._part(at, span)
                except _Misfit as error:
                    misfits += 1
                    if misfits >= MISFITS:
                        raise ChainInconsistent(f"{self._target.name}: {error}") from None
                    await self._anchor(span)
                    at = self._next(span)
                    continue
                misfits = 0
                self._folder.commit(part, tables)
                self._books.add(part)
                at = part.last + 1
            if not self._folder.ended:
                await self._close(span)
            self._folder.settle(span.final, self._folder.parts[-1].last)
            self._say(span)
        finally:
            await self._ahead.forget()

    def _next(self, span: Span) -> int:
        parts = self._folder.parts
        return parts[-1].last + 1 if parts else span.first

    # -- what is there --------------------------------------------------------------------------------------------

    async def _anchor(self, span: Span) -> None:
        """See that the highest stored block is still the chain's; parts that are not, and were not final, go."""
        await self._ahead.forget()
        while parts := self._folder.parts:
            part = parts[-1]
            if await self._is_there(part):
                break
            if part.last <= self._folder.settled:
                raise ChainInconsistent(
                    f"{self._target.name}: block {part.last} is another one now than when it was fetched, though it "
                    f"was final: an endpoint is wrong, or the chain was rewritten. {self._folder.path} stays as it is"
                )
            self._folder.drop_last()
            self.notes.append(f"blocks {part.first} to {part.last} were rewritten since: they are fetched again")
        self._learn()

    async def _is_there(self, part: Part) -> bool:
        for attempt in range(MISFITS):
            if attempt:
                self._reader.contradicted()
            found = await self._reader.stretch(part.last, part.last + 1)
            if found.last.hash == part.hash:
                return True
        return False

    def _learn(self) -> None:
        """Take over what the folder says."""
        parts = self._folder.parts
        self._books = Books.of(parts)
        self._blind.update(spot for part in parts for spot in part.spots)
        if parts:
            restore_use(self._engine.watchlist, self._target.chain, parts[-1].used)

    # -- one part -------------------------------------------------------------------------------------------------

    async def _part(self, first: int, span: Span) -> tuple[Part, dict[str, pl.DataFrame]]:
        parts = self._folder.parts
        parent = parts[-1].hash if parts else None
        stop = self._cut.part_end(first, span.end)
        pieces: list[Piece] = []
        at = first
        while at < stop and sum(piece.rows for piece in pieces) < MOST_ROWS:
            piece = await self._fitting(at, span.end, parent)
            pieces.append(piece)
            at, parent = piece.last + 1, piece.last_hash
            self._tell(at)
        addresses = {wallet: self._teller.addresses(wallet) for wallet in self._teller.wallets}
        news = self._books.news(pieces, addresses)
        rows, untold = await self._balances(pieces, news)
        tables = {name: pl.concat([piece.tables[name] for piece in pieces]) for name in pieces[0].tables}
        tables["balances"] = balance_rows(self._target.chain, rows)
        net: dict[tuple[str, str], int] = {}
        for piece in pieces:
            for key, value in piece.net.items():
                net[key] = net.get(key, 0) + value
        part = Part(
            first, pieces[-1].last, pieces[0].parent_hash, pieces[-1].last_hash, pieces[0].start, pieces[-1].end,
            {}, {}, tuple(_begun(begin) for begin in news),
            tuple((address, asset, str(value)) for (address, asset), value in sorted(net.items()) if value),
            use_of(self._engine.watchlist, self._target.chain),
            tuple(dict.fromkeys(spot for piece in pieces for spot in piece.spots)),
            sum(piece.undecoded for piece in pieces), untold,
        )  # fmt: skip
        return part, tables

    async def _fitting(self, start: int, end: int, parent: str | None) -> Piece:
        """The next piece, read again where it is no child of the block below, or more is watched by now."""
        misfits = 0
        while True:
            piece = await self._ahead.take(start, end)
            if parent is not None and piece.parent_hash != parent:
                misfits += 1
                log.warning("%s: block %d is no child of block %d", self._target.name, start, start - 1)
                self._reader.contradicted()
                await self._ahead.forget()
                if misfits >= MISFITS:
                    raise _Misfit(f"block {start} is no child of block {start - 1}")
            elif piece.watched != self._watched:
                await self._ahead.forget()  # they all were read with fewer addresses
            else:
                return piece

    @property
    def _watched(self) -> int:
        return self._engine.watchlist.derived.count(self._target.chain)

    async def _piece(self, start: int, end: int) -> Piece:
        """One reading, looked at again where it could not see what others saw: that may pass."""
        for look in range(LOOKS):
            watched = self._watched
            piece = piece_of(await self._reader.stretch(start, end), self._engine, watched)
            if self._blind.issuperset(piece.spots):
                return piece
            log.debug("%s: blocks %d to %d, look %d: %s", self._target.name, start, end - 1, look, piece.spots)
        self._blind.update(piece.spots)
        return piece

    # -- balances -------------------------------------------------------------------------------------------------

    @property
    def _natives(self) -> list[tuple[str, str]]:
        return [(wallet, self._target.native) for wallet in self._teller.wallets]

    async def _balances(self, pieces: Sequence[Piece], news: Sequence[Begin]) -> tuple[list[Row], int]:
        """Balances before the first block, before what came to matter, and after the last block."""
        chain, parts = self._target.chain, self._folder.parts
        if self._target.kind in AT_HEAD or (parts and not parts[0].rows.get("balances")):
            return [], 0
        rows: list[Row] = []
        untold = 0
        if not parts:
            ref = BlockRef(chain, pieces[0].first - 1, pieces[0].parent_hash)
            if ref.number < 0:
                ref = BlockRef(chain, 0, str(pieces[0].tables["blocks"]["hash"][0]))
            rows, untold = await self._teller.at(self._natives, ref)
            if not rows:
                return [], 0  # it knows its head alone
        for begin in news:
            if begin.asset != self._target.native and begin.number > 0:
                ref = BlockRef(chain, begin.number - 1, begin.parent)
                more, missing = await self._teller.at([(begin.wallet, begin.asset)], ref)
                rows, untold = rows + more, untold + missing
        mattering = dict.fromkeys([*self._natives, *self._books.begun, *((b.wallet, b.asset) for b in news)])
        wanted = [pair for pair in mattering if pair[0] in self._teller.wallets]
        if self._teller.questions(wanted) > MOST_ASKED:
            moved = {key for piece in pieces for key in piece.net}
            wanted = [(w, asset) for w, asset in wanted if any((a, asset) in moved for a in self._teller.addresses(w))]
        more, missing = await self._teller.at(wanted, BlockRef(chain, pieces[-1].last, pieces[-1].last_hash))
        return rows + more, untold + missing

    async def _close(self, span: Span) -> None:
        """Where balances were not told on the way: tell those of the end, and carry them back."""
        parts = self._folder.parts
        if parts[0].rows.get("balances") or not self._teller.wallets:
            return
        closer = Closer(self._target, self._engine, self._reader, self._teller, self._cut, self._sleep, self._clock)
        self._tell(parts[-1].last + 1, "asking for balances")
        wanted = dict.fromkeys([*self._natives, *self._books.begun])
        pairs = [pair for pair in wanted if pair[0] in self._teller.wallets]
        last = parts[-1]
        ref = BlockRef(self._target.chain, last.last, last.hash)
        found = await closer.close(pairs, self._books, parts[0].first, ref)
        self.notes += found.notes
        if found.rows:
            table = balance_rows(self._target.chain, found.rows)
            self._folder.close_with(found.at, table, carried=found.carried)

    # -- what is said ---------------------------------------------------------------------------------------------

    def _tell(self, at: int, what: str = "fetching") -> None:
        seconds = self._clock() - self._begun_at
        self._told(Standing(at - self._from, self._total, at - 1, self._requests(), seconds, what))

    def _say(self, span: Span) -> None:
        parts = self._folder.parts
        if span.end - 1 > span.final:
            self.notes.append(
                f"blocks above {max(span.final, -1)} are not final yet: the next run looks whether they still hold"
            )
        if spots := sorted({spot for part in parts for spot in part.spots}):
            self.notes.append(f"the endpoints could not show: {', '.join(spots)}")
        if undecoded := sum(part.undecoded for part in parts):
            self.notes.append(f"{undecoded:,} transactions could not be understood")
        if untold := sum(part.untold for part in parts):
            self.notes.append(f"{untold:,} balances were asked for and not told")
        lists = [
            wallet
            for wallet in sorted(self._engine.watchlist.wallets)
            if self._engine.watchlist.has_long_list(wallet, self._target.chain)
        ]
        if lists:
            self.notes.append(f"no balances of {', '.join(lists)}: the addresses are too many to ask for")


def _begun(begin: Begin) -> tuple[str, str, int, tuple[tuple[str, str], ...]]:
    before: Mapping[str, int] = begin.before
    return begin.wallet, begin.asset, begin.number, tuple((a, str(value)) for a, value in sorted(before.items()))
