"""`heistwatch detectors`: what each detector catches, misses and takes for a theft, and what may be set."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from monitor.cli.common import json_option, print_json
from monitor.errors import ConfigError
from monitor.registry import did_you_mean

if TYPE_CHECKING:
    from monitor.detectors import Detector, Parameter

__all__ = ["command"]

_INDENT = 15  # of texts


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Explain the detectors, or one of them.

    A wallet's `detectors:` sets parameters: {HW-5: {weight: 0.5}, CW-2: {days: 90}, HW-8: {enabled: false}}.
    """
    from monitor.detectors import DETECTORS
    from monitor.policies import POLICIES

    known = (*DETECTORS, *POLICIES)
    found = [detector for detector in known if name is None or detector.id.lower() == name.lower()]
    if not found:
        raise ConfigError(f"unknown detector {name!r}: {did_you_mean(str(name), (d.id for d in known))}")
    if as_json:
        print_json([_plain(detector) for detector in found])
        return
    for detector in found:
        _show(detector)


def _plain(d: Detector) -> dict[str, object]:
    from monitor.parameters import JUDGES

    return {
        "id": d.id,
        "title": d.title,
        "roles": sorted(JUDGES[d.id]),
        "catches": d.catches,
        "misses": d.misses,
        "lookalikes": d.lookalikes,
        "parameters": {
            p.name: {
                "default": p.default, "personal": p.personal, "low": p.low, "high": p.high, "whole": p.whole,
                "says": p.says,
            }
            for p in d.parameters
        },
        "rules": list(d.rules),
        "references": list(d.references),
    }  # fmt: skip


def _show(d: Detector) -> None:
    from monitor.model import Role
    from monitor.parameters import JUDGES

    click.secho(f"{d.id}  {d.title}", bold=True)
    roles = sorted(JUDGES[d.id])
    _line("judges", "every wallet" if len(roles) == len(Role) else f"wallets of role {', '.join(roles)}")
    _line("catches", d.catches)
    _line("misses", d.misses)
    _line("look-alikes", d.lookalikes)
    for text in d.rules:
        _line("rule", text)
    for parameter in d.parameters:
        _line("set", f"{parameter.name} = {_default(parameter)}: {parameter.says}")
    for text in d.references:
        _line("see", text)
    click.echo("")


def _line(word: str, text: str) -> None:
    """One line, or as many as the terminal needs."""
    wide = shutil.get_terminal_size().columns - _INDENT if sys.stdout.isatty() else len(text)
    for n, part in enumerate(textwrap.wrap(text, max(wide, 30), break_on_hyphens=False, break_long_words=False)):
        click.echo(f"{'' if n else '  ' + word:<{_INDENT}}{part}")


def _default(p: Parameter) -> str:
    from monitor.parameters import number_text

    personal = "" if p.personal is None else f", personal wallets {number_text(p.personal)}"
    limits = f"{'whole, ' if p.whole else ''}{number_text(p.low)} to {number_text(p.high)}"
    return f"{number_text(p.default)}{personal} ({limits})"
