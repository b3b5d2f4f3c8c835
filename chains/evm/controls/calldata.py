"""What a Safe is told to do: delegate calls, and refunds that pay whoever executes.

A delegate call runs somebody else's code with the Safe's own storage: it can change anything without an event. Batches
of the released MultiSend libraries are taken apart, so that a delegate call hidden inside of one is found too.

Source: ``Safe.sol`` and ``MultiSend.sol`` of the Safe contracts 1.0 to 1.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chains.evm.abi import topic
from chains.evm.controls.control import ZERO, Control
from monitor.model import ControlKind

__all__ = ["EXECUTE", "FROM_MODULE", "SAFE_CALLS", "Execution", "executions", "safe_controls"]

EXECUTE = bytes.fromhex(
    topic("execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)")[2:10]
)
FROM_MODULE = bytes.fromhex(topic("execTransactionFromModule(address,uint256,bytes,uint8)")[2:10])
FROM_MODULE_DATA = bytes.fromhex(topic("execTransactionFromModuleReturnData(address,uint256,bytes,uint8)")[2:10])
MULTISEND = bytes.fromhex(topic("multiSend(bytes)")[2:10])
SAFE_CALLS = frozenset("0x" + head.hex() for head in (EXECUTE, FROM_MODULE, FROM_MODULE_DATA))
DEEPEST = 4  # batches within batches
MOST_CALLS = 500  # of a batch
MOST_BASE_GAS = 1_000_000  # signatures and data of a Safe transaction cost no more: what is above is a payment


@dataclass(frozen=True, slots=True)
class Execution:
    """A call that a Safe makes. ``depth`` counts the batches around it."""

    to: str
    value: int
    data: bytes
    delegate: bool
    depth: int = 0
    refund_receiver: str = ZERO
    gas_token: str = ZERO
    gas_price: int = 0
    base_gas: int = 0

    @property
    def is_siphon(self) -> bool:
        """Whether its refund may carry coins away: in a token at any price, in ether where the gas is made up."""
        refunds = self.gas_price > 0 and self.refund_receiver != ZERO
        return refunds and (self.gas_token != ZERO or self.base_gas > MOST_BASE_GAS)


def executions(data: bytes) -> Iterator[Execution]:
    """The calls that a Safe makes when it is called with this data, batches first, then what is in them."""
    outer = _outer(data)
    if outer is not None:
        yield outer
        yield from _inside(outer)


def safe_controls(account: str, data: bytes) -> list[Control]:
    """Delegate calls and refunds in what a Safe is called with; nothing where it is no such call."""
    found = []
    for call in executions(data):
        if call.delegate:
            found.append(Control(ControlKind.DELEGATE_CALL, account, call.to, {"depth": str(call.depth)}))
        if call.is_siphon:
            detail = {"gas_token": call.gas_token, "gas_price": str(call.gas_price)}
            found.append(Control(ControlKind.REFUND, account, call.refund_receiver, detail))
    return list({(c.kind, c.subject): c for c in reversed(found)}.values())[::-1]


def _outer(data: bytes) -> Execution | None:
    head, body = data[:4], data[4:]
    if head not in (EXECUTE, FROM_MODULE, FROM_MODULE_DATA):
        return None
    words = 10 if head == EXECUTE else 4
    if len(body) < 32 * words:
        return None
    inner = _bytes(body, _word(body, 2))
    if inner is None:
        return None
    made = Execution(_address(body, 0), _word(body, 1), inner, _word(body, 3) == 1)
    if head != EXECUTE:
        return made
    return Execution(
        made.to, made.value, inner, made.delegate,
        refund_receiver=_address(body, 8), gas_token=_address(body, 7), gas_price=_word(body, 6),
        base_gas=_word(body, 5),
    )  # fmt: skip


def _inside(call: Execution) -> Iterator[Execution]:
    """What a batch makes of a call: only a delegate call runs it in the Safe's name."""
    if not call.delegate or call.data[:4] != MULTISEND or call.depth >= DEEPEST:
        return
    packed = _bytes(call.data[4:], _word(call.data[4:], 0))
    if packed is None:
        return
    at = count = 0
    while at + 85 <= len(packed) and count < MOST_CALLS:
        size = int.from_bytes(packed[at + 53 : at + 85], "big")
        if size > len(packed) - at - 85:
            return
        data = packed[at + 85 : at + 85 + size]
        to, value = "0x" + packed[at + 1 : at + 21].hex(), int.from_bytes(packed[at + 21 : at + 53], "big")
        inner = Execution(to, value, data, packed[at] == 1, call.depth + 1)
        yield inner
        yield from _inside(inner)
        at, count = at + 85 + size, count + 1


def _word(data: bytes, place: int) -> int:
    return int.from_bytes(data[32 * place : 32 * place + 32], "big")


def _address(data: bytes, place: int) -> str:
    return "0x" + data[32 * place + 12 : 32 * place + 32].rjust(20, b"\0").hex()


def _bytes(data: bytes, offset: int) -> bytes | None:
    """Dynamic bytes at an offset; None where they lie outside of the data."""
    if offset + 32 > len(data):
        return None
    size = int.from_bytes(data[offset : offset + 32], "big")
    if size > len(data) - offset - 32:
        return None
    return data[offset + 32 : offset + 32 + size]
