"""What may be set for a wallet: defaults by role, faults in words, and that settings reach the fold."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.detectors import DETECTORS, Evidence
from monitor.features.dtypes import PARAMETERS
from monitor.fold import GUARD_BIT
from monitor.model import Role
from monitor.parameters import faults, parameters
from monitor.rows import OUT, TELL, RowBuilder
from monitor.state import EngineState

DAY = 86400
BORN = 20_000 * DAY
BY_ID = {detector.id: detector for detector in DETECTORS}


def test_a_hot_wallet_has_the_defaults() -> None:
    """Budget, peer and the default of every parameter, times its scale."""
    record = parameters(Role.HOT, 2.5)
    assert record.dtype == PARAMETERS and len(record) == 1
    assert (record["budget"][0], record["peer"][0], record["personal"][0]) == (2.5, 0, 0)
    assert record["warm_up"][0] == 7 * DAY and record["to_one"][0] == 0.3 and record["bad"][0] == 2.0
    assert record["uses"][0, Evidence.SINGLE] == 1.0
    assert all(record[name][0] == 0.0 for name in ("fresh", "drained", "foreign", "split", "dormant", "topup"))


@pytest.mark.parametrize("role", [Role.COLD, Role.DEPOSIT, Role.TREASURY])
def test_other_roles_are_like_hot_wallets(role: Role) -> None:
    """Only personal wallets have defaults of their own."""
    assert parameters(role, 1.0).tobytes() == parameters(Role.HOT, 1.0).tobytes()


def test_a_personal_wallet_has_its_own_defaults() -> None:
    """Signs of personal wallets count, those of hot wallets not; what is set wins over both."""
    record = parameters(Role.PERSONAL, 0.1)
    assert (record["peer"][0], record["personal"][0], record["probe"][0]) == (1, 1, -0.3)
    assert (record["foreign"][0], record["others"][0], record["to_one"][0]) == (0.9, 0.0, 0.6)
    chosen = parameters(Role.PERSONAL, 0.1, {"HW-5": {"weight": 0.2}, "PW-3": {"weight": 0}})
    assert (chosen["probe"][0], chosen["foreign"][0]) == (0.2, 0.0)


def test_a_setting_changes_its_own_fields_alone() -> None:
    """One number of one detector: every other field stays; a weight goes to all statistics of its detector."""
    plain = parameters(Role.HOT, 1.0)
    for detector in DETECTORS:
        for parameter in detector.parameters:
            value = parameter.low if parameter.default != parameter.low else parameter.high
            record = parameters(Role.HOT, 1.0, {detector.id: {parameter.name: value}})
            for name in PARAMETERS.names or ():
                if name == "uses":
                    changed = [Evidence(k).name for k in range(11) if record["uses"][0, k] != plain["uses"][0, k]]
                    mine = {f.removeprefix("uses:") for f in parameter.fields if f.startswith("uses:")}
                    assert set(changed) == mine, (detector.id, parameter.name)
                else:
                    assert (record[name][0] != plain[name][0]) == (name in parameter.fields), (detector.id, name)


def test_a_disabled_detector_s_numbers_do_not_matter() -> None:
    """``enabled: false`` puts the silent value there, whatever else is set."""
    settings = {"GUARD": {"enabled": False, "to_one": 0.1}, "HW-5": {"enabled": False, "weight": 6}}
    record = parameters(Role.HOT, 1.0, settings)
    assert (record["to_one"][0], record["to_all"][0], record["probe"][0]) == (1e9, 1e9, 0.0)
    assert parameters(Role.HOT, 1.0, {"HW-5": {"enabled": True}}).tobytes() == parameters(Role.HOT, 1.0).tobytes()


@pytest.mark.parametrize(
    ("detector", "settings", "said"),
    [
        ("HW-1", {}, []),
        ("HW-1", {"enabled": True, "weight": 0, "familiar": 100}, []),
        ("HW-1", {"weight": -0.001}, ["weight is -0.001, expected 0 to 10"]),
        ("HW-1", {"weight": float("nan")}, ["weight is nan, expected 0 to 10"]),
        ("HW-1", {"weight": "1"}, ["weight is '1', expected a number"]),
        ("HW-1", {"weight": None}, ["weight is None, expected a number"]),
        ("HW-1", {"weight": True}, ["weight is True, expected a number"]),
        ("HW-1", {"enabled": 0}, ["enabled is 0, expected true or false"]),
        ("HW-4", {"mcuh": 1, "most": 7}, [
            "mcuh is unknown, expected one of enabled, much, most", "most is 7, expected 0 to 6",
        ]),
        ("HW-4", [0.3], ["expected a mapping with enabled, much, most"]),
        ("HW-4", None, ["expected a mapping with enabled, much, most"]),
        ("HW-4", {3: 0.3}, ["3 is unknown, expected one of enabled, much, most"]),
    ],
)  # fmt: skip
def test_faults_are_named(detector: str, settings: Any, said: list[str]) -> None:
    """Every wrong setting has one line with what it is and what it may be; right ones have none."""
    assert faults(BY_ID[detector], settings) == said


class Two:
    """Wallets with one asset each and a month of ordinary days, one with settings and one without."""

    def __init__(self, settings: dict[str, dict[str, Any]]) -> None:
        self.state = EngineState()
        self.places = []
        builder = RowBuilder()
        for name, given in (("plain", None), ("set", settings)):
            slot = self.state.add_asset(name, "c:1", "coin")
            place = self.state.wallet(name, "c:1", parameters(Role.HOT, 1.0, given))
            self.places.append((slot, place))
            builder.add(slot, place, BORN, TELL, 1e20)
        for day in range(30):
            for slot, place in self.places:
                for n in range(3):
                    builder.add(slot, place, BORN + day * DAY + n * 7000, OUT, 2e17, 1 + (day + n) % 6)
        self.state.fold(builder.build())

    def pay(self, share: float) -> list[Any]:
        """The same payment of both wallets to a new address; the hit of each, or None."""
        builder = RowBuilder()
        for slot, place in self.places:
            builder.add(slot, place, BORN + 31 * DAY, OUT, share * 1e20, 99)
        hits, _ = self.state.fold(builder.build())
        found = {int(hit["row"]): hit for hit in hits if hit["kind"] == 1}
        return [found.get(0), found.get(1)]


def test_a_wallet_s_settings_reach_the_fold() -> None:
    """Of two wallets in one batch the one without HW-1, with a guard rail at 90 %, is judged by its own numbers."""
    plain, chosen = Two({"HW-1": {"weight": 0}, "GUARD": {"to_one": 0.9, "to_all": 0.9}}).pay(0.5)
    assert plain["fired"] & GUARD_BIT and chosen is not None and not chosen["fired"] & GUARD_BIT
    assert chosen["score"][0] != plain["score"][0]
    assert chosen["z"][Evidence.SINGLE] == plain["z"][Evidence.SINGLE]  # what is seen is the same, it counts otherwise
    plain, chosen = Two({"GUARD": {"to_one": 0.9, "to_all": 1.0}}).pay(0.92)
    assert plain["fired"] & GUARD_BIT and chosen["fired"] & GUARD_BIT


def test_all_off_is_silence() -> None:
    """With every detector disabled nothing fires, not even where everything leaves."""
    off = {detector.id: {"enabled": False} for detector in DETECTORS}
    plain, chosen = Two(off).pay(1.0)
    assert plain["fired"] & GUARD_BIT and chosen is None
