"""The contract of every built-in detector: its card, its places of evidence, its parameters, its off switch."""

from __future__ import annotations

import math
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest

from monitor import detectors as package
from monitor import fusion
from monitor.detectors import DETECTORS, EVIDENCE_SIZE, Detector, Evidence, evidence
from monitor.features import kernel
from monitor.features.dtypes import ASSET, CHANNELS, DESTINATION, FEATURES, FUSION, PARAMETERS, STATISTICS
from monitor.model import Role
from monitor.parameters import faults, parameters
from monitor.policies import POLICIES
from monitor.priors import PEER

BORN = 20_000 * 86400
K = len(STATISTICS)
EVERY = (*DETECTORS, *POLICIES)
COMPILED = {module.DETECTOR.id: module for module in package._MODULES}
NOT_SET = {"budget", "peer", "personal"}  # by role and budget, not by a detector
# Parts of the scale of a score, for which its channel was calibrated. They tell nothing where their statistics weigh 0.
LEVELS = {Evidence.SHARE, Evidence.DAY_LEVEL, Evidence.SLOW_LEVEL}
LOUD = {  # a row of features in which every detector has something to say
    "value": 0.9, "novel": 0.9, "d1": 1.8, "d24": 1.8, "u10m": 1.8, "u1h": 1.8, "u6h": 1.8, "u24h": 1.8, "fresh": 1.8,
    "again1": 0.9, "again24": 0.9, "again240": 0.9, "season": 1.0, "typical": 1.0, "balance": 0.01, "peak": 2.0,
    "share": 0.99, "age": 60.0, "probe": 60.0, "others": 4.0, "swept": 5.0, "odd": 0.9, "idle": 2e7, "topup": 60.0,
    "split": 0.8, "kind": 1, "foreign": 1,
}  # fmt: skip


def features(**values: float) -> Any:
    record = np.zeros(1, FEATURES)
    for name, value in values.items():
        record[name] = value
    return record[0]


def seen(f: Any, role: Role = Role.HOT, settings: dict[str, dict[str, Any]] | None = None) -> Any:
    """The evidence vector of a row of features."""
    e = np.full(EVIDENCE_SIZE, np.nan)
    evidence(f, parameters(role, 1.0, settings)[0], e)
    return e


def test_ids_are_unique() -> None:
    """A name in a finding, in the configuration and in the list means one detector, in any case of letters."""
    names = [detector.id.lower() for detector in EVERY]
    assert len(names) == len(set(names)) > 20


@pytest.mark.parametrize("detector", EVERY, ids=lambda d: d.id)
def test_cards_are_whole(detector: Detector) -> None:
    """Title without, sentences with a full stop; no text is empty, broken or has spaces to spare."""
    assert detector.title and detector.title[0].isupper() and detector.title[-1] not in ".:,; "
    for text in (detector.catches, detector.misses, detector.lookalikes):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".") and not text.endswith("..")
    parts = [p.says for p in detector.parameters]
    for part in (*parts, *detector.rules, *detector.references):
        assert part and part[-1] not in ".:,; "
    for text in (detector.title, detector.catches, detector.misses, detector.lookalikes, *parts, *detector.rules):
        assert text == " ".join(text.split())


def test_every_place_is_filled_by_one_detector() -> None:
    """No place of the evidence vector is empty or written twice."""
    filled = [place for detector in DETECTORS for place in detector.evidence]
    assert sorted(filled) == sorted(Evidence) and [int(e) for e in Evidence] == list(range(EVIDENCE_SIZE))
    assert [e.name.lower() for e in list(Evidence)[:K]] == list(STATISTICS)
    assert {Evidence.GUARD, Evidence.GONE} <= set(next(d for d in DETECTORS if d.id == "GUARD").evidence)


@pytest.mark.parametrize("name", sorted(COMPILED))
@pytest.mark.parametrize("row", ["loud", "quiet"])
def test_a_detector_writes_its_own_places_always(name: str, row: str) -> None:
    """What it names, whatever it sees, and nothing else."""
    e = np.full(EVIDENCE_SIZE, np.nan)
    quiet = {"typical": 1.0, "balance": 1.0, "peak": 1.0, "season": 1.0, "probe": -1.0}
    f = features(**(LOUD if row == "loud" else quiet))
    COMPILED[name].evidence(f, parameters(Role.PERSONAL, 1.0)[0], e)
    assert {Evidence(k) for k in np.flatnonzero(~np.isnan(e))} == set(COMPILED[name].DETECTOR.evidence)


def test_every_compiled_detector_is_listed_and_called() -> None:
    """The list has them all, beside FUSION, which has no evidence; the common function fills every place."""
    assert [d.id for d in DETECTORS] == [*COMPILED_ORDER, "FUSION"]
    assert not np.isnan(seen(features(**LOUD))).any()


COMPILED_ORDER = [module.DETECTOR.id for module in package._MODULES]


def test_every_field_is_set_by_one_parameter() -> None:
    """No field of the record of settings is without a parameter or has two; statistics have one weight each."""
    fields = [name for d in DETECTORS for p in d.parameters for name in p.fields]
    wanted = [name for name in PARAMETERS.names or () if name not in NOT_SET | {"uses"}]
    wanted += [f"uses:{place.name}" for place in list(Evidence)[:K]]
    assert sorted(fields) == sorted(wanted)
    for detector in DETECTORS:
        names = [p.name for p in detector.parameters]
        assert len(names) == len(set(names)) and "enabled" not in names
        assert {f"uses:{e.name}" for e in detector.evidence if e < K} == {
            name for p in detector.parameters for name in p.fields if name.startswith("uses:")
        }


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.id)
def test_defaults_may_be_set(detector: Detector) -> None:
    """Defaults, also those of personal wallets, lie within what a configuration may say."""
    for p in detector.parameters:
        given = [p.default] if p.personal is None else [p.default, p.personal]
        assert all(p.low <= value <= p.high for value in given) and p.low < p.high and p.fields
        for value in (p.low, p.high, *given):
            assert faults(detector, {p.name: value}) == []
        for value in (math.nextafter(p.low, -math.inf), math.nextafter(p.high, math.inf)):
            assert len(faults(detector, {p.name: value})) == 1


@pytest.mark.parametrize("role", [Role.HOT, Role.PERSONAL])
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.id)
def test_a_disabled_detector_is_silent(detector: Detector, role: Role) -> None:
    """Terms become 0, the weights of statistics 0, and the guard rail is out of reach; other detectors stay."""
    f = features(**LOUD)
    off = parameters(role, 1.0, {detector.id: {"enabled": False}})
    plain, silent = seen(f, role), seen(f, role, {detector.id: {"enabled": False}})
    for place in Evidence:
        if place not in detector.evidence:
            assert silent[place] == plain[place]
        elif place < K:
            assert off["uses"][0, place] == 0.0
        elif place is Evidence.GUARD:
            assert silent[place] < 1e-6
        elif place not in LEVELS and place is not Evidence.GONE:
            assert silent[place] == 0.0, place


@pytest.mark.parametrize("role", [Role.HOT, Role.PERSONAL])
def test_every_detector_speaks_where_it_should(role: Role) -> None:
    """In the loud row each term that the role uses is above nothing: the silence above is not idle."""
    e = seen(features(**LOUD), role)
    q = parameters(role, 1.0)[0]
    used = {
        Evidence.DRAIN: q["drain_most"], Evidence.PROBE: q["probe"], Evidence.OTHERS: q["others"], Evidence.ODD: 1.0,
        Evidence.KIND: q["bad"], Evidence.SWEPT: q["swept"], Evidence.FRESH: q["fresh"],
        Evidence.DRAINED: q["drained"], Evidence.FOREIGN: q["foreign"], Evidence.SPLIT: q["split"],
        Evidence.DORMANT: q["dormant"], Evidence.TOPUP: q["topup"],
    }  # fmt: skip
    assert set(used) | LEVELS | {Evidence.GUARD, Evidence.GONE} | set(list(Evidence)[:K]) == set(Evidence)
    for place, weight in used.items():
        assert (e[place] != 0.0) == (weight != 0.0), place
    assert e[Evidence.GUARD] >= 1.0 and e[Evidence.GONE] == pytest.approx(1.8 / 1.81)


class Extreme:
    """Records of one wallet asset through the first fold."""

    def __init__(self, told: float, *, scale_from: float) -> None:
        self.a, self.d = np.zeros(1, ASSET)[0], np.zeros(1, DESTINATION)[0]
        self.f, self.q = np.zeros(1, FEATURES)[0], parameters(Role.HOT, 1.0, {"HW-1": {"familiar": 0}})[0]
        self.new = True
        kernel.start(self.a, BORN, scale_from)
        if told >= 0.0:
            kernel.tell(self.a, told)

    def pay(self, value: float, at: int) -> bool:
        t = kernel.advance(self.a, BORN + at)
        matters = kernel.outflow(self.a, self.d, self.new, value, t, self.q, self.f)
        self.new = False
        kernel.learn_familiar(self.d, min(value / self.a["scale"], 1e30))
        return bool(matters)


SIZES = (0.0, 1e-3, 1.0, 1e18, 1e40, 1.16e77)


@pytest.mark.parametrize("told", [-1.0, *SIZES])
@pytest.mark.parametrize("first", SIZES)
def test_evidence_of_extreme_rows_is_finite(told: float, first: float) -> None:
    """Nothing told or nothing there, one unit or the largest of numbers, at once or after years: no term is lost."""
    rows = 0
    for values, role in product(product(SIZES[1:], repeat=2), (Role.HOT, Role.PERSONAL)):
        item = Extreme(told, scale_from=first)
        for value, at in zip((*values, *values), (0, 0, 1, 2 * 10**8), strict=True):
            if item.pay(value, at):
                e = seen(item.f, role)
                z, s, w = np.zeros(K), np.zeros(len(CHANNELS)), np.zeros(1, FUSION)[0]
                q = parameters(role, 1.0)[0]
                fusion.start(w, BORN, q, PEER[int(q["peer"])])
                fusion.levels(w, e, z)
                fusion.channels(q, e, z, s)
                assert np.isfinite(e).all() and np.isfinite(z).all() and np.isfinite(s).all(), (values, at, e)
                rows += 1
    assert rows > 50


def test_evidence_of_random_features_is_finite() -> None:
    """Features anywhere between the smallest and the largest that the first fold can write."""
    rng = Random(7)
    for _ in range(3000):
        values = {name: rng.choice([0.0, 10 ** rng.uniform(-12, 30)]) for name in FEATURES.names or ()}
        values |= {"typical": 10 ** rng.uniform(-77, 77), "season": rng.uniform(0.3, 4.0), "share": rng.random()}
        values |= {"kind": rng.randrange(16), "foreign": rng.randrange(2), "suspect": 0, "probe": rng.choice([-1, 5])}
        values |= {"usual": rng.randrange(16)}
        assert np.isfinite(seen(features(**values), rng.choice([Role.HOT, Role.PERSONAL]))).all()
