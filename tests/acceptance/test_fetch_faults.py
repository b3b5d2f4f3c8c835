"""`heistwatch fetch` where things go wrong: endpoints that fail, limit and lie, kills, rewrites, other wallets."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
DEV = "eip155:31337"
START = 1_700_000_000
SECRET = "s3cr3t-of-the-path"
PATIENCE = 60.0


class Between:
    """In front of a node: passes calls on, and does to them what `fault` says.

    Attributes
    ----------
    fault : given (method, params, answer), gives the answer that goes out; a number is an HTTP status for all of it
    held : cleared, requests wait until it is set
    calls : by method
    """

    def __init__(self, node: Any) -> None:
        self.fault: Callable[[str, list[Any], Any], Any] = lambda method, params, answer: answer
        self.held = threading.Event()
        self.held.set()
        self.calls: Counter[str] = Counter()
        self.news = threading.Condition()
        self.rest = "1"  # seconds that it asks for where it says 429
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, data = outer.answer(node, json.loads(body), body)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    if status == 429:
                        self.send_header("Retry-After", outer.rest)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:  # whoever asked was killed
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A fetch that ends breaks its connections off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{SECRET}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def answer(self, node: Any, asked: Any, body: bytes) -> tuple[int, bytes]:
        """(status, body) for a request."""
        many = asked if isinstance(asked, list) else [asked]
        with self.news:
            self.calls.update(one["method"] for one in many)
            self.news.notify_all()
        self.held.wait(PATIENCE)
        connection = HTTPConnection("127.0.0.1", node.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            found = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        answers = found if isinstance(found, list) else [found]
        by_id = {one["id"]: one for one in answers}
        told = []
        for one in many:
            answer = self.fault(one["method"], one["params"], by_id[one["id"]])
            if isinstance(answer, int):
                return answer, b"{}"
            told.append(answer)
        return 200, json.dumps(told if isinstance(asked, list) else told[0]).encode()

    def until(self, method: str, count: int) -> None:
        """Wait until a method was called so often."""
        with self.news:
            assert self.news.wait_for(lambda: self.calls[method] >= count, PATIENCE), self.calls

    def close(self) -> None:
        """Stop listening."""
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


@pytest.fixture(scope="module")
def node(make_node: Callable[..., Any]) -> Any:
    """A node with 120 blocks, every third of which pays out of the first account."""
    node = make_node("--timestamp", str(START))
    for number in range(40):
        node.send(node.accounts[0], node.accounts[1 + number % 5], 1)
        node.rpc("anvil_mine", "0x2", hex(600))
    return node


@pytest.fixture
def between(node: Any) -> Iterator[Callable[[], Between]]:
    """Makes what stands in front of the node."""
    made: list[Between] = []

    def make() -> Between:
        made.append(Between(node))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def config(node: Any, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration: endpoints, and options of the chain."""

    def write(*urls: str, account: int = 0, **chain: Any) -> Path:
        path = tmp_path / "heistwatch.yaml"
        path.write_text(json.dumps({
            "version": 1,
            "chains": [{
                "name": "dev", "kind": "evm", "chain_id": DEV, "finality_depth": 4,
                "endpoints": list(urls) or [f"http://127.0.0.1:{node.port}"], **chain,
            }],
            "wallets": [{
                "id": "hot", "entity": "Example", "role": "hot", "addresses": [f"dev:{node.accounts[account]}"],
            }],
        }))  # fmt: skip
        return path

    return write


@pytest.fixture(scope="module")
def straight(node: Any, heistwatch: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an unbroken run over blocks 0 to 119 leaves."""
    folder = tmp_path_factory.mktemp("straight")
    path = folder / "c.yaml"
    path.write_text(json.dumps({
        "version": 1,
        "chains": [{
            "name": "dev", "kind": "evm", "chain_id": DEV, "finality_depth": 4,
            "endpoints": [f"http://127.0.0.1:{node.port}"],
        }],
        "wallets": [{"id": "hot", "entity": "Example", "role": "hot", "addresses": [f"dev:{node.accounts[0]}"]}],
    }))  # fmt: skip
    code, _, err = heistwatch("fetch", path, *RANGE, "--out", folder / "out")
    assert code == 0, err
    return sha(folder / "out")


RANGE = ("--from", "0", "--to", "116", "--part", "10")


def sha(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones too, by a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def started(path: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "monitor", "fetch", str(path), *RANGE, "--out", str(out), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def parts(out: Path) -> int:
    """How many parts the manifest lists."""
    return (out / "_fetch.ndjson").read_text().count('"line":"part"')


# -- killed, and ended ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ended_and_started_again(
    between: Any, config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path, end: signal.Signals
) -> None:
    """Ended in the middle it goes on where it was, and every byte is that of an unbroken run."""
    proxy, out = between(), tmp_path / "out"
    done = threading.Event()

    def stop_in_the_middle(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == hex(65) and not done.is_set():
            proxy.held.clear()
            done.set()
            proxy.held.wait(PATIENCE)
        return answer

    proxy.fault = stop_in_the_middle
    process = started(config(proxy.url), out, "--workers", "1")
    try:
        assert done.wait(PATIENCE)
        process.send_signal(end)
        said, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        proxy.held.set()
    assert 0 < parts(out) < 12 and said == ""
    if end is not signal.SIGKILL:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[end]
        last = 10 * parts(out) - 1
        assert f"blocks 0 to {last} are in {out}; the same command goes on from block {last + 1}" in err
    (out / "transfers" / ".half.parquet.part").write_bytes(b"half")
    with (out / "_fetch.ndjson").open("a") as file:
        file.write('{"line":"part","first":')  # as a kill leaves it
    before = proxy.calls["eth_getBlockByNumber"]
    code, said, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out)
    assert code == 0, err
    assert sha(out) == straight
    assert proxy.calls["eth_getBlockByNumber"] - before < 116 - 10 * 5  # what was there was not read again
    assert SECRET not in said + err + (out / "_fetch.ndjson").read_text()


def test_growing(config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path) -> None:
    """A later --to adds what is new, at the same cuts; the same again asks for next to nothing."""
    out, path = tmp_path / "out", config()
    for end in ("40", "80", "116"):
        code, said, err = heistwatch("fetch", path, "--from", "0", "--to", end, "--part", "10", "--out", out, "--json")
        assert code == 0, err
        told = json.loads(said)
        assert told["complete"] and told["last"] == int(end) - 1
    assert told["new_blocks"] == 36 and sha(out) == straight
    code, said, err = heistwatch("fetch", path, "--from", "20", "--to", "100", "--out", out, "--json")
    again = json.loads(said)
    assert code == 0 and (again["new_blocks"], again["last"]) == (0, 115) and again["requests"] < 20
    assert sha(out) == straight


def test_a_file_that_is_gone(config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path) -> None:
    """What is missing or cut short is noticed, and fetched again from there on."""
    out, path = tmp_path / "out", config()
    assert heistwatch("fetch", path, *RANGE, "--out", out)[0] == 0
    (victim,) = out.glob("transfers/*50-*59.parquet")
    victim.write_bytes(victim.read_bytes()[:-7])
    code, said, err = heistwatch("fetch", path, *RANGE, "--out", out)
    assert code == 0 and "from block 50 on are missing or changed" in said, err
    assert sha(out) == straight


# -- endpoints that fail, limit and lie -------------------------------------------------------------------------------


def test_failing_and_limiting(
    between: Any, config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path
) -> None:
    """Every eleventh request for blocks and logs fails; the result is the same."""
    proxy, out = between(), tmp_path / "out"
    turns = iter(range(10**9))

    def sometimes(method: str, params: list[Any], answer: Any) -> Any:
        if method not in ("eth_getBlockByNumber", "eth_getLogs", "eth_getBlockReceipts"):
            return answer
        return 503 if next(turns) % 11 == 5 else answer

    proxy.fault = sometimes
    code, _, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out, "--workers", "2")
    assert code == 0, err
    assert sha(out) == straight


def test_turned_away(between: Any, config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path) -> None:
    """An endpoint that says "too many requests" gets its rest, and the result is the same."""
    proxy, out = between(), tmp_path / "out"
    left = iter([429, 429, 429])

    def first_ones(method: str, params: list[Any], answer: Any) -> Any:
        return next(left, answer) if method == "eth_getLogs" else answer

    proxy.fault, proxy.rest = first_ones, "1"
    code, _, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out)
    assert code == 0, err
    assert sha(out) == straight and next(left, None) is None


def lying(number: int) -> Callable[[str, list[Any], Any], Any]:
    """A fault: block ``number`` names another parent."""

    def lie(method: str, params: list[Any], answer: Any) -> Any:
        found = answer.get("result")
        if method == "eth_getBlockByNumber" and isinstance(found, dict) and found.get("number") == hex(number):
            return {**answer, "result": {**found, "parentHash": "0x" + "ab" * 32}}
        return answer

    return lie


@pytest.mark.parametrize(
    ("number", "wrong"),
    [(57, "block 57 is no child of the block before it"), (60, "blocks 60 to 69: ")],
    ids=["inside of a part", "between two parts"],
)
def test_a_wrong_parent_is_never_written(
    between: Any, config: Any, heistwatch: Any, tmp_path: Path, number: int, wrong: str
) -> None:
    """One endpoint that lies about a parent: exit 3 with the block, and nothing from that part on is stored."""
    proxy, out = between(), tmp_path / "out"
    proxy.fault = lying(number)
    code, said, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out)
    assert code == 3 and said == "" and wrong in err
    assert parts(out) == number // 10
    blocks = pl.concat([pl.read_parquet(path) for path in sorted((out / "blocks").glob("*.parquet"))])
    assert blocks["number"].to_list() == list(range(number // 10 * 10)) and SECRET not in err


@pytest.mark.parametrize("number", [57, 60], ids=["inside of a part", "between two parts"])
def test_a_liar_beside_an_honest_one(
    between: Any, config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path, number: int
) -> None:
    """What does not fit is read again from another endpoint."""
    liar, honest, out = between(), between(), tmp_path / "out"
    liar.fault = lying(number)
    code, _, err = heistwatch("fetch", config(liar.url, honest.url), *RANGE, "--out", out)
    assert code == 0, err
    assert sha(out) == straight and honest.calls["eth_getBlockByNumber"] > 0


def test_nobody_answers(config: Any, heistwatch: Any, free_port: int, tmp_path: Path) -> None:
    """No endpoint can be reached: exit 3, no folder, and no secret in what is said."""
    url = f"http://127.0.0.1:{free_port}/{SECRET}"
    code, said, err = heistwatch("fetch", config(url), *RANGE, "--out", tmp_path / "out")
    assert code == 3 and said == "" and SECRET not in err and "127.0.0.1" in err
    assert not (tmp_path / "out").exists()


def test_gone_in_the_middle(
    between: Any, config: Any, straight: dict[str, str], heistwatch: Any, tmp_path: Path
) -> None:
    """The only endpoint stops answering: exit 3 after the patience, what is done stays, and the rest follows later."""
    proxy, out = between(), tmp_path / "out"
    proxy.fault = lambda method, params, answer: (
        503 if method == "eth_getBlockByNumber" and params[0] in map(hex, range(70, 120)) else answer
    )
    code, said, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out, "--patience", "0", "--workers", "1")
    assert code == 3 and said == "" and parts(out) == 7, err
    proxy.fault = lambda method, params, answer: answer
    assert heistwatch("fetch", config(proxy.url), *RANGE, "--out", out)[0] == 0
    assert sha(out) == straight


def test_the_rate_is_kept(between: Any, config: Any, heistwatch: Any, tmp_path: Path) -> None:
    """--rate and the endpoint's own terms bound what is asked; the estimate says so."""
    proxy, out = between(), tmp_path / "out"
    path = config()
    mapping = json.loads(path.read_text())
    mapping["chains"][0]["endpoints"] = [{"url": proxy.url, "rate": 400}]
    path.write_text(json.dumps(mapping))
    code, said, err = heistwatch("fetch", path, "--from", "0", "--to", "30", "--out", out, "--rate", "900", "--json")
    assert code == 0, err
    estimate = next(json.loads(line)["estimate"] for line in err.splitlines() if '"estimate"' in line)
    assert (estimate["blocks"], estimate["requests_per_second"]) == (30, 400)
    assert json.loads(said)["requests"] >= 30


# -- rewrites ---------------------------------------------------------------------------------------------------------


def test_a_rewrite_between_two_runs(make_node: Any, heistwatch: Any, tmp_path: Path) -> None:
    """Parts that were not final and are none of the chain's any more are fetched again; final ones are an error."""
    node = make_node("--timestamp", str(START))
    for number in range(10):
        node.send(node.accounts[0], node.accounts[1 + number % 5], 1)
    path, out = tmp_path / "c.yaml", tmp_path / "out"
    mapping: dict[str, Any] = {
        "version": 1,
        "chains": [{
            "name": "dev", "kind": "evm", "chain_id": DEV, "finality_depth": 8,
            "endpoints": [f"http://127.0.0.1:{node.port}"],
        }],
        "wallets": [{"id": "hot", "entity": "Example", "role": "hot", "addresses": [f"dev:{node.accounts[0]}"]}],
    }  # fmt: skip
    path.write_text(json.dumps(mapping))
    arguments = ("fetch", path, "--from", "0", "--out", out, "--part", "4", "--to")
    code, said, err = heistwatch(*arguments, "11")
    assert code == 0 and "blocks above 2 are not final yet" in said, err
    node.rpc("anvil_reorg", 4, [])
    code, said, err = heistwatch(*arguments, "11")
    assert code == 0 and "were rewritten since" in said, err
    blocks = pl.concat([pl.read_parquet(p) for p in sorted((out / "blocks").glob("*.parquet"))])
    assert blocks["hash"].to_list() == [node.rpc("eth_getBlockByNumber", hex(n), False)["hash"] for n in range(11)]
    node.rpc("anvil_reorg", 4, [])
    node.mine(12)  # what was rewritten has become final since
    code, said, err = heistwatch(*arguments, "12")
    assert code == 0 and "were rewritten since" in said and not (out / "_final").exists(), err
    code, said, err = heistwatch("fetch", path, "--from", "0", "--out", tmp_path / "other", "--part", "4", "--to", "12")
    assert code == 0 and sha(tmp_path / "other") == sha(out), err
    before = sha(out)
    node.rpc("anvil_reorg", 14, [])
    code, said, err = heistwatch(*arguments, "12")
    assert code == 3 and "block 11 is another one now than when it was fetched, though it was final" in err
    assert sha(out) == before


# -- other wallets, other chains --------------------------------------------------------------------------------------


def test_another_watch_list(config: Any, heistwatch: Any, tmp_path: Path) -> None:
    """A folder belongs to its addresses: others are refused, with what to do. A name may change."""
    out = tmp_path / "out"
    assert heistwatch("fetch", config(), *RANGE, "--out", out)[0] == 0
    before = sha(out)
    code, said, err = heistwatch("fetch", config(account=3), *RANGE, "--out", out)
    assert (code, said) == (2, "") and "for other addresses" in err and "name another folder" in err
    path = config()
    path.write_text(path.read_text().replace('"hot", "entity"', '"warm", "entity"'))
    assert heistwatch("fetch", path, *RANGE, "--out", out)[0] == 0
    code, _, err = heistwatch("fetch", config(options={"traces": "off"}), *RANGE, "--out", out)
    assert code == 2 and "other options" in err
    assert sha(out) == before


def test_by_time(node: Any, config: Any, heistwatch: Any, tmp_path: Path) -> None:
    """Bounds as times: the first block at or after each."""
    times = [int(node.rpc("eth_getBlockByNumber", hex(n), False)["timestamp"], 16) for n in range(node.height + 1)]
    start, end = times[31], times[77] + 1
    code, said, err = heistwatch(
        "fetch", config(), "--from", iso(start), "--to", iso(end), "--out", tmp_path / "out", "--json"
    )
    assert code == 0, err
    told = json.loads(said)
    assert (told["first"], told["last"]) == (times.index(start), next(n for n, t in enumerate(times) if t >= end) - 1)


def iso(seconds: int) -> str:
    """For a command line."""
    from monitor.ids import iso as text

    return str(text(seconds))


def test_a_made_up_branch(between: Any, config: Any, heistwatch: Any, tmp_path: Path) -> None:
    """Links that fit are not enough: two headers that agree on a hash that is none are found out."""
    proxy, out = between(), tmp_path / "out"
    made_up = "0x" + "cd" * 32

    def branch(method: str, params: list[Any], answer: Any) -> Any:
        found = answer.get("result")
        if method == "eth_getBlockByNumber" and isinstance(found, dict):
            changes = {hex(53): {"hash": made_up}, hex(54): {"parentHash": made_up}}.get(found["number"], {})
            return {**answer, "result": {**found, **changes}}
        return answer

    proxy.fault = branch
    code, said, err = heistwatch("fetch", config(proxy.url), *RANGE, "--out", out)
    assert code == 3 and said == "" and "is not that of its header" in err
    assert parts(out) == 5
