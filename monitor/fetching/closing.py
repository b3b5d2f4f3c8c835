"""Balances of families that know them at their head alone: told there, and carried back by what moved since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.engine import Engine
from monitor.errors import ChainInconsistent
from monitor.fetching.books import Books
from monitor.fetching.cut import Cut
from monitor.fetching.piece import net_of
from monitor.fetching.reader import Reader
from monitor.fetching.told import AT_HEAD, Row, Teller
from monitor.model import BlockRef

__all__ = ["Closed", "Closer"]

COINS_SECONDS = 120.0  # that a node may take to read its coins
AGAIN = 2.0  # seconds between two questions for them
TRIES = 3  # the head may move while it is asked

Pair = tuple[str, str]


class _Target(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def chain(self) -> str: ...
    @property
    def native(self) -> str: ...
    @property
    def walk(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Closed:
    """Balances told after block ``at``; ``carried``: they were carried back to before the first block."""

    at: int
    rows: Sequence[Row] = ()
    carried: bool = False
    notes: Sequence[str] = ()


class Closer:
    """Tells balances of the end of a fetch, and of its beginning; parameters as of `monitor.fetching.run.Fetching`."""

    def __init__(
        self,
        target: _Target,
        engine: Engine,
        reader: Reader,
        teller: Teller,
        cut: Cut,
        sleep: Callable[[float], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        self._target, self._engine, self._reader, self._teller = target, engine, reader, teller
        self._cut, self._sleep, self._clock = cut, sleep, clock

    async def close(self, pairs: Sequence[Pair], books: Books, first: int, last: BlockRef) -> Closed:
        """Balances of (wallet, asset).

        Parameters
        ----------
        books : of everything from ``first`` to ``last``
        """
        after = await self._at(pairs, last)
        if not after:
            head = await self._teller.head()
            if head.number - last.number > self._target.walk or head.number < last.number:
                rows = await self._at(pairs, head)
                told = [(address, asset, head.number, value) for (address, asset), value in sorted(rows.items())]
                return Closed(head.number, told, notes=[_far(last.number, head.number, bool(rows))])
            after = await self._walked(pairs, last)
        if not after:
            return Closed(last.number, notes=[UNTOLD])
        rows_, short = self._carried(pairs, after, books, first, last.number)
        note = f"balances were told after block {last.number} and carried back by what moved since block {first}"
        notes = [note, *([_short(short)] if short else [])]
        return Closed(last.number, rows_, True, notes)

    async def _at(self, pairs: Sequence[Pair], ref: BlockRef) -> dict[Pair, int]:
        """Balances by (address, asset) after a block, as far as they are told; coins of a node take a while."""
        until = self._clock() + (COINS_SECONDS if self._target.kind in AT_HEAD else 0.0)
        while True:
            rows, _ = await self._teller.at(pairs, ref)
            if rows or self._clock() >= until:
                return {(address, asset): value for address, asset, _, value in rows}
            await self._sleep(AGAIN)

    async def _walked(self, pairs: Sequence[Pair], last: BlockRef) -> dict[Pair, int]:
        """Balances after ``last``, from those at the head: the blocks in between are read for that, not stored."""
        for _ in range(TRIES):
            head = await self._teller.head()
            moved: dict[Pair, int] = {}
            at, parent = last.number + 1, last.hash
            while at <= head.number:
                stretch = await self._reader.stretch(at, self._cut.step_end(at, head.number + 1))
                if stretch.parent_hash != parent:
                    raise ChainInconsistent(f"block {at} is no child of block {at - 1}")
                for block in stretch.blocks:
                    for key, value in net_of(block, self._engine).items():
                        moved[key] = moved.get(key, 0) + value
                at, parent = stretch.last.number + 1, stretch.last.hash
            now = await self._teller.head()
            if parent == now.hash and (rows := await self._at(pairs, now)):
                return {key: value - moved.get(key, 0) for key, value in rows.items()}
        return {}

    def _carried(
        self, pairs: Sequence[Pair], after: dict[Pair, int], books: Books, first: int, last: int
    ) -> tuple[list[Row], int]:
        """Rows before the first block (of tokens: before they came to matter) and after the last; how many fell short.

        A balance below nothing means that something came in unseen, as harvested fees do on NEM: it is told as 0.
        """
        rows: list[Row] = []
        short = 0
        for wallet, asset in pairs:
            addresses = self._teller.addresses(wallet)
            if any((address, asset) not in after for address in addresses):
                continue
            begin = books.begun.get((wallet, asset))
            native = asset == self._target.native
            for address in addresses:
                opening = after[address, asset] - books.net.get((address, asset), 0)
                number = max(0, first - 1)
                if not native and begin is not None and begin.number > 0:
                    opening, number = opening + begin.before.get(address, 0), begin.number - 1
                short += opening < 0
                rows.append((address, asset, number, max(0, opening)))
                rows.append((address, asset, last, after[address, asset]))
        return rows, short


UNTOLD = "no endpoint told balances: a backtest infers them from flows, and wallets learn for their first 7 days"


def _far(last: int, head: int, told: bool) -> str:
    if not told:
        return UNTOLD
    return (
        f"balances were told at block {head} alone, too far above {last} to be carried back: a backtest infers them "
        "from flows, and wallets learn for their first 7 days"
    )


def _short(count: int) -> str:
    return f"{count:,} balances would have been below nothing before the first block: something came in unseen"
