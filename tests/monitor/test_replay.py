"""History tables through the engine: exact incidents, balances and counts, the same intake rules as live."""

from __future__ import annotations

import asyncio
from typing import Any

import polars as pl
import pytest

from chains.tables.layout import BALANCES, FRAME
from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.findings import finding_of
from monitor.incidents import Correlator
from monitor.labels import Label, LabelBook, LabelKind
from monitor.memory_store import MemoryStore
from monitor.model import Block, BlockRef, Role, Severity, Transfer, TransferKind, Trusted, Tx, Wallet
from monitor.pipeline import Pipeline
from monitor.replay import Replayed, replay
from monitor.rows import (
    BAD,
    EXCHANGE,
    FOREIGN,
    IN,
    KIND_SHIFT,
    NATIVE,
    OUT,
    SERVICE,
    SPEND,
    TELL,
    TOUCH,
    TRUSTED,
    FlowRows,
)
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
ETHER, BITCOIN, ODD = f"{ETH}/slip44:60", f"{BTC}/slip44:0", f"{ETH}/erc20:odd"
DAY = 86400
START = 1_700_006_400  # a midnight
HELD = 10**20
PARTNER = Trusted(ETH, "p", ETHER, 10**19, DAY)
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"), (BTC, "q1"), (BTC, "q2")), trusted=(PARTNER,))
COLD = Wallet("cold", "One", Role.COLD, ((ETH, "c1"),))


def engine() -> Engine:
    return Engine(Watchlist([HOT, COLD]), [ETHER, BITCOIN])


def row(
    block: int, at: int, to: str, value: int, *, source: str = "h1", asset: str = ETHER, kind: str = "native",
    index: int = 0, tx: int = 0, starter: str | None = None, chain: str = ETH, inputs: dict[str, int] | None = None,
    fee: int | None = None, **look: Any,
) -> dict[str, Any]:  # fmt: skip
    return dict.fromkeys(FRAME) | {
        "chain": chain, "block_number": block, "block_timestamp": START + at, "transaction_hash": f"t{block}-{tx}",
        "transaction_index": tx, "transfer_index": index, "kind": kind, "asset": asset,
        "from_address": None if inputs else source, "inputs": list(inputs) if inputs else None,
        "input_values": [str(v) for v in inputs.values()] if inputs else None, "to_address": to, "value": str(value),
        "amount": float(value), "tx_from": starter, "fee": str(fee) if fee is not None else None,
    } | look  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(FRAME), orient="row")


def told(*entries: tuple[str, str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame([(*e[:4], str(e[4])) for e in entries], schema=dict(BALANCES), orient="row")


HOLDS = told((ETH, "h1", ETHER, 0, HELD))


def run(rows: list[dict[str, Any]], balances: pl.DataFrame | None = HOLDS, on: Engine | None = None) -> Replayed:
    return replay(on or engine(), table(rows), AssetNames(), balances)


def test_a_theft_in_pieces() -> None:
    """What had gone to the thief before the alarm, at it and after it; the share of what was held."""
    found = run(
        [
            row(1, 0, "shop", HELD // 100),
            row(2, 60, "thief", HELD // 100, index=3, tx=1),
            row(3, 120, "thief", HELD * 40 // 100, index=1),
            row(3, 120, "thief", HELD * 10 // 100, index=2, tx=1),
            row(9, 7200, "thief", HELD * 9 // 100),
        ]
    )
    (incident,) = found.correlator.all()
    assert incident.lost == ((ETHER, HELD * 60 // 100),) and incident.severity is Severity.HIGH
    assert (incident.opened_at, incident.opened_block, incident.opened_tx) == (START + 120, 3, "t3-0")
    assert incident.share_lost_at_open == pytest.approx(41 / 60) and incident.share_lost == pytest.approx(60 / 99)
    assert incident.suspects == ((ETH, "thief"),) and (found.flows, found.ignored) == (5, 0)
    seen = found.wallets["hot"]
    assert (seen.flows, seen.flows_out, seen.first, seen.last) == (5, 5, START, START + 7200)


def test_positions_that_begin_anew_with_each_transaction() -> None:
    """Where a table counts within transactions, what comes later in the block is still later."""
    rows = [
        row(1, 0, "shop", HELD // 100),
        row(3, 120, "thief", HELD * 40 // 100, index=5, tx=0),
        row(3, 120, "thief", HELD * 10 // 100, index=0, tx=1),
    ]
    (incident,) = run(rows).correlator.all()
    assert incident.share_lost_at_open == pytest.approx(40 / 50) and incident.lost[0][1] == HELD // 2


def test_each_incident_has_its_own_balance_before_it() -> None:
    """Two thefts a month apart: the second is measured by what was there then."""
    rows = [
        row(1, 0, "thief", HELD * 50 // 100),
        row(2, 3600, "h1", HELD * 150 // 100, source="customer"),
        row(3, 30 * DAY, "thief2", HELD * 150 // 100),
    ]
    first, second = run(rows).correlator.all()
    assert first.share_lost == pytest.approx(0.5) and second.share_lost == pytest.approx(0.75)


def test_told_balances_hold_after_their_block() -> None:
    """A balance told for block 2 counts before block 3; told again it replaces what was reckoned."""
    rows = [row(1, 0, "shop", 5), row(2, 60, "h1", 10**18, source="a"), row(3, 120, "shop", 7)]
    one = engine()
    run(rows, told((ETH, "h1", ETHER, 0, 100), (ETH, "h1", ETHER, 2, HELD)), one)
    assert one.state.balance(one.state.asset("hot", ETH, ETHER)) == (float(HELD - 7), True)
    two = engine()
    run(rows, told((ETH, "h1", ETHER, 3, 42)), two)
    assert two.state.balance(two.state.asset("hot", ETH, ETHER)) == (42.0, True)
    assert run([], HOLDS).correlator.all() == []


def test_a_wallet_is_judged_alike_whoever_else_is_in_the_table() -> None:
    """A told balance, and with it the record, begins with the wallet's own next flow, not with another wallet's."""
    mine = [row(5, 3600, "shop", 5), row(6, 7200, "shop", 7)]
    alone, among = engine(), engine()
    run(mine, HOLDS, alone)
    run([row(1, 0, "x", 5, source="c1"), *mine], HOLDS, among)
    own = [pair for pair in among.dump() if b"\x1fhot\x1f" in pair[0]]
    assert [pair for pair in alone.dump() if b"\x1fhot\x1f" in pair[0]] == own != []


def test_forged_tokens_are_left_out() -> None:
    """In a stranger's transaction only what the wallet moved itself before; fees and sisters are no payments."""
    rows = [
        row(1, 0, "thief", 5, asset=ODD, kind="token", starter="stranger"),
        row(2, 60, "shop", 5, asset=ODD, kind="token", starter="h1"),
        row(2, 60, "shop", 6, asset=ODD, kind="token", starter="stranger", index=1, tx=1),
        row(3, 60, "", 6, kind="fee", starter="h1"),
        row(3, 60, "c1", HELD * 9 // 10, starter="h1", index=1),
    ]
    found = run(rows)
    assert found.ignored == 1 and found.correlator.all() == []
    assert found.flows == 5 and found.wallets["cold"].flows == 1  # fees are no flows of their own


def test_an_engine_that_knows_a_token_admits_it_from_the_first_row() -> None:
    """History after history: what the first part proved holds in the second."""
    one = engine()
    run([row(1, 0, "shop", 5, asset=ODD, kind="token", starter="h1")], None, one)
    spent = row(2, 60, "thief", 5, asset=ODD, kind="token", starter="stranger")
    assert run([spent], None, one).ignored == 0
    assert run([spent], None).ignored == 1


def test_trusted_windows_in_history() -> None:
    """A tenth of the balance a day is expected; what passes it is judged."""
    rows = [row(n, 3600 * n, "p", HELD // 20) for n in range(1, 4)]
    one = engine()
    run(rows, HOLDS, one)
    assert len(one.trust.dump()) == 1 and one.state.asset("hot", ETH, ETHER) >= 0
    assert sum(key.startswith(b"d") for key, _ in one.dump()) == 1  # the third one alone


def test_utxo_transactions_stay_together() -> None:
    """Change is no payment; the loss is the wallet's own part of a joint transaction."""
    mixed = {"q1": HELD * 8 // 10, "s": HELD * 8 // 10}
    rows = [
        row(1, 0, "q1", HELD, chain=BTC, asset=BITCOIN, inputs={"a": HELD}, fee=0),
        row(2, 60, "thief", HELD, chain=BTC, asset=BITCOIN, inputs=mixed, fee=0),
        row(2, 60, "q2", HELD * 3 // 10, chain=BTC, asset=BITCOIN, inputs=mixed, fee=0, index=1),
        row(2, 60, "s", HELD * 3 // 10, chain=BTC, asset=BITCOIN, inputs=mixed, fee=0, index=2),
    ]
    found = run(rows, told((BTC, "q1", BITCOIN, 1, HELD)))
    (incident,) = found.correlator.all()
    # Of 0.8 put in, 0.3 came back; the other 0.5 went to the thief, whom the stranger, less change, paid as much.
    assert dict(incident.lost)[BITCOIN] == HELD * 5 // 10
    assert incident.suspects == ((BTC, "thief"),)


def test_replay_equals_live() -> None:
    """The same rows as blocks through the pipeline: the same state, findings and incidents."""
    rows = [row(1, 0, "h1", 10**18, source="a", starter="a")]
    for day in range(12):
        rows += [
            row(2 + 2 * day, DAY * day + 60, f"customer{day % 3}", HELD // 300 + day, starter="h1"),
            row(2 + 2 * day, DAY * day + 60, "", 1000 + day, kind="fee", starter="h1", index=1),
            row(3 + 2 * day, DAY * day + 7200, "h1", HELD // 300, source="a", starter="a"),
        ]
    rows.append(row(40, 12 * DAY, "thief", HELD // 3, starter="h1"))
    rows.append(row(41, 12 * DAY + 60, "thief", HELD // 9, starter="h1"))
    one = engine()
    found = run(rows, HOLDS, one)
    two, correlator = engine(), Correlator()

    async def live() -> None:
        pipeline = Pipeline(two, correlator, MemoryStore(), AssetNames(), lambda a, now, also: (), lambda: 0.0, {})
        parent = ""
        for number in dict.fromkeys(r["block_number"] for r in rows):
            mine = [r for r in rows if r["block_number"] == number]
            ref = BlockRef(ETH, number, f"b{number}")
            transfers = tuple(
                Transfer(
                    ref, Tx(r["transaction_hash"], 0, initiator=r["tx_from"]), r["transfer_index"],
                    TransferKind(r["kind"]), ETHER, (r["from_address"],), r["to_address"], int(r["value"]), (1,),
                )
                for r in mine
            )  # fmt: skip
            balances = {("hot", ETH, ETHER): HELD} if number == 1 else {}
            await pipeline.connect(Block(ref, parent, mine[0]["block_timestamp"], transfers), balances)
            await pipeline.flush(ETH)
            parent = ref.hash

    asyncio.run(live())
    assert one.dump() == two.dump()
    (incident,) = found.correlator.all()
    (other,) = correlator.all()
    assert incident.findings == other.findings and len(incident.findings) == 2
    assert (incident.id, incident.lost, incident.share_lost) == (other.id, other.lost, other.share_lost)
    assert incident.share_lost_at_open == other.share_lost_at_open == pytest.approx(3 / 4)


MINE = Wallet("mine", "Two", Role.PERSONAL, ((ETH, "m1"),))
LABELS = (
    Label(ETH, "mixer1", "", LabelKind.MIXER, "list", START + 5 * DAY),
    Label(ETH, "cex1", "", LabelKind.EXCHANGE, "list", 0),
    Label(None, "dex1", "", LabelKind.DEX, "list", 0),
)
SETTINGS = {"hot": {"HW-1": {"familiar": 2}, "GUARD": {"to_one": 0.5}}, "mine": {"FUSION": {"warm_up_days": 1}}}


def signs() -> list[dict[str, Any]]:
    """Days of payments with everything that a look at a transaction may tell, and then some thefts."""
    rows = [row(1, 0, "h1", 10**18, source="a", starter="a"), row(1, 0, "m1", HELD, source="a", starter="a", index=1)]
    for day in range(12):
        for n in range(6):
            block, at = 2 + 10 * day + n, DAY * day + 600 * n
            look = {"fee_rate": 5e10 + 1e9 * n, "gas_limit": 21_000, "nonce": 6 * day + n} if n != 2 else {}
            to = ("shop", "customer1", "mixer1", "cex1", "dex1", "p")[n]
            rows.append(row(block, at, to, HELD // 400, starter="h1", **look))
            rows.append(row(block, at, "", 10**9, kind="fee", starter="h1", index=1, **look))
            rows.append(row(block, at, "h1", HELD // 400, source="a", starter="a", index=2, tx=1))
        rows.append(row(9 + 10 * day, DAY * day + 8000, "friend", HELD // 500, source="m1", starter="m1", nonce=day))
    calls = [("thief", "h1"), ("thief", "stranger"), ("thief", None), ("c1", "h1"), ("", "h1")]
    for n, (to, starter) in enumerate(calls):  # without coins: the first and the fourth are the wallet's own
        rows.append(row(200, 12 * DAY, to, 0, kind="token", asset=ODD, starter=starter, index=n, tx=n))
    odd = {"fee_rate": 5e11, "gas_limit": 900_000, "nonce": 999}
    rows.append(row(201, 12 * DAY + 60, "thief", HELD // 3, starter="h1", **odd))
    rows.append(row(202, 12 * DAY + 70, "mixer1", HELD // 5, starter="stranger", **odd))
    rows.append(row(203, 12 * DAY + 80, "m1", 10**17, source="giver", starter="giver"))
    rows.append(row(204, 12 * DAY + 90, "thief2", HELD * 4 // 10, source="m1", starter="stranger"))
    rows.append(row(204, 12 * DAY + 90, "thief3", HELD // 10, source="m1", starter="stranger", index=1))
    return rows


def signed(on_rows: list[FlowRows]) -> Engine:
    """An engine with labels and settings that writes down the rows that it folds."""
    made = Engine(Watchlist([HOT, COLD, MINE]), [ETHER], None, LabelBook(LABELS), SETTINGS)
    plain = made.state.fold

    def noted(rows: FlowRows, **options: Any) -> Any:
        on_rows.append(rows)
        return plain(rows, **options)

    made.state.fold = noted  # type: ignore[method-assign]
    return made


def live_of(rows: list[dict[str, Any]], on: Engine, told: dict[int, dict[tuple[str, str, str], int]]) -> list[Any]:
    """The same rows as blocks; hits of all of them."""
    hits = []
    for number in dict.fromkeys(r["block_number"] for r in rows):
        mine = [r for r in rows if r["block_number"] == number]
        ref = BlockRef(ETH, number, f"b{number}")
        transfers = tuple(
            Transfer(
                ref,
                Tx(
                    r["transaction_hash"], r["transaction_index"], initiator=r["tx_from"], nonce=r["nonce"],
                    fee_rate=r["fee_rate"], gas_limit=r["gas_limit"],
                ),
                r["transfer_index"], TransferKind(r["kind"]), r["asset"], (r["from_address"],), r["to_address"],
                int(r["value"]), (1,),
            )
            for r in mine
        )  # fmt: skip
        folded = on.connect(Block(ref, "", mine[0]["block_timestamp"], transfers), told.get(number))
        hits += [*folded.hits, *folded.signals]
    return hits


def columns_of(parts: list[FlowRows], engine: Engine) -> list[tuple[Any, ...]]:
    """Rows one by one, with records by name: where they lie may differ."""
    names = {slot: name for name, slot in engine.state._asset_of.items()} | {-1: None}
    return [
        (names[int(p.slots[i])], engine.state.wallet_name(int(p.wallets[i])), int(p.times[i]), int(p.ops[i]),
         float(p.amounts[i]), int(p.keys[i]), int(p.flags[i]), int(p.marks[i]))
        for p in parts
        for i in range(len(p))
    ]  # fmt: skip


def test_rows_of_tables_are_those_of_blocks() -> None:
    """Fee rates, nonces, gas limits, labels, signers, calls without coins, senders of coins: row for row the same."""
    rows, of_table, of_blocks = signs(), [], []
    one, two = signed(of_table), signed(of_blocks)
    found = run(rows, HOLDS, one)
    hits = live_of(rows, two, {1: {("hot", ETH, ETHER): HELD}})
    table_rows, block_rows = columns_of(of_table, one), columns_of(of_blocks, two)
    assert table_rows == block_rows
    ops = [r[3] for r in block_rows]
    assert ops.count(TOUCH) == 2 and ops.count(SPEND) == 72 and ops.count(TELL) == 1
    flags = {r[6] for r in block_rows if r[3] == OUT}
    assert flags == {
        0, TRUSTED, FOREIGN, FOREIGN | BAD << KIND_SHIFT, BAD << KIND_SHIFT, SERVICE << KIND_SHIFT,
        EXCHANGE << KIND_SHIFT,
    }  # fmt: skip
    assert sum(r[7] > 0 for r in block_rows if r[3] == OUT) == 12 * 4 + 12 + 1  # not of trusted ones nor strangers'
    assert {r[6] for r in block_rows if r[3] == IN and r[1] == "mine"} == {NATIVE}
    assert one.dump() == two.dump()
    findings = sorted(f.id for i in found.correlator.all() for f in i.findings)
    assert findings == sorted(finding_of(hit, AssetNames()).id for hit in hits if hit.fired) and len(findings) >= 3


def test_tables_without_the_columns_say_so_by_zero_marks() -> None:
    """Look-alike: where no column is told, every mark is 0 and nothing looks odd."""
    bare = [{**r, "fee_rate": None, "nonce": None, "gas_limit": None} for r in signs()]
    parts: list[FlowRows] = []
    one = signed(parts)
    run(bare, HOLDS, one)
    assert {int(mark) for p in parts for mark, op in zip(p.marks, p.ops, strict=True) if op != TOUCH} == {0}
    assert one.state._fusions["printed"].max() == 0.0
