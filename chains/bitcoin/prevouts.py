"""What inputs spend, where a block does not say it.

Three things answer, in this order: the block itself, coins of watched addresses seen before, the source. Whether it has
to be asked is told by the input: it shows the hash that it answers to, except where a bare public key, a bare multisig
or a taproot key is spent. So on nodes without an index, and at services that count requests, a few look-ups a block do;
where none is answered, what an input shows still says whose coins left.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chains.base import Kept
from chains.bitcoin.base import Coin, Fetched, Prevout, Source
from chains.bitcoin.block import RawBlock, RawTx
from chains.bitcoin.script import spent_scripts, type_of
from chains.bitcoin.told import can_be
from chains.bitcoin.transfers import Spent
from chains.bitcoin.watched import WatchedScripts

__all__ = ["Found", "Prevouts"]

log = logging.getLogger(__name__)

COINS = 1_000_000  # of watched addresses that are remembered
COSTLY = 200  # look-ups a block at a service where each is a request of its own


@dataclass(frozen=True, slots=True)
class Found:
    """What of a block touches the watch set.

    ``touched`` are places of transactions, in order. ``blind``: some inputs stay unknown, which may be watched ones.
    """

    touched: tuple[int, ...]
    spent: Spent
    blind: bool = False


@dataclass(slots=True)
class _Inputs:
    """Inputs whose prevouts are not known yet: those to ask for, and what scripts others say that they spend."""

    ask: dict[bytes, str]  # and the transactions that they are inputs of
    shown: dict[bytes, tuple[bytes, ...]]


class Prevouts:
    """Finds prevouts for blocks and transactions.

    Parameters
    ----------
    source : whom to ask
    watched : the watch set
    kept : where coins outlast a restart which a source without an index cannot tell once they are spent, and of which
        the input that spends them shows nothing

    Attributes
    ----------
    wants_coins : inputs stayed unknown that may have been watched ones: hand in the wallet's coins (`learn`)
    """

    def __init__(self, source: Source, watched: WatchedScripts, kept: Kept | None = None) -> None:
        self._source, self._watched, self._kept = source, watched, kept
        self._coins: dict[bytes, Prevout] = {}
        self._unkept: deque[bytes] = deque(maxlen=COINS)  # coins that may have to be kept
        self.wants_coins = self._looked = False
        for key, value in (kept.facts if kept is not None else {}).items():
            self._coins[bytes.fromhex(key)] = Prevout(int.from_bytes(value[:8], "little"), value[8:])

    def learn(self, coins: Iterable[Coin]) -> None:
        """Coins of watched addresses."""
        for coin in coins:
            self._keep(coin.outpoint, Prevout(coin.value, coin.script))

    async def of_block(self, fetched: Fetched) -> Found:
        """What of a block touches the watch set, and what its inputs spend.

        Raises
        ------
        ChainUnavailable : the source does not answer
        """
        raw = fetched.raw
        touched = self._paid(raw)
        known, complete = dict(fetched.prevouts), fetched.complete
        if known and not can_be(raw, known):
            log.warning("%s tells impossible inputs of block %s: they are looked up", fetched.endpoint, raw.header.hash)
            known, complete = {}, False
        if complete:
            watched = self._watched.match(prevout.script for prevout in known.values())
            touched |= {
                tx for tx, point in _inputs(raw) if (prevout := known.get(point)) and prevout.script in watched
            }
            return Found(tuple(sorted(touched)), Spent(known))
        return await self._search(raw, touched, known)

    async def of_transactions(self, txs: Sequence[RawTx]) -> Spent:
        """What the inputs of transactions that wait to be mined spend; of one another, too."""
        known: dict[bytes, Prevout] = {}
        for tx in txs:
            owner = bytes.fromhex(tx.hash)[::-1]
            outputs = enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
            known |= {owner + n.to_bytes(4, "little"): Prevout(*output) for n, output in outputs}
        points = [(tx, n, point) for tx in txs if not tx.is_coinbase for n, point in enumerate(tx.outpoints)]
        for _, _, point in points:
            if (coin := self._coins.get(point)) is not None:
                known[point] = coin
        left = self._unknown(points, known)
        known |= await self._ask(left.ask)
        claimed, _ = self._claims(left, known)
        return Spent(known, claimed)

    async def complete(self, txs: Sequence[RawTx], spent: Spent) -> Spent:
        """The same with whatever more can be had of the inputs of these transactions."""
        missing = {
            point: tx.hash for tx in txs if not tx.is_coinbase for point in tx.outpoints if point not in spent.known
        }
        if not missing:
            return spent
        known = {**spent.known, **await self._ask(missing)}
        claimed = dict(spent.claimed)
        for tx in txs:
            for n, point in enumerate(tx.outpoints):
                if point not in known and point not in claimed and not tx.is_coinbase:
                    shows = spent_scripts(*tx.shown(n))
                    if shows:
                        claimed[point] = shows[0]
        return Spent(known, claimed)

    # -- blocks ---------------------------------------------------------------------------------------------------

    def _paid(self, raw: RawBlock) -> set[int]:
        """The transactions that pay watched addresses; a gap limit may move on the way."""
        watched = self._watched.match(raw.output_scripts)
        while self._watched.used(watched.values()):
            watched = self._watched.match(raw.output_scripts)
        if not watched:
            return set()
        found = set()
        tx, first = 0, raw.first_output
        for place, script in enumerate(raw.output_scripts):
            if script not in watched:
                continue
            while first[tx + 1] <= place:
                tx += 1
            found.add(tx)
            point = raw.hashes[tx] + (place - first[tx]).to_bytes(4, "little")
            self._keep(point, Prevout(raw.output_values[place], script))
        return found

    async def _search(self, raw: RawBlock, touched: set[int], known: dict[bytes, Prevout]) -> Found:
        """Which inputs are watched ones, where the source did not tell with the block."""
        self._put_away()
        places = {hash: n for n, hash in enumerate(raw.hashes)}
        unknown: list[tuple[int, int, bytes]] = []
        for tx, n, point in _numbered(raw):
            if point in known:
                continue
            if (at := places.get(point[:32])) is not None:
                place = raw.first_output[at] + int.from_bytes(point[32:], "little")
                if place < raw.first_output[at + 1]:
                    known[point] = Prevout(raw.output_values[place], raw.output_scripts[place])
            elif (coin := self._coins.get(point)) is not None:
                known[point] = coin
            else:
                unknown.append((tx, n, point))
        txs = raw.txs
        left = self._unknown(((txs[tx], n, point) for tx, n, point in unknown), known)
        known |= await self._ask(left.ask)
        claimed, blind = self._claims(left, known)
        watched = self._watched.match([*(prevout.script for prevout in known.values()), *claimed.values()])
        for tx, point in _inputs(raw):
            script = known[point].script if point in known else claimed.get(point)
            if script in watched:
                touched.add(tx)
        self.wants_coins |= blind
        order = tuple(sorted(touched))
        spent = await self.complete([txs[tx] for tx in order], Spent(known, claimed))
        blind = blind or any(
            point not in spent.known for tx in order if not txs[tx].is_coinbase for point in txs[tx].outpoints
        )
        return Found(order, spent, blind)

    def _unknown(self, inputs: Iterable[tuple[RawTx, int, bytes]], known: Mapping[bytes, Prevout]) -> _Inputs:
        """Of inputs that are not known, those that are or may be watched ones."""
        found = _Inputs({}, {})
        spenders: dict[bytes, RawTx] = {}
        scripts: dict[bytes, tuple[bytes, ...]] = {}
        silent: list[bytes] = []
        taproot = self._watches_taproot()
        for tx, n, point in inputs:
            if point in known:
                continue
            script, witness = tx.shown(n)
            shows = spent_scripts(script, witness)
            spenders[point] = tx
            if shows:
                scripts[point] = shows
            elif script or taproot:
                silent.append(point)
        watched = self._watched.match(script for shows in scripts.values() for script in shows)
        for point, shows in scripts.items():
            if mine := tuple(script for script in shows if script in watched):
                found.shown[point] = mine
                found.ask[point] = spenders[point].hash
        costly = getattr(self._source, "costly", False)
        if costly and len(silent) > COSTLY:
            self.wants_coins = True
            silent = silent[:COSTLY]
        found.ask |= {point: spenders[point].hash for point in silent}
        return found

    def _claims(self, left: _Inputs, known: Mapping[bytes, Prevout]) -> tuple[dict[bytes, bytes], bool]:
        """What inputs claim to spend for which there is no better answer; whether any stays in the dark."""
        open_ = [point for point in left.ask if point not in known]
        return {point: left.shown[point][0] for point in open_ if point in left.shown}, bool(open_)

    async def _ask(self, points: Mapping[bytes, str]) -> Mapping[bytes, Prevout]:
        """Those of these outpoints that the source tells, by the fewest requests."""
        if not points:
            return {}
        inputs_of = getattr(self._source, "inputs_of", None)
        if inputs_of is None or not getattr(self._source, "costly", False):
            return await self._source.prevouts(points)
        found: Mapping[bytes, Prevout] = await inputs_of(dict.fromkeys(points.values()))
        return found

    def _watches_taproot(self) -> bool:
        if self._watched.has_lists:
            return True  # they may hold some
        return any(type_of(script).startswith(("p2tr", "witness")) for script in self._watched.known())

    def _put_away(self) -> None:
        """Keep the coins of which an input shows nothing; ask once for those that are there already."""
        if not self._looked:
            self._looked = True
            self.wants_coins |= any(_is_silent(script) for script in self._watched.known())
        while self._unkept:
            point = self._unkept.popleft()
            coin = self._coins.get(point)
            if self._kept is not None and coin is not None and _is_silent(coin.script):
                self._kept.put(point.hex(), coin.value.to_bytes(8, "little") + coin.script)

    def _keep(self, point: bytes, prevout: Prevout) -> None:
        self._coins.pop(point, None)
        self._coins[point] = prevout
        self._unkept.append(point)
        if len(self._coins) > COINS:
            del self._coins[next(iter(self._coins))]


def _is_silent(script: bytes) -> bool:
    """Whether the input that spends it shows nothing of it."""
    return type_of(script) not in ("p2pkh", "p2sh", "p2wpkh", "p2wsh")


def _inputs(raw: RawBlock) -> Iterator[tuple[int, bytes]]:
    """(transaction, outpoint) of all inputs but the coinbase's."""
    for tx, _, point in _numbered(raw):
        yield tx, point


def _numbered(raw: RawBlock) -> Iterator[tuple[int, int, bytes]]:
    """(transaction, input of it, outpoint) of all inputs but the coinbase's."""
    first, points = raw.first_input, raw.outpoints
    for tx in range(1, len(first) - 1):
        for n in range(first[tx], first[tx + 1]):
            yield tx, n - first[tx], points[n]
