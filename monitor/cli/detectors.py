"""`heistwatch detectors`: what each detector catches, misses and takes for a theft, and what may be set."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from monitor.cli.common import find_config, json_option, print_json
from monitor.errors import ConfigError
from monitor.registry import did_you_mean

if TYPE_CHECKING:
    from monitor.detectors import Detector, Parameter
    from monitor.model import Role
    from monitor.own import OwnDetector

__all__ = ["command"]

_INDENT = 15  # of texts


@click.command()
@click.argument("name", required=False)
@click.option("--detectors", "files", multiple=True, metavar="FILE.py", help="Your own ones too; repeatable.")
@click.option("-c", "--config", "config", metavar="CONFIG", help="And those that a configuration names.")
@json_option
def command(name: str | None, files: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Explain the detectors, or one of them.

    A wallet's `detectors:` sets parameters: {HW-5: {weight: 0.5}, CW-2: {days: 90}, HW-8: {enabled: false}}.
    """
    from monitor.detectors import DETECTORS
    from monitor.policies import POLICIES

    own = _own(files, config)
    known = (*DETECTORS, *POLICIES, *(each.card for each in own))
    roles = {each.id: each.roles for each in own}
    found = [detector for detector in known if name is None or detector.id.lower() == name.lower()]
    if not found:
        raise ConfigError(f"unknown detector {name!r}: {did_you_mean(str(name), (d.id for d in known))}")
    if as_json:
        print_json([_plain(detector, roles) for detector in found])
        return
    for detector in found:
        _show(detector, roles)


def _own(files: Sequence[str], config: str | None) -> Sequence[OwnDetector]:
    """Detectors of files, and of a configuration where one is named."""
    if config is not None:
        from monitor.config.own_detectors import cards_of

        return tuple(cards_of(find_config(config, files).own).values())
    if not files:
        return ()
    from monitor.own.load import OwnFile, gather

    return gather([OwnFile.read(file) for file in files])


def _plain(d: Detector, own: Mapping[str, Collection[Role]]) -> dict[str, object]:
    from monitor.parameters import JUDGES

    return {
        "id": d.id,
        "title": d.title,
        "own": d.id in own,
        "roles": sorted(own.get(d.id) or JUDGES[d.id]),
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


def _show(d: Detector, own: Mapping[str, Collection[Role]]) -> None:
    from monitor.model import Role
    from monitor.parameters import JUDGES

    click.secho(f"{d.id}  {d.title}", bold=True)
    roles = sorted(own.get(d.id) or JUDGES[d.id])
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
