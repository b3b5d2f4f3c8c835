"""The pipeline: one atomic commit a block, early payments, verdicts, reorgs, what is never counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.errors import ReorgTooDeep
from monitor.explain import explain
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Block, BlockRef, Role, Severity, Status, Transfer, TransferKind, Tx, Wallet
from monitor.pipeline import Pipeline
from monitor.store import Commit, OutboxRow
from monitor.telling import Plain
from monitor.verdicts import verdict
from monitor.watchlist import Watchlist

ETH, BSC = "eip155:1", "eip155:56"
ETHER = {ETH: f"{ETH}/slip44:60", BSC: f"{BSC}/slip44:714"}
START = 1_700_000_000
HELD = 10**20
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"), (BSC, "h2")))
SEP = "\x1f"


class Monitor:
    """A pipeline on a store, and blocks that extend its chains."""

    def __init__(self, store: MemoryStore | None = None, finality: int = 64) -> None:
        self.store = store or MemoryStore()
        self.commits: list[Commit] = []
        self.alerts: list[Alert] = []
        self.engine = Engine(Watchlist([HOT]), ETHER.values())
        depth = dict.fromkeys(ETHER, finality)
        self.pipeline = Pipeline(
            self.engine, Correlator(), self.store, AssetNames(), self._route, lambda: 5.0, depth
        )
        commit = self.store.commit

        async def seen(c: Commit) -> None:
            self.commits.append(c)
            await commit(c)

        self.store.commit = seen  # type: ignore[method-assign]

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        incident = alert.incident["id"] if alert.incident else ""
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type, incident, int(alert.severity or 0))]

    async def start(self) -> Monitor:
        await self.pipeline.start()
        for chain in ETHER:
            self.pipeline.tips[chain] = await self.store.checkpoint(chain)
        return self

    async def block(
        self, *moves: Any, chain: str = ETH, fork: str = "", step: int = 60, flush: bool = True
    ) -> BlockRef:
        """Connect a block of (to, value[, sender, starter, asset]) payments; its balance is told at height 1."""
        tip = self.pipeline.tips.get(chain)
        number = tip.number + 1 if tip else 1
        ref = BlockRef(chain, number, f"{chain}-{number}{fork}")
        transfers = []
        for n, (to, value, *rest) in enumerate(moves):
            own = "h1" if chain == ETH else "h2"
            sender, starter, asset = rest or (own, own, ETHER[chain])
            kind = TransferKind.NATIVE if asset == ETHER[chain] else TransferKind.TOKEN
            tx = Tx(f"{chain}-{to}-{value}", n, initiator=starter)
            transfers.append(Transfer(ref, tx, n, kind, asset, (sender,), to, value, (value,)))
        block = Block(ref, tip.hash if tip else "", START + number * step, tuple(transfers), source="node")
        told = {("hot", chain, ETHER[chain]): HELD} if number == 1 else {}
        await self.pipeline.connect(block, told)
        if flush:
            await self.pipeline.flush(chain)
        return ref

    async def say(self, word: str, name: str | None = None, at: float = 1.0) -> None:
        incident = name or self.incidents[0].id
        await self.store.say(verdict(word, incident, by="ana", comment="", at=at))

    @property
    def incidents(self) -> list[Any]:
        return self.pipeline.correlator.all()

    @property
    def kinds(self) -> list[str]:
        return [str(alert.kind) for alert in self.alerts]


async def opened(**options: Any) -> Monitor:
    """A monitor with an incident: 35 % of the balance to a thief in block 3."""
    monitor = await Monitor(**options).start()
    await monitor.block(("shop", HELD // 1000))
    await monitor.block(("thief", HELD // 100))
    await monitor.block(("thief", HELD * 35 // 100))
    return monitor


async def test_a_block_is_one_commit() -> None:
    """State, undo, flows, incident, alert and coverage of a block go in together, under its checkpoint."""
    monitor = await opened()
    last = monitor.commits[-1]
    (record,) = last.connected
    assert len(monitor.commits) == 3 and last.tip == record.ref == BlockRef(ETH, 3, f"{ETH}-3")
    assert [(f.counterparty, f.value, f.initiator) for f in record.flows] == [("thief", HELD * 35 // 100, "h1")]
    assert {key[:1] for key, _ in last.state} == {b"a", b"d", b"s", b"w"} and record.undo
    assert [name for name, _ in last.incidents] == [monitor.incidents[0].id]
    assert [(row.kind, row.severity, row.queued_at) for row in last.outbox] == [("incident.opened", 3, 5.0)]
    assert [(c.first, c.last, c.source) for c in last.coverage] == [(3, 3, "node")] and last.final == 3 - 64
    assert dict([item async for item in monitor.store.state()]) == dict(monitor.engine.dump())


async def test_blocks_may_share_a_commit() -> None:
    """Nothing is stored before the flush, then all of it; a second flush has nothing to do."""
    monitor = await Monitor().start()
    for n in range(3):
        await monitor.block(("shop", 5 + n), flush=False)
    assert monitor.commits == [] and await monitor.store.checkpoint(ETH) is None
    assert not await monitor.pipeline.flush(ETH) and not await monitor.pipeline.flush(ETH)
    (commit,) = monitor.commits
    assert [r.ref.number for r in commit.connected] == [1, 2, 3] and commit.tip == commit.connected[-1].ref


@pytest.mark.parametrize("flush", [True, False])
async def test_early_payments_to_the_thief_count(flush: bool) -> None:
    """What the thief got in blocks before the alarm, stored or not yet, is part of the loss and of the share."""
    monitor = await Monitor().start()
    await monitor.block(("thief", HELD // 100), ("shop", HELD // 100), flush=flush)
    await monitor.block(("thief", HELD * 35 // 100), flush=flush)
    await monitor.block(("thief", HELD * 10 // 100), flush=flush)
    (incident,) = monitor.incidents
    assert incident.lost == ((ETHER[ETH], HELD * 46 // 100),) and incident.share_lost == pytest.approx(0.46 / 0.99)
    assert incident.share_lost_at_open == pytest.approx(36 / 46) and incident.severity is Severity.HIGH
    assert incident.opened_block == 2 and incident.suspects == ((ETH, "thief"),)


async def test_forged_transfers_to_the_thief_are_no_loss() -> None:
    """A fake token in the wallet's name, before and after the alarm, is neither stored nor counted."""
    monitor = await Monitor().start()
    fake = ("thief", 10**40, "h1", "stranger", f"{ETH}/erc20:fake")
    await monitor.block(fake)
    await monitor.block(("thief", HELD * 35 // 100))
    await monitor.block(fake)
    assert monitor.incidents[0].lost == ((ETHER[ETH], HELD * 35 // 100),)
    assert len(await monitor.store.flows("hot", ETH)) == 1


async def test_one_incident_over_two_chains() -> None:
    """A theft on another chain within the day joins the incident; its growth is told."""
    monitor = await opened()
    await monitor.block(("thief", HELD // 2), chain=BSC)
    (incident,) = monitor.incidents
    assert [asset for asset, _ in incident.lost] == sorted(ETHER.values()) and monitor.kinds == ["opened", "escalated"]


async def test_another_chain_s_news_are_stored_first() -> None:
    """Before a chain changes an incident, what another chain did to it, and the alert of it, is stored."""
    monitor = await Monitor().start()
    await monitor.block(("thief", HELD // 2), flush=False)
    await monitor.block(("thief", HELD // 2), chain=BSC, flush=False)
    assert [(c.chain, len(c.outbox)) for c in monitor.commits] == [(ETH, 1)]


# -- reorgs ------------------------------------------------------------------------------------------------------------


async def test_a_disconnected_theft_is_in_doubt_then_retracted() -> None:
    """In doubt without a message; told as retracted when the new branch passes the old tip; state as before."""
    monitor = await opened()
    before = Monitor()
    await before.start()
    await before.block(("shop", HELD // 1000))
    await before.block(("thief", HELD // 100))
    await monitor.pipeline.disconnect(BlockRef(ETH, 3, f"{ETH}-3"))
    assert monitor.engine.dump() == before.engine.dump() and monitor.pipeline.is_doubtful(ETH)
    assert monitor.incidents[0].status is Status.OPEN and monitor.kinds == ["opened"]
    await monitor.block(fork="b")
    assert monitor.kinds == ["opened"]
    await monitor.block(fork="b")
    assert monitor.kinds == ["opened", "retracted"] and monitor.incidents[0].status is Status.RETRACTED
    assert not monitor.pipeline.is_doubtful(ETH)


async def test_no_further_block_settles_it_too() -> None:
    """A new branch that is as high and rests: `settle` retracts, in a commit without blocks."""
    monitor = await opened()
    await monitor.pipeline.disconnect(BlockRef(ETH, 3, f"{ETH}-3"))
    await monitor.block(fork="b")
    await monitor.pipeline.settle(ETH)
    assert monitor.kinds == ["opened", "retracted"] and monitor.commits[-1].connected == ()
    assert monitor.commits[-1].tip == BlockRef(ETH, 3, f"{ETH}-3b")
    count = len(monitor.commits)
    await monitor.pipeline.settle(ETH)
    assert len(monitor.commits) == count


async def test_a_shorter_branch_leaves_it_in_doubt() -> None:
    """Below the old tip nothing is given up, however long it rests."""
    monitor = await opened()
    await monitor.block()
    for number in (4, 3):
        await monitor.pipeline.disconnect(BlockRef(ETH, number, f"{ETH}-{number}"))
    await monitor.block(fork="b")
    await monitor.pipeline.settle(ETH)
    assert monitor.kinds == ["opened"] and monitor.pipeline.is_doubtful(ETH)


async def test_the_old_tip_is_known_after_a_restart() -> None:
    """Killed in the middle of a reorg: what was in doubt until block 5 stays so, though block 4 went later."""
    monitor = await opened()
    await monitor.block(("thief", HELD // 10))
    await monitor.block(("thief", HELD // 20))
    await monitor.pipeline.disconnect(BlockRef(ETH, 5, f"{ETH}-5"))
    await monitor.pipeline.flush(ETH)
    again = await Monitor(monitor.store).start()
    await again.pipeline.disconnect(BlockRef(ETH, 4, f"{ETH}-4"))
    assert [item.tip for item in again.pipeline.correlator.doubtful(ETH)] == [5, 5]


async def test_a_block_that_is_not_ours_stops_the_chain() -> None:
    """What is not stored cannot be disconnected."""
    monitor = await opened(finality=1)
    with pytest.raises(ReorgTooDeep):
        await monitor.pipeline.disconnect(BlockRef(ETH, 3, "another"))


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_cannot_be_undone_stays_learned(restarted: bool) -> None:
    """A rewrite below what is kept leaves the state; it is said, and balances are asked again."""
    monitor = await opened(finality=1)
    await monitor.pipeline.disconnect(BlockRef(ETH, 3, f"{ETH}-3"))
    await monitor.pipeline.flush(ETH)
    again = await Monitor(monitor.store, finality=1).start() if restarted else monitor
    before = again.engine.dump()
    for number in (2, 1):
        await again.pipeline.disconnect(BlockRef(ETH, number, f"{ETH}-{number}"))
    assert again.engine.dump() == before and again.pipeline.tips[ETH] is None
    mark = again.pipeline.marks[ETH]
    assert mark.stale == (("hot", ETHER[ETH]),) and "block 2 was replaced" in mark.note
    await again.pipeline.flush(ETH)
    assert again.kinds[-1] == "blind" and again.kinds.count("blind") == 1
    assert "below block 2, which was final here" in again.alerts[-1].title


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_both_branches_hold_is_counted_once(restarted: bool) -> None:
    """After such a rewrite a transaction that is mined again keeps its finding and teaches nothing twice."""
    monitor = await opened(finality=1)
    (incident,) = monitor.incidents
    for _ in range(4):
        await monitor.block()
    for number in range(7, 1, -1):
        await monitor.pipeline.disconnect(BlockRef(ETH, number, f"{ETH}-{number}"))
    await monitor.pipeline.flush(ETH)
    again = await Monitor(monitor.store, finality=1).start() if restarted else monitor
    before = dict(again.engine.dump())
    await again.block(("thief", HELD // 100), fork="x")
    await again.block(("thief", HELD * 35 // 100), ("new", HELD // 500), fork="x")
    paid = [f.counterparty for f in await again.store.flows("hot", ETH)]
    assert sorted(paid) == ["new", "shop", "thief", "thief"]
    slot = again.engine.state.asset("hot", ETH, ETHER[ETH])
    held = HELD - HELD // 1000 - HELD // 100 - HELD * 35 // 100 - HELD // 500
    assert again.engine.state.balance(slot)[0] == pytest.approx(held)
    changed = {key[:1] for key, value in again.engine.dump() if before.get(key) != value}
    assert changed <= {b"a", b"d", b"w", b"p"}
    for _ in range(5):
        await again.block(fork="x")
    (after,) = again.incidents
    assert (after.id, after.status, after.lost) == (incident.id, incident.status, incident.lost)
    assert again.kinds.count("opened") + monitor.kinds.count("opened") == (1 if restarted else 2)
    assert "retracted" not in again.kinds
    assert [key async for key, _ in again.store.state(b"b\x1f")] == []


async def test_what_the_new_branch_lacks_is_retracted_however_deep() -> None:
    """A theft on the old branch alone did not happen."""
    monitor = await opened(finality=1)
    for _ in range(3):
        await monitor.block()
    for number in range(6, 1, -1):
        await monitor.pipeline.disconnect(BlockRef(ETH, number, f"{ETH}-{number}"))
    for _ in range(7):
        await monitor.block(fork="x")
    assert [incident.status for incident in monitor.incidents] == [Status.RETRACTED]
    assert monitor.kinds == ["opened", "blind", "retracted"]


async def test_a_block_without_flows_can_be_undone() -> None:
    """Nothing to undo is not the same as no undo."""
    monitor = await Monitor().start()
    await monitor.block(("shop", 5))
    ref = await monitor.block()
    await monitor.pipeline.disconnect(ref)
    await monitor.pipeline.flush(ETH)
    assert monitor.pipeline.tips[ETH] == BlockRef(ETH, 1, f"{ETH}-1")


# -- what comes back ---------------------------------------------------------------------------------------------------


async def test_the_return_of_the_funds_ends_an_incident() -> None:
    """Coins back from the thief: resolved at low in that block, told with `returned` to whoever got the alarm."""
    monitor = await opened()
    loss = HELD * 36 // 100
    await monitor.block(("h1", loss // 3, "thief", "thief", ETHER[ETH]))
    assert monitor.kinds == ["opened"] and monitor.incidents[0].status is Status.OPEN
    assert any("In part returned" in line for line in explain(monitor.incidents[0], AssetNames()))
    await monitor.block(("h1", loss - loss // 3, "thief", "thief", ETHER[ETH]))
    (incident,) = monitor.incidents
    assert (incident.status, incident.severity) == (Status.RESOLVED, Severity.LOW)
    assert monitor.kinds == ["opened", "resolved"]
    told = monitor.alerts[-1]
    assert told.incident is not None and [item["value"] for item in told.incident["returned"]] == [str(loss)]
    assert told.incident["lost"] == told.incident["returned"] and told.title.endswith(", and returned")
    assert incident.history[-1]["by"] == "heistwatch" and "The funds came back" in told.body
    again = await Monitor(monitor.store).start()
    assert again.incidents == monitor.incidents
    await again.block(("thief", loss))
    assert again.kinds == ["escalated"] and again.incidents[0].status is Status.OPEN


async def test_a_theft_that_is_paid_back_in_its_block_is_no_news() -> None:
    """A loan and its repayment in one transaction: an incident that is over when it begins."""
    monitor = await Monitor().start()
    await monitor.block(("shop", HELD // 1000))
    await monitor.block(("thief", HELD * 35 // 100), ("h1", HELD * 35 // 100, "thief", "h1", ETHER[ETH]))
    assert monitor.incidents[0].status is Status.RESOLVED and monitor.kinds == []


@pytest.mark.parametrize("restart", [False, True])
async def test_a_return_that_is_disconnected_opens_the_incident_again(restart: bool) -> None:
    """In doubt, then given up: the alarm is raised again, also where the process started anew between."""
    monitor = await opened()
    ref = await monitor.block(("h1", HELD * 36 // 100, "thief", "thief", ETHER[ETH]))
    await monitor.pipeline.disconnect(ref)
    await monitor.pipeline.flush(ETH)
    seen = await Monitor(monitor.store).start() if restart else monitor
    await seen.block(fork="b")
    assert monitor.kinds == ["opened", "resolved"] and seen.incidents[0].status is Status.RESOLVED
    await seen.block(fork="b")
    assert seen.kinds[-1] == "escalated" and seen.incidents[0].status is Status.OPEN


async def test_forged_coins_do_not_come_back() -> None:
    """A worthless token from the thief is no return; nor is what he sends to somebody else."""
    monitor = await opened()
    fake = ("h1", 10**40, "thief", "thief", f"{ETH}/erc20:fake")
    await monitor.block(fake, ("shop", HELD, "thief", "thief", ETHER[ETH]))
    assert monitor.incidents[0].returned == () and monitor.kinds == ["opened"]


# -- verdicts ----------------------------------------------------------------------------------------------------------


async def test_a_false_alarm_takes_effect_at_the_next_block() -> None:
    """Closed, told, learned, and recorded with its block; payments up to three times the amount are ordinary."""
    monitor = await opened()
    await monitor.say("false-alarm")
    ref = await monitor.block()
    (event,) = await monitor.store.said(pending=False)
    assert event.effective == ref and monitor.kinds == ["opened", "resolved"]
    (incident,) = monitor.incidents
    assert incident.status is Status.FALSE_ALARM and incident.history[0]["by"] == "ana"
    await monitor.block(("thief", HELD * 30 // 100))
    assert len(monitor.incidents) == 1 and monitor.kinds == ["opened", "resolved"]
    assert dict([item async for item in monitor.store.state()]) == dict(monitor.engine.dump())


async def test_a_closed_incident_that_is_reopened_is_said_again() -> None:
    """Whoever heard that it was over, an on-call service for example, hears that it is not."""
    monitor = await opened()
    await monitor.say("resolve")
    await monitor.block()
    await monitor.say("reopen")
    await monitor.block()
    assert monitor.incidents[0].status is Status.OPEN and monitor.kinds == ["opened", "resolved", "opened"]


async def test_reopening_what_is_open_says_nothing() -> None:
    """It takes an acknowledgement back, and nobody was told of anything else."""
    monitor = await opened()
    await monitor.say("ack")
    await monitor.block()
    await monitor.say("reopen")
    await monitor.block()
    assert monitor.incidents[0].status is Status.OPEN and monitor.kinds == ["opened"]


async def test_a_confirmation_is_quiet_and_keeps_collecting() -> None:
    """No message, no controller step; what the thief gets next still grows the incident."""
    monitor = await opened()
    await monitor.say("confirm")
    await monitor.block(("thief", HELD // 10))
    (incident,) = monitor.incidents
    assert incident.status is Status.CONFIRMED and incident.lost[0][1] == HELD * 46 // 100
    assert monitor.kinds == ["opened", "updated"]


async def test_a_verdict_on_nothing_is_taken_off_the_list() -> None:
    """An unknown incident: in force, without effect."""
    monitor = await opened()
    await monitor.say("confirm", "nobody")
    await monitor.block()
    assert await monitor.store.said(pending=True) == [] and monitor.kinds == ["opened"]


@pytest.mark.parametrize("word", ["false-alarm", "resolve", "confirm"])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_verdict_is_undone_with_its_block_and_takes_effect_again(word: str, restart: bool) -> None:
    """A reorg of the block at which it took effect: as if said before the new block, also after a restart."""
    monitor = await opened()
    await monitor.say(word)
    before = monitor.engine.dump()
    await monitor.block(("shop", HELD // 50))
    assert monitor.engine.dump() != before
    await monitor.pipeline.disconnect(BlockRef(ETH, 4, f"{ETH}-4"))
    assert monitor.engine.dump() == before
    await monitor.pipeline.flush(ETH)
    seen = await Monitor(monitor.store).start() if restart else monitor
    await seen.block(("shop", HELD // 40), fork="b")

    calm = await opened()
    await calm.say(word)
    await calm.block(("shop", HELD // 40), fork="b")
    assert seen.engine.dump() == calm.engine.dump()
    (one,), (other,) = seen.incidents, calm.incidents
    assert (one.status, one.history, one.lost) == (other.status, other.history, other.lost)
    (event,) = await seen.store.said(pending=False)
    assert event.effective == BlockRef(ETH, 4, f"{ETH}-4b")
    assert monitor.kinds + (seen.kinds if restart else []) == calm.kinds  # nobody hears it twice


async def test_a_verdict_waits_while_its_incident_is_in_doubt() -> None:
    """A dismissed theft that is mined again: no second alarm, and its destination is ordinary again after it."""
    monitor = await opened()
    await monitor.say("false-alarm")
    await monitor.block()
    for number in (4, 3):
        await monitor.pipeline.disconnect(BlockRef(ETH, number, f"{ETH}-{number}"))
    await monitor.block(fork="b")
    await monitor.block(("thief", HELD * 35 // 100), fork="b")
    (incident,) = monitor.incidents
    assert incident.status is Status.FALSE_ALARM and incident.opened_block == 4
    await monitor.block(fork="b")
    assert not [key for key, _ in monitor.engine.dump() if key.startswith(b"s")]
    assert monitor.kinds == ["opened", "resolved"]


async def test_a_reorg_of_one_chain_leaves_the_other_chain_s_state() -> None:
    """A verdict on an incident of two chains, undone on the chain whose block went: the other one has gone on."""
    monitor = await opened()
    await monitor.block(("thief", HELD // 2), chain=BSC)
    await monitor.say("false-alarm")
    await monitor.block()
    await monitor.block(("shop", HELD // 100), chain=BSC)
    other = [item for item in monitor.engine.dump() if BSC.encode() in item[0]]
    await monitor.pipeline.disconnect(BlockRef(ETH, 4, f"{ETH}-4"))
    assert [item for item in monitor.engine.dump() if BSC.encode() in item[0]] == other
    await monitor.block(fork="b")
    assert [item for item in monitor.engine.dump() if BSC.encode() in item[0]] == other
    assert not [key for key, _ in monitor.engine.dump() if key.startswith(b"s")]


async def test_merged_incidents_are_stored_as_one() -> None:
    """An incident that another took over does not come back with a restart."""
    monitor = await Monitor().start()
    await monitor.block(("thief", HELD * 4 // 10), step=1)
    await monitor.block(("thief2", HELD * 4 // 10), chain=BSC, step=40 * 3600)
    assert len(monitor.incidents) == 2
    await monitor.block(("thief3", HELD * 4 // 10), step=10 * 3600)
    (incident,) = monitor.incidents
    assert len({f.chain for f in incident.findings}) == 2
    again = await Monitor(monitor.store).start()
    assert again.incidents == monitor.incidents


async def test_a_correction_goes_to_everyone_who_got_the_alarm() -> None:
    """A receiver that the route leads past by now still hears that the alarm is withdrawn."""
    monitor = await Monitor().start()
    asked: list[tuple[str, tuple[str, ...]]] = []

    def route(alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        asked.append((alert.type, tuple(also)))
        first = "desk" if alert.type == "incident.opened" else "soc"
        return [OutboxRow(alert.id, name, "0:x", b"", now) for name in dict.fromkeys([first, *also])]

    monitor.pipeline.desk = Plain(route)
    await monitor.block(("shop", HELD // 1000))
    theft = await monitor.block(("thief", HELD * 35 // 100))
    assert asked == [("incident.opened", ())]
    await monitor.pipeline.disconnect(theft)
    await monitor.block(fork="b")
    await monitor.block(fork="b")
    assert asked[-1] == ("incident.retracted", ("desk",))
    rows = await monitor.store.outbox()
    assert [row.receiver for row in rows] == ["desk", "soc", "desk"]
