"""``--map NEW=OLD[:units]``: which column of a file is read as which, and in what unit its numbers are.

Text is scaled exactly, digit by digit: no amount passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from monitor.errors import ConfigError, Problem
from monitor.networks import NETWORKS
from monitor.registry import did_you_mean

__all__ = ["AMOUNTS", "TIMES", "ColumnMap", "Unit", "parse_mapping", "unit_of"]

AMOUNTS = frozenset({"value", "fee"})  # columns whose numbers may be in another unit than base units
TIMES = frozenset({"block_timestamp", "timestamp"})
_MOST = 77  # decimals: 2^256 has 78 digits
_UNIT = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one in a column is worth.

    Attributes
    ----------
    name : as written
    decimals : of an amount: base units in one are ten to this power; None: those of the row's own asset
    coin : whether it is a unit of a chain's own coin, so that rows without an asset are that coin
    per_second : of a time: how many there are in a second
    """

    name: str
    decimals: int | None = None
    coin: bool = False
    per_second: int = 0


_COINS = {network.symbol.lower(): network.decimals for network in NETWORKS}
_AMOUNT_UNITS: Mapping[str, Unit] = MappingProxyType(
    {name: Unit(name, decimals, True) for name, decimals in _COINS.items()}
    | {name: Unit(name, decimals, True) for name, decimals in {
        "ether": 18, "gwei": 9, "wei": 0, "matic": 18, "mbtc": 5, "sat": 0, "satoshi": 0,
    }.items()}
    | {"token": Unit("token")}
)  # fmt: skip
_TIME_UNITS: Mapping[str, Unit] = MappingProxyType(
    {name: Unit(name, per_second=count) for name, count in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items()}
)


@dataclass(frozen=True)
class ColumnMap(Mapping[str, str]):
    """New column name to the file's own, with units.

    Attributes
    ----------
    columns : new name to the file's own
    units : new name to the unit of its numbers, where one was given
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def unit_of(column: str, text: str) -> Unit:
    """The unit of a column by its name.

    >>> unit_of("value", "18").decimals, unit_of("value", "gwei").decimals, unit_of("block_timestamp", "ms").per_second
    (18, 9, 1000)

    Raises
    ------
    ConfigError : it is none, or none of this column
    """
    name = text.lower()
    if column in TIMES:
        if name in _TIME_UNITS:
            return _TIME_UNITS[name]
        raise ConfigError(f"the unit of {column} was {text!r}, expected s, ms, us or ns")
    if column not in AMOUNTS:
        raise ConfigError(f"{column} takes no unit: units are for {', '.join(sorted(AMOUNTS | TIMES))}")
    if text.isascii() and text.isdigit():
        if int(text[:4]) > _MOST:
            raise ConfigError(f"the unit of {column} was {text[:8]!r}, expected at most {_MOST} decimals")
        return Unit(text, int(text))
    if name in _AMOUNT_UNITS:
        return _AMOUNT_UNITS[name]
    raise ConfigError(
        f"the unit of {column} was {text!r}, expected a number of decimals, a coin, or token (each token's own"
        f" decimals): {did_you_mean(name, list(_AMOUNT_UNITS))}"
    )


def parse_mapping(texts: Iterable[str]) -> ColumnMap:
    """Read ``--map`` arguments.

    A column of the file whose name ends in ``:word`` is written with another ``:`` at its end.

    >>> parse_mapping(["value=amount:18", "from_address=sender"]).columns
    {'value': 'amount', 'from_address': 'sender'}

    Raises
    ------
    ConfigError : all that is wrong with them
    """
    columns: dict[str, str] = {}
    units: dict[str, Unit] = {}
    problems: list[Problem] = []
    for text in texts:
        new, equals, old = (part.strip() for part in text.partition("="))
        bare, colon, unit = old.rpartition(":")
        if colon and (not unit or _UNIT.fullmatch(unit)):
            old = bare.strip()
        if not (new and equals and old):
            expected = "NEW=OLD or NEW=OLD:UNIT, for example value=amount or value=amount:18"
            problems.append(Problem(f"--map was {text!r}, expected {expected}"))
            continue
        if new in columns:
            problems.append(Problem(f"--map names {new!r} twice: {columns[new]!r} and {old!r}"))
            continue
        columns[new] = old
        if colon and _UNIT.fullmatch(unit):
            try:
                units[new] = unit_of(new, unit)
            except ConfigError as error:
                problems += [Problem(f"--map {text}: {problem.message}") for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return ColumnMap(columns, units)
