"""What the chain's state says of watched accounts after each block: readings, and balances that nothing explains.

An account is read whole at first sight, once an hour of block time, and when a cheap question (`chains.evm.probes`)
shows that it changed. An account without code can change by an EIP-7702 authorization or by being created alone, so it
is read when a block may hold one. Everything is asked of the state after the very block. What cannot be had is a blind
spot of its block, never an error; the alarm of what was decoded does not wait for it longer than `PATIENCE`.

Keys of `Reading.values`, all text, addresses in lower case, sets sorted and joined by commas. An empty value means
"none", a missing key "not read".

====================== ================================================================================
``code``               ``none``, ``contract`` or ``delegated`` (EIP-7702)
``code_hash``          of its code; empty without code
``delegate``           whose code a delegated account runs
``form``               ``account``, ``safe``, ``proxy`` or ``contract``
``implementation``     a Safe's slot 0, a proxy's slot (EIP-1967, EIP-1822, zOS), or what its beacon says
``implementation_code``  hash of the code there; for a delegated account of its delegate's
``implementation_age`` ``young`` if there was no code a week ago, else ``old``
``admin``, ``beacon``  of a proxy
``owner``              of the proxy's admin where that is a contract with an owner, else of the contract itself
``pending_owner``      of a contract that answers
``delay``              a timelock's ``getMinDelay()``, seconds
``owners``, ``threshold``, ``modules``, ``guard``, ``module_guard``, ``fallback``  of a Safe
``owner_delegates``    ``owner=delegate`` of a Safe's owners that are delegated
====================== ================================================================================
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

from chains.base import ChainSpec
from chains.evm.code import Codes
from chains.evm.controls.authorization import authorities
from chains.evm.emitted import Emitted
from chains.evm.enrich import enrich
from chains.evm.pinned import SETTLING, Pinned
from chains.evm.probes import Probe, Probes
from chains.evm.reconcile import RECONCILED, Balances
from chains.evm.state import State, StateReader
from chains.evm.touches import Touches
from chains.evm.wire import RpcBlock, RpcLog, RpcTx
from chains.rpc import JsonRpc
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError
from monitor.model import Block, Reading
from monitor.networks import by_chain

__all__ = ["NO_STATE", "Accounts"]

log = logging.getLogger(__name__)

NO_STATE = "state of accounts"
NO_TRACES = "internal transfers"
PATIENCE = 5.0  # seconds that a block waits for the state of its accounts
MOST_PROBES = 300  # accounts with code that are looked at in one block
MOST_CHANGED = 40  # of them that are read whole because they changed; about 15 calls each
MOST_FIRST = 40  # and for the first time, or because an hour has passed
MOST_CODES = 300  # accounts without code that are read in one block, one call each
SWEEP_SECONDS = 3600  # of block time, after which an account is read whole again
LONGEST_REST = 8  # blocks without questions after the endpoint failed to answer them again and again
DELEGATING = 4  # transaction type (EIP-7702)


@dataclass(slots=True)
class _Plan:
    """What is asked for one block."""

    probe: list[str] = field(default_factory=list)  # has code: did it change?
    read: list[str] = field(default_factory=list)  # to be read whole
    left: int = 0  # accounts that have to wait


class Accounts:
    """Looks at the accounts of ``spec.accounts`` after each block.

    Parameters
    ----------
    spec : ``options`` may say ``state: off`` (nothing is read) and ``reconcile: off``
    native : CAIP-19 of the chain's coin
    watched : how many addresses are watched in all, those of long lists too
    """

    def __init__(self, rpc: JsonRpc, spec: ChainSpec, native: str, watched: object) -> None:
        read, self._reconciles = (_is_on(spec, name) for name in ("state", "reconcile"))
        self._accounts = frozenset(spec.accounts) if read else frozenset()
        self._is_whole = not isinstance(watched, Sized) or len(watched) <= len(self._accounts)
        self._name, self._chain_id = spec.name, int(spec.chain.partition(":")[2])
        network = by_chain(spec.chain)
        pinned = Pinned(rpc)
        self._codes = Codes(pinned, network.block_seconds if network else 12.0)
        self._reader, self._probes = StateReader(pinned, self._codes), Probes(pinned)
        self._balances = Balances(pinned, spec.chain, native, self._accounts)
        self._emitted = Emitted()
        self._states: dict[str, State] = {}
        self._with_code: dict[str, None] = {}  # in the order in which they are looked at next
        self._read_at: OrderedDict[str, int | None] = OrderedDict.fromkeys(sorted(self._accounts))  # oldest first
        self._patience = min(spec.timeout_seconds, PATIENCE)
        self._failures, self._rest_until = 0, -1

    async def observe(
        self, block: Block, raw: RpcBlock, logs: Iterable[RpcLog] = (), emitted: Emitted | None = None
    ) -> Block:
        """The block with readings, reconciled transfers and balances, and what it still cannot show.

        Parameters
        ----------
        block, raw : the same block, decoded and as it was read
        logs : of the block, as far as they are known
        emitted : which readings are no news, for blocks that are not read in the order of the chain; None: its own
        """
        if not self._accounts:
            return block
        emitted = self._emitted if emitted is None else emitted
        why = "the endpoint did not answer before"
        if block.ref.number >= self._rest_until:
            try:
                async with asyncio.timeout(self._patience):
                    seen = await self._look(block, raw, logs, emitted)
                self._failures = 0
                return seen
            except TimeoutError:
                why = f"no answer within {self._patience:g} s"
            except (ChainUnavailable, ChainInconsistent) as error:
                why = str(error)
            self._failures += 1
            self._rest_until = block.ref.number + min(LONGEST_REST, 2**self._failures // 2)
        log.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG,
            "%s: block %d: state of accounts not read: %s", self._name, block.ref.number, why,
        )  # fmt: skip
        emitted.forget(block.ref.hash)
        self._balances.skip(block)
        return replace(block, blind_spots=(*block.blind_spots, NO_STATE))

    async def _look(self, block: Block, raw: RpcBlock, logs: Iterable[RpcLog], emitted: Emitted) -> Block:
        touches = Touches(block, raw, logs, self._accounts)
        plan = self._plan(block, raw, touches)
        states = {account: self._states[account] for account in plan.probe}
        balances = self._reconciles and NO_TRACES in block.blind_spots
        probes = await self._probe(states, block, balances)
        changed = _changed(states, probes)
        wanted = list(dict.fromkeys([*changed[:MOST_CHANGED], *plan.read]))
        fresh, late = await self._read(wanted, plan, block, states)
        await self._take_fingerprints(fresh, states, probes, block, balances)
        values = {one: state.values for one, state in fresh.items()}
        values |= {one: states[one].values for one in probes if one in states and one not in {*changed, *fresh}}
        news = emitted.news(block.parent_hash, block.ref.hash, dict(sorted(values.items())))
        readings = tuple(Reading(account, values[account], touches.last(account)) for account in news)
        refused = len(states.keys() - probes.keys()) + len(wanted) - len(fresh) - late
        block = await enrich(replace(block, readings=(*block.readings, *readings)), self._codes)
        block = await self._reconcile(block, touches, probes, not plan.left and not refused)
        waiting = plan.left + late + len(changed[MOST_CHANGED:])
        blind = [NO_STATE] if refused else []
        blind += [f"state of {waiting} accounts is read in rotation"] if waiting else []
        return replace(block, blind_spots=(*block.blind_spots, *blind))

    async def _probe(self, states: Mapping[str, State], block: Block, balances: bool) -> dict[str, Probe]:
        """Fingerprints; those that differ from what was known are taken twice."""
        probes = await self._probes.take(states, block.ref, balances=balances)
        if changed := _changed(states, probes):
            await asyncio.sleep(SETTLING)
            probes |= await self._probes.take({one: states[one] for one in changed}, block.ref, balances=balances)
        return probes

    async def _read(
        self, wanted: Sequence[str], plan: _Plan, block: Block, states: Mapping[str, State]
    ) -> tuple[dict[str, State], int]:
        """Accounts read whole, and how many could not have their turn; what seems to have changed is read twice."""
        swept = {one for one in plan.read if one in states and not states[one].is_safe}  # as at first sight
        known = {one: self._states[one] for one in wanted if one in self._states and one not in swept}
        most = MOST_FIRST + len(set(wanted) - set(plan.read))
        fresh, late = await self._reader.read(wanted, block.ref, known, most)
        other = [one for one in fresh if one in self._states and self._states[one].values != fresh[one].values]
        if other:
            await asyncio.sleep(SETTLING)
            again, _ = await self._reader.read(other, block.ref, known, len(other))
            fresh = {one: state for one, state in fresh.items() if one not in other} | again
        return fresh, late

    async def _take_fingerprints(
        self, fresh: Mapping[str, State], states: Mapping[str, State], probes: dict[str, Probe], block: Block,
        balances: bool,
    ) -> None:  # fmt: skip
        """Keep what was read; ``probes`` gets what it lacks.

        A fingerprint that belongs to other values would hide a change, so it counts only where it was the same before
        and after the reading. Without one the account is read again in the next block.
        """
        taken = await self._probes.take({k: v for k, v in fresh.items() if v.has_code}, block.ref, balances=balances)
        for account, probe in taken.items():
            first = probes.get(account) if account in states and states[account].asks_like(fresh[account]) else None
            if first is not None and first.fingerprint == probe.fingerprint:
                fresh[account].fingerprint = probe.fingerprint
        probes |= taken
        for account, state in fresh.items():
            self._keep(account, state, block.timestamp)

    def _keep(self, account: str, state: State, at: int) -> None:
        self._states[account] = state
        self._read_at[account] = at
        self._read_at.move_to_end(account)
        if state.has_code:
            self._with_code.setdefault(account)
        else:
            self._with_code.pop(account, None)

    async def _reconcile(self, block: Block, touches: Touches, probes: Mapping[str, Probe], whole: bool) -> Block:
        if not self._reconciles:
            return block
        natives = {}
        if NO_TRACES in block.blind_spots:
            natives = {one: probe.balance for one, probe in probes.items() if probe.balance is not None}
        block, done = await self._balances.explain(block, touches, natives)
        if whole and self._is_whole and done and done >= set(self._with_code):
            spots = (RECONCILED if spot == NO_TRACES else spot for spot in block.blind_spots)
            block = replace(block, blind_spots=tuple(spots))
        return block

    # -- what is asked --------------------------------------------------------------------------------------------

    def _plan(self, block: Block, raw: RpcBlock, touches: Touches) -> _Plan:
        plan = _Plan()
        touched = touches.accounts
        first = [one for one in self._with_code if one in touched]
        rest = [one for one in self._with_code if one not in touched][: max(0, MOST_PROBES - len(first))]
        plan.probe = first + rest
        plan.left = len(self._with_code) - len(plan.probe)
        if plan.left:
            for one in plan.probe:  # to the end of the queue
                self._with_code[one] = self._with_code.pop(one)
        due = [one for one in sorted(touched) if self._read_at[one] is None]
        due += [one for one in sorted(touches.spoke) if one not in self._with_code]
        due += self._delegating(raw, touches)
        for one, at in self._read_at.items():
            if at is not None and 0 <= block.timestamp - at < SWEEP_SECONDS:
                break
            if len(due) >= MOST_FIRST + MOST_CODES:
                plan.left += 1
            else:
                due.append(one)
        plan.read = list(dict.fromkeys(due))
        return plan

    def _delegating(self, raw: RpcBlock, touches: Touches) -> list[str]:
        """Accounts that an authorization in the block may have delegated, and Safes with such owners."""
        found: list[str] = []
        for tx in raw.transactions:
            if tx.authorization_list is None:
                if _type_of(tx) == DELEGATING:  # the endpoint does not say whom: anybody
                    found += [one for one in self._read_at if one not in self._with_code][:MOST_CODES]
                continue
            signers = {authority for authority, _ in authorities(tx, self._chain_id)}
            safes = [one for one in self._with_code if self._states[one].is_safe] if signers else []
            for one in (*signers & self._accounts, *(s for s in safes if signers & set(self._states[s].owners()))):
                touches.add(one, tx.hash)
                found.append(one)
        return found


def _changed(states: Mapping[str, State], probes: Mapping[str, Probe]) -> list[str]:
    """Accounts whose fingerprint is another one than when they were read."""
    return [one for one, state in states.items() if one in probes and probes[one].fingerprint != state.fingerprint]


def _type_of(tx: RpcTx) -> int | None:
    try:
        return int(tx.type, 16)
    except (TypeError, ValueError):
        return None


def _is_on(spec: ChainSpec, name: str) -> bool:
    """An option of the chain; ConfigError where it is neither ``auto`` nor ``off``."""
    value: Any = (spec.options or {}).get(name, "auto")
    if value not in ("auto", "off", True, False):  # YAML reads on and off as these
        raise ConfigError(f"chain {spec.name}: options.{name} was {value!r}, expected auto or off")
    return value in ("auto", True)
