"""Who may spend a wallet's coins: what an approval gives, and what is known of whom it is given to. Pure."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from monitor.errors import StoreError
from monitor.labels import LabelBook
from monitor.labels.kind import LabelKind
from monitor.model import ControlEvent, Severity, Tx, Wallet
from monitor.policies.base import Seen
from monitor.watchlist import Watchlist

__all__ = ["PERMIT2", "SETTLED", "Approved", "Grant", "Spenders", "grant_of"]

PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"  # one address on every chain: docs.uniswap.org, Permit2 overview
SETTLED = 7 * 86400  # seconds after which a spender is an ordinary one
_SERVICES = {
    LabelKind.SERVICE, LabelKind.DEFI, LabelKind.DEX, LabelKind.CUSTODIAN, LabelKind.EXCHANGE, LabelKind.BRIDGE,
}  # fmt: skip
_PERMIT2_MOST = 2**160 - 1


@dataclass(frozen=True, slots=True)
class Grant:
    """What an approval gives. ``value`` is in base units, None where the source does not say."""

    account: str
    spender: str
    asset: str
    value: int | None
    every: bool  # all tokens of a collection
    standard: str
    code: str | None  # none, contract or delegated
    is_young: bool

    @property
    def is_revocation(self) -> bool:
        """Whether nothing is given."""
        return self.value == 0

    @property
    def is_unlimited(self) -> bool:
        """Whether it is as much as the token can write: 2^n - 1 for n of 96 or more, or next to it."""
        if self.every:
            return True
        value = self.value or 0
        return value >= _PERMIT2_MOST // 2 or (value.bit_length() >= 96 and value & (value + 1) == 0)

    def exposure(self, balance: int | None) -> int | None:
        """How much the spender can take now; None where nobody knows what is there."""
        if balance is None or self.value is None:
            return balance
        return balance if self.every else min(self.value, balance)


def grant_of(event: ControlEvent) -> Grant:
    """The grant of an event of kind approval."""
    detail = event.detail
    value, code = str(detail.get("value", "")), detail.get("spender_code")
    return Grant(
        account=event.account,
        spender=event.subject,
        asset=str(detail.get("asset") or ""),
        value=int(value) if value.isascii() and value.isdigit() else None,
        every=detail.get("all") == "1" and value != "0",
        standard=str(detail.get("standard", "erc20")),
        code=str(code) if code is not None else None,
        is_young=detail.get("spender_age") == "young",
    )


@dataclass(frozen=True, slots=True)
class Approved:
    """What is kept of a spender: when it was approved first (UTC seconds), how grave the gravest was."""

    first: int
    grade: Severity
    cleared: bool = False

    def dump(self, last: int) -> bytes:
        """The stored form; ``last`` is when it was approved last."""
        return json.dumps([self.first, last, int(self.grade), int(self.cleared)], separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> tuple[int, Approved]:
        """When it was approved last, and the rest."""
        try:
            first, last, grade, cleared = json.loads(data)
            return int(last), cls(int(first), Severity(int(grade)), bool(cleared))
        except (ValueError, TypeError):
            raise StoreError("a stored approval cannot be read: the store lost data") from None

    def again(self, grade: Severity) -> Approved:
        """After another approval."""
        return replace(self, grade=max(grade, self.grade))


class Spenders:
    """What is known of spenders, from the configuration and from labels."""

    def __init__(self, watchlist: Watchlist, labels: LabelBook | None, listed: Container[str]) -> None:
        self._watchlist, self._labels, self._listed = watchlist, labels, listed

    def kind(self, chain: str, address: str, at: int) -> LabelKind | None:
        """The gravest label known at a time (UTC seconds)."""
        return self._labels.kind_at(chain, address, at) if self._labels is not None else None

    def is_bad(self, chain: str, address: str, at: int) -> bool:
        """Whether it is known of thefts, fraud, sanctions or mixing."""
        kind = self.kind(chain, address, at)
        return kind is not None and kind >= LabelKind.MIXER

    def is_expected(self, wallet: Wallet, chain: str, address: str, at: int) -> bool:
        """Whether it is the owner's, trusted by him, a labelled service, or Permit2, which spends for others alone."""
        if chain.startswith("eip155:") and address == PERMIT2:
            return True
        home = self._watchlist.wallet_at(chain, address)
        if home is not None and home.entity == wallet.entity:
            return True
        if self.kind(chain, address, at) in _SERVICES:
            return True
        return any(
            (entry.chain, entry.address) == (chain, address)
            and (entry.start is None or at >= entry.start)
            and (entry.end is None or at < entry.end)
            for entry in wallet.trusted
        )

    def signed(self, wallet: Wallet, chain: str, tx: Tx) -> bool:
        """Whether the wallet itself started a transaction, or is the contract that was called."""
        return any(self._is_of(wallet, chain, address) for address in (tx.initiator, tx.target) if address)

    def is_foreign(self, wallet: Wallet, chain: str, tx: Tx) -> bool:
        """Whether somebody outside of the entity started it; a source that does not say who is taken at its best."""
        homes = [self._watchlist.wallet_at(chain, address) for address in (tx.initiator, tx.target) if address]
        own = any(home is not None and home.entity == wallet.entity for home in homes)
        return tx.initiator is not None and not own

    def _is_of(self, wallet: Wallet, chain: str, address: str) -> bool:
        home = self._watchlist.wallet_at(chain, address)
        return home is not None and home.id == wallet.id

    def is_real(self, event: ControlEvent, wallet: Wallet, seen: Seen) -> bool:
        """Whether an approval was given: anybody can write such an event in a token of his own.

        It counts where the wallet signed the transaction, in listed assets, in those that the wallet moved itself, and
        in Permit2, of which readers take the one contract alone.
        """
        asset = str(event.detail.get("asset") or "")
        if self.signed(wallet, seen.chain, event.tx) or asset in self._listed:
            return True
        return event.detail.get("standard") == "permit2" or seen.holding(wallet.id, asset).moved

    @staticmethod
    def movers(tx: Tx) -> Iterable[str]:
        """Who may have called ``transferFrom`` in a transaction, as far as it says."""
        return tuple(dict.fromkeys(address for address in (tx.initiator, tx.target) if address))
