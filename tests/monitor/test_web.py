"""The HTTP interface in one process: links that act once, pages that show hostile text as text, wrong tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from monitor.assets import AssetNames
from monitor.config import HttpConfig
from monitor.config.types import SecretStr
from monitor.drill_note import Drill, drill_key, write
from monitor.errors import ConfigError
from monitor.incident_record import movement_key
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Delivery, Finding, Movement, Outcome, Reason, Severity
from monitor.store import OutboxRow
from monitor.web import Hooks, Site, serve
from monitor.web.guard import MOST, WINDOW, Guard

CHAIN = "eip155:1"
ASSET = f"{CHAIN}/slip44:60"
NOW = 1_700_000_000
TOKEN = "the bearer token of the tests"
HOSTILE = '<img src=x onerror=alert(1)>\u202e"&\'</table>'


@dataclass(frozen=True)
class Claim:
    """What a link of these tests says."""

    incident_id: str
    action: str = "acknowledge"
    receiver: str = "soc"
    expires: int = 4_000_000_000
    nonce: str = "n1"


class Silences:
    """Keeps what was asked."""

    def __init__(self) -> None:
        self.added: list[dict[str, Any]] = []

    async def all(self, now: float) -> Sequence[Mapping[str, Any]]:
        return self.added

    async def add(self, match: object, **given: Any) -> Mapping[str, Any]:
        if not isinstance(match, dict):
            raise ConfigError("match: expected a mapping")
        self.added.append({"id": "s1", "match": match, **given})
        return self.added[-1]

    async def expire(self, silence_id: str, now: float) -> bool:
        return any(silence["id"] == silence_id for silence in self.added)

    async def touching(self, alert: Alert, now: float) -> Sequence[Mapping[str, Any]]:
        assert alert.labels["role"] == "" and alert.labels["entity"] == HOSTILE
        return [{"match": {"entity": ["X"]}, "expires": "2030", "author": "ann", "comment": HOSTILE}]


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, text, and what is loaded from elsewhere."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass
class Running:
    """An interface that listens, and what lies behind it."""

    site: Site
    session: ClientSession
    store: MemoryStore
    correlator: Correlator
    claims: dict[str, Claim | str]
    silences: Silences
    incident: str

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str, Mapping[str, str]]:
        """(status, text, headers)."""
        async with self.session.request(method, f"http://{self.site.address}{path}", **more) as answer:
            return answer.status, await answer.text(), answer.headers


def theft(correlator: Correlator) -> str:
    """An incident whose texts are all hostile."""
    finding = Finding(
        id="f1", detector="GUARD", wallet="hot", chain=CHAIN, severity=Severity.HIGH, score=0.0, summary=HOSTILE,
        tx="0x1", at=NOW, block_number=7, asset=ASSET, destination="0xbad" + HOSTILE, value=5 * 10**18,
    )  # fmt: skip
    movement = Movement("hot", CHAIN, ASSET, finding.destination, 5 * 10**18, NOW, "0x1", 0, 7)
    [name] = correlator.add(HOSTILE, [finding], [movement], {movement_key(movement): 5e18})
    correlator.change(name)
    return name


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """An interface over one stored incident."""
    store, correlator = MemoryStore(), Correlator()
    await store.open()
    name = theft(correlator)
    engine = SimpleNamespace(watchlist=SimpleNamespace(wallets={}))
    parts = SimpleNamespace(
        pipeline=SimpleNamespace(correlator=correlator, engine=engine), store=store, names=AssetNames()
    )
    claims: dict[str, Claim | str] = {"good": Claim(name)}
    silences = Silences()
    hooks = Hooks(lambda token, now: claims.get(token, "forged"), silences)
    site = await serve(parts, HttpConfig(port=0, token=SecretStr(TOKEN)), hooks)
    async with ClientSession() as session:
        yield Running(site, session, store, correlator, claims, silences, name)
    await site.aclose()


def is_safe(status: int, text: str, headers: Mapping[str, str]) -> Page:
    """A page that runs nothing, loads nothing, tells nobody, and is kept nowhere."""
    page = Page(text)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy and "base-uri 'none'" in policy
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in headers["X-Robots-Tag"] and headers["X-Content-Type-Options"] == "nosniff"
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "a", "object", "embed", "svg", "base"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("href", "data:,") == "data:,"
        assert not {"src", "action", "formaction"} & set(attributes)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u200b-\u200f]", text)
    return page


async def test_a_look_changes_nothing(running: Running) -> None:
    """However often a link is fetched, by whatever: there is a button, and nothing was said."""
    for method in ("GET", "HEAD", "GET"):
        status, text, headers = await running.ask(method, "/act/good")
        assert status == 200
        if method == "GET":
            page = is_safe(status, text, headers)
            assert [tag for tag, _ in page.tags if tag in ("form", "button")] == ["form", "button"]
            assert "Acknowledge" in page.text and HOSTILE.replace("\u202e", "") in page.text and "5 ETH" in page.text
    assert await running.store.said(pending=False) == [] and await running.store.notes() == []


async def test_a_link_acts_once(running: Running) -> None:
    """The first POST is said with name and comment; whatever comes after shows who did, and says nothing."""
    form = {"by": f"  ann{HOSTILE}", "comment": "looking\r\nnow"}
    status, text, headers = await running.ask("POST", "/act/good", data=form)
    assert status == 200 and "Acknowledged by ann<img" in is_safe(status, text, headers).text
    [event] = await running.store.said(pending=True)
    assert (event.kind, event.incident_id) == ("acknowledge", running.incident)
    assert event.by == "ann" + HOSTILE.replace("\u202e", "") and event.comment.split() == ["looking", "now"]
    for method in ("GET", "POST"):
        status, text, headers = await running.ask(method, "/act/good", data={"by": "eve"} if method == "POST" else None)
        page = is_safe(status, text, headers)
        assert status == 410 and "already used" in page.text and "by ann" in page.text and "eve" not in page.text
        assert "form" not in [tag for tag, _ in page.tags]
    assert await running.store.said(pending=False) == [event]


@pytest.mark.parametrize("action", ["acknowledge", "false_alarm", "resolve"])
async def test_nobody_judges_what_they_did_not_see(running: Running, action: str) -> None:
    """Where the incident became worse since the page was opened, it is shown again, and the link stays good."""
    running.claims["good"] = Claim(running.incident, action)
    for seen, expected in (("medium", 409), ("what", 200)):
        status, text, headers = await running.ask("POST", "/act/good", data={"by": "ann", "seen": seen})
        page = is_safe(status, text, headers)
        assert status == expected
        hidden = [attributes["value"] for tag, attributes in page.tags if attributes.get("type") == "hidden"]
        assert hidden == (["high"] if expected == 409 else [])
        assert ("grown since" in page.text) is (expected == 409)
    assert len(await running.store.said(pending=False)) == 1


async def test_two_at_once_are_one(running: Running) -> None:
    """Of POSTs that race one is said; the others see whose it was."""
    answers = await asyncio.gather(
        *(running.ask("POST", "/act/good", data={"by": name}) for name in ("ann", "bob", "cy", "dee"))
    )
    [event] = await running.store.said(pending=False)
    assert sorted(status for status, _, _ in answers) == [200, 410, 410, 410]
    assert all(f"Acknowledged by {event.by}" in text for _, text, _ in answers)


async def test_a_kill_between_the_verdict_and_its_note_loses_neither(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is used again after the restart, and what was said first stands."""
    note = running.store.note

    async def killed(*_: Any, **__: Any) -> bool:
        raise asyncio.CancelledError

    monkeypatch.setattr(running.store, "note", killed)
    with pytest.raises(ClientError):
        await running.ask("POST", "/act/good", data={"by": "ann"})
    monkeypatch.setattr(running.store, "note", note)
    status, text, _ = await running.ask("POST", "/act/good", data={"by": "bob"})
    [event] = await running.store.said(pending=False)
    assert status == 200 and event.by == "ann" and "Acknowledged by ann" in text
    assert (await running.ask("GET", "/act/good"))[0] == 410


@pytest.mark.parametrize(
    ("action", "kind"),
    [("acknowledge", "acknowledge"), ("confirm", "confirm"), ("false_alarm", "false-alarm"), ("resolve", "resolve")],
)
async def test_each_action_is_its_verdict(running: Running, action: str, kind: str) -> None:
    """Without a name, the receiver that the link was sent to stands for whoever pressed."""
    running.claims["good"] = Claim(running.incident, action)
    assert (await running.ask("POST", "/act/good"))[0] == 200
    [event] = await running.store.said(pending=False)
    assert (event.kind, event.by, event.comment) == (kind, "soc (by link)", "")


async def test_an_incident_link_shows_and_does_not_act(running: Running) -> None:
    """It may be opened again and again; the page has the findings, the timeline and the silences."""
    running.claims["good"] = Claim(running.incident, "incident")
    row = OutboxRow("a1", "soc", "0:slack", b"", NOW, "incident.opened", running.incident, 3)
    await running.store.enqueue([row])
    failed = Delivery("a1", "soc", "0:slack", 1, Outcome.RETRY, Reason.TIMEOUT, NOW + 1.0, detail=HOSTILE)
    await running.store.record(failed, state="due", next_at=NOW + 9)
    for _ in range(2):
        status, text, headers = await running.ask("GET", "/act/good")
        page = is_safe(status, text, headers)
        assert status == 200 and "not told yet soc by slack" in page.text and "entity=X until 2030 by ann" in page.text
        assert "form" not in [tag for tag, _ in page.tags]
    assert (await running.ask("POST", "/act/good"))[0] == 405
    assert await running.store.said(pending=False) == []


async def test_links_that_do_not_count(running: Running) -> None:
    """Expired is gone, forged is forbidden, and an incident that is none is not found; nothing is said."""
    running.claims |= {"old": "expired", "lost": Claim("nothing")}
    for method in ("GET", "POST"):
        for token, expected in (("old", 410), ("lost", 404), ("forged", 403)):
            status, text, headers = await running.ask(method, f"/act/{token}")
            is_safe(status, text, headers)
            assert status == expected
    assert await running.store.said(pending=False) == []


async def test_wrong_links_are_bounded_and_right_ones_pass(running: Running) -> None:
    """After some wrong links within a minute a peer gets 429 for such; its right links and its bearer token go on."""
    for _ in range(MOST):
        assert (await running.ask("GET", "/act/guess"))[0] == 403
    status, _, headers = await running.ask("GET", "/act/guess")
    assert status == 429 and headers["Retry-After"] == "60"
    path, bearer = f"/incidents/{running.incident}/ack", {"Authorization": f"Bearer {TOKEN}"}
    assert (await running.ask("POST", path, headers=bearer))[0] == 202
    assert (await running.ask("GET", "/act/good"))[0] == 200
    assert (await running.ask("POST", "/act/good"))[0] == 200


async def test_wrong_bearer_tokens_are_bounded(running: Running) -> None:
    """After some within a minute a peer gets 429, also with the right one, or guessing would go on; links go on."""
    path = f"/incidents/{running.incident}/ack"
    for _ in range(MOST):
        assert (await running.ask("POST", path, headers={"Authorization": "Bearer guess"}))[0] == 401
    for method, where in (("POST", path), ("GET", "/silences")):
        status, _, headers = await running.ask(method, where, headers={"Authorization": f"Bearer {TOKEN}"})
        assert status == 429 and headers["Retry-After"] == "60"
    assert (await running.ask("POST", "/act/good"))[0] == 200


@pytest.mark.parametrize("where", ["/incidents/{}/ack", "/silences", "/act/good"])
async def test_bodies_that_are_none(running: Running, where: str, caplog: pytest.LogCaptureFixture) -> None:
    """A charset that nobody knows, nesting without end, half a pair: 400, and nothing was said or logged."""
    form = "application/x-www-form-urlencoded" if "act" in where else "application/json"
    bodies = [(f"{form}; charset=nope", b"{}")]
    if "act" not in where:
        bodies += [(form, b"[" * 60_000), (form, b'{"by": ' + b"[" * 60_000), (form, b'{"by": "\\ud800"}')]
    for kind, body in bodies:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        status, _, _ = await running.ask("POST", where.format(running.incident), data=body, headers=headers)
        assert status == 400, body[:20]
    assert await running.store.said(pending=False) == [] and running.silences.added == [] and caplog.text == ""


@pytest.mark.parametrize(
    "request_line",
    ["GET /act/a-secret-link more HTTP/1.1", "GET /silences HTTP/1.1\r\nAuthorization: Bearer a-secret\0"],
)
async def test_what_is_no_http_is_not_logged(
    running: Running, request_line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a request is answered, and its tokens stand nowhere."""
    host, _, port = running.site.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert b" 400 " in await reader.readline()
    await reader.read()
    writer.close()
    assert "secret" not in caplog.text and not caplog.records


async def test_a_body_that_breaks_off_is_not_logged(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can do that to anybody who listens; nothing was said."""
    host, _, port = running.site.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST /act/good HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9"
    writer.write(f"{head}\r\n\r\nby=".encode())
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert not caplog.records and await running.store.said(pending=False) == []


def test_the_bound_is_a_minute_and_a_peer() -> None:
    """A window ends, another peer is not touched, addresses of one /64 are one peer, and memory is bounded."""
    now = [0.0]
    guard = Guard("t", lambda: now[0])

    def request(peer: str) -> Any:
        return SimpleNamespace(remote=peer)

    for _ in range(MOST):
        guard.count(request("2001:db8::1"))
    assert guard.is_over(request("2001:db8::2")) and not guard.is_over(request("2001:db8:0:1::1"))
    assert not guard.is_over(request("192.0.2.1"))
    now[0] += WINDOW
    assert not guard.is_over(request("2001:db8::1"))
    for n in range(20_500):
        guard.count(request(f"10.0.{n >> 8}.{n & 255}"))
    assert len(guard._wrong) <= 10_000
    assert TOKEN not in repr(Guard(TOKEN))


async def test_a_drill_is_acknowledged_like_an_incident(running: Running) -> None:
    """Its page says that nothing is real; a drill that was never begun is none."""
    drill = Drill("drill-0123", "coincheck-2018", "hot", "command", NOW)
    await running.store.note([(drill_key(drill.id), write(drill))])
    running.claims |= {"drill": Claim(drill.id), "other": Claim("drill-other", nonce="n2")}
    status, text, headers = await running.ask("GET", "/act/drill")
    assert status == 200 and "nothing was stolen" in is_safe(status, text, headers).text
    assert (await running.ask("POST", "/act/drill"))[0] == 200
    assert (await running.ask("POST", "/act/other"))[0] == 404
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await running.ask("POST", f"/incidents/{drill.id}/resolve", headers=bearer))[0] == 202
    assert (await running.ask("POST", "/incidents/drill-other/ack", headers=bearer))[0] == 404
    assert [(e.kind, e.incident_id) for e in await running.store.said(pending=True)] == [
        ("acknowledge", drill.id), ("resolve", drill.id)
    ]  # fmt: skip


async def test_a_merged_incident_is_followed(running: Running) -> None:
    """The id in an old message leads to the incident that took the evidence over."""
    running.correlator.merged["gone"] = running.incident
    running.claims["good"] = Claim("gone")
    assert (await running.ask("POST", "/act/good"))[0] == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    status, text, _ = await running.ask("POST", "/incidents/gone/note", headers=bearer, json={"comment": "x"})
    assert status == 202 and running.incident in text
    assert {e.incident_id for e in await running.store.said(pending=True)} == {running.incident}
    assert (await running.ask("GET", "/incidents/gone"))[0] == 200


async def test_an_incident_as_page_or_data(running: Running) -> None:
    """A browser gets a page, everything else JSON; so does a browser that asks for nothing known."""
    path = f"/incidents/{running.incident}"
    status, text, headers = await running.ask("GET", path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert status == 200 and "Findings" in is_safe(status, text, headers).text
    for accept in ("*/*", "application/json", "text/html;q=0.1, application/json"):
        _, _, headers = await running.ask("GET", path, headers={"Accept": accept})
        assert headers["Content-Type"].startswith("application/json")
    status, text, headers = await running.ask("GET", "/incidents/<b>", headers={"Accept": "text/html"})
    assert status == 404 and is_safe(status, text, headers)


async def test_used_links_are_forgotten_after_their_time(running: Running) -> None:
    """An expired link is refused for that: its note goes at the next one's use."""
    running.claims |= {"one": Claim(running.incident, expires=5, nonce="old"), "two": Claim(running.incident)}
    await running.ask("POST", "/act/one")
    await running.ask("POST", "/act/two")
    assert [name for name, _ in await running.store.notes("link/")] == ["link/n1"]


async def test_silences_need_the_token(running: Running) -> None:
    """Without it nothing is shown, added or ended."""
    for method, path in (("GET", "/silences"), ("POST", "/silences"), ("DELETE", "/silences/s1")):
        assert (await running.ask(method, path, json={"match": {}, "for": "1h"}))[0] == 401
    assert running.silences.added == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ({"match": {"severity": ["low"]}}, "say either for"),
        ({"match": {"severity": ["low"]}, "for": "1h", "until": "2030-01-01"}, "say either for"),
        ({"match": {"severity": ["low"]}, "for": "an hour"}, "expected a length of time"),
        ({"match": {"severity": ["low"]}, "until": "tomorrow"}, "expected ISO 8601"),
        ({"matches": {"severity": ["low"]}, "for": "1h"}, "did you mean 'match'"),
        ({"match": "severity=low", "for": "1h"}, "expected a mapping"),
    ],
)
async def test_a_wrong_silence(running: Running, body: Any, expected: str) -> None:
    """What is wrong is said, and nothing is added."""
    more: dict[str, Any] = {"data": body} if isinstance(body, str) else {"json": body}
    status, text, _ = await running.ask("POST", "/silences", headers={"Authorization": f"Bearer {TOKEN}"}, **more)
    assert status == 400 and expected in text and running.silences.added == []


async def test_a_silence(running: Running, heard: Callable[[], float]) -> None:
    """Added with its end, listed, ended; one that is none is not found."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    given = {"match": {"severity": ["low"]}, "for": "2h", "by": "ann", "comment": "moving"}
    before = heard()
    status, _, _ = await running.ask("POST", "/silences", headers=bearer, json=given)
    [silence] = running.silences.added
    assert status == 201 and before + 7200 <= silence["expires"] <= heard() + 7200
    assert (silence["author"], silence["comment"]) == ("ann", "moving")
    assert '"s1"' in (await running.ask("GET", "/silences", headers=bearer))[1]
    assert (await running.ask("DELETE", "/silences/s1", headers=bearer))[0] == 200
    assert (await running.ask("DELETE", "/silences/s2", headers=bearer))[0] == 404


@pytest.fixture
def heard() -> Callable[[], float]:
    """The wall clock."""
    import time

    return time.time
