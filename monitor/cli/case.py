"""`heistwatch case`: built-in historical thefts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.cli.common import json_option, print_json, table
from monitor.cli.files import check_place, write_report
from monitor.cli.show import bold, clean, show_files, show_report
from monitor.errors import ConfigError
from monitor.ids import iso

__all__ = ["command"]


@click.group()
def command() -> None:
    """Built-in historical thefts: facts with their sources, and a replay through the engine."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the cases."""
    from monitor.case import case_ids, load_case

    cases = [load_case(name) for name in case_ids()]
    if as_json:
        print_json(
            [
                {
                    "id": c.id,
                    "title": c.title,
                    "date": c.date,
                    "entity": c.entity,
                    "chains": list(c.chains),
                    "replayable": c.replayable,
                    "why_not": c.why_not,
                }
                for c in cases
            ]
        )
        return
    rows = [(c.id, c.date, c.title, ", ".join(c.chains), "yes" if c.replayable else "no") for c in cases]
    table(("id", "date", "what", "chains", "replay"), rows)


@command.command()
@click.argument("case_id", metavar="ID")
@json_option
def show(case_id: str, as_json: bool) -> None:
    """Show what is known of a case, how well, from whom, and what its replay adds."""
    from monitor.case import load_case

    case = load_case(case_id)
    if as_json:
        print_json({"id": case.id, "title": case.title, "narrative": case.narrative, "replayable": case.replayable})
        return
    click.echo(clean(case.narrative))


@command.command()
@click.argument("case_id", metavar="ID", required=False)
@click.option("--all", "every", is_flag=True, help="Run all cases that can be replayed.")
@click.option("--report", "out", metavar="OUT.json", help="Write the report (of one) or the scorecard (of all) here.")
@json_option
def run(case_id: str | None, every: bool, out: str | None, as_json: bool) -> int:
    """Replay a case: would the theft have been caught, when, and what was left to save?"""
    if every == (case_id is not None):
        raise ConfigError("name one case, or --all: `heistwatch case list` shows those there are")
    if out is not None:
        check_place(Path(out))
    return _run_all(out, as_json) if every else _run_one(str(case_id), out, as_json)


def _run_one(case_id: str, out: str | None, as_json: bool) -> int:
    from monitor.case import load_case
    from monitor.case_run import judge, run_case

    case = load_case(case_id)
    found = run_case(case)
    verdict = judge(case, found)
    if out is not None:
        write_report(Path(out), found)
    if as_json:
        print_json({"report": found, "verdict": verdict})
    else:
        click.echo(bold(clean(f"{case.title} ({case.date})")))
        show_report(found)
        show_files({"report": out} if out else {})
        click.echo("")
        for line in _verdict(verdict):
            click.echo(line)
    return 0 if verdict["paged"] else 1


def _verdict(v: dict[str, Any]) -> list[str]:
    lines = []
    if v["detected"]:
        lines.append(f"caught {v['minutes']:g} minutes after the thief's first transaction, at {iso(v['opened_at'])}")
    else:
        lines.append("NOT caught")
    if v["noticed_hours_after"] is not None:
        lines.append(f"the victim noticed {v['noticed_hours_after']:g} hours after it{v['noticed_mark']}")
    if v["saved"]:
        lines.append(f"not yet gone when the alarm went out: {', '.join(v['saved'])}")
    elif v["paged"]:
        lines.append("everything had gone in the transaction that raised the alarm")
    lines.append(f"false alarms in the time before: {v['false_alarms']}")
    return lines


def _run_all(out: str | None, as_json: bool) -> int:
    from monitor.case import case_ids, load_case
    from monitor.case_run import judge, run_case, scorecard

    judged = []
    for name in case_ids():
        case = load_case(name)
        if not case.replayable:
            if not as_json:
                click.echo(f"{name}: a fact sheet, cannot be replayed")
            continue
        judged.append(judge(case, run_case(case)))
    card = scorecard(judged)
    if out is not None:
        write_report(Path(out), card)
    if as_json:
        print_json(card)
    else:
        rows = [
            (
                j["case"],
                j["severity"],
                f"{j['minutes']:g}" if j["minutes"] is not None else "-",
                f"{j['share_lost_at_open'] * 100:.0f} %" if j["share_lost_at_open"] is not None else "-",
                str(j["false_alarms"]),
                f"{j['noticed_hours_after']:g} h{j['noticed_mark']}" if j["noticed_hours_after"] is not None else "-",
            )
            for j in judged
        ]
        table(("case", "severity", "minutes", "gone when opened", "false alarms", "really noticed after"), rows)
    return 0  # a scorecard: whoever wants a check runs one case
