"""Flows a second through both folds and all detectors on one core, and the size of the state."""

from __future__ import annotations

import json
import statistics
import time

import numpy as np

from monitor.features.dtypes import ASSET, DESTINATION, FUSION
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import BAD, FOREIGN, IN, KIND_SHIFT, OUT, TOUCH, FlowRows, pack_columns
from monitor.state import EngineState

FLOWS = 1_000_000
WALLETS = 100
ROUNDS = 5


def rows(state: EngineState, seed: int, count: int) -> FlowRows:
    """Seeded traffic: 68 % outflows, log-normal amounts, a long tail of destinations, ninety days.

    Three payments in four say what their transaction looks like; one in a hundred goes to a labelled address, another
    is signed by somebody else; 2 % of the rows are calls without coins.
    """
    random = np.random.default_rng(seed)
    slots = np.array([state.add_asset(f"w{i}", "c", "a") for i in range(WALLETS)], np.int32)
    places = np.array([state.wallet(f"w{i}", "c", parameters(Role.HOT, 1.0)) for i in range(WALLETS)], np.int32)
    which = random.integers(0, WALLETS, count)
    kind = random.random(count)
    ops = np.where(kind < 0.68, OUT, np.where(kind < 0.98, IN, TOUCH)).astype(np.int8)
    amounts = np.exp(random.normal(size=count) * 1.5 + 20)
    amounts[ops == IN] *= 2.4
    told = (ops == OUT) & (random.random(count) < 0.75)
    looks = pack_columns(
        np.where(told, random.lognormal(24.8, 0.3, count), np.nan),
        np.where(told, random.choice([21_000.0, 60_000.0, 250_000.0], count), np.nan),
        np.full(count, np.nan),
        np.where(told, np.arange(count) // WALLETS, np.nan),
    )
    touched = random.integers(1, 2**63, 8).astype(np.uint64)[random.integers(0, 8, count)]
    flags = random.choice([0, BAD << KIND_SHIFT, FOREIGN], count, p=[0.98, 0.01, 0.01])
    return FlowRows(
        np.where(ops == TOUCH, -1, slots[which]).astype(np.int32),
        places[which],
        np.sort(random.integers(1_600_000_000, 1_600_000_000 + 90 * 86400, count)),
        ops,
        amounts,
        (random.zipf(1.3, count) % 100_000 + 1).astype(np.uint64),
        np.where(ops == OUT, flags, 0).astype(np.uint8),
        np.where(ops == TOUCH, touched, np.where(flags == FOREIGN, np.uint64(0), looks)).astype(np.uint64),
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
