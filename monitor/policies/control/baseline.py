"""What is odd about an account when it is read for the first time: a thief may have been there before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from monitor.model import ControlKind, Role, Severity
from monitor.policies.control.change import ZERO
from monitor.policies.control.released import singleton_of
from monitor.policies.control.verdict import Facts, Verdict

__all__ = ["Doubt", "doubts", "odd_implementation"]

_ASK = "is that yours?"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something to be confirmed: which value of which key, and what to say of it."""

    kind: ControlKind
    key: str
    value: str
    verdict: Verdict


def doubts(account: str, values: Mapping[str, str], facts: Facts) -> Iterator[Doubt]:
    """Everything of a first reading that its owner should confirm."""
    if values.get("form") == "safe":
        yield from odd_implementation(account, values, facts)
        yield from _weak(account, values)
    yield from _delegates(account, values, facts)
    for key in ("implementation", "admin", "owner", "pending_owner", "guard", "fallback", "owners", "modules"):
        for value in filter(None, values.get(key, "").split(",")):
            if facts.is_bad(value):
                word = key.replace("_", " ").removesuffix("s")
                text = f"{word} of {account}, read for the first time, is {facts.named(value)}: {_ASK}"
                detector = {"owners": "CT-3", "modules": "CT-4", "guard": "CT-4", "fallback": "CT-4"}
                named = detector.get(key, "CT-6" if key in ("owner", "pending_owner") else "CT-5")
                kind = ControlKind.OWNER_CHANGE if "owner" in key or key == "admin" else _KIND.get(key)
                verdict = Verdict(named, Severity.HIGH, text, value)
                yield Doubt(kind or ControlKind.IMPLEMENTATION_CHANGE, key, value, verdict)


_KIND = {
    "guard": ControlKind.GUARD_CHANGE,
    "fallback": ControlKind.FALLBACK_CHANGE,
    "modules": ControlKind.MODULE_CHANGE,
}


def odd_implementation(account: str, values: Mapping[str, str], facts: Facts) -> Iterator[Doubt]:
    """A Safe that runs code which is no released one."""
    target, code = values.get("implementation", ""), values.get("implementation_code")
    if code is None or singleton_of(target, code) is not None:
        return
    text = f"Safe {account}, read for the first time, runs {facts.named(target or ZERO)}, no released Safe: {_ASK}"
    verdict = Verdict("CT-1", Severity.MEDIUM, text, target)
    yield Doubt(ControlKind.IMPLEMENTATION_CHANGE, "implementation", target or ZERO, verdict)


def _weak(account: str, values: Mapping[str, str]) -> Iterator[Doubt]:
    """A Safe that one signature, or none, opens, and modules beside it."""
    threshold, modules = values.get("threshold"), values.get("modules")
    if threshold == "0" or (threshold == "1" and modules):
        with_ = f", with modules {modules}" if modules else ""
        text = f"Safe {account}, read for the first time, has the threshold {threshold}{with_}: {_ASK}"
        verdict = Verdict("CT-3", Severity.LOW, text)
        yield Doubt(ControlKind.THRESHOLD_CHANGE, "threshold", threshold, verdict)


def _delegates(account: str, values: Mapping[str, str], facts: Facts) -> Iterator[Doubt]:
    """Accounts, or owners of a Safe, that let code act for them which the owner does not trust."""
    pairs = [("delegate", values["delegate"])] if values.get("delegate") else []
    pairs += [("owner_delegates", pair) for pair in filter(None, values.get("owner_delegates", "").split(","))]
    for key, pair in pairs:
        owner, _, delegate = pair.rpartition("=")
        if facts.expects(delegate):
            continue
        who = f"owner {owner} of Safe {account}" if owner else f"account {account}"
        text = f"{who}, read for the first time, lets the code of {facts.named(delegate)} act for it (EIP-7702): {_ASK}"
        detector = "PW-8" if facts.wallet.role is Role.PERSONAL and not owner else "CT-12"
        yield Doubt(ControlKind.DELEGATION, key, pair, Verdict(detector, Severity.HIGH, text, delegate))
