"""Policies in the pipeline: incidents, alerts, verdicts, reorgs and restarts, beside the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.assets import AssetNames
from monitor.config.types import Rule, RuleKind
from monitor.engine import Engine
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import (
    Alert,
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
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
from monitor.policies.plain import PlainRules
from monitor.store import OutboxRow
from monitor.verdicts import verdict
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
START = 1_700_000_000
HELD = 10**20
HOT = Wallet("hot", "Us", Role.HOT, ((ETH, "h"),))
COLD = Wallet("cold", "Us", Role.COLD, ((ETH, "c"),))
OVER = Rule(RuleKind.OVER, ((ETHER, HELD // 10),), 3600)


class Monitor:
    """A pipeline with a rule for the hot wallet and a cold wallet, on a store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        watchlist = Watchlist([HOT, COLD])
        book = PolicyBook(watchlist, [PlainRules({"hot": [OVER]}), ColdWallets(watchlist), ControlChanges(watchlist)])
        self.store = store or MemoryStore()
        self.alerts: list[Alert] = []
        self.engine = Engine(watchlist, [ETHER], book)
        self.pipeline = Pipeline(
            self.engine, Correlator(), self.store, AssetNames(), self._route, lambda: 5.0, {ETH: 64}
        )

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        incident = alert.incident["id"] if alert.incident else ""
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type, incident, int(alert.severity or 0))]

    async def start(self) -> Monitor:
        await self.pipeline.start()
        self.pipeline.tips[ETH] = await self.store.checkpoint(ETH)
        return self

    async def block(self, *moves: tuple[str, str, int], fork: str = "", changes: Sequence[str] = ()) -> BlockRef:
        tip = self.pipeline.tips.get(ETH)
        number = tip.number + 1 if tip else 1
        ref = BlockRef(ETH, number, f"b{number}{fork}")
        transfers = [
            Transfer(ref, Tx(f"{a}-{b}-{v}", n, initiator=a), n, TransferKind.NATIVE, ETHER, (a,), b, v, (v,))
            for n, (a, b, v) in enumerate(moves)
        ]
        kind = ControlKind.OWNER_CHANGE
        controls = [ControlEvent(ref, Tx(f"change-{new}", 0, initiator="x"), kind, "c", new) for new in changes]
        told = {("hot", ETH, ETHER): HELD, ("cold", ETH, ETHER): HELD} if number == 1 else {}
        block = Block(ref, tip.hash if tip else "", START + number * 60, tuple(transfers), tuple(controls))
        await self.pipeline.connect(block, told)
        await self.pipeline.flush(ETH)
        return ref

    @property
    def incidents(self) -> list[Any]:
        return self.pipeline.correlator.all()


async def test_a_rule_opens_an_incident_with_its_movement() -> None:
    """A broken rule is an incident with the payment, the address, the exact loss, and a message."""
    monitor = await Monitor().start()
    await monitor.block(("h", "shop", HELD // 10))
    await monitor.block(("h", "shop", 1))
    (incident,) = monitor.incidents
    assert (incident.severity, incident.budget_exceeded, incident.return_period_days) == (Severity.MEDIUM, False, None)
    assert incident.lost == ((ETHER, HELD // 10 + 1),)  # what went there within the day before counts
    assert incident.suspects == ((ETH, "shop"),) and incident.opened_block == 2
    assert [(str(a.kind), a.labels["detector"]) for a in monitor.alerts] == [("opened", "RULE")]
    assert "rule: over 10 ETH in 1 h" in monitor.alerts[0].body


async def test_a_rule_and_the_statistics_are_one_incident() -> None:
    """A theft that breaks a rule too is one incident and one message; the payment counts once."""
    monitor = await Monitor().start()
    await monitor.block(("h", "shop", HELD // 1000))
    await monitor.block(("h", "thief", HELD // 2))
    (incident,) = monitor.incidents
    assert len(incident.findings) == 2 and "RULE" in {f.detector for f in incident.findings}
    assert incident.budget_exceeded and incident.lost == ((ETHER, HELD // 2),)
    assert incident.share_lost is not None and abs(incident.share_lost - 0.5005) < 0.001
    assert [str(alert.kind) for alert in monitor.alerts] == ["opened"]


async def test_a_cold_theft_is_told_and_its_share_known() -> None:
    """Half of a cold wallet gone: one critical incident, with the exact share of the told balance."""
    monitor = await Monitor().start()
    await monitor.block(("customer", "c", 0))
    await monitor.block(("c", "thief", HELD // 2))
    (incident,) = monitor.incidents
    assert incident.severity is Severity.CRITICAL and not incident.budget_exceeded
    assert incident.share_lost == 0.5 and incident.wallets == ("cold",)


async def test_a_change_of_control_without_a_payment() -> None:
    """An incident without a loss; the coins that follow to the new owner join it."""
    monitor = await Monitor().start()
    await monitor.block(changes=["evil"])
    (incident,) = monitor.incidents
    assert (incident.severity, incident.lost, incident.suspects) == (Severity.CRITICAL, (), ((ETH, "evil"),))
    assert monitor.alerts[0].title == "CRITICAL: Us: owner change of c"
    assert "announce it beforehand" in monitor.alerts[0].body and "value: evil" in monitor.alerts[0].body
    await monitor.block(("c", "evil", HELD // 4))
    (incident,) = monitor.incidents
    assert incident.lost == ((ETHER, HELD // 4),) and incident.opened_block == 1
    assert [str(alert.kind) for alert in monitor.alerts] == ["opened", "escalated"]
    assert monitor.alerts[1].title == "CRITICAL: Us: 25 ETH sent to suspects, after a change of control"


async def test_several_changes_of_control_are_told_together() -> None:
    """Each in a line of its own, with what to do now; the title names the gravest and counts the others."""
    monitor = await Monitor().start()
    await monitor.block(changes=["evil", "worse"])
    (alert,) = monitor.alerts
    assert alert.title == "CRITICAL: Us: owner change of c and 1 more change of control"
    assert "Also, Control of a cold wallet changed: the owner of contract c is evil now." in alert.body
    assert alert.body.startswith("Control of a cold wallet changed: the owner of contract c is worse now, was evil.")
    assert "Now: Whoever holds the new right" in alert.body and "to trust the destination" not in alert.body
    assert alert.body.count("to announce it beforehand") == 2


async def test_a_false_alarm_about_a_finding_without_a_suspect() -> None:
    """A threshold is nobody's address: the verdict closes the incident and teaches nothing."""
    monitor = await Monitor().start()
    await monitor.block(changes=["evil"])
    tip = monitor.pipeline.tips[ETH]
    ref = BlockRef(ETH, 2, "b2")
    event = ControlEvent(ref, Tx("change-1", 0), ControlKind.THRESHOLD_CHANGE, "h", "1")
    fee = Transfer(ref, Tx("fee", 1, initiator="h"), 1, TransferKind.FEE, ETHER, ("h",), "", 7, (7,))
    await monitor.pipeline.connect(Block(ref, tip.hash if tip else "", START + 180, (fee,), (event,)))
    await monitor.pipeline.flush(ETH)
    (incident,) = monitor.incidents
    assert incident.lost == () and incident.suspects == ((ETH, "evil"),) and incident.wallets == ("cold", "hot")
    before = monitor.engine.dump()
    await monitor.store.say(verdict("false-alarm", incident.id, by="ana", comment="", at=1.0))
    await monitor.block()
    assert monitor.incidents[0].status is Status.FALSE_ALARM and monitor.engine.dump() == before


async def test_verdicts_on_policies_break_nothing() -> None:
    """A false alarm, a confirmation and a resolution of incidents without suspects in the compiled tables."""
    for word, status in (("false-alarm", Status.FALSE_ALARM), ("confirm", Status.CONFIRMED),
                         ("resolve", Status.RESOLVED)):  # fmt: skip
        monitor = await Monitor().start()
        await monitor.block(("c", "thief", HELD // 2), changes=["evil"])
        await monitor.block(("h", "shop", HELD // 20))
        await monitor.store.say(verdict(word, monitor.incidents[0].id, by="ana", comment="", at=1.0))
        state = monitor.engine.policies.dump()
        ref = await monitor.block()
        assert monitor.incidents[0].status is status and monitor.engine.policies.dump() == state
        await monitor.pipeline.disconnect(ref)
        assert monitor.engine.policies.dump() == state


async def test_a_reorg_takes_a_policy_finding_back() -> None:
    """A payment that is not on the new branch did not happen: retracted, and its sum no longer counts."""
    monitor = await Monitor().start()
    await monitor.block(("h", "shop", 5))
    empty = monitor.engine.dump()
    gone = await monitor.block(("h", "shop", HELD // 10))
    await monitor.pipeline.disconnect(gone)
    assert monitor.engine.dump() == empty
    for fork in "xyz":
        await monitor.block(fork=fork)
    assert [str(i.status) for i in monitor.incidents] == ["retracted"]
    await monitor.block(("h", "shop", HELD // 10 - 5), fork="x")
    assert [str(i.status) for i in monitor.incidents] == ["retracted"]  # with the first 5 exactly the limit


async def test_a_restart_between_two_halves_of_a_theft() -> None:
    """The window of a rule is stored with its block: the second half is caught by another process."""
    first = await Monitor().start()
    await first.block(("h", "thief", HELD // 20))
    await first.block(("h", "thief", HELD // 20))
    second = await Monitor(first.store).start()
    assert second.engine.dump() == first.engine.dump()
    await second.block(("h", "thief", 1))
    assert [f.summary for f in second.incidents[0].findings if f.detector == "RULE"] == [
        "10 ETH within 1 hour, rule: over 10 ETH in 1 h"
    ]
