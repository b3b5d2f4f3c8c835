"""From a tree to checked entries, with every problem in plain words at its place.

A wrong value is reported, taken out, and the rest checked again: so one run finds what is wrong everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from monitor.config import alert_file
from monitor.config import file as config_file
from monitor.config.file import ConfigFile
from monitor.config.tree import Node, key_shown
from monitor.errors import Problem
from monitor.model import Role
from monitor.registry import did_you_mean

__all__ = ["shown", "validate"]

_MAX_PASSES = 20
_SHOWN_LENGTH = 60
_SECRET_PARTS = {"endpoints", "receivers", "http", "store", "prices", "options", "heartbeat"}
_NAMES = frozenset({"id", "entity", "name"})
_NEUTRAL: Mapping[str, Any] = {"role": "hot", "addresses": [], "channels": [], "wallets": []}
_WHAT = {
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text (in quotes where it looks like a number)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of less than 4,300 digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is finite",
    "string_too_short": "text that is not empty",
    "string_unicode": "text that is valid Unicode",
}
_LIMITS = {
    "greater_than": ("a number above", "gt"),
    "greater_than_equal": ("a number of at least", "ge"),
    "less_than_equal": ("a number of at most", "le"),
    "string_pattern_mismatch": ("text that matches", "pattern"),
}
_MODELS: Mapping[str, type[BaseModel]] = {
    "budget": config_file.BudgetEntry,
    "chains": config_file.ChainEntry,
    "endpoints": config_file.EndpointEntry,
    "assets": config_file.AssetEntry,
    "wallets": config_file.WalletEntry,
    "addresses": config_file.AddressEntry,
    "trusted": config_file.TrustedEntry,
    "rules": config_file.RuleEntry,
    "planned": config_file.PlannedEntry,
    "prices": config_file.PricesEntry,
    "store": config_file.StoreEntry,
    "http": config_file.HttpEntry,
    "receivers": config_file.ReceiverEntry,
    "route": alert_file.RouteEntry,
    "routes": alert_file.RouteEntry,
    "template": alert_file.TemplateEntry,
    "inhibit": alert_file.InhibitEntry,
    "drill": alert_file.DrillEntry,
    "heartbeat": alert_file.HeartbeatEntry,
}


def validate(root: Node, problems: list[Problem]) -> ConfigFile | None:
    """The entries of a tree. What is wrong joins ``problems`` and leaves the tree; None where nothing can be saved."""
    _remove_broken(root)
    _remove_keys(root, problems)
    root.value = {key: child for key, child in root.value.items() if child.value is not None}  # "receivers:" alone
    for _ in range(_MAX_PASSES):
        try:
            return ConfigFile.model_validate(root.plain())
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True, include_input=False)
            # Indices are those of this pass: look every place up before anything is taken out.
            found = [(detail, *root.find(detail["loc"])) for detail in details]
            for detail, node, depth in found:
                _settle(detail, node, depth, problems)
    return None


def _remove_broken(node: Node) -> None:
    for child in list(node.children()):
        if child.broken:
            node.remove(child)
        else:
            _remove_broken(child)


def _remove_keys(node: Node, problems: list[Problem]) -> None:
    """Refuse private keys where names belong, which every message and the store would repeat."""
    for child in list(node.children()):
        is_name = child.key in _NAMES and isinstance(child.value, str)
        if _is_key(str(child.key), digits=False) or (is_name and _is_key(child.value, digits=False)):
            what = "what looks like a private key in the place of a name: remove it"
            problems.append(child.problem(f"{node.label or 'the configuration'} has {what}"))
            node.remove(child)
        else:
            _remove_keys(child, problems)


def _settle(detail: Any, node: Node, depth: int, problems: list[Problem]) -> None:
    """Report one finding of pydantic and take its cause out of the tree."""
    if detail["type"] == "missing":
        key = str(detail["loc"][-1])
        if key not in node.lost:
            problems.append(node.problem(_missing(key, node)))
        _fill(key, node)
        return
    problems.append(node.problem(_sentence(detail, node)))
    if node.parent is not None:
        node.parent.remove(node)


def _missing(key: str, node: Node) -> str:
    place = f"{node.label}.{key}" if node.label else key
    if key == "role":
        return f"{place} is missing, expected one of {', '.join(Role)}"
    return f"{place} is missing"


def _fill(key: str, node: Node) -> None:
    """Put a harmless value where one is missing, or take out what is of no use without it."""
    if key == "id":
        value: Any = node.label
    elif key in _NEUTRAL:
        value = list(_NEUTRAL[key]) if isinstance(_NEUTRAL[key], list) else _NEUTRAL[key]
    else:
        if node.parent is not None:
            node.parent.remove(node)
        return
    node.lost.add(key)
    node.value[key] = Node(value, node.source, node.line, parent=node, key=key)


def _sentence(detail: Any, node: Node) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(node)
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        hint = did_you_mean(str(node.value), choices) if choices else f"expected {context.get('expected')}"
        return f"{node.label} {shown(node)}, {hint}"
    if kind == "value_error":
        return f"{node.label} {shown(node)}, {context['error']}"
    if kind in _WHAT:
        return f"{node.label or 'the configuration'} {_what_it_is(node, kind)}, expected {_WHAT[kind]}"
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        limit = context[key]
        return f"{node.label} {shown(node)}, expected {words} {limit if isinstance(limit, str) else format(limit, 'g')}"
    return f"{node.label} {shown(node)}, which is not valid here"


def _unknown_key(node: Node) -> str:
    parent = node.parent
    names = [name for name in (parent.label if parent else "").replace("[", ".").split(".") if name and name[0] != "]"]
    named = [name for name in names if not name.rstrip("]").isdigit()]
    model: type[BaseModel] = _MODELS.get(named[-1], ConfigFile) if named else ConfigFile
    valid = [field.alias or name for name, field in model.model_fields.items()]
    inside = f" in {parent.label}" if parent and parent.label else ""
    return f"unknown key {key_shown(str(node.key))}{inside}: {did_you_mean(str(node.key), valid)}"


def _what_it_is(node: Node, kind: str) -> str:
    value = node.value
    if isinstance(value, dict):
        return "was a mapping"
    if isinstance(value, list):
        return "was a list"
    if value is None or value == "":
        return "was empty"
    if kind in ("list_type", "dict_type", "model_type", "model_attributes_type"):
        return "was text" if isinstance(value, str) else "was a single value"
    return shown(node)


def shown(node: Node) -> str:
    """What may be said of a value: itself in most places, how it was written where it was substituted, else nothing.

    Never shown: values where secrets belong (endpoints, channels, tokens), addresses of services, long text.
    """
    if isinstance(node.value, (dict, list)):
        return "was a mapping" if isinstance(node.value, dict) else "was a list"
    text = repr(node.value if node.raw is None else node.raw)
    text = text.lower() if isinstance(node.value, bool) else text
    if _may_hold_secret(node) or "://" in text or len(text) > _SHOWN_LENGTH or _is_key(text):
        return "is not valid"
    return f"was {text}"


def _is_key(text: str, digits: bool = True) -> bool:
    from monitor.addresses import PrivateKeyGiven
    from monitor.addresses.extended import refuse_private  # loads a library: only where it is needed

    try:
        refuse_private(text, digits=digits)
    except PrivateKeyGiven:
        return True
    return False


def _may_hold_secret(node: Node) -> bool:
    names: Sequence[str] = re.findall(r"[^.\[\]]+", node.label)
    return not _SECRET_PARTS.isdisjoint(names)
