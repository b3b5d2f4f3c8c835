"""One HTTP request to a service that takes alerts: an answer, or why there was none; and what an answer means."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from yarl import URL

from alerts.backoff import retry_after
from alerts.base import ChannelTraits, Receipt
from monitor.model import Outcome, Reason

__all__ = ["ANSWER_BYTES", "USER_AGENT", "Answer", "HttpChannel", "HttpSender", "receipt_of"]

ANSWER_BYTES = 64 * 1024
"""Of an answer so much is read."""

_AGAIN = {408: Reason.TIMEOUT, 425: Reason.CLIENT_ERROR, 429: Reason.RATE_LIMITED}
_NEVER = {401: Reason.AUTH, 403: Reason.AUTH, 410: Reason.GONE}


def _user_agent() -> str:
    try:
        return f"heistwatch/{version('heistwatch')}"
    except PackageNotFoundError:
        return "heistwatch/0"


USER_AGENT = _user_agent()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; ``body`` is cut at `ANSWER_BYTES`. It is the server's text: it may quote secrets."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HttpSender:
    """Makes requests, one attempt a call; connections are kept. Redirects are not followed, cookies not kept.

    Parameters
    ----------
    timeout : seconds for a whole attempt
    context : of TLS; the system's authorities unless told
    """

    def __init__(self, timeout: float, context: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | Receipt:
        """One attempt: the answer, or a receipt to try again where none came whole. Only cancellation is raised."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(method, url, body, headers or {})
        except TimeoutError:
            return _failed(url, Reason.TIMEOUT, f"did not answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "not valid"
            return _failed(url, Reason.TLS, f"showed a certificate that does not hold: {why}")
        except aiohttp.ClientSSLError:
            return _failed(url, Reason.TLS, "could not agree on an encrypted connection")
        except aiohttp.ClientConnectorDNSError:
            return _failed(url, Reason.CONNECTION, "has no address: the name look-up failed")
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno) if error.os_error.errno else "no address answers"
            return _failed(url, Reason.CONNECTION, f"could not be reached: {why}")
        except aiohttp.ClientResponseError:
            return _failed(url, Reason.CONNECTION, "answered something that is not HTTP")
        except (aiohttp.ClientError, OSError):
            return _failed(url, Reason.CONNECTION, "broke the connection off before its answer was whole")

    async def reach(self, url: URL) -> Receipt:
        """Whether the server of an address answers at all: it is asked for nothing that the address stands for."""
        answer = await self.request("HEAD", url.origin())
        if isinstance(answer, Receipt):
            return answer
        return Receipt(Outcome.ACCEPTED, Reason.OK, detail=f"{url.host} answers")

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self, method: str, url: URL, body: bytes | aiohttp.FormData | None, headers: Mapping[str, str]
    ) -> Answer:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # an answer that is packed is none that we need to read
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the whole attempt has one
                connector=aiohttp.TCPConnector(ssl=self._context) if self._context is not None else None,
            )
        sent = {"User-Agent": USER_AGENT, **headers}
        async with self._session.request(method, url, data=body, headers=sent, allow_redirects=False) as answer:
            pieces, left = [], ANSWER_BYTES
            while left > 0 and (piece := await answer.content.read(left)):
                pieces.append(piece)
                left -= len(piece)
            if left <= 0:
                answer.close()  # whatever else it has to say
            return Answer(answer.status, answer.headers, b"".join(pieces))


class HttpChannel(ChannelTraits):
    """What channels share that speak to one address; their constructors set ``_url`` and ``_sender``."""

    _url: URL
    _sender: HttpSender

    @property
    def host(self) -> str:
        """The host of the address: the only part of it that may be shown."""
        return self._url.host or ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r})"

    async def probe(self, now: float) -> Receipt:
        """Whether the server answers: there is nothing more to try without a message."""
        return await self._sender.reach(self._url)

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._sender.aclose()


def _failed(url: URL, reason: Reason, what: str) -> Receipt:
    return Receipt(Outcome.RETRY, reason, detail=f"{url.host} {what}")  # of an address only the host may be shown


def receipt_of(
    host: str,
    answer: Answer,
    now: float,
    external_id: str | None = None,
    pause: float | None = None,
    *,
    page: bool = True,
) -> Receipt:
    """What an answer means, by its status alone.

    Any 2xx is an acceptance. 408, 425, 429 and 5xx are tried again, ``Retry-After`` honoured. 401 and 403 (``auth``),
    410 (``gone``), other 4xx and redirects, which are not followed, are dead letters at once.

    Parameters
    ----------
    host : shown to people
    now : wall clock, UTC seconds
    external_id : what the service calls the message, where it said so
    pause : seconds that the body asked to wait, where it did; else the header counts
    page : whether a web page can be an acceptance; where the service never answers one, it is a log-in page in between
    """
    status = answer.status
    if 200 <= status < 300 and not page and answer.body.lstrip()[:1] == b"<":
        detail = f"{host} answered {status} with a web page: is the address right, and no log-in in between?"
        return Receipt(Outcome.RETRY, Reason.SERVER_ERROR, detail=detail)
    if 200 <= status < 300:
        return Receipt(Outcome.ACCEPTED, Reason.OK, external_id=external_id, detail=str(status))
    detail = f"{host} answered {status}"
    if 300 <= status < 400:
        detail += ", a redirect: they are not followed, configure the final address"
        return Receipt(Outcome.REJECTED, Reason.CLIENT_ERROR, detail=detail)
    if status in _AGAIN or status >= 500:
        asked = pause
        if asked is None:
            asked = retry_after(answer.headers.get("Retry-After"), now, answer.headers.get("Date"))
        return Receipt(Outcome.RETRY, _AGAIN.get(status, Reason.SERVER_ERROR), asked, detail=detail)
    return Receipt(Outcome.REJECTED, _NEVER.get(status, Reason.CLIENT_ERROR), detail=detail)
