"""The watch set as output scripts: to make an address of each script of a block takes longer than to read them."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sized
from typing import cast

from chains.bitcoin.script import HASHED, address_of, script_hash, script_of
from monitor.networks import Network

__all__ = ["WatchedScripts"]


class WatchedScripts:
    """Which output scripts belong to watched addresses.

    Single addresses are turned into scripts once; where there are long lists, which can only be asked, each script of
    a block is turned into its address. The watch set may grow, it never shrinks.

    Parameters
    ----------
    watch : canonical addresses; a set with long lists has those beside them as ``single``
    network : whose they are

    Attributes
    ----------
    has_lists : whether some addresses can only be asked for
    """

    def __init__(self, watch: Container[str], network: Network) -> None:
        self.watch = watch
        self._network = network
        self.has_lists = not isinstance(watch, Iterable)
        self._single = cast(Collection[str], getattr(watch, "single", ()) if self.has_lists else watch)
        self._scripts: dict[bytes, str] = {}
        self._told: set[str] = set()  # addresses of which the script is known, or that have none
        self._has_hashed = False

    @property
    def size(self) -> int:
        """How many addresses are watched: what was matched at another size may lack something."""
        return len(self.watch) if isinstance(self.watch, Sized) else 0

    def __contains__(self, address: object) -> bool:
        return address in self.watch

    def known(self) -> dict[bytes, str]:
        """Scripts and addresses of those that are named one by one."""
        self._refresh()
        return self._scripts

    def match(self, scripts: Iterable[bytes]) -> dict[bytes, str]:
        """Those of the scripts that are watched, and their addresses."""
        self._refresh()
        wanted = set(scripts)
        if self.has_lists:
            return self._ask(wanted)
        known = self._scripts
        found = {script: known[script] for script in wanted & known.keys()}
        for script in wanted - known.keys():
            if _is_public_key(script) or (self._has_hashed and script_hash(script) in self.watch):
                address = address_of(script, self._network)
                if address in self.watch:
                    found[script] = address
        return found

    def used(self, addresses: Iterable[str]) -> bool:
        """Note that these were paid; whether more is watched from now on (the gap limit of a descriptor moved)."""
        note = getattr(self.watch, "used", None)
        if note is None:
            return False
        grown = [note(address) for address in addresses]  # each of them
        return any(grown)

    def _refresh(self) -> None:
        if len(self._told) == len(self._single):
            return
        for address in self._single:
            if address in self._told:
                continue
            self._told.add(address)
            script = script_of(address, self._network)
            if script is not None:
                self._scripts[script] = address
            self._has_hashed |= address.startswith(HASHED)

    def _ask(self, scripts: set[bytes]) -> dict[bytes, str]:
        named = {script: address_of(script, self._network) for script in scripts}
        among = getattr(self.watch, "among", None)
        owned = among(named.values()) if among is not None else {a for a in named.values() if a in self.watch}
        return {script: address for script, address in named.items() if address in owned}


def _is_public_key(script: bytes) -> bool:
    """Pay to a bare public key: watched under the address of the key."""
    return len(script) in (35, 67) and script[-1] == 0xAC and script[0] == len(script) - 2
