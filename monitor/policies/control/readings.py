"""What a reading of an account's state shows against what was known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from monitor.model import ControlKind, Reading
from monitor.policies.control.change import Change, How, address_or_zero
from monitor.policies.control.known import SETS, Known

__all__ = ["changes", "is_new_account"]

_KINDS: Mapping[str, ControlKind] = {  # in the order in which changes are told
    "implementation": ControlKind.IMPLEMENTATION_CHANGE,
    "beacon": ControlKind.IMPLEMENTATION_CHANGE,
    "admin": ControlKind.OWNER_CHANGE,
    "owners": ControlKind.OWNER_CHANGE,
    "threshold": ControlKind.THRESHOLD_CHANGE,
    "modules": ControlKind.MODULE_CHANGE,
    "guard": ControlKind.GUARD_CHANGE,
    "module_guard": ControlKind.GUARD_CHANGE,
    "fallback": ControlKind.FALLBACK_CHANGE,
    "owner": ControlKind.OWNER_CHANGE,
    "pending_owner": ControlKind.OWNER_CHANGE,
    "delay": ControlKind.DELAY_CHANGE,
    "delegate": ControlKind.DELEGATION,
    "owner_delegates": ControlKind.DELEGATION,
}
_NUMBERS = frozenset({"threshold", "delay"})


def is_new_account(known: Known, reading: Reading) -> bool:
    """Whether an account is read for the first time, or a contract was made where there was none."""
    before, now = known.values.get("code"), reading.values.get("code")
    return known.first is None or (before == "none" and now == "contract")


def changes(known: Known, reading: Reading) -> Iterator[Change]:
    """What changed, by key in a fixed order; what either does not say is not compared."""
    values = reading.values
    yield from _code(known, reading)
    for key, kind in _KINDS.items():
        before, now = known.values.get(key), values.get(key)
        if before is None or now is None or before == now:
            continue
        if key in SETS:
            yield from _members(known, reading, key, kind)
            continue
        yield Change(
            kind=kind,
            account=reading.account,
            key=key,
            value=now if key in _NUMBERS else address_or_zero(now),
            before=before if key in _NUMBERS else address_or_zero(before),
            values=values,
            tx=reading.tx,
            is_read=True,
        )


def _code(known: Known, reading: Reading) -> Iterator[Change]:
    """Code that is another one at the same address: of the account itself, or of what it runs."""
    pairs = [("code_hash", known.values.get("code") == "contract" and reading.values.get("code") != "delegated")]
    runs = "delegate" if reading.values.get("delegate") else "implementation"
    same = reading.values.get(runs) == known.values.get(runs) and bool(reading.values.get(runs))
    pairs.append(("implementation_code", same))
    for key, comparable in pairs:
        before, now = known.values.get(key), reading.values.get(key)
        if comparable and before and now is not None and before != now:
            yield Change(
                kind=ControlKind.IMPLEMENTATION_CHANGE,
                account=reading.account,
                key=key,
                value=now,
                before=before,
                values=reading.values,
                tx=reading.tx,
                is_read=True,
            )


def _members(known: Known, reading: Reading, key: str, kind: ControlKind) -> Iterator[Change]:
    """Who came and who went, of a set."""
    before = known.members(key) or set()
    now = set(filter(None, reading.values[key].split(",")))
    for how, members in ((How.REMOVED, before - now), (How.ADDED, now - before)):
        for member in sorted(members):
            yield Change(
                kind=kind,
                account=reading.account,
                key=key,
                value=member,
                how=how,
                values=reading.values,
                tx=reading.tx,
                is_read=True,
            )
