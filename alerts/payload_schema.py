"""The documents of webhooks, made from `alerts.payload`: a JSON Schema of the body, and an OpenAPI description."""

from __future__ import annotations

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from alerts.payload import KINDS, MODELS, TYPES

__all__ = ["openapi", "webhook_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = "1"
"""Of the form; it rises where a field is taken away or changes its meaning, not where one is added."""

_DESCRIPTION = (
    "What heistwatch sends through channels of type `webhook` and `circuit_breaker`, signed as Standard Webhooks says "
    "(https://www.standardwebhooks.com). Verify the raw bytes before you read them, drop ids that you have handled, "
    "and ignore fields and types that you do not know: more may come at any time."
)
_WHEN = {
    "incident.opened": "A theft was found. Once an incident.",
    "incident.escalated": "Its severity rose, the first coins left a chain, or a loss doubled since told so.",
    "incident.updated": "The loss grew otherwise.",
    "incident.resolved": "A person closed it, or the funds came back.",
    "incident.retracted": "A reorganisation took all its transactions away for good.",
    "incident.reminder": "It is open still, and is said again.",
    "incident.summary": "Several messages of one owner were held, and come in one: to people, not to programs.",
    "drill.opened": "A drill begins: nothing of it is real.",
    "drill.escalated": "The theft of a drill grows in severity.",
    "drill.updated": "The loss of a drill grows.",
    "drill.resolved": "A drill is over.",
    "drill.retracted": "A drill plays that its theft is undone.",
    "drill.reminder": "A drill is not acknowledged yet.",
    "monitor.blind": "The monitor does not see something that it should: a theft there would not be told.",
    "monitor.recovered": "It sees again.",
    "breaker.pause_withdrawals": "A circuit breaker that is armed asks to pause withdrawals of an owner.",
    "breaker.pause_withdrawals.dry_run": "What it would ask for; nothing is to be paused.",
}
_HEADERS = {
    "webhook-id": ("Identity of the message, the same in every attempt. Drop those that you have handled.", {}),
    "webhook-timestamp": ("UTC seconds of this attempt. Refuse what is off by more than 300.", {"pattern": "^[0-9]+$"}),
    "webhook-signature": (
        "`v1,` and the base64 of an HMAC-SHA256 of `ID.TIMESTAMP.BODY`; several, with blanks between them, while a "
        "secret is replaced: one that holds is enough.",
        {"pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$"},
    ),
}
_AGAIN = "Tried again, after a random pause of up to min(2^(n-1), 600) seconds after attempt n, for a day."
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds, or an HTTP date: kept to.", "schema": {"type": "string"}},
}
_RESPONSES = {
    "Accepted": {"description": "Accepted; it does not come again."},
    "TriedAgain": {"description": _AGAIN, "headers": _RETRY_AFTER},
    "GivenUp": {"description": "Given up at once; redirects are not followed."},
}
_ANSWERS = {
    "2XX": "Accepted",
    "3XX": "GivenUp",
    "408": "TriedAgain",
    "425": "TriedAgain",
    "429": "TriedAgain",
    "4XX": "GivenUp",
    "5XX": "TriedAgain",
}


def webhook_schema(*, strict: bool = True) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a body of any type.

    ``strict`` says exactly what this version sends, for tests. A receiver that refuses what it does not know breaks
    with the first new field: it should check with ``strict=False``, which allows more.
    """
    types, definitions = _schemas("#/$defs/", strict)
    return {
        "$schema": DIALECT,
        "$id": f"heistwatch/webhook/{VERSION}",
        "title": "heistwatch webhook",
        "description": _DESCRIPTION,
        "oneOf": list(types.values()),
        "$defs": definitions,
    }


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), with one webhook a type of message.

    Its schemas allow more fields than they describe: receivers are made from it, and must outlive additions.
    """
    types, definitions = _schemas("#/components/schemas/", strict=False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "heistwatch webhooks",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": DIALECT,
        "webhooks": {name: {"post": _operation(name, schema)} for name, schema in types.items()},
        "components": {
            "schemas": definitions,
            "parameters": {name: _header(name) for name in _HEADERS},
            "responses": _RESPONSES,
        },
    }


def _operation(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    family, *words = re.split("[._]", name)
    return {
        "operationId": family + "".join(word.capitalize() for word in words),
        "summary": _WHEN[name],
        "tags": [family],
        "parameters": [{"$ref": f"#/components/parameters/{header}"} for header in _HEADERS],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: {"$ref": f"#/components/responses/{name}"} for status, name in _ANSWERS.items()},
    }


def _header(name: str) -> dict[str, Any]:
    description, form = _HEADERS[name]
    schema = {"type": "string", "minLength": 1, **form}
    return {"name": name, "in": "header", "required": True, "description": description, "schema": schema}


def _schemas(place: str, strict: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Schemas by type of message, and by name the definitions that they refer to, which stand at ``place``."""
    _, made = models_json_schema([(model, "validation") for model in MODELS], ref_template=place + "{model}")
    types = {
        name: {"allOf": [{"$ref": place + model.__name__}, {"properties": _constants(name)}]}
        for name, model in TYPES.items()
    }
    return types, {name: _tidy(item, strict) for name, item in sorted(made["$defs"].items())}


def _constants(name: str) -> dict[str, Any]:
    """What tells one type of message from others of the same form."""
    type_ = {"type": {"const": name}}
    return {**type_, "data": {"properties": {"kind": {"const": KINDS[name]}}}} if name in KINDS else type_


def _tidy(value: Any, strict: bool) -> Any:
    """Without titles that repeat names and defaults that nobody sets, and (not strict) open to further fields."""
    if isinstance(value, list):
        return [_tidy(item, strict) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        if key == "properties":
            kept[key] = {name: _tidy(part, strict) for name, part in item.items()}
        elif key in ("title", "default") or (key == "additionalProperties" and item is False and not strict):
            continue
        else:
            kept[key] = _tidy(item, strict)
    return kept
