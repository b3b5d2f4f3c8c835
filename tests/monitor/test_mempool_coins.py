"""What waits on a chain of coins: rivals share a coin, children spend what waits; one incident through it all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.explain import explain
from monitor.incident_record import Limbo
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.mempool import Pool
from monitor.model import (
    Alert,
    Block,
    BlockRef,
    Pending,
    Role,
    Severity,
    Status,
    Transfer,
    TransferKind,
    Tx,
    TxFlag,
    Wallet,
)
from monitor.pipeline import Pipeline
from monitor.policies.book import PolicyBook
from monitor.store import OutboxRow
from monitor.watchlist import Watchlist

BTC = "bip122:000000000019d6689c085ae165831e93"
COIN = f"{BTC}/slip44:0"
START = 1_700_000_000
HELD = 100 * 10**8
HOT = Wallet("hot", "One", Role.HOT, ((BTC, "own"), (BTC, "change")))
NOWHERE = BlockRef(BTC, -1, "")


@dataclass(frozen=True)
class Spend:
    """A transaction that spends coins of the wallet, each of the same worth; ``pays`` to others, the rest is change."""

    name: str
    coins: tuple[str, ...]
    pays: tuple[tuple[str, int], ...]
    worth: int = HELD // 2
    fee: int = 1000
    flags: int = TxFlag.REPLACEABLE

    @property
    def hash(self) -> str:
        return self.name

    @property
    def change(self) -> str:
        return f"{self.name}:{len(self.pays)}"

    def tx(self) -> Tx:
        return Tx(self.name, 0, fee=self.fee, flags=self.flags, n_inputs=len(self.coins), spends=self.coins)

    def moves(self, ref: BlockRef, tx: Tx, first: int) -> tuple[Transfer, ...]:
        paid = sum(value for _, value in self.pays)
        outputs = (*self.pays, ("change", self.worth * len(self.coins) - paid - self.fee))
        owners, worths = ("own",) * len(self.coins), (self.worth,) * len(self.coins)
        return tuple(
            Transfer(ref, tx, first + n, TransferKind.NATIVE, COIN, owners, to, value, worths)
            for n, (to, value) in enumerate(outputs)
        )


def seen(spend: Spend) -> Any:
    """The event that it waits."""
    tx = spend.tx()
    return SimpleNamespace(pending=Pending(tx, spend.moves(NOWHERE, tx, 0)))


def gone(spend: Spend, why: str, block: int | None = None) -> Any:
    """The event that it waits no more."""
    return SimpleNamespace(hash=spend.name, why=why, block=block)


@dataclass
class Monitor:
    """A pipeline on a store, and a chain that grows."""

    store: MemoryStore = field(default_factory=MemoryStore)
    alerts: list[Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        watchlist = Watchlist([HOT])
        self.engine = Engine(watchlist, [COIN], PolicyBook(watchlist, ()), None, None)
        self.pipeline = Pipeline(
            self.engine, Correlator(), self.store, AssetNames(), self._route, lambda: float(START), {BTC: 64}
        )

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        incident = alert.incident["id"] if alert.incident else ""
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type, incident, int(alert.severity or 0))]

    async def start(self) -> Monitor:
        await self.pipeline.start()
        self.pipeline.tips[BTC] = await self.store.checkpoint(BTC)
        return self

    async def block(self, *spends: Spend, fork: str = "") -> BlockRef:
        tip = self.pipeline.tips.get(BTC)
        number = tip.number + 1 if tip else 1
        ref, moves = BlockRef(BTC, number, f"{number}{fork}"), list[Transfer]()
        for n, spend in enumerate(spends):
            tx = Tx(**{name: getattr(spend.tx(), name) for name in Tx.__slots__} | {"index": n + 1})
            moves += spend.moves(ref, tx, len(moves))
        told = {("hot", BTC, COIN): HELD} if number == 1 else {}
        block = Block(ref, tip.hash if tip else "", START + number * 600, tuple(moves))
        await self.pipeline.connect(block, told)
        await self.pipeline.flush(BTC)
        return ref

    async def undo(self, ref: BlockRef) -> None:
        await self.pipeline.disconnect(ref)
        await self.pipeline.flush(BTC, force=True)

    async def hear(self, *events: Any) -> None:
        await self.pipeline.foresee(BTC, events)

    @property
    def kinds(self) -> list[str]:
        return [str(alert.kind) for alert in self.alerts]

    @property
    def incident(self) -> Any:
        (found,) = self.pipeline.correlator.all()
        return found

    @property
    def text(self) -> str:
        return " ".join(explain(self.incident, AssetNames()))

    @property
    def waits(self) -> set[str]:
        return set(self.pipeline.foresight.known(BTC))


THEFT = Spend("theft", ("a:0", "b:0"), (("thief", HELD * 40 // 100),))
BUMP = Spend("bump", ("a:0", "b:0"), (("thief", HELD * 40 // 100),), fee=9000)
OTHER = Spend("other", ("b:0", "c:0"), (("thief2", HELD * 45 // 100),), fee=20_000)
RESCUE = Spend("rescue", ("b:0",), (), fee=50_000)
CHILD = Spend("child", (THEFT.change,), (("thief3", HELD * 30 // 100),), worth=HELD * 60 // 100 - 1000)


async def warm(store: MemoryStore | None = None) -> Monitor:
    """A monitor with two ordinary blocks."""
    monitor = await Monitor(store or MemoryStore()).start()
    await monitor.block(Spend("w1", ("w:0",), (("shop", HELD // 1000),)))
    await monitor.block(Spend("w2", ("w:1",), (("shop", HELD // 900),)))
    return monitor


async def robbed(store: MemoryStore | None = None) -> Monitor:
    """A monitor that saw the theft wait."""
    monitor = await warm(store)
    await monitor.hear(seen(THEFT))
    return monitor


async def test_a_theft_that_waits_is_told_and_confirmed_as_one() -> None:
    """Alarm before the block with what the owner can still do, one confirmation after it, no trace in the state."""
    monitor = await warm()
    before = monitor.engine.dump()
    await monitor.hear(seen(THEFT))
    first = monitor.incident
    assert monitor.engine.dump() == before and first.unconfirmed and first.lost == ((COIN, HELD * 40 // 100),)
    assert monitor.alerts[0].severity is not None and monitor.alerts[0].severity >= Severity.HIGH
    assert "spends the same coins at a higher fee" in monitor.text and "sender and nonce" not in monitor.text
    assert "may be replaced by its own word" in monitor.text and first.findings[0].evidence["replaceable"] is True
    await monitor.hear(seen(THEFT))
    await monitor.block(THEFT)
    assert monitor.kinds == ["opened", "updated"] and monitor.incident.id == first.id and monitor.waits == set()
    assert [f.id for f in monitor.incident.findings] == [f.id for f in first.findings]
    assert not monitor.incident.unconfirmed and "pending" not in monitor.incident.findings[0].evidence
    await monitor.block()
    assert monitor.kinds == ["opened", "updated"]


async def test_an_ordinary_payment_and_a_consolidation_say_nothing() -> None:
    """The benign twins."""
    monitor = await warm()
    await monitor.hear(seen(Spend("pay", ("a:0",), (("shop", HELD // 800),))), seen(Spend("join", ("b:0", "c:0"), ())))
    assert monitor.alerts == [] and monitor.pipeline.correlator.all() == []


@pytest.mark.parametrize("order", ["seen first", "gone first"])
async def test_a_fee_bump_is_the_same_incident(order: str) -> None:
    """The same payment at a higher fee: it counts once, and whichever is mined stands."""
    monitor = await robbed()
    events = [seen(BUMP), gone(THEFT, "replaced", 2)]
    await monitor.hear(*(events if order == "seen first" else reversed(events)))
    incident = monitor.incident
    assert incident.unconfirmed and incident.lost == ((COIN, HELD * 40 // 100),) and monitor.kinds == ["opened"]
    new = next(f for f in incident.findings if f.tx == BUMP.hash)
    assert new.evidence["replaces"] == [THEFT.hash] and "MP-2" in new.evidence["mempool"]
    assert f"{BUMP.hash} spends the coins of {THEFT.hash} at a higher fee" in monitor.text
    await monitor.block(BUMP)
    assert monitor.incident.id == incident.id and monitor.kinds == ["opened", "updated"]
    assert monitor.incident.suspects == ((BTC, "thief"),) and monitor.waits == set()
    assert {f.tx for f in monitor.incident.findings} == {BUMP.hash} and "race" not in monitor.text


async def test_a_replacement_to_another_destination_is_a_race() -> None:
    """It shares one of two coins: both destinations are suspects until a block has one of them."""
    monitor = await robbed()
    await monitor.hear(seen(OTHER), gone(THEFT, "replaced"))
    incident = monitor.incident
    assert set(incident.suspects) == {(BTC, "thief"), (BTC, "thief2")}
    assert incident.lost == ((COIN, HELD * 45 // 100),)
    await monitor.block(THEFT)  # the one that seemed to lose
    assert monitor.incident.id == incident.id and monitor.incident.suspects == ((BTC, "thief"),)
    assert monitor.incident.lost == ((COIN, HELD * 40 // 100),) and "retracted" not in monitor.kinds
    assert monitor.waits == set() and not monitor.incident.unconfirmed


async def test_what_is_said_first_is_of_the_one_that_counts() -> None:
    """A replacement that takes less than the theft before it: the first line has the amount that may be lost."""
    monitor = await warm()
    larger = Spend("larger", ("a:0", "b:0"), (("thief", HELD * 60 // 100),))
    await monitor.hear(seen(larger))
    await monitor.hear(seen(OTHER), gone(larger, "replaced"))
    first = explain(monitor.incident, AssetNames())[0]
    (counts,) = (f for f in monitor.incident.findings if f.tx == OTHER.hash)
    assert counts.summary in first and monitor.incident.lost == ((COIN, HELD * 45 // 100),)


async def test_a_cancellation_takes_the_alarm_back() -> None:
    """The coins go back to the wallet at a higher fee; the theft is mined all the same: the same incident."""
    monitor = await robbed()
    name = monitor.incident.id
    await monitor.hear(seen(RESCUE), gone(THEFT, "replaced"))
    assert monitor.kinds == ["opened", "retracted"] and monitor.incident.status is Status.RETRACTED
    assert f"replaced by {RESCUE.hash}" in monitor.text and monitor.waits == set()
    await monitor.block(THEFT)
    assert monitor.incident.id == name and monitor.incident.status is Status.OPEN
    assert monitor.kinds == ["opened", "retracted", "updated"]


async def test_a_double_spend_in_a_block_settles_it() -> None:
    """One of its coins is spent in a block by a transaction that nobody saw wait."""
    monitor = await robbed()
    await monitor.block(Spend("honest", ("b:0",), (("shop", HELD // 1000),)))
    assert monitor.kinds == ["opened", "retracted"] and "replaced by honest" in monitor.text


async def test_a_child_dies_with_its_parent() -> None:
    """What spends the change of one that was replaced, or whose coin a block has otherwise, can never be."""
    for settle in ("race", "block"):
        monitor = await robbed()
        await monitor.hear(seen(CHILD))
        child = next(f for f in monitor.incident.findings if f.tx == CHILD.hash)
        assert child.evidence["unconfirmed_parents"] == [THEFT.hash] and "not mined either" in monitor.text
        if settle == "race":
            await monitor.hear(seen(RESCUE))
        else:
            await monitor.block(RESCUE)
        assert monitor.incident.status is Status.RETRACTED and monitor.waits == set()
        assert len(monitor.pipeline.foresight.pool(BTC)) == (settle == "race")


async def test_a_child_that_is_mined_with_its_parent_counts_both() -> None:
    """Child pays for parent."""
    monitor = await robbed()
    await monitor.hear(seen(CHILD))
    await monitor.block(THEFT, CHILD)
    assert {f.tx for f in monitor.incident.findings} == {THEFT.hash, CHILD.hash}
    assert monitor.incident.lost == ((COIN, HELD * 70 // 100),) and not monitor.incident.unconfirmed


async def test_evicted_it_is_retracted_some_blocks_later() -> None:
    """Counted from the height at which no node had it: the head may be far above our tip."""
    monitor = await robbed()
    await monitor.hear(gone(THEFT, "dropped", 7))
    for _ in range(8):
        await monitor.block()
        assert monitor.kinds == ["opened"]
    for _ in range(2):
        await monitor.block()
    assert monitor.kinds == ["opened"] or "no node knows it" in monitor.text
    await monitor.block()
    assert monitor.kinds == ["opened", "retracted"] and "no node knows it" in monitor.text


async def test_a_height_that_makes_no_sense_keeps_nothing_for_ever() -> None:
    """An endpoint that lies of its height."""
    monitor = await robbed()
    await monitor.hear(gone(THEFT, "dropped", 10**12))
    (item,) = monitor.pipeline.foresight.unconfirmed.items(BTC).values()
    assert item.tip < 2000


async def test_after_a_restart_coins_settle_it() -> None:
    """Nothing but the store is left: coins and parents are there."""
    for rival in (RESCUE, Spend("honest", ("b:0",), (("shop", HELD // 1000),))):
        first = await robbed()
        await first.hear(seen(CHILD))
        second = await Monitor(first.store).start()
        assert second.waits == {THEFT.hash, CHILD.hash} and second.incident.unconfirmed
        await second.block(rival)
        assert second.kinds == ["retracted"] and second.waits == set() and f"replaced by {rival.hash}" in second.text


async def test_after_a_restart_a_rival_that_waits_settles_it() -> None:
    """What was known before is what it replaces, though nobody tells of it any more."""
    second = await Monitor((await robbed()).store).start()
    await second.hear(seen(RESCUE))
    assert second.kinds == ["retracted"] and f"replaced by {RESCUE.hash}" in second.text
    third = await Monitor((await robbed()).store).start()
    await third.hear(seen(OTHER))
    new = next(f for f in third.incident.findings if f.tx == OTHER.hash)
    assert new.evidence["replaces"] == [THEFT.hash]


async def test_a_reorg_puts_it_back() -> None:
    """Its block goes, and the new branch passes without it: it waits again, and is not taken back meanwhile."""
    monitor = await robbed()
    ref = await monitor.block(THEFT)
    name = monitor.incident.id
    await monitor.undo(ref)
    await monitor.block(fork="b")
    await monitor.hear(seen(THEFT))
    await monitor.block(fork="b")
    await monitor.block(fork="b")
    assert monitor.incident.unconfirmed and monitor.kinds == ["opened", "updated"]
    assert "Not yet confirmed" in monitor.text and monitor.incident.lost == ((COIN, HELD * 40 // 100),)
    for _ in range(8):
        await monitor.block(fork="b")
    await monitor.block(THEFT, fork="b")
    assert monitor.incident.id == name and not monitor.incident.unconfirmed and monitor.waits == set()
    assert "retracted" not in monitor.kinds and "confirmed" not in monitor.incident.findings[0].summary


async def test_a_reorg_without_further_blocks_puts_it_back() -> None:
    """No block comes for a while: what waits is not given up."""
    monitor = await robbed()
    await monitor.undo(await monitor.block(THEFT))
    await monitor.block(fork="b")
    await monitor.pipeline.settle(BTC)
    assert monitor.incident.unconfirmed and "retracted" not in monitor.kinds


async def test_a_reorg_that_nobody_tells_it_after_gives_it_up() -> None:
    """It is only assumed that it waits again: a few blocks later it did not happen."""
    monitor = await robbed()
    await monitor.undo(await monitor.block(THEFT))
    for _ in range(7):
        await monitor.block(fork="b")
    assert monitor.kinds[-1] == "retracted" and "no node knows it" in monitor.text


async def test_a_reorg_to_a_double_spend_retracts_it() -> None:
    """The other branch spends the coin otherwise: what was put back is out at once."""
    monitor = await robbed()
    await monitor.undo(await monitor.block(THEFT))
    await monitor.block(RESCUE, fork="b")
    await monitor.block(fork="b")
    await monitor.block(fork="b")
    assert monitor.kinds[-1] == "retracted" and monitor.waits == set()
    assert len(monitor.pipeline.foresight.pool(BTC)) == 0


def test_limbo_of_an_older_store_is_read() -> None:
    """Without coins, as it was stored before there were any."""
    import msgspec

    old = b'{"chain":"eip155:1","tx":"0x1","tip":9,"pending":true,"sender":"a","nonce":4,"why":""}'
    item = msgspec.json.decode(old, type=Limbo)
    assert item.places == (("a", 4),) and item.parents == frozenset()


# -- any order of events ----------------------------------------------------------------------------------------------

MANY = int(60 * float(os.environ.get("HEISTWATCH_EXAMPLES", "1"))) + 1
COINS = [f"root:{n}" for n in range(4)]


def ancestors(name: str, made: dict[str, Spend]) -> set[str]:
    """A transaction and those that it builds on, as far as they were made here."""
    found, line = set[str](), [name]
    while line:
        one = line.pop()
        if one in made and one not in found:
            found.add(one)
            line += [coin.partition(":")[0] for coin in made[one].coins]
    return found


def clash(one: set[str], other: set[str], made: dict[str, Spend]) -> bool:
    """Whether two histories spend one coin with two transactions."""
    spent = {coin: name for name in one for coin in made[name].coins}
    return any(spent.get(coin, name) != name for name in other for coin in made[name].coins)


@settings(max_examples=MANY, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_no_two_rivals_ever_count(data: st.DataObject) -> None:
    """Whatever is seen, dropped, mined and undone: what counts, and what it builds on, spends no coin twice."""
    pool, made, mined = Pool(BTC), dict[str, Spend](), list[tuple[int, list[str]]]()
    for step in range(data.draw(st.integers(1, 40))):
        coins = [*COINS, *(f"{name}:0" for name in made)]
        act = data.draw(st.sampled_from(["make", "make", "make", "again", "drop", "mine", "undo"]))
        names = sorted(made)
        if act == "make":
            name = f"t{step}"
            chosen = tuple(data.draw(st.lists(st.sampled_from(coins), min_size=1, max_size=3, unique=True)))
            whole = {**made, name: Spend(name, chosen, ())}
            line = ancestors(name, whole)
            if clash(line, line, whole):  # it spends what it builds on is made of: none can be
                continue
            made = whole
            pool.see(seen(made[name]).pending)
        elif act == "again" and names:
            pool.see(seen(made[data.draw(st.sampled_from(names))]).pending)
        elif act == "drop" and names:
            pool.drop(data.draw(st.sampled_from(names)))
        elif act == "mine" and names:
            done = {name for _, block in mined for name in block}
            base = ancestors(data.draw(st.sampled_from(names)), made) - done
            if not clash(base | done, base | done, made) and base:
                mined.append((len(mined), sorted(base)))
                dead = pool.mined([made[name].tx() for name in sorted(base)], len(mined) - 1)
                assert all(clash(ancestors(name, made), base | done, made) for name in dead)
        elif act == "undo" and mined:
            pool.reopen(mined.pop()[0])
        done = {name for _, block in mined for name in block}
        waits = [name for name in made if name in pool]
        counts = {*done, *waits}
        assert not any(clash(ancestors(name, made), counts, made) for name in waits), (act, waits, done)
        block = pool.block(BlockRef(BTC, 1, "1"), 0)
        order = list(dict.fromkeys(t.tx.hash for t in block.transfers)) if block is not None else []
        assert sorted(order) == sorted(waits)
        place = {name: n for n, name in enumerate(order)}
        pairs = ((coin.partition(":")[0], name) for name in order for coin in made[name].coins)
        assert all(place.get(parent, -1) < place[name] for parent, name in pairs)
        lost = pool.replaced()
        assert not set(lost) & set(waits) and set(lost.values()) <= set(waits)
        assert all(clash(ancestors(a, made), ancestors(b, made), made) for a, b in lost.items())


def test_a_pool_that_lets_rivals_stand_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a replacement leaves what it replaces."""
    monkeypatch.setattr(Pool, "_out", lambda self, hash: [])
    with pytest.raises(AssertionError):
        test_no_two_rivals_ever_count()


def test_long_chains_and_many_inputs_are_no_burden() -> None:
    """A chain of hundreds of unconfirmed payments, and one with as many coins as a transaction can spend."""
    pool = Pool(BTC)
    for n in range(300):
        pool.see(seen(Spend(f"n{n}", (f"n{n - 1}:0",), ())).pending)
    block = pool.block(BlockRef(BTC, 1, "1"), 0)
    assert block is not None and block.transfers[-1].tx.hash == "n299"
    pool.see(seen(Spend("big", tuple(f"x:{n}" for n in range(2000)), ())).pending)
    pool.see(seen(Spend("n44b", ("n43:0",), (), fee=5)).pending)
    assert len(pool) == 2 and "n299" not in pool  # "big", and the rival of what all others built on
