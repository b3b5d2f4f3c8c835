"""Labels in YAML: GraphSense TagPacks, and heistwatch's own packs. Pure: text in, rows out.

A TagPack has a header and ``tags``; what a tag does not say is said by the header. An own pack has
``heistwatch_labels: 1`` and ``labels``, or several ``groups`` of them; keys beside a list are what its labels share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from monitor.labels.given import Given
from monitor.registry import did_you_mean

__all__ = ["OWN", "TAGPACK", "pack_rows", "yaml_layout"]

OWN, TAGPACK = "heistwatch pack", "TagPack"
Row = tuple[int, list[Given] | str]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KEYS = ("address", "chain", "name", "kind", "source", "known_since")


def yaml_layout(text: str) -> str | None:
    """`OWN` or `TAGPACK` by the keys at the top, None where it is neither."""
    if re.search(r"^heistwatch_labels\s*:", text, re.M):
        return OWN
    return TAGPACK if re.search(r"^tags\s*:", text, re.M) else None


def pack_rows(text: str) -> Iterator[Row]:
    """The rows of a TagPack or an own pack.

    Raises
    ------
    ValueError : not YAML, or of another shape; the message has the line
    """
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = re.sub(r"\s+", " ", str(getattr(error, "problem", None) or "a control character"))[:80]
        raise ValueError(f"{f'line {mark.line + 1} is' if mark else 'it is'} not valid YAML: {what}") from None
    except RecursionError:
        raise ValueError("the YAML is nested too deeply") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("expected 'key: value' lines at the top")
    header = _mapping(root)
    return _own(header) if "heistwatch_labels" in header else _tags(header)


def _mapping(node: Any) -> dict[str, Any]:
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _text(node: Any) -> str:
    """The text of a scalar, of a list of them joined; empty for null and for what is nested."""
    if isinstance(node, yaml.SequenceNode):
        return ", ".join(part.value for part in node.value if isinstance(part, yaml.ScalarNode))
    plain = isinstance(node, yaml.ScalarNode) and not (node.tag.endswith(":null") and node.style in (None, ""))
    return str(node.value) if plain else ""


def _items(node: Any, key: str) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        line = f"line {node.start_mark.line + 1}: " if node is not None else ""
        raise ValueError(f"{line}{key} expects a list")
    items: list[Any] = node.value
    return items


def _tags(header: Mapping[str, Any]) -> Iterator[Row]:
    shared = {key: _text(node) for key, node in header.items() if key != "tags"}
    for node in _items(header.get("tags"), "tags"):
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            yield line, "a tag is a mapping with an address"
            continue
        own = {key: _text(value) for key, value in _mapping(node).items()}
        tag = shared | {key: text for key, text in own.items() if text}
        categories = (tag.get("abuse"), tag.get("category"), tag.get("concepts"))
        yield line, [
            Given(
                own.get("address", ""),
                coin=tag.get("currency", "") or tag.get("network", ""),
                name=tag.get("label", "") or tag.get("actor", "") or tag.get("title", ""),
                category=next(filter(None, categories), ""),
                source=tag.get("source", "") or tag.get("title", ""),
                dated=tag.get("lastmod", ""),
            )
        ]


def _own(header: Mapping[str, Any]) -> Iterator[Row]:
    version = _text(header["heistwatch_labels"])
    if version != "1":
        raise ValueError(f"heistwatch_labels is {version[:10]!r}, this version reads 1")
    shared = {key: _text(node) for key, node in header.items() if key in _KEYS}
    groups = [header] if "labels" in header else []
    for node in _items(header["groups"], "groups") if "groups" in header else ():
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(f"line {node.start_mark.line + 1}: a group is a mapping with labels")
        groups.append(_mapping(node))
    if not groups:
        raise ValueError("a pack needs labels, or groups with labels")
    for group in groups:
        _refuse_unknown(group, (*_KEYS[1:], "labels", "groups", "heistwatch_labels", "title"))
        common = shared | {key: _text(node) for key, node in group.items() if key in _KEYS}
        for node in _items(group.get("labels"), "labels"):
            yield node.start_mark.line + 1, _own_label(node, common)


def _refuse_unknown(group: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key, node in group.items():
        if key not in valid:
            raise ValueError(f"line {node.start_mark.line + 1}: unknown key {key[:40]!r}: {did_you_mean(key, valid)}")


def _own_label(node: Any, common: Mapping[str, str]) -> list[Given] | str:
    if isinstance(node, yaml.ScalarNode):
        return [Given(**{**common, "address": _text(node)})]
    if not isinstance(node, yaml.MappingNode):
        return "a label is an address, or a mapping with one"
    entry = _mapping(node)
    wrong = next((key for key in entry if key not in _KEYS), None)
    if wrong is not None:
        return f"unknown key {wrong[:40]!r}: {did_you_mean(wrong, _KEYS)}"
    return [Given(**{**common, "address": "", **{key: _text(value) for key, value in entry.items()}})]
