"""Amounts: exact in, readable out."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import amounts
from monitor.amounts import AssetInfo, display, parse_amount

ETH = AssetInfo("eip155:1/slip44:60", "ETH", 18)
USDC = AssetInfo("eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "USDC", 6)


def test_examples_in_docstrings_run():
    """Every example in a docstring gives what it says."""
    result = doctest.testmod(amounts)
    assert result.attempted >= 5
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "asset", "expected"),
    [
        ("100 ETH", ETH, 100 * 10**18),
        ("0.000000000000000001 ETH", ETH, 1),
        ("1,000,000.5 USDC", USDC, 1_000_000_500_000),
        ("1.50 USDC", USDC, 1_500_000),
        ("1.0000000000 USDC", USDC, 1_000_000),
        ("  7   ETH ", ETH, 7 * 10**18),
        ("115792089237316195423570985008687907853269984665640564039457584007913129639935", ETH, 2**256 - 1),
        ("0", ETH, 0),
        (12345678901234567890, ETH, 12345678901234567890),
    ],
)
def test_amounts_are_read_exactly(text, asset, expected):
    """An amount becomes base units digit by digit, far beyond what a float can hold."""
    assert parse_amount(text, asset) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an amount"),
        ("ETH", "expected an amount"),
        ("-1 ETH", "expected an amount"),
        ("1e3 ETH", "expected an amount"),
        ("1,00 ETH", "expected an amount"),
        ("1_000 ETH", "expected an amount"),
        ("１ ETH", "expected an amount"),
        ("9" * 5000, "expected an amount"),
        ("1.5", "has no symbol"),
        ("1,000", "has no symbol"),
        ("1 BTC", "expected an amount in ETH, found BTC"),
        ("1 eth", "expected an amount in ETH, found eth"),
        ("0.0000000000000000001 ETH", "ETH has 18 decimals, the amount has 19"),
    ],
)
def test_a_wrong_amount_says_what_was_expected(text, message):
    """What is no amount, of another asset or too fine is refused, never guessed or rounded."""
    with pytest.raises(ValueError, match=message):
        parse_amount(text, ETH)


def test_an_asset_without_decimals_takes_base_units_only():
    """A symbol says nothing where the decimals are not known."""
    unknown = AssetInfo("eip155:1/erc20:0x1", "X", None)
    assert parse_amount("5", unknown) == 5
    with pytest.raises(ValueError, match="decimals of X are not known"):
        parse_amount("5 X", unknown)


@pytest.mark.parametrize(
    ("value", "decimals", "symbol", "expected"),
    [
        (526_300_010_000_000, 6, "XEM", "526,300,010 XEM"),
        (115528802767, 8, "WBTC", "1,155.28802767 WBTC"),
        (10**18, 18, "ETH", "1 ETH"),
        (1, 18, "ETH", "0.000000000000000001 ETH"),
        (10**18 + 1, 18, "ETH", "1 ETH"),
        (1_999_999_999_999_999_999, 18, "ETH", "1.99999999 ETH"),
        (123_456_789_123, 18, "ETH", "0.00000012345678 ETH"),
        (0, 18, "ETH", "0 ETH"),
        (5, 0, "NFT", "5 NFT"),
        (-1_500_000, 6, "USDC", "-1.5 USDC"),
        (2**256 - 1, 0, "X", f"{2**256 - 1:,} X"),
        (123, None, "SHIB", "123 base units"),
        (1, 2, "", "0.01"),
    ],
)
def test_amounts_are_shown_plainly(value, decimals, symbol, expected):
    """Grouped, never scientific, at most 8 decimals that say something, cut rather than rounded up."""
    assert display(value, decimals, symbol) == expected


@settings(derandomize=True, max_examples=300, deadline=None)
@given(value=st.integers(0, 2**256 - 1), decimals=st.integers(0, 77))
def test_what_is_shown_can_be_read_back(value, decimals):
    """Reading what was shown gives the amount, less at most what lies beyond the shown decimals."""
    asset = AssetInfo("eip155:1/erc20:0x1", "TKN", decimals)
    again = parse_amount(display(value, decimals, "TKN"), asset)
    if decimals <= amounts.SHOWN_DECIMALS:
        assert again == value
    else:
        assert 0 <= value - again < max(value // 10**7, 1)
