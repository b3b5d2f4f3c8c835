"""Reading traces: by ``trace_block`` or geth's ``callTracer``, whichever an endpoint offers, as the owner wants.

``traces: auto`` (where offered), ``off`` or ``required`` in the chain's options. Traces are heavy, and contracts are
made that no node traces in time: where a node fails to give them, or gives those of another block again and again, the
block goes on without, and its blind spot says so. Unless they are required, nothing of theirs may stop a chain.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from chains.evm.calls import ParityTrace, Traced, TxFrame, from_frames, from_parity
from chains.evm.nodes import EvmNodes
from chains.evm.wire import RpcBlock
from chains.exchange import MethodUnsupported, RpcError
from chains.patience import READS
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError

__all__ = ["MODES", "Traces", "mode_of"]

log = logging.getLogger(__name__)

MODES = ("auto", "off", "required")
TRACER: Mapping[str, Any] = {"tracer": "callTracer"}
KEPT = 64  # blocks whose contradictions are counted at a time
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
        self._odd: dict[str, int] = {}  # blocks whose traces contradicted them, and how often

    async def of(self, block: RpcBlock) -> Traced | None:
        """The calls of a block; None where nobody offers traces, or they are not wanted.

        Raises
        ------
        ChainUnavailable : they are required, and cannot be had
        ChainInconsistent : they are not those of this block; not for ever, where they are not required
        """
        if self._mode == "off":
            return None
        if not block.transactions and not _was_mined(block):
            return Traced(())
        try:
            traced = await self._read(block)
        except MethodUnsupported as error:
            self._allow(error)
            return None
        except ChainInconsistent as error:
            if not self._is_enough(block.hash):
                raise
            log.warning("%s: block %s goes on without traces: %s", self._nodes.spec.name, block.hash[:66], error)
            return None
        except ChainUnavailable as error:
            self._failures += 1
            if self._failures == PATIENCE:
                log.warning("%s: no traces: %s", self._nodes.spec.name, error)
            self._allow(error)
            return None
        self._failures = 0
        return traced

    def _is_enough(self, hash: str) -> bool:
        """Whether the traces of a block contradicted it as often as it is read."""
        times = self._odd.pop(hash, 0) + 1
        self._odd[hash] = times
        if len(self._odd) > KEPT:
            del self._odd[next(iter(self._odd))]
        return times >= READS and self._mode != "required"

    def _allow(self, error: ChainUnavailable) -> None:
        """Go on without traces, unless they are required."""
        if self._mode == "required":
            raise ChainUnavailable(f"{self._nodes.spec.name}: traces are required: {error}") from None

    async def _read(self, block: RpcBlock) -> Traced:
        try:
            flat = await self._nodes.ask("trace_block", "trace_block", block.number, type=list[ParityTrace])
        except MethodUnsupported:
            pass
        except RpcError as error:
            log.debug("%s: trace_block: %s", self._nodes.spec.name, error)
        else:
            if flat is None:
                raise ChainInconsistent(f"block {block.hash} has gone while it was traced")
            return from_parity(flat, block.hash.lower(), _hashes(block), _silent(block))
        frames = await self._nodes.ask(
            "debug_traceBlockByHash", "debug_traceBlockByHash", block.hash, TRACER, type=list[TxFrame]
        )
        if frames is None:
            raise ChainInconsistent(f"block {block.hash} has gone while it was traced")
        return from_frames(frames, _hashes(block), _silent(block))


def _hashes(block: RpcBlock) -> list[str]:
    return [tx.hash for tx in block.transactions]


def _silent(block: RpcBlock) -> set[int]:
    """Positions of transactions of the system, which some tracers leave out."""
    return {at for at, tx in enumerate(block.transactions) if tx.is_system}


def _was_mined(block: RpcBlock) -> bool:
    """Whether its miner may have got a reward, which traces tell even where there are no transactions."""
    return bool((block.difficulty or "").strip("0x"))
