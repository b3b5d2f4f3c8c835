"""What a time lock (OpenZeppelin's ``TimelockController``) schedules for itself: a warning before the change."""

from __future__ import annotations

from chains.evm.abi import topic, word_at
from chains.evm.controls.control import Control
from chains.evm.wire import RpcLog
from monitor.model import ControlKind

__all__ = ["scheduled"]

MOST = 4096  # hex digits of the scheduled call that are looked at
_WOULD = {
    topic(signature)[:10]: kind
    for signature, kind in (
        ("updateDelay(uint256)", ControlKind.DELAY_CHANGE),
        ("grantRole(bytes32,address)", ControlKind.ROLE_CHANGE),
        ("revokeRole(bytes32,address)", ControlKind.ROLE_CHANGE),
    )
}


def scheduled(log: RpcLog, account: str) -> Control | None:
    """A scheduled change of the time lock itself; calls of other contracts are its daily work."""
    data = log.data
    if len(log.topics) != 3 or f"0x{word_at(data, 0) % 2**160:040x}" != account:
        return None
    start = 2 + 2 * word_at(data, 2)
    if start > len(data):
        return None
    call = data[start + 64 : start + 64 + MOST]
    would = _WOULD.get("0x" + call[:8])
    if would is None:
        return None
    detail = {
        "would": str(would), "confirmations": "1", "threshold": "1", "to": account, "value": str(word_at(data, 1)),
        "delay": str(word_at(data, 4)),
    }  # fmt: skip
    if would is ControlKind.DELAY_CHANGE and len(call) >= 72:
        detail["new_delay"] = str(int(call[8:72], 16))
    return Control(ControlKind.PROPOSAL, account, log.topics[1].lower(), detail)
