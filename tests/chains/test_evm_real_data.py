"""Real Ethereum blocks through the decoder, against counts made here from the plain JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chains.evm.decode import decode_block, decode_recorded
from chains.evm.wire import RpcBlock, RpcReceipt
from monitor.model import TransferKind


def _as(value: Any, kind: Any) -> Any:
    """JSON as a node sends it, decoded."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)



class Everyone:
    """A watch set of all addresses."""

    def __contains__(self, address: object) -> bool:
        return True


class Archive:
    """The recorded RPC answers of a table exporter's own tests, with the tables that it made of them."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self._files = {
                m.name.split("resources/", 1)[-1]: archive.extractfile(m).read()  # type: ignore[union-attr]
                for m in archive.getmembers()
                if m.isfile()
            }

    def text(self, name: str) -> str:
        return self._files[name].decode()

    def result(self, name: str) -> Any:
        return json.loads(self._files[name])["result"]

    def results(self, folder: str, what: str) -> list[Any]:
        names = sorted(n for n in self._files if n.startswith(folder) and what in n)
        return [self.result(name) for name in names]


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a CSV or NDJSON table, values as text."""
    if table.startswith("{"):
        return [{k: str(v) for k, v in json.loads(line).items()} for line in table.splitlines()]
    return list(csv.DictReader(io.StringIO(table)))


@pytest.fixture(scope="module")
def archive(data_root: Path) -> Archive:
    path = data_root / "ethereum/ethereum-etl/tests-resources.tar.gz"
    if not path.is_file():
        pytest.skip("the recorded RPC answers of ethereum-etl are not here")
    return Archive(path)


@pytest.fixture(scope="module")
def mainnet(data_root: Path) -> dict[str, bytes]:
    """Recorded mainnet blocks by number."""
    found = {p.parent.name: gzip.decompress(p.read_bytes()) for p in data_root.glob("ethereum/pevm/*/block.json.gz")}
    if not found:
        pytest.skip("the recorded mainnet blocks are not here")
    return found


def test_every_recorded_block(mainnet: dict[str, bytes]) -> None:
    """Each block gives as many native transfers as it has transactions with value, and the same sum and parties."""
    blocks = values = 0
    for number, data in mainnet.items():
        block = decode_recorded(data, Everyone(), "eip155:1")
        raw = json.loads(data)
        moving = [(i, t) for i, t in enumerate(raw["transactions"]) if int(t["value"], 16)]
        given = [w for w in raw.get("withdrawals") or [] if int(w["amount"], 16)]
        assert (block.ref.number, block.ref.hash, block.parent_hash) == (int(number), raw["hash"], raw["parentHash"])
        assert block.undecoded == ()
        moved = [t for t in block.transfers if t.value]
        assert block.transfers_seen == len(moved) == len(moving) + len(given)
        payments, credits = moved[: len(moving)], moved[len(moving) :]
        assert sum(t.value for t in payments) == sum(int(t["value"], 16) for _, t in moving)
        paid = [(w["address"], int(w["amount"], 16) * 10**9) for w in given]
        assert [(t.to_address, t.value) for t in credits] == paid
        for transfer, (position, t) in zip(payments, moving, strict=True):
            assert (transfer.tx.hash, transfer.tx.index) == (t["hash"], position)
            assert transfer.tx.nonce == int(t["nonce"], 16)
            assert transfer.from_addresses == (t["from"],)
            assert transfer.to_address == t["to"] or (t["to"] is None and len(transfer.to_address) == 42)
        assert [t.index for t in payments] == sorted({t.index for t in payments})
        blocks, values = blocks + 1, values + len(moving)
    assert blocks >= 57 and values > 8000


def test_watched_exchange_wallets(mainnet: dict[str, bytes]) -> None:
    """A watch set picks exactly the transfers that touch it, unchanged, and still counts all."""
    watch = {"0x28c6c06298d514db089934071355e5743bf21d60", "0x71660c4005ba85c37ccec55d0c4493e66fe775d3"}
    picked = 0
    for data in mainnet.values():
        everything, mine = decode_recorded(data, Everyone(), "eip155:1"), decode_recorded(data, watch, "eip155:1")
        assert mine.transfers == tuple(
            t for t in everything.transfers if watch & {t.to_address, *t.from_addresses}
        )
        assert mine.transfers_seen == everything.transfers_seen
        picked += len(mine.transfers)
    assert picked > 0


@pytest.mark.parametrize(
    ("block", "receipts", "transfers"),
    [
        (
            "test_export_blocks_job/block_with_logs/web3_response.eth_getBlockByNumber_0x76250_true.json",
            "test_export_receipts_job/receipts_with_logs/",
            "test_export_token_transfers_job/block_with_transfers/expected_token_transfers.csv",
        ),
        (
            "test_stream/blocks_1755634_1755635/web3_response.eth_getBlockByNumber_0x1ac9f3_true.json",
            "test_stream/blocks_1755634_1755635/",
            "test_stream/blocks_1755634_1755635/expected_token_transfers.json",
        ),
    ],
)
def test_recorded_receipts(block: str, receipts: str, transfers: str, archive: Archive) -> None:
    """Blocks with receipts give the token transfers that an independent exporter made of the same answers."""
    raw, told = archive.result(block), archive.results(receipts, "eth_getTransactionReceipt")
    read = decode_block(
        _as(raw, RpcBlock), _as(told, list[RpcReceipt]), Everyone(), "eip155:1"
    )
    expected = [
        (r["transaction_hash"], f"eip155:1/erc20:{r['token_address']}", r["from_address"], r["to_address"], r["value"])
        for r in rows(archive.text(transfers))
    ]
    tokens = [t for t in read.transfers if t.kind is TransferKind.TOKEN]
    assert [(t.tx.hash, t.asset, t.from_addresses[0], t.to_address, str(t.value)) for t in tokens] == expected != []
    fees = {t.tx.hash: t.value for t in read.transfers if t.kind is TransferKind.FEE}
    prices = {t["hash"]: int(t["gasPrice"], 16) for t in raw["transactions"]}
    assert fees == {r["transactionHash"]: int(r["gasUsed"], 16) * prices[r["transactionHash"]] for r in told}
    assert "transaction status" in read.blind_spots  # these blocks are older than the status field
