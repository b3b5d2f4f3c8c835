"""Labelled incidents: files in every form, what is wrong with them in words, and the verdict on a backtest."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables.layout import FRAME
from monitor.app import run_backtest
from monitor.backtesting.history import Batch
from monitor.backtesting.intervals import poisson, wilson
from monitor.backtesting.sweep_table import truth_data, truth_lines, truth_rows, truth_table
from monitor.backtesting.truth import Truth, TruthIncident, load_truth, named
from monitor.backtesting.truth_place import First, Placed, place
from monitor.backtesting.truth_score import Scored, judge, score
from monitor.backtesting.truth_seen import Seen, reported, seen_in
from monitor.config import Config, config_from_mapping
from monitor.errors import ConfigError

ETH = "eip155:1"
BTC = "bip122:000000000019d6689c085ae165831e93"
START = 1_700_006_400
HOUR, DAY = 3600, 86400
HOT, SELF = "0x" + "a1" * 20, "0x" + "5e" * 20
COIN = "1FeexV6bAHb8ybZjqQMjJrcCrHGW9sb6uF"

YAML = """\
incidents:
- id: first
  entity: exchange
  wallets: [hot]
  chains: [ethereum]
  from: 2024-03-01T10:02:11Z
  until: 2024-03-01T10:40:00Z
  lost: 4,100 ETH
  note: by the owner's own words
- id: second
  entity: exchange
  transactions: ["0xAB12", cd34]
"""
CSV = """\
id,entity,wallets,chains,from,until,transactions,lost,note
first,exchange,hot,ethereum,2024-03-01T10:02:11Z,2024-03-01T10:40:00Z,,"4,100 ETH",by the owner's own words

second,exchange,,,,,0xAB12;cd34,,
"""


def written(folder: Path, text: str, name: str = "truth.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_one_truth_in_three_forms(tmp_path: Path) -> None:
    found = named(load_truth(written(tmp_path, YAML)), {}).incidents
    assert found[0] == TruthIncident(
        "first", "exchange", ("hot",), (ETH,), 1709287331, 1709289600, frozenset(), "4,100 ETH",
        "by the owner's own words", f"{tmp_path}/truth.yaml:2",
    )  # fmt: skip
    assert found[1].transactions == {"ab12", "cd34"}
    assert (found[1].start, found[1].wallets, found[1].chains) == (None, (), ())
    plain = [
        {"id": "first", "entity": "exchange", "wallets": "hot", "chains": ["ethereum"], "lost": "4,100 ETH",
         "from": "2024-03-01T10:02:11Z", "until": "2024-03-01T10:40:00Z", "note": "by the owner's own words"},
        {"id": "second", "entity": "exchange", "transactions": ["0xAB12", "cd34"]},
    ]  # fmt: skip
    others = [written(tmp_path, json.dumps({"incidents": plain}), "truth.json"), written(tmp_path, CSV, "truth.csv")]
    for path in others:
        again = named(load_truth(path), {}).incidents
        assert [_facts(one) for one in again] == [_facts(one) for one in found]
    assert load_truth(others[1]).incidents[1].where == f"{tmp_path}/truth.csv:4"


def test_chains_are_named_as_the_configuration_names_them(tmp_path: Path) -> None:
    """Its own names first; a name that is no chain's is told, since it would leave the incident out."""
    text = YAML.replace("[ethereum]", "[mainnet, base, eip155:777, ethereum]")
    chains = {"mainnet": ETH, "base": "eip155:9999"}
    found = named(load_truth(written(tmp_path, text)), chains).incidents[0]
    assert found.chains == (ETH, "eip155:9999", "eip155:777", ETH)
    with pytest.raises(ConfigError) as caught:
        named(load_truth(written(tmp_path, YAML.replace("[ethereum]", "[etherum]"))), chains)
    assert str(caught.value) == f"{tmp_path}/truth.yaml:2: unknown chain 'etherum': did you mean 'ethereum'?"


def _facts(one: TruthIncident) -> Sequence[Any]:
    return one.id, one.entity, one.wallets, one.chains, one.start, one.end, one.transactions, one.lost, one.note


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
incident: []
incidents:
- entity: e
  from: 2024-03-01
- id: a
  form: 2024-03-01
  wallets: [[1]]
- id: a
  entity: e
- id: b
  entity: e
  from: yesterday
- id: c
  entity: e
  from: 2024-03-02
  until: 2024-03-01
- id: d
  entity: e
  until: 2024-03-01
  transactions: [t]
- id: e
  entity: e
  transactions: [x]
- id: e
  entity: e
  transactions: [x]
- just text
""",
    )
    with pytest.raises(ConfigError) as error:
        load_truth(path)
    found = [str(problem).removeprefix(f"{path}:") for problem in error.value.problems]
    assert found == [
        "1: unknown key 'incident': did you mean 'incidents'?",
        "3: id is missing",
        "5: when was it? expected from (and until), or transactions",
        "6: unknown key 'form': did you mean 'from'?",
        "7: wallets: expected text",
        "8: when was it? expected from (and until), or transactions",
        "12: from: time was 'yesterday', expected ISO 8601 such as 2018-01-25T15:02:00Z",
        "16: until is before from",
        "19: until without from",
        "24: id 'e' is used twice, first at " + f"{path}:21",
        "27: expected a mapping with id, entity, wallets, chains, from, until, transactions, lost, note",
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.yaml", "incidents: []\n", "t.yaml:1: incidents is empty"),
        ("t.yaml", "incidents: none\n", "t.yaml:1: expected `incidents:` with a list"),
        ("t.yaml", "note: nothing\n", "expected `incidents:` with a list"),
        ("t.yaml", "incidents: [\n", "t.yaml:2: not valid YAML"),
        ("t.csv", "", "there is no incident in it"),
        ("t.csv", "id,entity,form\nx,e,2024-01-01\n", "t.csv:1: unknown column 'form': did you mean 'from'?"),
        ("t.csv", "id,entity,from\nx,e\n", "t.csv:2: 2 cells, expected 3 as in the first line"),
        ("t.csv", 'id,entity,from\nx,e,"2024\n', "t.csv:2: not valid CSV"),
        ("t.csv", "id,entity,from,id\nx,e,2024-01-01,y\n", "t.csv:1: a column is there twice"),
    ],
)
def test_a_file_that_is_no_truth(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_truth(written(tmp_path, text, name))
    assert says in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("t.csv", "t.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_truth(tmp_path / name)


# -- where the data has them ------------------------------------------------------------------------------------------


def config() -> Config:
    wallets = [
        {"id": "hot", "entity": "exchange", "role": "hot", "addresses": [f"ethereum:{HOT}", f"bitcoin:{COIN}"]},
        {"id": "me", "role": "personal", "addresses": [f"ethereum:{SELF}"]},
    ]
    return config_from_mapping({"wallets": wallets}, Path(), "config")


def batch(*rows: dict[str, Any], chain: str = ETH) -> Batch:
    plain = {"chain": chain, "kind": "native", "transaction_index": 0, "asset": f"{chain}/slip44:60", "amount": 1.0}
    return Batch(chain, pl.DataFrame([{**dict.fromkeys(FRAME), **plain, **row} for row in rows], schema=FRAME))


def paid(at: int, tx: str, source: str | None = HOT, **more: Any) -> dict[str, Any]:
    return {"block_number": 100 + at // 12, "block_timestamp": START + at, "transaction_hash": tx,
            "from_address": source, "to_address": "0x" + "ee" * 20, "value": "1", **more}  # fmt: skip


def test_labelled_incidents_are_found_in_the_data() -> None:
    truth = Truth(
        "t",
        (
            TruthIncident("by hash", "exchange", transactions=frozenset({"ab12", "cd34"})),
            TruthIncident("by time", "", ("hot",), (ETH,), START + 50, START + 200),
            TruthIncident("open end", "me", start=START + 100),
            TruthIncident("elsewhere", "exchange", chains=("eip155:56",), transactions=frozenset({"ab12"})),
            TruthIncident("too late", "exchange", start=START + DAY, end=START + DAY),
            TruthIncident("nobody's", "somebody", start=START),
            TruthIncident("not theirs", "me", ("hot",), start=START),
            TruthIncident("coins", "exchange", chains=(BTC,), start=START, end=START + HOUR),
        ),
    )
    batches = [
        batch(
            paid(36, "0x" + "01" * 32),
            paid(60, "0xAB12", kind="fee"),
            paid(84, "0xAB12"),
            paid(120, "0x" + "02" * 32, SELF),
            paid(240, "CD34"),
        ),
        batch(paid(48, "f0", source=None, inputs=["1Other"]), paid(72, "f1", source=None, inputs=[COIN]), chain=BTC),
    ]
    placed = place(truth, config(), batches)
    assert placed.watched == {"by hash", "by time", "open end", "elsewhere", "too late", "coins"}
    assert placed.firsts == {
        "by hash": First(START + 60, ETH, 105, "0xAB12", START + 240),
        "by time": First(START + 84, ETH, 107, "0xAB12", START + 84),  # the fee is no payment
        "open end": First(START + 120, ETH, 110, "0x" + "02" * 32, START + 120),
        "coins": First(START + 72, BTC, 106, "f1", START + 72),
    }


def test_transactions_that_the_data_lacks_are_looked_for_in_their_time() -> None:
    span = {"start": START + 60, "end": START + 200}
    truth = Truth(
        "t",
        (
            TruthIncident("lost hash", "exchange", transactions=frozenset({"ab12"}), **span),
            TruthIncident("one of two", "exchange", transactions=frozenset({"cd34", "ef56"}), **span),
            TruthIncident("no time", "exchange", transactions=frozenset({"ab12"})),
        ),
    )
    batches = [batch(paid(36, ""), paid(84, ""), paid(96, "0xcd34")), batch(paid(120, ""))]
    assert place(truth, config(), batches).firsts == {
        "lost hash": First(START + 84, ETH, 107, "", START + 120),
        "one of two": First(START + 96, ETH, 108, "0xcd34", START + 96),
    }


# -- the verdict ------------------------------------------------------------------------------------------------------


def seen(name: str, start: int = 0, end: int = 0, **more: Any) -> Seen:
    plain: dict[str, Any] = {
        "id": name, "entity": "exchange", "wallets": frozenset({"hot"}), "chains": frozenset({ETH}),
        "severity": "high", "transactions": frozenset(), "start": START + start, "end": START + (end or start),
        "opened_at": START + start, "opened_chain": ETH, "opened_block": 100 + start // 12, "paged_at": None,
        "paged_chain": "", "paged_block": None, "share_at_open": None, "share_at_page": None,
    }  # fmt: skip
    return Seen(**(plain | more))


def verdict(*incidents: Seen, labelled: TruthIncident, first: int | None = 0, months: float = 2.0) -> Scored:
    firsts: dict[str, First] = {}
    if first is not None:
        firsts[labelled.id] = First(START + first, ETH, 100 + first // 12, "t", START + first)
    return judge(Placed(Truth("t", (labelled,)), firsts, frozenset({labelled.id})), incidents, months)


TIMED = TruthIncident("t", "exchange", start=START, end=START + HOUR)


@pytest.mark.parametrize(
    ("labelled", "incident", "matches"),
    [
        (TIMED, seen("a", HOUR), True),  # one moment in common is enough
        (TIMED, seen("a", HOUR + 1), False),
        (TIMED, seen("a", -HOUR, -1), False),
        (TIMED, seen("a", -HOUR, 0 + 1), True),
        (TIMED, seen("a", 60, entity="other"), False),
        (TruthIncident("t", "", ("hot",), start=START), seen("a", DAY), True),  # a day where the end is not known
        (TruthIncident("t", "", ("hot",), start=START), seen("a", DAY + 1), False),
        (TruthIncident("t", "exchange", ("cold",), start=START), seen("a", 60), False),  # the entity is not enough
        (TruthIncident("t", "", ("cold",), start=START), seen("a", 60, wallets=frozenset({"hot", "cold"})), True),
        (TruthIncident("t", "exchange", chains=(BTC,), start=START), seen("a", 60), False),
        (TruthIncident("t", "exchange", chains=(BTC,), start=START),
         seen("a", 60, chains=frozenset({ETH, BTC})), True),
        (TruthIncident("t", "exchange", transactions=frozenset({"x"})),
         seen("a", 9 * DAY, transactions=frozenset({"x", "y"})), True),
        (TruthIncident("t", "exchange", transactions=frozenset({"x"})),
         seen("a", 9 * DAY, transactions=frozenset({"y"})), False),
        (TruthIncident("t", "exchange", transactions=frozenset({"x"})), seen("a", 0), True),  # as the data shows it
        (TruthIncident("t", "other", transactions=frozenset({"x"})),
         seen("a", 0, transactions=frozenset({"x"})), False),
    ],
)  # fmt: skip
def test_what_matches(labelled: TruthIncident, incident: Seen, matches: bool) -> None:
    found = verdict(incident, labelled=labelled)
    assert [each.id for each in found.matched] == (["a"] if matches else [])
    assert [each.id for each in found.unmatched] == ([] if matches else ["a"])
    assert found.fates[0].fate == ("caught" if matches else "missed")


def test_one_theft_may_open_several_incidents_and_one_incident_cover_several_thefts() -> None:
    other = TruthIncident("u", "exchange", start=START + 1800, end=START + 2 * HOUR)
    firsts = {name: First(START + at, ETH, 100, "t", START + at) for name, at in (("t", 12), ("u", 1800))}
    placed = Placed(Truth("t", (TIMED, other)), firsts, frozenset({"t", "u"}))
    found = judge(placed, [seen("late", 3000), seen("early", 36), seen("false", 3 * DAY)], 4.0)
    assert [[each.id for each in fate.incidents] for fate in found.fates] == [["early", "late"], ["late"]]
    assert (found.precision, found.recall, found.false_alarms) == (2 / 3, 1.0, 0.25)
    assert found.fates[0].delay() == (24, 3)
    assert found.fates[1].delay() == (1200, 250)
    assert found.median_delay() == 612.0


def test_alarms_that_never_paged_are_told_so() -> None:
    lines = truth_lines(verdict(seen("one", 60), labelled=TIMED))
    assert lines[-1].startswith("median delay: 1 minute to the alarm, none paged; ")


def test_delays_and_shares_are_of_the_first_alarm_and_the_first_page() -> None:
    quiet = seen("a", 24, severity="low", share_at_open=0.1)
    loud = seen("b", 60, paged_at=START + 120, paged_chain=ETH, paged_block=110, share_at_open=0.4, share_at_page=0.6)
    other = seen("c", 90, paged_at=START + 110, paged_chain=BTC, paged_block=7, share_at_page=0.5)
    [fate] = verdict(loud, other, quiet, labelled=TIMED, first=12).fates
    assert fate.delay() == (12, 1)
    assert fate.delay(paged=True) == (98, None)  # blocks of another chain do not compare
    assert (fate.share(), fate.share(paged=True)) == (0.1, 0.5)
    [before] = verdict(quiet, labelled=TIMED, first=48).fates
    assert before.delay() == (-24, -2)
    assert before.delay(paged=True) == (None, None)
    assert before.share(paged=True) is None


def test_what_the_data_cannot_show_is_neither_caught_nor_missed() -> None:
    lost = verdict(labelled=TIMED, first=None, months=0.0)
    assert [fate.fate for fate in lost.fates] == ["outside"]
    unwatched = judge(Placed(Truth("t", (TIMED,)), {}, frozenset()), [seen("a", 60)], 1.0)
    assert [fate.fate for fate in unwatched.fates] == ["unwatched"]
    assert [each.id for each in unwatched.unmatched] == ["a"]
    for found in (lost, unwatched):
        assert found.recall is None
        assert truth_data(found)["recall"] == {"value": None, "low": None, "high": None}
    assert (lost.precision, lost.false_alarms) == (None, None)
    assert truth_data(lost)["false_alarms"]["per_wallet_month"] is None


def test_intervals_against_tables() -> None:
    """Garwood's interval, and Wilson's, as statistics packages print them."""
    assert [round(x, 4) for x in poisson(1)] == [0.0253, 5.5716]
    assert [round(x, 4) for x in poisson(10)] == [4.7954, 18.3904]
    assert [round(x, 2) for x in poisson(100)] == [81.36, 121.63]
    for one, other in zip(poisson(499), poisson(500), strict=True):  # exact, then approximated
        assert other - one == pytest.approx(1.0, abs=0.06)
    assert [round(x, 4) for x in wilson(0, 10)] == [0.0, 0.2775]
    assert [round(x, 4) for x in wilson(5, 10)] == [0.2366, 0.7634]
    assert wilson(10, 10)[1] == 1.0


# -- on a whole backtest ----------------------------------------------------------------------------------------------


def theft(folder: Path) -> Path:
    """Payments every hour for 40 days, then half of what is there at once."""
    rows = [(3600 * n, HOT, f"0x{n % 50:040x}", 10**16 * (1 + n % 7)) for n in range(1, 960)]
    rows += [(0, SELF, HOT, 10**21)]
    rows += [(960 * 3600 + 12 * n, HOT, "0x" + "bad0" * 10, 10**20) for n in range(4)]
    rows.sort()
    path = folder / "history.parquet"
    pl.DataFrame(
        {
            "chain": ["ethereum"] * len(rows),
            "block_number": [1000 + at // 12 for at, *_ in rows],
            "block_timestamp": [START + at for at, *_ in rows],
            "transaction_hash": [f"0x{number:064x}" for number in range(len(rows))],
            "from_address": [source for _, source, _, _ in rows],
            "to_address": [target for _, _, target, _ in rows],
            "asset": ["native"] * len(rows),
            "value": [str(value) for *_, value in rows],
        }
    ).write_parquet(path)
    return path


def test_a_backtest_is_scored(tmp_path: Path) -> None:
    from rich.console import Console

    truth = load_truth(
        written(
            tmp_path,
            f"""\
incidents:
- id: the theft
  entity: exchange
  from: {START + 960 * 3600}
  until: {START + 960 * 3600 + 60}
- id: an earlier one
  wallets: [hot]
  from: {START - 90 * DAY}
- id: of a stranger
  entity: stranger
  from: {START}
""",
        )
    )
    with run_backtest(config(), [str(theft(tmp_path))]) as outcome:
        found = score(outcome, truth)
        incidents, report = outcome.incidents, outcome.report
    assert [fate.fate for fate in found.fates] == ["caught", "outside", "unwatched"]
    assert found.recall == 1.0
    fate = found.fates[0]
    assert fate.first is not None
    assert (fate.first.at, fate.first.block) == (START + 960 * 3600, 1000 + 960 * 300)
    caught = next(incident for incident in incidents if incident.id == fate.incidents[0].id)
    assert fate.delay() == (caught.opened_at - fate.first.at, caught.opened_block - fate.first.block)
    assert fate.share() == caught.share_lost_at_open
    assert len(found.matched) + len(found.unmatched) == len(report["incidents"])
    data = truth_data(found)
    assert json.loads(json.dumps(data)) == data
    assert (data["labelled"], data["caught"], data["missed"], data["outside"], data["unwatched"]) == (3, 1, 0, 1, 1)
    assert sum(n["matched"] + n["unmatched"] for n in data["by_severity"].values()) == data["incidents"]
    assert [entry["id"] for entry in data["fates"]] == ["the theft", "an earlier one", "of a stranger"]
    for incident, plain in zip(incidents, report["incidents"], strict=True):
        one, other = seen_in(incident), reported(plain)
        same = ("id", "start", "opened_at", "opened_block", "paged_at", "paged_block", "severity", "chains")
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert other.transactions <= one.transactions
    assert truth_lines(found)[0].startswith("labelled incidents: 1 of 1 caught, 100.0 % (")
    assert truth_lines(found)[0].endswith("1 of which the data shows nothing, 1 of wallets that are not watched")
    assert [line.split("  ")[0] for line in truth_rows(found)[1:]] == ["the theft", "an earlier one", "of a stranger"]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(truth_table(found))
    assert "unwatched" in console.export_text()
