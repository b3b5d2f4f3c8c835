"""What a Safe says of its own transactions: its set-up, what the L2 variant ran, and whether that failed. Pure.

``SafeL2`` tells each transaction in full, so that a delegate call is seen there even where another contract, or a
module, started it and no traces are read. Source: ``Safe.sol``, ``SafeL2.sol``, ``ModuleManager.sol`` and
``SafeProxyFactory.sol`` of the Safe contracts 1.0 to 1.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chains.evm.abi import address_of, bytes_of, topic
from chains.evm.controls.calldata import EXECUTE, FROM_MODULE, safe_controls
from chains.evm.controls.control import ZERO, Control
from chains.evm.controls.words import Words
from chains.evm.wire import RpcLog
from monitor.model import ControlKind

__all__ = ["created_safes", "failed", "told_by_safe"]

SETUP = topic("SafeSetup(address,address[],uint256,address,address)")
RAN = topic(
    "SafeMultiSigTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes,bytes)"
)
MODULE_RAN = topic("SafeModuleTransaction(address,address,uint256,bytes,uint8)")
PROXY = topic("ProxyCreation(address,address)")
_FAILURES = frozenset(
    map(topic, ("ExecutionFailure(bytes32,uint256)", "ExecutionFailed(bytes32)", "ExecutionFromModuleFailure(address)"))
)
_SUCCESSES = frozenset(map(topic, ("ExecutionSuccess(bytes32,uint256)", "ExecutionFromModuleSuccess(address)")))
MOST_OWNERS = 200


def told_by_safe(log: RpcLog, account: str) -> Iterator[Control]:
    """What a log of the watched ``account`` says beside `chains.evm.controls.events`.

    Raises
    ------
    ValueError : a log of a known kind that makes no sense
    """
    kind = log.topics[0]
    if kind == SETUP:
        words = Words(bytes_of(log.data))
        for row in words.rows(0, 1, MOST_OWNERS):
            yield Control(ControlKind.OWNER_CHANGE, account, row.address(0), {"change": "added"})
        yield Control(ControlKind.THRESHOLD_CHANGE, account, str(words.number(1)))
        if (handler := words.address(3)) != ZERO:
            yield Control(ControlKind.FALLBACK_CHANGE, account, handler)
    elif kind == RAN:  # the words of the call itself, and some more
        yield from safe_controls(account, EXECUTE + bytes_of(log.data))
    elif kind == MODULE_RAN:
        words = Words(bytes_of(log.data))
        inner, terms = words.text(3), (words.number(1), words.number(2), 128, words.number(4))
        head = b"".join(number.to_bytes(32, "big") for number in (*terms, len(inner)))
        yield from safe_controls(account, FROM_MODULE + head + inner)


def failed(account: str, logs: Sequence[RpcLog]) -> bool:
    """Whether a Safe says that what it was told to do failed, and never that something succeeded.

    Code that it runs by delegate call can say the first in its name, but cannot keep it from saying the second.
    """
    kinds = {log.topics[0] for log in logs if log.topics and log.address.lower() == account}
    return not kinds.isdisjoint(_FAILURES) and kinds.isdisjoint(_SUCCESSES)


def created_safes(logs: Sequence[RpcLog]) -> set[str]:
    """Safes that a factory made and that were set up in these logs of one transaction.

    Anybody can say the former of any Safe. The latter a Safe says itself, once in its life.
    """
    made = set()
    for log in logs:
        if log.topics and log.topics[0] == PROXY:
            word = log.topics[1] if len(log.topics) > 1 else log.data[:66]
            try:
                made.add(address_of(word))
            except ValueError:
                continue
    return made and {log.address.lower() for log in logs if log.topics and log.topics[0] == SETUP} & made
