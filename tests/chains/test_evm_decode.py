"""Ethereum blocks to transfers: each rule with a hand-made block."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.evm.decode import decode_block, decode_recorded, touching
from chains.evm.reader import created_address
from chains.evm.tokens import TRANSFER
from chains.evm.wire import RpcBlock, RpcLog, RpcReceipt
from monitor.errors import ChainInconsistent, DecodeError
from monitor.model import Block, Transfer, TransferKind


def _as(value: Any, kind: Any) -> Any:
    """JSON as a node sends it, decoded."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


CHAIN = "eip155:1"
ETHER = "eip155:1/slip44:60"
HASH, PARENT = "0x" + "ab" * 32, "0x" + "aa" * 32
BLOOM, EMPTY = "0x" + "0" * 509 + "1" + "00", "0x" + "0" * 512
ALICE, BOB, CAROL, COIN = ("0x" + c * 40 for c in "abcd")
ZERO = "0x" + "0" * 40


class Everyone:
    """A watch set of all addresses."""

    def __contains__(self, address: object) -> bool:
        return True


def tx(number: int, sender: str = ALICE, to: str | None = BOB, value: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "hash": f"0x{number:064x}", "from": sender, "to": to, "value": hex(value), "nonce": hex(number),
        "gas": "0x5208", "gasPrice": hex(10), "type": "0x2", "input": "0x" if value else "0xca11", **more,
    }  # fmt: skip


def word(address: str) -> str:
    return "0x" + address[2:].rjust(64, "0")


def log(index: int, *topics: str, data: str = "0x", address: str = COIN, **more: Any) -> dict[str, Any]:
    return {"address": address, "topics": list(topics), "data": data, "logIndex": hex(index), "blockHash": HASH, **more}


def moved(index: int, sender: str, receiver: str, value: int, **more: Any) -> dict[str, Any]:
    return log(index, TRANSFER, word(sender), word(receiver), data=f"0x{value:064x}", **more)


def receipt(number: int, *logs: dict[str, Any], status: int | None = 1, **more: Any) -> dict[str, Any]:
    hash = f"0x{number:064x}"
    logs = tuple({"transactionHash": hash, **entry} for entry in logs)
    answer = {"transactionHash": hash, "blockHash": HASH, "logs": logs, "gasUsed": "0x64", "effectiveGasPrice": "0x7"}
    return {**answer, **({} if status is None else {"status": hex(status)}), **more}


def block_of(*transactions: Any, bloom: str | None = BLOOM, **more: Any) -> dict[str, Any]:
    return {
        "hash": HASH, "parentHash": PARENT, "number": "0x10", "timestamp": "0x5f5e100", "logsBloom": bloom,
        "transactions": list(transactions), **more,
    }  # fmt: skip


def decode(block: Any, receipts: Any, watch: Any = None, logs: Any = None, chain: str = CHAIN) -> Block:
    return decode_block(
        _as(block, RpcBlock),
        None if receipts is None else _as(receipts, list[RpcReceipt]),
        Everyone() if watch is None else watch,
        chain,
        logs=None if logs is None else _as(logs, list[RpcLog]),
        source="node.example",
    )


def short(transfer: Transfer) -> tuple[Any, ...]:
    return (transfer.index, transfer.kind, transfer.from_addresses[0], transfer.to_address, transfer.value)


def test_header() -> None:
    """Reference, parent, time and source come from the block; internal transfers are a stated blind spot."""
    block = decode(block_of(bloom=EMPTY), [])
    assert (block.ref.chain, block.ref.number, block.ref.hash) == (CHAIN, 16, HASH)
    assert (block.parent_hash, block.timestamp, block.source) == (PARENT, 100_000_000, "node.example")
    assert block.blind_spots == ("internal transfers",)


def test_order_and_places() -> None:
    """Within a transaction native comes first, then logs by logIndex, then the fee; every place counts."""
    logs = moved(9, BOB, CAROL, 3), log(7, "0x" + "11" * 32), moved(8, ALICE, CAROL, 2)
    block = decode(block_of(tx(1, value=5), tx(2)), [receipt(1, *logs), receipt(2)])
    assert [short(t) for t in block.transfers] == [
        (0, TransferKind.NATIVE, ALICE, BOB, 5),
        (2, TransferKind.TOKEN, ALICE, CAROL, 2),
        (3, TransferKind.TOKEN, BOB, CAROL, 3),
        (4, TransferKind.FEE, ALICE, "", 700),
        (6, TransferKind.FEE, ALICE, "", 700),
    ]
    assert block.transfers_seen == 3  # fees move no value to anybody


def test_places_do_not_depend_on_the_watch_set() -> None:
    """A transfer keeps its index whoever is watched."""
    raw = block_of(tx(1, value=5), tx(2, sender=BOB, to=CAROL, value=6))
    receipts = [receipt(1, moved(0, ALICE, BOB, 1)), receipt(2)]
    everything = {t.index: t for t in decode(raw, receipts).transfers}
    carols = decode(raw, receipts, {CAROL})
    assert carols.transfers == (everything[3],)
    assert carols.transfers_seen == 3


def test_transaction_fields() -> None:
    """A transfer carries what is known of its transaction, and both transfers share it."""
    block = decode(block_of(tx(0), tx(7, value=5), bloom=EMPTY), [receipt(0), receipt(7)], {BOB})
    (transfer,) = block.transfers
    assert transfer.tx.hash == f"0x{7:064x}"
    assert (transfer.tx.index, transfer.tx.initiator, transfer.tx.nonce) == (1, ALICE, 7)
    assert (transfer.tx.fee, transfer.tx.fee_rate, transfer.tx.gas_limit) == (700, 7.0, 21000)
    assert (transfer.tx.version, transfer.tx.target, transfer.tx.pending) == (2, BOB, False)
    assert (transfer.asset, transfer.input_values) == (ETHER, (5,))


def test_failed_transaction() -> None:
    """A failed transaction moves nothing, but its sender pays the fee."""
    block = decode(block_of(tx(1, value=5), bloom=EMPTY), [receipt(1, status=0)])
    assert [short(t) for t in block.transfers] == [(1, TransferKind.FEE, ALICE, "", 700)]
    assert block.transfers_seen == 0


def test_fee_only_of_a_watched_sender() -> None:
    """The fee belongs to the sender, never to the receiver."""
    block = decode(block_of(tx(1), bloom=EMPTY), [receipt(1)], {BOB})
    assert block.transfers == ()


def test_receipt_before_byzantium() -> None:
    """Without a status a transaction counts as successful, and the blind spot is stated; gasPrice is the price."""
    raw = receipt(1, status=None, root="0x" + "33" * 32, effectiveGasPrice=None)
    block = decode(block_of(tx(1, value=5), bloom=EMPTY), [raw])
    assert [t.value for t in block.transfers] == [5, 1000]
    assert block.blind_spots == ("internal transfers", "transaction status")


def test_rollup_and_blob_fees() -> None:
    """The data fee of the first layer and blob gas are part of what the sender paid."""
    raw = receipt(1, l1Fee="0x64", blobGasUsed="0x3", blobGasPrice="0x5")
    (fee,) = decode(block_of(tx(1), bloom=EMPTY), [raw]).transfers
    assert (fee.value, fee.tx.fee) == (815, 815)


def test_contract_creation() -> None:
    """Value sent with a creation goes to the new contract, also where no receipt names it."""
    creator = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"
    made = "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    raw = block_of(tx(1, sender=creator, to=None, value=5, nonce="0x0"), bloom=EMPTY)
    told = decode(raw, [receipt(1, contractAddress=made.upper().replace("X", "x"))], {made})
    worked_out = decode(raw, None, {made})
    assert [t.to_address for t in told.transfers] == [t.to_address for t in worked_out.transfers] == [made]


@pytest.mark.parametrize(
    ("nonce", "address"),
    [  # the first and later deployments of a development node's first account
        (0, "0x5fbdb2315678afecb367f032d93f642f64180aa3"),
        (1, "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"),
    ],
)
def test_created_address(nonce: int, address: str) -> None:
    """The address of a new contract follows from creator and nonce."""
    assert created_address("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", nonce) == address


@pytest.mark.parametrize(("creator", "nonce"), [("0x12", 0), ("0x" + "zz" * 20, 0), (ALICE, -1), (ALICE, 2**64)])
def test_created_address_refuses(creator: str, nonce: int) -> None:
    """What is no account or no nonce is a ValueError, not a wrong address."""
    with pytest.raises(ValueError):
        created_address(creator, nonce)


def test_erc721() -> None:
    """A Transfer with four topics is one token of an ERC-721 collection."""
    entry = log(0, TRANSFER, word(ALICE), word(BOB), f"0x{77:064x}")
    (transfer,) = decode(block_of(tx(1, sender=CAROL)), [receipt(1, entry)], {BOB}).transfers
    assert (transfer.kind, transfer.value, transfer.asset) == (TransferKind.TOKEN, 1, f"{CHAIN}/erc721:{COIN}")


def test_erc20_asset_is_lower_case_and_exact() -> None:
    """The asset is the contract in lower case; amounts of 256 bits stay exact."""
    entry = moved(0, ALICE, BOB, 2**256 - 1, address=COIN.upper().replace("X", "x"))
    (transfer,) = decode(block_of(tx(1, sender=CAROL)), [receipt(1, entry)], {ALICE}).transfers
    assert (transfer.value, transfer.asset) == (2**256 - 1, f"{CHAIN}/erc20:{COIN}")


def test_a_call_of_nothing_with_nothing_leaves_its_sender() -> None:
    """Nobody pays or calls by it: what it leaves is an address in the history of the receiver. It is not counted."""
    block = decode(block_of(tx(1, input="0x"), bloom=EMPTY), [receipt(1)], {BOB})
    assert [(t.kind, t.from_addresses, t.value) for t in block.transfers] == [("native", (ALICE,), 0)]
    assert block.transfers_seen == 0
    assert decode(block_of(tx(1, input="0x1234"), bloom=EMPTY), [receipt(1)], {BOB}).transfers == ()


def test_zero_values_are_not_counted() -> None:
    """Forged transfers of nothing are handed over, for whoever looks for planted addresses; they count as none."""
    block = decode(block_of(tx(1, value=0)), [receipt(1, moved(0, ALICE, BOB, 0))], {BOB})
    assert [(t.kind, t.value, t.to_address) for t in block.transfers] == [("token", 0, BOB)]
    assert (block.transfers_seen, block.undecoded) == (0, ())
    assert decode(block_of(tx(1, value=0)), [receipt(1, moved(0, ALICE, BOB, 0))], {CAROL}).transfers == ()


@pytest.mark.parametrize(
    "entry",
    [
        log(0, TRANSFER, data="0x" + "00" * 64),
        log(0, TRANSFER, word(ALICE), data="0x" + "00" * 64),
        log(0, TRANSFER, word(ALICE), word(BOB), data="0x"),
        log(0, TRANSFER, word(ALICE), word(BOB), data="0x" + "00" * 64),
        log(0, TRANSFER, word(ALICE), word(BOB), data="0x" + "zz" * 32),
        log(0, TRANSFER, "0x" + "ff" * 32, word(BOB), data="0x" + "00" * 31 + "01"),
        log(0, TRANSFER, word(ALICE)[:-2], word(BOB), data="0x" + "00" * 31 + "01"),
    ],
)
def test_malformed_logs_cost_nothing_else(entry: dict[str, Any]) -> None:
    """A Transfer of an unknown shape is counted by its transaction; the rest of the transaction is read."""
    block = decode(block_of(tx(1, value=5)), [receipt(1, entry, moved(1, ALICE, BOB, 9))], {BOB})
    assert block.undecoded == (f"0x{1:064x}",)
    assert [t.value for t in block.transfers] == [5, 9]


def test_other_events_are_ignored() -> None:
    """A log without topics, or of another event, is no transfer and no trouble."""
    block = decode(block_of(tx(1)), [receipt(1, log(0), log(1, "0x" + "22" * 32, word(BOB), word(BOB)))], {BOB})
    assert (block.transfers, block.undecoded) == ((), ())


@pytest.mark.parametrize("value", [None, 5, "5", "0x", "0xzz", "-0x5", [], True])
def test_unreadable_transaction_does_not_stop_the_block(value: Any) -> None:
    """A transaction whose value makes no sense is named; the others are read."""
    raw = block_of({**tx(1), "value": value}, tx(2, value=6), bloom=EMPTY)
    block = decode(raw, [receipt(1), receipt(2)], {BOB})
    assert block.undecoded == (f"0x{1:064x}",)
    assert [t.value for t in block.transfers] == [6]


def test_unreadable_status_is_loud() -> None:
    """A status that makes no sense is named, and the value counts as moved."""
    block = decode(block_of(tx(1, value=5), bloom=EMPTY), [{**receipt(1), "status": "?"}], {BOB})
    assert (block.undecoded, [t.value for t in block.transfers]) == ((f"0x{1:064x}",), [5])


def test_unreadable_details_are_unknown() -> None:
    """Details that make no sense become unknown; the value is what matters."""
    raw = block_of(tx(1, value=5, nonce="x", gas=7, gasPrice=None, type="0xzz"), bloom=EMPTY)
    (transfer,) = decode(raw, [receipt(1, effectiveGasPrice="?", gasUsed=None)], {BOB}).transfers
    known = transfer.tx
    assert (known.nonce, known.gas_limit, known.version, known.fee, known.fee_rate) == (None,) * 5
    assert transfer.value == 5


@pytest.mark.parametrize(
    ("receipts", "why"),
    [
        ([receipt(1)], "1 receipts for 2 transactions"),
        ([receipt(1), receipt(2), receipt(3)], "3 receipts for 2 transactions"),
        ([receipt(1), receipt(3)], "receipts of other transactions"),
        ([receipt(1), receipt(1)], "receipts of other transactions"),
        ([receipt(1), receipt(2, blockHash=PARENT)], "receipt of another block"),
        ([receipt(1), receipt(2, moved(0, ALICE, BOB, 1, blockHash=PARENT))], "log of another block"),
        ([receipt(1), receipt(2, moved(0, ALICE, BOB, 1, removed=True))], "log of another block"),
        ([receipt(1), receipt(2)], "its bloom filter names logs"),
    ],
)
def test_receipts_that_do_not_belong(receipts: list[Any], why: str) -> None:
    """Receipts and logs must be those of this very block, all of them, and not fewer than its bloom filter tells."""
    with pytest.raises(ChainInconsistent, match=why):
        decode(block_of(tx(1), tx(2)), receipts)


def test_empty_bloom_and_no_logs_agree() -> None:
    """A block without logs is consistent where its bloom filter is empty or not told."""
    for bloom in (EMPTY, None):
        assert decode(block_of(tx(1), bloom=bloom), [receipt(1)]).undecoded == ()


def test_logs_with_receipts_of_some_give_the_same_block() -> None:
    """Logs by block hash and the receipts that `touching` asks for give the same transfers as all receipts."""
    entries = moved(0, CAROL, BOB, 3), moved(1, ALICE, CAROL, 2)
    raw = block_of(
        tx(1, value=5), tx(2, sender=CAROL, to=COIN), tx(3, sender=CAROL, to=COIN), tx(4, to=CAROL, sender=CAROL)
    )
    receipts = [receipt(1, status=0), receipt(2, entries[0]), receipt(3, entries[1]), receipt(4)]
    logs = [entry for one in receipts for entry in one["logs"]]
    asked = touching(_as(raw, RpcBlock), _as(logs, list[RpcLog]), {BOB})
    assert asked == [f"0x{n:064x}" for n in (1, 2)]
    some = [one for one in receipts if one["transactionHash"] in asked]
    assert decode(raw, some, {BOB}, logs=logs).transfers == decode(raw, receipts, {BOB}).transfers != ()


def test_touching_sees_a_creation() -> None:
    """A creation whose new contract is watched touches the watch set; one that makes no sense does not."""
    raw = block_of(tx(1, sender="0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", to=None, nonce="0x0"), tx(2, "0x1", None))
    made = {"0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"}
    assert touching(_as(raw, RpcBlock), [], made) == [f"0x{1:064x}"]


def test_logs_of_another_block() -> None:
    """The logs that an endpoint gives for a block hash are checked like receipts."""
    with pytest.raises(ChainInconsistent, match="log of another block"):
        decode(block_of(tx(1)), [], logs=[moved(0, ALICE, BOB, 1, blockHash=PARENT)])
    with pytest.raises(ChainInconsistent, match="its bloom filter"):
        decode(block_of(tx(1)), [], logs=[])
    with pytest.raises(ChainInconsistent, match="receipt of another block"):
        decode(block_of(tx(1), bloom=EMPTY), [receipt(1, blockHash=PARENT)], logs=[])


def test_recorded() -> None:
    """A recorded block, bare or in its envelope, is read without receipts, and says what that cannot show."""
    raw = block_of(tx(1, value=5))
    bare = decode_recorded(json.dumps(raw).encode(), {BOB}, CHAIN)
    assert bare == decode_recorded(json.dumps({"jsonrpc": "2.0", "id": 1, "result": raw}).encode(), {BOB}, CHAIN)
    assert [(t.value, t.tx.fee, t.tx.fee_rate) for t in bare.transfers] == [(5, None, 10.0)]
    assert bare.blind_spots == ("internal transfers", "transaction status", "token transfers")


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b'{"result": null}', b"\xff", json.dumps(block_of(f"0x{1:064x}")).encode()],
)
def test_recorded_refuses(data: bytes) -> None:
    """What is no block with full transactions is a DecodeError."""
    with pytest.raises(DecodeError):
        decode_recorded(data, Everyone(), CHAIN)


def test_unreadable_header_and_chain() -> None:
    """A number or time that makes no sense, and a chain that is none of Ethereum's family, are DecodeErrors."""
    with pytest.raises(DecodeError, match="unreadable number or time"):
        decode(block_of(bloom=EMPTY, timestamp="soon"), [])
    with pytest.raises(DecodeError, match="not an EVM chain"):
        decode(block_of(bloom=EMPTY), [], chain="nem:mainnet")


junk = st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=5), st.sampled_from(["0x", "0x1", ALICE, word(BOB)]))
texts = st.one_of(st.text(max_size=5), st.sampled_from(["0x", "0x1", "0x" + "f" * 64, ALICE, word(BOB), TRANSFER]))


@settings(max_examples=200, deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from(["value", "nonce", "gas", "gasPrice", "type"]), junk, max_size=5),
    ends=st.tuples(texts, st.one_of(st.none(), texts)),
    told=st.dictionaries(st.sampled_from(["gasUsed", "effectiveGasPrice", "l1Fee", "blobGasUsed"]), junk, max_size=3),
    status=st.one_of(st.none(), texts),
    topics=st.lists(texts, max_size=5),
    data=texts,
)
def test_hostile_content_never_raises(
    fields: dict[str, Any], ends: Any, told: dict[str, Any], status: Any, topics: list[str], data: str
) -> None:
    """Whatever stands in a transaction, its receipt and its log, the block and its other transfers are read."""
    first = {**tx(1), **fields, "from": ends[0], "to": ends[1]}
    entry = {"address": COIN, "topics": topics, "data": data, "logIndex": data, "blockHash": HASH}
    receipts = [receipt(1, entry, status=None, **told), receipt(2, moved(5, CAROL, BOB, 1))]
    receipts[0]["status"] = status
    block = decode(block_of(first, tx(2, sender=CAROL, to=CAROL, value=6)), receipts)
    mine = [t for t in block.transfers if t.tx.index == 1]
    assert [t.value for t in mine] == [6, 1, 700]
    assert all(t.value > 0 for t in block.transfers)
