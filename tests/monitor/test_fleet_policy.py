"""Deposit fleets: where members may send to, common recipients, strangers' gas; learning, undo, restart, history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from chains.tables.layout import BALANCES, FRAME
from monitor.addresses.compact import AddressSet
from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import (
    Alert,
    Block,
    BlockRef,
    Finding,
    Incident,
    Role,
    Severity,
    Status,
    Transfer,
    TransferKind,
    Trusted,
    Tx,
    Wallet,
)
from monitor.pipeline import Pipeline
from monitor.policies.book import PolicyBook
from monitor.policies.fleet import LEARNING, DepositFleets, poisson_tail
from monitor.policies.fleet_limits import FLEET
from monitor.policies.fleet_records import CAP, MEMBERS, Recent, Table
from monitor.replay import replay
from monitor.store import OperatorEvent, OutboxRow
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
ETHER, USD, BITCOIN = f"{ETH}/slip44:60", f"{ETH}/erc20:usd", f"{BTC}/slip44:0"
DAY, HOUR = 86400, 3600
START = 1_700_000_000
N = 600
HELD = 10**22
NAMES = [f"m{i}" for i in range(N)]
HOT = Wallet("hot", "Us", Role.HOT, ((ETH, "hot"), (BTC, "qhot")))
PARTNER = Trusted(ETH, "partner", ETHER, 10**18, DAY)
HIGH, CRITICAL, MEDIUM = Severity.HIGH, Severity.CRITICAL, Severity.MEDIUM
Move = tuple[str, str, int] | tuple[str, str, int, str]


def fleet(*, long: bool = True, trusted: Sequence[Trusted] = ()) -> Wallet:
    """A fleet of `N` members, as a long list or name by name; and three on a chain of outputs."""
    singles = ((BTC, "q1"), (BTC, "q2"), (BTC, "q3"))
    if long:
        return Wallet("users", "Us", Role.DEPOSIT, singles, tuple(trusted), fleets=((ETH, AddressSet.of(NAMES)),))
    return Wallet("users", "Us", Role.DEPOSIT, (*((ETH, name) for name in NAMES), *singles), tuple(trusted))


class Live:
    """An engine that is given one block after the other."""

    def __init__(self, *wallets: Wallet) -> None:
        watchlist = Watchlist(wallets or (fleet(), HOT))
        self.engine = Engine(watchlist, [ETHER, BITCOIN], PolicyBook(watchlist, [DepositFleets(watchlist)]))
        self.number = 0
        self.undo: list[Any] = []
        self.rows: list[dict[str, Any]] = []

    def block(self, at: int, *moves: Move, told: int | None = None) -> list[Finding]:
        """One block with these moves, each a transaction; what was found."""
        self.number += 1
        ref = BlockRef(ETH, self.number, "b")
        transfers = []
        for n, move in enumerate(moves):
            asset = move[3] if len(move) > 3 else ETHER
            kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
            tx = Tx(f"t{self.number}-{n}", n, initiator=move[0])
            transfers.append(Transfer(ref, tx, n, kind, asset, (move[0],), move[1], move[2], (move[2],)))
            self.rows.append(
                dict.fromkeys(FRAME) | {
                    "chain": ETH, "block_number": self.number, "block_timestamp": START + at, "kind": str(kind),
                    "transaction_hash": tx.hash, "transaction_index": n, "transfer_index": n, "asset": asset,
                    "from_address": move[0], "to_address": move[1], "value": str(move[2]), "amount": float(move[2]),
                    "tx_from": move[0],
                }
            )  # fmt: skip
        balances = {} if told is None else {("users", ETH, ETHER): told}
        folded = self.engine.connect(Block(ref, "", START + at, tuple(transfers)), balances)
        self.undo.append(folded.undo)
        return list(folded.findings)

    def frame(self) -> pl.DataFrame:
        """All blocks so far as history."""
        return pl.DataFrame(self.rows, schema=dict(FRAME), orient="row")


def shown(findings: Sequence[Finding]) -> list[tuple[str, Severity]]:
    return [(f.detector, f.severity) for f in findings]


# -- DF-1 and DF-2 ----------------------------------------------------------------------------------------------------


def test_sweeps_to_listed_destinations_are_silent() -> None:
    """A sister wallet, a member, and a trusted address within its limit are expected; above it they are not."""
    live = Live(fleet(trusted=[PARTNER]), HOT)
    assert live.block(0, *((name, "hot", 10**18) for name in NAMES[:50])) == []
    assert live.block(60, ("m1", "partner", 10**18), ("m2", "m3", 5)) == []
    assert shown(live.block(120, ("m1", "partner", 1))) == [("DF-1", HIGH)]
    assert not live.block(180, ("m1", "hot", 7, USD))


def test_a_refund_is_one_high_finding() -> None:
    """Look-alike: one payment to a customer is told once, and is no common recipient."""
    live = Live()
    live.block(0, *((name, "hot", 10**18) for name in NAMES[:50]), told=HELD)
    (found,) = live.block(60, ("m7", "customer", 10**16))
    assert shown([found]) == [("DF-1", HIGH)] and not found.budget_exceeded and found.value == 10**16
    assert found.evidence["balance_after"] == str(HELD - 50 * 10**18 - 10**16)
    assert live.block(60 + DAY, ("m8", "hot", 10**18)) == []
    assert shown(live.block(60 + DAY, ("m9", "customer", 10**16))) == [("DF-1", HIGH)]  # a day later: no count goes on


def test_three_members_within_six_hours_are_critical() -> None:
    """To three different strangers; at six hours exactly the first no longer counts."""
    live = Live()
    assert shown(live.block(0, ("m1", "a", 1))) == [("DF-1", HIGH)]
    assert shown(live.block(HOUR, ("m2", "b", 1), ("m2", "c", 1))) == [("DF-1", HIGH), ("DF-1", HIGH)]
    assert shown(live.block(6 * HOUR, ("m3", "d", 1))) == [("DF-1", HIGH)]
    found = live.block(6 * HOUR + 60, ("m4", "e", 1))
    assert shown(found) == [("DF-1", CRITICAL)] and "3 deposit addresses paid unexpected" in found[0].summary


def test_a_share_of_a_known_balance_is_critical() -> None:
    """One percent of what the fleet held is not yet, one base unit more is; without a balance nothing is said of it."""
    assert shown(Live().block(0, ("m1", "a", HELD))) == [("DF-1", HIGH)]
    live = Live()
    assert shown(live.block(0, ("m1", "a", HELD // 200), told=HELD)) == [("DF-1", HIGH)]
    assert shown(live.block(HOUR, ("m1", "a", HELD // 200))) == [("DF-1", HIGH)]
    found = live.block(2 * HOUR, ("m1", "a", 1))
    assert shown(found) == [("DF-1", CRITICAL)] and "1.0 % of what the fleet held" in found[0].summary


def test_derived_keys_are_stolen() -> None:
    """Five hundred members to one thief: critical by the third, every payment counted, both detectors speak."""
    live = Live()
    live.block(0, *((name, "hot", 10**18) for name in NAMES[:50]))
    found = [live.block(HOUR + i, (name, "thief", 10**18)) for i, name in enumerate(NAMES[:500])]
    assert shown(found[0]) == [("DF-1", HIGH)]
    assert shown(found[1]) == [("DF-1", HIGH), ("DF-2", HIGH)]
    assert shown(found[2]) == [("DF-1", CRITICAL), ("DF-2", CRITICAL)]
    assert all(shown(f) == [("DF-1", CRITICAL), ("DF-2", CRITICAL)] for f in found[2:])
    assert f"{MEMBERS} or more deposit addresses paid the same" in found[-1][1].summary


def test_common_recipients_are_judged_by_the_fleets_own_rate() -> None:
    """A fleet that has paid two new customers a day for a month is not surprised by two members at one address."""
    live = Live()
    for i in range(60):
        assert shown(live.block(i * DAY // 2, (NAMES[i], f"c{i}", 1))) == [("DF-1", HIGH)]
    at = 30 * DAY + 7 * HOUR
    assert shown(live.block(at, ("m100", "new", 1), ("m101", "new", 1))) == [("DF-1", HIGH)] * 2
    assert shown(live.block(at, ("m102", "new", 1))) == [("DF-1", CRITICAL)]
    found = live.block(at, ("m103", "new", 1), ("m104", "new", 1), ("m105", "new", 1))
    assert [d for d, _ in shown(found)] == ["DF-1", "DF-1", "DF-2", "DF-1", "DF-2"]
    expected = 1 - sum(math.exp(-0.5) * 0.5**i / math.factorial(i) for i in range(5))
    rate = (60 + 0.5) * 0.25 / (at / DAY)
    assert rate == pytest.approx(0.5, rel=0.01) and found[2].evidence["tail"] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("rate", [1e-6, 0.009, 0.3, 2.0, 30.0])
def test_the_poisson_tail(rate: float) -> None:
    """Against the direct sum in extended precision, and its ends."""
    assert poisson_tail(0, rate) == 1.0 and poisson_tail(-1, rate) == 1.0
    for count in (1, 2, 3, 10, 24):
        terms = (math.exp(-rate + i * math.log(rate) - math.lgamma(i + 1)) for i in range(count, count + 200))
        assert poisson_tail(count, rate) == pytest.approx(math.fsum(terms), rel=1e-9)
    assert poisson_tail(2, 0.5 * 0.25 / 14) <= 1e-3 < poisson_tail(1, 0.5 * 0.25 / 14)
    assert poisson_tail(3, 0.5 * 0.25 / 14) <= 1e-5 < poisson_tail(2, 0.5 * 0.25 / 14)


def test_one_transaction_of_many_members() -> None:
    """On chains of outputs the members among the inputs count, strangers and the change do not."""
    live = Live()
    ref = BlockRef(BTC, 1, "b")
    for payers, count in ((("q1", "x1", "x2"), 1), (("q1", "q2", "q3"), 3)):
        tx = Tx(f"t{count}", 0)
        made = Transfer(ref, tx, 0, TransferKind.NATIVE, BITCOIN, payers, "thief", 30, (10, 10, 10))
        folded = live.engine.connect(Block(ref, "", START, (made,)))
        assert folded.findings[0].evidence["members"] == count
    assert folded.findings[0].severity is CRITICAL


# -- DF-3 -------------------------------------------------------------------------------------------------------------


def test_gas_from_a_stranger() -> None:
    """Three equal top-ups within an hour are medium, once an hour; nothing is lost by them."""
    live = Live()
    assert live.block(0, ("gas", "m1", 1000), ("gas", "m2", 1010), ("gas", "m1", 1000)) == []
    (found,) = live.block(60, ("gas", "m3", 990))
    assert shown([found]) == [("DF-3", MEDIUM)] and found.destination == "gas" and found.value == 0
    assert live.block(120, ("gas", "m4", 1000)) == []
    assert shown(live.block(2 * HOUR, *((("gas", f"m{i}", 1000)) for i in range(10, 14)))) == [("DF-3", MEDIUM)]


def test_what_is_no_gas() -> None:
    """Look-alikes: deposits of different size by one exchange, tokens, the own hot wallet, a trusted funder, time."""
    live = Live(fleet(trusted=[Trusted(ETH, "station")]), HOT)
    assert live.block(0, ("xchg", "m1", 1000), ("xchg", "m2", 5000), ("xchg", "m3", 300), ("xchg", "m4", 90)) == []
    assert live.block(60, *(("airdrop", name, 1000, USD) for name in NAMES[:9])) == []
    assert live.block(120, *(("hot", name, 1000) for name in NAMES[:9])) == []
    assert live.block(180, *(("station", name, 1000) for name in NAMES[:9])) == []
    assert [live.block(DAY + i * HOUR, ("slow", NAMES[i], 1000)) for i in range(6)] == [[]] * 6


# -- learning ---------------------------------------------------------------------------------------------------------


def alone() -> Live:
    return Live(fleet())


def test_destinations_are_learned_in_the_first_fourteen_days() -> None:
    """20 members over 7 days make a destination expected, for good; 19, or a week less a second, do not."""
    live = alone()
    for i in range(19):
        member = NAMES[i]
        assert live.block(i * 60, (member, "hot", 1), (member, "few", 1), (member, "quick", 1)) == []
    assert live.block(7 * DAY - 1, ("m19", "quick", 1)) == []
    assert live.block(7 * DAY, ("m19", "hot", 1), ("m0", "few", 1)) == []
    after = LEARNING
    assert live.block(after, ("m30", "hot", 10**18)) == []
    assert shown(live.block(after, ("m30", "few", 1), ("m30", "quick", 1))) == [("DF-1", HIGH)] * 2
    assert live.block(after + 300 * DAY, ("m31", "hot", 10**18)) == []


def test_a_fleet_that_learns_tells_the_worst_alone_and_says_so() -> None:
    """Before 14 days: two members and more than 1 % of the known balance to one address; again when it doubles."""
    live = alone()
    assert live.block(0, ("m1", "thief", HELD // 50), told=HELD) == []
    (found,) = live.block(60, ("m2", "thief", 1))
    assert shown([found]) == [("DF-2", CRITICAL)]
    assert "day 1 of 14 in which the fleet learns its destinations" in found.summary
    assert live.block(120, ("m3", "thief", 1)) == []
    assert shown(live.block(180, ("m4", "thief", HELD // 40))) == [("DF-2", CRITICAL)]
    assert alone().block(0, *((name, "thief", 1) for name in NAMES)) == []  # no balance: nothing is known


def test_gas_funders_are_learned_too() -> None:
    """Who funded 20 members over a week while the fleet learned may go on; another one may not."""
    live = alone()
    for i in range(20):
        assert live.block(i * DAY // 2, ("station", NAMES[i], 1000)) == []
    assert live.block(15 * DAY, *(("station", name, 1000) for name in NAMES[:9])) == []
    assert shown(live.block(15 * DAY, *(("other", name, 1000) for name in NAMES[:3]))) == [("DF-3", MEDIUM)]


def test_a_fleet_with_a_listed_destination_does_not_learn() -> None:
    """A sister wallet on the same chain, or a trusted address: the rules hold from the first block on."""
    other = Wallet("hot", "Us", Role.HOT, ((BTC, "qhot"),))
    assert Live(fleet(), other).block(0, ("m1", "x", 1)) == []  # a sister on another chain alone
    for wallets in ((fleet(), HOT), (fleet(trusted=[PARTNER]),)):
        assert shown(Live(*wallets).block(0, ("m1", "x", 1))) == [("DF-1", HIGH)]


# -- state ------------------------------------------------------------------------------------------------------------


def scenario(live: Live, told: int | None = HELD) -> list[list[Finding]]:
    found = [live.block(0, *((name, "hot", 10**18) for name in NAMES[:30]), told=told)]
    for i in range(40):
        moves: list[Move] = [(NAMES[i], f"r{i % 7}", 10**17 + i), ("gas", NAMES[i + 9], 1000 + i)]
        found.append(live.block(60 + i * 1700, *moves, ("d", NAMES[i], 10**18)))
        found.append(live.block(70 + i * 1700, (NAMES[i], "hot", 10**18), ("d", NAMES[i], 9, USD)))
    found.append(live.block(10**6, (NAMES[0], "hot", 5, USD)))
    return found


@pytest.mark.parametrize("make", [Live, alone])
def test_undo_and_restart(make: Any) -> None:
    """Undoing all blocks gives the empty state, and the same blocks again the same findings and state."""
    live = make()
    expected = scenario(live)
    final = live.engine.dump()
    assert any(key.startswith(b"f\x1f") for key, _ in final)
    fresh = make()
    fresh.engine.load(final)
    assert fresh.engine.policies.dump() == live.engine.policies.dump()
    again = make()
    steps = scenario(again)
    assert steps == expected
    for undo in reversed(again.undo):
        again.engine.disconnect(undo)
    assert again.engine.policies.dump() == []
    again.number = 0
    assert scenario(again) == expected and again.engine.policies.dump() == live.engine.policies.dump()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_restart_between_blocks_changes_nothing(cut: int) -> None:
    """Also where more members paid than are kept: who is forgotten next does not depend on the restart."""
    blocks: list[tuple[Move, ...]] = [
        tuple((NAMES[(7 * i + 31 * n) % 99], "thief", 1 + i) for i in range(5 if n else 40)) for n in range(4)
    ]
    whole, first = Live(), Live()
    expected = [whole.block(n * HOUR, *moves, told=HELD if n == 0 else None) for n, moves in enumerate(blocks)]
    found = [first.block(n * HOUR, *moves, told=HELD if n == 0 else None) for n, moves in enumerate(blocks[:cut])]
    rest = Live()
    rest.engine.load(first.engine.dump())
    rest.number = cut
    found += [rest.block(n * HOUR, *moves) for n, moves in enumerate(blocks) if n >= cut]
    assert found == expected and rest.engine.policies.dump() == whole.engine.policies.dump()


def test_history_goes_on_with_balances_of_before() -> None:
    """A second table on the same state: sweeps count for the balance that an earlier one told."""
    live = Live()
    scenario(live)
    told = pl.DataFrame([(ETH, "m1", ETHER, 0, str(HELD))], schema=dict(BALANCES), orient="row")
    again, frame = Live(), live.frame()
    replay(again.engine, frame.head(99), AssetNames(), told)
    replay(again.engine, frame.slice(99), AssetNames())
    assert again.engine.policies.dump() == live.engine.policies.dump()


@pytest.mark.parametrize("held", [HELD, None])
def test_history_finds_what_live_blocks_find(held: int | None) -> None:
    """The same findings and state from a table, with balances and without, from a long list and from single names."""
    live = Live()
    expected = [finding for found in scenario(live, held) for finding in found]
    assert {f.detector for f in expected} == {"DF-1", "DF-2", "DF-3"}
    told = pl.DataFrame([(ETH, "m1", ETHER, 0, str(HELD))], schema=dict(BALANCES), orient="row") if held else None
    for long in (True, False):
        watchlist = Watchlist([fleet(long=long), HOT])
        engine = Engine(watchlist, [ETHER], PolicyBook(watchlist, [DepositFleets(watchlist)]))
        result = replay(engine, live.frame(), AssetNames(), told)
        (incident,) = result.correlator.all()
        assert {f.id: (f.severity, f.summary) for f in incident.findings} == {
            f.id: (f.severity, f.summary) for f in expected
        }
        assert engine.policies.dump() == live.engine.policies.dump()


def test_only_so_many_strangers_are_kept() -> None:
    """Beyond the cap the oldest go, never an expected one; what may go is named before, so that it can be undone."""
    live = Live()
    live.block(0, *((f"s{i}", "m1", 1) for i in range(CAP)))
    table = live.engine.policies.policies[0]._tables["users", ETH, "g"]  # type: ignore[attr-defined]
    table.entries["s0"].expected = True
    before = live.engine.policies.dump()
    assert len(table.entries) == CAP
    live.block(60, ("s1", "m2", 1), ("more", "m1", 1))
    assert len(table.entries) == CAP - CAP // 8 + 1 and {"s0", "s1", "more"} <= set(table.entries)
    live.engine.disconnect(live.undo[-1])
    assert live.engine.policies.dump() == before


def test_records_are_bounded() -> None:
    """Members of a counterparty and of the last hours: the newest alone; sums: of six hours alone."""
    table, recent = Table(), Recent()
    entry = table.open("x", 0)
    for i in range(100):
        entry.see(f"m{i}", i, 1)
        recent.see(f"m{i}", i)
        recent.begin(i)
        recent.sums.add("a", 1, i * HOUR)
    assert len(entry.members) == len(recent.members) == len(recent.starts) == MEMBERS and recent.new == 100
    assert "m99" in entry.members and len(recent.sums.by_asset["a"]) == 7 and len(entry.dump()) < 1200


def test_broken_records_are_refused() -> None:
    """A stored record that makes no sense stops the monitor; one of a wallet with another role is left out."""
    live = Live()
    for kind in ("d\x1fx", "w\x1f"):
        for value in (b"{", b"[1]", b"[1,2,3,4,5,6]", b"[[[1]],{},0,[]]"):
            with pytest.raises(StoreError, match="deposit fleet"):
                live.engine.load([(f"f\x1fusers\x1f{ETH}\x1f{kind}".encode(), value)])
    live = Live()
    live.engine.load([(f"f\x1fhot\x1f{ETH}\x1fd\x1fx".encode(), b'[1,2,0,"0",[],{}]')])
    assert live.engine.policies.dump() == []


def test_the_detectors_say_what_they_do() -> None:
    """Each has its id, title, what it catches and misses, and its look-alikes."""
    assert [d.id for d in FLEET] == ["DF-1", "DF-2", "DF-3"]
    assert all(d.title and d.catches and d.misses and d.lookalikes for d in FLEET)


# -- incidents --------------------------------------------------------------------------------------------------------


class Monitor(Live):
    """A pipeline on a store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__()
        self.store = store or MemoryStore()
        self.alerts: list[Alert] = []
        self.pipeline = Pipeline(
            self.engine, Correlator(), self.store, AssetNames(), self._route, lambda: 5.0, {ETH: 64}
        )

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        incident = alert.incident["id"] if alert.incident else ""
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type, incident, int(alert.severity or 0))]

    async def connect(self, at: int, *moves: tuple[str, str, int], fork: str = "") -> BlockRef:
        tip = self.pipeline.tips.get(ETH)
        number = tip.number + 1 if tip else 1
        ref = BlockRef(ETH, number, f"b{number}{fork}")
        transfers = tuple(
            Transfer(ref, Tx(f"{a}-{b}-{v}", n, initiator=a), n, TransferKind.NATIVE, ETHER, (a,), b, v, (v,))
            for n, (a, b, v) in enumerate(moves)
        )
        await self.pipeline.connect(Block(ref, tip.hash if tip else "", START + at, transfers))
        await self.pipeline.flush(ETH)
        return ref

    @property
    def incidents(self) -> list[Incident]:
        return self.pipeline.correlator.all()


async def test_a_theft_is_one_incident() -> None:
    """Opened by the first member, critical by the third, with the exact loss of all."""
    monitor = Monitor()
    for i in range(6):
        await monitor.connect(i * 12, (NAMES[i], "thief", 10**18), (NAMES[i + 100], "hot", 5))
    (incident,) = monitor.incidents
    assert incident.severity is CRITICAL and incident.lost == ((ETHER, 6 * 10**18),)
    assert incident.suspects == ((ETH, "thief"),) and not incident.budget_exceeded
    assert [(str(a.kind), a.severity) for a in monitor.alerts][:3] == [
        ("opened", HIGH), ("escalated", HIGH), ("escalated", CRITICAL)
    ]  # fmt: skip


async def test_a_new_hot_wallet_is_learned_by_a_false_alarm() -> None:
    """One incident; after the verdict sweeps to it are silent, also after a reorg of its block and a restart."""
    monitor = Monitor()
    for i in range(4):
        await monitor.connect(i * 12, (NAMES[i], "newhot", 10**18))
    (incident,) = monitor.incidents
    await monitor.store.say(OperatorEvent("v1", "false-alarm", incident.id, "ann", "", 9.0))
    ref = await monitor.connect(60, ("m9", "newhot", 10**18))
    await monitor.connect(72, *((name, "newhot", 10**18) for name in NAMES[:50]))
    assert [(i.status, len(i.findings)) for i in monitor.incidents] == [(Status.FALSE_ALARM, len(incident.findings))]
    await monitor.pipeline.disconnect(monitor.pipeline.tips[ETH])  # type: ignore[arg-type]
    await monitor.pipeline.disconnect(ref)
    await monitor.connect(60, ("m9", "newhot", 10**18), fork="x")
    await monitor.connect(72, ("m10", "newhot", 10**18), fork="x")
    again = Monitor(monitor.store)
    await again.pipeline.start()
    again.pipeline.tips[ETH] = await monitor.store.checkpoint(ETH)
    await again.connect(3 * DAY, *((name, "newhot", 10**18) for name in NAMES[:50]))
    assert [i.status for i in again.incidents] == [Status.FALSE_ALARM]
    await again.connect(3 * DAY + 60, ("m1", "thief", 1))
    assert [i.status for i in again.incidents] == [Status.FALSE_ALARM, Status.OPEN]


async def test_a_resolved_incident_teaches_nothing() -> None:
    """Look-alike of a false alarm: whoever resolves does not say that the address is ordinary."""
    monitor = Monitor()
    await monitor.connect(0, ("m1", "x", 10**18))
    await monitor.store.say(OperatorEvent("v1", "resolve", monitor.incidents[0].id, "ann", "", 9.0))
    await monitor.connect(60, ("m2", "x", 10**18))
    assert [i.status for i in monitor.incidents] == [Status.RESOLVED, Status.OPEN]


@pytest.mark.parametrize("others", [(), (HOT,)], ids=["learned", "listed"])
def test_two_hundred_thousand_flows_are_quick(others: tuple[Wallet, ...]) -> None:
    """History of an honest fleet goes through in seconds, and finds nothing."""
    count = 200_000
    rows = pl.DataFrame(
        {
            "chain": [ETH] * count,
            "block_number": [i // 20 for i in range(count)],
            "block_timestamp": [START + i // 20 * 60 for i in range(count)],
            "transaction_hash": [f"t{i}" for i in range(count)],
            "transaction_index": [i % 20 for i in range(count)],
            "transfer_index": [i % 20 for i in range(count)],
            "kind": ["native"] * count,
            "asset": [ETHER] * count,
            "from_address": [NAMES[i % N] if i % 2 else f"customer{i}" for i in range(count)],
            "to_address": ["hot" if i % 2 else NAMES[i % N] for i in range(count)],
            "value": [str(10**18 + i % 977) for i in range(count)],
            "amount": [float(10**18)] * count,
        }
    )
    frame = rows.with_columns(pl.lit(None, dtype).alias(n) for n, dtype in FRAME.items() if n not in rows.columns)
    live = Live(fleet(), *others)
    begin = time.perf_counter()
    result = replay(live.engine, frame.select(list(FRAME)), AssetNames())
    seconds = time.perf_counter() - begin
    print(f"{count / seconds:,.0f} flows a second")
    assert not [f for i in result.correlator.all() for f in i.findings if f.wallet == "users"] and result.flows >= count
    assert seconds < 60
