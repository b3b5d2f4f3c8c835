"""Apprise: the real library, sending to services on this machine."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from alerts.channels.apprise import AppriseChannel
from monitor.errors import ConfigError
from monitor.memory_store import MemoryStore
from monitor.model import AlertKind, Outcome, Reason
from monitor.store import OutboxRow

pytest.importorskip("apprise", reason="Apprise is not installed")
CANARY = "CANARY7f3a"

Row = Callable[..., OutboxRow]


def address(service: Any, path: str = "x") -> str:
    """Apprise's own JSON form, for a service on this machine."""
    return f"{service.url.replace('http://', 'json://')}/{path}"


async def test_a_message(service: Any, alert: Any, row: Row) -> None:
    """Title, text and level arrive; what is not the owner's text makes no mention and no link."""
    service.status = 200
    links = {"acknowledge": "https://watch.example/ack"}
    told = alert(title="CRITICAL: @everyone <!channel> http://x.example", links=links)
    channel = AppriseChannel({"urls": [address(service)]})
    body = channel.render(told, 1.0)
    receipt = await channel.send(row(body=body), 1.0)
    await channel.aclose()
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)
    (sent,) = service.sent
    message = json.loads(sent.body)
    assert message["title"] == "CRITICAL: @ everyone < !channel> http[:]//x[.]example"
    assert message["type"] == "failure"
    assert "Line one.\nLine two." in message["message"]
    assert "Acknowledge: https://watch.example/ack" in message["message"]
    assert "Stop withdrawals." in message["message"]


async def test_no_sleep_between_messages(service: Any, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """ntfy's pause of 5.5 seconds between two messages is off: nothing sleeps."""
    service.status = 200

    def slept(seconds: float) -> None:
        raise AssertionError(f"slept {seconds}")

    monkeypatch.setattr(time, "sleep", slept)
    channel = AppriseChannel({"url": f"{service.url.replace('http://', 'ntfy://')}/topic"})
    for alert_id in ("a1", "a2", "a3"):
        told = alert(alert_id)
        assert (await channel.send(row(alert_id, body=channel.render(told, 1.0)), 1.0)).outcome is Outcome.ACCEPTED
    assert len(service.sent) == 3


async def test_each_of_several_is_told_once(service: Any, alert: Any, row: Row) -> None:
    """While one service fails, the other gets no second message, not even after a restart; then nothing is kept."""
    store = MemoryStore()
    service.paths = {"/good": 200, "/bad": 500}

    async def attempt() -> Any:
        channel = AppriseChannel({"urls": [address(service, "good"), address(service, "bad")]})
        channel.attach(store)
        return await channel.send(row(body=channel.render(alert(), 1.0)), 1.0)

    for _ in range(2):
        receipt = await attempt()
        assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)
        assert receipt.detail == "json:// did not take it"
    assert sorted(sent.path for sent in service.sent) == ["/bad", "/bad", "/good"]
    assert len(await store.notes("apprise/")) == 1
    service.paths["/bad"] = 200
    assert (await attempt()).outcome is Outcome.ACCEPTED
    assert [sent.path for sent in service.sent].count("/good") == 1
    assert await store.notes("apprise/") == []


async def test_what_nobody_asks_for_any_more_goes(service: Any, alert: Any, row: Row) -> None:
    """Notes about an alert that was given up are removed after two days."""
    store = MemoryStore()
    service.paths = {"/good": 200, "/bad": 500}
    channel = AppriseChannel({"urls": [address(service, "good"), address(service, "bad")]})
    channel.attach(store)
    await channel.send(row("old", body=channel.render(alert("old"), 1.0)), 1.0)
    await channel.send(row("new", body=channel.render(alert("new"), 1.0)), 1.0 + 3 * 86_400)
    assert [key for key, _ in await store.notes("apprise/")] == ["apprise/new/soc/0:fake"]


async def test_a_service_that_hangs(service: Any, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out, then "still hangs" without a second thread; what it took meanwhile is not sent again."""
    channel = AppriseChannel({"url": address(service), "timeout": 0.2})
    (hanging,) = channel._services.values()
    go_on, took = threading.Event(), []

    def notify(**message: Any) -> bool:
        go_on.wait(60)
        took.append(message["title"])
        return True

    monkeypatch.setattr(hanging.made, "notify", notify)
    waiting = row(body=channel.render(alert(), 1.0))
    receipt = await channel.send(waiting, 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    assert receipt.detail == "json:// did not answer within 0.2 s"
    assert (await channel.send(waiting, 1.0)).detail == "json:// still hangs"
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "apprise json":
            await asyncio.to_thread(thread.join, 30)
    assert (await channel.send(waiting, 1.0)).outcome is Outcome.ACCEPTED
    assert len(took) == 1


async def test_an_exception_of_a_plug_in(service: Any, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its type is shown, not its text."""
    channel = AppriseChannel({"url": address(service)})
    (broken,) = channel._services.values()

    def notify(**message: Any) -> bool:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(broken.made, "notify", notify)
    receipt = await channel.send(row(body=channel.render(alert(), 1.0)), 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)
    assert receipt.detail == "json:// failed: RuntimeError"


async def test_secrets(service: Any, alert: Any, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """No part of an address but its scheme is anywhere: not in what Apprise itself logs either."""
    caplog.set_level(logging.DEBUG)
    url = address(service, CANARY).replace("://", f"://user:{CANARY}@")
    channel = AppriseChannel({"urls": [url]})
    service.status = 500
    body = channel.render(alert(), 1.0)
    shown = [repr(channel), repr(await channel.send(row(body=body), 1.0)), body.decode(), channel.preview(body)]
    shown += [record.getMessage() for record in caplog.records if not record.name.startswith("aiohttp.access")]
    assert len(service.sent) == 1
    for text in shown:
        assert CANARY not in text
    assert repr(channel) == "AppriseChannel(schemes=['json'])"
    with pytest.raises(ConfigError) as caught:
        AppriseChannel({"urls": [f"nosuch://{CANARY}", CANARY]})
    assert len(caught.value.problems) == 2
    assert CANARY not in str(caught.value)
    assert "address 1 of 2 (nosuch://)" in str(caught.value)


def test_people_read_it(alert: Any) -> None:
    """What matters comes first, since services cut; addresses of ours stay whole, in templates, too."""
    links = {"acknowledge": "https://watch.example/ack", "incident": "https://watch.example/i"}
    own = {"body": "{{ actions[0].url }} {{ lines[0] }}"}
    drill = alert(kind=AlertKind.DRILL, body="see http://x.example", links=links)
    plain = json.loads(AppriseChannel({"url": "json://127.0.0.1"}).render(drill, 1.0))["body"].split("\n\n")
    assert plain[0].startswith("DRILL: ") and plain[1] == "Acknowledge: https://watch.example/ack"
    assert plain[2].startswith("entity:")
    assert plain[-2:] == ["What to do: Stop withdrawals.", "Open: https://watch.example/i"]
    made = AppriseChannel({"url": "json://127.0.0.1", "template": own}).render(drill, 1.0)
    assert json.loads(made)["body"] == "https://watch.example/ack see http[:]//x[.]example"
    assert not AppriseChannel.machine  # storms are summarised for them


@pytest.mark.parametrize(
    ("kind", "level"), [("opened", "failure"), ("resolved", "success"), ("blind", "warning"), ("recovered", "success")]
)
def test_levels(alert: Any, kind: str, level: str) -> None:
    """Apprise's own four levels."""
    body = AppriseChannel({"url": "json://127.0.0.1"}).render(alert(kind=AlertKind(kind)), 1.0)
    assert json.loads(body)["level"] == level


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear problem, with what to do."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'heistwatch\[apprise\]'"):
        AppriseChannel({"url": "json://127.0.0.1"})
