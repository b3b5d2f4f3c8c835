"""NEM transactions and blocks: real answers of nodes, and the rules one by one."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.nem import binary
from chains.nem.decode import (
    BLIND_SPOTS,
    MULTISIG_FLAG,
    Decoded,
    decode_block,
    decode_transaction,
    identity,
    parse_block,
    timestamp,
)
from chains.nem.mosaic import mosaic_asset, mosaic_name
from monitor.addresses.nem import canonical, of_public_key
from monitor.errors import DecodeError
from monitor.ids import iso
from monitor.model import BlockRef, ControlKind, TransferKind
from monitor.networks import by_name

MAIN, TEST = by_name("nem"), by_name("nem-testnet")
assert MAIN is not None and TEST is not None
XEM = "nem:mainnet/slip44:43"
REF = BlockRef("nem:mainnet", 7, "00")
KEYS = [f"{n:02x}" * 32 for n in range(1, 9)]
ALICE, BOB, CAROL, DAVE = (of_public_key(key, 0x68) for key in KEYS[:4])
SIGNATURE = "ab" * 64


class Everyone:
    """A watch set that holds every address."""

    def __contains__(self, _: object) -> bool:
        return True


def decode(tx: dict[str, Any], **options: Any) -> Decoded:
    assert MAIN is not None
    return decode_transaction(tx, REF, 0, 0, MAIN, **options)


def make(kind: int = 257, signer: str = KEYS[0], version: int = 1, **fields: Any) -> dict[str, Any]:
    tx = {
        "type": kind, "version": 0x68 << 24 | version, "timeStamp": 1000, "deadline": 4600, "fee": 50_000,
        "signer": signer, "signature": SIGNATURE,
    }
    if kind == 257:
        tx |= {"recipient": BOB, "amount": 5_000_000, "message": {}}
    return tx | fields


def mosaic(name: str, quantity: int) -> dict[str, Any]:
    namespace, _, name = name.partition(":")
    return {"mosaicId": {"namespaceId": namespace, "name": name}, "quantity": quantity}


def moved(decoded: Decoded) -> list[tuple[str, str, int]]:
    return [(t.asset, t.to_address, t.value) for t in decoded.transfers if t.kind is not TransferKind.FEE]


# Real data


def test_real_transactions(data_root: Path) -> None:
    """Eleven transactions of the main network give the known amount of XEM, and their hashes."""
    cases = json.loads((data_root / "nem/nem-exchange-guide/transactions.json").read_text())
    assert len(cases) == 11
    for case in cases:
        meta, tx = case["response"]["meta"], case["response"]["transaction"]
        inner = tx.get("otherTrans", tx)
        decoded = decode(tx)
        xem = sum(t.value for t in decoded.transfers if t.kind is TransferKind.NATIVE)
        assert Decimal(xem) / 10**6 == Decimal(case["expected_xem"]), case["case"]
        assert decoded.tx.hash == meta["hash"]["data"]
        assert binary.inner_hash(tx) == meta["innerHash"].get("data")
        assert decoded.tx.initiator == of_public_key(inner["signer"], 0x68)
        assert {t.to_address for t in decoded.transfers} <= {inner["recipient"], ""}
        fees = tx["fee"] + (inner["fee"] + sum(s["fee"] for s in tx["signatures"]) if inner is not tx else 0)
        assert decoded.tx.fee == decoded.transfers[-1].value == fees
        assert decoded.tx.flags == (MULTISIG_FLAG if inner is not tx else 0)


def test_real_mosaics(data_root: Path) -> None:
    """Beside XEM, other mosaics of the real transactions move under their own names."""
    cases = json.loads((data_root / "nem/nem-exchange-guide/transactions.json").read_text())
    tokens = [t for c in cases for t in decode(c["response"]["transaction"]).transfers if t.kind is TransferKind.TOKEN]
    assert [(t.asset, t.value) for t in tokens] == [
        ("nem:mainnet/mosaic:nextem%3Anex", 2),
        ("nem:mainnet/mosaic:tanukinakamoto%3Amedal", 1),
        ("nem:mainnet/mosaic:asset%3Ach0459804891b", 2_000_000),
    ]


def test_real_node_answers(data_root: Path) -> None:
    """Every transaction, address and block in fourteen answers of a node can be read."""
    answers = json.loads((data_root / "nem/nem-nem1-sdk/responses.json").read_text())
    assert len(answers) == 14
    hashes = addresses = 0
    for answer in answers:
        response = answer["response"]
        if answer["call"] == "nem1.chain.lastBlock":
            assert MAIN is not None
            block = decode_block(parse_block(response), "", MAIN, Everyone())
            assert (block.ref.number, iso(block.timestamp), block.undecoded) == (2508166, "2020-01-18T21:29:40Z", ())
            assert [t.value for t in block.transfers if t.kind is TransferKind.TOKEN] == [1500, 1200]
            assert block.transfers_seen == 2 and len(block.transfers) == 4
        for row in response.get("data", ()):
            if "transaction" in row:
                assert decode(row["transaction"]).tx.hash == row["meta"]["hash"]["data"]
                hashes += 1
            elif "address" in row:
                assert MAIN is not None and canonical(row["address"], MAIN) == row["address"]
                addresses += 1
        if answer["call"] == "nem1.account.get":
            account = response["account"]
            assert of_public_key(account["publicKey"], 0x68) == account["address"]
    assert (hashes, addresses) == (6, 8)


def test_shapes_of_every_type(data_root: Path) -> None:
    """A composite block with one transaction of each type is understood (its traffic and hashes are not real)."""
    data = json.loads((data_root / "nem/nem-symbol-product/nem_connector_responses.json").read_text())
    decoded = {entry["tx"]["type"]: decode(entry["tx"]) for entry in data["CHAIN_BLOCK_1"]["txes"]}
    assert set(decoded) == {257, 2049, 4097, 4100, 8193, 16385, 16386}
    assert moved(decoded[8193]) == [(XEM, "NAMESPACEWH4MKFMBCVFERDPOOP4FK7MTBXDPZZA", 100_000_000)]
    assert moved(decoded[16385]) == [(XEM, "NBMOSAICOD4F54EE5CDMR23CCBGOAM2XSIUX6TRS", 10_000_000)]
    assert moved(decoded[16386]) == moved(decoded[2049]) == moved(decoded[4097]) == []
    assert decoded[4100].tx.fee == 500_000 + 750_000 + 500_000
    assert decoded[4097].controls[0].detail["min_cosignatories_change"] == 2
    assert all(d.transfers[-1].kind is TransferKind.FEE for d in decoded.values())
    empty = parse_block(data["CHAIN_BLOCK_2"]["block"])
    assert empty.height == 3 and timestamp(empty.timeStamp) == 1427587585 + 78976


# Transfers


def test_plain_transfer() -> None:
    """Version 1 and version 2 without mosaics move their amount, and the fee is a row of its own without receiver."""
    for tx in (make(), make(version=2), make(version=2, mosaics=[])):
        decoded = decode(tx)
        native, fee = decoded.transfers
        assert (native.kind, native.asset, native.from_addresses, native.to_address) == (
            TransferKind.NATIVE, XEM, (ALICE,), BOB)
        assert (native.value, native.input_values, native.index) == (5_000_000, (5_000_000,), 0)
        assert (fee.kind, fee.to_address, fee.value, fee.index) == (TransferKind.FEE, "", 50_000, 1)
        assert decoded.tx.version == tx["version"] & 0xFF and decoded.tx.initiator == ALICE


def test_mosaics_use_the_amount_as_multiplier() -> None:
    """Each mosaic moves quantity x amount / 10^6, rounded down; XEM among them is native; 0 is nothing."""
    tx = make(version=2, amount=1_500_000, mosaics=[mosaic("nem:xem", 7), mosaic("a.b:c_d", 1), mosaic("x:y", 0)])
    assert moved(decode(tx)) == [(XEM, BOB, 10), ("nem:mainnet/mosaic:a.b%3Ac%5Fd", BOB, 1)]
    tx = make(version=2, amount=100, mosaics=[mosaic("nem:xem", 9_999)])
    assert moved(decode(tx)) == []
    big = make(version=2, amount=9_000_000_000_000_000, mosaics=[mosaic("x:y", 9_000_000_000_000_001)])
    assert moved(decode(big))[0][2] == 81_000_000_000_000_009_000_000_000


def test_imitation_of_xem_is_a_token() -> None:
    """Only nem:xem is XEM, whatever other mosaics are called."""
    for name in ("nem:xem2", "nemx:xem", "nem.xem:xem"):
        decoded = decode(make(version=2, amount=1_000_000, mosaics=[mosaic(name, 5)]))
        assert decoded.transfers[0].kind is TransferKind.TOKEN and decoded.transfers[0].asset != XEM


def test_zero_amount_emits_nothing_but_the_fee() -> None:
    """A message without XEM is not a transfer."""
    assert [t.kind for t in decode(make(amount=0)).transfers] == [TransferKind.FEE]


def test_multisig_counts_for_the_account() -> None:
    """The inner signer sends and initiates, and pays the outer, the inner and every cosignature's fee."""
    inner = make(signer=KEYS[1], recipient=CAROL, fee=100)
    signatures = [{"fee": 30, "type": 4098}, {"fee": 4, "type": 4098}]
    outer = make(4100, fee=2000, otherTrans=inner, signatures=signatures)
    decoded = decode(outer)
    assert decoded.tx.initiator == BOB and decoded.tx.fee == 2134 and decoded.tx.flags == MULTISIG_FLAG
    assert moved(decoded) == [(XEM, CAROL, 5_000_000)]
    assert {t.from_addresses for t in decoded.transfers} == {(BOB,)}
    assert decoded.tx.hash == binary.transaction_hash(outer) != binary.inner_hash(outer)


# Control changes


def test_importance_transfer() -> None:
    """Delegated harvesting names the remote account and whether it is switched on."""
    for mode, word in ((1, "activate"), (2, "deactivate")):
        (control,) = decode(make(2049, mode=mode, remoteAccount=KEYS[2])).controls
        assert (control.kind, control.account, control.subject) == (ControlKind.IMPORTANCE_TRANSFER, ALICE, CAROL)
        assert control.detail == {"mode": word}


def test_signatory_change() -> None:
    """A multisig's change, also inside a multisig transaction, lists every signatory; the added one is the subject."""
    changes = [
        {"modificationType": 2, "cosignatoryAccount": KEYS[2]},
        {"modificationType": 1, "cosignatoryAccount": KEYS[3]},
    ]
    change = make(4097, signer=KEYS[1], version=2, modifications=changes, minCosignatories={"relativeChange": -1})
    (control,) = decode(make(4100, otherTrans=change, signatures=[])).controls
    assert (control.kind, control.account, control.subject) == (ControlKind.SIGNATORY_CHANGE, BOB, DAVE)
    assert control.detail == {
        "modifications": [{"type": "remove", "cosignatory": CAROL}, {"type": "add", "cosignatory": DAVE}],
        "min_cosignatories_change": -1,
    }
    (control,) = decode(make(4097, modifications=[], minCosignatories={"relativeChange": 1})).controls
    assert control.subject == control.account == ALICE


# Blocks


def raw_block(*transactions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "timeStamp": 60, "signature": SIGNATURE, "prevBlockHash": {"data": "cd" * 32}, "type": 1,
        "transactions": list(transactions), "version": 1744830465, "signer": KEYS[7], "height": 9,
    } | fields


def read_block(raw: dict[str, Any], watch: Any, **options: Any) -> Any:
    assert MAIN is not None
    return decode_block(parse_block(raw), "ef", MAIN, watch, **options)


def test_watch_set_filters_but_positions_stay() -> None:
    """Only what touches a watched address is handed over; counts and positions do not depend on the watch set."""
    raw = raw_block(make(signature="01" * 64), make(signer=KEYS[2], recipient=DAVE), make(amount=0, recipient=DAVE))
    full, carol, bob = (read_block(raw, w) for w in (Everyone(), {CAROL}, {BOB}))
    assert [t.index for t in full.transfers] == [0, 1, 2, 3, 4]
    assert full.transfers_seen == carol.transfers_seen == bob.transfers_seen == 2
    assert [(t.index, t.kind) for t in carol.transfers] == [(2, TransferKind.NATIVE), (3, TransferKind.FEE)]
    assert [t.index for t in bob.transfers] == [0]
    assert [t.tx.index for t in full.transfers] == [0, 0, 1, 1, 2]
    assert full.blind_spots == BLIND_SPOTS and full.parent_hash == "ef"


def test_control_reaches_each_account_it_names() -> None:
    """A change is handed over when the account or any signatory in it is watched."""
    changes = [{"modificationType": 1, "cosignatoryAccount": key} for key in KEYS[1:3]]
    raw = raw_block(make(4097, modifications=changes))
    assert [len(read_block(raw, {a}).controls) for a in (ALICE, BOB, CAROL, DAVE)] == [1, 1, 1, 0]


def test_one_bad_transaction_does_not_hide_the_rest() -> None:
    """What cannot be understood is named and the rest of the block is read."""
    bad = make()
    del bad["recipient"]
    raw = raw_block(bad, make(amount=-1), make(4102), make(4100, otherTrans=None), {}, make())
    block = read_block(raw, Everyone())
    assert len(block.undecoded) == 5 and "9/4" in block.undecoded
    assert block.undecoded[2] == binary.transaction_hash(make(4102))
    assert [t.value for t in block.transfers] == [5_000_000, 50_000]


@pytest.mark.parametrize(
    "fields", [{"height": "9"}, {"signature": "zz"}, {"prevBlockHash": {}}, {"transactions": None}, {"timeStamp": 1.5}]
)
def test_senseless_block(fields: dict[str, Any]) -> None:
    """An answer that is no block is refused."""
    with pytest.raises(DecodeError):
        parse_block(raw_block(**fields))


def test_identity_follows_signature_and_parent() -> None:
    """Two blocks have one identity only where signature and parent are the same."""
    base = identity(parse_block(raw_block()))
    assert base == identity(parse_block(raw_block()))
    assert base != identity(parse_block(raw_block(signature="ac" + SIGNATURE[2:])))
    assert base != identity(parse_block(raw_block(prevBlockHash={"data": "ce" * 32})))
    assert len(base) == 64


def test_known_hashes_and_signers_replace() -> None:
    """The node's own hashes are used where they are known, and replayed keys show as the addresses they stand for."""
    block = read_block(raw_block(make(16386)), {DAVE}, hashes=["f" * 64], signers={KEYS[0]: DAVE})
    (fee,) = block.transfers
    assert fee.tx.hash == "f" * 64 and fee.from_addresses == (DAVE,) and fee.tx.initiator == DAVE


def test_test_network() -> None:
    """On the test network versions are negative numbers, addresses begin with T and assets name it."""
    assert TEST is not None
    tx = make(signer=KEYS[0]) | {"version": -1744830463, "recipient": of_public_key(KEYS[1], 0x98)}
    native = decode_transaction(tx, REF, 0, 0, TEST).transfers[0]
    assert native.asset == "nem:testnet/slip44:43" and native.from_addresses[0][0] == "T" and native.tx.version == 1
    tx |= {"version": -1744830462, "amount": 3_000_000, "mosaics": [mosaic("a:b", 2)]}
    token = decode_transaction(tx, REF, 0, 0, TEST).transfers[0]
    assert (token.asset, token.value, token.tx.version) == ("nem:testnet/mosaic:a%3Ab", 6, 2)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_mosaic_names_round_trip(namespace: str, name: str) -> None:
    """Every name, however strange, becomes a CAIP-19 reference and comes back."""
    namespace = namespace.replace(":", "")
    asset = mosaic_asset("nem:mainnet", namespace, name)
    assert mosaic_name(asset) == (namespace, name)
    assert all(c.isascii() and (c.isalnum() or c in "-.%") for c in asset.partition("mosaic:")[2])


@settings(deadline=None)
@given(st.data())
def test_damage_is_a_decode_error(data: st.DataObject) -> None:
    """Any field of any transaction may hold any JSON: the answer is a result or DecodeError, nothing else."""
    inner = make(version=2, mosaics=[mosaic("a:b", 1)])
    changes = [{"modificationType": 1, "cosignatoryAccount": KEYS[2]}]
    kinds = [inner, make(4100, otherTrans=inner, signatures=[{"fee": 1}]), make(4097, modifications=changes),
             make(2049, mode=1, remoteAccount=KEYS[1]), make(8193, rentalFee=1, rentalFeeSink=BOB)]
    tx: dict[str, Any] = copy.deepcopy(data.draw(st.sampled_from(kinds)))
    target = tx["otherTrans"] if "otherTrans" in tx and data.draw(st.booleans()) else tx
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    )
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(junk)
    try:
        decode(tx)
    except DecodeError:
        pass
    assert len(read_block(raw_block(tx, make()), {ALICE}).transfers) >= 2
