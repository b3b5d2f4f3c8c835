"""The composition root: the one place, beside the command line, that knows chains, channels and the engine together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from monitor.assets import AssetNames
from monitor.config import ChainConfig, Config, config_from_mapping, load_config
from monitor.engine import Engine
from monitor.errors import ConfigError, DetectorError
from monitor.ids import from_iso
from monitor.keepsakes import Keepsakes
from monitor.watchlist import Watchlist

if TYPE_CHECKING:
    from monitor.backtesting.outcome import Outcome
    from monitor.backtesting.progress import Progress as ToldProgress
    from monitor.config.own_detectors import Own

__all__ = [
    "asset_names",
    "backtest",
    "calibrate",
    "chain_infos",
    "chain_spec",
    "fold_history",
    "make_engine",
    "make_store",
    "run_backtest",
    "warm_up",
]

Progress = Callable[[int, int], None]
OnFailure = Callable[[Any, DetectorError], None]


def make_engine(config: Config, on_failure: OnFailure | None = None) -> Engine:
    """An engine for the wallets of a configuration, without state.

    Parameters
    ----------
    on_failure : told of a detector of the user's own that failed on a flow; None: that is a DetectorError
    """
    from monitor.labels.load import load_book
    from monitor.policies.approvals import Approvals
    from monitor.policies.book import PolicyBook
    from monitor.policies.cold import ColdWallets
    from monitor.policies.control.policy import ControlChanges
    from monitor.policies.fleet import DepositFleets
    from monitor.policies.own import OwnDetectors
    from monitor.policies.plain import PlainRules
    from monitor.policies.poisoning import Poisoning
    from monitor.policies.third_party import ThirdPartySpends

    listed = set(config.assets) | {chain.network.asset for chain in config.chains}
    watchlist = Watchlist(config.wallets)
    given = config.detectors
    rules, fleets = PlainRules(config.rules, config.lists, given), DepositFleets(watchlist, given)
    labels = load_book(config)
    control = ControlChanges(watchlist, config.planned, labels, given)
    cold = ColdWallets(watchlist, config.planned, listed, given)
    approvals = Approvals(watchlist, config.planned, listed, labels, given)
    spends, poisoning = ThirdPartySpends(watchlist, listed, labels, given), Poisoning(watchlist, listed, given)
    own = OwnDetectors(watchlist, own_detectors(config), labels, given, on_failure)
    policies = (rules, cold, fleets, control, approvals, spends, poisoning, own)
    return Engine(watchlist, listed, PolicyBook(watchlist, policies), labels, given)


def own_detectors(config: Config) -> Sequence[Any]:
    """The detectors of the user's own files; each file runs once a process."""
    if not config.own:
        return ()
    from monitor.own.load import gather

    return gather(config.own)


def asset_names(config: Config) -> AssetNames:
    """What assets are called, as far as the configuration says."""
    return AssetNames(config.assets)


def chain_spec(chain: ChainConfig) -> Any:
    """How to reach a chain, secrets revealed: hand it to a chain family, never print it."""
    from chains.base import ChainSpec, Terms
    from monitor.config.types import reveal

    urls = [(endpoint.url.get_secret_value(), endpoint) for endpoint in chain.endpoints]
    return ChainSpec(
        name=chain.name,
        kind=chain.kind,
        chain=chain.chain,
        endpoints=tuple(url for url, _ in urls),
        terms={url: Terms(endpoint.weight, endpoint.rate) for url, endpoint in urls},
        quorum=chain.quorum,
        replay=chain.replay,
        poll_seconds=chain.poll_seconds,
        timeout_seconds=chain.timeout,
        finality_depth=chain.finality_depth,
        finality=chain.finality,
        options=reveal(chain.options),
        network=chain.network,
    )


def chain_infos(config: Config) -> Mapping[str, Any]:
    """Configured chains as table readers need them."""
    from chains.tables import ChainInfo

    decimals: dict[str, dict[str, int]] = {}
    for asset, info in config.assets.items():
        if info.decimals is None:
            continue
        decimals.setdefault(asset.partition("/")[0], {})[asset] = info.decimals
    return {
        chain.name: ChainInfo(
            chain.chain, chain.kind, chain.network.asset, chain.network.block_seconds, decimals.get(chain.chain, {})
        )
        for chain in config.chains
    }


def run_backtest(config: Config, data: Sequence[str], **options: Any) -> Outcome:
    """History through the engine: its outcome, which as a mapping is the report.

    Parameters
    ----------
    data : ``[CHAIN=]PATH`` of files, folders, globs or URLs
    options : see `monitor.backtesting.run.Options`

    Raises
    ------
    ConfigError : the data cannot be read at all, or an option is wrong
    """
    from monitor.backtesting.run import Options, run

    return run(config, data, Options(**options))


def fold_history(config: Config, data: Sequence[str], **options: Any) -> tuple[Outcome, Engine, Any]:
    """The same in this process, with the engine as it is afterwards, and what was read (`chains.tables.Reading`)."""
    from monitor.backtesting.run import Options, fold

    found = fold(config, data, Options(**options))
    assert found.engine is not None, "the local engine folds here"
    return found.outcome, found.engine, found.reading


def calibrate(
    config: Config, data: Sequence[str], *, replace: bool = False, **options: Any
) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """Fold history and store what it taught, so that a live monitor starts warm. Runs an event loop of its own.

    Parameters
    ----------
    data, options : see `fold_history`
    replace : take the place of what the store knows of the same wallets on the same chains

    Returns
    -------
    (report, learned, past) : the backtest's report, `monitor.calibrate.Learned` a wallet and chain, and
        `monitor.calibrate.Past` a chain

    Raises
    ------
    ConfigError : the data cannot be read, shows no watched wallet, or the store knows these wallets already
    StoreError : the store cannot be used, or a monitor runs on it
    """
    from monitor.calibrate import calibrate as store_state
    from monitor.calibrate import learned

    async def nothing(store: Any) -> None:
        """Only whether the store can be had, before the long work."""

    async def stored(store: Any) -> None:
        await store_state(store, engine, past, replace=replace)

    if config.store.kind == "memory":
        raise ConfigError("store.url is memory://, which keeps nothing: name a file, sqlite:///heistwatch.db")
    asyncio.run(_with_store(config, nothing))
    outcome, engine, reading = fold_history(config, data, **options)
    with outcome:
        past = _past(reading)
        if not past:
            raise ConfigError("the history shows no transfer of a watched wallet: are its addresses and chains right?")
        asyncio.run(_with_store(config, stored))
    return outcome.report, learned(engine), past


async def _with_store(config: Config, work: Callable[[Any], Awaitable[None]]) -> None:
    """Do ``work`` on the store as the only one who runs on it."""
    store = make_store(config)
    try:
        await store.open()
        if hasattr(store, "acquire"):
            await store.acquire()
        await work(store)
    finally:
        await store.aclose()


def _past(reading: Any) -> list[Any]:
    """The reach of the history of each chain, as far as it touches the watch list."""
    from monitor.calibrate import Past

    ends: dict[str, tuple[int, int, int, int]] = {}
    for chain, rows in reading.frames(hashes=False):
        if rows.is_empty():
            continue
        numbers, times = rows["block_number"], rows["block_timestamp"]
        low, high, first, last = int(numbers.min()), int(numbers.max()), int(times.min()), int(times.max())
        known = ends.get(chain, (low, high, first, last))
        ends[chain] = min(low, known[0]), max(high, known[1]), min(first, known[2]), max(last, known[3])
    return [Past(chain, *ends[chain]) for chain in sorted(ends)]


def warm_up() -> None:
    """Compile (or load) what is compiled before anything is timed."""
    import numpy as np
    import polars as pl

    from monitor.features import table
    from monitor.features.dtypes import TABLE
    from monitor.intake import destination_keys
    from monitor.model import Role
    from monitor.parameters import parameters
    from monitor.rows import RowBuilder
    from monitor.state import EngineState

    builder = RowBuilder()
    state = EngineState()
    builder.add(state.add_asset("w", "c", "a"), state.wallet("w", "c", parameters(Role.HOT, 1.0)), 0, 0, 1.0)
    state.fold(builder.build(), keep_undo=True)
    destination_keys(pl.Series([""]).new_from_index(0, 1 << 12))  # more than a few: those are not compiled
    pool, used = table.new_pool(1), np.zeros(1, np.int64)
    for _ in range(2):
        pool = table.enlarged(pool, used, np.zeros(1, TABLE))


def backtest(
    config: Config | Mapping[str, Any] | str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    start: str | int | datetime | None = None,
    end: str | int | datetime | None = None,
    strict: bool = False,
    map: Mapping[str, str] | None = None,
    detectors: Own | Sequence[Own] = (),
    engine: Literal["local", "processes", "ray"] = "local",
    workers: int | None = None,
    work: str | Path | None = None,
    memory: int | None = None,
    progress: ToldProgress | Progress | None = None,
) -> Outcome:
    """Backtest from Python: ``monitor.backtest("heistwatch.yaml", "history/*.parquet")``.

    Parameters
    ----------
    config : a configuration, a mapping of the same shape as the file, or a path
    data : one or several ``[CHAIN=]PATH``
    start, end : ISO 8601, a datetime (naive ones are UTC), or UTC seconds; start inclusive, end exclusive
    strict : check every row of Parquet files too
    map : new column name to the file's own, with a unit where it has one: ``{"value": "amount:18"}``
    detectors : of one's own, beside those that the configuration names: files, or functions made by
        `monitor.own.detector`, which the engine ``local`` alone can run
    engine : who does the work; the outcome is the same
    workers : how many, None for one a core
    work : folder in which what is done stays until all is, so that the same call goes on from there
    memory : bytes of rows that may be held
    progress : hears how far it is: `monitor.backtesting.progress.Progress`, or a function of (done, total)

    Returns
    -------
    the outcome; as a mapping it is the report, schema ``heistwatch/backtest/1``

    Raises
    ------
    ConfigError : the configuration, the data or a detector's file is wrong; with every problem
    DetectorError : a detector of one's own failed; says where
    """
    from chains.tables.mapping import parse_mapping
    from monitor.config.own_detectors import travels, with_own

    own = detectors if isinstance(detectors, list | tuple) else (detectors,)
    if isinstance(config, Mapping):
        config = config_from_mapping(config, Path.cwd(), "config", own=own)
    else:
        config = with_own(config, own) if isinstance(config, Config) else load_config(Path(config), own=own)
    if engine != "local" and not travels(config):
        raise ConfigError(f"engine {engine} needs detectors in files: other processes know no function")
    rename = parse_mapping([f"{new}={old}" for new, old in map.items()]) if map else None
    asked: dict[str, Any] = {"strict": strict, "rename": rename, "engine": engine, "workers": workers, "work": work}
    if memory is not None:
        asked["memory"] = memory
    return run_backtest(
        config,
        [str(data)] if isinstance(data, str | Path) else [str(item) for item in data],
        start=_seconds(start),
        end=_seconds(end),
        progress=progress,
        **asked,
    )


def _seconds(time: str | int | datetime | None) -> int | None:
    if isinstance(time, datetime):
        time = time.isoformat()
    try:
        return None if time is None else from_iso(str(time))
    except ValueError as error:
        raise ConfigError(str(error)) from None


# -- watching ---------------------------------------------------------------------------------------------------------


def make_store(config: Config) -> Any:
    """The store that a configuration names, not yet open."""
    from monitor.store_url import open_store

    return open_store(config.store.url.get_secret_value(), base=config.base)


def make_chain(config: Config, chain: ChainConfig, kept: Keepsakes | None = None) -> Any:
    """A chain family's reader for the watch list, not yet open; ``kept`` is what it wanted back after a restart."""
    from monitor.registry import CHAINS, load

    watchlist = Watchlist(config.wallets)
    spec = replace(chain_spec(chain), accounts=watchlist.accounts(chain.chain), kept=kept)
    return load(CHAINS, chain.kind, "chain kind")(spec, watchlist.watch(chain.chain))


def make_history(config: Config, chain: ChainConfig) -> Any:
    """What gives past blocks of a chain, not yet open; None where its family gives none."""
    from monitor.registry import HISTORIES, load

    if chain.kind not in HISTORIES:
        return None
    watchlist = Watchlist(config.wallets)
    spec = replace(chain_spec(chain), accounts=watchlist.accounts(chain.chain))
    return load(HISTORIES, chain.kind, "chain kind")(spec, watchlist.watch(chain.chain), chain.backfill_rate)


def make_mempool(config: Config, chain: ChainConfig) -> Any:
    """What tells which transactions wait to be mined; None where that is off or its family tells none.

    ``auto`` asks the user's own nodes alone: there it costs next to nothing. A provider counts and charges for each
    transaction of the whole network that it tells of.
    """
    from chains.endpoints.own import is_own
    from monitor.registry import MEMPOOLS, load

    if chain.mempool == "off" or chain.kind not in MEMPOOLS or (chain.mempool == "auto" and chain.replay):
        return None
    watchlist = Watchlist(config.wallets)
    spec = replace(chain_spec(chain), accounts=watchlist.accounts(chain.chain))
    if chain.mempool == "auto":
        spec = replace(spec, endpoints=tuple(url for url in spec.endpoints if is_own(url)))
    if all(urlsplit(url).scheme in ("tcp", "ipc") for url in spec.endpoints):  # hints alone, or nothing
        return None
    return load(MEMPOOLS, chain.kind, "chain kind")(spec, watchlist.watch(chain.chain))
