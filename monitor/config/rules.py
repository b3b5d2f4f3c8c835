"""Trusted counterparties and plain rules: entries of the file made into values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from fractions import Fraction

from monitor.config.chains import Chains, bad
from monitor.config.file import RuleEntry, TrustedEntry
from monitor.config.tree import Node
from monitor.config.types import ChainConfig, Rule, RuleKind
from monitor.errors import Problem
from monitor.model import Severity, Trusted
from monitor.registry import did_you_mean

__all__ = ["build_rules", "build_trusted", "check_period"]

_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%")


def check_period(start: int | None, end: int | None, node: Node, problems: list[Problem]) -> None:
    """A period that ends before it starts would never hold."""
    if start is not None and end is not None and end <= start:
        problems.append(node.at("until").problem(f"{node.label}.until is not after its from"))


def build_trusted(entry: TrustedEntry, node: Node, chains: Chains, problems: list[Problem]) -> Trusted | None:
    """A counterparty with its limits; None where its address is wrong."""
    check_period(entry.start, entry.end, node, problems)
    if entry.window is not None and entry.max is None and "max" not in node.lost:
        problems.append(node.at("window").problem(f"{node.label}.window has no effect without max"))
    try:
        chain, address = chains.address(entry.address)
    except ValueError as error:
        problems.append(bad(node.at("address"), error))
        return None
    asset = max_value = None
    try:
        if entry.asset is not None:
            asset = chains.asset(entry.asset, chain).asset
    except ValueError as error:
        problems.append(bad(node.at("asset"), error))
        return None
    try:
        if entry.max is not None:
            ((asset, max_value),) = chains.amount(entry.max, entry.asset, [chain])
    except ValueError as error:
        problems.append(bad(node.at("max"), error))
    return Trusted(chain.chain, address, asset, max_value, entry.window, entry.start, entry.end)


def build_rules(
    entries: Sequence[RuleEntry],
    node: Node | None,
    wallet_chains: Sequence[ChainConfig],
    chains: Chains,
    problems: list[Problem],
    lists: Collection[str] = (),
) -> tuple[Rule, ...]:
    """The plain rules of a wallet, its amounts resolved on each of the wallet's chains that has the asset.

    ``lists`` are the names that ``not_in`` may use.
    """
    pairs = zip(entries, node.value if node else (), strict=True)
    return tuple(_rules(pairs, wallet_chains, chains, problems, lists))


def _rules(
    entries: Iterable[tuple[RuleEntry, Node]],
    wallet_chains: Sequence[ChainConfig],
    chains: Chains,
    problems: list[Problem],
    lists: Collection[str],
) -> Iterator[Rule]:
    kinds = ", ".join(RuleKind)
    for entry, node in entries:
        given = [kind for kind in RuleKind if getattr(entry, kind) is not None]
        if len(given) != 1:
            if not node.lost:
                problems.append(node.problem(f"{node.label} needs exactly one of {kinds}, found {len(given)}"))
            continue
        kind = given[0]
        _check_extras(entry, kind, node, problems)
        if entry.not_in is not None and entry.not_in not in lists:
            place = node.at("not_in")
            hint = did_you_mean(entry.not_in, lists) if lists else "there are no lists: add one under lists"
            problems.append(place.problem(f"{place.label} is not the name of a list: {hint}"))
        severity = None if entry.severity is None else Severity.parse(entry.severity)
        if kind is RuleKind.OVER and (written := _SHARE.fullmatch(str(entry.over).strip())):
            yield from _share(entry, node, Fraction(written[1]) / 100, severity, wallet_chains, chains, problems)
            continue
        limits: tuple[tuple[str, int], ...] = ()
        amount = {RuleKind.OVER: entry.over, RuleKind.BALANCE_BELOW: entry.balance_below}.get(kind)
        if amount is not None and wallet_chains:
            try:
                limits = chains.amount(amount, entry.asset, wallet_chains)
            except ValueError as error:
                problems.append(bad(node.at(kind), error))
        yield Rule(kind, limits, entry.window, entry.not_in, severity)


def _share(
    entry: RuleEntry,
    node: Node,
    share: Fraction,
    severity: Severity | None,
    wallet_chains: Sequence[ChainConfig],
    chains: Chains,
    problems: list[Problem],
) -> Iterator[Rule]:
    """A limit that is a share of the balance; without an asset it holds for each one."""
    if not 0 < share <= 1:
        problems.append(node.at("over").problem(f"{node.label}.over is not above 0 % and at most 100 %"))
    assets: list[str] = []
    failure: ValueError | None = None
    for chain in wallet_chains if entry.asset is not None else ():
        try:
            assets.append(chains.asset(entry.asset or "", chain).asset)
        except ValueError as error:
            failure = error
    if failure is not None and not assets:
        problems.append(bad(node.at("asset"), failure))
    else:
        yield Rule(RuleKind.OVER, (), entry.window, None, severity, share, tuple(assets))


def _check_extras(entry: RuleEntry, kind: RuleKind, node: Node, problems: list[Problem]) -> None:
    if entry.window is not None and kind is not RuleKind.OVER:
        problems.append(node.at("window").problem(f"{node.label}.window goes with over only"))
    if entry.asset is not None and kind not in (RuleKind.OVER, RuleKind.BALANCE_BELOW):
        problems.append(node.at("asset").problem(f"{node.label}.asset goes with over and balance_below only"))
