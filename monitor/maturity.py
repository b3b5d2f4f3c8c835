"""New coins of miners: they cannot be spent, or stolen, before their block is deep enough. Pure.

So the statistics count them when they are mature: right before the wallet's next flow after that, with the time at
which they became so. (Plain rules see them at once, since they ask what is there.) What waits is state: undone and
stored with its block. A told balance has all coins in it, and nothing waits any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from monitor.model import Direction, Flow
from monitor.networks import by_chain

__all__ = ["DEPTH", "Matured", "MaturityBook", "is_new"]

DEPTH = 100  # blocks, where the network says nothing else
BLOCK_SECONDS = 600.0
_PREFIX = b"m\x1f"


class Matured(NamedTuple):
    """Coins that may be spent from UTC second ``at`` on."""

    at: int
    asset: str
    value: int  # base units


def is_new(flow: Flow) -> bool:
    """Whether new coins arrive: nobody paid them.

    >>> from monitor.model import BlockRef, Transfer, TransferKind, Tx
    >>> ref = BlockRef("bip122:000000000019d6689c085ae165831e93", 7, "b")
    >>> coinbase = Transfer(ref, Tx("t", 0), 0, TransferKind.NATIVE, "btc", (), "q", 50)
    >>> is_new(Flow(coinbase, "miner", Direction.IN, "", 50, 0))
    True
    """
    transfer = flow.transfer
    first = not transfer.from_addresses and transfer.tx.index == 0  # elsewhere a table only left out who paid
    return flow.direction is Direction.IN and first and transfer.block.chain.startswith("bip122:")


class MaturityBook:
    """New coins by wallet and chain, until they are mature. One entry a block and wallet: at most `DEPTH` or so."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[tuple[int, int, str, int]]] = {}  # block, its time, asset, base units

    def add(self, flow: Flow) -> None:
        """Note new coins."""
        block, asset = flow.transfer.block, flow.transfer.asset
        waiting = self._waiting.setdefault(_key(flow.wallet, block.chain), [])
        if waiting and waiting[-1][0] == block.number:
            waiting[-1] = (block.number, flow.timestamp, asset, waiting[-1][3] + flow.value)
        else:
            waiting.append((block.number, flow.timestamp, asset, flow.value))

    def release(self, wallet: str, chain: str, number: int) -> list[Matured]:
        """Take out what may be spent in block ``number``."""
        key = _key(wallet, chain)
        waiting = self._waiting.get(key)
        if not waiting:
            return []
        network = by_chain(chain)
        depth = int(network.params.get("maturity", DEPTH)) if network is not None else DEPTH
        seconds = network.block_seconds if network is not None else BLOCK_SECONDS
        ripe = [entry for entry in waiting if entry[0] <= number - depth]
        self._keep(key, waiting[len(ripe):])
        return [Matured(int(at + depth * seconds), asset, value) for _, at, asset, value in ripe]

    def forget(self, wallet: str, chain: str) -> None:
        """The balance was told, with all new coins in it."""
        self._waiting.pop(_key(wallet, chain), None)

    def _keep(self, key: bytes, waiting: list[tuple[int, int, str, int]]) -> None:
        if waiting:
            self._waiting[key] = waiting
        else:
            self._waiting.pop(key, None)

    def keys_for(self, flows: Iterable[Flow], told: Iterable[tuple[str, str, str]] = ()) -> set[bytes]:
        """The state keys that flows, and told balances by (wallet, chain, asset), may change."""
        found = {key for wallet, chain, _ in told if (key := _key(wallet, chain)) in self._waiting}
        for flow in flows:
            key = _key(flow.wallet, flow.transfer.block.chain)
            if key in self._waiting or is_new(flow):
                found.add(key)
        return found

    def get(self, key: bytes) -> bytes | None:
        """Stored form of what waits; None: nothing does."""
        waiting = self._waiting.get(key)
        if not waiting:
            return None
        return json.dumps([[number, at, asset, str(value)] for number, at, asset, value in waiting]).encode()

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take a stored record over."""
        entries = json.loads(value) if value is not None else []
        self._keep(key, [(int(number), int(at), str(asset), int(amount)) for number, at, asset, amount in entries])

    @staticmethod
    def owns(key: bytes) -> bool:
        """Whether a state key belongs here."""
        return key.startswith(_PREFIX)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Every record, sorted by key."""
        return sorted((key, value) for key in self._waiting if (value := self.get(key)) is not None)


def _key(wallet: str, chain: str) -> bytes:
    return _PREFIX + f"{wallet}\x1f{chain}".encode()
