"""What may be set for a wallet, as the compiled fold takes it: defaults by role, and what the owner set. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.detectors import DETECTORS, Detector, Evidence, Parameter
from monitor.features.dtypes import PARAMETERS
from monitor.model import Role
from monitor.policies import APPROVALS, COLD, CONTROL, FLEET, MEMPOOL, POISONING, POLICIES, RULE

__all__ = ["ENABLED", "JUDGES", "LISTED", "fault_of", "faults", "faults_at", "number_text", "parameters"]

ENABLED = "enabled"

LISTED: Mapping[str, Detector] = {detector.id: detector for detector in (*DETECTORS, *POLICIES)}
"""Every detector by its id."""

_STATISTICAL = frozenset({Role.HOT, Role.TREASURY, Role.PERSONAL})
_LIVELY = frozenset(Role) - {Role.COLD}  # of cold wallets CW-3 tells all changes of control
JUDGES: Mapping[str, frozenset[Role]] = {
    **{detector.id: _STATISTICAL for detector in DETECTORS},
    **{detector.id: frozenset({Role.COLD}) for detector in COLD},
    **{detector.id: frozenset({Role.DEPOSIT}) for detector in FLEET},
    **{detector.id: _LIVELY for detector in CONTROL},
    "PW-8": frozenset({Role.PERSONAL}),
    APPROVALS.id: _LIVELY,
    POISONING.id: _STATISTICAL,
    RULE.id: frozenset(Role),
    **{detector.id: frozenset(Role) for detector in MEMPOOL},
}
"""The roles whose wallets a detector judges."""


def parameters(role: Role, budget: float, settings: Mapping[str, Mapping[str, Any]] | None = None) -> NDArray[np.void]:
    """One record of `PARAMETERS`.

    Parameters
    ----------
    budget : false alarms a 30 days on one chain
    settings : by detector id: ``{"HW-5": {"weight": 0.5}, "GUARD": {"enabled": False}}``, checked by `faults`
    """
    record = np.zeros(1, PARAMETERS)
    personal = role is Role.PERSONAL
    record["budget"], record["personal"], record["peer"] = budget, personal, int(personal)
    for detector in DETECTORS:
        given = (settings or {}).get(detector.id, {})
        for parameter in detector.parameters:
            default = parameter.personal if personal and parameter.personal is not None else parameter.default
            value = float(given.get(parameter.name, default)) * parameter.scale
            if not given.get(ENABLED, True):
                value = parameter.off
            _fill(record, parameter, value)
    return record


def _fill(record: NDArray[np.void], parameter: Parameter, value: float) -> None:
    for name in parameter.fields:
        if name.startswith("uses:"):
            record["uses"][0, Evidence[name.removeprefix("uses:")]] = value
        else:
            record[name] = value


def faults(detector: Detector, settings: Any) -> list[str]:
    """What is wrong with the settings of one detector, in words; empty where all is well.

    >>> from monitor.detectors import DETECTORS
    >>> faults(DETECTORS[0], {"weight": 99})
    ['weight is 99, expected 0 to 10']
    """
    return [fault for _, fault in faults_at(detector, settings)]


def faults_at(detector: Detector, settings: Any) -> list[tuple[str, str]]:
    """As `faults`, each with the setting that it is about; ``""``: all of them."""
    if not isinstance(settings, Mapping):
        names = ", ".join([ENABLED, *(p.name for p in detector.parameters)])
        return [("", f"expected a mapping with {names}")]
    found = ((str(name), fault_of(detector, name, value)) for name, value in settings.items())
    return [(name, fault) for name, fault in found if fault is not None]


def fault_of(detector: Detector, name: str, value: Any) -> str | None:
    """What is wrong with one setting of a detector, in words; None where it is right.

    >>> from monitor.policies.cold import COLD
    >>> fault_of(COLD[3], "share", "1e-3"), fault_of(COLD[0], "time", 2)
    ("share is '1e-3', expected a number: write 0.001", 'time is unknown, expected one of enabled, times')
    """
    if name == ENABLED:
        return None if isinstance(value, bool) else f"{ENABLED} is {value!r}, expected true or false"
    parameter = next((p for p in detector.parameters if p.name == name), None)
    if parameter is None:
        return f"{name} is unknown, expected one of {', '.join([ENABLED, *(p.name for p in detector.parameters)])}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} is {value!r}, expected a number{_hint(value)}"
    if parameter.low <= value <= parameter.high and not (parameter.whole and int(value) != value):
        return None
    whole = "a whole number from " if parameter.whole else ""
    return f"{name} is {_shown(value)}, expected {whole}{number_text(parameter.low)} to {number_text(parameter.high)}"


def number_text(value: float) -> str:
    """A number as a configuration may have it: YAML takes 1e-05 for text.

    >>> number_text(1e-05), number_text(1e9), number_text(0.5)
    ('0.00001', '1000000000', '0.5')
    """
    return f"{Decimal(f'{value:g}'):f}"


def _shown(value: float) -> str:
    return str(value) if isinstance(value, float) or abs(value) < 10**15 else "beyond 1e15"


def _hint(value: Any) -> str:
    """How to write a text such as 1e-3: YAML takes it for a number only with a point before the e."""
    if not isinstance(value, str) or re.fullmatch(r"[-+]?[0-9.]{1,9}[eE][-+]?[0-9]{1,2}", value) is None:
        return ""
    try:
        return f": write {Decimal(value):f}"
    except InvalidOperation:
        return ""
