"""Reading labels: every layout, the date of each label, wrong rows with their places, and files nobody can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from monitor.errors import ConfigError
from monitor.ids import from_iso
from monitor.labels import Label, LabelBook, LabelKind
from monitor.labels.book import label_frame
from monitor.labels.gathered import Gathered
from monitor.labels.imported import is_imported, merge, read_imported, write_imported
from monitor.labels.place import Foreign, Places
from monitor.labels.read import expand, read_labels
from monitor.networks import by_name

HOT = "0x28c6c06298d514db089934071355e5743bf21d60"
CHECKED = "0x28C6c06298d514Db089934071355E5743bf21d60"
BTC = "34xp4vRoCGJym3xR7yCVPFHoCNxv4Twseo"
NEM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
BITCOIN, NEM_MAIN = "bip122:000000000019d6689c085ae165831e93", "nem:mainnet"
NOW = from_iso("2026-01-01")
TRON = "TRYL7PKCG4b4xRCM554Q5J6o8f1UjUmfnY"


def read(path: Path, text: str, **more: object) -> Gathered:
    """Write and read one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return read_labels([path], Places(), **{"undated": NOW, **more})  # type: ignore[arg-type]


def labels(gathered: Gathered) -> list[Label]:
    """The labels read, in their order."""
    return [
        Label(row["chain"], row["address"], row["name"], LabelKind(row["kind"]), row["source"], row["known_since"])
        for row in gathered.frame().iter_rows(named=True)
    ]


def refused(path: Path, text: str) -> str:
    """The only problem of a file that cannot be read."""
    with pytest.raises(ConfigError) as error:
        read(path, text)
    assert len(error.value.problems) == 1
    return str(error.value.problems[0])


TAGPACK = f"""title: Example
creator: Somebody
lastmod: 2022-11-16
category: exchange
currency: ETH
source: https://example.org/a
tags:
- address: '{CHECKED} '
  label: Hot 14
- address: {BTC}
  currency: BTC
  label: Cold
  lastmod: 2023-08-16 12:18:52.619444
- address: '{HOT}'
  label: Thief
  abuse: service_hack
- address: {TRON}
  currency: TRX
- address: '0x28C6c06298d514Db089934071355E5743bf21d61'
- label: no address
"""


def test_tagpack(tmp_path: Path) -> None:
    """Header values hold for tags that do not say otherwise; a day counts from its end; wrong rows have their line."""
    gathered = read(tmp_path / "a.yaml", TAGPACK)
    assert labels(gathered) == [
        Label("eip155:1", HOT, "Hot 14", LabelKind.EXCHANGE, "https://example.org/a", from_iso("2022-11-17")),
        Label(BITCOIN, BTC, "Cold", LabelKind.EXCHANGE, "https://example.org/a", from_iso("2023-08-16T12:18:52")),
        Label("eip155:1", HOT, "Thief", LabelKind.THEFT, "https://example.org/a", from_iso("2022-11-17")),
    ]
    assert [bad.line for bad in gathered.bad] == [19, 20] and gathered.bad_rows == 2
    assert "checksum" in gathered.bad[0].reason and "missing" in gathered.bad[1].reason
    assert dict(gathered.foreign) == {"TRX": 1}


def test_tagpack_without_date_counts_from_import(tmp_path: Path) -> None:
    """Where the source has no date the label is known since the import."""
    gathered = read(tmp_path / "a.yaml", f"title: x\ntags:\n- {{address: '{HOT}', label: Upbit Hacker 10.1}}\n")
    assert labels(gathered) == [Label(None, HOT, "Upbit Hacker 10.1", LabelKind.THEFT, "x", NOW)]


def test_own_pack(tmp_path: Path) -> None:
    """Groups share their keys, labels may be mere addresses, and known_since is taken as written."""
    text = f"""heistwatch_labels: 1
source: desk
groups:
  - kind: exchange
    name: Binance
    known_since: 2022-11-17
    labels:
      - "ethereum:{CHECKED}"
      - {{address: "{NEM}", name: Hot, known_since: 2023-01-01T10:00:00Z}}
      - {{address: "{BTC}", kind: exchnge}}
      - {{address: "{BTC}", knid: exchange}}
"""
    gathered = read(tmp_path / "a.yaml", text)
    assert labels(gathered) == [
        Label("eip155:1", HOT, "Binance", LabelKind.EXCHANGE, "desk", from_iso("2022-11-17")),
        Label(NEM_MAIN, NEM, "Hot", LabelKind.EXCHANGE, "desk", from_iso("2023-01-01T10:00")),
    ]
    assert [(bad.line, "did you mean" in bad.reason) for bad in gathered.bad] == [(10, True), (11, True)]


def test_plain_csv(tmp_path: Path) -> None:
    """address[,chain],label,kind[,source][,known_since]: each row on its own, quoted line breaks keep their lines."""
    text = f"""address,chain,label,kind,source,known_since
{HOT},ethereum,"Hot
wallet",exchange,desk,2024-01-01
{HOT},,Anywhere,mixer,,
{BTC},bitcoin,Cold,exchnge,,
{BTC},bitcoin,Cold,exchange,,20240101
{BTC},bitcoinn,Cold,exchange,,
{BTC},bitcoin,Cold, wallet,exchange,desk,2024-01-01
{HOT},56,Numbered,bridge,,1704067200
"""
    gathered = read(tmp_path / "mine.csv", text)
    assert labels(gathered) == [
        Label("eip155:1", HOT, "Hot wallet", LabelKind.EXCHANGE, "desk", from_iso("2024-01-01")),
        Label(None, HOT, "Anywhere", LabelKind.MIXER, "mine", NOW),
        Label("eip155:56", HOT, "Numbered", LabelKind.BRIDGE, "mine", 1704067200),
    ]
    assert [bad.line for bad in gathered.bad] == [5, 6, 7, 8]
    for bad, word in zip(gathered.bad, ("exchange", "2009", "did you mean 'bitcoin'", "cells"), strict=True):
        assert word in bad.reason
    assert str(gathered.bad[0]).startswith(f"{tmp_path / 'mine.csv'}:5: ")


def test_flagged_csv_with_creators(tmp_path: Path) -> None:
    """Contract and flagged creator are labelled; the folder names the chain; kinds come from the source's words."""
    creator = "contract_creator,contract_creator_tag,source,contract_creator_etherscan_label"
    header = f"contract_address,contract_tag,{creator}"
    thief, other = "0x" + "12" * 20, "0x" + "34" * 20
    text = f"{header}\n{HOT},X Exploiter 10,{thief},,tags table,exploit\n{other},Y,{thief[:-1]}3,,tags table,\n"
    gathered = read(tmp_path / "10" / "malicious.csv", text)
    assert [(x.chain, x.address, x.name, x.kind) for x in labels(gathered)] == [
        ("eip155:10", HOT, "X Exploiter 10", LabelKind.THEFT),
        ("eip155:10", thief, "creator of X Exploiter 10", LabelKind.THEFT),
        ("eip155:10", other, "Y", LabelKind.SCAM),
    ]
    assert labels(read(tmp_path / "2022" / "malicious.csv", text))[0].chain is None  # a year is no chain


def test_lists_of_sanctioned_addresses(tmp_path: Path) -> None:
    """Their name says what they are and of which coin; without a kind they are refused, not guessed."""
    for name, text in (("sanctioned_addresses_XBT.txt", f"# list\n{BTC}\n{HOT}\n"),
                       ("sanctioned_addresses_XBT.json", json.dumps([BTC, HOT], indent=1))):  # fmt: skip
        gathered = read(tmp_path / name, text)
        assert labels(gathered) == [
            Label(BITCOIN, BTC, "sanctioned_addresses_XBT", LabelKind.SANCTIONED, "sanctioned_addresses_XBT", NOW)
        ]
        assert [bad.line for bad in gathered.bad] == [3]
    usdt = labels(read(tmp_path / "sanctioned_addresses_USDT.txt", f"{HOT}\n{TRON}\n"))
    assert [(x.chain, x.address) for x in usdt] == [(None, HOT)]
    assert read(tmp_path / "sanctioned_addresses_XMR.txt", "4" * 95 + "\n").foreign == {"XMR": 1}
    assert "--kind" in refused(tmp_path / "friends.txt", f"{HOT}\n")
    assert labels(read(tmp_path / "friends.txt", f"{HOT}\n", kind=LabelKind.CUSTODIAN))[0].kind is LabelKind.CUSTODIAN


def test_json_objects(tmp_path: Path) -> None:
    """Objects in a list or one a line; the file's name is the last to say the kind; bad ones have their line."""
    items = [{"address": NEM, "remark": "Hot"}, {"address": NEM[:-1], "remark": "x"}, {"remark": "y"}]
    for text in (json.dumps(items).replace(", {", ",\n{"), "\n".join(map(json.dumps, items))):
        gathered = read(tmp_path / "exchange_remarks.json", text)
        assert labels(gathered) == [Label(NEM_MAIN, NEM, "Hot", LabelKind.EXCHANGE, "exchange_remarks", NOW)]
        assert [bad.line for bad in gathered.bad] == [2, 3]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "tags:\n- address: [\n", "a.yaml:3: not valid YAML"),
        ("a.yaml", "tags: 1\n", "a.yaml:1: tags expects a list"),
        ("a.yaml", "heistwatch_labels: 2\nlabels: []\n", "this version reads 1"),
        ("a.yaml", "heistwatch_labels: 1\nknid: x\nlabels: []\n", "a.yaml:2: unknown key 'knid': did you mean 'kind'?"),
        ("a.yaml", "wallets: []\n", "layout not known: expected a TagPack"),
        ("a.csv", "address,balance\n0x1,2\n", "layout not known"),
        ("a.csv", "hello\n", "layout not known"),
        ("a.json", '[{"address": "x"},\n', "a.json:2: not JSON"),
        ("a.json", "[1, 2]", "expected a list of addresses"),
        ("a.json", '{"a": 1', "a.json:1: not JSON"),
        ("a.csv", "address,label,kind\n0x1,a,mixer\n", "a.csv:2: no row can be read"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, said: str) -> None:
    """One problem a file, with file and line, and what was expected."""
    assert said in refused(tmp_path / name, text)


def test_all_unreadable_files_are_named(tmp_path: Path) -> None:
    """Every bad file is a problem of its own; binary content is one too."""
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError) as error:
        read_labels([tmp_path / "a.csv", tmp_path / "b.parquet", tmp_path / "c.csv"], Places(), undated=NOW)
    assert [Path(p.where).name for p in error.value.problems] == ["a.csv", "b.parquet", "c.csv"]


def test_a_private_key_is_never_shown(tmp_path: Path) -> None:
    """A row that holds a secret is bad, and its text is nowhere in what is said."""
    secret = "4c08" * 16
    gathered = read(tmp_path / "a.csv", f"address,label,kind\n{secret},a,mixer\n{HOT},b,mixer\n")
    assert gathered.bad_rows == 1 and secret not in str(gathered.bad) and "private key" in gathered.bad[0].reason


def test_hostile_names(tmp_path: Path) -> None:
    """Control, bidirectional and invisible characters of names are gone, and length is bounded."""
    name = "a\u202eb\x1b[2Jc\u200b" + "d" * 500
    gathered = read(tmp_path / "a.json", json.dumps([{"address": HOT, "label": name, "kind": "mixer"}]))
    shown = labels(gathered)[0].name
    assert shown.startswith("a b [2Jc d") and len(shown) == 200 and shown.isprintable()


def test_undated_files_read_in_place_count_from_their_change(tmp_path: Path) -> None:
    """Not the clock but the file's last change stands in, so that live and history agree."""
    path = tmp_path / "a.csv"
    read(path, f"address,label,kind\n{HOT},b,mixer\n")
    os.utime(path, (5, 1_600_000_000))
    assert labels(read_labels([path], Places()))[0].known_since == 1_600_000_000


def test_places() -> None:
    """Prefix, chain and coin say where; they must agree; an own chain of the configuration is known."""
    places = Places([("dev", by_name("sepolia"))])  # type: ignore[list-item]
    assert places.settle(f"dev:{CHECKED}") == ("eip155:11155111", HOT)
    assert places.settle(f"eip155:137:{HOT}") == ("eip155:137", HOT)
    assert places.settle(HOT, coin="MATIC") == ("eip155:137", HOT)
    cash = places.settle("bitcoincash:qptsxhxxuyww0a3s3gy2ee9cwdgjhz7pqyw9d2dwsl")
    assert cash[0] == "bip122:000000000000000000651ef99cb9fcbe" and cash[1].startswith("bitcoincash:")
    with pytest.raises(ValueError, match="the address says"):
        places.settle(f"dev:{HOT}", chain="ethereum")
    with pytest.raises(Foreign):
        places.settle("rnXyVQzgxZe7TR1EPzTkGj2jxH4LMJYh66", coin="XRP")


def test_expand(tmp_path: Path) -> None:
    """Folders give their data files, documents are left out and named, and what is not there is a problem each."""
    for name in ("b.csv", "a.yaml", "README.txt", "LICENSE", "sub/c.json", ".hidden.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files, skipped = expand([str(tmp_path), str(tmp_path / "*.csv")])
    assert [path.name for path in files] == ["a.yaml", "b.csv", "c.json"]
    assert sorted(Path(name).name for name in skipped) == ["LICENSE", "README.txt"]
    with pytest.raises(ConfigError) as error:
        expand([str(tmp_path / "no.csv"), str(tmp_path / "*.tsv")])
    assert len(error.value.problems) == 2


def test_imported_file(tmp_path: Path) -> None:
    """What is written is read again as it was; merging twice changes nothing and keeps the earliest date."""
    a = Label(None, HOT, "Hot", LabelKind.EXCHANGE, "x", 100)
    b = Label(BITCOIN, BTC, "Cold", LabelKind.THEFT, "x", 200)
    later = Label(None, HOT, "Hot", LabelKind.EXCHANGE, "x", 900)
    earlier = Label(BITCOIN, BTC, "Cold", LabelKind.THEFT, "x", 150)
    first, added, moved = merge(label_frame([]), label_frame([a, b, a]))
    assert (first.height, added, moved) == (2, 2, 0)
    path = tmp_path / "labels" / "imported.parquet"
    write_imported(path, first)
    assert is_imported(path) and read_imported(path).equals(first)
    assert sorted(pl.read_parquet(path)["kind"]) == ["exchange", "theft"]
    assert merge(first, label_frame([later, b]))[1:] == (0, 0)
    moved_frame, added, moved = merge(first, label_frame([later, earlier]))
    assert (added, moved) == (0, 1)
    book = LabelBook(moved_frame)
    assert book.at("eip155:1", HOT, 100) == (a,) and book.at(BITCOIN, BTC, 150) == (earlier,)
    assert list(path.parent.iterdir()) == [path]


def test_other_parquet(tmp_path: Path) -> None:
    """A table of anybody's is read row by row as CSV is; only our own file is taken as it is."""
    path = tmp_path / "x.parquet"
    pl.DataFrame({"address": [CHECKED, "0x1"], "label": ["a", "b"], "kind": ["mixer", "mixer"]}).write_parquet(path)
    gathered = read_labels([path], Places(), undated=NOW)
    assert labels(gathered) == [Label(None, HOT, "a", LabelKind.MIXER, "x", NOW)] and gathered.bad[0].line == 2


def test_damaged_import(tmp_path: Path) -> None:
    """A newer or damaged file is said, never read as empty."""
    path = tmp_path / "imported.parquet"
    write_imported(path, label_frame([Label(None, HOT, "Hot", LabelKind.EXCHANGE, "x", 100)]))
    frame = pl.read_parquet(path).with_columns(kind=pl.lit("wizard"))
    frame.write_parquet(path, metadata={"heistwatch_labels": "1"})
    with pytest.raises(ConfigError, match="column 'kind' cannot be read"):
        read_imported(path)
    frame.write_parquet(path, metadata={"heistwatch_labels": "2"})
    with pytest.raises(ConfigError, match="newer"):
        is_imported(path)
