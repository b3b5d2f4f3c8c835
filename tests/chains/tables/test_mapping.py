"""``--map NEW=OLD[:unit]``: what is read, what is refused, and that amounts are scaled digit by digit."""

from __future__ import annotations

import pickle
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.tables import ChainInfo
from chains.tables.mapping import ColumnMap, parse_mapping
from chains.tables.scaled import from_hex, scaled
from monitor.errors import ConfigError

ALICE, BOB = ("0x" + c * 40 for c in "ab")
TOKEN, OTHER = "0x" + "d" * 40, "0x" + "e" * 40


def test_arguments_are_read() -> None:
    """Names, decimals, coins and times; a column of the file may itself end in a colon and a word."""
    found = parse_mapping(["value=amount:18", "fee = paid:gwei", "block_timestamp=t:ms", "from_address=a:b:"])
    assert dict(found) == {"value": "amount", "fee": "paid", "block_timestamp": "t", "from_address": "a:b"}
    units = {name: (unit.decimals, unit.coin, unit.per_second) for name, unit in found.units.items()}
    assert units == {"value": (18, False, 0), "fee": (9, True, 0), "block_timestamp": (None, False, 1000)}
    assert pickle.loads(pickle.dumps(found)) == found
    assert parse_mapping([]) == ColumnMap()


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each argument that makes no sense is a problem of its own."""
    texts = ["value", "=x", "value=amount:ethr", "asset=x:18", "block_timestamp=t:eth", "fee=a:99999", "fee=b"]
    with pytest.raises(ConfigError) as caught:
        parse_mapping(texts)
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 7
    assert messages[0].startswith("--map was 'value', expected NEW=OLD")
    assert "did you mean 'ether'?" in messages[2] or "did you mean 'eth'?" in messages[2]
    assert "asset takes no unit: units are for block_timestamp, fee, timestamp, value" in messages[3]
    assert "expected s, ms, us or ns" in messages[4]
    assert "at most 77 decimals" in messages[5]
    assert messages[6] == "--map names 'fee' twice: 'a' and 'b'"


@settings(deadline=None, max_examples=60)
@given(st.decimals(min_value=0, max_value=10**30, allow_nan=False, allow_infinity=False), st.integers(0, 30))
def test_scaling_is_that_of_exact_decimals(amount: Decimal, decimals: int) -> None:
    """Whatever way an amount is written, its base units are exact, or there are none."""
    with localcontext(prec=200):
        exact = amount.scaleb(decimals)
        whole = str(int(exact)) if exact == exact.to_integral_value() else None
    texts = [str(amount), f"{amount:f}", f"{amount:,f}"]
    found = pl.DataFrame({"t": texts}).select(scaled(pl.col("t"), pl.lit(decimals))).to_series().to_list()
    assert found == [whole] * 3, texts


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=30), max_size=50))
def test_scaling_never_fails(texts: list[str]) -> None:
    """Text that is no amount gives nothing, and text that is not hexadecimal stays what it is."""
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    found = frame.select(scaled(pl.col("t"), pl.lit(18)).alias("a"), from_hex(pl.col("t")).alias("b"))
    assert all(value is None or value.isdigit() for value in found["a"])
    assert [b for b, t in zip(found["b"], texts, strict=True) if not t.startswith("0x")] == [
        t for t in texts if not t.startswith("0x")
    ]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Transfers as somebody may keep them: other names, decimal coins, milliseconds."""
    common = {"block_number": 10, "transaction_index": 1, "time": 1_500_000_000_999, "sender": ALICE, "receiver": BOB}
    return [common | {"token": TOKEN, "amount": "1.5"}, common | {"token": OTHER, "amount": "0.000001"}]


NAMES = ["from_address=sender", "to_address=receiver", "asset=token", "block_timestamp=time:ms"]


def test_units_are_applied_in_all_forms(tmp_path: Path, read_alice: Any, write: Any, rows: Any) -> None:
    """A number of decimals, and milliseconds; the place in the chain stands in for the hash that is not there."""
    for name in ("a.csv", "a.ndjson", "a.json", "a.parquet"):
        reading = read_alice(write(tmp_path / name, rows), rename=parse_mapping([*NAMES, "value=amount:6"]))
        assert reading.frame.select("value", "block_timestamp", "transaction_hash").rows() == [
            ("1500000", 1_500_000_000, "10-1"), ("1", 1_500_000_000, "10-1"),
        ]  # fmt: skip
        assert (reading.bad_rows, reading.transfers) == (0, 2)
        assert any("no transaction_hash column: block_number-transaction_index stands in" in n for n in reading.notes)


def test_digits_beyond_the_unit_are_bad_rows(tmp_path: Path, read_alice: Any, write: Any, rows: Any) -> None:
    """No digit is dropped: the row is bad, and the reason says why."""
    reading = read_alice(write(tmp_path / "a.csv", rows), rename=parse_mapping([*NAMES, "value=amount:5"]))
    assert [(bad.row, bad.reason) for bad in reading.bad] == [
        (3, "value was '0.000001', expected no digits beyond the base unit of 5 decimals")
    ]
    assert reading.frame["value"].to_list() == ["150000"]


def test_each_token_has_its_own_decimals(
    tmp_path: Path, read_alice: Any, write: Any, rows: Any, infos: dict[str, ChainInfo]
) -> None:
    """The unit ``token`` takes the decimals of the configuration; a token without is a bad row."""
    known = {f"eip155:1/erc20:{TOKEN}": 18}
    chains = {"ethereum": ChainInfo("eip155:1", "evm", infos["ethereum"].native, 12, known)}
    path = write(tmp_path / "a.csv", rows)
    reading = read_alice(path, rename=parse_mapping([*NAMES, "value=amount:token"]), chains=chains)
    assert reading.frame["value"].to_list() == [str(15 * 10**17)]
    assert [bad.reason for bad in reading.bad] == ["the token's decimals are not known: add it under assets"]


def test_a_coin_needs_no_asset(tmp_path: Path, read_alice: Any, write: Any, rows: Any) -> None:
    """Amounts in a coin are the chain's own; without a unit a table must name its asset."""
    for row in rows:
        del row["token"], row["transaction_index"]
    path = write(tmp_path / "a.csv", rows)
    names = [name for name in NAMES if "asset" not in name]
    reading = read_alice(path, rename=parse_mapping([*names, "value=amount:eth"]))
    assert reading.frame.select("asset", "kind", "value").rows() == [
        ("eip155:1/slip44:60", "native", "1500000000000000000"), ("eip155:1/slip44:60", "native", "1000000000000"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="also needs asset"):
        read_alice(path, rename=parse_mapping([*names, "value=amount:18"]))


def test_floats_that_cannot_be_exact_are_bad(tmp_path: Path, read_alice: Any) -> None:
    """A float of a Parquet file holds 15 digits; one with more was rounded."""
    amounts = [18.67, 5238.100000000001, float("nan")]
    frame = pl.DataFrame({
        "block_number": 1, "transaction_index": range(3), "block_timestamp": 1_500_000_000, "from_address": ALICE,
        "to_address": BOB, "asset": "native", "amount": amounts,
    })  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    reading = read_alice(tmp_path / "a.parquet", rename=parse_mapping(["value=amount:eth"]))
    assert reading.frame["value"].to_list() == ["18670000000000000000"]
    reasons = [bad.reason for bad in reading.bad]
    assert "expected an amount that a float holds exactly" in reasons[0]
    assert reasons[1] == "value is empty"
