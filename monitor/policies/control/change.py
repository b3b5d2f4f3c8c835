"""One change of who may move the coins of an account, from an event or from what the chain's state says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from monitor.model import ControlKind, Tx

__all__ = ["ZERO", "Change", "How", "address_or_zero"]

ZERO = "0x" + "0" * 40


class How(StrEnum):
    """What happened to a value."""

    SET = "set"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """A change, before anybody judged it.

    ``key`` is that of `monitor.model.Reading.values`, or a word of its own for what no reading has (``role``,
    ``delegate_call``, ...). ``value`` is the new value, of sets the member that came or went; `ZERO` where an address
    is none any more. ``before`` is None where nobody knows it. ``values`` are those of the account as far as they are
    known after the change.
    """

    kind: ControlKind
    account: str
    key: str
    value: str
    before: str | None = None
    how: How = How.SET
    detail: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    tx: Tx | None = None  # None: no transaction of the block touched the account
    is_read: bool = False  # the state says so, and no event did

    @property
    def is_unsaid(self) -> bool:
        """Whether a transaction of the block made it and no event told of it."""
        return self.is_read and self.tx is not None


def address_or_zero(value: str) -> str:
    """An address, the zero address where there is none."""
    return value or ZERO
