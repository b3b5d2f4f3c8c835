"""Simulated wallets as tables and configurations: exact amounts, own addresses, what an outsider knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from monitor.config import config_from_mapping
from tests.scorecard.dynamics import MIGRATION, PAYMENT, THEFT, run
from tests.scorecard.plan import Part
from tests.scorecard.score import simulate
from tests.scorecard.table import BLOCK_SECONDS, FIRST_BLOCK, START, Simulated, configuration, number_of
from tests.scorecard.world import WORLDS, draw


@pytest.fixture(scope="module")
def wallet() -> Simulated:
    """A wallet with several assets and a theft."""
    part = Part("base", "zaif", ())
    return next(w for w in (simulate(part, seed) for seed in range(1, 30)) if len(w.life.assets) >= 3)


def test_sums_of_the_table_are_those_of_the_dynamics(wallet: Simulated) -> None:
    """Starting balance, in and out add up in base units, exactly, to what the wallet must hold at the end."""
    table, f, here = wallet.transfers(), wallet.flows, wallet.address()
    assert len(table) == len(f.at)
    started = {row["asset"]: int(row["value"]) for row in wallet.balances().iter_rows(named=True)}
    for place, (name, asset) in enumerate(zip(wallet.assets(), wallet.life.assets, strict=True)):
        mine = table.filter(pl.col("asset") == name)
        values = [int(text) for text in mine["value"]]
        signs = [-1 if sender == here else 1 for sender in mine["from_address"]]
        chosen = f.asset == place
        moved = int(f.value[chosen & ~f.out].sum()) - int(f.value[chosen & f.out].sum())
        assert sum(s * v for s, v in zip(signs, values, strict=True)) == moved * asset.scale
        assert started[name] == int(wallet.life.target[place]) * asset.scale
        assert started[name] + moved * asset.scale >= 0


def test_amounts_beyond_what_a_float_holds_are_exact_text(wallet: Simulated) -> None:
    """Eighteen decimals: base units pass 2^53, and a float would change many of them."""
    table = wallet.transfers()
    assert table.schema["value"] == pl.String
    large = [int(text) for text in table.filter(pl.col("decimals") == 18)["value"] if int(text) > 2**53]
    assert len(large) > 100
    assert sum(int(float(value)) != value for value in large) > len(large) / 4
    assert set(table["decimals"]) == {6, 18}


def test_blocks_follow_time(wallet: Simulated) -> None:
    """One block each twelve seconds, one time a block, places in the block counted from 0, a hash a row."""
    table = wallet.transfers()
    blocks = table["block_number"] - FIRST_BLOCK
    assert (table["block_timestamp"] == START + blocks * BLOCK_SECONDS).all()
    assert blocks.is_sorted()
    grouped = table.group_by("block_number").agg(
        pl.col("transaction_index").sort(), n=pl.len(), last=pl.col("transaction_index").max()
    )
    assert (grouped["last"] == grouped["n"] - 1).all()
    assert table["transaction_hash"].n_unique() == len(table)
    assert [number_of(tx) for tx in table["transaction_hash"]] == list(range(len(table)))
    assert table["transaction_hash"].str.contains("^0x[0-9a-f]{64}$").all()


def test_the_wallet_starts_what_leaves_it(wallet: Simulated) -> None:
    """`tx_from` is the wallet on payments; addresses are EVM ones, customers and thieves are different ones."""
    table, f = wallet.transfers(), wallet.flows
    out = table.filter(pl.Series(f.out))
    assert (out["tx_from"] == wallet.address()).all() and (out["from_address"] == wallet.address()).all()
    assert (table.filter(pl.Series(~f.out))["to_address"] == wallet.address()).all()
    assert table["to_address"].str.contains("^0x[0-9a-f]{40}$").all()
    thieves = set(table.filter(pl.Series(f.what == THEFT))["to_address"])
    customers = set(table.filter(pl.Series(f.what == PAYMENT))["to_address"])
    assert len(thieves) == len(set(f.place[f.what == THEFT].tolist()))
    assert not thieves & customers
    assert not (thieves | customers) & set(wallet.trusted())


def test_the_owner_knows_his_own_addresses_and_an_outsider_none(tmp_path: Path) -> None:
    """Everything that goes to cold, sisters or an announced migration is trusted; for an outsider nothing is."""
    announced: set[bool] = set()
    for seed in range(1, 40):
        life = draw(WORLDS["base"], seed, 120)
        if not len(life.migration_at):
            continue
        flows = run(life)
        mine = Simulated(f"w{seed}", WORLDS["base"], life, flows)
        table = mine.transfers()
        own = set(table.filter(pl.Series(flows.what > PAYMENT) & pl.Series(flows.what < MIGRATION))["to_address"])
        moved = set(table.filter(pl.Series(flows.what == MIGRATION))["to_address"])
        assert own <= set(mine.trusted())
        assert (moved <= set(mine.trusted())) == life.announced
        announced.add(life.announced)
        outside = replace(mine, world=WORLDS["outsider"])
        assert outside.trusted() == []
        assert outside.transfers().equals(table)
        config = config_from_mapping(configuration([outside], 1.0), tmp_path, "test")
        assert config.wallets[0].trusted == ()
    assert announced == {True, False}


def test_a_configuration_loads(tmp_path: Path, wallet: Simulated) -> None:
    """One wallet, its own owner, the budget, and its trusted addresses."""
    config = config_from_mapping(configuration([wallet], 0.3), tmp_path, "test")
    assert config.wallets[0].id == config.wallets[0].entity == wallet.name
    assert {entry.address for entry in config.wallets[0].trusted} == set(wallet.trusted())
