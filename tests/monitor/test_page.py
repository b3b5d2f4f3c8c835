"""The HTML report: thresholds that the engine itself confirms, exact sums, bounds that are said, hostile texts."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.app import make_engine
from monitor.assets import AssetNames
from monitor.backtesting.outcome import Outcome
from monitor.backtesting.page import Fate, Labelled, Setting, render_page, write_page
from monitor.backtesting.page.charts.graph import edges_of
from monitor.backtesting.page.charts.loss import at_open
from monitor.backtesting.page.charts.outflow import usual
from monitor.backtesting.page.charts.sweep import front
from monitor.backtesting.page.parts import wallet_rows
from monitor.backtesting.page.probe import Probe, Seen
from monitor.backtesting.page.refold import look_again
from monitor.backtesting.page.scales import amounts, linear, times
from monitor.backtesting.page.svg import el
from monitor.backtesting.page.windows import Window, tracks_of, windows_of, worst
from monitor.backtesting.page.words import visible
from monitor.engine import Engine
from monitor.model import Block, BlockRef, Incident, Severity, Transfer, TransferKind, Tx
from monitor.replay import replay
from monitor.trial import smallest_alarm, would_fire
from monitor.watchlist import Watchlist
from tests.made_outcome import (
    BITCOIN,
    BTC,
    COIN,
    COINS_OF,
    DAY,
    DAYS,
    ETH,
    ETHER,
    HOT,
    HOUR,
    START,
    SUSPECT,
    THEFT,
    TOLD,
    Kept,
    config,
    ordinary,
    outcome,
    row,
    table,
    theft,
)  # fmt: skip


@pytest.fixture(scope="module")
def robbed() -> Outcome:
    return outcome(table([*ordinary(), *theft(), *ordinary(BTC)]))


def engine_until(at: int, told: pl.DataFrame | None = TOLD) -> Engine:
    """The ordinary engine after everything before ``at``."""
    on = config()
    engine = Engine(Watchlist(on.wallets), {ETHER, BITCOIN})
    frame = table([*ordinary(), *theft()]).filter(pl.col("block_timestamp") < at)
    replay(engine, frame, AssetNames(), told)
    return engine


def fires(engine: Engine, at: int, value: int) -> bool:
    """What the engine itself says of a payment to an address that was never paid."""
    block = BlockRef(ETH, at - START + 10, "")
    payment = Transfer(block, Tx("new", 0), 0, TransferKind.NATIVE, ETHER, (HOT,), "0x" + "77" * 20, value)
    return any(hit.fired for hit in engine.foresee(Block(block, "", at, (payment,))).hits)


@pytest.mark.parametrize("after", [9 * DAY + 7, 20 * DAY, DAYS * DAY + 5 * HOUR - 1, DAYS * DAY + 5 * HOUR + 300])
def test_a_payment_just_below_fires_nothing_and_just_above_fires(after: int) -> None:
    """The smallest alarming payment, against the engine's own answer for real blocks, before and during the theft."""
    engine, at = engine_until(START + after), START + after
    records = engine.state.records("hot", ETH, ETHER)
    assert records is not None
    before = engine.dump()
    found = smallest_alarm(records, at)
    assert found is not None and COIN // 100 < found.value < 800 * COIN
    assert engine.dump() == before
    assert fires(engine, at, found.value) and fires(engine, at, found.value * 2)
    assert not fires(engine, at, int(found.value * 0.999)) and not fires(engine, at, found.value // 2)


def test_nothing_fires_where_the_balance_is_not_known() -> None:
    """A young wallet whose balance nobody told has no smallest alarming payment; one that was told has."""
    engine = engine_until(START + 2 * DAY, None)
    records = engine.state.records("hot", ETH, ETHER)
    assert records is not None and smallest_alarm(records, START + 2 * DAY) is None
    assert not fires(engine, START + 2 * DAY, 700 * COIN)
    known = engine_until(START + 2 * DAY).state.records("hot", ETH, ETHER)
    assert known is not None and smallest_alarm(known, START + 2 * DAY) is not None
    assert engine.state.records("hot", ETH, BITCOIN) is None and engine.state.records("cold", ETH, ETHER) is None


def test_payments_are_tried_one_by_one() -> None:
    """Many amounts at once say what each says alone."""
    records = engine_until(START + 20 * DAY).state.records("hot", ETH, ETHER)
    assert records is not None
    values = np.geomspace(1e18, 8e20, 40)
    together = would_fire(records, START + 20 * DAY, values)
    alone = [int(would_fire(records, START + 20 * DAY, values[n : n + 1])[0]) for n in range(40)]
    assert together.tolist() == alone and 0 in alone and max(alone) > 0


def windows(made: Outcome) -> list[Window]:
    return [w for incident in made.incidents for w in windows_of(incident, tracks_of(incident)[0])]


def test_looking_changes_nothing(robbed: Outcome) -> None:
    """The state that looks at itself ends as the ordinary one, with the same hits; any batches give the same."""
    wanted, frame = windows(robbed), table([*ordinary(), *theft()])
    plain = Engine(Watchlist(config().wallets), {ETHER, BITCOIN})
    probed = Engine(Watchlist(config().wallets), {ETHER, BITCOIN}, state=Probe(wanted))
    one, two = (replay(engine, frame, AssetNames(), TOLD) for engine in (plain, probed))
    assert probed.dump() == plain.dump() and len(plain.dump()) > 100
    assert one.correlator.all() == two.correlator.all() and one.correlator.all()
    whole = look_again(robbed, wanted)
    for blocks in (97, 1000):
        cut = Kept(table([*ordinary(), *theft(), *ordinary(BTC)]), blocks)
        parts = look_again(replace(robbed, history=cut), wanted)
        assert [of_one(seen) for seen in parts] == [of_one(seen) for seen in whole]


def of_one(seen: Seen) -> tuple[Any, ...]:
    return seen.samples, seen.payments, seen.by_hour.tolist(), seen.left_out, seen.since


def test_samples_are_what_the_engine_had(robbed: Outcome) -> None:
    """Balance, learning and threshold at each moment, against engines that stopped there."""
    [seen] = look_again(robbed, windows(robbed)[:1])
    assert len(seen.samples) > 80 and [s.at for s in seen.samples] == sorted({s.at for s in seen.samples})
    for sample in seen.samples[:: len(seen.samples) // 5]:
        state = engine_until(sample.at).state
        records = state.records("hot", ETH, ETHER)
        assert records is not None
        assert sample.balance == state.balance(state.asset("hot", ETH, ETHER))[0]
        assert sample.smallest == smallest_alarm(records, sample.at)
        assert (sample.learning > 0) == (sample.at < START + 7 * DAY)
    assert any(sample.learning > 0 for sample in seen.samples)
    assert [p.value for p in seen.payments if p.suspect] == [float(r["value"]) for r in theft()]


def test_outflow_sums_are_those_of_the_rows(robbed: Outcome) -> None:
    """24 hours of whole hours, against the table."""
    [seen] = look_again(robbed, windows(robbed)[:1])
    paid = table([*ordinary(), *theft()]).filter(pl.col("from_address") == HOT)
    for at in (START + 11 * DAY + 100, THEFT, THEFT + HOUR):
        end = (at // HOUR + 1) * HOUR
        inside = paid.filter(pl.col("block_timestamp").is_between(end - DAY, end - 1))
        assert seen.day_before(at) == pytest.approx(inside["amount"].sum())
    found = usual(seen)
    assert found is not None and 0 < found[0] < found[1] < found[2] < 100 * COIN


def test_a_stranger_among_the_wallets_changes_nothing(robbed: Outcome) -> None:
    """Only the windows' wallets are folded again: what others did is no part of a sample."""
    [alone] = look_again(replace(robbed, history=Kept(table([*ordinary(), *theft()]))), windows(robbed)[:1])
    [among] = look_again(robbed, windows(robbed)[:1])
    assert of_one(alone) == of_one(among)


def test_where_coins_are_spent(robbed: Outcome) -> None:
    """Transactions stay whole, and the thresholds of a wallet of coins are drawn, too."""
    frame = table([*ordinary(BTC), row(THEFT, "3bad", 700 * COIN, source=COINS_OF, chain=BTC)])
    made = outcome(frame)
    [incident] = made.incidents
    [seen] = look_again(made, windows_of(incident, tracks_of(incident)[0]))
    assert seen.window.track == ("coins", BTC, BITCOIN)
    right_before = [s for s in seen.samples if s.at <= THEFT][-1]
    assert right_before.smallest is not None and right_before.smallest.value < 700 * COIN
    assert any(p.suspect and p.value == 700.0 * COIN for p in seen.payments)


def test_no_threshold_is_drawn_where_exact_rules_judge() -> None:
    """A cold wallet's payments raise an alarm of no statistics, and the page says so."""
    wallets = [{"id": "hot", "entity": "One", "role": "cold", "addresses": [f"ethereum:{HOT}"]}]
    on = config(wallets=wallets)
    frame = table([row(START + n * DAY, HOT, 50 * COIN, source=SUSPECT) for n in range(9)] + theft())
    engine = make_engine(on)
    made = outcome(frame, on=on, engine=engine)
    seen = look_again(made, windows(made))
    assert seen and all(sample.smallest is None and not sample.learning for s in seen for sample in s.samples)
    page = render_page(made)
    assert "judged by exact rules alone" in page and 'class="alarm"' not in page and 'class="learning"' not in page


def test_lost_at_open_is_that_of_the_incident(robbed: Outcome) -> None:
    [incident] = robbed.incidents
    before, total = at_open(incident, ETHER)
    assert total == sum(int(r["value"]) for r in theft()) and 0 < before < total
    assert before / total == incident.share_lost_at_open
    [edge] = edges_of(incident)
    assert edge.probed and edge.payments == 4 and edge.sums == {ETHER: total}


# -- the page ---------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Tags in balance, their attributes, and texts."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_says_what_the_report_says(robbed: Outcome, tmp_path: Path) -> None:
    write_page(tmp_path / "out.html", robbed)
    page = (tmp_path / "out.html").read_text("utf-8")
    tags = Tags(page)
    assert not tags.wrong and not tags.open
    for text in ("1 incident from", "750.01 ETH", "One", "critical", SUSPECT, "probed first", "Two", "learning"):
        assert text in page
    for line in robbed["incidents"][0]["explanation"]:
        assert re.sub(r"\s", " ", line).replace("'", "&#39;") in page
    titles = re.findall(r'<text class="name"[^>]*>([^<]+)', page)
    assert titles == [
        "Where it went", "Outflow of 24 hours against the usual", "Payments, and the smallest that alarms", "Balance",
        "Lost when the alarm opened",
    ]  # fmt: skip
    assert "wall_seconds" not in page and "rows_per_second" not in page


def test_equal_outcomes_give_equal_bytes(robbed: Outcome) -> None:
    again = outcome(table([*ordinary(), *theft(), *ordinary(BTC)]))
    again.report["speed"] = {"wall_seconds": 9.0}
    assert render_page(again) == render_page(robbed)


def test_nothing_comes_from_elsewhere(robbed: Outcome) -> None:
    """The policy allows the page's own style and script by their hashes alone; no attribute names another place."""
    page = render_page(robbed)
    tags = Tags(page)
    [policy] = [a["content"] or "" for t, a in tags.seen if a.get("http-equiv") == "Content-Security-Policy"]
    for name, part in (("style", "style-src"), ("script", "script-src")):
        [body] = re.findall(f"<{name}>(.*?)</{name}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{part} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for tag, attributes in tags.seen:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(name) or ""
            assert value.startswith("#") or (tag, value) in (("link", "data:,"), (tag, ""))
    assert "http://" not in page and "https://" not in page and "url(" not in page and "@import" not in page


def hostile(made: Outcome, text: str) -> Outcome:
    """The same with a text wherever somebody else may write one."""
    [incident] = made.incidents
    findings = tuple(replace(f, summary=text, tx=text, destination=text, detector=text) for f in incident.findings)
    moves = tuple(replace(m, counterparty=text, tx=text) for m in incident.movements)
    evil = replace(incident, entity=text, findings=findings, movements=moves, suspects=((ETH, text),), id=text,
                   opened_tx=text)  # fmt: skip
    names = AssetNames()
    names.tell(ETHER + "0", text, 18)
    evil = replace(evil, lost=((ETHER + "0", 7), *evil.lost))
    said = made.report["incidents"][0] | {"explanation": [text], "status": text}
    data = made.report["data"] | {"notes": [text], "bad_rows": 1, "bad": [{"path": text, "row": 3, "reason": text}]}
    data["chains"] = {text: {"rows": 1, "transfers": 1, "first": None, "last": None, "blind": text}}
    told = made.report | {"incidents": [said], "data": data}
    return replace(made, report=told, incidents=(evil,), names=names)


NASTY = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{ 7 * 7 }}"
NASTY += "\u202egpj\x1b[2J\u200b\x00"


def test_hostile_texts_are_shown_and_do_nothing(robbed: Outcome) -> None:
    page = render_page(hostile(robbed, NASTY))
    tags = Tags(page)
    assert not tags.wrong and not tags.open and "img" not in {tag for tag, _ in tags.seen}
    assert [tag for tag, _ in tags.seen].count("script") == 1
    assert "{{ 7 * 7 }}" in page and not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x09\x0b-\x1f]", page)
    assert page.count("‹U+202E›") > 10


@given(st.text(max_size=400))
def test_visible_text_has_nothing_hidden(text: str) -> None:
    shown = visible(text)
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x1f\x7f-\x9f]", shown)
    assert str(el("text", text)).count("<") == 2 or not text


def many(made: Outcome, count: int) -> Outcome:
    """The same incident so many times, in hours of their own."""
    [one] = made.incidents
    said = made.report["incidents"][0]
    incidents = tuple(replace(one, id=f"n{n}", severity=Severity(1 + n % 4)) for n in range(count))
    return replace(made, report=made.report | {"incidents": [said] * count}, incidents=incidents)


def test_hundreds_of_incidents_are_bounded_and_said(robbed: Outcome) -> None:
    page = render_page(many(robbed, 260))
    assert "Charts of the worst 20 of 260 incidents" in page and "findings in words of the worst 200" in page
    assert page.count('class="name"') == 20 * 5 + 180  # a graph needs no history
    assert page.count('data-label="gone at open"') == 260 and len(page) < 4_000_000
    links, ids = set(re.findall('href="#([^"]+)"', page)), set(re.findall(' id="([^"]+)"', page))
    assert links <= ids and len([link for link in links if re.fullmatch(r"i\d+", link)]) == 200
    assert worst(many(robbed, 8).incidents, 3) == [3, 7, 2]


def test_without_history_or_incidents(robbed: Outcome) -> None:
    """What is missing is said; an empty outcome is a page, too."""
    page = render_page(replace(robbed, history=None))  # type: ignore[arg-type]
    assert "The history was not kept" in page and "Payments, and the smallest" not in page
    quiet = outcome(table(ordinary()[:40]))
    page = render_page(quiet)
    assert "No incident from 15 Nov 2023" in page and "Nothing exceeded" in page and not Tags(page).wrong
    empty = robbed.report["data"] | {"rows": 0, "first": None, "last": None, "chains": {}, "transfers": 0, "flows": 0}
    page = render_page(replace(robbed, report=robbed.report | {"incidents": [], "data": empty}, incidents=()))
    assert "No rows were read" in page and "No chain had a row" in page


def test_no_secret_is_shown() -> None:
    token = "s3cr3t" + "t0ken"
    on = config(
        chains=[{"name": "ethereum", "endpoints": [f"https://user:{token}@node.example/{token}"]}],
        http={"token": token},
    )
    page = render_page(outcome(table([*ordinary(), *theft()]), on=on))
    assert "One" in page and token not in page and "node.example" not in page


def test_labels_tell_true_from_false(robbed: Outcome) -> None:
    """Where there are labels, only incidents that match none count against the budget."""
    made = many(robbed, 3)
    fates = (Fate("t1", "One", "caught", ("n0",), 60.0, None, 0.25), Fate("t2", "Two <b>", "missed"))
    page = render_page(made, truth=Labelled(fates, frozenset({"n1", "n2"}), (("recall", "1 of 2"),)))
    rows = wallet_rows(made, Labelled(fates, frozenset({"n1", "n2"})))["wallets"]
    [hot] = [entry for entry in rows if entry["id"] == "hot"]
    days = next(w["days"] for w in made["wallets"] if w["id"] == "hot")
    assert hot["false"] == 2 and hot["rate"] == f"{2 * 30 / days:.2f}"
    for text in ("Against labelled incidents", "1 of 2", "caught", "missed", "Two &lt;b&gt;", "1 min", "never", "25 %"):
        assert text in page
    assert page.count(">false alarm<") == 2 and page.count(">labelled<") == 1 and not Tags(page).wrong
    assert "Against labelled incidents" not in render_page(made)


def setting(budget: float, rate: float, share: float | None) -> Setting:
    return Setting({"budget": str(budget)}, int(rate * 10), rate, share, (("recall", "1 of 1"),))


def test_a_sweep_is_a_chart_and_a_table(robbed: Outcome) -> None:
    tried = [setting(0.3, 0.1, 0.4), setting(1.0, 0.5, 0.2), setting(3.0, 2.0, 0.3), setting(9.0, 8.0, None)]
    assert [s.values["budget"] for s in front(tried[:3])] == ["0.3", "1.0"]
    caught = [replace(each, caught=n) for each, n in zip(tried[:3], (1, 1, 2), strict=True)]
    assert [s.values["budget"] for s in front(caught)] == ["0.3", "1.0", "3.0"]  # the last one catches what none does
    page = render_page(robbed, sweep=tried)
    assert page.count('class="point"') == 2 and page.count('class="point worse"') == 1
    assert "What if" in page and "not known" in page and not Tags(page).wrong and "budget=0.3" in page
    assert "No setting found a loss" in render_page(robbed, sweep=tried[3:])
    assert "what it misses counts with labelled incidents alone" in page
    assert "what it misses" not in render_page(robbed, sweep=[replace(each, caught=1) for each in tried])


# -- axes -------------------------------------------------------------------------------------------------------------


@given(st.floats(-1e30, 1e30), st.floats(1e-12, 1e30))
def test_linear_axes_hold_their_values(low: float, span: float) -> None:
    scale = linear(low, low + span, 100.0, 0.0)
    assert 0 < len(scale.ticks) < 14 and 0.0 <= scale(low) <= 100.0 and 0.0 <= scale(low + span) <= 100.0


@given(st.lists(st.floats(0, 1e40), max_size=30))
def test_amounts_are_drawn_inside(values: list[float]) -> None:
    scale = amounts(values, 200.0, 10.0)
    assert scale.ticks and all(10.0 <= scale(value) <= 200.0 for value in values)
    assert len({label for _, label in scale.ticks}) == len(scale.ticks)


def test_amounts_that_span_decades_are_logarithmic() -> None:
    assert amounts([1.0, 1000.0], 200.0, 10.0).log and not amounts([500.0, 1000.0], 200.0, 10.0).log
    scale = amounts([1.0, 10.0, 1000.0], 300.0, 0.0)
    assert [scale(x) for x in (1.0, 10.0, 100.0, 1000.0)] == [300.0, 200.0, 100.0, 0.0]
    assert scale(0.0) == 300.0


@given(st.integers(0, 2_000_000_000), st.integers(0, 400 * DAY))
def test_time_ticks_are_few_and_inside(begin: int, span: int) -> None:
    scale = times(begin, begin + span, 0.0, 100.0)
    assert len(scale.ticks) <= 6 and all(scale.low <= at <= scale.high for at, _ in scale.ticks)


def test_time_ticks_say_the_day_once() -> None:
    def labels(begin: int, end: int) -> list[str]:
        return [label for _, label in times(START + begin * HOUR, START + end * HOUR, 0.0, 100.0).ticks]

    assert labels(-5, 9) == ["21:00", "15 Nov", "03:00", "06:00", "09:00"]  # the next one says the day
    assert labels(-8, 6) == ["14 Nov 18:00", "21:00", "15 Nov", "03:00", "06:00"]


def test_the_tracks_of_an_incident_are_bounded(robbed: Outcome) -> None:
    [incident] = robbed.incidents
    moves = tuple(replace(m, asset=f"{ETHER}{n}") for n in range(6) for m in incident.movements)
    wide: Incident = replace(incident, movements=moves)
    drawn, left = tracks_of(wide)
    assert drawn[0] == ("hot", ETH, ETHER) and len(drawn) == 3 and left == 4
