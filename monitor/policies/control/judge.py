"""Which judge a change belongs to."""

from __future__ import annotations

from monitor.model import ControlKind
from monitor.policies.control import delegation, ownership, proposal, proxy, safe
from monitor.policies.control.change import Change
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["judged"]


def judged(change: Change, facts: Facts) -> Verdict | None:
    """What a change means; None: nothing that anybody must hear of."""
    match change.kind:
        case ControlKind.IMPLEMENTATION_CHANGE:
            of_safe = change.key in ("implementation", "implementation_code") and safe.is_safe(change, facts)
            if change.key == "implementation_code" and change.values.get("delegate"):
                return delegation.other_code(change, facts)
            return safe.implementation(change, facts) if of_safe else proxy.upgrade(change, facts)
        case ControlKind.OWNER_CHANGE:
            if change.key == "owners":
                return safe.owners(change, facts)
            return proxy.admin(change, facts) if change.key == "admin" else ownership.owner(change, facts)
        case ControlKind.THRESHOLD_CHANGE:
            return safe.threshold(change, facts)
        case ControlKind.MODULE_CHANGE | ControlKind.GUARD_CHANGE | ControlKind.FALLBACK_CHANGE:
            return safe.extension(change, facts)
        case ControlKind.DELEGATE_CALL:
            return safe.delegate_call(change, facts)
        case ControlKind.REFUND:
            return safe.refund(change, facts)
        case ControlKind.ROLE_CHANGE:
            return ownership.role(change, facts)
        case ControlKind.DELAY_CHANGE:
            return ownership.delay(change, facts)
        case ControlKind.SIGNATORY_CHANGE:
            return ownership.signatories(change, facts)
        case ControlKind.DELEGATION:
            return delegation.delegation(change, facts)
        case ControlKind.IMPORTANCE_TRANSFER:
            return delegation.importance(change, facts)
        case ControlKind.PROPOSAL:
            return proposal.proposal(change, facts)
        case _:
            return None
