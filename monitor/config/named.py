"""Named lists of addresses, for rules: ``lists: {customers: ["ethereum:0x...", "file:customers.txt"]}``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from monitor.config.chains import Chains, bad
from monitor.config.lists import read_addresses
from monitor.config.tree import Node
from monitor.errors import Problem

__all__ = ["Addresses", "build_lists"]

Addresses = frozenset[tuple[str, str]]
"""(CAIP-2 chain, canonical address)."""

MAX_LISTED = 20  # problems of one file; more are counted
_FILE = re.compile(r"(?:(?P<chain>[^\s]+?):)?file:(?P<path>.+)")


def build_lists(node: Node | None, chains: Chains, problems: list[Problem]) -> dict[str, Addresses]:
    """The lists of the file by name; what is wrong joins ``problems``."""
    found: dict[str, Addresses] = {}
    for item in node.children() if node is not None else ():
        written = item.value if isinstance(item.value, list) else [item]
        if not written:
            problems.append(item.problem(f"{item.label} is empty"))
        found[str(item.key)] = frozenset(place for entry in written for place in _entry(entry, chains, problems))
    return found


def _entry(item: Node, chains: Chains, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    match = _FILE.fullmatch(item.value)
    if match is not None:
        yield from _listed(match, item, chains, problems)
        return
    try:
        chain, address = chains.address(item.value)
    except ValueError as error:
        problems.append(bad(item, error))
    else:
        yield chain.chain, address


def _listed(match: re.Match[str], item: Node, chains: Chains, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """The addresses of a file; its problems beyond the first 20 are only counted."""
    path = item.source.folder / match["path"]
    wrong = number = 0
    try:
        given = chains.split(f"{match['chain']}:")[0] if match["chain"] else None
        for number, text, name in read_addresses(path):
            try:
                chain, address = chains.address(text, chains.split(f"{name}:")[0] if name else given)
            except ValueError as error:
                wrong += 1
                if wrong <= MAX_LISTED:
                    problems.append(Problem(f"bad address: {error}", f"{path}:{number}"))
                continue
            yield chain.chain, address
    except ValueError as error:
        problems.append(bad(item, error))
        return
    if not number:
        problems.append(item.problem(f"{item.label}: file {item.spoken(path)} has no addresses"))
    if wrong > MAX_LISTED:
        problems.append(item.problem(f"{wrong - MAX_LISTED:,} more problems in {path}"))
