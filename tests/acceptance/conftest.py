"""Fixtures of the acceptance tests: a real node, a webhook receiver, and `heistwatch watch` as a user runs it.

Everything is driven from outside: processes, HTTP, files. Each process is ended by its own id.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from monitor.app import warm_up
from monitor.cli import main
from tests.acceptance.browser import Page, browsing

ROOT = Path(__file__).parents[2]
NATIVE_ANVIL = ROOT / ".tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "a-token-of-the-tests"
PATIENCE = 20.0  # seconds that anything may take on a loaded machine
STARTING = 90.0  # seconds that a start may take where nothing is compiled yet
ETHER = 10**18


def call(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """(status, text) of one HTTP request to this machine; a dict or list as body goes as JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(what: str, look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true answer of ``look``, for what offers no event to wait for."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session", name="until")
def waiting() -> Callable[..., Any]:
    """`until`."""
    return until


class Lines:
    """The lines that a process writes to one stream, read in a thread."""

    def __init__(self, stream: Any) -> None:
        self.lines: list[str] = []
        self._stream, self._news, self._ended = stream, threading.Condition(), False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def text(self) -> str:
        """Everything so far."""
        with self._news:
            return "\n".join(self.lines)

    def wait(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """The first match in the whole text; fails when the stream ends or the time is over."""
        end = time.monotonic() + seconds
        with self._news:
            while (found := re.search(pattern, "\n".join(self.lines))) is None:
                left = end - time.monotonic()
                assert left > 0 and not self._ended, f"{pattern!r} did not come; there was: {self.lines[-30:]}"
                self._news.wait(left)
        return found

    def close(self) -> None:
        """After the end of the process."""
        self._thread.join(PATIENCE)
        self._stream.close()


# -- the node ---------------------------------------------------------------------------------------------------------


def _anvil_binary() -> str:
    named = os.environ.get("HEISTWATCH_ANVIL")
    found = named or (str(NATIVE_ANVIL) if NATIVE_ANVIL.is_file() else shutil.which("anvil"))
    if found is None:
        message = "anvil (an Ethereum node; set HEISTWATCH_ANVIL to its binary) is not available"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


class Node:
    """A real Ethereum node, a block a transaction. With a state file it continues its chain after `stop`."""

    def __init__(self, *arguments: str, state: Path | None = None) -> None:
        self._arguments = (*arguments, *(() if state is None else ("--state", str(state))))
        self.port = 0
        self.start()
        self.accounts: list[str] = [account.lower() for account in self.rpc("eth_accounts")]

    def start(self, port: int = 0) -> None:
        """Start, on any free port or on this one."""
        self._process = subprocess.Popen(
            [_anvil_binary(), "--host", "127.0.0.1", "--port", str(port), "--order", "fifo", *self._arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._lines = Lines(self._process.stdout)
        self.port = int(self._lines.wait(r"Listening on \S+:(\d+)").group(1))

    def stop(self) -> None:
        """End the node; it writes its state file on the way."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lines.close()

    @property
    def endpoints(self) -> str:
        """For a configuration: HTTP, and a subscription beside it."""
        return f'["http://127.0.0.1:{self.port}", "ws://127.0.0.1:{self.port}"]'

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call; an error object fails the test."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = json.loads(call(self.port, "POST", "/", body)[1])
        assert "result" in answer, (method, answer)
        return answer["result"]

    def send(self, sender: str, to: str | None = None, ether: float = 0, data: str = "0x") -> dict[str, Any]:
        """Send, mine, and return the receipt, with ``block`` as a number."""
        transaction = {"from": sender, "value": hex(int(ether * ETHER)), "data": data, "gas": "0x100000"}
        receipt = self.rpc("eth_sendTransactionSync", transaction if to is None else {**transaction, "to": to})
        assert receipt["status"] == "0x1"
        return {**receipt, "block": int(receipt["blockNumber"], 16)}

    def mine(self, blocks: int = 1) -> None:
        """Mine empty blocks."""
        for _ in range(blocks):
            self.rpc("evm_mine")

    def raw(self, receipt: Mapping[str, Any]) -> str:
        """The signed transaction behind a receipt, to be mined again."""
        text: str = self.rpc("eth_getRawTransactionByHash", receipt["transactionHash"])
        return text

    @property
    def height(self) -> int:
        """The number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)


@pytest.fixture(scope="session")
def make_node() -> Iterator[Callable[..., Node]]:
    """Start nodes; each ends with the session at the latest."""
    nodes: list[Node] = []

    def make(*arguments: str, state: Path | None = None) -> Node:
        people = () if "--accounts" in arguments else ("--accounts", "20")
        nodes.append(Node(*people, *arguments, state=state))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()


# -- the receiver -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """One POST as it arrived; ``message`` is its JSON, ``at`` monotonic seconds."""

    at: float
    headers: Mapping[str, str]
    body: bytes
    message: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """``webhook-id``."""
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        """The message's type."""
        return str(self.message["type"])

    @property
    def incident(self) -> dict[str, Any]:
        """The incident that it is about; empty where it is about the monitor itself."""
        found: dict[str, Any] = self.message["data"].get("incident") or {}
        return found


class Receiver:
    """A webhook receiver on loopback: keeps every POST, checks every signature, answers what ``answer`` says."""

    secret = SECRET

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.wrong: list[str] = []  # what was not as Standard Webhooks says
        self.answer: Callable[[Post], int] = lambda post: 204
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take({key.lower(): value for key, value in self.headers.items()}, body)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:  # the monitor was killed meanwhile
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A monitor that is killed breaks its connections off."""
                error = sys.exc_info()[1]
                if not isinstance(error, OSError):
                    receiver.wrong.append(repr(error))

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """Keep one POST; the status to answer with."""
        at = time.monotonic()
        try:
            message = Webhook(SECRET).verify(body, dict(headers))
        except Exception as error:
            message = json.loads(body)
            self.wrong.append(f"{type(error).__name__}: {error}")
        post = Post(at, headers, body, message)
        with self._news:
            self.posts.append(post)
            self._news.notify_all()
        return self.answer(post)

    def of(self, entity: str) -> list[Post]:
        """All POSTs about incidents of an entity."""
        with self._news:
            return [post for post in self.posts if post.incident.get("entity") == entity]

    def wait(self, entity: str, type: str | None = None, count: int = 1, seconds: float = PATIENCE) -> Post:
        """The ``count``-th POST of that type (any, where None) about the entity."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                mine = [post for post in self.posts if post.incident.get("entity") == entity]
                found = [post for post in mine if type in (None, post.type)]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                assert left > 0, f"no {type} number {count} of {entity}: {[post.type for post in mine]}"
                self._news.wait(left)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture(scope="session")
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    """Start receivers; each ends with the session. A signature that was wrong fails it then at the latest."""
    receivers: list[Receiver] = []

    def make() -> Receiver:
        receivers.append(Receiver())
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.close()
    assert not [text for receiver in receivers for text in receiver.wrong]


# -- the monitor ------------------------------------------------------------------------------------------------------


class Monitor:
    """`heistwatch watch CONFIG` as a process of its own."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "watch", str(config), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=config.parent, bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.out, self.err = Lines(self.process.stdout), Lines(self.process.stderr)
        self.port = 0

    def ready(self) -> Monitor:
        """Wait until it watches and has seen the head of every chain."""
        self.port = int(self.err.wait(r"watching; http://127\.0\.0\.1:(\d+)/", STARTING).group(1))
        until("ready", lambda: self.http("GET", "/readyz")[0] == 200)
        return self

    def reloaded(self) -> Monitor:
        """Wait until it watches with the configuration that it read again (on another port)."""
        again = r"read again\n(?:.*\n)*.*watching; http://127\.0\.0\.1:(\d+)/"
        self.port = int(self.err.wait(again, STARTING).group(1))
        until("ready", lambda: self.http("GET", "/readyz")[0] == 200)
        return self

    def http(self, method: str, path: str, token: str | None = None, body: Any = None) -> Any:
        """(status, parsed JSON or text)."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        status, text = call(self.port, method, path, body, headers)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def coverage(self, chain: str = "eip155:31337") -> dict[str, Any]:
        """What it says of the blocks it scanned."""
        found: dict[str, Any] = self.http("GET", "/coverage")[1].get(chain, {"ranges": [], "gaps": []})
        return found

    def scanned(self, block: int, chain: str = "eip155:31337") -> None:
        """Wait until that block is stored."""
        until(f"block {block} scanned", lambda: any(r["last"] >= block for r in self.coverage(chain)["ranges"]))

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._gone()

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        return self.wait(PATIENCE)

    def wait(self, seconds: float = STARTING) -> int:
        """The exit code of a process that ends by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it did not end: {self.err.lines[-30:]}") from None
        finally:
            self._gone()

    def _gone(self) -> None:
        self.process.wait()
        self.out.close()
        self.err.close()


@pytest.fixture(scope="session")
def watch() -> Iterator[Callable[..., Monitor]]:
    """Start monitors; each ends with the session at the latest."""
    warm_up()  # compiled once, and kept on the disk: every process would do it
    monitors: list[Monitor] = []

    def start(config: Path, *arguments: str) -> Monitor:
        monitors.append(Monitor(config, *arguments))
        return monitors[-1]

    yield start
    for monitor in monitors:
        monitor.kill()


def configuration(
    folder: Path, node: Node | None, wallets: Mapping[str, str], receiver: Receiver | None = None, more: str = ""
) -> Path:
    """Write a configuration: wallets are entity to address, each its own; ``more`` is YAML to append."""
    endpoints = f", endpoints: {node.endpoints}" if node is not None else ""
    lines = ["version: 1", f'chains: [{{name: dev, kind: evm, chain_id: "eip155:31337"{endpoints}}}]', "wallets:"]
    lines += [
        f'  - {{id: wallet-{entity}, entity: {entity}, role: hot, addresses: ["dev:{address}"]}}'
        for entity, address in wallets.items()
    ]
    if not re.search(r"^http:", more, re.MULTILINE):
        lines.append(f'http: {{listen: "127.0.0.1:0", token: "{TOKEN}"}}')
    if receiver is not None:
        hook = f'{{type: webhook, url: "http://127.0.0.1:{receiver.port}/hook", secret: "{SECRET}"}}'
        lines += [f"receivers: [{{name: soc, channels: [{hook}]}}]", "route: {receiver: soc}"]
    path = folder / "heistwatch.yaml"
    path.write_text("\n".join([*lines, more, ""]))
    return path


@pytest.fixture(scope="session")
def write_config() -> Callable[..., Path]:
    """`configuration`."""
    return configuration


@pytest.fixture(scope="session")
def secret() -> str:
    """The webhook secret that receivers check signatures with."""
    return SECRET


@pytest.fixture(scope="session")
def token() -> str:
    """The bearer token of the HTTP interface."""
    return TOKEN


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def heistwatch() -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which spares its start: (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return int(stop.value.code or 0), out.getvalue(), err.getvalue()

    return run


class Live:
    """One node, one receiver and one monitor that many tests share; every test takes wallets of its own."""

    def __init__(self, node: Node, soc: Receiver, monitor: Monitor, wallets: dict[str, str]) -> None:
        self.node, self.soc, self.monitor = node, soc, monitor
        self._free = list(wallets.items())
        self._thieves = 0

    @property
    def config(self) -> Path:
        """The monitor's configuration file."""
        return self.monitor.config

    def wallet(self) -> tuple[str, str]:
        """(entity, address) of a watched wallet that no other test uses; it holds 10,000 ether."""
        return self._free.pop(0)

    def thief(self) -> str:
        """An address that was never paid."""
        self._thieves += 1
        return f"0x{0xBAD0000 + self._thieves:040x}"

    def steal(self, ether: float = 9000) -> tuple[str, str, dict[str, Any], Post]:
        """Drain a fresh wallet: (entity, thief, receipt, the POST that said so)."""
        entity, address = self.wallet()
        thief = self.thief()
        receipt = self.node.send(address, thief, ether)
        return entity, thief, receipt, self.soc.wait(entity, "incident.opened")


@pytest.fixture(scope="session")
def live(
    make_node: Callable[..., Node],
    make_receiver: Callable[[], Receiver],
    watch: Callable[..., Monitor],
    tmp_path_factory: pytest.TempPathFactory,
) -> Live:
    """The shared monitor, ready."""
    node, soc = make_node(), make_receiver()
    wallets = {f"exchange-{n}": address for n, address in enumerate(node.accounts[:16])}
    node.mine()
    monitor = watch(configuration(tmp_path_factory.mktemp("live"), node, wallets, soc)).ready()
    return Live(node, soc, monitor, wallets)


@pytest.fixture(scope="module")
def browse() -> Iterator[Callable[..., Page]]:
    """Opens pages in a headless browser, see `tests.acceptance.browser`."""
    with browsing() as opened:
        yield opened
