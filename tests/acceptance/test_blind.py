"""A monitor whose only endpoint dies says so, stops its heartbeat, and says when it sees again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHAIN = "eip155:31337"


class Pulse:
    """Takes heartbeats, and keeps when they came."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self.news = threading.Condition()
        pulse = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with pulse.news:
                    pulse.beats.append(time.monotonic())
                    pulse.news.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def wait_after(self, moment: float, seconds: float = 30.0) -> float:
        """The first beat after a moment."""
        end = time.monotonic() + seconds
        with self.news:
            while not (found := [beat for beat in self.beats if beat > moment]):
                assert self.news.wait(end - time.monotonic()), "no heartbeat"
        return found[0]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    """A service that waits for heartbeats."""
    it = Pulse()
    yield it
    it.close()


def told(receiver: Any, type: str, seconds: float = 60.0) -> Any:
    """The first message of a type."""
    until = time.monotonic() + seconds
    while not (found := [post for post in list(receiver.posts) if post.type == type]):
        assert time.monotonic() < until, f"no {type}: {[post.type for post in receiver.posts]}"
        time.sleep(0.05)
    return found[0]


def test_an_endpoint_dies_and_comes_back(
    make_node: Callable[..., Any],
    make_receiver: Callable[[], Any],
    watch: Callable[..., Any],
    write_config: Callable[..., Path],
    pulse: Pulse,
    tmp_path: Path,
) -> None:
    """monitor.blind once, no heartbeat and not ready meanwhile; then monitor.recovered, with the blocks caught up."""
    node, soc = make_node("--block-time", "1", state=tmp_path / "chain.json"), make_receiver()
    key = "a-key-of-the-tests"
    more = f'heartbeat: [{{url: "http://127.0.0.1:{pulse.port}/ping/{key}", every: 5}}]'
    config = write_config(tmp_path, node, {"example": node.accounts[0]}, soc, more)
    config.write_text(config.read_text().replace("endpoints:", "blind_after: 6s, endpoints:"))
    monitor = watch(config).ready()
    pulse.wait_after(0.0)
    assert not soc.posts

    node.stop()
    died = time.monotonic()
    blind = told(soc, "monitor.blind")
    status, ready = monitor.http("GET", "/readyz")
    assert status == 503 and ready["chains"]["dev"]["ready"] is False
    title, body = blind.message["data"]["title"], blind.message["data"]["body"]
    assert title.startswith("dev: ") and "The last block that was looked at is" in body and CHAIN in str(blind.message)

    time.sleep(max(0.0, died + 12.5 - time.monotonic()))  # that nothing comes cannot be awaited
    last, back = pulse.beats[-1], time.monotonic()
    assert last < died + 6, "it pinged while it was blind"
    node.start(node.port)
    over = told(soc, "monitor.recovered")
    assert over.message["data"]["title"].endswith(title) and "were caught up" in over.message["data"]["body"]
    assert pulse.wait_after(back) > last and monitor.http("GET", "/readyz")[0] == 200
    assert [post.type for post in soc.posts] == ["monitor.blind", "monitor.recovered"]
    assert monitor.end() == 0 and key not in monitor.err.text


def test_a_start_while_a_chain_is_away(
    make_node: Callable[..., Any], make_receiver: Callable[[], Any], watch: Callable[..., Any],
    write_config: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    """A chain that was followed before keeps nobody from watching the others; it is blind until it answers."""
    node, soc = make_node(), make_receiver()
    other = make_node("--chain-id", "31338", "--block-time", "1", state=tmp_path / "other.json")
    node.mine()
    config = write_config(tmp_path, node, {"example": node.accounts[0]}, soc)
    more = f'{{name: other, kind: evm, chain_id: "eip155:31338", endpoints: {other.endpoints}, blind_after: 3s}}'
    text = config.read_text().replace("chains: [", f"chains: [{more}, ")
    config.write_text(text.replace("addresses: [", f'addresses: ["other:{node.accounts[1]}", '))
    monitor = watch(config).ready()
    monitor.scanned(other.height, "eip155:31338")
    assert monitor.end() == 0
    other.stop()
    monitor = watch(config)
    monitor.port = int(monitor.err.wait(r"watching; http://127\.0\.0\.1:(\d+)/", 60.0).group(1))
    assert "it goes on where it stopped as soon as an endpoint answers" in monitor.err.text
    node.send(node.accounts[0], f"0x{0xBADD:040x}", 9000)
    soc.wait("example", "incident.opened")
    assert told(soc, "monitor.blind").message["data"]["labels"]["chain"] == "eip155:31338"
    assert monitor.end() == 0  # how it recovers is shown above: the endpoint's own pause makes that slow
