"""Which past blocks have calls of watched accounts, or to them: by ``trace_filter``, where an endpoint offers it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chains.evm.nodes import EvmNodes
from chains.exchange import MethodUnsupported
from chains.throttle import Throttle
from monitor.errors import ChainUnavailable

__all__ = ["TraceFilter"]

FIRST_BLOCKS = 256  # of one question
MOST_BLOCKS = 10_000
IN_A_FILTER = 500  # addresses of one question


class _Placed(msgspec.Struct, rename="camel"):
    """A trace, of which only its block matters here."""

    block_hash: str


class TraceFilter:
    """Asks for the blocks of calls; ranges adapt to what the endpoint gives at once.

    Parameters
    ----------
    nodes : knows what each endpoint offers
    accounts : canonical addresses
    throttle : of all questions
    """

    def __init__(self, nodes: EvmNodes, accounts: Sequence[str], throttle: Throttle) -> None:
        self._nodes, self._throttle = nodes, throttle
        parts = [list(accounts[at : at + IN_A_FILTER]) for at in range(0, len(accounts), IN_A_FILTER)]
        self._filters = [{side: part} for part in parts for side in ("fromAddress", "toAddress")]
        self._step = FIRST_BLOCKS

    async def blocks(self, start: int, end: int) -> set[str] | None:
        """Hashes of the blocks from ``start`` to ``end`` (exclusive) with such calls; None where nobody tells them."""
        found: set[str] = set()
        at = start
        while at < end:
            upto = min(end, at + self._step)
            try:
                found |= await self._ask(at, upto)
            except MethodUnsupported:
                return None
            except ChainUnavailable:
                if upto - at == 1:
                    return None
                self._step = max(1, (upto - at) // 2)
                continue
            at = upto
            self._step = min(MOST_BLOCKS, self._step * 2)
        return found

    async def _ask(self, start: int, end: int) -> set[str]:
        found: set[str] = set()
        reach = {"fromBlock": hex(start), "toBlock": hex(end - 1)}
        for wanted in self._filters:
            await self._throttle.take()
            asked = {**reach, **wanted}
            traces = await self._nodes.ask("trace_filter", "trace_filter", asked, type=list[_Placed])
            found |= {trace.block_hash.lower() for trace in traces or ()}
        return found
