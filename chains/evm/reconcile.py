"""Balances against what a block's transfers explain: a change that they do not is a transfer of its own.

Contracts, and accounts that run the code of one, can lose coins in calls that leave no transaction or log of theirs;
where no traces are read their balance tells of it. An account without code cannot: coins leave it as the value or the
fee of a transaction that it signed itself, and those are in the block. Tokens are checked for every account where they
moved: some take a fee beyond what their log says, some change balances on their own, some log what never happened.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chains.evm.pinned import SETTLING, Call, Pinned, word_of
from chains.evm.slots import selector
from chains.evm.touches import Touches
from monitor.ids import stable_id
from monitor.model import UNEXPLAINED, Block, BlockRef, Transfer, TransferKind, Tx

__all__ = ["RECONCILED", "Balances", "net_of"]

RECONCILED = "internal transfers (balances reconciled)"  # the blind spot, where balances were looked at
INDEX_BASE = 2**33  # of reconciled transfers in their block: above every log and every internal call
MOST_PAIRS = 100  # (account, token) that are looked at in one block
MOST_CARRIED = 2048  # balances that are remembered from block to block
KEPT = 64  # blocks whose balances are remembered
BALANCE_OF = selector("balanceOf(address)")

Pair = tuple[str, str]
"""Account, and CAIP-19 asset."""


class Balances:
    """Explains balances, block by block. What is remembered belongs to a block's hash, so branches do not mix.

    Parameters
    ----------
    chain, native : CAIP-2, and CAIP-19 of its coin
    accounts : whose tokens are looked at
    """

    def __init__(self, pinned: Pinned, chain: str, native: str, accounts: Iterable[str]) -> None:
        self._pinned, self._native = pinned, native
        self._tokens = f"{chain}/erc20:"
        self._accounts = frozenset(accounts)
        self._after: OrderedDict[str, dict[Pair, int]] = OrderedDict()  # by block hash

    async def explain(self, block: Block, touches: Touches, natives: Mapping[str, int]) -> tuple[Block, set[str]]:
        """The block with what its transfers leave unexplained, and the accounts whose coins are accounted for.

        Parameters
        ----------
        natives : wei after the block, of accounts that may move coins without a trace

        Raises
        ------
        ChainUnavailable, ChainInconsistent : see `Pinned.ask`
        """
        nets = net_of(block.transfers)
        moved = [pair for pair in nets if pair[0] in self._accounts and pair[1].startswith(self._tokens)]
        wanted = sorted(moved)[:MOST_PAIRS]
        after = {(account, self._native): value for account, value in natives.items()}
        after |= await self._ask(wanted, block.ref)
        before = await self._before(list(after), block)
        odd = [pair for pair in sorted(before) if self._matters(pair, before, after, nets, block, touches)]
        if odd:
            await asyncio.sleep(SETTLING)
            after |= await self._ask(odd, block.ref)
        self._remember(block, nets, after)
        found: list[tuple[Pair, int, int]] = [
            (pair, before[pair], after[pair])
            for pair in odd
            if self._matters(pair, before, after, nets, block, touches)
        ]
        transfers = [
            _transfer(block.ref, pair, value, now, now - value - nets.get(pair, 0), touches, INDEX_BASE + place)
            for place, (pair, value, now) in enumerate(found)
        ]
        told = [(*pair, before[pair]) for pair in sorted(before) if pair in nets or after[pair] != before[pair]]
        done = {account for account, asset in before if asset == self._native}
        return replace(block, transfers=(*block.transfers, *transfers), balances=(*block.balances, *told)), done

    def skip(self, block: Block) -> None:
        """Balances could not be asked for: they are carried over, so that the next block explains the change."""
        self._remember(block, net_of(block.transfers), {})

    def _matters(
        self, pair: Pair, before: Mapping[Pair, int], after: Mapping[Pair, int], nets: Mapping[Pair, int], block: Block,
        touches: Touches,
    ) -> bool:  # fmt: skip
        """Whether a balance changed otherwise than its transfers say."""
        change = after[pair] - before[pair] - nets.get(pair, 0)
        if not change or pair[1] != self._native or not touches.signed(pair[0]):
            return bool(change)
        # A delegated account pays fees, of which some networks charge parts that no receipt tells.
        fees = sum(t.value for t in block.transfers if t.kind is TransferKind.FEE and t.from_addresses == (pair[0],))
        return abs(change) > fees > 0

    async def _before(self, pairs: Sequence[Pair], block: Block) -> dict[Pair, int]:
        """What the accounts had before the block: remembered, or asked for."""
        known = self._after.get(block.parent_hash, {})
        missing = [pair for pair in pairs if pair not in known]
        parent = BlockRef(block.ref.chain, block.ref.number - 1, block.parent_hash)
        asked = await self._ask(missing, parent)
        return {pair: known[pair] if pair in known else asked[pair] for pair in pairs if pair in known or pair in asked}

    async def _ask(self, pairs: Sequence[Pair], at: BlockRef) -> dict[Pair, int]:
        calls = [self._call(*pair) for pair in pairs]
        answers = await self._pinned.ask(calls, at)
        amounts = [
            _amount(answer, exact=method == "eth_call") for (method, _), answer in zip(calls, answers, strict=True)
        ]
        return {pair: amount for pair, amount in zip(pairs, amounts, strict=True) if amount is not None}

    def _call(self, account: str, asset: str) -> Call:
        if asset == self._native:
            return "eth_getBalance", (account,)
        data = BALANCE_OF + account[2:].rjust(64, "0")
        return "eth_call", ({"to": asset.removeprefix(self._tokens), "data": data},)

    def _remember(self, block: Block, nets: Mapping[Pair, int], after: Mapping[Pair, int]) -> None:
        """Balances after the block; those that were not asked for are what its transfers make of them."""
        carried = {pair: value + nets.get(pair, 0) for pair, value in self._after.get(block.parent_hash, {}).items()}
        carried |= after
        for pair in list(carried)[: max(0, len(carried) - MOST_CARRIED)]:
            del carried[pair]
        self._after[block.ref.hash] = carried
        self._after.move_to_end(block.ref.hash)
        while len(self._after) > KEPT:
            self._after.popitem(last=False)


def net_of(transfers: Iterable[Transfer]) -> dict[Pair, int]:
    """What transfers add to each party's balance of each asset, base units."""
    nets: dict[Pair, int] = {}
    for transfer in transfers:
        if not transfer.value:
            continue
        for party, value in ((transfer.from_addresses[0], -transfer.value), (transfer.to_address, transfer.value)):
            if party:
                nets[party, transfer.asset] = nets.get((party, transfer.asset), 0) + value
    return nets


def _transfer(
    ref: BlockRef, pair: Pair, before: int, after: int, change: int, touches: Touches, index: int
) -> Transfer:
    account, asset = pair
    tx = touches.only(account)
    if tx is None:
        name = stable_id(account, asset, before, after, length=16)
        tx = Tx(hash=f"{UNEXPLAINED}-{name}", index=touches.count)
    sender, receiver = (account, UNEXPLAINED) if change < 0 else (UNEXPLAINED, account)
    value = abs(change)
    return Transfer(ref, tx, index, TransferKind.RECONCILED, asset, (sender,), receiver, value, input_values=(value,))


def _amount(answer: Any, *, exact: bool) -> int | None:
    """A balance; ``exact`` asks for one word, because "0x" is what an account without code returns."""
    if exact:
        answer = word_of(answer)
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        return None
