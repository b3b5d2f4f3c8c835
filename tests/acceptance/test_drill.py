"""`heistwatch drill` beside a running monitor: that one delivers, escalates and hears the acknowledgement."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.drill_note import LAST, Last, write
from monitor.sqlite_store import SqliteStore

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CASE = ("--case", "lubian-2020")  # the quickest to play


def test_a_drill_beside_a_running_monitor(
    make_node: Callable[..., Any],
    make_receiver: Callable[[], Any],
    watch: Callable[..., Any],
    write_config: Callable[..., Path],
    heistwatch: Callable[..., tuple[int, str, str]],
    token: str,
    free_port: int,
    tmp_path: Path,
) -> None:
    """Acknowledged over HTTP once it was escalated; a dead channel is named; no incident comes of either."""
    node, soc, boss = make_node(), make_receiver(), make_receiver()
    node.mine()
    config = write_config(tmp_path, node, {"example": node.accounts[0]})
    hooks = {"soc": soc.port, "boss": boss.port, "dead": free_port}
    lines = [
        f'  - {{name: {name}, channels: [{{type: webhook, url: "http://127.0.0.1:{port}/h", secret: {SECRET}}}]}}'
        for name, port in hooks.items()
    ]
    lines += ["route: {receiver: soc, escalation: night}", "escalations: {night: [{after: 1s, receiver: boss}]}"]
    config.write_text("\n".join([config.read_text(), "receivers:", *lines, ""]))
    monitor = watch(config).ready()

    def acknowledge(post: Any) -> int:
        if post.type == "drill.reminder":
            path = f"/incidents/{post.incident['id']}/ack"
            assert monitor.http("POST", path, token, {"by": "ana"})[0] == 202
        return 204

    boss.answer = acknowledge
    code, out, err = heistwatch("drill", config, *CASE, "--escalate", "--ack-within", "60", "--json")
    told = json.loads(out)
    assert code == 0 and told["problems"] == [], (out, err)
    assert "the running monitor delivers it" in err
    assert {entry["receiver"]: entry["reached"] for entry in told["deliveries"]} == {"soc": True, "boss": True}
    assert told["acknowledged"]["by"] == "ana" and told["acknowledged"]["seconds"] > 1
    assert [(step["receiver"], step["channel"]) for step in told["escalation"]] == [("boss", "0:webhook")]
    assert [post.type for post in soc.posts] == ["drill.opened", "drill.escalated", "drill.resolved"]
    assert [post.type for post in boss.posts] == ["drill.reminder", "drill.resolved"]
    for post in [*soc.posts, *boss.posts]:
        assert "DRILL" in post.message["data"]["title"] and post.incident["id"] == told["drill"]
        assert post.incident["entity"] == "example" and post.message["data"]["severity"] == "critical"

    code, out, _ = heistwatch("drill", config, *CASE, "--receiver", "dead", "--within", "1", "--json")
    (problem,) = json.loads(out)["problems"]
    assert code == 1 and problem.startswith("dead was not reached through 0:webhook: connection")
    assert monitor.http("GET", "/incidents")[1] == []


def test_a_scheduled_drill_is_played_by_the_monitor_itself(
    make_node: Callable[..., Any],
    make_receiver: Callable[[], Any],
    watch: Callable[..., Any],
    write_config: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Overdue since before the start: it is played at once; what was missed is said, then that a drill arrived."""
    node, soc = make_node(), make_receiver()
    node.mine()
    more = "drill: {every: weekly, case: lubian-2020, grace: 1h}"
    config = write_config(tmp_path, node, {"example": node.accounts[0]}, soc, more)

    async def long_ago() -> None:
        store = SqliteStore(tmp_path / "heistwatch.db")
        await store.open()
        await store.note([(LAST, write(Last(1_700_000_000.0)))])
        await store.aclose()

    asyncio.run(long_ago())
    monitor = watch(config).ready()
    opened = soc.wait("example", "drill.opened", seconds=60)
    assert opened.message["data"]["title"].startswith("DRILL: ")
    until = time.monotonic() + 60
    while "monitor.recovered" not in [post.type for post in list(soc.posts)]:
        assert time.monotonic() < until, [post.type for post in soc.posts]
        time.sleep(0.05)
    (blind,) = [post for post in soc.posts if post.type == "monitor.blind"]
    assert blind.message["data"]["labels"]["drill"] == "missed"
    assert blind.message["data"]["title"].startswith("The drill that was due at 2023-11-1")
    assert monitor.http("GET", "/incidents")[1] == []
