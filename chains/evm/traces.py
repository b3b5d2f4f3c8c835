"""Reading traces: by ``trace_block`` or geth's ``callTracer``, whichever an endpoint offers, as the owner wants.

``traces: auto`` (where offered), ``off`` or ``required`` in the chain's options. Traces are heavy: where a node fails
to give them in time, the block goes on without, and its blind spot says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from chains.evm.calls import ParityTrace, Traced, TxFrame, from_frames, from_parity
from chains.evm.nodes import EvmNodes
from chains.evm.wire import RpcBlock
from chains.exchange import MethodUnsupported, RpcError
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError

__all__ = ["MODES", "Traces", "mode_of"]

log = logging.getLogger(__name__)

MODES = ("auto", "off", "required")
TRACER: Mapping[str, Any] = {"tracer": "callTracer"}
PATIENCE = 3  # blocks in a row that may fail before the log says so


def mode_of(options: Mapping[str, Any] | None) -> str:
    """What the options say of traces; ConfigError where they say nonsense."""
    mode = (options or {}).get("traces", "auto")
    mode = {True: "required", False: "off"}.get(mode, mode) if isinstance(mode, bool) else mode  # YAML reads on and off
    if mode not in MODES:
        raise ConfigError(f"options.traces is {mode!r}, expected auto, off or required")
    return str(mode)


class Traces:
    """Reads the traces of blocks.

    Parameters
    ----------
    nodes : knows what each endpoint offers
    mode : one of `MODES`
    """

    def __init__(self, nodes: EvmNodes, mode: str = "auto") -> None:
        self._nodes, self._mode = nodes, mode
        self._failures = 0

    async def of(self, block: RpcBlock) -> Traced | None:
        """The calls of a block; None where nobody offers traces, or they are not wanted.

        Raises
        ------
        ChainUnavailable : they are required, and cannot be had
        ChainInconsistent : they are not those of this block
        """
        if self._mode == "off":
            return None
        if not block.transactions:
            return Traced(())
        try:
            traced = await self._read(block)
        except MethodUnsupported as error:
            self._allow(error)
            return None
        except ChainInconsistent:
            raise
        except ChainUnavailable as error:
            self._failures += 1
            if self._failures == PATIENCE:
                log.warning("%s: no traces: %s", self._nodes.spec.name, error)
            self._allow(error)
            return None
        self._failures = 0
        return traced

    def _allow(self, error: ChainUnavailable) -> None:
        """Go on without traces, unless they are required."""
        if self._mode == "required":
            raise ChainUnavailable(f"{self._nodes.spec.name}: traces are required: {error}") from None

    async def _read(self, block: RpcBlock) -> Traced:
        transactions, hash = [tx.hash for tx in block.transactions], block.hash.lower()
        try:
            flat = await self._nodes.ask("trace_block", "trace_block", block.number, type=list[ParityTrace])
        except MethodUnsupported:
            pass
        except RpcError as error:
            log.debug("%s: trace_block: %s", self._nodes.spec.name, error)
        else:
            if flat is None:
                raise ChainInconsistent(f"block {block.hash} has gone while it was traced")
            return from_parity(flat, hash, transactions)
        frames = await self._nodes.ask(
            "debug_traceBlockByHash", "debug_traceBlockByHash", block.hash, TRACER, type=list[TxFrame]
        )
        if frames is None:
            raise ChainInconsistent(f"block {block.hash} has gone while it was traced")
        return from_frames(frames, transactions)
