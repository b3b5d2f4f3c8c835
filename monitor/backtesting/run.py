"""A backtest from files to report: read, put in order, replay, under any engine, in bounded memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.app import asset_names, chain_infos, make_engine, warm_up
from monitor.assets import AssetNames
from monitor.backtesting.collecting import put_off
from monitor.backtesting.history import Batch
from monitor.backtesting.ledger import Ledger, key_of
from monitor.backtesting.outcome import Outcome
from monitor.backtesting.progress import Progress, progress_of
from monitor.backtesting.ranges import RangeHistory
from monitor.backtesting.stages import Lane, OrderTask, Share, order, replay_share, shares
from monitor.backtesting.stopping import Stop, Stopped
from monitor.backtesting.variants import CannotShare
from monitor.backtesting.work_key import command_key, files_key
from monitor.backtesting.workers.base import Workers
from monitor.backtesting.workers.make import workers as make_workers
from monitor.config import Config
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.ids import iso
from monitor.replay import Replay, correlate
from monitor.replayed import Replayed, WalletCount
from monitor.report import report
from monitor.watchlist import Watchlist

if TYPE_CHECKING:
    from monitor.backtesting.sweep import Swept
    from monitor.backtesting.sweep_grid import Grid

__all__ = ["MEMORY", "Folded", "Options", "fold", "run"]

MEMORY = 1 << 30  # bytes of rows that may be held, unless the user says otherwise
NOBODYS = "no transfer touches a watched wallet: are the addresses and the chain those of the data?"
NO_BALANCES = "no balances table: balances are inferred from flows, and wallets learn for their first 7 days"


@dataclass(frozen=True)
class Options:
    """How a backtest is run.

    Attributes
    ----------
    start, end : UTC seconds, start inclusive, end exclusive; None is open
    strict : check every row of Parquet files, too
    rename : new column name to the file's own
    progress : hears how far it is
    engine : ``local``, ``processes`` or ``ray``
    workers : how many, None for one a core
    work : folder in which what is done stays until all is, so that the same command goes on from there
    memory : bytes of rows that may be held, beside what the engine remembers
    stop : the user's wish to end early; what was replayed by then is reported
    sweep : settings that are folded in the same pass, where the engine is local, for `monitor.backtesting.sweep`
    """

    start: int | None = None
    end: int | None = None
    strict: bool = False
    rename: Mapping[str, str] | None = None
    progress: Progress | Callable[[int, int], None] | None = None
    engine: str = "local"
    workers: int | None = None
    work: str | Path | None = None
    memory: int = MEMORY
    stop: Stop | None = None
    sweep: Grid | None = None


@dataclass
class Folded:
    """A backtest, and what it taught.

    Attributes
    ----------
    engine : after the fold; None where other processes did it
    reading : `chains.tables.read.Reading`
    """

    outcome: Outcome
    engine: Engine | None
    reading: Any


def run(config: Config, data: Sequence[str], options: Options) -> Outcome:
    """History through the engine; see `fold`."""
    return fold(config, data, options).outcome


def fold(config: Config, data: Sequence[str], options: Options) -> Folded:
    """History through the engine.

    Parameters
    ----------
    data : ``[CHAIN=]PATH`` of files, folders, globs or URLs

    Raises
    ------
    ConfigError : the data cannot be read at all, or an option is wrong
    StoreError : rows cannot be put aside
    WorkerLost : processes that did a part of it ended, again and again
    Stopped : the user ended it before anything was replayed
    """
    if not config.wallets:
        raise ConfigError("the configuration watches no wallet: add one under `wallets:`")
    from chains.tables import parse_source
    from monitor.prices.make import table_book

    config = _before_use(config)
    sources = [parse_source(text) for text in data]
    local = options.engine == "local"
    work = Path(options.work) if options.work is not None else None
    ledger = Ledger(work, command_key(config, data, options) if work is not None else "")
    job = _Job(config, sources, options, ledger, progress_of(options.progress))
    try:
        stop = options.stop or Stop()
        with stop.cleaning(ledger.leave), make_workers(options.engine, options.workers) as some, put_off():
            some.warm(warm_up)
            if options.sweep is not None and local:
                warm_variants()
            engine = make_engine(config)
            begin = time.perf_counter()
            reading = job.read(engine.watchlist, some)
            names = asset_names(config)
            for asset, (symbol, decimals) in reading.assets.items():
                names.tell(asset, symbol, decimals)
            history, replayed, waiting = job.here(engine, reading, names) if local else job.apart(reading, some, names)
            if (book := table_book(config, names)) is not None:
                for record in replayed.correlator.records.values():
                    book.appraise(record)
            described = _described(reading, replayed, [*waiting, *job.said])
            incidents = replayed.incidents()
            found = report(described, replayed, incidents, names, [wallet.id for wallet in config.wallets], {})
            found["speed"] = _speed(reading, replayed, time.perf_counter() - begin)
    except BaseException:
        ledger.leave()
        raise
    outcome = Outcome(
        found, config, names, incidents, history, replayed.wallets, reading.balances, reading.controls,
        reading.blind_spots, replayed.correlator, job.swept,
    )  # fmt: skip
    return Folded(outcome, engine if local and job.swept is None else None, reading)


@dataclass
class _Job:
    """One backtest at work."""

    config: Config
    sources: Sequence[Any]
    options: Options
    ledger: Ledger
    progress: Progress

    def __post_init__(self) -> None:
        self.said: list[str] = []
        self.swept: Swept | None = None
        self._made = ""

    def _named(self, facts: Iterable[str]) -> list[str]:
        """Names of a stage's tasks: what a task gives depends on all that the stages before it were made of."""
        names = [key_of(self._made, fact) for fact in facts]
        self._made = key_of(self._made, *names)
        return names

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, watchlist: Watchlist, workers: Workers) -> Any:
        """Tables, read again where they show that more derived addresses are in use than were watched."""
        while True:
            reading = self._read_once(watchlist, workers)
            if not watchlist.derived or not self._grown(watchlist, reading):
                return reading

    def _read_once(self, watchlist: Watchlist, workers: Workers) -> Any:
        from chains.tables import read

        options = self.options
        watch = {chain: watchlist.watched(chain) for chain in watchlist.chains}
        own = None if options.engine == "local" and not self.ledger.keeps else self._sifting(watch, workers)
        begun = False

        def tick(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                self.progress.stage("reading", total, "bytes")
                begun = True
            self.progress.at(done)

        return read(
            self.sources, chains=chain_infos(self.config), watch=watch, start=options.start, end=options.end,
            strict=options.strict, rename=options.rename or {}, progress=tick, each=own, folder=str(self.ledger.rows),
            room=options.memory // 2 if own is None else 0, parts=4 * workers.count if own is not None else 1,
        )  # fmt: skip

    def _sifting(self, watch: Mapping[str, Any], workers: Workers) -> Callable[[Any, Sequence[Any]], list[Any]]:
        """Files as tasks of workers, their results kept.

        What is done with a file depends on the others, so that a task is named by all of them, and its place.
        """
        from chains.tables.source import expand

        self._made = files_key(path for path, _ in expand(self.sources)[0])
        watched = key_of(*(f"{chain} {watch[chain].digest}" for chain in sorted(watch)))

        def each(work: Any, tasks: Sequence[Any]) -> list[Any]:
            names = self._named(key_of(watched, number) for number in range(len(tasks)))
            self.progress.stage("reading", len(tasks), "parts")
            return self.ledger.run(workers, "sift", work, tasks, names, self.progress.at)

        return each

    def _grown(self, watchlist: Watchlist, reading: Any) -> bool:
        """Whether payments show that more derived addresses are in use."""
        paid: dict[str, set[str]] = {}
        for chain, frame in reading.frames(hashes=False):
            paid.setdefault(chain, set()).update(frame["to_address"].drop_nulls().unique().to_list())
        grown = False
        while watchlist.derived.use({chain: sorted(found) for chain, found in paid.items()}):
            grown = True  # a payment may be to an address that is watched since another one
        return grown

    # -- replay ---------------------------------------------------------------------------------------------------

    def here(self, engine: Engine, reading: Any, names: AssetNames) -> tuple[RangeHistory, Replayed, list[str]]:
        """Replay in this process, range by range; ends with what is done where the user wishes so."""
        try:
            return self._here(engine, reading, names)
        except CannotShare:
            self.options, self.swept, self.said = replace(self.options, sweep=None), None, []
            return self._here(make_engine(self.config), reading, names)

    def _here(self, engine: Engine, reading: Any, names: AssetNames) -> tuple[RangeHistory, Replayed, list[str]]:
        stop = self.options.stop or Stop()
        history = RangeHistory(reading, self.ledger)
        swept = self._swept()
        fold, words = (swept.fold(engine), swept.words) if swept is not None else (None, (True,))
        work = Replay(
            engine, names, reading.balances, reading.blind_spots, reading.controls, fold=fold, words=words
        )
        self.progress.stage("replaying", len(reading.ranges), "parts")
        last: Batch | None = None
        with stop.held():
            for number, ordered in enumerate(history.ordered()):
                if stop.asked:
                    if last is None:
                        raise Stopped
                    self.said.append(_cut_short(last))
                    history.keep()
                    break
                reading.count(number, ordered.counts)
                last = ordered.batch()
                work.feed(last)
                self.progress.at(number + 1)
        found, *others = work.finish_all()
        correlate(engine, work.result.correlator, found)
        if swept is not None:
            swept.evidence = others
        return history, work.result, self._waiting(engine.policies.waiting(), reading)

    def _swept(self) -> Swept | None:
        """Settings to fold in the same pass."""
        if self.options.sweep is not None and self.swept is None:
            from monitor.backtesting.sweep import Swept

            self.swept = Swept(self.config, self.options.sweep)
        return self.swept

    def apart(self, reading: Any, workers: Workers, names: AssetNames) -> tuple[RangeHistory, Replayed, list[str]]:
        """Put ranges in order and replay shares of the wallets, each in a process of its own."""
        ledger, wanted = self.ledger, reading.wanted
        names_of = self._named(key_of(part.chain, part.low, part.high) for part in reading.ranges)
        tasks = [
            OrderTask(part, wanted, str(ledger.rows / f"{name}.ordered"))
            for part, name in zip(reading.ranges, names_of, strict=True)
        ]
        self.progress.stage("arranging", len(tasks), "parts")
        ordered = ledger.run(workers, "order", order, tasks, names_of, self.progress.at)
        for number, found in enumerate(ordered):
            reading.count(number, found.counts)
        groups = shares(self.config.wallets, workers.count)
        whole = (tuple(ordered), reading.balances, reading.controls, reading.blind_spots, reading.assets)
        parts = [Share(self.config, *whole, only) for only in groups]
        self.progress.stage("replaying", len(parts), "parts")
        shared = self._named(key_of(*sorted(only)) for only in groups)
        lanes = ledger.run(workers, "replay", replay_share, parts, shared, self.progress.at)
        engine = make_engine(self.config)
        replayed = _joined(engine, lanes)
        waiting = sorted(entry for lane in lanes for entry in lane.waiting)
        return RangeHistory(reading, ledger, ordered), replayed, self._waiting(waiting, reading)

    def _waiting(self, waiting: Sequence[tuple[str, str, str]], reading: Any) -> list[str]:
        return [
            f"wallet {wallet} on {chain}: the rule {rule} said nothing, since no balances table tells what was there"
            for chain, wallet, rule in waiting
            if chain in reading.chains
        ]


def warm_variants() -> None:
    """Compile (or load) the fold of many settings before anything is timed."""
    from monitor.backtesting.variants.state import warm_up as warm

    warm()


def _joined(engine: Engine, lanes: Sequence[Lane]) -> Replayed:
    """What shares of the wallets found, as one."""
    found = Replay(engine, engine.names).result
    for lane in lanes:
        found.flows += lane.flows
        found.ignored += lane.ignored
        for wallet, seen in lane.wallets.items():
            found.wallets.setdefault(wallet, WalletCount()).join(seen)
    correlate(engine, found.correlator, [evidence for lane in lanes for evidence in lane.evidence])
    return found


def _cut_short(last: Batch) -> str:
    at = int(last.frame["block_timestamp"][-1])
    return f"ended early: what follows {iso(at)} on {last.chain}, and chains after it by name, was not replayed"


def _before_use(config: Config) -> Config:
    """The same with derived addresses as they are before any use was noted, by this history or another one."""
    wallets = (
        replace(wallet, derived=tuple(derived.fresh() for derived in wallet.derived)) if wallet.derived else wallet
        for wallet in config.wallets
    )
    return replace(config, wallets=tuple(wallets))


def _speed(reading: Any, replayed: Replayed, seconds: float) -> dict[str, Any]:
    own, others = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "wall_seconds": round(seconds, 6),
        "rows_per_second": round(reading.rows / seconds, 1),
        "flows_per_second": round(replayed.flows / seconds, 1),
        "peak_rss_bytes": max(own, others) * 1024,
    }


def _described(reading: Any, replayed: Replayed, said: Sequence[str]) -> dict[str, Any]:
    unseen = [f"{chain}: the data does not show {', '.join(spots)}" for chain, spots in reading.blind_spots.items()]
    return {
        "rows": reading.rows,
        "bad_rows": reading.bad_rows,
        "bad": [{"path": bad.path, "row": bad.row, "reason": bad.reason} for bad in reading.bad],
        "transfers": reading.transfers,
        "first": reading.first,
        "last": reading.last,
        "chains": reading.chains,
        "notes": [
            *reading.notes, *unseen, *([] if reading.balances is not None else [NO_BALANCES]),
            *([NOBODYS] if reading.transfers and not replayed.flows and not said else []), *said,
        ],
    }  # fmt: skip
