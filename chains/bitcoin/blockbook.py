"""Blockbook, the indexer of Trezor's, by its REST API version 2.

Source: github.com/trezor/blockbook, ``docs/api.md``, ``server/public.go``. A block costs two requests (its hash, its
serialised form, which Blockbook gives since April 2022, its issue 736), and one more for each transaction that touches
the watch set without telling who paid. What has no address (a bare multisig) Blockbook cannot be asked about: its coins
are found in blocks alone, and what waits to spend them is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from chains.base import ChainSpec
from chains.bitcoin.base import Coin, Prevout, outpoint
from chains.bitcoin.rest import NOT_THERE, Amount, Hash, Hex, Number, RestSource, checked_tx, json_of, tx_of
from chains.bitcoin.script import script_of
from chains.exchange import Kind, Refused, Unusable
from chains.rpc import HttpPool, Single
from monitor.addresses import canonical
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = ["BlockbookSource"]

PARENTS = 100  # transactions that are asked for one by one where one does not say what it spends
_HASHED = "scripthash:"

HashOrNone = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]


class _Index(msgspec.Struct):
    blockHash: HashOrNone


class _Known(msgspec.Struct):
    bestHeight: Number


class _Status(msgspec.Struct):
    blockbook: _Known


class _Hex(msgspec.Struct):
    hex: Hex


class _Raw(msgspec.Struct):
    hex: Hex = ""
    blockbook: _Known | None = None  # the status: the answer to a path that it does not know


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
    vout: Number = 0
    value: Amount = "0"
    height: int = 0
    confirmations: int = 0
    coinbase: bool = False


class _Address(msgspec.Struct):
    unconfirmedTxs: int = 0
    txids: list[Hash] = []


_INDEX, _RAW, _HEX = json_of(_Index), json_of(_Raw), json_of(_Hex)


class BlockbookSource(RestSource):
    """See `chains.bitcoin.base.Source` and `RestSource`; a base URL may end with ``/api`` or ``/api/v2``."""

    def __init__(self, spec: ChainSpec, network: Network, **how: Any) -> None:
        bases = {url: _base(url) for url in spec.endpoints}
        terms = {bases[url]: terms for url, terms in spec.terms.items() if url in bases}
        super().__init__(replace(spec, endpoints=tuple(bases.values()), terms=terms), network, **how)

    async def _head(self, reader: HttpPool | Single) -> BlockRef:
        """The newest block that is indexed: one that still catches up with its node is behind it."""
        status: _Status = await reader.read("api/v2", json_of(_Status))
        number = status.blockbook.bestHeight
        return BlockRef(self._network.chain, number, await self._hash_at(reader, number))

    async def _hash_at(self, reader: HttpPool | Single, number: int) -> str:
        return await reader.read(f"api/v2/block-index/{number}", _index)

    async def _raw_block(self, hash: str) -> bytes:
        return await self._pool.read(f"api/v2/rawblock/{hash}", _raw)

    async def _inputs(self, hash: str) -> Mapping[bytes, Prevout]:
        found: dict[bytes, Prevout] = {}
        unnamed: dict[str, list[int]] = {}
        for item in (await self._tx(hash)).vin:
            if item.txid is None:  # new coins
                continue
            named = item.isAddress and item.value is not None and len(item.addresses or ()) == 1
            script = self._script((item.addresses or [""])[0]) if named else None
            if script is None:
                unnamed.setdefault(item.txid, []).append(item.vout)
            else:
                found[outpoint(item.txid, item.vout)] = Prevout(int(item.value or 0), script)
        for parent in list(unnamed)[:PARENTS]:  # a bare key, a bare multisig: their outputs have the script itself
            try:
                outputs = await self._outputs(parent)
            except Refused as error:
                if error.status not in NOT_THERE:
                    raise
                continue  # stays unknown
            found |= {outpoint(parent, n): outputs[n] for n in unnamed[parent] if n < len(outputs)}
        return found

    async def _outputs(self, hash: str) -> Sequence[Prevout]:
        return [Prevout(int(output.value), bytes.fromhex(output.hex)) for output in (await self._tx(hash)).vout]

    async def _coins(self, script: bytes, address: str) -> Iterable[Coin] | None:
        if address.startswith(_HASHED):
            return None
        coins = await self._pool.read(f"api/v2/utxo/{address}", json_of(list[_Coin]), {"confirmed": "true"})
        return [
            Coin(outpoint(coin.txid, coin.vout), int(coin.value), script, coin.height, coin.coinbase)
            for coin in coins
            if coin.confirmations > 0
        ]

    async def _waiting_of(self, address: str) -> Iterable[str]:
        if address.startswith(_HASHED):
            return ()
        path = f"api/v2/address/{address}"
        found: _Address = await self._pool.read(path, json_of(_Address), {"details": "txids"})
        return found.txids[: found.unconfirmedTxs]  # those that wait come first

    async def _raw_tx(self, hash: str) -> bytes:
        return await self._pool.read(f"api/v2/tx/{hash}", lambda data: checked_tx(bytes.fromhex(_HEX(data).hex), hash))

    async def _tx(self, hash: str) -> _Tx:
        found: _Tx = await self._pool.read(f"api/v2/tx/{hash}", tx_of(_Tx, hash))
        return found

    def _script(self, text: str) -> bytes | None:
        try:
            return script_of(canonical(self._network, text), self._network)
        except ValueError:
            return None  # what Blockbook shows in the place of an address


def _base(url: str) -> str:
    """The URL without the API's own path, which all requests name.

    >>> _base("https://node.example/key/api/v2/?a=b"), _base("https://node.example")
    ('https://node.example/key?a=b', 'https://node.example')
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    for end in ("/api/v2", "/api"):
        if path.endswith(end):
            return parts._replace(path=path.removesuffix(end)).geturl()
    return url


def _index(data: bytes) -> str:
    """The hash in an answer; it is empty where there is no block of that height."""
    hash: str = _INDEX(data).blockHash
    if not hash:
        raise Unusable("it has no block of that height (yet)", final=True, kind=Kind.REFUSED)
    return hash


def _raw(data: bytes) -> bytes:
    """The block in an answer; a Blockbook that is too old gives its status for a path that it does not know."""
    found: _Raw = _RAW(data)
    if found.blockbook is not None:
        why = "this Blockbook gives no raw blocks: one of April 2022 or later is needed"
        raise Unusable(why, final=True, kind=Kind.REFUSED)
    return bytes.fromhex(found.hex)
