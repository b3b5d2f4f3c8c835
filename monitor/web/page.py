"""Pages for people: small, self-contained, no script, nothing from elsewhere. Pure.

Whatever is shown is hostile (names of tokens, comments of whoever held a link): invisible characters are removed, all
else is escaped, and nothing of it becomes a link.
"""

from __future__ import annotations

import base64
import hashlib
import html
import unicodedata
from collections.abc import Iterable, Sequence

from aiohttp import web

__all__ = ["bounded", "items", "page", "shown", "table", "text"]

CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #d5d5d5; --soft: #666; --act: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181c; --line: #3a3d43; --soft: #a0a4ab; --act: #2f7fd0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 46rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; line-height: 1.3; }
h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
.badge { display: inline-block; padding: 0 .5rem; border-radius: .2rem; color: #fff; background: #5c6370;
  font-size: .85rem; font-weight: 700; text-transform: uppercase; vertical-align: middle; }
.critical { background: #b3001b; } .high { background: #c2410c; } .medium { background: #946200; }
.low { background: #1d6f8a; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top;
  padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: nowrap; width: 1%; }
ul { padding-left: 1.1rem; } .soft { color: var(--soft); } .failed { color: #d33; }
label { display: block; margin: .8rem 0; }
input, textarea { display: block; width: 100%; margin-top: .2rem; padding: .6rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: .3rem; }
button { width: 100%; min-height: 3rem; padding: .7rem; border: 0; border-radius: .3rem; color: #fff;
  background: var(--act); font: inherit; font-weight: 700; }
"""

_HASH = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address of a page that acts is what lets one act
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}
_HIDDEN = {"Cc", "Cf", "Cs", "Co"}  # control, bidirectional and zero-width, halves of pairs, private use


def shown(given: object) -> str:
    """One line of text without what cannot be seen.

    >>> shown("US\\u202eDT\\x1b[2J")
    'USDT[2J'
    """
    plain = (" " if c in "\t\n\r\v\f\x85\u2028\u2029" else c for c in str(given))
    return "".join(c for c in plain if unicodedata.category(c) not in _HIDDEN)


def bounded(given: object, most: int) -> str:
    """`shown` text of at most so many characters, and a note of what was left out."""
    line = shown(given)
    return line if len(line) <= most else f"{line[:most]}… ({len(line) - most} more characters left out)"


def text(given: object, most: int = 2000) -> str:
    """Text as HTML.

    >>> text("<b>&")
    '&lt;b&gt;&amp;'
    """
    return html.escape(bounded(given, most))


def items(lines: Iterable[object], most: int = 50) -> str:
    """A list; of more than ``most`` lines the first."""
    kept = list(lines)
    rest = f"<li class=soft>and {len(kept) - most} more</li>" if len(kept) > most else ""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in kept[:most])}{rest}</ul>"


def table(rows: Sequence[tuple[object, object]], classes: Sequence[str] = ()) -> str:
    """Two columns: a heading and what belongs to it; ``classes`` by row."""
    named = [*classes, *[""] * len(rows)]
    cells = (
        f'<tr><th scope="row">{text(name)}</th><td{f" class={mark}" if mark else ""}>{text(value)}</td></tr>'
        for (name, value), mark in zip(rows, named, strict=False)
    )
    return f"<table>{''.join(cells)}</table>"


def page(title: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A whole page; ``title`` is text, ``body`` HTML."""
    document = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow"><meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{text(title)}</title><style>{CSS}</style></head>'
        f"<body>{body}</body></html>\n"
    )
    return web.Response(
        text=document, status=status, content_type="text/html", charset="utf-8", headers={**_HEADERS, **(headers or {})}
    )
