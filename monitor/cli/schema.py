"""`heistwatch schema`: JSON Schemas."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.common import print_json

__all__ = ["command"]

WHAT = ("config", "webhook", "openapi", "backtest")


@click.command()
@click.argument("what", metavar="[config|webhook|openapi|backtest]", type=click.Choice(WHAT), default="config")
@click.option("--open", "lax", is_flag=True, help="webhook: allow fields that are not described, as receivers should.")
def command(what: str, lax: bool) -> None:
    """Print a JSON Schema: of the configuration file, of the body of webhooks, or of the report of a backtest.

    openapi is a description of all webhooks (OpenAPI 3.1), to make receivers from.
    """
    print_json(_made(what, lax))


def _made(what: str, lax: bool) -> dict[str, Any]:
    if lax and what != "webhook":
        raise click.UsageError("--open belongs to `heistwatch schema webhook`")
    if what == "config":
        from monitor.config import json_schema

        return json_schema()
    if what == "backtest":
        from monitor.backtesting.typed import backtest_schema

        return backtest_schema()
    from alerts.payload_schema import openapi, webhook_schema

    return openapi() if what == "openapi" else webhook_schema(strict=not lax)
