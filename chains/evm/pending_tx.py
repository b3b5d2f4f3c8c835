"""What a transaction that waits to be mined would do, as far as its own words say: native value, and calldata. Pure.

There are no logs and no traces yet. What a contract would move beside what the calldata names is not seen before it is
mined, and most of what matters is signed by strangers: whether it would succeed is for others to ask.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec

from chains.evm.wire import RpcTx
from monitor.model import BlockRef, ControlEvent, ControlKind, Pending, Transfer, TransferKind, Tx
from monitor.networks import token_asset

__all__ = ["NOWHERE", "RpcPending", "fee_rate", "is_of_interest", "number", "pending_of"]

NOWHERE = -1  # the number of the block that does not exist
LONGEST = 4096  # bytes of calldata that are searched for watched accounts
UNLIMITED = 2**256 - 1
_PADDING = "0" * 24
# Selectors: the first four bytes of keccak256 of the signature, as the ABI specification says.
_TRANSFER = "a9059cbb"  # transfer(address,uint256)
_FROM = "23b872dd"  # transferFrom(address,address,uint256)
_SAFE_FROM = ("42842e0e", "b88d4fde")  # safeTransferFrom of ERC-721, without and with data
_APPROVE, _INCREASE = "095ea7b3", "39509351"  # approve, increaseAllowance (address,uint256)
_FOR_ALL = "a22cb465"  # setApprovalForAll(address,bool)
_PERMIT = "d505accf"  # permit(owner,spender,value,deadline,v,r,s) of EIP-2612


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
    """Whether a watched account sends it, is called by it, or is named in its calldata."""
    if tx.sender.lower() in watch or (tx.to is not None and tx.to.lower() in watch):
        return True
    text = _calldata(tx)
    words = (text[at : at + 64] for at in range(8, min(len(text), 2 * LONGEST), 64))
    return any(word.startswith(_PADDING) and "0x" + word[24:] in watch for word in words)


def pending_of(
    tx: RpcPending, chain: str, native: str, watch: Container[str], base_fee: int | None = None, gap: int = 0
) -> Pending:
    """What would leave watched accounts, and who could move their coins then. Nonsense in calldata says nothing.

    Arrivals are left out: coins that nobody has sent yet are no balance.

    Parameters
    ----------
    native : CAIP-19
    base_fee : of the next block, wei; tells the fee that would be paid
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
    moves = [move for move in _moves(tx, chain, native) if move[2] in watch and move[4]]
    transfers = tuple(
        Transfer(block, noun, index, kind, asset, (source,), to, value, (value,))
        for index, (kind, asset, source, to, value) in enumerate(moves)
    )
    changes = [change for change in _approvals(tx, chain) if change[0] in watch]
    controls = tuple(
        ControlEvent(block, noun, ControlKind.APPROVAL, account, spender, detail)
        for account, spender, detail in changes
    )
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


def _moves(tx: RpcPending, chain: str, native: str) -> list[tuple[TransferKind, str, str, str, int]]:
    """(kind, asset, from, to, value) of what would move."""
    sender, found = tx.sender.lower(), []
    if (value := number(tx.value)) and tx.to:
        found.append((TransferKind.NATIVE, native, sender, tx.to.lower(), value))
    selector, words = _call(tx)
    if not tx.to:
        return found
    asset = token_asset(chain, tx.to)
    try:
        if selector == _TRANSFER:
            found.append((TransferKind.TOKEN, asset, sender, _address(words[0]), int(words[1], 16)))
        elif selector == _FROM:
            found.append((TransferKind.TOKEN, asset, _address(words[0]), _address(words[1]), int(words[2], 16)))
        elif selector in _SAFE_FROM:
            one = f"{chain}/erc721:{tx.to.lower()}"
            found.append((TransferKind.TOKEN, one, _address(words[0]), _address(words[1]), 1))
    except (IndexError, ValueError):
        pass  # another function of that name, or nonsense
    return found


def _approvals(tx: RpcPending, chain: str) -> list[tuple[str, str, dict[str, str]]]:
    """(account, spender, detail) of what others might spend."""
    selector, words = _call(tx)
    if not tx.to:
        return []
    sender, asset = tx.sender.lower(), token_asset(chain, tx.to)
    try:
        if selector in (_APPROVE, _INCREASE):
            detail = {"asset": asset, "value": str(int(words[1], 16)), "standard": "erc20", "via": "approval"}
            return [(sender, _address(words[0]), detail)]
        if selector == _FOR_ALL:
            one = f"{chain}/erc721:{tx.to.lower()}"
            on = "1" if int(words[1], 16) else "0"
            return [(sender, _address(words[0]), {"asset": one, "value": on, "standard": "erc721", "all": "1"})]
        if selector == _PERMIT:
            detail = {"asset": asset, "value": str(int(words[2], 16)), "standard": "erc20", "via": "permit"}
            return [(_address(words[0]), _address(words[1]), detail)]
    except (IndexError, ValueError):
        pass
    return []


def _calldata(tx: RpcPending) -> str:
    """Lower-case hex without prefix; empty where it makes no sense."""
    try:
        text = msgspec.json.decode(tx.input, type=str)
    except msgspec.DecodeError:
        return ""
    return text[2:].lower() if text[:2] == "0x" else ""


def _call(tx: RpcPending) -> tuple[str, list[str]]:
    """Selector and the first words."""
    text = _calldata(tx)
    words = [text[at : at + 64] for at in range(8, min(len(text), 8 + 8 * 64), 64)]
    return text[:8], [word for word in words if len(word) == 64]


def _address(word: str) -> str:
    if not word.startswith(_PADDING):
        raise ValueError("not an address")
    int(word, 16)
    return "0x" + word[24:]
