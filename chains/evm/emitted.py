"""Which readings are news: those that the parent block's state does not show already. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

__all__ = ["Emitted"]

KEPT = 256  # blocks whose readings are remembered

Values = Mapping[str, str]


class Emitted:
    """Remembers what each block showed, by hash: blocks may be read ahead of their turn, twice, or on two branches.

    Saying a thing again does no harm, leaving it out does: where a block's parent is not known, a reading is left out
    only if all remembered blocks show the same.
    """

    def __init__(self) -> None:
        self._at: OrderedDict[str, dict[str, Values]] = OrderedDict()

    def news(self, parent: str, block: str, values: Mapping[str, Values]) -> list[str]:
        """The accounts of ``values`` that differ from what went before ``block``, in their order."""
        known = self._at.get(parent)
        if known is not None:
            found = [account for account, value in values.items() if known.get(account) != value]
        else:
            every = list({id(one): one for one in self._at.values()}.values())
            found = [
                account for account, value in values.items()
                if not every or any(one.get(account) != value for one in every)
            ]  # fmt: skip
            known = next(reversed(self._at.values()), {})
        changed = {account: value for account, value in values.items() if known.get(account) != value}
        self._at[block] = {**known, **changed} if changed else known
        self._at.move_to_end(block)
        while len(self._at) > KEPT:
            self._at.popitem(last=False)
        return found

    def forget(self, block: str) -> None:
        """A block was handed on without readings: what it would have said is news to the next one."""
        self._at.pop(block, None)
