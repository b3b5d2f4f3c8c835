"""NIS1 documents as history: blocks of both APIs, transactions of account pages, each once and in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chains.nem.binary import transaction_hash
from chains.nem.decode import decode_block, parse_block
from chains.recorded.nem_blocks import construct
from chains.tables import ChainInfo, Reading, Source, read
from monitor.networks import by_name

NETWORK = by_name("nem")
assert NETWORK is not None
INFO = {"nem": ChainInfo("nem:mainnet", "nem", NETWORK.asset, 60)}
ANN, BEN = "NC2KPEXZDILXDWO6Y2OY4W7FRSVFGKYC7VB6W4D4", "NAX3EP4EKUMLH4T3N7GJSTQDG2AMUK5T26P5EA2M"
KEY = "d7e062d8c08329cf316289f7c1a6ae87ee07e8033f2eccd6042ba3d5c6c2ddca"
WATCH = frozenset({ANN, BEN})
BLIND = ("harvested fees", "mosaic supply changes", "received mosaic levies")
Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def blocks() -> list[dict[str, Any]]:
    """Blocks with three payments of one account."""
    moves = [(1_500_000_000 + 70 * n, KEY, (ANN, BEN)[n % 2], 1_000_000 * (n + 1)) for n in range(3)]
    return list(construct(moves, height=1_000_000).blocks)


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., Reading]:
    def run(*documents: Any, watch: frozenset[str] = WATCH) -> Reading:
        sources = []
        for document in documents:
            path = tmp_path / f"{len(list(tmp_path.iterdir())):03}.json"
            path.write_text(document if isinstance(document, str) else json.dumps(document))
            sources.append(Source(str(path)))
        return read(sources, chains=INFO, watch={"nem:mainnet": watch})

    return run


def local(block: dict[str, Any]) -> dict[str, Any]:
    """A block as the local API gives it."""
    inner = {key: value for key, value in block.items() if key != "transactions"}
    txes = [{"tx": tx, "hash": transaction_hash(tx)} for tx in block["transactions"]]
    return {"txes": txes, "block": inner, "hash": "ab" * 32, "difficulty": 1}


def paged(block: dict[str, Any], first: int) -> list[dict[str, Any]]:
    """Its transactions as pages of an account list them."""
    return [
        {"meta": {"height": block["height"], "id": first + n, "hash": {"data": transaction_hash(tx)}},
         "transaction": tx}
        for n, tx in enumerate(block["transactions"])
    ]  # fmt: skip


def test_blocks_are_what_the_watcher_gives(
    blocks: list[dict[str, Any]], look: Callable[..., Reading], as_decoded: Rows, as_read: Rows
) -> None:
    expected = as_decoded(*(decode_block(parse_block(block), "", NETWORK, WATCH) for block in blocks))
    forms = [[blocks], [*blocks], [{"data": [local(block) for block in blocks]}], ["\n".join(map(json.dumps, blocks))]]
    for form in forms:
        reading = look(*form)
        assert as_read(reading.frame) == expected
        assert (reading.rows, reading.bad_rows, reading.transfers) == (3, 0, 3)
        assert reading.blind_spots == {"nem:mainnet": BLIND}


def test_pages_are_read_once_and_in_order(blocks: list[dict[str, Any]], look: Callable[..., Reading]) -> None:
    merged = {**blocks[-1], "transactions": [tx for block in blocks for tx in block["transactions"]]}
    pages = [{"data": list(reversed(paged(merged, 70)))}, {"data": paged(merged, 70)[:2]}]
    reading = look(*pages)
    moved = reading.frame.filter(reading.frame["kind"] == "native")
    assert moved["value"].to_list() == ["1000000", "2000000", "3000000"]
    assert moved["transaction_index"].to_list() == [0, 1, 2]
    assert look(*reversed(pages)).frame.equals(reading.frame)
    assert (reading.rows, reading.transfers) == (5, 3)
    assert any("times of 3 transactions are those that they say" in note for note in reading.notes)
    with_block = look(*pages, merged)
    assert with_block.transfers == 3
    assert with_block.frame["transaction_hash"].n_unique() == 3


def test_what_is_broken_costs_itself_alone(blocks: list[dict[str, Any]], look: Callable[..., Reading]) -> None:
    broken = json.loads(json.dumps(blocks[1]))
    del broken["transactions"][0]["recipient"]
    foreign = json.loads(json.dumps(blocks[2]))
    foreign["transactions"][0]["version"] = -0x68000000 + 1
    page = paged(blocks[1], 5)
    page[0]["meta"]["height"] = 9007199254740991
    reading = look([blocks[0], broken, foreign, {**blocks[3], "signature": "zz"}, *page])
    assert (reading.rows, reading.bad_rows) == (4, 4)  # the first block is empty
    reasons = [bad.reason for bad in reading.bad]
    assert reasons[0].startswith(f"block {broken['height']}: a transaction cannot be read")
    assert reasons[1] == f"block {foreign['height']}: transaction 0 is one of another network"
    assert reasons[2] == "not a NIS1 block: signature or prevBlockHash is not hexadecimal"
    assert reasons[3] == "a NIS1 transaction without the height of its block"
    assert [bad.row for bad in reading.bad] == [2, 3, 4, 5]


@pytest.mark.parametrize("height", [10**19, 1 << 50])
def test_heights_that_are_none(height: int, blocks: list[dict[str, Any]], look: Callable[..., Reading]) -> None:
    reading = look([blocks[1], {**blocks[2], "height": height}])
    assert [bad.reason for bad in reading.bad] == ["a NIS1 block whose height makes no sense"]
    assert reading.rows == len(blocks[1]["transactions"]) + 1
