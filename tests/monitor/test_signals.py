"""Signals: how close two payments under their thresholds must be, what wakes them, what incidents make of them."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import pytest

from monitor.incidents import Correlator, movement_key
from monitor.model import Finding, Incident, Movement, Role, Severity, Status, Wallet
from monitor.signals import KEPT, UNDER, WINDOW, Reach, awake, is_signal, limit_of, reaches
from monitor.watchlist import Watchlist

HOUR = 3600
START = 1_700_000_000
ETH, BSC = "eip155:1", "eip155:56"


def finding(at: int, chain: str = ETH, *, wallet: str = "hot", to: str = "x", severity: int = 3) -> Finding:
    name = f"{chain}-{wallet}-{to}-{at}-{severity}"
    return Finding(
        name, "HW-1", wallet, chain, Severity(severity), 1.0, "", f"t{name}", START + at, at, 0, f"{chain}/coin", to,
        10, budget_exceeded=severity > 0,
    )  # fmt: skip


def signal(at: int, chain: str = ETH, under: float = 0.3, *, wallet: str = "hot", to: str = "s") -> Finding:
    plain = finding(at, chain, wallet=wallet, to=to, severity=0)
    return replace(plain, score=-under, evidence={UNDER: under})


def paid(f: Finding, value: int = 10) -> Movement:
    return Movement(f.wallet, f.chain, f.asset, f.destination, value, f.at, f.tx, f.index, f.block_number)


class Case:
    """A correlator of one owner, whose signals open an incident where their deficits sum to one width at most."""

    def __init__(self, limit: float = 1.0) -> None:
        self.correlator = Correlator({"One": Reach(limit, frozenset((ETH, BSC)))})

    def add(self, *findings: Finding) -> list[str]:
        moved = [paid(f) for f in findings]
        return self.correlator.add("One", findings, moved, {movement_key(m): 90.0 for m in moved})

    @property
    def all(self) -> list[Incident]:
        return self.correlator.all()

    @property
    def one(self) -> Incident:
        (incident,) = self.all
        return incident


# -- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("places", "budget"), [(2, 1.0), (3, 0.3), (9, 1.0), (5, 3.0)])
def test_coincidences_use_half_a_tenth_of_the_budget(places: int, budget: float) -> None:
    """Pairs that come within the limit both, by the rates of the docstring, against the owner's whole budget."""
    rate = budget * exp(limit_of(places, budget))
    coincidences = places * (places - 1) / 2 * rate**2 * (2 * WINDOW) / (30 * 86400)
    assert coincidences == pytest.approx(0.05 * places * budget)


def test_many_places_or_one_open_nothing() -> None:
    """A limit that is not above 0 wakes no pair, not even of payments that reach their thresholds exactly."""
    assert limit_of(1, 1.0) == 0.0 and limit_of(40, 1.0) < 0.0 and limit_of(2, 0.0) == limit_of(2, 0.1)
    for limit in (0.0, -0.5):
        assert awake([signal(0, under=0.0), signal(1, BSC, 0.0)], limit).findings == []


def test_the_reach_of_an_owner() -> None:
    """Places are wallets and chains that statistics judge; each has its part of its wallet's budget."""
    wallets = [
        Wallet("a", "One", Role.HOT, ((ETH, "a1"), (ETH, "a2"), (BSC, "a3")), budget=1.0),
        Wallet("b", "One", Role.TREASURY, ((ETH, "b1"),), budget=2.0),
        Wallet("c", "One", Role.COLD, (("bip122:0", "c1"),)),
        Wallet("d", "Two", Role.HOT, ((ETH, "d1"),)),
    ]
    found = reaches(Watchlist(wallets))
    assert found == {
        "One": Reach(limit_of(3, 1.0), frozenset((ETH, BSC))),
        "Two": Reach(0.0, frozenset((ETH,))),
    }


@pytest.mark.parametrize(
    ("one", "two", "wakes"),
    [
        (signal(0, under=0.6), signal(WINDOW, BSC, 0.4), True),
        (signal(0, under=0.6), signal(WINDOW + 1, BSC, 0.4), False),
        (signal(0, under=0.6), signal(WINDOW, BSC, 0.5), False),
        (signal(0, under=0.1), signal(60, under=0.1, to="y"), False),  # the same wallet on the same chain
        (signal(0, under=0.6), signal(60, wallet="warm", under=0.4), True),
        (signal(0, under=1.0), finding(WINDOW, BSC), True),  # beside a finding any signal counts
        (signal(0, under=1.0), finding(-WINDOW - 1, BSC), False),
        (signal(0, under=1.0), finding(60), False),
    ],
)
def test_what_wakes_a_signal(one: Finding, two: Finding, wakes: bool) -> None:
    """Another place, two hours of event time either way, and near enough to the thresholds where no finding is."""
    for both in ([one, two], [two, one]):
        found = awake(both, 1.0)
        assert (one in found.findings) is wakes
        assert found.opens == ({two.id} if wakes or not is_signal(two) else set())


# -- incidents --------------------------------------------------------------------------------------------------------


def test_one_signal_opens_nothing() -> None:
    """It waits under a name of its own, which is stored and is no incident."""
    case = Case()
    (name,) = case.add(signal(0))
    assert case.all == [] and name not in case.correlator.records
    again = Correlator(case.correlator.reach)
    again.load([case.correlator.dump(name)])
    assert again.waiting == case.correlator.waiting and again.records == {}
    assert ("eip155:1", "s") in again.suspects("One")


@pytest.mark.parametrize("restart", [False, True])
def test_two_signals_open_a_low_incident(restart: bool) -> None:
    """Low, over the budget, begun with the later of the two; both payments are lost; people hear of it."""
    case = Case()
    stored = case.add(signal(0))
    if restart:
        again = Correlator(case.correlator.reach)
        again.load(map(case.correlator.dump, stored))
        case.correlator = again
    changed = case.add(signal(HOUR, BSC, to="y"))
    one = case.one
    assert (one.severity, one.budget_exceeded, one.opened_at, one.opened_chain) == (
        Severity.LOW, True, START + HOUR, BSC,
    )  # fmt: skip
    assert dict(one.lost) == {f"{ETH}/coin": 10, f"{BSC}/coin": 10} and one.suspects == ((ETH, "s"), (BSC, "y"))
    assert one.share_lost_at_open == pytest.approx(1.0) and one.paged_at is None and one.return_period_days is None
    assert one.id in changed and case.correlator.change(one.id).kind == "opened"
    assert all(not record.findings for record in case.correlator.waiting.values())


def test_a_signal_joins_what_is_open_elsewhere() -> None:
    """Before or after the finding: its payment counts, the severity and the beginning are the finding's."""
    for order in ((0, 1), (1, 0)):
        case = Case(limit=0.0)
        items = [signal(0), finding(HOUR, BSC, to="y")]
        for place in order:
            case.add(items[place])
        one = case.one
        assert (one.severity, one.opened_at, one.paged_at) == (Severity.HIGH, START + HOUR, START + HOUR)
        assert len(one.findings) == 2 and sum(value for _, value in one.lost) == 20


def test_a_signal_that_loses_its_company_waits_again() -> None:
    """The other transaction did not happen: the incident is retracted, and the next signal opens another."""
    case = Case()
    case.add(signal(0))
    case.add(signal(HOUR, BSC, to="y"))
    name = case.one.id
    case.correlator.change(name)
    case.correlator.disconnect(BSC, HOUR, HOUR)
    case.correlator.settle(BSC, HOUR)
    assert case.one.status is Status.RETRACTED and case.correlator.change(name).kind == "retracted"
    assert list(case.correlator.waiting["One"].findings) == [signal(0).id]
    case.add(signal(2 * HOUR, BSC, to="z"))
    (open_,) = (i for i in case.all if i.status is Status.OPEN)
    assert [f.at - START for f in open_.findings] == [0, 2 * HOUR] and dict(open_.lost)[f"{ETH}/coin"] == 10


def test_a_waiting_signal_can_be_disconnected() -> None:
    """In doubt it may still wake; given up it is forgotten."""
    case = Case()
    (name,) = case.add(signal(0))
    assert case.correlator.disconnect(ETH, 0, 5) == [name] and len(case.correlator.doubtful(ETH)) == 1
    assert name in case.correlator.settle(ETH, 5)
    case.add(signal(HOUR, BSC))
    assert case.all == []


def test_what_people_judged_is_no_signal_any_more() -> None:
    """Told again after a verdict (a fold anew, say), it neither waits nor opens a second incident."""
    case = Case()
    pair = [signal(0), signal(HOUR, BSC, to="y")]
    case.add(*pair)
    case.correlator.verdict(case.one.id, "false-alarm", "ana", "", "1")
    case.add(*pair)
    assert case.one.status is Status.FALSE_ALARM and not case.correlator.waiting.get("One")


def test_signals_are_forgotten_when_all_chains_are_past_them() -> None:
    """A chain that lags keeps them: it may still show what wakes them."""
    case = Case()
    case.add(signal(0))
    case.correlator.passed(ETH, START + 100 * KEPT)
    case.add(signal(100 * KEPT, to="z"))
    assert len(case.correlator.waiting["One"].findings) == 2
    case.correlator.passed(BSC, START + KEPT + 1)
    case.add(signal(100 * KEPT + 1, to="z2"))
    assert signal(0).id not in case.correlator.waiting["One"].findings
    assert len(case.correlator.waiting["One"].findings) == 2


def test_an_info_rule_is_no_signal() -> None:
    """Only what the engine measured close under a threshold is one."""
    plain: Any = finding(0, severity=0)
    assert not is_signal(plain) and is_signal(signal(0))
