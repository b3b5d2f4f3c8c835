"""`heistwatch coverage`: which blocks were scanned."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored
from monitor.cli.show import clean

__all__ = ["command"]


@click.command()
@config_option
@json_option
def command(config: str | None, as_json: bool) -> None:
    """Show which blocks were scanned, through what, and what could not be seen."""
    from monitor.coverage import coverage_data

    found = coverage_data(*run(_stored(find_config(config))))
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
        if "filling" in entry:
            click.echo(f"  {_filling(entry['filling'])}")
        if "learning" in entry:
            click.echo(f"  {_learning(entry['learning'])}")
        for gap in entry["gaps"]:
            click.echo(f"  GAP {gap['first']} to {gap['last']}")


def _filling(entry: Any) -> str:
    upto = "the head" if entry["last"] is None else entry["last"]
    done = f"{entry['blocks_done']:,} of {entry['blocks_total']:,} blocks fetched" if entry["blocks_total"] else ""
    return clean(f"filling {entry['first']} to {upto}: {', '.join(filter(None, (entry['says'], done, entry['note'])))}")


def _learning(entry: Any) -> str:
    text = str(entry["says"])
    if entry["state"] == "backfilling" and entry["blocks_total"]:
        text += f", {entry['blocks_done']:,} of {entry['blocks_total']:,} blocks fetched"
    if entry["would_have_raised"]:
        text += f"; {entry['would_have_raised']} outflows of it would have raised an alarm"
    return clean(f"{text} ({entry['note']})" if entry["note"] else text)


async def _stored(config: Any) -> tuple[Any, Any]:
    """Scanned ranges, and how each chain began."""
    from monitor.marks import MARKS, read_mark

    async with stored(config) as store:
        found = [read_mark(key, value) async for key, value in store.state(MARKS)]
        return await store.coverage(), dict(mark for mark in found if mark is not None)
