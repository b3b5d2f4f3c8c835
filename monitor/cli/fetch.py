"""`heistwatch fetch`: history from the configured endpoints into a folder of Parquet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.common import count, find_config, json_option, print_json, run
from monitor.errors import ChainUnavailable, ConfigError
from monitor.fetching.bounds import Bound, read_bound

if TYPE_CHECKING:
    from monitor.config import ChainConfig, Config
    from monitor.fetching.folder import Folder
    from monitor.fetching.standing import Standing

__all__ = ["command"]

PARTS = {"bitcoin": 500, "evm": 2_000, "nem": 1_000}  # blocks of a file: what a kill costs at most
STEPS = {"bitcoin": 10, "evm": 100, "nem": 50}  # blocks of one reading
LOWEST = {"nem": 1}  # the first block of a chain, where it is not 0
UNBOUND = 2_000.0  # requests a second at a node of one's own, which bounds itself
ASIDE = 0.1  # the part of the rate that is left for questions beside the blocks, for balances
OPENINGS = 3  # times that endpoints are tried at the start
WALK = 200  # blocks that balances of the head may be carried over at least


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments."""

    start: Bound
    end: Bound | None
    out: Path
    workers: int
    rate: float | None
    part: int | None
    patience: float


@click.command()
@click.argument("config", metavar="CONFIG")
@click.option("--chain", "name", metavar="NAME", help="The chain, where several have endpoints.")
@click.option("--from", "start", required=True, metavar="N", help="First block: its number, or a time (ISO 8601, UTC).")
@click.option("--to", "end", metavar="N", help="Block to stop before, number or time; otherwise all that are final.")
@click.option("--out", required=True, metavar="DIR", help="The folder; what is there already is not fetched again.")
@click.option("--workers", type=click.IntRange(1, 64), default=4, metavar="N", help="Readings at a time (4).")
@click.option("--rate", type=float, metavar="R", help="At most so many requests a second, each call of a batch one.")
@click.option("--part", type=click.IntRange(1, 1_000_000), metavar="N", help="Blocks of one file, in a new folder.")
@click.option("--patience", type=float, default=300.0, metavar="S", help="Seconds without any answer to give up (300).")
@json_option
def command(
    config: str,
    name: str | None,
    start: str,
    end: str | None,
    out: str,
    workers: int,
    rate: float | None,
    part: int | None,
    patience: float,
    as_json: bool,
) -> int:
    """Fetch history from the configured endpoints into a folder of Parquet, as `backtest --data DIR` reads it.

    Everything that the engine would see live: transfers that touch the watched wallets, changes of control, balances,
    and every block's hash. Each block must be the child of the one below. Killed or ended anywhere, the same command
    goes on; with a later --to it adds what is new.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ConfigError(f"--rate was {rate:g}, expected a number above 0")
    if not 0 <= patience < float("inf"):
        raise ConfigError(f"--patience was {patience:g}, expected seconds")
    asked = _Asked(
        read_bound(start, "--from"), None if end is None else read_bound(end, "--to"), Path(out), workers, rate, part,
        patience,
    )  # fmt: skip
    found = find_config(config)
    chain = _chain(found, name)
    from monitor.cli.fetch_shown import shown

    job = _Job(found, chain, asked)
    with shown(as_json) as display:
        try:
            told = run(job.run(display))
        except (KeyboardInterrupt, click.exceptions.Exit) as stop:
            display.close()
            click.echo(f"heistwatch: {job.interrupted()}", err=True)
            if as_json:
                print_json(job.summary(complete=False))
            return stop.exit_code if isinstance(stop, click.exceptions.Exit) else 130
    if as_json:
        print_json(told)
    else:
        _show(told, chain, config, out)
    return 0


def _chain(config: Config, name: str | None) -> ChainConfig:
    """The chain that is meant; ConfigError where there is none, or nobody to ask or to look for."""
    from monitor.registry import HISTORIES, did_you_mean
    from monitor.watchlist import Watchlist

    able = {chain.name: chain for chain in config.chains}
    if name is None:
        reached = [chain for chain in config.chains if chain.endpoints]
        if len(reached) != 1:
            which = ", ".join(chain.name for chain in reached) or "none"
            raise ConfigError(f"--chain is missing: which of the chains with endpoints ({which})?")
        chain = reached[0]
    else:
        named = able.get(name) or next((chain for chain in config.chains if chain.chain == name), None)
        if named is None:
            raise ConfigError(f"--chain was {name!r}, which is not configured: {did_you_mean(name, able)}")
        chain = named
    if not chain.endpoints:
        raise ConfigError(f"chain {chain.name} has no endpoint: add `endpoints` to it under `chains:`")
    if chain.kind not in HISTORIES:
        raise ConfigError(f"chain {chain.name}: endpoints of kind {chain.kind} give no past blocks")
    if not Watchlist(config.wallets).watch(chain.chain):
        raise ConfigError(f"chain {chain.name}: no wallet has an address there, so there is nothing to fetch")
    return chain


def _paced(chain: ChainConfig, rate: float | None) -> tuple[ChainConfig, ChainConfig, float | None]:
    """The chain as its past is read, and as balances are asked for, within the terms of each endpoint.

    Both have connections of their own, so the rate is shared out. An endpoint with a ``rate`` keeps to it, a node of
    the user's own to ``--rate`` alone, others to ``backfill_rate`` unless that is given.

    Returns
    -------
    (past, beside, rate) : the last one in requests a second of the fastest endpoint, None where nothing bounds it
    """
    from chains.endpoints.own import is_own

    limits: list[float | None] = []
    for endpoint in chain.endpoints:
        own = is_own(endpoint.url.get_secret_value())
        limit = endpoint.rate if endpoint.rate is not None else (None if own else chain.backfill_rate)
        limits.append(limit if rate is None else min(rate, endpoint.rate or rate))

    def part(share: float) -> ChainConfig:
        pairs = zip(chain.endpoints, limits, strict=True)
        ends = tuple(replace(end, rate=None if limit is None else limit * share) for end, limit in pairs)
        return replace(chain, endpoints=ends, backfill_rate=most * share if most is not None else UNBOUND)

    known = [limit for limit in limits if limit is not None]
    most = max(known) if len(known) == len(limits) else None
    return part(1 - ASIDE), part(ASIDE), most


class _Job:
    """One call of the command."""

    def __init__(self, config: Config, chain: ChainConfig, asked: _Asked) -> None:
        self._config, self._chain, self._asked = config, chain, asked
        self._folder: Folder | None = None
        self._standing: Standing | None = None
        self._before = -1  # the highest block that was there
        self._begun = time.monotonic()
        self._notes: list[str] = []
        self._states: list[Any] = []

    async def run(self, display: Any) -> dict[str, Any]:
        """Fetch; what came of it."""
        from chains.throttle import Throttle
        from monitor import app
        from monitor.fetching.folder import Folder
        from monitor.fetching.reader import Reader
        from monitor.fetching.told import Teller

        chain, asked = self._chain, self._asked
        past, beside, rate = _paced(chain, asked.rate)
        engine = self._engine()
        source, history = app.make_chain(self._config, beside), app.make_history(self._config, past)
        if hasattr(history, "checks_headers"):
            history.checks_headers = True
        self._states = [source, history]
        reader = Reader(chain.name, history, patience=asked.patience, sleep=asyncio.sleep, clock=time.monotonic)
        take = Throttle(rate * ASIDE if rate is not None else UNBOUND).take
        teller = Teller(engine, chain.chain, source, take, asyncio.sleep)
        try:
            await self._open(source)
            span = await self._span(source, reader)
            self._folder = Folder(asked.out)
            self._begin(engine, span.first)
            await self._fetch(display, engine, reader, teller, span, rate)
        finally:
            if self._folder is not None:
                self._folder.close()
            await history.aclose()
            await source.aclose()
        return self.summary(complete=True)

    def summary(self, *, complete: bool) -> dict[str, Any]:
        """What the folder holds, and what this run took."""
        from monitor.fetching.manifest import SCHEMA

        hold = self._folder.hold if self._folder is not None else None
        first, last = (hold.first, hold.last) if hold is not None else (None, None)
        there = last if last is not None else -1
        return {
            "schema": SCHEMA,
            "chain": self._chain.chain,
            "complete": complete,
            "first": first,
            "last": last,
            "new_blocks": max(0, there - max(self._before, (first or 0) - 1)),
            "rows": dict(hold.rows) if hold is not None else {},
            "requests": self.requests(),
            "seconds": round(time.monotonic() - self._begun, 3),
            "out": str(self._asked.out),
            "notes": list(self._notes),
        }

    def interrupted(self) -> str:
        """What to say when it was ended early."""
        hold = self._folder.hold if self._folder is not None else None
        if hold is None or hold.last is None:
            return "interrupted before the first blocks were stored: the same command begins again"
        return (
            f"interrupted: blocks {hold.first} to {hold.last} are in {self._asked.out}; the same command goes on from "
            f"block {hold.last + 1}"
        )

    def requests(self) -> int:
        """Made so far."""
        return sum(state.requests for source in self._states for state in source.endpoints())

    def _engine(self) -> Any:
        from monitor.engine import Engine
        from monitor.watchlist import Watchlist

        fresh = tuple(
            replace(wallet, derived=tuple(each.fresh() for each in wallet.derived)) if wallet.derived else wallet
            for wallet in self._config.wallets
        )
        self._config = replace(self._config, wallets=fresh)
        listed = set(self._config.assets) | {chain.network.asset for chain in self._config.chains}
        return Engine(Watchlist(fresh), listed)

    async def _open(self, source: Any) -> None:
        """Connect; an endpoint that fails once may answer a second later."""
        for attempt in range(OPENINGS):
            try:
                await source.open()
                return
            except ChainUnavailable as error:
                if attempt + 1 == OPENINGS:
                    raise ChainUnavailable(f"{self._chain.name}: {error}") from None
                await asyncio.sleep(0.5)

    async def _span(self, source: Any, reader: Any) -> Any:
        from monitor.fetching.span import span_of

        chain = self._chain
        head = (await source.head()).number
        final = head - chain.finality_depth
        if chain.finality != "depth" and hasattr(source, "final_height"):
            told = await source.final_height()
            final = final if told is None else min(told, head)
        return await span_of(
            self._asked.start, self._asked.end, head=head, final=final, lowest=LOWEST.get(chain.kind, 0),
            block_seconds=chain.network.block_seconds, time_of=reader.time_of,
        )  # fmt: skip

    def _begin(self, engine: Any, first: int) -> None:
        from monitor.config.types import reveal
        from monitor.fetching.manifest import Header
        from monitor.fetching.watched import reading_print, watch_print

        assert self._folder is not None
        chain = self._chain
        listed = sorted(asset for asset in self._config.assets if asset.startswith(f"{chain.chain}/"))
        old = self._folder.header
        header = Header(
            chain.chain, chain.kind, first,
            old.part if old is not None else self._asked.part or PARTS.get(chain.kind, 1_000),
            old.step if old is not None else STEPS.get(chain.kind, 50),
            watch_print(engine.watchlist, chain.chain), len(engine.watchlist.watch(chain.chain)),
            reading_print(chain.kind, reveal(chain.options), listed),
        )  # fmt: skip
        if said := self._folder.begin(header):
            self._notes.append(said)
        last = self._folder.hold.last
        self._before = -1 if last is None else last

    async def _fetch(self, display: Any, engine: Any, reader: Any, teller: Any, span: Any, rate: float | None) -> None:
        from monitor.fetching.run import Fetching, Target
        from monitor.fetching.standing import estimate

        chain, folder = self._chain, self._folder
        assert folder is not None
        at = self._before + 1 if self._before >= 0 else span.first
        display.begins(chain.name, str(self._asked.out), estimate(chain.kind, at, span.end, rate))
        target = Target(chain.name, chain.chain, chain.kind, chain.network.asset, max(WALK, 2 * chain.finality_depth))
        fetching = Fetching(
            target, engine, folder, reader, teller, width=self._asked.workers, requests=self.requests,
            told=display.told,
        )  # fmt: skip
        try:
            await fetching.run(span)
        finally:
            self._notes += fetching.notes


def _show(told: dict[str, Any], chain: ChainConfig, config: str, out: str) -> None:
    """What came of it, for people."""
    rows, new = told["rows"], count(told["new_blocks"], "block")
    click.echo(
        f"{chain.name}: blocks {told['first']:,} to {told['last']:,} are in {out}, {new} of them new "
        f"({count(told['requests'], 'request')}, {told['seconds']:.1f} s)"
    )
    click.echo(
        f"{count(rows['transfers'], 'transfer')}, {count(rows['controls'], 'change')} of control, "
        f"{count(rows['balances'], 'balance')}; every block is the child of the one below"
    )
    for note in told["notes"]:
        click.echo(f"note: {note}")
    click.echo(f"next: heistwatch backtest {config} --data {out}")
