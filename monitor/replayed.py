"""What a replay finds: counts by wallet, and hits and movements of one chain on their way to the correlator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from monitor.engine import Engine, Hit
from monitor.findings import movement_of
from monitor.grouping import Early
from monitor.incidents import Correlator
from monitor.model import BlockRef, Finding, Flow, Incident, Movement, Severity, Transfer, TransferKind, Tx

__all__ = [
    "Evidence",
    "Replayed",
    "WalletCount",
    "add_early",
    "by_suspect",
    "movement_for_flow",
    "told_balances",
    "transfer_of",
]

_NOTHING: Mapping[str, Any] = {}  # the record of a flow that hit nothing


@dataclass(slots=True)
class WalletCount:
    """What was seen of a wallet."""

    flows: int = 0
    flows_out: int = 0
    first: int | None = None
    last: int | None = None

    def see(self, flows: int, flows_out: int, first: int, last: int) -> None:
        """Count more of it."""
        self.flows += flows
        self.flows_out += flows_out
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def join(self, other: WalletCount) -> None:
        """Take what was seen elsewhere."""
        if other.first is not None and other.last is not None:
            self.see(other.flows, other.flows_out, other.first, other.last)


@dataclass(slots=True)
class Replayed:
    """The outcome of a replay."""

    correlator: Correlator
    flows: int = 0
    ignored: int = 0
    wallets: dict[str, WalletCount] = field(default_factory=dict)

    def incidents(self) -> tuple[Incident, ...]:
        """Incidents of a report: all but those of severity info."""
        return tuple(incident for incident in self.correlator.all() if incident.severity > Severity.INFO)


@dataclass(slots=True)
class Evidence:
    """Hits and movements of one chain, ready for the correlator."""

    findings: list[Finding] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    balances: dict[str, float] = field(default_factory=dict)  # what each hit left, by `movement_key`
    returns: list[Movement] = field(default_factory=list)  # what came from suspects
    moved: set[str] = field(default_factory=set)  # keys of the movements


def transfer_of(r: Mapping[str, Any], chain: str) -> Transfer:
    """A row of a history frame as a live reading would give it; amounts are base units, exact from their text."""
    spends_coins = chain.startswith("bip122:")  # none at all: new coins
    senders = tuple(r["inputs"] or ()) if spends_coins else (r["from_address"] or "",)
    tx = Tx(
        hash=r["transaction_hash"] or "",
        index=int(r["transaction_index"] or 0),
        initiator=r["tx_from"],
        nonce=r["nonce"],
        fee=int(r["fee"]) if r["fee"] is not None else None,
        fee_rate=r["fee_rate"],
        gas_limit=r["gas_limit"],
        n_outputs=r["n_outputs"],
        n_inputs=len(senders) if spends_coins else None,
        version=r["version"],
        flags=r["flags"] or 0,
        script_type=r["script_type"] or "",
    )
    return Transfer(
        block=BlockRef(chain, int(r["block_number"]), ""),
        tx=tx,
        index=int(r["transfer_index"] or 0),
        kind=TransferKind(r["kind"]),
        asset=r["asset"],
        from_addresses=senders,
        to_address=r["to_address"] or "",
        value=int(r["value"]),
        input_values=tuple(int(v) for v in r["input_values"]) if r["input_values"] is not None else (),
    )


def told_balances(engine: Engine, chain: str, told: pl.DataFrame | None) -> dict[tuple[str, str, int], int]:
    """Balances of wallets (sums over their addresses, base units) by (wallet, asset, block number)."""
    found: dict[tuple[str, str, int], int] = {}
    if told is None:
        return found
    for item in told.iter_rows(named=True):
        wallet = engine.watchlist.wallet_at(chain, item["address"])
        if wallet is not None:
            key = (wallet.id, item["asset"], int(item["block_number"]))
            found[key] = found.get(key, 0) + int(item["value"])
    return found


def by_suspect(findings: Sequence[Finding]) -> dict[tuple[str, str], Early]:
    """Findings of one chain by (wallet, destination)."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for f in findings:
        if f.destination:  # fees go to nobody either
            found.setdefault((f.wallet, f.destination), []).append(f)
    return {whom: Early(about) for whom, about in found.items()}


def movement_for_flow(flow: Flow) -> Movement:
    """The exact amount of a payment."""
    return movement_of(Hit(flow, _NOTHING))


def add_early(
    evidence: Evidence, suspects: Mapping[tuple[str, str], Early], movement: Movement, key: str
) -> None:
    """Add a payment that raised nothing itself, where it came within the day before a finding about its address.

    ``key`` is the movement's, see `monitor.incidents.movement_key`.
    """
    early = suspects.get((movement.wallet, movement.counterparty))
    if early is not None and key not in evidence.moved and early.has(movement):
        evidence.moved.add(key)
        evidence.movements.append(movement)
