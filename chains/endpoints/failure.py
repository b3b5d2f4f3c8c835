"""One attempt at one endpoint that failed."""

from __future__ import annotations

from chains.exchange import Kind

__all__ = ["BROKEN", "Failure"]

BROKEN = frozenset(
    {Kind.TIMEOUT, Kind.CONNECT, Kind.LOST, Kind.CUT_OFF, Kind.SERVER, Kind.UNREADABLE, Kind.INCOMPLETE}
)
"""Kinds that speak against the endpoint itself; the others say that it lives and does not want this."""


class Failure(Exception):
    """Why an attempt failed. Never leaves the request layer.

    Parameters
    ----------
    kind : for numbers
    reason : for people, without secrets
    status : of HTTP, 0 where there was none
    final : asking this endpoint again does not help
    pause : seconds that it asked us to wait
    """

    def __init__(
        self, kind: Kind, reason: str, *, status: int = 0, final: bool = False, pause: float | None = None
    ) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.status, self.final, self.pause = kind, reason, status, final, pause
        self.detail = ""  # what the body of a refusal said
