"""Plain rules: exact limits, windows, shares, lists and balances, on blocks and on tables."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from chains.tables.layout import BALANCES, FRAME
from monitor.amounts import AssetInfo
from monitor.assets import AssetNames
from monitor.config.types import Rule, RuleKind
from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.model import Block, BlockRef, Finding, Role, Severity, Transfer, TransferKind, Trusted, Tx, Wallet
from monitor.policies.book import PolicyBook
from monitor.policies.plain import PlainRules
from monitor.policies.words import percent
from monitor.replay import replay
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
ETHER, USD, BITCOIN = f"{ETH}/slip44:60", f"{ETH}/erc20:usd", f"{BTC}/slip44:0"
ONE = 10**18
START = 1_700_000_000
HOT = Wallet("hot", "Us", Role.HOT, ((ETH, "h"), (ETH, "h2")), trusted=(Trusted(ETH, "friend"),))
OTHER = Wallet("other", "Us", Role.HOT, ((ETH, "o"),))
COINS = Wallet("coins", "Us", Role.HOT, ((BTC, "q"),))
OVER = Rule(RuleKind.OVER, ((ETHER, 50 * ONE),), 3600)
ANY = Rule(RuleKind.OUTFLOW)
FIFTH = Rule(RuleKind.OVER, window=3600, share=Fraction(1, 5))
BELOW = Rule(RuleKind.BALANCE_BELOW, ((ETHER, 10 * ONE),))

Move = tuple[Any, ...]
"""(to, value[, sender, kind, asset])."""


class Chain:
    """An engine with rules for ``hot``, and blocks that extend its chain, one a minute unless said otherwise."""

    def __init__(self, *rules: Rule, held: int | None = 1000 * ONE, lists: Any = None) -> None:
        watchlist = Watchlist([HOT, OTHER])
        self.engine = Engine(watchlist, [ETHER, USD], PolicyBook(watchlist, [PlainRules({"hot": rules}, lists)]))
        self.engine.names = AssetNames({USD: AssetInfo(USD, "USD", 6)})
        self.held = held
        self.number = 0
        self.rows: list[dict[str, Any]] = []
        self.undo: list[Any] = []

    def block(self, *moves: Move, at: int | None = None) -> list[Finding]:
        """Connect a block of moves ``at`` seconds after the start; what policies find."""
        self.number += 1
        time = START + (60 * self.number if at is None else at)
        ref = BlockRef(ETH, self.number, f"b{self.number}")
        transfers = []
        for n, (to, value, *rest) in enumerate(moves):
            sender, kind, asset = (*rest, *("h", TransferKind.NATIVE, ETHER)[len(rest) :])
            tx = Tx(f"t{self.number}-{n}", n, initiator=sender)
            transfers.append(Transfer(ref, tx, n, kind, asset, (sender,), to, value, (value,)))
            self.rows.append(
                dict.fromkeys(FRAME)
                | {
                    "chain": ETH, "block_number": self.number, "block_timestamp": time, "transaction_hash": tx.hash,
                    "transaction_index": n, "transfer_index": n, "kind": str(kind), "asset": asset,
                    "from_address": sender, "to_address": to, "value": str(value), "amount": float(value),
                    "tx_from": sender,
                }
            )
        told = {("hot", ETH, ETHER): self.held} if self.number == 1 and self.held is not None else {}
        folded = self.engine.connect(Block(ref, "", time, tuple(transfers)), told)
        self.undo.append(folded.undo)
        return list(folded.findings)

    def sums(self, *moves: Move, **options: Any) -> list[str]:
        """The texts of what a block raises."""
        return [finding.summary for finding in self.block(*moves, **options)]

    def replayed(self, *rules: Rule, lists: Any = None) -> tuple[list[Finding], Engine]:
        """What the same transfers raise as a table."""
        again = Chain(*rules, lists=lists).engine
        told = [] if self.held is None else [(ETH, "h", ETHER, 0, str(self.held))]
        balances = pl.DataFrame(told, schema=dict(BALANCES), orient="row")
        frame = pl.DataFrame(self.rows, schema=dict(FRAME), orient="row")
        incidents = replay(again, frame, self.engine.names, balances).correlator.all()
        return [f for incident in incidents for f in incident.findings if f.detector == "RULE"], again


def dump(engine: Engine) -> list[tuple[bytes, bytes]]:
    return engine.policies.dump()


def test_a_limit_is_exact() -> None:
    """The limit itself is kept; one base unit more breaks the rule, at the payment that passes it."""
    chain = Chain(OVER)
    assert chain.block(("a", 50 * ONE)) == []
    (found,) = chain.block(("b", 1))
    assert (found.detector, found.severity, found.budget_exceeded) == ("RULE", Severity.MEDIUM, False)
    assert (found.destination, found.value, found.tx, found.asset) == ("b", 1, "t2-0", ETHER)
    assert found.summary == "50 ETH within 1 hour, rule: over 50 ETH in 1 h"
    assert found.return_period_days is None and found.evidence["balance_after"] == str(950 * ONE - 1)


def test_beyond_what_floats_hold() -> None:
    """Above 2^53 base units a single one still decides."""
    limit = 2**200
    chain = Chain(Rule(RuleKind.OVER, ((ETHER, limit),)), held=None)
    assert chain.block(("a", limit)) == []
    assert len(chain.block(("a", limit + 1))) == 1


def test_a_theft_split_over_two_blocks_is_caught() -> None:
    """100 ETH in two payments of 50 in two blocks of the window are more than 50 ETH."""
    chain = Chain(OVER)
    assert chain.block(("thief", 50 * ONE)) == []
    assert chain.sums(("thief", 50 * ONE)) == ["100 ETH within 1 hour, rule: over 50 ETH in 1 h"]
    lost = replay_lost(chain)
    assert lost == ((ETHER, 100 * ONE),)  # what went there before is part of the incident


def replay_lost(chain: Chain) -> Any:
    frame = pl.DataFrame(chain.rows, schema=dict(FRAME), orient="row")
    (incident,) = replay(Chain(OVER).engine, frame, AssetNames()).correlator.all()
    return incident.lost


def test_a_window_ends() -> None:
    """A payment counts for less than the window: at its very end it is forgotten."""
    for gap, expected in ((3599, 1), (3600, 0)):
        chain = Chain(OVER)
        chain.block(("a", 50 * ONE), at=0)
        assert len(chain.block(("a", 50 * ONE), at=gap)) == expected


def test_a_rule_speaks_again_when_kept_in_between_or_doubled() -> None:
    """One finding when the limit is passed, one when the sum has doubled, one after the window was kept again."""
    chain = Chain(OVER)
    assert [len(chain.block(("a", 10 * ONE), at=n)) for n in range(12)] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert chain.sums(("a", 51 * ONE), at=7200) == ["51 ETH within 1 hour, rule: over 50 ETH in 1 h"]
    assert chain.block(("a", ONE), at=7300) == []
    assert len(chain.block(("a", 60 * ONE), at=7301)) == 1  # 112 is more than twice 51
    chain.block(("a", 49 * ONE), at=7300 + 3601)  # fell below
    assert len(chain.block(("a", 2 * ONE), at=7300 + 3602)) == 1


def test_what_counts_as_outflow() -> None:
    """Trusted and sister addresses count; internal moves, fees and arrivals do not; each asset has its own sum."""
    chain = Chain(OVER)
    assert len(chain.block(("friend", 51 * ONE))) == 1
    assert len(Chain(OVER).block(("o", 51 * ONE))) == 1
    quiet = Chain(OVER)
    assert quiet.block(("h2", 900 * ONE), ("", 60 * ONE, "h", TransferKind.FEE), ("h", 99 * ONE, "customer")) == []
    assert quiet.block(("a", 30 * ONE), ("a", 60 * ONE, "h", TransferKind.TOKEN, USD)) == []


def test_forged_tokens_break_no_rule() -> None:
    """A transfer of a worthless token in the wallet's name, by somebody else, is no outflow."""
    chain = Chain(ANY)
    ref = BlockRef(ETH, 1, "b1")
    forged = Transfer(ref, Tx("t", 0, initiator="liar"), 0, TransferKind.TOKEN, f"{ETH}/erc20:x", ("h",), "a", 9, (9,))
    assert chain.engine.connect(Block(ref, "", START, (forged,))).findings == ()


def test_every_outflow() -> None:
    """``outflow: any`` speaks at each payment of each asset, with the severity asked for; info asks for silence."""
    chain = Chain(Rule(RuleKind.OUTFLOW, severity=Severity.CRITICAL))
    found = chain.block(("a", 1), ("b", 3_500_000, "h", TransferKind.TOKEN, USD), ("", 5, "h", TransferKind.FEE))
    assert [(f.destination, f.severity) for f in found] == [("a", Severity.CRITICAL), ("b", Severity.CRITICAL)]
    assert found[1].summary == "3.5 USD left, rule: any outflow"
    assert Chain(Rule(RuleKind.OUTFLOW, severity=Severity.INFO)).block(("a", 1)) == []


def test_each_payment_by_itself() -> None:
    """Without a window payments are not added up."""
    chain = Chain(Rule(RuleKind.OVER, ((ETHER, 50 * ONE),)))
    assert chain.block(("a", 40 * ONE), ("a", 40 * ONE)) == []
    assert chain.sums(("a", 51 * ONE)) == ["51 ETH in one payment, rule: over 50 ETH"]
    assert len(chain.block(("a", 51 * ONE), ("b", 51 * ONE))) == 2


def test_several_rules_are_one_finding() -> None:
    """A payment that breaks several rules is one finding, as grave as the worst, that names them all."""
    chain = Chain(Rule(RuleKind.OUTFLOW, severity=Severity.LOW), Rule(RuleKind.OVER, ((ETHER, 50 * ONE),), 3600,
                  severity=Severity.HIGH))  # fmt: skip
    (found,) = chain.block(("a", 60 * ONE))
    assert found.severity is Severity.HIGH and found.evidence["rules"] == ["outflow", "over"]
    assert found.summary == "60 ETH left, rule: any outflow; 60 ETH within 1 hour, rule: over 50 ETH in 1 h"


def test_equal_rules_count_once() -> None:
    """The same limit written twice is one sum, with the greater severity."""
    twice = (OVER, Rule(RuleKind.OVER, ((ETHER, 50 * ONE), (USD, 5)), 3600, severity=Severity.HIGH))
    for rules in (twice, twice[::-1]):
        chain = Chain(*rules)
        assert chain.block(("a", 30 * ONE)) == []  # not 60
        (found,) = chain.block(("a", 21 * ONE))
        assert found.severity is Severity.HIGH and found.evidence["rules"] == ["over"]


def test_a_share_of_the_balance() -> None:
    """A fifth of what the window began with is kept, one base unit more is not."""
    chain = Chain(FIFTH)
    assert chain.block(("a", 100 * ONE)) == [] and chain.block(("a", 100 * ONE)) == []
    text = "200 ETH of 1,000 ETH within 1 hour, rule: over 20 % of the balance in 1 h"
    assert chain.sums(("a", 1)) == [text]


def test_a_share_without_a_window_is_of_what_is_there() -> None:
    """Each payment against the balance just before it, arrivals and fees of the same block counted."""
    rule = Rule(RuleKind.OVER, share=Fraction(1, 2))
    chain = Chain(rule, held=100)
    assert chain.block(("h", 100, "customer"), ("", 20, "h", TransferKind.FEE), ("a", 90)) == []
    assert len(chain.block(("a", 46))) == 1  # of 90


def test_a_share_waits_for_a_told_balance() -> None:
    """Nobody told the balance: the rule is silent, and says nothing of assets that it does not name."""
    chain = Chain(FIFTH, held=None)
    assert chain.block(("a", 900 * ONE)) == []
    assert not chain.engine.policies.knows("hot", ETH, ETHER)
    named = Chain(Rule(RuleKind.OVER, share=Fraction(1, 100), assets=(USD,)))
    assert named.block(("a", 900 * ONE)) == []


def test_a_list_of_addresses() -> None:
    """Only what is outside the list breaks the rule, sister wallets too; an address counts on its own chain alone."""
    rule = Rule(RuleKind.NOT_IN, list_name="known")
    chain = Chain(rule, lists={"known": frozenset({(ETH, "a"), ("eip155:56", "b")})})
    assert chain.block(("a", ONE), ("h2", ONE)) == []
    text = "1 ETH to an address that is not in known, rule: not in known"
    assert chain.sums(("b", ONE), ("o", ONE)) == [text, text]


def test_a_balance_below() -> None:
    """Speaks once when less is left, a fee can do it, and again after there was enough."""
    chain = Chain(BELOW, held=20 * ONE)
    assert chain.block(("a", 10 * ONE)) == []  # exactly the limit is left
    (found,) = chain.block(("", 1, "h", TransferKind.FEE))
    assert found.summary == "9.99999999 ETH left, rule: balance below 10 ETH" and found.destination == ""
    assert chain.block(("a", ONE)) == []
    assert chain.block(("h", ONE, "customer"), ("a", 2 * ONE)) == []  # back at 9.999..., still below
    assert len(chain.block(("h", 50 * ONE, "customer"), ("a", 55 * ONE))) == 1
    assert Chain(BELOW, held=None).block(("a", 10**30)) == []


def test_a_balance_below_zero_is_unknown_again() -> None:
    """More left than was there: something was not seen, and the balance is asked anew."""
    chain = Chain(BELOW, held=20 * ONE)
    chain.block(("a", ONE))
    assert chain.engine.policies.knows("hot", ETH, ETHER)
    chain.block(("a", 30 * ONE))
    assert not chain.engine.policies.knows("hot", ETH, ETHER)
    ref = BlockRef(ETH, 9, "b9")
    move = Transfer(ref, Tx("t9", 0, initiator="h"), 0, TransferKind.NATIVE, ETHER, ("h",), "a", 5, (5,))
    assert chain.engine.unknown_balances(Block(ref, "", START, (move,))) == [("hot", ETH, ETHER)]


SCRIPT: Sequence[tuple[Any, ...]] = (
    (("a", 30 * ONE), ("h", 5 * ONE, "customer")),
    (("b", 40 * ONE), ("", ONE, "h", TransferKind.FEE)),
    (("o", 300 * ONE), ("x", 7, "h", TransferKind.TOKEN, USD)),
    (("friend", 500 * ONE), ("h2", 5 * ONE)),
    (("c", 128 * ONE),),
    (("h", 60 * ONE, "customer"), ("d", 3 * ONE)),
    (("h2", 9 * ONE),),
)
RULES = (OVER, FIFTH, BELOW, Rule(RuleKind.NOT_IN, list_name="known", severity=Severity.LOW))
LISTS = {"known": frozenset({(ETH, "a"), (ETH, "o")})}


def test_tables_give_the_same_findings_and_state() -> None:
    """History raises what live blocks raise, to the word, and ends in the same state."""
    chain = Chain(*RULES, lists=LISTS)
    live = [finding for moves in SCRIPT for finding in chain.block(*moves)]
    found, engine = chain.replayed(*RULES, lists=LISTS)
    assert len(live) >= 5 and sorted(found, key=lambda f: f.id) == sorted(live, key=lambda f: f.id)
    assert dump(engine) == dump(chain.engine)


def test_undo_and_restart_at_every_block() -> None:
    """Each block's undo gives the state before it; a fresh engine with the stored state goes on the same."""
    chain, states = Chain(*RULES, lists=LISTS), []
    told = []
    for moves in SCRIPT:
        states.append(dump(chain.engine))
        told.append(chain.sums(*moves))
    last = chain.engine.dump()
    for before, undo in zip(reversed(states), reversed(chain.undo), strict=True):
        chain.engine.disconnect(undo)
        assert dump(chain.engine) == before
    again = Chain(*RULES, lists=LISTS)
    for moves, texts in zip(SCRIPT, told, strict=True):
        engine = Chain(*RULES, lists=LISTS).engine
        engine.names = again.engine.names
        engine.load(again.engine.dump())
        again.engine = engine
        assert again.sums(*moves) == texts
    assert again.engine.dump() == last


def test_a_rule_that_is_gone_leaves_the_store() -> None:
    """Records of a rule that the configuration no longer has are taken out: back again, it begins afresh."""
    chain = Chain(OVER, BELOW, held=5 * ONE)
    chain.block(("a", 4 * ONE))
    stored = chain.engine.dump()
    gone = [key for key, _ in stored if key.startswith(b"r\x1f")]
    engine = Chain(ANY).engine
    engine.load(stored)
    assert not [key for key, _ in engine.dump() if key.startswith(b"r\x1f")] and len(gone) == 2
    ref = BlockRef(ETH, 9, "b9")
    state = dict(engine.connect(Block(ref, "", START + 900)).state)
    assert [key for key, value in state.items() if value is None] == gone
    assert engine.connect(Block(BlockRef(ETH, 10, "b10"), "", START + 901)).state == ()


def test_a_wallet_without_rules_costs_nothing() -> None:
    """No rule: no state, no findings, and a stored balance is not carried on."""
    chain = Chain()
    assert chain.block(("a", 60 * ONE)) == [] and dump(chain.engine) == []
    assert chain.engine.policies.wallets == frozenset()


def test_a_torn_record_is_a_store_error() -> None:
    """A stored window that cannot be read is said, not taken for an empty one."""
    chain = Chain(OVER)
    chain.block(("a", 4 * ONE))
    (key,) = [key for key, _ in dump(chain.engine) if key.startswith(b"r\x1f")]
    with pytest.raises(StoreError, match="window of a rule"):
        chain.engine.load([(key, b"{}")])


def test_outputs_of_one_transaction() -> None:
    """On UTXO chains change is no outflow, and the wallet's share of the fee none either."""
    watchlist = Watchlist([COINS])
    rule = Rule(RuleKind.OVER, ((BITCOIN, 50),), 3600)
    engine = Engine(watchlist, [BITCOIN], PolicyBook(watchlist, [PlainRules({"coins": [rule]})]))
    ref = BlockRef(BTC, 1, "b1")
    tx, native = Tx("t", 0, fee=50), TransferKind.NATIVE
    outs = enumerate([("a", 50), ("q", 900)])
    kept = [Transfer(ref, tx, n, native, BITCOIN, ("q",), to, value, (1000,)) for n, (to, value) in outs]
    assert engine.connect(Block(ref, "", START, tuple(kept))).findings == ()
    ref = BlockRef(BTC, 2, "b2")
    one = Transfer(ref, Tx("t2", 0, fee=0), 0, TransferKind.NATIVE, BITCOIN, ("q",), "b", 1, (1,))
    assert len(engine.connect(Block(ref, "", START + 60, (one,))).findings) == 1


@pytest.mark.parametrize(("share", "text"), [("0.2", "20 %"), ("0.00125", "0.125 %"), ("1", "100 %")])
def test_shares_are_shown_exactly(share: str, text: str) -> None:
    """No rounding, no trailing zeros."""
    assert percent(Fraction(share)) == text
