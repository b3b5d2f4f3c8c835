"""Flows of one transaction of an UTXO chain: whose coins it spends, who is paid, and what stays. Pure.

Every owner first pays what it gets itself: change. What is left of the inputs of a wallet, its *surplus*, has left it;
where several owners pay, nobody can tell whose coin went where, so each surplus is spread over all that was paid, in
proportion. An owner is a watched wallet, or one address of somebody else: a stranger's change to a new address counts
as paid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.model import Direction, Flow, Transfer, TransferKind

if TYPE_CHECKING:
    from monitor.watchlist import Watch

__all__ = ["utxo_flows"]

Owner = Callable[[str], str]


@dataclass(slots=True)
class _Joint:
    """A transaction by owners: wallets by their id, others by their address with a mark before it."""

    outputs: list[Transfer]
    owners: list[str]  # of each output
    spent: dict[str, int]  # by owner, in order of inputs
    got: dict[str, int]  # of those who also spend
    fees: dict[str, int]  # part of the fee of each who spends

    def surplus(self, owner: str) -> int:
        """What has left one of those who spend; below zero: what it was paid."""
        return self.spent[owner] - self.got[owner] - self.fees[owner]


def utxo_flows(outputs: Sequence[Transfer], watched: Watch, timestamp: int) -> list[Flow]:
    """Flows of one transaction, given as its outputs with all inputs on each.

    A wallet's outflow is its inputs less its own outputs less its share of the fee. Change back to it is internal. So
    what flows out of all wallets less what flows in is exactly the difference of their inputs and outputs, whoever
    shares the transaction. Where amounts of inputs are not known, others are taken to have paid what is missing.
    """
    first = outputs[0]
    names: dict[str, str] = {}

    def owner(address: str) -> str:
        name = names.get(address)
        if name is None:
            wallet = watched.get(address) if address else None
            name = names[address] = wallet.id if wallet is not None else f"\0{address}"
        return name

    payments = [output for output in outputs if output.kind is not TransferKind.FEE]
    joint = _joint(first, payments, owner)
    flows: list[Flow] = []
    wallets = [name for name in joint.spent if not name.startswith("\0")]
    parts = _payable(joint) if wallets else []
    for wallet in wallets:
        flows += _spender_flows(wallet, joint, parts, first, owner, timestamp)
    arrivals = [
        (output, name)
        for output, name in zip(payments, joint.owners, strict=True)
        if output.value and name not in joint.spent and not name.startswith("\0")
    ]
    sender = _payer(first, owner) if arrivals else ""
    flows += [Flow(output, name, Direction.IN, sender, output.value, timestamp) for output, name in arrivals]
    return flows


def _joint(first: Transfer, payments: list[Transfer], owner: Owner) -> _Joint:
    spent: dict[str, int] = {}
    for address, value in zip(first.from_addresses, first.input_values, strict=True):
        name = owner(address)
        spent[name] = spent.get(name, 0) + value
    owners = [owner(output.to_address) for output in payments]
    got = dict.fromkeys(spent, 0)
    paid = 0
    for output, name in zip(payments, owners, strict=True):
        paid += output.value
        if name in got:
            got[name] += output.value
    told = sum(spent.values())
    fee = first.tx.fee if first.tx.fee is not None else max(0, told - paid)
    total = max(told, paid + fee)  # an input whose amount is not known counts as what is missing
    fees, through = {}, 0
    for name, value in spent.items():
        fees[name] = _up_to(fee, through + value, total) - _up_to(fee, through, total)
        through += value
    return _Joint(payments, owners, spent, got, fees)


def _payable(joint: _Joint) -> list[int]:
    """How much of each output was paid by somebody else than its owner: nothing of change."""
    through: dict[str, int] = {}
    parts = []
    for output, name in zip(joint.outputs, joint.owners, strict=True):
        if name not in joint.spent:
            parts.append(output.value)
            continue
        gained = max(0, -joint.surplus(name))
        before = through.get(name, 0)
        through[name] = before + output.value
        parts.append(_up_to(gained, through[name], joint.got[name]) - _up_to(gained, before, joint.got[name]))
    return parts


def _spender_flows(
    wallet: str, joint: _Joint, parts: Sequence[int], first: Transfer, owner: Owner, timestamp: int
) -> list[Flow]:
    """Flows of a wallet that put coins into a transaction."""
    places = zip(joint.outputs, joint.owners, parts, strict=True)
    own = [output for output, name in zip(joint.outputs, joint.owners, strict=True) if name == wallet and output.value]
    flows = [Flow(output, wallet, Direction.INTERNAL, output.to_address, output.value, timestamp) for output in own]
    left = joint.surplus(wallet)
    others = [(output, part) for output, name, part in places if name != wallet and part]
    payable = sum(part for _, part in others)
    fee = joint.fees[wallet] + max(0, left - payable)  # what went to no output that is here was spent, too
    if fee:
        spent = replace(first, kind=TransferKind.FEE, to_address="", value=fee)
        flows.append(Flow(spent, wallet, Direction.OUT, "", fee, timestamp))
    if left < 0:  # others paid more into the transaction than they took: coins came in
        flows.append(Flow(own[0], wallet, Direction.IN, _payer(first, owner, wallet), -left, timestamp))
    left, through = max(0, min(left, payable)), 0
    for output, part in others:
        value = _up_to(left, through + part, payable) - _up_to(left, through, payable)
        through += part
        if value:
            flows.append(Flow(output, wallet, Direction.OUT, output.to_address, value, timestamp))
    return flows


def _payer(first: Transfer, owner: Owner, apart_from: str = "") -> str:
    """The address that paid most, the first of equals; empty where nobody is known."""
    paid: dict[str, int] = {}
    for address, value in zip(first.from_addresses, first.input_values, strict=True):
        if address and owner(address) != apart_from:
            paid[address] = paid.get(address, 0) + value
    return max(paid, key=lambda address: paid[address], default="")


def _up_to(amount: int, place: int, whole: int) -> int:
    """The part of an amount up to a place in the whole, so that parts add up to all of it."""
    return amount * place // whole if whole else 0
