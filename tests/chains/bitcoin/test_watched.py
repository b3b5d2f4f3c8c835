"""The watch set as scripts, where long lists stand beside single addresses."""

from __future__ import annotations

from chains.bitcoin.script import address_of
from chains.bitcoin.watched import WatchedScripts
from monitor.addresses.compact import AddressSet
from monitor.model import Role, Wallet
from monitor.networks import by_name
from monitor.watchlist import Watchlist

BTC = by_name("bitcoin")
ONE, LISTED, OTHER = (b"\x00\x14" + bytes([n]) * 20 for n in range(3))


def test_single_addresses_are_known_beside_a_long_list() -> None:
    """Their coins can be asked for, so that a list of deposits takes no balance from another wallet."""
    one, listed = address_of(ONE, BTC), address_of(LISTED, BTC)
    wallets = [
        Wallet("own", "One", Role.PERSONAL, ((BTC.chain, one),)),
        Wallet("deposits", "Two", Role.DEPOSIT, (), fleets=((BTC.chain, AddressSet.of([listed])),)),
    ]
    watched = WatchedScripts(Watchlist(wallets).watch(BTC.chain), BTC)
    assert watched.known() == {ONE: one} and watched.has_lists
    assert watched.match([ONE, LISTED, OTHER]) == {ONE: one, LISTED: listed}
