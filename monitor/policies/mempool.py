"""What people should know of the mempool stage: all detectors, on transactions that wait to be mined."""

from __future__ import annotations

from monitor.detectors.base import Detector

__all__ = ["MEMPOOL"]


def _card(id: str, title: str, catches: str, misses: str, lookalikes: str, *rules: str) -> Detector:
    return Detector(id, title, catches, misses, lookalikes, evidence=(), rules=rules)


MEMPOOL = (
    _card(
        "MP-1",
        "Not yet confirmed",
        "Whatever another detector says of transactions that wait to be mined, all of them together as the next block. "
        "The finding keeps its name; the incident says that it is not confirmed, and is the same when it is mined.",
        "Transactions that go to miners in private (more than half on Ethereum), and what contracts do beside what "
        "the calldata names. On UTXO chains, coins that arrive alone.",
        "What its owner replaces or what is dropped: the alarm is taken back.",
        "nothing is learned, and no threshold moves",
        "what strangers claim counts only where a node says that the call would succeed",
    ),
    _card(
        "MP-2",
        "Race for a nonce",
        "A transaction that takes the sender and nonce of one that was found, or on UTXO chains one of its coins: a "
        "replacement (RBF) or a double spend. A harmless one ends the alarm; where it is found itself, both stand in "
        "one incident until a block decides, and the amount counts once. What spends coins of the loser ends with it.",
        "A rival that no asked node has.",
        "A fee that the owner raised on his own payment.",
    ),
    _card(
        "MP-3",
        "Nonce gap or fee spike",
        "A finding's transaction that skips nonces of its sender, or offers at least 4 times the usual fee of the "
        "wallet where less than 1 of 400 of its payments did. It is evidence of that finding and no alarm of its own.",
        "Gaps at nodes that tell by themselves of what could be mined next alone.",
        "A crowded network.",
    ),
    _card(
        "MP-4",
        "Change of control not yet confirmed",
        "Approvals, delegations, and changes of Safes, owners and code that wait to be mined, by the rules of those "
        "that are mined.",
        "Changes that only the state shows.",
        "Those of the mined ones.",
    ),
)
