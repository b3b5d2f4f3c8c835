"""Drills: what is played, when they are due, how they go on and end, and what is reported of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine
from monitor.blind import Blind
from monitor.case import load_case
from monitor.config import Config, config_from_mapping
from monitor.drill import Drills, new_drill
from monitor.drill_note import ALIVE, LAST, Drill, drill_key, read_drill, read_last, write
from monitor.drill_play import NOT_REAL, as_drill, played, script, staged_on
from monitor.drill_report import report
from monitor.drill_schedule import DrillSchedule
from monitor.errors import ConfigError, StoreError
from monitor.health import MonitorStatus
from monitor.ids import from_iso, iso
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Delivery, Outcome, Reason, Severity
from monitor.store import OutboxRow
from monitor.verdicts import verdict

NOW = 1_770_000_000.0
DAY = 86400.0
CASE = "lubian-2020"  # the quickest to play; it escalates


def configured() -> Config:
    wallets = [
        {"id": "vault", "entity": "Mine", "role": "cold", "addresses": [f"ethereum:0x{1:040x}"]},
        {"id": "till", "entity": "Mine", "role": "hot", "addresses": [f"ethereum:0x{2:040x}"]},
    ]
    mapping = {"version": 1, "chains": [{"name": "ethereum"}], "wallets": wallets}
    return config_from_mapping(mapping, Path.cwd(), "test")


# -- the play ----------------------------------------------------------------------------------------------------


async def test_a_drill_is_a_theft_from_the_owners_wallet_by_the_real_engine() -> None:
    """Opened, escalated, ..., resolved: critical, in the owner's names, within the last day, one incident."""
    wallet = staged_on(configured())
    alerts = await played(load_case(CASE), wallet, NOW, make_engine)
    assert (wallet.id, alerts[0].kind, alerts[-1].kind) == ("till", AlertKind.OPENED, AlertKind.RESOLVED)
    assert {(a.labels["entity"], a.labels["wallet"]) for a in alerts} == {("Mine", "till")}
    assert {alert.severity for alert in alerts} == {Severity.CRITICAL}
    (incident,) = {alert.incident["id"] for alert in alerts if alert.incident}
    opened = from_iso(alerts[0].incident["opened_at"]) if alerts[0].incident else 0
    assert NOW - 2 * DAY < opened < NOW
    assert "till" in alerts[0].body and incident in alerts[0].body
    again = await played(load_case(CASE), wallet, NOW, make_engine)
    assert again == alerts


async def test_a_drill_cannot_be_taken_for_real() -> None:
    """Kind, type, title, first lines, runbook, explanation and incident say so; no command trusts the thief."""
    wallet = staged_on(configured())
    real = script(await played(load_case(CASE), wallet, NOW, make_engine))
    drills = [as_drill(alert, "drill-1", CASE, wallet, "a b.yaml") for alert in real]
    assert [drill.type for drill in drills] == ["drill.opened", "drill.escalated", "drill.resolved"]
    assert len({drill.id for drill in drills}) == 3 and not {a.id for a in real} & {d.id for d in drills}
    for alert, drill in zip(real, drills, strict=True):
        assert drill.kind is AlertKind.DRILL and drill.title == f"DRILL: {alert.title}"
        assert drill.body.startswith(f"{NOT_REAL}\nIt plays {CASE} on till") and drill.runbook.startswith(NOT_REAL)
        assert drill.incident and drill.incident["id"] == "drill-1" and drill.incident["explanation"][0] == NOT_REAL
        assert alert.incident and alert.incident["id"] not in drill.body and "trusted" not in drill.body
        assert drill.body.endswith("heistwatch incidents ack drill-1 -c 'a b.yaml'")
        assert (drill.labels["chain"], drill.labels["role"]) == ("eip155:1", "hot")
        assert (drill.labels["severity"], drill.labels["incident"]) == ("critical", "drill-1")
    assert as_drill(real[0], "drill-2", CASE, wallet).id != drills[0].id


def test_the_wallet_of_a_drill() -> None:
    """The one named, else the first hot one; one that is not there is refused."""
    assert staged_on(configured(), "vault").id == "vault"
    with pytest.raises(ConfigError, match="unknown wallet 'tull': did you mean 'till'"):
        staged_on(configured(), "tull")


# -- the schedule ------------------------------------------------------------------------------------------------


def due(every: str, last: str | None, since: str = "2026-01-01", zone: str = "UTC", at: str = "10:00") -> str | None:
    schedule = DrillSchedule.parse({"every": every, "at": at, "zone": zone})
    return iso(schedule.next_due(from_iso(last) if last else None, from_iso(since)))


def test_when_a_drill_is_due() -> None:
    """From the last one on, at the time of day of the zone; a month's last days are cut, the first one is soon."""
    assert due("weekly", None, "2026-01-05T09:59") == "2026-01-05T10:00:00Z"
    assert due("weekly", None, "2026-01-05T10:00") == "2026-01-06T10:00:00Z"
    assert due("weekly", "2026-01-05T10:00:03") == "2026-01-12T10:00:00Z"
    assert due("weekly", "2026-01-05T23:50") == "2026-01-12T10:00:00Z"
    assert due("30d", "2026-01-05") == "2026-02-04T10:00:00Z"
    assert due(str(3 * 86400), "2026-01-05") == due("72h", "2026-01-05") == "2026-01-08T10:00:00Z"
    assert due("monthly", "2026-01-31T10:00") == "2026-02-28T10:00:00Z"
    assert due("monthly", "2026-12-15T10:00") == "2027-01-15T10:00:00Z"
    assert due("weekly", "2026-03-25T12:00", zone="Europe/Berlin") == "2026-04-01T08:00:00Z"
    assert due("weekly", "2026-03-22T23:30", zone="Asia/Tokyo", at="8:30") == "2026-03-29T23:30:00Z"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"every": "montly"}, "drill.every: expected monthly, weekly or whole days such as 30d: did you mean"),
        ({"every": "12h"}, "drill.every: expected monthly, weekly or whole days"),
        ({"every": "0d"}, "drill.every"),
        ({"every": True}, "drill.every"),
        ({"at": "25:00"}, "drill.at: expected a time of day such as 10:00"),
        ({"zone": "Europe/Berln"}, "drill.zone: expected an IANA time zone"),
        ({"case": "coinchek-2018"}, "drill.case: unknown case 'coinchek-2018': did you mean 'coincheck-2018'"),
    ],
)
def test_a_wrong_schedule_is_refused(given: dict[str, Any], said: str) -> None:
    """With its place and what was expected."""
    with pytest.raises(ConfigError) as refused:
        DrillSchedule.parse({"every": "weekly", **given})
    assert len(refused.value.problems) == 1 and said in str(refused.value)


# -- a drill from its start to its end ---------------------------------------------------------------------------


class Desk:
    """Every receiver gets every drill through one channel; `send` is for those that escalate."""

    def __init__(self, store: MemoryStore, names: Sequence[str]) -> None:
        self.store, self.names = store, names
        self.sent: list[str] = []

    def rows_now(self, alert: Alert, receivers: Sequence[str] | None, now: float) -> list[OutboxRow]:
        incident = str((alert.incident or {})["id"])
        names = self.names if receivers is None else receivers
        return [OutboxRow(alert.id, name, "0:x", b"", now, alert.type, incident, 4) for name in names]

    async def send(self, alert: Alert, now: float) -> Sequence[OutboxRow]:
        self.sent.append(alert.type)
        rows = self.rows_now(alert, None, now)
        await self.store.note([], rows)
        return rows


class Stage:
    """Drills on a store in memory, at a clock that the test moves; `deliver` answers for the channels."""

    def __init__(self, store: MemoryStore | None = None, schedule: DrillSchedule | None = None) -> None:
        self.store, self.now, self.plays, self.woken = store or MemoryStore(), NOW, 0, 0
        self.desk = Desk(self.store, ("soc", "boss"))
        self.drills = Drills(
            self.store, self.desk, self._play, "till", schedule, wake=self._wake, clock=lambda: self.now
        )

    def _wake(self) -> None:
        self.woken += 1

    async def _play(self, drill: Drill, now: float) -> list[Alert]:
        self.plays += 1
        if drill.case == "none":
            raise ConfigError("case none raises no incident here")
        return [
            Alert(
                f"{drill.id}-{kind}", AlertKind.DRILL, "DRILL: x", "", Severity.CRITICAL,
                {"kind": kind}, incident={"id": drill.id},
            )
            for kind in ("opened", "escalated", "resolved")
        ]  # fmt: skip

    async def begin(self, **more: Any) -> Drill:
        return await self.drills.begin(new_drill(more.pop("case", CASE), "till", "command", self.now, **more))

    async def deliver(self, refused: Sequence[str] = (), seconds: float = 0.5) -> None:
        """Attempt everything that is due once."""
        self.now += seconds
        for row in await self.store.outbox(state="due"):
            bad = row.receiver in refused
            outcome, reason = (Outcome.RETRY, Reason.CONNECTION) if bad else (Outcome.ACCEPTED, Reason.OK)
            delivery = Delivery(
                row.alert_id, row.receiver, row.channel, row.attempts + 1, outcome, reason, self.now,
                detail="refused" if bad else "",
            )  # fmt: skip
            await self.store.record(delivery, state="due" if bad else "done", next_at=self.now + 9 if bad else 0.0)

    async def report(self, drill: Drill) -> dict[str, Any]:
        rows = await self.store.outbox(incident_id=drill.id)
        said = await self.store.said(pending=False)
        return report(drill, rows, await self.store.deliveries(), said, ["soc", "night"])

    async def kinds(self, state: str | None = None) -> list[str]:
        return [f"{row.receiver} {row.kind}" for row in await self.store.outbox(state=state)]


async def test_a_drill_that_arrives() -> None:
    """Opened and escalated first; when they arrived it is resolved; the report says who was reached how fast."""
    stage = Stage()
    drill = await stage.begin()
    both = [f"{name} drill.{kind}" for kind in ("opened", "escalated") for name in ("soc", "boss")]
    assert await stage.kinds() == both
    assert (await stage.drills.follow(drill)).closed is None and stage.woken == 1
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    assert await stage.kinds("due") == ["soc drill.resolved", "boss drill.resolved"] and drill.finished is None
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    assert drill.reached and drill.problems == ()
    assert read_drill((await stage.store.notes(drill_key(drill.id)))[0][1]) == drill
    told = await stage.report(drill)
    assert told["reached"] is True and told["not_on_the_way"] == ["night"] and told["acknowledged"] is None
    assert told["deliveries"][0] == {
        "receiver": "soc", "channel": "0:x", "messages": 3, "accepted": 3, "reached": True, "seconds": 0.5,
        "attempts": 3, "reason": None,
    }  # fmt: skip
    assert stage.plays == 1


async def test_a_dead_channel_is_named_and_gets_nothing_later() -> None:
    """When its time is over what did not arrive is buried, with the reason; the others hear that it is over."""
    stage = Stage()
    drill = await stage.begin(within=30.0)
    await stage.deliver(refused=["boss"])
    assert (await stage.drills.follow(drill)).closed is None
    stage.now += 30
    drill = await stage.drills.follow(drill)
    assert await stage.kinds("due") == ["soc drill.resolved"] and len(await stage.kinds("dead")) == 2
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    assert drill.reached is False
    assert drill.problems == ("boss was not reached through 0:x: connection, refused",)
    assert await stage.store.outbox(state="due") == []


async def test_a_drill_for_some_receivers() -> None:
    """Those alone get it, and it is no test of the routes: the schedule does not count it."""
    stage = Stage()
    drill = await stage.begin(receivers=("soc",))
    assert await stage.kinds() == ["soc drill.opened", "soc drill.escalated"]
    for _ in range(2):
        await stage.deliver()
        drill = await stage.drills.follow(drill)
    last = read_last((await stage.store.notes(LAST))[0][1])
    assert drill.reached and last.good is None and last.started is None


@pytest.mark.parametrize("word", ["ack", "confirm", "false-alarm"])
async def test_an_acknowledgement_is_waited_for(word: str) -> None:
    """It ends the drill at once; by whom and how fast is reported. A note is no acknowledgement."""
    stage = Stage()
    drill = await stage.begin(ack_within=300.0)
    await stage.deliver()
    stage.now += 20
    await stage.store.say(verdict("note", drill.id, by="bo", comment="hm", at=stage.now))
    assert (await stage.drills.follow(drill)).closed is None
    await stage.store.say(verdict(word, drill.id, by="ana", comment="", at=stage.now))
    drill = await stage.drills.follow(drill)
    assert drill.closed == stage.now
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    heard = (await stage.report(drill))["acknowledged"]
    assert (heard["by"], heard["seconds"], drill.problems) == ("ana", 20.5, ())


async def test_nobody_acknowledges() -> None:
    """It arrived, and yet the drill failed."""
    stage = Stage()
    drill = await stage.begin(ack_within=300.0)
    await stage.deliver()
    stage.now += 300
    drill = await stage.drills.follow(drill)
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    assert drill.reached and drill.problems == ("nobody acknowledged it within 300 s",)


async def test_a_drill_that_escalates_goes_through_the_desk() -> None:
    """Which keeps a case of it, and closes that at its end."""
    stage = Stage()
    drill = await stage.begin(escalate=True)
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    assert stage.desk.sent == ["drill.opened", "drill.escalated", "drill.resolved"]
    reminder = OutboxRow("r", "night", "0:x", b"", stage.now + 60, "drill.reminder", drill.id, 4)
    await stage.store.enqueue([reminder])
    await stage.deliver()
    drill = await stage.drills.follow(drill)
    (step,) = (await stage.report(drill))["escalation"]
    assert (step["receiver"], step["channel"]) == ("night", "0:x") and step["after_seconds"] == pytest.approx(60.5)


async def test_nobody_gets_it() -> None:
    """A drill that no receiver gets is no success."""
    stage = Stage()
    stage.desk.names = ()
    drill = await stage.begin()
    while drill.finished is None:
        drill = await stage.drills.follow(drill)
    assert drill.reached is False and drill.problems == ("it reached nobody: no receiver gets it",)


async def test_a_case_that_shows_nothing_fails_the_drill() -> None:
    """And says why."""
    drill = await Stage().begin(case="none")
    assert drill.finished is not None and drill.problems == ("case none raises no incident here",)


async def test_a_kill_between_the_start_and_the_queue() -> None:
    """Nothing was queued: the drill ends as failed, once its time is over."""
    stage = Stage()
    drill = new_drill(CASE, "till", "schedule", NOW, taken=NOW)
    await stage.store.note([(drill_key(drill.id), b"")])
    with pytest.raises(StoreError, match="written by another version"):
        await stage.drills.step()
    await stage.store.note([(drill_key(drill.id), write(drill))])
    await stage.drills.step()
    (found,) = [read_drill(value) for _, value in await stage.store.notes("drill/drill-")]
    assert found.reached is False and found.problems == ("the monitor was ended before it was sent",)


# -- scheduled drills --------------------------------------------------------------------------------------------

WEEKLY = DrillSchedule.parse({"every": "weekly", "at": "10:00", "case": CASE, "grace": 86400})


def clock_of(stage: Stage) -> Callable[[str], None]:
    def set_to(text: str) -> None:
        stage.now = float(from_iso(text))

    return set_to


async def run_on(stage: Stage, refused: Sequence[str] = ()) -> None:
    """What a monitor does until the drill has ended."""
    for _ in range(5):
        await stage.drills.step()
        await stage.deliver(refused)
    stage.now += timedelta(hours=1).total_seconds()
    for _ in range(3):
        await stage.drills.step()
        await stage.deliver(refused)


async def test_the_schedule_plays_a_drill_at_its_time_and_only_once() -> None:
    """Also across a restart; the next is a week later, and a good one is no trouble."""
    stage = Stage(schedule=WEEKLY)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    assert await stage.store.outbox() == []
    at("2026-02-02T10:00:01")
    await run_on(stage)
    stage.drills = Stage(stage.store, WEEKLY).drills
    stage.drills._clock = lambda: stage.now
    await run_on(stage)
    assert len(await stage.store.notes("drill/drill-")) == 1
    at("2026-02-09T09:59")
    await stage.drills.step()
    assert list(stage.drills.troubles(stage.now)) == [] and len(await stage.store.notes("drill/drill-")) == 1
    at("2026-02-09T10:00")
    await stage.drills.step()
    assert len(await stage.store.notes("drill/drill-")) == 2


async def test_a_drill_that_did_not_take_place_is_a_trouble_until_one_arrives() -> None:
    """The monitor did not run at its time: said after the grace; the next good one ends it."""
    stage = Stage(schedule=WEEKLY)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    at("2026-02-03T10:00:00")
    await stage.drills.step()
    assert await stage.store.outbox() == [], "first people hear that it was missed"
    assert list(stage.drills.troubles(stage.now - 1)) == []
    (trouble,) = stage.drills.troubles(stage.now)
    assert trouble.key == "drill"
    assert trouble.what == "The drill that was due at 2026-02-02T10:00:00Z did not take place"
    assert trouble.labels == (("drill", "missed"),)
    await run_on(stage)
    assert list(stage.drills.troubles(stage.now)) == []


async def test_a_drill_that_did_not_arrive_is_a_trouble_after_the_grace() -> None:
    """With who was not reached; a drill by hand that arrives ends it."""
    stage = Stage(schedule=WEEKLY)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    at("2026-02-02T10:00")
    await run_on(stage, refused=["boss"])
    assert list(stage.drills.troubles(stage.now)) == []
    at("2026-02-03T10:00")
    (trouble,) = stage.drills.troubles(stage.now)
    assert trouble.what == "The drill of 2026-02-02T10:00:00Z did not reach everybody"
    assert "boss was not reached through 0:x: connection, refused" in trouble.why
    drill = await stage.begin()
    while drill.finished is None:
        await stage.deliver()
        drill = await stage.drills.follow(drill)
    assert list(stage.drills.troubles(stage.now)) == []


async def test_a_scheduled_drill_that_arrived_counts_before_anybody_acknowledges() -> None:
    """Its end waits for people, an hour at most; that the alarm arrives is known."""
    stage = Stage(schedule=WEEKLY)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    at("2026-02-03T12:00")
    assert list(stage.drills.troubles(stage.now))
    await stage.drills.step()
    await stage.deliver()
    await stage.drills.step()
    assert list(stage.drills.troubles(stage.now)) == [] and await stage.kinds("due") == []
    stage.now += 3600
    await stage.drills.step()
    assert await stage.kinds("due") == ["soc drill.resolved", "boss drill.resolved"]


def watcher(stage: Stage) -> tuple[Blind, list[Alert]]:
    """Who says what is wrong with drills, and what was said."""
    told: list[Alert] = []

    def rows(alert: Alert, now: float, also: Sequence[str]) -> list[OutboxRow]:
        told.append(alert)
        return [OutboxRow(alert.id, "soc", "0:x", b"", now, alert.type)]

    blind = Blind(lambda: MonitorStatus(), stage.store, rows, more=(stage.drills.troubles,), clock=lambda: stage.now)
    return blind, told


async def test_a_missed_drill_is_said_and_said_to_be_over() -> None:
    """With the clock in the test's hand, from the missed one to the next that arrives."""
    stage = Stage(schedule=WEEKLY)
    blind, told = watcher(stage)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    for moment in ("2026-02-02T10:00", "2026-02-03T09:59", "2026-02-03T10:00", "2026-02-03T10:05"):
        at(moment)
        await blind.look()
    assert [(alert.type, alert.labels["drill"]) for alert in told] == [("monitor.blind", "missed")]
    await run_on(stage)
    await blind.look()
    await blind.look()
    assert [alert.type for alert in told] == ["monitor.blind", "monitor.recovered"]


async def test_a_late_drill_that_fails_is_said_besides() -> None:
    """First that it was missed; while the late one runs nothing more; then whom it did not reach; then the end."""
    stage = Stage(schedule=WEEKLY)
    blind, told = watcher(stage)
    at = clock_of(stage)
    at("2026-02-02T09:00")
    await stage.drills.step()
    at("2026-02-03T10:00")
    await blind.look()
    await stage.drills.step()
    stage.now += 60
    await blind.look()
    assert [alert.labels["drill"] for alert in told] == ["missed"]
    await run_on(stage, refused=["boss"])
    for _ in range(2):
        await blind.look()
    assert [alert.labels["drill"] for alert in told] == ["missed", "failed"]
    assert told[1].title == "The drill of 2026-02-02T10:00:00Z did not reach everybody"
    assert "boss was not reached" in told[1].body and told[0].id != told[1].id
    drill = await stage.begin()
    while drill.finished is None:
        await stage.deliver()
        drill = await stage.drills.follow(drill)
    for _ in range(2):
        await blind.look()
    assert [alert.type for alert in told] == ["monitor.blind", "monitor.blind", "monitor.recovered"]


async def test_without_a_schedule_nothing_is_played_or_missed() -> None:
    """However long nothing happens."""
    stage = Stage()
    await stage.drills.step()
    stage.now += 400 * DAY
    await stage.drills.step()
    assert list(stage.drills.troubles(stage.now)) == [] and await stage.store.outbox() == []


async def test_what_a_command_left_is_ended_by_the_monitor() -> None:
    """Not before its own time is over."""
    stage = Stage(schedule=WEEKLY)
    await stage.begin(within=60.0)
    stage.now += 100
    await stage.drills.step()
    assert len(await stage.kinds("due")) == 4
    stage.now += 100
    await stage.drills.step()
    assert await stage.kinds("due") == []


async def test_a_store_without_a_lock_gets_signs_of_life() -> None:
    """So that a command knows that a monitor runs there; a store with a lock needs none."""
    stage, waits = Stage(), 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        stage.now, waits = stage.now + seconds, waits + 1
        if waits == 40:
            raise asyncio.CancelledError

    stage.drills._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await stage.drills.run()
    assert await stage.store.notes(ALIVE) == []

    class NoLock(MemoryStore):
        acquire = property()  # type: ignore[assignment]  # reading it is an AttributeError

    other = Stage(NoLock())
    other.drills._sleep, waits, stage = sleep, 0, other
    with pytest.raises(asyncio.CancelledError):
        await other.drills.run()
    assert [float(value) for _, value in await other.store.notes(ALIVE)] == [NOW + 30]
