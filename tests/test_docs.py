"""The documents agree with the program: what they name exists, what they show runs, and nothing public is left out."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from monitor import findings, fusion, returns, signals
from monitor.alerting import make_channels, make_planner
from monitor.assets import AssetNames
from monitor.case import case_ids, load_case
from monitor.case_run import judge, run_case
from monitor.cli import COMMANDS
from monitor.config import json_schema, load_config
from monitor.config.chains import BACKFILL_SECONDS
from monitor.config.fleets import LONG_LIST
from monitor.coverage import coverage_data
from monitor.detectors import DETECTORS, Detector, Parameter
from monitor.detectors.shares import LEAST, LOG_LEAST
from monitor.features import kernel, looks
from monitor.features.dtypes import ASSET, CHANNELS, DESTINATION, FUSION, STATISTICS
from monitor.ids import from_iso
from monitor.labels import LabelKind
from monitor.labels.load import PACK
from monitor.labels.place import Places
from monitor.labels.read import read_labels
from monitor.marks import MARKS, Mark, MarkState, spool_prefix
from monitor.model import Incident, Role, Severity, Status
from monitor.networks import NETWORKS
from monitor.parameters import number_text
from monitor.policies import POLICIES
from monitor.policies.fleet_records import CAP
from monitor.priors import PEER, SPLIT, VERSION
from monitor.published import incident_data
from monitor.registry import CHANNELS as CHANNEL_TYPES
from monitor.verdicts import KINDS
from tests.scorecard.rows import EMPTY
from tests.scorecard.show import _three as three

ROOT = Path(__file__).parents[1]
NAMES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/reference.md", "docs/detection.md",
         "docs/webhooks.md", "docs/alerts.md", "docs/tutorial.md", "docs/cluster.md")  # fmt: skip
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
        if not re.fullmatch(r"(monitor|chains|alerts)(\.\w+)+", code) or code in ("monitor.blind", "monitor.recovered"):
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
    make_planner(config, make_channels(config))


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


def names_in(title: str) -> set[str]:
    """First words of the first column of a section's tables."""
    return {row[0].split()[0] for row in table(section(DETECTION, title)) if row[0]} - {"detector"}


def test_every_detector_is_explained() -> None:
    """Each stands in the table of formulas or of policies, under its own name."""
    assert {detector.id for detector in DETECTORS} == names_in("Detectors")
    assert {detector.id for detector in POLICIES} == names_in("Policies")


def is_weight(parameter: Parameter) -> bool:
    """Whether it is the weight of a statistic, which stands under the scores and not in a formula."""
    return any(field.startswith("uses:") for field in parameter.fields)


@pytest.mark.parametrize("detector", [d for d in DETECTORS if d.id != "FUSION"], ids=lambda d: d.id)
def test_formulas_have_the_numbers_of_the_program(detector: Detector) -> None:
    """Each default of a detector stands in its formulas: that of hot wallets, of personal ones for PW."""
    rows, name = [], ""
    for row in table(section(DETECTION, "Detectors")):
        name = row[0].split()[0] if row[0] else name
        rows += [row[-1]] if name == detector.id else []
    written = {abs(float(number)) for number in re.findall(r"\d+(?:\.\d+)?", " ".join(rows))}
    for parameter in detector.parameters:
        personal = detector.id.startswith("PW") and parameter.personal is not None
        number = abs(parameter.personal if personal else parameter.default)  # type: ignore[arg-type]
        elsewhere = is_weight(parameter) or parameter.name in ("familiar", "calm")
        assert elsewhere or number in written, f"{parameter.name} = {number:g}"


def test_roles_are_those_of_the_program() -> None:
    """Each role has its row."""
    said = {word for row in table(section(DETECTION, "Roles")) for word in CODE.findall(row[0])}
    assert said == {str(role) for role in Role}


def test_every_parameter_is_in_the_reference() -> None:
    """Names, defaults and limits, detector by detector, and nothing that cannot be set."""
    written, name = [], ""
    for row in table(section(REFERENCE, "detectors"))[1:]:
        name = row[0] or name
        assert row[-1], row
        written.append([name, *row[1:-1]])
    assert written == [
        [detector.id, f"`{p.name}`", number_text(p.default), "" if p.personal is None else number_text(p.personal),
         f"{'whole, ' if p.whole else ''}{number_text(p.low)} to {number_text(p.high)}"]
        for detector in (*DETECTORS, *POLICIES)
        for p in detector.parameters
    ]  # fmt: skip


def allowed(budget: float, channel: int) -> float:
    """The chance that a clean day of a hot wallet may exceed a channel, as the document has it."""
    return float(PEER["share"][0][channel]) * SPLIT * budget / 30 * (1 + fusion.JOINED * budget / 30)


CONSTANTS = {
    "version of the priors": f"what is usual for wallets in general, version {VERSION}:",
    "shares": f"at least {LOG_LEAST:g} ({LEAST * 100:.1f} %)",
    "gaps": f"gaps of more than {fusion.GAP_DAYS} days apart",
    "budget in words": f"share {SPLIT * 100:.0f} % of it",
    "familiar": f"novel = max(0, x - {DETECTORS[0].parameters[1].default:g} * m)",
    "young": f"younger than {kernel.YOUNG_DAY // 86400} days",
    "young, slow": f"the same with {kernel.YOUNG_SLOW // 86400} days",
    "z": f"{fusion.Z_AT_U:g} + (e - u) / (s * ln 10)",
    "z of again": f"for the three `again` it is {fusion.Z_AT_RARE:g},",
    "z at most": f"never above {fusion.Z_MAX:g}.",
    "fresh": f"weighs 1, fresh_1h weighs {next(p.default for p in DETECTORS[2].parameters if p.name == 'fresh'):g}.",
    "budget": f"p = w * {SPLIT:g} * (b / 30) * (1 + {fusion.JOINED:g} * b / 30)",
    "channels": "in which w is " + "{:.2f}, {:.2f} or {:.2f}".format(*PEER["share"][0]),
    "personal channels": "({:g}, {:g}, {:g} in personal wallets)".format(*PEER["share"][1]),
    "return period": f"`D / 2 * (1 + sqrt(1 + {4 * fusion.JOINED:g} / D))`",
    "floor": f"share is at least {DETECTORS[-1].parameters[0].default:g}.",
    "shrinking": f"u = (n * q + {fusion.PRIOR_DAYS_U:g} * u') / (n + {fusion.PRIOR_DAYS_U:g})",
    "shrinking of s": f"s = (j * m + {fusion.PRIOR_DAYS_S:g} * s') / (j + {fusion.PRIOR_DAYS_S:g})",
    "controller": f"`delta += {fusion.ETA:g} * (exceeded - p)`, between {fusion.DELTA_MIN:g} and {fusion.DELTA_MAX:g},",
    "a day over": f"raises the fast threshold by {fusion.ETA * (1 - allowed(1.0, 0)):.3f},",
    "a quiet day": f"a quiet day lowers it by {fusion.ETA * allowed(1.0, 0):.4f}.",
    "guard": f"rises at midnight to {fusion.GUARD_STEP:g} times",
    "guard at most": f"to {fusion.GUARD_MAX:g} at most",
    "guard back": f"shrinks by {(1 - fusion.GUARD_KEEP) * 100:.1f} %",
    "look": f"says nothing before {looks.KNOWN_FROM:g} payments",
    "look back": f"over the last {looks.KEEP:g} or so",
    "chance": f"`{findings.THEFTS_PER_MONTH:g} / ({findings.THEFTS_PER_MONTH:g} + 30 / T)`",
    "one wallet": f"one wallet in {1 / (12 * findings.THEFTS_PER_MONTH):.0f} a year",
    "short history": f"under {findings.SHORT_DAYS} active days",
    "medium": f"once in {findings.MEDIUM_DAYS:g} days or rarer",
    "high": f"once in {findings.HIGH_DAYS:,.0f} days or rarer",
    "critical": f"once in {findings.CRITICAL_DAYS:,.0f} days or rarer",
    "gone": f"and {findings.CRITICAL_GONE * 100:.0f} % or more of the balance left",
    "returned": f"at most {returns.WINDOW // 86400} days after the last finding",
    "signals": f"within {('', 'one', 'two')[signals.WINDOW // 3600]} hours open one",
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_those_of_the_program(name: str) -> None:
    """The text says them as the program has them."""
    assert CONSTANTS[name] in " ".join(DETECTION.split())


@pytest.mark.parametrize(("place", "title"), [(0, "Hot and treasury wallets"), (1, "Personal wallets")])
def test_the_priors_are_those_of_the_program(place: int, title: str) -> None:
    """Both tables of both priors, figure by figure."""
    rows = {row[0]: row[1:] for row in table(section(DETECTION, title))}
    peer = PEER[place]
    assert set(rows) == {"statistic", "channel", *STATISTICS, *CHANNELS}
    for k, name in enumerate(STATISTICS):
        assert [float(cell) for cell in rows[name]] == [peer["u"][k], peer["s"][k]]
    for c, name in enumerate(CHANNELS):
        expected = [peer["share"][c], peer["centre"][c], peer["width"][c], *peer["pool_q"][c]]
        assert [float(cell) for cell in rows[name]] == pytest.approx(expected)
    chances = [float(re.sub(r"[^\d.]", "", cell)) for cell in rows["channel"][3:]]
    assert chances == list(peer["pool_p"])


def measured() -> dict[tuple[str, str, float], dict[str, Any]]:
    """Rows of the published scorecard by world, kind and budget; a whole row goes before its sample."""
    rows = json.loads((ROOT / "docs" / "scorecard.json").read_text("utf-8"))["rows"]
    found = {(r["world"], r["kind"], r["budget"]): r for r in rows if "world" in r}
    for (world, kind, budget), row in list(found.items()):
        if kind.endswith(", sample"):
            found.setdefault((world, kind.removesuffix(", sample"), budget), row)
    return found


def percent(share: float | None) -> str:
    """A share as the tables have it."""
    return "-" if share is None else f"{share * 100:.0f} %"


def test_the_short_tables_are_those_of_the_scorecard() -> None:
    """Each figure under "How well it does", against docs/scorecard.json."""
    card = measured()
    rows = table(section(DETECTION, "How well it does").split("### ")[0])
    clean = [row for row in rows if len(row) == 6 and row[0] != "world"]
    theft = [row for row in rows if len(row) == 8 and row[0] != "world"]
    assert len(clean) >= 5 and len(theft) >= 5
    assert len(clean) + len(theft) + 2 == len(rows)
    for world, *cells in clean:
        found = card[world, "clean", float(cells[1])]
        figures = [three(float(found[name])) for name in ("realised", "worst_wallet", "pages_a_year")]
        assert cells == [str(found["n"]), f"{found['budget']:g}", *figures], world
    for world, kind, *cells in theft:
        found = card[world, kind, float(cells[1])]
        names = ("recall", "share_lost_at_open", "paged", "share_lost_at_page")
        assert cells == [str(found["n"]), f"{found['budget']:g}", *(percent(found[name]) for name in names)], kind


def test_every_field_of_the_scorecard_is_in_the_reference() -> None:
    """Those of simulated wallets, and those of cases."""
    said = codes(section(REFERENCE, "Scorecard"))
    published = json.loads((ROOT / "docs" / "scorecard.json").read_text("utf-8"))["rows"]
    assert set(EMPTY).union(*published) - said == set()


def test_learning_is_in_the_reference() -> None:
    """Its fields and states, as /coverage gives them."""
    mark = Mark(MarkState.BACKFILLING, 9, 9)
    told = coverage_data([], {"c": mark}, waiting=[("c", "w", "over 20 %")])
    said = codes(section(REFERENCE, "HTTP"))
    assert keys(told) - {"c", "first", "last", "source", "undecoded"} - said == set()
    assert set(map(str, MarkState)) - said == set()


def test_counts_are_those_of_the_program() -> None:
    """Built-in labels, kinds of them, long lists, the backfill."""
    labels = read_labels([PACK], Places(()), undated=0).labels
    example = (ROOT / "config" / "heistwatch.example.yaml").read_text("utf-8")
    for text in (TEXTS["README.md"], REFERENCE, TEXTS["CHANGELOG.md"], example):
        assert re.search(r"(\d+) (?:built-in labels|(?:labels )?are built in)", text)[1] == str(labels)  # type: ignore[index]
    assert {str(kind) for kind in LabelKind} - codes(section(REFERENCE, "Configuration")) == set()
    assert f"more than {LONG_LIST:,} addresses" in REFERENCE
    assert f"fetches the last {BACKFILL_SECONDS // 86400} days" in " ".join(TEXTS["README.md"].split())
    assert f"at most {CAP:,} counterparties" in " ".join(TEXTS["ARCHITECTURE.md"].split())


def test_every_kind_of_state_is_in_the_architecture() -> None:
    """The letters with which keys begin: the fold's, intake's, the policies', the pipeline's."""
    rows = table(section(TEXTS["ARCHITECTURE.md"], "State: records and keys"))
    said = {row[0].split("`")[1] for row in rows if "`" in row[0]}
    prefixes = {"awds", "t", "m"}
    for path in (ROOT / "monitor" / "policies").rglob("*.py"):
        prefixes.update(re.findall(r'^ *(?:_PREFIX|prefix|RECORDS) = b"(\w)', path.read_text("utf-8"), re.MULTILINE))
    prefixes.update(key.decode()[0] for key in (MARKS, spool_prefix("c")))
    assert said == set("".join(prefixes)) and len(said) >= 12


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
    """The version that is built has its entry, with the version of the priors and the case that moved."""
    import monitor

    assert re.search(rf"^##+ \[?{re.escape(monitor.__version__)}\b", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert f"priors are version {VERSION}" in TEXTS["CHANGELOG.md"]
    rows = {row[0]: row[1] for row in table(section(DETECTION, "Built-in thefts"))}
    moved = re.search(r"So ([\w-]+), .* is (\w+) \(was", " ".join(TEXTS["CHANGELOG.md"].split()))
    assert moved is not None and rows[moved[1]] == moved[2]
