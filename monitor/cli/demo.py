"""`heistwatch demo`: the live monitor follows a loopback replay of real thefts and delivers signed webhooks.

Nothing but this machine is needed: a loopback server speaks the chain's own protocol, the monitor follows it as it
would a real node, and a loopback receiver verifies what arrives. Time is compressed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.common import run
from monitor.cli.show import bold, clean, severity
from monitor.ids import from_iso, iso

if TYPE_CHECKING:
    from monitor.cli.stage import Stage

__all__ = ["command"]

ACTS = ("coincheck-2018", "upbit-2019")  # what is shown where nothing is said
ON_ASKING = ("lubian-2020", "zaif-2018")  # a cold wallet; three chains, which take longer to learn from
SECRET = "whsec_aGVpc3R3YXRjaCBkZW1vLCBub3QgYSBzZWNyZXQh"
LONGEST_PAUSE = 1.2  # seconds between two blocks of the theft
CATCH_UP_SECONDS = 120.0


@dataclass(slots=True)
class Inbox:
    """What the webhook receiver got."""

    received: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


@click.command()
@click.option("--case", "case_ids", multiple=True, type=click.Choice((*ACTS, *ON_ASKING)),
              help=f"Which theft (default: {' and '.join(ACTS)}).")
@click.option("--fast", is_flag=True, help="No pauses between the theft's blocks.")
def command(case_ids: tuple[str, ...], fast: bool) -> int:
    """Watch real thefts of history being caught live, on this machine alone."""
    logging.basicConfig(level=logging.ERROR)
    started = time.monotonic()
    ok = True
    for name in case_ids or ACTS:
        ok = run(_act(name, fast)) and ok
        click.echo("")
    click.echo(f"demo finished in {time.monotonic() - started:.0f} s")
    click.echo("next: `heistwatch init --out heistwatch.yaml`, then `heistwatch watch heistwatch.yaml`")
    return 0 if ok else 1


async def _act(name: str, fast: bool) -> bool:
    from monitor.case import load_case
    from monitor.cli.stage import staged
    from monitor.config import config_from_mapping
    from monitor.running import running

    case = load_case(name)
    click.echo(bold(f"{case.title} ({case.date})"))
    inbox = Inbox()
    with tempfile.TemporaryDirectory(prefix="heistwatch-demo-") as folder:
        async with _receiver(inbox) as url, staged(case) as stages:
            mapping = {
                **case.config(),
                "chains": [stage.chain for stage in stages],
                "store": {"url": f"sqlite:///{folder}/demo.db"},
                "receivers": [{"name": "soc", "channels": [{"type": "webhook", "url": url, "secret": SECRET}]}],
                "route": {"receiver": "soc"},
            }
            config = config_from_mapping(mapping, Path(folder), "demo")
            async with running(config) as parts:
                watching = asyncio.create_task(parts.watch.run())
                try:
                    await _play(case, stages, parts, inbox, watching, fast)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
    return _curtain(case, inbox)


async def _play(case: Any, stages: list[Stage], parts: Any, inbox: Inbox, watching: Any, fast: bool) -> None:
    """Quiet time at full speed, then the theft block by block."""
    items = [parts.watch.followed[stage.network] for stage in stages]
    quiet = [sum(at < case.theft_starts_at for at in stage.times) for stage in stages]
    many = f"{len(stages)} loopback nodes serve" if len(stages) > 1 else "a loopback node serves"
    click.echo(f"{many} {sum(quiet):,} blocks of generated ordinary traffic; the monitor learns from them")
    for stage, item, count in zip(stages, items, quiet, strict=True):
        await _until(lambda item=item: item.blocks >= 1, watching)  # type: ignore[misc]
        await _show(stage, count - stage.pace.visible)
    for stage, item, count in zip(stages, items, quiet, strict=True):
        await _caught_up(stage, item, count, watching)
    tips = ", ".join(f"{item.follower.tip.number} of {item.name}" for item in items)
    click.echo(f"the monitor is at block {tips}, {len(inbox.received)} alarms so far")
    click.echo(f"{iso(case.theft_starts_at)}  the theft begins")
    told = len(inbox.received)
    before = None
    for at, n, count in _theft(stages, quiet):
        if before is not None and not fast:
            await asyncio.sleep(min(LONGEST_PAUSE, (at - before) / 60))
        before = at
        await _show(stages[n], count - stages[n].pace.visible)
        await _caught_up(stages[n], items[n], count, watching)
        await parts.dispatcher.idle()
        for message in inbox.received[told:]:
            _print(message)
        told = len(inbox.received)


def _theft(stages: list[Stage], quiet: list[int]) -> list[tuple[int, int, int]]:
    """The blocks of the theft in the order of time: when, on which chain, and the blocks of that chain by then."""
    return sorted(
        (stage.times[place], n, place + 1)
        for n, stage in enumerate(stages)
        for place in range(quiet[n], len(stage.times))
    )


async def _show(stage: Stage, count: int) -> None:
    if count > 0:
        await stage.release(count)


async def _caught_up(stage: Stage, item: Any, count: int, watching: Any) -> None:
    """Wait until the monitor has stored everything that is visible."""
    goal = stage.times[count - 1]
    with _bar(count) as bar:

        def done() -> bool:
            bar(item.blocks)
            return item.stored_time is not None and item.stored_time >= goal and item.follower.lag <= 0

        await _until(done, watching)


async def _until(done: Callable[[], bool], watching: Any) -> None:
    until = time.monotonic() + CATCH_UP_SECONDS
    while not done():
        if watching.done():
            watching.result()
        if time.monotonic() > until:
            raise TimeoutError("the monitor did not catch up with the loopback node")
        await asyncio.sleep(0.01)


class _bar:
    """A progress bar on a terminal for long catching up, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._progress: Any = None
        self._task: Any = None
        self._total = total

    def __enter__(self) -> Callable[[int], None]:
        if self._total > 100 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task("blocks", total=self._total)
        return self._advance

    def _advance(self, done: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _print(message: dict[str, Any]) -> None:
    """One line an alert, as the receiver got and verified it."""
    data = message["data"]
    incident = data["incident"]
    lost = ", ".join(entry["display"] for entry in incident["lost"])
    click.echo(
        f"{incident['updated_at']}  {severity(data['severity'])} {message['type']:<19} revision "
        f"{incident['revision']:<2} {clean(lost)} sent to suspects   [signature verified, id {data['id'][:8]}]"
    )


def _curtain(case: Any, inbox: Inbox) -> bool:
    """What it amounts to."""
    incidents = {message["data"]["incident"]["id"] for message in inbox.received}
    first = next((m["data"]["incident"] for m in inbox.received), None)
    if first is None:
        click.echo("NOT caught")
        return False
    paged = from_iso(first["paged_at"] or first["updated_at"])
    saved = case.stolen_after(paged)
    for line in first["explanation"]:
        click.echo(f"  {clean(line)}")
    many = "s" if len(inbox.received) > 1 else ""
    click.echo(
        f"{len(inbox.received)} signed webhook{many} for {len(incidents)} incident, all verified"
        + (f", {inbox.refused} REFUSED" if inbox.refused else "")
    )
    if case.noticed_at is not None:
        hours = (case.noticed_at - case.theft_starts_at) / 3600
        click.echo(f"alarm {(paged - case.theft_starts_at) / 60:g} min after the first theft transaction; "
                   f"the victim noticed after {hours:.1f} h{case.noticed_mark}")
    if saved:
        click.echo(bold(f"not yet gone at the alarm: {', '.join(entry.display for entry in saved)}"))
    else:
        click.echo("everything had gone in the very transaction that raised the alarm")
    return inbox.refused == 0 and len(incidents) == 1


# -- loopback parts ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _receiver(inbox: Inbox) -> AsyncIterator[str]:
    """A webhook receiver that verifies every signature."""
    from aiohttp import web
    from standardwebhooks import Webhook, WebhookVerificationError

    verifier = Webhook(SECRET)

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            verifier.verify(body, dict(request.headers))
        except WebhookVerificationError:
            inbox.refused += 1
            return web.Response(status=401)
        inbox.received.append(json.loads(body))
        return web.Response()

    application = web.Application()
    application.router.add_post("/heistwatch", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/heistwatch"
    finally:
        await runner.cleanup()
