"""`heistwatch labels`: what is known of addresses, brought in and looked up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, table
from monitor.cli.show import clean
from monitor.errors import ConfigError, Problem
from monitor.ids import iso

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.labels import Label, LabelBook
    from monitor.labels.gathered import Gathered

__all__ = ["command"]

T = TypeVar("T")
SHOWN = 20  # bad rows shown; --json has more


@click.group()
def command() -> None:
    """Bring in labels of addresses, and look them up."""


@command.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--kind", metavar="KIND", help="What the addresses are, where a file does not say it.")
@click.option("--known-since", metavar="T", help="From when on labels without a date count. Default: now.")
@config_option
@json_option
def import_(
    paths: tuple[str, ...], kind: str | None, known_since: str | None, config: str | None, as_json: bool
) -> None:
    """Import files, folders or patterns of labels; importing again changes nothing."""
    from monitor.labels import LabelKind
    from monitor.labels.load import import_path, places_of
    from monitor.labels.read import expand, read_labels

    found = find_config(config)
    chosen = _value("--kind", LabelKind.parse, kind)
    since = _moment("--known-since", known_since)
    files, skipped = expand(paths)
    undated = int(time.time()) if since is None else since
    gathered = read_labels(files, places_of(found), undated=undated, kind=chosen)
    gathered.skipped = skipped
    path = import_path(found)
    done = _store(path, gathered)
    if as_json:
        print_json(_imported(gathered, path, done))
    else:
        _say(gathered, path, done)


def _store(path: Path, gathered: Gathered) -> tuple[int, int, int]:
    """(new labels, labels known earlier than before, labels in all); a file that stays the same is not touched."""
    from monitor.labels.book import label_frame
    from monitor.labels.imported import is_imported, merge, read_imported, write_imported

    if path.is_file() and not is_imported(path):
        raise ConfigError(Problem("was not written by `labels import`: name another Parquet file", str(path)))
    old = read_imported(path) if path.is_file() else label_frame(())
    merged, added, earlier = merge(old, gathered.frame())
    if added or earlier:
        write_imported(path, merged)
    return added, earlier, merged.height


def _imported(gathered: Gathered, path: Path, done: tuple[int, int, int]) -> dict[str, Any]:
    added, earlier, total = done
    return {
        "path": str(path),
        "files": [
            {"path": f.path, "layout": f.layout, "labels": f.labels, "bad_rows": f.bad, "foreign": f.foreign}
            for f in gathered.files
        ],
        "labels": gathered.labels,
        "new": added,
        "earlier": earlier,
        "total": total,
        "bad_rows": gathered.bad_rows,
        "bad": [{"path": bad.path, "row": bad.line, "reason": bad.reason} for bad in gathered.bad],
        "foreign": dict(gathered.foreign),
        "skipped": gathered.skipped,
    }


def _say(gathered: Gathered, path: Path, done: tuple[int, int, int]) -> None:
    added, earlier, total = done
    for file in gathered.files:
        more = f", {file.bad:,} bad" * bool(file.bad) + f", {file.foreign:,} of other chains" * bool(file.foreign)
        click.echo(f"{file.path}: {file.layout}, {file.labels:,} labels{more}")
    if gathered.foreign:
        coins = ", ".join(f"{coin} {count}" for coin, count in sorted(gathered.foreign.items()))
        click.echo(f"left out, of chains that are not known here: {coins}")
    if gathered.skipped:
        click.echo(f"left out, no data: {', '.join(gathered.skipped[:5])}{' ...' * (len(gathered.skipped) > 5)}")
    for bad in gathered.bad[:SHOWN]:
        click.echo(f"bad row {bad}")
    if gathered.bad_rows > SHOWN:
        click.echo(f"and {gathered.bad_rows - SHOWN:,} more bad rows (--json shows up to 1,000)")
    changed = f", {earlier:,} known earlier" if earlier else ""
    click.echo(f"{gathered.labels:,} labels read, {added:,} new{changed}, {gathered.bad_rows:,} bad rows")
    click.echo(f"{path}: {total:,} labels" + ("" if added or earlier else ", unchanged"))


@command.command()
@click.argument("address", metavar="ADDRESS")
@click.option("--at", "at", metavar="T", help="Only what was known at this time (ISO 8601).")
@config_option
@json_option
def lookup(address: str, at: str | None, config: str | None, as_json: bool) -> None:
    """Show every label of an address, on all chains or on that of `CHAIN:ADDRESS`."""
    from monitor.labels.load import load_book

    found = find_config(config)
    moment = _moment("--at", at)
    forms = _forms(found, address)
    labels = _known(load_book(found), forms, moment)
    if as_json:
        print_json([_data(label) for label in labels])
        return
    if not labels:
        click.echo("no label is known" + (f" at {iso(moment)}" if moment is not None else ""))
        return
    rows = [{key: "any" if value is None else str(value) for key, value in _data(label).items()} for label in labels]
    if sys.stdout.isatty():  # a source is too long for a column
        for row in rows:
            click.secho(clean(f"{row['kind']}  {row['name']}"), bold=True)
            click.echo(f"  {row['address']} on {row['chain']}{' chain' if row['chain'] == 'any' else ''}")
            click.echo(clean(f"  known since {row['known_since']}: {row['source']}"))
        return
    columns = ("chain", "address", "kind", "name", "known_since", "source")
    table(columns, [[row[name] for name in columns] for row in rows])


def _data(label: Label) -> dict[str, Any]:
    return {
        "chain": label.chain,
        "address": label.address,
        "kind": str(label.kind),
        "name": label.name,
        "source": label.source,
        "known_since": iso(label.known_since),
    }


def _known(book: LabelBook, forms: list[tuple[str | None, str]], at: int | None) -> list[Label]:
    found = {
        label
        for chain, text in forms
        for label in book.everywhere(text, at)
        if chain is None or label.chain in (chain, None)
    }
    return sorted(found, key=lambda label: (label.order, label.address))


def _forms(config: Config, address: str) -> list[tuple[str | None, str]]:
    """The canonical forms of an address: on the chain that it names, else on every chain that has such addresses."""
    from monitor.addresses import PrivateKeyGiven, canonical
    from monitor.labels.load import places_of
    from monitor.networks import NETWORKS

    places = places_of(config)
    head, colon, _ = address.strip().rpartition(":")
    if colon and places.find(head) is not None:
        try:
            return [places.settle(address)]
        except ValueError as error:
            raise ConfigError(f"ADDRESS: {error}") from None
    found, reason = set(), ""
    for network in (*NETWORKS, *(chain.network for chain in config.chains)):
        try:
            found.add(canonical(network, address))
        except PrivateKeyGiven as error:
            raise ConfigError(f"ADDRESS: {error}") from None
        except ValueError as error:
            reason = reason or str(error)
    if not found:
        raise ConfigError(f"ADDRESS: {reason}")
    return [(None, text) for text in sorted(found)]


def _moment(option: str, text: str | None) -> int | None:
    from monitor.labels.label import moment

    return _value(option, moment, text)


def _value(option: str, parse: Callable[[str], T], text: str | None) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{option}: {error}") from None
