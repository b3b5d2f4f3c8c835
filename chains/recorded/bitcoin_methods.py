"""What a recorded node of the Bitcoin family answers: the methods of Bitcoin Core that read a chain, and its errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chains.bitcoin.base import Coin, outpoint
from chains.bitcoin.block import RawTx, parse_tx
from chains.bitcoin.script import script_of
from chains.recorded.bitcoin_blocks import RecordedBlock, Recording
from chains.recorded.bitcoin_json import Json, amount, header_json, median_time, output_json, tx_json
from chains.recorded.pace import Pace
from monitor.addresses.bitcoin import canonical
from monitor.errors import DecodeError

__all__ = ["Faults", "Methods", "RpcFault"]

MISC, TYPE, NOT_FOUND, BAD_PARAMETER, WARMING, NO_METHOD = -1, -3, -5, -8, -28, -32601  # src/rpc/protocol.h
NO_INDEX = "No such mempool transaction. Use -txindex or provide a block hash to enable blockchain transaction queries"
NO_TX = "No such mempool or blockchain transaction"
_DESCRIPTOR = re.compile(r"(raw|addr)\(([^()]+)\)(#\w+)?")


class RpcFault(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on, for tests of readers; everything off at first."""

    stall: bool = False  # requests are never answered
    http_status: int | None = None  # requests get this status and no answer
    warming: bool = False  # "Loading block index", as after a start
    wrong_chain: bool = False  # the block that names the network is another
    corrupt: bool = False  # a byte of each serialised block is wrong
    mute: bool = False  # blocks come without what their inputs spend, and nobody tells it afterwards
    unsupported: set[str] = field(default_factory=set)  # methods that are not offered


class Methods:
    """The methods over one recording; `call` raises `RpcFault` for everything that is an error.

    Parameters
    ----------
    recording, pace : the blocks, and how many of them are visible
    faults : see `Faults`
    prevouts : ``getblock`` 3 tells what inputs spend, as Core does from version 23 on
    txindex : ``getrawtransaction`` finds what is in blocks
    """

    def __init__(self, recording: Recording, pace: Pace, faults: Faults, prevouts: bool, txindex: bool) -> None:
        self.asked: Counter[str] = Counter()
        self.waiting: dict[str, bytes] = {}
        self._recording, self._pace, self._faults = recording, pace, faults
        self._prevouts, self._txindex = prevouts, txindex
        self.index()
        self._methods: dict[str, Callable[..., Any]] = {
            "getblockchaininfo": self._info,
            "getblockcount": lambda: self._asked_tip().number,
            "getbestblockhash": lambda: self._asked_tip().hash,
            "getblockhash": self._hash,
            "getblockheader": self._header,
            "getblock": self._block,
            "getrawtransaction": self._raw,
            "gettxout": self._output,
            "scantxoutset": self._scan,
            "getrawmempool": self._mempool,
            "getnetworkinfo": self._network_info,
        }

    def index(self) -> None:
        """Where blocks and transactions are; anew after the recording changed."""
        blocks = self._recording.blocks
        self._by_hash = {block.hash: place for place, block in enumerate(blocks)}
        self._by_tx = {
            tx.hash: (place, n) for place, block in enumerate(blocks) for n, tx in enumerate(block.raw.txs)
        }
        self._coins: tuple[int, dict[bytes, Coin]] | None = None

    def call(self, method: Any, params: Any) -> Any:
        """The result of one call; ``asked`` counts it."""
        self.asked[str(method)] += 1
        answer = self._methods.get(method) if isinstance(method, str) else None
        if answer is None or method in self._faults.unsupported:
            raise RpcFault(NO_METHOD, "Method not found")
        if self._faults.warming:
            raise RpcFault(WARMING, "Loading block index…")
        try:
            return answer(**params) if isinstance(params, dict) else answer(*params)
        except (TypeError, AttributeError):
            raise RpcFault(MISC, f"{method}: the parameters are not those of this method") from None

    # -- the chain ------------------------------------------------------------------------------------------------

    @property
    def _visible(self) -> list[RecordedBlock]:
        return self._recording.blocks[: self._pace.visible]

    def _asked_tip(self) -> RecordedBlock:
        return self._recording.blocks[self._pace.ask() - 1]

    def _info(self) -> Json:
        tip = self._asked_tip()
        place = tip.number - self._recording.base
        return {
            "chain": "main", "blocks": tip.number, "headers": tip.number, "bestblockhash": tip.hash,
            "mediantime": median_time(self._recording.blocks, place), "verificationprogress": 1,
            "initialblockdownload": False, "pruned": False, "warnings": "",
        }  # fmt: skip

    def _hash(self, height: Any) -> str:
        if not isinstance(height, int) or isinstance(height, bool):
            raise RpcFault(TYPE, "JSON value is not an integer as expected")
        recording = self._recording
        if height == recording.named_height:
            return "f" * 64 if self._faults.wrong_chain else recording.identity
        place = height - recording.base
        if not 0 <= place < self._pace.visible:
            raise RpcFault(BAD_PARAMETER, "Block height out of range")
        return recording.blocks[place].hash

    def _header(self, blockhash: Any, verbose: bool = True) -> Json | str:
        block = self._at(blockhash)
        return self._header_of(block) if verbose else block.data[:80].hex()

    def _header_of(self, block: RecordedBlock) -> Json:
        blocks, place = self._visible, block.number - self._recording.base
        following = blocks[place + 1].hash if place + 1 < len(blocks) else None
        return header_json(block, blocks[-1].number, following, median_time(blocks, place))

    def _block(self, blockhash: Any, verbosity: int = 1) -> Json | str:
        block = self._at(blockhash)
        level = int(verbosity)
        if level <= 0:
            data = block.data
            return (data[:-1] + bytes([data[-1] ^ 1]) if self._faults.corrupt else data).hex()
        network = self._recording.network
        known = block.prevouts if self._prevouts and not self._faults.mute else None
        txs: list[Any] = [
            tx.hash if level == 1 else tx_json(tx, network, known, full=level > 2) for tx in block.raw.txs
        ]
        return {**self._header_of(block), "size": len(block.data), "tx": txs}

    def _at(self, hash: Any) -> RecordedBlock:
        if not isinstance(hash, str) or not re.fullmatch("[0-9a-f]{64}", hash):
            raise RpcFault(BAD_PARAMETER, "blockhash must be of length 64 hexadecimal digits")
        place = self._by_hash.get(hash)
        if place is None or place >= self._pace.visible:
            raise RpcFault(NOT_FOUND, "Block not found")
        return self._recording.blocks[place]

    # -- transactions and coins -----------------------------------------------------------------------------------

    def _raw(self, txid: Any, verbose: int = 0, blockhash: str | None = None) -> Json | str:
        data, block = self._transaction(txid, blockhash)
        if not int(verbose):
            return data.hex()
        tx = parse_tx(data)
        found = tx_json(tx, self._recording.network, block.prevouts if block is not None else None)
        if block is not None:
            tip = self._visible[-1].number
            found |= {"blockhash": block.hash, "confirmations": tip - block.number + 1, "blocktime": block.time}
        return found

    def _transaction(self, txid: Any, blockhash: str | None) -> tuple[bytes, RecordedBlock | None]:
        place, number = self._by_tx.get(txid, (None, 0))
        block = self._recording.blocks[place] if place is not None and place < self._pace.visible else None
        if blockhash is not None:
            if block is None or self._at(blockhash) is not block:
                raise RpcFault(NOT_FOUND, "No such transaction found in the provided block")
            return block.raw.txs[number].raw, block
        if block is None and txid in self.waiting:
            return self.waiting[txid], None
        if not self._txindex or self._faults.mute:
            raise RpcFault(NOT_FOUND, NO_INDEX)
        if block is not None:
            return block.raw.txs[number].raw, block
        if txid not in self._recording.older:
            raise RpcFault(NOT_FOUND, NO_TX)
        return self._recording.older[txid], None

    def _output(self, txid: str, n: int, include_mempool: bool = True) -> Json | None:
        try:
            point = outpoint(txid, n)
        except (ValueError, OverflowError):
            raise RpcFault(BAD_PARAMETER, "txid must be of length 64 hexadecimal digits") from None
        coin = self._unspent().get(point)
        spent_soon = include_mempool and any(point in tx.outpoints for tx in self._waiting())
        if coin is None or spent_soon or self._faults.mute:
            return None
        tip = self._visible[-1]
        shown = output_json(coin.value, coin.script, self._recording.network)
        return {
            "bestblock": tip.hash, "confirmations": tip.number - coin.height + 1, **shown, "coinbase": coin.coinbase
        }

    def _scan(self, action: str, scanobjects: list[Any] | None = None) -> Any:
        if action != "start":
            return None if action == "status" else False
        wanted = {self._wanted(one) for one in scanobjects or ()}
        tip = self._visible[-1]
        coins = self._unspent()
        found = [coin for coin in coins.values() if coin.script in wanted]
        return {
            "success": True, "txouts": len(coins), "height": tip.number, "bestblock": tip.hash,
            "unspents": [_unspent(coin) for coin in found], "total_amount": amount(sum(coin.value for coin in found)),
        }  # fmt: skip

    def _wanted(self, one: Any) -> bytes:
        match = _DESCRIPTOR.fullmatch(one["desc"] if isinstance(one, dict) else one)
        try:
            if match is None:
                raise ValueError
            if match[1] == "raw":
                return bytes.fromhex(match[2])
            script = script_of(canonical(match[2], self._recording.network), self._recording.network)
            if script is None:
                raise ValueError
        except ValueError:
            raise RpcFault(NOT_FOUND, "Invalid descriptor") from None
        return script

    def _unspent(self) -> dict[bytes, Coin]:
        visible = self._pace.visible
        if self._coins is None or self._coins[0] != visible:
            self._coins = visible, self._recording.unspent(visible)
        return self._coins[1]

    # -- what waits -----------------------------------------------------------------------------------------------

    def _mempool(self, verbose: bool = False) -> Any:
        hashes = [tx.hash for tx in self._waiting()]
        return {hash: {} for hash in hashes} if verbose else hashes

    def _waiting(self) -> list[RawTx]:
        """Transactions that wait: none that is in a visible block, or spends what such a one spent."""
        if not self.waiting:
            return []
        spent = {point for block in self._visible for point in block.prevouts}
        txs = [parse_tx(data) for data in self.waiting.values()]
        return [tx for tx in txs if not spent.intersection(tx.outpoints)]

    def _network_info(self) -> Json:
        return {"version": 260000, "subversion": "/recorded:26.0.0/", "protocolversion": 70016, "warnings": ""}


def _unspent(coin: Coin) -> Json:
    return {
        "txid": coin.outpoint[31::-1].hex(), "vout": int.from_bytes(coin.outpoint[32:], "little"),
        "scriptPubKey": coin.script.hex(), "desc": f"raw({coin.script.hex()})", "amount": amount(coin.value),
        "coinbase": coin.coinbase, "height": coin.height,
    }  # fmt: skip


def hash_of(data: bytes) -> str:
    """The hash of a serialised transaction; ValueError where it is none."""
    try:
        return parse_tx(data).hash
    except DecodeError as error:
        raise ValueError(str(error)) from None
