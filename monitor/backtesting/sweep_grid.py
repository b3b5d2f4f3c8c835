"""What a sweep goes through: ``--sweep KEY=VALUE,VALUE`` as settings, each a configuration of its own.

Keys are ``budget`` (the general one, ``budget.false_alarms_per_wallet_month``), ``detectors.NAME.PARAMETER`` (of every
wallet that the detector judges), and both for one wallet alone: ``wallets.ID.budget``,
``wallets.ID.detectors.NAME.PARAMETER``. Nothing else of a configuration decides what a backtest finds and is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

from monitor.config import Config, config_from_mapping
from monitor.config.build import PERSONAL_BUDGET
from monitor.config.own_detectors import cards_of
from monitor.detectors.base import Detector
from monitor.errors import ConfigError, Problem
from monitor.model import Role, Wallet
from monitor.parameters import JUDGES, LISTED, fault_of
from monitor.registry import did_you_mean

__all__ = ["MOST_SETTINGS", "Grid", "Value", "parse_sweep"]

Value = int | float | bool | str
MOST_SETTINGS = 1000
_LONG_BUDGET = "budget.false_alarms_per_wallet_month"
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WALLET = re.compile(r"wallets\.(?P<id>.+?)\.(?P<rest>budget|detectors\..+)")
_TOPS = ("budget", "detectors", "wallets")
_SHAPE = "expected budget, detectors.NAME.PARAMETER, wallets.ID.budget or wallets.ID.detectors.NAME.PARAMETER"


@dataclass(frozen=True)
class Grid:
    """Keys, and the values that each goes through; a setting is one value of each.

    >>> [*parse_sweep(["budget=0.3,1", "detectors.HW-5.weight=0,1"]).settings()][1]
    {'budget': 0.3, 'detectors.HW-5.weight': 1}
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]

    def __len__(self) -> int:
        return len(list(product(*self.values)))

    def settings(self) -> Iterator[dict[str, Value]]:
        """Every setting, the last key fastest."""
        return (dict(zip(self.keys, chosen, strict=True)) for chosen in product(*self.values))

    def configs(self, config: Config) -> list[Config]:
        """The configuration of each setting: what a run with its values alone would have.

        Raises
        ------
        ConfigError : a key names what the configuration does not have, or a value is refused; all of them at once
        """
        problems = [
            problem
            for key, values in zip(self.keys, self.values, strict=True)
            for problem in _problems(config, key, values)
        ]
        if problems:
            raise ConfigError(problems)
        found = []
        for setting in self.settings():
            changed = config
            for key, value in sorted(setting.items(), key=lambda item: item[0].startswith("wallets.")):
                changed = _with(changed, key, value)
            found.append(changed)
        return found

    def notes(self, config: Config) -> list[str]:
        """What a user should know before believing a row: where a key changes less than it seems to."""
        if "budget" not in self.keys:
            return []
        own = sum(wallet.id in config.budgets for wallet in config.wallets)
        capped = sum(w.role is Role.PERSONAL and w.id not in config.budgets for w in config.wallets)
        notes = []
        if own:
            notes.append(f"{own} wallets have a budget of their own: the general one does not change it")
        if capped:
            notes.append(f"{capped} personal wallets take {PERSONAL_BUDGET} of the general budget at most")
        return notes


def parse_sweep(texts: Sequence[str]) -> Grid:
    """The grid of ``KEY=VALUE,VALUE`` texts.

    Raises
    ------
    ConfigError : with everything that is wrong in them; whether the configuration has it is said by `Grid.configs`
    """
    problems: list[Problem] = []
    found: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        where = f"--sweep {text}"
        key, sign, rest = text.partition("=")
        key = "budget" if key.strip() == _LONG_BUDGET else key.strip()
        values = tuple(_value(part.strip()) for part in rest.split(","))
        if not sign or not key or "" in values:
            problems.append(Problem("expected KEY=VALUE,VALUE, for example budget=0.3,1,3", where))
        elif _same(key) in map(_same, found):
            problems.append(Problem(f"{key} is given twice", where))
        elif len({(isinstance(value, bool), value) for value in values}) < len(values):
            problems.append(Problem("a value is given twice", where))
        else:
            problems += [Problem(fault, where) for fault in _shape_faults(key)]
            found[key] = values
    grid = Grid(tuple(found), tuple(found.values()))
    if not problems and not found:
        problems.append(Problem("expected KEY=VALUE,VALUE, for example budget=0.3,1,3", "--sweep"))
    count = 1
    for values in found.values():
        count *= len(values)
    if count > MOST_SETTINGS:
        problems.append(Problem(f"{count:,} settings, expected {MOST_SETTINGS:,} at most", "--sweep"))
    if problems:
        raise ConfigError(problems)
    return grid


def _value(text: str) -> Value:
    """A value as YAML would have it."""
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and isfinite(float(text)) else text


def _parts(key: str) -> tuple[str, str]:
    """(id of a wallet or nothing, the rest of the key).

    >>> _parts("wallets.hot.eu.detectors.HW-5.weight")
    ('hot.eu', 'detectors.HW-5.weight')
    """
    match = _WALLET.fullmatch(key)
    return (match["id"], match["rest"]) if match is not None else ("", key)


def _same(key: str) -> tuple[str, str]:
    """A key in the form in which two writings of it are equal: detectors are named in any case of letters."""
    wallet, rest = _parts(key)
    return wallet, rest.lower()


def _shape_faults(key: str) -> list[str]:
    _, rest = _parts(key)
    if rest == "budget" or (rest.startswith("detectors.") and rest.count(".") == 2):
        return []
    first = key.partition(".")[0]
    hint = did_you_mean(first, _TOPS) if first not in _TOPS else ""
    return [f"unknown key {key!r}: {hint if hint.startswith('did') else _SHAPE}"]


def _problems(config: Config, key: str, values: Sequence[Value]) -> list[Problem]:
    wallet, rest = _parts(key)
    places = [f"--sweep {key}={_shown(value)}" for value in values]
    mine = _of(config, wallet)
    if wallet and not mine:
        hint = did_you_mean(wallet, (each.id for each in config.wallets))
        return [Problem(f"there is no wallet {wallet!r}: {hint}", f"--sweep {key}")]
    if rest == "budget":
        if all(each.role.is_exact for each in mine):
            return [Problem("exact rules alone judge it, no budget: nothing to sweep", f"--sweep {key}")]
        return [problem for value, place in zip(values, places, strict=True) for problem in _budget(value, place)]
    _, name, parameter = rest.split(".")
    detector, roles = _detector(config, name)
    if detector is None:
        known = [*LISTED, *cards_of(config.own)]
        return [Problem(f"unknown detector {name!r}: {did_you_mean(name.upper(), known)}", f"--sweep {key}")]
    if not any(each.role in roles for each in mine):
        says = ", ".join(sorted(roles))
        return [Problem(f"{detector.id} judges only wallets of role {says}: nothing to sweep", f"--sweep {key}")]
    faults = [(fault_of(detector, parameter, value), place) for value, place in zip(values, places, strict=True)]
    return [Problem(f"{detector.id}: {fault}", place) for fault, place in faults if fault is not None]


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _budget(value: Value, where: str) -> list[Problem]:
    """What the ordinary checks say of a budget."""
    wallet = {"id": "wallet", "role": "hot", "addresses": ["ethereum:0x" + 40 * "0"]}
    mapping = {"budget": {"false_alarms_per_wallet_month": value}, "wallets": [wallet]}
    try:
        config_from_mapping(mapping, Path(), where)
    except ConfigError as error:
        return list(error.problems)
    return []


def _of(config: Config, wallet: str) -> list[Wallet]:
    return [each for each in config.wallets if not wallet or each.id == wallet]


def _detector(config: Config, name: str) -> tuple[Detector | None, frozenset[Role]]:
    """A detector by its id in any case, and the roles that it judges."""
    known = {each.lower(): each for each in (*LISTED, *cards_of(config.own))}
    found = known.get(name.lower())
    if found is None:
        return None, frozenset()
    if found in LISTED:
        return LISTED[found], JUDGES[found]
    card = cards_of(config.own)[found]
    return card.card, card.roles


def _with(config: Config, key: str, value: Value) -> Config:
    """A configuration with one value changed."""
    wallet, rest = _parts(key)
    if rest == "budget":
        return _with_budget(config, wallet, float(value))
    _, name, parameter = rest.split(".")
    detector, roles = _detector(config, name)
    assert detector is not None
    changed: dict[str, Mapping[str, Any]] = dict(config.detectors)
    for each in _of(config, wallet):
        if each.role in roles:
            given = dict(changed.get(each.id, {}))
            given[detector.id] = {**given.get(detector.id, {}), parameter: value}
            changed[each.id] = given
    return replace(config, detectors=changed)


def _with_budget(config: Config, wallet: str, value: float) -> Config:
    if wallet:
        wallets = (replace(each, budget=value) if each.id == wallet else each for each in config.wallets)
        return replace(config, wallets=tuple(wallets), budgets=config.budgets | {wallet})
    found = (
        each
        if each.id in config.budgets
        else replace(each, budget=min(PERSONAL_BUDGET, value) if each.role is Role.PERSONAL else value)
        for each in config.wallets
    )
    return replace(config, wallets=tuple(found), false_alarms_per_wallet_month=value)
