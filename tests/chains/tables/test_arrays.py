"""JSON arrays as lines: every entry once, wherever blocks end, and what is broken costs itself alone."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.tables import Reading, json_rows
from chains.tables.arrays import entries
from chains.tables.documents import streams
from chains.tables.documents.streams import Cut

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['"', "\\", '\\"', "[{", "}]", ",", "\n,"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
STYLES: tuple[Callable[[list[Any]], str], ...] = (
    json.dumps,
    lambda found: json.dumps(found, indent=2),
    lambda found: json.dumps(found, separators=(",", ":"), ensure_ascii=False),
    lambda found: "[\r\n" + ",\r\n".join(map(json.dumps, found)) + "\r\n]\r\n",
    lambda found: "\n".join(json.dumps(each, indent=1) for each in found),  # no array: one after another
    lambda found: "\n".join(json.dumps([each]) for each in found),
)


def lines_of(content: bytes, path: Path, size: int = 1 << 20) -> list[str]:
    """The entries of a file; why it was cut comes last."""
    path.write_bytes(content)
    found: list[str] = []
    try:
        for series in entries(str(path), size=size):
            found += series.to_list()
    except Cut as cut:
        found.append(str(cut))
    return found


@settings(max_examples=150, deadline=None)
@given(
    objects=st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=6),
    style=st.sampled_from(STYLES), piece=st.integers(1, 50), bom=st.booleans(),
)  # fmt: skip
def test_every_entry_comes_once(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], style: Callable[..., str], piece: int, bom: bool
) -> None:
    path = tmp_path_factory.mktemp("array") / "file"
    content = b"\xef\xbb\xbf" * (bom and piece > 2) + style(objects).encode()
    assert [json.loads(line) for line in lines_of(content, path, piece)] == objects


@pytest.mark.parametrize(("content", "found"), [
    (b"[]", []),
    (b'[null, {"a":1}, 7, "x,y", [1,2]]', ["null", '{"a":1}', "7", '"x,y"', "[1,2]"]),
    (b'[{"a":1},\n{"a":"x\n},\n{"a":3}]', ['{"a":1}', '{"a":"x', "}", '{"a":3}']),
    (b'[{"a":1}, {"a":2 {"a":3}, {"a":4}]', ['{"a":1}', '{"a":2', '{"a":3}', '{"a":4}']),
    (b'[{"a":1} {"a":2}]', ['{"a":1}', '{"a":2}']),
    (b'[{"a":1}}, {"a":2}]', ['{"a":1}}', '{"a":2}']),
    (b'[{"a":1}, {"a":', ['{"a":1}', "the file ends inside of an entry"]),
    (b'[{"a":1},', ['{"a":1}', "the file ends inside of its array"]),
    (b'{"a":1}\n{"a":"', ['{"a":1}', "the file ends inside of an entry"]),
    (b'[{"a":1}] "t', ['{"a":1}', "the file ends inside of an entry"]),
    (b'[{"a":1}] tail', ['{"a":1}', "tail"]),
    (b'[{"a":"\xff"}]', ['{"a":"\ufffd"}']),
])  # fmt: skip
def test_what_is_broken_ends_where_that_shows(tmp_path: Path, content: bytes, found: list[str]) -> None:
    assert [line.strip() for line in lines_of(content, tmp_path / "file")] == found


def test_a_packing_that_breaks_off(tmp_path: Path, read_alice: Any, native_row: Any) -> None:
    """What was there before is read; where it broke is told."""
    rng = random.Random(3)
    rows = [native_row(transfer_index=n, transaction_hash=f"0x{rng.getrandbits(256):064x}") for n in range(3000)]
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(rows).encode())[:-20_000])
    reading: Reading = read_alice(path)
    assert (reading.bad_rows, reading.rows) == (1, reading.frame.height + 1)
    assert 1000 < reading.frame.height < 3000
    assert "cut off or corrupt" in reading.bad[0].reason and reading.bad[0].row == reading.rows


def test_rows_are_numbered_by_their_place(
    tmp_path: Path, read_alice: Any, native_row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all batches, whatever else the array holds."""
    monkeypatch.setattr(streams, "_READ", 64)
    monkeypatch.setattr(json_rows, "entries", lambda path, tick=None, size=0: entries(path, tick, 2000))
    rows: list[Any] = [native_row(transfer_index=n) for n in range(100)]
    rows[0], rows[40], rows[90] = None, "x", {**rows[90], "value": "1.5.2"}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=1))
    reading: Reading = read_alice(path)
    assert [bad.row for bad in reading.bad] == [1, 41, 91]
    assert (reading.rows, reading.frame.height) == (100, 97)
