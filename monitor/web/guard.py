"""Who may: the bearer token, and a bound on wrong ones."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable

from aiohttp import web

__all__ = ["Guard"]

MOST = 20  # wrong tokens within WINDOW that are answered as such
WINDOW = 60.0  # seconds
PEERS = 10_000  # that are remembered


class Guard:
    """Checks the bearer token; counts what is wrong by peer (an IPv6 peer is its /64).

    A peer with more than `MOST` wrong tokens a minute gets 429 for the bearer token, the right one included, or
    guessing would go on. A signed link that is right always passes: its signature cannot be guessed, and one reverse
    proxy may be the peer of everybody who answers the alarm. Wrong links are counted by a guard of their own.

    Parameters
    ----------
    token : None: nobody may
    clock : monotonic seconds
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._wrong: dict[str, tuple[float, int]] = {}  # start of the window, and how many since

    def __repr__(self) -> str:
        return "Guard()"

    def refused(self, request: web.Request) -> web.Response | None:
        """The answer to a request without the right bearer token; None where it may go on."""
        if self._token is None:
            return web.json_response({"error": "set http.token in the configuration to allow this"}, status=403)
        if self.is_over(request):
            return web.json_response(
                {"error": "too many wrong tokens"}, status=429, headers={"Retry-After": f"{WINDOW:.0f}"}
            )
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {self._token}".encode()):
            return None
        self.count(request)
        return web.json_response({"error": "wrong or missing bearer token"}, status=401)

    def count(self, request: web.Request) -> None:
        """Note a wrong token."""
        if len(self._wrong) >= PEERS:
            now = self._clock()
            self._wrong = {peer: entry for peer, entry in self._wrong.items() if now - entry[0] < WINDOW}
            if len(self._wrong) >= PEERS:
                self._wrong.clear()
        start, count = self._window(request)
        self._wrong[_peer(request)] = (start, count + 1)

    def is_over(self, request: web.Request) -> bool:
        """Whether the peer sent too many wrong tokens."""
        return self._window(request)[1] >= MOST

    def _window(self, request: web.Request) -> tuple[float, int]:
        now = self._clock()
        start, count = self._wrong.get(_peer(request), (now, 0))
        return (start, count) if now - start < WINDOW else (now, 0)


def _peer(request: web.Request) -> str:
    remote = request.remote or ""
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    return remote if address.version == 4 else str(ipaddress.ip_network((int(address), 64), strict=False))
