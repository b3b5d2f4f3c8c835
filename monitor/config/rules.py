"""Trusted counterparties and plain rules: entries of the file made into values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from monitor.config.chains import Chains, bad
from monitor.config.file import RuleEntry, TrustedEntry
from monitor.config.tree import Node
from monitor.config.types import ChainConfig, Rule, RuleKind
from monitor.errors import Problem
from monitor.model import Severity, Trusted

__all__ = ["build_rules", "build_trusted", "check_period"]


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
) -> tuple[Rule, ...]:
    """The plain rules of a wallet, its amounts resolved on each of the wallet's chains that has the asset."""
    return tuple(_rules(zip(entries, node.value if node else (), strict=True), wallet_chains, chains, problems))


def _rules(
    entries: Iterable[tuple[RuleEntry, Node]],
    wallet_chains: Sequence[ChainConfig],
    chains: Chains,
    problems: list[Problem],
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
        limits: tuple[tuple[str, int], ...] = ()
        amount = {RuleKind.OVER: entry.over, RuleKind.BALANCE_BELOW: entry.balance_below}.get(kind)
        if amount is not None and wallet_chains:
            try:
                limits = chains.amount(amount, entry.asset, wallet_chains)
            except ValueError as error:
                problems.append(bad(node.at(kind), error))
        severity = None if entry.severity is None else Severity.parse(entry.severity)
        yield Rule(kind, limits, entry.window, entry.not_in, severity)


def _check_extras(entry: RuleEntry, kind: RuleKind, node: Node, problems: list[Problem]) -> None:
    if entry.window is not None and kind is not RuleKind.OVER:
        problems.append(node.at("window").problem(f"{node.label}.window goes with over only"))
    if entry.asset is not None and kind not in (RuleKind.OVER, RuleKind.BALANCE_BELOW):
        problems.append(node.at("asset").problem(f"{node.label}.asset goes with over and balance_below only"))
