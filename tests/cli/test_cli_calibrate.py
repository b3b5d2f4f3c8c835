"""`heistwatch calibrate`: history into the store, and what it refuses."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.app import fold_history
from monitor.config import load_config
from monitor.features.dtypes import STATISTICS
from monitor.marks import Mark, MarkState, read_mark

CHAIN = "eip155:31337"
HOT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
DAY = 86400
START = 1_700_000_000
ETHER = 10**18
COLUMNS = (
    "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,to_address,"
    "asset,value"
)


def state(path: Path) -> dict[bytes, bytes]:
    """Everything in the state table of a SQLite store."""
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT key, value FROM state"))


def split(found: dict[bytes, bytes]) -> tuple[dict[bytes, bytes], dict[str, Mark]]:
    """The engine's records, and the marks."""
    marks = dict(mark for key, value in found.items() if (mark := read_mark(key, value)) is not None)
    return {key: value for key, value in found.items() if not key.startswith(b"c\x1f")}, marks


@pytest.fixture
def history(here: Path) -> Path:
    """Twenty days: four ordinary payments a day to new customers, and one drain of most of the balance on day 15."""
    rows = [f"dev,1,{START},0x{1:064x},0,0,0x{'c' * 40},{HOT},native,{1000 * ETHER}"]
    number = 1
    for day in range(20):
        for hour in (2, 8, 14, 20):
            number += 1
            value = (5 + (day * 4 + hour) % 7) * ETHER
            at = START + day * DAY + hour * 3600
            rows.append(f"dev,{number},{at},0x{number:064x},0,0,{HOT},0x{number:040x},native,{value}")
        if day == 15:
            number += 1
            rows.append(f"dev,{number},{at + 60},0x{number:064x},0,0,{HOT},0x{'bad':0>40},native,{300 * ETHER}")
    path = here / "history.csv"
    path.write_text("\n".join([COLUMNS, *rows, ""]))
    return path


def test_stores_the_state_of_the_fold(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """The store holds exactly what the fold over the same history leaves, and how the chain began."""
    ran = heistwatch("calibrate", config, "--data", history)
    assert ran.code == 0, ran.err
    _, engine, _ = fold_history(load_config(config), [str(history)])
    records, marks = split(state(config.parent / "heistwatch.db"))
    assert records == dict(engine.dump()) and len(records) > 50
    mark = marks[CHAIN]
    assert mark.state is MarkState.CALIBRATED and not mark.started
    assert (mark.block, mark.time, mark.since) == (82, START + 19 * DAY + 20 * 3600, START)
    assert mark.stale == (("hot", f"{CHAIN}/slip44:60"),)


def test_says_what_was_learned(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """Per wallet: days, outflows, daily maxima, thresholds in words, whether statistics are on, incidents."""
    ran = heistwatch("calibrate", config, "--data", history)
    assert "wallet hot on dev: 81 outflows in 19.8 days, " in ran.out
    assert " 12 daily maxima known, statistics on now, 1 incident" in ran.out  # the balance is known from day 7 on
    assert "to one address within an hour: usual daily maximum " in ran.out and " %" in ran.out
    assert "history would have raised 1 incident" in ran.out and "not alarms" in ran.out
    assert "history from 2023-11-14T22:13:20Z to 2023-12-04T18:13:20Z (block 82), " in ran.out
    assert " days before now" in ran.out
    told = json.loads(heistwatch("calibrate", config, "--data", history, "--replace", "--json").out)
    (wallet,) = told["wallets"]
    assert (wallet["id"], wallet["chain"], wallet["flows_out"], wallet["daily_maxima"]) == ("hot", CHAIN, 81, 12)
    assert wallet["statistics_on"] and wallet["statistics_from"] == "2023-11-21T22:13:20Z"
    shares = {usual["statistic"]: usual["share"] for usual in wallet["usual"]}
    assert list(shares) == list(STATISTICS) and 0.001 < shares["single"] < 0.2
    assert told["incidents"] == 1 and told["without_history"] == [] and told["chains"][0]["gap_seconds"] > 100 * DAY


def test_alarms_of_history_are_not_stored(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """A theft in the history is counted; no incident, no message is made of it."""
    heistwatch("calibrate", config, "--data", history)
    with sqlite3.connect(config.parent / "heistwatch.db") as connection:
        for table in ("incident", "outbox", "block", "checkpoint"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_coverage_shows_it(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """`heistwatch coverage` names the history as a range of its own, and that the chain starts with it."""
    heistwatch("calibrate", config, "--data", history)
    ran = heistwatch("coverage", "-c", config)
    assert ran.code == 0 and "  1 to 82 through history tables\n" in ran.out
    assert "calibrated with history tables" in ran.out
    (entry,) = json.loads(heistwatch("coverage", "-c", config, "--json").out).values()
    assert (entry["learning"]["state"], entry["learning"]["balances_to_ask"]) == ("calibrated", 1)


def test_a_second_time_needs_replace(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """Known wallets are refused and nothing changes; --replace takes the place of all of their records."""
    heistwatch("calibrate", config, "--data", history)
    before = state(config.parent / "heistwatch.db")
    ran = heistwatch("calibrate", config, "--data", history, "--to", "2023-11-20")
    assert ran.code == 2 and ran.out == ""
    assert ran.problems == [f"wallet hot was calibrated before on {CHAIN}: --replace puts the state from history in its"
                            " place"]
    assert state(config.parent / "heistwatch.db") == before
    ran = heistwatch("calibrate", config, "--data", history, "--to", "2023-11-20", "--replace")
    assert ran.code == 0
    records, marks = split(state(config.parent / "heistwatch.db"))
    _, engine, _ = fold_history(load_config(config), [str(history)], end=1_700_438_400)
    assert records == dict(engine.dump()) and len(records) < len(before)
    assert marks[CHAIN].block < 82


def test_history_of_nobody(refused: Callable[..., str], config: Path, history: Path) -> None:
    """History without a watched wallet is refused: the addresses must be wrong."""
    config.write_text(config.read_text().replace(HOT, "0x" + "d" * 40))
    assert "no transfer of a watched wallet" in refused(2, "calibrate", config, "--data", history)


def test_wrong_arguments(refused: Callable[..., str], config: Path, history: Path) -> None:
    """A time, a mapping and a store that cannot be are each one clear error."""
    assert refused(2, "calibrate", config, "--data", history, "--from", "soon").startswith("--from: time was 'soon'")
    assert "--map was 'x'" in refused(2, "calibrate", config, "--data", history, "--map", "x")
    config.write_text(config.read_text() + 'store: {url: "memory://"}\n')
    assert "keeps nothing" in refused(2, "calibrate", config, "--data", history)


def test_time_range_and_column_names(heistwatch: Callable[..., Any], config: Path, history: Path) -> None:
    """--from and --to cut the history, --map names its columns."""
    history.write_text(history.read_text().replace("asset,value", "asset,amount"))
    ran = heistwatch("calibrate", config, "--data", history, "--from", "2023-11-15", "--to", "2023-11-25",
                     "--map", "value=amount", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    (chain,) = json.loads(ran.out)["chains"]
    assert (chain["first"] >= "2023-11-15") and (chain["last"] < "2023-11-25")


def test_a_running_monitor_is_left_alone(
    heistwatch: Callable[..., Any], config: Path, history: Path, tmp_path: Path
) -> None:
    """While a monitor runs on the store nothing is put under it."""
    import fcntl

    heistwatch("calibrate", config, "--data", history)
    before = state(config.parent / "heistwatch.db")
    locks = list(config.parent.glob("heistwatch.db*lock*"))
    with locks[0].open() as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ran = heistwatch("calibrate", config, "--data", history, "--replace")
    assert ran.code == 3 and "another" in ran.err
    assert state(config.parent / "heistwatch.db") == before
