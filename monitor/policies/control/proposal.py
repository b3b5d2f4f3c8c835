"""CT-8: transactions of a Safe that are proposed and signed, and not executed yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.model import ControlKind, Severity
from monitor.policies.control.change import Change
from monitor.policies.control.released import library_of
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["proposal"]

_PAYMENT = "payment"
_GRAVE = frozenset(
    {
        ControlKind.IMPLEMENTATION_CHANGE, ControlKind.DELEGATE_CALL, ControlKind.MODULE_CHANGE,
        ControlKind.GUARD_CHANGE, ControlKind.THRESHOLD_CHANGE, ControlKind.DELEGATION, ControlKind.REFUND,
    }
)  # fmt: skip


def proposal(change: Change, facts: Facts) -> Verdict | None:
    """By what it would do and how many signed; a payment to an expected address is nothing.

    A change of control is medium without a signature and high with some. With enough of them anybody may execute it,
    and what would be critical then is critical now. A payment is low, once it has enough.
    """
    detail = change.detail
    would, target = _would(detail), str(detail.get("to") or "")
    if not would:
        return None
    signed, needed = _number(detail, "confirmations"), _number(detail, "threshold")
    ready = needed is not None and signed is not None and signed >= needed
    if would == {_PAYMENT}:
        if not ready or facts.expects(target):
            return None
        severity, suspect = Severity.LOW, target
    else:
        severity, suspect = Severity.HIGH if signed else Severity.MEDIUM, ""
        if ready and would & _GRAVE:
            severity = Severity.CRITICAL
        if ControlKind.DELEGATE_CALL in would and target != change.account:
            suspect = target
    what = ", ".join(sorted(word.replace("_", " ") for word in would))
    of = f"{signed if signed is not None else '?'} of {needed if needed is not None else '?'} signatures"
    text = (
        f"proposed transaction {change.value} (nonce {detail.get('nonce', '?')}) of Safe {change.account} to "
        f"{facts.named(target)} has {of}: {what}; nothing has happened yet"
    )
    return Verdict("CT-8", severity, text, suspect)


def _would(detail: Mapping[str, Any]) -> set[str]:
    """What it would do; a delegatecall of a released library is no change by itself."""
    would = set(filter(None, (word.strip() for word in str(detail.get("would") or "").split(","))))
    code = detail.get("target_code")
    target = str(detail.get("to") or "")
    if library_of(target, None if code is None else str(code)) is not None:
        would.discard(ControlKind.DELEGATE_CALL)
    return would


def _number(detail: Mapping[str, Any], name: str) -> int | None:
    text = str(detail.get(name, ""))
    return int(text) if text.isdecimal() else None
