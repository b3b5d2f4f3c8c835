"""The engine's state: records by name, how they grow, how a block is undone, how they are stored.

Longer than most modules on purpose: every method works on the same arrays, which only this class may grow or move.

Keys of stored records (see `monitor.store.Delta`)::

    a|wallet|chain|asset          ASSET record, then one byte "proven"
    w|wallet|chain                FUSION record
    d|wallet|chain|asset|hex key  DESTINATION record
    s|wallet|chain|hex key        DESTINATION record of a suspect

``|`` is the unit separator 0x1f. A canonical dump is the sorted list of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from monitor import compiled as _compiled  # sets the kernels' cache folder before the first kernel is imported
from monitor.errors import StoreError
from monitor.features import table
from monitor.features.dtypes import ASSET, DESTINATION, FEATURES, FUSION, HIT, PARAMETERS, TABLE, UNDONE
from monitor.features.kernel import CONFIRMED
from monitor.fold import DONE, NEED_HITS, NEED_POOL, SCRATCH, fold
from monitor.ids import hash64
from monitor.priors import PEER
from monitor.rows import FlowRows
from monitor.store import Delta

__all__ = ["EngineState", "Records", "asset_key"]

_SEPARATOR = "\x1f"
_GROWTH = 4  # times the records there are, where more are needed: the system gives memory as it is touched
_NO_SETTINGS = np.zeros(1, PARAMETERS)
CACHE = _compiled.CACHE


@lru_cache(maxsize=1 << 12)
def asset_key(asset: str) -> int:
    """What an asset is called in the compiled tables."""
    return hash64("asset", asset)


def _key(kind: str, *parts: str) -> bytes:
    return _SEPARATOR.join((kind, *parts)).encode()


@dataclass(frozen=True, slots=True)
class Records:
    """Of one asset of one wallet: its ASSET, FUSION and PARAMETERS records, shape (1,) each, and its identity."""

    asset: NDArray[np.void]
    fusion: NDArray[np.void]
    settings: NDArray[np.void]
    identity: np.uint64


class EngineState:
    """All records of all wallets, and the compiled fold over them."""

    def __init__(self) -> None:
        self._assets = np.zeros(16, ASSET)
        self._fusions = np.zeros(16, FUSION)
        self._proven = np.zeros(16, np.uint8)
        self._identities = np.zeros(16, np.uint64)
        self._settings = np.zeros(16, PARAMETERS)
        self._asset_tables = np.zeros(16, TABLE)
        self._suspect_tables = np.zeros(16, TABLE)
        self._pool = table.new_pool(1 << 12)
        self._room = FlowRows.empty(0)  # where rows are put in order: the system clears whatever it gives anew
        self._used = np.zeros(1, np.int64)
        self._features, self._scratch = np.zeros(1, FEATURES), np.zeros(SCRATCH)
        self._asset_of: dict[tuple[str, str, str], int] = {}
        self._wallet_of: dict[tuple[str, str], int] = {}
        self._asset_names: list[tuple[str, str, str]] = []
        self._wallet_names: list[tuple[str, str]] = []
        self._free_assets: list[int] = []
        self._counts: dict[tuple[str, str], int] = {}

    # -- records by name ------------------------------------------------------------------------------------------

    def asset(self, wallet: str, chain: str, asset: str) -> int:
        """The place of an asset record, -1 where there is none."""
        return self._asset_of.get((wallet, chain, asset), -1)

    def assets_of(self, wallet: str, chain: str) -> int:
        """How many asset records a wallet has on a chain."""
        return self._counts.get((wallet, chain), 0)

    def is_proven(self, slot: int) -> bool:
        """Whether the asset was ever moved by the wallet itself (or was listed)."""
        return bool(self._proven[slot])

    def prove(self, slot: int) -> None:
        """The wallet itself moved this asset: it is real to its owner from now on."""
        self._proven[slot] = 1

    def balance(self, slot: int) -> tuple[float, bool]:
        """(balance in base units, whether it was told)."""
        return float(self._assets[slot]["balance"]), bool(self._assets[slot]["known"])

    def add_asset(self, wallet: str, chain: str, asset: str) -> int:
        """A new, empty asset record."""
        name = (wallet, chain, asset)
        if self._free_assets:
            slot = self._free_assets.pop()
            self._asset_names[slot] = name
        else:
            slot = len(self._asset_names)
            self._asset_names.append(name)
            if slot >= len(self._assets):
                self._grow("_assets", "_proven", "_identities", "_asset_tables")
        self._proven[slot] = 0  # the rest is empty: nobody used it, or `_drop_asset` has cleared it
        self._identities[slot] = asset_key(asset)
        self._asset_of[name] = slot
        self._counts[wallet, chain] = self._counts.get((wallet, chain), 0) + 1
        return slot

    def _grow(self, *names: str) -> None:
        for name in names:
            old = getattr(self, name)
            new = np.zeros(len(old) * _GROWTH, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def wallet(self, wallet: str, chain: str, settings: NDArray[np.void]) -> int:
        """The place of a fusion record, made if needed; ``settings`` are its `monitor.parameters.parameters`."""
        place = self._wallet_of.get((wallet, chain))
        if place is None:
            place = len(self._wallet_names)
            self._wallet_names.append((wallet, chain))
            self._wallet_of[wallet, chain] = place
            if place >= len(self._fusions):
                self._grow("_fusions", "_settings", "_suspect_tables")
        self._settings[place] = settings[0]
        return place

    def wallet_places(self) -> Sequence[tuple[str, str]]:
        """(wallet, chain) of every fusion record, in their order."""
        return self._wallet_names

    def asset_places(self) -> Sequence[tuple[str, str, str]]:
        """(wallet, chain, asset) of every asset record, in their order."""
        return self._asset_names

    def wallet_name(self, place: int) -> str:
        """The wallet of a fusion record."""
        return self._wallet_names[place][0]

    def look(self, wallet: str, chain: str) -> NDArray[np.void] | None:
        """A copy of a wallet's fusion record; None where it has no flow yet."""
        place = self._wallet_of.get((wallet, chain))
        return self._fusions[place].copy() if place is not None and self._fusions[place]["used"] else None

    def records(self, wallet: str, chain: str, asset: str) -> Records | None:
        """Copies of what a payment of this asset would be judged by; None where the wallet has no flow of it yet."""
        slot, place = self.asset(wallet, chain, asset), self._wallet_of.get((wallet, chain))
        if slot < 0 or place is None or not self._assets[slot]["used"] or not self._fusions[place]["used"]:
            return None
        asset_record, fusion = self._assets[slot : slot + 1].copy(), self._fusions[place : place + 1].copy()
        return Records(asset_record, fusion, self._settings[place : place + 1].copy(), self._identities[slot])

    def learning_days(self, wallet: str, chain: str) -> float | None:
        """Days until the statistics of a wallet may fire (0: they may), None where it has no flow yet."""
        place = self._wallet_of.get((wallet, chain))
        if place is None or not self._fusions[place]["used"]:
            return None
        record = self._fusions[place]
        return max(0.0, float(record["warm_from"] - record["clock"]) / 86400)

    # -- the fold -------------------------------------------------------------------------------------------------

    def fold(self, rows: FlowRows, *, keep_undo: bool = False) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Fold rows; returns (hits, undone destination records, first written first).

        Without undo it goes wallet after wallet: what is found of one depends on no other, and its records stay in the
        processor's caches.
        """
        order = rows.by_wallet() if not keep_undo else None
        if order is not None:
            if len(self._room) < len(order):
                self._room = FlowRows.empty(len(order))
            rows = rows.taken(order, self._room)
        tables = np.concatenate([self._asset_tables, self._suspect_tables])
        hits = np.zeros(max(64, len(rows) // 64), HIT)
        counts, undone = np.zeros(1, np.int64), np.zeros(1, np.int64)
        undo = np.zeros(2 * len(rows) + 64 if keep_undo else 0, UNDONE)
        begin, why = 0, NEED_HITS
        while True:
            begin, why = fold(
                begin,
                rows.slots,
                rows.wallets,
                rows.times,
                rows.ops,
                rows.amounts,
                rows.keys,
                rows.flags,
                rows.marks,
                self._identities,
                self._settings,
                self._assets,
                self._fusions,
                tables,
                len(self._asset_tables),
                self._pool,
                self._used,
                PEER,
                self._features,
                self._scratch,
                hits,
                counts,
                undo,
                undone,
            )
            if why == DONE:
                break
            if why == NEED_HITS:
                hits = np.concatenate([hits, np.zeros(len(hits), HIT)])
            elif why == NEED_POOL:
                self._enlarge_pool(tables)
            else:
                undo = np.concatenate([undo, np.zeros(len(undo) + (2 << table.MAX_BITS), UNDONE)])
        split = len(self._asset_tables)
        self._asset_tables[:] = tables[:split]
        self._suspect_tables[:] = tables[split:]
        hits = hits[: counts[0]]
        if order is not None:
            hits["row"] = order[hits["row"]]
            hits = hits[np.argsort(hits["row"], kind="stable")]
        return hits, undo[: undone[0]]

    def _enlarge_pool(self, tables: NDArray[np.void]) -> None:
        self._pool = table.enlarged(self._pool, self._used, tables)

    # -- destinations by key --------------------------------------------------------------------------------------

    def _owner(self, owner: int, asset_tables: int) -> tuple[NDArray[np.void], int]:
        if owner < asset_tables:
            return self._asset_tables, owner
        return self._suspect_tables, owner - asset_tables

    def _put_destination(self, tables: NDArray[np.void], owner: int, key: int, record: NDArray[np.void] | None) -> None:
        number = np.uint64(key)
        if record is None:
            table.remove(self._pool, tables, owner, number)
            return
        place = table.find(self._pool, tables, owner, number)
        if place < 0:
            if self._used[0] + table.growth(tables, owner) > len(self._pool):
                both = np.concatenate([self._asset_tables, self._suspect_tables])
                self._enlarge_pool(both)
                split = len(self._asset_tables)
                self._asset_tables[:] = both[:split]
                self._suspect_tables[:] = both[split:]
            table.reserve(self._pool, self._used, tables, owner)
            place = table.insert(self._pool, tables, owner, number)
        self._pool[place] = record

    def _destination(self, tables: NDArray[np.void], owner: int, key: int) -> bytes | None:
        place = table.find(self._pool, tables, owner, np.uint64(key))
        return bytes(self._pool[place].tobytes()) if place >= 0 else None

    def is_suspect(self, wallet: str, chain: str, key: int) -> bool:
        """Whether payments to this destination are kept from being learned."""
        place = self._wallet_of.get((wallet, chain))
        return place is not None and table.find(self._pool, self._suspect_tables, place, np.uint64(key)) >= 0

    # -- undo and checkpoint --------------------------------------------------------------------------------------

    def before(self, rows: FlowRows, slots: Iterable[int] = ()) -> dict[bytes, bytes | None]:
        """The asset and fusion records that these rows, and ``slots``, will touch, as they are now (None: fresh)."""
        found: dict[bytes, bytes | None] = {}
        for slot in {*rows.slots.tolist(), *slots} - {-1}:
            found[self._asset_key(int(slot))] = self._asset_bytes(int(slot))
        for place in set(rows.wallets.tolist()):
            found[self._wallet_key(int(place))] = self._wallet_bytes(int(place))
        return found

    def after(self, before: dict[bytes, bytes | None], undone: NDArray[np.void]) -> tuple[Delta, Delta]:
        """(what a fold changed, how to undo it), from `before` and what the fold wrote down of destinations."""
        undo: dict[bytes, bytes | None] = dict(before)
        now: dict[bytes, bytes | None] = {}
        for key in before:
            now[key] = self.get(key)
        split = len(self._asset_tables)
        for item in undone:
            owner, destination = int(item["owner"]), int(item["key"])
            tables, at = self._owner(owner, split)
            if owner < split:
                name = _key("d", *self._asset_names[at], f"{destination:016x}")
            else:
                name = _key("s", *self._wallet_names[at], f"{destination:016x}")
            if name not in now:
                undo[name] = item["record"].tobytes() if item["had"] else None
                now[name] = self._destination(tables, at, destination)
        return tuple(sorted(now.items())), tuple(sorted(undo.items()))

    def _asset_key(self, slot: int) -> bytes:
        return _key("a", *self._asset_names[slot])

    def _asset_bytes(self, slot: int) -> bytes | None:
        if not self._assets[slot]["used"]:
            return None
        return bytes(self._assets[slot].tobytes()) + bytes([int(self._proven[slot])])

    def _wallet_key(self, place: int) -> bytes:
        return _key("w", *self._wallet_names[place])

    def _wallet_bytes(self, place: int) -> bytes | None:
        return bytes(self._fusions[place].tobytes()) if self._fusions[place]["used"] else None

    def get(self, key: bytes) -> bytes | None:
        """The stored form of one record."""
        kind, *parts = key.decode().split(_SEPARATOR)
        if kind == "a":
            slot = self._asset_of.get((parts[0], parts[1], parts[2]), -1)
            return self._asset_bytes(slot) if slot >= 0 else None
        if kind == "w":
            place = self._wallet_of.get((parts[0], parts[1]), -1)
            return self._wallet_bytes(place) if place >= 0 else None
        if kind == "d":
            slot = self._asset_of.get((parts[0], parts[1], parts[2]), -1)
            return self._destination(self._asset_tables, slot, int(parts[3], 16)) if slot >= 0 else None
        if kind == "s":
            place = self._wallet_of.get((parts[0], parts[1]), -1)
            return self._destination(self._suspect_tables, place, int(parts[2], 16)) if place >= 0 else None
        raise StoreError(f"stored state has a record of unknown kind {kind!r}: it was written by another version")

    def put(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take records over: a stored state at start, or a block's undo. StoreError where one does not fit."""
        # What goes, goes first: a table never holds more at a time than its largest size.
        ordered = sorted(changes, key=lambda change: (b"awds".find(change[0][:1]) % 9, change[1] is not None))
        gone: list[tuple[str, str, str]] = []
        for key, value in ordered:
            kind, *parts = key.decode().split(_SEPARATOR)
            if kind == "a":
                self._put_asset((parts[0], parts[1], parts[2]), value, gone)
            elif kind == "w":
                place = self._known_wallet(parts[0], parts[1])
                self._fusions[place] = _record(value, FUSION, key) if value is not None else np.zeros((), FUSION)
            elif kind == "d":
                slot = self._asset_of.get((parts[0], parts[1], parts[2]), -1)
                if slot < 0:
                    if value is None:
                        continue
                    raise StoreError("stored state has a destination without its asset: the store lost data")
                record = _record(value, DESTINATION, key) if value is not None else None
                self._put_destination(self._asset_tables, slot, int(parts[3], 16), record)
            elif kind == "s":
                place = self._wallet_of.get((parts[0], parts[1]), -1)
                if place < 0:
                    if value is None:
                        continue
                    raise StoreError("stored state has a suspect without its wallet: the store lost data")
                record = _record(value, DESTINATION, key) if value is not None else None
                self._put_destination(self._suspect_tables, place, int(parts[2], 16), record)
            else:
                raise StoreError(f"stored state has a record of unknown kind {kind!r}, written by another version")
        for name in gone:
            self._drop_asset(name)

    def _known_wallet(self, wallet: str, chain: str) -> int:
        """A fusion record whose settings are not known yet: they come with the first flow."""
        place = self._wallet_of.get((wallet, chain))
        return place if place is not None else self.wallet(wallet, chain, _NO_SETTINGS)

    def _put_asset(self, name: tuple[str, str, str], value: bytes | None, gone: list[tuple[str, str, str]]) -> None:
        slot = self._asset_of.get(name, -1)
        if value is None:
            if slot >= 0:
                gone.append(name)
            return
        if slot < 0:
            slot = self.add_asset(*name)
        self._assets[slot] = _record(value[:-1], ASSET, name[2].encode())
        self._proven[slot] = value[-1]

    def _drop_asset(self, name: tuple[str, str, str]) -> None:
        slot = self._asset_of.pop(name)
        self._counts[name[0], name[1]] -= 1
        for key in self._keys(self._asset_tables, slot):
            table.remove(self._pool, self._asset_tables, slot, np.uint64(key))
        self._assets[slot] = np.zeros((), ASSET)
        self._asset_tables[slot] = np.zeros((), TABLE)
        self._free_assets.append(slot)

    def _keys(self, tables: NDArray[np.void], owner: int) -> list[int]:
        bits, start = int(tables[owner]["bits"]), int(tables[owner]["offset"])
        if bits == 0:
            return []
        keys = self._pool["key"][start : start + (1 << bits)]
        return [int(key) for key in keys[keys != 0]]

    def dump(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record, sorted by key: equal states give equal dumps, whatever led to them."""
        found: list[tuple[bytes, bytes]] = []
        for (wallet, chain, asset), slot in self._asset_of.items():
            value = self._asset_bytes(slot)
            if value is None:
                continue
            found.append((_key("a", wallet, chain, asset), value))
            for key in self._keys(self._asset_tables, slot):
                record = self._destination(self._asset_tables, slot, key)
                assert record is not None
                found.append((_key("d", wallet, chain, asset, f"{key:016x}"), record))
        for (wallet, chain), place in self._wallet_of.items():
            value = self._wallet_bytes(place)
            if value is None:
                continue
            found.append((_key("w", wallet, chain), value))
            for key in self._keys(self._suspect_tables, place):
                record = self._destination(self._suspect_tables, place, key)
                assert record is not None
                found.append((_key("s", wallet, chain, f"{key:016x}"), record))
        yield from sorted(found)

    # -- verdicts -------------------------------------------------------------------------------------------------

    def clear_suspect(self, wallet: str, chain: str, key: int, learned: dict[str, float]) -> tuple[Delta, Delta]:
        """A false alarm: ``key`` is ordinary up to the amounts that raised it, and they are forgotten as evidence.

        Parameters
        ----------
        learned : ceiling in base units by asset; the destination is familiar up to it from now on

        Returns
        -------
        (what changed, how to undo it)
        """
        mine = [name for name in self._asset_of if name[:2] == (wallet, chain)]
        names = [_key("s", wallet, chain, f"{key:016x}")]
        names += [_key("d", *name, f"{key:016x}") for name in mine]
        names += [_key("a", *name) for name in mine if name[2] in learned]
        before = {name: value for name in names if (value := self.get(name)) is not None}
        place = self._wallet_of.get((wallet, chain))
        if place is not None:
            table.remove(self._pool, self._suspect_tables, place, np.uint64(key))
        for name in mine:
            slot, ceiling = self._asset_of[name], learned.get(name[2], 0.0)
            if name[2] in learned:
                for ring in ("ring_10m", "ring_1h", "ring_6h", "ring_24h", "ring_fresh", "ring_again", "sums"):
                    self._assets[slot][ring] = 0
            at = table.find(self._pool, self._asset_tables, slot, np.uint64(key))
            if at < 0:
                continue
            for sums in ("flags", "d1", "d24", "d240"):
                self._pool[at][sums] = 0
            scaled = np.float32(ceiling / float(self._assets[slot]["scale"]))
            self._pool[at]["older"] = max(self._pool[at]["older"], scaled)
        return tuple(sorted((name, self.get(name)) for name in before)), tuple(sorted(before.items()))

    def confirm_theft(self, wallet: str, chain: str, key: int) -> tuple[Delta, Delta]:
        """A confirmed theft is no false alarm: nothing adapts to it today, and its destination is never learned.

        Returns
        -------
        (what changed, how to undo it)
        """
        place = self._wallet_of.get((wallet, chain))
        if place is None or not self._fusions[place]["used"]:
            return (), ()
        names = [self._wallet_key(place), _key("s", wallet, chain, f"{key:016x}")]
        before = {name: value for name in names if (value := self.get(name)) is not None}
        self._fusions[place]["exceeded"] = 0
        mark = table.find(self._pool, self._suspect_tables, place, np.uint64(key))
        if mark >= 0:
            self._pool[mark]["flags"] |= CONFIRMED
        return tuple(sorted((name, self.get(name)) for name in before)), tuple(sorted(before.items()))


def _record(value: bytes, kind: np.dtype[np.void], key: bytes) -> NDArray[np.void]:
    if len(value) != kind.itemsize:
        raise StoreError(
            f"stored state of {key.decode().replace(_SEPARATOR, ' ')} has {len(value)} bytes where this version has "
            f"{kind.itemsize}: it was written by another version; keep it, and start this one with a new store"
        )
    record: NDArray[np.void] = np.frombuffer(value, kind)[0]
    return record
