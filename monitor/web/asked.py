"""What comes in with a request: the JSON object in its body; and what is not to be logged of one that is no HTTP."""

from __future__ import annotations

import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["LOGGER", "json_object"]


class _Withheld(logging.Filter):
    """Leaves out what is no fault of ours: requests that are no HTTP, whose text is quoted, and bodies broken off.

    The sender of the first is answered 400, and a token in it must not stand in a log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionResetError)


LOGGER = logging.getLogger("heistwatch.web")
"""For servers: faults of our own handlers."""

LOGGER.addFilter(_Withheld())


async def json_object(request: web.Request) -> dict[str, Any] | None:
    """The body; empty where there is none, None where it is something else than a JSON object."""
    try:
        text = await request.text()
        given = json.loads(text) if text.strip() else {}
        json.dumps(given, ensure_ascii=False).encode()  # halves of pairs cannot be stored
    except (ValueError, LookupError, RecursionError):  # LookupError: a charset that nobody knows
        return None
    return given if isinstance(given, dict) else None
