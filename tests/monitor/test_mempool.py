"""What waits to be mined: foreseen without a trace, one incident with what is mined, settled whatever becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.explain import explain
from monitor.features.dtypes import FUSION
from monitor.fees import fee_spike
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.mempool import KEPT, Pool, moment
from monitor.model import (
    Alert,
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
    Pending,
    Role,
    Severity,
    Status,
    Transfer,
    TransferKind,
    Tx,
    Wallet,
)
from monitor.pipeline import Pipeline
from monitor.policies.book import PolicyBook
from monitor.policies.cold import ColdWallets
from monitor.policies.control.policy import ControlChanges
from monitor.rows import pack_marks
from monitor.store import OutboxRow
from monitor.verdicts import verdict
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
START = 1_700_000_000
HELD = 10**20
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"),))
COLD = Wallet("cold", "One", Role.COLD, ((ETH, "c1"),))
NOWHERE = BlockRef(ETH, -1, "")


@dataclass(frozen=True)
class Pay:
    """A payment that will be sent."""

    to: str
    value: int
    nonce: int
    sender: str = "h1"
    mark: str = ""

    @property
    def hash(self) -> str:
        return f"tx-{self.sender}-{self.nonce}-{self.to}{self.mark}"

    def tx(self, index: int = 0, *, pending: bool = False) -> Tx:
        return Tx(self.hash, index, initiator=self.sender, nonce=self.nonce, target=self.to, pending=pending)

    def move(self, ref: BlockRef, tx: Tx, index: int) -> Transfer:
        return Transfer(ref, tx, index, TransferKind.NATIVE, ETHER, (self.sender,), self.to, self.value, (self.value,))


def seen(pay: Pay, *, gap: int = 0) -> Any:
    """The event that it waits."""
    tx = pay.tx(pending=True)
    return SimpleNamespace(pending=Pending(tx, (pay.move(NOWHERE, tx, 0),) if pay.value else (), (), gap))


def gone(pay: Pay, why: str, block: int | None = None) -> Any:
    """The event that it waits no more."""
    return SimpleNamespace(hash=pay.hash, why=why, block=block)


class Monitor:
    """A pipeline on a store, and a chain that grows."""

    def __init__(self, store: MemoryStore | None = None, settings: Any = None) -> None:
        self.store = store or MemoryStore()
        self.alerts: list[Alert] = []
        watchlist = Watchlist([HOT, COLD])
        policies = PolicyBook(watchlist, (ColdWallets(watchlist, (), {ETHER}), ControlChanges(watchlist, ())))
        self.engine = Engine(watchlist, [ETHER], policies, None, settings)
        self.pipeline = Pipeline(
            self.engine, Correlator(), self.store, AssetNames(), self._route, lambda: float(START), {ETH: 64}
        )

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        incident = alert.incident["id"] if alert.incident else ""
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type, incident, int(alert.severity or 0))]

    async def start(self) -> Monitor:
        await self.pipeline.start()
        self.pipeline.tips[ETH] = await self.store.checkpoint(ETH)
        return self

    async def block(self, *pays: Pay, fork: str = "") -> BlockRef:
        tip = self.pipeline.tips.get(ETH)
        number = tip.number + 1 if tip else 1
        ref = BlockRef(ETH, number, f"{number}{fork}")
        moves = tuple(pay.move(ref, pay.tx(n), n) for n, pay in enumerate(pays))
        told = {("hot", ETH, ETHER): HELD, ("cold", ETH, ETHER): HELD} if number == 1 else {}
        await self.pipeline.connect(Block(ref, tip.hash if tip else "", START + number * 12, moves), told)
        await self.pipeline.flush(ETH)
        return ref

    async def hear(self, *events: Any, fold: bool = True) -> None:
        await self.pipeline.foresee(ETH, events, fold=fold)

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
    def waits(self) -> dict[str, tuple[str, int]]:
        return self.pipeline.foresight.known(ETH)


THEFT = Pay("thief", HELD * 40 // 100, 7)


async def warm(store: MemoryStore | None = None) -> Monitor:
    """A monitor with two ordinary blocks."""
    monitor = await Monitor(store).start()
    await monitor.block(Pay("shop", HELD // 1000, 1))
    await monitor.block(Pay("shop", HELD // 900, 2))
    return monitor


async def robbed(store: MemoryStore | None = None) -> Monitor:
    """A monitor that saw the theft wait."""
    monitor = await warm(store)
    await monitor.hear(seen(THEFT))
    return monitor


async def test_a_theft_that_waits_is_told_and_leaves_the_state_alone() -> None:
    """It opens an incident that says that it is not confirmed; state, coverage and checkpoint are as before."""
    monitor = await warm()
    before = monitor.engine.dump()
    stored = dict([item async for item in monitor.store.state()])
    await monitor.hear(seen(THEFT))
    (alert,), incident = monitor.alerts, monitor.incident
    assert str(alert.kind) == "opened" and alert.severity is Severity.HIGH
    assert alert.title.startswith("Unconfirmed: HIGH: One: ") and "about to go to suspects" in alert.title
    assert alert.incident is not None and alert.incident["unconfirmed"] is True
    assert incident.unconfirmed and incident.lost == ((ETHER, THEFT.value),) and incident.suspects == ((ETH, "thief"),)
    (finding,) = incident.findings
    assert finding.evidence["pending"] is True and finding.evidence["mempool"] == ["MP-1"]
    assert finding.summary.endswith("(not yet confirmed)") and "Not yet confirmed" in monitor.text
    assert monitor.engine.dump() == before and dict([item async for item in monitor.store.state()]) == stored
    assert (await monitor.store.checkpoint(ETH)).number == 2  # type: ignore[union-attr]
    assert monitor.engine.state.is_suspect("hot", ETH, 0) is False


async def test_an_ordinary_payment_that_waits_says_nothing() -> None:
    """The benign twin; neither does an arrival of nothing."""
    monitor = await warm()
    await monitor.hear(seen(Pay("shop", HELD // 800, 3)), seen(Pay("h1", 0, 9, "stranger")))
    assert monitor.alerts == [] and monitor.pipeline.correlator.all() == []


async def test_mined_it_is_the_same_incident_confirmed() -> None:
    """Same id and finding; the alarm is not repeated, but that it is confirmed now is said once."""
    monitor = await robbed()
    before = monitor.incident
    await monitor.block(THEFT)
    incident = monitor.incident
    assert monitor.kinds == ["opened", "updated"] and incident.id == before.id and not incident.unconfirmed
    assert [f.id for f in incident.findings] == [f.id for f in before.findings]
    assert "pending" not in incident.findings[0].evidence and "confirmed" not in monitor.text
    assert incident.findings[0].block_number == 3 and incident.opened_block == 3
    assert not monitor.alerts[-1].title.startswith("Unconfirmed") and monitor.alerts[-1].incident is not None
    assert monitor.alerts[-1].incident["unconfirmed"] is False and monitor.waits == {}
    await monitor.block()
    assert monitor.kinds == ["opened", "updated"]


async def test_the_same_told_twice_changes_nothing() -> None:
    """Neither a repetition nor an ordinary transaction beside it is a new message, or a new revision."""
    monitor = await robbed()
    revision = monitor.incident.revision
    await monitor.hear(seen(THEFT))
    await monitor.hear(seen(Pay("shop", HELD // 800, 8)))
    assert monitor.kinds == ["opened"] and monitor.incident.revision == revision


async def test_many_that_wait_are_judged_together() -> None:
    """A drain in pieces, each alone under every threshold, is seen before the first piece is mined."""
    monitor = await warm()
    for n in range(3, 13):
        await monitor.hear(seen(Pay("thief", HELD * 4 // 100, n)))
    assert monitor.kinds[0] == "opened" and monitor.incident.unconfirmed


async def test_a_cancellation_retracts_it() -> None:
    """A self-transfer of nothing with the same nonce takes its place: retracted, with the reason."""
    monitor = await robbed()
    cancel = Pay("h1", 0, 7)
    await monitor.hear(seen(cancel))
    assert monitor.kinds == ["opened", "retracted"] and monitor.incident.status is Status.RETRACTED
    assert f"replaced by {cancel.hash}" in monitor.text and monitor.waits == {}
    assert "never mined" in monitor.alerts[-1].title
    await monitor.block()
    assert monitor.kinds == ["opened", "retracted"]


async def test_a_cancellation_that_loses_opens_it_again() -> None:
    """The theft is mined although it seemed replaced: the same incident."""
    monitor = await robbed()
    before = monitor.incident.id
    await monitor.hear(seen(Pay("h1", 0, 7)))
    await monitor.block(THEFT)
    assert monitor.incident.id == before and monitor.incident.status is Status.OPEN
    assert not monitor.incident.unconfirmed and monitor.kinds == ["opened", "retracted", "updated"]


async def test_a_race_is_one_incident_and_counts_once() -> None:
    """A replacement to another address is found itself; amounts count with it alone; the block decides."""
    monitor = await robbed()
    other = Pay("thief2", HELD * 45 // 100, 7)
    await monitor.hear(seen(other))
    incident = monitor.incident
    assert incident.unconfirmed and set(incident.suspects) == {(ETH, "thief"), (ETH, "thief2")}
    assert incident.lost == ((ETHER, other.value),) and "A race is on" in monitor.text
    new = next(f for f in incident.findings if f.tx == other.hash)
    assert new.evidence["replaces"] == [THEFT.hash] and "MP-2" in new.evidence["mempool"]
    await monitor.block(other)
    assert monitor.incident.id == incident.id and monitor.incident.suspects == ((ETH, "thief2"),)
    assert not monitor.incident.unconfirmed and monitor.waits == {} and "race" not in monitor.text
    assert "retracted" not in monitor.kinds


async def test_another_transaction_with_the_nonce_settles_it() -> None:
    """One that nobody saw wait is mined with the same sender and nonce."""
    monitor = await robbed()
    other = Pay("shop", HELD // 1000, 7)
    await monitor.block(other)
    assert monitor.kinds == ["opened", "retracted"] and f"replaced by {other.hash}" in monitor.text


async def test_a_higher_nonce_settles_it() -> None:
    """Nonces are used in order: what is below a mined one waits in vain."""
    monitor = await robbed()
    await monitor.block(Pay("shop", HELD // 1000, 9))
    assert monitor.kinds == ["opened", "retracted"] and "used the nonce" in monitor.text


async def test_mined_without_effect_it_is_retracted() -> None:
    """A transaction that failed touches nothing in its block: the node says where it is."""
    monitor = await robbed()
    await monitor.hear(gone(THEFT, "mined", 3))
    assert monitor.kinds == ["opened"]  # block 3 is not here yet
    await monitor.block()
    await monitor.block()
    assert monitor.kinds == ["opened", "retracted"] and "mined without" in monitor.text


async def test_dropped_it_is_retracted_some_blocks_later() -> None:
    """Other nodes may know it still."""
    monitor = await robbed()
    await monitor.hear(gone(THEFT, "dropped"))
    for _ in range(3):
        await monitor.block()
        assert monitor.kinds == ["opened"]
    for _ in range(2):
        await monitor.block()
    assert monitor.kinds == ["opened", "retracted"] and "no node knows it" in monitor.text


async def test_dropped_and_seen_again_it_waits_on() -> None:
    """A node that forgot it was told of it again."""
    monitor = await robbed()
    await monitor.hear(gone(THEFT, "dropped"))
    await monitor.hear(seen(THEFT))
    for _ in range(8):
        await monitor.block()
    assert monitor.kinds == ["opened"] and monitor.waits


async def test_as_long_as_a_node_knows_it_it_waits() -> None:
    """Far beyond the bound for what nobody tells of."""
    monitor = await robbed()
    for _ in range(2 * KEPT + 9):
        await monitor.block()
    assert monitor.kinds == ["opened"] and monitor.incident.unconfirmed


async def test_after_a_restart_a_block_settles_it() -> None:
    """Nothing but the store is left: its transaction, its nonce and the bound are there."""
    first = await robbed()
    second = await Monitor(first.store).start()
    assert second.waits == {THEFT.hash: ("h1", 7)} and second.incident.unconfirmed
    await second.block(THEFT)
    assert second.kinds == ["updated"] and not second.incident.unconfirmed
    other = await Monitor((await robbed()).store).start()
    await other.block(Pay("shop", 5, 7))
    assert other.kinds == ["retracted"]


async def test_after_a_restart_the_bound_settles_it() -> None:
    """Where no node tells of it any more."""
    monitor = await Monitor((await robbed()).store).start()
    for _ in range(KEPT):
        await monitor.block()
    assert monitor.kinds == []
    for _ in range(2):
        await monitor.block()
    assert monitor.kinds == ["retracted"] and "nothing was heard" in monitor.text


async def test_a_reorg_below_it_leaves_it_waiting() -> None:
    """The block before goes and comes back in another form: the alarm stands, and the mined one confirms it."""
    monitor = await warm()
    tip = monitor.pipeline.tips[ETH]
    await monitor.hear(seen(THEFT))
    assert tip is not None
    await monitor.pipeline.disconnect(tip)
    await monitor.pipeline.flush(ETH, force=True)
    await monitor.block(Pay("shop", HELD // 900, 2), fork="b")
    assert monitor.kinds == ["opened"] and monitor.incident.unconfirmed
    assert not monitor.pipeline.is_doubtful(ETH)
    await monitor.block(THEFT, fork="b")
    assert monitor.kinds == ["opened", "updated"] and not monitor.incident.unconfirmed


async def test_what_a_reorg_takes_away_may_wait_again() -> None:
    """A mined theft whose block went is in doubt; that it waits changes nothing; mined again it stands."""
    monitor = await warm()
    ref = await monitor.block(THEFT)
    assert monitor.kinds == ["opened"]
    await monitor.pipeline.disconnect(ref)
    await monitor.pipeline.flush(ETH, force=True)
    await monitor.hear(seen(THEFT))
    await monitor.block(THEFT, fork="b")
    await monitor.block(fork="b")
    assert monitor.kinds == ["opened"] and not monitor.incident.unconfirmed
    assert "pending" not in monitor.incident.findings[0].evidence


async def test_more_that_waits_joins_a_confirmed_incident() -> None:
    """It is shown, and may escalate, but what is lost is what was mined."""
    monitor = await warm()
    await monitor.block(THEFT)
    more = Pay("thief2", HELD * 40 // 100, 8)
    await monitor.hear(seen(more))
    incident = monitor.incident
    assert not incident.unconfirmed and incident.lost == ((ETHER, THEFT.value),)
    assert "not counted as lost" in monitor.text and (ETH, "thief2") in incident.suspects
    await monitor.block(more)
    assert monitor.incident.lost == ((ETHER, THEFT.value + more.value),) and "not counted" not in monitor.text


async def test_a_verdict_on_what_waits_holds_when_it_is_mined() -> None:
    """Called a false alarm while it waited, it is none again in its block, nor when it is told again."""
    monitor = await robbed()
    await monitor.store.say(verdict("false-alarm", monitor.incident.id, by="ana", comment="", at=1.0))
    await monitor.block()
    assert monitor.incident.status is Status.FALSE_ALARM
    await monitor.hear(seen(THEFT))
    await monitor.block(THEFT)
    assert monitor.incident.status is Status.FALSE_ALARM and monitor.kinds == ["opened", "resolved"]


async def test_a_cold_wallet_is_guarded_too() -> None:
    """Policies see what waits; their state stays."""
    monitor = await warm()
    before = monitor.engine.dump()
    pay = Pay("thief", HELD // 10, 0, "c1")
    await monitor.hear(seen(pay))
    assert monitor.incident.wallets == ("cold",) and monitor.engine.dump() == before
    found = [f.id for f in monitor.incident.findings]
    await monitor.block(pay)
    assert [f.id for f in monitor.incident.findings] == found and not monitor.incident.unconfirmed


async def test_a_change_of_control_that_waits() -> None:
    """MP-4: a delegation is told before it is mined, under the name that it has then; the baseline stays."""
    monitor = await warm()
    before = monitor.engine.dump()
    tx = Tx("tx-7702", 0, initiator="stranger", nonce=3, pending=True)
    detail = {"code_hash": "0x" + "77" * 32}
    event = ControlEvent(NOWHERE, tx, ControlKind.DELEGATION, "c1", "0x" + "99" * 20, detail)
    await monitor.hear(SimpleNamespace(pending=Pending(tx, (), (event,))))
    (finding,) = monitor.incident.findings
    assert finding.evidence["mempool"] == ["MP-1", "MP-4"] and monitor.incident.unconfirmed
    assert monitor.engine.dump() == before and monitor.alerts[0].title.startswith("Unconfirmed: ")
    tip = monitor.pipeline.tips[ETH]
    assert tip is not None
    ref = BlockRef(ETH, tip.number + 1, "mined")
    mined = replace(event, block=ref, tx=replace(tx, pending=False))
    await monitor.pipeline.connect(Block(ref, tip.hash, START + 99, (), (mined,)))
    await monitor.pipeline.flush(ETH)
    assert [f.id for f in monitor.incident.findings] == [finding.id] and not monitor.incident.unconfirmed
    assert monitor.kinds == ["opened", "updated"]


async def test_a_wallet_may_leave_it_out() -> None:
    """Switched off, nothing is told before it is mined."""
    monitor = await Monitor(settings={"hot": {"MP-1": {"enabled": False}}}).start()
    await monitor.block(Pay("shop", HELD // 1000, 1))
    await monitor.hear(seen(THEFT))
    assert monitor.alerts == []
    await monitor.block(THEFT)
    assert monitor.kinds == ["opened"]


async def test_behind_the_head_nothing_is_foreseen() -> None:
    """On an old state it would be wrong; when we have caught up, what still waits is."""
    monitor = await warm()
    await monitor.hear(seen(THEFT), fold=False)
    assert monitor.alerts == []
    await monitor.hear()
    assert monitor.kinds == ["opened"]


async def test_told_late_of_what_is_mined_says_nothing() -> None:
    """A note that was slower than the block."""
    monitor = await warm()
    await monitor.block(THEFT)
    await monitor.hear(seen(THEFT), seen(Pay("thief2", HELD // 2, 6)))
    assert monitor.kinds == ["opened"] and monitor.waits == {} and len(monitor.pipeline.foresight.pool(ETH)) == 0


async def test_gaps_and_fees_are_evidence() -> None:
    """MP-3: signs on what is found, no alarm of their own."""
    monitor = await warm()
    await monitor.hear(seen(Pay("shop", HELD // 1000, 30), gap=27))
    assert monitor.alerts == []
    await monitor.hear(seen(THEFT, gap=4))
    (finding,) = monitor.incident.findings
    assert finding.evidence["nonce_gap"] == 4 and finding.evidence["mempool"] == ["MP-1", "MP-3"]
    assert "skips 4 nonces" in monitor.text


@pytest.mark.parametrize(("usual", "paid", "times"), [(3e10, 3.1e10, None), (3e10, 9e10, None), (3e10, 6e11, 20.0)])
def test_fee_spikes(usual: float, paid: float, times: float | None) -> None:
    """Only far beyond what nearly all own payments cost, and only once enough of them are known."""
    record = np.zeros(1, FUSION)[0]
    record["fee_level"] = pack_marks(usual, None, None, None, None, None) & 0xFF
    record["prints"][0, 8] = 1.0
    assert fee_spike(record, paid) is None
    record["printed"][0] = 200
    found = fee_spike(record, paid)
    assert found is None if times is None else found == pytest.approx(times, rel=0.2)
    record["prints"][0, 15] = 0.01
    assert fee_spike(record, paid) is None


def test_the_block_to_come_keeps_nonces_in_order() -> None:
    """Senders by arrival, a sender's transactions by nonce; of one nonce the last counts; the time is bounded."""
    pool, tip = Pool(ETH), BlockRef(ETH, 5, "5")
    first = [Pay("a", 5, 9), Pay("b", 5, 1, "o1"), Pay("c", 5, 8), Pay("d", 5, 9)]
    for pay in first:
        pool.see(seen(pay).pending)
    block = pool.block(tip, 1)
    assert block is not None and [t.to_address for t in block.transfers] == ["b", "c", "d"]
    assert [t.tx.index for t in block.transfers] == [0, 1, 2] and {t.block.number for t in block.transfers} == {6}
    assert pool.replaced() == {first[0].hash: first[3].hash}
    assert moment(100, 50.0) == 100 and moment(100, 130.0) == 130 and moment(100, 1e9) == 160


def test_a_pool_is_bounded() -> None:
    """A flood costs what came first."""
    pool = Pool(ETH)
    for n in range(600):
        pool.see(seen(Pay("a", 5, n)).pending)
    assert len(pool) == 256 and Pay("a", 5, 599).hash in pool and Pay("a", 5, 0).hash not in pool
