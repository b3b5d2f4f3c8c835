"""A work folder belongs to what was read: what changed since a run was ended is done again."""

from __future__ import annotations

import errno
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import monitor
from monitor.backtesting import run
from monitor.backtesting.ledger import Ledger
from monitor.backtesting.workers.local import LocalWorkers
from monitor.errors import StoreError


class Ended(Exception):
    """The end of a run in its middle."""


@pytest.fixture
def end_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a backtest with a work folder up to a function of `run`; stages of processes run in this one."""
    monkeypatch.setattr(run, "make_workers", lambda *_: LocalWorkers())

    def end(function: str, *arguments: Any, **options: Any) -> None:
        def ended(*_: Any) -> None:
            raise Ended

        with monkeypatch.context() as patch, pytest.raises(Ended):
            patch.setattr(run, function, ended)
            monitor.backtest(*arguments, **options)

    return end


def lost(*arguments: Any, **options: Any) -> list[str]:
    """What the incidents of a backtest lost, in base units."""
    with monitor.backtest(*arguments, **options) as outcome:
        return [entry["value"] for incident in outcome["incidents"] for entry in incident["lost"]]


def test_changed_data(config: Path, theft: Path, end_in: Callable[..., None]) -> None:
    """A file that was corrected since is read, put in order and replayed again."""
    options = {"engine": "processes", "work": config.parent / "work"}
    end_in("_joined", config, theft, **options)
    before = lost(config, theft)
    theft.write_text(theft.read_text().replace("00000000000000000000", "00000000000000000001"))
    now = lost(config, theft)
    assert now != before and lost(config, theft, **options) == now


def test_added_file(config: Path, theft: Path, end_in: Callable[..., None]) -> None:
    """A file before the others gives each another place; rows are shown at their own."""
    folder = config.parent / "data"
    folder.mkdir()
    theft.rename(folder / "b.csv")
    rows = (folder / "b.csv").read_text().splitlines()
    (folder / "b.csv").write_text("\n".join([rows[0], rows[9], *rows[1:9], *rows[10:]]) + "\n")
    work = config.parent / "work"
    end_in("asset_names", config, folder, work=work)
    (folder / "a.csv").write_text("\n".join(rows[:3]) + "\n")
    with monitor.backtest(config, folder, work=work) as outcome, monitor.backtest(config, folder) as expected:
        assert outcome["data"]["notes"] == expected["data"]["notes"]
        assert any("b.csv" in note for note in outcome["data"]["notes"])


def test_other_units(config: Path, theft: Path, end_in: Callable[..., None]) -> None:
    """The unit of a column is part of what was asked."""
    work = config.parent / "work"
    theft.write_text(theft.read_text().replace(",value\n", ",amount\n"))
    end_in("asset_names", config, theft, work=work, map={"value": "amount:1"})
    assert lost(config, theft, work=work, map={"value": "amount:0"}) == lost(config, theft, map={"value": "amount:0"})


def test_damaged_results(tmp_path: Path) -> None:
    """What cannot be read is named, whatever is wrong with it."""
    ledger = Ledger(tmp_path, "key")
    assert ledger.run(LocalWorkers(), "stage", len, ["text"], ["name"]) == [4]
    for path in tmp_path.rglob("*.pickle"):
        path.write_bytes(b"\x8c\x02\xff\xff.")  # a text that is no UTF-8
    with pytest.raises(StoreError, match="what an earlier run left cannot be read: remove the folder"):
        ledger.run(LocalWorkers(), "stage", len, ["text"], ["name"])
    ledger.end()


def test_no_room_for_rows(config: Path, theft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told, and what to do."""
    monkeypatch.setattr(run, "make_workers", lambda *_: LocalWorkers())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # Python ignores the signal that comes with it
    try:
        with pytest.raises(StoreError, match=r"put aside: File too large .*; name another folder by --work"):
            monitor.backtest(config, theft, engine="processes", work=config.parent / "work")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_results(config: Path, theft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the result of a part cannot be written."""
    monkeypatch.setattr(run, "make_workers", lambda *_: LocalWorkers())
    monkeypatch.setattr(pickle, "dump", _full)
    with pytest.raises(StoreError, match="kept: No space left on device; name another folder by --work"):
        monitor.backtest(config, theft, engine="processes", work=config.parent / "work")


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
