"""Fingerprints: whether a folder was fetched for the wallets, and in the way, that a configuration says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from monitor.ids import canonical_json
from monitor.watchlist import Watchlist

__all__ = ["reading_print", "watch_print"]

_TELLING = ("traces", "reconcile", "state", "signers")  # options that change what is read of a block


def watch_print(watchlist: Watchlist, chain: str) -> str:
    """A digest of the watched addresses of a chain, and of which belong together; names of wallets do not count.

    Derived addresses count by their descriptors, since they grow with use.
    """
    groups = []
    for wallet in watchlist.wallets.values():
        named = sorted(address for on, address in wallet.addresses if on == chain)
        lists = [members.digest for on, members in wallet.fleets if on == chain]
        derived = [_digest(list(each.fresh().addresses)) for each in wallet.derived if each.chain == chain]
        digests = sorted((*lists, *derived))
        if named or digests:
            groups.append([named, digests])
    return _digest(sorted(groups))


def reading_print(kind: str, options: Mapping[str, Any] | None, listed: list[str]) -> str:
    """A digest of what else decides the rows: options of the chain (revealed), and the listed assets."""
    told = {name: value for name, value in (options or {}).items() if name in _TELLING}
    return _digest([kind, told, sorted(listed)])


def _digest(value: Any) -> str:
    return hashlib.blake2b(canonical_json(value), digest_size=16).hexdigest()
