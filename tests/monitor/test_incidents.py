"""Incidents: what belongs together, merging, retraction and return, verdicts, what people are told, exact losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.errors import StoreError
from monitor.grouping import GAP
from monitor.ids import iso
from monitor.incidents import Correlator, movement_key
from monitor.model import Finding, Incident, Movement, Severity, Status

HOUR = 3600
START = 1_700_000_000
LOW, HIGH, CRITICAL = Severity.LOW, Severity.HIGH, Severity.CRITICAL


def found(
    at: int, to: str = "x", *, name: str | None = None, chain: str = "a:1", severity: Severity = LOW,
    block: int | None = None, wallet: str = "hot", asset: str = "coin", index: int = 0, tx: str | None = None,
    **more: Any,
) -> Finding:  # fmt: skip
    """A finding ``at`` seconds after the start; its block is that number, its transaction named after it."""
    tx = tx or f"t{at}"
    name = name or f"{chain}-{tx}-{to}-{asset}"
    number = at if block is None else block
    return Finding(
        name, "HW-1", wallet, chain, severity, 1.0, "", tx, START + at, number, index, asset, to, 10,
        budget_exceeded=True, **more,
    )  # fmt: skip


def sent(
    at: int, value: int, to: str = "x", *, chain: str = "a:1", wallet: str = "hot", asset: str = "coin", index: int = 0,
    block: int | None = None, tx: str | None = None,
) -> Movement:  # fmt: skip
    return Movement(wallet, chain, asset, to, value, START + at, tx or f"t{at}", index, at if block is None else block)


def back(
    at: int, value: int, of: str = "x", *, chain: str = "a:1", wallet: str = "hot", asset: str = "coin",
    block: int | None = None, tx: str | None = None,
) -> Movement:  # fmt: skip
    """An arrival from a suspect."""
    return sent(at, value, of, chain=chain, wallet=wallet, asset=asset, block=block, tx=tx or f"b{at}")


class Case:
    """A correlator with evidence of one entity; every movement has the balance that it left."""

    def __init__(self) -> None:
        self.correlator = Correlator()

    def add(self, findings: list[Finding], movements: list[Movement] | None = None, left: float = 0.0) -> list[str]:
        moved = movements or []
        return self.correlator.add("One", findings, moved, {movement_key(m): left for m in moved})

    def early(self, findings: list[Finding], movements: list[Movement], early: list[Movement], left: float) -> None:
        self.correlator.add("One", findings, [*early, *movements], {movement_key(m): left for m in movements})

    def returns(self, *movements: Movement) -> list[str]:
        return self.correlator.add("One", [], [], {}, movements)

    def kinds(self, changed: list[str]) -> list[str | None]:
        return [self.correlator.change(name).kind for name in changed]

    @property
    def all(self) -> list[Incident]:
        return self.correlator.all()

    @property
    def one(self) -> Incident:
        (incident,) = self.all
        return incident


@pytest.mark.parametrize(("apart", "incidents"), [(GAP, 1), (GAP + 1, 2), (0, 1)])
def test_a_day_without_evidence_ends_an_incident(apart: int, incidents: int) -> None:
    """24 hours belong together still, a second more does not; on any wallet, asset and chain of the entity."""
    case = Case()
    case.add([found(0)])
    case.add([found(apart, "y", chain="b:1", wallet="cold", asset="token")])
    assert len(case.all) == incidents


def test_entities_are_apart() -> None:
    """The same moment at another owner is another incident."""
    correlator = Correlator()
    correlator.add("One", [found(0)], [])
    correlator.add("Two", [found(1, "y", wallet="w2")], [])
    assert sorted(i.entity for i in correlator.all()) == ["One", "Two"]


def test_a_bridging_finding_merges_into_the_earlier() -> None:
    """Two incidents 40 hours apart become one when evidence between them arrives; the earlier keeps its id."""
    case = Case()
    (late,) = case.add([found(40 * HOUR, "y")], [sent(40 * HOUR, 5, "y")])
    (early,) = case.add([found(0)], [sent(0, 7)])
    assert case.kinds([late, early]) == ["opened", "opened"]
    changed = case.add([found(20 * HOUR, "z")], [sent(20 * HOUR, 1, "z")])
    assert changed == [late, early] and list(case.correlator.records) == [early]
    assert case.one.lost == (("coin", 13),) and [f.at - START for f in case.one.findings] == [0, 20 * HOUR, 40 * HOUR]
    assert case.one.history[-1]["what"] == "merged" and case.one.history[-1]["comment"] == late
    record = case.correlator.get(late)
    assert record is not None and record.id == early
    assert case.correlator.verdict(late, "acknowledge", "me", "", "now") == [early]
    assert case.one.status is Status.ACKNOWLEDGED


def test_a_merged_incident_stays_merged_after_storage() -> None:
    """Its stored form is a reference that loads as one, in any order."""
    case = Case()
    (late,) = case.add([found(40 * HOUR, "y")])
    (early,) = case.add([found(0)])
    case.add([found(20 * HOUR, "z")])
    for names in ((late, early), (early, late)):
        again = Correlator()
        again.load([case.correlator.dump(name) for name in names])
        assert list(again.records) == [early] and again.merged == {late: early}
        assert again.all() == case.all


def test_a_confirmed_incident_stays_confirmed_when_it_merges() -> None:
    """A confirmation is not lost with the incident that it was given to."""
    case = Case()
    (late,) = case.add([found(40 * HOUR, "y")])
    case.add([found(0)])
    case.correlator.verdict(late, "confirm", "me", "", "now")
    case.add([found(20 * HOUR, "z")])
    assert case.one.status is Status.CONFIRMED


def test_payments_to_suspects_are_counted_once() -> None:
    """By transaction, asset, destination and position; to others not at all."""
    case = Case()
    case.add([found(0)], [sent(0, 7)])
    case.add([], [sent(0, 7), sent(5, 2), sent(5, 3, index=1), sent(6, 100, "stranger"), sent(7, 9, wallet="cold")])
    assert case.one.lost == (("coin", 12),)


def test_payments_too_far_off_wait_for_what_bridges_the_gap() -> None:
    """30 hours after the last finding a payment is outside; evidence of another chain at 20 hours brings it in."""
    case = Case()
    case.add([found(0)], [sent(0, 7)])
    case.add([], [sent(30 * HOUR, 5)])
    assert case.one.lost == (("coin", 7),)
    case.add([found(20 * HOUR, "y", chain="b:1")])
    assert case.one.lost == (("coin", 12),)


def test_early_payments_count_up_to_the_finding() -> None:
    """What went to a suspect within the day before its finding, not before that, and nothing after that did not hit."""
    case = Case()
    early = [sent(-GAP - 1, 1, block=-2), sent(-GAP, 2, block=-1), sent(-5, 4, block=-1, index=1), sent(9, 8, block=9)]
    case.early([found(0)], [sent(0, 16)], early, 0.0)
    assert case.one.lost == (("coin", 22),)


def test_shares_lost() -> None:
    """share_lost: sent over the balance before; at open: sent up to the opening flow over all; means over assets."""
    case = Case()
    case.early([found(10, index=3)], [sent(10, 100, index=3)], [sent(5, 20)], left=80.0)
    case.add([], [sent(10, 30, index=4)], left=50.0)
    assert case.one.share_lost_at_open == pytest.approx(120 / 150)
    assert case.one.share_lost == pytest.approx(150 / 200)
    case.add([found(20, asset="token")], [sent(20, 7, asset="token")], left=21.0)
    assert case.one.share_lost_at_open == pytest.approx((120 / 150 + 0) / 2)
    assert case.one.share_lost == pytest.approx((150 / 200 + 7 / 28) / 2)
    case.add([found(30, chain="b:1", asset="other")], [sent(30, 5, chain="b:1", asset="other")], left=0.0)
    assert case.one.share_lost_at_open == pytest.approx((120 / 150) / 3)
    assert case.one.share_lost == pytest.approx((150 / 200 + 7 / 28 + 1.0) / 3)


def test_what_other_chains_lost_before_the_opening_counts_by_time() -> None:
    """The opening flow's chain counts by position, other chains by event time."""
    case = Case()
    case.add([found(10, asset="a")], [sent(10, 4, asset="a")])
    early = [sent(9, 3, "y", chain="b:1", asset="b", block=500), sent(10, 1, "y", chain="b:1", asset="b", block=501)]
    late = [found(11, "y", chain="b:1", asset="b", block=502)]
    case.early(late, [sent(11, 4, "y", chain="b:1", asset="b", block=502)], early, 0.0)
    assert case.one.share_lost_at_open == pytest.approx((1.0 + 4 / 8) / 2)


def test_an_unknown_balance_leaves_its_asset_out_of_the_share() -> None:
    """Without a balance there is no share of it; amounts are exact beyond 2^53."""
    case = Case()
    big = 10**30 + 1
    case.early([found(10)], [], [sent(10, big)], 0.0)
    assert case.one.share_lost is None and case.one.lost == (("coin", big),)


def test_two_flows_of_a_transaction_are_one_finding() -> None:
    """The same destination twice in one transaction: raised by the first, as grave as the worse."""
    case = Case()
    first = found(10, name="f", index=1, severity=LOW)
    second = found(10, name="f", index=2, severity=HIGH)
    case.add([first, second], [sent(10, 5, index=1), sent(10, 6, index=2)])
    (finding,) = case.one.findings
    assert (finding.index, finding.severity) == (1, HIGH) and case.one.share_lost_at_open == pytest.approx(5 / 11)


def test_fields_follow_from_the_findings() -> None:
    """Severity is the worst, the page the first high one, the period the rarest, suspects and wallets sorted."""
    case = Case()
    case.add([found(10, "y", severity=LOW, return_period_days=40.0)], [sent(10, 1, "y")])
    case.add([found(20, "b", severity=CRITICAL, return_period_days=9e9, wallet="cold")])
    case.add([found(15, "a", severity=HIGH)])
    one = case.one
    assert (one.severity, one.opened_at, one.opened_tx, one.paged_at, one.paged_tx) == (
        CRITICAL, START + 10, "t10", START + 15, "t15",
    )  # fmt: skip
    assert one.suspects == (("a:1", "a"), ("a:1", "b"), ("a:1", "y")) and one.wallets == ("cold", "hot")
    assert one.return_period_days == 9e9 and one.budget_exceeded and one.updated_at == START + 20


# -- reorgs ------------------------------------------------------------------------------------------------------------


def stolen(value: int = 7) -> tuple[Case, str]:
    case = Case()
    (name,) = case.add([found(10, severity=HIGH)], [sent(10, value)], left=3.0)
    assert case.kinds([name]) == ["opened"]
    return case, name


def test_what_does_not_come_back_is_retracted_once_the_old_tip_is_passed() -> None:
    """In doubt until the new branch is as high as the old one; then the incident did not happen, and people hear it."""
    case, name = stolen()
    assert case.correlator.disconnect("a:1", 10, 12) == [name]
    assert [item.tx for item in case.correlator.doubtful("a:1")] == ["t10"] and case.correlator.doubtful("b:1") == []
    assert case.correlator.settle("a:1", 11) == [] and case.one.status is Status.OPEN
    assert case.correlator.settle("b:1", 99) == []
    assert case.correlator.settle("a:1", 12) == [name]
    assert case.one.status is Status.RETRACTED and case.one.lost == () and case.correlator.doubtful("a:1") == []
    assert case.kinds([name]) == ["retracted"]


def test_a_return_reopens_the_same_incident_as_an_update() -> None:
    """Mined again after its retraction: the id stays, people get an update, amounts are those of the new block."""
    case, name = stolen()
    case.correlator.disconnect("a:1", 10, 10)
    case.kinds(case.correlator.settle("a:1", 10))
    changed = case.add([found(50, tx="t10", block=14, severity=HIGH)], [sent(50, 7, tx="t10", block=14)], left=3.0)
    assert changed == [name] and case.one.status is Status.OPEN and case.one.opened_block == 14
    assert case.one.lost == (("coin", 7),) and case.kinds([name]) == ["updated"]


def test_a_return_before_the_retraction_is_no_news() -> None:
    """Mined again one block later with the same amount: the same finding, counted once, nobody is told."""
    case, name = stolen()
    case.correlator.disconnect("a:1", 10, 10)
    changed = case.add([found(22, tx="t10", block=11, severity=HIGH)], [sent(22, 7, tx="t10", block=11, index=4)], 3.0)
    assert changed == [name] and case.kinds(changed) == [None]
    assert case.one.lost == (("coin", 7),) and case.one.share_lost == pytest.approx(0.7)
    assert case.correlator.settle("a:1", 99) == [] and case.one.status is Status.OPEN


def test_a_return_that_shows_less_takes_the_rest_back() -> None:
    """On the new branch the same transaction fires another detector: the old finding goes, its place keeps the id."""
    case, name = stolen()
    case.correlator.disconnect("a:1", 10, 10)
    assert case.add([found(22, tx="t10", block=11, name="other")], [sent(22, 7, tx="t10", block=11)], 3.0) == [name]
    assert [f.id for f in case.one.findings] == ["other"] and case.one.severity is LOW
    case.correlator.disconnect("a:1", 11, 11)
    assert case.add([], [sent(22, 7, tx="t10", block=11)], 3.0) == [name]  # a payment to a suspect, no more
    assert case.one.status is Status.RETRACTED


def test_only_what_was_disconnected_is_in_doubt() -> None:
    """Evidence of other blocks and chains stays; the loss shrinks by what went."""
    case, name = stolen()
    case.add([found(20, "y"), found(20, "z", chain="b:1")], [sent(20, 5, "y"), sent(20, 9, "z", chain="b:1")])
    case.correlator.disconnect("a:1", 20, 20)
    assert case.correlator.settle("a:1", 20) == [name]
    assert case.one.lost == (("coin", 16),) and len(case.one.findings) == 2


def test_losing_the_bridge_splits_what_it_joined() -> None:
    """Without the finding between them two incidents are two again; the first keeps the id, payments follow theirs."""
    case = Case()
    (name,) = case.add([found(0)], [sent(0, 1)])
    case.add([found(20 * HOUR, "y")], [sent(20 * HOUR, 2, "y")])
    case.add([found(40 * HOUR, "z")], [sent(40 * HOUR, 4, "z")])
    case.correlator.disconnect("a:1", 20 * HOUR, 7)
    changed = case.correlator.settle("a:1", 7)
    assert len(changed) == 2 and name in changed and [i.lost[0][1] for i in case.all] == [1, 4]
    assert case.all[0].id == name


def test_a_closed_incident_takes_back_its_own_and_stays_closed() -> None:
    """A dismissed transaction that is mined again raises no second alarm."""
    case, name = stolen()
    case.kinds(case.correlator.verdict(name, "false-alarm", "me", "known customer", "now"))
    case.correlator.disconnect("a:1", 10, 10)
    changed = case.add([found(22, tx="t10", block=11, severity=HIGH)], [sent(22, 7, tx="t10", block=11)], 3.0)
    assert changed == [name] and case.one.status is Status.FALSE_ALARM and case.one.lost == (("coin", 7),)
    assert case.kinds(changed) == [None]


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_nine_tenths_back_end_an_incident() -> None:
    """89 % are a partial return and no news; 90 % make it low and resolved by heistwatch, told once; lost stays."""
    case, name = stolen(100)
    assert case.kinds(case.returns(back(20, 89))) == [None]
    assert (case.one.status, case.one.severity, case.one.returned) == (Status.OPEN, HIGH, (("coin", 89),))
    assert case.kinds(case.returns(back(30, 1, tx="c"))) == ["resolved"]
    one = case.one
    assert (one.status, one.severity, one.returned, one.lost) == (
        Status.RESOLVED, LOW, (("coin", 90),), (("coin", 100),),
    )  # fmt: skip
    assert one.history == (
        {"what": "resolve", "by": "heistwatch", "comment": "the funds came back", "at": iso(START + 30)},
    )
    assert one.paged_at == START + 10 and one.share_lost == pytest.approx(100 / 103)
    assert case.kinds(case.returns(back(40, 50))) == [None] and case.one.returned == (("coin", 140),)
    assert case.correlator.dump(name)


def test_every_lost_asset_must_come_back() -> None:
    """One asset whole, the other not: still open. What was never lost is no return."""
    case, _ = stolen(100)
    case.add([found(11, asset="token")], [sent(11, 50, asset="token")])
    case.returns(back(20, 100), back(21, 44, asset="token"), back(22, 10**9, asset="junk"))
    assert case.one.status is Status.OPEN and case.one.returned == (("coin", 100), ("token", 44))
    case.returns(back(23, 1, asset="token", tx="c"))
    assert case.one.status is Status.RESOLVED


@pytest.mark.parametrize(
    ("movement", "counts"),
    [
        (back(20, 100, wallet="cold"), True),  # any wallet of the entity
        (back(10 + 30 * 24 * HOUR, 100), True),
        (back(11 + 30 * 24 * HOUR, 100), False),  # a second too late
        (back(9, 100), False),  # before the theft
        (back(20, 100, block=9), False),  # before it in the chain, whatever its clock says
        (back(20, 100, "stranger"), False),
        (back(20, 100, chain="b:1"), False),  # the same letters on another chain are another address
    ],
)
def test_what_counts_as_a_return(movement: Movement, counts: bool) -> None:
    """From a suspect, after the finding in its chain's order, within 30 days, to any wallet of the owner."""
    case, _ = stolen(100)
    case.returns(movement)
    assert (case.one.status is Status.RESOLVED) is counts and bool(case.one.returned) is counts


def test_coins_from_an_address_of_many_people_are_no_return() -> None:
    """A thief pays into an exchange whose customers pay in as ever: that is not the loot."""
    case = Case()
    case.add([found(10, severity=HIGH, evidence={"destination_label": "exchange"})], [sent(10, 100)])
    assert case.returns(back(20, 100)) == [] and case.one.status is Status.OPEN and case.one.returned == ()


def test_a_further_loss_opens_it_again() -> None:
    """Within a day it joins the incident, which rises from low again: escalated; as low as before: an update."""
    for severity, kind in ((HIGH, "escalated"), (LOW, "updated")):
        case = Case()
        (name,) = case.add([found(10, severity=severity)], [sent(10, 100)])
        case.kinds([name])
        assert case.kinds(case.returns(back(20, 100))) == ["resolved"]
        assert case.kinds(case.add([], [sent(30, 50)])) == [kind]
        assert (case.one.id, case.one.status, case.one.severity, case.one.history) == (name, Status.OPEN, severity, ())
        assert case.kinds(case.returns(back(40, 40))) == ["resolved"]


def test_a_return_that_did_not_happen_opens_it_again() -> None:
    """Its block is disconnected: in doubt it still counts; given up, the alarm is raised again; mined again, not."""
    case, name = stolen(100)
    case.kinds(case.returns(back(20, 100)))
    assert case.correlator.disconnect("a:1", 20, 20) == [name] and case.one.status is Status.RESOLVED
    assert case.returns(back(22, 100, block=21, tx="b20")) == [name] and case.kinds([name]) == [None]
    assert case.correlator.doubtful("a:1") == []
    case.correlator.disconnect("a:1", 21, 21)
    assert case.kinds(case.correlator.settle("a:1", 21)) == ["escalated"]
    assert (case.one.status, case.one.severity, case.one.returned) == (Status.OPEN, HIGH, ())


def test_a_theft_that_did_not_happen_takes_its_return_along() -> None:
    """Retracted, and told so, though people heard that it was over."""
    case, _ = stolen(100)
    case.kinds(case.returns(back(20, 100)))
    case.correlator.disconnect("a:1", 10, 10)
    assert case.kinds(case.correlator.settle("a:1", 10)) == ["retracted"] and case.one.returned == ()


@pytest.mark.parametrize("what", ["confirm", "false-alarm", "resolve", "acknowledge"])
def test_a_verdict_stands(what: str) -> None:
    """What a person judged keeps status and severity; the amounts are kept with it. Acknowledged is no judgement."""
    case, name = stolen(100)
    case.kinds(case.correlator.verdict(name, what, "ana", "", "1"))
    before = case.one
    case.kinds(case.returns(back(20, 100)))
    assert case.one.returned == (("coin", 100),)
    if what == "acknowledge":
        assert (case.one.status, case.one.severity) == (Status.RESOLVED, LOW)
    else:
        assert (case.one.status, case.one.severity, case.one.history) == (
            before.status, before.severity, before.history,
        )  # fmt: skip


def test_what_a_person_opens_again_stays_open() -> None:
    """Reopened after the return: open at its old severity, until somebody judges; a late verdict is kept, too."""
    case, name = stolen(100)
    case.kinds(case.returns(back(20, 100)))
    for _ in range(2):
        case.correlator.verdict(name, "reopen", "ana", "they paid us to be quiet", "1")
        assert (case.one.status, case.one.severity) == (Status.OPEN, HIGH)
    again = Correlator()
    again.load([case.correlator.dump(name)])
    assert again.all() == case.all
    case.correlator.verdict(name, "confirm", "ana", "", "2")
    assert (case.one.status, case.one.severity) == (Status.CONFIRMED, HIGH)


def test_returns_are_the_same_in_any_order_and_after_storage() -> None:
    """Two thefts two days apart that a third one bridges, each paid back: any order, split or restart is one result."""
    thefts = [([found(at, severity=HIGH)], [sent(at, 100)]) for at in (0, 40 * HOUR, 20 * HOUR)]
    returns = [back(1 * HOUR, 60), back(41 * HOUR, 150, tx="z"), back(50 * HOUR, 60)]
    at_once = Case()
    moved = [m for _, ms in thefts for m in ms]
    at_once.correlator.add(
        "One", [f for fs, _ in thefts for f in fs], moved, {movement_key(m): 0.0 for m in moved}, returns
    )
    assert at_once.one.status is Status.RESOLVED and at_once.one.returned == (("coin", 270),)
    one = Case()
    for findings, movements in thefts:
        one.add(findings, movements)
        again = Correlator()
        again.load([one.correlator.dump(name) for name in [*one.correlator.merged, *one.correlator.records]])
        one.correlator = again
        one.returns(*returns)
    assert [replace(i, id="", history=(), revision=0) for i in one.all] == [
        replace(i, id="", history=(), revision=0) for i in at_once.all
    ]


def test_each_incident_gets_what_answers_it() -> None:
    """The latest finding before a return takes it: the older incident with the same suspect stays open."""
    case = Case()
    case.add([found(0)], [sent(0, 100)])
    case.add([found(40 * HOUR)], [sent(40 * HOUR, 10)])
    case.returns(back(41 * HOUR, 100))
    assert [(i.status, i.returned) for i in case.all] == [(Status.OPEN, ()), (Status.RESOLVED, (("coin", 100),))]


# -- people ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "status", "kind", "collects"),
    [
        ("acknowledge", Status.ACKNOWLEDGED, None, True),
        ("confirm", Status.CONFIRMED, None, True),
        ("false-alarm", Status.FALSE_ALARM, "resolved", False),
        ("resolve", Status.RESOLVED, "resolved", False),
    ],
)
def test_verdicts(what: str, status: Status, kind: str | None, collects: bool) -> None:
    """Each verdict sets its status and is kept with who, when and why; a closed incident takes in nothing more."""
    case, name = stolen()
    assert case.correlator.verdict(name, what, "ana", "because", "2024-01-01T00:00:00Z") == [name]
    assert case.one.status is status and case.kinds([name]) == [kind]
    assert case.one.history == ({"what": what, "by": "ana", "comment": "because", "at": "2024-01-01T00:00:00Z"},)
    case.add([found(20, "y")], [sent(20, 5, "y")])
    assert len(case.all) == (1 if collects else 2)


def test_a_closed_incident_that_is_reopened_collects_again() -> None:
    """Reopening joins it with what came meanwhile."""
    case, name = stolen()
    case.kinds(case.correlator.verdict(name, "resolve", "me", "", "1"))
    (other,) = case.add([found(20, "y")], [sent(20, 5, "y")])
    changed = case.correlator.verdict(name, "reopen", "me", "", "2")
    assert set(changed) == {name, other} and case.one.id == name and case.one.lost == (("coin", 12),)


def test_a_verdict_on_nothing_changes_nothing() -> None:
    """An unknown id gives no change; acknowledging a retracted incident does not bring it back."""
    case, name = stolen()
    assert case.correlator.verdict("nobody", "confirm", "me", "", "1") == []
    case.correlator.disconnect("a:1", 10, 10)
    case.correlator.settle("a:1", 10)
    assert case.correlator.verdict(name, "acknowledge", "me", "", "1") == [name]
    assert case.one.status is Status.RETRACTED


def test_people_hear_of_each_doubling_and_each_severity() -> None:
    """Escalated when a loss doubles since the last alarm, another chain loses coins, or the severity rises."""
    case = Case()
    assert case.kinds(case.add([found(0)], [sent(0, 100)])) == ["opened"]
    assert case.kinds(case.add([], [sent(1, 99)])) == ["updated"]
    assert case.kinds(case.add([], [sent(2, 1)])) == ["escalated"]
    assert case.kinds(case.add([], [sent(3, 199)])) == ["updated"]
    assert case.kinds(case.add([found(4, "y", severity=HIGH)])) == ["escalated"]
    assert case.kinds(case.add([found(5, "z", severity=HIGH)])) == [None]
    there = {"chain": "b:2", "asset": "b:2/coin"}
    assert case.kinds(case.add([found(6, "w", **there)], [sent(6, 1, "w", **there)])) == ["escalated"]
    token = {"chain": "b:2", "asset": "b:2/token"}
    assert case.kinds(case.add([], [sent(7, 1, "w", **token)])) == ["updated"]
    assert case.one.revision == 8


def test_a_resolution_is_told_once() -> None:
    """Later changes of a closed incident are no news; reopened, it is an alarm like a new one."""
    case, name = stolen()
    assert case.kinds(case.correlator.verdict(name, "resolve", "me", "", "1")) == ["resolved"]
    assert case.kinds([name]) == [None]
    assert case.kinds(case.correlator.verdict(name, "reopen", "me", "", "2")) == ["opened"]


def test_incidents_survive_storage() -> None:
    """Stored and loaded, an incident is the same and goes on the same way."""
    case, name = stolen()
    case.correlator.disconnect("a:1", 10, 12)
    again = Correlator()
    again.load([case.correlator.dump(name)])
    assert again.all() == case.all and again.doubtful("a:1") == case.correlator.doubtful("a:1")
    for correlator in (again, case.correlator):
        correlator.settle("a:1", 12)
    assert again.all() == case.all
    with pytest.raises(StoreError, match="cannot be read"):
        Correlator().load([b'{"id": 1}'])
    with pytest.raises(KeyError):
        again.incident("nobody")


def test_the_same_transaction_can_raise_a_second_incident() -> None:
    """Its name is taken by a closed one: the new one gets another, not the old one's history."""
    case, name = stolen()
    case.correlator.verdict(name, "resolve", "me", "", "1")
    (second,) = case.add([replace(found(10, severity=HIGH))], [sent(10, 7)])
    assert second != name and case.correlator.incident(name).status is Status.RESOLVED
