"""Rows and files that cannot be read: each is counted or refused, with its place and a clear reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import BadRow
from monitor.errors import ConfigError

ALICE, BOB = ("0x" + c * 40 for c in "ab")
CAROL = "0x" + "c" * 40


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": "1e18"}, "value was '1e18', expected a whole number of base units (a decimal or rounded number"),
        ({"value": "18.67"}, "value was '18.67', expected a whole number of base units (a decimal or rounded number"),
        ({"value": "1.0"}, "value was '1.0', expected a whole number of base units (a decimal or rounded number"),
        ({"value": "-5"}, "value was '-5', expected no negative amount"),
        ({"value": "0x10"}, "value was '0x10', expected a whole number of base units"),
        ({"value": ""}, "value is empty"),
        ({"value": str(2**256)}, "expected at most 2^256 - 1"),
        ({"value": "9" * 90}, "expected at most 2^256 - 1"),
        ({"block_timestamp": "1500000000000"}, "(it looks like milliseconds)"),
        ({"block_timestamp": "1960-01-01T00:00:00Z"}, "2018-01-25T15:02:00Z, from 1970 to 2199"),
        ({"block_timestamp": "2500-01-01T00:00:00Z"}, "2018-01-25T15:02:00Z, from 1970 to 2199"),
        ({"block_timestamp": "yesterday"}, "block_timestamp was 'yesterday', expected UTC seconds or ISO 8601"),
        ({"block_timestamp": "2017-02-30T00:00:00Z"}, "block_timestamp was '2017-02-30T00:00:00Z', expected"),
        ({"block_timestamp": ""}, "block_timestamp is empty"),
        ({"block_number": "ten"}, "block_number was 'ten', expected a whole number of 0 or more"),
        ({"block_number": "-1"}, "block_number was '-1', expected a whole number of 0 or more"),
        ({"block_number": ""}, "block_number is empty"),
        ({"transaction_index": "1.5"}, "transaction_index was '1.5', expected a whole number of 0 or more"),
        ({"from_address": ""}, "from_address is empty"),
        ({"to_address": ""}, "to_address is empty"),
        ({"transaction_hash": ""}, "transaction_hash is empty"),
        ({"asset": ""}, "asset is empty"),
        ({"asset": "USDC"}, "asset was 'USDC', expected native, a contract address or CAIP-19"),
        ({"asset": "eip155:56/slip44:714"}, "asset was 'eip155:56/slip44:714', expected an asset of eip155:1"),
        ({"status": "maybe"}, "status was 'maybe', expected 0 (failed) or 1"),
        ({"kind": "gift"}, "kind was 'gift', expected one of native, internal, token, fee, reconciled"),
        ({"nonce": "abc"}, "nonce was 'abc', expected a whole number of 0 or more"),
        ({"fee_rate": "dear"}, "fee_rate was 'dear', expected a number"),
        ({"fee": "0.1"}, "fee was '0.1', expected a whole number of base units"),
    ],
)
def test_each_broken_field_has_its_reason(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any, changes: dict[str, str], reason: str
) -> None:
    """A broken row is counted and shown with file and row, in CSV and JSON lines; its neighbours are read."""
    extra = dict.fromkeys(("status", "kind", "nonce", "fee_rate", "fee"), "")
    rows = [native_row(**extra, value="1"), native_row(**{**extra, **changes}), native_row(**extra, value="2")]
    for name, row in (("a.csv", 3), ("a.ndjson", 2), ("a.json", 2)):
        path = write(tmp_path / name, rows)
        reading = read_alice(path)
        assert [(bad.path, bad.row) for bad in reading.bad] == [(str(path), row)], name
        assert reason in reading.bad[0].reason
        assert (reading.rows, reading.bad_rows, reading.transfers) == (3, 1, 2)
        assert reading.frame["value"].to_list() == ["1", "2"]


def test_lines_with_a_wrong_shape(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """CSV lines with too few or many fields, or an open quote, and lines that are no JSON object, are bad rows."""
    path = write(tmp_path / "a.csv", [native_row(), native_row(value="6")])
    with path.open("a") as file:
        file.write("ethereum,10\n\n")
        file.write(",".join(map(str, native_row().values())) + ",surplus,\n")
        file.write(",".join(map(str, native_row(asset='"native').values())) + "\n")
        file.write(",".join(map(str, native_row(value="7").values())))
    reading = read_alice(path)
    assert reading.bad == (
        BadRow(str(path), 4, "2 fields, expected 10"),
        BadRow(str(path), 6, "12 fields, expected 10"),
        BadRow(str(path), 7, "a quoted field is not closed"),
    )
    assert (reading.rows, reading.frame["value"].to_list()) == (6, ["5", "6", "7"])
    lines = [json.dumps(native_row()), '{"chain": "ethereum"', "[1, 2]", "7", "", json.dumps(native_row(value="6"))]
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(lines))
    reading = read_alice(path)
    assert [bad.row for bad in reading.bad] == [2, 3, 4]
    assert reading.bad[0].reason.startswith("not valid JSON") and reading.bad[1].reason == "not a JSON object"
    assert (reading.rows, reading.frame["value"].to_list()) == (5, ["5", "6"])


def test_json_numbers_are_never_rounded(tmp_path: Path, read_alice: Any, native_row: Any) -> None:
    """Bare JSON numbers keep every digit; floats are refused even where they are whole; text that looks so is safe."""
    exact = [2**256 - 1, 2**64, 10**18 + 1, 123456789012345678901234567890]
    lines = [json.dumps(native_row(value=value, note="x,1.5,y")) for value in exact]
    lines += [json.dumps(native_row(value=0)).replace('"value": 0', f'"value": {text}') for text in ("1e18", "1.0")]
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(lines))
    reading = read_alice(path)
    assert reading.frame["value"].to_list() == [str(value) for value in exact]
    assert [bad.row for bad in reading.bad] == [5, 6]


def test_a_hundred_bad_rows_are_kept_and_all_counted(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """The first hundred bad rows over all files are kept."""
    rows = [native_row(value="x") for _ in range(80)]
    reading = read_alice(write(tmp_path / "1.csv", rows), write(tmp_path / "2.csv", rows))
    assert (reading.bad_rows, len(reading.bad), reading.rows) == (160, 100, 160)
    assert reading.bad[-1].path.endswith("2.csv") and reading.bad[-1].row == 21


def test_parquet_checks_watched_rows_and_all_when_strict(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """In Parquet only rows that match the watch set are checked, all with strict."""
    rows = [native_row(value="1"), native_row(value="x"), native_row(from_address=CAROL, value="y")]
    path = write(tmp_path / "a.parquet", rows)
    reading = read_alice(path)
    assert [(bad.row, bad.reason.split(",")[0]) for bad in reading.bad] == [(2, "value was 'x'")]
    assert (reading.rows, reading.bad_rows, reading.frame["value"].to_list()) == (3, 1, ["1"])
    strict = read_alice(path, strict=True)
    assert [bad.row for bad in strict.bad] == [2, 3]
    assert (strict.rows, strict.bad_rows, strict.transfers) == (3, 2, 1)
    assert strict.frame.equals(reading.frame)


def test_parquet_floats_are_exact_or_bad(tmp_path: Path, read_alice: Any, native_row: Any) -> None:
    """A float column of Parquet is read while it is whole and below 2^53; decimals are read where they are whole."""
    base = pl.DataFrame([native_row(transaction_hash=f"{n}") for n in range(3)])
    base.with_columns(value=pl.Series([5.0, 0.5, 1e18])).write_parquet(tmp_path / "a.parquet")
    reading = read_alice(tmp_path / "a.parquet")
    assert (reading.frame["value"].to_list(), reading.bad_rows) == (["5"], 2)
    decimals = pl.Series(["5", "1000000000000000000000", "0.5"]).str.to_decimal(scale=9).cast(pl.Decimal(38, 9))
    base.with_columns(value=decimals).write_parquet(tmp_path / "b.parquet")
    reading = read_alice(tmp_path / "b.parquet")
    assert reading.frame["value"].to_list() == ["5", "1000000000000000000000"]
    assert [bad.row for bad in reading.bad] == [3]


def test_missing_numbers_of_parquet_are_not_broken(tmp_path: Path, read_alice: Any, native_row: Any) -> None:
    """NaN in an optional column, as data frames write a missing number, is missing."""
    base = pl.DataFrame([native_row(), native_row(value="6")])
    columns = {"nonce": [1.0, float("nan")], "fee_rate": [float("nan"), 2.5], "fee": [None, 3.0], "status": [1.0, 1.0]}
    base.with_columns(pl.Series(name, values) for name, values in columns.items()).write_parquet(tmp_path / "a.parquet")
    reading = read_alice(tmp_path / "a.parquet", strict=True)
    assert reading.bad == ()
    assert reading.frame.select("nonce", "fee_rate", "fee").rows() == [(1, None, None), (None, 2.5, "3")]


def test_broken_files_are_one_line(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A truncated, corrupt, empty, missing or foreign file is a ConfigError that names it, one line a file."""
    good = write(tmp_path / "good.parquet", [native_row()] * 50).read_bytes()
    csv = write(tmp_path / "good.csv", [native_row()] * 50).read_bytes()
    damaged = bytearray(good)
    damaged[8:60] = b"\xff" * 52
    broken = {
        "truncated.parquet": good[: len(good) // 2],
        "damaged.parquet": bytes(damaged),
        "truncated.csv.gz": gzip.compress(csv)[:-12],
        "damaged.csv.gz": gzip.compress(csv)[:60] + b"\x00" * 40,
        "truncated.csv.zst": b"\x28\xb5\x2f\xfd\x00\x00",
        "empty.csv": b"",
        "blank.csv": b" \n\n",
        "binary.dat": bytes(range(256)),
        "array.json": b'[{"a": 1}, ',
    }
    for name, content in broken.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_alice(path)
        assert str(caught.value).startswith(f"{path}: "), name
        assert "\n" not in str(caught.value), name
        assert caught.value.exit_code == 2
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "README.md").write_text("not data")
    with pytest.raises(ConfigError) as caught:
        read_alice(tmp_path / "folder", tmp_path / "missing.csv", tmp_path / "no*such")
    assert [problem.message for problem in caught.value.problems] == [
        "the folder has no data file", "no such file or folder", "no file matches",
    ]  # fmt: skip


def test_an_unknown_layout_names_the_nearest(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """The error names the nearest layout, what is missing, and how to rename."""
    path = write(tmp_path / "a.csv", [native_row(value=None, asset=None) | {"amount": 5}])
    with pytest.raises(ConfigError) as caught:
        read_alice(path)
    assert str(caught.value) == (
        f"{path}: unknown layout; the nearest is the native table, which also needs asset, value (columns of the file"
        " that it does not know: amount); if a column only has another name, write --map NEW=OLD"
    )
    with pytest.raises(ConfigError, match="column 'a' occurs twice in the header"):
        (tmp_path / "b.csv").write_text("a,a\n1,2\n")
        read_alice(tmp_path / "b.csv")


def test_a_file_without_a_chain_belongs_to_one(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any, three_chains: Any
) -> None:
    """Without a chain column: the prefix, else the only configured chain, else an error that says what to write."""
    from chains.tables import Source, parse_source, read

    path = write(tmp_path / "a.csv", [native_row(chain=None)])
    assert read_alice(path).frame["chain"].to_list() == ["eip155:1"]
    watch = {"eip155:1": frozenset({ALICE})}
    with pytest.raises(ConfigError) as caught:
        read_alice(path, chains=three_chains)
    assert str(caught.value) == (
        f"{path}: the file names no chain and 3 chains are configured (bitcoin, ethereum, nem): write CHAIN={path}"
    )
    for prefix in ("ethereum", "eip155:1"):
        source = parse_source(f"{prefix}={path}")
        assert source == Source(str(path), prefix)
        assert read([source], chains=three_chains, watch=watch).transfers == 1
    with pytest.raises(ConfigError, match="did you mean 'ethereum'"):
        read([parse_source(f"etherium={path}")], chains=three_chains, watch=watch)
    rows = [native_row(chain=""), native_row(chain="ethereum", value="6")]
    mixed = read_alice(write(tmp_path / "b.csv", rows), chains=three_chains)
    assert [(bad.row, bad.reason) for bad in mixed.bad] == [(2, "chain is empty")]
    odd = tmp_path / "day=1.csv"
    assert parse_source(str(write(odd, [native_row()]))) == Source(str(odd))


def test_of_very_many_the_first_are_kept_whatever_is_wrong_with_them(
    tmp_path: Path, read_alice: Any, native_row: Any
) -> None:
    """Lines that are no JSON are seen before values are: that decides nothing of which are shown."""
    lines = [json.dumps(native_row(transfer_index=n)) for n in range(600)]
    for n in range(0, 600, 3):
        lines[n] = "{" if n % 2 else json.dumps(native_row(value="-1"))
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(lines))
    reading = read_alice(path)
    assert reading.bad_rows == 200 and [bad.row for bad in reading.bad] == [n + 1 for n in range(0, 300, 3)]
    assert {bad.reason[:5] for bad in reading.bad} == {"not v", "value"}
