"""The decoders of what others write, each with what it may raise, and what must hold of what it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock, parse_block
from chains.bitcoin.build import build_block, build_coinbase
from chains.bitcoin.script import script_of, spent_scripts, type_of
from chains.bitcoin.transaction import RawTx, parse_tx
from chains.bitcoin.transfers import Spent, transfers_of
from chains.bitcoin.undo import core_undo, plain_undo
from chains.nem import binary, decode, mosaic
from monitor.addresses import PrivateKeyGiven, canonical
from monitor.addresses.descriptor import read_descriptor
from monitor.addresses.encode import HASHED, address_of
from monitor.coin_flows import utxo_flows
from monitor.errors import DecodeError
from monitor.model import BlockRef, Direction, Role, Transfer, Wallet
from monitor.networks import Network, by_name
from tests.soak.decoding import seeds
from tests.soak.decoding.mutate import damaged_bytes, damaged_json, damaged_text

__all__ = ["TARGETS", "Target"]

MOST = 40  # outputs, inputs, places that are looked at closely
_TOKEN = re.compile(r"[0-9A-Za-z]{40,}")


@dataclass(frozen=True)
class Target:
    """A decoder: how inputs are made, what reads them, and the errors that it may raise (these very types)."""

    make: Callable[[Random], Any]
    read: Callable[[Any, Random], None]
    declared: tuple[type[Exception], ...]


class Half:
    """A watch set: every second address, of one wallet."""

    wallet = Wallet("half", "One", Role.HOT, ())

    def __contains__(self, address: object) -> bool:
        return bool(address) and sum(str(address).encode()) % 2 == 0

    def __len__(self) -> int:
        return 1

    def get(self, address: str) -> Wallet | None:
        return self.wallet if address in self else None


def network(name: str) -> Network:
    found = by_name(name)
    assert found is not None
    return found


# -- blocks and transactions ------------------------------------------------------------------------------------------


def _block(rng: Random) -> tuple[bytes, str]:
    name = rng.choice(sorted(seeds.blocks()))
    return damaged_bytes(rng, seeds.blocks()[name]), name


def _read_block(made: tuple[bytes, str], rng: Random) -> None:
    data, name = made
    _look(parse_block(data, network(name), check_work=rng.random() < 0.5), network(name), rng)


def _sealed(rng: Random) -> bytes:
    """Damaged transactions that still are some, in a block with the right merkle root, commitment and work."""
    txs: dict[str, bytes] = {}
    for _ in range(rng.randrange(1, 6)):
        data = damaged_bytes(rng, seeds.transactions())
        try:
            tx = parse_tx(data)
        except DecodeError:
            continue
        is_extended = data[4] == 0 and bool(data[5] & 8)  # Litecoin's: none of a block on its own
        if not tx.is_coinbase and not is_extended:
            txs[tx.hash] = data
    mine = list(txs.values())
    return build_block("ab" * 32, 1_700_000_000, [build_coinbase(9, [(50, seeds.SCRIPTS[0])], mine), *mine])


def _read_sealed(data: bytes, rng: Random) -> None:
    """It is sound, so nothing may be refused."""
    _look(parse_block(data, network("bitcoin-regtest")), network("bitcoin-regtest"), rng)


def _look(block: RawBlock, net: Network, rng: Random) -> None:
    assert block.size > 80 and len(block.first_output) == len(block.first_input) == len(block.txs) + 1
    assert len(block.output_scripts) == len(block.output_values) == block.first_output[-1]
    for tx in block.txs[:MOST]:
        _look_at(tx, net, rng, block.first_output[tx.index])


def _read_tx(data: bytes, rng: Random) -> None:
    net = network(rng.choice(("bitcoin", "litecoin", "bitcoin-cash", "dogecoin", "monacoin")))
    tx = parse_tx(data, net)
    assert tx.raw == data and tx.size == len(data) >= tx.vsize > 0
    _look_at(tx, net, rng, 0)


def _look_at(tx: RawTx, net: Network, rng: Random, first: int) -> None:
    """All that the monitor does with a transaction, its inputs known in part."""
    assert len(tx.outpoints) == len(tx.sequences) == len(tx.script_sigs) == len(tx.witnesses)
    for script in tx.output_scripts[:MOST]:
        address = address_of(script, net)
        assert canonical(net, address) == address and type_of(script)
        paid = script_of(address, net)
        assert (paid is None) == address.startswith(HASHED)
        assert paid is None or address_of(paid, net) == address
    claimed = {}
    for point, script_sig, witness in zip(tx.outpoints[:MOST], tx.script_sigs, tx.witnesses, strict=False):
        for script in spent_scripts(script_sig, witness):
            claimed[point] = script
    worth = sum(tx.output_values) // max(1, len(tx.outpoints)) + rng.randrange(3)
    known = {p: Prevout(worth, rng.choice(seeds.SCRIPTS)) for p in tx.outpoints if rng.random() < 0.8}
    moves = transfers_of(tx, BlockRef(net.chain, 7, "b"), 3, first, Spent(known, claimed), Half(), net)
    _look_at_flows(moves)


def _look_at_flows(moves: tuple[Transfer, ...]) -> None:
    if not moves:
        return
    found = utxo_flows(moves, Half(), 7)  # type: ignore[arg-type]
    spent = sum(v for a, v in zip(moves[0].from_addresses, moves[0].input_values, strict=True) if a in Half())
    got = sum(move.value for move in moves if move.to_address in Half())
    left = sum(f.value for f in found if f.direction is Direction.OUT)
    came = sum(f.value for f in found if f.direction is Direction.IN)
    assert left - came == spent - got and all(f.value > 0 for f in found)


def _read_undo(data: bytes, rng: Random) -> None:
    block = parse_block(seeds.blocks()["bitcoin-regtest"][0], network("bitcoin-regtest"))
    found = (core_undo if rng.random() < 0.5 else plain_undo)(data, block)
    assert set(found) <= set(block.outpoints) and all(type(each.value) is int for each in found.values())


# -- what people write ------------------------------------------------------------------------------------------------


def _address(rng: Random) -> tuple[str, str]:
    name = rng.choice(sorted(seeds.addresses()))
    others = (*seeds.addresses()[name], *seeds.addresses()[rng.choice(sorted(seeds.addresses()))], *seeds.secrets()[:2])
    return name, damaged_text(rng, others)


def _read_address(made: tuple[str, str], rng: Random) -> None:
    name, text = made
    net = network(name)
    found = _told(lambda: canonical(net, text), text)
    assert canonical(net, found) == found
    if net.kind == "bitcoin":
        paid = script_of(found, net)
        assert (paid is None) == found.startswith(HASHED) and (paid is None or address_of(paid, net) == found)


def _descriptor(rng: Random) -> tuple[str, str]:
    name = rng.choice(("bitcoin", "litecoin", "bitcoin-cash", "dogecoin", "monacoin", "bitcoin-testnet"))
    return name if by_name(name) else "bitcoin", damaged_text(rng, (*seeds.descriptors(), *seeds.secrets()))


def _read_descriptor(made: tuple[str, str], rng: Random) -> None:
    name, text = made
    if text in seeds.secrets():
        try:
            read_descriptor(text, network(name))
        except PrivateKeyGiven as error:
            assert not any(token in str(error) for token in _TOKEN.findall(text))
            raise
        raise AssertionError("a private key was taken")
    found = _told(lambda: read_descriptor(text, network(name)), text)
    assert "prv" not in found.shown
    for run in found.runs:
        for index in (0, 1, rng.randrange(2**31)) if run.is_ranged else (0,):
            assert all(canonical(network(name), each) == each for each in run.at(index))


def _told(read: Callable[[], Any], text: str) -> Any:
    """What is read; a refusal shows nothing that may be a key."""
    try:
        return read()
    except ValueError as error:
        assert not any(token in str(error) for token in _TOKEN.findall(text)), "a refusal shows what may be a secret"
        raise


# -- NIS --------------------------------------------------------------------------------------------------------------


def _read_nis_transaction(raw: Any, rng: Random) -> None:
    if rng.random() < 0.3:
        binary.transaction_hash(raw)
        binary.inner_hash(raw)
    known = "f" * 64 if rng.random() < 0.5 else None
    found = decode.decode_transaction(raw, BlockRef("nem:mainnet", 7, "00"), 0, 0, network("nem"), known_hash=known)
    assert all(type(each.value) is int and each.value > 0 for each in found.transfers)
    assert all(len(each.from_addresses[0]) == 40 for each in found.transfers)


def _read_nis_block(raw: Any, rng: Random) -> None:
    block = decode.parse_block(raw)
    found = decode.decode_block(block, "00", network("nem"), Half())
    assert len(found.undecoded) <= len(block.transactions) and len(decode.identity(block)) == 64


def _read_definition(raw: Any, rng: Random) -> None:
    assert 0 <= mosaic.parse_definition(raw).divisibility <= 6


TARGETS = {
    "raw blocks": Target(_block, _read_block, (DecodeError,)),
    "sealed blocks": Target(_sealed, _read_sealed, ()),
    "transactions": Target(lambda rng: damaged_bytes(rng, seeds.transactions()), _read_tx, (DecodeError,)),
    "undo data": Target(lambda rng: damaged_bytes(rng, seeds.undo()), _read_undo, (DecodeError,)),
    "addresses": Target(_address, _read_address, (ValueError, PrivateKeyGiven)),
    "descriptors": Target(_descriptor, _read_descriptor, (ValueError, PrivateKeyGiven)),
    "NIS transactions": Target(
        lambda rng: damaged_json(rng, seeds.nis()["transactions"]), _read_nis_transaction, (DecodeError,)
    ),
    "NIS blocks": Target(lambda rng: damaged_json(rng, seeds.nis()["blocks"]), _read_nis_block, (DecodeError,)),
    "mosaic definitions": Target(
        lambda rng: damaged_json(rng, seeds.nis()["definitions"]), _read_definition, (DecodeError,)
    ),
}
