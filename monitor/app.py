"""The composition root: the one place, beside the command line, that knows chains, channels and the engine together."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitor.assets import AssetInfo, AssetNames
from monitor.config import ChainConfig, Config, config_from_mapping, load_config
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.ids import from_iso
from monitor.keepsakes import Keepsakes
from monitor.watchlist import Watchlist

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


def make_engine(config: Config) -> Engine:
    """An engine for the wallets of a configuration, without state."""
    from monitor.labels.load import load_book
    from monitor.policies.approvals import Approvals
    from monitor.policies.book import PolicyBook
    from monitor.policies.cold import ColdWallets
    from monitor.policies.control.policy import ControlChanges
    from monitor.policies.fleet import DepositFleets
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
    policies = (rules, cold, fleets, control, approvals, spends, poisoning)
    return Engine(watchlist, listed, PolicyBook(watchlist, policies), labels, given)


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

    return {
        chain.name: ChainInfo(chain.chain, chain.kind, chain.network.asset, chain.network.block_seconds)
        for chain in config.chains
    }


def run_backtest(
    config: Config,
    data: Sequence[str],
    *,
    start: int | None = None,
    end: int | None = None,
    strict: bool = False,
    rename: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """History through the engine: the report of `fold_history`."""
    return fold_history(
        config, data, start=start, end=end, strict=strict, rename=rename, progress=progress
    )[0]


def fold_history(
    config: Config,
    data: Sequence[str],
    *,
    start: int | None = None,
    end: int | None = None,
    strict: bool = False,
    rename: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Engine, Any]:
    """History through the engine.

    Parameters
    ----------
    data : ``[CHAIN=]PATH`` of files, folders or globs
    start, end : UTC seconds, start inclusive, end exclusive
    strict : check every row of Parquet files too
    rename : new column name to the file's own
    progress : told (bytes done, bytes in all) while reading

    Returns
    -------
    (report, engine, reading) : a report, schema ``heistwatch/backtest/1``; the engine after the fold; what was read

    Raises
    ------
    ConfigError : the data cannot be read at all
    """
    from monitor.prices.make import table_book
    from monitor.replay import replay
    from monitor.report import report

    if not config.wallets:
        raise ConfigError("the configuration watches no wallet: add one under `wallets:`")
    engine = make_engine(_before_use(config))
    warm_up()
    begin = time.perf_counter()
    reading = _read_history(
        config, engine.watchlist, data, start=start, end=end, strict=strict, rename=rename or {}, progress=progress
    )
    names = asset_names(config)
    names.add(AssetInfo(asset, symbol, decimals) for asset, (symbol, decimals) in _named(reading).items())
    replayed = replay(engine, reading.frame, names, reading.balances, reading.blind_spots, reading.controls)
    if (book := table_book(config, names)) is not None:
        for record in replayed.correlator.records.values():
            book.appraise(record)
    seconds = time.perf_counter() - begin
    speed = {
        "wall_seconds": round(seconds, 6),
        "rows_per_second": round(reading.rows / seconds, 1),
        "flows_per_second": round(replayed.flows / seconds, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    waiting = [
        f"wallet {wallet} on {chain}: the rule {rule} said nothing, since no balances table tells what was there"
        for chain, wallet, rule in engine.policies.waiting()
        if chain in reading.chains
    ]
    described = {
        "rows": reading.rows,
        "bad_rows": reading.bad_rows,
        "bad": [{"path": bad.path, "row": bad.row, "reason": bad.reason} for bad in reading.bad],
        "transfers": reading.transfers,
        "first": reading.first,
        "last": reading.last,
        "chains": reading.chains,
        "notes": [*reading.notes, *([] if reading.balances is not None else [NO_BALANCES]), *waiting],
    }
    wallets = [wallet.id for wallet in config.wallets]
    return report(described, replayed, names, wallets, speed), engine, reading


def _before_use(config: Config) -> Config:
    """The same with derived addresses as they are before any use was noted, by this history or another one."""
    wallets = (
        replace(wallet, derived=tuple(derived.fresh() for derived in wallet.derived)) if wallet.derived else wallet
        for wallet in config.wallets
    )
    return replace(config, wallets=tuple(wallets))


def _read_history(config: Config, watchlist: Watchlist, data: Sequence[str], **options: Any) -> Any:
    """Tables, read again where they show that more derived addresses are in use than were watched."""
    from chains.tables import parse_source, read

    sources = [parse_source(text) for text in data]
    while True:
        watch = {chain: watchlist.watched(chain) for chain in watchlist.chains}
        reading = read(sources, chains=chain_infos(config), watch=watch, **options)
        if not watchlist.derived:
            return reading
        paid = {
            str(chain): part["to_address"].drop_nulls().unique().to_list()
            for (chain,), part in reading.frame.select("chain", "to_address").group_by("chain")
        }
        grown = False
        while watchlist.derived.use(paid):  # a payment may be to an address that is watched since another one
            grown = True
        if not grown:
            return reading


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
    report, engine, reading = fold_history(config, data, **options)
    past = _past(reading)
    if not past:
        raise ConfigError("the history shows no transfer of a watched wallet: are its addresses and chains right?")
    asyncio.run(_with_store(config, stored))
    return report, learned(engine), past


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

    found = []
    for chain in reading.frame["chain"].unique().sort().to_list():
        rows = reading.frame.filter(reading.frame["chain"] == chain)
        numbers, times = rows["block_number"], rows["block_timestamp"]
        found.append(Past(chain, int(numbers.min()), int(numbers.max()), int(times.min()), int(times.max())))
    return found


NO_BALANCES = "no balances table: balances are inferred from flows, and wallets learn for their first 7 days"


def _named(reading: Any) -> Mapping[str, tuple[str, int | None]]:
    named: Mapping[str, tuple[str, int | None]] = getattr(reading, "assets", {})
    return named


def warm_up() -> None:
    """Compile (or load) the fold before anything is timed."""
    from monitor.model import Role
    from monitor.parameters import parameters
    from monitor.rows import RowBuilder
    from monitor.state import EngineState

    builder = RowBuilder()
    state = EngineState()
    builder.add(state.add_asset("w", "c", "a"), state.wallet("w", "c", parameters(Role.HOT, 1.0)), 0, 0, 1.0)
    state.fold(builder.build(), keep_undo=True)


def backtest(
    config: Config | Mapping[str, Any] | str | Path,
    data: str | Sequence[str],
    *,
    start: str | int | None = None,
    end: str | int | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Backtest from Python: ``monitor.backtest("heistwatch.yaml", "history/*.parquet")``.

    Parameters
    ----------
    config : a configuration, a mapping of the same shape as the file, or a path
    data : one or several ``[CHAIN=]PATH``
    start, end : ISO 8601 or UTC seconds, start inclusive, end exclusive
    strict : check every row of Parquet files too

    Returns
    -------
    a report, schema ``heistwatch/backtest/1``
    """
    if isinstance(config, Mapping):
        config = config_from_mapping(config, Path.cwd(), "config")
    elif not isinstance(config, Config):
        config = load_config(Path(config))
    return run_backtest(
        config,
        [data] if isinstance(data, str) else list(data),
        start=from_iso(str(start)) if start is not None else None,
        end=from_iso(str(end)) if end is not None else None,
        strict=strict,
    )


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
