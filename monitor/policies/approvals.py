"""Dangerous approvals, before anything is lost; and the spend that uses one."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from monitor.config.types import Planned
from monitor.detectors.base import Detector
from monitor.ids import finding_id
from monitor.labels import LabelBook
from monitor.model import ControlEvent, ControlKind, Direction, Finding, Flow, Role, Severity, TransferKind, Wallet
from monitor.policies.base import Seen, finding_for
from monitor.policies.counterparties import Newest
from monitor.policies.planned import Calendar
from monitor.policies.settings import Given, Settings
from monitor.policies.spenders import PERMIT2, SETTLED, Approved, Grant, Spenders, grant_of
from monitor.store import Delta
from monitor.watchlist import Watchlist

__all__ = ["APPROVALS", "Approvals"]

APPROVALS = Detector(
    id="PW-5",
    title="Dangerous approval",
    catches="Leave to spend coins, by approval, permit or Permit2, for an account without code or with a delegate, or "
    "for a contract younger than seven days: high, critical where it is unlimited or the whole balance and coins are "
    "there; for a labelled thief: critical. A spend by such a spender: critical, as PW-3.",
    misses="Contracts of malice that are older and that no label knows: those are info.",
    lookalikes="A new protocol; a bot or a desk of one's own: trust it, or call the incident a false alarm.",
    evidence=(),
    rules=(
        "a spender that was approved first more than seven days ago is an ordinary one",
        "an approval to an unlabelled contract whose age is not young is info: it opens no incident",
    ),
)
MOST = 1_024  # spenders kept of a wallet and chain
_SEPARATOR = "\x1f"


class Approvals:
    """PW-5, as a policy; and PW-3 where a spender that PW-5 warned of takes coins.

    Cold wallets are left out: CW-3 tells every approval of theirs.

    Parameters
    ----------
    watchlist : wallets of every role
    planned : changes of control that the owner expects
    listed : CAIP-19 assets that are known to be real: their events cannot be forged
    labels : what is known of addresses, and since when
    settings : what wallets set for the detectors
    """

    id = APPROVALS.id
    prefix = b"v\x1f"
    unweighed = True

    def __init__(
        self,
        watchlist: Watchlist,
        planned: Iterable[Planned] = (),
        listed: Container[str] = (),
        labels: LabelBook | None = None,
        settings: Given | None = None,
    ) -> None:
        given = Settings([APPROVALS], settings)
        self._watchlist = watchlist
        self._spenders = Spenders(watchlist, labels, listed)
        self._calendar = Calendar(planned)
        wallets = [w for w in watchlist.wallets.values() if w.role is not Role.COLD and given.enabled(w.id, self.id)]
        self._guarded = frozenset(wallet.id for wallet in wallets)
        self._wallets = frozenset(
            wallet.id for wallet in wallets if wallet.role is not Role.DEPOSIT and given.enabled(wallet.id, "PW-3")
        )
        self._known: dict[tuple[str, str], Newest[Approved]] = {}

    @property
    def wallets(self) -> frozenset[str]:
        """Wallets whose spends are compared with approvals."""
        return self._wallets

    @property
    def guarded(self) -> frozenset[str]:
        """See `Guards.guarded`: all but cold ones."""
        return self._guarded

    # -- approvals ------------------------------------------------------------------------------------------------

    def guard(self, events: Sequence[ControlEvent], readings: object, seen: Seen) -> list[Finding]:
        """See `Guards.guard`."""
        findings = []
        for event, owner in self._of(events, seen.chain):
            grant = grant_of(event)
            if grant.is_revocation or not self._spenders.is_real(event, owner, seen):
                continue
            table = self._table(owner.id, seen.chain)
            last, known = table.entries.get(grant.spender, (seen.at, None))
            severity, reason = self._judge(event, grant, owner, known, seen)
            now = Approved(seen.at, severity or Severity.INFO) if known is None else known
            table.set(grant.spender, max(last, seen.at), now.again(severity or Severity.INFO))
            if severity is not None:
                findings.append(self._finding(event, grant, owner, severity, reason, seen))
        return findings

    def _judge(
        self, event: ControlEvent, grant: Grant, owner: Wallet, known: Approved | None, seen: Seen
    ) -> tuple[Severity | None, str]:
        """How grave it is and why; None: ordinary."""
        if self._spenders.is_bad(seen.chain, grant.spender, seen.at):
            kind = self._spenders.kind(seen.chain, grant.spender, seen.at)
            return Severity.CRITICAL, f"an address that is labelled {kind}"
        if self._spenders.is_expected(owner, seen.chain, grant.spender, seen.at):
            return None, ""
        if self._calendar.holds(seen.chain, grant.account, ControlKind.APPROVAL, grant.spender, seen.at):
            return None, ""
        if known is not None and (known.cleared or seen.at - known.first > SETTLED):
            return None, ""
        if grant.code == "none":
            reason = "an account without code, as no honest protocol is"
        elif grant.code == "delegated":
            reason = "an account of a person that lets other code act for it"
        elif grant.is_young:
            reason = "a contract younger than seven days"
        else:
            return Severity.INFO, "a contract that no label knows"
        return (Severity.CRITICAL if self._takes_all(grant, owner.id, seen) else Severity.HIGH), reason

    @staticmethod
    def _takes_all(grant: Grant, wallet: str, seen: Seen) -> bool:
        """Whether nothing bounds what it can take of coins that are there, or may be."""
        balance = _balance(grant, wallet, seen)
        if balance is None:
            return grant.is_unlimited
        exposed = grant.exposure(balance) or 0
        return exposed > 0 and (grant.is_unlimited or exposed == balance)

    def _finding(
        self, event: ControlEvent, grant: Grant, owner: Wallet, severity: Severity, reason: str, seen: Seen
    ) -> Finding:
        exposed = grant.exposure(_balance(grant, owner.id, seen))
        via = str(event.detail.get("via", "approval"))
        by_other = not self._spenders.signed(owner, seen.chain, event.tx)
        parts = [f"{grant.spender}, {reason}, may now spend {_amount(grant, seen)} of {grant.account}"]
        if by_other:
            parts.append("by a signature that somebody else brought to the chain")
        if exposed is None:
            parts.append("what is there is not known")
        else:
            parts.append(f"exposed: {seen.names.display(grant.asset, exposed)}")
        parts.append(f"to revoke: {_revocation(grant)}")
        return Finding(
            id=finding_id(self.id, owner.id, event.tx.hash, f"{grant.asset} {grant.account}", grant.spender),
            detector=self.id,
            wallet=owner.id,
            chain=seen.chain,
            severity=severity,
            score=0.0,
            summary="; ".join(parts),
            tx=event.tx.hash,
            at=seen.at,
            block_number=event.block.number,
            asset=grant.asset,
            destination=grant.spender,
            evidence={
                "kind": str(event.kind),
                "account": grant.account,
                "value": grant.spender,
                "allowance": None if grant.value is None else str(grant.value),
                "unlimited": grant.is_unlimited,
                "exposure": None if exposed is None else str(exposed),
                "spender_code": grant.code,
                "via": via,
                "signed_by_another": by_other,
            },
        )

    # -- spends ---------------------------------------------------------------------------------------------------

    def judge(self, flows: Sequence[Flow], seen: Seen) -> list[Finding]:
        """See `Policy.judge`: coins that a spender takes of which PW-5 warned."""
        return [finding for flow in flows if _is_spend(flow) for finding in self._spend(flow, seen)]

    def _spend(self, flow: Flow, seen: Seen) -> Iterator[Finding]:
        owner, tx = self._watchlist.wallets[flow.wallet], flow.transfer.tx
        if not self._spenders.is_foreign(owner, seen.chain, tx) or seen.expects(flow):
            return
        entries = self._table(flow.wallet, seen.chain).entries
        for spender in self._spenders.movers(tx):
            known = entries.get(spender, (0, None))[1]
            if known is None or known.cleared or known.grade < Severity.HIGH:
                continue
            if self._spenders.is_expected(owner, seen.chain, spender, seen.at):
                continue
            amount = seen.names.display(flow.transfer.asset, flow.value)
            text = f"{amount} taken by {spender} with the leave that was given to it; to {flow.counterparty}"
            yield finding_for(flow, "PW-3", Severity.CRITICAL, text, {"spender": spender, "approved": True})
            return

    # -- state ----------------------------------------------------------------------------------------------------

    def _of(self, events: Sequence[ControlEvent], chain: str) -> Iterator[tuple[ControlEvent, Wallet]]:
        """Approvals of its wallets."""
        for event in events:
            owner = self._watchlist.wallet_at(chain, event.account)
            if owner is not None and owner.id in self._guarded and event.kind is ControlKind.APPROVAL:
                yield event, owner

    def _table(self, wallet: str, chain: str) -> Newest[Approved]:
        return self._known.setdefault((wallet, chain), Newest(MOST))

    def clear(self, wallet: str, chain: str, address: str) -> tuple[Delta, Delta]:
        """A false alarm: this spender is an ordinary one. Returns (what changed, how to undo it)."""
        table = self._known.get((wallet, chain))
        if table is None or address not in table.entries or table.entries[address][1].cleared:
            return (), ()
        key = self._key(wallet, chain, address)
        before = self.get(key)
        last, known = table.entries[address]
        table.load(address, last, replace(known, cleared=True))
        return ((key, self.get(key)),), ((key, before),)

    def keys_for(self, flows: Sequence[Flow], shown: Sequence[Flow] = ()) -> set[bytes]:
        """See `Policy.keys_for`: spends change nothing."""
        return set()

    def guard_keys(self, events: Sequence[ControlEvent], readings: object, chain: str) -> set[bytes]:
        """See `Guards.guard_keys`."""
        touched: dict[str, set[str]] = {}
        for event, owner in self._of(events, chain):
            touched.setdefault(owner.id, set()).add(event.subject)
        return {
            self._key(wallet, chain, name)
            for wallet, names in touched.items()
            for name in (*names, *self._table(wallet, chain).may_go(len(names)))
        }

    def _key(self, wallet: str, chain: str, spender: str) -> bytes:
        return self.prefix + _SEPARATOR.join((wallet, chain, spender)).encode()

    def get(self, key: bytes) -> bytes | None:
        """See `Policy.get`."""
        _, wallet, chain, spender = key.decode().split(_SEPARATOR, 3)
        table = self._known.get((wallet, chain))
        entry = None if table is None else table.entries.get(spender)
        return None if entry is None else entry[1].dump(entry[0])

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `Policy.put`; records of wallets that are not judged any more are not taken over."""
        _, wallet, chain, spender = key.decode().split(_SEPARATOR, 3)
        if wallet not in self._guarded:
            return
        table = self._table(wallet, chain)
        table.drop(spender)
        if value is not None:
            table.load(spender, *Approved.load(value))

    def dump(self) -> list[tuple[bytes, bytes]]:
        """See `Policy.dump`."""
        return sorted(
            (self._key(*place, spender), known.dump(last))
            for place, table in self._known.items()
            for spender, (last, known) in table.entries.items()
        )


def _is_spend(flow: Flow) -> bool:
    return flow.direction is Direction.OUT and flow.transfer.kind is TransferKind.TOKEN


def _balance(grant: Grant, wallet: str, seen: Seen) -> int | None:
    known = seen.balance(wallet, grant.asset)
    return seen.holding(wallet, grant.asset).balance if known is None else known


def _amount(grant: Grant, seen: Seen) -> str:
    symbol = seen.names.info(grant.asset).symbol if grant.asset else "coins"
    if grant.every:
        return f"every {symbol}"
    if grant.value is None or grant.is_unlimited:
        return f"any amount of {symbol}"
    return seen.names.display(grant.asset, grant.value)


def _revocation(grant: Grant) -> str:
    """The call that takes it back."""
    contract = grant.asset.rpartition("/")[2].partition(":")[2].partition("/")[0]
    if grant.standard == "permit2":
        return f"lockdown([({contract}, {grant.spender})]) of Permit2 at {PERMIT2}"
    if grant.every:
        return f"setApprovalForAll({grant.spender}, false) of {contract}"
    if grant.standard == "erc721":
        return f"approve of the zero address for this token of {contract}"
    return f"approve({grant.spender}, 0) of {contract}"
