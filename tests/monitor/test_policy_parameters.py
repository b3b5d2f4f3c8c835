"""What a wallet sets for the detectors of policies holds at its edge; what cannot be is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine
from monitor.config import Config, config_from_mapping, load_config
from monitor.errors import ConfigError
from monitor.model import Block, BlockRef, Finding, Role, Severity, Transfer, TransferKind, Tx
from monitor.parameters import JUDGES, LISTED, fault_of
from monitor.policies import POLICIES
from monitor.policies.settings import Settings

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
DAY, HOUR = 86400, 3600
START = 1_700_000_000
HELD = 10**22
HIGH, CRITICAL, MEDIUM = Severity.HIGH, Severity.CRITICAL, Severity.MEDIUM


def address(n: int) -> str:
    return f"0x{n:040x}"


VAULT, THIEF, SISTER = address(1), address(2), address(3)
MEMBERS = [address(100 + n) for n in range(30)]


def made(role: str, detectors: dict[str, Any], *, learns: bool = False, **more: Any) -> Config:
    """One cold wallet or fleet, that trusts an address; or none, where a fleet shall learn."""
    own = [f"ethereum:{a}" for a in ([VAULT] if role == "cold" else MEMBERS)]
    wallet = {"id": "w", "entity": "Us", "role": role, "addresses": own, "detectors": detectors, **more}
    if not learns:
        wallet["trusted"] = [f"ethereum:{SISTER}"]
    return config_from_mapping({"wallets": [wallet]}, Path(), "case")


class Live:
    """The engine of a configuration, given one block after the other."""

    def __init__(self, role: str, detectors: dict[str, Any], *, held: int | None = HELD, **more: Any) -> None:
        self.engine = make_engine(made(role, detectors, **more))
        self.held, self.number = held, 0

    def block(self, at: int, *moves: tuple[str, str, int]) -> list[tuple[str, Severity]]:
        """One block with these payments; which detectors speak, and how severe it is."""
        return [(f.detector, f.severity) for f in self.found(at, *moves)]

    def found(self, at: int, *moves: tuple[str, str, int]) -> list[Finding]:
        """As `block`, the findings."""
        self.number += 1
        ref = BlockRef(ETH, self.number, "b")
        transfers = [
            Transfer(
                ref, Tx(f"t{self.number}-{n}", n, initiator=sender), n, TransferKind.NATIVE, ETHER, (sender,), to, value
            )
            for n, (sender, to, value) in enumerate(moves)
        ]  # fmt: skip
        told = {("w", ETH, ETHER): self.held} if self.number == 1 and self.held is not None else {}
        return list(self.engine.connect(Block(ref, "", START + at, tuple(transfers)), told).findings)


# -- cold wallets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "most"), [({}, 1500), ({"times": 2}, 2000), ({"times": 1}, 1000), ({"times": 1.001}, 1001)]
)
def test_the_largest_earlier_payment_times_what_is_set(settings: dict[str, Any], most: int) -> None:
    """CW-1: exactly so many times the largest is medium, one base unit more is critical."""
    for value, severity in ((most, MEDIUM), (most + 1, CRITICAL)):
        live = Live("cold", {"CW-1": settings})
        live.block(0, (VAULT, SISTER, 1000))
        assert live.block(60, (VAULT, SISTER, value)) == [("CW-1", severity)]


def test_the_factor_is_said() -> None:
    """The sentence names the factor that holds, not the default."""
    live = Live("cold", {"CW-1": {"times": 2.5}})
    live.block(0, (VAULT, SISTER, 1000))
    (finding,) = live.found(60, (VAULT, SISTER, 2501))
    assert "more than 2.5 times the largest so far" in finding.summary


@pytest.mark.parametrize("days", [180, 30, 0.5 + 1])
def test_days_of_silence(days: float) -> None:
    """CW-2: so many days of silence are not enough, a second more is."""
    seconds = int(days * DAY)
    for more, expected in ((0, []), (1, [("CW-2", HIGH)])):
        live = Live("cold", {"CW-2": {"days": days}})
        live.block(0, (VAULT, SISTER, 1000))
        assert live.block(seconds + more, (VAULT, SISTER, 1000)) == [("CW-1", MEDIUM), *expected]


@pytest.mark.parametrize(("share", "edge"), [(0.0001, 10**18), (0.001, 10**19), (0.0003, 3 * 10**18)])
def test_the_share_of_a_test_payment(share: float, edge: int) -> None:
    """CW-4: below the share of the balance, by the digits that are written; the share itself is none."""
    for value, expected in ((edge - 1, [("CW-4", HIGH)]), (edge, [])):
        live = Live("cold", {"CW-4": {"share": share}})
        assert live.block(0, (VAULT, THIEF, value)) == [("CW-1", CRITICAL), *expected]
    (_, probe) = Live("cold", {"CW-4": {"share": share}}).found(0, (VAULT, THIEF, 1))
    assert f"less than {share * 100:g} % of the balance" in probe.summary


@pytest.mark.parametrize("off", ["CW-1", "CW-2", "CW-4"])
def test_a_disabled_detector_of_a_cold_wallet_is_silent(off: str) -> None:
    """The others go on, and the record is the same: switched on again it knows what it knew."""
    states = []
    for settings in ({}, {off: {"enabled": False}}):
        live = Live("cold", settings)
        live.block(0, (VAULT, SISTER, 10**20))
        found = {name for name, _ in live.block(181 * DAY, (VAULT, THIEF, 5))}
        assert found == {"CW-1", "CW-2", "CW-4"} - set(settings)
        states.append(live.engine.policies.dump())
    assert states[0] == states[1]


# -- fleets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
def test_members_that_make_it_critical(count: int) -> None:
    """DF-1: the last of so many members within the window is critical, the one before it high."""
    live = Live("deposit", {"DF-1": {"members": count}, "DF-2": {"enabled": False}}, held=None)
    said = [live.block(60 * n, (MEMBERS[n], address(1000 + n), 1)) for n in range(count)]
    assert said == [[("DF-1", HIGH)]] * (count - 1) + [[("DF-1", CRITICAL)]]


@pytest.mark.parametrize("hours", [6, 2, 24])
def test_the_window_of_a_fleet(hours: int) -> None:
    """DF-1 counts members and sums over its hours, and DF-2 with it: at its end exactly the first has left."""
    for less, severity in ((0, HIGH), (1, CRITICAL)):
        live = Live("deposit", {"DF-1": {"window_hours": hours}}, held=None)
        live.block(0, (MEMBERS[0], address(1000), 1))
        live.block(60, (MEMBERS[1], address(1001), 1))
        (finding,) = live.found(hours * HOUR - less, (MEMBERS[2], address(1002), 1))
        assert finding.severity is severity
    span = "1 day" if hours == 24 else f"{hours} hours"
    assert finding.summary.endswith(f"3 deposit addresses paid unexpected addresses within {span}")
    for less, expected in ((0, ["DF-1"]), (1, ["DF-1", "DF-2"])):
        live = Live("deposit", {"DF-1": {"window_hours": hours}, "DF-2": {"high": 0.2}}, held=None)
        live.block(0, (MEMBERS[0], THIEF, 1))
        assert [name for name, _ in live.block(hours * HOUR - less, (MEMBERS[1], THIEF, 1))] == expected


@pytest.mark.parametrize(("share", "edge"), [(0.01, HELD // 100), (0.25, HELD // 4)])
def test_the_share_of_a_fleet(share: float, edge: int) -> None:
    """DF-1: the share itself is high, one base unit more critical."""
    for value, severity in ((edge, HIGH), (edge + 1, CRITICAL)):
        live = Live("deposit", {"DF-1": {"share": share}})
        assert live.block(0, (MEMBERS[0], THIEF, value)) == [("DF-1", severity)]


@pytest.mark.parametrize("days", [14, 3])
def test_days_of_learning(days: int) -> None:
    """A fleet without listed destinations is silent for its first days, and speaks from their end on."""
    live = Live("deposit", {"DF-1": {"learning_days": days}}, held=None, learns=True)
    assert live.block(0, (MEMBERS[0], THIEF, 1)) == []
    assert live.block(days * DAY - 1, (MEMBERS[1], address(1001), 1)) == []
    assert live.block(days * DAY, (MEMBERS[2], address(1002), 1)) == [("DF-1", HIGH)]


def test_no_day_of_learning() -> None:
    """With 0 days nothing is learned: the very first payment to a stranger is told."""
    live = Live("deposit", {"DF-1": {"learning_days": 0}}, held=None, learns=True)
    assert live.block(0, (MEMBERS[0], THIEF, 1)) == [("DF-1", HIGH)]


@pytest.mark.parametrize(("members", "days"), [(20, 7), (5, 7), (5, 2)])
def test_what_makes_a_destination_learned(members: int, days: int) -> None:
    """So many members over so many days; one member or a second less, and it is not."""
    settings = {"DF-1": {"learned_members": members, "learned_days": days}}
    for missing, less, expected in ((0, 0, []), (1, 0, [("DF-1", HIGH)]), (0, 1, [("DF-1", HIGH)])):
        live = Live("deposit", settings, held=None, learns=True)
        for n in range(members - 1 - missing):
            live.block(n, (MEMBERS[n], SISTER, 1))
        live.block(days * DAY - less, (MEMBERS[members], SISTER, 1))
        assert live.block(20 * DAY, (MEMBERS[0], SISTER, 1)) == expected, (missing, less)


def test_the_levels_of_a_common_recipient() -> None:
    """DF-2: two members of a fleet without history have a tail of 4e-5, three of 1.2e-7: the levels decide."""
    def second_and_third(settings: dict[str, Any]) -> list[list[Severity]]:
        live = Live("deposit", {"DF-1": {"enabled": False}, "DF-2": settings}, held=None)
        live.block(0, (MEMBERS[0], THIEF, 1))
        return [[s for _, s in live.block(60 * n, (MEMBERS[n], THIEF, 1))] for n in (1, 2)]

    assert second_and_third({}) == [[HIGH], [CRITICAL]]
    assert second_and_third({"high": 3.9e-5}) == [[], [CRITICAL]]
    assert second_and_third({"critical": 4.1e-5}) == [[CRITICAL], [CRITICAL]]
    assert second_and_third({"high": 1e-5, "critical": 1e-8}) == [[], [HIGH]]
    assert second_and_third({"enabled": False}) == [[], []]


@pytest.mark.parametrize(("members", "hours"), [(3, 1), (2, 1), (5, 1), (3, 4)])
def test_gas_from_a_stranger(members: int, hours: int) -> None:
    """DF-3: so many members within the hours; with the first just out of them it is not told."""
    for less, expected in ((0, []), (1, [("DF-3", MEDIUM)])):
        live = Live("deposit", {"DF-3": {"members": members, "window_hours": hours}}, held=None)
        for n in range(members - 1):
            assert live.block(n, (THIEF, MEMBERS[n], 100)) == []
        assert live.block(hours * HOUR - less, (THIEF, MEMBERS[20], 100)) == expected


@pytest.mark.parametrize(("difference", "least"), [(0.25, 75), (0.1, 90), (0, 100)])
def test_amounts_of_gas(difference: float, least: int) -> None:
    """DF-3: amounts count as alike up to the share that is set, that share included."""
    for value, expected in ((least, [("DF-3", MEDIUM)]), (least - 1, [])):
        live = Live("deposit", {"DF-3": {"difference": difference}}, held=None)
        live.block(0, (THIEF, MEMBERS[0], value), (THIEF, MEMBERS[1], value))
        assert live.block(60, (THIEF, MEMBERS[2], 100)) == expected


@pytest.mark.parametrize("off", ["DF-1", "DF-2", "DF-3"])
def test_a_disabled_detector_of_a_fleet_is_silent(off: str) -> None:
    """The others go on."""
    live = Live("deposit", {off: {"enabled": False}}, held=None)
    gas = [(THIEF, MEMBERS[n], 100) for n in range(3)]
    found = live.block(0, *gas, *((MEMBERS[n], THIEF, 1) for n in range(3)))
    assert {name for name, _ in found} == {"DF-1", "DF-2", "DF-3"} - {off}


# -- plain rules ------------------------------------------------------------------------------------------------------


def test_rules_can_be_switched_off() -> None:
    """`RULE: {enabled: false}` silences the rules of that wallet alone."""
    for enabled, expected in ((True, {"RULE", "CW-1"}), (False, {"CW-1"})):
        live = Live("cold", {"RULE": {"enabled": enabled}}, rules=[{"outflow": "any"}])
        assert {name for name, _ in live.block(0, (VAULT, THIEF, HELD // 2))} == expected


# -- what may be set --------------------------------------------------------------------------------------------------


def test_numbers_are_those_that_were_written() -> None:
    """0.1 is a tenth, and what is not set is the default."""
    settings = Settings(POLICIES, {"w": {"CW-4": {"share": 0.1}}})
    assert settings.number("w", "CW-4", "share") * 10 == 1 and settings.number("x", "CW-4", "share") * 10_000 == 1
    assert settings.enabled("w", "CW-4") and settings.number("w", "CW-1", "times") * 2 == 3
    with pytest.raises(KeyError):
        settings.number("w", "CW-1", "share")


@pytest.mark.parametrize("detector", POLICIES, ids=lambda d: d.id)
def test_every_limit_is_checked(detector: Any) -> None:
    """Defaults and both ends may be set, beyond them nothing, and whole numbers are whole."""
    for p in detector.parameters:
        assert p.fields == () and p.low <= p.default <= p.high
        assert [fault_of(detector, p.name, value) for value in (p.low, p.default, p.high)] == [None] * 3
        for value in (p.low - 1, p.high + 1, float("nan"), "1", None, True, [p.default], 10**400):
            assert fault_of(detector, p.name, value), (p.name, value)
        assert (fault_of(detector, p.name, p.low + (p.high - p.low) / 3.5) is not None) == p.whole
    assert fault_of(detector, "enabled", False) is None and fault_of(detector, "enabled", "no")


CASES = [
    ("CW-1: {times: 0.5}", 1, "wallets[0].detectors.CW-1: times is 0.5, expected 1 to 1000"),
    ("CW-2:\n        days: 0", 2, "wallets[0].detectors.CW-2: days is 0, expected 1 to 3650"),
    ("CW-4: {share: 1e-3}", 1, "wallets[0].detectors.CW-4: share is '1e-3', expected a number: write 0.001"),
    ("DF-1: {members: 2.5}", 1, "wallets[0].detectors.DF-1: members is 2.5, expected a whole number from 1 to 24"),
    ("DF-1: {windo: 3}", 1, "wallets[0].detectors.DF-1: windo is unknown, expected one of enabled, members, window_"
     "hours, share, learning_days, learned_members, learned_days"),
    ("DF-3: 3", 1, "wallets[0].detectors.DF-3: expected a mapping with enabled, members, window_hours, difference"),
    ("CW-3: {share: 1}", 1, "wallets[0].detectors.CW-3: share is unknown, expected one of enabled"),
    ("RULE: {enabled: off}", 1, "wallets[0].detectors.RULE: enabled is 'off', expected true or false"),
    ("CW-22: {days: 1}", 1, "wallets[0].detectors: unknown detector 'CW-22': did you mean 'CW-2'?"),
    ("cw-2: {days: 3}\n      CW-2: {days: 4}", 2, "wallets[0].detectors.CW-2: CW-2 is given twice"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "line", "said"), CASES)
def test_a_wrong_setting_has_its_place(tmp_path: Path, written: str, line: int, said: str) -> None:
    """One line a mistake, with file and line, and what may be written."""
    path = tmp_path / "heistwatch.yaml"
    head = f'version: 1\nwallets:\n  - id: w\n    role: cold\n    addresses: ["ethereum:{VAULT}"]\n    detectors:\n'
    path.write_text(f"{head}      {written}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [str(p) for p in caught.value.problems] == [f"{path}:{6 + line}: {said}"]


def test_a_setting_without_effect_is_said() -> None:
    """A detector that never judges wallets of this role: a warning, since somebody may believe that it does."""
    (warning,) = made("cold", {"DF-1": {"members": 2}, "CW-2": {"days": 9}, "RULE": {"enabled": True}}).warnings
    assert warning.message == "wallets[0].detectors.DF-1 has no effect: DF-1 judges only wallets of role deposit"
    (warning,) = made("deposit", {"HW-1": {"weight": 0}, "DF-2": {"high": 0.01}}).warnings
    assert "HW-1 judges only wallets of role hot, personal, treasury" in warning.message


def test_every_detector_judges_somebody() -> None:
    """Each is listed with the roles that it is for; every role has a detector beside the plain rules."""
    assert set(JUDGES) == set(LISTED) and all(JUDGES.values())
    for role in Role:
        assert [name for name, roles in JUDGES.items() if role in roles and name != "RULE"]
