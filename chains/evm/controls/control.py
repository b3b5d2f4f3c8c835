"""The shape of a control event before it has a block and a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.model import BlockRef, ControlEvent, ControlKind, Tx

__all__ = ["ZERO", "Control"]

ZERO = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class Control:
    """See `monitor.model.ControlEvent`; every value of ``detail`` is text."""

    kind: ControlKind
    account: str
    subject: str
    detail: Mapping[str, str] = field(default_factory=dict)

    def at(self, block: BlockRef, tx: Tx) -> ControlEvent:
        """The event."""
        return ControlEvent(block, tx, self.kind, self.account, self.subject, self.detail)
