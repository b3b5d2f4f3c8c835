"""PW-3 for treasuries: a stranger's transaction takes a large part of a token, whatever was approved before."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from fractions import Fraction

from monitor.labels import LabelBook
from monitor.model import Direction, Finding, Flow, Role, Severity, TransferKind
from monitor.policies.base import Running, Seen, finding_for
from monitor.policies.settings import Given, Settings
from monitor.policies.spenders import Spenders
from monitor.policies.words import percent
from monitor.watchlist import Watchlist

__all__ = ["ThirdPartySpends"]

SHARE = Fraction(1, 20)  # of the balance of the asset before it


class ThirdPartySpends:
    """PW-3 as a policy, for treasuries: high where more than 5 % of a token's balance goes in one such transfer.

    It is silent where who started the transaction, or the contract that was called (the token itself apart), is
    trusted, the owner's, or labelled a service, and to destinations that are expected. It keeps no state of its own.

    Parameters
    ----------
    watchlist : wallets of every role; treasuries are judged
    labels : what is known of addresses, and since when
    settings : what wallets set for the detectors
    """

    id = "PW-3T"
    prefix = b"\x00"  # of no record

    def __init__(
        self,
        watchlist: Watchlist,
        listed: Container[str] = (),
        labels: LabelBook | None = None,
        settings: Given | None = None,
    ) -> None:
        given = Settings([], settings)
        self._watchlist = watchlist
        self._spenders = Spenders(watchlist, labels, listed)
        self._wallets = frozenset(
            w.id for w in watchlist.wallets.values() if w.role is Role.TREASURY and given.enabled(w.id, "PW-3")
        )

    @property
    def wallets(self) -> frozenset[str]:
        """Treasuries."""
        return self._wallets

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`."""
        running = Running(seen)
        findings: list[Finding] = []
        for flow in flows:
            before, after = running.step(flow)
            if before is not None and after is not None:
                findings += self._spend(flow, before, after, seen)
        return findings

    def _spend(self, flow: Flow, before: int, after: int, seen: Seen) -> Iterator[Finding]:
        owner, transfer = self._watchlist.wallets[flow.wallet], flow.transfer
        if flow.direction is not Direction.OUT or transfer.kind is not TransferKind.TOKEN:
            return
        if flow.value <= SHARE * before or seen.expects(flow):
            return
        if not self._spenders.is_foreign(owner, seen.chain, transfer.tx):
            return
        movers = [one for one in self._spenders.movers(transfer.tx) if not transfer.asset.endswith(f":{one}")]
        if any(self._spenders.is_expected(owner, seen.chain, mover, seen.at) for mover in movers):
            return
        names = seen.names
        amount, held = names.display(transfer.asset, flow.value), names.display(transfer.asset, before)
        text = f"{amount} of {held}, over {percent(SHARE)}, moved by a stranger's transaction: {transfer.tx.initiator}"
        yield finding_for(flow, "PW-3", Severity.HIGH, text, {"movers": movers, "balance_after": str(after)})

    # -- state: none ----------------------------------------------------------------------------------------------

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`."""
        return set()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        return None

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`."""

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        return []
