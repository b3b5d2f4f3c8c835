"""`heistwatch coverage`: which blocks were scanned."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored

__all__ = ["command"]


@click.command()
@config_option
@json_option
def command(config: str | None, as_json: bool) -> None:
    """Show which blocks were scanned, through what, and what could not be seen."""
    from monitor.coverage import coverage_data

    found = coverage_data(run(_ranges(find_config(config))))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("nothing scanned yet")
    for chain, entry in found.items():
        click.echo(f"{chain}: {entry['blocks']:,} blocks, {len(entry['gaps'])} gaps")
        for r in entry["ranges"]:
            blind = f", cannot see {', '.join(r['blind_spots'])}" if r["blind_spots"] else ""
            undecoded = f", {r['undecoded']} transactions not understood" if r["undecoded"] else ""
            click.echo(f"  {r['first']} to {r['last']} through {r['source'] or 'unknown'}{blind}{undecoded}")
        for gap in entry["gaps"]:
            click.echo(f"  GAP {gap['first']} to {gap['last']}")


async def _ranges(config: Any) -> Any:
    async with stored(config) as store:
        return await store.coverage()
