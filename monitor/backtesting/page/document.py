"""The page as one file: template, style and script in it, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from monitor.backtesting.page.words import visible

__all__ = ["document"]

FOLDER = "templates"


@cache
def _text(name: str) -> str:
    return (files(__package__) / FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _safe(value: Any) -> Any:
    """Texts without anything that cannot be seen; what is HTML already, numbers and the like as they are."""
    return visible(value, 4000) if isinstance(value, str) and not isinstance(value, Markup) else value


def _joined(values: Iterable[object], between: str) -> str:
    return between.join(visible(value) for value in values)


@cache
def _environment() -> Environment:
    pages = {name: _text(name) for name in ("page.html", "incident.html", "tables.html")}
    made = Environment(
        loader=DictLoader(pages), autoescape=True, undefined=StrictUndefined, finalize=_safe, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["joined"] = _joined  # the built-in one gives HTML, of which nothing more would be made visible
    return made


def document(shown: Mapping[str, Any]) -> str:
    """The page of what `monitor.backtesting.page.view.view` says."""
    style, script = _text("page.css"), _text("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("page.html")
    return template.render(shown, style=Markup(style), script=Markup(script), policy=policy)
