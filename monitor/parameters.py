"""What may be set for a wallet, as the compiled fold takes it: defaults by role, and what the owner set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.detectors import DETECTORS, Detector, Evidence, Parameter
from monitor.features.dtypes import PARAMETERS
from monitor.model import Role

__all__ = ["faults", "parameters"]

ENABLED = "enabled"


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
    if not isinstance(settings, Mapping):
        names = ", ".join([ENABLED, *(p.name for p in detector.parameters)])
        return [f"expected a mapping with {names}"]
    known = {p.name: p for p in detector.parameters}
    found = []
    for name, value in settings.items():
        if name == ENABLED:
            if not isinstance(value, bool):
                found.append(f"{ENABLED} is {value!r}, expected true or false")
        elif name not in known:
            found.append(f"{name} is unknown, expected one of {', '.join([ENABLED, *known])}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            found.append(f"{name} is {value!r}, expected a number")
        elif not known[name].low <= value <= known[name].high:
            found.append(f"{name} is {value:g}, expected {known[name].low:g} to {known[name].high:g}")
    return found
