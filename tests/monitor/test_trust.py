"""Trusted counterparties: assets, ceilings, windows, times."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.model import BlockRef, Direction, Flow, Role, Transfer, TransferKind, Trusted, Tx, Wallet
from monitor.trust import TrustBook
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER, USD = f"{ETH}/slip44:60", f"{ETH}/erc20:usd"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"


def book(*entries: Trusted) -> TrustBook:
    hot = Wallet("hot", "One", Role.HOT, ((ETH, "h1"),), trusted=entries)
    cold = Wallet("cold", "One", Role.COLD, ((ETH, "c1"),))
    other = Wallet("other", "Two", Role.HOT, ((ETH, "o1"),))
    return TrustBook(Watchlist([hot, cold, other]))


def paid(value: int, to: str = "p", asset: str = ETHER, wallet: str = "hot") -> Flow:
    source = {"hot": "h1", "cold": "c1"}[wallet]
    transfer = Transfer(BlockRef(ETH, 1, ""), Tx("t", 0), 0, TransferKind.NATIVE, asset, (source,), to, value, (value,))
    return Flow(transfer, wallet, Direction.OUT, to, value, 0)


def answers(found: TrustBook, *payments: tuple[int, Any]) -> list[bool]:
    return [found.expects(flow, at) for at, flow in payments]


def test_only_listed_addresses_and_the_entity_s_own_are_expected() -> None:
    """An entry, and any wallet of the same entity; not a stranger, not another entity's wallet."""
    found = book(Trusted(ETH, "p"))
    payments = [paid(5), paid(5, "c1"), paid(5, "o1"), paid(5, "q"), paid(5, "p", wallet="cold")]
    assert answers(found, *((0, flow) for flow in payments)) == [True, True, False, False, False]
    assert found.listed(ETH) == {"p", WETH} and found.listed("eip155:5") == frozenset()


def test_coins_that_change_their_form_are_still_there() -> None:
    """Ether into its canonical wrapper, and back; not another token sent there, and no other contract of that kind."""
    wrapped, found = f"{ETH}/erc20:{WETH}", book()
    payments = [paid(5, WETH), paid(5, WETH, wrapped), paid(5, WETH, USD), paid(5, "0x" + "fa" * 20)]
    assert answers(found, *((0, flow) for flow in payments)) == [True, True, False, False]


def test_an_entry_of_one_asset_holds_for_that_asset() -> None:
    """Trusted with ether is not trusted with tokens."""
    found = book(Trusted(ETH, "p", ETHER))
    assert answers(found, (0, paid(5)), (0, paid(5, asset=USD))) == [True, False]


def test_a_ceiling_without_a_window_bounds_each_payment() -> None:
    """Up to the ceiling, again and again."""
    found = book(Trusted(ETH, "p", ETHER, 10))
    assert answers(found, (0, paid(10)), (0, paid(11)), (1, paid(10))) == [True, False, True]


def test_a_ceiling_within_a_window_bounds_the_sum() -> None:
    """100 within a day: what passes it is not expected and uses nothing up; after the window there is room again."""
    found = book(Trusted(ETH, "p", ETHER, 100, 86400))
    steps = [(0, 60), (10, 40), (20, 1), (86399, 1), (86400, 60), (86401, 1), (86410, 40), (86411, 1)]
    expected = [True, True, False, False, True, False, True, False]
    assert answers(found, *((at, paid(value)) for at, value in steps)) == expected


def test_windows_of_assets_are_apart() -> None:
    """An entry for any asset sums each asset by itself."""
    found = book(Trusted(ETH, "p", None, 100, 3600))
    assert answers(found, (0, paid(90)), (0, paid(90, asset=USD)), (1, paid(11))) == [True, True, False]


def test_an_entry_holds_from_its_start_until_before_its_end() -> None:
    """Start inclusive, end exclusive."""
    found = book(Trusted(ETH, "p", start=100, end=200))
    assert answers(found, *((at, paid(1)) for at in (99, 100, 199, 200))) == [False, True, True, False]


def test_entries_of_one_address_are_tried_in_order() -> None:
    """The first that covers a payment is used up; the next one takes what the first does not."""
    found = book(Trusted(ETH, "p", ETHER, 100, 3600), Trusted(ETH, "p", None, 30, 3600))
    assert answers(found, (0, paid(100)), (1, paid(30)), (2, paid(1)), (3, paid(30, asset=USD))) == [
        True,
        True,
        False,
        True,
    ]


def test_windows_are_state() -> None:
    """A window is stored, put back, and taken away by its undo."""
    entry = Trusted(ETH, "p", ETHER, 100, 3600)
    found = book(entry)
    assert found.keys_for([paid(1)]) == {b"t\x1fhot\x1f0\x1f" + ETHER.encode()}
    assert found.keys_for([paid(1, "q")]) == set()
    (key,) = found.keys_for([paid(1)])
    assert found.get(key) is None and found.owns(key) and not found.owns(b"a\x1fx")
    found.expects(paid(10), 5)
    first = found.get(key)
    found.expects(paid(50), 6)
    assert [k for k, _ in found.dump()] == [key]
    again = book(entry)
    for k, value in found.dump():
        again.put(k, value)
    assert answers(again, (7, paid(41)), (7, paid(40))) == [False, True]
    found.put(key, first)
    assert answers(found, (7, paid(90)), (7, paid(1))) == [True, False]
    found.put(key, None)
    assert found.dump() == [] and found.expects(paid(100), 8)


def test_large_amounts_stay_exact() -> None:
    """Ceilings beyond 2^53 bound to the last base unit, also after storage."""
    limit = 10**24 + 1
    found = book(Trusted(ETH, "p", ETHER, limit, 3600))
    assert found.expects(paid(10**24), 0)
    again = book(Trusted(ETH, "p", ETHER, limit, 3600))
    for key, value in found.dump():
        again.put(key, value)
    assert answers(again, (1, paid(2)), (1, paid(1)), (1, paid(1))) == [False, True, False]


@pytest.mark.parametrize("address", ["p", "c1"])
def test_what_needs_a_look_is_listed(address: str) -> None:
    """History asks about payments to these addresses alone; of all others those to sisters are expected, no more."""
    found = book(Trusted(ETH, "p"))
    assert found.expects(paid(1, address), 0) and found.expects(paid(10**30, address), 10**9)
    assert (address in found.listed(ETH)) == (address == "p")
