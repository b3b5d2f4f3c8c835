"""Approvals: who may spend, how grave that is, and the spend that follows; honest ones and forged ones are silent."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from monitor.assets import AssetInfo, AssetNames
from monitor.block_evidence import BlockEvidence
from monitor.config.types import Planned
from monitor.engine import Engine, Folded
from monitor.errors import StoreError
from monitor.explain import body, title
from monitor.incidents import Correlator
from monitor.labels import Label, LabelBook, LabelKind
from monitor.memory_store import MemoryStore
from monitor.model import (
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
    Finding,
    Role,
    Severity,
    Transfer,
    TransferKind,
    Trusted,
    Tx,
    Wallet,
)
from monitor.open_commit import OpenCommit
from monitor.policies import spenders
from monitor.policies.approvals import Approvals
from monitor.policies.book import PolicyBook
from monitor.policies.counterparties import Newest
from monitor.policies.spenders import PERMIT2, grant_of
from monitor.policies.third_party import ThirdPartySpends
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER, USD, FAKE, OWN = f"{ETH}/slip44:60", f"{ETH}/erc20:0xusd", f"{ETH}/erc20:0xfake", f"{ETH}/erc20:0xown"
APES = f"{ETH}/erc721:0xapes"
DAY, START = 86400, 1_700_006_400
ME, SISTER, FRIEND, BAD, SHOP = ("0x" + byte * 20 for byte in ("a1", "b2", "c3", "d4", "e5"))
SPENDER, STRANGER, ROUTER = ("0x" + byte * 20 for byte in ("56", "57", "58"))
HELD = 1_000_000
MOST = 2**256 - 1
LABELS = (
    Label(None, BAD, "Fake_Phishing1", LabelKind.SCAM, "x", START),
    Label(None, SHOP, "Shop: Router", LabelKind.DEX, "x", START),
)
PLAN = Planned(ETH, ME, ControlKind.APPROVAL, SPENDER, START + DAY, START + 2 * DAY)
EOA: dict[str, str] = {"spender_code": "none"}
YOUNG: dict[str, str] = {"spender_code": "contract", "spender_age": "young"}


def approval(
    spender: str, value: int = MOST, *, asset: str = USD, signer: str | None = ME, target: str | None = None,
    account: str = ME, tx: str = "", **detail: str,
) -> ControlEvent:  # fmt: skip
    said = {"asset": asset, "value": str(value), "standard": "erc20", "via": "approval"} | detail
    noun = Tx(tx or f"a-{spender}-{value}-{asset}", 0, initiator=signer, target=target)
    return ControlEvent(BlockRef(ETH, 1, "b1"), noun, ControlKind.APPROVAL, account, spender, said)


class Chain:
    """An engine with one wallet, and blocks that extend the chain."""

    def __init__(self, role: Role = Role.PERSONAL, *, settings: Any = None, held: int | None = HELD) -> None:
        own = Wallet("me", "Us", role, ((ETH, ME),), trusted=(Trusted(ETH, FRIEND),))
        self.watchlist = Watchlist([own, Wallet("sister", "Us", Role.HOT, ((ETH, SISTER),))])
        listed, labels = {ETHER, USD}, LabelBook(LABELS)
        self.policy = Approvals(self.watchlist, [PLAN], listed, labels, settings)
        book = PolicyBook(self.watchlist, [self.policy, ThirdPartySpends(self.watchlist, listed, labels, settings)])
        self.engine = Engine(self.watchlist, listed, book, labels)
        self.engine.names = AssetNames({USD: AssetInfo(USD, "USD", 2)})
        self.held = held
        self.number = 0
        self.undo: list[Any] = []

    def fold(self, at: int, *moves: tuple[Any, ...], controls: Sequence[ControlEvent] = ()) -> Folded:
        """Moves are (from, to, value, who signed, asset, called contract)."""
        self.number += 1
        ref, transfers = BlockRef(ETH, self.number, f"b{self.number}"), []
        for n, (source, to, value, *rest) in enumerate(moves):
            signer, asset, target = (*rest, *(source, USD, None)[len(rest) :])
            kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
            tx = Tx(f"t{self.number}-{n}", n, initiator=signer, target=target)
            transfers.append(Transfer(ref, tx, n, kind, asset, (source,), to, value, (value,)))
        told = {("me", ETH, USD): self.held} if self.number == 1 and self.held is not None else {}
        folded = self.engine.connect(Block(ref, "", START + at, tuple(transfers), tuple(controls)), told)
        self.undo.append(folded.undo)
        return folded

    def found(self, at: int, *moves: tuple[Any, ...], **more: Any) -> list[Finding]:
        return [f for f in self.fold(at, *moves, **more).findings if f.severity > Severity.INFO]

    def grade(self, event: ControlEvent, at: int = 0) -> str | None:
        """How grave an approval is; None where nothing is said at all."""
        found = self.fold(at, controls=[event]).findings
        assert len(found) <= 1
        return str(found[0].severity) if found else None


GRADES = [
    (approval(SPENDER, **EOA), "critical"),
    (approval(SPENDER, spender_code="delegated"), "critical"),
    (approval(SPENDER, **YOUNG), "critical"),
    (approval(SPENDER, HELD, **EOA), "critical"),  # the whole balance
    (approval(SPENDER, HELD - 1, **EOA), "high"),
    (approval(SPENDER, 1, **YOUNG), "high"),
    (approval(SPENDER, 2**96 - 1, **EOA), "critical"),  # all that some tokens can write
    (approval(SPENDER, 1, asset=APES, standard="erc721", all="1", **EOA), "critical"),
    (approval(SPENDER, 1, asset=APES, standard="erc721", token_id="7", **EOA), "high"),
    (approval(SPENDER, 1, asset=APES, standard="erc721", all="1", spender_code="contract"), "info"),
    (approval(SPENDER, spender_code="contract"), "info"),
    (approval(SPENDER, spender_code="contract", spender_age="old"), "info"),
    (approval(SPENDER), "info"),
    (approval(BAD, 1, spender_code="contract", spender_age="old"), "critical"),
    (approval(SPENDER, signer=STRANGER, via="permit", **EOA), "critical"),
    (approval(SPENDER, 2**160 - 1, asset=FAKE, signer=STRANGER, standard="permit2", via="permit2", **EOA), "critical"),
    (approval(SPENDER, asset=FAKE, **EOA), "critical"),  # signed, and nobody knows what is there
    (approval(SPENDER, signer=STRANGER, target=ME, asset=FAKE, **EOA), "critical"),  # of a contract wallet
]  # fmt: skip
SILENT = [
    approval(SPENDER, 0, **EOA),  # a revocation
    approval(SPENDER, 0, asset=APES, standard="erc721", all="1", **EOA),
    approval(SPENDER, signer=STRANGER, asset=FAKE, **EOA),  # anybody can write it
    approval(SPENDER, signer=None, asset=FAKE, **EOA),
    approval(FRIEND, **EOA),
    approval(SISTER, **EOA),
    approval(ME, **EOA),
    approval(SHOP, **YOUNG),
    approval(PERMIT2, **YOUNG),
    approval(SPENDER, account=STRANGER, signer=STRANGER, **EOA),  # another's
]


@pytest.mark.parametrize("role", [Role.PERSONAL, Role.TREASURY, Role.HOT, Role.DEPOSIT])
@pytest.mark.parametrize(("event", "grade"), GRADES, ids=lambda x: x if isinstance(x, str) else "")
def test_grades(event: ControlEvent, grade: str, role: Role) -> None:
    """By what the spender is, and by what it may take; equal in every role but cold."""
    assert Chain(role).grade(event) == grade


@pytest.mark.parametrize("event", SILENT, ids=lambda event: event.subject[:4])
def test_silence(event: ControlEvent) -> None:
    """Revocations, forgeries, and spenders that the owner or a label knows: nothing is said, nothing kept."""
    chain = Chain()
    chain.fold(0)
    assert chain.grade(event, 60) is None and (event.detail["value"] != "0" or chain.policy.dump() == [])
    if event.tx.initiator in (STRANGER, None):
        assert chain.policy.dump() == []


def test_cold_wallets_are_left_to_their_own_detector() -> None:
    """CW-3 tells every approval of theirs."""
    assert Chain(Role.COLD).grade(approval(SPENDER, **EOA)) is None


def test_exposure_is_in_the_finding() -> None:
    """What it may take now, in units; how it was signed; how to take it back."""
    [found] = Chain().found(0, controls=[approval(SPENDER, signer=STRANGER, via="permit", **EOA)])
    assert (found.detector, found.asset, found.destination, found.value) == ("PW-5", USD, SPENDER, 0)
    assert found.summary == (
        f"{SPENDER}, an account without code, as no honest protocol is, may now spend any amount of USD of {ME}; by a "
        f"signature that somebody else brought to the chain; exposed: 10,000 USD; to revoke: approve({SPENDER}, 0) of "
        "0xusd"
    )
    assert found.evidence["exposure"] == str(HELD) and found.evidence["signed_by_another"]
    [found] = Chain().found(0, controls=[approval(SPENDER, 250, **EOA)])
    assert "may now spend 2.5 USD" in found.summary and found.evidence["exposure"] == "250"
    [found] = Chain(held=None).found(0, controls=[approval(SPENDER, **EOA)])
    assert found.evidence["exposure"] is None and "what is there is not known" in found.summary
    everything = approval(SPENDER, 1, asset=APES, standard="erc721", all="1", **EOA)
    [found] = Chain().found(0, controls=[everything])
    assert f"setApprovalForAll({SPENDER}, false) of 0xapes" in found.summary
    permit2 = approval(SPENDER, standard="permit2", via="permit2", **EOA)
    assert "lockdown" in Chain().found(0, controls=[permit2])[0].summary


def test_an_empty_balance_is_high_only() -> None:
    """Unlimited leave over nothing: it waits for coins."""
    assert Chain(held=0).grade(approval(SPENDER, **EOA)) == "high"


def test_a_plan_holds_for_its_spender_and_time() -> None:
    """The exact spender within its window, nothing else."""
    assert Chain().grade(approval(SPENDER, **EOA), DAY) is None
    assert Chain().grade(approval(SPENDER, **EOA), 2 * DAY) == "critical"
    assert Chain().grade(approval(STRANGER, **EOA), DAY) == "critical"


def test_after_seven_days_a_spender_is_an_ordinary_one() -> None:
    """From the first approval on; a label that comes later still speaks."""
    chain = Chain()
    assert chain.grade(approval(SPENDER, **EOA)) == "critical"
    assert chain.grade(approval(SPENDER, 5, **EOA), 7 * DAY) == "high"
    assert chain.grade(approval(SPENDER, **EOA), 7 * DAY + 1) is None
    chain = Chain()
    assert chain.grade(approval(BAD, **EOA)) == "critical" == chain.grade(approval(BAD, **EOA), 30 * DAY)


def test_a_false_alarm_makes_it_ordinary_at_once() -> None:
    """The verdict is a record of its own, and can be undone."""
    chain = Chain()
    chain.fold(0, controls=[approval(SPENDER, **EOA)])
    before = chain.policy.dump()
    now, undo = chain.policy.clear("me", ETH, SPENDER)
    assert now and chain.policy.clear("me", ETH, SPENDER) == ((), ()) == chain.policy.clear("me", ETH, STRANGER)
    assert chain.grade(approval(SPENDER, **EOA), 60) is None
    assert chain.found(120, (ME, "thief", 5, SPENDER)) == []
    chain.engine.disconnect(chain.undo[-1])
    chain.engine.disconnect(chain.undo[-2])
    chain.engine.load(undo)
    assert chain.policy.dump() == before


def test_a_detector_that_is_off_is_silent() -> None:
    """PW-5 with all of it, PW-3 with the spends."""
    assert Chain(settings={"me": {"PW-5": {"enabled": False}}}).grade(approval(SPENDER, **EOA)) is None
    chain = Chain(settings={"me": {"PW-3": {"enabled": False}}})
    assert chain.grade(approval(SPENDER, **EOA)) == "critical"
    assert chain.found(60, (ME, "thief", 5, SPENDER)) == []


# -- spends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.PERSONAL, Role.TREASURY, Role.HOT])
@pytest.mark.parametrize("move", [(ME, "thief", 9, SPENDER), (ME, "thief", 9, STRANGER, USD, SPENDER)])
def test_the_spend_of_a_dangerous_spender(role: Role, move: tuple[Any, ...]) -> None:
    """Any amount: whether it signed itself or was the contract that was called."""
    chain = Chain(role)
    chain.fold(0, controls=[approval(SPENDER, 10, **EOA)])
    [found] = chain.found(60, move)
    assert (found.detector, found.severity, found.value, found.destination) == ("PW-3", Severity.CRITICAL, 9, "thief")
    assert SPENDER in found.summary


def test_approval_and_spend_of_one_block() -> None:
    """A permit and what it was for, in one transaction."""
    chain = Chain()
    permit = approval(SPENDER, signer=SPENDER, via="permit", **EOA)
    found = chain.found(0, (ME, "thief", HELD, SPENDER), controls=[permit])
    assert [(f.detector, f.severity) for f in found] == [("PW-5", Severity.CRITICAL), ("PW-3", Severity.CRITICAL)]


def test_spends_that_say_nothing() -> None:
    """The owner's own payment; one by a spender that is not known to be dangerous; one to an expected address."""
    chain = Chain()
    chain.fold(0, controls=[approval(SPENDER, **EOA), approval(ROUTER, spender_code="contract")])
    for move in ((ME, "x", 9), (ME, "x", 9, STRANGER, USD, ROUTER), (ME, FRIEND, 9, SPENDER), (ME, "x", 9, SISTER)):
        assert chain.found(60, move) == []


def test_a_strangers_spend_of_a_treasury() -> None:
    """Over 5 % of a known balance, without any approval seen; at 5 % nothing."""
    [found] = Chain(Role.TREASURY).found(0, (ME, "thief", HELD // 20 + 1, STRANGER))
    assert (found.detector, found.severity) == ("PW-3", Severity.HIGH)
    assert found.evidence["balance_after"] == str(HELD - HELD // 20 - 1)
    assert Chain(Role.TREASURY).found(0, (ME, "thief", HELD // 20, STRANGER)) == []
    for role in (Role.PERSONAL, Role.HOT):
        assert Chain(role).found(0, (ME, "x", HELD // 2, STRANGER)) == []


@pytest.mark.parametrize(
    "move",
    [
        (ME, "x", HELD // 2, STRANGER, USD, SHOP),
        (ME, "x", HELD // 2, FRIEND),
        (ME, "x", HELD // 2, STRANGER, USD, ME),
        (ME, "x", HELD // 2, SISTER),
        (ME, FRIEND, HELD // 2, STRANGER),
        (ME, "x", HELD // 2, None),
        (ME, "x", HELD // 2),
        (STRANGER, ME, HELD, STRANGER),
        (ME, "x", HELD, STRANGER, FAKE),  # forged
    ],
)
def test_settled_spends_of_a_treasury(move: tuple[Any, ...]) -> None:
    """Through a labelled or trusted contract, by the entity itself, to a trusted address, an arrival, a forgery."""
    assert Chain(Role.TREASURY).found(0, move) == []


async def test_approval_and_spend_are_one_incident_that_escalates() -> None:
    """First the leave (high), then the coins (critical): one incident with its loss; info opens and joins nothing."""
    chain, correlator = Chain(), Correlator()
    store, work = MemoryStore(), OpenCommit(ETH)
    evidence = BlockEvidence(chain.engine, correlator, store, chain.engine.names)
    assert await evidence.add(chain.fold(0, controls=[approval(ROUTER, spender_code="contract")]), work) == []
    [name] = await evidence.add(chain.fold(60, controls=[approval(SPENDER, 500_000, **EOA)]), work)
    opened = correlator.incident(name)
    assert opened.severity is Severity.HIGH and opened.lost == ()
    assert title(opened, chain.engine.names) == f"HIGH: Us: approval of {ME}"
    assert any(f"kind: approval, value: {SPENDER}" in line for line in body(opened, chain.engine.names).splitlines())
    assert await evidence.add(chain.fold(3600, (ME, "0xthief", 400_000, SPENDER)), work) == [name]
    assert await evidence.add(chain.fold(3660, controls=[approval(ROUTER, spender_code="contract")]), work) == []
    [incident] = correlator.all()
    assert incident.severity is Severity.CRITICAL and incident.lost == ((USD, 400_000),)
    assert {f.detector for f in incident.findings} == {"PW-5", "PW-3"}
    assert dict(incident.suspects) and {address for _, address in incident.suspects} == {SPENDER, "0xthief"}


# -- forged events, state ---------------------------------------------------------------------------------------------


def test_ten_thousand_forged_approvals_leave_nothing() -> None:
    """Events of fake tokens in the wallet's name: no finding, no record, no balance asked for."""
    chain, rng = Chain(), Random(3)
    chain.fold(0)
    before = chain.engine.dump()
    for n in range(50):
        forged = [
            approval(
                f"0x{rng.getrandbits(160):040x}", asset=f"{ETH}/erc20:0x{rng.randrange(500):040x}", signer=STRANGER,
                via=rng.choice(["approval", "permit"]), **EOA,
            )
            for _ in range(200)
        ]  # fmt: skip
        block = Block(BlockRef(ETH, 99, ""), "", START, (), tuple(forged))
        assert chain.engine.unknown_balances(block) == []
        assert chain.fold(60 + n, controls=forged).findings == ()
    assert chain.engine.dump() == before


def test_permits_of_held_tokens_count() -> None:
    """A token that the wallet moved itself is real to it, though nobody listed it."""
    chain = Chain()
    permit = approval(SPENDER, asset=OWN, signer=STRANGER, via="permit", **EOA)
    assert chain.grade(permit) is None
    chain.fold(60, (STRANGER, ME, 50, STRANGER, OWN), (ME, STRANGER, 5, ME, OWN))
    assert chain.grade(permit, 120) == "critical"


@pytest.mark.parametrize("seed", range(4))
def test_undo_and_restart(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block can be undone, also where spenders went for new ones; a restart goes on as if nothing had been."""
    monkeypatch.setattr("monitor.policies.approvals.MOST", 3)

    def life(chain: Chain, rng: Random) -> list[Any]:
        dumps = []
        for n in range(25):
            dumps.append(chain.engine.dump())
            events = [
                approval(f"0x{rng.randrange(7):040x}", rng.choice([0, 5, MOST]), **rng.choice([EOA, YOUNG, {}]))
                for _ in range(rng.randrange(4))
            ]
            chain.fold(n * DAY, (ME, "x", 5, rng.choice([ME, f"0x{1:040x}"])), controls=events)
        return dumps

    chain = Chain()
    dumps = life(chain, Random(seed))
    end = chain.engine.dump()
    for undo, before in zip(reversed(chain.undo), reversed(dumps), strict=True):
        chain.engine.disconnect(undo)
        assert chain.engine.dump() == before
    again, restarted = Chain(), Chain()
    life(again, Random(seed))
    assert again.engine.dump() == end
    restarted.engine.load(end)
    restarted.number = again.number
    events = [approval(f"0x{n:040x}", **EOA) for n in range(7)]
    one, two = (chain.fold(30 * DAY, (ME, "x", 5, f"0x{1:040x}"), controls=events) for chain in (restarted, again))
    assert one.findings == two.findings and one.undo == two.undo and restarted.engine.dump() == again.engine.dump()
    assert len(again.policy.dump()) == 3


def test_damaged_records_are_refused() -> None:
    """Never read as something else; records of wallets that are no more are left out."""
    chain = Chain()
    for value in (b"x", b"[1]", b"[1,2,99,0]", b"{}"):
        with pytest.raises(StoreError, match="lost data"):
            chain.policy.put(f"v\x1fme\x1f{ETH}\x1fs".encode(), value)
    chain.policy.put(f"v\x1fgone\x1f{ETH}\x1fs".encode(), b"[1,1,3,0]")
    assert chain.policy.dump() == []


@pytest.mark.parametrize(
    ("value", "unlimited"),
    [(MOST, True), (2**255, True), (2**160 - 1, True), (2**128 - 1, True), (2**96 - 1, True), (2**96, False),
     (10**30, False), (2**64 - 1, False), (5, False)],
)  # fmt: skip
def test_unlimited(value: int, unlimited: bool) -> None:
    """The largest numbers of 96 bits and more; no amount that a person would write."""
    assert grant_of(approval(SPENDER, value)).is_unlimited is unlimited


def test_events_without_details_are_read() -> None:
    """A controls table need not say all: an unknown amount is not unlimited, and not nothing."""
    event = ControlEvent(BlockRef(ETH, 1, "b1"), Tx("a", 0, initiator=ME), ControlKind.APPROVAL, ME, BAD, {})
    grant = grant_of(event)
    assert (grant.value, grant.is_unlimited, grant.is_revocation) == (None, False, False)
    [found] = Chain().found(0, controls=[event])
    assert found.severity is Severity.CRITICAL and "any amount of coins" in found.summary


def test_bounds_are_what_they_say() -> None:
    """Seven days; a spender table of its own for each wallet and chain."""
    assert spenders.SETTLED == 7 * DAY and Newest(3).may_go(2) == []
