"""Outsiders cannot move a threshold, and no trick of a thief costs the owner much more than a plain theft does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.app import run_backtest
from monitor.config import config_from_mapping
from monitor.features.dtypes import FUSION
from monitor.ids import from_iso
from monitor.intake import MAX_UNPROVEN
from tests.acceptance.made_history import DAY, END, ETHER, HOUR, START, Made
from tests.scorecard.dynamics import DEPOSIT, THEFT, Flows
from tests.scorecard.plan import Part
from tests.scorecard.score import judge, simulate
from tests.scorecard.table import Simulated, configuration

HELD = 20_000  # ether
TAKEN = 19_000
MINUTE = 60
MORE = 1.3  # what a trick may cost, in losses of a plain theft when the alarm comes

# -- outsiders --------------------------------------------------------------------------------------------------------


def quiet_wallet() -> Made:
    """Seventy ordinary days in two assets."""
    case = Made("ethereum")
    case.wallet("hot")
    case.live("hot", HELD * ETHER)
    case.live("hot", 5000 * ETHER, asset=case.at("usd"), per_day=30.0)
    return case


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[bytes, bytes], list[Any]]:
    """(records, incidents) without any noise."""
    incidents, engine = quiet_wallet().run(tmp_path_factory.mktemp("undisturbed"))
    return dict(engine.dump()), incidents


Noise = Callable[[Made, int, int, str], None]


def forged_tokens(case: Made, n: int, at: int, stranger: str) -> None:
    case.move(at, case.at("hot"), stranger, 10**24, case.at(f"fake {n % 900}"), signer=stranger)


def forged_nothing(case: Made, n: int, at: int, stranger: str) -> None:
    asset = "native" if n % 2 else case.at("usd")
    case.move(at, case.at("hot"), stranger, 0, asset, signer=stranger)


def worthless_tokens(case: Made, n: int, at: int, stranger: str) -> None:
    case.move(at, stranger, case.at("hot"), 10**30, case.at(f"junk {n % 900}"))


def everything(case: Made, n: int, at: int, stranger: str) -> None:
    (forged_tokens, forged_nothing, worthless_tokens)[n % 3](case, n, at, stranger)


def disturbed(noise: Noise, count: int) -> Made:
    """The quiet wallet, and ``count`` transactions of fifty strangers at any moment but the last day."""
    case, rng = quiet_wallet(), Random(7)
    for n in range(count):
        noise(case, n, rng.randrange(START + HOUR, END - DAY), case.at(f"stranger {n % 50}"))
    return case


@pytest.mark.parametrize(
    ("noise", "count"),
    [(forged_tokens, 5000), (forged_nothing, 5000), (worthless_tokens, 5000), (everything, 100_000)],
)
def test_forgeries_and_worthless_tokens_change_nothing(
    tmp_path: Path, undisturbed: tuple[dict[bytes, bytes], list[Any]], noise: Noise, count: int
) -> None:
    """Every record of the engine is the same to the last bit; arrivals open so many records of tokens and no more."""
    calm, calm_incidents = undisturbed
    incidents, engine = disturbed(noise, count).run(tmp_path)
    records = dict(engine.dump())
    assert {key: records.get(key) for key in calm} == calm and incidents == calm_incidents
    new = [key for key in records if key not in calm]
    assert len(new) <= MAX_UNPROVEN and all(key.startswith(b"a") for key in new)
    assert (len(new) > 0) is (noise in (worthless_tokens, everything))


@pytest.mark.parametrize("asset", ["native", "usd"])
def test_dust_moves_no_threshold(
    tmp_path: Path, undisturbed: tuple[dict[bytes, bytes], list[Any]], asset: str
) -> None:
    """One unit at a time in coins that the wallet holds, day and night: thresholds stay within a ten-thousandth.

    Balances are averaged in steps from flow to flow, so that the last digits of shares depend on when flows come.
    """
    calm, calm_incidents = undisturbed

    def dust(case: Made, n: int, at: int, stranger: str) -> None:
        case.move(at, stranger, case.at("hot"), 1, asset if asset == "native" else case.at(asset))

    incidents, engine = disturbed(dust, 5000).run(tmp_path)
    records = dict(engine.dump())
    assert records.keys() == calm.keys()
    assert [i["opened_tx"] for i in incidents] == [i["opened_tx"] for i in calm_incidents]
    (key,) = (key for key in calm if key.startswith(b"w"))
    before, after = (np.frombuffer(found[key], FUSION)[0] for found in (calm, records))
    for name in ("days", "delta", "guard", "exceeded", "prints", "warm_from"):
        assert np.array_equal(before[name], after[name]), name
    for name in ("tau", "centre", "width", "u", "s"):
        assert after[name] == pytest.approx(before[name], rel=1e-3, abs=1e-4), name


def with_decoy(wallet: Simulated, days: float) -> Simulated:
    """The same theft to the unit, ``days`` after an outsider paid in as much as the wallet usually holds."""
    flows, asset = wallet.flows, wallet.life.main
    at = int(flows.at[int(np.flatnonzero(flows.what == THEFT)[0])] - days * DAY)
    place = int(np.searchsorted(flows.at, at, side="right"))
    row = {"at": at, "asset": asset, "what": DEPOSIT, "value": int(wallet.life.target[asset]), "place": 0}
    return replace(wallet, flows=Flows(*(np.insert(getattr(flows, name), place, value) for name, value in row.items())))


@pytest.mark.timeout(300)
def test_inflow_decoys_hide_no_theft(tmp_path: Path) -> None:
    """The wallet's own typical balance paid in an hour, a day or a week before: as many thefts are seen as without."""
    part = Part("base", "coincheck", tuple(range(3000, 3006)))
    wallets = [simulate(part, seed) for seed in part.seeds]
    seen = {}
    for days in (None, 1 / 24, 1.0, 7.0):
        shown = wallets if days is None else [with_decoy(wallet, days) for wallet in wallets]
        paths = [str(tmp_path / f"{days}.parquet"), str(tmp_path / f"{days}-balances.parquet")]
        pl.concat([wallet.transfers() for wallet in shown]).write_parquet(paths[0])
        pl.concat([wallet.balances() for wallet in shown]).write_parquet(paths[1])
        incidents = run_backtest(config_from_mapping(configuration(shown, 1.0), tmp_path, "decoys"), paths)["incidents"]
        outcomes = [judge(part, 1.0, w, [i for i in incidents if i["entity"] == w.name]) for w in shown]
        seen[days] = sum(o.detected or o.joined for o in outcomes)
    assert seen[None] >= len(wallets) - 1 and min(seen.values()) == seen[None], seen


# -- thieves ----------------------------------------------------------------------------------------------------------


def stolen(folder: Path, theft: Callable[[Made, str], None]) -> tuple[float, list[dict[str, Any]]]:
    """A theft from an ordinary wallet: (share of its balance gone when the alarm came, incidents of the theft).

    What goes to an address whose name begins with "thief" is the thief's.
    """
    case = Made("ethereum")
    hot = case.wallet("hot")
    case.live("hot", HELD * ETHER)
    known = len(case.rows)
    theft(case, hot)
    own = [row for row in case.rows[known:] if row["sender"] == hot]
    incidents, _ = case.run(folder)
    late = [i for i in incidents if from_iso(i["opened_at"]) >= END - HOUR]
    gone = 0
    for row in sorted(own, key=lambda row: int(row["at"])):
        gone += row["value"] if row["at"] >= END - HOUR else 0
        if late and "0x" + row["tx"] == late[0]["opened_tx"]:
            break
    return gone / (HELD * ETHER), late


def in_pieces(
    count: int, *, total: int = TAKEN * ETHER, step: int = MINUTE, fresh: bool = False, left: int = 0
) -> Callable[[Made, str], None]:
    """``total`` less ``left`` base units in ``count`` equal payments, ``fresh``: each to a new address."""

    def theft(case: Made, hot: str) -> None:
        for k in range(count):
            value = total // count - (left if k == count - 1 else 0)
            case.move(END + step * k, hot, case.at(f"thief {k if fresh else 0}"), value)

    return theft


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> float:
    """What a plain theft has taken when the alarm comes: 95 % in ten payments to one address, one a minute."""
    gone, incidents = stolen(tmp_path_factory.mktemp("plain"), in_pieces(10))
    (incident,) = incidents
    assert incident["severity"] == "critical" and incident["share_lost"] > 0.9
    return gone


@pytest.mark.parametrize(
    "theft",
    [
        pytest.param(in_pieces(10, fresh=True), id="each piece to a new address"),
        pytest.param(in_pieces(100, fresh=True, step=30), id="a hundred pieces to a hundred addresses"),
        pytest.param(in_pieces(10, left=1), id="one unit is left behind"),
        pytest.param(in_pieces(10, step=12), id="a piece a block"),
        pytest.param(in_pieces(10, step=0), id="all in one block"),
    ],
)
def test_tricks_with_pieces(tmp_path: Path, plain: float, theft: Callable[[Made, str], None]) -> None:
    """Caught, with no more lost at the alarm than 1.3 times what the plain theft had taken, and critical."""
    gone, (incident,) = stolen(tmp_path, theft)
    assert gone <= MORE * plain and incident["severity"] == "critical" and incident["status"] == "open"


def test_a_payment_split_over_two_blocks(tmp_path: Path) -> None:
    """60 % in two payments in two blocks: the alarm comes with the first."""
    gone, incidents = stolen(tmp_path, in_pieces(2, total=HELD * ETHER * 6 // 10, step=12))
    assert len(incidents) == 1 and gone == pytest.approx(0.3)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("step", [12, 10 * MINUTE])
def test_pieces_just_under_the_threshold(tmp_path: Path, plain: float, fresh: bool, step: int) -> None:
    """Each payment is the largest that raises nothing alone: the sums give it away."""
    low, high = 0, HELD * ETHER // 2
    assert stolen(tmp_path, in_pieces(1, total=high))[1]
    while high - low > HELD * ETHER // 2000:
        middle = (low + high) // 2
        if stolen(tmp_path, in_pieces(1, total=middle))[1]:
            high = middle
        else:
            low = middle
    count = TAKEN * ETHER // low
    gone, incidents = stolen(tmp_path, in_pieces(count, total=count * low, step=step, fresh=fresh))
    assert incidents and gone <= MORE * plain
    assert incidents[0]["severity"] == "critical" and incidents[0]["share_lost"] > 0.8


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.02])
def test_an_address_made_known_before(tmp_path: Path, plain: float, share: float) -> None:
    """A payment 15 days before, up to what customers take at most: the address is known, the theft is caught."""

    def theft(case: Made, hot: str) -> None:
        case.move(END - 15 * DAY, hot, case.at("thief 0"), int(share * HELD * ETHER))
        in_pieces(10)(case, hot)

    gone, (incident,) = stolen(tmp_path, theft)
    assert gone <= MORE * plain and incident["severity"] == "critical"


def test_grooming(tmp_path: Path) -> None:
    """Small payments for three days, then a large one to the same address: it fires at the large one."""

    def theft(case: Made, hot: str) -> None:
        for day in (3, 2, 1):
            for k in range(4):
                case.move(END - day * DAY + k * HOUR, hot, case.at("thief 0"), HELD * ETHER // 1000)
        case.move(END, hot, case.at("thief 0"), HELD * ETHER * 4 // 10)

    gone, (incident,) = stolen(tmp_path, theft)
    assert gone == pytest.approx(0.4) and incident["severity"] in ("high", "critical")


def test_dust_that_a_thief_pays_back_ends_nothing(tmp_path: Path) -> None:
    """Fifty small payments back, and all but a tenth and one unit: the incident stays open at its severity."""

    def theft(case: Made, hot: str) -> None:
        in_pieces(10)(case, hot)
        for k in range(50):
            case.move(END + HOUR + MINUTE * k, case.at("thief 0"), hot, ETHER // 100)
        case.move(END + DAY, case.at("thief 0"), hot, TAKEN * ETHER * 9 // 10 - ETHER // 2 - 1)

    _, (incident,) = stolen(tmp_path, theft)
    assert (incident["status"], incident["severity"]) == ("open", "critical")
    assert [int(item["value"]) for item in incident["returned"]] == [TAKEN * ETHER * 9 // 10 - 1]
    assert any("In part returned" in line and "89.9 %" in line for line in incident["explanation"])
