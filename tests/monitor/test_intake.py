"""Intake: what is real to a wallet's owner, whatever strangers write into the chain in its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitor.engine import Engine, Folded
from monitor.intake import MAX_ASSETS, MAX_UNPROVEN, destination_key
from monitor.labels import LabelBook, LabelKind
from monitor.labels.label import Label
from monitor.model import (
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
    Role,
    Transfer,
    TransferKind,
    Trusted,
    Tx,
    Wallet,
)
from monitor.rows import FOREIGN, IN, NATIVE, OUT, TRUSTED, label_flag, pack_marks
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
USD = f"{ETH}/erc20:usd"
START = 1_700_000_000
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"), (ETH, "h2")))


def coin(name: str) -> str:
    return f"{ETH}/erc20:{name}"


def move(
    asset: str, source: str, to: str, value: int, starter: str | None, target: str | None = None
) -> tuple[Any, ...]:
    kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
    return (asset, source, to, value, starter, target, kind)


class Chain:
    """An engine fed block by block."""

    def __init__(self, listed: tuple[str, ...] = (ETHER, USD)) -> None:
        self.engine = Engine(Watchlist([HOT]), listed)
        self.number = 0

    def block(
        self, *moves: tuple[Any, ...], approvals: tuple[tuple[str, str, str], ...] = (), told: Any = None
    ) -> Folded:
        self.number += 1
        ref = BlockRef(ETH, self.number, f"b{self.number}")
        transfers = []
        for n, (asset, source, to, value, starter, target, kind) in enumerate(moves):
            tx = Tx(f"t{self.number}-{n}", n, initiator=starter, target=target)
            transfers.append(Transfer(ref, tx, n, kind, asset, (source,), to, value, (value,)))
        controls = tuple(
            ControlEvent(ref, Tx(f"c{n}", n, initiator=starter), ControlKind.APPROVAL, account, "spender", {"asset": a})
            for n, (account, a, starter) in enumerate(approvals)
        )
        return self.engine.connect(Block(ref, "", START + self.number * 60, tuple(transfers), controls), told)

    def balance(self, asset: str) -> float | None:
        slot = self.engine.state.asset("hot", ETH, asset)
        return self.engine.state.balance(slot)[0] if slot >= 0 else None


def test_a_token_transfer_forged_in_the_wallet_s_name_is_nothing() -> None:
    """A stranger's contract may claim anything: no record, no flow, no hit."""
    chain = Chain()
    folded = chain.block(move(coin("fake"), "h1", "thief", 10**30, "stranger"))
    assert (folded.ignored, folded.flows, folded.hits) == (1, (), ())
    assert chain.balance(coin("fake")) is None and list(chain.engine.dump()) == []


def test_arriving_first_does_not_make_a_forgery_real() -> None:
    """A fake token that was sent to the wallet before still cannot leave it in a stranger's transaction."""
    chain = Chain()
    chain.block(move(coin("fake"), "stranger", "h1", 10**30, "stranger"))
    folded = chain.block(move(coin("fake"), "h1", "thief", 10**30, "stranger"))
    assert folded.ignored == 1 and folded.hits == () and chain.balance(coin("fake")) == 1e30


@pytest.mark.parametrize("starter", ["h1", "h2", None])
def test_what_the_wallet_itself_moves_is_real(starter: str | None) -> None:
    """A transaction of any of its addresses, or one whose sender the source does not tell."""
    chain = Chain()
    folded = chain.block(move(coin("odd"), "h1", "customer", 5, starter))
    assert folded.ignored == 0 and len(folded.flows) == 1 and chain.balance(coin("odd")) == 0.0


def test_a_call_to_the_wallet_s_own_contract_is_its_own() -> None:
    """A contract wallet pays in the transaction that somebody sends to it."""
    chain = Chain()
    assert chain.block(move(coin("odd"), "h1", "customer", 5, "owner", "h1")).ignored == 0
    assert chain.block(move(coin("other"), "h1", "customer", 5, "owner", "elsewhere")).ignored == 1


def test_a_token_moved_before_can_be_taken_by_others() -> None:
    """Once the wallet moved a token, a stranger's spending of it (an allowance) counts, even in the same block."""
    chain = Chain()
    own = move(coin("odd"), "h1", "customer", 5, "h1")
    spent = move(coin("odd"), "h1", "thief", 7, "stranger")
    assert chain.block(spent, own, spent).ignored == 1  # the first came too early
    assert chain.block(spent).ignored == 0


def test_a_listed_token_needs_no_proof() -> None:
    """What the owner named as real leaves in anybody's transaction."""
    assert Chain().block(move(USD, "h1", "thief", 7, "stranger")).ignored == 0


def test_an_approval_makes_a_token_real() -> None:
    """An approval by the wallet's own transaction counts, one forged by a stranger does not."""
    spent = move(coin("odd"), "h1", "thief", 7, "stranger")
    for starter, ignored in (("h1", 0), ("stranger", 1)):
        chain = Chain()
        chain.block(move(coin("odd"), "customer", "h1", 100, "customer"))
        chain.block(approvals=(("h1", coin("odd"), starter),))
        assert chain.block(spent).ignored == ignored


def test_an_undone_proof_is_no_proof() -> None:
    """A reorg takes the proof back with the block that gave it."""
    chain = Chain()
    chain.block(move(coin("odd"), "customer", "h1", 100, "customer"))
    folded = chain.block(move(coin("odd"), "h1", "customer", 5, "h1"))
    chain.engine.disconnect(folded.undo)
    assert chain.block(move(coin("odd"), "h1", "thief", 7, "stranger")).ignored == 1


def test_zero_value_transfers_of_strangers_are_nothing() -> None:
    """Address poisoning with empty transfers: no flow of any token, nor of the native coin, out or in."""
    chain = Chain()
    folded = chain.block(
        move(USD, "h1", "thief", 0, "stranger"),
        move(ETHER, "h1", "thief", 0, None),  # who signed is not told
        move(ETHER, "thief", "h1", 0, "thief"),  # what arrives without value may be a lure: see PW-6
        move(USD, "thief", "h1", 0, "h1"),
    )
    assert folded.ignored == 4 and folded.flows == () and list(chain.engine.dump()) == []


def test_an_own_call_without_value_is_a_touch() -> None:
    """What the wallet signed without coins is remembered as a call to that address, and is no flow nor record."""
    chain = Chain()
    folded = chain.block(
        move(ETHER, "h1", "thief", 0, "h1"),
        move(USD, "h1", "thief", 0, "h2"),  # another address of the same wallet
        move(USD, "h1", "thief", 0, "h1"),  # the same asset again
        move(USD, "h1", "thief", 0, "owner", "h1"),  # a contract wallet that was called
        move(USD, "h1", "", 0, "h1"),  # nobody gets anything
    )
    assert folded.ignored == 1 and folded.flows == () and folded.hits == ()
    (record,) = chain.engine.dump()
    assert record[0] == b"w\x1fhot\x1f" + ETH.encode()
    wallet = chain.engine.state._fusions[0]
    assert list(wallet["swept_to"]).count(np.uint64(destination_key("thief"))) == 1 and max(wallet["swept_n"]) == 2
    chain.engine.disconnect(folded.undo)
    assert list(chain.engine.dump()) == []


def test_marks_are_those_of_own_payments_that_nobody_expects() -> None:
    """What a transaction looks like is packed where the wallet signed; in a stranger's or a trusted one it is 0."""
    look = {"fee_rate": 6e10, "gas_limit": 21_000, "nonce": 7, "version": 2, "flags": 1, "n_outputs": 3}
    packed = pack_marks(6e10, 21_000, 3, None, None, 7)  # version and flags count on UTXO chains alone
    wallet = replace(HOT, trusted=(Trusted(ETH, "partner"),))
    engine = Engine(Watchlist([wallet]), (ETHER, USD))
    cases = {"h1": ("customer", packed), "stranger": ("customer", 0), "h2": ("partner", 0)}
    for starter, (to, expected) in cases.items():
        tx = Tx("t", 0, initiator=starter, **look)  # type: ignore[arg-type]
        transfer = Transfer(BlockRef(ETH, 1, "b"), tx, 0, TransferKind.TOKEN, USD, ("h1",), to, 5, (5,))
        flows = engine.watchlist.flows(Block(transfer.block, "", START, (transfer,)))
        taken, _ = engine.intake.take(flows, (), {}, START)
        assert (taken.rows.ops.tolist(), taken.rows.marks.tolist()) == ([OUT], [expected])
        assert bool(taken.rows.flags[0] & FOREIGN) == (starter == "stranger")
        assert bool(taken.rows.flags[0] & TRUSTED) == (to == "partner")
    bare = Transfer(BlockRef(ETH, 1, "b"), Tx("t", 0), 0, TransferKind.NATIVE, ETHER, ("h1",), "customer", 5, (5,))
    taken, _ = engine.intake.take(engine.watchlist.flows(Block(bare.block, "", START, (bare,))), (), {}, START)
    assert taken.rows.marks.tolist() == [0] and taken.rows.flags.tolist() == [0]  # flags without version say nothing


def test_labels_of_destinations_count_from_when_they_were_known() -> None:
    """The kind of a payment's destination goes with its row from the label's time on, not before."""
    labels = LabelBook([Label(ETH, "mixer1", "", LabelKind.MIXER, "list", START + 100)])
    engine = Engine(Watchlist([HOT]), (ETHER,), labels=labels)
    for at, expected in ((START + 99, 0), (START + 100, label_flag(LabelKind.MIXER))):
        tx = Tx("t", 0, initiator="h1")
        transfer = Transfer(BlockRef(ETH, 1, "b"), tx, 0, TransferKind.NATIVE, ETHER, ("h1",), "mixer1", 5, (5,))
        taken, _ = engine.intake.take(engine.watchlist.flows(Block(transfer.block, "", at, (transfer,))), (), {}, at)
        assert taken.rows.flags.tolist() == [expected]


@pytest.mark.parametrize(("role", "native"), [(Role.PERSONAL, NATIVE), (Role.HOT, 0)])
def test_who_sent_coins_for_fees_matters_to_personal_wallets_alone(role: Role, native: int) -> None:
    """Arrivals of the chain's own coin name their sender in rows of a personal wallet; tokens and others do not."""
    engine = Engine(Watchlist([replace(HOT, role=role)]), (ETHER, USD))
    ref, tx = BlockRef(ETH, 1, "b"), Tx("t", 0, initiator="giver")
    coins = Transfer(ref, tx, 0, TransferKind.NATIVE, ETHER, ("giver",), "h1", 5, (5,))
    tokens = Transfer(ref, tx, 1, TransferKind.TOKEN, USD, ("giver",), "h1", 5, (5,))
    taken, _ = engine.intake.take(engine.watchlist.flows(Block(ref, "", START, (coins, tokens))), (), {}, START)
    assert taken.rows.ops.tolist() == [IN, IN] and taken.rows.flags.tolist() == [native, 0]
    assert taken.rows.keys.tolist() == [destination_key("giver") if native else 0, 0]


def test_settings_of_a_wallet_reach_its_record() -> None:
    """Parameters are those of the wallet's own role, budget and settings, on each of its chains."""
    other = Wallet("mine", "Two", Role.PERSONAL, ((ETH, "p1"),), budget=0.1)
    engine = Engine(Watchlist([HOT, other]), settings={"hot": {"GUARD": {"to_one": 0.9}}})
    hot, mine = (engine.state._settings[engine.intake.place(name, ETH)] for name in ("hot", "mine"))
    assert (hot["to_one"], hot["personal"], hot["budget"]) == (0.9, 0, 1.0)
    assert (mine["to_one"], mine["personal"], mine["budget"]) == (0.6, 1, 0.1)


def test_a_flood_of_worthless_tokens_leaves_few_records_and_moves_no_threshold() -> None:
    """100,000 fake tokens: 256 records at most, thresholds as without them, real tokens still admitted."""
    flooded, calm = Chain(), Chain()
    for chain in (flooded, calm):
        chain.block(move(ETHER, "customer", "h1", 10**18, "customer"), told={("hot", ETH, ETHER): 10**20})
        chain.block(move(ETHER, "h1", "customer", 10**17, "h1"))
    fakes = [move(coin(f"fake{n}"), "stranger", "h1", 10**30, "stranger") for n in range(50_000)]
    out = [move(coin(f"gone{n}"), "h1", "thief", 10**30, "stranger") for n in range(50_000)]
    folded = flooded.block(*fakes, *out)
    calm.block()
    records = [key for key, _ in flooded.engine.dump() if key.startswith(b"a")]
    assert len(records) == MAX_UNPROVEN and folded.ignored == 100_000 - (MAX_UNPROVEN - 1) and folded.hits == ()
    assert len(folded.flows) == MAX_UNPROVEN - 1  # what is stored of it
    assert chain_fields(flooded) == chain_fields(calm)
    assert flooded.block(move(USD, "customer", "h1", 5, "customer")).ignored == 0
    assert flooded.block(move(coin("mine"), "h1", "customer", 5, "h1")).ignored == 0


def chain_fields(chain: Chain) -> list[bytes]:
    """What the flood must not move: everything of the fusion record but its clock."""
    record = chain.engine.state._fusions[0]
    return [record[name].tobytes() for name in record.dtype.names if name != "clock"]


def test_records_of_a_wallet_are_capped() -> None:
    """512 assets a wallet and chain, its own payments included."""
    chain = Chain()
    moves = [move(coin(f"own{n}"), "h1", "customer", 5, "h1") for n in range(MAX_ASSETS + 20)]
    assert chain.block(*moves).ignored == 20


def test_told_balances_come_before_the_block_s_flows() -> None:
    """A told balance is that before the block: what the block moves is added to it."""
    chain = Chain()
    chain.block(move(ETHER, "customer", "h1", 7, "customer"), told={("hot", ETH, ETHER): 100})
    assert chain.balance(ETHER) == 107.0


def test_unknown_balances_are_asked_for_real_assets_alone() -> None:
    """What a block touches and nobody told: native and listed coins and own payments, not a stranger's fakes."""
    chain = Chain()
    ref = BlockRef(ETH, 1, "b1")
    transfers = []
    for n, (asset, source, to, starter) in enumerate(
        [
            (ETHER, "customer", "h1", "customer"),
            (USD, "customer", "h1", "customer"),
            (coin("fake"), "stranger", "h1", "stranger"),
            (coin("forged"), "h1", "thief", "stranger"),
            (coin("own"), "h1", "customer", "h1"),
        ]
    ):
        kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
        transfers.append(Transfer(ref, Tx(f"t{n}", n, initiator=starter), n, kind, asset, (source,), to, 5, (5,)))
    block = Block(ref, "", START, tuple(transfers))
    wanted = [("hot", ETH, asset) for asset in sorted([ETHER, USD, coin("own")])]
    assert chain.engine.unknown_balances(block) == wanted
    chain.engine.connect(block, dict.fromkeys(wanted, 1000))
    assert chain.engine.unknown_balances(replace(block, transfers=tuple(transfers[:2]))) == []
