"""`heistwatch schema`: JSON Schemas."""

from __future__ import annotations

import click

from monitor.cli.common import print_json

__all__ = ["command"]


@click.command()
def command() -> None:
    """Print the JSON Schema of the configuration file."""
    from monitor.config import json_schema

    print_json(json_schema())
