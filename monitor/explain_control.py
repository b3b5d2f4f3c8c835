"""Changes of control in plain words: what to call an incident of them, what to do now, how to announce the next."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.findings import title_of
from monitor.model import ControlKind, Finding, Incident

__all__ = ["CLEARED", "advice", "also", "announcement", "headline", "is_control"]

MOST_LINES = 6  # of further changes
CLEARED = (
    "It would be cleared by: the owner made this change. If so, say that it is a false alarm, and announce it "
    "beforehand the next time."
)
_KINDS = frozenset(map(str, ControlKind))
_NOW = {
    ControlKind.DELEGATION: "Clear the delegation with the account's own key, or move everything to another account; "
    "whoever controls the delegate can take what is there and what comes.",
    ControlKind.APPROVAL: "Take the permission back (approve 0) before it is used.",
    ControlKind.PROPOSAL: "Nothing has happened yet: do not sign, and replace the transaction by another one of the "
    "same nonce.",
}
_TAKE_BACK = (
    "Whoever holds the new right can use it at any time: ask the owners whether they made this change, and if not, "
    "move what can still be moved to an account that none of these keys touched."
)


def is_control(finding: Finding) -> bool:
    """Whether a finding is about who may move coins, and not about coins that moved."""
    return str(finding.evidence.get("kind")) in _KINDS and "account" in finding.evidence


def headline(findings: Sequence[Finding]) -> str:
    """What changed, in few words; empty where nothing did.

    Parameters
    ----------
    findings : of one incident
    """
    found = [finding for finding in findings if is_control(finding)]
    if not found:
        return ""
    first = max(found, key=lambda f: (f.severity, -f.at, -f.index))
    count = len({finding.id for finding in found}) - 1
    more = f" and {count} more change{'s' if count > 1 else ''} of control" if count else ""
    return f"{_word(first)} of {first.evidence['account']}{more}"


def _word(finding: Finding) -> str:
    kind = str(finding.evidence["kind"]).replace("_", " ")
    return f"odd {kind.removesuffix(' change')}" if finding.evidence.get("baseline") else kind


def also(incident: Incident, first: Finding) -> list[str]:
    """The changes beside the one that was told first, a line each, in order of time."""
    found = [f for f in incident.findings if is_control(f) and f.id != first.id]
    lines = [f"Also, {title_of(f)}: {f.summary}." for f in found[:MOST_LINES]]
    return [*lines, *([f"And {len(found) - MOST_LINES} more changes of control."] if len(found) > MOST_LINES else [])]


def advice(incident: Incident) -> list[str]:
    """What to do now, as long as no coin has left."""
    found = [finding for finding in incident.findings if is_control(finding)]
    if not found or incident.lost:
        return []
    kinds = {ControlKind(str(finding.evidence["kind"])) for finding in found}
    said = [text for kind, text in _NOW.items() if kind in kinds]
    return [f"Now: {text}" for text in said or [_TAKE_BACK]]


def announcement(incident: Incident) -> list[str]:
    """How the configuration announces each of these changes."""
    found = [f for f in incident.findings if is_control(f) and f.evidence.get("value")]
    return [
        f'to announce it beforehand, add to the configuration: planned: [{{account: "{f.chain}:{f.evidence["account"]}"'
        f", kind: {f.evidence['kind']}, value: {str(f.evidence['value']).rpartition('=')[2]}}}]"
        for f in found[:MOST_LINES]
    ]
