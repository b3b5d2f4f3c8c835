"""Internal calls: what contracts moved inside of a block's transactions, from traces of either kind. Pure.

A call moves value where it is a ``CALL`` or a ``CREATE`` with value, or a ``SELFDESTRUCT`` (all that is left goes to
the heir). ``DELEGATECALL`` shows the value of the call around it, ``CALLCODE`` keeps it where it is, ``STATICCALL`` has
none. The outermost call is the transaction itself. What lies under a call that failed has not happened.

Forms: the flat traces of Parity's ``trace_block``, and the frames of geth's ``callTracer``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chains.evm.wire import LONGEST
from monitor.errors import ChainInconsistent, ChainUnavailable

__all__ = ["Frame", "InternalCall", "ParityTrace", "Reward", "Traced", "TxFrame", "from_frames", "from_parity"]

DEEPEST = 1100  # calls within calls: the EVM allows 1,024


@dataclass(frozen=True, slots=True)
class InternalCall:
    """A call inside of transaction number ``position`` of its block; ``value`` in wei, 0 where it moved none.

    ``kind`` is ``call``, ``delegatecall``, ``callcode``, ``staticcall``, ``create`` or ``suicide``; ``depth`` 0 is the
    transaction itself. ``input`` is hex.
    """

    position: int
    kind: str
    sender: str
    receiver: str
    value: int
    depth: int
    input: str = "0x"

    @property
    def moves(self) -> bool:
        """Whether it moved value by itself."""
        return self.value > 0 and self.depth > 0 and self.kind in ("call", "create", "suicide")


@dataclass(frozen=True, slots=True)
class Reward:
    """What a block's miner, or that of an uncle, was given; wei."""

    receiver: str
    value: int
    kind: str  # block | uncle | external


@dataclass(frozen=True, slots=True)
class Traced:
    """All calls of a block that took effect, in the order in which they were begun.

    ``whole`` is False where the node left out what a ``SELFDESTRUCT`` moved, as geth's first tracer did.
    """

    calls: tuple[InternalCall, ...]
    rewards: tuple[Reward, ...] = ()
    whole: bool = True


class ParityAction(msgspec.Struct, rename="camel", gc=False):
    """What a flat trace did; which fields there are depends on its kind."""

    sender: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    value: Any = None
    call_type: str | None = None
    input: str | None = None
    address: str | None = None
    refund_address: str | None = None
    balance: Any = None
    author: str | None = None
    reward_type: str | None = None


class ParityResult(msgspec.Struct, gc=False):
    """What a call gave: of interest is the address that a creation made."""

    address: str | None = None


class ParityTrace(msgspec.Struct, rename="camel", gc=False):
    """One flat trace."""

    action: ParityAction
    type: str
    trace_address: tuple[int, ...] = ()
    result: ParityResult | None = None
    error: str | None = None
    transaction_position: int | None = None
    transaction_hash: str | None = None
    block_hash: str | None = None


class Frame(msgspec.Struct, rename="camel"):
    """One call of geth's ``callTracer``, with those inside of it."""

    type: str
    sender: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    value: Any = None
    input: str | None = None
    error: str | None = None
    calls: list[Frame] = []


class TxFrame(msgspec.Struct, rename="camel"):
    """The frames of one transaction."""

    result: Frame | None = None
    tx_hash: str | None = None
    error: str | None = None


def from_parity(
    traces: Sequence[ParityTrace],
    hash: str = "",
    transactions: Sequence[str] | None = None,
    silent: Container[int] = (),
) -> Traced:
    """The calls of a block from its flat traces.

    Parameters
    ----------
    hash : of the block; "" does not compare
    transactions : hashes of its transactions; None does not compare
    silent : positions of those that may be without traces: of the system, which run no code

    Raises
    ------
    ChainInconsistent : traces of another block, of other transactions, or not of all
    """
    calls: list[InternalCall] = []
    rewards: list[Reward] = []
    failed: set[tuple[int, ...]] = set()
    seen: set[int] = set()
    current: int | None = None
    for trace in traces:
        if hash and trace.block_hash is not None and trace.block_hash.lower() != hash:
            raise ChainInconsistent(f"trace of another block {trace.block_hash[:66]}")
        if trace.type == "reward":
            if trace.action.author and (value := _number(trace.action.value)):
                rewards.append(Reward(trace.action.author.lower(), value, trace.action.reward_type or "block"))
            continue
        position = trace.transaction_position
        if position is None:
            continue
        if position != current:
            current, failed = position, set()
            seen.add(position)
            _check(transactions, position, trace.transaction_hash)
        path = trace.trace_address
        if trace.error is not None or any(path[:length] in failed for length in range(len(path))):
            failed.add(path)
            continue
        calls.append(_of_parity(trace, position))
    count = len(transactions or ())
    if missing := sum(at not in seen and at not in silent for at in range(count)):
        raise ChainInconsistent(f"no traces of {missing} transactions, the block has {count}")
    return Traced(tuple(calls), tuple(rewards))


def from_frames(
    results: Sequence[TxFrame], transactions: Sequence[str] | None = None, silent: Container[int] = ()
) -> Traced:
    """The calls of a block from the frames of its transactions; parameters as for `from_parity`.

    Raises
    ------
    ChainInconsistent : they are not those of its transactions
    ChainUnavailable : a transaction could not be traced (in the time that a node takes for it, say)
    """
    positions = list(range(len(results) if transactions is None else len(transactions)))
    if len(results) != len(positions):
        positions = [at for at in positions if at not in silent]
    if len(results) != len(positions):
        raise ChainInconsistent(f"traces of {len(results)} transactions, the block has {len(transactions or ())}")
    calls: list[InternalCall] = []
    for position, traced in zip(positions, results, strict=True):
        _check(transactions, position, traced.tx_hash)
        if traced.result is None:
            raise ChainUnavailable(f"transaction {position} could not be traced")
        calls.extend(_walk(traced.result, position))
    whole = all(call.kind != "suicide" or call.receiver for call in calls)
    return Traced(tuple(calls), whole=whole)


def _walk(root: Frame, position: int) -> Iterator[InternalCall]:
    """A frame and those inside of it that took effect, outermost first; without recursion, the nesting is hostile."""
    stack = [(root, 0)]
    while stack:
        frame, depth = stack.pop()
        if frame.error is not None or depth > DEEPEST:
            continue
        yield _of_frame(frame, position, depth)
        stack.extend((inner, depth + 1) for inner in reversed(frame.calls))


def _of_frame(frame: Frame, position: int, depth: int) -> InternalCall:
    kind = {"CREATE": "create", "CREATE2": "create", "SELFDESTRUCT": "suicide"}.get(frame.type, frame.type.lower())
    sender, receiver = (frame.sender or "").lower(), (frame.to or "").lower()
    value = 0 if kind == "suicide" and sender == receiver else _number(frame.value)
    return InternalCall(position, kind, sender, receiver, value, depth, frame.input or "0x")


def _of_parity(trace: ParityTrace, position: int) -> InternalCall:
    action, depth = trace.action, len(trace.trace_address)
    kind, receiver, value = action.call_type or "call", action.to, action.value
    sender, input = action.sender, action.input or "0x"
    if trace.type == "create":
        kind, receiver = "create", trace.result.address if trace.result is not None else None
    elif trace.type == "suicide":
        kind, sender, receiver, value = "suicide", action.address, action.refund_address, action.balance
        depth = max(1, depth)
    sender, receiver = (sender or "").lower(), (receiver or "").lower()
    amount = 0 if kind == "suicide" and sender == receiver else _number(value)  # the heir is the dead: nothing moves
    return InternalCall(position, kind, sender, receiver, amount, depth, input)


def _check(transactions: Sequence[str] | None, position: int, hash: str | None) -> None:
    if transactions is None or hash is None:
        return
    if not 0 <= position < len(transactions) or transactions[position].lower() != hash.lower():
        raise ChainInconsistent(f"trace of another transaction {hash[:66]}")


def _number(quantity: object) -> int:
    """Wei; 0 where there is none, or it makes no sense."""
    if isinstance(quantity, int) and not isinstance(quantity, bool):
        return max(0, quantity)
    try:
        return int(quantity[:LONGEST], 16) if isinstance(quantity, str) and quantity[:2] == "0x" else 0
    except ValueError:
        return 0
