"""What a recorded EVM chain answers: the visible blocks, and the JSON-RPC methods that read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from chains.recorded.evm_blocks import Draft, Json, RecordedBlock, construct, keccak
from chains.recorded.pace import Pace

__all__ = ["Balances", "Faults", "Methods", "Recording", "RpcFault"]

Balances = Mapping[tuple[str, str | None], int | Mapping[int, int]]
"""(address, token or None for the native asset), lower case: base units, or {block from which on: base units}."""

SAFE, FINALIZED = 32, 64  # blocks below the newest
BALANCE_OF = "0x70a08231"  # balanceOf(address)
_UNSUPPORTED = -32601
_BAD_PARAMS = -32602
_FAILED = -32000


class RpcFault(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on, for tests of readers; everything off at first."""

    stall: bool = False  # requests are never answered, and nothing is pushed
    http_status: int | None = None  # HTTP requests get this status and no answer
    empty_logs: bool = False  # no logs are given, as by a node whose index lags
    wrong_chain: bool = False  # the chain id is one too high
    drop_ws: bool = False  # sockets are closed at the next message, and no new one is accepted
    unsupported: set[str] = field(default_factory=set)  # methods that are not offered


class Recording:
    """The blocks of one chain, of which the first ``pace.visible`` can be seen.

    ``blocks`` are in chain order; `Draft`s are constructed on what is before them. Recorded blocks need not be
    contiguous: what lies between is null to readers.
    """

    def __init__(self, chain_id: int, blocks: Sequence[RecordedBlock | Draft], pace: Pace, shown: int) -> None:
        self.chain_id = chain_id
        self.pace = pace
        self._all: list[RecordedBlock] = []
        self._replace(0, blocks, shown)

    @property
    def visible(self) -> list[RecordedBlock]:
        """The blocks that readers can see."""
        return self._all[: self.pace.visible]

    def reorg(self, depth: int, blocks: Sequence[RecordedBlock | Draft]) -> int:
        """Put ``blocks`` in the place of the last ``depth`` visible ones; the number of blocks that stayed.

        All of them are visible at once. Blocks that were not visible yet go: their parents are no more.
        """
        kept = self.pace.visible - depth
        if depth < 0 or kept < 1:
            raise ValueError(f"depth was {depth}, expected 0 to {self.pace.visible - 1}")
        self._replace(kept, blocks, kept + len(blocks))
        return kept

    def _replace(self, kept: int, blocks: Sequence[RecordedBlock | Draft], shown: int) -> None:
        chain = self._all[:kept]
        for drafted, run in groupby(blocks, key=lambda block: isinstance(block, Draft)):
            part: list[Any] = list(run)
            chain += construct(self.chain_id, part, parents=chain) if drafted else part
        self._all = chain
        self._by_number = {block.number: place for place, block in enumerate(chain)}
        self._by_hash = {block.hash: place for place, block in enumerate(chain)}
        self._by_tx = {
            tx["hash"].lower(): (place, index)
            for place, block in enumerate(chain)
            for index, tx in enumerate(block.block["transactions"])
        }
        self._shown = shown
        self.begin()

    def begin(self) -> None:
        """Time runs from now on, and what is visible is as it was when the blocks were given."""
        self.pace.begin([block.timestamp for block in self._all], self._shown)

    def at(self, place: Any) -> RecordedBlock | None:
        """The visible block at a hex number, tag, hash, or object with ``blockNumber`` or ``blockHash``."""
        if isinstance(place, dict):
            place = place.get("blockHash", place.get("blockNumber"))
        if not isinstance(place, str):
            raise RpcFault(_BAD_PARAMS, "invalid argument: expected a block number, tag or hash")
        if len(place) == 66:
            return self._seen(self._by_hash.get(place.lower()))
        last = self.pace.visible - 1
        tags = {"earliest": 0, "latest": last, "pending": last, "safe": last - SAFE, "finalized": last - FINALIZED}
        if place in tags:
            return self._seen(max(0, tags[place]))
        return self._seen(self._by_number.get(number(place)))

    def transaction(self, hash_: Any) -> tuple[RecordedBlock, int] | None:
        """The visible block that holds a transaction, and its index there."""
        place, index = self._by_tx.get(str(hash_).lower(), (None, 0))
        block = self._seen(place)
        return None if block is None else (block, index)

    def _seen(self, place: int | None) -> RecordedBlock | None:
        return self._all[place] if place is not None and place < self.pace.visible else None


class Methods:
    """The JSON-RPC methods over one `Recording`; `call` raises `RpcFault` for everything that is an error."""

    def __init__(self, recording: Recording, faults: Faults, balances: Balances, client: str) -> None:
        self.asked: Counter[str] = Counter()
        self._recording, self._faults, self._balances, self._client = recording, faults, balances, client
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": self._chain_id,
            "net_version": lambda: str(int(self._chain_id(), 16)),
            "web3_clientVersion": lambda: self._client,
            "eth_blockNumber": self._block_number,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "eth_getLogs": self._logs,
            "eth_getBalance": self._balance,
            "eth_call": self._call,
        }

    def call(self, method: Any, params: Any) -> Any:
        """The result of one call; ``asked`` counts it."""
        self.asked[str(method)] += 1
        answer = self._methods.get(method) if isinstance(method, str) else None
        if answer is None or method in self._faults.unsupported:
            raise RpcFault(_UNSUPPORTED, f"the method {method} does not exist/is not available")
        if not isinstance(params, list):
            raise RpcFault(_BAD_PARAMS, "invalid params: expected a list")
        try:
            return answer(*params)
        except (TypeError, AttributeError, KeyError):
            raise RpcFault(_BAD_PARAMS, f"invalid params of {method}") from None

    def _chain_id(self) -> str:
        return hex(self._recording.chain_id + self._faults.wrong_chain)

    def _block_number(self) -> str:
        self._recording.pace.ask()
        block = self._recording.at("latest")
        return "0x0" if block is None else hex(block.number)

    def _block(self, place: str, full: bool = False) -> Json | None:
        if place == "latest":
            self._recording.pace.ask()
        block = self._recording.at(place)
        if block is None or full:
            return None if block is None else block.block
        return block.block | {"transactions": [tx["hash"] for tx in block.block["transactions"]]}

    def _block_receipts(self, place: Any) -> Sequence[Json] | None:
        block = self._recording.at(place)
        return None if block is None else self._receipts_of(block)

    def _receipt(self, hash_: str) -> Json | None:
        found = self._recording.transaction(hash_)
        return None if found is None else self._receipts_of(found[0])[found[1]]

    def _receipts_of(self, block: RecordedBlock) -> Sequence[Json]:
        if block.receipts is None:
            raise RpcFault(_UNSUPPORTED, "the method is not available: the recording has no receipts of this block")
        if self._faults.empty_logs:
            return [receipt | {"logs": []} for receipt in block.receipts]
        return block.receipts

    def _transaction(self, hash_: str) -> Json | None:
        found = self._recording.transaction(hash_)
        transaction: Json | None = found and found[0].block["transactions"][found[1]]
        return transaction

    def _logs(self, query: Json) -> list[Json]:
        if "blockHash" in query:
            if "fromBlock" in query or "toBlock" in query:
                raise RpcFault(_BAD_PARAMS, "cannot specify both blockHash and fromBlock/toBlock")
            block = self._recording.at(query["blockHash"])
            if block is None:
                raise RpcFault(_FAILED, "unknown block")
            blocks = [block]
        else:
            first, last = self._height(query.get("fromBlock")), self._height(query.get("toBlock"))
            if first > last:
                raise RpcFault(_BAD_PARAMS, "invalid block range params")
            blocks = [block for block in self._recording.visible if first <= block.number <= last]
        return [log for block in blocks for log in self._logs_of(block) if _matches(log, query)]

    def _logs_of(self, block: RecordedBlock) -> Sequence[Json]:
        if self._faults.empty_logs:
            return []
        if (logs := block.logs) is None:
            raise RpcFault(_UNSUPPORTED, "the method is not available: the recording has no logs of this block")
        return logs

    def _height(self, place: str | None) -> int:
        if place is not None and place[:2] == "0x":
            return number(place)
        block = self._recording.at(place or "latest")
        return 0 if block is None else block.number

    def _balance(self, address: str, place: Any = "latest") -> str:
        return hex(self._held(address, None, place))

    def _call(self, what: Json, place: Any = "latest") -> str:
        data = str(what.get("data") or what.get("input") or "")
        if not data.startswith(BALANCE_OF) or len(data) != 74:
            raise RpcFault(3, "execution reverted")
        return f"0x{self._held('0x' + data[-40:], str(what['to']), place):064x}"

    def _held(self, address: str, token: str | None, place: Any) -> int:
        block = self._recording.at(place)
        if block is None:
            raise RpcFault(_FAILED, "header not found")
        held = self._balances.get((address.lower(), token and token.lower()), 0)
        if isinstance(held, int):
            return held
        since = max((start for start in held if start <= block.number), default=None)
        return 0 if since is None else held[since]


def number(text: str) -> int:
    """A hex quantity."""
    try:
        if text[:2] != "0x":
            raise ValueError
        return int(text, 16)
    except ValueError:
        raise RpcFault(_BAD_PARAMS, "invalid argument: hex string expected") from None


def _matches(log: Json, query: Json) -> bool:
    """Whether a log is asked for: any of the addresses, and at each place any of the topics (null: whatever)."""
    addresses, topics = query.get("address"), query.get("topics") or []
    if addresses and log["address"].lower() not in _lower(addresses):
        return False
    if len(topics) > len(log["topics"]):
        return False
    return all(not want or has.lower() in _lower(want) for want, has in zip(topics, log["topics"], strict=False))


def _lower(wanted: str | list[str]) -> set[str]:
    return {one.lower() for one in ([wanted] if isinstance(wanted, str) else wanted)}


def subscription_id(count: int) -> str:
    """The name of a subscription, as opaque as a node's."""
    return "0x" + keccak(b"subscription" + count.to_bytes(8, "big"))[:16].hex()
