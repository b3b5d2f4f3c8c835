"""Rules in the configuration: shares, named lists, what is wrong with them; and the engine that is made of it."""

from __future__ import annotations

import ast
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from monitor.app import make_engine, run_backtest
from monitor.config import Config, RuleKind, config_from_mapping, json_schema
from monitor.config.show import READ_CONTROLS
from monitor.coverage import coverage_data
from monitor.errors import ConfigError
from monitor.model import Block, BlockRef, ControlKind

HOT, COLD, KNOWN = (f"ethereum:0x{digit * 40}" for digit in "123")
ETHER, BASE = "eip155:1/slip44:60", "eip155:8453/slip44:60"


def made(rules: list[dict[str, Any]], base: Path = Path(), **more: Any) -> Config:
    hot = {"id": "hot", "role": "hot", "addresses": [HOT, f"base:0x{'1' * 40}"], "rules": rules}
    cold = {"id": "cold", "role": "cold", "addresses": [COLD]}
    return config_from_mapping({"wallets": [hot, cold], **more}, base, "case")


def problems(rules: list[dict[str, Any]], base: Path = Path(), **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        made(rules, base, **more)
    return [problem.message for problem in caught.value.problems]


def test_a_share_is_exact() -> None:
    """A share is a fraction, of every asset or of the one that is named, on each chain that has it."""
    every, native = made([{"over": "0.1 %", "window": "1h"}, {"over": "20%", "asset": "native"}]).rules["hot"]
    assert (every.kind, every.share, every.window, every.assets) == (RuleKind.OVER, Fraction(1, 1000), 3600, ())
    assert (native.share, native.window, native.assets) == (Fraction(1, 5), None, (ETHER, BASE))
    assert every.limits == native.limits == ()


@pytest.mark.parametrize("text", ["0 %", "100.1 %", "999%"])
def test_a_share_that_can_never_hold(text: str) -> None:
    """A share is above nothing and at most all."""
    assert problems([{"over": text}]) == ["wallets[0].rules[0].over is not above 0 % and at most 100 %"]


def test_a_share_is_for_over_alone() -> None:
    """A balance below a share of itself means nothing, and a strange share is no amount."""
    assert len(problems([{"balance_below": "20 %"}])) == 1
    assert len(problems([{"over": "-5 %"}])) == 1
    (said,) = problems([{"over": "20 %", "asset": "NOPE"}])
    assert said.startswith("wallets[0].rules[0].asset") and "is not known on" in said


def test_named_lists(tmp_path: Path) -> None:
    """A list holds addresses and files of them, each once, canonical and on its chain."""
    (tmp_path / "known.txt").write_text(f"{KNOWN}\n# nobody\n{KNOWN}\nbase:0x{'A' * 40}\n")
    (tmp_path / "plain.csv").write_text(f"address\n0x{'b' * 40}\n")
    lists = {"all": [HOT, "file:known.txt", "ethereum:file:plain.csv"], "one": KNOWN}
    config = made([{"not_in": "all"}], tmp_path, lists=lists)
    assert config.lists["all"] == {
        ("eip155:1", "0x" + "1" * 40), ("eip155:1", "0x" + "3" * 40), ("eip155:8453", "0x" + "a" * 40),
        ("eip155:1", "0x" + "b" * 40),
    }  # fmt: skip
    assert config.lists["one"] == {("eip155:1", "0x" + "3" * 40)}
    assert config.public()["lists"] == {"all": 4, "one": 1}
    assert config.rules["hot"][0].list_name == "all"


def test_what_is_wrong_with_lists(tmp_path: Path) -> None:
    """Each mistake once, with its place: an unknown name, a bad address, a file that is not there, nothing in it."""
    (tmp_path / "bad.txt").write_text(f"{KNOWN}\nethereum:0x12\nnowhere:0x{'1' * 40}\n")
    lists = {"known": ["0xnothing", "file:none.txt", "file:bad.txt"], "empty": []}
    with pytest.raises(ConfigError) as caught:
        made([{"not_in": "knwn"}], tmp_path, lists=lists)
    said = {(p.where, p.message.split(":")[0]) for p in caught.value.problems}
    assert ("case", "wallets[0].rules[0].not_in is not the name of a list") in said
    assert {where for where, _ in said} == {"case", f"{tmp_path}/bad.txt:2", f"{tmp_path}/bad.txt:3"}
    assert len(said) == len(caught.value.problems) == 6
    assert any("did you mean 'known'" in p.message for p in caught.value.problems)
    assert "there are no lists" in problems([{"not_in": "known"}])[0]


def test_the_schema_describes_lists_and_shares() -> None:
    """An editor that reads the schema knows both."""
    schema = json_schema()
    assert "not_in" in schema["properties"]["lists"]["description"]
    assert "20 %" in json.dumps(schema["$defs"]["RuleEntry"]["properties"]["over"])


def test_the_engine_has_the_policies_of_the_configuration() -> None:
    """Wallets with rules and cold wallets are judged exactly; others are not looked at."""
    assert make_engine(made([{"outflow": "any"}])).policies.wallets == {"hot", "cold"}
    assert make_engine(made([])).policies.wallets == {"cold"}


def test_planned_changes_hold_for_every_wallet() -> None:
    """Whatever its role: nothing of them is said to be without effect."""
    plan = {"kind": "owner_change", "value": "0x" + "9" * 40}
    for account in (COLD, HOT):
        assert "not applied" not in "\n".join(made([], planned=[{**plan, "account": account}]).summary())


def test_a_planned_value_is_one_that_can_come() -> None:
    """Addresses with their checksums, numbers for thresholds and delays, hashes for proposals: else nothing matches."""

    def value(kind: str, text: Any) -> str:
        return made([], planned=[{"account": HOT, "kind": kind, "value": text}]).planned[0].value

    mixed = "0x28C6c06298d514Db089934071355E5743bf21d60"
    assert value("owner_change", mixed) == value("module_change", f"ethereum:{mixed}") == mixed.lower()
    assert value("guard_change", "none") == "0x" + "0" * 40
    assert value("threshold_change", 3) == value("threshold_change", "03") == "3"
    assert value("delay_change", "172800") == "172800"
    assert value("proposal", "0x" + "AB" * 32) == value("implementation_change", "0x" + "ab" * 32) == "0x" + "ab" * 32


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("owner_change", "0x28C6c06298d514Db089934071355E5743bf21d6F", "checksum does not match"),
        ("owner_change", "0x1", "40 hexadecimal digits"),
        ("threshold_change", "two", "is not a whole number"),
        ("delay_change", "2d", "is not a whole number: delay_change takes the new number, of a delay in seconds"),
        ("proposal", "0x12", "is not the hash of a Safe transaction"),
    ],
)
def test_a_planned_value_that_can_never_come(kind: str, text: str, says: str) -> None:
    """It is a mistake, told with its place."""
    (said,) = problems([], planned=[{"account": HOT, "kind": kind, "value": text}])
    assert said.startswith("planned[0].value") and says in said


def test_planned_changes_that_nothing_shows_are_said() -> None:
    """A kind of change that the reading of its chain does not show protects nobody, planned or not."""
    plan = {"account": COLD, "kind": "importance_transfer", "value": "0x" + "9" * 40}
    text = "not applied by this version: planned changes that no reading of their chain shows"
    assert f"{text}: importance_transfer on ethereum" in made([], planned=[plan]).summary()
    assert text not in "\n".join(made([], planned=[{**plan, "kind": "approval"}]).summary())


def test_the_changes_that_are_read_are_those_of_the_decoders() -> None:
    """What `check` believes a reading to show is what its decoder makes."""
    chains = Path(__file__).parents[2] / "chains"
    names = ("ControlKind", "_KIND")
    for family, kinds in READ_CONTROLS.items():
        files = [chains / f"{family}_decode.py", *(chains / family).rglob("*.py")]
        made_there = {
            node.attr
            for path in files
            if path.is_file()
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
        }
        assert {ControlKind[name] for name in made_there} == kinds, family


# -- what waits for a balance -----------------------------------------------------------------------------------------

WAITING = [{"outflow": "any"}, {"balance_below": "10 ETH"}, {"over": "20 %"}, {"over": "9 ETH"}]


def test_rules_that_wait_for_a_balance_are_said() -> None:
    """Which ones, and who tells it; other rules, and wallets without such rules, are not mentioned."""
    (line,) = [line for line in made(WAITING).summary() if line.startswith("note: ")]
    assert line == (
        "note: wallet hot: rules[1] (balance_below) and rules[2] (over a share) say nothing until its balance is "
        "known; the chain tells it at its first block, in a backtest a balances table"
    )
    assert not any(line.startswith("note: ") for line in made([WAITING[0], WAITING[3]]).summary())


def test_rules_that_were_switched_off_wait_for_nothing() -> None:
    """Neither the summary nor the engine waits for what will not speak."""
    hot = {"id": "hot", "role": "hot", "addresses": [HOT], "rules": WAITING, "detectors": {"RULE": {"enabled": False}}}
    config = config_from_mapping({"wallets": [hot]}, Path(), "case")
    assert not any(line.startswith("note: ") for line in config.summary())
    assert make_engine(config).policies.waiting() == []


def test_waiting_ends_with_a_told_balance() -> None:
    """By wallet, chain and rule: of a level the balance of its asset, of a share that of any asset; and in coverage."""
    engine = make_engine(made(WAITING))
    assert engine.policies.waiting() == [
        ("eip155:1", "hot", "balance_below"), ("eip155:1", "hot", "over 20 %"),
        ("eip155:8453", "hot", "balance_below"), ("eip155:8453", "hot", "over 20 %"),
    ]  # fmt: skip
    block = Block(BlockRef("eip155:1", 5, "b"), "", 1_700_000_000, ())
    engine.connect(block, {("hot", "eip155:1", "eip155:1/erc20:0x1"): 7})
    left = [("eip155:1", "hot", "balance_below"), *engine.policies.waiting()[1:]]
    assert engine.policies.waiting() == left and ("eip155:1", "hot", "over 20 %") not in left
    shown = coverage_data([], waiting=left)
    assert shown["eip155:1"]["waiting_for_balance"] == [{"wallet": "hot", "rule": "balance_below"}]
    assert len(shown["eip155:8453"]["waiting_for_balance"]) == 2
    engine.connect(Block(BlockRef("eip155:1", 6, "c"), "b", 1_700_000_060, ()), {("hot", "eip155:1", ETHER): 0})
    assert all(chain != "eip155:1" for chain, _, _ in engine.policies.waiting())


@pytest.mark.parametrize("told", [True, False])
def test_a_backtest_says_which_rules_were_silent(tmp_path: Path, told: bool) -> None:
    """Without a balances table a rule on a balance is silent: the report's notes name it, chain by chain."""
    address, other = HOT.split(":")[1], KNOWN.split(":")[1]
    history, balances = tmp_path / "history.csv", tmp_path / "balances.csv"
    history.write_text(
        "chain,block_number,block_timestamp,transaction_hash,from_address,to_address,asset,value\n"
        f"ethereum,5,1700000000,0x01,{address},{other},native,5\n"
    )
    balances.write_text(f"chain,address,asset,block_number,value\nethereum,{address},native,1,{10**18}\n")
    paths = [str(history), *([str(balances)] if told else [])]
    report = run_backtest(made(WAITING), paths)
    said = [note for note in report["data"]["notes"] if "said nothing" in note]
    if told:
        assert said == [] and "balance below 10 ETH" in report["incidents"][0]["findings"][0]["summary"]
    else:
        assert [note.split(",")[0] for note in said] == [
            f"wallet hot on eip155:1: the rule {rule} said nothing" for rule in ("balance_below", "over 20 %")
        ]


def test_a_budget_of_an_exact_wallet_is_said() -> None:
    """Cold wallets have no statistics: a budget of theirs is a warning, and the summary shows none."""
    cold = {"id": "cold", "role": "cold", "addresses": [COLD], "budget": 3}
    config = config_from_mapping({"wallets": [cold]}, Path(), "case")
    (warning,) = config.warnings
    assert warning.message == (
        "wallets[0].budget has no effect: wallets of role cold are judged by exact rules"
    )
    assert "wallet cold (cold): 1 address on ethereum" in config.summary()
    assert made([]).warnings == ()
