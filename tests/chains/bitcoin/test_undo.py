"""Undo data: the file that a real node keeps beside its blocks, and the forms of scripts that it writes shorter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock, parse_block, parse_tx
from chains.bitcoin.build import build_block, build_coinbase, build_tx, length
from chains.bitcoin.script import type_of
from chains.bitcoin.undo import core_undo, plain_undo
from chains.bitcoin.work import sha256d
from monitor.errors import DecodeError
from monitor.networks import by_name

LITECOIN, BITCOIN = by_name("litecoin-regtest"), by_name("bitcoin-regtest")
assert LITECOIN is not None and BITCOIN is not None
X = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")  # the generator of secp256k1
Y = bytes.fromhex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
MINUS_Y = (2**256 - 2**32 - 977 - int.from_bytes(Y)).to_bytes(32)


def records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(undo data, check sum) of a ``rev*.dat`` file: each after a mark of the network and a length."""
    at = 0
    while data[at : at + 4].strip(b"\0"):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at + 8 : at + 8 + size], data[at + 8 + size : at + 40 + size]
        at += 40 + size


def test_file_of_a_real_node(litecoind: Callable[..., Any]) -> None:
    """Every block of a node with its own undo data: each input has the output that an earlier block made."""
    node = litecoind()
    node.mine(101)
    kinds = [node.rpc("getnewaddress", "", kind) for kind in ("legacy", "p2sh-segwit", "bech32")]
    for amount in ("1.5", "0.00123456"):
        node.pay({address: Decimal(amount) for address in kinds})
        node.mine()
    coins = node.rpc("listunspent", 1, 9999, kinds)
    inputs = [{"txid": coin["txid"], "vout": coin["vout"]} for coin in coins]
    total = sum(coin["amount"] for coin in coins)
    plain = node.rpc("createrawtransaction", inputs, [{node.miner: str(total - Decimal("0.01"))}])
    node.rpc("sendrawtransaction", node.rpc("signrawtransactionwithwallet", plain)["hex"], 0)
    node.mine()
    hashes = [node.rpc("getblockhash", height) for height in range(1, node.height + 1)]
    blocks = [parse_block(bytes.fromhex(node.rpc("getblock", hash, 0)), LITECOIN) for hash in hashes]
    node.stop()  # which writes its files
    spent = agree(node, blocks)
    assert spent >= len(coins) > 3


def test_extension_block_of_a_real_node(litecoind: Callable[..., Any]) -> None:
    """Litecoin's coins go into its extension block and move there: blocks and undo data are read past it."""
    node = litecoind()
    node.mine(431)
    paid = node.pay({node.rpc("getnewaddress", "", "mweb"): Decimal(2)})
    waits = parse_tx(bytes.fromhex(node.rpc("getrawtransaction", paid)), LITECOIN)
    assert waits.hash == paid and waits.raw[5] & 8 and sum(waits.output_values) > 2 * 10**8
    node.mine(3)
    blocks = []
    for height in range(1, node.height + 1):
        hash = node.rpc("getblockhash", height)
        block = parse_block(bytes.fromhex(node.rpc("getblock", hash, 0)), LITECOIN)
        if height > 430:
            assert [tx.hash for tx in block.txs] == node.rpc("getblock", hash)["tx"]
        assert block.has_extension is (height > 431)
        blocks.append(block)
    stands = blocks[-1].txs[-1]
    assert type_of(stands.output_scripts[0]) == "witness_v8" and not stands.is_coinbase
    node.stop()
    assert agree(node, blocks) >= 4


def agree(node: Any, blocks: list[RawBlock]) -> int:
    """The undo data of a node that was stopped says what its blocks say; how many inputs that were."""
    (path,) = Path(node._folder).glob("regtest/blocks/rev*.dat")
    found = list(records(path.read_bytes()))
    assert len(found) == len(blocks)
    made: dict[bytes, Prevout] = {}
    spent = 0
    for block, (data, check) in zip(blocks, found, strict=True):
        assert check == sha256d(bytes.fromhex(block.header.parent)[::-1] + data)
        _add(block, made)
        prevouts = core_undo(data, block)
        assert prevouts == {point: made[point] for point in block.outpoints[1:]}
        spent += len(prevouts)
    return spent


def _add(block: RawBlock, made: dict[bytes, Prevout]) -> None:
    for place, tx in enumerate(block.txs):
        outputs = enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
        made |= {block.hashes[place] + n.to_bytes(4, "little"): Prevout(*output) for n, output in outputs}


def one(undone: bytes) -> Prevout:
    """What undo data says of the only input of a block; ``undone`` is of the coin."""
    tx = build_tx([(bytes(35) + b"\1", b"\x51", 1, ())], [(1, b"\x51")])
    block = parse_block(build_block("11" * 32, 1, [build_coinbase(3, [(5, b"\x51")], [tx]), tx]), BITCOIN)
    (prevout,) = core_undo(length(1) + length(1) + undone, block).values()
    return prevout


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"\x00", 0), (b"\x01", 1), (b"\x07", 10**6), (b"\x09", 10**8), (b"\x32", 50 * 10**8),
        (b"\x89\x80\xdd\x40", 21_000_000 * 10**8),
    ],
)  # fmt: skip
def test_amounts(number: bytes, value: int) -> None:
    """Core's own pairs of amounts and compressed amounts."""
    assert one(b"\0" + number + b"\x07\x51") == Prevout(value, b"\x51")


@pytest.mark.parametrize(
    ("code", "script"),
    [
        (b"\x00" + bytes(20), b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"),
        (b"\x01" + bytes(20), b"\xa9\x14" + bytes(20) + b"\x87"),
        (b"\x02" + X, b"\x21\x02" + X + b"\xac"),
        (b"\x03" + X, b"\x21\x03" + X + b"\xac"),
        (b"\x04" + X, b"\x41\x04" + X + Y + b"\xac"),
        (b"\x05" + X, b"\x41\x04" + X + MINUS_Y + b"\xac"),
        (b"\x06", b""),
        (b"\x1c\x00\x14" + bytes(20), b"\x00\x14" + bytes(20)),
        (b"\xcd\x17" + bytes(10001), b"\x6a"),  # longer than can be spent
    ],
)
def test_scripts(code: bytes, script: bytes) -> None:
    """The six short forms and the others; a coinbase's coin of an old node has a version, too."""
    assert one(b"\0\x09" + code) == one(b"\x85\x03\x00\x09" + code) == Prevout(10**8, script)


@pytest.mark.parametrize(
    ("undone", "says"),
    [
        (b"\0\x09\x04" + b"\xff" * 32, "key that is none"),
        (b"\0\x09\x00" + bytes(19), "cut off"),
        (b"\0\x09", "cut off"),
        (b"\0\x09\x06\0", "too many"),
        (b"\0" + b"\xff" * 12, "too large"),
    ],
)
def test_what_makes_no_sense(undone: bytes, says: str) -> None:
    """Each is named."""
    with pytest.raises(DecodeError, match=says):
        one(undone)


def test_of_another_block() -> None:
    """Another number of transactions or inputs."""
    tx = build_tx([(bytes(35) + b"\1", b"\x51", 1, ())], [(1, b"\x51")])
    block = parse_block(build_block("11" * 32, 1, [build_coinbase(3, [(5, b"\x51")], [tx]), tx]), BITCOIN)
    for data, says in ((length(2), "2 transactions"), (length(1) + length(2), "another number of inputs")):
        with pytest.raises(DecodeError, match=says):
            core_undo(data, block)
    with pytest.raises(DecodeError, match="cut off"):
        plain_undo(b"", block)
    assert plain_undo((7).to_bytes(8, "little") + b"\x01\x51", block) == {bytes(35) + b"\1": Prevout(7, b"\x51")}
