"""Files, folders, globs and packings of ``--data``, and what is said of those that cannot be read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chains.tables import lines, parse_source
from chains.tables.source import expand
from monitor.errors import ConfigError

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: _zstd(data),
    ".several.gz": lambda data: b"".join(gzip.compress(data[at : at + 100]) for at in range(0, len(data), 100)),
    ".several.bz2": lambda data: bz2.compress(data[:300]) + bz2.compress(data[300:]),
    ".several.zst": lambda data: _zstd(data[:300]) + _zstd(data[300:]),
}


def _zstd(data: bytes) -> bytes:
    """A frame of zstd with the bytes as they are, in one block (RFC 8878)."""
    assert len(data) < 1 << 17
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    return frame + (1 | len(data) << 3).to_bytes(3, "little") + data


def problems(*paths: Path | str) -> list[str]:
    """What is said of sources."""
    with pytest.raises(ConfigError) as error:
        expand([parse_source(str(path)) for path in paths])
    return [str(problem) for problem in error.value.problems]


def test_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file counts once, whatever it is called: by name, by a detour, through a link, from a glob or a folder."""
    deep = tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    for path in (tmp_path / "b.csv", deep / "a.csv", deep / "c.parquet"):
        path.write_text("x")
    (tmp_path / "link.csv").symlink_to(tmp_path / "b.csv")
    monkeypatch.chdir(tmp_path)
    names = ["b.csv", tmp_path / "b.csv", "deep/../b.csv", "link.csv", "**/*.csv", ".", "deep"]
    files, skipped = expand([parse_source(str(name)) for name in names])
    assert ([path for path, _ in files], skipped) == (["b.csv", "deep/er/a.csv", "deep/er/c.parquet"], [])


@pytest.mark.parametrize("folder", [".", "{}", "{}/", "./.kept", "{}/.kept"])
def test_hidden_files_and_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Hidden is what is hidden inside of the folder, wherever the folder itself lies."""
    monkeypatch.chdir(tmp_path)
    place = Path(folder.format(tmp_path))
    for name in ("day=1/a.csv", ".cache/b.csv", "_temporary/c.csv", "_SUCCESS", "README.md", "a.csv.sha256"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    files, skipped = expand([parse_source(folder.format(tmp_path))])
    assert [Path(path).name for path, _ in files] == ["a.csv"]
    assert {"README.md", "a.csv.sha256"} <= {Path(path).name for path in skipped}


def test_folders_behind_links(tmp_path: Path) -> None:
    """A folder has what lies below it wherever that is; a link that leads back is no end."""
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    (inside / "day=1").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (inside / "a.csv", inside / "day=1" / "b.csv", elsewhere / "c.csv"):
        path.write_text("x")
    (inside / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(inside)
    (inside / ".hidden").symlink_to(inside / "day=1")  # what it leads to is there under its own name, too
    (inside / "gone.csv").symlink_to(tmp_path / "nowhere")
    os.mkfifo(inside / "pipe.csv")
    found, _ = expand([parse_source(str(inside))])
    assert [Path(path).name for path, _ in found] == ["a.csv", "b.csv", "c.csv"]


def test_a_glob_that_matches_is_no_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of partitions have an equals sign in their names."""
    (tmp_path / "date=2020-01-01").mkdir()
    (tmp_path / "date=2020-01-01" / "a.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert parse_source("date=*/*.csv").chain is None
    assert parse_source("ethereum=date=*/*.csv").chain == "ethereum"


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Each path that gives nothing is one problem, with its name and what is wrong."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "good.csv").write_text("x")
    said = problems(
        tmp_path / "good.csv", tmp_path / "none.csv", tmp_path / "empty", tmp_path / "*.parquet",
        "https://files.example/folder/", "https://files.example/*.csv", "x" * 5000,
    )  # fmt: skip
    assert [line.rsplit(": ", 1)[1] for line in said[:3]] == [
        "no such file or folder", "the folder has no data file", "no file matches"
    ]  # fmt: skip
    assert all("name each file" in line for line in said[3:5]) and len(said) == 6


@pytest.mark.parametrize(
    ("text", "path", "chain"),
    [
        ("dev=a.csv", "a.csv", "dev"),
        ("bip122:00=https://files.example/a.csv", "https://files.example/a.csv", "bip122:00"),
        ("https://files.example/day=1/a.csv", "https://files.example/day=1/a.csv", None),
        ("s3://bucket/day=1/*.parquet", "s3://bucket/day=1/*.parquet", None),
        ("S3://Bucket/a", "s3://Bucket/a", None),
        ("dev=file:///data/with%20space.csv", "/data/with space.csv", "dev"),
    ],
)
def test_parts_of_a_source(text: str, path: str, chain: str | None) -> None:
    """The chain before the path, and never a part of a URL."""
    source = parse_source(text)
    assert (source.path, source.chain) == (path, chain)


@pytest.mark.parametrize("text", ["ftp://files.example/a.csv", "dev=ftp://me:secret@files.example/a.csv", "", "dev= "])
def test_sources_that_cannot_be(text: str) -> None:
    """Unknown schemes and empty texts are refused, and passwords not repeated."""
    with pytest.raises(ConfigError) as error:
        parse_source(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("form", ["csv", "ndjson", "json"])
def test_packings(tmp_path: Path, read_alice: Any, native_row: Any, write: Any, form: str) -> None:
    """Every packing gives the same rows, also in several parts one after another, whatever the file is called."""
    rows = [native_row(value="x" if n == 7 else str(n), transaction_hash=f"0x{n:x}") for n in range(1, 30)]
    plain = write(tmp_path / f"plain.{form}", rows)
    whole = read_alice(plain)
    assert (whole.rows, whole.bad_rows) == (29, 1)
    for name, pack in PACKINGS.items():
        path = tmp_path / f"packed{name.replace('.', '_')}"
        path.write_bytes(pack(plain.read_bytes()))
        read = read_alice(path)
        assert read.frame.equals(whole.frame) and read.rows == 29 and read.bad[0].row == whole.bad[0].row, name


def test_parquet_inside_packings(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Parquet is read inside of gzip, bzip2 and xz; of zstd it is said what to do."""
    content = write(tmp_path / "a.parquet", [native_row()]).read_bytes()
    (tmp_path / "a.parquet").unlink()
    for name in (".gz", ".bz2", ".xz"):
        path = tmp_path / f"a.parquet{name}"
        path.write_bytes(PACKINGS[name](content))
        assert read_alice(path).rows == 1
    path = tmp_path / "a.parquet.zst"
    path.write_bytes(_zstd(content))
    with pytest.raises(ConfigError, match="decompress it first"):
        read_alice(path)


@pytest.mark.parametrize("name", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_bytes_that_are_not_text(tmp_path: Path, read_alice: Any, native_row: Any, write: Any, name: str) -> None:
    """A row with bytes that are not UTF-8 is bad or harmless, and costs no other row, wherever in the file it is."""
    rows = [native_row(value=str(n), symbol="COIN") for n in range(1, 40)]
    path = write(tmp_path / "a.csv", rows)
    content = path.read_bytes().splitlines(keepends=True)
    content[20] = content[20].replace(b"COIN", b"C\xf6\xff")
    content[30] = content[30].replace(b"30,COIN", b"\xff\x00,COIN")
    packed = tmp_path / f"b{name}"
    data = b"".join(content)
    packed.write_bytes(PACKINGS[name](data))
    read = read_alice(packed)
    assert (read.rows, read.bad_rows, read.bad[0].row) == (39, 1, 31)
    assert read.frame["value"].to_list() == [str(n) for n in range(1, 40) if n != 30]


@pytest.mark.parametrize("name", [".gz", ".bz2", ".xz", ".zst"])
def test_files_that_were_cut_off(tmp_path: Path, read_alice: Any, native_row: Any, write: Any, name: str) -> None:
    """A compressed file that ends too early, or is corrupt, is one problem that names it: never a shorter history."""
    rows = [native_row(value=str(n * 7919**5), transaction_hash=f"0x{n * 7919**9:x}") for n in range(1, 500)]
    content = PACKINGS[name](write(tmp_path / "a.csv", rows).read_bytes())
    for what, data in {
        "half": content[: len(content) // 2],
        "tail": content[:-1],
        "start": content[:12],
        "torn": content[:12] + bytes(64) + content[76:],
    }.items():
        if what == "torn" and name == ".zst":
            continue  # this frame has no checksum
        path = tmp_path / f"{what}.csv{name}"
        path.write_bytes(data)
        with pytest.raises(ConfigError) as error:
            read_alice(path)
        [problem] = error.value.problems
        assert problem.where == str(path) and "cannot be read" in problem.message, what


def test_good_and_bad_files(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Of many files every bad one is told, one line each, and no good one."""
    write(tmp_path / "good.csv", [native_row()])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"x" * 99)[:15])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(ConfigError) as error:
        read_alice(tmp_path)
    names = [Path(problem.where).name for problem in error.value.problems]
    assert sorted(names) == ["broken.parquet", "cut.csv.gz", "empty.csv", "noise.bin", "odd.csv"]
    assert all("\n" not in str(problem) for problem in error.value.problems)


def test_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than memory should hold is refused; one that spans many chunks is whole."""
    monkeypatch.setattr(lines, "CHUNK_BYTES", 100)
    monkeypatch.setattr(lines, "_LINE_BYTES", 5000)
    path = tmp_path / "long.csv.gz"
    path.write_bytes(gzip.compress(b"a" * 4000 + b"\nb\n" + b"c" * 4000))
    found = [line for _, chunk in lines.lines(str(path)) for line in chunk]
    assert found == ["a" * 4000, "b", "c" * 4000]
    path.write_bytes(gzip.compress(b"a" * 5200))
    with pytest.raises(ConfigError, match="a line has more than"):
        list(lines.lines(str(path)))


def test_packed_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What must be in memory as a whole is refused where little data unpacks to much."""
    monkeypatch.setattr(lines, "_UNPACKED_BYTES", 1000)
    path = tmp_path / "a.parquet.gz"
    path.write_bytes(gzip.compress(b"PAR1" + bytes(1000)))
    with pytest.raises(ConfigError, match="decompress it first"):
        lines.unpacked(str(path))
    path.write_bytes(gzip.compress(json.dumps({"a": 1}).encode()))
    assert json.loads(lines.unpacked(str(path))) == {"a": 1}
