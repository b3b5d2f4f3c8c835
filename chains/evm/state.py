"""Reading what the chain's state says of who may move an account's coins: whole, after one block.

A Safe is never asked itself: its implementation may be the thief's. Its owners and modules are read from storage, link
by link. Other contracts are asked for ``owner()``, ``pendingOwner()`` and ``getMinDelay()``, where they answer; the
admin of a proxy, where it is a contract, for its owner, and a beacon for its implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains.evm.code import Codes
from chains.evm.pinned import Call, Pinned, word_of
from chains.evm.slots import (
    ADMIN,
    BEACON,
    FALLBACK,
    GUARD,
    IMPLEMENTATION,
    MODULE_GUARD,
    MODULES,
    OLD_ADMIN,
    OLD_IMPLEMENTATION,
    OWNER_COUNT,
    OWNERS,
    PROXIABLE,
    PROXY_SLOTS,
    SAFE_SLOTS,
    SENTINEL,
    SINGLETON,
    THRESHOLD,
    address_in,
    delegate_of,
    is_safe,
    member,
    number_in,
    selector,
)
from monitor.model import BlockRef

__all__ = ["State", "StateReader"]

MOST_MEMBERS = 200  # owners or modules of one Safe that are read

_OWNER, _NEXT_OWNER, _DELAY, _BEHIND = map(selector, ("owner()", "pendingOwner()", "getMinDelay()", "implementation()"))
_FIRSTS = (member(SENTINEL, OWNERS), member(SENTINEL, MODULES))


@dataclass(slots=True)
class State:
    """An account as it was read. ``values`` are those of a `Reading`; the rest says what they came from."""

    values: dict[str, str]
    words: dict[str, str] = field(default_factory=dict)  # position to word of its storage
    answers: dict[tuple[str, str], str] = field(default_factory=dict)  # (contract, call) to what was answered
    depends_on: tuple[str, ...] = ()  # contracts whose storage the values come from, too
    fingerprint: tuple[Any, ...] | None = None  # as `chains.evm.probes` takes it; None: not taken

    @property
    def has_code(self) -> bool:
        """Whether it is a contract, or runs the code of one."""
        return self.values["code"] != "none"

    @property
    def is_safe(self) -> bool:
        """Whether it is a Safe."""
        return self.values["form"] == "safe"

    def asks_like(self, other: State) -> bool:
        """Whether a probe of one is a probe of the other."""
        return (
            self.depends_on == other.depends_on
            and list(self.words) == list(other.words)
            and list(self.answers) == list(other.answers)
        )

    def owners(self) -> list[str]:
        """A Safe's owners."""
        return [owner for owner in self.values.get("owners", "").split(",") if owner]


class StateReader:
    """Reads accounts. Every answer is of the same block; what was refused leaves its account unread."""

    def __init__(self, pinned: Pinned, codes: Codes) -> None:
        self._pinned, self._codes = pinned, codes

    async def read(
        self, accounts: Sequence[str], at: BlockRef, known: Mapping[str, State], most: int
    ) -> tuple[dict[str, State], int]:
        """Accounts after block ``at``; one that cannot be read is left out.

        Parameters
        ----------
        known : what was read before: a Safe stays one, whatever became of its storage
        most : contracts that are read; each takes about 15 calls

        Returns
        -------
        (what was read, how many contracts were not read because there are too many)

        Raises
        ------
        ChainUnavailable, ChainInconsistent : see `Pinned.ask`
        """
        codes = await self._codes.of(accounts, at)
        found = {account: _begun(code, self._codes.hash(code)) for account, code in codes.items()}
        contracts = [
            account for account in accounts if account in found and found[account].values["code"] == "contract"
        ]
        late = contracts[most:]
        contracts = contracts[:most]
        for account in late:
            del found[account]
        await self._words(contracts, found, known, at)
        contracts = [account for account in contracts if account in found]
        safes = [account for account in contracts if _looks_safe(found[account], known.get(account))]
        await self._lists(safes, found, at)
        safes = [account for account in safes if account in found]
        for account in safes:
            _safe(found[account])
        others = [account for account in contracts if account in found and account not in safes]
        await self._proxies(others, found, at)
        await self._behind(found, at)
        await self._delegates(safes, found, at)
        return found, len(late)

    # -- storage --------------------------------------------------------------------------------------------------

    async def _words(
        self, accounts: Sequence[str], found: dict[str, State], known: Mapping[str, State], at: BlockRef
    ) -> None:
        """The words at all positions that may matter; for a Safe those of its known lists, too."""
        wanted: list[tuple[str, str]] = []
        for account in accounts:
            before = known.get(account)
            if before is None or before.values["code_hash"] != found[account].values["code_hash"]:
                slots: Iterable[str] = (*SAFE_SLOTS, *PROXY_SLOTS, *_FIRSTS)
            elif before.is_safe:
                slots = dict.fromkeys((*SAFE_SLOTS, *_FIRSTS, *before.words))
            else:
                slots = PROXY_SLOTS
            wanted += [(account, slot) for slot in slots]
        await self._read_words(wanted, found, at)

    async def _read_words(self, wanted: Sequence[tuple[str, str]], found: dict[str, State], at: BlockRef) -> None:
        answers = await self._pinned.ask([("eth_getStorageAt", pair) for pair in wanted], at)
        for (account, slot), answer in zip(wanted, answers, strict=True):
            word = word_of(answer)
            if word is None:
                found.pop(account, None)
            elif account in found:
                found[account].words[slot] = word

    async def _lists(self, safes: Sequence[str], found: dict[str, State], at: BlockRef) -> None:
        """Owners and modules of Safes: the links that are not read yet, for all of them at once."""
        for _ in range(2 * MOST_MEMBERS):
            missing = [
                (account, slot)
                for account in safes
                if account in found
                for mapping in (OWNERS, MODULES)
                if (slot := _walk(found[account].words, mapping)[1]) is not None
            ]
            if not missing:
                return
            await self._read_words(missing, found, at)

    # -- contracts ------------------------------------------------------------------------------------------------

    async def _proxies(self, accounts: Sequence[str], found: dict[str, State], at: BlockRef) -> None:
        """Proxies and plain contracts: implementation, admin, beacon, and what they answer themselves."""
        calls: list[tuple[str, str, str]] = []
        for account in accounts:
            words = found[account].words
            beacon, admin = address_in(words[BEACON]), address_in(words[ADMIN]) or address_in(words[OLD_ADMIN])
            calls += [(account, account, data) for data in (_OWNER, _NEXT_OWNER, _DELAY)]
            calls += [(account, beacon, _BEHIND)] if beacon else []
            calls += [(account, admin, _OWNER)] if admin else []
        asked: list[Call] = [("eth_call", ({"to": to, "data": data},)) for _, to, data in calls]
        for (account, to, data), answer in zip(calls, await self._pinned.ask(asked, at), strict=True):
            if (word := word_of(answer)) is not None:
                found[account].answers[to, data] = word
        for account in accounts:
            _proxy(account, found[account])

    async def _behind(self, found: dict[str, State], at: BlockRef) -> None:
        """The code that runs behind Safes, proxies and delegated accounts: its hash and its age."""
        behind = {
            account: target
            for account, state in found.items()
            if (target := state.values.get("implementation") or state.values.get("delegate"))
        }
        codes = await self._codes.of(set(behind.values()), at)
        ages = await self._codes.ages([target for target, code in codes.items() if code != "0x"], at)
        for account, target in behind.items():
            values = found[account].values
            if target in codes:
                values["implementation_code"] = self._codes.hash(codes[target])
            if (age := ages.get(target)) is not None:
                values["implementation_age"] = age

    async def _delegates(self, safes: Sequence[str], found: dict[str, State], at: BlockRef) -> None:
        """Owners of Safes that let another account's code act for them."""
        owners = {owner for account in safes for owner in found[account].owners()}
        codes = await self._codes.of(owners, at)
        for account in safes:
            own = found[account].owners()
            if all(owner in codes for owner in own):
                pairs = sorted((owner, delegate_of(codes[owner])) for owner in own if delegate_of(codes[owner]))
                found[account].values["owner_delegates"] = ",".join(f"{owner}={target}" for owner, target in pairs)


def _begun(code: str, code_hash: str) -> State:
    """What the code alone says."""
    delegate = delegate_of(code)
    kind = "none" if code == "0x" else "delegated" if delegate else "contract"
    values = {"code": kind, "code_hash": "" if kind == "none" else code_hash, "delegate": delegate or ""}
    return State(values if kind == "contract" else {**values, "form": "account"})


def _looks_safe(state: State, before: State | None) -> bool:
    if before is not None and before.is_safe:
        return True
    words = state.words
    return _FIRSTS[0] in words and is_safe(words[SINGLETON], words[OWNER_COUNT], words[_FIRSTS[0]])


def _walk(words: Mapping[str, str], mapping: int) -> tuple[list[str], str | None]:
    """The members of a linked list as far as they are read, and the position to read next (None: it is whole)."""
    members: dict[str, None] = {}
    at = SENTINEL
    while len(members) < MOST_MEMBERS:
        slot = member(at, mapping)
        if slot not in words:
            return list(members), slot
        at = address_in(words[slot])
        if at in ("", SENTINEL) or at in members:
            break
        members[at] = None
    return list(members), None


def _safe(state: State) -> None:
    """The values of a Safe; its words of lists that are no longer linked are dropped."""
    words = state.words
    lists = {mapping: _walk(words, mapping)[0] for mapping in (OWNERS, MODULES)}
    linked = {member(at, mapping) for mapping, members in lists.items() for at in (SENTINEL, *members)}
    state.words = {slot: word for slot, word in words.items() if slot in linked or slot in SAFE_SLOTS}
    state.values.update(
        form="safe",
        implementation=address_in(words[SINGLETON]),
        owners=",".join(sorted(lists[OWNERS])),
        threshold=str(number_in(words[THRESHOLD])),
        modules=",".join(sorted(lists[MODULES])),
        guard=address_in(words[GUARD]),
        fallback=address_in(words[FALLBACK]),
        module_guard=address_in(words[MODULE_GUARD]),
    )


def _proxy(account: str, state: State) -> None:
    """The values of a proxy or plain contract."""
    words, answers, values = state.words, state.answers, state.values
    state.words = {slot: words[slot] for slot in PROXY_SLOTS}
    beacon, admin = address_in(words[BEACON]), address_in(words[ADMIN]) or address_in(words[OLD_ADMIN])
    named = [address_in(words[slot]) for slot in (IMPLEMENTATION, PROXIABLE, OLD_IMPLEMENTATION)]
    implementation = next(filter(None, named), "")
    if not implementation and (word := answers.get((beacon, _BEHIND))) is not None:
        implementation = address_in(word)
    values["form"] = "proxy" if implementation or beacon else "contract"
    if implementation or not beacon:  # a beacon that did not answer leaves it unknown
        values["implementation"] = implementation
    values["admin"], values["beacon"] = admin, beacon
    owner = answers.get((admin, _OWNER)) if admin else None
    if owner is None:
        owner = answers.get((account, _OWNER))
    for key, word in (("owner", owner), ("pending_owner", answers.get((account, _NEXT_OWNER)))):
        if word is not None:
            values[key] = address_in(word)
    if (delay := answers.get((account, _DELAY))) is not None:
        values["delay"] = str(number_in(delay))
    state.depends_on = tuple(sorted({to for to, _ in answers} - {account}))
