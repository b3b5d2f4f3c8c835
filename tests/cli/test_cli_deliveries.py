"""`heistwatch deliveries`: what became of messages, and trying once more those that were given up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.model import Delivery, Outcome, Reason
from monitor.sqlite_store import SqliteStore
from monitor.store import OutboxRow

NOW = time.time()


@pytest.fixture
def outbox(config: Path) -> Path:
    """A store with a message that arrived, one that waits, and three that were given up, two of the same alert."""
    path = config.parent / "heistwatch.db"

    async def write() -> None:
        store = SqliteStore(path)
        await store.open()
        made = [("aa11", "soc", "dead"), ("aa11", "desk", "dead"), ("aa22", "soc", "done"), ("bb33", "soc", "due"),
                ("cc44", "soc", "dead")]  # fmt: skip
        await store.enqueue(
            [
                OutboxRow(alert_id, receiver, "0:webhook", b"{}", NOW - 3600 * n, "incident.opened", f"i{n}")
                for n, (alert_id, receiver, _) in enumerate(made)
            ]
        )
        answers = {
            "dead": (Outcome.REJECTED, Reason.AUTH, "hooks.example answered 403"),
            "done": (Outcome.ACCEPTED, Reason.OK, "204"),
            "due": (Outcome.RETRY, Reason.TLS, "hooks.example showed a certificate that does not hold"),
        }
        for alert_id, receiver, state in made:
            outcome, reason, detail = answers[state]
            attempt = Delivery(alert_id, receiver, "0:webhook", 1, Outcome.RETRY, Reason.TIMEOUT, NOW, detail="first")
            await store.record(attempt, state="due", next_at=NOW + 1)
            attempt = Delivery(alert_id, receiver, "0:webhook", 2, outcome, reason, NOW + 1, detail=detail)
            await store.record(attempt, state=state, next_at=NOW + 60 if state == "due" else 0.0)
        await store.aclose()

    asyncio.run(write())
    return path


def rows(path: Path) -> dict[tuple[str, str], OutboxRow]:
    async def read() -> Any:
        store = SqliteStore(path)
        await store.open()
        found = await store.outbox()
        await store.aclose()
        return found

    return {(row.alert_id, row.receiver): row for row in asyncio.run(read())}


def test_list_shows_how_the_last_attempt_ended(heistwatch: Callable[..., Any], outbox: Path) -> None:
    """Outcome, reason and detail of the last attempt, on one line each; --json names them."""
    found = {(row["alert"], row["receiver"]): row for row in json.loads(heistwatch("deliveries", "list", "--json").out)}
    assert len(found) == 5 and "at" not in found["cc44", "soc"]
    dead = found["cc44", "soc"]
    assert (dead["outcome"], dead["reason"], dead["attempts"]) == ("rejected", "auth", 2)
    assert dead["detail"] == "hooks.example answered 403" and dead["attempted"].endswith("Z")
    assert found["bb33", "soc"]["next"] and not dead["next"]
    line = heistwatch("deliveries", "list", "--state", "due").out.splitlines()[0].split("\t")
    assert line[:6] == ["bb33", "incident.opened", "soc", "0:webhook", "due", "2"]
    assert line[-1] == "retry tls hooks.example showed a certificate that does not hold"
    assert heistwatch("deliveries", "list", "--state", "done").out.splitlines()[0].endswith("\taccepted 204")


def test_list_by_receiver_and_time(heistwatch: Callable[..., Any], refused: Callable[..., str], outbox: Path) -> None:
    """--receiver and --since, which is a time or a length."""

    def listed(*options: str) -> list[str]:
        return [row["alert"] for row in json.loads(heistwatch("deliveries", "list", "--json", *options).out)]

    assert listed("--receiver", "desk") == ["aa11"]
    assert listed("--receiver", "nobody") == []
    assert listed("--since", "90m") == ["aa11", "aa11"]
    assert listed("--since", "2000-01-01T00:00Z") == ["aa11", "aa11", "aa22", "bb33", "cc44"]
    assert listed("--since", "2100-01-01") == []
    assert "--since" in refused(2, "deliveries", "list", "--since", "yesterday")


def test_retry_of_named_alerts(heistwatch: Callable[..., Any], outbox: Path) -> None:
    """Only what is dead of them, as if queued now and never tried; the bytes stay."""
    before = rows(outbox)
    ran = heistwatch("deliveries", "retry", "cc", "bb33", "aa22")
    assert ran.code == 0
    assert ran.out.splitlines() == ["cc44 to soc 0:webhook", "1 message will be tried once more"]
    after = rows(outbox)
    assert {key for key in after if after[key] != before[key]} == {("cc44", "soc")}
    again = after["cc44", "soc"]
    assert (again.state, again.attempts, again.next_at, again.body) == ("due", 0, 0.0, before["cc44", "soc"].body)
    assert again.queued_at >= NOW
    assert heistwatch("deliveries", "retry", "cc44").out == "no message was given up\n"


def test_retry_of_all(heistwatch: Callable[..., Any], outbox: Path) -> None:
    """--all, of one receiver or of every one."""
    ran = heistwatch("deliveries", "retry", "--all", "--receiver", "desk", "--json")
    assert json.loads(ran.out) == [{"alert": "aa11", "receiver": "desk", "channel": "0:webhook"}]
    assert rows(outbox)["aa11", "soc"].state == "dead"
    assert heistwatch("deliveries", "retry", "--all").out.endswith("2 messages will be tried once more\n")
    assert {row.state for row in rows(outbox).values()} == {"due", "done"}


def test_retry_to_a_channel_that_is_no_more(heistwatch: Callable[..., Any], config: Path, outbox: Path) -> None:
    """It is said that nobody takes it now; nothing is said of channels that are there."""
    given = "receivers: [{name: soc, channels: [{type: console}]}]\nroute: {receiver: soc}\n"
    config.write_text(config.read_text() + given)
    ran = heistwatch("deliveries", "retry", "cc44")
    assert ran.code == 0 and "left the configuration" in ran.err
    hook = f'type: webhook, url: "https://a.test", secret: {"A" * 32}'
    config.write_text(config.read_text().replace("type: console", hook))
    ran = heistwatch("deliveries", "retry", "aa11", "--receiver", "soc")
    assert ran.code == 0 and ran.err == ""


def test_retry_says_what_it_needs(heistwatch: Callable[..., Any], refused: Callable[..., str], outbox: Path) -> None:
    """Neither ids nor --all, both, an id that is not there, one that is not unique: nothing is changed."""
    before = rows(outbox)
    assert "--all" in refused(2, "deliveries", "retry")
    assert "--all" in refused(2, "deliveries", "retry", "cc44", "--all")
    assert "not unique: aa11, aa22" in refused(2, "deliveries", "retry", "aa")
    ran = heistwatch("deliveries", "retry", "cc44", "dd", "ee")
    assert ran.code == 2 and len(ran.problems) == 2
    assert rows(outbox) == before
