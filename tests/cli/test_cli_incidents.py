"""`heistwatch incidents`, `deliveries` and `coverage` on a store that a monitor left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.silence import make_silence, silence_key, write_silence
from monitor.incident_record import movement_key
from monitor.incidents import Correlator
from monitor.model import BlockRef, Delivery, Finding, Movement, Outcome, Reason, Severity
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit, CoverageRange, OutboxRow
from monitor.verdicts import verdict

CHAIN = "eip155:31337"
ASSET = f"{CHAIN}/slip44:60"
THIEF = "0x000000000000000000000000000000000000bad1"


def incident(correlator: Correlator, entity: str, tx: str, at: int) -> str:
    """One theft of 5 ether in block 7."""
    finding = Finding(
        id=f"finding-{tx}", detector="GUARD", wallet="hot", chain=CHAIN, severity=Severity.HIGH, score=0.0,
        summary="5 ETH to an address first paid just now", tx=tx, at=at, block_number=7, asset=ASSET,
        destination=THIEF, value=5 * 10**18, budget_exceeded=True, evidence={"guard_rail": True},
    )  # fmt: skip
    movement = Movement("hot", CHAIN, ASSET, THIEF, 5 * 10**18, at, tx, 0, 7)
    [name] = correlator.add(entity, [finding], [movement], {movement_key(movement): 5e18})
    correlator.change(name)
    return name


@pytest.fixture
def stored(config: Path) -> list[str]:
    """Ids of two stored incidents; one message was delivered, one waits; block 8 was never scanned."""
    correlator = Correlator()
    thefts = (("Example", "0x01", 1_700_000_000), ("Other", "0x02", 1_700_000_100))
    names = [incident(correlator, *theft) for theft in thefts]

    async def write() -> None:
        store = SqliteStore(config.parent / "heistwatch.db")
        await store.open()
        tip = BlockRef(CHAIN, 9, "0x9")
        rows = [OutboxRow(f"alert-{n}", "soc", "0:webhook", b"{}", 1.7e9, "incident.opened", n) for n in names]
        await store.commit(
            Commit(
                CHAIN, tip, connected=(BlockRecord(tip, "0x8", 1_700_000_200),),
                incidents=tuple((name, correlator.dump(name)) for name in names), outbox=tuple(rows),
                coverage=(
                    CoverageRange(CHAIN, 5, 7, "node-a", ("internal transfers",), 1),
                    CoverageRange(CHAIN, 9, 9, "node-b"),
                ),
            )
        )  # fmt: skip
        await store.aclose()

    asyncio.run(write())
    return names


def test_list(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """One line an incident, oldest first; --json is what webhooks carry."""
    ran = heistwatch("incidents", "list")
    assert ran.code == 0
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        [stored[0], "2023-11-14T22:13:20Z", "high", "open", "Example", "5 ETH", "", ""],
        [stored[1], "2023-11-14T22:15:00Z", "high", "open", "Other", "5 ETH", "", ""],
    ]
    found = json.loads(heistwatch("incidents", "list", "--json").out)
    assert [item["id"] for item in found] == stored
    assert found[0]["lost"] == [{"chain": CHAIN, "asset": ASSET, "value": str(5 * 10**18), "display": "5 ETH"}]
    assert found[0]["suspects"] == [THIEF] and found[0]["share_lost"] == 0.5


def test_show(heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]) -> None:
    """The first characters of an id are enough, as long as they fit one incident."""
    ran = heistwatch("incidents", "show", stored[0][:8])
    assert ran.code == 0 and f"suspect {THIEF}" in ran.out
    assert f"heistwatch incidents false-alarm {stored[0]}" in ran.out and "trusted:" in ran.out
    assert json.loads(heistwatch("incidents", "show", stored[0], "--json").out)["id"] == stored[0]
    assert "incidents list" in refused(2, "incidents", "show", "nothing")
    assert "not unique" in refused(2, "incidents", "show", "")


def test_who_looks_at_it_and_what_silences_it(
    heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]
) -> None:
    """In both views, also before a monitor took it up; the comment of a silence stays text on one line."""
    heistwatch("incidents", "ack", stored[0], "--by", "ann")
    add = ("silence", "add", "--for", "2h", "--by", "bob", "--comment", "moving\n\x1b[2Jall", "--match")
    assert f"of incident={stored[1]} holds" in heistwatch(*add, f"incident={stored[1][:6]}").out
    assert "no incident 'feed'" in refused(2, *add, "incident=feed")
    first, second = (line.split("\t") for line in heistwatch("incidents", "list").out.splitlines())
    assert first[6:] == ["ann", ""] and second[6] == "" and second[7] > "2026"
    assert "  acknowledged by ann at " in heistwatch("incidents", "show", stored[0]).out
    shown = heistwatch("incidents", "show", stored[1]).out
    assert f"  silenced until {second[7]} by bob: moving ?[2Jall (incident={stored[1]})\n" in shown
    assert len(heistwatch("silence", "list").out.splitlines()) == 1
    one, other = json.loads(heistwatch("incidents", "list", "--json").out)
    assert one["acknowledged"]["by"] == "ann" and one["silences"] == [] and one["held"] == []
    assert other["acknowledged"] is None and other["silences"][0]["author"] == "bob"
    heistwatch("incidents", "reopen", stored[0])
    assert "  acknowledged by" not in heistwatch("incidents", "show", stored[0]).out


def test_verdict(heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]) -> None:
    """A verdict is kept with who, why and that it is not yet in force; one on nothing is refused."""
    ran = heistwatch("incidents", "false-alarm", stored[1], "--by", "alice", "--comment", "our cold wallet")
    assert ran.code == 0 and stored[1] in ran.out and "next block" in ran.out
    assert "not yet in force: false-alarm by alice" in heistwatch("incidents", "show", stored[1]).out
    assert "not yet in force" not in heistwatch("incidents", "show", stored[0]).out
    assert json.loads(heistwatch("incidents", "show", stored[1], "--json").out)["status"] == "open"
    assert "no incident" in refused(2, "incidents", "confirm", "feedfeed")


def write(config: Path, work: Callable[[SqliteStore], Any]) -> None:
    """Do something with the store that a monitor left."""

    async def main() -> None:
        store = SqliteStore(config.parent / "heistwatch.db")
        await store.open()
        await work(store)
        await store.aclose()

    asyncio.run(main())


def test_note(heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]) -> None:
    """A note is written into the history, and says nothing of where the incident stands."""
    ran = heistwatch("incidents", "note", stored[0][:8], "asked the treasury\nno answer", "--by", "bob")
    assert ran.code == 0 and f"noted for {stored[0]}" in ran.out
    shown = heistwatch("incidents", "show", stored[0])
    assert "not yet in force: note by bob: asked the treasury no answer" in shown.out and ", open, " in shown.out
    assert "empty" in refused(2, "incidents", "note", stored[0], "  ")
    assert "no incident" in refused(2, "incidents", "note", "feedfeed", "text")


def test_show_tells_who_was_reached(heistwatch: Callable[..., Any], config: Path, stored: list[str]) -> None:
    """One timeline of what was said and who was told, by time; on-chain and remote text stays text."""

    def tried(name: str, attempt: int, outcome: Outcome, reason: Reason, at: float) -> Delivery:
        return Delivery(name, "soc", "0:webhook", attempt, outcome, reason, at, detail="\x1b[2J")

    async def more(store: SqliteStore) -> None:
        name = f"alert-{stored[0]}"
        await store.record(tried(name, 1, Outcome.RETRY, Reason.SERVER_ERROR, 1.7e9 + 1.0), state="due")
        await store.record(tried(name, 2, Outcome.ACCEPTED, Reason.OK, 1.7e9 + 2.5), state="done")
        dead = tried(f"alert-{stored[1]}", 1, Outcome.REJECTED, Reason.GONE, 1.7e9)
        await store.record(dead, state="dead")
        await store.say(verdict("note", stored[0], by="bob", comment="on it", at=1.7e9 + 2.2))

    write(config, more)
    found = json.loads(heistwatch("incidents", "show", stored[0], "--json").out)["timeline"]
    assert found == [
        {"at": "2023-11-14T22:13:22.200Z", "what": "said", "text": "said and not yet in force: note by bob: on it"},
        {"at": "2023-11-14T22:13:22.500Z", "what": "told",
         "text": "told soc by webhook (incident.opened) after 2.5 s, 2 attempts"},
    ]  # fmt: skip
    assert "2023-11-14T22:13:22Z  told soc by webhook" in heistwatch("incidents", "show", stored[0]).out
    out = heistwatch("incidents", "show", stored[1]).out
    assert "NOT told soc by webhook (incident.opened): given up after 1 attempt, last gone" in out and "\x1b" not in out


def test_a_drill_is_acknowledged(
    heistwatch: Callable[..., Any], refused: Callable[..., str], config: Path, stored: list[str]
) -> None:
    """By the first characters of its id, as an incident; one that was never begun is none."""
    write(config, lambda store: store.note([("drill/drill-0123abc", b"{}"), ("drill/last", b"{}")]))
    assert "acknowledge of drill-0123abc is recorded" in heistwatch("incidents", "ack", "drill-01").out
    for name in ("drill-9", "last"):
        assert "no incident" in refused(2, "incidents", "ack", name)
    assert "not unique" in refused(2, "incidents", "ack", "")


def test_handover(
    heistwatch: Callable[..., Any], refused: Callable[..., str], config: Path, stored: list[str]
) -> None:
    """What is open and who looks at it, last words, what did not arrive, silences, troubles, how far chains are."""
    heistwatch("incidents", "ack", stored[0], "--by", "ann", "--comment", "asked the\ntreasury\x1b[2J")
    now = time.time()
    silence = make_silence({"severity": ["critical"]}, author="cy", comment="move", created=now - 9, expires=now + 3600)
    dead = Delivery(f"alert-{stored[0]}", "soc", "0:webhook", 1, Outcome.REJECTED, Reason.AUTH, now)

    async def more(store: SqliteStore) -> None:
        await store.note([(silence_key(silence.id), write_silence(silence))])
        told = b'{"key": "k", "what": "eip155:1 sends no blocks", "since": 1700000000.0, "said_at": 1700000000.0}'
        await store.note([("blind/eip155%3A1", told), ("blind/channel/soc/0:webhook", b'{"told": false}')])
        await store.note([("blind/channel/boss/0:smtp", b'{"told": true, "since": 1700000000.0, "reason": "auth"}')])
        await store.record(dead, state="dead")

    write(config, more)
    ran = heistwatch("incidents", "handover")
    assert ran.code == 0 and ran.err == "" and "\x1b" not in ran.out
    text = ran.out
    other = text.index("HIGH Other: 5 ETH left (50 % of the balance), open")
    assert "OPEN: 2" in text and other < text.index("HIGH Example")  # what nobody looks at comes first
    assert text.count("NOBODY acknowledged it") == 1 and "acknowledged by ann at" in text
    assert "last words: ann at" in text and "asked the treasury" in text
    assert "NOT DELIVERED: 2" in text and "NOT told soc by webhook (incident.opened): given up after 1 attempt" in text
    assert "to be told: soc by webhook (incident.opened), queued" in text  # for long
    assert "CANNOT BE SEEN OR TOLD: 2\n" in text and "  eip155:1 sends no blocks since 2023-11-14T22:13:20Z\n" in text
    assert "  boss/0:smtp does not deliver since 2023-11-14T22:13:20Z: auth\n" in text
    assert "block 9 of 2023-11-14T22:16:40Z" in text
    assert "SILENCED: 1\n  severity=critical until" in text and "by cy: move (CRITICAL alerts, too)" in text
    found = json.loads(heistwatch("incidents", "handover", "--since", "2023-11-14T22:00Z", "--json").out)
    assert [entry["id"] for entry in found["open"]] == [stored[1], stored[0]]
    assert found["open"][1]["acknowledged"]["by"] == "ann" and found["closed"] == []
    assert "no length of time" in refused(2, "incidents", "handover", "--since", "yesterday")


def test_deliveries(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """What waits is listed, by state."""
    found = json.loads(heistwatch("deliveries", "list", "--json").out)
    assert [(row["incident"], row["state"], row["attempts"]) for row in found] == [(n, "due", 0) for n in stored]
    assert heistwatch("deliveries", "list", "--state", "done").out == "no messages\n"
    line = heistwatch("deliveries", "list", "--state", "due").out.splitlines()[0].split("\t")
    assert line[:6] == [f"alert-{stored[0]}", "incident.opened", "soc", "0:webhook", "due", "0"]


def test_coverage(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """Ranges with their source and blind spots, and the gap between them."""
    found = json.loads(heistwatch("coverage", "--json").out)[CHAIN]
    assert found["gaps"] == [{"first": 8, "last": 8}] and found["blocks"] == 4
    assert found["ranges"][0] == {
        "first": 5, "last": 7, "source": "node-a", "blind_spots": ["internal transfers"], "undecoded": 1
    }  # fmt: skip
    text = heistwatch("coverage").out
    assert "GAP 8 to 8" in text and "5 to 7 through node-a, cannot see internal transfers" in text


@pytest.mark.parametrize("arguments", [["incidents", "list"], ["deliveries", "list"], ["coverage"]])
def test_reading_makes_no_store(heistwatch: Callable[..., Any], config: Path, arguments: list[str]) -> None:
    """Where no monitor ever ran, that is said, and no empty store is left behind."""
    ran = heistwatch(*arguments)
    assert ran.code == 0 and ran.out in ("no incidents\n", "no messages\n", "nothing scanned yet\n")
    assert "there is no store" in ran.err
    assert not (config.parent / "heistwatch.db").exists()
