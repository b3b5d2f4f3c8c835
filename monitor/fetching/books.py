"""What a folder's parts teach about balances: what moved so far, and which assets came to matter, with what before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.fetching.manifest import Part
from monitor.fetching.piece import Begin, Piece
from monitor.watchlist import Watchlist

__all__ = ["Books", "restore_use", "use_of"]


@dataclass
class Books:
    """Sums over everything from the first block on.

    Attributes
    ----------
    net : what moved, by (address, asset), base units
    begun : the first block that mattered for (wallet, asset), with what moved before it
    """

    net: dict[tuple[str, str], int] = field(default_factory=dict)
    begun: dict[tuple[str, str], Begin] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Books:
        """The books of what is stored."""
        books = cls()
        for part in parts:
            books.add(part)
        return books

    def add(self, part: Part) -> None:
        """Take in the part that follows."""
        for wallet, asset, number, before in part.begun:
            moved = {address: int(value) for address, value in before}
            self.begun[wallet, asset] = Begin(wallet, asset, number, "", moved)
        for address, asset, value in part.net:
            self.net[address, asset] = self.net.get((address, asset), 0) + int(value)

    def news(self, pieces: Sequence[Piece], addresses: Mapping[str, Sequence[str]]) -> list[Begin]:
        """What came to matter in pieces that follow on these books, which stay as they are.

        Parameters
        ----------
        addresses : of each wallet
        """
        found: dict[tuple[str, str], Begin] = {}
        moved: dict[tuple[str, str], int] = {}
        for piece in pieces:
            for begin in piece.begins:
                key = (begin.wallet, begin.asset)
                if key in self.begun or key in found:
                    continue
                before = {}
                for address in addresses.get(begin.wallet, ()):
                    place = (address, begin.asset)
                    value = self.net.get(place, 0) + moved.get(place, 0) + begin.before.get(address, 0)
                    if value:
                        before[address] = value
                found[key] = Begin(begin.wallet, begin.asset, begin.number, begin.parent, before)
            for place, value in piece.net.items():
                moved[place] = moved.get(place, 0) + value
        return list(found.values())


def use_of(watchlist: Watchlist, chain: str) -> dict[str, int]:
    """How far derived addresses of a chain are in use, by the first address of their branch."""
    return {
        derived.first_of(branch): derived.reached(branch)
        for wallet in watchlist.wallets.values()
        for derived in wallet.derived
        if derived.chain == chain
        for branch in range(len(derived.runs))
    }


def restore_use(watchlist: Watchlist, chain: str, used: Mapping[str, int]) -> None:
    """Watch again what was watched when this was stored."""
    for wallet in watchlist.wallets.values():
        for derived in wallet.derived:
            for branch in range(len(derived.runs) if derived.chain == chain else 0):
                derived.reach(branch, used.get(derived.first_of(branch), 0))
