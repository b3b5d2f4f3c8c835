"""Changes of proxies, owners, roles, time locks, delegated accounts, signatories; proposals of Safes."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.config.types import Planned
from monitor.engine import Engine
from monitor.labels import Label, LabelBook, LabelKind
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Finding, Reading, Role, Trusted, Tx, Wallet
from monitor.policies.book import PolicyBook
from monitor.policies.control.policy import ControlChanges
from monitor.watchlist import Watchlist

ETH, NEM = "eip155:1", "nem:mainnet"
START, DAY = 1_700_000_000, 86400
PROXY, PERSON, HOT, COLD, SAFE = ("0x" + digits * 20 for digits in ("aa", "bb", "cc", "dd", "5a"))
OLD, NEW, THIEF, FRIEND = ("0x" + digits * 20 for digits in ("01", "02", "66", "f1"))
ZERO, SAFE_TX = "0x" + "0" * 40, "0x" + "7e" * 32
TRUSTED = (Trusted(ETH, FRIEND, start=START, end=START + DAY),)
WALLETS = (
    Wallet("treasury", "Us", Role.TREASURY, ((ETH, PROXY), (ETH, SAFE), (NEM, "NMULTI")), trusted=TRUSTED),
    Wallet("person", "Ann", Role.PERSONAL, ((ETH, PERSON),), trusted=TRUSTED),
    Wallet("hot", "Us", Role.HOT, ((ETH, HOT),)),
    Wallet("cold", "Us", Role.COLD, ((ETH, COLD), (NEM, "NCOLD"))),
)
BOOK = LabelBook([Label(ETH, THIEF, "Known thief", LabelKind.THEFT, "tests", 0)])
PROXIED = {
    "code": "contract", "code_hash": "0xp", "delegate": "", "form": "proxy", "implementation": OLD,
    "implementation_code": "0xold", "implementation_age": "old", "admin": FRIEND, "beacon": "", "owner": FRIEND,
    "pending_owner": "", "delay": "3600",
}  # fmt: skip
PLAIN = {"code": "none", "code_hash": "", "delegate": "", "form": "account"}
DELEGATED = {"code": "delegated", "code_hash": "0xd", "delegate": NEW, "form": "account", "implementation_code": "0xn"}


class Chain:
    """An engine with one policy, and blocks about one account."""

    def __init__(self, account: str = PROXY, first: Any = PROXIED, planned: tuple[Planned, ...] = (), on: str = ETH):
        watchlist = Watchlist(WALLETS)
        self.account, self.number, self.on = account, 0, on
        self.policy = ControlChanges(watchlist, planned, BOOK)
        self.engine = Engine(watchlist, [], PolicyBook(watchlist, [self.policy]))
        self.first = self.block(read=first) if first is not None else []

    def block(self, *events: Any, read: Any = None, at: int = 0) -> list[Finding]:
        self.number += 1
        ref = BlockRef(self.on, self.number, f"b{self.number}")
        tx = Tx(f"t{self.number}", 0, initiator=OLD)
        controls = tuple(ControlEvent(ref, tx, kind, self.account, subject, detail) for kind, subject, detail in events)
        readings = (Reading(self.account, read, tx),) if read is not None else ()
        return list(self.engine.connect(Block(ref, "", START + at, (), controls, readings=readings)).findings)

    def found(self, *events: Any, **more: Any) -> list[tuple[str, str]]:
        return [(f.detector, str(f.severity)) for f in self.block(*events, **more)]


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ({"implementation": NEW, "implementation_code": "0xnew"}, [("CT-5", "high")]),
        ({"implementation": NEW, "implementation_age": "young"}, [("CT-5", "critical")]),
        ({"implementation": THIEF}, [("CT-5", "critical")]),
        ({"implementation": ""}, [("CT-5", "high")]),
        ({"beacon": NEW, "implementation": NEW}, [("CT-5", "high"), ("CT-5", "high")]),
        ({"admin": NEW}, [("CT-5", "high")]),
        ({"implementation_code": "0xother"}, [("CT-5", "critical")]),
        ({"code_hash": "0xother"}, [("CT-5", "critical")]),
        ({"code": "none", "code_hash": ""}, [("CT-5", "critical")]),
        ({"owner": NEW}, [("CT-6", "high")]),
        ({"owner": THIEF}, [("CT-6", "critical")]),
        ({"owner": ""}, [("CT-6", "high")]),
        ({"pending_owner": NEW}, [("CT-6", "high")]),
        ({"delay": "0"}, [("CT-7", "critical")]),
        ({"delay": "60"}, [("CT-7", "high")]),
        ({"delay": "7200"}, [("CT-7", "low")]),
        ({"implementation_age": "young"}, []),
        ({}, []),
    ],
)
def test_what_the_state_of_a_contract_shows(read: dict[str, str], expected: Any) -> None:
    """Each change once, in words of its own; a repetition is nothing."""
    chain = Chain()
    assert chain.first == []
    assert chain.found(read={**PROXIED, **read}) == expected
    assert chain.found(read={**PROXIED, **read}) == []


def test_a_value_that_was_not_read_is_not_compared() -> None:
    """An owner who cannot be asked any more has not changed; what is read for the first time later is no change."""
    chain = Chain()
    assert chain.found(read={key: value for key, value in PROXIED.items() if key not in ("owner", "delay")}) == []
    assert chain.found(read=PROXIED) == []
    less = {key: value for key, value in PROXIED.items() if key != "owner"}
    assert Chain(first=less).found(read=PROXIED) == []


def test_an_offer_that_was_taken_back_is_nothing() -> None:
    offered = {**PROXIED, "pending_owner": NEW}
    assert Chain(first=offered).found(read=PROXIED) == []


def test_a_contract_that_is_made_at_a_known_address() -> None:
    """Its first state is a baseline like any other: asked about where it is odd, nothing where it is not."""
    assert Chain(first=PLAIN).found(read=PROXIED) == []
    odd = {**PROXIED, "form": "safe", "implementation": NEW, "owners": FRIEND, "threshold": "1", "modules": ""}
    assert Chain(first=PLAIN).found(read=odd) == [("CT-1", "medium")]


@pytest.mark.parametrize(
    ("event", "read", "expected"),
    [
        ((ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "eip1967"}), {"implementation": NEW}, ("CT-5", "high")),
        ((ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "eip1967"}),
         {"implementation": NEW, "implementation_age": "young"}, ("CT-5", "critical")),
        ((ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "diamond"}), {}, ("CT-5", "high")),
        ((ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "beacon"}), {"beacon": NEW}, ("CT-5", "high")),
        ((ControlKind.OWNER_CHANGE, NEW, {"change": "admin"}), {"admin": NEW}, ("CT-5", "high")),
        ((ControlKind.OWNER_CHANGE, NEW, {"change": "transferred"}), {"owner": NEW}, ("CT-6", "high")),
        ((ControlKind.OWNER_CHANGE, NEW, {"change": "started"}), {"pending_owner": NEW}, ("CT-6", "high")),
        ((ControlKind.OWNER_CHANGE, ZERO, {"change": "transferred"}), {"owner": ""}, ("CT-6", "high")),
        ((ControlKind.DELAY_CHANGE, "60", {"before": "3600"}), {"delay": "60"}, ("CT-7", "high")),
        ((ControlKind.ROLE_CHANGE, NEW, {"role": "0x1", "change": "granted"}), {}, ("CT-6", "high")),
        ((ControlKind.ROLE_CHANGE, THIEF, {"role": "0x1", "change": "granted"}), {}, ("CT-6", "critical")),
        ((ControlKind.ROLE_CHANGE, NEW, {"role": "0x1", "change": "revoked"}), {}, ("CT-6", "medium")),
    ],
)  # fmt: skip
def test_events_of_contracts(event: Any, read: dict[str, str], expected: Any) -> None:
    """One finding with the reading of the same change, in the block of the event or in the next, or without any."""
    kind, value, _ = event
    assert Chain().found(event, read={**PROXIED, **read}) == [expected]
    chain = Chain()
    assert len(chain.found(event)) == 1 and chain.found(read={**PROXIED, **read}) == []
    assert len(Chain(first=None).found(event)) == 1  # nothing known before
    plan = Planned(ETH, PROXY, kind, value, START, START + DAY)
    assert Chain(planned=(plan,)).found(event, read={**PROXIED, **read}) == []
    assert len(Chain(planned=(plan,)).found(event, read={**PROXIED, **read}, at=DAY)) == 1


# -- delegated accounts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("account", "expected"), [(HOT, "CT-12"), (PERSON, "PW-8"), (COLD, "CW-3")])
def test_delegation(account: str, expected: str) -> None:
    """Critical by event, by reading and by both; to nobody nothing; found at first sight high."""
    event = (ControlKind.DELEGATION, NEW, {"code_hash": "0xn"})
    assert Chain(account, PLAIN).found(event, read=DELEGATED) == [(expected, "critical")]
    assert Chain(account, PLAIN).found(event) == [(expected, "critical")]
    chain = Chain(account, PLAIN)
    assert chain.found(read=DELEGATED) == [(expected, "critical")]
    assert chain.found((ControlKind.DELEGATION, ZERO, {}), read=PLAIN) == []
    assert chain.found(read=DELEGATED) == [(expected, "critical")]
    assert chain.found(read={**DELEGATED, "implementation_code": "0xswapped"}) == [(expected, "critical")]
    (asked,) = Chain(account, DELEGATED).first
    assert (asked.detector, str(asked.severity)) == (expected, "high")


def test_a_trusted_delegate_is_silent_while_it_is_trusted() -> None:
    event = (ControlKind.DELEGATION, FRIEND, {})
    read = {**DELEGATED, "delegate": FRIEND}
    assert Chain(PERSON, PLAIN).found(event, read=read) == [] == Chain(PERSON, read).first
    assert Chain(PERSON, PLAIN).found(event, at=DAY) == [("PW-8", "critical")]
    plan = Planned(ETH, HOT, ControlKind.DELEGATION, NEW)
    assert Chain(HOT, PLAIN, (plan,)).found(read=DELEGATED) == [] == Chain(HOT, DELEGATED, (plan,)).first


def test_an_old_authorization_that_somebody_brings_again_is_nothing() -> None:
    """It has no effect, as the account's code shows; among others in a block, any may have had one."""
    event = (ControlKind.DELEGATION, NEW, {})
    assert Chain(HOT, PLAIN).found(event, read=PLAIN) == []
    both = [event, (ControlKind.DELEGATION, ZERO, {})]
    assert Chain(HOT, PLAIN).found(*both, read=PLAIN) == [("CT-12", "critical")]


def test_an_owner_of_a_safe_who_lets_others_act() -> None:
    """The Safe's wallet hears of it, with the owner's name; planned with the delegate alone."""
    safe = {"code": "contract", "form": "safe", "owners": f"{OLD},{FRIEND}", "owner_delegates": ""}
    read = {**safe, "owner_delegates": f"{OLD}={NEW}"}
    (finding,) = Chain(SAFE, safe).block(read=read)
    assert (finding.detector, str(finding.severity), finding.destination) == ("CT-12", "critical", NEW)
    assert f"owner {OLD} of Safe {SAFE}" in finding.summary
    assert Chain(SAFE, read).found(read=safe) == []
    plan = Planned(ETH, SAFE, ControlKind.DELEGATION, NEW)
    assert Chain(SAFE, safe, (plan,)).found(read=read) == []


# -- NEM --------------------------------------------------------------------------------------------------------------


def signatories(*changes: tuple[str, str], less: int = 0) -> Any:
    modified = [{"type": how, "cosignatory": who} for how, who in changes]
    detail = {"modifications": modified, "min_cosignatories_change": less}
    return (ControlKind.SIGNATORY_CHANGE, changes[0][1], detail)


def test_signatories() -> None:
    """High, with fewer signatures critical; silent only where each signatory was announced."""

    def nem(account: str, *planned: str) -> Chain:
        plans = tuple(Planned(NEM, account, ControlKind.SIGNATORY_CHANGE, who) for who in planned)
        return Chain(account, None, plans, NEM)

    event = signatories(("add", "NNEW"), ("remove", "NOLD"))
    assert nem("NMULTI").found(event) == [("CT-11", "high")]
    assert nem("NMULTI").found(signatories(("add", "NNEW"), less=-1)) == [("CT-11", "critical")]
    assert nem("NMULTI", "NNEW").found(event) == [("CT-11", "high")]
    assert nem("NMULTI", "NNEW", "NOLD").found(event) == []
    assert nem("NMULTI", "NNEW").found(signatories(("add", "NNEW"), less=-1)) == [("CT-11", "critical")]
    assert nem("NCOLD").found(event) == [("CW-3", "critical")]


def test_importance_is_told_of_cold_wallets_alone() -> None:
    event = (ControlKind.IMPORTANCE_TRANSFER, "NREMOTE", {"mode": "activate"})
    assert Chain("NMULTI", None, on=NEM).found(event) == []
    assert Chain("NCOLD", None, on=NEM).found(event) == [("CW-3", "critical")]


# -- proposals --------------------------------------------------------------------------------------------------------


def proposed(would: str, confirmations: int, to: str = NEW, **more: str) -> Any:
    detail = {"would": would, "confirmations": str(confirmations), "threshold": "3", "to": to, "value": "5",
              "nonce": "12", "proposer": OLD, **more}  # fmt: skip
    return (ControlKind.PROPOSAL, SAFE_TX, detail)


@pytest.mark.parametrize(
    ("would", "signed", "to", "expected"),
    [
        ("delegate_call", 0, NEW, [("CT-8", "medium")]),
        ("delegate_call", 1, NEW, [("CT-8", "high")]),
        ("delegate_call", 3, NEW, [("CT-8", "critical")]),
        ("delegate_call", 3, "0x40a2accbd92bca938b02010e17a5b8929b49130d", []),
        ("delegate_call,module_change", 3, "0x40a2accbd92bca938b02010e17a5b8929b49130d", [("CT-8", "critical")]),
        ("owner_change", 3, SAFE, [("CT-8", "high")]),
        ("payment", 3, FRIEND, []),
        ("payment", 3, HOT, []),
        ("payment", 2, NEW, []),
        ("payment", 3, NEW, [("CT-8", "low")]),
        ("", 3, NEW, []),
        ("payment,owner_change", 3, NEW, [("CT-8", "high")]),
    ],
)
def test_proposals(would: str, signed: int, to: str, expected: Any) -> None:
    """By what it would do and who signed; a payment to a friend or a wallet of one's own is nothing."""
    assert Chain(SAFE, None).found(proposed(would, signed, to)) == expected


def test_what_proposals_name() -> None:
    """Whose code would run and who would be paid, inside a batch too: released libraries and friends are no reason."""
    library = "0x40a2accbd92bca938b02010e17a5b8929b49130d"
    (finding,) = Chain(SAFE, None).block(proposed("delegate_call", 3, library, delegates=f"{library},{NEW}"))
    assert str(finding.severity) == "critical" and finding.destination == NEW
    assert Chain(SAFE, None).found(proposed("delegate_call", 3, library, delegates=library)) == []
    assert Chain(SAFE, None).found(proposed("payment", 3, library, receivers=f"{FRIEND},{HOT}")) == []
    (paid,) = Chain(SAFE, None).block(proposed("payment", 3, library, receivers=f"{FRIEND},{NEW}"))
    assert (str(paid.severity), paid.destination) == ("low", NEW)


def test_what_waits_in_a_time_lock() -> None:
    """A shorter delay that is scheduled is told when it is scheduled."""
    detail = {"would": "delay_change", "confirmations": "1", "threshold": "1", "to": PROXY, "new_delay": "0"}
    (finding,) = Chain().block((ControlKind.PROPOSAL, SAFE_TX, detail))
    assert str(finding.severity) == "high" and f"waits in time lock {PROXY}: delay change" in finding.summary


def test_facets_of_a_diamond_are_planned_one_by_one() -> None:
    event = (ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "diamond", "facets": f"{NEW},{FRIEND}"})
    plans = tuple(Planned(ETH, PROXY, ControlKind.IMPLEMENTATION_CHANGE, facet) for facet in (NEW, FRIEND))
    assert Chain(planned=plans).found(event) == []
    assert Chain(planned=plans[:1]).found(event) == [("CT-5", "high")]
    bad = (ControlKind.IMPLEMENTATION_CHANGE, NEW, {"slot": "diamond", "facets": f"{NEW},{THIEF}"})
    assert Chain().found(bad) == [("CT-5", "critical")]


def test_more_signatures_escalate_and_the_same_ones_say_nothing() -> None:
    """A finding a severity, each with its own identity, all about one transaction; one that was announced is silent."""
    chain = Chain(SAFE, None)
    found = [f for n in (1, 1, 2, 3, 3) for f in chain.block(proposed("delegate_call", n))]
    assert [str(f.severity) for f in found] == ["high", "critical"] and len({f.id for f in found}) == 2
    assert all(SAFE_TX in f.summary and "nothing has happened yet" in f.summary for f in found)
    plan = Planned(ETH, SAFE, ControlKind.PROPOSAL, SAFE_TX)
    assert Chain(SAFE, None, (plan,)).found(proposed("delegate_call", 3)) == []
