"""What nodes with Bitcoin Core's JSON-RPC answer, and what is made of it.

Amounts are decimal numbers of coins in JSON. They are read as text, never as floating point.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from chains.bitcoin.base import Coin, Prevout, outpoint
from chains.bitcoin.block import parse_tx
from monitor.errors import ChainInconsistent, DecodeError
from monitor.networks import Network

__all__ = ["Hash", "Info", "Output", "Scan", "data_of", "outputs_of", "prevouts_of", "units"]

COIN = 100_000_000  # base units
MOST_COINS = 10**13  # more than any chain of the family has

Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class Info(msgspec.Struct):
    """Of ``getblockchaininfo``."""

    blocks: Number
    bestblockhash: Hash
    initialblockdownload: bool = False


class _Script(msgspec.Struct):
    hex: str


class Output(msgspec.Struct):
    """Of ``gettxout``, and of the prevouts of ``getblock`` 3."""

    value: Decimal
    scriptPubKey: _Script

    @property
    def prevout(self) -> Prevout:
        """In base units; ChainInconsistent where it makes no sense."""
        return Prevout(units(self.value), data_of(self.scriptPubKey.hex))


class _Input(msgspec.Struct):
    txid: Hash | None = None
    vout: Number | None = None
    prevout: Output | None = None


class _Tx(msgspec.Struct):
    vin: list[_Input]


class _Block(msgspec.Struct):
    tx: list[_Tx]


class _Unspent(msgspec.Struct):
    txid: Hash
    vout: Number
    scriptPubKey: str
    amount: Decimal
    height: Number
    coinbase: bool = False  # Core tells it from version 25 on


class Scan(msgspec.Struct):
    """Of ``scantxoutset``."""

    success: bool
    height: Number
    bestblock: Hash
    unspents: list[_Unspent]

    @property
    def coins(self) -> tuple[Coin, ...]:
        """In base units; ChainInconsistent where they make no sense."""
        return tuple(
            Coin(outpoint(c.txid, c.vout), units(c.amount), data_of(c.scriptPubKey), c.height, c.coinbase)
            for c in self.unspents
        )


def units(amount: Decimal) -> int:
    """Base units of an amount in coins, exactly.

    >>> units(Decimal("0.1"))
    10000000

    Raises
    ------
    ChainInconsistent : it is no amount, or finer than base units
    """
    if not amount.is_finite() or not 0 <= amount <= MOST_COINS:
        raise ChainInconsistent("an amount of coins that makes no sense")
    scaled = amount * COIN
    if scaled != (value := int(scaled)):
        raise ChainInconsistent("an amount of coins that is finer than its base units")
    return value


def data_of(text: str) -> bytes:
    """The bytes of hexadecimal text; ChainInconsistent where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ChainInconsistent("data that is not hexadecimal") from None


def prevouts_of(block: bytes | msgspec.Raw) -> dict[bytes, Prevout] | None:
    """Those that the answer to ``getblock`` 3 has, by outpoint; None where it is of another form.

    Raises
    ------
    ChainInconsistent : one of them makes no sense
    """
    try:
        found = msgspec.json.decode(block, type=_Block | None)
    except msgspec.DecodeError:
        return None
    return {
        outpoint(item.txid, item.vout): item.prevout.prevout
        for tx in (found.tx if found is not None else ())
        for item in tx.vin
        if item.txid is not None and item.vout is not None and item.prevout is not None
    }


def outputs_of(raw: object, hash: bytes, network: Network) -> tuple[Prevout, ...] | None:
    """The outputs of a serialised transaction (hexadecimal text), None where it is not the one of that hash."""
    if not isinstance(raw, str):
        return None
    try:
        tx = parse_tx(data_of(raw), network)
    except (DecodeError, ChainInconsistent):
        return None
    if tx.hash != hash[::-1].hex():
        return None
    return tuple(Prevout(*output) for output in zip(tx.output_values, tx.output_scripts, strict=True))
