"""`heistwatch routes test`: who would be told of what, when and why, and how it would look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.incident_record import movement_key
from monitor.incidents import Correlator
from monitor.model import BlockRef, Finding, Movement, Severity
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit

Run = Callable[..., Any]
SECRET = "whsec_" + "TfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwTfKQ9r8GKYo="
TELLING = f"""
receivers:
  - {{name: soc, channels: [{{type: console}}]}}
  - name: desk
    channels: [{{type: webhook, url: "https://hooks.example.com/in", secret: "{SECRET}"}}, {{type: console}}]
times: {{night: [{{from: "22:00", to: "07:00", zone: Europe/Berlin}}]}}
escalations: {{late: [{{after: 10m, receiver: desk}}]}}
inhibit: [{{source: {{severity: [critical]}}, target: {{severity: [low]}}}}]
route:
  receiver: soc
  quiet: [night]
  routes:
    - match: {{severity: [critical, high]}}
      receiver: soc
      continue: true
      escalation: late
      repeat_interval: 1h
    - {{match: {{role: [hot]}}, receiver: desk}}
"""


@pytest.fixture
def telling(config: Path) -> Path:
    """A configuration with receivers and routes."""
    config.write_text(config.read_text() + TELLING)
    return config


def asked(heistwatch: Run, *arguments: str) -> dict[str, Any]:
    """The answer as data."""
    ran = heistwatch("routes", "test", "--json", *arguments)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_now(heistwatch: Run, telling: Path) -> None:
    """A high one goes at once, by two routes, is said again, and escalates."""
    found = asked(heistwatch, "--at", "2026-01-01T23:00Z")
    assert [(r["receiver"], r["channels"], r["now"], r["path"]) for r in found["receivers"]] == [
        ("soc", ["0:console"], True, ["route", "route.routes[0]"]),
        ("desk", ["0:webhook", "1:console"], True, ["route", "route.routes[1]"]),
    ]
    assert found["escalation"] == {"policy": "late", "steps": [{"after": 600.0, "receiver": "desk"}]}
    assert found["repeats"] == {"soc": 3600.0} and found["type"] == "incident.opened"
    own = {"entity": "Example", "role": "hot", "wallet": "hot", "severity": "high"}
    assert own.items() <= found["labels"].items()


def test_waiting(heistwatch: Run, telling: Path) -> None:
    """A low one waits for the morning of its zone; by day it does not."""
    at_night = asked(heistwatch, "--label", "severity=low", "--at", "2026-01-01T23:00Z")["receivers"]
    assert [(r["receiver"], r["now"], r["why"], r["until"]) for r in at_night] == [
        ("desk", False, "quiet", "2026-01-02T06:00:00Z")
    ]
    by_day = asked(heistwatch, "--label", "severity=low", "--at", "2026-01-01T12:00Z")["receivers"]
    assert [(r["receiver"], r["now"], r["why"]) for r in by_day] == [("desk", True, None)]


def test_kinds(heistwatch: Run, telling: Path) -> None:
    """The monitor's own messages take the tree's last way; a drill plays an incident."""
    assert asked(heistwatch, "--label", "kind=blind")["receivers"][0]["path"] == ["route"]
    drill = asked(heistwatch, "--label", "kind=drill", "--label", "severity=critical")
    assert drill["type"] == "drill.opened" and [r["receiver"] for r in drill["receivers"]] == ["soc", "desk"]


@pytest.mark.parametrize("kind", ["resolved", "retracted", "blind", "recovered", "drill"])
def test_what_nobody_acknowledges(heistwatch: Run, telling: Path, kind: str) -> None:
    """What leaves no incident open is neither said again nor escalates, whatever the routes say of its severity."""
    found = asked(heistwatch, "--label", f"kind={kind}", "--label", "severity=critical")
    assert found["escalation"] is None and found["repeats"] == {}


def test_render(heistwatch: Run, telling: Path) -> None:
    """What each channel would send, readable and without secrets."""
    ran = heistwatch("routes", "test", "--render", "--at", "2026-01-01T12:00Z")
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("--- ")] == [
        "--- soc, 0:console", "--- desk, 0:webhook", "--- desk, 1:console",
    ]  # fmt: skip
    assert ran.out.count("HIGH: Example: 100 ETH sent to suspects") >= 1 and SECRET not in ran.out
    assert "0x000000000000000000000000000000000000bad1" in ran.out


def test_text(heistwatch: Run, telling: Path) -> None:
    """Lines for people: who, by which channels, when, by which route; and what silences critical alerts."""
    heistwatch("silence", "add", "--match", "severity=critical", "--for", "2h", "--comment", "moving", "--by", "ann")
    lines = heistwatch("routes", "test", "--label", "severity=critical").out.splitlines()
    assert lines[1].startswith("soc\t0:console\tsilenced: silence ") and lines[1].endswith("\troute > route.routes[0]")
    assert "by ann: moving" in lines[1]
    assert "not acknowledged for 10 min: desk (escalation late)" in lines
    assert lines[-1].startswith("CRITICAL alerts are silenced: SILENCED severity=critical until")


def test_a_stored_incident(heistwatch: Run, telling: Path) -> None:
    """It is tried as it is; labels say what it might become."""
    name = asyncio.run(_store(telling))
    found = asked(heistwatch, "--incident", name[:6])
    assert (found["labels"]["incident"], found["labels"]["severity"]) == (name, "medium")
    assert asked(heistwatch, "--incident", name, "--label", "severity=critical")["escalation"] is not None
    ran = heistwatch("routes", "test", "--incident", "nothing")
    assert (ran.code, ran.problems) == (2, ["incident 'nothing' is none: see `heistwatch incidents list`"])


async def _store(config: Path) -> str:
    """Store an incident; its id."""
    chain, thief = "eip155:31337", "0x000000000000000000000000000000000000bad1"
    asset = f"{chain}/slip44:60"
    correlator = Correlator()
    finding = Finding(
        id="f", detector="GUARD", wallet="hot", chain=chain, severity=Severity.MEDIUM, score=0.0, summary="5 ETH left",
        tx="0x01", at=1_700_000_000, block_number=7, asset=asset, destination=thief, value=5, budget_exceeded=True,
    )  # fmt: skip
    movement = Movement("hot", chain, asset, thief, 5, 1_700_000_000, "0x01", 0, 7)
    [name] = correlator.add("Example", [finding], [movement], {movement_key(movement): 5.0})
    correlator.change(name)
    store, tip = SqliteStore(config.parent / "heistwatch.db"), BlockRef(chain, 7, "0x7")
    await store.open()
    record = BlockRecord(tip, "0x6", 1_700_000_000)
    await store.commit(Commit(chain, tip, connected=(record,), incidents=((name, correlator.dump(name)),)))
    await store.aclose()
    return name


def test_every_problem_at_once(heistwatch: Run, telling: Path) -> None:
    """With hints."""
    wrong = ["severty=low", "severity=low,high", "entity=Exampel", "incident=i1"]
    ran = heistwatch("routes", "test", *(word for label in wrong for word in ("--label", label)), "--at", "noon")
    assert (ran.code, ran.problems) == (2, [
        "--label: unknown label 'severty': did you mean 'severity'?",
        "--label: unknown entity 'Exampel': did you mean 'Example'?",
        "--label: a message has one severity, not 2",
        "--label: name a stored incident with --incident",
        "--at: time was 'noon', expected ISO 8601 such as 2018-01-25T15:02:00Z",
    ])  # fmt: skip


def test_without_receivers(heistwatch: Run, config: Path) -> None:
    """Alerts come to the console."""
    assert [r["receiver"] for r in asked(heistwatch)["receivers"]] == ["console"]
