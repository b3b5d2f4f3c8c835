"""Intake: which flows are real to their owner, and how they become rows of the fold.

Hostile chain data stops here. Anybody can forge a token transfer in a wallet's name, or shower it with worthless
tokens: an outflow of a token counts only where the wallet itself started the transaction, or did so before with this
token, or the owner listed the token. Tokens that only ever arrive get a few records, the rest none.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.addresses.digest import keys
from monitor.ids import hash64
from monitor.labels import LabelBook
from monitor.maturity import MaturityBook, is_new
from monitor.model import ControlEvent, ControlKind, Direction, Flow, Role, TransferKind, Wallet
from monitor.parameters import parameters
from monitor.policies.base import Place, place_of
from monitor.rows import (
    FOREIGN,
    IN,
    NATIVE,
    OUT,
    SPEND,
    TELL,
    TOUCH,
    TRUSTED,
    FlowRows,
    RowBuilder,
    label_flag,
    pack_coin_marks,
    pack_marks,
)  # fmt: skip
from monitor.state import EngineState, asset_key
from monitor.trust import Trust, TrustBook
from monitor.watchlist import Watchlist

__all__ = ["Intake", "Taken", "destination_key", "destination_keys"]

MAX_ASSETS = 512  # records a wallet may have on one chain
UTXO = "bip122:"
_TO = "to"
MAX_UNPROVEN = 256  # of them, opened by arrivals alone


def destination_key(address: str) -> int:
    """The 64-bit key of a destination in the compiled tables."""
    return hash64(_TO, address)


def destination_keys(addresses: pl.Series) -> NDArray[np.uint64]:
    """`destination_key` of each address: shape (n,); null is the empty text, as in a `Transfer`."""
    return keys(addresses, _TO)


def marks_of(flow: Flow) -> int:
    """What the transaction of a payment looks like."""
    tx = flow.transfer.tx
    if not flow.transfer.block.chain.startswith(UTXO):
        return pack_marks(tx.fee_rate, tx.gas_limit, tx.n_outputs, None, None, tx.nonce)  # no table tells the others
    inputs = len(flow.transfer.from_addresses)  # all of them, in tables as well
    said = tx.flags if tx.version is not None else None
    return pack_coin_marks(tx.fee_rate, inputs, tx.n_outputs, tx.version, said, tx.script_type)


def is_touch(flow: Flow, own: bool) -> bool:
    """Whether a flow without value is a call that its wallet is known to have signed."""
    return (
        own
        and flow.direction is Direction.OUT
        and flow.transfer.tx.initiator is not None
        and flow.transfer.kind is not TransferKind.FEE
        and bool(flow.counterparty)
    )


def pays_fees(flow: Flow) -> bool:
    """Whether what arrives may be meant for the fees of later payments: where coins are spent, they pay themselves."""
    return flow.transfer.kind is not TransferKind.TOKEN and not flow.transfer.block.chain.startswith(UTXO)


def is_token(asset: str) -> bool:
    """Whether an asset is what a contract says it is, and not the chain's own coin.

    >>> is_token("eip155:1/erc20:0xdac17f958d2ee523a2206206994597c13d831ec7"), is_token("eip155:1/slip44:60")
    (True, False)
    """
    return "/slip44:" not in asset


@dataclass(slots=True)
class Taken:
    """Rows of a block, and the flow behind each (None: not a movement); all real flows, and those that are not."""

    rows: FlowRows
    flows: list[Flow | None] = field(default_factory=list)
    real: list[Flow] = field(default_factory=list)
    shown: list[Flow] = field(default_factory=list)  # not real to their owner
    trust: dict[Place, Trust] = field(default_factory=dict)  # payments that are expected


class Intake:
    """Turns flows into rows, opening records where a flow deserves one."""

    def __init__(
        self,
        watchlist: Watchlist,
        state: EngineState,
        trust: TrustBook,
        listed: Iterable[str] = (),
        labels: LabelBook | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._watchlist = watchlist
        self._state = state
        self._trust = trust
        self._listed = frozenset(listed)
        self._settings = settings or {}
        self._places: dict[tuple[str, str], int] = {}
        self._parameters: dict[tuple[Role, float], NDArray[np.void]] = {}  # of wallets with no settings of their own
        self.labels = labels
        self.maturing = MaturityBook()

    def place(self, wallet: str, chain: str) -> int:
        """The fusion record of a wallet on a chain, made if needed."""
        place = self._places.get((wallet, chain))
        if place is None:
            usual = self._watchlist.wallets[wallet].role, self._watchlist.budget(wallet, chain)
            settings = self._settings.get(wallet)
            record = None if settings else self._parameters.get(usual)
            if record is None:
                record = parameters(*usual, settings)
                if not settings:
                    self._parameters[usual] = record
            place = self._state.wallet(wallet, chain, record)
            self._places[wallet, chain] = place
        return place

    def is_personal(self, wallet: str) -> bool:
        """Whether signs of personal wallets matter."""
        return self._watchlist.wallets[wallet].role is Role.PERSONAL

    def is_own(self, flow: Flow) -> bool:
        """Whether the wallet itself started the transaction, as far as the source can tell."""
        tx = flow.transfer.tx
        if tx.initiator is None:  # that a token's balance fell on its own is nothing but the token's word
            return flow.transfer.kind is not TransferKind.RECONCILED or not is_token(flow.transfer.asset)
        own = self._watchlist.watch(flow.transfer.block.chain)
        starter = own.get(tx.initiator)
        called = own.get(tx.target) if tx.target else None
        return (starter is not None and starter.id == flow.wallet) or (
            called is not None and called.id == flow.wallet
        )

    def admit(
        self, wallet: str, chain: str, asset: str, *, out: bool, own: bool, genuine: bool, proven: Container[int] = ()
    ) -> int:
        """The asset record for a flow, opened where it deserves one; -1: this flow is not real to its owner.

        Parameters
        ----------
        out : coins leave
        own : the wallet itself started the transaction
        genuine : the asset cannot be forged (the chain's own coin, or listed by the owner)
        proven : slots whose asset the wallet moved earlier in this block
        """
        slot = self._state.asset(wallet, chain, asset)
        if out and not own and not genuine and not (slot in proven or (slot >= 0 and self._state.is_proven(slot))):
            return -1
        if slot < 0:
            limit = MAX_ASSETS if genuine or (out and own) else MAX_UNPROVEN
            if self._state.assets_of(wallet, chain) >= limit:
                return -1
            slot = self._state.add_asset(wallet, chain, asset)
        return slot

    def is_exact(self, wallet: str) -> bool:
        """Whether policies alone judge a wallet: it pays too rarely, or has too many members, for statistics."""
        return self._watchlist.wallets[wallet].role.is_exact

    def is_listed(self, asset: str) -> bool:
        """Whether the owner named this asset as real."""
        return asset in self._listed

    def is_genuine(self, flow: Flow) -> bool:
        """Whether a flow's asset cannot be forged."""
        transfer = flow.transfer
        forgeable = transfer.kind is TransferKind.TOKEN or (
            transfer.kind is TransferKind.RECONCILED and is_token(transfer.asset)
        )
        return not forgeable or self.is_listed(transfer.asset)

    def take(
        self,
        flows: Sequence[Flow],
        controls: Sequence[ControlEvent],
        told: Mapping[tuple[str, str, str], int],
        at: int,
    ) -> tuple[Taken, list[int]]:
        """Rows of one block, and the slots whose asset the wallet proved by moving it.

        Parameters
        ----------
        told : balances by (wallet, chain, asset) before this block
        at : time of the block
        """
        builder = RowBuilder()
        kept: list[Flow | None] = []
        real: list[Flow] = []
        shown: list[Flow] = []
        trust: dict[Place, Trust] = {}
        proven: list[int] = []
        self._tell(told, at, builder, kept)
        self._mature(flows, at, builder, kept)
        for event in controls:
            found = self.approved(event)
            slot = self._state.asset(found[0].id, event.block.chain, found[1]) if found is not None else -1
            if slot >= 0:  # what a wallet lets others spend is real to it
                proven.append(slot)
        for flow in flows:
            if flow.direction is Direction.INTERNAL:
                real.append(flow)
                continue
            if is_new(flow):
                self.maturing.add(flow)
                real.append(flow)
                continue
            if not flow.value:
                if not self._touch(flow, at, builder, kept):
                    shown.append(flow)
                continue
            slot = self._slot(flow, proven)
            if slot < 0:
                shown.append(flow)
                continue
            real.append(flow)
            out = flow.direction is Direction.OUT
            if out and (self.is_own(flow) or self.is_genuine(flow)):
                proven.append(slot)
            chain = flow.transfer.block.chain
            place = self.place(flow.wallet, chain)
            if not out:
                native = pays_fees(flow) and self.is_personal(flow.wallet)
                key = destination_key(flow.counterparty) if native else 0
                builder.add(slot, place, at, IN, float(flow.value), key, NATIVE if native else 0)
            elif flow.transfer.kind is TransferKind.FEE or not flow.counterparty:
                builder.add(slot, place, at, SPEND, float(flow.value))
            else:
                self._pay(flow, slot, place, at, builder, trust)
            kept.append(flow)
        return Taken(builder.build(), kept, real, shown, trust), proven

    def _pay(
        self, flow: Flow, slot: int, place: int, at: int, builder: RowBuilder, trust: dict[Place, Trust]
    ) -> None:
        """A payment to somebody: whether it is expected, and what it looks like."""
        answer = Trust.PLANNED if flow.authorised else self._trust.answer(flow, at)
        if answer:
            trust[place_of(flow)] = answer
        flags = TRUSTED if answer or self.is_exact(flow.wallet) else self._signs(flow, at)
        marks = 0 if flags & (TRUSTED | FOREIGN) else marks_of(flow)
        builder.add(slot, place, at, OUT, float(flow.value), destination_key(flow.counterparty), flags, marks)

    def _tell(
        self, told: Mapping[tuple[str, str, str], int], at: int, builder: RowBuilder, kept: list[Flow | None]
    ) -> None:
        """Balances before the block, as its first rows."""
        for (wallet, chain, asset), balance in sorted(told.items()):
            self.maturing.forget(wallet, chain)
            slot = self.admit(wallet, chain, asset, out=False, own=True, genuine=True)
            if slot >= 0:
                builder.add(slot, self.place(wallet, chain), at, TELL, float(balance))
                kept.append(None)

    def _mature(self, flows: Sequence[Flow], at: int, builder: RowBuilder, kept: list[Flow | None]) -> None:
        """New coins of earlier blocks that may be spent by now, before anything else of their wallet."""
        blocks = ((flow.wallet, flow.transfer.block) for flow in flows)
        for wallet, chain, number in dict.fromkeys((wallet, block.chain, block.number) for wallet, block in blocks):
            for coins in self.maturing.release(wallet, chain, number):
                slot = self.admit(wallet, chain, coins.asset, out=False, own=True, genuine=True)
                if slot >= 0:
                    builder.add(slot, self.place(wallet, chain), min(at, coins.at), IN, float(coins.value))
                    kept.append(None)

    def _touch(self, flow: Flow, at: int, builder: RowBuilder, kept: list[Flow | None]) -> bool:
        """A transfer or call without value: whether it counts, since the wallet itself signed it."""
        chain = flow.transfer.block.chain
        if not is_touch(flow, self.is_own(flow)):
            return False
        place, key = self.place(flow.wallet, chain), destination_key(flow.counterparty)
        builder.add(-1, place, at, TOUCH, 0.0, key, 0, asset_key(flow.transfer.asset))
        kept.append(None)
        return True

    def _signs(self, flow: Flow, at: int) -> int:
        """Flags of a payment that nobody expects: who signed, and what labels say of its destination."""
        flags = 0 if self.is_own(flow) else FOREIGN
        if self.labels is not None:
            kind = self.labels.kind_at(flow.transfer.block.chain, flow.counterparty, at)
            flags |= label_flag(int(kind)) if kind is not None else 0
        return flags

    def _slot(self, flow: Flow, proven: Container[int]) -> int:
        return self.admit(
            flow.wallet,
            flow.transfer.block.chain,
            flow.transfer.asset,
            out=flow.direction is Direction.OUT,
            own=self.is_own(flow),
            genuine=self.is_genuine(flow),
            proven=proven,
        )

    def approved(self, event: ControlEvent) -> tuple[Wallet, str] | None:
        """The wallet and token of an approval that the wallet itself gave, else None (others can forge the event)."""
        owner = self._watchlist.wallet_at(event.block.chain, event.account)
        asset = event.detail.get("asset")
        if event.kind is not ControlKind.APPROVAL or owner is None or not isinstance(asset, str):
            return None
        if event.detail.get("value") == "0":  # taken back: nothing is given
            return None
        if event.detail.get("via") == "permit2":  # that contract asks for the owner's call or signature
            return owner, asset
        return (owner, asset) if event.account in (event.tx.initiator, event.tx.target) else None
