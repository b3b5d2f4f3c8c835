"""A node driven with plain blocking calls, for the helpers of `tests.contracts.chain`."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

__all__ = ["Driver"]


class Driver:
    """A node at ``url``; see `tests.contracts.chain.Node`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.accounts: list[str] = [account.lower() for account in self.rpc("eth_accounts")]

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call; an error object fails the test."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "result" in answer, (method, answer)
        return answer["result"]

    def store(self, account: str, slot: str, word: str) -> None:
        """Write a word of an account's storage, and mine a block."""
        self.rpc("anvil_setStorageAt", account, slot, "0x" + word.removeprefix("0x").rjust(64, "0"))
        self.rpc("evm_mine")

    @property
    def height(self) -> int:
        """The number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)
