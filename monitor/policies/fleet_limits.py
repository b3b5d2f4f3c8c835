"""The detectors of role ``deposit`` as people see them, and the limits that hold for one fleet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from monitor.detectors.base import Detector, Parameter
from monitor.policies.fleet_records import MEMBERS
from monitor.policies.settings import Settings

__all__ = ["FLEET", "FleetLimits"]

FLEET = (
    Detector(
        id="DF-1",
        title="Deposit address pays an unexpected address",
        catches="Any payment of a member to an address that is neither trusted, nor of a sister wallet, nor learned: "
        "high; critical from the third member within six hours on, or where more than 1 % of the fleet's known "
        "balance goes within six hours.",
        misses="A theft through an expected destination, and whatever happens while the fleet learns.",
        lookalikes="A refund to a customer; a new hot wallet: trust it, or call the incident a false alarm.",
        evidence=(),
        parameters=(
            Parameter("members", (), 3, 1, MEMBERS, "members from which on it is critical", whole=True),
            Parameter("window_hours", (), 6, 1, 48, "hours looked back, for DF-2 too", whole=True),
            Parameter("share", (), 0.01, 0.000001, 1, "share of the balance above which it is critical, for DF-2 too"),
            Parameter(
                "learning_days", (), 14, 0, 365, "days in which a fleet without listed destinations learns them, for "
                "DF-2 and DF-3 too", whole=True,
            ),
            Parameter("learned_members", (), 20, 1, MEMBERS, "members that make a destination learned", whole=True),
            Parameter("learned_days", (), 7, 0, 365, "days over which they must have paid it", whole=True),
        ),
    ),
    Detector(
        id="DF-2",
        title="Deposit addresses pay the same unexpected address",
        catches="As many members to one unexpected address within six hours as is rarer than 1 in 1,000 (high) or "
        "1 in 100,000 (critical) by the fleet's own rate of new recipients. While the fleet learns: two members and "
        "more than 1 % of its known balance, critical.",
        misses="A thief who takes a new address for each member.",
        lookalikes="A new hot wallet: trust it, or call the incident a false alarm.",
        evidence=(),
        parameters=(
            Parameter("high", (), 1e-3, 1e-12, 0.5, "chance at or below which it is high"),
            Parameter("critical", (), 1e-5, 1e-12, 0.5, "chance at or below which it is critical"),
        ),
        rules=("it takes two members at least",),
    ),
    Detector(
        id="DF-3",
        title="Gas for deposit addresses from a stranger",
        catches="One unlisted address sends the chain's own coin to three members within an hour, in amounts that "
        "differ by at most a quarter: medium. Tokens cannot be swept without gas.",
        misses="A thief who pays gas from many addresses or in unequal amounts; what comes while the fleet learns.",
        lookalikes="A new gas station; a faucet or an airdrop; equal deposits of one customer to three addresses.",
        evidence=(),
        parameters=(
            Parameter("members", (), 3, 2, MEMBERS, "members that got it", whole=True),
            Parameter("window_hours", (), 1, 1, 48, "hours looked back", whole=True),
            Parameter("difference", (), 0.25, 0, 1, "share of an amount by which the others may differ"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """What holds for one fleet; times in seconds, ``speaks`` are ids of the detectors that are on."""

    speaks: frozenset[str]
    members: int
    window: int
    share: Fraction
    learning: int
    learned_members: int
    learned: int
    high: float
    critical: float
    gas_members: int
    gas_window: int
    gas_difference: Fraction

    @classmethod
    def of(cls, settings: Settings, wallet: str) -> FleetLimits:
        """The limits of a wallet."""

        def number(detector: str, name: str) -> Fraction:
            return settings.number(wallet, detector, name)

        return cls(
            speaks=frozenset(d.id for d in FLEET if settings.enabled(wallet, d.id)),
            members=int(number("DF-1", "members")),
            window=int(number("DF-1", "window_hours") * 3600),
            share=number("DF-1", "share"),
            learning=int(number("DF-1", "learning_days") * 86400),
            learned_members=int(number("DF-1", "learned_members")),
            learned=int(number("DF-1", "learned_days") * 86400),
            high=float(number("DF-2", "high")),
            critical=float(number("DF-2", "critical")),
            gas_members=int(number("DF-3", "members")),
            gas_window=int(number("DF-3", "window_hours") * 3600),
            gas_difference=number("DF-3", "difference"),
        )
