"""The code of accounts: what it is, its hash, and whether it is young."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chains.evm.pinned import Call, Pinned
from chains.evm.slots import code_hash, delegate_of
from monitor.errors import ChainUnavailable
from monitor.model import BlockRef

__all__ = ["YOUNG_SECONDS", "Codes", "kind_of"]

YOUNG_SECONDS = 7 * 86400
MOST_REMEMBERED = 4096  # accounts whose code is known to be old


def kind_of(code: str) -> str:
    """``none``, ``delegated`` (EIP-7702) or ``contract``.

    >>> kind_of("0x"), kind_of("0xef0100" + "11" * 20), kind_of("0x6001")
    ('none', 'delegated', 'contract')
    """
    if code in ("", "0x"):
        return "none"
    return "delegated" if delegate_of(code) else "contract"


class Codes:
    """Asks for the code of accounts.

    Parameters
    ----------
    block_seconds : usual time between blocks, to find the block of a week ago
    """

    def __init__(self, pinned: Pinned, block_seconds: float) -> None:
        self._pinned = pinned
        self._week = max(1, round(YOUNG_SECONDS / block_seconds))
        self._old: dict[str, None] = {}  # accounts whose code was there a week ago
        self._hashes: dict[str, str] = {}  # of the codes of the last block, which many accounts share

    async def of(self, accounts: Iterable[str], at: BlockRef) -> dict[str, str]:
        """The code after block ``at``, hex, ``0x`` where there is none; accounts that were refused are left out."""
        wanted = sorted(set(accounts))
        answers = await self._pinned.ask([("eth_getCode", (account,)) for account in wanted], at)
        self._hashes.clear()
        return {
            account: answer.lower()
            for account, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, str) and _is_code(answer)
        }

    def hash(self, code: str) -> str:
        """Of a code that `of` gave."""
        if code not in self._hashes:
            self._hashes[code] = code_hash(code)
        return self._hashes[code]

    async def ages(self, accounts: Iterable[str], at: BlockRef) -> dict[str, str]:
        """``young`` where an account with code had none a week ago, else ``old``.

        An account is left out where the endpoint keeps no state that old.
        """
        asked = sorted(set(accounts))
        found = {account: "old" for account in asked if account in self._old}
        wanted = [account for account in asked if account not in found]
        calls: Sequence[Call] = [("eth_getCode", (account,)) for account in wanted]
        try:
            answers = await self._pinned.at_height(calls, max(0, at.number - self._week))
        except ChainUnavailable:  # often for good: few nodes keep old state, and an age is worth no retry
            return found
        for account, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, str):
                found[account] = "young" if kind_of(answer) == "none" else "old"
                if found[account] == "old":
                    self._old[account] = None
        while len(self._old) > MOST_REMEMBERED:
            del self._old[next(iter(self._old))]
        return found


def _is_code(answer: str) -> bool:
    try:
        bytes.fromhex(answer.removeprefix("0x"))
    except ValueError:
        return False
    return answer.startswith("0x")
