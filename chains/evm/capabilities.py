"""Which methods each endpoint offers: learned from refusals, and by asking.

Capabilities are named by their method, or by ``blockHash`` (a block given by ``{"blockHash": ...}``), ``batch``,
``safe`` and ``finalized`` (tags), ``newPendingTransactions`` (whole transactions by subscription).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chains.exchange import Kind, MethodUnsupported, RpcError, Unanswered
from chains.jsonrpc import JsonRpc
from monitor.errors import ChainUnavailable

__all__ = ["CAPABILITIES", "Capabilities", "ask_offering", "probe"]

CAPABILITIES = (
    "eth_getBlockReceipts", "debug_traceBlockByHash", "trace_block", "eth_getProof", "blockHash", "batch",
    "newPendingTransactions", "txpool_content", "safe", "finalized",
)  # fmt: skip
HOLDS = 6 * 3600.0  # seconds after which a capability is asked for again: nodes are upgraded, plans change
NOBODY = "0x" + "0" * 40


class Capabilities:
    """What is known of each endpoint (by its redacted name).

    >>> known = Capabilities()
    >>> known.refuse("node", "trace_block")
    >>> known.supports("node", "trace_block"), known.supports("node", "eth_getProof")
    (False, None)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}
        self._clients: dict[str, str] = {}

    def supports(self, endpoint: str, name: str) -> bool | None:
        """Whether it offers a capability; None where that is not known (any more)."""
        found = self._known.get((endpoint, name))
        if found is None or self._clock() - found[1] > HOLDS:
            return None
        return found[0]

    def offer(self, endpoint: str, name: str) -> None:
        """It answered."""
        self._known[endpoint, name] = True, self._clock()

    def refuse(self, endpoint: str, name: str) -> None:
        """It said that it does not offer this."""
        self._known[endpoint, name] = False, self._clock()

    def forget(self, endpoint: str) -> None:
        """Ask it for everything again."""
        for key in [key for key in self._known if key[0] == endpoint]:
            del self._known[key]

    def client(self, endpoint: str, version: str) -> None:
        """What ``web3_clientVersion`` says now: where it changed, everything is asked again."""
        if self._clients.get(endpoint, version) != version:
            self.forget(endpoint)
        self._clients[endpoint] = version

    def of(self, endpoint: str) -> Mapping[str, bool]:
        """All that is known of one endpoint."""
        found = {name: self.supports(endpoint, name) for name in CAPABILITIES}
        return {name: value for name, value in found.items() if value is not None}


async def probe(known: Capabilities, rpc: JsonRpc) -> None:
    """Ask the endpoint behind ``rpc`` for what is not known of it, with cheap questions.

    Raises
    ------
    ChainUnavailable : it does not answer
    """
    name = rpc.endpoint
    try:
        known.client(name, str(await rpc.call("web3_clientVersion")))
    except RpcError:
        pass  # many hide it
    genesis = await _hash(rpc, "0x0")
    latest = await _hash(rpc, "latest")
    questions: list[tuple[str, str, tuple[Any, ...]]] = [
        ("eth_getBlockReceipts", "eth_getBlockReceipts", ("0x0",)),
        ("trace_block", "trace_block", ("0x0",)),
        ("txpool_content", "txpool_status", ()),  # of the same namespace, and small
        ("eth_getProof", "eth_getProof", (NOBODY, [], "latest")),
    ]
    if genesis is not None:
        tracer = {"tracer": "callTracer"}
        questions.append(("debug_traceBlockByHash", "debug_traceBlockByHash", (genesis, tracer)))
    if latest is not None:
        questions.append(("blockHash", "eth_getBalance", (NOBODY, {"blockHash": latest})))
    for capability, method, params in questions:
        if known.supports(name, capability) is None:
            _note(known, name, capability, await _offers(rpc, method, params))
    for tag in ("safe", "finalized"):
        if known.supports(name, tag) is None:
            _note(known, name, tag, await _hash(rpc, tag) is not None)


async def ask_offering(
    known: Capabilities, names: Iterable[str], rpc_of: Callable[[str], JsonRpc], capability: str, method: str,
    *params: Any, type: Any = Any,
) -> Any:  # fmt: skip
    """The answer of the first endpoint that offers a capability; those that are known to refuse it are not asked.

    Raises
    ------
    MethodUnsupported : none offers it
    ChainUnavailable : those that may offer it gave no answer
    """
    failure: ChainUnavailable | None = None
    for name in names:
        if known.supports(name, capability) is False:
            continue
        try:
            answer = await rpc_of(name).call(method, *params, type=type)
        except MethodUnsupported:
            known.refuse(name, capability)
        except RpcError:
            raise
        except ChainUnavailable as error:
            failure = failure or error
        else:
            known.offer(name, capability)
            return answer
    raise failure or MethodUnsupported(f"{method}: no endpoint offers it")


def _note(known: Capabilities, name: str, capability: str, offers: bool | None) -> None:
    if offers is not None:
        (known.offer if offers else known.refuse)(name, capability)


async def _hash(rpc: JsonRpc, place: str) -> str | None:
    """The hash of a block; None where the endpoint has or knows no such place."""
    try:
        block = await rpc.call("eth_getBlockByNumber", place, False)
    except RpcError:
        return None
    except Unanswered as error:
        if Kind.ERROR not in error.kinds:
            raise
        return None
    found = block.get("hash") if isinstance(block, dict) else None
    return found if isinstance(found, str) else None


async def _offers(rpc: JsonRpc, method: str, params: tuple[Any, ...]) -> bool | None:
    try:
        await rpc.call(method, *params)
    except MethodUnsupported:
        return False
    except RpcError:
        return True
    except Unanswered as error:
        if Kind.ERROR in error.kinds:  # geth: "genesis is not traceable", from a node that traces
            return True if "traceable" in str(error) else None
        raise
    return True
