"""Raw blocks: all real ones decode with their hashes, merkle roots and work; anything that was changed does not."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from chains.bitcoin import work
from chains.bitcoin.base import Fetched, Prevout, outpoint
from chains.bitcoin.block import RawBlock, parse_block, parse_header, parse_tx
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import Prevouts
from chains.bitcoin.script import address_of, type_of
from chains.bitcoin.undo import core_undo, plain_undo
from chains.bitcoin.watched import WatchedScripts
from monitor.errors import DecodeError
from monitor.networks import Network, by_name

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[4] / "shared/data") / "bitcoin"
REAL = pytest.mark.skipif(not DATA.is_dir(), reason="the real blocks are not here")

def net(name: str) -> Network:
    """A built-in network."""
    found = by_name(name)
    assert found is not None
    return found


def real(name: str) -> bytes:
    """A packed file of the data."""
    return gzip.decompress((DATA / name).read_bytes())


@REAL
def test_all_raw_blocks_of_bitcoin() -> None:
    """Transaction hashes are those of the merkle root, headers show their work: from block 1 to segwit."""
    names = [
        *(f"bcoin/block{n}.raw.gz" for n in (1, 300025, 426884, 482683)),
        *(f"electrs/{path.name}" for path in sorted((DATA / "electrs").iterdir())),
    ]
    counts = {}
    for name in names:
        block = parse_block(real(name), net("bitcoin"))
        counts[name] = len(block.txs)
        if name.startswith("electrs"):
            assert block.header.hash == name.rpartition("/")[2].removesuffix(".gz")
    assert sorted(counts.values()) == [1, 12, 202, 409, 461, 1652]


NAMES = {"pubkeyhash": ["p2pkh"], "nonstandard": ["nonstandard", "multisig"]}  # the latter has no name there


@REAL
def test_block_300025_agrees_with_its_undo_data() -> None:
    """Prevouts and fees from the undo data are those that a node told, to the last unit."""
    block = parse_block(real("bcoin/block300025.raw.gz"), net("bitcoin"))
    found = plain_undo(real("bcoin/block300025-undo.raw.gz"), block)
    said = json.loads(real("bcoin/block300025-verbosity3.json.gz"))
    assert len(found) == 1427
    for tx, told in zip(block.txs, said["tx"], strict=True):
        assert tx.hash == told["txid"] and tx.version == told["version"] and tx.lock_time == told["locktime"]
        assert tx.output_values == [_units(out["value"]) for out in told["vout"]]
        for script, out in zip(tx.output_scripts, told["vout"], strict=True):
            assert script.hex() == out["scriptPubKey"]["hex"]
            if address := out["scriptPubKey"].get("address"):
                assert address_of(script, net("bitcoin")) == address
            assert type_of(script) in NAMES[out["scriptPubKey"]["type"]]
        if tx.is_coinbase:
            continue
        inputs = [found[point] for point in tx.outpoints]
        wanted = [(item["txid"], item["vout"], item["prevout"]) for item in told["vin"]]
        assert tx.outpoints == [outpoint(txid, n) for txid, n, _ in wanted]
        assert inputs == [Prevout(_units(p["value"]), bytes.fromhex(p["scriptPubKey"]["hex"])) for *_, p in wanted]
        assert sum(item.value for item in inputs) - sum(tx.output_values) == _units(told["fee"])


@REAL
async def test_block_300025_as_transfers() -> None:
    """With every address of the block watched, transfers carry what the node told: outputs, inputs, fees."""
    block = parse_block(real("bcoin/block300025.raw.gz"), net("bitcoin"))
    spent = plain_undo(real("bcoin/block300025-undo.raw.gz"), block)
    watch = dict.fromkeys(address_of(script, net("bitcoin")) for script in block.output_scripts)
    fetched = Fetched(block, spent, True)
    found = await Prevouts(None, WatchedScripts(watch, net("bitcoin"))).of_block(fetched)  # type: ignore[arg-type]
    decoded = decode_block(fetched, 300025, found, watch, net("bitcoin"))
    said = json.loads(real("bcoin/block300025-verbosity3.json.gz"))
    assert [t.index for t in decoded.transfers] == list(range(len(block.output_scripts)))
    fees = {t.tx.hash: t.tx.fee for t in decoded.transfers}
    assert {tx["txid"]: _units(tx["fee"]) for tx in said["tx"][1:]} == {k: v for k, v in fees.items() if v is not None}
    assert sum(t.value for t in decoded.transfers) == sum(block.output_values)


def _units(coins: str) -> int:
    return int(Decimal(coins) * 100_000_000)


def made(*txs: bytes, kind: str = "sha256d") -> bytes:
    """A block of transactions."""
    coinbase = build_coinbase(300, [(50, b"\x51")], txs)
    return build_block("11" * 32, 1_700_000_000, [coinbase, *txs], kind=kind)


def tx(number: int, witness: bool = False) -> bytes:
    """A transaction that no other number gives."""
    items = [b"\x30" * 70, b"\x02" * 33] if witness else []
    inputs = [(outpoint(f"{number:064x}", 1), b"" if witness else b"\x51", 0xFFFFFFFF, items)]
    return build_tx(inputs, [(number, b"\x00\x14" + b"\x07" * 20)])


REGTEST = net("bitcoin-regtest")


@pytest.mark.parametrize("name", ["bitcoin-regtest", "litecoin-regtest", "monacoin-regtest"])
def test_made_blocks(name: str) -> None:
    """What `build` makes is read as it was meant, with the work of its network."""
    network = net(name)
    block = parse_block(made(tx(1), tx(2, True), tx(3), kind=str(network.params["work"])), network)
    assert [t.hash for t in block.txs[1:]] == [parse_tx(tx(1)).hash, parse_tx(tx(2, True)).hash, parse_tx(tx(3)).hash]
    assert block.txs[2].raw == tx(2, True) and block.txs[2].witnesses == [[b"\x30" * 70, b"\x02" * 33]]
    assert block.txs[2].vsize < block.txs[2].size and block.txs[1].vsize == block.txs[1].size
    assert block.output_values[block.first_output[1] :] == [1, 2, 3]
    assert block.outpoints[1] == outpoint(f"{1:064x}", 1) and block.txs[0].is_coinbase and not block.txs[1].is_coinbase


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8])
def test_changed_transactions_are_noticed(count: int) -> None:
    """One bit of any transaction, or another order: the merkle root says no."""
    txs = [tx(n) for n in range(1, count + 1)]
    good = made(*txs)
    assert len(parse_block(good, REGTEST).txs) == count + 1
    for place in range(200, len(good), 37):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(DecodeError):
            parse_block(bytes(bad), REGTEST)


def test_repeated_transactions_are_noticed() -> None:
    """A repetition at the end has the same merkle root (CVE-2012-2459)."""
    coinbase = build_coinbase(300, [(50, b"\x51")])
    txs = [coinbase, tx(1), tx(2)]
    good = build_block("11" * 32, 1_700_000_000, txs)
    doubled = good[:80] + b"\x04" + b"".join([*txs, txs[-1]])
    assert len(parse_block(good, REGTEST).txs) == 3
    with pytest.raises(DecodeError, match="CVE-2012-2459"):
        parse_block(doubled, REGTEST)


def test_changed_witnesses_are_noticed() -> None:
    """Witnesses are no part of transaction hashes: their commitment says no."""
    good = made(tx(1, True))
    place = good.index(b"\x30" * 70) + 5
    with pytest.raises(DecodeError, match="witnesses"):
        parse_block(good[:place] + b"\x31" + good[place + 1 :], REGTEST)


def test_only_the_first_makes_coins() -> None:
    """A second coinbase, none, or another transaction in its place."""
    first, second = build_coinbase(300, [(50, b"\x51")]), build_coinbase(301, [(50, b"\x51")])
    for txs, says in (([first, second], "another transaction"), ([tx(1), first], "no new coins"), ([tx(1)], "no new")):
        with pytest.raises(DecodeError, match=says):
            parse_block(build_block("11" * 32, 1_700_000_000, txs), REGTEST)


def test_amounts_and_witnesses_that_cannot_be() -> None:
    """A negative amount; a mark of witnesses without any; a flag that nobody knows; no input."""
    good = tx(1, True)
    negative = build_tx([(bytes(36), b"", 1, ())], [(1 << 63, b"")])
    empty = good[:4] + b"\0\1" + tx(1)[4:-4] + b"\0" + good[-4:]
    for bad, says in (
        (negative, "negative"), (empty, "has none"), (good[:5] + b"\2" + good[6:], "unknown flag"),
        (build_tx([], [(1, b"")])[:4] + b"\0\0" + bytes(8), "no input"),
    ):  # fmt: skip
        with pytest.raises(DecodeError, match=says):
            parse_tx(bad)


def test_transaction_that_stands_for_the_extension_block() -> None:
    """Litecoin's last transaction has a flag of its own; what follows it is the extension block, or says that there is
    none; in other places that is too much."""
    plain = tx(5)
    stands = plain[:4] + b"\0\x08" + plain[4:-4] + b"\0" + plain[-4:]
    network = net("litecoin-regtest")
    block = build_block("11" * 32, 1, [build_coinbase(3, [(5, b"\x51")]), stands], kind="scrypt")
    for after in (b"", b"\0", b"\x01" + bytes(500)):
        found = parse_block(block + after, network)
        assert found.txs[1].hash == parse_tx(plain).hash == parse_tx(stands).hash and found.txs[1].raw == stands
        assert found.txs[1].vsize == len(plain) and found.txs[1].output_values == [5]
    for after in (b"\x01", b"\0\0", b"\x02" + bytes(500)):
        with pytest.raises(DecodeError, match="too many"):
            parse_block(block + after, network)
    inside = plain[:4] + b"\0\x08" + plain[4:-4] + b"\x01" + bytes(40) + plain[-4:]
    assert parse_tx(inside).hash == parse_tx(plain).hash  # as it waits to be mined
    with pytest.raises(DecodeError, match="extension block lies in the block"):
        parse_block(block.replace(stands, inside), network)


def test_outputs_with_tokens() -> None:
    """On Bitcoin Cash the script comes after the tokens, and the coins are its; elsewhere those bytes are a script."""
    pays = b"\x76\xa9\x14" + b"\x07" * 20 + b"\x88\xac"
    token = b"\xef" + b"\x09" * 32 + b"\x10\x05"
    bch = replace(net("bitcoin-cash"), params={**net("bitcoin-cash").params, "easiest": 255})
    data = made(build_tx([(outpoint("22" * 32, 0), b"\x51", 1, ())], [(1000, token + pays), (7, pays)]))
    assert parse_block(data, bch).output_scripts[1:] == [pays, pays]
    assert parse_block(data, REGTEST).output_scripts[1:] == [token + pays, pays]
    raw = parse_block(data, bch).txs[1].raw
    assert parse_tx(raw, bch).output_scripts == [pays, pays] and parse_tx(raw).output_scripts == [token + pays, pays]


def test_work() -> None:
    """A header without its work, or with a claim that is too easy for the network, is none."""
    good = made(tx(1))
    header = bytearray(good[:80])
    while int.from_bytes(work.sha256d(bytes(header)), "little") <= work.target(0x207FFFFF):
        header[76] = (header[76] + 1) % 256
    bad = bytes(header) + good[80:]
    with pytest.raises(DecodeError, match="work"):
        parse_block(bad, REGTEST)
    assert parse_block(bad, REGTEST, check_work=False).header == parse_header(bad)
    with pytest.raises(DecodeError, match="easier"):
        parse_block(good, net("bitcoin"))


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        (0x1D00FFFF, 0xFFFF << 208), (0x207FFFFF, 0x7FFFFF << 232), (0x03123456, 0x123456), (0x02008000, 0x80),
        (0x01120000, 0x12), (0x05009234, 0x92340000), (0x04123456, 0x12345600),
    ],
)  # fmt: skip
def test_targets(bits: int, wanted: int) -> None:
    """The short form of targets, as Bitcoin Core's own arithmetic tests have it."""
    assert work.target(bits) == wanted


@pytest.mark.parametrize("bits", [0, 0x01003456, 0x04923456, 0x01FEDCBA, 0xFF123456, 0x00123456])
def test_targets_without_sense(bits: int) -> None:
    """Negative, zero or too large."""
    with pytest.raises(DecodeError):
        work.target(bits)


@pytest.mark.parametrize("cut", range(0, 260, 7))
def test_cut_off(cut: int) -> None:
    """A block that ends early says so."""
    good = made(tx(1), tx(2, True))
    with pytest.raises(DecodeError):
        parse_block(good[: len(good) - 1 - cut], REGTEST)


def test_too_much() -> None:
    """Bytes after the last transaction."""
    with pytest.raises(DecodeError, match="too many"):
        parse_block(made(tx(1)) + b"\0", REGTEST)
    with pytest.raises(DecodeError, match="too many"):
        parse_tx(tx(1) + b"\0")


@REAL
def test_core_undo_round() -> None:
    """Core's compressed form gives what the plain one gives: the same prevouts, written the way Core writes them."""
    block = parse_block(real("bcoin/block300025.raw.gz"), net("bitcoin"))
    plain = plain_undo(real("bcoin/block300025-undo.raw.gz"), block)
    assert core_undo(_core(block, plain), block) == plain
    with pytest.raises(DecodeError, match="cut off"):
        core_undo(_core(block, plain)[:-1], block)
    with pytest.raises(DecodeError, match="too many"):
        core_undo(_core(block, plain) + b"\0", block)


def _core(block: RawBlock, plain: dict[bytes, Prevout]) -> bytes:
    """A ``CBlockUndo``, from Core's description of it."""

    def size(n: int) -> bytes:
        return bytes([n]) if n < 0xFD else b"\xfd" + n.to_bytes(2, "little")

    def varint(n: int) -> bytes:
        out = [n & 0x7F]
        while n > 0x7F:
            n = (n >> 7) - 1
            out.append(n & 0x7F | 0x80)
        return bytes(reversed(out))

    def amount(n: int) -> int:
        if not n:
            return 0
        zeros = 0
        while n % 10 == 0 and zeros < 9:
            n, zeros = n // 10, zeros + 1
        return 1 + (n // 10 * 9 + n % 10 - 1) * 10 + zeros if zeros < 9 else 1 + (n - 1) * 10 + 9

    def script(s: bytes) -> bytes:
        if len(s) == 25 and s[:3] == b"\x76\xa9\x14":
            return varint(0) + s[3:23]
        if len(s) == 23 and s[:2] == b"\xa9\x14":
            return varint(1) + s[2:22]
        if len(s) == 35 and s[0] == 0x21:
            return varint(s[1]) + s[2:34]
        if len(s) == 67 and s[0] == 0x41:
            return varint(4 + (s[65] & 1)) + s[2:34]
        return varint(len(s) + 6) + s

    parts = [size(len(block.txs) - 1)]
    for one in block.txs[1:]:
        parts.append(size(len(one.outpoints)))
        for point in one.outpoints:
            value, code = plain[point]
            parts += [varint(2 * 299_000), varint(0), varint(amount(value)), script(code)]
    return b"".join(parts)
