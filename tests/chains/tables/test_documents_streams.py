"""Values out of streams of JSON, and what damaged documents of any kind cost: rows, never the reading."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.recorded.bitcoin_blocks import Draft as CoinDraft
from chains.recorded.bitcoin_blocks import Move as CoinMove
from chains.recorded.bitcoin_blocks import Recording
from chains.recorded.evm_blocks import Draft, Move, construct
from chains.recorded.nem_blocks import construct as construct_nem
from chains.tables import ChainInfo, Source, read
from chains.tables.documents import pieces, streams
from chains.tables.documents.document import sight_of
from chains.tables.documents.streams import Cut, values_of
from chains.tables.table import gather, open_tables
from monitor.errors import ConfigError
from monitor.networks import by_name

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
NAMES = ("ethereum", "bitcoin-regtest", "nem")


def values(path: Path) -> list[bytes | str]:
    """The values of a file; why it was cut comes last."""
    found: list[bytes | str] = []
    try:
        found.extend(values_of(str(path)))
    except Cut as cut:
        found.append(str(cut))
    return found


@settings(max_examples=60, deadline=None)
@given(objects=st.lists(OBJECTS, min_size=1, max_size=5), piece=st.integers(1, 40), style=st.integers(0, 3))
def test_values_come_whole_however_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], piece: int, style: int
) -> None:
    path = tmp_path_factory.mktemp("values") / "file"
    texts = [json.dumps(one, ensure_ascii=bool(style % 2)) for one in objects]
    text = json.dumps(objects, indent=1) if style == 0 else f"[{','.join(texts)}]" if style == 1 else "\n".join(texts)
    path.write_text(text + "\n" * (style == 3))
    before = streams._READ
    streams._READ = piece
    try:
        found = values(path)
    finally:
        streams._READ = before
    assert [json.loads(value) for value in found] == objects


@pytest.mark.parametrize(("text", "found"), [
    (b'{"a":1}\n{"b": "x\n{"c":3}\n{"d":4\n{"e":5}\n', [b'{"a":1}', b'{"b": "x', b'{"c":3}', b'{"d":4', b'{"e":5}']),
    (b'{"a":1\n{"b":2}', [b'{"a":1\n', b'{"b":2}']),
    (b'[{"a":1}, {"b":', [b'{"a":1}', "the file ends inside of a document"]),
    (b'[{"a":1},', [b'{"a":1}', "the file ends inside of its array"]),
    (b'\xef\xbb\xbf[\n{"a":"]"}]', [b'{"a":"]"}']),
    (b'[["x"],[1]]', [b'[["x"],[1]]']),
    (b'"a\\"b"', [b'"a\\"b"']),
    (b"", []),
])  # fmt: skip
def test_broken_values_end_where_that_shows(tmp_path: Path, text: bytes, found: list[bytes | str]) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    assert values(path) == found


def test_a_document_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LARGEST", 1000)
    monkeypatch.setattr(streams, "_READ", 600)
    path = tmp_path / "file"
    path.write_text('{"a":1}\n' + '{"b":"' + "x" * 5000)
    assert values(path)[0] == b'{"a":1}'
    assert "a document has more than" in str(values(path)[1])


@pytest.fixture(scope="module")
def documents() -> dict[str, bytes]:
    """A file of documents of each kind."""
    a, b = ("0x" + c * 40 for c in "ab")
    evm = construct(1, [Draft(1_600_000_000 + n, (Move(a, b, 5), Move(b, a, 9, b))) for n in range(3)])
    script = b"\0\x14" + bytes(20)
    coins = Recording(
        _network("bitcoin-regtest"),
        [CoinDraft(1_600_000_000 + n, (CoinMove(((script, 5000),), ((script, 4000),)),)) for n in range(3)],
    )
    nem = construct_nem([(1_500_000_000 + 70 * n, "ab" * 32, "N" + "A" * 39, 5) for n in range(3)])
    return {
        "ethereum": "\n".join(json.dumps({"block": e.block, "receipts": e.receipts}) for e in evm).encode(),
        "bitcoin-regtest": b"".join(b"\xfa\xbf\xb5\xda" + len(c.data).to_bytes(4, "little") + c.data
                                    for c in coins.blocks),
        "nem": json.dumps(list(nem.blocks), indent=1).encode(),
    }  # fmt: skip


def _network(name: str) -> Any:
    found = by_name(name)
    assert found is not None
    return found


def _infos() -> dict[str, ChainInfo]:
    return {n: ChainInfo(_network(n).chain, _network(n).kind, _network(n).asset, 60) for n in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_damage_never_ends_a_reading(name: str, documents: dict[str, bytes], tmp_path: Path) -> None:
    dice = random.Random(name)
    good = documents[name]
    for n in range(40):
        data = bytearray(good)
        for _ in range(dice.choice((1, 1, 3, 30))):
            data[dice.randrange(len(data))] = dice.choice(b'\0\xff{}[]",:0') if n % 2 else dice.randrange(256)
        content = bytes(data) if n % 3 else bytes(data[: dice.randrange(200, len(data))])
        path = tmp_path / str(n)
        path.write_bytes(gzip.compress(content)[: -dice.randrange(12)] if n % 5 == 0 and n else content)
        try:
            reading = read([Source(str(path))], chains=_infos(), watch={})
        except ConfigError as error:  # so damaged that nobody can tell what it was
            assert str(path) in str(error)
        else:
            assert reading.bad_rows <= reading.rows + 60
            assert all(bad.reason and bad.row >= 1 for bad in reading.bad)


def test_tables_of_documents_go_to_other_processes(documents: dict[str, bytes], tmp_path: Path) -> None:
    make: Callable[[str], ChainInfo] = _infos().__getitem__
    for name, content in documents.items():
        path = tmp_path / name
        path.write_bytes(content)
        tables = gather([(table, make(name)) for table in open_tables(str(path), {})])
        for table in pickle.loads(pickle.dumps(tables)):
            twin = next(one for one in tables if one.layout.name == table.layout.name)
            wanted = frozenset(table.dtypes)
            here, there = (next(one.chunks(wanted)).frame for one in (twin, table))
            assert here.equals(there)
            assert table.form == "document"


def test_rows_of_a_table_are_not_gone_through_for_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file is, its beginning says: a history of millions of rows is read once."""
    path, taken = tmp_path / "rows.ndjson", []
    path.write_text("".join(f'{{"block_number": {n}, "value": "7"}}\n' for n in range(20_000)))

    def counting(*args: Any) -> Any:
        for value in values_of(*args):
            taken.append(value)
            yield value

    monkeypatch.setattr(pieces, "values_of", counting)
    assert sight_of(str(path)) is None
    assert 1 < len(taken) <= 1000


def test_documents_are_seen_behind_answers_without_any(documents: dict[str, bytes], tmp_path: Path) -> None:
    """A node that did not have the first blocks of a range yet."""
    path = tmp_path / "blocks"
    path.write_bytes(b'{"jsonrpc": "2.0", "id": 1, "result": null}\n' * 600 + documents["ethereum"])
    sight = sight_of(str(path))
    assert sight is not None and sight.family == "evm"
