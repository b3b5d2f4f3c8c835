"""Changes of control in a mined transaction: what logs tell, what a Safe was told to do, whom it delegates. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

from chains.evm.abi import bytes_of, topic
from chains.evm.calls import InternalCall
from chains.evm.controls.authorization import authorities
from chains.evm.controls.calldata import SAFE_CALLS, safe_controls
from chains.evm.controls.control import Control
from chains.evm.controls.events import control_of
from chains.evm.controls.safe_events import created_safes, failed, told_by_safe
from chains.evm.wire import RpcLog, RpcTx
from monitor.model import ControlKind

__all__ = ["Happened", "controls_of", "tells_safe"]

_SPENDS = frozenset(
    topic(signature)[:10]
    for signature in ("transfer(address,uint256)", "transferFrom(address,address,uint256)", "burnFrom(address,uint256)")
)
_PERMITS = frozenset(
    topic(signature)[:10]
    for signature in (
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        "permit(address,address,uint256,uint256,bytes)",
        "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
    )
)
_OF_CALLS = (ControlKind.DELEGATE_CALL, ControlKind.REFUND)


@dataclass(frozen=True, slots=True)
class Happened:
    """A mined transaction and what is known of it.

    ``created`` is the contract that it is the creation of. ``calls`` are those inside of it that took effect, None
    where nobody read them.
    """

    tx: RpcTx
    logs: Sequence[RpcLog] = ()
    is_ok: bool = True
    created: str = ""
    calls: Sequence[InternalCall] | None = None


def controls_of(what: Happened, watch: Container[str], chain: str) -> list[Control]:
    """The changes of control of watched accounts, each once, in the order in which they were told.

    A failed transaction changes nothing but for its authorizations, which hold all the same (EIP-7702).
    """
    found = list(_delegated(what.tx, watch, chain)) if what.tx.authorization_list else []
    if what.is_ok:
        found += _told(what, watch, chain)
        found += _made(what, watch)
    unique = {(one.kind, one.account, one.subject, tuple(sorted(_kept(one)))): one for one in reversed(found)}
    return list(unique.values())[::-1]


def tells_safe(call: InternalCall) -> bool:
    """Whether a call inside of a transaction tells a Safe what to do."""
    return call.depth > 0 and call.kind == "call" and call.input[:10] in SAFE_CALLS


def _kept(control: Control) -> Iterator[tuple[str, str]]:
    """What tells two changes apart; that the same delegate call is in a batch and around it does not."""
    return ((key, value) for key, value in control.detail.items() if control.kind not in _OF_CALLS)


def _delegated(tx: RpcTx, watch: Container[str], chain: str) -> Iterator[Control]:
    for authority, delegate in authorities(tx, int(chain.partition(":")[2])):
        if authority in watch:
            yield Control(ControlKind.DELEGATION, authority, delegate)


def _made(what: Happened, watch: Container[str]) -> list[Control]:
    """Delegate calls and refunds of watched Safes that were called, by the transaction or inside of it."""
    called = what.tx.to.lower() if what.tx.to else ""
    found = safe_controls(called, what.tx.calldata) if called in watch else []
    for call in what.calls or ():
        if tells_safe(call) and call.receiver in watch:
            found += safe_controls(call.receiver, bytes_of(call.input))
    return [one for one in found if not _was_undone(one, what.logs)]


def _was_undone(control: Control, logs: Sequence[RpcLog]) -> bool:
    """What a Safe ran and what failed did not happen; the refund was paid all the same."""
    return control.kind is ControlKind.DELEGATE_CALL and failed(control.account, logs)


def _told(what: Happened, watch: Container[str], chain: str) -> list[Control]:
    """What logs tell. What a contract says of itself while it is made is no change of anything."""
    found: list[Control] = []
    for log in what.logs:
        if log.topics and (control := control_of(log, chain, watch)) is not None:
            found.append(control)
        elif log.topics and (account := log.address.lower()) in watch:
            try:
                found += (one for one in told_by_safe(log, account) if not _was_undone(one, what.logs))
            except ValueError:
                continue  # it says what no Safe says
    approvals = [_explained(one, what) for one in found if one.kind is ControlKind.APPROVAL]
    changes = [one for one in found if one.kind is not ControlKind.APPROVAL]
    if changes and (new := _created(what)):
        changes = [one for one in changes if one.account not in new or one.kind in _OF_CALLS]
    return [*changes, *(one for one in approvals if one is not None)]


def _created(what: Happened) -> set[str]:
    """Contracts that came into being in this transaction."""
    made = {call.receiver for call in what.calls or () if call.kind == "create"}
    return made | created_safes(what.logs) | ({what.created} if what.created else set())


def _explained(control: Control, what: Happened) -> Control | None:
    """An approval, and how it was given; None where it is what is left of an older one after a spending.

    Many tokens say ``Approval`` when somebody spends, too. Where the calls of the token are known they tell. Otherwise
    what an account did not start itself counts as permitted by its signature, off the chain.
    """
    if control.detail["standard"] != "erc20":
        return control
    owner, token, tx = control.account, control.detail["asset"].rpartition(":")[2], what.tx
    starters = {tx.sender.lower(), (tx.to or "").lower()}
    made = [(tx.sender.lower(), "0x" + tx.calldata[:4].hex())] if token in starters else []
    inside = (call for call in what.calls or () if call.depth and call.kind == "call" and call.receiver == token)
    made += [(call.sender, call.input[:10]) for call in inside]
    is_whole = what.calls is not None or token in starters
    if made and is_whole:
        if all(head in _SPENDS for _, head in made):
            return None
        given = any(sender == owner and head not in _SPENDS | _PERMITS for sender, head in made)
    else:
        given = owner in starters
    return replace(control, detail={**control.detail, "via": "approval" if given else "permit"})
