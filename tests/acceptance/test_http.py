"""The HTTP interface of a running monitor."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from typing import Any

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+]+|NaN|[+-]Inf)')
CHAIN = "eip155:31337"


def parsed(text: str) -> dict[str, dict[str, float]]:
    """Prometheus text format, strictly: name to labels to value; a type first, all samples of a name together."""
    assert text.endswith("\n")
    found: dict[str, dict[str, float]] = {}
    types: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in types, f"{current} has two groups"
            assert kind in ("gauge", "counter") and (kind == "counter") == current.endswith("_total")
            types[current] = kind
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert name == current, f"{name} is outside its group"
        assert labels not in found.setdefault(name, {}), line
        found[name][labels or ""] = float(value)
    return found


def test_health_and_readiness(live: Any) -> None:
    """Both say yes, and readiness says per chain where it stands."""
    status, health = live.monitor.http("GET", "/healthz")
    assert status == 200 and health["status"] == "ok" and health["uptime_seconds"] >= 0
    live.node.mine()
    live.monitor.scanned(live.node.height)
    status, ready = live.monitor.http("GET", "/readyz")
    assert status == 200 and ready["ready"] is True
    expected = {"ready": True, "block": live.node.height, "lag": 0, "trouble": None, "filling": None}
    assert ready["chains"]["dev"] == expected


def test_metrics(live: Any) -> None:
    """Metrics are Prometheus text with the counts of what really happened."""
    before = parsed(live.monitor.http("GET", "/metrics")[1])
    live.steal()
    live.monitor.scanned(live.node.height)
    status, text = live.monitor.http("GET", "/metrics")
    after = parsed(text)
    chain = f'chain="{CHAIN}"'
    assert status == 200
    assert after["heistwatch_block_number"][chain] == live.node.height
    assert after["heistwatch_head_lag_blocks"][chain] == 0
    assert after["heistwatch_blocks_total"][chain] > before["heistwatch_blocks_total"][chain]
    assert after["heistwatch_incidents"]['status="open"'] >= 1
    assert 0 <= after["heistwatch_head_age_seconds"][chain] < 20
    assert after["heistwatch_undecoded_transactions_total"][chain] == 0
    endpoint = f'{chain},endpoint="127.0.0.1:{live.node.port}"'
    requests = "heistwatch_endpoint_requests_total"
    assert after[requests][endpoint] > before[requests][endpoint]
    assert after["heistwatch_endpoint_answer_seconds_total"][endpoint] > 0
    assert after["heistwatch_endpoint_in_use"][endpoint] == 1 and after["heistwatch_endpoint_lagging"][endpoint] == 0
    assert after["heistwatch_endpoint_block_number"][endpoint] == live.node.height
    circuit = after["heistwatch_endpoint_circuit"]
    assert [circuit[f'{endpoint},state="{state}"'] for state in ("closed", "open", "quarantined")] == [1, 0, 0]
    accepted = 'channel="webhook",outcome="accepted"'
    assert after["heistwatch_deliveries_total"][accepted] >= 1


def test_coverage_and_incidents(live: Any) -> None:
    """Coverage and incidents are what the messages said; an unknown incident is 404."""
    _, _, _, opened = live.steal()
    live.monitor.scanned(live.node.height)
    coverage = live.monitor.coverage()
    assert coverage["gaps"] == [] and coverage["ranges"][-1]["last"] == live.node.height
    assert coverage["ranges"][0]["blind_spots"] == []  # the node traces
    assert coverage["ranges"][0]["source"] == f"127.0.0.1:{live.node.port}"
    status, listed = live.monitor.http("GET", "/incidents")
    name = opened.incident["id"]
    assert status == 200 and opened.incident in listed
    assert live.monitor.http("GET", f"/incidents/{name}") == (200, opened.incident)
    status, answer = live.monitor.http("GET", "/incidents/nothing")
    assert status == 404 and "nothing" in answer["error"]


def test_strange_requests(live: Any, token: str) -> None:
    """Whatever is sent, the answer is a refusal and the monitor goes on."""
    _, _, _, opened = live.steal()
    name = opened.incident["id"]
    assert live.monitor.http("GET", f"/incidents/{name}/confirm", token)[0] == 405
    assert live.monitor.http("POST", f"/incidents/{name}/approve", token)[0] == 404
    assert live.monitor.http("GET", "/")[0] == 404
    connection = HTTPConnection("127.0.0.1", live.monitor.port, timeout=10)
    connection.putrequest("POST", f"/incidents/{name}/confirm")
    connection.putheader("Authorization", b"Bearer \xff\xfe")
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()
    for body in (b"{", b"[1]", b'{"comment": 5}', b"\xff"):
        assert live.monitor.http("POST", f"/incidents/{name}/ack", token, body)[0] == 400
    assert live.monitor.http("POST", f"/incidents/{name}/ack", token, {"by": "carol", "comment": "looking"})[0] == 202
    live.node.mine()
    live.monitor.scanned(live.node.height)
    found = live.monitor.http("GET", f"/incidents/{name}")[1]
    assert [(entry["what"], entry["by"], entry["comment"]) for entry in found["history"]] == [
        ("acknowledge", "carol", "looking")
    ]
    assert found["status"] == "acknowledged"


def test_a_page_of_an_incident(live: Any) -> None:
    """A browser gets a page with what left, where to, and who was told when; it runs and loads nothing."""
    _, thief, _, opened = live.steal()
    name = opened.incident["id"]
    live.monitor.scanned(live.node.height)
    connection = HTTPConnection("127.0.0.1", live.monitor.port, timeout=10)
    connection.request("GET", f"/incidents/{name}", headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert answer.status == 200 and answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert str(answer.getheader("Content-Security-Policy")).startswith("default-src 'none';")
    assert thief in page and "9,000 ETH" in page and "soc by webhook (incident.opened)" in page
    assert "<script" not in page and "http" not in page


def test_notes_change_nothing(live: Any, token: str) -> None:
    """A note is in the history after the next block; an acknowledgement takes no confirmation back."""
    _, _, _, opened = live.steal()
    name = opened.incident["id"]
    for word, by in (("confirm", "ann"), ("note", "bob"), ("ack", "cy")):
        body = {"by": by, "comment": word}
        assert live.monitor.http("POST", f"/incidents/{name}/{word}", token, body)[0] == 202
    live.node.mine()
    live.monitor.scanned(live.node.height)
    found = live.monitor.http("GET", f"/incidents/{name}")[1]
    assert found["status"] == "confirmed"
    assert [(entry["what"], entry["by"]) for entry in found["history"]] == [
        ("confirm", "ann"), ("note", "bob"), ("acknowledge", "cy")
    ]  # fmt: skip


def test_silences(live: Any, token: str, heistwatch: Any) -> None:
    """Added over HTTP, seen by the command line, ended over HTTP; never without the token, never of nothing."""
    good = {"match": {"severity": ["low"], "entity": ["exchange-3"]}, "for": "1h", "by": "ann", "comment": "moving"}
    assert live.monitor.http("POST", "/silences", None, good)[0] == 401
    assert live.monitor.http("GET", "/silences")[0] == 401
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"match": {}}, "needs a matcher"),
        ({"match": {"severty": ["low"]}}, "did you mean 'severity'"),
        ({"match": {"entity": ["exchange-"]}}, "unknown entity"),
        ({"by": "", "comment": ""}, "needs an author"),
        ({"for": "900d"}, "within a year"),
        ({"until": "2001-01-01", "for": None}, "say either"),
    )
    for change, expected in wrong:
        status, answer = live.monitor.http("POST", "/silences", token, {**good, **change})
        assert status == 400 and expected in answer["error"], answer
    status, silence = live.monitor.http("POST", "/silences", token, good)
    assert status == 201 and silence["author"] == "ann" and silence["critical"] is False
    assert live.monitor.http("GET", "/silences", token) == (200, [silence])
    code, out, _ = heistwatch("silence", "list", "-c", live.config, "--json")
    assert code == 0 and silence["id"] in out
    assert live.monitor.http("DELETE", f"/silences/{silence['id']}", token)[0] == 200
    assert live.monitor.http("GET", "/silences", token) == (200, [])
    assert live.monitor.http("DELETE", f"/silences/{silence['id']}", token)[0] == 404


def test_links_without_being_asked(live: Any) -> None:
    """The token signs links, so messages have them; a drill that was never begun has no page."""
    _, _, _, opened = live.steal()
    links = opened.message["data"]["links"]
    assert live.monitor.http("GET", "/act/" + links["resolve"].split("/act/")[1])[0] == 200
    assert live.monitor.http("GET", "/act/nonsense")[0] == 403
    assert live.monitor.http("GET", "/incidents/drill-nothing")[0] == 404
