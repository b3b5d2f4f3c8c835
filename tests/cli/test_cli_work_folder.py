"""A work folder belongs to what was read: what changed since a run was ended is done again."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import monitor
from monitor.backtesting import run
from monitor.backtesting.ledger import Ledger
from monitor.backtesting.run import Options
from monitor.backtesting.work_key import command_key
from monitor.backtesting.workers.local import LocalWorkers
from monitor.config import load_config
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


TRACES = "block_number,transaction_hash,transaction_index,trace_type,trace_address,from_address,to_address,value,status"
COINS = "hash,nonce,block_number,transaction_index,from_address,to_address,value,gas,gas_price,block_timestamp"


def test_added_table_of_another_kind(config: Path, end_in: Callable[..., None]) -> None:
    """Traces tell the value of transactions only where no table of these is among the data, and one is added."""
    folder, work, wallet = config.parent / "data", config.parent / "work", "0x" + "a1" * 20
    folder.mkdir()
    traces = [f"{n},0x{n:064x},0,call,,{wallet},0x{n:040x},5,1" for n in range(1, 30)]
    coins = [f"0x{n:064x},1,{n},0,{wallet},0x{n:040x},5,21000,1,{1_600_000_000 + n}" for n in range(1, 30)]
    (folder / "traces.csv").write_text("\n".join([TRACES + ",block_timestamp", *(
        f"{line},{1_600_000_000 + n}" for n, line in enumerate(traces, 1)
    )]))  # fmt: skip
    end_in("asset_names", config, f"dev={folder}", work=work)
    (folder / "transactions.csv").write_text("\n".join([COINS, *coins]))
    asked = (config, f"dev={folder}")
    with monitor.backtest(*asked, work=work) as outcome, monitor.backtest(*asked) as expected:
        assert outcome["data"] == expected["data"] and outcome["data"]["transfers"] == 29


def test_changed_labels(config: Path, theft: Path, end_in: Callable[..., None]) -> None:
    """What labels say is part of what was asked, though the configuration has but their path."""
    labels = config.parent / "labels.yaml"
    labels.write_text("heistwatch_labels: 1\nlabels: []\n")
    config.write_text(config.read_text() + f"labels: [{labels}]\n")
    before = command_key(load_config(config), ["data"], Options())
    assert command_key(load_config(config), ["data"], Options()) == before
    labels.write_text("heistwatch_labels: 1\nlabels: []\n# another one\n")
    assert command_key(load_config(config), ["data"], Options()) != before


def test_every_process_names_the_same_work_alike(config: Path) -> None:
    """Sets have another order in each process, and long lists and descriptors have no text of their own."""
    fleet = config.parent / "fleet.txt"
    fleet.write_text("\n".join(f"0x{n:040x}" for n in range(1, 3000)))
    wallets = [
        {"id": f"w{n}", "entity": "e", "role": "hot", "budget": 0.5, "addresses": [f"ethereum:0x{n:040x}"]}
        for n in range(1, 9)
    ]
    key = (
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1"
        "Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
    )  # of BIP 32, test vector 1
    wallets.append({"id": "coins", "entity": "e", "role": "treasury", "addresses": [f"bitcoin:{key}"]})
    config.write_text(json.dumps({"version": 1, "wallets": wallets, "lists": {"some": [
        f"ethereum:0x{n:040x}" for n in range(40, 60)
    ]}}))  # fmt: skip
    script = (
        "import sys; from pathlib import Path; from monitor.config import load_config;"
        "from monitor.backtesting.run import Options; from monitor.backtesting.work_key import command_key;"
        "print(command_key(load_config(Path(sys.argv[1])), ['data'], Options()))"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", script, str(config)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(1, 4)
    }  # fmt: skip
    assert len(keys) == 1


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
