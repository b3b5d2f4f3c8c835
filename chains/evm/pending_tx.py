"""What a transaction that waits to be mined would do to watched accounts, as far as its own words say. Pure.

There are no logs and no traces yet: what a contract would move beside what the calldata names is not seen before it is
mined. Most of what matters is signed by strangers; whether it would succeed is for others to ask.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec

from chains.evm.controls.pending import pending_controls, pending_transfers
from chains.evm.wire import RpcTx
from monitor.model import BlockRef, Pending, Transfer, Tx

__all__ = ["NOWHERE", "RpcPending", "fee_rate", "is_of_interest", "number", "pending_of"]

NOWHERE = -1  # the number of the block that does not exist
LONGEST = 4096  # bytes of calldata that are searched for watched accounts
_PADDING = "0" * 24


class RpcPending(RpcTx, rename="camel"):
    """A transaction that is asked for by itself; ``block_number`` is null while it waits."""

    block_number: Any = None
    max_fee_per_gas: Any = None
    max_priority_fee_per_gas: Any = None

    @property
    def place(self) -> tuple[str, int]:
        """Sender and nonce: of all transactions with the same, one is mined."""
        return self.sender.lower(), number(self.nonce) or 0


def is_of_interest(tx: RpcPending, watch: Container[str]) -> bool:
    """Whether a watched account may be its sender, be called, be named in its calldata, or delegate by it.

    May keep a transaction too many; what is nested in the calldata of calls to others is not looked for.
    """
    if tx.sender.lower() in watch or (tx.to is not None and tx.to.lower() in watch) or tx.authorization_list:
        return True
    text = _calldata(tx)
    words = (text[at : at + 64] for at in range(8, min(len(text), 2 * LONGEST), 64))
    return any(word.startswith(_PADDING) and "0x" + word[24:] in watch for word in words)


def pending_of(
    tx: RpcPending, chain: str, watch: Container[str], base_fee: int | None = None, gap: int = 0
) -> Pending:
    """What would leave watched accounts, and who could move their coins then. Nonsense in calldata says nothing.

    Arrivals are left out: coins that nobody has sent yet are no balance.

    Parameters
    ----------
    base_fee : of the newest block, wei; tells the fee that would be paid
    gap : see `monitor.model.Pending`
    """
    noun = Tx(
        hash=tx.hash.lower(),
        index=0,
        initiator=tx.sender.lower(),
        nonce=number(tx.nonce),
        fee_rate=fee_rate(tx, base_fee),
        gas_limit=number(tx.gas),
        version=number(tx.type),
        target=tx.to.lower() if tx.to else None,
        pending=True,
    )
    block = BlockRef(chain, NOWHERE, "")
    moves = (move for move in pending_transfers(tx, chain) if move.value and move.sender in watch)
    transfers = tuple(
        Transfer(block, noun, index, move.kind, move.asset, (move.sender,), move.receiver, move.value, (move.value,))
        for index, move in enumerate(moves)
    )
    controls = tuple(change.at(block, noun) for change in pending_controls(tx, chain) if change.account in watch)
    return Pending(noun, transfers, controls, gap)


def fee_rate(tx: RpcPending, base_fee: int | None) -> float | None:
    """Wei per gas that would be paid in the next block; None where that cannot be told.

    With EIP-1559 the maximum is usually twice what is paid, so it must not be compared with what was paid before.
    """
    most, tip, price = number(tx.max_fee_per_gas), number(tx.max_priority_fee_per_gas), number(tx.gas_price)
    if most is None:
        return None if price is None else float(price)
    return None if base_fee is None or tip is None else float(min(most, base_fee + tip))


def number(quantity: Any) -> int | None:
    """A hex quantity; None where there is none."""
    try:
        return int(quantity, 16) if isinstance(quantity, str) and quantity[:2] == "0x" else None
    except ValueError:
        return None


def _calldata(tx: RpcPending) -> str:
    """Lower-case hex without prefix; empty where it makes no sense."""
    try:
        text = msgspec.json.decode(tx.input, type=str)
    except msgspec.DecodeError:
        return ""
    return text[2:].lower() if text[:2] == "0x" else ""
