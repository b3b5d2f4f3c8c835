"""Destination tables against a dictionary: find, insert, remove, growth, eviction."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from monitor import compiled as _compiled  # noqa: F401  (before any kernel)
from monitor.features import table
from monitor.features.dtypes import TABLE


class Tables:
    """Several tables in one pool."""

    def __init__(self, owners: int = 2, places: int = 1 << 17) -> None:
        self.pool = table.new_pool(places)
        self.used = np.zeros(1, np.int64)
        self.tables = np.zeros(owners, TABLE)

    def find(self, owner: int, key: int) -> int:
        return int(table.find(self.pool, self.tables, owner, np.uint64(key)))

    def insert(self, owner: int, key: int, last: int = 0) -> Any:
        table.reserve(self.pool, self.used, self.tables, owner)
        place = table.insert(self.pool, self.tables, owner, np.uint64(key))
        self.pool[place]["last"] = last
        return self.pool[place]

    def remove(self, owner: int, key: int) -> None:
        table.remove(self.pool, self.tables, owner, np.uint64(key))

    def keys(self, owner: int) -> set[int]:
        at, bits = int(self.tables[owner]["offset"]), int(self.tables[owner]["bits"])
        return {int(k) for k in self.pool["key"][at : at + (1 << bits if bits else 0)]} - {0}


def colliding(count: int, bits: int = 4, home: int = 14) -> list[int]:
    """Keys whose first place is ``home`` in a table of that size: they wrap around its end."""
    found, key = [], 1
    while len(found) < count:
        if (key * 0x9E3779B97F4A7C15 % 2**64) >> (64 - bits) == home:
            found.append(key)
        key += 1
    return found


@pytest.mark.parametrize("seed", range(12))
def test_against_a_dictionary(seed: int) -> None:
    """Thousands of random operations: what is found is what a dictionary holds, with its value."""
    rng = Random(seed)
    found = Tables()
    models: list[dict[int, int]] = [{}, {}]
    pool = [rng.randrange(1, 2**64) for _ in range(rng.choice([8, 60, 900]))]
    for step in range(2500):
        owner, key = rng.randrange(2), rng.choice(pool)
        model = models[owner]
        if rng.random() < 0.45 and key in model:
            found.remove(owner, key)
            del model[key]
        elif key not in model:
            found.insert(owner, key, step)
            model[key] = step
        place = found.find(owner, key)
        assert (place >= 0) == (key in model)
    for owner, model in enumerate(models):
        assert found.keys(owner) == set(model)
        assert int(found.tables[owner]["count"]) == len(model)
        for key, step in model.items():
            assert found.pool[found.find(owner, key)]["last"] == step


def test_removal_closes_the_gap_around_the_end() -> None:
    """Keys that were pushed on by others, also past the end of the table, are found after any of them went."""
    keys = colliding(5)
    for gone in keys:
        found = Tables()
        for key in keys:
            found.insert(0, key, key % 1000)
        found.remove(0, gone)
        assert found.find(0, gone) == -1
        assert all(found.pool[found.find(0, key)]["last"] == key % 1000 for key in keys if key != gone)


def test_removal_without_closing_the_gap_would_be_seen() -> None:
    """Planted fault: with the key simply wiped, what lies behind it is lost."""
    keys = colliding(3)
    found = Tables()
    for key in keys:
        found.insert(0, key)
    found.pool[found.find(0, keys[0])]["key"] = 0
    assert found.find(0, keys[1]) == -1


def test_an_inserted_record_is_zero() -> None:
    """A place that was used before holds nothing of its former record."""
    found = Tables()
    record = found.insert(0, 7)
    for name in found.pool.dtype.names:
        if name != "key":
            record[name] = 3
    found.remove(0, 7)
    again = found.insert(0, 7)
    assert {name: again[name].item() for name in found.pool.dtype.names} == dict.fromkeys(found.pool.dtype.names, 0) | {
        "key": 7
    }


def test_growth_is_announced_before_it_happens() -> None:
    """`growth` names the places that the next key needs: 16 first, then twice the size at a load of seven tenths."""
    found = Tables()
    needed = []
    for key in range(1, 46):
        needed.append(int(table.growth(found.tables, 0)))
        used = int(found.used[0])
        found.insert(0, key)
        assert int(found.used[0]) - used == needed[-1]
    assert {n + 1: size for n, size in enumerate(needed) if size} == {1: 16, 12: 32, 23: 64, 45: 128}


def full(suspects: range) -> Tables:
    """A table at its cap: key n was used at time n // 2."""
    found = Tables(1)
    for key in range(1, (1 << table.MAX_BITS) * 7 // 10 + 1):
        assert not table.is_full(found.tables, 0)
        record = found.insert(0, key, key // 2)
        if key in suspects:
            record["flags"] = 1
    assert table.is_full(found.tables, 0)
    return found


def test_the_oldest_eighth_goes_and_suspects_stay() -> None:
    """At the cap the records used longest ago go, ties by key, suspects not."""
    found = full(range(1, 101))
    count = int(found.tables[0]["count"])
    gone = [int(key) for key in table.oldest(found.pool, found.tables, 0)]
    assert gone == list(range(101, 101 + (count - 100) // 8))


def test_a_table_of_suspects_alone_still_makes_room() -> None:
    """Where every record is a suspect the oldest of them go: a table never fills up wholly (look-ups would not end)."""
    found = full(range(1, 1 << 20))
    count = int(found.tables[0]["count"])
    assert [int(key) for key in table.oldest(found.pool, found.tables, 0)] == list(range(1, 1 + count // 8))


@pytest.mark.parametrize("seed", range(6))
def test_a_pool_grows_and_loses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that outgrow their places leave gaps; records stay with their keys through every move and slide."""
    monkeypatch.setattr(table, "_AHEAD", 2)
    rng = Random(seed)
    found = Tables(owners=9, places=1)
    models: list[dict[int, int]] = [{} for _ in range(9)]
    grown = slid = 0
    for step in range(9000):
        owner = min(rng.randrange(9), rng.randrange(9))
        while found.used[0] + table.growth(found.tables, owner) > len(found.pool):
            before = found.pool if found.pool.base is None else found.pool.base
            found.pool = table.enlarged(found.pool, found.used, found.tables)
            slid += found.pool.base is before
            grown += found.pool.base is not before
        key = rng.randrange(1, 2**64)
        found.insert(owner, key, step)
        models[owner][key] = step
    assert grown > 1 and slid > 1
    for owner, model in enumerate(models):
        assert found.keys(owner) == set(model)
        assert all(int(found.pool[found.find(owner, key)]["last"]) == last for key, last in model.items())
