"""The native table in every form, and what its rows become."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.tables.layout import FRAME
from monitor.errors import ConfigError

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
TOKEN = "0x" + "d" * 40
BIG = 2**256 - 1


def test_one_row_becomes_canonical(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Every column of the frame is there, with its type; EVM text is lower case and the asset is CAIP-19."""
    row = native_row(
        from_address=ALICE.upper().replace("X", "x"), asset=TOKEN.upper().replace("X", "x"), value=str(BIG), nonce=7,
        fee=21, fee_rate=1.5, gas_limit=21000, tx_from=CAROL,
    )
    reading = read_alice(write(tmp_path / "a.csv", [row]))
    assert reading.frame.schema == pl.Schema(FRAME)
    assert reading.frame.row(0, named=True) == {
        "chain": "eip155:1", "block_number": 10, "block_timestamp": 1_500_000_000, "transaction_hash": "0x01",
        "transaction_index": 0, "transfer_index": 0, "kind": "token", "asset": f"eip155:1/erc20:{TOKEN}",
        "from_address": ALICE, "inputs": None, "input_values": None, "to_address": BOB, "value": str(BIG),
        "amount": float(BIG), "tx_from": CAROL, "nonce": 7, "fee": "21", "fee_rate": 1.5, "gas_limit": 21000,
        "n_outputs": None, "version": None, "flags": None, "script_type": None,
    }  # fmt: skip
    assert (reading.rows, reading.bad_rows, reading.transfers) == (1, 0, 1)
    assert (reading.first, reading.last) == (1_500_000_000, 1_500_000_000)
    assert reading.chains == {
        "eip155:1": {"rows": 1, "transfers": 1, "first": 1_500_000_000, "last": 1_500_000_000}
    }  # fmt: skip


def test_rows_come_in_chain_order_whatever_the_files(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """Order is block, transaction_index, transfer_index, then file order."""
    keys = [(11, 0, 0), (10, 1, 5), (10, 1, 2), (10, 0, 9), (9, 3, 3)]
    rows = [
        native_row(block_number=b, transaction_index=t, transfer_index=i, transaction_hash=f"0x{n}", value=str(n + 1))
        for n, (b, t, i) in enumerate(keys)
    ]
    tie = native_row(block_number=10, transaction_index=1, transfer_index=2, transaction_hash="0xtie", value="99")
    write(tmp_path / "1.ndjson", rows)
    write(tmp_path / "2.csv", [tie])
    frame = read_alice(tmp_path).frame
    assert frame["value"].to_list() == ["5", "4", "3", "99", "2", "1"]


def test_rows_equal_in_every_column_are_dropped_and_told(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """Only rows equal in every column, also those not known, are duplicates; ties are legal."""
    rows = [native_row(note="a"), native_row(note="a"), native_row(note="b"), native_row(note="a", value="6")]
    reading = read_alice(write(tmp_path / "a.csv", rows), write(tmp_path / "b.parquet", rows[:1]))
    assert reading.frame["value"].to_list() == ["5", "5", "6"]
    assert "2 watched rows equal another one in every column and were dropped" in reading.notes


def test_missing_order_columns_mean_file_order(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Without order columns rows keep the order of the file within one time, and the notes say so."""
    rows = [
        native_row(block_number=None, transaction_index=None, transfer_index=None, value=v, transaction_hash=v)
        for v in (3, 1, 2)
    ]
    reading = read_alice(write(tmp_path / "a.csv", rows))
    assert reading.frame["value"].to_list() == ["3", "1", "2"]
    assert "the native table: no block_number column: the block time stands in for it" in reading.notes
    assert reading.frame["block_number"].to_list() == reading.frame["block_timestamp"].to_list()


def test_failed_and_zero_rows_move_nothing(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Status 0 and value 0 are rows, not transfers; what succeeded without value stays, as live, in all forms."""
    rows = [native_row(status=0), native_row(status=1, value="0"), native_row(status=1, value="000")]
    rows += [native_row(status=1, value="4")]
    for name in ("a.csv", "a.parquet", "a.ndjson"):
        reading = read_alice(write(tmp_path / name, rows))
        assert (reading.rows, reading.transfers, reading.frame["value"].to_list()) == (4, 1, ["0", "4"]), name
        assert not any("status" in note for note in reading.notes)
    assert any(
        "no status column: every row counts as succeeded" in note
        for note in read_alice(write(tmp_path / "b.csv", [native_row()])).notes
    )


@pytest.mark.parametrize(
    "text",
    [
        "1488801600", "2017-03-06 12:00:00 UTC", "2017-03-06T12:00:00Z", "2017-03-06T12:00:00", "2017-03-06 12:00",
        "2017-03-06T12:00:00.999999Z", "2017-03-06T14:00:00+02:00", "2017-03-06 06:30:00-0530",
        "2017-03-06 12:00:00+00",
    ],
)  # fmt: skip
def test_times_are_utc_seconds(tmp_path: Path, read_alice: Any, native_row: Any, write: Any, text: str) -> None:
    """Unix seconds and ISO 8601 are read; naive is UTC; fractions are cut."""
    rows = [native_row(block_timestamp=text), native_row(block_timestamp="1488801600", value="6")]
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        reading = read_alice(write(tmp_path / name, rows))
        assert reading.frame["block_timestamp"].to_list() == [1488801600, 1488801600], (name, reading.bad)


def test_parquet_times_of_every_type(tmp_path: Path, read_alice: Any, native_row: Any) -> None:
    """Timestamps of any unit and zone, and dates, are read as UTC."""
    base = pl.DataFrame([native_row()])
    moment = pl.lit("2017-03-06T12:00:00").str.to_datetime()
    for n, made in enumerate(
        [moment.cast(pl.Datetime("ms")), moment.cast(pl.Datetime("ns")), moment.dt.replace_time_zone("UTC"),
         moment.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")]
    ):  # fmt: skip
        path = tmp_path / f"{n}.parquet"
        base.with_columns(block_timestamp=made).write_parquet(path)
        assert read_alice(path).frame["block_timestamp"].to_list() == [1488801600]


def test_the_range_takes_its_start_and_not_its_end(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """Rows outside the range are rows, but no transfers and not in first and last."""
    rows = [native_row(block_timestamp=t, value=str(t)) for t in (100, 200, 300, 400)]
    for name in ("a.csv", "a.parquet"):
        reading = read_alice(write(tmp_path / name, rows), start=200, end=400)
        assert reading.frame["value"].to_list() == ["200", "300"]
        assert (reading.rows, reading.transfers, reading.first, reading.last) == (4, 2, 200, 300)


def test_only_rows_that_touch_the_watch_set_of_their_chain(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any, three_chains: Any
) -> None:
    """An address is watched on its own chain alone; other rows are counted."""
    rows = [
        native_row(),
        native_row(from_address=CAROL),
        native_row(from_address=BOB, to_address=ALICE, value="7"),
        native_row(chain="nem:mainnet", from_address="na-abc", to_address="NB", value="8"),
        native_row(chain="nem", from_address=ALICE, to_address="nabc", value="9"),
        native_row(chain="dogecoin"),
    ]
    watch = {"eip155:1": frozenset({ALICE}), "nem:mainnet": frozenset({"NAABC", "NABC"})}
    for name in ("a.csv", "a.parquet"):
        reading = read_alice(write(tmp_path / name, rows), chains=three_chains, watch=watch)
        assert reading.frame["value"].to_list() == ["5", "7", "8", "9"]
        assert reading.frame["to_address"].to_list() == [BOB, ALICE, "NB", "NABC"]
        assert reading.frame["asset"].to_list()[2:] == ["nem:mainnet/slip44:43"] * 2
        assert (reading.rows, reading.bad_rows, reading.transfers) == (6, 0, 5)
        assert reading.chains["nem:mainnet"]["rows"] == 2
        assert "chain 'dogecoin' is not configured: 1 rows are counted but not watched" in reading.notes


def test_outputs_of_one_transaction_keep_their_inputs(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any, three_chains: Any
) -> None:
    """On UTXO chains inputs are lists (joined by | in CSV), case is kept, outputs are counted where all are here."""
    bitcoin = three_chains["bitcoin"].chain
    look = {"version": 1, "flags": 12, "script_type": "P2PKH"}
    common = {"chain": "bitcoin", "from_address": None, "input_values": None, **look}
    rows = [native_row(**common, to_address=to, value=v, transfer_index=i) for i, (to, v) in
            enumerate([("bc1Thief", "70"), ("1Change", "25"), ("1Data", "0")])]  # fmt: skip
    lists = [row | {"from_address": ["1Hot", "1Other"], "input_values": ["60", "40"]} for row in rows]
    texts = [row | {"from_address": "1Hot|1Other", "input_values": "60|40"} for row in rows]
    incoming = {"from_address": ["1X"], "input_values": ["9"], "transaction_hash": "0x02", "to_address": "1Hot"}
    lists.append(rows[0] | incoming)
    texts.append(rows[0] | incoming | {"from_address": "1X", "input_values": "9"})
    for name, made in (("a.csv", texts), ("a.ndjson", lists), ("a.json", lists), ("a.parquet", lists)):
        reading = read_alice(write(tmp_path / name, made), chains=three_chains, watch={bitcoin: frozenset({"1Hot"})})
        out = reading.frame.filter(transaction_hash="0x01")
        assert out["to_address"].to_list() == ["bc1Thief", "1Change"], (name, reading.bad)
        assert out["inputs"].to_list() == [["1Hot", "1Other"]] * 2
        assert out["input_values"].to_list() == [["60", "40"]] * 2
        assert out["n_outputs"].to_list() == [3, 3]
        assert out["from_address"].to_list() == [None, None]
        assert out.select("version", "flags", "script_type").rows() == [(1, 12, "p2pkh")] * 2
        assert reading.frame.filter(transaction_hash="0x02")["n_outputs"].to_list() == [None]
        assert (reading.bad_rows, reading.transfers) == (0, 3)


def test_packed_files_are_known_by_content(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """gzip and zstd are read off the first bytes, whatever the name; so are CSV, JSON lines and Parquet."""
    rows = [native_row(value=str(v)) for v in (3, BIG)]
    for name in ("a.csv", "a.ndjson", "a.json", "a.parquet"):
        plain = write(tmp_path / name, rows)
        (tmp_path / "hidden-kind").write_bytes(gzip.compress(plain.read_bytes()))
        assert read_alice(tmp_path / "hidden-kind").frame["value"].to_list() == ["3", str(BIG)], name


def test_zstd_text(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """zstd text files are read."""
    if shutil.which("zstd") is None:
        pytest.skip("no zstd command to write a file with")
    for name in ("a.csv", "a.ndjson", "a.json"):
        plain = write(tmp_path / name, [native_row(value=str(v)) for v in (3, BIG)])
        subprocess.run(["zstd", "-q", str(plain), "-o", str(tmp_path / f"{name}.zst")], check=True)
        assert read_alice(tmp_path / f"{name}.zst").frame["value"].to_list() == ["3", str(BIG)], name


def test_a_csv_may_be_quoted_and_use_other_separators(tmp_path: Path, read_alice: Any) -> None:
    """Quoted fields, CRLF, a byte order mark, blank lines, tabs and semicolons are all CSV."""
    header = "transaction_hash,block_timestamp,from_address,to_address,asset,value,memo"
    row = f'"0x1",100,"{ALICE}","{BOB}",native,"12","a, ""quoted"" memo"'
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeff{header}\r\n\r\n{row}\r\n", newline="")
    assert read_alice(path).frame["value"].to_list() == ["12"]
    for mark in "\t;":
        path.write_text("\n".join([header, f"0x1,100,{ALICE},{BOB},native,12,m"]).replace(",", mark))
        assert read_alice(path).frame["value"].to_list() == ["12"]


def test_renamed_columns(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A mapping NEW to OLD makes a file with other names the native table; a wrong OLD is an error with a hint."""
    row = native_row()
    row["amount_wei"] = row.pop("value")
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        path = write(tmp_path / name, [row])
        assert read_alice(path, rename={"value": "amount_wei"}).frame["value"].to_list() == ["5"]
        with pytest.raises(ConfigError, match=r"no file has a column 'amount_weii': did you mean 'amount_wei'"):
            read_alice(path, rename={"value": "amount_weii"})


def test_names_in_upper_case(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Warehouses that write every column in upper case are understood, with ``--map`` too."""
    row = {name.upper(): value for name, value in native_row(value="7").items()}
    assert read_alice(write(tmp_path / "a.csv", [row])).frame["value"].to_list() == ["7"]
    row["AMOUNT_WEI"] = row.pop("VALUE")
    again = read_alice(write(tmp_path / "b.csv", [row]), rename={"value": "AMOUNT_WEI"})
    assert again.frame["value"].to_list() == ["7"]


address = st.sampled_from([ALICE, BOB, CAROL])
rows_of_any_order = st.lists(
    st.fixed_dictionaries(
        {
            "block_number": st.integers(0, 5),
            "block_timestamp": st.integers(0, 2**32),
            "transaction_hash": st.integers(0, 3).map(lambda n: f"0x{n:02x}"),
            "transaction_index": st.integers(0, 2),
            "transfer_index": st.integers(0, 2),
            "from_address": address,
            "to_address": address,
            "asset": st.sampled_from(["native", TOKEN]),
            "value": st.integers(0, BIG).map(str),
            "nonce": st.one_of(st.none(), st.integers(0, 2**40)),
            "fee_rate": st.one_of(st.none(), st.floats(0, 1e12)),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_any_order)
def test_every_form_gives_the_same_frame(tmp_path: Path, read_alice: Any, write: Any, rows: list[Any]) -> None:
    """CSV, JSON lines, a JSON array and Parquet of the same rows read the same, and agree with plain Python."""
    readings = [read_alice(write(tmp_path / f"a.{form}", rows)) for form in ("csv", "ndjson", "json", "parquet")]
    for reading in readings[1:]:
        assert reading.frame.equals(readings[0].frame)
        assert (reading.rows, reading.transfers) == (len(rows), readings[0].transfers)
        assert (reading.first, reading.last) == (readings[0].first, readings[0].last)
    moving = [row for row in rows if row["value"] != "0"]
    assert readings[0].transfers == len(moving)
    touches = [row for row in rows if ALICE in (row["from_address"], row["to_address"])]
    touching = {tuple(map(repr, row.values())): row for row in touches}
    ordered = sorted(
        touching.values(), key=lambda row: (row["block_number"], row["transaction_index"], row["transfer_index"])
    )
    assert readings[0].frame["value"].to_list() == [row["value"] for row in ordered]
    assert readings[0].frame["amount"].to_list() == [float(int(row["value"])) for row in ordered]
    assert readings[0].frame["nonce"].to_list() == [row["nonce"] for row in ordered]


def test_nem_mosaics_are_named_as_the_watcher_names_them(tmp_path: Path, native_row: Any, write: Any) -> None:
    """``namespace:name`` in a table is the same CAIP-19 asset that a live NEM block gives."""
    from chains.nem.mosaic import mosaic_asset
    from chains.tables import ChainInfo, Source, read

    hot, other = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ", "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
    row = native_row(chain="nem", from_address=hot, to_address=other, asset="salaryman-toushi:test_1", tx_from=hot)
    info = ChainInfo("nem:mainnet", "nem", "nem:mainnet/slip44:43")
    path = write(tmp_path / "n.ndjson", [row])
    reading = read([Source(str(path))], chains={"nem": info}, watch={"nem:mainnet": frozenset({hot})})
    assert reading.frame["asset"].to_list() == [mosaic_asset("nem:mainnet", "salaryman-toushi", "test_1")]


@pytest.mark.parametrize("numbers, kept", [([1, 1], ["5", "6"]), ([1, 8453], ["5"]), ([1, None], ["5", "6"])])
def test_a_chain_column_of_numbers(
    numbers: list[int | None], kept: list[str], tmp_path: Path, read_alice: Any, native_row: Any
) -> None:
    """EVM chain ids as numbers of a Parquet file: other chains are not configured, none is the only one that is."""
    rows = [native_row(value=str(n), block_number=n) for n in (5, 6)]
    pl.DataFrame(rows).with_columns(chain=pl.Series(numbers)).write_parquet(tmp_path / "a.parquet")
    reading = read_alice(tmp_path / "a.parquet")
    assert (reading.rows, reading.bad_rows, reading.frame["value"].to_list()) == (2, 0, kept)
