"""Esplora, the REST API of blockstream.info and mempool.space, which anybody can run.

Source: github.com/Blockstream/esplora, ``API.md``. A block costs two requests (its hash, its serialised form), and one
more for each transaction that touches the watch set without telling who paid: that of the transaction itself, which
brings the outputs that all of its inputs spend. To ask for the transactions that made these would be one an input.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from chains.bitcoin.base import Coin, Prevout, outpoint
from chains.bitcoin.block import parse_tx
from chains.bitcoin.rest import Hash, Hex, Number, RestSource, checked_tx, hash_of, json_of, tx_of
from chains.rpc import HttpPool, Single
from monitor.errors import ChainInconsistent
from monitor.model import BlockRef

__all__ = ["EsploraSource"]

log = logging.getLogger(__name__)

_HASHED = "scripthash:"

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


class _Sums(msgspec.Struct):
    funded_txo_sum: Value
    spent_txo_sum: Value
    tx_count: Number


class _Account(msgspec.Struct):
    chain_stats: _Sums


class _Brief(msgspec.Struct):
    txid: Hash


class EsploraSource(RestSource):
    """See `chains.bitcoin.base.Source` and `RestSource`."""

    _newest: _Block | None = None  # that was asked about

    async def _head(self, reader: HttpPool | Single) -> BlockRef:
        """The newest block; its height is asked for once."""
        hash = await reader.read("blocks/tip/hash", hash_of)
        newest = self._newest
        if newest is None or newest.id != hash:
            found: _Block = await reader.read(f"block/{hash}", json_of(_Block))
            if found.id != hash:
                raise ChainInconsistent(f"{reader.endpoint}: asked for block {hash}, told of {found.id}")
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
        tx = parse_tx(await self._raw_tx(hash), self._network)
        return [Prevout(*output) for output in zip(tx.output_values, tx.output_scripts, strict=True)]

    async def _coins(self, script: bytes, address: str) -> Iterable[Coin] | None:
        where = _where(address)
        sums: _Sums = (await self._pool.read(where, json_of(_Account))).chain_stats
        if not sums.tx_count:
            return ()
        coins = {
            outpoint(coin.txid, coin.vout): Coin(
                outpoint(coin.txid, coin.vout), coin.value, script, coin.status.block_height or 0
            )
            for coin in await self._pool.read(f"{where}/utxo", json_of(list[_Coin]))
            if coin.status.confirmed
        }
        balance = sums.funded_txo_sum - sums.spent_txo_sum
        if sum(coin.value for coin in coins.values()) != balance:
            coins |= await self._being_spent(where, script)
        if sum(coin.value for coin in coins.values()) != balance:
            log.info("%s: balances stay unknown: coins of %s are not those of its sums", self._spec.name, where)
            return None
        return coins.values()

    async def _being_spent(self, where: str, script: bytes) -> Mapping[bytes, Coin]:
        """Confirmed coins that a waiting transaction spends: Esplora leaves them out of its list of coins."""
        waiting: list[_Tx] = await self._pool.read(f"{where}/txs/mempool", json_of(list[_Tx]))
        unconfirmed = {tx.txid for tx in waiting}
        return {
            point: Coin(point, item.prevout.value, script, 0)
            for tx in waiting
            for item in tx.vin
            if item.prevout is not None
            and bytes.fromhex(item.prevout.scriptpubkey) == script
            and item.txid not in unconfirmed
            and (point := outpoint(item.txid, item.vout))
        }

    async def _waiting_of(self, address: str) -> Iterable[str]:
        found = await self._pool.read(f"{_where(address)}/txs/mempool", json_of(list[_Brief]))
        return [item.txid for item in found]

    async def _raw_tx(self, hash: str) -> bytes:
        return await self._pool.read(f"tx/{hash}/raw", lambda data: checked_tx(data, hash))

    async def _tx(self, hash: str) -> _Tx:
        found: _Tx = await self._pool.read(f"tx/{hash}", tx_of(_Tx, hash))
        return found


def _where(address: str) -> str:
    """The path of an address, or of what has none. Esplora's script hash is not reversed, Electrum's is."""
    if address.startswith(_HASHED):
        return f"scripthash/{bytes.fromhex(address.removeprefix(_HASHED))[::-1].hex()}"
    return f"address/{address}"
