"""Any interleaving of the chains of one entity gives the same incidents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.incidents import GAP, Correlator, movement_key
from monitor.model import Finding, Movement, Severity, Status
from monitor.signals import UNDER, Reach, is_signal

SEEDS = st.integers(0, 2**32)
HOUR = 3600
REACH = {"One": Reach(0.9, frozenset(("a:1", "b:1", "c:1")))}

# -- the correlator alone: many findings, gaps around a day -----------------------------------------------------------


def finding(chain: str, number: int, at: int, destination: str, severity: int, wallet: str) -> Finding:
    return Finding(
        f"{chain}-{number}", "HW-1", wallet, chain, Severity(severity), 1.0, "", f"{chain}-t{number}", at, number, 0,
        f"{chain}/coin", destination, 10,
    )  # fmt: skip


def movement(chain: str, number: int, at: int, destination: str, value: int, wallet: str) -> Movement:
    return Movement(wallet, chain, f"{chain}/coin", destination, value, at, f"{chain}-t{number}", 0, number)


Evidence = tuple[list[Finding], list[Movement], dict[str, float], list[Movement]]


def history(rng: Random, chain: str, length: int) -> list[Evidence]:
    """Evidence of one chain, block by block, as the pipeline hands it over."""
    steps: list[Evidence] = []
    at = rng.randrange(40 * HOUR)
    paid: list[Movement] = []
    suspects: set[tuple[str, str]] = set()
    for number in range(length):
        at += rng.choice([0, HOUR, *[2 * HOUR] * 2, 6 * HOUR, 13 * HOUR, 23 * HOUR, GAP - 1, GAP, GAP + 1, 30 * HOUR])
        wallet, to = rng.choice(["hot", "cold"]), rng.choice(["x", "y", "z"])
        m = movement(chain, number, at, to, rng.randrange(1, 100), wallet)
        if rng.random() < 0.3:
            under = round(rng.random(), 2)
            plain = finding(chain, number, at, to, 0, wallet)
            f = replace(plain, score=-under, evidence={UNDER: under})
            early = [e for e in paid if (e.wallet, e.counterparty) == (wallet, to) and e.at >= at - GAP]
            steps.append(([f], [*early, m], {movement_key(m): float(rng.randrange(1000))}, []))
            suspects.add((wallet, to))
            paid.append(m)
            continue
        fires = rng.random() < 0.4
        if fires:
            f = finding(chain, number, at, to, rng.randrange(1, 5), wallet)
            early = [e for e in paid if (e.wallet, e.counterparty) == (wallet, to) and e.at >= at - GAP]
            steps.append(([f], [*early, m], {movement_key(m): float(rng.randrange(1000))}, []))
            suspects.add((wallet, to))
        elif any(to == name for _, name in suspects) and rng.random() < 0.4:
            steps.append(([], [], {}, [movement(chain, number, at, to, rng.randrange(1, 300), wallet)]))
            continue
        elif (wallet, to) in suspects:
            steps.append(([], [m], {movement_key(m): float(rng.randrange(1000))}, []))
        paid.append(m)
    return steps


def joined(
    histories: dict[str, list[Evidence]], order: Sequence[str], kind: type[Correlator] = Correlator
) -> Correlator:
    correlator = kind(REACH)
    left = {chain: iter(steps) for chain, steps in histories.items()}
    for chain in order:
        correlator.add("One", *next(left[chain]))
    return correlator


def orders(rng: Random, histories: dict[str, list[Evidence]]) -> tuple[list[str], list[str]]:
    """One chain after the other, and a random interleaving."""
    plain = [chain for chain, steps in histories.items() for _ in steps]
    mixed = list(plain)
    rng.shuffle(mixed)
    return plain, mixed


def histories_of(seed: int) -> tuple[Random, dict[str, list[Evidence]]]:
    rng = Random(seed)
    chains = ("a:1", "b:1", "c:1")[: rng.choice([2, 3])]
    return rng, {chain: history(rng, chain, rng.randrange(1, 14)) for chain in chains}


def test_evidence_in_any_interleaving(lab: Any) -> None:
    """Findings a day apart, bridged later by another chain, payments and returns between: the set decides."""
    over: list[bool] = []
    joined_: list[bool] = []
    alone: list[bool] = []

    @lab.tries(1500)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng, histories = histories_of(seed)
        plain, mixed = orders(rng, histories)
        one, two = joined(histories, plain), joined(histories, mixed)
        lab.same_incidents(one, two)
        at_once = Correlator(REACH)
        steps = [step for chain in histories.values() for step in chain]
        balances = {key: left for step in steps for key, left in step[2].items()}
        parts = ([f for s in steps for f in s[0]], [m for s in steps for m in s[1]], balances)
        at_once.add("One", *parts, [m for s in steps for m in s[3]])
        lab.same_incidents(one, at_once)
        over.extend(i.status is Status.RESOLVED for i in one.all())
        signals = [[is_signal(f) for f in i.findings] for i in one.all()]
        joined_.extend(any(found) and not all(found) for found in signals)
        alone.extend(all(found) for found in signals)

    check()
    assert 20 < sum(over) < len(over) - 20  # returned in whole, and not
    assert sum(joined_) > 20 and sum(alone) > 5  # signals beside findings, and without any


def caught(lab: Any, kind: type[Correlator]) -> None:
    for seed in range(200):
        rng, histories = histories_of(seed)
        plain, mixed = orders(rng, histories)
        try:
            lab.same_incidents(joined(histories, plain, kind), joined(histories, mixed, kind))
        except AssertionError:
            return
    pytest.fail("200 histories did not show the fault")


def test_a_correlator_that_drops_what_does_not_fit_yet_is_caught(lab: Any) -> None:
    """Planted fault: a payment too far from an incident is forgotten, though another chain bridges the gap later."""

    class Hasty(Correlator):
        def add(self, *parts: Any) -> list[str]:
            changed = super().add(*parts)
            for record in self.records.values():
                record.loose.clear()
            return changed

    caught(lab, Hasty)


def test_a_correlator_that_never_merges_is_caught(lab: Any) -> None:
    """Planted fault: two incidents that a finding bridges stay two."""

    class Apart(Correlator):
        def _of(self, entity: str) -> Any:
            return iter(list(super()._of(entity))[-1:])

    caught(lab, Apart)


def test_a_correlator_that_keeps_the_first_balance_it_hears_of_is_caught(lab: Any) -> None:
    """Planted fault: the balance before an incident is that of whichever evidence came first."""

    class First(Correlator):
        def add(
            self, entity: str, findings: Any, movements: Any, balances: Any = None, returns: Any = ()
        ) -> list[str]:
            known = [key for record in self.records.values() for key in record.balances]
            return super().add(entity, findings, movements, {} if known else balances, returns)

    caught(lab, First)


def test_a_correlator_that_forgets_signals_is_caught(lab: Any) -> None:
    """Planted fault: a signal that does not count at once is dropped, though another chain shows one later."""

    class Deaf(Correlator):
        def _wait(self, *parts: Any) -> list[str]:
            return []

    caught(lab, Deaf)


def test_a_correlator_that_keeps_signals_without_their_payments_is_caught(lab: Any) -> None:
    """Planted fault: what was paid to a waiting signal's address is not lost when the signal counts."""

    class Careless(Correlator):
        def _wait(self, *parts: Any) -> list[str]:
            changed = super()._wait(*parts)
            for record in self.waiting.values():
                record.movements.clear()
            return changed

    caught(lab, Careless)


def test_a_correlator_that_keeps_a_return_where_it_first_fitted_is_caught(lab: Any) -> None:
    """Planted fault: an incident that merges into another leaves behind what came back."""

    class Forgetful(Correlator):
        def _merge(self, record: Any, into: str) -> None:
            super()._merge(record, into)
            self.records[into].returned.clear()

        def _arrange(self, entity: str, news: Any) -> list[str]:
            changed = super()._arrange(entity, news)
            for name in self.merged.values():
                if name in self.records:
                    self.records[name].returned.clear()
            return changed

    caught(lab, Forgetful)


# -- the whole monitor ------------------------------------------------------------------------------------------------


def mixed_views(lab: Any, story: Any, rng: Random) -> list[Any]:
    """The blocks of all chains one by one, in a random order that keeps each chain's own."""
    order = [chain for chain in story.chains for _ in story.final(chain)]
    rng.shuffle(order)
    seen = dict.fromkeys(story.chains, 0)
    views = []
    for chain in order:
        seen[chain] += 1
        views.append(lab.View(chain, story.final(chain)[: seen[chain]]))
    return views


def test_blocks_in_any_interleaving(lab: Any) -> None:
    """Two or three chains through one pipeline in any order: the same incidents and the same state."""
    shared: list[int] = []
    over: list[bool] = []
    beside: list[bool] = []

    @lab.tries(70)
    @given(SEEDS, st.integers(10, 30), st.booleans())
    def check(seed: int, steps: int, three: bool) -> None:
        chains = (lab.ETH, lab.BSC, lab.BTC) if three else (lab.ETH, lab.BSC)
        story = lab.script(seed, steps, chains, reorgs=False)

        async def run() -> None:
            calm = await lab.plain(story)
            for n in range(2):
                rng = Random(seed + n)
                runner = await lab.Live(story, lab.MemoryStore(), rng=rng).start()
                await runner.run(mixed_views(lab, story, rng))
                lab.same_incidents(runner.correlator, calm.correlator)
                lab.same_state(runner.engine, calm.engine)
            shared.extend(len({f.chain for f in i.findings}) for i in calm.correlator.all())
            over.extend(i.status is Status.RESOLVED for i in calm.correlator.all())
            beside.extend(any(map(is_signal, i.findings)) for i in calm.correlator.all())

        asyncio.run(run())

    check()
    assert sum(count > 1 for count in shared) > 10  # incidents with evidence on several chains
    assert sum(over) > 5 and sum(beside) > 3  # paid back; with signals of another wallet or chain
