"""Control events as changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monitor.model import ControlEvent, ControlKind, Reading
from monitor.policies.control.change import Change, How, address_or_zero
from monitor.policies.control.known import SETS

__all__ = ["change_of", "in_force"]

_OWNER_KEYS = {"added": "owners", "removed": "owners", "transferred": "owner", "started": "pending_owner"}
_PLAIN_KEYS = {
    ControlKind.THRESHOLD_CHANGE: "threshold",
    ControlKind.MODULE_CHANGE: "modules",
    ControlKind.FALLBACK_CHANGE: "fallback",
    ControlKind.ROLE_CHANGE: "role",
    ControlKind.DELAY_CHANGE: "delay",
    ControlKind.DELEGATION: "delegate",
    ControlKind.DELEGATE_CALL: "delegate_call",
    ControlKind.REFUND: "refund",
    ControlKind.PROPOSAL: "proposal",
    ControlKind.SIGNATORY_CHANGE: "signatories",
    ControlKind.IMPORTANCE_TRANSFER: "importance",
}
_SLOTS = {"beacon": "beacon", "diamond": "facets"}
_GONE = ("removed", "disabled", "revoked", "remove")


def change_of(event: ControlEvent, known: Mapping[str, str], values: Mapping[str, str]) -> Change | None:
    """The change that an event tells of; None for approvals, which are judged elsewhere.

    Parameters
    ----------
    known : what was known of the account before the event
    values : what is known of it after the event's block
    """
    key = _key(event.kind, event.detail)
    if key is None:
        return None
    said = event.detail.get("before", None if key in SETS else known.get(key))
    return Change(
        kind=event.kind,
        account=event.account,
        key=key,
        value=event.subject,
        before=None if said is None else address_or_zero(str(said)),
        how=_how(event.detail),
        detail=event.detail,
        values=values,
        tx=event.tx,
    )


def _key(kind: ControlKind, detail: Mapping[str, Any]) -> str | None:
    if kind is ControlKind.OWNER_CHANGE:
        change = str(detail.get("change", ""))
        return "admin" if change == "admin" else _OWNER_KEYS.get(change, "owner")
    if kind is ControlKind.IMPLEMENTATION_CHANGE:
        return _SLOTS.get(str(detail.get("slot", "")), "implementation")
    if kind is ControlKind.GUARD_CHANGE:
        return "module_guard" if detail.get("which") == "module_guard" else "guard"
    return _PLAIN_KEYS.get(kind)


def _how(detail: Mapping[str, Any]) -> How:
    change = str(detail.get("change", ""))
    if change in ("added", "enabled", "granted"):
        return How.ADDED
    return How.REMOVED if change in _GONE else How.SET


def in_force(events: Sequence[ControlEvent], readings: Sequence[Reading]) -> Iterator[ControlEvent]:
    """Events without authorizations (EIP-7702) that had no effect.

    Anybody may bring an old authorization to the chain again, and then it does nothing. So where the account's code was
    read after the block and shows another delegate, one that stands alone is left out.
    """
    read = {r.account: r.values["delegate"] for r in readings if "delegate" in r.values}
    named: dict[str, set[str]] = {}
    for event in events:
        if event.kind is ControlKind.DELEGATION:
            named.setdefault(event.account, set()).add(_bare(event.subject))
    for event in events:
        if event.kind is ControlKind.DELEGATION and event.account in read:
            now = read[event.account]
            if now not in named[event.account]:
                continue
        yield event


def _bare(address: str) -> str:
    return address if address[2:].strip("0") else ""
