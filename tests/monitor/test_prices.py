"""Prices: what a loss was worth as of its blocks; a missing price is a missing one, and decides nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from monitor.assets import AssetInfo, AssetNames
from monitor.config import config_from_mapping
from monitor.errors import ChainUnavailable, ConfigError
from monitor.explain import explain
from monitor.incidents import Correlator, movement_key
from monitor.model import Finding, Movement, Severity
from monitor.prices.book import PriceBook
from monitor.prices.chainlink import ChainlinkPrices, Feed
from monitor.prices.http import HttpPrices
from monitor.prices.make import make_prices, table_book
from monitor.prices.refresh import keep_fresh
from monitor.published import incident_data

ETHER, COIN = "eip155:1/slip44:60", "eip155:1/erc20:0x" + "c" * 40
FEED = "0x" + "fe" * 20
START = 1_700_000_000


def names() -> AssetNames:
    return AssetNames({COIN: AssetInfo(COIN, "USDX", 6)})


def configured(**prices: Any) -> Any:
    """A configuration with these prices."""
    wallet = {"id": "hot", "role": "hot", "addresses": ["ethereum:0x" + "1" * 40]}
    coin = {"chain": "ethereum", "asset": "0x" + "c" * 40, "symbol": "USDX", "decimals": 6}
    return config_from_mapping(
        {"version": 1, "wallets": [wallet], "assets": [coin], "prices": prices}, Path(), "case"
    )


# -- the book ---------------------------------------------------------------------------------------------------------


def test_a_price_holds_until_the_next_and_no_longer_than_it_may():
    book = PriceBook(names(), max_age=100)
    book.add(ETHER, 1000, 2000.0)
    book.add(ETHER, 1050, 1900.0)
    assert [book.price(ETHER, at) for at in (999, 1000, 1049, 1050, 1150, 1151)] == [
        None, 2000.0, 2000.0, 1900.0, 1900.0, None,
    ]  # fmt: skip
    assert book.value(ETHER, 5 * 10**17, 1000) == 1000.0
    assert book.value("eip155:1/erc20:0xdead", 1, 1000) is None and book.price(COIN, 1000) is None
    with pytest.raises(ValueError, match="not a price"):
        book.add(ETHER, 1, float("nan"))


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10)), max_size=30), st.integers(0, 60))
def test_order_of_arrival_does_not_matter(rows, at):
    """One by one in any order, or at once: the latest price at or before a time."""
    single, whole = PriceBook(names(), 1000, None), PriceBook(names(), 1000, None)
    for time, price in rows:
        single.add(ETHER, time, price)
    whole.fill(ETHER, rows)
    known = dict(rows)
    best = max((time for time in known if time <= at), default=None)
    assert single.price(ETHER, at) == whole.price(ETHER, at) == (known[best] if best is not None else None)


def test_memory_is_bounded():
    book = PriceBook(names(), max_age=10**9, kept=10)
    for at in range(1000):
        book.add(ETHER, at, float(at))
    assert len(book) == 10 and book.price(ETHER, 999) == 999.0 and book.price(ETHER, 500) is None


# -- incidents --------------------------------------------------------------------------------------------------------


def incident(book: PriceBook) -> Any:
    """An incident that lost 2 ETH and 5 of another coin, seen with this book."""
    correlator = Correlator()
    finding = Finding(
        "f", "HW-1", "hot", "eip155:1", Severity.HIGH, 1.0, "one payment", "0x1", START, 1, 0, ETHER, "thief",
        budget_exceeded=True,
    )  # fmt: skip
    moved = [
        Movement("hot", "eip155:1", ETHER, "thief", 2 * 10**18, START, "0x1", 0, 1),
        Movement("hot", "eip155:1", COIN, "thief", 5 * 10**6, START, "0x1", 1, 1),
    ]
    (name,) = correlator.add("Exchange", [finding], moved, {movement_key(m): 1.0 for m in moved})
    book.appraise(correlator.records[name])
    again = Correlator()
    again.load([correlator.dump(name)])
    assert again.incident(name) == correlator.incident(name)  # what a loss was worth survives a restart
    return correlator.incident(name)


def test_losses_are_worth_what_they_were_then():
    book = PriceBook(names())
    book.add(ETHER, START - 60, 2000.0)
    book.add(COIN, START - 60, 1.0)
    book.add(ETHER, START + 60, 1.0)  # of later: it does not count
    found = incident(book)
    assert found.lost_usd == 4005.0
    data = incident_data(found, names())
    assert [(entry["asset"], entry["usd"]) for entry in data["lost"]] == [(COIN, 5.0), (ETHER, 4000.0)]
    assert "Worth about $4,005 as of the blocks." in explain(found, names())


def test_a_missing_price_is_shown_as_missing():
    book = PriceBook(names())
    book.add(ETHER, START, 2000.0)
    found = incident(book)
    assert found.lost_usd == 4000.0
    assert {entry["asset"]: entry["usd"] for entry in incident_data(found, names())["lost"]} == {
        COIN: None, ETHER: 4000.0,
    }  # fmt: skip
    assert "Worth about $4,000 as of the blocks, without USDX (no price)." in explain(found, names())
    nothing = incident(PriceBook(names()))
    assert nothing.lost_usd is None and not any("Worth" in line for line in explain(nothing, names()))


# -- a table ----------------------------------------------------------------------------------------------------------

TABLE = {
    "asset": ["ethereum:native", "USDX", COIN, "ETH"],
    "time": ["2023-11-14T22:00:00Z", "1699999000", "1699999500", "2023-11-14T22:10:00Z"],
    "price": ["2000.5", "1", "0.99", "2001"],
}


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.ndjson", "p.json", "p.parquet"])
def test_tables_of_every_form_say_the_same(tmp_path, name):
    frame, path = pl.DataFrame(TABLE), tmp_path / name
    if name == "p.csv.gz":
        import gzip

        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    else:
        {".csv": frame.write_csv, ".ndjson": frame.write_ndjson, ".json": frame.write_json,
         ".parquet": frame.write_parquet}[path.suffix](path)  # fmt: skip
    book = table_book(configured(source="file", path=str(path)), names())
    assert book.price(ETHER, 1_699_999_300) == 2000.5  # 22:01:40
    assert book.price(ETHER, START) == 2001.0 and book.price(COIN, START) == 0.99
    assert len(book) == 4


def test_a_table_that_is_none_says_where(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("asset,time,price\nETH,yesterday,1\nETH,1,-1\nnonsense,1,1\n")
    with pytest.raises(ConfigError) as error:
        table_book(configured(source="file", path=str(path)), names())
    told = str(error.value)
    assert "row 2: time 'yesterday'" in told and "row 3: price '-1'" in told and "row 4: is no asset" in told
    path.write_text("asset,price\nETH,1\n")
    with pytest.raises(ConfigError, match="no column time"):
        table_book(configured(source="file", path=str(path)), names())
    with pytest.raises(ConfigError, match=r"expected a file named \.csv"):
        table_book(configured(source="file", path=str(tmp_path / "p.xls")), names())


# -- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "problem"),
    [
        ({"source": "chainlink"}, "prices.feeds is missing"),
        ({"source": "chainlink", "feeds": {"ethereum:native": "0x12"}}, "feeds"),
        ({"source": "chainlink", "feeds": {"WHAT": FEED}}, "is no asset"),
        ({"source": "http", "url": "https://prices.example/?ids={ids}"}, "prices.ids is missing"),
        ({"source": "http", "url": "https://prices.example", "ids": {"ETH": "a&b"}}, "is no id"),
    ],
)
def test_what_a_source_needs(prices, problem):
    with pytest.raises(ConfigError, match=problem):
        configured(**prices)


def test_names_are_resolved():
    config = configured(source="chainlink", feeds={"ethereum:native": FEED, "USDX": f"ethereum:{FEED}"})
    assert config.prices.feeds == ((ETHER, "eip155:1", FEED), (COIN, "eip155:1", FEED))
    assert not [line for line in config.summary() if "not applied" in line]
    assert "prices from chainlink, 2 assets, every 60 s" in config.summary()


# -- sources ----------------------------------------------------------------------------------------------------------


async def test_an_http_service(unused_tcp_port_factory: Any = None):
    """One request for all; a tag spares the next answer; trouble is told in words without the address."""
    asked: list[tuple[str, str]] = []
    answers: list[Any] = [
        web.json_response({"ethereum": {"usd": 2000.5}, "usdx": {"usd": None}}, headers={"ETag": "one"}),
        web.Response(status=304),
        web.Response(status=429),
        web.Response(text="<html>", content_type="text/html"),
    ]

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.query["ids"], request.headers.get("If-None-Match", "")))
        return answers[len(asked) - 1]

    app = web.Application()
    app.router.add_get("/simple", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    clock = iter(range(START, START + 100))
    source = HttpPrices(
        f"http://127.0.0.1:{port}/simple?key=hidden&ids={{ids}}", {ETHER: "ethereum", COIN: "usdx"},
        clock=lambda: next(clock),
    )  # fmt: skip
    book = PriceBook(names())
    try:
        told = [await source.refresh(book) for _ in answers]
    finally:
        await source.aclose()
        await runner.cleanup()
    assert told == [["no price of usdx"], ["no price of usdx"], ["HTTP 429"], ["no prices (ValueError)"]]
    assert asked[:2] == [("ethereum,usdx", ""), ("ethereum,usdx", "one")]
    assert len(book) == 2 and book.price(ETHER, START + 1) == 2000.5 and source.name == "127.0.0.1"
    assert (await source.refresh(book)) == ["no prices (ClientConnectorError)"]  # the service is gone
    await source.aclose()


class Contract:
    """A chain with one feed on it."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    async def call(self, to: str, data: str) -> tuple[str, int] | None:
        answer = self.answers[{"0x313ce567": "decimals", "0xfeaf968c": "latest"}[data]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def words(*numbers: int) -> str:
    return "0x" + "".join(f"{number % 2**256:064x}" for number in numbers)


@pytest.mark.parametrize(
    ("latest", "problem"),
    [
        ((words(1, 200_050_000_000, 0, START - 60, 1), START), ""),
        ((words(1, -5, 0, START, 1), START), "not above zero"),
        ((words(1, 5, 0, START - 100_000, 1), START), "100000 s old"),
        ((words(1, 5), START), "tells no price"),
        (("0xzz", START), "tells no price"),
        (None, "tells no price"),
        (ChainUnavailable("node.example: no answer"), "no answer"),
    ],
)
async def test_a_feed(latest, problem):
    chain = Contract(decimals=(words(8), 1), latest=latest)
    source = ChainlinkPrices((Feed(ETHER, "eip155:1", FEED),), {"eip155:1": chain})
    book = PriceBook(names())
    told = await source.refresh(book)
    if problem:
        assert len(told) == 1 and problem in told[0] and len(book) == 0
    else:
        assert told == [] and book.price(ETHER, START) == 2000.5


async def test_trouble_is_logged_once_and_its_end_too(caplog):
    caplog.set_level(logging.INFO, "heistwatch.prices")

    class Source:
        name = "test"
        told = iter((["down"], ["down"], [], [], ["down"]))
        closed = False

        async def refresh(self, book):
            return next(self.told)

        async def aclose(self):
            self.closed = True

    source, rounds = Source(), iter(range(5))

    async def pause(seconds):
        if next(rounds) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_fresh(source, PriceBook(names()), sleep=pause)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["prices from test: down", "prices from test are back", "prices from test: down"] and source.closed


def test_sources_of_a_configuration(tmp_path):
    (tmp_path / "p.csv").write_text("asset,time,price\nETH,1,1\n")
    file = configured(source="file", path=str(tmp_path / "p.csv"))
    feeds = configured(source="chainlink", feeds={"ETH": FEED})
    url = configured(source="http", url="https://prices.example/?ids={ids}", ids={"ETH": "ethereum"})
    made = [make_prices(config, names(), {}) for config in (configured(), file, feeds, url)]
    assert [(book is not None, type(source).__name__) for book, source in made] == [
        (False, "NoneType"), (True, "NoneType"), (True, "ChainlinkPrices"), (True, "HttpPrices"),
    ]  # fmt: skip
    assert json.dumps(url.public()["prices"]).count("<secret>") == 1
