"""`heistwatch labels`: importing says what was read, twice changes nothing; looking up shows all that is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MINE = "0x" + "ab" * 20
TORNADO = "0x910Cbd523D972eb0a6f4cAe4618aD62622b39DbF"


@pytest.fixture
def lists(here: Path) -> Path:
    """A folder of two lists, one with a bad row."""
    folder = here / "lists"
    folder.mkdir()
    (folder / "mine.csv").write_text(f"address,label,kind,known_since\n{MINE},Thief,theft,2024-05-01\n0x1,x,scam,\n")
    (folder / "sanctioned_addresses_ETH.txt").write_text(f"{MINE}\n")
    return folder


def test_import_then_lookup(heistwatch: Callable[..., Any], config: Path, lists: Path) -> None:
    """What was read, what is new and what is bad, with places; then it is found, with source and date."""
    ran = heistwatch("labels", "import", lists, "--known-since", "2025-01-01")
    assert ran.code == 0 and "2 labels read, 2 new, 1 bad rows" in ran.out
    assert f"bad row {lists / 'mine.csv'}:3: " in ran.out
    written = config.parent / "labels" / "imported.parquet"
    assert f"{written}: 2 labels" in ran.out
    found = json.loads(heistwatch("labels", "lookup", MINE.upper().replace("X", "x"), "--json").out)
    assert [(x["chain"], x["kind"], x["name"], x["source"], x["known_since"]) for x in found] == [
        (None, "theft", "Thief", "mine", "2024-05-01T00:00:00Z"),
        ("eip155:1", "sanctioned", "sanctioned_addresses_ETH", "sanctioned_addresses_ETH", "2025-01-01T00:00:00Z"),
    ]
    early = json.loads(heistwatch("labels", "lookup", MINE, "--at", "2024-12-31", "--json").out)
    assert [x["kind"] for x in early] == ["theft"]
    assert "no label is known at 2024-04-30" in heistwatch("labels", "lookup", MINE, "--at", "2024-04-30").out


def test_importing_twice_changes_nothing(heistwatch: Callable[..., Any], config: Path, lists: Path) -> None:
    """The second time nothing is new, and the file is the same to the byte; undated labels keep their first date."""
    heistwatch("labels", "import", lists)
    path = config.parent / "labels" / "imported.parquet"
    before, touched = path.read_bytes(), path.stat().st_mtime_ns
    said = json.loads(heistwatch("labels", "import", lists, "--known-since", "2090-01-01", "--json").out)
    assert (said["labels"], said["new"], said["earlier"], said["total"], said["bad_rows"]) == (2, 0, 0, 2, 1)
    assert said["bad"][0]["row"] == 3 and said["path"] == str(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, touched)


def test_lookup_of_built_in_labels(heistwatch: Callable[..., Any], config: Path) -> None:
    """Without any import the pack answers, in any letter case and with a chain before the address."""
    lines = heistwatch("labels", "lookup", TORNADO).out.splitlines()
    assert [line.split("\t")[2] for line in lines] == ["sanctioned", "mixer"]
    assert heistwatch("labels", "lookup", f"ethereum:{TORNADO}").out.splitlines() == lines
    assert heistwatch("labels", "lookup", f"dev:{TORNADO.lower()}").out == "no label is known\n"
    assert not (config.parent / "labels").exists()


def test_mistakes(refused: Callable[..., str], config: Path, lists: Path) -> None:
    """Wrong arguments are one line and code 2; a secret is never repeated."""
    assert "nope.csv: no such file" in refused(2, "labels", "import", "nope.csv")
    assert "did you mean 'mixer'" in refused(2, "labels", "import", lists, "--kind", "mixr")
    assert "--at" in refused(2, "labels", "lookup", MINE, "--at", "yesterday")
    assert "ADDRESS" in refused(2, "labels", "lookup", "0x12")
    secret = "4c08" * 16
    line = refused(2, "labels", "lookup", secret)
    assert "private key" in line and secret not in line
    (lists / "other.csv").write_text("a,b\n1,2\n")
    assert f"{lists / 'other.csv'}: layout not known" in refused(2, "labels", "import", lists)
    assert not (config.parent / "labels").exists()


def test_foreign_target_is_not_overwritten(refused: Callable[..., str], config: Path, lists: Path) -> None:
    """A Parquet file of somebody else, named in the configuration, is not replaced."""
    import polars as pl

    path = config.parent / "own.parquet"
    pl.DataFrame({"address": [MINE], "kind": ["scam"]}).write_parquet(path)
    config.write_text(config.read_text() + "labels: [own.parquet]\n")
    before = path.read_bytes()
    assert "was not written by `labels import`" in refused(2, "labels", "import", lists)
    assert path.read_bytes() == before
    assert "own.parquet" not in [p.name for p in (config.parent / "lists").iterdir()]


def test_without_configuration(refused: Callable[..., str], here: Path) -> None:
    """Like other commands: name a configuration, or make one."""
    assert "heistwatch init" in refused(2, "labels", "lookup", MINE)
