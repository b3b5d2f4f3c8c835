"""Detectors of one's own that fail in a live monitor: it goes on without them, and says so."""

from __future__ import annotations

import logging

from monitor.errors import DetectorError
from monitor.health import Trouble
from monitor.own.card import OwnDetector

__all__ = ["Failures"]

log = logging.getLogger("heistwatch.detectors")


class Failures:
    """What failed since the start, by detector."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def heard(self, detector: OwnDetector, error: DetectorError) -> None:
        """A detector said nothing of a flow, since it failed. Only the first time is logged."""
        self._count[detector.id] = self._count.get(detector.id, 0) + 1
        if detector.id not in self._first:
            self._first[detector.id] = str(error)
            log.error("%s", error)

    def troubles(self, now: float) -> list[Trouble]:
        """A trouble a detector, which lasts until the monitor starts again with a better file."""
        return [
            Trouble(
                f"detector/{name}",
                f"Detector {name} of your own fails",
                f"{text}. What it would have said of these payments is not told; all else is watched. Correct the "
                "file, try it with `heistwatch backtest`, and start the monitor again.",
                0.0,
                labels=(("detector", name),),
            )
            for name, text in sorted(self._first.items())
        ]
