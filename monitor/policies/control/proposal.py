"""CT-8: what is proposed to a Safe, or waits in a time lock, and is not executed yet."""

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
        strangers = [one for one in _named(detail, "receivers") or [target] if not facts.expects(one)]
        if not ready or not strangers:
            return None
        severity, suspect = Severity.LOW, strangers[0]
    else:
        severity, suspect = Severity.HIGH if signed else Severity.MEDIUM, ""
        if ready and would & _GRAVE:
            severity = Severity.CRITICAL
        if ControlKind.DELEGATE_CALL in would:
            suspect = next((one for one in _foreign(detail) if one != change.account), "")
    what = ", ".join(sorted(word.replace("_", " ") for word in would))
    of = f"{signed if signed is not None else '?'} of {needed if needed is not None else '?'} signatures"
    if "nonce" in detail:
        text = f"transaction {change.value} (nonce {detail['nonce']}), proposed to Safe {change.account}, has {of}"
    else:
        text = f"operation {change.value} waits in time lock {change.account}"
    text += f": {what}, to {facts.named(suspect or target)}; nothing has happened yet"
    return Verdict("CT-8", severity, text, suspect)


def _would(detail: Mapping[str, Any]) -> set[str]:
    """What it would do; a delegatecall of a released library is no change by itself, unless it hides another one."""
    would = set(filter(None, (word.strip() for word in str(detail.get("would") or "").split(","))))
    if not _foreign(detail):
        would.discard(ControlKind.DELEGATE_CALL)
    return would


def _foreign(detail: Mapping[str, Any]) -> list[str]:
    """Contracts whose code would run in the Safe's name and that are no released libraries."""
    code, target = detail.get("target_code"), str(detail.get("to") or "")
    called = _named(detail, "delegates") or [target]
    return [
        one for one in called
        if library_of(one, str(code) if code is not None and one == target else None) is None
    ]  # fmt: skip


def _named(detail: Mapping[str, Any], name: str) -> list[str]:
    """Addresses joined by commas."""
    return [one for one in str(detail.get(name) or "").split(",") if one]


def _number(detail: Mapping[str, Any], name: str) -> int | None:
    text = str(detail.get(name, ""))
    return int(text) if text.isdecimal() else None
