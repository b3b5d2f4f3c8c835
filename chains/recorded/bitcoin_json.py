"""Blocks and transactions of a recording in the JSON of Bitcoin Core, as far as readers of chains need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any

import msgspec

from chains.bitcoin.base import Coin
from chains.bitcoin.block import RawTx
from chains.bitcoin.script import HASHED, address_of, type_of
from chains.bitcoin.work import sha256d, target
from chains.recorded.bitcoin_blocks import RecordedBlock
from monitor.networks import Network

__all__ = ["Json", "amount", "header_json", "median_time", "output_json", "tx_json"]

Json = dict[str, Any]

COIN = 100_000_000  # base units
EASIEST = 0xFFFF << 208  # the target of difficulty 1
MEDIAN_OF = 11  # blocks
_FORMS = {
    "p2pk": "pubkey", "p2pkh": "pubkeyhash", "p2sh": "scripthash", "p2wpkh": "witness_v0_keyhash",
    "p2wsh": "witness_v0_scripthash", "p2tr": "witness_v1_taproot", "null_data": "nulldata",
}  # fmt: skip


def amount(value: int) -> msgspec.Raw:
    """Base units as the number that nodes write: coins, with eight digits.

    >>> bytes(amount(123)).decode()
    '0.00000123'
    """
    return msgspec.Raw(f"{value // COIN}.{value % COIN:08d}".encode())


def output_json(value: int, script: bytes, network: Network) -> Json:
    """An output without its place."""
    form = type_of(script)
    shown: Json = {"hex": script.hex(), "type": _FORMS.get(form, "witness_unknown" if form[0] == "w" else form)}
    address = address_of(script, network)
    if form != "p2pk" and not address.startswith(HASHED):
        shown["address"] = address
    return {"value": amount(value), "scriptPubKey": shown}


def tx_json(tx: RawTx, network: Network, known: Mapping[bytes, Coin] | None, *, full: bool = False) -> Json:
    """A transaction.

    Parameters
    ----------
    known : what its inputs spend; None: the node does not say
    full : tell it with each input (``getblock`` 3), beside the fee
    """
    raw = tx.raw
    found: Json = {
        "txid": tx.hash, "hash": sha256d(raw)[::-1].hex(), "version": tx.version, "size": tx.size, "vsize": tx.vsize,
        "locktime": tx.lock_time, "vin": _inputs(tx, network, known if full else None),
        "vout": [
            {**output_json(value, script, network), "n": n}
            for n, (value, script) in enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
        ],
        "hex": raw.hex(),
    }  # fmt: skip
    if known is not None and not tx.is_coinbase and all(point in known for point in tx.outpoints):
        found["fee"] = amount(sum(known[point].value for point in tx.outpoints) - sum(tx.output_values))
    return found


def header_json(block: RecordedBlock, best: int, following: str | None, median: int) -> Json:
    """What is told of a block beside its transactions; ``best`` is the height of the best chain."""
    header = block.raw.header
    found: Json = {
        "hash": block.hash, "confirmations": best - block.number + 1, "height": block.number,
        "version": header.version, "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": header.merkle_root, "time": header.time, "mediantime": median, "nonce": header.nonce,
        "bits": f"{header.bits:08x}", "difficulty": EASIEST / target(header.bits), "nTx": len(block.raw.txs),
        "previousblockhash": header.parent,
    }  # fmt: skip
    return found if following is None else found | {"nextblockhash": following}


def median_time(blocks: Sequence[RecordedBlock], place: int) -> int:
    """The median of the times of a block and the ten below it."""
    return median_low(block.time for block in blocks[max(0, place + 1 - MEDIAN_OF) : place + 1])


def _inputs(tx: RawTx, network: Network, known: Mapping[bytes, Coin] | None) -> list[Json]:
    if tx.is_coinbase:
        return [{"coinbase": tx.script_sigs[0].hex(), "sequence": tx.sequences[0]}]
    found: list[Json] = []
    for n, point in enumerate(tx.outpoints):
        item: Json = {
            "txid": point[31::-1].hex(), "vout": int.from_bytes(point[32:], "little"),
            "scriptSig": {"hex": tx.script_sigs[n].hex()}, "sequence": tx.sequences[n],
        }  # fmt: skip
        if tx.witnesses[n]:
            item["txinwitness"] = [part.hex() for part in tx.witnesses[n]]
        if known is not None and point in known:
            coin = known[point]
            spent = output_json(coin.value, coin.script, network)
            item["prevout"] = {"generated": coin.coinbase, "height": coin.height, **spent}
        found.append(item)
    return found
