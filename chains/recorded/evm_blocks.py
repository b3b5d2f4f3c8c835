"""Blocks as Ethereum JSON-RPC writes them: recorded ones, and ones constructed from simple transfers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from Crypto.Hash import keccak as _keccak

__all__ = ["TRANSFER", "Draft", "Move", "RecordedBlock", "bloom", "construct", "header_hash", "keccak"]

Json = dict[str, Any]

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)
NO_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"  # keccak of the empty RLP list
BASE_FEE = 10 * 10**9  # wei per gas
TIP = 10**9  # wei per gas
NATIVE_GAS, TOKEN_GAS = 21_000, 52_000  # gas used
BLOCK_GAS = 30_000_000
_ADDRESS = re.compile("0x[0-9a-f]{40}")
# Header fields in the order in which they are hashed; the second list came with later hard forks.
_FIELDS = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
           "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce")  # fmt: skip
_LATER = ("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash")
_QUANTITIES = frozenset({"difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed",
                         "excessBlobGas"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """One successful transaction: ``from_`` sends ``value`` base units to ``to``, natively or of ``token``.

    Addresses are lower-case ``0x`` hex, else ValueError.
    """

    from_: str
    to: str
    value: int
    token: str | None = None

    def __post_init__(self) -> None:
        for address in filter(None, (self.from_, self.to, self.token)):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"address was {address!r}, expected 0x and 40 lower-case hex digits")
        if not 0 <= self.value < 2**256:
            raise ValueError(f"value was {self.value}, expected 0 to 2^256 - 1")


@dataclass(frozen=True, slots=True)
class Draft:
    """A block to construct; ``timestamp`` in UTC seconds. ``extra`` tells apart blocks that are equal otherwise."""

    timestamp: int
    moves: tuple[Move, ...] = ()
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A block with full transactions as ``eth_getBlockByNumber(n, true)`` gives it, and its receipts where known."""

    block: Json
    receipts: tuple[Json, ...] | None = None

    @property
    def number(self) -> int:
        return int(self.block["number"], 16)

    @property
    def hash(self) -> str:
        return str(self.block["hash"]).lower()

    @property
    def timestamp(self) -> int:
        """UTC seconds."""
        return int(self.block["timestamp"], 16)

    @property
    def logs(self) -> list[Json] | None:
        """All logs in the order of the block; None where they are not known (no receipts, but a bloom that is set)."""
        if self.receipts is not None:
            return [log for receipt in self.receipts for log in receipt["logs"]]
        return None if int(self.block.get("logsBloom") or "0x1", 16) else []


def construct(
    chain_id: int, drafts: Sequence[Draft], *, parents: Sequence[RecordedBlock] = (), number: int = 0
) -> list[RecordedBlock]:
    """Blocks that belong together, one a draft, on top of ``parents`` (else from ``number`` on).

    Parent hashes link, nonces count on from the parents' transactions, receipts, logs, logs bloom and gas agree, and
    the hash of a block is the true hash of its header. Made up are what would need a whole node: state, transaction
    and receipt roots, signatures, and transaction hashes (a hash of what is signed and of the sender, so the same
    transaction in another block keeps its hash).
    """
    nonces = Counter(tx["from"] for parent in parents for tx in parent.block["transactions"])
    parent = parents[-1].hash if parents else _hex(bytes(32))
    number = parents[-1].number + 1 if parents else number
    made: list[RecordedBlock] = []
    for draft in drafts:
        made.append(_block(chain_id, draft, number, parent, nonces))
        number, parent = number + 1, made[-1].hash
    return made


def bloom(items: Iterable[bytes]) -> bytes:
    """The 2048-bit filter of addresses and topics: three bits each, taken from the keccak hash.

    >>> bloom([]) == bytes(256)
    True
    """
    bits = 0
    for item in items:
        digest = keccak(item)
        for place in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[place : place + 2], "big") & 2047)
    return bits.to_bytes(256, "big")


def header_hash(block: Mapping[str, Any]) -> str:
    """The hash that the fields of ``block`` (JSON-RPC) must have: keccak over their RLP list."""
    fields = [*_FIELDS, *(name for name in _LATER if block.get(name) is not None)]
    return _hex(keccak(_rlp([int(block[f], 16) if f in _QUANTITIES else _bytes(block[f]) for f in fields])))


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it.

    >>> keccak(b"Transfer(address,address,uint256)").hex() == TRANSFER[2:]
    True
    """
    return bytes(_keccak.new(digest_bits=256, data=data).digest())


def _block(chain_id: int, draft: Draft, number: int, parent: str, nonces: Counter[str]) -> RecordedBlock:
    transactions = []
    for index, move in enumerate(draft.moves):
        transactions.append(_transaction(chain_id, move, nonces[move.from_], number, index))
        nonces[move.from_] += 1
    receipts = _receipts(draft.moves, transactions, number)
    gas_used = sum(int(receipt["gasUsed"], 16) for receipt in receipts)
    content = keccak(_rlp([_bytes(tx["hash"]) for tx in transactions]))
    logged = [item for receipt in receipts for log in receipt["logs"] for item in _bloomed(log)]
    block: Json = {
        "number": hex(number),
        "parentHash": parent,
        "timestamp": hex(draft.timestamp),
        "sha3Uncles": NO_UNCLES,
        "miner": _hex(bytes(20)),
        "stateRoot": _hex(keccak(_bytes(parent) + content)),
        "transactionsRoot": _hex(content),
        "receiptsRoot": _hex(keccak(b"receipts" + content)),
        "logsBloom": _hex(bloom(logged)),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "gasLimit": hex(max(BLOCK_GAS, gas_used)),
        "gasUsed": hex(gas_used),
        "extraData": _hex(draft.extra),
        "mixHash": _hex(bytes(32)),
        "nonce": _hex(bytes(8)),
        "baseFeePerGas": hex(BASE_FEE),
        "size": hex(600 + 120 * len(transactions)),
        "uncles": [],
        "transactions": transactions,
    }
    block["hash"] = header_hash(block)
    for part in (*transactions, *receipts, *(log for receipt in receipts for log in receipt["logs"])):
        part["blockHash"] = block["hash"]
    return RecordedBlock(block, tuple(receipts))


def _transaction(chain_id: int, move: Move, nonce: int, number: int, index: int) -> Json:
    to, value, data, gas = move.to, move.value, b"", NATIVE_GAS
    if move.token is not None:
        to, value, gas = move.token, 0, TOKEN_GAS
        data = bytes.fromhex("a9059cbb") + _bytes(move.to).rjust(32, b"\0") + move.value.to_bytes(32, "big")
    signed: list[Any] = [chain_id, nonce, TIP, 2 * BASE_FEE + TIP, gas, _bytes(to), value, data, []]
    hash_ = keccak(b"\x02" + _rlp([*signed, _bytes(move.from_)]))
    return {
        "hash": _hex(hash_),
        "type": "0x2",
        "chainId": hex(chain_id),
        "nonce": hex(nonce),
        "blockHash": None,
        "blockNumber": hex(number),
        "transactionIndex": hex(index),
        "from": move.from_,
        "to": to,
        "value": hex(value),
        "input": _hex(data),
        "gas": hex(gas),
        "gasPrice": hex(BASE_FEE + TIP),
        "maxFeePerGas": hex(2 * BASE_FEE + TIP),
        "maxPriorityFeePerGas": hex(TIP),
        "accessList": [],
        "v": "0x0",
        "yParity": "0x0",
        "r": _hex(keccak(b"r" + hash_)),
        "s": _hex(keccak(b"s" + hash_)),
    }


def _receipts(moves: Sequence[Move], transactions: Sequence[Json], number: int) -> list[Json]:
    receipts: list[Json] = []
    gas_so_far = logs_so_far = 0
    for move, tx in zip(moves, transactions, strict=True):
        place = {key: tx[key] for key in ("transactionIndex", "blockHash", "blockNumber")}
        place["transactionHash"] = tx["hash"]
        gas_so_far += int(tx["gas"], 16)
        logs = []
        if move.token is not None:
            logs = [_transfer_log(move, move.token) | place | {"logIndex": hex(logs_so_far), "removed": False}]
        logs_so_far += len(logs)
        receipts.append(
            place
            | {
                "type": "0x2",
                "from": tx["from"],
                "to": tx["to"],
                "contractAddress": None,
                "status": "0x1",
                "gasUsed": tx["gas"],
                "cumulativeGasUsed": hex(gas_so_far),
                "effectiveGasPrice": tx["gasPrice"],
                "logs": logs,
                "logsBloom": _hex(bloom(item for log in logs for item in _bloomed(log))),
            }
        )
    return receipts


def _transfer_log(move: Move, token: str) -> Json:
    topics = [TRANSFER, *(_hex(_bytes(address).rjust(32, b"\0")) for address in (move.from_, move.to))]
    return {"address": token, "topics": topics, "data": _hex(move.value.to_bytes(32, "big"))}


def _bloomed(log: Json) -> list[bytes]:
    return [_bytes(log["address"]), *map(_bytes, log["topics"])]


def _rlp(item: Any) -> bytes:
    """Recursive length prefix: an int (no leading zeros), bytes, or a list of these."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _prefix(len(item), 0x80) + item
    body = b"".join(map(_rlp, item))
    return _prefix(len(body), 0xC0) + body


def _prefix(length: int, base: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
