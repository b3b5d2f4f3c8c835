"""The documents agree with the program: what they name exists, what they show runs, and nothing public is left out."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from monitor.app import make_channels, make_router
from monitor.assets import AssetNames
from monitor.case import case_ids, load_case
from monitor.case_run import judge, run_case
from monitor.cli import COMMANDS
from monitor.config import json_schema, load_config
from monitor.detectors import DETECTORS
from monitor.features.dtypes import ASSET, CHANNELS, DESTINATION, FUSION, STATISTICS
from monitor.ids import from_iso
from monitor.model import Incident, Severity, Status
from monitor.networks import NETWORKS
from monitor.priors import PEER
from monitor.published import incident_data
from monitor.registry import CHANNELS as CHANNEL_TYPES
from monitor.verdicts import KINDS

ROOT = Path(__file__).parents[1]
NAMES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/reference.md", "docs/detection.md")
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in NAMES}
REFERENCE, DETECTION = TEXTS["docs/reference.md"], TEXTS["docs/detection.md"]

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PLACE = re.compile(
    r"(?:monitor|chains|alerts|config|docs|tests|requirements|\.ci)/[\w./-]*|[A-Za-z]+\.(?:md|toml)|Makefile"
)
WRITTEN_BY_A_COMMAND = {"docs/bench.md"}


def blocks(language: str) -> list[Any]:
    """Fenced blocks with exactly this info string, by document and line."""
    found = []
    for name, text in TEXTS.items():
        for match in FENCE.finditer(text):
            if match[1].strip() == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{name}:{line}"))
    return found


def prose(text: str) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", text)


def codes(text: str) -> set[str]:
    """Everything in back-ticks outside fenced blocks."""
    return set(CODE.findall(prose(text)))


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of its rank or above."""
    match = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert match, f"no heading {title!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The cells of every table row, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def anchors(text: str) -> set[str]:
    """Anchors that a heading makes, as the usual renderers do."""
    heads = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


# -- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_lines_have_at_most_120_characters(name: str) -> None:
    """Lines fit beside code."""
    long = [n for n, line in enumerate(TEXTS[name].splitlines(), 1) if len(line) > 120]
    assert not long


@pytest.mark.parametrize("name", NAMES)
def test_internal_links_resolve(name: str) -> None:
    """Files and headings that are linked to exist."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(TEXTS[name])):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.is_file() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    """A path in back-ticks is a file or a folder of the project; NAME and ID stand for a new one."""
    missing = []
    for code in codes(TEXTS[name]):
        if not PLACE.fullmatch(code) or re.search(r"NAME|\bID\b", code) or code in WRITTEN_BY_A_COMMAND:
            continue
        if not (ROOT / code).exists():
            missing.append(code)
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_dotted_names_exist(name: str) -> None:
    """`monitor.x.y` in back-ticks is a module or an attribute of one."""
    missing = []
    for code in codes(TEXTS[name]):
        if not re.fullmatch(r"(monitor|chains|alerts)(\.\w+)+", code) or code in ("monitor.blind",):
            continue
        module, _, attribute = code.rpartition(".")
        try:
            importlib.import_module(code)
        except ModuleNotFoundError:
            if not hasattr(importlib.import_module(module), attribute):
                missing.append(code)
    assert not missing


# -- what is shown runs -----------------------------------------------------------------------------------------------


def environment(text: str) -> dict[str, str]:
    """A plausible value for every variable that a configuration reads."""
    values = {}
    for variable in re.findall(r"(?<!\$)\$\{(\w+)\}", text):
        secret = variable.endswith(("SECRET", "TOKEN"))
        values[variable] = "whsec_aGVpc3R3YXRjaA==" if secret else "https://node.example.test/key"
    return values


CONFIGURATIONS = [block for block in blocks("yaml") if block.values[0].startswith("version: 1")]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_configurations_load(text: str, tmp_path: Path) -> None:
    """A configuration in a document passes what `heistwatch check` demands, without a warning."""
    path = tmp_path / "heistwatch.yaml"
    path.write_text(text, "utf-8")
    config = load_config(path, environment(text))
    assert config.wallets and not config.warnings
    make_router(config, make_channels(config))


def test_every_yaml_block_is_a_whole_configuration() -> None:
    """No block escapes the test above."""
    assert len(CONFIGURATIONS) == len(blocks("yaml")) >= 5


@pytest.mark.parametrize("text", blocks("python run"))
def test_python_examples_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python block that is marked as runnable runs."""
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "example", "exec"), {"__name__": "example"})


def test_there_are_runnable_examples_for_webhooks_and_backtests() -> None:
    """The two that readers copy are among them."""
    texts = [block.values[0] for block in blocks("python run")]
    assert any("standardwebhooks" in text for text in texts)
    assert any("monitor.backtest" in text for text in texts)


# -- nothing public is left out ---------------------------------------------------------------------------------------


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those inside it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    """Each has a section, in which its sub-commands and all its options stand."""
    text = section(REFERENCE, f"heistwatch {name}")
    missing = []
    for path, command in commands(importlib.import_module(COMMANDS[name][0]).command, f"heistwatch {name}"):
        if path != f"heistwatch {name}" and path not in text:
            missing.append(path)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                missing += [option for option in parameter.opts if option.startswith("--") and option not in text]
    assert not missing


def test_no_command_is_documented_that_does_not_exist() -> None:
    """What documents tell people to type exists."""
    known = set(COMMANDS)
    for name, text in TEXTS.items():
        typed = re.findall(r"^heistwatch ([a-z]\w*)", "\n".join(m[2] for m in FENCE.finditer(text)), re.MULTILINE)
        typed += [code.split()[1] for code in codes(text) if re.match(r"heistwatch [a-z]", code)]
        assert set(typed) <= known, name


def properties(schema: dict[str, Any]) -> set[str]:
    """Every key of the configuration file."""
    parts = [schema, *schema["$defs"].values()]
    return {key for part in parts for key in part.get("properties", {})}


def test_every_configuration_key_is_in_the_reference() -> None:
    """All keys of the JSON Schema, and all words that some of them take."""
    schema = json_schema()
    said = codes(section(REFERENCE, "Configuration"))
    assert properties(schema) - said == set()
    words = {word for part in schema["$defs"].values() for word in part.get("enum", ())}
    assert words and words - said == set()
    assert set(CHANNEL_TYPES) - said == set()


def test_every_built_in_network_is_in_the_reference() -> None:
    """Those that need their name alone."""
    text = section(REFERENCE, "chains")
    assert [network.name for network in NETWORKS if not re.search(rf"\b{network.name}\b", text)] == []


def keys(value: Any) -> set[str]:
    """All keys of nested mappings, but those that are names of chains."""
    if isinstance(value, dict):
        own = {key for key in value if ":" not in key}
        return own.union(*(keys(item) for item in value.values()))
    return set().union(*(keys(item) for item in value)) if isinstance(value, list) else set()


def test_every_field_of_the_report_is_in_the_reference() -> None:
    """A real report has no field that is not described."""
    said = {part for code in codes(section(REFERENCE, "Backtest report")) for part in code.split(".")}
    assert keys(run_case(load_case("coincheck-2018"))) - said == set()


def test_every_field_of_a_published_incident_is_in_the_reference() -> None:
    """Webhooks and HTTP carry the report's fields and those named under HTTP."""
    incident = Incident(
        id="i", entity="e", wallets=(), status=Status.OPEN, severity=Severity.LOW, opened_at=0, opened_block=0,
        opened_chain="", opened_tx="", revision=1, findings=(), movements=(), suspects=(), lost=(), share_lost=None,
        share_lost_at_open=None,
    )  # fmt: skip
    said = codes(section(REFERENCE, "Backtest report")) | codes(section(REFERENCE, "HTTP"))
    assert set(incident_data(incident, AssetNames())) - said == set()


def test_metrics_and_verdicts_are_those_of_the_program() -> None:
    """The same names on both sides."""
    text = section(REFERENCE, "HTTP")
    source = (ROOT / "monitor" / "metrics.py").read_text("utf-8")
    written = set(re.findall(r'"(heistwatch_\w+)"', source))
    assert written and {code for code in codes(text) if code.startswith("heistwatch_")} == written
    assert set(KINDS) - codes(text) == set()


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_every_detector_is_explained() -> None:
    """Each stands in the table of formulas, under its own name."""
    said = {row[0].split()[0] for row in table(section(DETECTION, "Detectors")) if row[0]}
    assert {detector.id for detector in DETECTORS} == said - {"detector"}


def test_the_priors_are_those_of_the_program() -> None:
    """Both tables, figure by figure."""
    rows = {row[0]: row[1:] for row in table(section(DETECTION, "Where the priors come from"))}
    peer = PEER[0]
    for place, name in enumerate(STATISTICS):
        assert [float(cell) for cell in rows[name]] == [peer["u"][place], peer["s"][place]]
    for place, name in enumerate(CHANNELS):
        expected = [peer["centre"][place], peer["width"][place], *peer["pool_q"][place]]
        assert [float(cell) for cell in rows[name]] == pytest.approx(expected)
    chances = [float(re.sub(r"[^\d.]", "", cell)) for cell in rows["channel"][2:]]
    assert chances == list(peer["pool_p"])


def test_the_sizes_of_records_are_those_of_the_program() -> None:
    """A record of another size is another layout: the documents must say so."""
    rows = {row[0].split("`")[1]: row[-1] for row in table(section(TEXTS["ARCHITECTURE.md"], "State: records and keys"))
            if "`" in row[0]}  # fmt: skip
    assert rows["a"] == f"{ASSET.itemsize} + 1 bytes"
    assert rows["w"] == f"{FUSION.itemsize:,} bytes"
    assert rows["d"] == rows["s"] == f"{DESTINATION.itemsize} bytes"


@pytest.mark.parametrize("name", [name for name in case_ids() if load_case(name).replayable])
def test_the_table_of_built_in_thefts_is_what_they_give(name: str) -> None:
    """Each row says what `heistwatch case run` says."""
    rows = {row[0]: row[1:] for row in table(section(DETECTION, "Built-in thefts"))}
    case = load_case(name)
    found = judge(case, run_case(case))
    assert rows[name] == [
        found["severity"],
        f"{found['minutes']:g}",
        f"{found['share_lost_at_open'] * 100:.0f} %",
        str(found["false_alarms"]),
    ]


def test_the_first_screen_shows_what_really_left() -> None:
    """Times and sums in the captured demonstration are those of the case's facts."""
    case = load_case("coincheck-2018")
    screen = next(match[2] for match in FENCE.finditer(TEXTS["README.md"]) if match[1] == "text")
    shown = re.findall(r"^(\S+Z)  CRITICAL incident\.\w+ +revision (\d+) +([\d,]+) XEM", screen, re.MULTILINE)
    assert len(shown) >= 3
    for at, _, amount in shown:
        gone = sum(int(entry.value) for entry in case.stolen) - sum(
            int(entry.value) for entry in case.stolen_after(from_iso(at))
        )
        assert int(amount.replace(",", "")) * 1_000_000 == gone
    assert screen.startswith(f"{case.title} ({case.date})")
    (left,) = case.stolen_after(from_iso(shown[0][0]))
    assert f"not yet gone at the alarm: {left.display}" in screen
    assert case.noticed_at is not None
    assert f"noticed after {(case.noticed_at - case.theft_starts_at) / 3600:.1f} h" in screen


def test_the_changelog_has_the_version_of_the_program() -> None:
    """The version that is built has its entry."""
    import monitor

    assert re.search(rf"^##+ \[?{re.escape(monitor.__version__)}\b", TEXTS["CHANGELOG.md"], re.MULTILINE)
