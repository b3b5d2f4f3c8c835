"""A transaction and its receipt, read as numbers: what it paid, where it went, and what a contract it made is called.

Pure. A quantity that is not there, or makes no sense, is None; it never costs more than itself.
"""

from __future__ import annotations

from chains.evm.abi import keccak
from chains.evm.wire import LONGEST, RpcReceipt, RpcTx
from monitor.model import Tx

__all__ = ["TxReader", "created_address", "number_of"]


def created_address(creator: str, nonce: int) -> str:
    """The address of the contract that ``creator`` makes with its transaction ``nonce`` (Yellow Paper, section 7).

    ValueError where ``creator`` is not an address or ``nonce`` passes 64 bits.

    >>> created_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", 0)
    '0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d'
    """
    account = bytes.fromhex(creator[2:])
    if len(account) != 20 or not 0 <= nonce < 2**64:
        raise ValueError("not an account and its nonce")
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    if len(number) != 1 or number[0] >= 0x80:
        number = bytes([0x80 + len(number)]) + number
    body = b"\x94" + account + number
    return "0x" + keccak(bytes([0xC0 + len(body)]) + body)[12:].hex()


class TxReader:
    """A transaction and its receipt, with quantities as integers, None where they are unreadable."""

    __slots__ = ("_noun", "fee", "hash", "nonce", "position", "rate", "raw", "receipt", "sender", "status",
                 "target", "value")  # fmt: skip

    def __init__(self, raw: RpcTx, receipt: RpcReceipt | None, position: int) -> None:
        self.raw, self.receipt, self.position = raw, receipt, position
        self.hash = raw.hash.lower()
        self.sender = raw.sender.lower()
        self.target = raw.to.lower() if raw.to else None
        self.value = number_of(raw.value)
        self.nonce = number_of(raw.nonce)
        # An unreadable status counts as success, beside its mention in `undecoded`: better loud than blind.
        self.status = 1 if receipt is None or receipt.status is None else number_of(receipt.status)
        # Nodes before London have no effective price; for the others gasPrice of a mined transaction equals it. What is
        # paid in a token is told in its units, by an adapter's word: it is no fee in the coin.
        price = receipt.effective_gas_price if receipt is not None else None
        price = raw.gas_price if price is None else price
        self.rate = number_of(price) if raw.fee_currency is None else None
        self.fee = _fee(receipt, self.rate)
        self._noun: Tx | None = None

    def receiver(self) -> str:
        """The target, or the contract that a transaction without a target makes."""
        if self.target is not None:
            return self.target
        if self.receipt is not None and self.receipt.contract_address:
            return self.receipt.contract_address.lower()
        if self.nonce is None:
            raise ValueError("no nonce")
        return created_address(self.sender, self.nonce)

    def noun(self) -> Tx:
        """The transaction as the engine knows it, made once and only where a transfer needs it."""
        if self._noun is None:
            self._noun = Tx(
                hash=self.hash,
                index=self.position,
                initiator=self.sender,
                nonce=self.nonce,
                fee=self.fee,
                fee_rate=None if self.rate is None else float(self.rate),
                gas_limit=number_of(self.raw.gas),
                version=number_of(self.raw.type),
                target=self.target,
            )
        return self._noun


def _fee(receipt: RpcReceipt | None, rate: int | None) -> int | None:
    """Wei: gas, blob gas and, on rollups, the data fee of the first layer."""
    gas = number_of(receipt.gas_used) if receipt is not None else None
    if receipt is None or rate is None or gas is None:
        return None
    blobs = (number_of(receipt.blob_gas_used) or 0) * (number_of(receipt.blob_gas_price) or 0)
    return gas * rate + blobs + (number_of(receipt.l1_fee) or 0)


def number_of(quantity: object) -> int | None:
    """A hex quantity; None where there is none or it makes no sense."""
    if not isinstance(quantity, str) or quantity[:2] != "0x" or len(quantity) > LONGEST:
        return None
    try:
        return int(quantity, 16)
    except ValueError:
        return None
