"""Whether accounts with code changed: cheap questions, a few hundred a block.

``eth_getProof`` without keys gives the hashes of an account's storage and code, and its balance, in one call; the
proofs themselves are not looked at. Where an endpoint does not offer it (or offers it without these hashes, as some
rollups do), the words that the account was read from are asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from chains.evm.pinned import Call, Pinned
from chains.evm.state import State
from chains.rpc import MethodUnsupported
from monitor.model import BlockRef

__all__ = ["Probe", "Probes"]

PROOFS, WORDS = "proofs", "words"
AGAIN = 1800  # blocks after which an endpoint that offered no proofs is asked again


class _Proof(msgspec.Struct, rename="camel"):
    """What is read of an ``eth_getProof`` answer."""

    balance: Any = None
    code_hash: Any = None
    storage_hash: Any = None


@dataclass(frozen=True, slots=True)
class Probe:
    """An account after a block: equal fingerprints mean equal state. ``balance`` in wei, None where not told."""

    fingerprint: tuple[Any, ...]
    balance: int | None


class Probes:
    """Takes fingerprints of accounts that were read before."""

    def __init__(self, pinned: Pinned) -> None:
        self._pinned = pinned
        self._without: dict[str, int] = {}  # endpoint without proofs, and the block from which it is asked again

    async def take(self, states: Mapping[str, State], at: BlockRef, *, balances: bool = True) -> dict[str, Probe]:
        """Fingerprints after block ``at``; accounts of which something was refused are left out.

        Parameters
        ----------
        states : as the accounts were read
        balances : whether they are worth a call of their own, where no proof brings them

        Raises
        ------
        ChainUnavailable, ChainInconsistent : see `Pinned.ask`
        """
        if not states:
            return {}
        found: dict[str, Probe] = {}
        if self._without.get(self._pinned.endpoint, 0) <= at.number:
            found = await self._proven(states, at)
        left = {account: state for account, state in states.items() if account not in found}
        return found | await self._worded(left, at, balances)

    async def _proven(self, states: Mapping[str, State], at: BlockRef) -> dict[str, Probe]:
        wanted = sorted({*states, *(other for state in states.values() for other in state.depends_on)})
        answers = await self._pinned.ask([("eth_getProof", (account, [])) for account in wanted], at, type=_Proof)
        if any(isinstance(answer, MethodUnsupported) for answer in answers):
            self._without[self._pinned.endpoint] = at.number + AGAIN
        proofs = {
            account: answer
            for account, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, _Proof) and _is_hash(answer.storage_hash) and _is_hash(answer.code_hash)
        }
        return {
            account: Probe(
                (PROOFS, *((proofs[one].code_hash, proofs[one].storage_hash) for one in (account, *state.depends_on))),
                _amount(proofs[account].balance),
            )
            for account, state in states.items()
            if all(one in proofs for one in (account, *state.depends_on))
        }

    async def _worded(self, states: Mapping[str, State], at: BlockRef, balances: bool) -> dict[str, Probe]:
        calls: list[Call] = []
        for account, state in states.items():
            calls += _questions(account, state)
            calls += [("eth_getBalance", (account,))] if balances else []
        answers = iter(await self._pinned.ask(calls, at))
        found: dict[str, Probe] = {}
        for account, state in states.items():
            own = [next(answers) for _ in _questions(account, state)]
            balance = _amount(next(answers)) if balances else None
            if all(isinstance(answer, str) for answer in own):
                found[account] = Probe((WORDS, *(answer.lower() for answer in own)), balance)
        return found


def _questions(account: str, state: State) -> list[Call]:
    if not state.words:  # delegated: its code is a pointer of 23 bytes; other code is too long for every block
        return [("eth_getCode", (account,))]
    calls: list[Call] = [("eth_getStorageAt", (account, slot)) for slot in state.words]
    return calls + [("eth_call", ({"to": to, "data": data},)) for to, data in state.answers]


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 66 and bool(value[2:].strip("0"))


def _amount(quantity: Any) -> int | None:
    try:
        return int(quantity, 16)
    except (TypeError, ValueError):
        return None
