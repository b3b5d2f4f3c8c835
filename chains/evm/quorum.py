"""A block is believed when enough endpoints give the same hash and the same logs for it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from chains.endpoints.pool import Pool
from chains.evm.wire import RpcBlock, RpcHeader, RpcLog, RpcReceipt
from chains.exchange import Kind, MethodUnsupported
from chains.jsonrpc import JsonRpc
from monitor.errors import ChainInconsistent, ChainUnavailable

__all__ = ["Quorum", "digest_of"]

log = logging.getLogger(__name__)

WAITS = (0.1, 0.25, 0.5, 1.0)  # seconds between askings of endpoints that do not have the block yet


class Quorum:
    """Asks other endpoints for what one of them said of a block.

    Endpoints behind one host and port count once: they are one provider's word.

    Parameters
    ----------
    name : the chain, for messages
    size : endpoints that must agree, the first one included; 1 asks nobody
    pool, rpc_of : the endpoints, and calls to one of them by its redacted name
    sleep : the pause while an endpoint does not have the block yet
    """

    def __init__(
        self,
        name: str,
        size: int,
        pool: Pool,
        rpc_of: Callable[[str], JsonRpc],
        sleep: Callable[[float], Awaitable[Any]],
    ) -> None:
        self._name, self._size, self._pool, self._rpc_of, self._sleep = name, size, pool, rpc_of, sleep

    async def agree(self, block: RpcBlock, logs: Sequence[RpcLog], source: str) -> None:
        """Return when enough endpoints agree with ``source`` (redacted) on the block's hash and its logs.

        Raises
        ------
        ChainInconsistent : others say otherwise; both are named
        ChainUnavailable : too few endpoints can be asked, or have the block
        """
        if self._size <= 1:
            return
        wanted = digest_of(logs)
        agreed, against = {_host(source)}, dict[str, str]()
        silent: dict[str, str] = {}
        for pause in (*WAITS, None):
            silent.clear()
            for name in self._others({*agreed, *map(_host, against)}):
                if _host(name) in agreed:
                    continue
                try:
                    said = await self._say(name, block, wanted, bool(logs))
                except ChainUnavailable as error:
                    silent[name] = str(error)
                    continue
                if said is None:
                    agreed.add(_host(name))
                    if len(agreed) >= self._size:
                        self._blame(against, block, source)
                        return
                else:
                    against[name] = said
            if not silent or pause is None or against:
                break
            await self._sleep(pause)
        if against:
            name, said = next(iter(against.items()))
            self._pool.find(name).count(Kind.INCONSISTENT)
            raise ChainInconsistent(f"{source} and {name} disagree on block {_shown(block)}: {said}")
        why = "; ".join(silent.values()) or "there are no others"
        raise ChainUnavailable(
            f"{self._name}: block {_shown(block)}: {len(agreed)} of the {self._size} endpoints that must agree: {why}"
        )

    def _others(self, hosts: Iterable[str]) -> list[str]:
        """Endpoints, the preferred first, of hosts that said nothing yet."""
        known = set(hosts)
        return [name for name in self._pool.names if _host(name) not in known]

    async def _say(self, name: str, block: RpcBlock, wanted: bytes, has_logs: bool) -> str | None:
        """What an endpoint says against the block and its logs; None where it agrees."""
        rpc = self._rpc_of(name)
        header = await rpc.call("eth_getBlockByNumber", block.number, False, type=RpcHeader)
        if header is None:
            raise ChainUnavailable(f"{name} does not have it yet")
        if header.hash.lower() != block.hash.lower():
            return f"one says {block.hash[:66]}, the other {header.hash[:66]}"
        if not has_logs and not block.transactions:
            return None
        logs = await _logs_of(rpc, block)
        if logs is None:
            raise ChainUnavailable(f"{name} does not have its logs yet")
        return None if digest_of(logs) == wanted else "their logs are not the same"

    def _blame(self, against: dict[str, str], block: RpcBlock, source: str) -> None:
        """The others agree: whoever does not is wrong, which is said and counted."""
        for name, said in against.items():
            self._pool.find(name).count(Kind.INCONSISTENT)
            log.warning("%s: %s stands against %s on block %s: %s", self._name, name, source, _shown(block), said)


async def _logs_of(rpc: JsonRpc, block: RpcBlock) -> Sequence[RpcLog] | None:
    """All logs of a block by its hash; None where the endpoint has not got them."""
    try:
        logs: list[RpcLog] | None = await rpc.call("eth_getLogs", {"blockHash": block.hash}, type=list[RpcLog])
        return logs
    except MethodUnsupported:
        receipts: list[RpcReceipt] | None = await rpc.call("eth_getBlockReceipts", block.hash, type=list[RpcReceipt])
        return None if receipts is None else [log for receipt in receipts for log in receipt.logs]


def digest_of(logs: Iterable[RpcLog]) -> bytes:
    """A hash of logs that does not depend on the order in which they came, nor on upper and lower case."""
    lines = sorted(
        (_number(entry.log_index), (entry.transaction_hash or "").lower(), entry.address.lower(),
         ",".join(entry.topics).lower(), entry.data.lower())
        for entry in logs
    )  # fmt: skip
    return hashlib.blake2b(repr(lines).encode(), digest_size=16).digest()


def _number(text: str | None) -> int:
    try:
        return int(text or "", 16)
    except ValueError:
        return -1


def _host(name: str) -> str:
    """Host and port behind a name that may end in ``#2``."""
    return name.partition("#")[0]


def _shown(block: RpcBlock) -> str:
    return f"{_number(block.number)} ({block.hash[:66]})"
