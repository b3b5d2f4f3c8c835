"""The Safe Transaction Service: what is proposed to a Safe and waits for signatures.

The service is not the chain: what it says is a warning and nothing more. Two of its questions are used, both of the
public API (https://docs.safe.global/core-api/transaction-service-overview): ``safes/{address}/multisig-transactions/``
and, where something waits, ``safes/{address}/`` for the Safe's own nonce and threshold.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from chains.evm.controls.proposed import Proposed
from chains.exchange import clean, reason, redact
from monitor.addresses.evm import checksum
from monitor.errors import ChainUnavailable

__all__ = ["SafeInfo", "SafeService"]

LARGEST = 8 * 2**20  # bytes of an answer
MOST = 100  # transactions that are asked for: those with the highest nonces


class SafeInfo(msgspec.Struct, rename="camel"):
    """What the service knows of a Safe."""

    nonce: Any = None
    threshold: Any = None


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]


class SafeService:
    """Asks one service.

    Parameters
    ----------
    url : of the service, before ``/api/v1``; it may hold a secret
    key : sent as ``Authorization: Bearer``, where the service wants one
    timeout : seconds for one question
    """

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        self._url, self._key, self._timeout = url.rstrip("/"), key, timeout
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Host and port."""
        return redact(self._url)

    async def waiting(self, safe: str) -> tuple[list[Proposed], int] | None:
        """Transactions that are not executed, and how many entries made no sense; None where it knows no such Safe.

        Raises
        ------
        ChainUnavailable : no usable answer; with ``retry_after`` where the service names a time
        """
        query = urlencode({"executed": "false", "ordering": "-nonce", "limit": MOST})
        body = await self._get(f"safes/{checksum(safe)}/multisig-transactions/?{query}")
        if body is None:
            return None
        page = self._decode(body, _Page)
        found, odd = [], 0
        for raw in page.results[:MOST]:
            try:
                found.append(msgspec.json.decode(raw, type=Proposed))
            except msgspec.DecodeError:
                odd += 1
        return [one for one in found if not one.is_executed and (one.trusted or one.confirmations)], odd

    async def info(self, safe: str) -> SafeInfo:
        """What it knows of a Safe; nothing where it does not answer that."""
        body = await self._get(f"safes/{checksum(safe)}/")
        return SafeInfo() if body is None else self._decode(body, SafeInfo)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _decode(self, body: bytes, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ChainUnavailable(f"{self.name} gave an unreadable answer") from None

    async def _get(self, path: str) -> bytes | None:
        """The answer's body; None for 404."""
        if self._session is None:
            headers = {"Accept": "application/json", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        try:
            async with self._session.get(f"{self._url}/api/v1/{path}", allow_redirects=False) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    wait = response.headers.get("Retry-After", "")
                    raise ChainUnavailable(
                        f"{self.name} answered HTTP {response.status}", float(wait) if wait.isdecimal() else None
                    )
                body = bytearray()
                async for part in response.content.iter_chunked(65536):
                    body += part
                    if len(body) > LARGEST:
                        raise ChainUnavailable(f"{self.name} gave more than {LARGEST} bytes")
                return bytes(body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = clean(reason(error, self._timeout), self._url)
            raise ChainUnavailable(f"{self.name}: {text}") from None
