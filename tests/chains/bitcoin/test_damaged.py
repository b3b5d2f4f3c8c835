"""Damaged bytes: whatever comes, the decoders give a result that can be written back, or one of the declared errors."""

from __future__ import annotations

import os
from dataclasses import replace

from embit import base58
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.bitcoin import auxpow, work
from chains.bitcoin.base import outpoint
from chains.bitcoin.block import parse_block, parse_header
from chains.bitcoin.build import build_block, build_coinbase, build_tx, length
from chains.bitcoin.script import address_of, script_of, spent_scripts, type_of
from chains.bitcoin.tokens import without_token
from chains.bitcoin.transaction import RawTx, parse_tx
from chains.bitcoin.undo import core_undo, plain_undo
from monitor.addresses import canonical
from monitor.errors import DecodeError
from monitor.networks import NETWORKS, Network, by_name

FAMILY = [network for network in NETWORKS if network.kind == "bitcoin"]
TRIES = float(os.environ.get("HEISTWATCH_EXAMPLES", "1"))
FORMS = frozenset(["p2pk", "p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr", "multisig", "null_data", "nonstandard"]) | {
    f"witness_v{n}" for n in range(1, 17)
}
BITCOIN, DOGE = by_name("bitcoin-regtest"), by_name("dogecoin-regtest")
assert BITCOIN is not None and DOGE is not None


def tries(usual: int) -> settings:
    """``usual`` examples, times ``HEISTWATCH_EXAMPLES``."""
    return settings(
        max_examples=max(1, int(usual * TRIES)), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
HASH = st.binary(min_size=20, max_size=20)
SCRIPT = st.one_of(
    st.binary(max_size=80),
    HASH.map(lambda d: b"\x76\xa9\x14" + d + b"\x88\xac"),
    HASH.map(lambda d: b"\xa9\x14" + d + b"\x87"),
    HASH.map(lambda d: b"\x00\x14" + d),
    st.tuples(st.sampled_from([0, *range(0x51, 0x61)]), st.binary(min_size=2, max_size=40)).map(
        lambda p: bytes([p[0], len(p[1])]) + p[1]
    ),
    st.binary(min_size=32, max_size=32).map(lambda d: b"\xaa\x20" + d + b"\x87"),
    st.binary(min_size=32, max_size=40).map(lambda d: b"\xef" + d + b"\x10\x05\x51"),
    st.sampled_from([b"\x21" + KEY + b"\xac", b"\x51\x21" + KEY + b"\x51\xae", b"\x6a\x01a", b"", b"\x51"]),
)
PUSHES = st.lists(st.binary(max_size=90) | st.just(KEY), max_size=4).map(
    lambda items: b"".join((bytes([len(i)]) if len(i) < 76 else b"\x4c" + bytes([len(i)])) + i for i in items)
)
INPUT = st.tuples(
    st.tuples(st.integers(1, 2**64), st.integers(0, 2**32 - 2)).map(lambda p: outpoint(f"{p[0]:064x}", p[1])),
    st.one_of(PUSHES, st.binary(max_size=40)),
    st.integers(0, 2**32 - 1),
    st.lists(st.binary(max_size=70) | st.just(KEY), max_size=3),
)
OUTPUT = st.tuples(st.integers(0, 2**63 - 1), SCRIPT)
TX = st.tuples(
    st.lists(INPUT, min_size=1, max_size=4), st.lists(OUTPUT, min_size=1, max_size=4),
    st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1),
).map(lambda p: build_tx(p[0], p[1], version=p[2], lock_time=p[3]))  # fmt: skip
LENGTHS = st.sampled_from([b"\xfd\xff\xff", b"\xff" * 9, b"\xfe\0\0\0\x80", b"\0", b"\x01", b"\xfc"])


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """The same with some bytes changed, left out, put in or repeated; or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 9))
        how = draw(st.integers(0, 4))
        new = draw(LENGTHS | st.binary(max_size=9))
        if how == 0:
            data = data[:at] + new + data[at + len(new) :]
        elif how == 1:
            data = data[:at] + data[at + size :]
        elif how == 2:
            data = data[:at] + new + data[at:]
        elif how == 3:
            data = data[: at + size] + data[at:]
        else:
            data = data[:at]
    return data


def written(tx: RawTx) -> bytes:
    """A transaction, from what was read of it."""
    inputs = zip(tx.outpoints, tx.script_sigs, tx.sequences, tx.witnesses, strict=True)
    outputs = zip(tx.output_values, tx.output_scripts, strict=True)
    return build_tx(list(inputs), list(outputs), version=tx.version, lock_time=tx.lock_time)


def look(tx: RawTx) -> None:
    """Read everything of a transaction: it fits together, and is all that there was."""
    if tx.raw[4:6] not in (b"\0\x08", b"\0\x09"):
        assert written(tx) == tx.raw
        if not any(tx.witnesses):
            assert tx.hash == work.sha256d(tx.raw)[::-1].hex()
    assert tx.size == len(tx.raw) and 0 < tx.vsize <= tx.size and len(tx.hash) == 64
    assert tx.is_coinbase in (True, False)
    for n, (script, witness) in enumerate(zip(tx.script_sigs, tx.witnesses, strict=True)):
        assert tx.shown(n) == (script, witness)
        for shown in spent_scripts(script, witness):
            assert type_of(shown) in ("p2pkh", "p2sh", "p2wpkh", "p2wsh")
    for script in tx.output_scripts:
        assert type_of(script) in FORMS


@tries(150)
@given(TX.flatmap(lambda tx: st.just(tx) | damage(tx)))
def test_transactions(data: bytes) -> None:
    """A transaction that is read is written back as it was."""
    try:
        tx = parse_tx(data)
    except DecodeError:
        return
    assert tx.raw == data
    look(tx)


@tries(60)
@given(st.lists(TX, max_size=4, unique=True), st.data())
def test_blocks(txs: list[bytes], data: st.DataObject) -> None:
    """A good block is read; of a damaged one nothing is, unless its header says the same of the same transactions."""
    good = build_block("11" * 32, 1_700_000_000, [build_coinbase(300, [(50, b"\x51")], txs), *txs])
    block = parse_block(good, BITCOIN)
    assert [tx.raw for tx in block.txs[1:]] == txs
    for tx in block.txs:
        look(tx)
    bad = data.draw(damage(good))
    try:
        assert parse_block(bad, BITCOIN).header.merkle_root == block.header.merkle_root
    except DecodeError:
        pass


@tries(60)
@given(TX.flatmap(lambda tx: st.just(tx) | damage(tx)), st.sampled_from(FAMILY))
def test_transactions_in_blocks(tx: bytes, network: Network) -> None:
    """A damaged transaction under a merkle root that names it: the block has it, or has no sense for that network."""
    try:
        outputs = len(parse_tx(tx).output_values)
    except DecodeError:
        return
    data = build_block("11" * 32, 1, [build_coinbase(300, [(50, b"\x51")], [tx]), tx], kind="")
    try:
        block = parse_block(data, network, check_work=False)
    except DecodeError:
        return
    assert block.txs[1].raw == tx and len(block.output_scripts) == block.first_output[-1] >= 1 + outputs


@tries(100)
@given(st.binary(max_size=400), st.integers(0, 2**32 - 1))
def test_headers_and_merged_work(data: bytes, bits: int) -> None:
    """Any header, any claim of work, anything in the place of merged work."""
    version = (0x62 << 16 | 0x104).to_bytes(4, "little")
    text = version + data[4:72] + bits.to_bytes(4, "little") + data[76:]
    for network in (DOGE, replace(DOGE, params={**DOGE.params, "work": "sha256d"})):
        try:
            parse_block(text, network)
        except DecodeError:
            continue
    if len(data) >= 80:
        assert parse_header(data).parent == data[35:3:-1].hex()
    coinbase = build_tx([(bytes(36), data[:60], 1, ())], [(1, b"")])
    try:
        found, after = auxpow.parse(coinbase + data, 0)
    except DecodeError:
        return
    assert after <= len(coinbase) + len(data) and len(found.parent) == 80


@tries(100)
@given(st.lists(TX, min_size=1, max_size=3, unique=True), st.binary(max_size=200))
def test_undo_data(txs: list[bytes], data: bytes) -> None:
    """Any bytes as undo data; a block's own number of transactions and inputs leads deeper."""
    block = parse_block(build_block("11" * 32, 1, [build_coinbase(3, [(5, b"\x51")], txs), *txs]), BITCOIN)
    fitting = length(len(txs)) + length(len(block.txs[1].outpoints)) + data
    for read, text in ((plain_undo, data), (core_undo, data), (core_undo, fitting)):
        try:
            found = read(text, block)
        except DecodeError:
            continue
        assert found.keys() == set(block.outpoints[1:])


@tries(150)
@given(st.sampled_from(FAMILY), SCRIPT.flatmap(lambda script: st.just(script) | damage(script)))
def test_scripts(network: Network, script: bytes) -> None:
    """Every script has one canonical address, which gives the script back wherever it holds it."""
    address = address_of(script, network)
    assert canonical(network, address) == address
    back = script_of(address, network)
    assert back in (script, None) or type_of(script) == "p2pk"
    assert type_of(script) in FORMS
    assert script.endswith(without_token(script))


@tries(150)
@given(st.sampled_from(FAMILY), SCRIPT, st.data())
def test_addresses(network: Network, script: bytes, data: st.DataObject) -> None:
    """A damaged address is refused, or is another form of what a script has."""
    good = address_of(script, network)
    raw = data.draw(HASH.map(lambda digest: bytes([data.draw(st.integers(0, 255))]) + digest) | st.binary(max_size=30))
    bad = data.draw(damage(good.encode())).decode("utf-8", "replace")
    for text in (bad, data.draw(st.text(max_size=60)), base58.encode_check(raw), good.swapcase(), good.upper()):
        try:
            found = canonical(network, text)
        except ValueError:
            continue
        pays = script_of(found, network)
        assert pays is None or address_of(pays, network) == found
