"""Changes of a Safe: its implementation, what it runs in its own name, who signs, what may pay without signatures.

A released Safe tells of each of these by an event, but for its implementation. So where a transaction made one of them
and none was emitted, foreign code wrote into the Safe's storage: that is critical whatever was changed.
"""

from __future__ import annotations

from monitor.model import Severity
from monitor.policies.control.change import ZERO, Change, How
from monitor.policies.control.known import WINDOW
from monitor.policies.control.released import library_of, singleton_of
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["delegate_call", "extension", "implementation", "is_safe", "owners", "refund", "threshold"]

_DAYS = WINDOW // 86400


def is_safe(change: Change, facts: Facts) -> bool:
    """Whether the account is a Safe."""
    return change.detail.get("slot") == "safe" or "safe" in (
        change.values.get("form"), facts.known.values.get("form"),
    )  # fmt: skip


def implementation(change: Change, facts: Facts) -> Verdict:
    """CT-1: critical, to a released one medium."""
    if change.key == "implementation_code":
        target = change.values.get("implementation", "")
        text = f"the code at the implementation {target} of Safe {change.account} is another one now"
        return Verdict("CT-1", Severity.CRITICAL, text, target)
    same = change.values.get("implementation") == change.value
    code = change.detail.get("code_hash") or (change.values.get("implementation_code") if same else None)
    now = singleton_of(change.value, code)
    was = None
    if change.before is not None:
        was = singleton_of(change.before, facts.known.values.get("implementation_code"))
    text = (
        f"the implementation of Safe {change.account} is {facts.named(change.value)} ({now or 'no released Safe'}) now"
    )
    if change.before is not None:
        text += f", was {facts.named(change.before)} ({was or 'no released Safe'})"
    if now is not None and not facts.is_bad(change.value):
        return Verdict("CT-1", Severity.MEDIUM, text, grants=False)
    return Verdict("CT-1", Severity.CRITICAL, text, change.value)


def delegate_call(change: Change, facts: Facts) -> Verdict | None:
    """CT-2: critical unless the code is pinned."""
    code = change.detail.get("target_code")
    if library_of(change.value, None if code is None else str(code)) is not None:
        return None
    what = "" if code is not None else ", whose code was not read"
    text = (
        f"Safe {change.account} ran the code of {facts.named(change.value)}{what} in its own name (delegatecall): that "
        "code may do anything with it, and is no released library"
    )
    return Verdict("CT-2", Severity.CRITICAL, text, change.value)


def owners(change: Change, facts: Facts) -> Verdict:
    """CT-3: high; critical where more than a third of the owners changed within a week."""
    count, size = facts.known.owners_changed(change, facts.at)
    went = change.how is How.REMOVED
    text = f"owner {facts.named(change.value)} {'removed from' if went else 'added to'} Safe {change.account}"
    severity = Severity.HIGH
    if size is not None and 3 * count > size:
        severity = Severity.CRITICAL
        text += f": {count} of {size} owners changed within {_DAYS} days"
    if change.is_unsaid or (not went and facts.is_bad(change.value)):
        severity = Severity.CRITICAL
    return Verdict("CT-3", severity, text, "" if went else change.value, grants=not went)


def threshold(change: Change, facts: Facts) -> Verdict:
    """CT-3: critical where fewer signatures are enough."""
    members = facts.known.members("owners")
    text = f"the threshold of Safe {change.account} is {change.value} now"
    if change.before is not None:
        text += f", was {change.before}"
    if members is not None:
        text += f", of {len(members)} owners"
    fell = change.before is not None and _number(change.value) < _number(change.before)
    return Verdict("CT-3", Severity.CRITICAL if fell or change.is_unsaid else Severity.HIGH, text, grants=fell)


def extension(change: Change, facts: Facts) -> Verdict:
    """CT-4: modules, guards, fallback handler."""
    if change.key == "modules":
        went = change.how is How.REMOVED
        text = f"module {facts.named(change.value)} {'disabled' if went else 'enabled'} at Safe {change.account}"
        if went:
            return Verdict("CT-4", Severity.CRITICAL if change.is_unsaid else Severity.HIGH, text, grants=False)
        return Verdict("CT-4", Severity.CRITICAL, f"{text}: it can pay without signatures", change.value)
    what = {"guard": "guard", "module_guard": "module guard"}.get(change.key, "fallback handler")
    was = "" if change.before is None else f", was {facts.named(change.before)}"
    gone = change.value == ZERO
    if gone and change.key != "fallback":
        text = f"the {what} of Safe {change.account} was removed{was}: nothing checks its transactions any more"
        return Verdict("CT-4", Severity.CRITICAL, text)
    text = f"the {what} of Safe {change.account} is {facts.named(change.value)} now{was}"
    severity = Severity.CRITICAL if change.is_unsaid or facts.is_bad(change.value) else Severity.HIGH
    return Verdict("CT-4", severity, text, "" if gone else change.value)


def refund(change: Change, facts: Facts) -> Verdict | None:
    """CT-10: a transaction of a Safe that pays for its own gas, in a token, to somebody else."""
    if facts.expects(change.value):
        return None
    text = (
        f"a transaction of Safe {change.account} refunds gas in token {change.detail.get('gas_token', '?')} at a price "
        f"of {change.detail.get('gas_price', '?')} a unit to {facts.named(change.value)}: a way to take coins unseen"
    )
    return Verdict("CT-10", Severity.CRITICAL, text, change.value)


def _number(text: str) -> int:
    """A number as it was read; what is none is more than any."""
    return int(text) if text.isdecimal() else 2**256
