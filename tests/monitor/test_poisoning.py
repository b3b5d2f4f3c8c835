"""Address poisoning: who is a counterparty, who imitates one, and that strangers can neither alarm nor deafen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import polars as pl
import pytest

from chains.evm.decode import decode_recorded
from chains.tables.layout import FRAME
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
from monitor.policies import counterparties
from monitor.policies.book import PolicyBook
from monitor.policies.counterparties import MOST, Newest
from monitor.policies.poisoning import PLANTINGS, Poisoning
from monitor.replay import replay
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
ETHER, USD, FAKE = f"{ETH}/slip44:60", f"{ETH}/erc20:usd", f"{ETH}/erc20:fake"
DAY, START = 86400, 1_700_006_400
ME, SISTER, VAULT = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "c3" * 20
REAL = "0xd9a1c3788d81257612e2581a6ea0ada244853a91"
LURE = "0xd9a1b0b1e1ae382dbdc898ea68012ffcb2853a91"
STRANGER = "0x" + "5e" * 20
ENOUGH = 10**18


def like(address: str, n: int = 0) -> str:
    """Another address with the same ends."""
    return f"{address[:6]}{n:032x}{address[-4:]}" if len(address) == 42 else address


def wallet(role: Role = Role.PERSONAL, **more: Any) -> Wallet:
    return Wallet("me", "Me", role, ((ETH, ME), *more.pop("also", ())), **more)


class Chain:
    """An engine with one wallet and its sister, and blocks that extend the chain."""

    def __init__(self, own: Wallet | None = None, *, settings: Any = None) -> None:
        own = own or wallet(trusted=(Trusted(ETH, VAULT),))
        watchlist = Watchlist([own, Wallet("sister", own.entity, Role.COLD, ((ETH, SISTER),))])
        self.policy = Poisoning(watchlist, {ETHER, USD}, settings)
        self.engine = Engine(watchlist, [ETHER, USD], PolicyBook(watchlist, [self.policy]))
        self.number = 0
        self.undo: list[Any] = []
        self.rows: list[dict[str, Any]] = []  # as a table has it

    def fold(self, at: int, *moves: tuple[Any, ...], controls: Sequence[ControlEvent] = ()) -> Folded:
        """Moves are (from, to, value, asset, who signed)."""
        self.number += 1
        ref, transfers = BlockRef(ETH, self.number, f"b{self.number}"), []
        for n, (source, to, value, *rest) in enumerate(moves):
            asset, signer = (*rest, *(ETHER, source)[len(rest) :])
            kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
            tx = Tx(f"t{self.number}-{n}", n, initiator=signer)
            transfers.append(Transfer(ref, tx, n, kind, asset, (source,), to, value, (value,)))
            row = {
                "chain": ETH, "block_number": self.number, "block_timestamp": START + at, "transaction_hash": tx.hash,
                "transaction_index": n, "transfer_index": n, "kind": str(kind), "asset": asset, "tx_from": signer,
                "from_address": source, "to_address": to, "value": str(value), "amount": float(value),
            }  # fmt: skip
            self.rows.append(dict.fromkeys(FRAME) | row)
        told = {("me", ETH, ETHER): 10**20, ("me", ETH, USD): 10**20} if self.number == 1 else {}
        folded = self.engine.connect(Block(ref, "", START + at, tuple(transfers), tuple(controls)), told)
        self.undo.append(folded.undo)
        return folded

    def found(self, at: int, *moves: tuple[Any, ...], **more: Any) -> list[Finding]:
        return [f for f in self.fold(at, *moves, **more).findings if f.severity > Severity.INFO]

    def told(self, at: int, *moves: tuple[Any, ...]) -> list[Finding]:
        return [f for f in self.fold(at, *moves).findings if f.severity is Severity.INFO]

    def dump(self) -> dict[bytes, bytes]:
        return dict(self.policy.dump())


def known(*, role: Role = Role.PERSONAL) -> Chain:
    """A wallet that paid somebody yesterday."""
    chain = Chain(wallet(role))
    assert chain.found(0, (ME, REAL, ENOUGH), (ME, VAULT, ENOUGH, USD)) == []
    return chain


PLANTS = {
    "zero, forged in its name": (ME, LURE, 0, USD, STRANGER),
    "zero, arriving": (LURE, ME, 0, USD, STRANGER),
    "dust": (LURE, ME, ENOUGH // 10_001),
    "dust of a listed token": (LURE, ME, 1, USD),
    "counterfeit": (LURE, ME, ENOUGH, FAKE, STRANGER),
    "counterfeit, forged in its name": (ME, LURE, ENOUGH, FAKE, STRANGER),
    "a payment": (LURE, ME, ENOUGH),
}


@pytest.mark.parametrize("role", [Role.PERSONAL, Role.TREASURY])
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_planting_is_told_and_the_payment_alarms(plant: tuple[Any, ...], role: Role) -> None:
    """Info at planting, once; critical at the payment, with both addresses in full and when it was planted."""
    chain = known(role=role)
    [info] = chain.told(DAY, plant)
    assert (info.detector, info.destination, info.value) == ("PW-6", LURE, 0) and REAL in info.summary
    assert chain.told(DAY + 60, plant) == []
    [found] = chain.found(DAY + 3600, (ME, LURE, ENOUGH))
    assert (found.detector, found.severity, found.value) == ("PW-6", Severity.CRITICAL, ENOUGH)
    assert LURE in found.summary and REAL in found.summary and "2023-11-16T00:00:00Z" in found.summary
    assert found.evidence["resembles"] == REAL and found.evidence["planted_tx"] == info.tx
    assert (found.evidence["leading"], found.evidence["trailing"]) == (4, 6)


def test_the_first_payment_to_a_look_alike_is_enough() -> None:
    """Not planted on this chain, or not seen: native coins, listed tokens and own tokens alike, each time again."""
    chain = known()
    for asset in (ETHER, USD, f"{ETH}/erc20:own"):
        [found] = chain.found(DAY, (ME, LURE, 5, asset))
        assert found.severity is Severity.CRITICAL and "planted_at" not in found.evidence


def test_a_look_alike_never_becomes_a_counterparty() -> None:
    """Neither by what it sends nor by what it was paid; the honest one goes on being paid in silence."""
    chain = known()
    for day in range(1, 4):
        chain.fold(day * DAY, (LURE, ME, ENOUGH), (ME, LURE, ENOUGH))
        assert chain.found(day * DAY + 60, (ME, REAL, ENOUGH)) == []
    assert len(chain.found(5 * DAY, (ME, LURE, 7))) == 1


def test_who_pays_is_a_counterparty_too() -> None:
    """Somebody is to be paid back: coins of some worth count, dust, unlisted tokens and forgeries do not."""
    chain = Chain()
    chain.fold(0, (ME, STRANGER, ENOUGH))
    chain.fold(60, (REAL, ME, ENOUGH))
    assert len(chain.found(DAY, (ME, LURE, 5))) == 1
    for arrival in ((REAL, ME, 1), (REAL, ME, ENOUGH, FAKE, STRANGER), (REAL, ME, 0, USD), (ME, REAL, 5, FAKE, REAL)):
        chain = Chain()
        chain.fold(0, (ME, STRANGER, ENOUGH))
        chain.fold(60, arrival)
        assert chain.found(DAY, (ME, LURE, 5)) == []


@pytest.mark.parametrize("target", [VAULT, SISTER, ME])
def test_trusted_and_own_addresses_are_imitated_too(target: str) -> None:
    """They need not have been paid before; payments to themselves are silent."""
    chain = Chain()
    assert chain.found(0, (ME, target, ENOUGH)) == []
    [found] = chain.found(60, (ME, like(target, 7), ENOUGH))
    assert found.evidence["resembles"] == target and "the owner's or trusted" in found.summary


def test_honest_twins() -> None:
    """A trusted address that looks like a counterparty, a false alarm, and a likeness that is too small."""
    twin = like(REAL, 3)
    chain = Chain(wallet(trusted=(Trusted(ETH, twin),)))
    chain.fold(0, (ME, REAL, ENOUGH))
    assert chain.found(DAY, (ME, twin, ENOUGH)) == []
    assert chain.found(DAY, (ME, "0xd9b" + LURE[5:], 5), (ME, LURE[:-4] + "4a91", 5)) == []


def test_a_false_alarm_is_learned_and_can_be_undone() -> None:
    """The verdict's effect is a record of its own; other look-alikes still alarm."""
    chain = known()
    assert len(chain.found(DAY, (ME, LURE, 5))) == 1
    before = chain.dump()
    now, undo = chain.policy.clear("me", ETH, LURE)
    assert now and chain.policy.clear("me", ETH, LURE) == ((), ())
    assert chain.policy.clear("me", ETH, STRANGER) == ((), ())
    assert chain.found(DAY, (ME, LURE, 5)) == []
    assert len(chain.found(DAY, (ME, like(REAL, 9), 5))) == 1
    chain.engine.disconnect(chain.undo[-1])
    chain.engine.disconnect(chain.undo[-2])
    chain.engine.load(undo)
    assert chain.dump() == before and len(chain.found(DAY, (ME, LURE, 5))) == 1


def test_ninety_days() -> None:
    """A counterparty counts up to the ninetieth day after it was last paid."""
    assert len(known().found(90 * DAY, (ME, LURE, 5))) == 1
    assert known().found(91 * DAY, (ME, LURE, 5)) == []
    chain = known()
    chain.fold(60 * DAY, (ME, REAL, 5))
    assert len(chain.found(150 * DAY, (ME, LURE, 5))) == 1


def approval(subject: str, asset: str = USD, value: str = "5", signer: str = ME) -> ControlEvent:
    detail = {"asset": asset, "value": value}
    tx = Tx("ta", 0, initiator=signer)
    return ControlEvent(BlockRef(ETH, 1, "b1"), tx, ControlKind.APPROVAL, ME, subject, detail)


def test_approvals() -> None:
    """Leave to spend for a look-alike is as bad as a payment; a spender is a counterparty; others' events are not."""
    chain = known()
    [found] = chain.found(DAY, controls=[approval(LURE)])
    assert (found.detector, found.severity, found.value) == ("PW-6", Severity.CRITICAL, 0) and REAL in found.summary
    for quiet in (approval(LURE, value="0"), approval(LURE, FAKE, signer=STRANGER), approval(REAL)):
        assert chain.found(DAY, controls=[quiet]) == []
    router = "0x" + "77" * 20
    assert chain.found(DAY, controls=[approval(router)]) == []
    assert len(chain.found(DAY, controls=[approval(like(router, 1))])) == 1
    assert len(chain.found(DAY, (ME, like(router, 2), 5))) == 1


def test_wallets_of_other_roles_and_a_detector_that_is_off() -> None:
    """Cold and deposit wallets have rules of their own; a wallet may switch it off."""
    for chain in (Chain(wallet(Role.COLD)), Chain(wallet(Role.DEPOSIT)),
                  Chain(settings={"me": {"PW-6": {"enabled": False}}})):  # fmt: skip
        chain.fold(0, (ME, REAL, ENOUGH))
        assert chain.found(DAY, (ME, LURE, 5), controls=[approval(LURE)]) == [] and chain.dump() == {}


def test_others_transfers_and_fees_teach_nothing() -> None:
    """Forged transfers from the wallet to an address make it no counterparty; a fee goes to nobody."""
    chain = Chain()
    chain.fold(0, (ME, REAL, ENOUGH, FAKE, STRANGER), (ME, REAL, 0, USD, STRANGER))
    assert chain.dump() == {} and chain.found(60, (ME, LURE, 5)) == []


def test_many_counterparties_need_more_than_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wallet with thousands of them: seven equal characters alone are chance, eleven or a planting are not."""
    monkeypatch.setattr(counterparties, "RARE", 1e-8)  # as if it had some hundred times as many
    seven, bare = like(REAL, 1)[:5] + "0" + like(REAL, 1)[6:], "0xd9ac" + "0" * 32 + "3a91"
    assert seven != REAL and counterparties.shared(REAL, bare) == (3, 4)
    chain = known()
    chain.fold(60, *((ME, f"0x{n:040x}", 5) for n in range(16**20, 16**20 + 9)))
    assert chain.found(DAY, (ME, bare, 5)) == []  # chance; and it is a counterparty from now on
    chain = known()
    chain.fold(60, *((ME, f"0x{n:040x}", 5) for n in range(16**20, 16**20 + 9)))
    assert len(chain.found(DAY, (ME, LURE, 5))) == 1
    chain.fold(DAY, (bare, ME, 0, USD, STRANGER))
    assert len(chain.found(DAY, (ME, bare, 5))) == 1


def test_a_pending_payment_alarms_before_it_is_mined() -> None:
    """A pseudo block of unconfirmed transactions, folded and undone: found, and nothing is left of it."""
    chain = known()
    before = chain.dump()
    ref, tx = BlockRef(ETH, 99, "pending"), Tx("p", 0, initiator=ME, pending=True)
    paid = Transfer(ref, tx, 0, TransferKind.NATIVE, ETHER, (ME,), LURE, 5, (5,))
    other = Transfer(ref, tx, 1, TransferKind.NATIVE, ETHER, (ME,), STRANGER, 5, (5,))
    folded = chain.engine.connect(Block(ref, "", START + DAY, (paid, other)))
    assert [f.detector for f in folded.findings] == ["PW-6"]
    chain.engine.disconnect(folded.undo)
    assert chain.dump() == before


# -- strangers --------------------------------------------------------------------------------------------------------


def _noise(rng: Random, count: int) -> list[tuple[Any, ...]]:
    """Fake tokens, transfers of nothing, dust: in the wallet's name and to it, of strangers and look-alikes."""
    found = []
    for _ in range(count):
        other = like(REAL, rng.getrandbits(100)) if rng.random() < 0.5 else f"0x{rng.getrandbits(160):040x}"
        asset = f"{ETH}/erc20:0x{rng.randrange(2000):040x}"
        found.append(
            rng.choice([
                (ME, other, 0, USD, other), (other, ME, 0, USD, other), (ME, other, 10**30, asset, other),
                (other, ME, 10**30, asset, other), (other, ME, 1, ETHER, other), (other, ME, 3, USD, other),
            ])
        )  # fmt: skip
    return found


def test_ten_thousand_lures_change_nothing() -> None:
    """No incident, bounded records, a few notices a day; thresholds and statistics of payments are what they were."""
    rng, plain, flooded = Random(5), known(role=Role.TREASURY), known(role=Role.TREASURY)
    told = 0
    for block in range(50):
        noise = _noise(rng, 200)
        folded = flooded.fold(DAY + block * 60, *noise)
        assert folded.hits == () and all(f.severity is Severity.INFO for f in folded.findings)
        told += len(folded.findings)
        plain.fold(DAY + block * 60)
    assert told <= PLANTINGS
    kinds = [key.split(b"\x1f")[3] for key in flooded.dump()]
    assert kinds.count(b"l") <= MOST and kinds.count(b"o") == 2 and kinds.count(b"i") == 0
    payment = (ME, STRANGER, 10**17)
    for chain in (plain, flooded):
        chain.fold(2 * DAY, payment)
    scores = [
        [record for record in chain.engine.dump() if record[0].startswith(b"w\x1f")] for chain in (plain, flooded)
    ]
    assert scores[0] == scores[1] and scores[0]
    assert len(flooded.found(2 * DAY, (ME, LURE, 5))) == 1 and flooded.found(2 * DAY, (ME, REAL, 5)) == []


def test_lures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest lures go; who was paid is kept, whatever strangers do."""
    monkeypatch.setattr(Newest.__init__, "__defaults__", (16,))
    chain = known()
    for n in range(40):
        chain.fold(DAY + n, (like(REAL, n), ME, 0, USD, STRANGER), (f"0x{16**30 + n:040x}", ME, ENOUGH))
    kinds = [key.split(b"\x1f")[3] for key in chain.dump()]
    assert (kinds.count(b"l"), kinds.count(b"i"), kinds.count(b"o")) == (16, 16, 2)
    assert len(chain.found(2 * DAY, (ME, LURE, 5))) == 1


def test_native_lures_are_read_and_calls_are_not() -> None:
    """A transaction of nothing without data shows its sender to the wallet; a call without value does not."""
    txs = [
        {"hash": f"0x{n:064x}", "from": source, "to": to, "value": value, "input": data, "nonce": "0x1", "gas": "0x9",
         "gasPrice": "0x2", "type": "0x0"}
        for n, (source, to, value, data) in enumerate([
            (LURE, ME, "0x0", "0x"), (STRANGER, ME, "0x0", "0xdeadbeef"), (LURE, STRANGER, "0x0", "0x"),
            (LURE, ME, "0x5", "0x"),
        ])
    ]  # fmt: skip
    block = {"hash": "0x" + "ab" * 32, "parentHash": "0x" + "aa" * 32, "number": "0x10", "timestamp": hex(START)}
    read = decode_recorded(json.dumps(block | {"transactions": txs}).encode(), {ME}, ETH)
    assert [(t.tx.index, t.from_addresses, t.value) for t in read.transfers] == [(0, (LURE,), 0), (3, (LURE,), 5)]
    chain = known()
    folded = chain.engine.connect(read)
    assert [f.severity for f in folded.findings] == [Severity.INFO] and folded.ignored == 1


# -- state ------------------------------------------------------------------------------------------------------------


def _life(rng: Random, chain: Chain, blocks: int) -> list[dict[bytes, bytes]]:
    """Random payments, arrivals and lures among few addresses; the dump before each block."""
    people = [f"0x{n:040x}" for n in range(16**30, 16**30 + 12)]
    dumps = []
    for n in range(blocks):
        dumps.append(dict(chain.engine.dump()))
        moves = []
        for _ in range(rng.randrange(6)):
            other = rng.choice(people) if rng.random() < 0.6 else like(rng.choice(people), rng.randrange(9))
            value = rng.choice([0, 1, 10**6, 10**12])
            source, to = (ME, other) if rng.random() < 0.6 else (other, ME)
            moves.append((source, to, value, rng.choice([ETHER, USD, FAKE]), rng.choice([source, STRANGER])))
        controls = [approval(rng.choice(people))] if rng.random() < 0.3 else []
        chain.fold(n * DAY * rng.choice([0, 1, 20]) // 4 + n, *moves, controls=controls)
    return dumps


@pytest.mark.parametrize("seed", range(6))
def test_undo_and_restart(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block can be undone, also where records went for new ones; a restart continues as if nothing had been."""
    monkeypatch.setattr(Newest.__init__, "__defaults__", (4,))
    rng, chain = Random(seed), Chain()
    dumps = _life(rng, chain, 30)
    end = dict(chain.engine.dump())
    for undo, before in zip(reversed(chain.undo), reversed(dumps), strict=True):
        chain.engine.disconnect(undo)
        assert dict(chain.engine.dump()) == before
    again = Chain()
    _life(Random(seed), again, 30)
    assert dict(again.engine.dump()) == end
    restarted = Chain()
    restarted.engine.load(again.engine.dump())
    assert restarted.dump() == again.dump()
    restarted.number = again.number
    moves = [(ME, like(f"0x{16**30 + n:040x}", 5), 7) for n in range(12)]
    one, two = (chain.fold(400 * DAY, *moves) for chain in (restarted, again))
    assert one.findings == two.findings and one.undo == two.undo and restarted.dump() == again.dump()


@pytest.mark.parametrize("role", [Role.PERSONAL, Role.TREASURY])
@pytest.mark.parametrize("seed", range(5))
def test_history_is_judged_as_live_blocks(seed: int, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal findings of payments, and equal records: counterparties, imitators, what is typical."""
    monkeypatch.setattr(Newest.__init__, "__defaults__", (6,))
    live, past = Chain(wallet(role)), Chain(wallet(role))
    found = [f for folded in _blocks(Random(seed), live) for f in folded.findings if f.severity > Severity.INFO]
    frame = pl.DataFrame(live.rows, schema=FRAME)
    replayed = replay(past.engine, frame, past.engine.names)
    assert past.dump() == live.dump()
    told = {f.id for incident in replayed.correlator.all() for f in incident.findings if f.detector == "PW-6"}
    assert told == {f.id for f in found} and told


def _blocks(rng: Random, chain: Chain) -> list[Folded]:
    """Some weeks of payments, arrivals and lures without approvals, which a table of transfers does not have."""
    people = [f"0x{rng.getrandbits(160):040x}" for _ in range(14)]
    folded = []
    for n in range(60):
        moves = []
        for _ in range(rng.randrange(5)):
            other = rng.choice(people) if rng.random() < 0.85 else like(rng.choice(people), rng.randrange(9))
            source, to = (ME, other) if rng.random() < 0.7 else (other, ME)
            value, asset = rng.choice([0, 1, 10**6, 10**12]), rng.choice([ETHER, USD, FAKE])
            value = value if asset != ETHER else max(1, value)
            moves.append((source, to, value, asset, rng.choice([source, STRANGER])))
        folded.append(chain.fold(n * DAY // 3, *moves))
    return folded


def test_rows_of_history_that_look_like_nothing_are_no_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hot wallet's thousands of customers are remembered without a flow for each."""
    live, rng = Chain(wallet(Role.TREASURY)), Random(2)
    for n in range(40):
        customers = [(ME, f"0x{rng.getrandbits(160):040x}", 5) for _ in range(20)]
        live.fold(n * 60, *customers, (ME, REAL if n == 9 else VAULT, 7))
    live.fold(DAY, (ME, LURE, 9), (ME, STRANGER, 3))
    past, judged = Chain(wallet(Role.TREASURY)), []
    judge = past.policy.judge
    monkeypatch.setattr(past.policy, "judge", lambda flows, seen: judged.extend(flows) or judge(flows, seen))
    replay(past.engine, pl.DataFrame(live.rows, schema=FRAME), past.engine.names)
    assert past.dump() == live.dump() and len(live.dump()) > 800
    assert len(judged) == 21 + 2  # the blocks of the look-alike and of whom it imitates, as a whole


def test_what_goes_depends_on_times_and_names_alone() -> None:
    """The newest of a bounded table, in whatever order and however often names came."""
    rng = Random(1)
    for _ in range(50):
        items = [(f"n{rng.randrange(30)}", rng.randrange(12)) for _ in range(80)]
        table: Newest[None] = Newest(8)
        latest: dict[str, int] = {}
        for name, time in sorted(items, key=lambda item: item[1]):
            table.set(name, time, None)
            latest[name] = time
        newest = sorted(((time, name) for name, time in latest.items()), reverse=True)[:8]
        assert {name: time for name, (time, _) in table.entries.items()} == {name: time for time, name in newest}


def test_damaged_records_are_refused() -> None:
    """Never read as something else; records of wallets that are no more are left out."""
    chain = Chain()
    for kind, value in ((b"o", b"x"), (b"l", b"[1]"), (b"z", b"1"), (b"t", b"")):
        with pytest.raises(StoreError, match="lost data"):
            chain.policy.put(b"q\x1fme\x1f" + ETH.encode() + b"\x1f" + kind + b"\x1fname", value)
    chain.policy.put(b"q\x1fgone\x1f" + ETH.encode() + b"\x1fo\x1fname", b"1")
    assert chain.dump() == {}
