"""`heistwatch detectors`: what each detector catches, misses and takes for a theft, and what may be set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from monitor.cli.common import json_option, print_json
from monitor.errors import ConfigError
from monitor.registry import did_you_mean

if TYPE_CHECKING:
    from monitor.detectors import Detector, Parameter

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Explain the detectors, or one of them.

    A wallet's `detectors:` sets parameters: {HW-5: {weight: 0.5}, HW-8: {enabled: false}}.
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
    return {
        "id": d.id,
        "title": d.title,
        "catches": d.catches,
        "misses": d.misses,
        "lookalikes": d.lookalikes,
        "parameters": {
            p.name: {"default": p.default, "personal": p.personal, "low": p.low, "high": p.high, "says": p.says}
            for p in d.parameters
        },
        "rules": list(d.rules),
        "references": list(d.references),
    }


def _show(d: Detector) -> None:
    click.secho(f"{d.id}  {d.title}", bold=True)
    click.echo(f"  catches      {d.catches}")
    click.echo(f"  misses       {d.misses}")
    click.echo(f"  look-alikes  {d.lookalikes}")
    for text in d.rules:
        click.echo(f"  rule         {text}")
    for parameter in d.parameters:
        click.echo(f"  set          {parameter.name} = {_default(parameter)}  {parameter.says}")
    for text in d.references:
        click.echo(f"  see          {text}")
    click.echo("")


def _default(p: Parameter) -> str:
    return f"{p.default:g}" + (f" (personal wallets {p.personal:g})" if p.personal is not None else "")
