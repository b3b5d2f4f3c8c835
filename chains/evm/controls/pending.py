"""What a transaction that is not mined yet would do, see `chains.evm.controls.effects`. Pure."""

from __future__ import annotations

from chains.evm.controls.authorization import authorities
from chains.evm.controls.control import Control
from chains.evm.controls.effects import Call, Move, effects_of
from chains.evm.wire import RpcTx
from monitor.model import ControlKind

__all__ = ["pending_controls", "pending_transfers"]


def pending_controls(tx: RpcTx, chain: str) -> list[Control]:
    """Changes of control, of whatever account: what its calldata says, and the authorizations that it carries.

    Parameters
    ----------
    chain : CAIP-2, ``eip155:N``
    """
    found = [effect for effect in _effects(tx, chain) if isinstance(effect, Control)]
    if tx.authorization_list:
        signed = authorities(tx, int(chain.partition(":")[2]))
        found += (Control(ControlKind.DELEGATION, authority, delegate) for authority, delegate in signed)
    return found


def pending_transfers(tx: RpcTx, chain: str) -> list[Move]:
    """Coins and tokens that would move, whoever's they are. What a creation of a contract pays in is left out."""
    return [effect for effect in _effects(tx, chain) if isinstance(effect, Move)]


def _effects(tx: RpcTx, chain: str) -> list[Control | Move]:
    if not tx.to:
        return []
    return effects_of(Call(tx.sender.lower(), tx.to.lower(), _number(tx.value), tx.calldata, chain))


def _number(quantity: object) -> int:
    """A hex quantity; 0 where it makes no sense."""
    try:
        return int(quantity, 16) if isinstance(quantity, str) and quantity[:2] == "0x" else 0
    except ValueError:
        return 0
