"""`heistwatch drill`: who was reached, what failed, and the exit code that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.registry import CHANNELS

HOT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
CASE = ("--case", "lubian-2020")  # the quickest to play


@pytest.fixture
def drills(here: Path) -> Path:
    """A configuration with a console, a file, and a webhook that nobody listens at."""
    path = here / "heistwatch.yaml"
    dead = f"http://127.0.0.1:{9}/hook"
    path.write_text(
        f"""version: 1
wallets: [{{id: hot, entity: Example, role: hot, addresses: ["ethereum:{HOT}"]}}]
receivers:
  - {{name: soc, channels: [{{type: file, path: "{here}/soc.ndjson"}}]}}
  - {{name: desk, channels: [{{type: console}}]}}
  - {{name: dead, channels: [{{type: webhook, url: "{dead}", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}]}}
route:
  receiver: dead
  routes: [{{match: {{entity: Example, severity: critical}}, receiver: soc}}]
"""
    )
    return path


def test_a_drill_that_arrives(heistwatch: Callable[..., Any], drills: Path) -> None:
    """Routed as the theft that it plays; its messages are drills in type and title; exit code 0."""
    ran = heistwatch("drill", drills, *CASE, "--json")
    told = json.loads(ran.out)
    assert ran.code == 0 and told["reached"] is True and told["problems"] == [], ran.err
    (reached,) = told["deliveries"]
    assert (reached["receiver"], reached["channel"], reached["reached"]) == ("soc", "0:file", True)
    assert reached["seconds"] >= 0 and reached["attempts"] == 3 and told["not_on_the_way"] == ["dead", "desk"]
    sent = [json.loads(line) for line in (drills.parent / "soc.ndjson").read_text().splitlines()]
    assert [message["type"] for message in sent] == ["drill.opened", "drill.escalated", "drill.resolved"]
    assert all("DRILL" in json.dumps(message["data"]["title"]) for message in sent)
    assert {message["data"]["incident"]["id"] for message in sent} == {told["drill"]}
    assert {message["data"]["incident"]["entity"] for message in sent} == {"Example"}


def test_a_dead_channel_is_named_and_fails_the_drill(heistwatch: Callable[..., Any], drills: Path) -> None:
    """Exit code 1; people read who was not reached, through what, and why; the console's own output is a drill."""
    ran = heistwatch("drill", drills, *CASE, "--receiver", "dead", "--receiver", "desk", "--within", "1")
    assert ran.code == 1
    assert "FAILED: dead was not reached through 0:webhook: connection" in ran.out
    assert "desk\t0:console\tyes" in ran.out and "[DRILL CRITICAL]" in ran.out
    assert "not on its way: soc" in ran.out
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in ran.out + ran.err


def test_with_json_the_console_does_not_garble_it(heistwatch: Callable[..., Any], drills: Path) -> None:
    """What the console channel prints goes to standard error."""
    ran = heistwatch("drill", drills, *CASE, "--receiver", "desk", "--json")
    assert ran.code == 0 and json.loads(ran.out)["deliveries"][0]["receiver"] == "desk"
    assert "[DRILL CRITICAL]" in ran.err


def test_nobody_acknowledges(heistwatch: Callable[..., Any], drills: Path) -> None:
    """Where an acknowledgement is asked for, its lack fails the drill."""
    ran = heistwatch("drill", drills, *CASE, "--ack-within", "0.1", "--json")
    assert ran.code == 1 and json.loads(ran.out)["problems"] == ["nobody acknowledged it within 0.1 s"]


def test_the_owners_state_is_not_touched(heistwatch: Callable[..., Any], drills: Path) -> None:
    """No incident, no flow, no block: the drill is listed among deliveries alone."""
    heistwatch("drill", drills, *CASE)
    assert json.loads(heistwatch("incidents", "list", "-c", drills, "--json").out) == []
    assert json.loads(heistwatch("coverage", "-c", drills, "--json").out) == {}
    rows = json.loads(heistwatch("deliveries", "list", "-c", drills, "--json").out)
    assert [row["state"] for row in rows] == ["done"] * 3


def test_the_report_of_an_earlier_drill(
    heistwatch: Callable[..., Any], refused: Callable[..., str], drills: Path
) -> None:
    """The same report later, by id or as the last one, with the same exit code; nothing is sent for it."""
    none = heistwatch("drill", drills, "--show", "last")
    assert none.code == 2 and none.problems[-1] == "no drill 'last': there was none so far"
    good = json.loads(heistwatch("drill", drills, *CASE, "--json").out)
    bad = json.loads(heistwatch("drill", drills, *CASE, "--ack-within", "0.1", "--json").out)
    sent = (drills.parent / "soc.ndjson").read_bytes()
    for name, report, code in (("last", bad, 1), (bad["drill"], bad, 1), (good["drill"][:-2], good, 0)):
        ran = heistwatch("drill", drills, "--show", name, "--json")
        assert (ran.code, json.loads(ran.out)) == (code, report)
    assert (drills.parent / "soc.ndjson").read_bytes() == sent
    assert f"the last ones are {good['drill']}, {bad['drill']}" in refused(2, "drill", drills, "--show", "drill-")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--case", "coinchek-2018"], 2, "unknown case 'coinchek-2018': did you mean 'coincheck-2018'?"),
        (["--receiver", "sock"], 2, "unknown receiver 'sock': did you mean 'soc'?"),
        (["--wallet", "hut"], 2, "unknown wallet 'hut': did you mean 'hot'?"),
        (["--receiver", "soc", "--escalate"], 2, "--receiver and --escalate exclude each other"),
    ],
)
def test_what_cannot_be_played_is_refused(
    refused: Callable[..., str], drills: Path, arguments: list[str], code: int, said: str
) -> None:
    """Before anything is sent or stored."""
    assert said in refused(code, "drill", drills, *arguments)
    assert not (drills.parent / "heistwatch.db").exists()


def test_a_store_that_cannot_be_reached(heistwatch: Callable[..., Any], drills: Path) -> None:
    """Exit code 3."""
    drills.write_text(drills.read_text() + 'store: {url: "sqlite:////nowhere/at/all/heistwatch.db"}\n')
    ran = heistwatch("drill", drills, *CASE)
    assert ran.code == 3 and "/nowhere/at/all/heistwatch.db" in ran.err


def test_the_file_channel_is_there() -> None:
    """The tests above rest on it."""
    assert "file" in CHANNELS
