"""`heistwatch incidents`, `deliveries` and `coverage` on a store that a monitor left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.incident_record import movement_key
from monitor.incidents import Correlator
from monitor.model import BlockRef, Finding, Movement, Severity
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit, CoverageRange, OutboxRow

CHAIN = "eip155:31337"
ASSET = f"{CHAIN}/slip44:60"
THIEF = "0x000000000000000000000000000000000000bad1"


def incident(correlator: Correlator, entity: str, tx: str, at: int) -> str:
    """One theft of 5 ether in block 7."""
    finding = Finding(
        id=f"finding-{tx}", detector="GUARD", wallet="hot", chain=CHAIN, severity=Severity.HIGH, score=0.0,
        summary="5 ETH to an address first paid just now", tx=tx, at=at, block_number=7, asset=ASSET,
        destination=THIEF, value=5 * 10**18, budget_exceeded=True, evidence={"guard_rail": True},
    )  # fmt: skip
    movement = Movement("hot", CHAIN, ASSET, THIEF, 5 * 10**18, at, tx, 0, 7)
    [name] = correlator.add(entity, [finding], [movement], {movement_key(movement): 5e18})
    correlator.change(name)
    return name


@pytest.fixture
def stored(config: Path) -> list[str]:
    """Ids of two stored incidents; one message was delivered, one waits; block 8 was never scanned."""
    correlator = Correlator()
    thefts = (("Example", "0x01", 1_700_000_000), ("Other", "0x02", 1_700_000_100))
    names = [incident(correlator, *theft) for theft in thefts]

    async def write() -> None:
        store = SqliteStore(config.parent / "heistwatch.db")
        await store.open()
        tip = BlockRef(CHAIN, 9, "0x9")
        rows = [OutboxRow(f"alert-{n}", "soc", "0:webhook", b"{}", 1.7e9, "incident.opened", n) for n in names]
        await store.commit(
            Commit(
                CHAIN, tip, connected=(BlockRecord(tip, "0x8", 1_700_000_200),),
                incidents=tuple((name, correlator.dump(name)) for name in names), outbox=tuple(rows),
                coverage=(
                    CoverageRange(CHAIN, 5, 7, "node-a", ("internal transfers",), 1),
                    CoverageRange(CHAIN, 9, 9, "node-b"),
                ),
            )
        )  # fmt: skip
        await store.aclose()

    asyncio.run(write())
    return names


def test_list(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """One line an incident, oldest first; --json is what webhooks carry."""
    ran = heistwatch("incidents", "list")
    assert ran.code == 0
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        [stored[0], "2023-11-14T22:13:20Z", "high", "open", "Example", "5 ETH"],
        [stored[1], "2023-11-14T22:15:00Z", "high", "open", "Other", "5 ETH"],
    ]
    found = json.loads(heistwatch("incidents", "list", "--json").out)
    assert [item["id"] for item in found] == stored
    assert found[0]["lost"] == [{"chain": CHAIN, "asset": ASSET, "value": str(5 * 10**18), "display": "5 ETH"}]
    assert found[0]["suspects"] == [THIEF] and found[0]["share_lost"] == 0.5


def test_show(heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]) -> None:
    """The first characters of an id are enough, as long as they fit one incident."""
    ran = heistwatch("incidents", "show", stored[0][:8])
    assert ran.code == 0 and f"suspect {THIEF}" in ran.out
    assert f"heistwatch incidents false-alarm {stored[0]}" in ran.out and "trusted:" in ran.out
    assert json.loads(heistwatch("incidents", "show", stored[0], "--json").out)["id"] == stored[0]
    assert "incidents list" in refused(2, "incidents", "show", "nothing")
    assert "not unique" in refused(2, "incidents", "show", "")


def test_verdict(heistwatch: Callable[..., Any], refused: Callable[..., str], stored: list[str]) -> None:
    """A verdict is kept with who, why and that it is not yet in force; one on nothing is refused."""
    ran = heistwatch("incidents", "false-alarm", stored[1], "--by", "alice", "--comment", "our cold wallet")
    assert ran.code == 0 and stored[1] in ran.out and "next block" in ran.out
    assert "not yet in force: false-alarm by alice" in heistwatch("incidents", "show", stored[1]).out
    assert "not yet in force" not in heistwatch("incidents", "show", stored[0]).out
    assert json.loads(heistwatch("incidents", "show", stored[1], "--json").out)["status"] == "open"
    assert "no incident" in refused(2, "incidents", "confirm", "feedfeed")


def test_deliveries(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """What waits is listed, by state."""
    found = json.loads(heistwatch("deliveries", "list", "--json").out)
    assert [(row["incident"], row["state"], row["attempts"]) for row in found] == [(n, "due", 0) for n in stored]
    assert heistwatch("deliveries", "list", "--state", "done").out == "no messages\n"
    line = heistwatch("deliveries", "list", "--state", "due").out.splitlines()[0].split("\t")
    assert line[:6] == [f"alert-{stored[0]}", "incident.opened", "soc", "0:webhook", "due", "0"]


def test_coverage(heistwatch: Callable[..., Any], stored: list[str]) -> None:
    """Ranges with their source and blind spots, and the gap between them."""
    found = json.loads(heistwatch("coverage", "--json").out)[CHAIN]
    assert found["gaps"] == [{"first": 8, "last": 8}] and found["blocks"] == 4
    assert found["ranges"][0] == {
        "first": 5, "last": 7, "source": "node-a", "blind_spots": ["internal transfers"], "undecoded": 1
    }  # fmt: skip
    text = heistwatch("coverage").out
    assert "GAP 8 to 8" in text and "5 to 7 through node-a, cannot see internal transfers" in text


@pytest.mark.parametrize("arguments", [["incidents", "list"], ["deliveries", "list"], ["coverage"]])
def test_reading_makes_no_store(heistwatch: Callable[..., Any], config: Path, arguments: list[str]) -> None:
    """Where no monitor ever ran, that is said, and no empty store is left behind."""
    ran = heistwatch(*arguments)
    assert ran.code == 0 and ran.out in ("no incidents\n", "no messages\n", "nothing scanned yet\n")
    assert "there is no store" in ran.err
    assert not (config.parent / "heistwatch.db").exists()
