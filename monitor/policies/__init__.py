"""Deterministic detectors beside the compiled statistics: rules, cold wallets, fleets, changes of control."""

from __future__ import annotations

from monitor.detectors.base import Detector
from monitor.policies.approvals import APPROVALS
from monitor.policies.cold import COLD
from monitor.policies.control.cards import CONTROL
from monitor.policies.fleet_limits import FLEET
from monitor.policies.mempool import MEMPOOL
from monitor.policies.plain import RULE
from monitor.policies.poisoning import POISONING

__all__ = ["APPROVALS", "COLD", "CONTROL", "FLEET", "MEMPOOL", "POISONING", "POLICIES", "RULE"]

POLICIES: tuple[Detector, ...] = (RULE, *COLD, *FLEET, *CONTROL, APPROVALS, POISONING, *MEMPOOL)
