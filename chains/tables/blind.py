"""What tables cannot show of a chain, in the words of `monitor.model.Block.blind_spots`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import polars as pl

from chains.tables.layout import STATUS
from chains.tables.lines import packing, reading
from chains.tables.source import ChainInfo
from chains.tables.task import Plan

__all__ = ["blind_spots_of", "valued_by"]

WRITTEN = "heistwatch.blind_spots"  # key in a Parquet file's metadata: a JSON object of lists, by CAIP-2
NO_TRACES, NO_STATUS, NO_TOKENS = "internal transfers", "transaction status", "token transfers"


def blind_spots_of(plans: Sequence[Plan], chains: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Blind spots of the files together, by CAIP-2; chains without one are left out.

    Parameters
    ----------
    plans : the files
    chains : CAIP-2 of the chains that have rows
    """
    found = {chain: _of_evm(_about(plans, chain)) for chain in sorted(chains) if chain.startswith("eip155:")}
    for plan in plans:
        for chain, spots in _written(plan).items():
            if chain in chains:
                found[chain] = tuple(dict.fromkeys((*found.get(chain, ()), *spots)))
    return {chain: spots for chain, spots in found.items() if spots}


def valued_by(plans: Sequence[Plan], chains: Mapping[str, ChainInfo]) -> frozenset[str]:
    """CAIP-2 of the chains whose transactions are among the files, with their values."""
    every = {info.chain for info in chains.values()}
    return frozenset(
        chain for chain in every for plan in _about(plans, chain)
        if "native" in plan.layout.shows and not plan.layout.joins and plan.layout.kind == "evm"
    )  # fmt: skip


def _written(plan: Plan) -> dict[str, list[str]]:
    """What a Parquet file says itself that it cannot show, as `heistwatch fetch` writes it."""
    if plan.table.form != "parquet" or not plan.layout.extras or packing(plan.table.path):
        return {}
    with reading(plan.table.path):
        text = pl.read_parquet_metadata(plan.table.path).get(WRITTEN)
    try:
        return {} if text is None else msgspec.json.decode(text, type=dict[str, list[str]])
    except msgspec.DecodeError:
        return {}  # somebody else's key


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
    shown = frozenset[str]().union(*(plan.layout.shows for plan in plans))
    found += [NO_TRACES] if plans and "internal" not in shown else []
    found += [NO_TOKENS] if plans and "token" not in shown else []
    return tuple(sorted(found))
