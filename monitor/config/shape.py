"""The building blocks of the configuration's shape: texts, lengths of time, amounts, and strict entries."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.ids import from_iso

__all__ = [
    "Amount",
    "Backfill",
    "Count",
    "Duration",
    "Entry",
    "Moment",
    "Positive",
    "SeverityWord",
    "Text",
    "Texts",
    "as_descriptor",
    "as_endpoint",
    "as_list",
    "as_mapping",
    "described",
    "no_bool",
    "parse_duration",
    "written",
]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)")


class SeverityWord(StrEnum):
    """Severities as the file writes them."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def parse_duration(value: Any) -> int:
    """Seconds of ``45s``, ``30m``, ``6h``, ``1d``, ``2w`` or plain seconds; ValueError otherwise.

    >>> parse_duration("6h"), parse_duration(90)
    (21600, 90)
    """
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    seconds = int(match[1]) * _SECONDS[match[2] or "s"] if match else 0
    if not seconds:
        raise ValueError("expected a length of time such as 30m, 6h, 1d or seconds")
    return seconds


def _duration_or_none(value: Any) -> int:
    return 0 if not isinstance(value, bool) and str(value).strip() == "0" else parse_duration(value)


def _moment(value: Any) -> int:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return from_iso(str(value))
        except (ValueError, OverflowError):
            pass
    raise ValueError("expected ISO 8601 such as 2018-01-25T15:02:00Z")


def _amount(value: Any) -> str:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("expected an amount such as '100 ETH', or base units as a whole number")


def written(value: Any) -> Any:
    """A whole number as it was written, for values that are text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def no_bool(value: Any) -> Any:
    """Refuse true and false where a number is wanted."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def as_list(value: Any) -> Any:
    """A text alone stands for a list of it."""
    return [value] if isinstance(value, str) else value


def as_mapping(value: Any) -> Any:
    """An address alone stands for a mapping with it."""
    return {"address": value} if isinstance(value, str) else value


def as_descriptor(value: Any) -> Any:
    """An address of any kind alone stands for a mapping with it."""
    return {"descriptor": value} if isinstance(value, str) else value


def as_endpoint(value: Any) -> Any:
    """A URL alone stands for a mapping with it."""
    return {"url": value} if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], BeforeValidator(as_list, json_schema_input_type=Text | list[Text])]
Duration = Annotated[int, BeforeValidator(parse_duration, json_schema_input_type=int | str)]
Backfill = Annotated[int, BeforeValidator(_duration_or_none, json_schema_input_type=int | str)]
Moment = Annotated[int, BeforeValidator(_moment, json_schema_input_type=int | str)]
Amount = Annotated[str, BeforeValidator(_amount, json_schema_input_type=int | str)]
Count = Annotated[int, Field(ge=0), BeforeValidator(no_bool)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(no_bool)]


def described(description: str, default: Any = ..., **more: Any) -> Any:
    """A field with its description (for the JSON Schema), required unless it has a default."""
    return Field(description=description, **more) if "default_factory" in more else Field(
        default, description=description, **more
    )


class Entry(BaseModel):
    """A part of the file: strict about keys, frozen, silent about its input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, ser_json_inf_nan="null")
