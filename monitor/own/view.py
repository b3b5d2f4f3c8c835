"""What a detector of one's own may know beside the flow that it judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from monitor.labels import LabelBook, LabelKind
from monitor.model import ControlEvent, Flow, Wallet
from monitor.policies.base import Seen
from monitor.trust import Trust

__all__ = ["View"]


@dataclass(slots=True)
class View:
    """The wallet, what is known of it before and after the flow, and the detector's own memory.

    Attributes
    ----------
    wallet : whose flow it is: id, entity, role, labels, budget
    memory : this detector's notes on this wallet and chain: JSON values (text keys; lists, no tuples), empty at first.
        It is the only place where a detector may remember anything: it is stored and undone with its block
    before, after : balance of the flow's asset, base units; None: nobody told it (always None for a change of control)
    numbers : the detector's parameters as the wallet sets them, exact
    """

    wallet: Wallet
    memory: dict[str, Any]
    before: int | None
    after: int | None
    numbers: Mapping[str, Fraction]
    _about: Flow | ControlEvent
    _seen: Seen
    _labels: LabelBook = field(repr=False)

    @property
    def chain(self) -> str:
        """CAIP-2."""
        return self._seen.chain

    @property
    def block(self) -> int:
        """Number of the block."""
        return self._seen.number

    @property
    def at(self) -> int:
        """UTC seconds of the block, as the chain states it; it never runs backwards."""
        return self._seen.at

    @property
    def time(self) -> datetime:
        """`at` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self._seen.at, UTC)

    @property
    def since(self) -> int:
        """When the wallet was first seen on this chain: a flow, or a told balance; UTC seconds."""
        return self._seen.since(self.wallet.id)

    @property
    def share(self) -> Fraction | None:
        """The flow as a part of the balance before it; None where the balance is not known, or was nothing."""
        if not self.before or not isinstance(self._about, Flow):
            return None
        return Fraction(self._about.value, self.before)

    @property
    def trust(self) -> Trust:
        """How far the owner expects an outflow."""
        return self._seen.trusted(self._about) if isinstance(self._about, Flow) else Trust.UNKNOWN

    @property
    def expected(self) -> bool:
        """Whether the owner expects an outflow at all: planned, trusted within its limits, or to a wallet of theirs."""
        return self.trust is not Trust.UNKNOWN

    @property
    def amount(self) -> str:
        """The flow's amount for people, ``526,300,010 XEM`` for example."""
        flow = self._about
        return self.display(flow.transfer.asset, flow.value) if isinstance(flow, Flow) else ""

    def display(self, asset: str, value: int) -> str:
        """An amount (base units) of a CAIP-19 asset for people."""
        return self._seen.names.display(asset, value)

    def balance(self, asset: str) -> int | None:
        """Balance of another asset of the wallet before the block, base units; None: nobody told it."""
        return self._seen.balance(self.wallet.id, asset)

    def number(self, name: str) -> Fraction:
        """A parameter as this wallet sets it, exact; KeyError where the detector has none of this name."""
        return self.numbers[name]

    def label(self, address: str) -> LabelKind | None:
        """What an address was known for at this time, by the labels of the configuration; None: nothing."""
        return self._labels.kind_at(self.chain, address, self.at)
