"""Price books and what keeps them fresh, as a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor.assets import AssetNames
from monitor.config import Config
from monitor.config.prices import table_resolver
from monitor.prices.book import PriceBook
from monitor.prices.chainlink import ChainlinkPrices, Feed
from monitor.prices.file import fill_from
from monitor.prices.http import HttpPrices
from monitor.prices.refresh import Source

__all__ = ["make_prices", "table_book"]


def table_book(config: Config, names: AssetNames) -> PriceBook | None:
    """The prices of a configuration's table; None where prices come from elsewhere.

    Raises
    ------
    ConfigError : the file is not such a table
    """
    if config.prices.source != "file" or config.prices.path is None:
        return None
    book = PriceBook(names, config.prices.max_age, kept=None)
    fill_from(Path(config.prices.path), book, table_resolver(config))
    return book


def make_prices(
    config: Config, names: AssetNames, chains: Mapping[str, Any]
) -> tuple[PriceBook | None, Source | None]:
    """The price book, and the source that keeps it fresh; None where there is none.

    Parameters
    ----------
    chains : followed chains by CAIP-2, for feeds: see `monitor.prices.chainlink.Calls`
    """
    prices = config.prices
    if prices.source in ("none", "file"):
        return table_book(config, names), None
    book = PriceBook(names, prices.max_age)
    if prices.source == "chainlink":
        return book, ChainlinkPrices(tuple(Feed(*feed) for feed in prices.feeds), chains)
    assert prices.url is not None  # checked with the configuration
    return book, HttpPrices(prices.url.get_secret_value(), prices.ids, prices.pick)
