"""Blocks of the Bitcoin family as history: JSON of nodes, raw blocks, block files with undo data, all of them equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chains.bitcoin.base import Fetched, Prevout
from chains.bitcoin.build import build_block, build_coinbase, build_tx, length
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import Found
from chains.bitcoin.transfers import Spent
from chains.recorded.bitcoin_blocks import Draft, Move, RecordedBlock, Recording
from chains.tables import ChainInfo, Reading, Source, read
from monitor.addresses.encode import address_of, hash160
from monitor.model import Block
from monitor.networks import by_name

NETWORK = by_name("bitcoin-regtest")
assert NETWORK is not None
CHAIN = NETWORK.chain
INFO = {"bitcoin": ChainInfo(CHAIN, "bitcoin", NETWORK.asset, 600)}
SCRIPTS = {name: bytes([0, 20]) + hashlib.sha256(name.encode()).digest()[:20] for name in ("ann", "ben", "cat", "dan")}
MAGIC = bytes.fromhex("fabfb5da")
Rows = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Chain:
    recording: Recording
    watch: frozenset[str]

    @property
    def blocks(self) -> Sequence[RecordedBlock]:
        return self.recording.blocks


@pytest.fixture(scope="module")
def chain() -> Chain:
    """Four blocks; Ann pays Ben, both pay Cat, Cat pays what she has just got in the same block."""
    s = SCRIPTS
    drafts = [
        Draft(1_600_000_000, (Move(((s["ann"], 500_000),), ((s["ben"], 300_000), (s["ann"], 199_000))),)),
        Draft(1_600_000_600, (
            Move(((s["ann"], 199_000), (s["ben"], 300_000)), ((s["cat"], 498_000),)),
            Move(((s["cat"], 498_000),), ((s["dan"], 400_000), (s["cat"], 97_000))),
        )),
        Draft(1_600_001_200, ()),
        Draft(1_600_001_800, (Move(((s["dan"], 400_000),), ((s["ann"], 399_000),)),)),
    ]  # fmt: skip
    watch = frozenset({address_of(s["ann"], NETWORK), address_of(s["cat"], NETWORK)})
    return Chain(Recording(NETWORK, drafts, opening={}), watch)


@pytest.fixture
def look(tmp_path: Path, chain: Chain) -> Callable[..., Reading]:
    def run(*files: str | bytes, watch: frozenset[str] | None = None) -> Reading:
        sources = []
        for content in files:
            path = tmp_path / f"{len(list(tmp_path.iterdir())):03}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            sources.append(Source(str(path)))
        return read(sources, chains=INFO, watch={CHAIN: chain.watch if watch is None else watch})

    return run


def live(block: RecordedBlock, watch: frozenset[str]) -> Block:
    """What the watcher makes of a block whose inputs are known: the transactions that touch the watch list."""
    scripts = {
        tx.index: {*tx.output_scripts, *(block.prevouts[p].script for p in tx.outpoints if p in block.prevouts)}
        for tx in block.raw.txs
    }
    touched = [n for n, found in scripts.items() if {address_of(script, NETWORK) for script in found} & watch]
    spent = Spent({point: Prevout(coin.value, coin.script) for point, coin in block.prevouts.items()})
    return decode_block(Fetched(block.raw), block.number, Found(tuple(touched), spent), watch, NETWORK)


def verbose(block: RecordedBlock, level: int, *, whole: bool = True) -> dict[str, Any]:
    """``getblock`` at verbosity 2 or 3; not ``whole``: without what newer nodes tell beside."""
    txs = []
    for tx in block.raw.txs:
        ins = []
        for point, script, sequence, witness in zip(
            tx.outpoints, tx.script_sigs, tx.sequences, tx.witnesses, strict=True
        ):
            one: dict[str, Any] = {"sequence": sequence}
            if tx.is_coinbase:
                one["coinbase"] = script.hex()
            else:
                one |= {"txid": point[31::-1].hex(), "vout": int.from_bytes(point[32:], "little")}
                one["scriptSig"] = {"asm": "", "hex": script.hex()}
            if witness:
                one["txinwitness"] = [item.hex() for item in witness]
            if level == 3 and point in block.prevouts:
                coin = block.prevouts[point]
                one["prevout"] = {"value": coins(coin.value), "scriptPubKey": {"hex": coin.script.hex()}}
            ins.append(one)
        outs = [
            {"value": coins(value), "n": n, "scriptPubKey": {"hex": script.hex()}}
            for n, (value, script) in enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
        ]
        told = {"txid": tx.hash, "version": tx.version, "locktime": tx.lock_time, "vin": ins, "vout": outs}
        txs.append({**told, "hex": tx.raw.hex()} if whole else told)
    header = block.raw.header
    found = {"hash": header.hash, "height": block.number, "time": header.time, "tx": txs}
    found["previousblockhash"] = header.parent
    if whole:
        found |= {"version": header.version, "merkleroot": header.merkle_root, "nonce": header.nonce}
        found["bits"] = f"{header.bits:08x}"
    return found


class Number(float):
    """A decimal number as nodes write it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def coins(value: int) -> float:
    return Number(f"{Decimal(value) / 10**8:.8f}")


def dumped(found: Any) -> str:
    """JSON with amounts digit by digit."""
    if isinstance(found, Number):
        return found.text
    if isinstance(found, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumped(value)}" for key, value in found.items()) + "}"
    return "[" + ", ".join(map(dumped, found)) + "]" if isinstance(found, list) else json.dumps(found)


def framed(*parts: bytes) -> bytes:
    """Records of a block file."""
    return b"".join(MAGIC + len(part).to_bytes(4, "little") + part for part in parts)


def core_number(number: int) -> bytes:
    """Core's own form of numbers."""
    found = [number & 0x7F]
    while number > 0x7F:
        number = (number >> 7) - 1
        found.append(number & 0x7F | 0x80)
    return bytes(reversed(found))


def undo_of(block: RecordedBlock) -> bytes:
    """A record of ``rev*.dat``: the undo data, its length before it and its check sum after it."""

    def amount(value: int) -> int:
        zeros = 0
        while value and value % 10 == 0 and zeros < 9:
            value, zeros = value // 10, zeros + 1
        if not value:
            return 0
        return 1 + (value // 10 * 9 + value % 10 - 1) * 10 + zeros if zeros < 9 else 1 + (value - 1) * 10 + 9

    data = length(len(block.raw.txs) - 1)
    for tx in block.raw.txs[1:]:
        data += length(len(tx.outpoints))
        for point in tx.outpoints:
            coin = block.prevouts[point]
            data += core_number(2 * 5) + core_number(0) + core_number(amount(coin.value))
            data += core_number(len(coin.script) + 6) + coin.script
    check = hashlib.sha256(hashlib.sha256(bytes.fromhex(block.raw.header.parent)[::-1] + data).digest()).digest()
    return MAGIC + len(data).to_bytes(4, "little") + data + check


def forms(blocks: Sequence[RecordedBlock]) -> dict[str, list[str | bytes]]:
    """The same blocks with what their inputs spend in many forms, each a list of files."""
    undo = b"".join(undo_of(block) for block in reversed(blocks))
    plain = [
        b"".join(
            c.value.to_bytes(8, "little") + length(len(c.script)) + c.script
            for tx in block.raw.txs[1:]
            for c in (block.prevouts[p] for p in tx.outpoints)
        )
        for block in blocks
    ]
    answers = [dumped({"result": verbose(block, 3), "error": None, "id": "x"}) for block in blocks]
    return {
        "getblock 3": ["[" + ",\n".join(dumped(verbose(block, 3)) for block in blocks) + "]"],
        "older getblock 3": [dumped(verbose(block, 3, whole=False)) for block in blocks],
        "answers": ["\n".join(answers)],
        "block files": [framed(*(block.data for block in blocks)) + bytes(100), undo + bytes(64)],
        "disordered": [framed(*(block.data for block in reversed(blocks))), undo],
        "raw": [*(block.data for block in blocks), plain[1], *(undo_of(block) for block in (blocks[0], blocks[3]))],
        "hex": ["\n".join(block.data.hex() for block in blocks), undo],
        "hex answers": ["".join(json.dumps({"result": block.data.hex()}) for block in blocks), undo],
        "electrumx": [
            *(json.dumps({"hash": b.hash, "height": b.number, "tx": [], "block": b.data.hex()}) for b in blocks),
            undo,
        ],
    }


@pytest.mark.parametrize("form", [
    "getblock 3", "older getblock 3", "answers", "block files", "disordered", "raw", "hex", "hex answers", "electrumx",
])  # fmt: skip
def test_every_form_is_what_the_watcher_gives(
    form: str, chain: Chain, look: Callable[..., Reading], as_decoded: Rows, as_read: Rows
) -> None:
    reading = look(*forms(chain.blocks)[form])
    assert as_read(reading.frame) == as_decoded(*(live(block, chain.watch) for block in chain.blocks))
    assert (reading.rows, reading.bad_rows) == (8, 0), reading.bad
    assert reading.transfers == sum(v > 0 for block in chain.blocks for v in block.raw.output_values)
    assert reading.blind_spots == ({CHAIN: ("proof of work",)} if form.startswith("older") else {})


def test_block_files_behind_a_key(chain: Chain, look: Callable[..., Reading], tmp_path: Path) -> None:
    """Core 28 and later hides its block files behind 8 bytes that lie beside them: the folder reads the same."""
    plain = forms(chain.blocks)["block files"]
    folder = tmp_path / "blocks"
    folder.mkdir()
    key = bytes.fromhex("5ac31908ff770b21")
    (folder / "xor.dat").write_bytes(key)
    for name, content in zip(("blk00000.dat", "rev00000.dat"), plain, strict=True):
        assert isinstance(content, bytes)
        (folder / name).write_bytes(bytes(byte ^ key[n % 8] for n, byte in enumerate(content)))
    reading = read([Source(str(folder))], chains=INFO, watch={CHAIN: chain.watch})
    assert reading.frame.equals(look(*plain).frame) and reading.frame.height
    assert (reading.rows, reading.bad_rows) == (8, 0), reading.bad


def test_inputs_are_found_among_the_data(chain: Chain, look: Callable[..., Reading]) -> None:
    blocks = chain.blocks
    whole = look(*forms(blocks)["getblock 3"])
    later = whole.frame.filter(whole.frame["block_number"] > blocks[0].number)
    for files in ([dumped(verbose(b, 2)) for b in blocks], [b.data for b in blocks]):
        reading = look(*files)
        assert reading.frame.filter(reading.frame["block_number"] > blocks[0].number).equals(later)
        assert reading.blind_spots == {CHAIN: ("owners and amounts of some inputs",)}  # those of the first block
        assert any("1 blocks spend coins of which nothing among the data tells" in note for note in reading.notes)
        assert look(*reversed(files)).frame.equals(reading.frame)
    with_undo = look(framed(*(b.data for b in blocks)), undo_of(blocks[0]))
    assert with_undo.frame.equals(whole.frame)


def test_what_leaves_is_put_to_the_watched_input(chain: Chain, look: Callable[..., Reading]) -> None:
    """Whose coins they are is shown by the keys of the inputs; how many nobody tells."""
    keys = [b"\x02" + hashlib.sha256(name).digest() for name in (b"stranger", b"watched")]
    owners = [address_of(b"\0\x14" + hash160(key), NETWORK) for key in keys]
    inputs = [(bytes([n]) * 36, b"", 0, [bytes([0x30] * 70), key]) for n, key in enumerate(keys, 1)]
    tx = build_tx(inputs, [(498_000, SCRIPTS["cat"])])
    data = build_block("11" * 32, 1_600_000_000, [build_coinbase(7, [(1, b"\x51")], [tx]), tx])
    (spent,) = look(data, watch=frozenset(owners[1:])).frame.to_dicts()
    assert (spent["inputs"], spent["input_values"]) == (owners, ["0", "498000"])
    (other,) = look(data, watch=frozenset(owners[:1])).frame.to_dicts()
    assert other["input_values"] == ["498000", "0"]


@pytest.mark.parametrize("told_first", [False, True])
def test_of_blocks_that_are_the_same_the_one_that_tells_more_counts(
    told_first: bool, chain: Chain, look: Callable[..., Reading]
) -> None:
    """What inputs spend is known where any of them says it, whichever lies first."""
    plain, told = ([dumped(verbose(block, level)) for block in chain.blocks] for level in (2, 3))
    reading = look(*told, *plain) if told_first else look(*plain, *told)
    whole = look(*told)
    assert reading.frame.equals(whole.frame) and reading.blind_spots == whole.blind_spots
    assert (reading.rows, reading.transfers) == (16, whole.transfers)
    assert not any("nothing among the data tells" in note for note in reading.notes)


def test_the_branch_that_goes_on_counts(chain: Chain, look: Callable[..., Reading]) -> None:
    blocks = chain.blocks
    other = Recording(NETWORK, [Draft(1_600_000_000 + 600 * n) for n in range(2)])
    every = [*(block.data for block in blocks), other.blocks[1].data]
    reading = look(framed(*reversed(every)), *(undo_of(block) for block in blocks))
    assert reading.frame.equals(look(*forms(blocks)["getblock 3"]).frame)
    assert any("1 blocks of branches" in note for note in reading.notes)
    assert reading.rows == 9


def test_heights_follow_from_neighbours(chain: Chain, look: Callable[..., Reading]) -> None:
    told = [{k: v for k, v in verbose(block, 3).items() if k != "height"} for block in chain.blocks]
    told[2]["height"] = chain.blocks[2].number
    reading = look(*map(dumped, told))
    assert reading.frame["block_number"].unique().sort().to_list() == [1, 2, 4]
    del told[2]["height"]
    alone = look(dumped(told[3]))
    assert (alone.rows, alone.bad_rows, alone.frame.height) == (2, 1, 0)
    assert "its height is not known" in alone.bad[0].reason


def test_what_is_broken_costs_itself_alone(chain: Chain, look: Callable[..., Reading]) -> None:
    blocks = chain.blocks
    whole = look(*forms(blocks)["getblock 3"]).frame
    texts = [verbose(block, 3) for block in blocks]
    texts[1]["tx"][2] |= {"txid": "ab" * 32}
    texts[3]["tx"][1]["vout"][0]["value"] = Number("0.000000001")
    texts[3]["tx"][1].pop("hex")
    reading = look(*map(dumped, texts))
    assert (reading.rows, reading.bad_rows) == (8, 2)
    assert {bad.reason.partition(":")[0] for bad in reading.bad} == {"block 2", "block 4"}
    gone = {blocks[1].raw.txs[2].hash, blocks[3].raw.txs[1].hash}
    assert reading.frame.equals(whole.filter(~whole["transaction_hash"].is_in(sorted(gone))))


def test_broken_raw_blocks(chain: Chain, look: Callable[..., Reading]) -> None:
    data = [block.data for block in chain.blocks]
    wrong = bytearray(data[1])
    wrong[40] ^= 1
    reading = look(framed(data[0], bytes(wrong), data[2], data[3])[:-40])
    assert [(bad.row, bad.reason) for bad in reading.bad] == [
        (2, "its transactions are not those of its merkle root"), (4, "the file ends inside of a record"),
    ]  # fmt: skip
    long = framed(data[0]) + MAGIC + b"\xff\xff\xff\x7f" + data[1]
    assert look(long).bad[0].reason == "what follows is no record"
    lost = look(framed(data[0]), undo_of(chain.blocks[3]))
    assert lost.bad[0].reason == "undo data of a block that is not among the data"
    lines = look(f"{data[0].hex()}\nnothing of the kind\n{data[2].hex()}")
    assert [(bad.row, bad.reason) for bad in lines.bad] == [(2, "not hexadecimal")]


@pytest.mark.parametrize("height", [10**19, -5])
def test_heights_that_are_none(height: int, chain: Chain, look: Callable[..., Reading]) -> None:
    """They cost their block."""
    first, second = ({"hash": b.hash, "height": b.number, "tx": [], "block": b.data.hex()} for b in chain.blocks[:2])
    reading = look(json.dumps([first, {**second, "height": height}]))
    assert [bad.reason for bad in reading.bad] == ["a height that makes no sense"]
    assert (reading.rows, reading.first) == (len(chain.blocks[0].raw.txs) + 1, reading.last)
