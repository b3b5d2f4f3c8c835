"""A real browser opens the acknowledge link of a real monitor; where nobody acknowledges, the next one is called."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from alerts.case import case_key, read_case
from monitor.store_url import open_store

GONE = "console: Failed to load resource: the server responded with a status of 410 (Gone)"


class Desk:
    """A monitor with a desk and a boss: who is not told of an acknowledgement in time calls the boss."""

    def __init__(self, node: Any, soc: Any, boss: Any, monitor: Any) -> None:
        self.node, self.soc, self.boss, self.monitor = node, soc, boss, monitor
        self.wallets = dict(zip(("Slow", "Fast"), node.accounts, strict=False))

    def steal(self, entity: str) -> Any:
        """Drain a wallet; the message to the desk."""
        self.node.send(self.wallets[entity], f"0x{0xBADC0DE:040x}", 9000)
        return self.soc.wait(entity, "incident.opened")

    def status(self, incident: str) -> tuple[str, list[tuple[str, str, str]]]:
        """Status and history as the monitor has them."""
        found = self.monitor.http("GET", f"/incidents/{incident}")[1]
        return found["status"], [(entry["what"], entry["by"], entry["comment"]) for entry in found["history"]]

    def case(self, incident: str) -> Any:
        """What the alerts' side knows of it, as stored now."""

        async def read() -> Any:
            store = open_store("sqlite:///heistwatch.db", base=self.monitor.config.parent)
            await store.open()
            try:
                [(_, value)] = await store.notes(case_key(incident))
                return read_case(value)
            finally:
                await store.aclose()

        return asyncio.run(read())

    def mine(self) -> None:
        """One more block, scanned."""
        self.node.mine()
        self.monitor.scanned(self.node.height)


@pytest.fixture(scope="module")
def desk(
    make_node: Any, make_receiver: Any, watch: Any, write_config: Any, token: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Desk:  # fmt: skip
    """A running monitor: incidents of Fast escalate after a second, those of Slow after an hour."""
    node, soc, boss = make_node(), make_receiver(), make_receiver()

    def hook(receiver: Any) -> str:
        return f'{{type: webhook, url: "http://127.0.0.1:{receiver.port}/hook", secret: "{soc.secret}"}}'

    more = f"""
http: {{listen: "127.0.0.1:0", token: "{token}", link_hours: 2}}
receivers:
  - {{name: soc, channels: [{hook(soc)}]}}
  - {{name: boss, channels: [{hook(boss)}]}}
escalations:
  fast: [{{after: 1s, receiver: boss}}]
  slow: [{{after: 1h, receiver: boss}}]
route:
  receiver: soc
  escalation: slow
  routes: [{{match: {{entity: [Fast]}}, escalation: fast}}]
"""
    wallets = dict(zip(("Slow", "Fast"), node.accounts, strict=False))
    node.mine()
    monitor = watch(write_config(tmp_path_factory.mktemp("desk"), node, wallets, None, more)).ready()
    return Desk(node, soc, boss, monitor)


def test_a_browser_acknowledges_once(desk: Desk, browse: Any, until: Any) -> None:
    """A look acts on nothing; the button does, once, before the next block; a second use says so."""
    post = desk.steal("Slow")
    name, links = post.incident["id"], post.message["data"]["links"]
    page = browse(java_script_enabled=False, color_scheme="light", viewport={"width": 1280, "height": 800})
    for _ in range(3):  # a preview of a chat, a scanner of mail, then a person
        page.goto(links["acknowledge"])
    desk.mine()
    assert desk.status(name) == ("open", [])
    assert "Slow" in page.text("h1") and "9,000 ETH" in page.text()
    page.fill("input[name=by]", "Ann <b>Other</b>")
    page.fill("textarea", "our own? looking")
    page.send("button")
    assert page.text("h1") == "Acknowledged by Ann <b>Other</b>"
    # Nobody is called any more, though no block came since.
    until("escalation stopped", lambda: desk.case(name).acknowledged_by == "Ann <b>Other</b>")
    assert not desk.case(name).is_waiting and desk.status(name) == ("open", [])
    desk.mine()
    assert desk.status(name) == ("acknowledged", [("acknowledge", "Ann <b>Other</b>", "our own? looking")])
    page.goto(links["incident"])
    assert "acknowledge by Ann <b>Other</b>: our own? looking" in page.text()
    assert "told soc by webhook (incident.opened)" in page.text()
    assert page.wrong == []
    page.goto(links["acknowledge"])
    assert "already used" in page.text("h1") and "Ann <b>Other</b>" in page.text() and page.count("form") == 0
    assert set(page.wrong) <= {GONE}  # all that a browser has to say of it
    page.close()


def test_dark_and_small(desk: Desk, browse: Any) -> None:
    """On a phone at night the page is dark, as wide as the screen, and its button is large enough for a thumb."""
    link = desk.soc.wait("Slow", "incident.opened").message["data"]["links"]["confirm"]
    seen = {}
    for scheme, width, height in (("light", 1280, 800), ("dark", 390, 844), ("dark", 320, 568)):
        size = {"width": width, "height": height}
        page = browse(java_script_enabled=False, color_scheme=scheme, viewport=size, device_scale_factor=2)
        page.goto(link)
        button = page.box("button")
        assert all(page.box(name)["width"] <= width for name in ("html", "body", "table", "form"))
        assert button["x"] >= 0 and button["x"] + button["width"] <= width and button["height"] >= 44
        seen[scheme] = page.picture()
        assert page.wrong == []
        page.close()
    assert _darkness(seen["dark"]) > _darkness(seen["light"]) + 100


def _darkness(png: bytes) -> int:
    """How dark the top left corner of a picture is, 0 to 255; the first pixel of a PNG stands in its first row."""
    import struct
    import zlib

    data, place = b"", 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        if kind == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    first = zlib.decompress(data)[1:4]  # in the first pixel every filter adds nothing
    return 255 - sum(first) // 3


def test_nobody_answers(desk: Desk, heistwatch: Any) -> None:
    """The boss is told, by a message of its own that says why, with links of the boss's own; then acknowledges."""
    post = desk.steal("Fast")
    name = post.incident["id"]
    call = desk.boss.wait("Fast", "incident.reminder")
    data = call.message["data"]
    assert data["title"].startswith("NOT ACKNOWLEDGED for 1 s: ") and call.incident["id"] == name
    assert data["body"].startswith("Nobody acknowledged this for 1 s: step 1 of 1 of escalation 'fast'.")
    assert data["links"]["acknowledge"] != post.message["data"]["links"]["acknowledge"]
    path = data["links"]["acknowledge"].split("/act/")[1]
    assert desk.monitor.http("POST", f"/act/{path}")[0] == 200
    desk.mine()
    assert desk.status(name) == ("acknowledged", [("acknowledge", "boss (by link)", "")])
    code, out, err = heistwatch("incidents", "handover", "--json", "-c", desk.monitor.config)
    assert (code, err) == (0, "")
    [entry] = [entry for entry in json.loads(out)["open"] if entry["id"] == name]
    assert entry["acknowledged"]["by"] == "boss (by link)" and entry["escalation"] is None


def test_links_die_with_the_secret(desk: Desk) -> None:
    """What is signed with another secret is forged to this monitor; its own links name its own address."""
    from alerts.link import Links, keys_of

    links = desk.soc.wait("Slow", "incident.opened").message["data"]["links"]
    assert set(links) == {"incident", "acknowledge", "confirm", "false_alarm", "resolve"}
    assert all(url.startswith(f"http://127.0.0.1:{desk.monitor.port}/act/") for url in links.values())
    forged = Links("", keys_of("another secret")).token("soc", desk.soc.wait("Slow").incident["id"], "confirm", 1e10)
    for method in ("GET", "POST"):
        assert desk.monitor.http(method, f"/act/{forged}")[0] == 403
