"""`heistwatch detectors`: what each detector catches, misses, and takes for a theft."""

from __future__ import annotations

import click

from monitor.cli.common import json_option, print_json
from monitor.errors import ConfigError
from monitor.registry import did_you_mean

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Explain the detectors, or one of them."""
    from monitor.detectors import DETECTORS

    found = [detector for detector in DETECTORS if name is None or detector.id.lower() == name.lower()]
    if not found:
        raise ConfigError(f"unknown detector {name!r}: {did_you_mean(str(name), (d.id for d in DETECTORS))}")
    if as_json:
        print_json(
            [
                {
                    "id": d.id,
                    "title": d.title,
                    "catches": d.catches,
                    "misses": d.misses,
                    "lookalikes": d.lookalikes,
                    "parameters": dict(d.parameters),
                    "references": list(d.references),
                }
                for d in found
            ]
        )
        return
    for d in found:
        click.echo(f"{d.id}  {d.title}")
        click.echo(f"  catches      {d.catches}")
        click.echo(f"  misses       {d.misses}")
        click.echo(f"  look-alikes  {d.lookalikes}")
        for key, text in d.parameters.items():
            click.echo(f"  {key}: {text}")
        for text in d.references:
            click.echo(f"  see {text}")
        click.echo("")
