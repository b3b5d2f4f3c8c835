"""Blocks and transactions of a recording in the JSON of Bitcoin Core."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from chains.bitcoin.base import Coin
from chains.bitcoin.block import RawTx
from chains.bitcoin.script import HASHED, address_of, type_of
from chains.bitcoin.work import target
from chains.recorded.bitcoin_blocks import RecordedBlock
from monitor.networks import Network

__all__ = ["Json", "amount", "block_json", "header_json", "output_json", "tx_json"]

Json = dict[str, Any]

COIN = 100_000_000  # base units
EASIEST = 0xFFFF << 208  # the target of difficulty 1
_FORMS = {
    "p2pk": "pubkey", "p2pkh": "pubkeyhash", "p2sh": "scripthash", "p2wpkh": "witness_v0_keyhash",
    "p2wsh": "witness_v0_scripthash", "p2tr": "witness_v1_taproot", "null_data": "nulldata",
}  # fmt: skip


def amount(value: int) -> msgspec.Raw:
    """Base units as the JSON number that nodes write: coins, with eight digits."""
    return msgspec.Raw(f"{value // COIN}.{value % COIN:08d}".encode())


@lru_cache(maxsize=100_000)
def _script_json(script: bytes, network: str) -> Json:
    raise NotImplementedError  # replaced below; see `script_json`


def script_json(script: bytes, network: Network) -> Json:
    """An output script."""
    form = type_of(script)
    found: Json = {"hex": script.hex(), "type": _FORMS.get(form, "witness_unknown" if form[0] == "w" else form)}
    address = address_of(script, network)
    if form != "p2pk" and not address.startswith(HASHED):
        found["address"] = address
    return found


def output_json(value: int, script: bytes, network: Network) -> Json:
    """An output without its place."""
    return {"value": amount(value), "scriptPubKey": script_json(script, network)}


def tx_json(tx: RawTx, network: Network, prevouts: Mapping[bytes, Coin] | None, *, full: bool = False) -> Json:
    """A transaction. ``prevouts`` None: the node does not know them; ``full``: it tells them (``getblock`` 3)."""
    size = tx.vsize
    found: Json = {
        "txid": tx.hash, "hash": tx.hash, "version": tx.version, "size": tx.size, "vsize": size, "weight": 4 * size,
        "locktime": tx.lock_time, "vin": _inputs(tx, network, prevouts if full else None),
        "vout": [
            {**output_json(value, script, network), "n": n}
            for n, (value, script) in enumerate(zip(tx.output_values, tx.output_scripts, strict=True))
        ],
        "hex": tx.raw.hex(),
    }  # fmt: skip
    if prevouts is not None and not tx.is_coinbase and all(point in prevouts for point in tx.outpoints):
        spent = sum(prevouts[point].value for point in tx.outpoints)
        found["fee"] = amount(spent - sum(tx.output_values))
    return found
