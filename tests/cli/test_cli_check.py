"""`heistwatch check`: every problem at once, each with its place; and what is right is summed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MIXED = "0xF39fd6e51aad88F6F4ce6aB8827279cffFb92266"  # anvil's first account; its checksum has a lower-case f first


def test_right(heistwatch: Callable[..., Any], config: Path) -> None:
    """A configuration that is right is summed up on standard output, code 0."""
    ran = heistwatch("check")
    assert (ran.code, ran.err) == (0, "")
    assert "wallet hot (hot): 1 address on dev" in ran.out and ran.out.endswith("the configuration is right\n")


def test_json_hides_secrets(heistwatch: Callable[..., Any], config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json prints the whole configuration and none of its secrets."""
    monkeypatch.setenv("KEY", "d2hhdC1hLXNlY3JldC10aGlzLWlz")
    with config.open("a") as file:
        file.write(
            'http: {token: "${KEY}"}\n'
            "receivers:\n"
            '  - {name: soc, channels: [{type: webhook, url: "https://example.com/${KEY}", secret: "${KEY}"}]}\n'
            "route: {receiver: soc}\n"
        )
    ran = heistwatch("check", "--json")
    assert ran.code == 0 and "d2hhdC1hLXNlY3JldC10aGlzLWlz" not in ran.out + ran.err
    assert json.loads(ran.out)["config"]["wallets"][0]["id"] == "hot"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wallets: [", "wallets: [[", "not valid YAML"),
        ("role: hot", "role: hot, rolle: hot", "unknown key 'rolle'"),
        ("role: hot", "role: hott", "did you mean 'hot'?"),
        ("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", MIXED, "checksum"),
        ("version: 1", "version: 2", "version"),
        ("dev:0x", "def:0x", "did you mean 'dev'?"),
    ],
)
def test_one_problem(refused: Callable[..., str], config: Path, old: str, new: str, said: str) -> None:
    """One mistake is one line with file and line number, code 2."""
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))
    line = refused(2, "check", config)
    assert line.startswith(f"{config}:") and line.split(":")[1].isdigit() and said in line


def test_several_problems(heistwatch: Callable[..., Any], config: Path) -> None:
    """All mistakes of all parts are told together, in the order of the file."""
    text = config.read_text().replace("role: hot", "role: hott").replace("dev:0xf3", "dev:0xF3")
    config.write_text(text + "listen: x\nroute: {receiver: ops}\n")
    ran = heistwatch("check", config)
    assert ran.code == 2 and ran.out == ""
    assert len(ran.problems) >= 4
    for said in ("did you mean 'hot'?", "checksum", "unknown key 'listen'", "'ops'"):
        assert sum(said in line for line in ran.problems) == 1, (said, ran.err)
    lines = [int(line.split(":")[1]) for line in ran.problems]
    assert lines == sorted(lines)


def test_channel_mistakes(heistwatch: Callable[..., Any], config: Path) -> None:
    """What only the channels know is checked too, and its secret stays hidden."""
    with config.open("a") as file:
        file.write(
            "receivers:\n  - {name: soc, channels: [{type: webhook, url: nonsense-value}]}\nroute: {receiver: soc}\n"
        )
    ran = heistwatch("check", config)
    assert ran.code == 2 and "nonsense-value" not in ran.err
    assert len(ran.problems) == 2 and "it needs a secret" in ran.err
    assert all(line.startswith(f"{config}:5: ") for line in ran.problems)
    config.write_text(config.read_text().replace("type: webhook", "type: webhok"))
    assert "did you mean 'webhook'?" in heistwatch("check", config).err


TELLING = """
receivers:
  - {name: soc, template: {title: "{{ badge"}, channels: [{type: discord, url: "https://discord.com/api/webhooks/1/a"}]}
times: {day: [{days: [monn], from: "8:00"}], none: [{from: "25:00"}]}
inhibit: [{source: {severity: [critical]}, target: {severity: [critical]}}]
escalations: {pager: [{after: 5m, receiver: soc}, {after: 5m, receiver: soc}]}
route:
  receiver: soc
  group_by: [entitty]
  quiet: [day]
  escalation: pager
  routes: [{match: {detector: HW-33}}, {match: {detector: hw-3}}]
"""


def test_two_channels_of_one_name(heistwatch: Callable[..., Any], config: Path) -> None:
    """They could not be told apart; other types, and other receivers, may have it too."""
    soc = "{name: soc, channels: [{type: console, name: wall}, {type: console, name: wall}]}"
    boss = "{name: boss, channels: [{type: console, name: wall}, {type: exec, command: [ls], name: wall}]}"
    config.write_text(config.read_text() + f"receivers: [{soc}, {boss}]\nroute: {{receiver: soc}}\n")
    done = heistwatch("check")
    assert done.code == 2
    assert done.err.rstrip().endswith("receivers[0].channels: two console channels have the name 'wall'")
    assert done.err.count("wall") == 1


def test_mistakes_of_telling(heistwatch: Callable[..., Any], config: Path) -> None:
    """What is wrong with channels, times, inhibition, escalation and routes is said together, by line."""
    first = len(config.read_text().splitlines()) + 1
    config.write_text(config.read_text() + TELLING)
    ran = heistwatch("check", config)
    assert ran.code == 2
    assert [int(line.split(":")[1]) - first for line in ran.problems] == [2, 3, 3, 4, 5, 8, 11], ran.err
    assert "unknown detector 'HW-33': did you mean 'HW-3'?" in ran.problems[-1]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"- a\n- b\n", b"just text", b"\x00\x01"])
def test_no_configuration_at_all(heistwatch: Callable[..., Any], config: Path, content: bytes) -> None:
    """A file that is no configuration is code 2 and named; nothing of it is taken for one."""
    config.write_bytes(content)
    ran = heistwatch("check", config)
    assert ran.code == 2 and ran.out == "" and ran.problems
    assert all(line.startswith(str(config)) for line in ran.problems), ran.err


def test_what_protects_nobody_yet_is_said(heistwatch: Callable[..., Any], config: Path) -> None:
    """Rules that wait, settings without effect, parts that are not applied: in words, and in JSON."""
    config.write_text(
        config.read_text().replace("role: hot,", "role: hot, rules: [{balance_below: '1 ETH'}], detectors: {CW-2: {}},")
        + "planned: [{kind: signatory_change, value: none,"
        + " account: 'dev:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266'}]\n"
    )
    lines = heistwatch("check").out.splitlines()
    assert sum(line.startswith("note: wallet hot: rules[0] (balance_below) says nothing until") for line in lines) == 1
    (unread,) = [line for line in lines if line.startswith("not applied by this version: ") and "reading" in line]
    (warning,) = [line for line in lines if line.startswith("warning: ")]
    assert warning.startswith(f"warning: {config.name}:") and "CW-2 has no effect" in warning
    found = json.loads(heistwatch("check", "--json").out)
    assert unread.removeprefix("not applied by this version: ") in found["not_applied"]
    assert len(found["notes"]) == len(found["warnings"]) == 1
