"""Changes of Safes: by event, by what the state says, by both; severities, look-alikes, what was planned."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.config.types import Planned
from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.labels import Label, LabelBook, LabelKind
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Finding, Reading, Role, Trusted, Tx, Wallet
from monitor.policies.book import PolicyBook
from monitor.policies.control.policy import ControlChanges
from monitor.policies.control.released import library_of, singleton_of
from monitor.watchlist import Watchlist
from tests.contracts.artifacts import artifact

ETH = "eip155:1"
START, DAY = 1_700_000_000, 86400
SAFE, COLD_SAFE = "0x" + "5a" * 20, "0x" + "c0" * 20
A, B, C, D, E = ("0x" + digit * 40 for digit in "abcde")
THIEF, FRIEND, OLD, NEW = ("0x" + digits * 20 for digits in ("66", "f1", "01", "02"))
ZERO = "0x" + "0" * 40
V141 = "0x1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4"
V130 = "0xbba688fbdb21ad2bb58bc320638b43d94e7d100f6f3ebaab0a4e4de6304b1c2e"
SINGLETON = "0x41675c099f32341bf84bfc5382af534df5c7461a"
BASE = {
    "code": "contract", "code_hash": "0xproxy", "form": "safe", "implementation": SINGLETON,
    "implementation_code": V141, "implementation_age": "old",
    "owners": f"{A},{B},{C}", "threshold": "2", "modules": "", "guard": D, "fallback": E,
    "module_guard": "", "owner_delegates": "", "delegate": "",
}  # fmt: skip
WALLETS = (
    Wallet("treasury", "Us", Role.TREASURY, ((ETH, SAFE),), trusted=(Trusted(ETH, FRIEND),)),
    Wallet("vault", "Us", Role.COLD, ((ETH, COLD_SAFE),)),
)
BOOK = LabelBook([Label(ETH, THIEF, "Known thief", LabelKind.THEFT, "tests", 0)])
Found = list[tuple[str, str]]


class Chain:
    """An engine that knows the Safe, and blocks that extend its chain."""

    def __init__(self, planned: tuple[Planned, ...] = (), first: dict[str, str] | None = None, account: str = SAFE):
        watchlist = Watchlist(WALLETS)
        self.account, self.number, self.undo = account, 0, [()]
        self.policy = ControlChanges(watchlist, planned, BOOK)
        self.engine = Engine(watchlist, [], PolicyBook(watchlist, [self.policy]))
        if first is not None:
            assert self.block(readings=[first]) == []

    def block(self, *events: Any, readings: Any = (), at: int = 0, touched: bool = True) -> list[Finding]:
        """Connect a block; events are (kind, subject, detail), readings are changes of `BASE`."""
        self.number += 1
        ref = BlockRef(ETH, self.number, f"b{self.number}")
        tx = Tx(f"t{self.number}", 0, initiator=A)
        controls = tuple(ControlEvent(ref, tx, kind, self.account, subject, detail) for kind, subject, detail in events)
        read = tuple(Reading(self.account, {**BASE, **values}, tx if touched else None) for values in readings)
        folded = self.engine.connect(Block(ref, "", START + at, (), controls, readings=read))
        self.undo.append(folded.undo)
        return list(folded.findings)

    def found(self, *events: Any, **more: Any) -> Found:
        """Detector and severity of what a block raises."""
        return [(f.detector, str(f.severity)) for f in self.block(*events, **more)]


def known(**more: Any) -> Chain:
    return Chain(first={}, **more)


def test_the_first_reading_is_the_baseline_and_repeats_say_nothing() -> None:
    """A released Safe of two of three: nothing to be said, then and later; and the state stays as it is."""
    chain = known()
    before = chain.engine.dump()
    assert chain.found(readings=[{}]) == [] and chain.engine.dump() == before
    assert chain.found(readings=[{"implementation_age": "young"}]) == []  # a word of time, and no change


def test_an_implementation_that_is_swapped_without_an_event() -> None:
    """Critical, said in words: what it is now, what it was, and that no event told of it; told once."""
    chain = known()
    change = {"implementation": THIEF, "implementation_code": "0xbad", "implementation_age": "young"}
    (finding,) = chain.block(readings=[change])
    assert (finding.detector, str(finding.severity), finding.destination) == ("CT-1", "critical", THIEF)
    assert finding.summary == (
        f"the implementation of Safe {SAFE} is {THIEF} (Known thief) (no released Safe) now, was {SINGLETON} (Safe "
        "1.4.1); no event told of it"
    )
    assert finding.evidence["eventless"] is True and finding.evidence["before"] == SINGLETON
    assert finding.tx == "t2" and not finding.budget_exceeded
    assert chain.found(readings=[change]) == []


def test_an_event_and_the_reading_of_it_are_one_finding() -> None:
    """In one block, or a block later; the event's transaction is named."""
    event = (ControlKind.IMPLEMENTATION_CHANGE, THIEF, {"slot": "safe"})
    change = {"implementation": THIEF, "implementation_code": "0xbad"}
    chain = known()
    (finding,) = chain.block(event, readings=[change])
    assert "eventless" not in finding.evidence and finding.tx == "t2"
    later = known()
    assert later.found(event) == [("CT-1", "critical")] and later.found(readings=[change]) == []


def test_a_migration_to_a_released_safe_is_medium() -> None:
    """By the hash of its code; where that was not read by the place of a deployment; never by the place against it."""
    canonical = "0xd9db270c1b5e3bd161e8c8503c55ceabee709552"
    change = {"implementation": NEW, "implementation_code": V130}
    assert known().found(readings=[change]) == [("CT-1", "medium")]
    assert known().found((ControlKind.IMPLEMENTATION_CHANGE, canonical, {"slot": "safe"})) == [("CT-1", "medium")]
    change = {"implementation": canonical, "implementation_code": "0xbad"}
    assert known().found(readings=[change]) == [("CT-1", "critical")]


def test_other_code_at_the_same_implementation() -> None:
    """The address stays and its code does not: critical. That its code is read for the first time is nothing."""
    (finding,) = known().block(readings=[{"implementation_code": "0xbad"}])
    assert (finding.detector, str(finding.severity)) == ("CT-1", "critical") and "another one now" in finding.summary
    chain = known()
    chain.block((ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "safe"}))
    assert chain.found(readings=[{"implementation": NEW, "implementation_code": "0xnew"}]) == []


@pytest.mark.parametrize(
    ("target", "detail", "expected"),
    [
        (THIEF, {"target_code": "0xbad"}, [("CT-2", "critical")]),
        (THIEF, {}, [("CT-2", "critical")]),
        (NEW, {"target_code": "0xecd5bd14a08c5d2122379900b2f272bdf107a7e92423c10dd5fe3254386c9939"}, []),
        ("0x40a2accbd92bca938b02010e17a5b8929b49130d", {}, []),
        ("0x40a2accbd92bca938b02010e17a5b8929b49130d", {"target_code": "0xbad"}, [("CT-2", "critical")]),
        (FRIEND, {"target_code": "0xbad"}, [("CT-2", "critical")]),  # trusted for payments, not with the whole Safe
    ],
)
def test_delegatecalls(target: str, detail: dict[str, str], expected: Found) -> None:
    """Pinned code is silent wherever it lies; a known place counts only where nobody read the code."""
    assert known().found((ControlKind.DELEGATE_CALL, target, detail)) == expected


def test_owners_and_threshold() -> None:
    """High one by one; critical from more than a third within a week on, or where fewer signatures are enough."""
    added = (ControlKind.OWNER_CHANGE, D, {"change": "added"})
    removed = (ControlKind.OWNER_CHANGE, A, {"change": "removed"})
    chain = known()
    assert chain.found(added) == [("CT-3", "high")] and chain.found(added) == []
    assert chain.found(removed) == [("CT-3", "high")]  # one came, one went: one of three
    assert chain.found((ControlKind.OWNER_CHANGE, E, {"change": "added"}), at=6 * DAY) == [("CT-3", "critical")]
    slow = known()
    assert slow.found(added) == slow.found(removed, at=8 * DAY) == [("CT-3", "high")]
    assert slow.found((ControlKind.OWNER_CHANGE, E, {"change": "added"}), at=16 * DAY) == [("CT-3", "high")]
    assert known().found((ControlKind.OWNER_CHANGE, THIEF, {"change": "added"})) == [("CT-3", "critical")]  # labelled
    assert known().found((ControlKind.THRESHOLD_CHANGE, "1", {})) == [("CT-3", "critical")]
    assert known().found((ControlKind.THRESHOLD_CHANGE, "3", {})) == [("CT-3", "high")]
    assert known().found((ControlKind.THRESHOLD_CHANGE, "2", {})) == []


def test_owners_that_the_state_shows() -> None:
    """Whoever came and went is named, each one; a Safe always tells of it by an event, so that none is critical."""
    findings = known().block(readings=[{"owners": f"{B},{C},{D}"}])
    assert [(f.detector, str(f.severity), f.evidence["value"], f.destination) for f in findings] == [
        ("CT-3", "critical", A, ""), ("CT-3", "critical", D, D)
    ]  # fmt: skip
    (early,) = known().block(readings=[{"threshold": "3"}], touched=False)
    assert str(early.severity) == "high" and early.tx.startswith("reading-") and "may be older" in early.summary


def test_one_owner_of_one_is_more_than_a_third() -> None:
    """And where nobody knows how many there are, it is high."""
    chain = Chain(first={"owners": A, "threshold": "1"})
    assert chain.found((ControlKind.OWNER_CHANGE, B, {"change": "added"})) == [("CT-3", "critical")]
    assert Chain().found((ControlKind.OWNER_CHANGE, B, {"change": "added"})) == [("CT-3", "high")]


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        ((ControlKind.MODULE_CHANGE, NEW, {"change": "enabled"}), "critical"),
        ((ControlKind.GUARD_CHANGE, ZERO, {"which": "guard"}), "critical"),
        ((ControlKind.GUARD_CHANGE, NEW, {"which": "guard"}), "high"),
        ((ControlKind.GUARD_CHANGE, NEW, {"which": "module_guard"}), "high"),
        ((ControlKind.FALLBACK_CHANGE, NEW, {}), "high"),
        ((ControlKind.FALLBACK_CHANGE, ZERO, {}), "high"),
        ((ControlKind.FALLBACK_CHANGE, THIEF, {}), "critical"),
    ],
)
def test_modules_guards_and_fallback(event: Any, severity: str) -> None:
    """CT-4, by what it does."""
    assert known().found(event) == [("CT-4", severity)]


def test_modules_that_come_and_go() -> None:
    """Enabled critical, disabled high; what a reading repeats is nothing, what it adds is critical."""
    chain = known()
    chain.block((ControlKind.MODULE_CHANGE, NEW, {"change": "enabled"}))
    assert chain.found(readings=[{"modules": NEW}]) == []
    assert chain.found((ControlKind.MODULE_CHANGE, NEW, {"change": "disabled"})) == [("CT-4", "high")]
    assert chain.found(readings=[{"modules": NEW, "guard": ""}]) == [("CT-4", "critical")] * 2


def test_a_refund_is_critical_unless_its_receiver_is_trusted() -> None:
    detail = {"gas_token": OLD, "gas_price": "7"}
    assert known().found((ControlKind.REFUND, NEW, detail)) == [("CT-10", "critical")]
    assert known().found((ControlKind.REFUND, FRIEND, detail)) == []


def test_a_change_and_its_way_back_in_one_block() -> None:
    """The state shows nothing, the events do."""
    events = [(ControlKind.GUARD_CHANGE, guard, {"which": "guard"}) for guard in (ZERO, D)]
    assert known().found(*events, readings=[{}]) == [("CT-4", "critical"), ("CT-4", "high")]


# -- planned ----------------------------------------------------------------------------------------------------------

PLANS = [
    (ControlKind.OWNER_CHANGE, D, {"change": "added"}, {"owners": f"{A},{B},{C},{D}"}),
    (ControlKind.OWNER_CHANGE, A, {"change": "removed"}, {"owners": f"{B},{C}"}),
    (ControlKind.THRESHOLD_CHANGE, "1", {}, {"threshold": "1"}),
    (ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "safe"}, {"implementation": NEW, "implementation_code": "0xnew"}),
    (ControlKind.MODULE_CHANGE, NEW, {"change": "enabled"}, {"modules": NEW}),
    (ControlKind.GUARD_CHANGE, ZERO, {"which": "guard"}, {"guard": ""}),
    (ControlKind.FALLBACK_CHANGE, NEW, {}, {"fallback": NEW}),
]


@pytest.mark.parametrize(("kind", "value", "detail", "read"), PLANS)
def test_planned_changes_are_silent_by_event_and_by_reading(kind: Any, value: str, detail: Any, read: Any) -> None:
    """Exactly this value of this kind in this time; another value, kind, account or time is told."""
    plan = Planned(ETH, SAFE, kind, value, START, START + DAY)
    event = (kind, value, detail)
    assert known(planned=(plan,)).found(event, readings=[read]) == []
    assert known(planned=(plan,)).found(readings=[read]) == []
    assert known(planned=(plan,)).found(event, at=DAY) != []
    assert known(planned=(plan,)).found(readings=[read], at=DAY) != []
    for other in (
        Planned(ETH, COLD_SAFE, kind, value), Planned("eip155:10", SAFE, kind, value),
        Planned(ETH, SAFE, ControlKind.DELEGATION, value), Planned(ETH, SAFE, kind, "3" if value == "1" else E),
    ):  # fmt: skip
        assert known(planned=(other,)).found(event) != [] and known(planned=(other,)).found(readings=[read]) != []


def test_a_delegatecall_may_be_planned_for_good() -> None:
    """A library of one's own, without times."""
    plan = Planned(ETH, SAFE, ControlKind.DELEGATE_CALL, NEW)
    chain = known(planned=(plan,))
    assert chain.found((ControlKind.DELEGATE_CALL, NEW, {"target_code": "0xown"}), at=900 * DAY) == []
    assert chain.found((ControlKind.DELEGATE_CALL, OLD, {}), at=901 * DAY) == [("CT-2", "critical")]


def test_planned_owners_do_not_count_towards_a_third() -> None:
    plans = tuple(Planned(ETH, SAFE, ControlKind.OWNER_CHANGE, owner) for owner in (D, A))
    chain = known(planned=plans)
    assert chain.found(*((ControlKind.OWNER_CHANGE, o, {"change": c}) for o, c in ((D, "added"), (A, "removed")))) == []
    assert chain.found((ControlKind.OWNER_CHANGE, E, {"change": "added"})) == [("CT-3", "high")]


# -- first sight ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"implementation": NEW, "implementation_code": "0xodd"}, [("CT-1", "medium")]),
        ({"threshold": "1", "modules": NEW}, [("CT-3", "low")]),
        ({"threshold": "0"}, [("CT-3", "low")]),
        ({"threshold": "1"}, []),
        ({"modules": NEW}, []),
        ({"owner_delegates": f"{A}={NEW}"}, [("CT-12", "high")]),
        ({"owner_delegates": f"{A}={FRIEND}"}, []),
        ({"owners": f"{A},{THIEF}"}, [("CT-3", "high")]),
        ({"modules": THIEF}, [("CT-4", "high")]),
    ],
)
def test_an_odd_baseline_is_asked_about(first: dict[str, str], expected: Found) -> None:
    """A thief may have been there before: what is odd is told once, with a question, and never learned silently."""
    chain = Chain()
    findings = chain.block(readings=[first])
    assert [(f.detector, str(f.severity)) for f in findings] == expected
    assert all("read for the first time" in f.summary and f.evidence["baseline"] for f in findings)
    assert all("eventless" not in f.evidence and f.tx.startswith("reading-") for f in findings)
    assert chain.found(readings=[first]) == []


def test_an_implementation_whose_code_is_read_later() -> None:
    """The question waits for the code, and is not asked of what was told already."""
    chain = Chain()
    late = {k: v for k, v in BASE.items() if k != "implementation_code"}
    reading = Reading(SAFE, {**late, "implementation": NEW}, None)
    folded = chain.engine.connect(Block(BlockRef(ETH, 1, "b1"), "", START, readings=(reading,)))
    assert folded.findings == () and chain.policy.dump() != []
    assert chain.found(readings=[{"implementation": NEW, "implementation_code": "0xodd"}]) == [("CT-1", "medium")]


# -- cold wallets, switches, facts ------------------------------------------------------------------------------------


def test_cold_wallets_have_one_detector_with_zero_tolerance() -> None:
    """Whatever gives somebody power is critical, the rest high; one finding for each change."""
    cold = {"first": {}, "account": COLD_SAFE}
    assert Chain(**cold).found((ControlKind.OWNER_CHANGE, D, {"change": "added"})) == [("CW-3", "critical")]
    assert Chain(**cold).found((ControlKind.OWNER_CHANGE, A, {"change": "removed"})) == [("CW-3", "high")]
    read = {"implementation": NEW, "implementation_code": V130}
    assert Chain(**cold).found(readings=[read]) == [("CW-3", "high")]
    assert Chain(account=COLD_SAFE).found(readings=[{"threshold": "0"}]) == [("CW-3", "low")]


def test_a_detector_that_is_switched_off_is_silent() -> None:
    """And what it saw is known all the same."""
    watchlist = Watchlist(WALLETS)
    chain = known()
    off = {"treasury": {"CT-3": {"enabled": False}}}
    chain.policy = ControlChanges(watchlist, (), BOOK, off)
    chain.engine = Engine(watchlist, [], PolicyBook(watchlist, [chain.policy]))
    chain.block(readings=[{}])
    assert chain.found((ControlKind.THRESHOLD_CHANGE, "1", {})) == []
    assert chain.found((ControlKind.FALLBACK_CHANGE, NEW, {})) == [("CT-4", "high")]
    assert b'"threshold":"1"' in chain.policy.dump()[0][1]


def test_the_pinned_hashes_are_those_of_the_released_contracts() -> None:
    """Against the runtime code in the makers' own package."""
    from chains.evm.slots import code_hash

    for name in ("Safe", "SafeL2"):
        assert singleton_of(NEW, code_hash(artifact(name).deployed)) == f"{name} 1.4.1"
    for name in ("MultiSendCallOnly", "SignMessageLib", "CreateCall"):
        assert library_of(NEW, code_hash(artifact(name).deployed)) == f"{name} 1.4.1"
    own = artifact("MultiSend").deployed  # it knows its own address: 32 bytes that the maker left empty
    place = "38869bf66a61cf6bdb996a6ae40d5853fd43b526"
    assert library_of(NEW, code_hash(own.replace("7f" + "0" * 64, "7f" + place.rjust(64, "0"), 1))) is not None
    assert library_of(NEW, V141) is None and singleton_of(SINGLETON, "0xbad") is None


# -- state ------------------------------------------------------------------------------------------------------------

SCRIPT: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {"readings": [{}]}),
    (((ControlKind.OWNER_CHANGE, D, {"change": "added"}),), {"readings": [{"owners": f"{A},{B},{C},{D}"}], "at": 60}),
    (((ControlKind.PROPOSAL, "0x7e", {"would": "module_change", "confirmations": "1", "threshold": "2"}),), {"at": 90}),
    ((), {"readings": [{"guard": "", "owners": f"{A},{B},{D},{E}"}], "at": 120, "touched": False}),
    (((ControlKind.DELEGATE_CALL, THIEF, {}),), {"at": 150}),
    ((), {"readings": [{"code": "none", "code_hash": ""}], "at": 180}),
    ((), {"readings": [{"implementation": NEW, "implementation_code": "0xodd"}], "at": 210}),
)


def test_undo_and_restart_at_every_block() -> None:
    """Each block's undo gives the state before it; a fresh engine with the stored state goes on the same."""
    chain, states, told = Chain(), [], []
    for events, more in SCRIPT:
        states.append(chain.engine.dump())
        told.append(chain.block(*events, **more))
    assert [len(found) for found in told] == [0, 1, 1, 3, 1, 5, 1]
    last = chain.engine.dump()
    for before, undo in zip(reversed(states), reversed(chain.undo), strict=False):
        chain.engine.disconnect(undo)
        assert chain.engine.dump() == before
    again = Chain()
    for (events, more), expected in zip(SCRIPT, told, strict=True):
        fresh = Chain()
        fresh.engine.load(again.engine.dump())
        fresh.number, again = again.number, fresh
        assert again.block(*events, **more) == expected
    assert again.engine.dump() == last


def test_a_torn_record_is_a_store_error_and_a_strangers_is_not_taken_over() -> None:
    """What cannot be read is said; what nobody watches any more goes with the next block."""
    chain = known()
    ((key, value),) = chain.policy.dump()
    with pytest.raises(StoreError, match="lost data"):
        chain.engine.load([(key, value[:-9])])
    stranger = key.replace(SAFE.encode(), NEW.encode())
    chain.engine.load([(key, value), (stranger, value)])
    assert chain.policy.dump() == [(key, value)]
    ref = BlockRef(ETH, 9, "b9")
    assert (stranger, None) in chain.engine.connect(Block(ref, "", START)).state
