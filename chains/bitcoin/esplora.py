"""Esplora, the REST API of blockstream.info and mempool.space, which anybody can run.

Source: github.com/Blockstream/esplora, ``API.md``. A block costs two requests (its hash, its serialised form), and one
more for each transaction that touches the watch set without telling who paid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from chains.bitcoin.base import Coin, Prevout, outpoint
from chains.bitcoin.block import parse_tx
from chains.bitcoin.rest import Hash, Hex, Number, RestSource, hash_of, json_of, tx_of
from chains.rpc import HttpPool, Single
from monitor.errors import DecodeError
from monitor.model import BlockRef

__all__ = ["EsploraSource"]


Value = Annotated[int, msgspec.Meta(ge=0)]  # base units


class _Status(msgspec.Struct):
    confirmed: bool = False
    block_height: Number | None = None


class _Block(msgspec.Struct):
    id: Hash
    height: Number


class _Output(msgspec.Struct):
    scriptpubkey: Hex
    value: Value


class _Input(msgspec.Struct):
    txid: Hash
    vout: Number
    is_coinbase: bool = False
    prevout: _Output | None = None


class _Tx(msgspec.Struct):
    txid: Hash
    vin: list[_Input]
    vout: list[_Output]


class _Coin(msgspec.Struct):
    txid: Hash
    vout: Number
    value: Value
    status: _Status


class _Brief(msgspec.Struct):
    txid: Hash


class EsploraSource(RestSource):
    """See `chains.bitcoin.base.Source` and `RestSource`."""

    _newest: _Block | None = None  # that was asked about

    async def head(self) -> BlockRef:
        """The newest block; its height is asked for once."""
        hash = await self._pool.read("blocks/tip/hash", hash_of)
        newest = self._newest
        if newest is None or newest.id != hash:
            found: _Block = await self._pool.read(f"block/{hash}", json_of(_Block))
            newest = self._newest = found
        return BlockRef(self._network.chain, newest.height, hash)

    async def _hash_at(self, reader: HttpPool | Single, number: int) -> str:
        return await reader.read(f"block-height/{number}", hash_of)

    async def _raw_block(self, hash: str) -> bytes:
        return await self._pool.read(f"block/{hash}/raw", bytes)

    async def _inputs(self, hash: str) -> Mapping[bytes, Prevout]:
        return {
            outpoint(item.txid, item.vout): Prevout(item.prevout.value, bytes.fromhex(item.prevout.scriptpubkey))
            for item in (await self._tx(hash)).vin
            if item.prevout is not None and not item.is_coinbase
        }

    async def _outputs(self, hash: str) -> Sequence[Prevout]:
        try:
            tx = parse_tx(await self._raw_tx(hash))
        except DecodeError:
            return ()
        return [Prevout(*output) for output in zip(tx.output_values, tx.output_scripts, strict=True)]

    async def _coins(self, script: bytes, address: str) -> Iterable[Coin]:
        path = f"address/{address}/utxo"
        if address.startswith("scripthash:"):
            path = f"scripthash/{hashlib.sha256(script).hexdigest()}/utxo"
        coins = await self._pool.read(path, json_of(list[_Coin]))
        return [
            Coin(outpoint(coin.txid, coin.vout), coin.value, script, coin.status.block_height or 0)
            for coin in coins
            if coin.status.confirmed
        ]

    async def _waiting_of(self, address: str) -> Iterable[str]:
        if address.startswith("scripthash:"):
            return ()
        found = await self._pool.read(f"address/{address}/txs/mempool", json_of(list[_Brief]))
        return [item.txid for item in found]

    async def _raw_tx(self, hash: str) -> bytes:
        return await self._pool.read(f"tx/{hash}/raw", bytes)

    async def _tx(self, hash: str) -> _Tx:
        found: _Tx = await self._pool.read(f"tx/{hash}", tx_of(_Tx, hash))
        return found
