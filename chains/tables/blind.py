"""What tables cannot show of a chain, in the words of `monitor.model.Block.blind_spots`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chains.tables.layout import STATUS
from chains.tables.scan import Plan

__all__ = ["blind_spots_of"]

NO_TRACES, NO_STATUS, NO_TOKENS = "internal transfers", "transaction status", "token transfers"


def blind_spots_of(plans: Sequence[Plan], chains: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Blind spots of the files together, by CAIP-2; chains without one are left out.

    Parameters
    ----------
    plans : the files
    chains : CAIP-2 of the chains that have rows
    """
    found = {chain: _of_evm(_about(plans, chain)) for chain in sorted(chains) if chain.startswith("eip155:")}
    return {chain: spots for chain, spots in found.items() if spots}


def _about(plans: Sequence[Plan], chain: str) -> list[Plan]:
    """Files with transfers that may be of a chain; one whose rows name their chain may be of any of its family."""
    return [
        plan
        for plan in plans
        if plan.layout.gives == "transfers" and plan.layout.kind in ("evm", None)
        and ("chain" in plan.table.dtypes or plan.default is None or plan.default.chain == chain)
    ]  # fmt: skip


def _of_evm(plans: Sequence[Plan]) -> tuple[str, ...]:
    found = []
    if any(not plan.layout.joins and STATUS.isdisjoint(plan.table.dtypes) for plan in plans):
        found.append(NO_STATUS)
    if plans and all(plan.layout.kind == "evm" for plan in plans):  # the native layout may hold every kind
        found.append(NO_TRACES)
        if not any(plan.layout.joins for plan in plans):
            found.append(NO_TOKENS)
    return tuple(sorted(found))
