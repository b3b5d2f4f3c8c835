"""`heistwatch check`: is the configuration right, and can everything that it names be reached."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import click

from monitor.cli.common import find_config, json_option, print_json, run
from monitor.config.show import not_applied, waiting
from monitor.errors import ChainUnavailable, ConfigError, HeistwatchError

__all__ = ["command"]

_LOOK_TWICE = ("warning: ", "not applied by this version: ")  # yellow on a terminal


@click.command()
@click.argument("config", metavar="CONFIG", required=False)
@click.option("--online", is_flag=True, help="Reach every endpoint, the store and every channel.")
@json_option
def command(config: str | None, online: bool, as_json: bool) -> int:
    """Validate a configuration; every problem is shown with its file and line."""
    from monitor.alerting import checked, weaknesses

    found = find_config(config)
    channels = checked(found)
    notes = [*waiting(found), *weaknesses(found, channels)]
    reached = run(_online(found, channels)) if online else []
    failed = [entry for entry in reached if not entry["ok"]]
    if as_json:
        print_json(
            {
                "config": found.public(),
                "online": reached,
                "warnings": [str(w) for w in found.warnings],
                "notes": notes,
                "not_applied": not_applied(found),
            }
        )
    else:
        for line in (*found.summary(), *(f"note: {line}" for line in weaknesses(found, channels))):
            click.echo(click.style(line, fg="yellow") if line.startswith(_LOOK_TWICE) else line)
        for entry in reached:
            if entry["ok"]:
                click.echo(f"ok {entry['what']}: {entry['detail']}")
        if not failed:
            click.echo("the configuration is right" + (", and everything was reached" if online else ""))
    for entry in failed:
        click.echo(f"heistwatch: {entry['what']}: {entry['detail']}", err=True)
    return 3 if failed else 0


async def _online(config: Any, channels: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Try every endpoint, the store, and every channel, without a message to anybody."""
    from chains.exchange import redact
    from monitor.app import make_chain, make_store

    results = []
    for chain, endpoint in ((each, endpoint) for each in config.chains for endpoint in each.endpoints):
        if (url := endpoint.url.get_secret_value()).startswith(("tcp:", "ipc:")):
            results.append(await _try(f"chain {chain.name}", partial(_publishes, url, chain.timeout), _nothing))
            continue
        alone = replace(chain, endpoints=(endpoint,), quorum=1)  # no other answers in its place
        source = make_chain(config, alone)

        async def look(source: Any = source, name: str = redact(endpoint.url.get_secret_value())) -> str:
            await source.open()
            head = await source.head()
            return f"{name}: head is block {head.number}{await _offers(source)}"

        results.append(await _try(f"chain {chain.name}", look, source.aclose))
    store = make_store(config)

    async def opened() -> str:
        await store.open()
        return "can be opened"

    results.append(await _try("store", opened, store.aclose))
    for name, group in channels.items():
        results += [await _try_channel(name, channel) for channel in group]
    return results


async def _publishes(url: str, seconds: float) -> str:
    """Whether somebody publishes by ZMQ there."""
    from chains.bitcoin.zmq_feed import is_published

    if not await is_published(url, seconds):
        raise ChainUnavailable(f"{url}: nobody publishes there by ZMQ (zmqpubhashblock and zmqpubrawtx of the node)")
    return f"{url}: publishes by ZMQ"


async def _nothing() -> None:
    """There is nothing to close."""


async def _try_channel(receiver: str, channel: Any) -> dict[str, Any]:
    """What came of trying a channel; where nothing can be tried but by a message, a drill does that."""
    from monitor.model import Outcome

    what = f"channel {channel.type} of {receiver}"
    try:
        if not hasattr(channel, "probe"):
            return {"what": what, "ok": True, "detail": "not tried: `heistwatch drill` sends it a message"}
        receipt = await channel.probe(time.time())
        return {"what": what, "ok": receipt.outcome is Outcome.ACCEPTED, "detail": receipt.detail or "can be used"}
    finally:
        await channel.aclose()


async def _offers(source: Any) -> str:
    """What an endpoint offers and what not, where its family asks for that."""
    if not hasattr(source, "probe"):
        return ""
    await source.probe()
    offers = source.endpoints()[0].offers
    parts = [("offers", [name for name, has in offers.items() if has]),
             ("not", [name for name, has in offers.items() if not has])]  # fmt: skip
    return "".join(f"; {word} {', '.join(names)}" for word, names in parts if names)


async def _try(
    what: str, attempt: Callable[[], Awaitable[str]], close: Callable[[], Awaitable[None]]
) -> dict[str, Any]:
    try:
        return {"what": what, "ok": True, "detail": await attempt()}
    except ConfigError:
        raise
    except HeistwatchError as error:
        return {"what": what, "ok": False, "detail": str(error)}
    finally:
        await close()
