"""Real blocks as they lie on disk, read unconverted: counts and sums equal what plain reading of the files gives."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chains.bitcoin.block import parse_block
from chains.evm.decode import decode_recorded
from chains.tables import ChainInfo, Reading, Source, read
from monitor.networks import by_name

Read = Callable[..., Reading]


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real chain data."""
    path = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
    if not path.is_dir():
        pytest.skip("no real data: set HEISTWATCH_DATA")
    return path


@pytest.fixture(scope="module")
def look() -> Read:
    """Read paths of a chain with some watched addresses."""

    def run(name: str, *paths: Path | str, watch: Any = ()) -> Reading:
        network = by_name(name)
        assert network is not None
        chains = {name: ChainInfo(network.chain, network.kind, network.asset, network.block_seconds)}
        return read([Source(str(p)) for p in paths], chains=chains, watch={network.chain: frozenset(watch)})

    return run


def _json(path: Path) -> Any:
    with gzip.open(path) as file:
        return json.load(file)


def test_pevm_blocks(data: Path, look: Read) -> None:
    paths = sorted((data / "ethereum" / "pevm").glob("*/block.json.gz"))
    bodies = [_json(path) for path in paths]
    bodies = [body.get("result", body) for body in bodies]
    senders = sorted({tx["from"].lower() for body in bodies for tx in body["transactions"]})
    reading = look("ethereum", *paths, watch=senders)
    txs = [tx for body in bodies for tx in body["transactions"]]
    paid = [int(tx["value"], 16) for tx in txs]
    withdrawn = [int(w["amount"], 16) for body in bodies for w in body.get("withdrawals") or ()]
    assert len(paths) == 57
    assert (reading.rows, reading.bad_rows) == (len(txs), 0)
    assert reading.transfers == sum(v > 0 for v in paid) + sum(v > 0 for v in withdrawn)
    assert (reading.first, reading.last) == tuple(f(int(b["timestamp"], 16) for b in bodies) for f in (min, max))
    native = reading.frame.filter(reading.frame["kind"] == "native")
    assert sum(map(int, native["value"])) == sum(paid)
    assert reading.blind_spots == {"eip155:1": ("internal transfers", "token transfers", "transaction status")}
    number, known = 4_864_590, "0x3f5ce5fbfe3e9af3971dd833d26ba9b5c936f0be"  # a block with payments of Binance
    path = data / "ethereum" / "pevm" / str(number) / "block.json.gz"
    live = decode_recorded(gzip.decompress(path.read_bytes()), {known}, "eip155:1")
    frame = look("ethereum", path, watch=[known]).frame
    assert [(t.tx.hash, t.index, t.to_address, str(t.value)) for t in live.transfers] == list(
        frame.select("transaction_hash", "transfer_index", "to_address", "value").iter_rows()
    )


def test_mev_inspect_blocks(data: Path, look: Read) -> None:
    paths = sorted((data / "ethereum" / "mev-inspect").glob("*.json.gz"))
    bodies = [_json(path) for path in paths]
    roots = {
        t["transaction_hash"]: t for body in bodies for t in body["traces"]
        if t.get("transaction_hash") and t["traceAddress" if "traceAddress" in t else "trace_address"] == []
        and t["type"] in ("call", "create")
    }  # fmt: skip
    senders = {t["action"]["from"].lower() for t in roots.values()}
    reading = look("ethereum", *paths, watch=senders)
    assert reading.rows == sum(len({t["transaction_hash"] for t in body["traces"] if t.get("transaction_hash")})
                               for body in bodies)  # fmt: skip
    assert reading.bad_rows == 0
    native = reading.frame.filter((reading.frame["kind"] == "native") & (reading.frame["value"] != "0"))
    expected = {h: int(t["action"]["value"], 16) for h, t in roots.items()
                if not t.get("error") and int(t["action"]["value"], 16)}  # fmt: skip
    assert dict(zip(native["transaction_hash"], map(int, native["value"]), strict=True)) == expected
    assert any("interpolated" in note for note in reading.notes)
    assert any("1 blocks or transactions lie in the data more than once" in note for note in reading.notes)
    assert reading.blind_spots == {"eip155:1": ("token transfers",)}


def test_answers_of_ethereum_etl(data: Path, look: Read, tmp_path: Path) -> None:
    """Blocks with receipts, and a block with its traces, as a node answered them: each golden row is found."""
    with tarfile.open(data / "ethereum" / "ethereum-etl" / "tests-resources.tar.gz") as archive:
        inside = [m for m in archive.getmembers() if "test_stream/blocks_1755634_1755635/" in m.name]
        files = {m.name.rpartition("/")[2]: archive.extractfile(m) for m in inside if m.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    golden = [json.loads(line) for line in contents["expected_transactions.json"].splitlines()]
    paths = []
    for name, content in contents.items():
        if name.startswith("web3") and "_false" not in name:
            paths.append(tmp_path / name[-60:])
            paths[-1].write_bytes(content)
    reading = look("ethereum", *paths, watch=[tx["from_address"] for tx in golden])
    assert (reading.rows, reading.bad_rows) == (len(golden), 0)
    native = reading.frame.filter(reading.frame["kind"] == "native")
    fees = reading.frame.filter(reading.frame["kind"] == "fee")
    assert {(r["transaction_hash"], r["value"]) for r in native.to_dicts()} == {
        (tx["hash"], str(tx["value"])) for tx in golden if int(tx["value"])
    }
    assert {r["transaction_hash"]: int(r["value"]) for r in fees.to_dicts()} == {
        tx["hash"]: tx["receipt_gas_used"] * tx["gas_price"] for tx in golden
    }


def test_bitcoin_blocks(data: Path, look: Read) -> None:
    network, folder = by_name("bitcoin"), data / "bitcoin"
    assert network is not None
    raw = [*sorted((folder / "bcoin").glob("block*[0-9].raw.gz")), *sorted((folder / "electrs").glob("*.gz"))]
    blocks = [parse_block(gzip.decompress(path.read_bytes()), network) for path in raw]
    reading = look("bitcoin", *raw)
    assert len(raw) == 6
    assert (reading.rows, reading.bad_rows) == (sum(len(b.txs) for b in blocks), 0)
    assert reading.transfers == sum(v > 0 for b in blocks for v in b.output_values)


def test_raw_with_undo_is_getblock_3(data: Path, look: Read) -> None:
    told = data / "bitcoin" / "bcoin" / "block300025-verbosity3.json.gz"
    body = _json(told)
    outs = {tx["txid"]: [*tx["vout"], *(i["prevout"] for i in tx["vin"] if "prevout" in i)] for tx in body["tx"]}
    owners = {txid: {out["scriptPubKey"].get("address") for out in some} - {None} for txid, some in outs.items()}
    watch = set[str]().union(*owners.values())
    frame = look("bitcoin", told, watch=watch).frame
    undone = look("bitcoin", *(told.with_name(f"block300025{part}.raw.gz") for part in ("", "-undo")), watch=watch)
    assert undone.frame.equals(frame)
    assert undone.blind_spots == {}
    txs = [tx for tx in body["tx"] if owners[tx["txid"]]]
    paid = [Decimal(out["value"]) for tx in txs for out in tx["vout"]]
    spent = [Decimal(i["prevout"]["value"]) for tx in txs for i in tx["vin"] if "prevout" in i]
    assert sum(map(int, frame["value"])) == int(sum(paid) * 10**8)
    first = frame.unique("transaction_hash")
    assert sum(int(v) for values in first["input_values"].drop_nulls() for v in values) == int(sum(spent) * 10**8)


def test_electrumx_blocks(data: Path, look: Read, tmp_path: Path) -> None:
    with tarfile.open(data / "bitcoin" / "electrumx" / "blocks.tar.gz") as archive:
        for name, coin in (("bitcoin", "bitcoin_mainnet_951658"), ("litecoin", "litecoin_mainnet_2265985"),
                           ("dogecoin", "dogecoin_mainnet_371337")):  # fmt: skip
            member = next(m for m in archive.getmembers() if f"{coin}" in m.name)
            content = archive.extractfile(member).read()  # type: ignore[union-attr]
            path = tmp_path / coin
            path.write_bytes(content)
            body = json.loads(content)
            reading = look(name, path)
            assert (reading.rows, reading.bad_rows) == (len(body["tx"]), 0)
            assert reading.first == body["time"]


def test_nem_answers(data: Path, look: Read) -> None:
    path = data / "nem" / "nem-exchange-guide" / "transactions.json"
    cases = json.loads(path.read_text())
    receivers = set()
    for case in cases:
        tx = case["response"]["transaction"]
        receivers.add(tx.get("otherTrans", tx)["recipient"].replace("-", ""))
    reading = look("nem", path, watch=receivers)
    xem = reading.frame.filter((reading.frame["kind"] == "native") & (reading.frame["value"] != "0"))
    got = dict(zip(xem["transaction_hash"], map(int, xem["value"]), strict=True))
    expected = {case["response"]["meta"]["hash"]["data"]: int(Decimal(case["expected_xem"]) * 10**6) for case in cases}
    assert got == {hash: value for hash, value in expected.items() if value}
    assert (reading.rows, reading.bad_rows) == (11, 0)


def test_composite_nem_answers(data: Path, look: Read) -> None:
    folder = data / "nem"
    blocks = json.loads((folder / "nem-symbol-product" / "nem_connector_responses.json").read_text())
    reading = look("nem", folder / "nem-symbol-product" / "nem_connector_responses.json")
    assert reading.rows == sum(len(v["txes"]) for v in blocks.values() if "txes" in v)
    assert reading.bad_rows == 0
    sdk = look("nem", folder / "nem-nem1-sdk" / "responses.json")
    assert sdk.rows == _transactions(json.loads((folder / "nem-nem1-sdk" / "responses.json").read_text()))


def _transactions(found: Any) -> int:
    """Transactions anywhere in an answer: in pages, and in blocks."""
    if isinstance(found, dict):
        own = len(found["transactions"]) if "prevBlockHash" in found else int(found.keys() >= {"meta", "transaction"})
        return own + sum(map(_transactions, found.values()))
    return sum(map(_transactions, found)) if isinstance(found, list) else 0
