"""`heistwatch controls`: who may move the coins of each account, as far as the monitor has read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from monitor.cli.common import config_option, find_config, json_option, print_json, run, stored
from monitor.cli.show import clean

__all__ = ["command"]

_SETS = ("owners", "modules", "owner_delegates")
_KEYS = (  # in the order in which people read them
    "form", "implementation", "beacon", "admin", "owner", "pending_owner", "owners", "threshold", "modules", "guard",
    "module_guard", "fallback", "delay", "delegate", "owner_delegates", "code_hash", "implementation_code",
)  # fmt: skip


@click.command()
@click.argument("wallet", required=False)
@config_option
@json_option
def command(wallet: str | None, config: str | None, as_json: bool) -> None:
    """Show who controls the accounts of all wallets, or of one: what the monitor takes for right.

    Compare it with what you know: a thief may have been there before the monitor.
    """
    found = [entry for entry in run(_accounts(find_config(config))) if wallet in (None, entry["wallet"])]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no account was read yet: `heistwatch watch` reads them")
    for entry in found:
        click.echo(clean(f"{entry['wallet']}: {entry['account']} on {entry['chain']}{_first(entry)}"))
        for line in _lines(entry):
            click.echo(clean(f"  {line}"))


def _first(entry: Mapping[str, Any]) -> str:
    return f", read since {entry['since']}" if entry["since"] else ", told of by events only"


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    changed = entry["changed"]
    for key in _KEYS:
        value = entry.get(key)
        if value in (None, "", []) or key in ("code_hash", "implementation_code"):
            continue
        text = ", ".join(value) if isinstance(value, list) else str(value)
        if key == "implementation" and entry.get("form") == "safe":
            text += f" ({entry['release'] or 'no released Safe'})"
        if key == "threshold" and entry.get("owners"):
            text += f" of {len(entry['owners'])}"
        yield f"{key.replace('_', ' ')}: {text}{f', since {changed[key]}' if key in changed else ''}"


async def _accounts(config: Any) -> list[dict[str, Any]]:
    """Every stored account."""
    from monitor.policies.control.policy import RECORDS, record_of

    async with stored(config) as store:
        records = [record_of(key, value) async for key, value in store.state(RECORDS)]
    return [_plain(wallet, chain, account, known) for wallet, chain, account, known in records if known is not None]


def _plain(wallet: str, chain: str, account: str, known: Any) -> dict[str, Any]:
    from monitor.ids import iso
    from monitor.policies.control.released import singleton_of

    values = known.values
    release = None
    if values.get("form") == "safe":
        release = singleton_of(values.get("implementation", ""), values.get("implementation_code"))
    return {
        "wallet": wallet,
        "chain": chain,
        "account": account,
        "since": iso(known.first),
        "release": release,
        "changed": {key: iso(at) for key, at in known.since.items()},
        "proposals": [entry.name for entry in known.proposals],
        **{key: _value(key, values[key]) for key in _KEYS if key in values},
    }


def _value(key: str, value: str) -> str | list[str]:
    return [part for part in value.split(",") if part] if key in _SETS else value
