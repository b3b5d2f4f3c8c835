"""Balances that a block brought along: which of them the engine takes over."""

from __future__ import annotations

import math
from collections.abc import Mapping

from monitor.engine import Engine
from monitor.model import Block

__all__ = ["brought", "corrections"]

CLOSE = 1e-9  # relative: the engine's balances are sums of floats


def brought(engine: Engine, block: Block) -> dict[tuple[str, str, str], int]:
    """Balances before the block by (wallet, chain, asset), where it has those of all addresses of the wallet."""
    chain = block.ref.chain
    parts: dict[tuple[str, str], dict[str, int]] = {}
    for address, asset, value in block.balances:
        owner = engine.watchlist.wallet_at(chain, address)
        if owner is not None:
            parts.setdefault((owner.id, asset), {})[address] = value
    return {
        (wallet, chain, asset): sum(values.values())
        for (wallet, asset), values in sorted(parts.items())
        if not engine.watchlist.has_long_list(wallet, chain)
        and values.keys() == set(engine.watchlist.addresses(wallet, chain))
    }


def corrections(engine: Engine, told: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str, str], int]:
    """Those of ``told`` that the engine keeps and believes to be another: something moved that nobody saw."""
    found = {}
    for place, value in told.items():
        slot = engine.state.asset(*place)
        if slot < 0:
            continue
        balance, known = engine.state.balance(slot)
        if known and not math.isclose(balance, float(value), rel_tol=CLOSE, abs_tol=1.0):
            found[place] = value
    return found
