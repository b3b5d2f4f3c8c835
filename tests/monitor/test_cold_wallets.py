"""Cold wallets: every outflow, dormant keys, probes, changes of control; what the owner planned is silent."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from chains.tables.layout import BALANCES, FRAME
from monitor.assets import AssetNames
from monitor.config.types import Planned
from monitor.engine import Engine, Folded
from monitor.errors import StoreError
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
from monitor.policies import POLICIES
from monitor.policies.book import PolicyBook
from monitor.policies.cold import ColdWallets
from monitor.policies.control.policy import ControlChanges
from monitor.replay import replay
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER, USD, ODD = f"{ETH}/slip44:60", f"{ETH}/erc20:usd", f"{ETH}/erc20:odd"
DAY = 86400
START = 1_700_000_000
HELD = 10**22
REFILL = Trusted(ETH, "h", ETHER, 100, None, START + DAY, START + 2 * DAY)
COLD = Wallet("cold", "Us", Role.COLD, ((ETH, "c"),), trusted=(Trusted(ETH, "vault"), REFILL))
HOT = Wallet("hot", "Us", Role.HOT, ((ETH, "h"),))
PLAN = Planned(ETH, "c", ControlKind.OWNER_CHANGE, "new", START, START + DAY)
CW = ("CW-1", "CW-2", "CW-3", "CW-4")


class Chain:
    """An engine with a cold wallet, and blocks that extend its chain."""

    def __init__(self, *wallets: Wallet, held: int | None = HELD) -> None:
        watchlist = Watchlist(wallets or [COLD, HOT])
        policies = [ColdWallets(watchlist, [PLAN], {ETHER, USD}), ControlChanges(watchlist, [PLAN])]
        self.engine = Engine(watchlist, [ETHER, USD], PolicyBook(watchlist, policies))
        self.held = held
        self.number = 0
        self.rows: list[dict[str, Any]] = []
        self.undo: list[Any] = []

    def fold(self, at: int, *moves: tuple[Any, ...], controls: tuple[ControlEvent, ...] = ()) -> Folded:
        self.number += 1
        ref = BlockRef(ETH, self.number, f"b{self.number}")
        transfers = []
        for n, (to, value, *rest) in enumerate(moves):
            sender, kind, asset = (*rest, *("c", TransferKind.NATIVE, ETHER)[len(rest) :])
            tx = Tx(f"t{self.number}-{n}", n, initiator=sender)
            transfers.append(Transfer(ref, tx, n, kind, asset, (sender,), to, value, (value,)))
            row = {
                "chain": ETH, "block_number": self.number, "block_timestamp": START + at, "transaction_hash": tx.hash,
                "transaction_index": n, "transfer_index": n, "kind": str(kind), "asset": asset,
                "from_address": sender, "to_address": to, "value": str(value), "amount": float(value),
                "tx_from": sender,
            }  # fmt: skip
            self.rows.append(dict.fromkeys(FRAME) | row)
        told = {("cold", ETH, ETHER): self.held} if self.number == 1 and self.held is not None else {}
        folded = self.engine.connect(Block(ref, "", START + at, tuple(transfers), controls), told)
        self.undo.append(folded.undo)
        return folded

    def block(self, at: int, *moves: tuple[Any, ...], **more: Any) -> list[Finding]:
        """Connect a block ``at`` seconds after the start; what is found."""
        return list(self.fold(at, *moves, **more).findings)

    def found(self, at: int, *moves: tuple[Any, ...], **more: Any) -> list[tuple[str, str]]:
        """Detector and severity of what a block raises."""
        return [(f.detector, str(f.severity)) for f in self.block(at, *moves, **more)]


def control(kind: ControlKind, subject: str, starter: str = "c", asset: str = "", account: str = "c") -> ControlEvent:
    detail = {"asset": asset} if asset else {}
    return ControlEvent(BlockRef(ETH, 1, "b1"), Tx("tc", 0, initiator=starter), kind, account, subject, detail)


def test_an_outflow_to_an_unexpected_address_is_critical() -> None:
    """Any amount, any asset; it is no statistical alarm, and the statistics stay silent."""
    folded = Chain().fold(0, ("thief", HELD // 2), ("thief", 5, "c", TransferKind.TOKEN, USD))
    assert [(f.detector, f.severity, f.asset) for f in folded.findings] == [
        ("CW-1", Severity.CRITICAL, ETHER), ("CW-1", Severity.CRITICAL, USD)
    ]  # fmt: skip
    assert folded.hits == () and not folded.findings[0].budget_exceeded
    assert folded.findings[0].evidence["balance_after"] == str(HELD - HELD // 2)


def test_expected_outflows_are_medium_up_to_one_and_a_half_times_the_largest() -> None:
    """The first is medium whatever its size; then 1.5 times the largest decides, exactly; trusted and sister alike."""
    chain = Chain()
    assert chain.found(0, ("vault", 1001)) == [("CW-1", "medium")]
    assert chain.found(60, ("h", 1501)) == [("CW-1", "medium")]  # 2 * 1501 <= 3 * 1001
    assert chain.found(120, ("vault", 2252)) == [("CW-1", "critical")]  # 2 * 2252 > 3 * 1501
    assert chain.found(180, ("vault", 3378)) == [("CW-1", "medium")]
    assert chain.found(240, ("vault", 9, "c", TransferKind.TOKEN, USD)) == [("CW-1", "medium")]  # first of its asset


def test_unexpected_outflows_do_not_raise_the_measure() -> None:
    """What went to a thief is no precedent for a large payment to an expected address."""
    chain = Chain()
    chain.block(0, ("vault", 1000))
    chain.block(60, ("thief", 10**20))
    assert chain.found(120, ("vault", 1501)) == [("CW-1", "critical")]


def test_a_planned_refill_is_silent() -> None:
    """Address, ceiling and time must all match; each alone is not enough."""
    day = DAY + 60
    assert Chain().found(day, ("h", 100)) == []
    assert Chain().found(day, ("h", 101)) == [("CW-1", "medium")]  # a sister, but more than planned
    assert Chain().found(60, ("h", 100)) == [("CW-1", "medium")]  # too early
    assert Chain().found(2 * DAY, ("h", 100)) == [("CW-1", "medium")]  # the end is exclusive
    assert Chain().found(day, ("g", 100))[0] == ("CW-1", "critical")
    bounded = Trusted(ETH, "h", ETHER, 100, 3600, START, START + DAY)
    chain = Chain(Wallet("cold", "Us", Role.COLD, ((ETH, "c"),), trusted=(bounded,)), HOT)
    assert chain.found(0, ("h", 60), ("h", 40)) == []
    assert chain.found(60, ("h", 1)) == [("CW-1", "medium")]  # the hour's ceiling is used up
    assert chain.found(3660, ("h", 100)) == []


def test_internal_moves_fees_and_arrivals_are_no_outflow() -> None:
    """Look-alikes: a move between its own addresses, a fee, an arrival, and a hot wallet's payment."""
    two = Wallet("cold", "Us", Role.COLD, ((ETH, "c"), (ETH, "c2")))
    chain = Chain(two, HOT)
    fee = ("", 5, "c", TransferKind.FEE)
    assert chain.found(0, ("c2", HELD // 2), fee, ("c", 7, "customer"), ("x", 9, "h")) == []


def test_a_dormant_key() -> None:
    """More than 180 days without an outflow: high; 180 days exactly is not; arrivals do not count as life."""
    chain = Chain()
    chain.block(0, ("vault", 1000))
    chain.block(100 * DAY, ("c", 5, "customer"))
    assert chain.found(180 * DAY, ("vault", 1000)) == [("CW-1", "medium")]
    assert chain.found(360 * DAY + 1, ("vault", 1000)) == [("CW-1", "medium"), ("CW-2", "high")]
    assert chain.found(360 * DAY + 2, ("vault", 1000)) == [("CW-1", "medium")]


def test_the_first_outflow_ever() -> None:
    """Watched for more than 180 days (since a told balance, or a first flow) and never seen to pay: high."""
    chain = Chain()
    chain.block(0)  # the balance is told here
    (_, second) = chain.block(181 * DAY, ("vault", 10**21))
    assert second.detector == "CW-2" and "first outflow ever seen in 181 days" in second.summary
    young = Chain(held=None)
    young.block(0, ("c", HELD, "customer"))
    assert young.found(180 * DAY, ("vault", 1000)) == [("CW-1", "medium")]


def test_a_probe() -> None:
    """Below a ten-thousandth of the balance to an unexpected address: high beside the outflow itself."""
    edge = HELD // 10_000
    assert Chain().found(0, ("thief", edge - 1)) == [("CW-1", "critical"), ("CW-4", "high")]
    assert Chain().found(0, ("thief", edge)) == [("CW-1", "critical")]
    assert Chain().found(0, ("vault", 1)) == [("CW-1", "medium")]


def test_a_probe_without_a_known_balance() -> None:
    """The largest outflow so far stands in for the balance; without one there is nothing to compare with."""
    chain = Chain(held=None)
    assert chain.found(0, ("thief", 1)) == [("CW-1", "critical")]
    chain.block(60, ("vault", 10**6))
    assert chain.found(120, ("thief", 99)) == [("CW-1", "critical"), ("CW-4", "high")]
    assert chain.found(180, ("thief", 100)) == [("CW-1", "critical")]


def test_control_changes() -> None:
    """A new owner is critical; the planned value is silent, another one or a later time is not."""
    owner = control(ControlKind.OWNER_CHANGE, "evil")
    (found,) = Chain().block(0, controls=(owner,))
    assert (found.detector, found.severity, found.destination) == ("CW-3", Severity.CRITICAL, "evil")
    assert found.summary == "the owner of contract c is evil now" and not found.budget_exceeded
    planned = control(ControlKind.OWNER_CHANGE, "new")
    assert Chain().found(0, controls=(planned,)) == []
    assert Chain().found(DAY, controls=(planned,)) == [("CW-3", "critical")]
    assert Chain().found(0, controls=(control(ControlKind.DELEGATION, "new"),)) == [("CW-3", "critical")]
    hot = control(ControlKind.OWNER_CHANGE, "evil", account="h")
    assert Chain().found(0, controls=(hot,)) == [("CT-6", "high")]  # not cold


def test_approvals() -> None:
    """High where the wallet gave it, or the token is listed; an event in a stranger's own token says nothing."""
    for starter, asset, expected in (("c", ODD, 1), ("liar", USD, 1), ("liar", ODD, 0)):
        event = control(ControlKind.APPROVAL, "spender", starter, asset)
        assert Chain().found(0, controls=(event,)) == [("CW-3", "high")] * expected


SCRIPT: tuple[tuple[Any, ...], ...] = (
    (0, ("c", 10**20, "customer")),
    (60, ("vault", 10**20), ("h", 10**20)),
    (DAY, ("h", 90), ("thief", 10**15)),
    (DAY + 30, ("x", 5, "h")),
    (DAY + 60, ("c", 5, "customer"), ("", 7, "c", TransferKind.FEE)),
    (300 * DAY, ("h", 2 * 10**20), ("thief", 10**21, "c", TransferKind.TOKEN, USD)),
)


def test_tables_give_the_same_findings_and_state() -> None:
    """History raises what live blocks raise, and ends in the same state."""
    chain = Chain()
    live = [f for at, *moves in SCRIPT for f in chain.block(at, *moves)]
    again = Chain().engine
    balances = pl.DataFrame([(ETH, "c", ETHER, 0, str(HELD))], schema=dict(BALANCES), orient="row")
    frame = pl.DataFrame(chain.rows, schema=dict(FRAME), orient="row")
    incidents = replay(again, frame, AssetNames(), balances).correlator.all()
    found = [f for incident in incidents for f in incident.findings if f.detector in CW]
    assert {f.detector for f in live} == {"CW-1", "CW-2", "CW-4"}
    assert sorted(found, key=lambda f: f.id) == sorted(live, key=lambda f: f.id)
    assert again.dump() == chain.engine.dump()
    stolen = incidents[0]
    assert stolen.lost == ((ETHER, 2 * 10**20 + 10**15),) and stolen.severity is Severity.CRITICAL
    assert stolen.share_lost is not None and 0.0 < stolen.share_lost < 1.0


def test_undo_and_restart_at_every_block() -> None:
    """Each block's undo gives the state before it; a fresh engine with the stored state goes on the same."""
    chain, states, told = Chain(), [], []
    for at, *moves in SCRIPT:
        states.append(chain.engine.dump())
        told.append(chain.found(at, *moves))
    last = chain.engine.dump()
    for before, undo in zip(reversed(states), reversed(chain.undo), strict=True):
        chain.engine.disconnect(undo)
        assert chain.engine.policies.dump() == [item for item in before if item[0][:1] in (b"k", b"p")]
    again = Chain()
    for (at, *moves), expected in zip(SCRIPT, told, strict=True):
        fresh = Chain().engine
        fresh.load(again.engine.dump())
        again.engine = fresh
        assert again.found(at, *moves) == expected
    assert again.engine.dump() == last


def test_a_torn_record_is_a_store_error() -> None:
    """A stored record that cannot be read is said."""
    chain = Chain()
    chain.block(0, ("vault", 5))
    for key in (f"k\x1fcold\x1f{ETH}\x1f", f"k\x1fcold\x1f{ETH}\x1f{ETHER}", f"p\x1fcold\x1f{ETH}\x1f{ETHER}"):
        assert chain.engine.policies.get(key.encode()) is not None
        with pytest.raises(StoreError, match="lost data"):
            chain.engine.load([(key.encode(), b"x")])


def test_every_policy_says_what_it_is() -> None:
    """Each detector of a policy has its texts, and no evidence of the statistics."""
    assert [d.id for d in POLICIES][: 1 + len(CW)] == ["RULE", *CW]
    assert all(d.title and d.catches and d.misses and d.lookalikes and d.evidence == () for d in POLICIES)
