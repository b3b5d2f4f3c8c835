"""Findings name the evidence that they had to do without: what the block, or the tables, could not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine, run_backtest
from monitor.assets import AssetNames
from monitor.config import Config, config_from_mapping
from monitor.explain import explain
from monitor.features.dtypes import STATISTICS
from monitor.findings import SAYS, finding_of, with_blind_spots
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Block, BlockRef, Finding, Incident, Transfer, TransferKind, Tx
from monitor.pipeline import Pipeline
from monitor.store import OutboxRow

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
START = 1_700_000_000
HELD = 10**20
HOT, THIEF, SHOP = (f"0x{digit * 40}" for digit in "123")
BLIND = ("internal transfers", "transaction status")


def made() -> Config:
    hot = {"id": "hot", "role": "hot", "addresses": [f"ethereum:{HOT}"], "rules": [{"outflow": "any"}]}
    return config_from_mapping({"wallets": [hot]}, Path(), "case")


def block(number: int, to: str, value: int, blind_spots: tuple[str, ...]) -> Block:
    ref = BlockRef(ETH, number, f"b{number}")
    paid = Transfer(
        ref, Tx(f"0x{number:064x}", 0, initiator=HOT), 0, TransferKind.NATIVE, ETHER, (HOT,), to, value, (value,)
    )
    return Block(ref, f"b{number - 1}", START + 60 * number, (paid,), blind_spots=blind_spots)


async def incident(blind_spots: tuple[str, ...]) -> Incident:
    """The incident of a live theft of more than half, in blocks that cannot show this."""
    def route(alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        return []

    correlator = Correlator()
    pipeline = Pipeline(make_engine(made()), correlator, MemoryStore(), AssetNames(), route, lambda: 5.0, {ETH: 64})
    await pipeline.start()
    await pipeline.connect(block(1, SHOP, HELD // 1000, ()), {("hot", ETH, ETHER): HELD})
    await pipeline.connect(block(2, THIEF, HELD * 55 // 100, blind_spots))
    (found,) = correlator.all()
    return found


def statistical(found: Incident) -> Finding:
    (finding,) = [f for f in found.findings if f.detector != "RULE"]
    return finding


async def test_a_live_finding_names_the_blind_spots_of_its_block() -> None:
    """Beside what the flow itself lacks; and people read of it."""
    found = await incident(BLIND)
    missing = statistical(found).evidence["missing"]
    assert missing[-2:] == list(BLIND) and "fee, nonce and gas limit" in missing
    (line,) = [line for line in explain(found, AssetNames()) if line.startswith("Evidence that was missing")]
    assert all(spot in line for spot in BLIND)


async def test_a_whole_block_lacks_nothing() -> None:
    """Without blind spots only what the flow lacks; a plain rule needs no evidence, with blind spots or without."""
    whole, blind = await incident(()), await incident(BLIND)
    assert not set(BLIND) & set(statistical(whole).evidence["missing"])
    rules = [[f for f in found.findings if f.detector == "RULE" and f.tx.endswith("2")] for found in (whole, blind)]
    assert len(rules[0]) == 1 and rules[0] == rules[1] and "missing" not in rules[0][0].evidence


@pytest.mark.parametrize("status", [True, False])
def test_a_finding_of_history_names_what_the_tables_lack(tmp_path: Path, status: bool) -> None:
    """Tables without a status column: failed payments may be among the evidence, and each finding says so."""
    path, balances = tmp_path / "history.csv", tmp_path / "balances.csv"
    head = "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,"
    lines = [f"{head}to_address,asset,value,tx_from{',status' if status else ''}"]
    for number, to, value in ((2, SHOP, 1), (3, THIEF, HELD * 55 // 100)):
        row = f"ethereum,{number},{START + 60 * number},0x{number:064x},0,0,{HOT},{to},native,{value},{HOT}"
        lines.append(f"{row}{',1' if status else ''}")
    path.write_text("\n".join(lines) + "\n")
    balances.write_text(f"chain,address,asset,block_number,value\nethereum,{HOT},native,1,{HELD}\n")
    (found,) = run_backtest(made(), [str(path), str(balances)])["incidents"]
    said = [line for line in found["explanation"] if line.startswith("Evidence that was missing")]
    assert len(said) == 1 and ("transaction status" in said[0]) == (not status)


def test_a_spot_is_named_once() -> None:
    """What a flow lacks already is not said again; the finding stays what it was."""
    engine: Any = make_engine(made())
    engine.connect(block(1, SHOP, HELD // 1000, ()), {("hot", ETH, ETHER): HELD})
    folded = engine.connect(block(2, THIEF, HELD * 55 // 100, BLIND))
    assert folded.blind_spots == BLIND
    plain = finding_of(folded.hits[0], AssetNames())
    twice = with_blind_spots(with_blind_spots(plain, BLIND), (*BLIND, "who signed"))
    assert twice.evidence["missing"] == [*plain.evidence["missing"], *BLIND, "who signed"]
    assert twice.id == plain.id and with_blind_spots(plain, ()) is plain


def test_every_statistic_has_its_words() -> None:
    """A finding, and what calibration shows, name each statistic in words."""
    assert set(SAYS) == set(STATISTICS)
