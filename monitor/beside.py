"""What runs beside the watching: the monitor says when it is blind, plays drills, and pings dead-man's switches.

None of it waits for the consumer of blocks, but for a drill, which goes through the desk as a real alarm does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from monitor.blind import Blind
from monitor.config import Config
from monitor.drill import Drills, Play
from monitor.drill_note import Drill
from monitor.drill_play import as_drill, played, script, staged_on
from monitor.drill_schedule import DrillSchedule
from monitor.health import scans
from monitor.model import Alert
from monitor.vitals import Vitals

__all__ = ["Beside", "make_play"]


def make_play(config: Config) -> Play:
    """Plays drills on the owner's wallets, in a thread: the engine must not keep the monitor's loop waiting."""
    from monitor import app
    from monitor.case import load_case

    async def play(drill: Drill, now: float) -> Sequence[Alert]:
        case, wallet = load_case(drill.case), staged_on(config, drill.wallet)
        said = await asyncio.to_thread(lambda: asyncio.run(played(case, wallet, now, app.make_engine)))
        path = str(config.path.absolute()) if config.path is not None else ""
        return [as_drill(alert, drill.id, drill.case, wallet, path) for alert in script(said)]

    return play


class Beside:
    """The parts that run beside a monitor's `Watch`.

    Parameters
    ----------
    parts : a running monitor, its desk and store among them, see `monitor.running.Parts`

    Attributes
    ----------
    vitals : the status of the monitor at any time, see `monitor.health`

    Raises
    ------
    ConfigError : the drill or a heartbeat is configured wrongly
    """

    def __init__(self, config: Config, parts: Any) -> None:
        from monitor.alerting import make_heartbeats

        given = config.alerting.drill
        schedule = DrillSchedule.parse(given) if given is not None else None
        self._watch, wake = parts.watch, parts.dispatcher.wake
        self.vitals = Vitals(parts)
        self.drills = Drills(
            parts.store, parts.desk, make_play(config), staged_on(config).id, schedule,
            wake=wake, exclusive=self._exclusive,
        )  # fmt: skip
        desk = parts.desk
        self.blind = Blind(
            self.vitals.read,
            parts.store,
            lambda alert, now, also: desk.rows_now(alert, [*desk.planner.ways(alert), *also], now),
            wake=wake,
            more=(self.drills.troubles, parts.pipeline.failures.troubles),
        )
        self.heartbeats = make_heartbeats(config, lambda: scans(self.vitals.read()))

    async def run(self) -> None:
        """Until cancelled; an error of the store ends it, and the monitor with it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.blind.run(), name="blind")
                group.create_task(self.drills.run(), name="drills")
                for heartbeat in self.heartbeats:
                    group.create_task(heartbeat.run(), name=repr(heartbeat))
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of heartbeats; calling it twice is fine."""
        for heartbeat in self.heartbeats:
            await heartbeat.aclose()

    async def _exclusive(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Between two blocks, as everything else that the desk does."""
        return await self._watch.between_blocks(next(iter(self._watch.followed)), work)
