"""`heistwatch backtest`: what it prints, what it exits with, and what it says of data that it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

BASE = ("backtest", "heistwatch.yaml")


def test_theft(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """The theft is found and printed; the report on disk is the one of --json, keys sorted."""
    ran = heistwatch(*BASE, "--data", theft, "--report", "report.json", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    written = (config.parent / "report.json").read_text()
    assert json.loads(written) == report and written == json.dumps(report, indent=1, sort_keys=True) + "\n"
    assert report["schema"] == "heistwatch/backtest/1" and report["data"]["bad_rows"] == 0
    [incident] = report["incidents"]
    assert incident["opened_block"] == 250 and incident["suspects"] == ["0x000000000000000000000000000000000000bad1"]
    assert incident["lost"][0]["value"] == str(700 * 10**18)
    text = heistwatch(*BASE, "--data", theft).out
    assert f"incident {incident['id']}" in text and incident["severity"].upper() in text


def test_fail_on(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """--fail-on is code 1 where an incident is at least that severe, else 0; the report is written all the same."""
    for severity in ("low", "high"):
        assert heistwatch(*BASE, "--data", theft, "--fail-on", severity, "--report", f"{severity}.json").code == 1
        assert json.loads((config.parent / f"{severity}.json").read_text())["incidents"]
    assert heistwatch(*BASE, "--data", theft, "--fail-on", "low", "--to", "2023-11-20").code == 0


def test_times(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """--from is inclusive, --to exclusive."""
    report = json.loads(heistwatch(*BASE, "--data", theft, "--from", "1700007200", "--to", "1700014400", "--json").out)
    assert report["data"]["first"] == "2023-11-15T00:13:20Z" and report["data"]["last"] == "2023-11-15T01:13:20Z"
    assert report["data"]["flows"] == 2


def test_broken_row(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """A row that cannot be read is counted and shown with its place; the rest is judged, code 0."""
    lines = theft.read_text().splitlines()
    lines[5] = lines[5].rsplit(",", 1)[0] + ",a lot"
    lines[9] = "dev,9"
    theft.write_text("\n".join(lines) + "\n")
    ran = heistwatch(*BASE, "--data", theft, "--json")
    report = json.loads(ran.out)
    assert ran.code == 0 and report["data"]["bad_rows"] == 2 and report["data"]["rows"] == len(lines) - 1
    bad = {(row["path"], row["row"]): row["reason"] for row in report["data"]["bad"]}
    assert set(bad) == {(str(theft), 6), (str(theft), 10)} and "a lot" in bad[str(theft), 6]
    assert len(report["incidents"]) == 1
    text = heistwatch(*BASE, "--data", theft).out
    assert "2 rows cannot be read" in text and f"{theft}, row 6" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nope.csv"], "nope.csv"),
        (["--data", "nope/*.parquet"], "nope/*.parquet"),
        (["--data", "theft.csv", "--from", "yesterday"], "--from: time was 'yesterday'"),
        (["--data", "theft.csv", "--to", "2023-13-01"], "--to: time was '2023-13-01'"),
        (["--data", "theft.csv", "--fail-on", "terrible"], "--fail-on: severity was 'terrible'"),
        (["--data", "theft.csv", "--report", "nowhere/report.json"], "nowhere/report.json"),
        (["--data", "theft.csv", "--report", "."], "report cannot be written"),
        (["--data", "theft.csv", "--map", "value"], "NEW=OLD"),
        (["--data", "theft.csv", "--map", "value=amount"], "amount"),
        (["--data", "other=theft.csv"], "other"),
        (["--data", "theft.csv", "--map", "value=amount:parsecs"], "parsecs"),
        (["--data", "theft.csv", "--from", "2024-01-01", "--to", "2023-01-01"], "nothing between"),
        (["--data", "theft.csv", "--html", "nowhere/page.html"], "nowhere/page.html: the page cannot be written"),
        (["--data", "theft.csv", "--report", "a", "--html", "./a"], "cannot both be written"),
        (["--data", "theft.csv", "--engine", "proceses"], "did you mean 'processes'"),
        (["--data", "theft.csv", "--workers", "2"], "--engine processes or ray"),
        (["--data", "theft.csv", "--engine", "processes", "--workers", "0"], "--workers was '0'"),
        (["--data", "theft.csv", "--memory", "plenty"], "--memory was 'plenty'"),
        (["--data", "theft.csv", "--memory", "12"], "at least 64MiB"),
        (["--data", "theft.csv", "--work", "theft.csv"], "must be a folder"),
        (["--data", "theft.csv", "--detectors", "none.py"], "none.py"),
        (["--data", "ftp://files.example/a.csv"], "ftp:// cannot be read"),
    ],
)
def test_wrong_arguments(
    refused: Callable[..., str], config: Path, theft: Path, arguments: list[str], said: str
) -> None:
    """A wrong path, time, severity or place for the report is code 2 and one line that quotes it."""
    assert said in refused(2, *BASE, *arguments)


def test_report_place_is_tried_first(refused: Callable[..., str], config: Path, theft: Path) -> None:
    """Where the report cannot be written, that is said before hours of reading."""
    theft.unlink()
    assert "nowhere" in refused(2, *BASE, "--data", theft, "--report", "nowhere/report.json")


def test_unknown_layout(refused: Callable[..., str], config: Path) -> None:
    """Columns that no reader knows: code 2, the nearest format, and how to map columns."""
    Path("odd.csv").write_text("a,b,c\n1,2,3\n")
    line = refused(2, *BASE, "--data", "odd.csv")
    assert line.startswith("odd.csv: unknown layout") and "nearest" in line and "--map NEW=OLD" in line


def test_truncated_parquet(refused: Callable[..., str], config: Path, theft: Path) -> None:
    """A Parquet file that was cut off, or is none: code 2 and its name."""
    polars.read_csv(theft, infer_schema=False).write_parquet("whole.parquet")
    content = Path("whole.parquet").read_bytes()
    for name, data in {
        "half.parquet": content[: len(content) // 2],
        "tail.parquet": content[:-3],
        "none.parquet": b"PAR1",
        "empty.parquet": b"",
    }.items():
        Path(name).write_bytes(data)
        assert refused(2, *BASE, "--data", name).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["empty.csv", "empty.json", "empty.ndjson", "folder"])
def test_nothing_in_it(heistwatch: Callable[..., Any], config: Path, name: str) -> None:
    """Empty files and folders are said to be empty, never taken for a quiet history."""
    if name == "folder":
        Path(name).mkdir()
    else:
        Path(name).write_text("")
    ran = heistwatch(*BASE, "--data", name)
    assert ran.code == 2 and len(ran.problems) == 1 and ran.problems[0].startswith(name)


def test_broken_compression(refused: Callable[..., str], config: Path) -> None:
    """A compressed file that is none, or was cut off: code 2 and its name."""
    for name in ("x.csv.gz", "x.csv.zst"):
        Path(name).write_bytes(b"this is not compressed at all")
        assert refused(2, *BASE, "--data", name).startswith(f"{name}: ")


def test_no_wallet(refused: Callable[..., str], config: Path, theft: Path) -> None:
    """A backtest of nobody is a mistake of the configuration."""
    config.write_text("version: 1\nwallets: []\n")
    assert "wallet" in refused(2, *BASE, "--data", theft)


def test_several_files_after_one_option(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """`--data a.csv b.csv`, which is what a shell makes of `*.csv`, reads all of them, as `--data` for each does."""
    lines = theft.read_text().splitlines()
    half = len(lines) // 2
    parts = [theft.with_name("a.csv"), theft.with_name("b.csv")]
    for part, rows in zip(parts, (lines[1:half], lines[half:]), strict=True):
        part.write_text("\n".join([lines[0], *rows]) + "\n")
    once = json.loads(heistwatch(*BASE, "--data", *parts, "--strict", "--json").out)
    each = json.loads(heistwatch(*BASE, "--data", parts[0], "--data", parts[1], "--json").out)
    assert once["data"]["rows"] == each["data"]["rows"] == len(lines) - 1
    assert once["incidents"] == each["incidents"] and once["incidents"]
    (missing,) = heistwatch(*BASE, "--data", parts[0], "none.csv").problems
    assert "none.csv" in missing


def test_page(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """--html writes one page beside the report, and says where; nothing else is left in the folder."""
    before = {path.name for path in config.parent.iterdir()}
    ran = heistwatch(*BASE, "--data", theft, "--html", "page.html", "--report", "report.json")
    assert (ran.code, ran.err) == (0, "") and ran.out.endswith("report: report.json\npage: page.html\n")
    page, report = Path("page.html").read_text(), json.loads(Path("report.json").read_text())
    assert page.lstrip().lower().startswith("<!doctype html>") and report["incidents"][0]["id"] in page
    assert {path.name for path in config.parent.iterdir()} - before == {"page.html", "report.json"}


def test_a_report_is_never_half_a_file(
    heistwatch: Callable[..., Any], config: Path, theft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails, the report of before is as it was, and nothing lies beside it."""
    Path("report.json").write_text("{}")

    def full(path: Path, text: str, **_: Any) -> int:
        path.write_bytes(text[:100].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    ran = heistwatch(*BASE, "--data", theft, "--report", "report.json")
    assert ran.code == 2 and ran.problems == ["report.json: the report cannot be written: No space left on device"]
    assert Path("report.json").read_text() == "{}"
    assert {path.name for path in config.parent.iterdir()} == {"heistwatch.yaml", "theft.csv", "report.json"}


def test_wallets_are_shown_against_their_budget(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """The line of a wallet says how many false alarms its owner accepts."""
    assert "1 incident, 2.88 in 30 days (budget of false alarms: 1)" in heistwatch(*BASE, "--data", theft).out


def test_work_folder_goes_when_all_is_done(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """With --work and little memory the report is the same, and what was kept is gone at the end."""
    plain = json.loads(heistwatch(*BASE, "--data", theft, "--json").out)
    ran = heistwatch(*BASE, "--data", theft, "--json", "--work", "work", "--memory", "64MiB")
    kept = json.loads(ran.out)
    assert ran.code == 0 and {**plain, "speed": 0} == {**kept, "speed": 0}
    assert not [path for path in Path("work").rglob("*") if path.is_file()]


def test_truth_and_sweep(heistwatch: Callable[..., Any], config: Path, theft: Path) -> None:
    """Both are in the report, on the page and in the summary; the sweep's own setting finds what the run found."""
    thief = "0x" + f"{250:064x}"
    Path("truth.csv").write_text(f"id,entity,transactions\nthe-theft,Example,{thief}\n")
    arguments = (*BASE, "--data", theft, "--truth", "truth.csv", "--sweep", "budget=0.001,1", "--html", "page.html")
    report = json.loads(heistwatch(*arguments, "--json").out)
    assert (report["truth"]["caught"], report["truth"]["missed"], report["truth"]["incidents"]) == (1, 0, 1)
    assert report["sweep"]["schema"] == "heistwatch/sweep/1"
    rows = {row["values"]["budget"]: row for row in report["sweep"]["rows"]}
    assert set(rows) == {0.001, 1} and rows[1]["incidents"] == len(report["incidents"])
    page, text = Path("page.html").read_text(), heistwatch(*arguments).out
    assert "the-theft" in page and "sweep-chart" in page
    assert "labelled incidents: 1 of 1 caught" in text and "the-theft" in text and "budget" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sweep", "budget"], "expected KEY=VALUE"),
        (["--sweep", "detectors.HW-99.weight=1"], "HW-99"),
        (["--truth", "none.yaml"], "none.yaml"),
    ],
)
def test_what_is_asked_is_checked_first(
    refused: Callable[..., str], config: Path, theft: Path, arguments: list[str], said: str
) -> None:
    """A wrong sweep or a missing file of labels is told before anything is read."""
    theft.unlink()
    assert said in refused(2, *BASE, "--data", theft, *arguments)
