"""What comes in with a request: the JSON object in its body; and what is not to be logged of one that is no HTTP."""

from __future__ import annotations

import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["LOGGER", "json_object"]


class _Withheld(logging.Filter):
    """Leaves out requests that are no HTTP: the sender is answered 400, and the text quotes tokens that came along."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


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
