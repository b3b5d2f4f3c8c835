"""What if: many settings over the same history, which is read and put in order once.

Settings that differ in the statistics alone (budgets, parameters of statistical detectors) also share intake, policies
and most of the fold (`monitor.backtesting.variants`). Settings of policies have a replay each. Whatever is shared, a
setting finds what a run with it alone finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitor.backtesting.collecting import put_off
from monitor.backtesting.progress import Progress, Silent
from monitor.backtesting.stopping import Stop
from monitor.backtesting.sweep_grid import Grid, Value
from monitor.backtesting.truth import Truth
from monitor.backtesting.truth_place import Placed, place
from monitor.backtesting.truth_score import Scored, judge, months_of
from monitor.backtesting.truth_seen import seen_in
from monitor.backtesting.variants import CannotShare
from monitor.detectors import DETECTORS
from monitor.engine import Engine
from monitor.incidents import Correlator, movement_key
from monitor.model import Incident, Role, Severity
from monitor.parameters import ENABLED, parameters
from monitor.replay import Replay, by_entity
from monitor.replay_gather import Fold, lone_wallets
from monitor.replayed import Evidence, Replayed
from monitor.report import report
from monitor.rows import FlowRows
from monitor.signals import reaches
from monitor.state import EngineState
from monitor.watchlist import Watchlist

if TYPE_CHECKING:
    from monitor.backtesting.outcome import Outcome
    from monitor.backtesting.variants.state import Given
    from monitor.config import Config

__all__ = ["SEVERITIES", "Sweep", "SweepRow", "Swept", "run_sweep"]

SEVERITIES = ("critical", "high", "medium", "low")
_STATISTICS = frozenset(detector.id for detector in DETECTORS)
FOUND_ALONE = "the share lost is of what each setting finds; what it misses counts with labelled incidents alone"
_TOGETHER = 64  # settings that are folded together: each has records of every wallet


@dataclass(frozen=True)
class SweepRow:
    """What one setting finds.

    Attributes
    ----------
    values : of the grid's keys
    incidents : of the report, by severity
    wallet_months : days in which wallets were seen, over 30
    share_lost_at_open : mean over incidents of the part of their loss that had gone when they opened, None without any
    scored : against labelled incidents, where there are any
    report : what a run with this setting alone reports (its ``speed`` is the sweep's), where reports were asked for
    """

    values: Mapping[str, Value]
    incidents: Mapping[str, int]
    wallet_months: float
    share_lost_at_open: float | None
    scored: Scored | None = None
    report: Mapping[str, Any] | None = None

    @property
    def count(self) -> int:
        """All incidents."""
        return sum(self.incidents.values())

    @property
    def false_alarms(self) -> float | None:
        """A wallet and 30 days: incidents that match nothing labelled; all of them where nothing is."""
        if self.scored is not None:
            return self.scored.false_alarms
        return self.count / self.wallet_months if self.wallet_months > 0 else None

    @property
    def share_lost(self) -> float | None:
        """Part of the loss that had gone when the alarm opened, mean: of labelled incidents, where there are any, and
        then all of those that were missed; else of what was found."""
        return self.scored.mean_loss() if self.scored is not None else self.share_lost_at_open


@dataclass(frozen=True)
class Sweep:
    """A whole sweep: ``rows`` in the order of the grid's settings; ``notes`` say what to know before believing them."""

    grid: Grid
    rows: tuple[SweepRow, ...]
    notes: tuple[str, ...] = ()
    truth: str = ""


class Swept:
    """Settings that are folded with the backtest itself, in its one pass: those that differ in statistics alone.

    Attributes
    ----------
    numbers : which of the grid's settings they are
    evidence : of each, once the pass is over
    """

    def __init__(self, config: Config, grid: Grid) -> None:
        configs = grid.configs(config)
        same = [number for number, each in enumerate(configs) if _exact(each) == _exact(config)]
        self.grid, self.numbers = grid, same[: _TOGETHER - 1]
        self.evidence: list[list[Evidence]] = []
        self._given = [_given(each) for each in (config, *(configs[number] for number in self.numbers))]

    def fold(self, engine: Engine, threads: int = 2) -> Fold:
        """The fold of the configuration itself, and after it of the settings."""
        return _fold_together(engine, self._given, threads)

    @property
    def words(self) -> list[bool]:
        """The configuration itself is reported, the settings are counted."""
        return [number == 0 for number in range(len(self._given))]


@put_off()
def run_sweep(
    outcome: Outcome,
    grid: Grid,
    truth: Truth | None = None,
    *,
    reports: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
    threads: int = 2,
) -> Sweep:
    """Every setting of a grid over the history of a backtest.

    Parameters
    ----------
    outcome : of the configuration as it is, its history not closed; where its `Options` named the same grid, most
        settings were folded with it already
    truth : labelled incidents, against which every setting is scored
    reports : keep a report of each setting; without, findings are made without words, which is much faster
    threads : in which wallets are folded

    Raises
    ------
    ConfigError : a setting is refused
    Stopped : the user ended it
    """
    configs, settings = grid.configs(outcome.config), list(grid.settings())
    placed = place(truth, outcome.config, outcome.history.batches()) if truth is not None else None
    work = _Work(outcome, placed, reports, progress or Silent(), stop or Stop(), threads)
    rows: dict[int, SweepRow] = {}
    swept = outcome.swept
    if swept is not None and swept.grid == grid and not reports:
        chosen = [configs[number] for number in swept.numbers]
        found = work.counted(chosen, [settings[number] for number in swept.numbers], swept.evidence)
        rows.update(zip(swept.numbers, found, strict=True))
    for group in _groups({number: config for number, config in enumerate(configs) if number not in rows}):
        found = work.rows([configs[number] for number in group], [settings[number] for number in group])
        rows.update(zip(group, found, strict=True))
    ordered = tuple(rows[number] for number in range(len(configs)))
    notes = (*grid.notes(outcome.config), *(() if truth is not None else (FOUND_ALONE,)))
    return Sweep(grid, ordered, notes, truth.path if truth is not None else "")


def _exact(config: Config) -> str:
    """What a configuration sets of detectors that are no statistics: settings alike in that share policies."""
    return repr(
        [
            (wallet, name, key, value)
            for wallet, of in sorted(config.detectors.items())
            for name, given in sorted(of.items())
            for key, value in sorted(given.items())
            if name not in _STATISTICS and (key, value) != (ENABLED, True)
        ]
    )


def _groups(configs: Mapping[int, Config]) -> Iterator[list[int]]:
    """Settings that share policies, by their places."""
    found: dict[str, list[int]] = {}
    for number, config in configs.items():
        found.setdefault(_exact(config), []).append(number)
    for group in found.values():
        yield from (group[at : at + _TOGETHER] for at in range(0, len(group), _TOGETHER))


@dataclass
class _Work:
    """One sweep at work."""

    outcome: Outcome
    placed: Placed | None
    reports: bool
    progress: Progress
    stop: Stop
    threads: int

    def __post_init__(self) -> None:
        self._engine: Engine | None = None
        self._built: dict[tuple[Any, ...], list[Incident]] = {}

    def rows(self, configs: Sequence[Config], settings: Sequence[Mapping[str, Value]]) -> list[SweepRow]:
        """Rows of settings that share policies."""
        try:
            work = self._replay(configs, shared=len(configs) > 1)
        except CannotShare:
            work = self._replay(configs, shared=False)
        found = work.finish_all()
        if not self.reports:
            return self.counted(configs, settings, found)
        pairs = zip(configs, settings, found, strict=True)
        return [self._reported(work.result, config, values, evidence) for config, values, evidence in pairs]

    def _replay(self, configs: Sequence[Config], *, shared: bool) -> Replay:
        from monitor.app import make_engine

        outcome = self.outcome
        engine = make_engine(configs[0])
        given = [_given(config) for config in configs]
        fold = _fold_together(engine, given, self.threads) if shared else _fold_apart(engine, given)
        work = Replay(
            engine, outcome.names, outcome.told, outcome.blind_spots, outcome.controls, fold=fold,
            words=[self.reports] * len(configs),
        )  # fmt: skip
        self.progress.stage("sweeping", None, "parts")
        for batch in outcome.history.batches():
            self.stop.check()
            work.feed(batch)
            self.progress.advance(1)
        return work

    def counted(
        self, configs: Sequence[Config], settings: Sequence[Mapping[str, Value]], found: Sequence[Sequence[Evidence]]
    ) -> list[SweepRow]:
        """Rows from findings without words."""
        triples = zip(configs, settings, found, strict=True)
        return [self._row(values, self._incidents(config, evidence)) for config, values, evidence in triples]

    def _incidents(self, config: Config, evidence: Sequence[Evidence]) -> list[Incident]:
        """What `correlate` makes of evidence, each entity's once where settings have the same."""
        self.stop.check()
        watchlist = Watchlist(config.wallets)
        reach, lone = reaches(watchlist), _lone_entities(watchlist)
        found: list[Incident] = []
        for name, mine in by_entity(watchlist, evidence):
            key = (name, None if name in lone else reach.get(name), *_marks(mine))
            if key not in self._built:
                correlator = Correlator({name: reach[name]} if name in reach else {})
                correlator.add(name, mine.findings, mine.movements, mine.balances, mine.returns)
                self._built[key] = [each for each in correlator.all() if each.severity > Severity.INFO]
            found += self._built[key]
        return sorted(found, key=lambda incident: (incident.opened_at, incident.id))

    def _reported(
        self, counts: Replayed, config: Config, values: Mapping[str, Value], evidence: Sequence[Evidence]
    ) -> SweepRow:
        from monitor.prices.make import table_book

        self.stop.check()
        watchlist = Watchlist(config.wallets)
        correlator = Correlator(reaches(watchlist))
        for name, mine in by_entity(watchlist, evidence):
            correlator.add(name, mine.findings, mine.movements, mine.balances, mine.returns)
        if (book := table_book(config, self.outcome.names)) is not None:
            for record in correlator.records.values():
                book.appraise(record)
        replayed = Replayed(correlator, counts.flows, counts.ignored, counts.wallets)
        incidents = replayed.incidents()
        return replace(self._row(values, incidents), report=self._report(config, replayed, incidents))

    def _row(self, values: Mapping[str, Value], incidents: Sequence[Incident]) -> SweepRow:
        shares = [each.share_lost_at_open for each in incidents if each.share_lost_at_open is not None]
        months = months_of(self.outcome.report)
        placed = self.placed
        return SweepRow(
            values=values,
            incidents={name: sum(str(each.severity) == name for each in incidents) for name in SEVERITIES},
            wallet_months=months,
            share_lost_at_open=sum(shares) / len(shares) if shares else None,
            scored=judge(placed, [seen_in(each) for each in incidents], months) if placed is not None else None,
        )

    def _report(self, config: Config, replayed: Replayed, incidents: Sequence[Incident]) -> dict[str, Any]:
        """The report of a run with this setting: the data is the same, what was found is its own."""
        outcome = self.outcome
        nothing: dict[str, Any] = {"rows": 0, "bad_rows": 0, "transfers": 0, "first": None, "last": None, "chains": {}}
        wallets = [wallet.id for wallet in config.wallets]
        found = report(nothing, replayed, incidents, outcome.names, wallets, outcome.report["speed"])
        return {**found, "data": outcome.report["data"]}


def _lone_entities(watchlist: Watchlist) -> frozenset[str]:
    """Owners of one wallet on one chain, whose signals never count, whatever their reach."""
    return frozenset(watchlist.wallets[wallet].entity for wallet in lone_wallets(watchlist))


def _marks(evidence: Evidence) -> tuple[Any, ...]:
    """What evidence of one entity is made of: equal marks, equal incidents (but for scores, which only words show).

    Findings and movements are the same objects where settings share them (`monitor.findings.bare_findings`).
    """
    returns = tuple((movement_key(back), back.value) for back in evidence.returns)
    movements = tuple(map(id, evidence.movements))
    return tuple(map(id, evidence.findings)), movements, tuple(evidence.balances), returns


def _given(config: Config) -> Given:
    """The parameters of a setting, by wallet and chain."""
    watchlist = Watchlist(config.wallets)
    alike: dict[tuple[Role, float, str], NDArray[np.void]] = {}

    def of(wallet: str, chain: str) -> NDArray[np.void]:
        role, budget = watchlist.wallets[wallet].role, watchlist.budget(wallet, chain)
        given = config.detectors.get(wallet)
        key = (role, budget, repr(given))
        if key not in alike:
            alike[key] = parameters(role, budget, given)
        return alike[key]

    return of


def _fold_together(engine: Engine, given: Sequence[Given], threads: int) -> Fold:
    from monitor.backtesting.variants.state import VariantState

    return VariantState(engine.state, given, threads).fold


def _fold_apart(engine: Engine, given: Sequence[Given]) -> Fold:
    """Each setting in a state of its own."""
    states = [EngineState() for _ in given]

    def fold(rows: FlowRows) -> list[NDArray[np.void]]:
        found = []
        for state, of in zip(states, given, strict=True):
            for wallet, chain in engine.state.wallet_places()[len(state.wallet_places()) :]:
                state.wallet(wallet, chain, of(wallet, chain))
            for name in engine.state.asset_places()[len(state.asset_places()) :]:
                state.add_asset(*name)
            found.append(state.fold(rows)[0])
        return found

    return fold
