"""Deterministic detectors beside the compiled statistics, exact to the base unit: rules, cold wallets, fleets."""

from __future__ import annotations

from monitor.detectors.base import Detector
from monitor.policies.cold import COLD
from monitor.policies.fleet_limits import FLEET
from monitor.policies.plain import RULE

__all__ = ["COLD", "FLEET", "POLICIES", "RULE"]

POLICIES: tuple[Detector, ...] = (RULE, *COLD, *FLEET)
