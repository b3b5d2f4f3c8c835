"""What judges of changes know, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.labels import LabelBook
from monitor.labels.kind import LabelKind
from monitor.model import Severity, Wallet
from monitor.policies.control.change import ZERO
from monitor.policies.control.known import Known
from monitor.watchlist import Watchlist

__all__ = ["Facts", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a change.

    ``suspect`` is who got power over the coins, or gets them; empty where nobody did. ``grants`` is whether anybody
    did at all.
    """

    detector: str
    severity: Severity
    text: str
    suspect: str = ""
    grants: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What a judge may know beside the change: ``known`` is the account as it was before it, ``at`` UTC seconds."""

    chain: str
    at: int
    wallet: Wallet
    known: Known
    watchlist: Watchlist
    labels: LabelBook

    def is_bad(self, address: str) -> bool:
        """Whether an address is known of thefts, fraud, sanctions or mixing."""
        kind = self.labels.kind_at(self.chain, address, self.at)
        return kind is not None and kind >= LabelKind.MIXER

    def named(self, address: str) -> str:
        """An address for people, with what is known of it."""
        if address == ZERO:
            return "none"
        labels = self.labels.at(self.chain, address, self.at)
        return f"{address} ({labels[-1].name})" if labels else address

    def expects(self, address: str) -> bool:
        """Whether the owner trusts an address now, or it is a wallet of his own."""
        home = self.watchlist.wallet_at(self.chain, address)
        if home is not None and home.entity == self.wallet.entity:
            return True
        return any(
            (entry.chain, entry.address) == (self.chain, address)
            and (entry.start is None or self.at >= entry.start)
            and (entry.end is None or self.at < entry.end)
            for entry in self.wallet.trusted
        )
