"""What the scorecard consists of: which worlds and kinds of thefts, how many wallets, at which budgets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from monitor.errors import ConfigError
from monitor.registry import did_you_mean
from tests.scorecard.personal import PERSONAL
from tests.scorecard.personal_theft import THEFTS
from tests.scorecard.seeds import SAMPLE, SCORING, TUNING
from tests.scorecard.theft import KINDS, NO_HISTORY
from tests.scorecard.world import WORLDS

__all__ = ["ALL_WORLDS", "CARD", "CASES", "CLEAN", "CLEAN_DAYS", "NEW", "Part", "chosen", "named_seeds", "tasks"]

ALL_WORLDS = {**WORLDS, PERSONAL.name: PERSONAL}

CASES = "cases"  # the word of `--only` for the historical thefts
CLEAN = "clean"
CLEAN_DAYS = 180
THEFT_DAYS = 100
NEW = ", days 1 to 6"  # of a wallet that has just begun
NEW_DAYS = 8
CLEAN_WALLETS = 120
HOLDER_DAYS = 360  # of personal wallets, which do little
HOLDER_BUDGET = 0.1
SPLIT = {CLEAN: 4, "": 20}  # seeds a task
SPLIT_HOLDERS = 50
_LARGE = ("coincheck", "zaif", "single60", "fanout", "staged24")  # kinds whose loss a world's traffic may hide


@dataclass(frozen=True, slots=True)
class Part:
    """Some wallets of one world with one kind of theft, or none, at some budgets: a row each budget, and work."""

    world: str
    kind: str
    seeds: tuple[int, ...]
    budgets: tuple[float, ...] = (1.0,)
    days: int = THEFT_DAYS
    between: tuple[float, float] = (60.0, 85.0)  # days of the theft's beginning
    sampled: bool = False  # whether `SAMPLE` has a row of its own

    @property
    def theft(self) -> str | None:
        """The kind of theft as `tests.scorecard.theft` knows it."""
        return None if self.kind == CLEAN else self.kind.removesuffix(NEW)

    @property
    def name(self) -> str:
        """As `--only` knows it."""
        return f"{self.world}/{self.kind.replace(NEW, '-new')}"

    @property
    def work(self) -> float:
        """About how long it takes, in days of ordinary wallets."""
        until = self.days if self.theft is None else self.between[1]
        busy = 0.01 if self.world == PERSONAL.name else 0.15 if WORLDS[self.world].quiet else 1.0
        return busy * until * len(self.seeds) * len(self.budgets)


def _clean(world: str, *budgets: float) -> Part:
    return Part(world, CLEAN, _first(CLEAN_WALLETS), budgets or (1.0,), CLEAN_DAYS, sampled=True)


def _thefts(world: str, kinds: Collection[str], count: int, sampled: Collection[str] = ()) -> list[Part]:
    return [Part(world, kind, _first(count), sampled=kind in sampled) for kind in kinds]


def _personal() -> list[Part]:
    whole = _first(200)
    thefts = [
        Part(PERSONAL.name, kind, whole, (HOLDER_BUDGET,), HOLDER_DAYS, (260.0, 290.0), sampled=True)
        for kind in THEFTS
    ]
    new = Part(PERSONAL.name, "key_sweep" + NEW, whole, (HOLDER_BUDGET,), NEW_DAYS, (1.0, 6.0))
    return [Part(PERSONAL.name, CLEAN, whole, (HOLDER_BUDGET, 0.3), HOLDER_DAYS, sampled=True), *thefts, new]


def _first(count: int) -> tuple[int, ...]:
    return tuple(range(count))


CARD: tuple[Part, ...] = (  # seeds are counted from 0 here, see `chosen`
    _clean("base", 0.3, 1.0, 3.0),
    *(_clean(world) for world in WORLDS if world != "base"),
    *_thefts("base", KINDS, 200, KINDS),
    *(
        Part("base", kind + NEW, _first(200), days=NEW_DAYS, between=(1.0, 6.0), sampled=True)
        for kind in NO_HISTORY
    ),
    *_thefts("heavy", ["coincheck"], 200, ["coincheck"]),
    *_thefts("heavy", [kind for kind in KINDS if kind != "coincheck"], 100),
    *_thefts("wrong_prior", _LARGE, 100),
    *_thefts("quiet", KINDS, 100, KINDS),
    *_thefts("outsider", _LARGE, 100),
    *_personal(),
)


def named_seeds(name: str) -> range:
    """``tuning`` or ``scoring``."""
    return {"tuning": TUNING, "scoring": SCORING}[name]


def chosen(
    seeds: range, *, only: Sequence[str] = (), budgets: Sequence[float] = (), sample: bool = False
) -> list[Part]:
    """The parts of the card that are asked for, with their seeds.

    Parameters
    ----------
    seeds : what the n-th wallet's seed is
    only : WORLD/KIND, WORLD, or patterns of them; none for all
    budgets : only these; none for those of the card
    sample : only the wallets of `SAMPLE`, and only parts that have a row for them

    Raises
    ------
    ConfigError : a name that fits no part
    """
    names = [part.name for part in CARD]
    for pattern in only:
        if pattern != CASES and not any(_fits(name, pattern) for name in names):
            raise ConfigError(f"--only: nothing is called {pattern!r}: {did_you_mean(pattern, [*names, CASES])}")
    found = []
    for part in CARD:
        if only and not any(_fits(part.name, pattern) for pattern in only):
            continue
        mine = tuple(seeds[i] for i in part.seeds)
        if sample:
            mine = tuple(seed for seed in mine if seed in SAMPLE) if part.sampled else ()
        if mine:
            found.append(replace(part, seeds=mine, budgets=tuple(budgets) or part.budgets))
    return found


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")


def tasks(parts: Sequence[Part]) -> list[Part]:
    """The same wallets in pieces that one process does at a time, the largest first."""
    found = []
    for part in parts:
        size = SPLIT_HOLDERS if part.world == PERSONAL.name else SPLIT.get(part.kind, SPLIT[""])
        found += [replace(part, seeds=part.seeds[i : i + size]) for i in range(0, len(part.seeds), size)]
    return sorted(found, key=lambda p: -p.work)
