"""A chain that was rewritten below what can be undone: what both branches hold is counted once.

The state of before the rewrite cannot be had any more, so it stays as it is. Transactions of the old branch that are
mined again with the same effect are in it already: they are remembered with what they moved, and not folded a second
time. The others of the new branch are folded as usual, and those that do not come back are taken out of incidents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from monitor.errors import StoreError
from monitor.gap import ask_again, blind
from monitor.marks import Mark, spool_prefix
from monitor.model import Alert, Block
from monitor.open_commit import flow_record
from monitor.store import Delta, FlowRecord, Store
from monitor.watchlist import Watchlist

__all__ = ["OldBranch", "blind_to_rewrite", "replaced"]

LOOK_BACK = 2 * 86400  # seconds before the first block that cannot be undone in which others of the branch may lie
_SEPARATOR = b"\x1f"


class OldBranch:
    """What the replaced branches of chains moved, by transaction.

    The records lie in the spool, ``b|chain|k|transaction``, until the transaction is mined again or the new branch is
    as final as the old one was.

    Parameters
    ----------
    store : knows the flows of blocks that were not disconnected yet
    """

    def __init__(self, watchlist: Watchlist, store: Store) -> None:
        self._watchlist = watchlist
        self._store = store
        self._known: dict[str, dict[str, tuple[FlowRecord, ...]]] = {}
        self._below: dict[str, dict[int, list[FlowRecord]]] = {}  # flows by height, while a branch is taken away

    def load(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take stored records over; others are left alone."""
        for key, value in records:
            parts = key.split(_SEPARATOR, 3)
            if len(parts) != 4 or parts[2] != b"k" or not key.startswith(spool_prefix(parts[1].decode())):
                continue
            known = self._known.setdefault(parts[1].decode(), {})
            if value is None:
                known.pop(parts[3].decode(), None)
            else:
                known[parts[3].decode()] = _read(value)

    def is_under_way(self, chain: str) -> bool:
        """Whether blocks that cannot be undone are being disconnected."""
        return chain in self._below

    async def take_away(self, chain: str, number: int, at: int) -> Delta:
        """Remember what block ``number`` of time ``at`` moved, before it is disconnected; the records to store."""
        if chain not in self._below:
            self._below[chain] = await self._flows(chain, at - LOOK_BACK)
        by_tx: dict[str, list[FlowRecord]] = {}
        for flow in self._below[chain].get(number, ()):
            by_tx.setdefault(flow.tx, []).append(flow)
        delta = tuple((_key(chain, tx), msgspec.json.encode(flows)) for tx, flows in sorted(by_tx.items()))
        self.load(delta)
        return delta

    async def _flows(self, chain: str, since: int) -> dict[int, list[FlowRecord]]:
        found: dict[int, list[FlowRecord]] = {}
        for wallet in sorted(self._watchlist.wallets):
            if chain in self._watchlist.chains_of(wallet):
                for flow in await self._store.flows(wallet, chain, None, since):
                    found.setdefault(flow.block_number, []).append(flow)
        return found

    def without(self, block: Block, finality: int) -> tuple[Block, tuple[FlowRecord, ...], Delta, Delta]:
        """A block of the new branch without what is folded already.

        Returns
        -------
        (the block, flows of what was left out, changed records, how to undo that)
        """
        chain = block.ref.chain
        self._below.pop(chain, None)
        known = self._known.get(chain)
        if not known:
            return block, (), (), ()
        new: dict[str, list[FlowRecord]] = {}
        for flow in self._watchlist.flows(block):
            if flow.transfer.tx.hash in known:
                new.setdefault(flow.transfer.tx.hash, []).append(flow_record(flow))
        same = {tx for tx, flows in new.items() if _effects(known[tx]) <= _effects(flows)}
        over = {tx for tx, flows in known.items() if block.ref.number > max(f.block_number for f in flows) + finality}
        gone = sorted((same | over) & known.keys())
        undo = tuple((_key(chain, tx), msgspec.json.encode(list(known[tx]))) for tx in gone)
        kept = tuple(flow for tx in sorted(same) for flow in _again(known[tx], new[tx]))
        changed = tuple((_key(chain, tx), None) for tx in gone)
        self.load(changed)
        if same:
            transfers = tuple(t for t in block.transfers if t.tx.hash not in same)
            controls = tuple(c for c in block.controls if c.tx.hash not in same)
            block = replace(block, transfers=transfers, controls=controls)
        return block, kept, changed, undo


def replaced(mark: Mark, number: int, stale: Sequence[tuple[str, str]]) -> Mark:
    """The mark after a block that could not be undone was replaced, with the balances that may be wrong."""
    note = f"block {number} was replaced when it could not be undone any more: what it taught stays"
    return msgspec.structs.replace(ask_again(mark, stale), note=note)


def blind_to_rewrite(chain: str, number: int, name: str) -> Alert:
    """What people hear of it."""
    return blind(
        chain,
        f"{chain} was rewritten below block {number}, which was final here ({name[:18]})",
        "Endpoints show another chain than before, further back than can be undone. It is followed from there on: "
        "transactions that are on both are counted once, those that are not on the new one are taken out of "
        "incidents, and balances are asked again. What was learned from the old branch stays. Look at the chain's "
        "own announcements before you trust deposits of this time.",
    )


def _key(chain: str, tx: str) -> bytes:
    return spool_prefix(chain) + b"k\x1f" + tx.encode()


def _effect(flow: FlowRecord) -> tuple[str, int, str, str, int]:
    return flow.wallet, flow.direction, flow.asset, flow.counterparty, flow.value


def _effects(flows: Iterable[FlowRecord]) -> set[tuple[str, int, str, str, int]]:
    return {_effect(flow) for flow in flows}


def _again(old: Sequence[FlowRecord], new: Sequence[FlowRecord]) -> list[FlowRecord]:
    """The flows of a transaction where it lies now."""
    was = _effects(old)
    return [flow for flow in new if _effect(flow) in was]


def _read(value: bytes) -> tuple[FlowRecord, ...]:
    try:
        return msgspec.json.decode(value, type=tuple[FlowRecord, ...])
    except msgspec.DecodeError as error:
        raise StoreError(f"a stored transaction of a replaced branch cannot be read ({error})") from None
