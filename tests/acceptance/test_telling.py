"""From a theft to people, with the monitor as a process: escalation, silences, corrections, and no secret anywhere."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CANARY = "k4n4ry"
KEY = "whsec_a2FuYXJ5a2FuYXJ5a2FuYXJ5a2FuYXJ5"  # "kanary" in base64, repeated


def lines(path: Path) -> list[dict[str, Any]]:
    """The alerts in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def eventually() -> Callable[..., Any]:
    """Wait until something holds."""
    gate = threading.Event()

    def wait(what: str, look: Callable[[], Any], seconds: float = 40.0) -> Any:
        for _ in range(int(seconds / 0.1)):
            found = look()
            if found:
                return found
            gate.wait(0.1)
        raise AssertionError(f"never: {what}")

    return wait


def test_who_does_not_answer_is_passed_over_until_somebody_does(
    make_node: Any, make_receiver: Any, watch: Any, write_config: Any, heistwatch: Any, secret: str, tmp_path: Path,
    eventually: Any,
) -> None:
    """The next receiver comes in by another type of channel; an acknowledgement ends that; the end reaches both."""
    node, soc = make_node(), make_receiver()
    steps = "escalations: {pager: [{after: 1s, receiver: boss}, {after: 1h, receiver: boss}]}"
    hook = f'{{type: webhook, url: "http://127.0.0.1:{soc.port}/hook", secret: "{secret}"}}'
    people = f"[{{name: soc, channels: [{hook}]}}, {{name: boss, channels: [{{type: file, path: boss.ndjson}}]}}]"
    more = f"receivers: {people}\nroute: {{receiver: soc, escalation: pager}}\n{steps}"
    config = write_config(tmp_path, node, {"Passed": node.accounts[0], "Hushed": node.accounts[1]}, None, more)
    node.mine()
    monitor = watch(config).ready()
    boss = tmp_path / "boss.ndjson"

    node.send(node.accounts[0], f"0x{0xBAD7:040x}", 9000)
    opened = soc.wait("Passed", "incident.opened")
    [reminder] = eventually("escalated to the boss", lambda: lines(boss))
    assert reminder["type"] == "incident.reminder" and "NOT ACKNOWLEDGED" in reminder["data"]["title"]
    assert reminder["data"]["incident"]["id"] == opened.incident["id"]

    name = opened.incident["id"]
    code, _, _ = heistwatch("incidents", "ack", name, "--by", "ann", "--comment", "on it", "-c", config)
    assert code == 0
    code, _, _ = heistwatch("incidents", "resolve", name, "--by", "ann", "--comment", "over", "-c", config)
    node.mine()
    resolved = soc.wait("Passed", "incident.resolved")
    assert resolved.incident["status"] == "resolved"
    eventually("the end reaches the boss too", lambda: lines(boss)[-1]["type"] == "incident.resolved")

    # A silence that names critical keeps it back, and what was kept comes when the silence ends.
    match = ("--match", "entity=Hushed", "--match", "severity=critical")
    more = ("--for", "1h", "--comment", "rehearsal", "--by", "ann", "-c", config)
    code, out, _ = heistwatch("silence", "add", *match, *more)
    assert code == 0
    code, out, _ = heistwatch("silence", "list", "--json", "-c", config)
    [silence] = json.loads(out)
    node.send(node.accounts[1], f"0x{0xBAD8:040x}", 9000)
    eventually("the incident is there", lambda: "Hushed" in str(monitor.http("GET", "/incidents")))
    monitor.scanned(node.height)
    assert not soc.of("Hushed")
    code, out, _ = heistwatch("silence", "expire", silence["id"], "-c", config)
    assert code == 0
    assert soc.wait("Hushed").incident["severity"] == "critical"
    assert monitor.end() == 0


class Deaf(BaseHTTPRequestHandler):
    """Refuses everything, and quotes what it was sent: a service that puts tokens into its error texts."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = f"no: {self.path} {dict(self.headers)} {body[:2000]!r}".encode()
        self.send_response(500)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server that refuses everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


def channels(port: int) -> list[dict[str, Any]]:
    """One channel of each type, with the canary wherever a secret goes."""
    at = f"http://127.0.0.1:{port}"
    return [
        {"type": "alertmanager", "url": at, "token": f"{CANARY}-am"},
        {"type": "circuit_breaker", "url": f"{at}/{CANARY}", "secret": KEY, "armed": True,
         "request_secret": f"{CANARY}-request-secret"},
        {"type": "discord", "url": f"{at}/api/webhooks/1/{CANARY}"},
        {"type": "email", "host": "127.0.0.1", "port": port, "tls": "none", "username": "u", "password": f"{CANARY}-pw",
         "from": "a@example.test", "to": ["b@example.test"], "timeout": 2},
        {"type": "exec", "command": ["false"], "env": {"TOKEN": f"{CANARY}-env"}},
        {"type": "matrix", "homeserver": at, "token": f"{CANARY}-matrix", "room": "!r:example.test"},
        {"type": "mattermost", "url": f"{at}/hooks/{CANARY}"},
        {"type": "opsgenie", "api_key": f"{CANARY}-genie", "url": at},
        {"type": "pagerduty", "routing_key": f"{CANARY}k4n4ryk4n4ryk4n4ryk4n4ry0"[:32].ljust(32, "0"), "url": at},
        {"type": "slack", "url": f"{at}/services/{CANARY}"},
        {"type": "teams", "url": f"{at}/workflows/{CANARY}"},
        {"type": "telegram", "token": f"123456:{CANARY}AAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "chat": "1", "api": at},
        {"type": "webhook", "url": f"{at}/{CANARY}", "secret": KEY, "headers": {"Authorization": f"Bearer {CANARY}"}},
    ]  # fmt: skip


def test_no_secret_is_ever_shown(
    make_node: Any, watch: Any, write_config: Any, heistwatch: Any, tmp_path: Path, eventually: Any, deaf: int
) -> None:
    """With every channel failing at DEBUG, the canary is in no log, error, command, page or stored row."""
    node, wanted = make_node(), channels(deaf)
    token = f"{CANARY}-http-token"
    more = "\n".join(
        [
            f'http: {{listen: "127.0.0.1:0", token: "{token}", link_secret: "{CANARY}-links"}}',
            f"receivers: {json.dumps([{'name': 'all', 'channels': wanted}])}",
            "route: {receiver: all}",
            f'heartbeat: [{{url: "http://127.0.0.1:{deaf}/{CANARY}", every: 5s}}]',
        ]
    )
    config = write_config(tmp_path, node, {"Shy": node.accounts[0]}, None, more)
    shown = [heistwatch("check", config), heistwatch("check", "--json", config)]
    assert [code for code, *_ in shown] == [0, 0]
    node.mine()
    monitor = watch(config, "--log-level", "DEBUG").ready()
    node.send(node.accounts[0], f"0x{0xBAD9:040x}", 9000)

    def attempts() -> Any:
        _, out, _ = heistwatch("deliveries", "list", "--json", "-c", config)
        rows = json.loads(out)
        return rows if len({row["channel"] for row in rows if row["attempts"]}) == len(wanted) else None

    rows = eventually("every channel tried", attempts)
    name = next(row["incident"] for row in rows if row["incident"])
    shown += [heistwatch("deliveries", "list", "-c", config), heistwatch("incidents", "show", name, "-c", config)]
    shown += [heistwatch("routes", "test", "--incident", name, "--render", "-c", config)]
    pages = [monitor.http("GET", path)[1] for path in (f"/incidents/{name}", "/incidents", "/readyz", "/metrics")]
    assert monitor.end() == 0
    texts = [repr(rows), *(out + err for _, out, err in shown), *map(str, pages), monitor.out.text, monitor.err.text]
    assert [text[max(0, text.find(CANARY) - 300):][:400] for text in texts if CANARY in text] == []
    with sqlite3.connect(tmp_path / "heistwatch.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert CANARY not in dump and KEY.removeprefix("whsec_") not in dump
    assert CANARY.encode().hex() not in dump.lower()  # of BLOBs
