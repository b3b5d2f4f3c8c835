"""Blockbook, the indexer of Trezor's, by its REST API version 2.

Source: github.com/trezor/blockbook, ``docs/api.md``. A block costs two requests (its hash, its serialised form, which
Blockbook gives from version 0.4 on), and one more for each transaction that touches the watch set without telling who
paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from chains.base import ChainSpec
from chains.bitcoin.base import Coin, Prevout, outpoint
from chains.bitcoin.rest import Amount, Hash, Hex, Number, RestSource, json_of, tx_of
from chains.bitcoin.script import script_of
from chains.rpc import HttpPool, Single
from monitor.addresses import canonical
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = ["BlockbookSource"]

class _Index(msgspec.Struct):
    blockHash: Hash


class _Known(msgspec.Struct):
    bestHeight: Number


class _Status(msgspec.Struct):
    blockbook: _Known


class _Hex(msgspec.Struct):
    hex: Hex


class _Input(msgspec.Struct):
    txid: Hash | None = None
    vout: Number = 0  # left out where it is 0
    value: Amount | None = None
    addresses: list[str] | None = None
    isAddress: bool = False


class _Output(msgspec.Struct):
    value: Amount
    hex: Hex = ""


class _Tx(msgspec.Struct):
    txid: Hash
    vin: list[_Input]
    vout: list[_Output]
    hex: Hex = ""


class _Coin(msgspec.Struct):
    txid: Hash
    vout: Number
    value: Amount
    height: int = 0
    confirmations: int = 0
    coinbase: bool = False


class _Address(msgspec.Struct):
    unconfirmedTxs: int = 0
    txids: list[Hash] = []


class BlockbookSource(RestSource):
    """See `chains.bitcoin.base.Source` and `RestSource`; a base URL may end with ``/api`` or ``/api/v2``."""

    def __init__(self, spec: ChainSpec, network: Network, **how: Any) -> None:
        super().__init__(spec, network, **how)
        self._paths = {url: _prefix(url) for url in spec.endpoints}

    async def head(self) -> BlockRef:
        """The newest block that is indexed."""
        status = await self._pool.read(self._at(""), json_of(_Status))
        number = status.blockbook.bestHeight
        return BlockRef(self._network.chain, number, await self._hash_at(self._pool, number))

    def _at(self, path: str) -> str:
        prefixes = set(self._paths.values())
        prefix = prefixes.pop() if len(prefixes) == 1 else "api/v2"
        return "/".join(part for part in (prefix, path) if part) or "/"

    async def _hash_at(self, reader: HttpPool | Single, number: int) -> str:
        return str((await reader.read(self._at(f"block-index/{number}"), json_of(_Index))).blockHash)

    async def _raw_block(self, hash: str) -> bytes:
        return bytes.fromhex((await self._pool.read(self._at(f"rawblock/{hash}"), json_of(_Hex))).hex)

    async def _inputs(self, hash: str) -> Mapping[bytes, Prevout]:
        tx, found = await self._tx(hash), {}
        for item in tx.vin:
            if item.txid is None or item.value is None or len(item.addresses or ()) != 1:
                continue
            script = self._script((item.addresses or [""])[0])
            if script is not None:
                found[outpoint(item.txid, item.vout)] = Prevout(int(item.value), script)
        return found

    async def _outputs(self, hash: str) -> Sequence[Prevout]:
        return [Prevout(int(output.value), bytes.fromhex(output.hex)) for output in (await self._tx(hash)).vout]

    async def _coins(self, script: bytes, address: str) -> Iterable[Coin]:
        if address.startswith("scripthash:"):
            return ()
        coins = await self._pool.read(self._at(f"utxo/{address}"), json_of(list[_Coin]), {"confirmed": "true"})
        return [
            Coin(outpoint(coin.txid, coin.vout), int(coin.value), script, coin.height, coin.coinbase)
            for coin in coins
            if coin.confirmations > 0
        ]

    async def _waiting_of(self, address: str) -> Iterable[str]:
        if address.startswith("scripthash:"):
            return ()
        path = self._at(f"address/{address}")
        found: _Address = await self._pool.read(path, json_of(_Address), {"details": "txids"})
        return found.txids[: found.unconfirmedTxs]  # those that wait come first

    async def _raw_tx(self, hash: str) -> bytes:
        return bytes.fromhex((await self._tx(hash)).hex)

    async def _tx(self, hash: str) -> _Tx:
        found: _Tx = await self._pool.read(self._at(f"tx/{hash}"), tx_of(_Tx, hash))
        return found

    def _script(self, text: str) -> bytes | None:
        try:
            return script_of(canonical(self._network, text), self._network)
        except ValueError:
            return None  # what Blockbook shows in the place of an address


def _prefix(url: str) -> str:
    """What is between the base URL and a path of the API."""
    path = url.partition("://")[2].partition("?")[0].rstrip("/")
    return "" if path.endswith("/api/v2") else "v2" if path.endswith("/api") else "api/v2"
