"""CT-5: proxies, beacons and diamonds that run other code, and who may make them."""

from __future__ import annotations

from monitor.model import Severity
from monitor.policies.control.change import ZERO, Change
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["admin", "upgrade"]

_WHAT = {
    "beacon": "the beacon of proxy",
    "facets": "a facet of diamond",
    "implementation": "the implementation of proxy",
    "implementation_code": "the code at the implementation of proxy",
    "code_hash": "the code of contract",
}


def upgrade(change: Change, facts: Facts) -> Verdict:
    """High; critical where the new code is young, known to be bad, gone, or another one at the same address."""
    what = f"{_WHAT[change.key]} {change.account}"
    was = "" if change.before is None else f", was {facts.named(change.before)}"
    if change.key in ("code_hash", "implementation_code"):
        text = f"{what} is {change.value or 'gone'} now{was}: the same address has other code"
        suspect = change.values.get("implementation", "") if change.key == "implementation_code" else ""
        return Verdict("CT-5", Severity.CRITICAL, text, suspect)
    if change.value == ZERO:
        return Verdict("CT-5", Severity.HIGH, f"{what} is none now{was}", grants=False)
    text = f"{what} is {facts.named(change.value)} now{was}"
    severity = Severity.HIGH
    if _age(change) == "young":
        severity = Severity.CRITICAL
        text += "; its code is younger than 7 days"
    facets = str(change.detail.get("facets") or "").split(",")
    if len(facets) > 1:
        text += f", with {len(facets) - 1} more that changed"
    if facts.is_bad(change.value) or any(map(facts.is_bad, facets)):
        severity = Severity.CRITICAL
    return Verdict("CT-5", severity, text, change.value)


def admin(change: Change, facts: Facts) -> Verdict:
    """High: who may upgrade."""
    was = "" if change.before is None else f", was {facts.named(change.before)}"
    text = f"the admin of proxy {change.account} is {facts.named(change.value)} now{was}: he may exchange its code"
    gone = change.value == ZERO
    severity = Severity.CRITICAL if facts.is_bad(change.value) else Severity.HIGH
    return Verdict("CT-5", severity, text, "" if gone else change.value, grants=not gone)


def _age(change: Change) -> str | None:
    """The age of what runs now, as far as it was read."""
    said = change.detail.get("implementation_age")
    if said is not None:
        return str(said)
    same = change.key == "beacon" or change.values.get("implementation") == change.value
    return change.values.get("implementation_age") if same else None
