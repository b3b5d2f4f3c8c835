"""`heistwatch drill`: does an alarm arrive? A theft that is not real, through everything."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext, redirect_stdout
from typing import Any

import click

from monitor.cli.common import find_config, json_option, print_json, run, stored, table
from monitor.errors import ConfigError, StoreError

__all__ = ["command"]

LOOK_SECONDS = 0.1
ALIVE_AGE = 90.0  # seconds after which a monitor's sign of life is none
TAKEN_SECONDS = 5.0  # after which, where a monitor gave one, it is not believed to deliver any more


@click.command()
@click.argument("config", metavar="CONFIG", required=False)
@click.option("--case", "case_id", metavar="ID", default="coincheck-2018", show_default=True, help="Which theft.")
@click.option("--wallet", metavar="ID", help="Whose theft is played. Default: the first hot wallet.")
@click.option("--receiver", "receivers", multiple=True, metavar="NAME", help="Only these, whatever the routes say.")
@click.option("--escalate", is_flag=True, help="Escalate it, too, while nobody acknowledges.")
@click.option("--ack-within", type=click.FloatRange(0), default=0, metavar="SECONDS", show_default=True,
              help="Wait so long for somebody to acknowledge; it fails where nobody does.")  # fmt: skip
@click.option("--within", type=click.FloatRange(1), default=60, metavar="SECONDS", show_default=True,
              help="Time in which it must arrive everywhere.")  # fmt: skip
@click.option("--show", metavar="ID", help="Play none: the report of an earlier one, or of the `last`.")
@json_option
def command(
    config: str | None, case_id: str, wallet: str | None, receivers: tuple[str, ...], escalate: bool,
    ack_within: float, within: float, show: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Play a theft that is not real, and see who is reached how fast.

    It goes through engine, routes and channels as a real one would, marked as a drill everywhere. While a monitor runs
    on the store, that one delivers it. Exit code 1: it did not arrive everywhere, or nobody acknowledged it in time.
    """
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    found = find_config(config)
    if show is not None:
        return _told(run(_earlier(found, show)), as_json)
    asked = _checked(found, case_id, wallet, receivers, escalate)
    asked |= {"ack_within": ack_within, "within": within, "escalate": escalate}
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # what the console channel says is no JSON
        report = run(_drill(found, asked))
    return _told(report, as_json)


def _told(report: dict[str, Any], as_json: bool) -> int:
    """Print a report; the exit code."""
    if as_json:
        print_json(report)
    else:
        _show(report)
    return 1 if report["problems"] or report["finished"] is None else 0


async def _earlier(config: Any, name: str) -> dict[str, Any]:
    """The report of a drill that is stored: by its id, or the first characters of it, or ``last``."""
    from monitor.drill_note import DRILLS, read_drill

    async with stored(config) as store:
        drills = sorted((read_drill(value) for _, value in await store.notes(DRILLS)), key=lambda drill: drill.asked)
        found = drills[-1:] if name == "last" else [drill for drill in drills if drill.id.startswith(name)]
        if len(found) != 1:
            names = ", ".join(drill.id for drill in drills[-5:])
            hint = f"the last ones are {names}" if drills else "there was none so far"
            raise ConfigError(f"no drill {name!r}: {hint}")
        return await _report(store, found[0], [receiver.name for receiver in config.receivers])


def _checked(
    config: Any, case_id: str, wallet: str | None, receivers: tuple[str, ...], escalate: bool
) -> dict[str, Any]:
    """What is asked for, with names that exist; ConfigError otherwise."""
    from monitor.case import load_case
    from monitor.drill_play import staged_on
    from monitor.registry import did_you_mean

    case = load_case(case_id)
    if not case.replayable:
        raise ConfigError(f"case {case_id} cannot be replayed: {case.why_not}")
    names = [receiver.name for receiver in config.receivers]
    for name in receivers:
        if name not in names:
            raise ConfigError(f"unknown receiver {name!r}: {did_you_mean(name, names)}")
    if receivers and escalate:
        raise ConfigError("--receiver and --escalate exclude each other: escalation follows the routes")
    return {"case": case_id, "wallet": staged_on(config, wallet).id, "receivers": receivers}


async def _drill(config: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Play it, wait for what comes of it, and report."""
    from monitor import alerting, app
    from monitor.beside import make_play
    from monitor.drill import Drills, new_drill

    channels = alerting.make_channels(config)
    async with AsyncExitStack() as stack:
        for channel in (channel for group in channels.values() for channel in group):
            stack.push_async_callback(channel.aclose)
        store = app.make_store(config)
        stack.push_async_callback(store.aclose)
        await store.open()
        desk = alerting.make_desk(config, channels, store)
        await desk.load()
        delivery = _Delivery(store, channels, desk)
        stack.push_async_callback(delivery.aclose)
        alone = await _is_alone(store)
        if alone:
            delivery.start()
        click.echo("a drill is played; the very first one compiles for up to a minute", err=True)
        await asyncio.to_thread(app.warm_up)
        play = make_play(config)
        drills = Drills(store, desk, play, asked["wallet"], wake=delivery.wake, exclusive=delivery.exclusive)
        drill = await drills.begin(new_drill(by="command", now=time.time(), **asked))
        click.echo(_began(drill, alone), err=True)
        began = time.monotonic()
        while drill.finished is None:
            await asyncio.sleep(LOOK_SECONDS)
            delivery.check()
            if alone is None and time.monotonic() - began > TAKEN_SECONDS:
                alone = not await store.deliveries(next(r.alert_id for r in await store.outbox(incident_id=drill.id)))
                if alone:
                    delivery.start()
            drill = await drills.follow(drill)
        return await _report(store, drill, list(channels))


async def _is_alone(store: Any) -> bool | None:
    """Whether no monitor runs on the store; None: one gave a sign of life there, and may have ended since."""
    from monitor.drill_note import ALIVE

    if not hasattr(store, "acquire"):
        signs = [float(value) for key, value in await store.notes(ALIVE) if key == ALIVE]
        return None if any(abs(time.time() - sign) < ALIVE_AGE for sign in signs) else True
    try:
        await store.acquire()
    except StoreError:  # a monitor runs there: that one delivers
        return False
    return True


class _Delivery:
    """Delivers what is queued, and does what the desk has to do, where no monitor does."""

    def __init__(self, store: Any, channels: Any, desk: Any) -> None:
        from alerts.dispatch import Dispatcher

        self._dispatcher, self._desk = Dispatcher(store, channels), desk
        self._tasks: list[asyncio.Task[None]] = []
        self._turn = asyncio.Lock()  # of the desk

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._dispatcher.run()), asyncio.create_task(self._tick())]

    def wake(self) -> None:
        self._dispatcher.wake()

    async def exclusive(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do something while nobody else uses the desk."""
        async with self._turn:
            return await work()

    def check(self) -> None:
        """Pass an error up that ended one of them."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            if await self.exclusive(lambda: self._desk.tick(time.time())):
                self._dispatcher.wake()
            await asyncio.sleep(1.0)


async def _report(store: Any, drill: Any, receivers: list[str]) -> dict[str, Any]:
    from monitor.drill_report import report

    rows = await store.outbox(incident_id=drill.id)
    deliveries = [item for name in dict.fromkeys(row.alert_id for row in rows) for item in await store.deliveries(name)]
    return report(drill, rows, deliveries, await store.said(pending=False), receivers)


def _began(drill: Any, alone: bool | None) -> str:
    who = {True: "this command delivers it", False: "the running monitor delivers it", None: "who runs there delivers"}
    ack = f"; acknowledge: heistwatch incidents ack {drill.id}" if drill.ack_within else ""
    return f"{drill.id} is queued: {who[alone]}{ack}"


def _show(report: dict[str, Any]) -> None:
    rows = [
        (
            entry["receiver"],
            entry["channel"],
            "yes" if entry["reached"] else "NO",
            f"{entry['seconds']:.2f} s" if entry["seconds"] is not None else "-",
            str(entry["attempts"]),
            entry["reason"] or "",
        )
        for entry in report["deliveries"]
    ]
    if rows:
        table(("receiver", "channel", "reached", "after", "attempts", "why not"), rows, report["drill"])
    heard = report["acknowledged"]
    if heard is not None:
        click.echo(f"acknowledged by {heard['by']} after {heard['seconds']:.0f} s")
    for step in report["escalation"]:
        click.echo(f"escalated to {step['receiver']} ({step['channel']}) after {step['after_seconds']:.0f} s")
    if report["not_on_the_way"]:
        click.echo(f"not on its way: {', '.join(report['not_on_the_way'])}")
    for problem in report["problems"]:
        click.echo(f"FAILED: {problem}")
    if report["finished"] is None:
        click.echo("the drill is not over")
    elif not report["problems"]:
        click.echo("the drill arrived everywhere")
