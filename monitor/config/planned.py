"""Planned changes of control: whose, and exactly to what."""

from __future__ import annotations

import re

from monitor.config.chains import Chains, bad
from monitor.config.claims import Claims
from monitor.config.file import PlannedEntry
from monitor.config.rules import check_period
from monitor.config.tree import Node
from monitor.config.types import ChainConfig, Planned
from monitor.errors import Problem
from monitor.model import ControlKind

__all__ = ["build_planned"]

_NUMBERS = frozenset({ControlKind.THRESHOLD_CHANGE, ControlKind.DELAY_CHANGE})
_HASHES = frozenset({ControlKind.IMPLEMENTATION_CHANGE})  # of other code at the same address
_HASH = re.compile(r"0[xX][0-9a-fA-F]{64}")
_ZERO = "0x" + "0" * 40


def build_planned(
    entry: PlannedEntry, node: Node, chains: Chains, claims: Claims, problems: list[Problem]
) -> Planned | None:
    """The planned change of an entry. What is wrong joins ``problems``: then the result must not be used."""
    place = node.at("account")
    try:
        chain, account = chains.address(entry.account)
    except ValueError as error:
        problems.append(bad(place, error))
        return None
    if (chain.chain, account) not in claims:
        problems.append(place.problem(f"{place.label} belongs to no wallet of this configuration"))
    check_period(entry.start, entry.end, node, problems)
    try:
        value = _value(entry, chain, chains)
    except ValueError as error:
        problems.append(bad(node.at("value"), error))
        return None
    return Planned(chain.chain, account, entry.kind, value, entry.start, entry.end)


def _value(entry: PlannedEntry, chain: ChainConfig, chains: Chains) -> str:
    """The value as events and readings have it; ValueError where none of them could ever have it."""
    text = entry.value.strip()
    if entry.kind in _NUMBERS:
        if re.fullmatch(r"-?[0-9]{1,20}", text) is None:
            raise ValueError(f"is not a whole number: {entry.kind} takes the new number, of a delay in seconds")
        return str(int(text))
    if chain.network.kind == "evm":
        if text.lower() == "none":
            return _ZERO
        if entry.kind is ControlKind.PROPOSAL:
            if _HASH.fullmatch(text) is None:
                raise ValueError("is not the hash of a Safe transaction: 0x and 64 hexadecimal digits")
            return text.lower()
        if entry.kind in _HASHES and _HASH.fullmatch(text) is not None:
            return text.lower()
    return chains.address(text, chain)[1]
