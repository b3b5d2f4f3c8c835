"""Transactions that are proposed to a Safe and not executed: what they would do. Pure.

Source: the public API of the Safe Transaction Service, ``multisig-transactions`` of version 1
(https://docs.safe.global/core-api/transaction-service-overview). Version 2 writes numbers as text; both are read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chains.evm.abi import bytes_of
from chains.evm.controls.calldata import EXECUTE
from chains.evm.controls.control import ZERO, Control
from chains.evm.controls.effects import Call, Effect, Move, effects_of
from monitor.model import ControlKind

__all__ = ["PAYMENT", "Confirmation", "Proposed", "proposal_of"]

PAYMENT = "payment"
MOST_NAMED = 200  # addresses in one detail
_ROUTINE = (ControlKind.APPROVAL, ControlKind.DELEGATION, ControlKind.PROPOSAL)


class Confirmation(msgspec.Struct, rename="camel"):
    """That an owner signed."""

    owner: str = ""


class Proposed(msgspec.Struct, rename="camel"):
    """One transaction as the service lists it."""

    to: str
    nonce: Any
    safe_tx_hash: str
    value: Any = 0
    data: str | None = None
    operation: Any = 0
    base_gas: Any = 0
    gas_price: Any = 0
    gas_token: str | None = None
    refund_receiver: str | None = None
    proposer: str | None = None
    is_executed: bool = False
    trusted: bool = True
    confirmations_required: Any = None
    confirmations: list[Confirmation] | None = None

    @property
    def signatures(self) -> int:
        """How many owners signed."""
        return len({one.owner.lower() for one in self.confirmations or ()})


def proposal_of(proposed: Proposed, safe: str, chain: str, threshold: int | None = None) -> Control | None:
    """What a proposed transaction of ``safe`` (lower case) would do; None where it changes and pays nothing.

    ``would`` lists kinds of control, and `PAYMENT`. ``delegates`` are the contracts whose code would run in the Safe's
    name, ``receivers`` whom it would pay. Approvals are left out: they are a Safe's daily work, and told when given.

    Parameters
    ----------
    threshold : of the Safe, where it is known

    Raises
    ------
    ValueError : it makes no sense
    """
    needed = threshold if threshold is not None else _optional(proposed.confirmations_required)
    effects = effects_of(Call(ZERO, safe, 0, _calldata(proposed), chain))
    kept = [one for one in effects if _matters(one, safe, needed)]
    would = sorted({one.kind.value if isinstance(one, Control) else PAYMENT for one in kept})
    if not would:
        return None
    delegates = [one.subject for one in kept if isinstance(one, Control) and one.kind is ControlKind.DELEGATE_CALL]
    receivers = [one.receiver for one in kept if isinstance(one, Move)]
    detail = {
        "would": ",".join(would), "to": _address(proposed.to), "value": str(_number(proposed.value)),
        "nonce": str(_number(proposed.nonce)), "confirmations": str(proposed.signatures),
    }  # fmt: skip
    if needed is not None:
        detail["threshold"] = str(needed)
    if proposed.proposer:
        detail["proposer"] = _address(proposed.proposer)
    for name, named in (("delegates", delegates), ("receivers", receivers)):
        if named:
            detail[name] = ",".join(sorted(set(named))[:MOST_NAMED])
    return Control(ControlKind.PROPOSAL, safe, _hash(proposed.safe_tx_hash), detail)


def _matters(effect: Effect, safe: str, threshold: int | None) -> bool:
    if isinstance(effect, Move):
        return effect.sender == safe and effect.receiver != safe and effect.value > 0
    if effect.kind is ControlKind.THRESHOLD_CHANGE and effect.subject == str(threshold):
        return False  # adding an owner names the threshold in any case
    return effect.kind not in _ROUTINE


def _calldata(proposed: Proposed) -> bytes:
    """The call of ``execTransaction`` that would execute it, without signatures."""
    inner = bytes_of(proposed.data or "0x")
    tail = 32 + (len(inner) + 31) // 32 * 32
    numbers = (
        int(_address(proposed.to), 16), _number(proposed.value), 320, _number(proposed.operation), 0,
        _number(proposed.base_gas), _number(proposed.gas_price), int(_address(proposed.gas_token or ZERO), 16),
        int(_address(proposed.refund_receiver or ZERO), 16), 320 + tail, len(inner),
    )  # fmt: skip
    head = b"".join(number.to_bytes(32, "big") for number in numbers)
    return EXECUTE + head + inner.ljust(tail - 32, b"\0") + bytes(32)


def _address(text: str) -> str:
    if len(text) != 42 or text[:2] not in ("0x", "0X"):
        raise ValueError("not an address")
    return f"0x{int(text[2:], 16):040x}"


def _hash(text: str) -> str:
    if len(text) != 66 or text[:2] != "0x":
        raise ValueError("not a hash")
    return f"0x{int(text[2:], 16):064x}"


def _number(value: object) -> int:
    if isinstance(value, str) and len(value) <= 80 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**256:
        raise ValueError("not a number")
    return value


def _optional(value: object) -> int | None:
    return None if value is None else _number(value)
