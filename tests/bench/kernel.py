"""Flows a second through both folds and all detectors on one core, and the size of the state."""

from __future__ import annotations

import json
import statistics
import time

import numpy as np

from monitor.features.dtypes import ASSET, DESTINATION, FUSION
from monitor.rows import FlowRows
from monitor.state import EngineState

FLOWS = 1_000_000
WALLETS = 100
ROUNDS = 5


def rows(state: EngineState, seed: int, count: int) -> FlowRows:
    """Seeded traffic: 70 % outflows, log-normal amounts, a long tail of destinations, ninety days."""
    random = np.random.default_rng(seed)
    slots = np.array([state.add_asset(f"w{i}", "c", "a") for i in range(WALLETS)], np.int32)
    places = np.array([state.wallet(f"w{i}", "c", 1.0) for i in range(WALLETS)], np.int32)
    which = random.integers(0, WALLETS, count)
    ops = (random.random(count) < 0.7).astype(np.int8)
    amounts = np.exp(random.normal(size=count) * 1.5 + 20)
    amounts[ops == 0] *= 2.4
    return FlowRows(
        slots[which],
        places[which],
        np.sort(random.integers(1_600_000_000, 1_600_000_000 + 90 * 86400, count)),
        ops,
        amounts,
        (random.zipf(1.3, count) % 100_000 + 1).astype(np.uint64),
        np.zeros(count, np.uint8),
    )


def main() -> None:
    """Median of several rounds, each on fresh state."""
    warm = EngineState()
    warm.fold(rows(warm, 1, 1000))
    rates, hits = [], 0
    for turn in range(ROUNDS):
        state = EngineState()
        batch = rows(state, turn, FLOWS)
        begin = time.perf_counter()
        found, _ = state.fold(batch)
        rates.append(FLOWS / (time.perf_counter() - begin))
        hits = len(found)
    print(
        json.dumps(
            {
                "flows a second, one core, both folds and all detectors": f"{statistics.median(rates):,.0f}",
                "flows in the batch": f"{FLOWS:,} of {WALLETS} wallets",
                "hits in it": hits,
                "bytes a (wallet, chain, asset)": ASSET.itemsize,
                "bytes a (wallet, chain)": FUSION.itemsize,
                "bytes a destination": DESTINATION.itemsize,
            }
        )
    )


if __name__ == "__main__":
    main()
