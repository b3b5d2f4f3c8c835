"""Alertmanager: a real one is told, and asked what it knows."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts.channels.alertmanager import AlertmanagerChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity
from monitor.store import OutboxRow

CANARY = "CANARY-7f3a"
Row = Callable[..., OutboxRow]

CONFIG = """
route: {receiver: nobody, group_wait: 1h}
receivers: [{name: nobody}]
"""


def _program() -> str:
    for name in ("prometheus-alertmanager", "alertmanager"):
        if found := shutil.which(name):
            return found
    reason = "Alertmanager is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Alertmanager of these tests."""
    program = _program()
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text(CONFIG)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'config.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--web.route-prefix=/am",
            ],
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}/am"
        try:
            _until_ready(process, f"{url}/-/ready", folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"Alertmanager is not ready: {log.read_text()}")


@pytest.fixture
async def known(alertmanager: str) -> AsyncIterator[Callable[..., Any]]:
    """Asks which alerts fire for an incident."""
    async with aiohttp.ClientSession() as session:

        async def ask(incident: str) -> list[dict[str, Any]]:
            query = {"filter": f'incident="{incident}"', "active": "true"}
            async with session.get(f"{alertmanager}/api/v2/alerts", params=query) as answer:
                assert answer.status == 200
                found: list[dict[str, Any]] = await answer.json()
                return found

        yield ask


def about(name: str, **changes: Any) -> Alert:
    """An alert of an incident, with all that matters here."""
    severity = changes.pop("severity", Severity.HIGH)
    wallet = changes.pop("wallet", "hot-1")
    fields: dict[str, Any] = {
        "id": f"{name}-{changes.get('kind', 'opened')}-{severity}",
        "kind": AlertKind.OPENED,
        "title": f"{str(severity).upper()}: Example Exchange: coins left",
        "body": "Much.",
        "severity": severity,
        "labels": {"entity": "Example Exchange", "wallet": wallet, "severity": str(severity)},
        "incident": {"id": name, "entity": "Example Exchange", "wallets": wallet.split(",")},
        "runbook": "Stop withdrawals.",
    }
    return Alert(**{**fields, **changes})


async def tell(url: str, alert: Alert, row: Row, queued_at: float, reply_to: str | None = None, **options: Any) -> Any:
    channel = AlertmanagerChannel({"url": url, **options})
    try:
        waiting = row(alert.id, body=channel.render(alert, queued_at), reply_to=reply_to)
        return await channel.send(waiting, time.time())
    finally:
        await channel.aclose()


async def test_an_incident_fires_until_it_is_over(alertmanager: str, known: Any, row: Row) -> None:
    """Read back: labels, annotations, times; then an end, after which it fires no more."""
    now = time.time()
    links = {"incident": "https://watch.example/incidents/one", "acknowledge": "https://watch.example/ack"}
    assert (await tell(alertmanager, about("one", links=links), row, now)).outcome is Outcome.ACCEPTED
    (fires,) = await known("one")
    assert fires["labels"] == {
        "alertname": "HeistwatchIncident",
        "entity": "Example Exchange",
        "severity": "high",
        "wallet": "hot-1",
        "incident": "one",
        "drill": "false",
    }
    annotations = fires["annotations"]
    assert annotations["summary"] == "HIGH: Example Exchange: coins left"
    assert annotations["description"] == "Much."
    assert annotations["runbook"] == "Stop withdrawals."
    assert annotations["acknowledge"] == "https://watch.example/ack"
    assert fires["generatorURL"] == "https://watch.example/incidents/one"
    assert fires["status"]["state"] in ("active", "unprocessed")
    await tell(alertmanager, about("one", kind=AlertKind.RESOLVED), row, time.time(), "hot-1")
    assert await known("one") == []


async def test_escalation_and_more_wallets_fire_once(alertmanager: str, known: Any, row: Row) -> None:
    """A higher severity takes the place of the lower one; a second wallet changes no label."""
    now = time.time()
    first = await tell(alertmanager, about("two", wallet="hot-1"), row, now)
    assert first.external_id == "hot-1"
    grown = about("two", kind=AlertKind.ESCALATED, severity=Severity.CRITICAL, wallet="cold-1,hot-1")
    await tell(alertmanager, grown, row, time.time(), first.external_id)
    (fires,) = await known("two")
    assert (fires["labels"]["severity"], fires["labels"]["wallet"]) == ("critical", "hot-1")
    assert fires["annotations"]["wallets"] == "cold-1, hot-1"
    # Retracted with no wallet left, and at another severity: all of it ends all the same.
    gone = about("two", kind=AlertKind.RETRACTED, severity=Severity.LOW, wallet="")
    await tell(alertmanager, gone, row, time.time(), first.external_id)
    assert await known("two") == []


async def test_the_same_again_is_one_alert(alertmanager: str, known: Any, row: Row) -> None:
    """A message that is repeated after a kill is known already."""
    now = time.time()
    await tell(alertmanager, about("three"), row, now)
    await tell(alertmanager, about("three"), row, now)
    assert len(await known("three")) == 1


async def test_it_ends_by_itself(alertmanager: str, known: Any, row: Row) -> None:
    """`resolve_after` is how long Alertmanager believes the last message."""
    await tell(alertmanager, about("four"), row, time.time() - 3600, resolve_after=1800)
    assert await known("four") == []
    await tell(alertmanager, about("five"), row, time.time() - 3600, resolve_after=7200)
    assert len(await known("five")) == 1


async def test_drills_and_the_monitor(alertmanager: str, known: Any, row: Row) -> None:
    """A drill is labelled, and is another alert than the incident of the same id; trouble of the monitor ends."""
    now = time.time()
    await tell(alertmanager, about("six"), row, now)
    await tell(alertmanager, about("six", kind=AlertKind.DRILL), row, now)
    (drill,) = await known("drill-six")
    assert drill["labels"]["drill"] == "true"
    assert drill["annotations"]["summary"].startswith("DRILL")
    assert len(await known("six")) == 1

    blind = Alert("b", AlertKind.BLIND, "Nothing seen", "", Severity.HIGH, {"chain": "eip155:1", "kind": "blind"})
    key = json.loads(AlertmanagerChannel({"url": alertmanager}).render(blind, now))[0]["labels"]["incident"]
    await tell(alertmanager, blind, row, now)
    (fires,) = await known(key)
    assert fires["labels"]["alertname"] == "HeistwatchMonitor"
    seeing = Alert("c", AlertKind.RECOVERED, "Seen", "", None, {"chain": "eip155:1", "kind": "recovered"})
    await tell(alertmanager, seeing, row, time.time())
    assert await known(key) == []


async def test_hostile_text_is_taken(alertmanager: str, known: Any, row: Row) -> None:
    """Control characters, half characters and huge names are no reason to refuse an alert."""
    huge = '\u202e\x00\ud800"\n{{ . }}' * 5000
    incident = {"id": "seven", "entity": huge, "explanation": [huge], "wallets": [huge]}
    labels = {"entity": huge, "wallet": huge}
    hostile = about("seven", title=huge, body=huge, incident=incident, labels=labels)
    receipt = await tell(alertmanager, hostile, row, time.time())
    assert receipt.outcome is Outcome.ACCEPTED
    (fires,) = await known("seven")
    assert "\u202e" not in json.dumps(fires, ensure_ascii=False)


async def test_a_refusal(alertmanager: str, row: Row) -> None:
    """What Alertmanager itself says to nonsense and to a wrong path is a dead letter."""
    channel = AlertmanagerChannel({"url": alertmanager})
    receipt = await channel.send(row("x", body=b'[{"labels": {}, "endsAt": "never"}]'), time.time())
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    await channel.aclose()
    receipt = await tell(alertmanager.removesuffix("/am"), about("eight"), row, time.time())
    assert (receipt.outcome, receipt.detail) == (Outcome.REJECTED, "127.0.0.1 answered 404")


async def test_authorisation_and_address(service: Any, row: Row) -> None:
    """Basic or bearer; the path is completed, and left where it is whole."""
    service.status = 200
    basic = f"Basic {base64.b64encode(b'user:pass').decode()}"
    await tell(service.url, about("nine"), row, 1.0, username="user", password="pass")
    await tell(f"{service.url}/prefix/api/v2/alerts", about("nine"), row, 1.0, token=CANARY)
    first, second = service.sent
    assert (first.method, first.path, first.headers["Authorization"]) == ("POST", "/api/v2/alerts", basic)
    assert (second.path, second.headers["Authorization"]) == ("/prefix/api/v2/alerts", f"Bearer {CANARY}")
    for sent in (first, second):
        assert sent.headers["Content-Type"] == "application/json"
        alerts = json.loads(sent.body)
        assert len(alerts) == 5
        assert {alert["labels"]["severity"] for alert in alerts} == {"info", "low", "medium", "high", "critical"}
        assert all(alert["startsAt"] < alert["endsAt"] for alert in alerts)


def test_options() -> None:
    """Two kinds of authorisation contradict each other; half of one is none; no value is shown."""
    for wrong in (
        {"username": CANARY},
        {"password": CANARY},
        {"username": CANARY, "password": CANARY, "token": CANARY},
        {"url": f"http://u:{CANARY}@127.0.0.1/", "token": CANARY},
        {"token": f"{CANARY} {CANARY}"},
        {"url": CANARY},
        {"resolve_after": CANARY},
    ):
        with pytest.raises(ConfigError) as caught:
            AlertmanagerChannel({"url": "https://am.example", **wrong})
        assert CANARY not in str(caught.value)


async def test_nobody_there(row: Row) -> None:
    """A dead Alertmanager is tried again."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with asyncio.timeout(30):
            receipt = await tell(f"http://127.0.0.1:{held.getsockname()[1]}", about("ten"), row, 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)
