"""The labels of a configuration, the built-in pack, and the real lists where they are to be had."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from monitor.config import Config, config_from_mapping
from monitor.errors import ConfigError
from monitor.ids import from_iso
from monitor.labels import Label, LabelBook, LabelKind
from monitor.labels.book import label_frame
from monitor.labels.gathered import BadRow
from monitor.labels.imported import write_imported
from monitor.labels.load import PACK, import_path, load_book
from monitor.labels.place import Places
from monitor.labels.read import expand, read_labels

ETH = "eip155:1"
HOT = "0x28c6c06298d514db089934071355e5743bf21d60"
TORNADO = "0x910cbd523d972eb0a6f4cae4618ad62622b39dbf"
MINE = "0x" + "ab" * 20
DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[3] / "shared" / "data") / "labels"


def config(folder: Path, *labels: str) -> Config:
    """A configuration in a folder."""
    wallet = {"id": "hot", "role": "hot", "addresses": [f"ethereum:{HOT}"]}
    return config_from_mapping({"wallets": [wallet], "labels": list(labels)}, folder, "test")


def test_pack_is_right() -> None:
    """Every built-in label has a good address, a kind, a source and a date; there is nothing else in the file."""
    gathered = read_labels([PACK], Places(), undated=0)
    frame = gathered.frame()
    assert gathered.bad == [] and not gathered.foreign and 40 <= frame.height <= 150
    assert frame["known_since"].min() >= from_iso("2018-01-01") and (frame["source"].str.len_chars() > 8).all()
    assert frame.unique(["chain", "address", "kind"]).height == frame.height
    assert {"exchange", "mixer", "bridge", "theft", "sanctioned"} <= {str(LabelKind(k)) for k in frame["kind"]}
    assert {"eip155:1", "nem:mainnet"} < set(frame["chain"])


def test_history_sees_no_designation_early(tmp_path: Path) -> None:
    """A pool is unknown before its designation, sanctioned from the end of that day on."""
    book = load_book(config(tmp_path))
    assert book.kind_at(ETH, TORNADO, from_iso("2022-08-08")) is None
    assert book.kind_at(ETH, TORNADO, from_iso("2022-08-08T23:59:59")) is None
    assert book.kind_at(ETH, TORNADO, from_iso("2022-08-09")) is LabelKind.SANCTIONED
    assert [x.kind for x in book.at(ETH, TORNADO, from_iso("2023-01-01"))] == [LabelKind.SANCTIONED, LabelKind.MIXER]


def test_configured_files(tmp_path: Path) -> None:
    """Files and patterns of any layout join the pack; bad rows are handed over, bad files are errors with places."""
    (tmp_path / "labels").mkdir()
    rows = f"{MINE},x,theft,2020-01-01\n0x1,y,scam,\n"
    tags = f"lastmod: 2021-01-01\ntags:\n- {{address: '{MINE}', label: y, currency: ETH}}\n"
    (tmp_path / "labels" / "a.csv").write_text(f"address,label,kind,known_since\n{rows}")
    (tmp_path / "labels" / "b.yaml").write_text(tags)
    bad: list[BadRow] = []
    book = load_book(config(tmp_path, "labels/*.csv", "labels/b.yaml"), bad=bad)
    assert [x.name for x in book.at(ETH, MINE, from_iso("2022-01-01"))] == ["x", "y"]
    assert book.kind_at(ETH, HOT, from_iso("2023-01-01")) is LabelKind.EXCHANGE
    assert [(Path(row.path).name, row.line) for row in bad] == [("a.csv", 3)]
    (tmp_path / "labels" / "b.yaml").write_text("tags:\n- {\n")
    (tmp_path / "labels" / "c.csv").write_text("nothing\n")
    with pytest.raises(ConfigError) as error:
        load_book(config(tmp_path, "labels/*.csv", "labels/b.yaml"))
    assert sorted(Path(p.where).name for p in error.value.problems) == ["b.yaml:3", "c.csv"]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ([], "labels/imported.parquet"),
        (["lists/*.yaml"], "lists/imported.parquet"),
        (["lists/*/x.yaml"], "lists/imported.parquet"),
        (["lists/*.yaml", "own/mine.parquet"], "own/mine.parquet"),
        (["a.csv"], "imported.parquet"),
    ],
)
def test_import_path(tmp_path: Path, written: list[str], path: str) -> None:
    """The Parquet file that `labels:` names, else one in its first folder, else in `labels/`."""
    for name in ("own/mine.parquet", "a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert import_path(config(tmp_path, *written)) == tmp_path / path


def test_imported_labels_are_read_once(tmp_path: Path) -> None:
    """The imported file counts whether `labels:` names it or not, and once."""
    label = Label(ETH, MINE, "x", LabelKind.SCAM, "s", 1000)
    write_imported(tmp_path / "labels" / "imported.parquet", label_frame([label]))
    ways = ([], ["labels/*.parquet"], ["labels/imported.parquet"])
    sizes = {len(load_book(config(tmp_path, *names))) for names in ways}
    assert sizes == {len(LabelBook(read_labels([PACK], Places()).frame())) + 1}
    assert load_book(config(tmp_path)).at(ETH, MINE, 1000) == (label,)


@pytest.mark.skipif(not DATA.is_dir(), reason="no real label lists: set HEISTWATCH_DATA")
def test_real_lists() -> None:
    """All the real lists are read; what is wrong in them is known, and their kinds are."""
    files, skipped = expand([str(DATA)])
    gathered = read_labels(files, Places(), undated=from_iso("2026-01-01"))
    assert len(files) == 63 and len(skipped) == 4
    assert {file.layout for file in gathered.files} == {"CSV", "TagPack", "JSON", "JSON list", "list"}
    assert gathered.labels == 35_942 and gathered.bad_rows < 15 and gathered.foreign["TRX"] >= 40
    kinds = Counter(str(LabelKind(kind)) for kind in gathered.frame()["kind"])
    assert kinds["sanctioned"] > 1000 and kinds["scam"] > 20_000 and kinds["theft"] > 1000 and kinds["exchange"] > 1000
    book = LabelBook(gathered.frame())
    ronin = "0x098b716b8aaf21512996dc57eb0615e2383e2f96"
    assert book.kind_at(ETH, ronin, from_iso("2022-04-17")) is LabelKind.SANCTIONED
    assert book.kind_at(ETH, ronin, from_iso("2021-01-01")) is None
    poloniex = "NBZMQO7ZPBYNBDUR7F75MAKA2S3DHDCIFG775N3D"
    assert book.kind_at("nem:mainnet", poloniex, from_iso("2026-01-02")) is LabelKind.EXCHANGE
