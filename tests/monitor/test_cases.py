"""Built-in thefts: their facts are those of the sources, their replay is consistent and honest about what it adds."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from monitor.addresses import canonical
from monitor.background import Hot, Occasional
from monitor.block_clock import BlockClock
from monitor.case import Case, case_ids, load_case, parse_case
from monitor.case_file import Movement, network_of
from monitor.cli import case as case_command
from monitor.errors import ConfigError
from monitor.ids import from_iso, iso

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data") / "incidents"
needs_data = pytest.mark.skipif(not (DATA / "incidents.yaml").exists(), reason="no real data (HEISTWATCH_DATA)")
TEXTS = Path(__file__).parents[2] / "monitor" / "cases"
IDS = case_ids()
REPLAYED = [name for name in IDS if load_case(name).replayable]
INCIDENTS = {
    "coincheck-2018": "coincheck-2018-01-26",
    "lubian-2020": "lubian-2020-12-28",
    "mtgox-2011": "mtgox-2011-03-01",
    "parity-2017": "parity-multisig-2017-07-19",
    "upbit-2019": "upbit-2019-11-27",
    "wbtc-poisoning-2024": "wbtc-poisoning-2024-05-03",
    "wintermute-2022": "wintermute-2022-09-20",
    "zaif-2018": "zaif-2018-09-14",
}
LOST = {
    "coincheck-2018": ["526,300,010 XEM"],
    "lubian-2020": ["112,153.495283 BTC"],
    "mtgox-2011": ["79,956.55 BTC"],
    "parity-2017": ["153,037 ETH"],
    "upbit-2019": ["342,000 ETH"],
    "wbtc-poisoning-2024": ["1,155.28802767 WBTC"],
    "wintermute-2022": ["15,989,038 USDT", "8,937,110 DAI", "5,890 WETH", "671 WBTC", "21,831,037 USDC"],
    "zaif-2018": ["42,327.1 BCH", "5,966.1 BTC", "6,236,810.1 MONA"],
}


def text_of(name: str) -> str:
    return (TEXTS / f"{name}.yaml").read_text("utf-8")


def changed(name: str, old: str, new: str) -> Case:
    text = text_of(name)
    assert old in text
    return parse_case(text.replace(old, new, 1), name)


def senders_of(row: dict[str, Any]) -> list[tuple[str, int]]:
    """(address, base units) that a row's transaction takes; once a transaction on UTXO chains."""
    if "input_values" in row:
        return list(zip(row["from_address"], map(int, row["input_values"]), strict=True))
    return [(row["from_address"], int(row["value"]))]


class Ledger:
    """Balances of the watched addresses while the rows of a case are played."""

    def __init__(self, case: Case) -> None:
        self.held = {(b["chain"], b["address"], b["asset"]): int(b["value"]) for b in case.balances()}
        self._seen: set[str] = set()

    def play(self, row: dict[str, Any]) -> None:
        if row["transaction_hash"] not in self._seen:
            for address, value in senders_of(row):
                self._add(row, address, -value)
        if "input_values" in row:
            self._seen.add(row["transaction_hash"])
        self._add(row, row["to_address"], int(row["value"]))

    def _add(self, row: dict[str, Any], address: str, value: int) -> None:
        key = row["chain"], address, row["asset"]
        if key in self.held:
            self.held[key] += value


# -- files ----------------------------------------------------------------------------------------------------------


def test_the_nine_cases_are_there() -> None:
    """The promised thefts, and only Xi'an is a fact sheet."""
    assert list(IDS) == sorted([*INCIDENTS, "xian-2018"])
    assert set(IDS) - set(REPLAYED) == {"xian-2018"}


def test_an_unknown_case_gets_a_hint() -> None:
    """A misspelt name is an error with the nearest valid one."""
    with pytest.raises(ConfigError, match=r"unknown case 'coinchek-2018': did you mean 'coincheck-2018'\?"):
        load_case("coinchek-2018")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("entity: Coincheck", "entity: Coincheck\nentitty: Coincheck", "entitty"),
        ("role: hot", "role: hot\n    colour: red", "wallets.0.colour"),
        ("{kind: hot, per_day: 150", "{kind: hot, per_dy: 150", "per_dy"),
        ("source: [BI161079, SHINMAI]", "source: NOBODY", "source 'NOBODY' is not listed"),
        ('latest: "2018-01-25T15:10:00Z",', "", "needs `earliest` and `latest`"),
        ('at: "2018-01-25T15:04:00Z"', 'at: "2018-01-25T15:14:00Z"', "outside its bracket"),
        ("source: RECOLLECTION, verified: false", "source: RECOLLECTION", "needs `verified: false`"),
        ("chain: nem", "chain: nemo", "'nemo' is not the name of a built-in network"),
        ("precision: minute, placed: *minute", "precision: minute", "needs `placed`"),
        ("replayable: true", "replayable: false", "needs why_not"),
        ("assumed:", "presumed:", "presumed"),
        ("version: 1", "version: [", "not YAML"),
    ],
)
def test_a_case_file_is_strict(old: str, new: str, complaint: str) -> None:
    """Unknown keys, unlisted sources and times without their precision are errors."""
    with pytest.raises(ConfigError) as caught:
        changed("coincheck-2018", old, new)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('value: "526300010 XEM"', 'value: "526300009 XEM"', "more was taken from coincheck-hot than it held"),
        ('value: "10 XEM"', 'value: "10 ETH"', "expected an amount in XEM, found ETH"),
        ("nem:NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ", "nem:NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSA", "checksum"),
    ],
)
def test_facts_that_cannot_be_together_stop_a_replay(old: str, new: str, complaint: str) -> None:
    """A balance below the loss, a wrong unit and a wrong checksum are found before anything is replayed."""
    with pytest.raises(ConfigError, match=complaint):
        changed("coincheck-2018", old, new).rows()


@pytest.mark.parametrize("name", IDS)
def test_every_address_passes_its_checksum(name: str) -> None:
    """Suspects, receivers and wallets are valid addresses of their networks."""
    file = load_case(name).file
    full = [s.address for s in file.suspects] + [a for w in file.wallets for a in w.addresses]
    for text in full:
        chain, _, address = text.partition(":")
        assert canonical(network_of(chain), address)
    for movement in [*file.theft, *file.totals]:
        assert canonical(network_of(movement.chain), movement.to)


@pytest.mark.parametrize("name", IDS)
def test_every_case_says_what_is_not_known(name: str) -> None:
    """The narrative names sources, generated traffic, assumptions, placeholders; or why there is no replay."""
    case = load_case(name)
    shown = case.narrative
    for key in case.file.sources:
        assert f"  {key}: " in shown
    for claim in case.file.facts:
        assert claim.verified or "[unverified]" in shown.split(claim.text)[1].split("\n")[0]
    if case.replayable:
        assert "generated" in shown and "before the theft: assumed" in shown
        placeholders = any(tx.startswith("case:") for tx in case.theft_transactions)
        assert placeholders == ("are placeholders" in shown)
        assert bool(case.file.heights) == ("are made up" in shown)
    else:
        assert "any replay would be invention" in shown


def test_what_cannot_be_replayed_says_why() -> None:
    """The fact sheet of Xi'an has no rows and no configuration."""
    case = load_case("xian-2018")
    for call in (case.rows, case.balances, case.config):
        with pytest.raises(ConfigError, match="xian-2018 cannot be replayed: no address"):
            call()


# -- facts against the collection of sources ---------------------------------------------------------------------


def incident(name: str) -> dict[str, Any]:
    every = yaml.load((DATA / "incidents.yaml").read_text("utf-8"), yaml.BaseLoader)["incidents"]
    found: dict[str, Any] = next(entry for entry in every if entry["id"] == INCIDENTS[name])
    return found


@needs_data
@pytest.mark.parametrize("name", REPLAYED)
def test_movements_are_those_of_the_sources(name: str) -> None:
    """Every transaction with a hash or time has the same amount, block, receiver and time to its precision."""
    case = load_case(name)
    ours = {(m.tx or (m.at, m.value)): m for m in case.file.theft}
    compared = 0
    for theirs in incident(name)["theft_transactions"]:
        if theirs["phase"] in ("control_change", "laundering") or theirs["amount"] in ("null", ""):
            continue
        at = None if theirs["time_utc"] == "null" else from_iso(theirs["time_utc"])
        mine = ours.get(theirs["tx_hash"]) or ours.get((at, f"{theirs['amount']} {theirs['asset']}"))
        if mine is None:
            assert name == "zaif-2018" and theirs["tx_hash"] == "null", theirs
            continue
        compared += 1
        assert mine.value == f"{theirs['amount']} {theirs['asset']}" or name == "lubian-2020"
        assert Decimal(mine.value.split()[0]) == Decimal(theirs["amount"])
        assert str(mine.block or "null") == theirs["block"]
        assert mine.to == theirs["to"]
        if theirs["time_precision"] != "null":
            assert str(mine.precision) == theirs["time_precision"]
            assert mine.precision == "day" or mine.at == at
    assert compared == {"lubian-2020": 15, "zaif-2018": 1, "wbtc-poisoning-2024": 3}.get(name, len(ours))


@needs_data
def test_the_totals_of_zaif_are_those_of_the_sources() -> None:
    """Sum and window of each leg; the Bitcoin leg is its first transaction and the rest."""
    every = incident("zaif-2018")["theft_transactions"]
    theirs = {entry["chain"]: entry for entry in every if entry["tx_hash"] == "null"}
    for total in load_case("zaif-2018").file.totals:
        entry = theirs[total.chain]
        assert total.value.split()[0] == entry["amount"]
        first, last = iso(total.first), iso(total.last)
        assert entry["time_utc"] in (str(first)[:-1], str(last)[:-1])
        assert total.chain == "bitcoin" or str(last)[11:-1] in entry["note"]
    loss = {entry["asset"]: Decimal(entry["amount"]) for entry in incident("zaif-2018")["loss"]}
    assert loss == {s.symbol: Decimal(s.value) / 10**8 for s in load_case("zaif-2018").stolen}


@needs_data
def test_lubian_is_the_transcribed_list() -> None:
    """All 91 transactions, each field."""
    with (DATA / "lubian_2020-12-28_first_17_minutes.csv").open() as lines:
        theirs = {
            (r["tx_hash"], from_iso(r["time_utc"]), r["from_address"], r["to_address"], Decimal(r["amount"]))
            for r in csv.DictReader(lines)
        }
    ours = {(m.tx, m.at, m.sender[0], m.to, Decimal(m.value.split()[0])) for m in load_case("lubian-2020").file.theft}
    assert len(ours) == 91 and ours == theirs


@needs_data
@pytest.mark.parametrize("name", sorted(set(REPLAYED) - {"lubian-2020"}))
def test_suspects_and_wallets_are_those_of_the_sources(name: str) -> None:
    """Known addresses of victim and thief are stated, no others."""
    theirs = {
        canonical(network_of(entry["chain"]), entry["address"])
        for entry in [*incident(name)["thief_addresses"], *incident(name)["victim_addresses"]]
        if " " not in entry["address"]
    }
    file = load_case(name).file
    texts = [s.address for s in file.suspects] + [a for w in file.wallets for a in w.addresses]
    ours = {canonical(network_of(text.partition(":")[0]), text.partition(":")[2]) for text in texts}
    if name == "zaif-2018":
        tags = yaml.safe_load((DATA / "graphsense_hacks.yaml").read_text("utf-8"))["tags"]
        theirs |= {tag["address"] for tag in tags if tag["label"] == "Zaif"}
    if name == "wbtc-poisoning-2024":  # the destination that was meant is the victim's counterparty
        ours |= {m.to for m in file.theft if m.phase == "owner"}
    assert ours == theirs


# -- replay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPLAYED)
def test_the_loss_is_the_stated_one(name: str) -> None:
    """Theft rows to the thief add up to the stated loss, to the last base unit."""
    case = load_case(name)
    assert [s.display for s in case.stolen] == LOST[name]
    receivers = {canonical(network_of(m.chain), m.to) for m in [*case.file.theft, *case.file.totals]}
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in case.rows():
        if row["transaction_hash"] in case.theft_transactions and row["to_address"] in receivers:
            sums[row["chain"], row["asset"]] += int(row["value"])
    assert sums == {(s.chain, s.asset): s.value for s in case.stolen}


@pytest.mark.parametrize("name", REPLAYED)
def test_a_replay_is_the_same_every_time(name: str) -> None:
    """Rows and balances are a pure function of the file."""
    case, again = load_case(name), parse_case(text_of(name), name)
    assert again is not case
    assert case.rows() == again.rows() and case.balances() == again.balances() and case.config() == again.config()


@pytest.mark.parametrize("name", REPLAYED)
def test_balances_are_never_negative_and_add_up_at_the_theft(name: str) -> None:
    """Before each wallet's theft it holds exactly what is stated; no address is ever overdrawn."""
    case = load_case(name)
    expected: dict[tuple[str, str, str], int] = {}
    for b in case.file.balance_before:
        expected[b.wallet, b.chain, case.file.asset(b.chain, b.asset)[0]] = case.file.amount(b.chain, b.asset, b.value)
    owner = {key: wallet for wallet, keys in case.replay.addresses.items() for key in keys}
    ledger = Ledger(case)
    rows = case.rows()
    checked = set()
    for place, row in enumerate(rows):
        robbed = owner.get((row["chain"], senders_of(row)[0][0]))
        if row["transaction_hash"] in case.theft_transactions and robbed is not None:
            key = robbed, row["chain"], row["asset"]
            if key not in checked:
                checked.add(key)
                held = sum(v for (chain, address, asset), v in ledger.held.items()
                           if owner[chain, address] == robbed and (chain, asset) == key[1:])
                assert held == expected[key]
        ledger.play(row)
        following = rows[place + 1]["transaction_hash"] if place + 1 < len(rows) else None
        assert following == row["transaction_hash"] or min(ledger.held.values()) >= 0
    assert checked == {key for key in expected if key[2] != "native" or name != "wbtc-poisoning-2024"}


@pytest.mark.parametrize("name", REPLAYED)
def test_rows_are_in_chain_order_with_consistent_blocks(name: str) -> None:
    """Numbers and times of blocks rise together, indices count up within a block, every column is there."""
    case = load_case(name)
    rows = case.rows()
    assert 0 < len(rows) <= 20_000
    times = [row["block_timestamp"] for row in rows]
    assert times == sorted(times)
    for chain in case.chains:
        own = [row for row in rows if row["chain"] == chain]
        order = [(r["block_number"], r["transaction_index"], r["transfer_index"]) for r in own]
        assert order == sorted(order) and len(set(order)) == len(order)
        blocks = {r["block_number"]: r["block_timestamp"] for r in own}
        assert all(blocks[r["block_number"]] == r["block_timestamp"] for r in own)
        assert sorted(blocks.values()) == [blocks[number] for number in sorted(blocks)]
        assert len(set(blocks.values())) == len(blocks)
        before = {b["block_number"] for b in case.balances() if b["chain"] == chain}
        assert len(before) == 1 and before.pop() < own[0]["block_number"]
    for row in rows:
        utxo = network_of(row["chain"]).kind == "bitcoin"
        assert ("input_values" in row) == utxo == isinstance(row["from_address"], list)
        assert row["value"].isdigit() and row["decimals"] >= 0 and row["symbol"]
        assert row["transaction_hash"] == row["transaction_hash"].lower()


@pytest.mark.parametrize("name", REPLAYED)
def test_known_times_and_blocks_are_kept(name: str) -> None:
    """A theft row has the time of its fact, and its block where that is known."""
    case = load_case(name)
    rows = {row["transaction_hash"]: row for row in case.rows()}
    for movement in case.file.theft:
        row = rows[movement.tx] if movement.tx else None
        if row is not None:
            assert row["block_timestamp"] == movement.at
            assert movement.block in (None, row["block_number"])
    ordered = sorted(case.file.theft, key=lambda m: m.at)
    if not case.file.totals and all(m.phase in ("probe", "theft") for m in ordered):
        assert [rows[tx]["block_timestamp"] for tx in case.theft_transactions] == [m.at for m in ordered]


@pytest.mark.parametrize("name", REPLAYED)
def test_hashes_that_are_not_known_are_visibly_not_hashes(name: str) -> None:
    """Real hashes come from the facts alone; everything else says that it is made."""
    case = load_case(name)
    real = {m.tx for m in case.file.theft if m.tx}
    for row in case.rows():
        tx = row["transaction_hash"]
        assert tx in real or tx.startswith((f"case:{name}:", f"background:{name}:"))


@pytest.mark.parametrize("name", REPLAYED)
def test_traffic_before_the_theft_is_ordinary(name: str) -> None:
    """30 days; no payment above its cap, no tenth of a balance in an hour, and none to the thief."""
    case = load_case(name)
    file = case.file
    assert file.background is not None and file.background_note is not None and file.background.days == 30
    assert case.background_starts_at == case.theft_starts_at - 30 * 86400
    suspects = {s.address.partition(":")[2] for s in file.suspects}
    own = {address for keys in case.replay.addresses.values() for _, address in keys}
    for leg in file.background.legs:
        if isinstance(leg.traffic, Hot | Occasional):
            assert leg.traffic.cap <= 0.05 and leg.traffic.hour_cap <= 0.10
            target = next(
                file.amount(b.chain, b.asset, b.value) for b in file.balance_before
                if (b.wallet, b.chain, b.asset) == (leg.wallet, leg.chain, leg.asset)
            )
            place = file.background.legs.index(leg)
            paid = [
                int(row["value"]) for row in case.rows()
                if row["transaction_hash"].startswith(f"background:{name}:{place}:") and row["to_address"] not in own
            ]
            assert max(paid, default=0) <= leg.traffic.cap * target
    for row in case.rows():
        if row["transaction_hash"].startswith("background:"):
            assert row["to_address"] not in suspects
            assert case.background_starts_at - 600 <= row["block_timestamp"] < case.theft_ends_at


def test_theft_transactions_are_in_order() -> None:
    """Coincheck: the probe, then the first payment of 100,000,000 XEM, then the rest."""
    case = load_case("coincheck-2018")
    assert case.theft_transactions == tuple(f"case:coincheck-2018:{n}" for n in range(1, 12))
    values = {row["transaction_hash"]: int(row["value"]) // 10**6 for row in case.rows()}
    assert [values[tx] for tx in case.theft_transactions] == [
        10, 100_000_000, 100_000_000, 100_000_000, 100_000_000, 100_000_000, 20_000_000, 3_000_000, 1_500_000,
        1_000_000, 800_000,
    ]  # fmt: skip
    assert iso(case.theft_starts_at) == "2018-01-25T15:02:00Z" and iso(case.theft_ends_at) == "2018-01-25T23:26:00Z"
    assert iso(case.noticed_at) == "2018-01-26T02:25:00Z"
    assert case.stolen_after(from_iso("2018-01-25T15:06:00Z"))[0].display == "326,300,000 XEM"


def test_a_bait_is_no_theft() -> None:
    """The owner's test payment and the zero-value bait are in the rows, and not among the thief's takings."""
    case = load_case("wbtc-poisoning-2024")
    special = [m for m in case.file.theft if m.phase in ("owner", "bait")]
    rows = {row["transaction_hash"]: row for row in case.rows()}
    assert [rows[str(m.tx)]["value"] for m in special] == ["50000000000000000", "0"]
    assert case.theft_transactions == ("0x3374abc5a9c766ba709651399b6e6162de97ca986abc23f423a9d893c8f5f570",)


def test_a_time_that_is_not_verified_is_marked_wherever_it_is_shown() -> None:
    """In the story, and beside what a run says of when the victim noticed."""
    marked = {name for name in REPLAYED if load_case(name).noticed_mark}
    assert marked == {"lubian-2020", "upbit-2019"}
    case = load_case("upbit-2019")
    done = CliRunner().invoke(case_command.command, ["run", case.id], standalone_mode=False)
    assert "hours after it [unverified]" in done.output and "4.83" in done.output
    (line,) = [line for line in case.narrative.split("\n") if line.startswith("Noticed by the victim")]
    assert line.endswith("[unverified]")


@pytest.mark.parametrize("name", ["mtgox-2011", "zaif-2018"])
def test_coins_tell_nothing_that_is_not_known(name: str) -> None:
    """A generated payment and one that is known by its sum alone spend one coin and bring change back, both alike."""
    replay = load_case(name).replay
    held = {address for keys in replay.addresses.values() for _, address in keys}
    found = [
        step for step in replay.steps
        if step.inputs[0][0] in held and (step.phase is None or step.tx.startswith("case:"))
    ]  # fmt: skip
    assert len(found) > 100
    for step in found:
        ((payer, spent),) = step.inputs
        left = spent - step.value
        assert step.outputs[1:] == (((payer, left),) if left else ())
    assert sum(len(step.outputs) == 1 for step in found) < 10


def test_movements_know_their_precision() -> None:
    """Brackets lie within their bounds, and only what is known to the second has no chosen time."""
    for name in REPLAYED:
        for movement in load_case(name).file.theft:
            assert isinstance(movement, Movement)
            assert (movement.precision == "second") == (movement.placed is None)


def test_a_clock_runs_through_its_anchors() -> None:
    """Between anchors the line, outside the usual pace; anchors that run back are refused."""
    clock = BlockClock([(100, 1000), (110, 1600)], 12.0)
    assert [clock.at(t) for t in (976, 999, 1000, 1599, 1600, 1613)] == [
        (98, 976), (99, 988), (100, 1000), (109, 1540), (110, 1600), (111, 1612)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="increase together"):
        BlockClock([(100, 1000), (100, 1600)], 12.0)


@pytest.mark.parametrize("name", REPLAYED)
def test_the_engine_is_silent_before_the_theft_and_loud_at_it(name: str, tmp_path: Path) -> None:
    """No incident on the generated traffic; each victim's theft is at least high."""
    from monitor.app import backtest

    case = load_case(name)
    for stem, rows in (("rows", case.rows()), ("balances", case.balances())):
        (tmp_path / f"{stem}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = backtest(case.config(), [str(tmp_path / "rows.ndjson"), str(tmp_path / "balances.ndjson")])
    assert report["data"]["bad_rows"] == 0
    for found in report["incidents"]:
        assert found["opened_tx"] in case.theft_transactions
    loud = {found["entity"] for found in report["incidents"] if found["severity"] in ("high", "critical")}
    assert loud == {wallet["entity"] for wallet in case.config()["wallets"]}
    if name == "coincheck-2018":
        (found,) = report["incidents"]
        assert case.theft_transactions.index(found["opened_tx"]) <= 2 and found["share_lost_at_open"] <= 0.40
