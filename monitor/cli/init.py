"""`heistwatch init`: a commented starting configuration."""

from __future__ import annotations

import base64
import secrets
import sys
from pathlib import Path

import click

from monitor.errors import ConfigError

__all__ = ["command"]

ROLES = ("hot", "cold", "deposit", "treasury", "personal")


@click.command()
@click.option("--out", metavar="FILE", help="Where to write it (default: the terminal).")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def command(out: str | None, force: bool, yes: bool) -> None:
    """Write a commented starting configuration; asks for your address when on a terminal."""
    from monitor.config.template import template

    answers: dict[str, str] = {"file": out or "heistwatch.yaml"}
    if sys.stdin.isatty() and sys.stdout.isatty() and not yes:
        answers.update(_ask())
    if answers.get("webhook"):
        answers["secret"] = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
    text = template(answers)
    if out is None:
        click.echo(text)
        return
    path = Path(out)
    if path.exists() and not force:
        raise ConfigError(f"{path}: is there already; --force overwrites it")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}; next: put your addresses in, then `heistwatch check {path}`")


def _ask() -> dict[str, str]:
    """Questions for a person; an empty answer takes the default."""
    from monitor.networks import NETWORKS

    names = [network.name for network in NETWORKS]
    network = click.prompt("Network", default="ethereum", type=click.Choice(names), show_choices=False)
    return {
        "network": network,
        "address": click.prompt("Address to watch (empty: a placeholder)", default="", show_default=False),
        "role": click.prompt("What is the wallet for", default="hot", type=click.Choice(ROLES)),
        "endpoint": click.prompt("Node URL (empty: a public one)", default="", show_default=False),
        "webhook": click.prompt("Webhook URL (empty: alerts on the terminal)", default="", show_default=False),
    }
