"""The desk: what is said now, what waits and is said later, and what people, other processes and restarts do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import alerts.release
from alerts.desk import Desk
from alerts.escalate import parse_policies
from alerts.inhibit import parse_rules
from alerts.intervals import parse_times
from alerts.plan import Planner
from alerts.route import parse
from alerts.silence import make_silence, silence_key, write_silence
from monitor.errors import StoreError
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Severity
from monitor.store import OperatorEvent, OutboxRow

Make = Callable[..., Alert]
T0 = 1_700_000_000.0  # 22:13 UTC, a Tuesday
MORNING = 1_700_031_600.0  # 07:00
TIMES = parse_times({"night": [{"from": "22:00", "to": "07:00", "zone": "UTC"}]})


class Lab:
    """A desk over a store, and messages by short words."""

    def __init__(self, alert: Make, fake: Any, tree: dict[str, Any], **rules: Any) -> None:
        self.alert, self.now, self.store = alert, T0, MemoryStore()
        self._n = 0
        channels = {
            "soc": [fake()], "lead": [fake()], "log": [fake(machine=True)], "both": [fake(), fake(machine=True)],
        }  # fmt: skip
        self.channels: Any = channels
        policies = parse_policies(rules.get("escalations", {}), list(channels))
        route = parse(tree, list(channels), times=TIMES, policies=list(policies))
        planner = Planner(
            route, list(channels), times=TIMES, rules=parse_rules(rules.get("inhibit", [])),
            storms=rules.get("storms", {}), machines=["log"],
        )  # fmt: skip
        self.make = lambda: Desk(self.store, planner, self.channels, policies=policies, **rules.get("desk", {}))

    async def start(self) -> Lab:
        """A new process."""
        self.desk = self.make()
        await self.desk.load()
        return self

    async def say(
        self, incident: str, kind: str, severity: str = "high", entity: str = "X", **more: Any
    ) -> list[OutboxRow]:
        """Route a message as a block would; its rows."""
        self._n += 1
        labels = {"severity": severity, "entity": entity, "kind": kind, "wallet": more.pop("wallet", "w")}
        alert = self.alert(
            f"{incident}.{self._n}", kind=AlertKind(kind), severity=Severity.parse(severity), labels=labels,
            title=f"{severity} {incident}", incident={"id": incident, "entity": entity}, **more,
        )  # fmt: skip
        await self.desk.refresh()
        routed = self.desk.route(alert, self.now)
        assert await self.store.note(routed.notes, routed.rows)
        return list(routed.rows)

    async def after(self, seconds: float) -> list[OutboxRow]:
        """The rows of one tick later."""
        self.now += seconds
        before = len(await self.store.outbox())
        more = await self.desk.tick(self.now)
        rows = list(await self.store.outbox())[before:]
        assert more is bool(rows)
        return rows

    async def silence(self, length: float = 600.0, **matchers: str) -> str:
        """Another process silences something."""
        values = {label: set(text.split(",")) for label, text in matchers.items()}
        made = make_silence(values, author="ann", comment="moving", created=self.now, expires=self.now + length)
        await self.store.note([(silence_key(made.id), write_silence(made))])
        return made.id

    async def verdict(self, incident: str, kind: str, name: str = "") -> None:
        """Another process records what a person said."""
        await self.store.say(OperatorEvent(name or f"{kind}{self.now}", kind, incident, "bob", "", self.now))


def shown(rows: list[OutboxRow]) -> list[tuple[str, str]]:
    """(receiver, type) of rows."""
    return [(row.receiver, row.kind.removeprefix("incident.")) for row in rows]


@pytest.fixture
def lab(alert: Make, fake: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Start a desk; channels write title, covered ids and links."""
    class Page(fake):  # type: ignore[misc]
        def __init__(self, *, machine: bool = False) -> None:
            super().__init__()
            self.machine = machine

        def render(self, alert: Alert, queued_at: float) -> bytes:
            return f"{alert.title} | {','.join(alert.covers)} | {dict(alert.links)} {alert.zone}\n{alert.body}".encode()

    async def start(tree: dict[str, Any], **rules: Any) -> Lab:
        return await Lab(alert, Page, tree, **rules).start()

    return start


async def test_without_rules_nothing_waits(lab: Any) -> None:
    """Every message goes at once, as many as there are, by default."""
    it = await lab({"receiver": "soc"})
    for kind in ("opened", "updated", "escalated", "updated", "resolved"):
        assert shown(await it.say("i1", kind, "low")) == [("soc", kind)]
    assert await it.after(1e6) == []


async def test_much_that_is_due_at_once_is_said_in_parts(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm's worth of steps does not keep blocks from being read; nothing is lost, and each is said once."""
    monkeypatch.setattr(alerts.release, "MOST", 4)
    escalations = {"pager": [{"after": 60, "receiver": "lead"}]}
    it = await lab({"receiver": "soc", "escalation": "pager"}, escalations=escalations)
    for number in range(10):
        await it.say(f"i{number}", "opened", "critical")
    parts = [await it.after(seconds) for seconds in (60, 1, 1, 1)]
    assert [len(part) for part in parts] == [4, 4, 2, 0]
    assert {row.incident_id for part in parts for row in part} == {f"i{number}" for number in range(10)}


async def test_updates_are_gathered(lab: Any) -> None:
    """The first goes at once; what follows comes as one message a group and interval, and covers what it stands for."""
    it = await lab({"receiver": "soc", "group_wait": 30, "group_interval": 300})
    assert shown(await it.say("i1", "opened")) == [("soc", "opened")]
    it.now += 10
    assert await it.say("i1", "updated") == []
    it.now += 10
    assert await it.say("i1", "updated") == []
    assert await it.after(279) == []
    [row] = await it.after(1)
    assert (row.alert_id, row.kind, row.incident_id) == ("i1.3", "incident.updated", "i1")
    assert b"| i1.2 |" in row.body
    assert shown(await it.say("i1", "updated", "critical")) == [("soc", "updated")]
    assert shown(await it.say("i1", "escalated")) == [("soc", "escalated")]


async def test_a_group_is_one_summary(lab: Any) -> None:
    """Several incidents of one owner are one message; another owner's are another."""
    it = await lab({"receiver": "soc", "group_interval": 300})
    for incident, entity in (("i1", "X"), ("i2", "X"), ("i3", "Y")):
        await it.say(incident, "opened", entity=entity)
    for incident, entity in (("i1", "X"), ("i2", "X"), ("i3", "Y")):
        assert await it.say(incident, "updated", entity=entity) == []
    rows = await it.after(300)
    assert shown(rows) == [("soc", "summary"), ("soc", "updated")]
    assert rows[0].body.startswith(b"X: 2 incidents, 2 messages | i1.4,i2.5 |")
    assert (rows[1].alert_id, rows[0].severity, rows[0].incident_id) == ("i3.6", int(Severity.HIGH), "")


async def test_group_by(lab: Any) -> None:
    """Labels split what is gathered further."""
    it = await lab({"receiver": "soc", "group_interval": 300, "group_by": ["wallet"]})
    for wallet in ("a", "b"):
        await it.say(f"i{wallet}", "opened", wallet=wallet)
        assert await it.say(f"i{wallet}", "updated", wallet=wallet) == []
    assert shown(await it.after(300)) == [("soc", "updated")] * 2


async def test_a_later_message_covers_what_waited(lab: Any) -> None:
    """What goes at once stands for what waited of its incident, which is not said again."""
    it = await lab({"receiver": "soc", "group_interval": 300})
    await it.say("i1", "opened")
    await it.say("i1", "updated")
    [row] = await it.say("i1", "resolved", "low")
    assert b"| i1.2 |" in row.body
    assert await it.after(1000) == []


async def test_a_storm_is_summarised(lab: Any) -> None:
    """Beyond the limit updates come as one summary an owner a minute; programs get each, and nothing is lost."""
    it = await lab({"receiver": "both"}, storms={"both": 3})
    for n in range(5):
        assert len(await it.say(f"i{n}", "opened")) == 2
    rows = [row for n in range(5) for row in await it.say(f"i{n}", "updated")]
    assert {row.channel for row in rows} == {"1:fake"} and len(rows) == 5
    assert len(await it.say("i0", "escalated")) == len(await it.say("i1", "updated", "critical")) == 2
    rows = await it.after(60)
    assert [(row.channel, row.kind) for row in rows] == [("0:fake", "incident.summary")]
    assert all(name in rows[0].body for name in (b"i2.8", b"i3.9", b"i4.10"))


async def test_programs_get_every_update(lab: Any) -> None:
    """A receiver that only programs read has neither storms nor groups."""
    it = await lab({"receiver": "log", "group_interval": 300}, storms={"log": 1})
    for kind in ("opened", "updated", "updated"):
        assert shown(await it.say("i1", kind)) == [("log", kind)]


async def test_quiet_hours(lab: Any) -> None:
    """Low and medium wait for the morning, even the first; high does not, nor does what grew."""
    it = await lab({"receiver": "soc", "quiet": "night"})
    assert await it.say("i1", "opened", "low") == []
    assert await it.say("i1", "updated", "medium") == []
    assert await it.say("i2", "opened", "medium") == []
    assert shown(await it.say("i3", "opened", "high")) == [("soc", "opened")]
    assert shown(await it.say("i2", "escalated", "medium")) == [("soc", "escalated")]
    assert await it.after(MORNING - it.now - 1) == []
    [row] = await it.after(1)  # to whoever slept, the update opens it
    assert (row.kind, b"| i1.1,i1.2 |" in row.body) == ("incident.opened", True)


async def test_what_is_over_by_the_morning_is_said_as_that(lab: Any) -> None:
    """Who slept is told of what came and went, in a summary that says that it is over."""
    it = await lab({"receiver": "soc", "quiet": "night"})
    await it.say("i1", "opened", "low")
    assert await it.say("i1", "resolved", "low") == []
    [row] = await it.after(MORNING - it.now)
    assert row.kind == "incident.summary" and b"| i1.1,i1.2 |" in row.body and b"over: opened, resolved" in row.body


async def test_silence_holds_and_gives_back(lab: Any) -> None:
    """What is silenced is said when that ends and it is still open; what ended meanwhile is not, nor its correction."""
    it = await lab({"receiver": "soc"})
    await it.silence(severity="low")
    await it.say("i1", "opened", "low")
    await it.say("i2", "opened", "low")
    assert await it.say("i1", "updated", "low") == [] == await it.say("i2", "retracted", "low")
    assert await it.after(599) == []
    [row] = await it.after(1)  # what a service hears first of an incident opens it there
    assert (row.kind, b"| i1.1,i1.3 |" in row.body) == ("incident.opened", True)
    assert await it.after(1e5) == []


async def test_who_comes_later_hears_an_opening(lab: Any) -> None:
    """A receiver that only an update leads to hears `opened`, under an id of its own; those before hear the update."""
    it = await lab({"receiver": "soc", "routes": [{"match": {"wallet": "cold"}, "receiver": "lead", "continue": True},
                                                  {"match": {}, "receiver": "soc"}]})  # fmt: skip
    assert shown(await it.say("i1", "opened")) == [("soc", "opened")]
    rows = await it.say("i1", "updated", wallet="hot,cold")
    assert shown(rows) == [("lead", "opened"), ("soc", "updated")]
    first, update = rows
    assert first.alert_id != update.alert_id and update.alert_id.encode() in first.body
    assert shown(await it.say("i1", "updated", wallet="hot,cold")) == [("lead", "updated"), ("soc", "updated")]


async def test_a_silence_that_is_ended_early(lab: Any) -> None:
    """Another process ends it: what it kept is said at the next look."""
    it = await lab({"receiver": "soc"})
    name = await it.silence(severity="low")
    await it.say("i1", "opened", "low")
    assert await it.after(1) == []
    await it.store.note([(silence_key(name), None)])
    assert shown(await it.after(1)) == [("soc", "opened")]


async def test_critical_is_silenced_by_name_alone(lab: Any) -> None:
    """And every summary says so while it lasts."""
    it = await lab({"receiver": "soc", "group_interval": 60})
    await it.say("i0", "opened")
    await it.say("i9", "opened")
    await it.silence(entity="X")
    assert shown(await it.say("i1", "opened", "critical")) == [("soc", "opened")]
    await it.silence(length=10_000, entity="X", severity="critical")
    assert await it.say("i1", "escalated", "critical") == []
    for name in ("i0", "i9"):
        await it.say(name, "updated")
    rows = await it.after(1000)
    assert shown(rows) == [("soc", "summary")]
    assert b"SILENCED entity=X severity=critical until" in rows[0].body and b"by ann: moving" in rows[0].body
    await it.say("i0", "updated")
    [alone] = await it.after(60)
    assert b"SILENCED entity=X severity=critical until" in alone.body, "what covers one incident is a summary, too"


async def test_inhibition(lab: Any) -> None:
    """The lesser waits while the greater is open, and is said after it."""
    rule = {"source": {"severity": "critical"}, "target": {"severity": ["low", "medium"]}}
    it = await lab({"receiver": "soc"}, inhibit=[rule])
    await it.say("i1", "opened", "critical")
    assert await it.say("i2", "opened", "low") == []
    assert shown(await it.say("i3", "opened", "low", "Y")) == [("soc", "opened")]
    assert await it.after(10_000) == []
    await it.say("i1", "resolved", "low")
    assert [row.alert_id for row in await it.after(1)] == ["i2.2"]


async def test_repeats_until_somebody_looks(lab: Any) -> None:
    """An open incident is said again; an acknowledgement of another process ends that, before any block."""
    it = await lab({"receiver": "soc", "repeat_interval": 3600})
    await it.say("i1", "opened")
    assert await it.after(3599) == []
    [first] = await it.after(1)
    [second] = await it.after(3600)
    assert first.kind == second.kind == "incident.reminder" and first.alert_id != second.alert_id
    assert first.body.startswith(b"STILL OPEN after 1 h: high i1")
    await it.verdict("i1", "acknowledge")
    assert await it.after(10_000) == []
    await it.verdict("i1", "reopen")
    assert len(await it.after(10)) == 1
    await it.say("i1", "resolved", "low")
    assert await it.after(10_000) == []


LATE = {"late": [{"after": 600, "receiver": "lead"}, {"after": 1800, "receiver": "both"}]}


@pytest.mark.parametrize("kind", ["resolved", "retracted"])
async def test_what_is_over_is_open_again_with_its_next_message(lab: Any, kind: str) -> None:
    """Nobody is reminded of what the last message called over, though somebody asked for it to be reopened."""
    escalations = {"pager": [{"after": 60, "receiver": "lead"}]}
    tree = {"receiver": "soc", "repeat_interval": 60, "escalation": "pager"}
    it = await lab(tree, escalations=escalations)
    await it.say("i1", "opened")
    assert shown(await it.say("i1", kind)) == [("soc", kind)]
    await it.verdict("i1", "reopen")
    assert await it.after(3600) == []
    assert shown(await it.say("i1", "opened")) == [("soc", "opened")]
    assert shown(await it.after(60)) == [("lead", "reminder"), ("soc", "reminder")]


async def test_escalation(lab: Any) -> None:
    """Steps come in time, once each; a correction goes to whoever was told by them."""
    it = await lab({"receiver": "soc", "escalation": "late"}, escalations=LATE)
    await it.say("i1", "opened")
    assert await it.after(599) == []
    [row] = await it.after(1)
    assert (row.receiver, row.kind) == ("lead", "incident.reminder")
    assert row.body.startswith(b"NOT ACKNOWLEDGED for 10 min: high i1")
    assert {row.receiver for row in await it.after(1200)} == {"both"}
    assert await it.after(10_000) == []
    assert {row.receiver for row in await it.say("i1", "resolved", "low")} == {"soc", "lead", "both"}


async def test_an_acknowledgement_is_for_what_was_known(lab: Any) -> None:
    """It stops the steps; what grows past it starts them anew."""
    it = await lab({"receiver": "soc", "escalation": "late"}, escalations=LATE)
    await it.say("i1", "opened")
    await it.verdict("i1", "acknowledge")
    assert await it.after(5000) == []
    await it.say("i1", "escalated", "critical")
    assert await it.after(599) == []
    assert shown(await it.after(1)) == [("lead", "reminder")]


async def test_a_silenced_incident_does_not_escalate(lab: Any) -> None:
    """The step comes when the silence ends."""
    it = await lab({"receiver": "soc", "escalation": "late"}, escalations=LATE)
    await it.say("i1", "opened")
    await it.silence(length=1000, severity="high")
    assert await it.after(700) == []
    assert shown(await it.after(300)) == [("lead", "reminder")]


async def test_a_verdict_counts_once(lab: Any) -> None:
    """It is heard before the block, with the block, and after a restart: an older one does not come back."""
    it = await lab({"receiver": "soc", "repeat_interval": 60})
    await it.say("i1", "opened")
    said = enumerate(("acknowledge", "reopen"))
    events = [OperatorEvent(f"v{n}", kind, "i1", "bob", "", it.now + n) for n, kind in said]
    for event in events:
        await it.store.say(event)
    assert shown(await it.after(61)) == [("soc", "reminder")]
    for event in events:
        assert not it.desk.heard(event)
    await it.start()
    assert shown(await it.after(60)) == [("soc", "reminder")]


async def test_a_kill_between_verdict_and_note(lab: Any) -> None:
    """A verdict in force that no note has is found in the store by the next process."""
    it = await lab({"receiver": "soc", "repeat_interval": 60})
    await it.say("i1", "opened")
    it.now += 1
    await it.verdict("i1", "acknowledge")
    await it.start()  # nobody called refresh
    assert it.desk.board.cases["i1"].acknowledged_by == "bob"
    assert await it.after(1000) == []


async def test_merged(lab: Any) -> None:
    """Who was told of an incident that another took over is told of the other's end; one alone is said again."""
    tree = {"receiver": "soc", "repeat_interval": 60, "routes": [{"match": {"wallet": "b"}, "receiver": "lead"}]}
    it = await lab(tree)
    await it.say("i1", "opened")
    await it.say("i2", "opened", wallet="b")
    it.desk.merged("i2", "i1")
    assert {row.incident_id for row in await it.after(60)} == {"i1"}
    await it.verdict("i2", "acknowledge")
    assert await it.after(1000) == []
    assert shown(await it.say("i1", "resolved", "low")) == [("soc", "resolved"), ("lead", "resolved")]


async def test_a_receiver_that_left(lab: Any) -> None:
    """What waited for it goes to whoever gets such messages now; a correction does, too."""
    it = await lab({"receiver": "soc"})
    await it.silence(severity="low")
    await it.say("i1", "opened", "low")
    held = it.desk.board.held.pop(("soc", "i1"))
    held.receiver = "gone"
    it.desk.board.put(held)
    it.desk.board.cases["i2"] = replace_told(it, "gone")
    assert [(row.receiver, row.alert_id) for row in await it.after(600)] == [("soc", "i1.1")]
    assert shown(await it.say("i2", "resolved", "low")) == [("soc", "resolved")]


def replace_told(it: Lab, receiver: str) -> Any:
    """A case that only somebody was told of who is not there any more."""
    from alerts.case import opened

    alert = it.alert("x", incident={"id": "i2", "entity": "X"})
    case = opened(alert, it.now)
    case.told = [receiver]
    return case


async def test_a_correction_that_nobody_waits_for(lab: Any) -> None:
    """Told before there were cases: whoever the pipeline names; nobody known: the tree."""
    it = await lab({"receiver": "soc"})
    alert = it.alert("r", kind=AlertKind.RETRACTED, incident={"id": "old", "entity": "X"})
    assert [row.receiver for row in it.desk.route(alert, T0, ("lead", "gone")).rows] == ["lead"]
    other = replace(alert, id="s", incident={"id": "older", "entity": "X"})
    assert [row.receiver for row in it.desk.route(other, T0).rows] == ["soc"]


@pytest.mark.parametrize("kind", ["blind", "recovered", "drill"])
async def test_what_is_never_held(lab: Any, alert: Make, kind: str) -> None:
    """The monitor's own messages and drills pass every silence and every night."""
    it = await lab({"receiver": "soc", "quiet": "night", "group_interval": 300}, storms={"soc": 1})
    await it.silence(severity="low")
    for n in range(3):
        message = alert(f"m{n}", kind=AlertKind(kind), severity=Severity.LOW, labels={"severity": "low", "entity": "X"})
        assert len(it.desk.route(message, it.now).rows) == 1
    assert [row.receiver for row in it.desk.rows_now(message, ["lead", "gone"], it.now)] == ["lead"]


async def test_drills_beside_another_process(lab: Any, alert: Make) -> None:
    """A drill that another process sends escalates here; its end, said there, ends that."""
    it = await lab({"receiver": "soc", "escalation": "late"}, escalations=LATE)
    labels = {"severity": "critical", "entity": "X", "kind": "opened"}
    drill = alert("d1", kind=AlertKind.DRILL, labels=labels, incident={"id": "drill-1", "entity": "X"})
    other = it.make()
    await other.load()
    assert [row.receiver for row in await other.send(drill, it.now)] == ["soc"]
    assert await it.after(599) == []
    assert [(row.receiver, row.kind) for row in await it.after(1)] == [("lead", "drill.reminder")]
    end = replace(drill, id="d2", labels={**labels, "kind": "resolved"})
    assert [row.receiver for row in await other.send(end, it.now)] == ["soc", "lead"]
    assert await it.after(10_000) == []


async def test_a_drill_that_changes_meanwhile(lab: Any, alert: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two processes write the same drill nothing is half done: it is tried again, and given up loudly."""
    it = await lab({"receiver": "soc"})
    drill = alert("d1", kind=AlertKind.DRILL, incident={"id": "drill-1", "entity": "X"})
    real, refusals = it.store.note, [True, True]

    async def note(*given: Any, **more: Any) -> bool:
        return False if refusals and refusals.pop() else await real(*given, **more)

    monkeypatch.setattr(it.store, "note", note)
    assert len(await it.desk.send(drill, it.now)) == 1
    assert len(await it.store.outbox()) == 1
    refusals += [True] * 100
    with pytest.raises(StoreError, match="drill changed again and again"):
        await it.desk.send(replace(drill, id="d2"), it.now)


async def test_links_and_zones_are_the_receivers_own(lab: Any) -> None:
    """Each receiver gets its own, whatever is said."""
    def links(receiver: str, incident: str, now: float) -> dict[str, str]:
        return {"acknowledge": f"{receiver}/{incident}"}

    own = {"links": links, "zones": {"soc": "Asia/Tokyo"}}
    it = await lab({"receiver": "soc", "repeat_interval": 60}, desk=own)
    rows = [*await it.say("i1", "opened"), *await it.after(60)]
    assert len(rows) == 2 and all(b"{'acknowledge': 'soc/i1'} Asia/Tokyo" in row.body for row in rows)


async def test_hostile_text_can_be_kept(lab: Any) -> None:
    """What no JSON can write as it is does not stop the desk, and is read back."""
    it = await lab({"receiver": "soc", "repeat_interval": 60})
    assert len(await it.say("i1", "opened", body="\ud800 x", runbook="\udfff")) == 1
    await it.start()
    assert len(await it.after(60)) == 1


async def test_what_is_over_is_forgotten(lab: Any) -> None:
    """Closed cases after 30 days, expired silences after a week."""
    it = await lab({"receiver": "soc"})
    await it.silence(severity="info")
    await it.say("i1", "opened")
    await it.say("i1", "resolved", "low")
    await it.after(8 * 86400)
    assert [key for key, _ in await it.store.notes()] == ["case/i1"]
    await it.after(23 * 86400)
    assert await it.store.notes() == []


async def test_a_store_of_another_version(lab: Any) -> None:
    """Notes that cannot be read are said, not skipped."""
    it = await lab({"receiver": "soc"})
    await it.store.note([("held/soc/i1", b'{"receiver": 1}')])
    with pytest.raises(StoreError, match="cannot be read"):
        await it.start()


async def test_what_a_channel_did_not_get_before_it_left_is_said_by_the_others(lab: Any) -> None:
    """A broken channel that is replaced by one of another type takes no alarm with it, and nobody hears it twice."""
    desk = await lab({"receiver": "soc"})
    [row] = await desk.say("i1", "opened", "critical")
    [closed] = await desk.say("i2", "opened")
    await desk.say("i2", "resolved")

    other = type(desk.channels["soc"][0])()
    other.type = "other"
    desk.channels["soc"] = [*desk.channels["soc"], other]
    await desk.start()
    await desk.desk.take_over([replace(row, channel="0:gone"), closed], desk.now)
    again = await desk.after(1.0)
    assert [(r.alert_id, r.channel, r.kind) for r in again] == [(row.alert_id, "1:other", "incident.opened")]
    count = len(await desk.store.outbox())
    await desk.desk.take_over([replace(row, receiver="gone")], desk.now)
    await desk.desk.tick(desk.now + 1.0)
    assert len(await desk.store.outbox()) == count  # who gets it instead of that receiver has it already


async def test_a_clock_that_is_set_back_changes_no_order_and_delays_nobody(lab: Any) -> None:
    """An hour back: messages of an incident keep their order, escalation its pace, and no storm is seen for an hour."""
    policies = {"pager": [{"after": 60.0, "receiver": "lead"}]}
    desk = await lab({"receiver": "both", "escalation": "pager"}, escalations=policies, storms={"both": 2})
    first = await desk.say("i1", "opened", "high")
    await desk.say("i2", "opened", "high")
    desk.now -= 3600.0
    second = await desk.say("i1", "updated", "high")
    assert len(second) == 2, "two messages lie within a minute of another time"
    await desk.after(1.0)
    desk.now -= 7200.0
    await desk.after(1.0)
    steps = await desk.after(60.0)
    assert [(r.receiver, r.incident_id) for r in steps] == [("lead", "i1"), ("lead", "i2")]
    third = await desk.say("i1", "resolved")
    times = [rows[0].queued_at for rows in (first, second, steps, third)]
    assert times == sorted(times) and T0 in times
    due = await desk.store.ready(("both", "0:fake"), T0 + 1.0)
    assert [r.alert_id for r in due if r.incident_id == "i1"] == [first[0].alert_id, second[0].alert_id,
                                                                  third[0].alert_id]
