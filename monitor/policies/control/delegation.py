"""CT-12 and PW-8: accounts that let other code act for them (EIP-7702), and importance handed over (NEM)."""

from __future__ import annotations

from monitor.model import Role, Severity
from monitor.policies.control.change import ZERO, Change, How
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["delegation", "importance", "other_code"]


def delegation(change: Change, facts: Facts) -> Verdict | None:
    """Critical unless the owner trusts the delegate; that nobody may act any more is nothing."""
    owner, _, delegate = change.value.rpartition("=")
    if change.how is How.REMOVED or delegate == ZERO or facts.expects(delegate):
        return None
    detector = "PW-8" if facts.wallet.role is Role.PERSONAL and not owner else "CT-12"
    who = f"owner {owner} of Safe {change.account}" if owner else f"account {change.account}"
    text = f"{who} lets the code of {facts.named(delegate)} act for it (EIP-7702): it may send everything it can send"
    return Verdict(detector, Severity.CRITICAL, text, delegate)


def importance(change: Change, facts: Facts) -> Verdict | None:
    """Cold wallets alone: it moves no coin, but a key that should rest was used."""
    if facts.wallet.role is not Role.COLD:
        return None
    mode = str(change.detail.get("mode") or "changed")
    text = f"the importance of {change.account} was handed to {facts.named(change.value)} ({mode})"
    return Verdict("CW-3", Severity.CRITICAL, text, change.value)


def other_code(change: Change, facts: Facts) -> Verdict:
    """The delegate stayed, and its code is another one."""
    detector = "PW-8" if facts.wallet.role is Role.PERSONAL else "CT-12"
    delegate = change.values.get("delegate", "")
    text = f"the code at {delegate}, which acts for account {change.account} (EIP-7702), is another one now"
    return Verdict(detector, Severity.CRITICAL, text, delegate)
