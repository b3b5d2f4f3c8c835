"""Live with reorgs = backtest of the final chain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.block_evidence import BlockEvidence
from monitor.engine import Engine, Folded
from monitor.incidents import Correlator
from monitor.model import Block, Finding, Movement
from monitor.open_commit import OpenCommit
from monitor.pipeline import Pipeline
from monitor.store import Delta

SEEDS, STEPS = st.integers(0, 2**32), st.integers(4, 34)


def holds(lab: Any, story: Any, *, tables: bool = True, **parts: Any) -> int:
    """AssertionError where live, live without reorgs and the replay of tables disagree; how many incidents stand."""

    async def run() -> int:
        seen = await lab.live(story, rng=Random(1), **parts)
        calm = await lab.plain(story)
        lab.same_state(seen.engine, calm.engine)
        lab.same_incidents(seen.correlator, calm.correlator)
        if tables:
            engine, correlator = lab.backtest(story)
            lab.same_state(calm.engine, engine)
            lab.same_incidents(calm.correlator, correlator)
        return len(lab.essence(calm.correlator.all()))

    return asyncio.run(run())


def campaign(lab: Any, usual: int, chains: tuple[str, ...], **options: Any) -> None:
    found = []

    @lab.tries(usual)
    @given(SEEDS, STEPS)
    def check(seed: int, steps: int) -> None:
        tables = not options.get("approvals") and options.get("controls") != "readings"
        found.append(holds(lab, lab.script(seed, steps, chains, **options), tables=tables))

    check()
    assert sum(count > 0 for count in found) > len(found) // 2  # most scripts have a theft


def test_account_chain(lab: Any) -> None:
    """Tokens, forgeries, fees, internal and trusted payments, thefts: reorgs leave no trace."""
    campaign(lab, 250, (lab.ETH,))


def test_utxo_chain(lab: Any) -> None:
    """Change, mixed inputs, fee shares, time that steps backwards: reorgs leave no trace."""
    campaign(lab, 180, (lab.BTC,))


def test_several_chains(lab: Any) -> None:
    """One entity on three chains: one set of incidents, whichever chain was rewritten."""
    campaign(lab, 120, (lab.ETH, lab.BSC, lab.BTC))


def test_approvals(lab: Any) -> None:
    """An approval makes a token real, and a reorg takes that back (history tables of transfers carry none)."""
    campaign(lab, 80, (lab.ETH,), approvals=True)


def test_changes_of_control(lab: Any) -> None:
    """Events of Safes and delegations, on two chains: what is known of accounts, and a table of the same events."""
    campaign(lab, 50, (lab.ETH, lab.BSC), controls="events")


def test_readings_of_accounts(lab: Any) -> None:
    """What accounts' states show, beside events or alone (history tables carry none)."""
    campaign(lab, 50, (lab.ETH,), controls="readings")


# -- planted faults: each must be found within the first scripts -------------------------------------------------------


def caught(lab: Any, chains: tuple[str, ...], make: Any, scripts: int = 40, **options: Any) -> int:
    """The first seed whose script shows the fault; fails where none does."""
    for seed in range(scripts):
        try:
            holds(lab, lab.script(seed, 30, chains, **options), tables=False, **make())
        except AssertionError:
            return seed
    pytest.fail(f"{scripts} scripts did not show the fault")


def without(kinds: bytes) -> type[Engine]:
    """An engine whose undo forgets records of these kinds."""

    class Forgetful(Engine):
        def connect(self, block: Block, told: Any = None) -> Folded:
            found = super().connect(block, told)
            undo: Delta = tuple(item for item in found.undo if item[0][:1] not in kinds)
            return replace(found, undo=undo)

    return Forgetful


@pytest.mark.parametrize("kind", [b"d", b"s", b"a", b"w", b"t", b"r", b"k", b"p"])
def test_an_engine_that_forgets_part_of_its_undo_is_caught(lab: Any, kind: bytes) -> None:
    """Planted fault: one kind of record (statistics, trust, rules, cold wallets, balances) is not put back."""
    caught(lab, (lab.ETH,), lambda: {"engine": lab.engine_of(without(kind))})


def test_an_engine_that_forgets_who_controls_is_caught(lab: Any) -> None:
    """Planted fault: what was known of an account is not put back."""
    caught(lab, (lab.ETH,), lambda: {"engine": lab.engine_of(without(b"g"))}, controls="readings")


def test_a_correlator_that_does_not_retract_is_caught(lab: Any) -> None:
    """Planted fault: transactions that did not come back stay evidence."""

    class Stubborn(Correlator):
        def settle(self, chain: str, passed: int) -> list[str]:
            return []

    caught(lab, (lab.ETH,), lambda: {"correlator": Stubborn()})


def test_a_correlator_that_keeps_what_the_old_branch_showed_is_caught(lab: Any) -> None:
    """Planted fault: a transaction that is mined again keeps its old findings beside the new ones."""

    class Hoarding(Correlator):
        def _renew(self, entity: str, news: Any) -> list[str]:
            shown = {(e.chain, e.tx) for e in news.findings.values()}
            for record in self._of(entity):
                record.limbo = [item for item in record.limbo if (item.chain, item.tx) not in shown]
            return []

    caught(lab, (lab.ETH,), lambda: {"correlator": Hoarding()}, scripts=150)


@pytest.mark.parametrize("part", ["connected", "disconnected"])
def test_a_pipeline_that_looks_at_stored_flows_alone_is_caught(lab: Any, part: str) -> None:
    """Planted fault: early payments in blocks not yet stored are missed, or those of blocks that went are counted."""

    class Careless(BlockEvidence):
        async def _earlier(self, work: OpenCommit, finding: Finding) -> list[Movement]:
            kept = getattr(work, part)
            setattr(work, part, [])
            try:
                return await super()._earlier(work, finding)
            finally:
                setattr(work, part, kept)

    class Planted(Pipeline):
        def __init__(self, *parts: Any, **options: Any) -> None:
            super().__init__(*parts, **options)
            self._evidence = Careless(self.engine, self.correlator, self._store, self._names)

    caught(lab, (lab.ETH,), lambda: {"pipeline": Planted}, scripts=150)


def test_a_monitor_that_missed_the_end_is_caught(lab: Any) -> None:
    """Planted fault: what is compared covers the last block."""
    story = lab.script(2, 20, (lab.ETH,))

    async def run() -> None:
        seen = await lab.Live(story, lab.MemoryStore()).start()
        await seen.run([*story.views[:-1]])
        lab.same_state(seen.engine, (await lab.plain(story)).engine)

    with pytest.raises(AssertionError, match="records differ"):
        asyncio.run(run())
