"""CT-6, CT-7 and CT-11: owners and roles of contracts, delays of time locks, signatories of multisig accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.model import Severity
from monitor.policies.control.change import ZERO, Change, How
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["delay", "owner", "role", "signatories", "signatories_of"]

MOST_NAMED = 4  # signatories in one sentence


def owner(change: Change, facts: Facts) -> Verdict | None:
    """CT-6: high, critical for an owner who is known to be bad; that an offer was taken back is nothing."""
    gone = change.value == ZERO
    was = "" if change.before in (None, ZERO) else f", was {facts.named(str(change.before))}"
    if change.key == "pending_owner":
        if gone:
            return None
        text = f"contract {change.account} was offered to {facts.named(change.value)} as its next owner"
    elif gone:
        text = f"contract {change.account} has no owner any more{was}"
    else:
        text = f"the owner of contract {change.account} is {facts.named(change.value)} now{was}"
    severity = Severity.CRITICAL if facts.is_bad(change.value) else Severity.HIGH
    return Verdict("CT-6", severity, text, "" if gone else change.value, grants=not gone)


def role(change: Change, facts: Facts) -> Verdict:
    """CT-6: high, critical for somebody who is known to be bad; a role that was taken away is medium."""
    name = str(change.detail.get("role_name") or change.detail.get("role") or "a role")
    if change.how is How.REMOVED:
        text = f"{facts.named(change.value)} lost {name} at contract {change.account}"
        return Verdict("CT-6", Severity.MEDIUM, text, grants=False)
    if change.detail.get("change") == "admin":
        text = f"who has {change.value} may give {name} away at contract {change.account} now"
        return Verdict("CT-6", Severity.HIGH, text)
    text = f"{facts.named(change.value)} has {name} at contract {change.account} now"
    severity = Severity.CRITICAL if facts.is_bad(change.value) else Severity.HIGH
    return Verdict("CT-6", severity, text, change.value)


def delay(change: Change, facts: Facts) -> Verdict:
    """CT-7: high where a delay falls or nobody knows whether, critical where none is left, low where it rises."""
    was = "" if change.before is None else f", was {change.before} s"
    text = f"time lock {change.account} waits {change.value} s now{was}"
    if change.value == "0":
        return Verdict("CT-7", Severity.CRITICAL, text)
    known = change.before is not None and change.value.isdecimal() and change.before.isdecimal()
    if known and int(change.value) > int(str(change.before)):
        return Verdict("CT-7", Severity.LOW, text, grants=False)
    return Verdict("CT-7", Severity.HIGH, text)


def signatories_of(detail: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Who came (True) and who went, as a change of signatories (NEM) lists them."""
    found = detail.get("modifications")
    if not isinstance(found, Sequence):
        return []
    return [(str(item["cosignatory"]), item["type"] == "add") for item in found]


def _some(addresses: Sequence[str], facts: Facts) -> str:
    """The first of them by name, and how many more there are: a NEM account may have 32."""
    text = ", ".join(map(facts.named, addresses[:MOST_NAMED]))
    return text if len(addresses) <= MOST_NAMED else f"{text} and {len(addresses) - MOST_NAMED} more"


def signatories(change: Change, facts: Facts) -> Verdict:
    """CT-11: high, critical where fewer signatures are enough."""
    modified = signatories_of(change.detail)
    came = [address for address, is_new in modified if is_new]
    went = [address for address, is_new in modified if not is_new]
    less = int(change.detail.get("min_cosignatories_change") or 0)
    parts = [f"added {_some(came, facts)}"] if came else []
    parts += [f"removed {_some(went, facts)}"] if went else []
    signatures = "signature" if abs(less) == 1 else "signatures"
    parts += [f"{abs(less)} {signatures} {'fewer' if less < 0 else 'more'} needed"] if less else []
    text = f"signatories of {change.account}: {'; '.join(parts) or f'changed, {change.value}'}"
    grave = less < 0 or any(facts.is_bad(address) for address in came)
    suspect = change.value if came or not modified else ""
    severity = Severity.CRITICAL if grave else Severity.HIGH
    return Verdict("CT-11", severity, text, suspect, grants=grave or bool(suspect))
