"""Blocks, receipts and logs as Ethereum JSON-RPC writes them, and whether they belong together.

Quantities stay hex text until they are needed: a transaction that makes no sense must not cost its block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.errors import ChainInconsistent, DecodeError

__all__ = [
    "LONGEST",
    "RpcAuthorization",
    "RpcBlock",
    "RpcHeader",
    "RpcLog",
    "RpcReceipt",
    "RpcStamp",
    "RpcTx",
    "RpcWithdrawal",
    "check_logs",
    "check_receipts",
    "check_same_block",
    "parse_block",
    "with_system",
]


ZERO = "0x" + "0" * 40
LONGEST = 66  # characters of a quantity: 256 bits
STATE_SYNC = ("eip155:137", "eip155:80002")  # Polygon and its test network


class RpcLog(msgspec.Struct, rename="camel", gc=False):
    """A log; ``logIndex`` counts within the block, not within the transaction."""

    address: str
    topics: tuple[str, ...]
    data: str = ""
    log_index: str | None = None
    transaction_hash: str | None = None
    block_hash: str | None = None
    removed: bool = False


class RpcReceipt(msgspec.Struct, rename="camel", gc=False):
    """A receipt; before Byzantium it has ``root`` and no ``status``, ``l1Fee`` is the rollups' data fee."""

    transaction_hash: str
    block_hash: str
    told: list[RpcLog] | None = msgspec.field(name="logs", default=None)
    status: str | None = None
    gas_used: Any = None
    effective_gas_price: Any = None
    contract_address: str | None = None
    l1_fee: Any = msgspec.field(name="l1Fee", default=None)
    blob_gas_used: Any = None
    blob_gas_price: Any = None

    @property
    def logs(self) -> Sequence[RpcLog]:
        """Its logs; some nodes write null where there are none."""
        return self.told or ()


class RpcAuthorization(msgspec.Struct, rename="camel"):
    """One entry of a type-4 transaction (EIP-7702): its signer lets ``address`` act for it."""

    address: str
    chain_id: Any = None
    nonce: Any = None
    y_parity: Any = None
    r: Any = None
    s: Any = None


class RpcTx(msgspec.Struct, rename="camel", gc=False):
    """A transaction of a block. ``input`` stays undecoded JSON: few transactions need it.

    Deposits from the layer below bring coins along: ``mint`` (OP stack), ``depositValue`` (Arbitrum). ``feeCurrency``
    (Celo, CIP-64) is the token that pays for gas, in whose units prices are then.
    """

    hash: str
    sender: str = msgspec.field(name="from")
    to: str | None = None
    value: Any = None
    nonce: Any = None
    gas: Any = None
    gas_price: Any = None
    type: Any = None
    input: msgspec.Raw = msgspec.Raw(b'"0x"')
    authorization_list: list[RpcAuthorization] | None = None
    mint: Any = None
    deposit_value: Any = None
    fee_currency: str | None = None
    chain_id: Any = None

    @property
    def is_system(self) -> bool:
        """Whether nobody sent it to nobody: a node's way to show what the chain itself did."""
        return self.sender == self.to == ZERO

    @property
    def calldata(self) -> bytes:
        """What it calls with; empty where it makes no sense."""
        try:
            return bytes.fromhex(msgspec.json.decode(self.input, type=str).removeprefix("0x"))
        except (msgspec.DecodeError, ValueError):
            return b""


class RpcWithdrawal(msgspec.Struct, rename="camel"):
    """A validator's withdrawal (EIP-4895); ``amount`` is in gwei."""

    index: Any = None
    address: str = ""
    amount: Any = None


class RpcHeader(msgspec.Struct, rename="camel"):
    """What identifies a block."""

    hash: str
    number: str


class RpcStamp(RpcHeader, rename="camel"):
    """A block's identity and time."""

    timestamp: str


class RpcBlock(msgspec.Struct, rename="camel"):
    """A block with its transactions in full, and what its hash is made of."""

    hash: str
    number: str
    parent_hash: str
    timestamp: str
    transactions: list[RpcTx]
    logs_bloom: str | None = None
    withdrawals: list[RpcWithdrawal] | None = None
    sha3_uncles: str | None = None
    miner: str | None = None
    state_root: str | None = None
    transactions_root: str | None = None
    receipts_root: str | None = None
    difficulty: str | None = None
    gas_limit: str | None = None
    gas_used: str | None = None
    extra_data: str | None = None
    mix_hash: str | None = None
    nonce: str | None = None
    base_fee_per_gas: str | None = None
    withdrawals_root: str | None = None
    blob_gas_used: str | None = None
    excess_blob_gas: str | None = None
    parent_beacon_block_root: str | None = None
    requests_hash: str | None = None


def parse_block(data: bytes) -> RpcBlock:
    """A recorded ``eth_getBlockBy...(.., true)`` answer, bare or in its JSON-RPC envelope.

    Raises
    ------
    DecodeError : it is not such an answer (a block with transaction hashes alone is none)
    """
    try:
        outer = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(outer.get("result", data), type=RpcBlock)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"not an Ethereum block with full transactions: {error}") from None


def with_system(block: RpcBlock, receipts: Sequence[RpcReceipt], chain: str) -> RpcBlock:
    """The block with a transaction for each receipt that belongs to none.

    Polygon's nodes give the receipt of a block's state synchronisation (deposits from Ethereum), and not always the
    transaction. On other chains such a receipt is a contradiction.
    """
    if chain not in STATE_SYNC or len(receipts) <= len(block.transactions):
        return block
    known = {tx.hash for tx in block.transactions}
    more = [RpcTx(r.transaction_hash, ZERO, ZERO, "0x0") for r in receipts if r.transaction_hash not in known]
    return msgspec.structs.replace(block, transactions=[*block.transactions, *more])


def check_receipts(block: RpcBlock, receipts: Sequence[RpcReceipt]) -> None:
    """ChainInconsistent unless these are the receipts of all transactions of ``block``, with their logs."""
    if len(receipts) != len(block.transactions) - _without_receipt(block, receipts):
        raise ChainInconsistent(
            f"block {_name(block)}: {len(receipts)} receipts for {len(block.transactions)} transactions"
        )
    check_same_block(block, receipts)
    named, asked = [receipt.transaction_hash for receipt in receipts], [tx.hash for tx in block.transactions]
    if named != asked and (len(set(named)) < len(named) or not set(asked) >= set(named)):
        raise ChainInconsistent(f"block {_name(block)}: receipts of other transactions")
    check_logs(block, [log for receipt in receipts for log in receipt.told or ()])


def _without_receipt(block: RpcBlock, receipts: Sequence[RpcReceipt]) -> int:
    """How many transactions of the system, sent by nobody to nobody, have no receipt."""
    if len(receipts) >= len(block.transactions):
        return 0
    named = {receipt.transaction_hash for receipt in receipts}
    return sum(tx.is_system and tx.hash not in named for tx in block.transactions)


def check_same_block(block: RpcBlock, receipts: Sequence[RpcReceipt]) -> None:
    """ChainInconsistent where a receipt is of another block."""
    others = {receipt.block_hash for receipt in receipts} - {block.hash}
    if others:
        raise ChainInconsistent(f"block {_name(block)}: receipt of another block {min(others)[:66]}")


def check_logs(block: RpcBlock, logs: Sequence[RpcLog]) -> None:
    """ChainInconsistent where ``logs`` are of another block, withdrawn, or missing although the bloom names some."""
    if not {log.block_hash for log in logs} <= {block.hash, None} or True in {log.removed for log in logs}:
        other = next(log for log in logs if log.removed or log.block_hash not in (block.hash, None))
        raise ChainInconsistent(f"block {_name(block)}: log of another block {(other.block_hash or '')[:66]}")
    if not logs and block.logs_bloom and block.logs_bloom.strip("0x"):
        raise ChainInconsistent(f"block {_name(block)}: its bloom filter names logs, but the endpoint gave none")


def _name(block: RpcBlock) -> str:
    try:
        number = str(int(block.number[:LONGEST], 16))
    except ValueError:
        number = "of no number"
    return f"{number} {block.hash[:66]}"
