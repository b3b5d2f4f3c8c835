"""Simulated hot wallets: what kind of worlds there are, and one wallet's life drawn from a seed.

A life is all that chance decides: when customers withdraw how much to whom, what arrives, when cold addresses rotate,
when coins go to sister wallets, whether the wallet moves to a new address. What the balances then do is the business
of `tests.scorecard.dynamics`. Amounts are whole numbers of an asset's unit (see `Asset`), times are whole seconds from
the start of the simulation, a Monday at 00:00 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["ASSETS", "BREAK", "DAY", "HOUR", "WORLDS", "Asset", "Ints", "Life", "World", "draw", "generator"]

HOUR, DAY = 3600, 86400
BREAK = 90 * DAY  # when a `regime` wallet begins to turn over three times as much
SISTERS = 3

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Asset:
    """A coin. ``scale`` base units make one unit of the simulation, so that every balance fits 64 bits."""

    symbol: str
    decimals: int
    scale: int
    price: float  # dollars a coin: only sizes of tests and of wallets come from it

    @property
    def units_per_dollar(self) -> float:
        """Simulation units that a dollar buys."""
        return float(10**self.decimals // self.scale) / self.price


ASSETS = (
    Asset("ETH", 18, 10**9, 2000.0),
    Asset("USDM", 6, 1, 1.0),
    Asset("MADE", 18, 10**9, 20.0),
    Asset("EURM", 6, 1, 1.1),
)


@dataclass(frozen=True, slots=True)
class World:
    """What wallets of a world have in common; a pair is a uniform range."""

    name: str
    says: str
    stream: str = "base"  # worlds of one stream draw the same wallets from the same seed
    per_hour_log: Range = (0.2, 1.75)  # withdrawals an hour, log10
    turnover: Range = (0.15, 1.0)  # withdrawn a day, share of the target balance
    sigma: Range = (1.4, 2.0)  # of ln(amount)
    alpha: Range = (1.2, 1.8)  # Pareto exponent of the largest 2 % of amounts
    cap: Range = (0.05, 0.20)  # largest withdrawal, share of the target balance
    new: Range = (0.15, 0.40)  # withdrawals to an address never paid before
    later: float = 1.0  # turnover from `BREAK` on, times that before
    quiet: bool = False  # few withdrawals: turnover follows from their number and the cap
    known: bool = True  # the configuration knows the wallet's own other addresses


WORLDS = {
    world.name: world
    for world in (
        World("base", "as assumed when the shipped priors were fitted"),
        World("heavy", "tails and new destinations as in real traces", "heavy", sigma=(1.6, 2.6), alpha=(0.8, 1.5),
              new=(0.40, 0.75), cap=(0.05, 0.25)),
        World("regime", "base, turnover three times as high from day 90 on", later=3.0),
        World("wrong_prior", "customers routinely take 20 to 60 % at once", "wrong_prior", alpha=(1.0, 1.4),
              new=(0.40, 0.80), cap=(0.20, 0.60)),
        World("quiet", "0.3 to 3 withdrawals a day", "quiet", per_hour_log=(-1.80, -0.95), quiet=True),
        World("outsider", "base, no own address of the wallet is known", known=False),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Life:
    """What chance decided about one wallet. Arrays over withdrawals are sorted by time."""

    seed: int
    days: int
    assets: tuple[Asset, ...]
    target: Ints  # (assets,) the balance it starts with and aims at
    deposits: Ints  # (assets, hours) swept in at the start of each hour
    at: Ints  # (withdrawals,) seconds
    asset: Ints  # (withdrawals,) place in ``assets``
    value: Ints  # (withdrawals,) units wanted
    to: Ints  # (withdrawals,) customer
    customers: int
    rotation: Ints  # seconds at which a new cold address takes over
    rotation_probed: NDArray[np.bool_]  # whether a small test goes there first
    refill_delay: int  # seconds from a low balance to the refill from cold
    sister_at: Ints
    sister_asset: Ints
    sister_share: Floats  # of the balance
    sister_to: Ints  # 0 to SISTERS - 1
    migration_at: Ints  # seconds of its pieces, none if it never moves; all assets each time
    migration_probed: bool  # whether the first piece is a small test
    announced: bool  # whether the owner knew of the migration
    dollar: Ints  # (assets,) units of a dollar, at least 1

    @property
    def main(self) -> int:
        """The asset that most money is in."""
        worth = [int(t) / a.units_per_dollar for t, a in zip(self.target, self.assets, strict=True)]
        return int(np.argmax(worth))


def generator(*words: str | int) -> np.random.Generator:
    """A stream of chance for these words: the same on every machine."""
    return np.random.default_rng([crc32(w.encode()) if isinstance(w, str) else w for w in words])


def draw(world: World, seed: int, days: int) -> Life:
    """The life of wallet ``seed`` in a world, for ``days`` days."""
    of = partial(generator, world.stream, seed)  # a stream for each matter: one matter's draws do not move another's
    r = of("size")
    hours = days * 24
    assets, target, weight = _holdings(r)
    per_hour, cap, turnover = 10 ** r.uniform(*world.per_hour_log), r.uniform(*world.cap), r.uniform(*world.turnover)
    if world.quiet:
        turnover = 24 * per_hour * cap * r.uniform(0.1, 0.35)
    shape, larger = _rhythm(of("rhythm"), days)
    if world.quiet:
        shape = shape / shape.mean()
    later = np.where(np.arange(hours) * HOUR >= BREAK, world.later, 1.0)
    r = of("times")
    count = r.poisson(per_hour * shape)
    at = np.repeat(np.arange(hours), count) + r.random(int(count.sum()))  # hours
    at.sort()
    hour = at.astype(np.int64)
    asset = r.choice(len(assets), size=len(at), p=weight)
    mean = turnover / (24 * per_hour)
    share = _amounts(of("amounts"), world, asset, larger[hour], later[hour], mean, cap)
    to, customers = _customers(of("customers"), world, share)
    dollar = np.array([max(1, round(a.units_per_dollar)) for a in assets], np.int64)
    value = (share * target[asset]).astype(np.int64)
    at, asset, value, to = _with_tests(of("tests"), at, asset, value, to, share, dollar)
    at, asset, value, to = _batched(of("batches"), hours, at, asset, value, to)
    r = of("deposits")
    noise = np.exp(0.12 * r.normal(size=days))[np.arange(hours) // 24]
    swing = np.exp(0.5 * r.normal(size=(len(assets), hours)) - 0.125)
    a_day = turnover * shape * later * noise
    deposits = (target[:, None] * (a_day / 24)[None, :] * swing).astype(np.int64)
    return Life(
        seed, days, assets, target, deposits, (at * HOUR).astype(np.int64), asset.astype(np.int64), value, to,
        customers, dollar=dollar, **_own_moves(of("own"), world, days, len(assets)),
    )  # fmt: skip


def _holdings(r: np.random.Generator) -> tuple[tuple[Asset, ...], Ints, Floats]:
    """Which assets, how much of each, and each one's share of the withdrawals."""
    n = int(r.choice([1, 2, 3, 4], p=[0.35, 0.25, 0.25, 0.15]))
    assets = tuple(ASSETS[int(i)] for i in r.permutation(len(ASSETS))[:n])
    dollars = 10 ** r.uniform(6.3, 8.7)
    weight = np.maximum(r.dirichlet(np.full(n, 2.0)), 0.05)
    weight /= weight.sum()
    target = [int(dollars * w * a.units_per_dollar) for w, a in zip(weight, assets, strict=True)]
    return assets, np.array(target, np.int64), weight


def _rhythm(r: np.random.Generator, days: int) -> tuple[Floats, Floats]:
    """Withdrawals by hour, and their size, each as a multiple of the usual one."""
    hour = np.arange(days * 24)
    swing, peak, weekend = r.uniform(0.3, 0.7), r.uniform(0, 24), r.uniform(0.6, 1.0)
    season = 1 + swing * np.cos(2 * np.pi * (hour % 24 - peak) / 24)
    season *= np.where(hour // 24 % 7 >= 5, weekend, 1.0)
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = 0.9 * level[day - 1] + 0.2 * r.normal()
    surge, larger = np.ones(len(hour)), np.ones(len(hour))
    for _ in range(r.poisson(0.7 * days / 30)):
        start, length = int(r.integers(0, len(hour))), int(r.integers(4, 25))
        surge[start : start + length] *= r.uniform(2, 5)
        larger[start : start + length] *= r.uniform(1, 1.5)
    return season * np.exp(level)[hour // 24] * surge, larger


def _amounts(
    r: np.random.Generator, world: World, asset: Ints, larger: Floats, later: Floats, mean: float, cap: float
) -> Floats:
    """Withdrawals as shares of the target balance: log-normal, a Pareto tail, a policy cap, the stated mean kept."""
    sigma, alpha = r.uniform(*world.sigma), r.uniform(*world.alpha)
    x = np.exp(sigma * r.normal(size=len(asset)) - sigma**2 / 2)
    tail = r.random(len(asset)) < 0.02
    if len(x):
        x[tail] = np.quantile(x, 0.98) * r.random(int(tail.sum())) ** (-1 / alpha)
    x *= larger
    share = np.zeros(len(asset))
    for a in np.unique(asset):
        mine = asset == a
        share[mine] = _capped(x[mine], mean, cap)
        changed = mine & (later != 1.0)
        if changed.any():
            share[changed] = _capped(x[changed], mean * world.later, cap)
    return share


def _capped(x: Floats, mean: float, cap: float) -> Floats:
    share = x / x.mean() * mean
    for _ in range(4):
        held = np.minimum(share, cap)
        share = np.minimum(share * (mean / max(float(held.mean()), 1e-12)), cap)
    return np.asarray(share)


def _customers(r: np.random.Generator, world: World, share: Floats) -> tuple[Ints, int]:
    new = r.uniform(*world.new)
    chance = np.where(share > 0.01, new * 0.6, new)
    to = _copied(chance, r.random(len(share)), r.random(len(share)))
    return to, int(to.max()) + 1 if len(to) else 0


@njit(cache=True)
def _copied(chance, coin, pick):  # type: ignore[no-untyped-def]
    """Each withdrawal goes to a new customer, or to whoever got one of those before: the rich get richer."""
    to = np.empty(len(coin), np.int64)
    known = 0
    for i in range(len(coin)):
        if known == 0 or coin[i] < chance[i]:
            to[i] = known
            known += 1
        else:
            to[i] = to[int(pick[i] * i)]
    return to


def _with_tests(
    r: np.random.Generator, at: Floats, asset: Ints, value: Ints, to: Ints, share: Floats, dollar: Ints
) -> tuple[Floats, Ints, Ints, Ints]:
    """Add small tests that customers make some minutes before a first large withdrawal."""
    first = np.zeros(len(to), bool)
    first[np.unique(to, return_index=True)[1]] = True
    tested = first & (share > 0.01) & (r.random(len(to)) < 0.35)
    dollars, minutes = r.uniform(5, 200, len(to))[tested], r.uniform(5, 60, len(to))[tested]
    size = np.minimum(value[tested] * 0.002, dollars * dollar[asset[tested]]).astype(np.int64)
    return (
        np.r_[at, at[tested] - minutes / 60],
        np.r_[asset, asset[tested]],
        np.r_[value, np.maximum(size, 1)],
        np.r_[to, to[tested]],
    )


def _batched(
    r: np.random.Generator, hours: int, at: Floats, asset: Ints, value: Ints, to: Ints
) -> tuple[Floats, Ints, Ints, Ints]:
    """Three in ten exchanges pay in batches of 10 to 30 minutes."""
    if r.random() < 0.3:
        step = int(r.choice([10, 20, 30])) / 60
        at = np.ceil(at / step) * step
    inside = np.flatnonzero((at > 0) & (at < hours))
    order = inside[np.argsort(at[inside], kind="stable")]
    return at[order], asset[order], value[order], to[order]


def _own_moves(r: np.random.Generator, world: World, days: int, assets: int) -> dict[str, Any]:
    """Cold addresses, sister wallets and the migration."""
    rotation = []
    at = r.uniform(0, 60)
    while at < days:
        rotation.append(int(at * DAY))
        at += r.uniform(40, 120)
    per_day = r.uniform(0.2, 1.0) * (r.random() < 0.4) * (0.1 if world.quiet else 1.0)
    sisters = r.poisson(days * per_day)
    moves = r.random() < 0.35 * days / 180
    pieces, probed, span = int(r.integers(1, 7)), bool(r.random() < 0.6), r.uniform(5, 90) * 60
    begin = r.uniform(35, max(36, days - 2)) * DAY
    migration = [int(begin + span * k / pieces) for k in range(pieces + probed)] if moves and days > 36 else []
    return {
        "rotation": np.array(rotation, np.int64),
        "rotation_probed": r.random(len(rotation)) < 0.5,
        "refill_delay": int(r.uniform(0.5, 6) * HOUR),
        "sister_at": np.sort(r.integers(0, days * DAY, sisters)),
        "sister_asset": r.integers(0, assets, sisters),
        "sister_share": r.uniform(0.03, 0.25, sisters),
        "sister_to": r.integers(0, SISTERS, sisters),
        "migration_at": np.array(migration, np.int64),
        "migration_probed": probed,
        "announced": bool(r.random() < 0.5),
    }
