"""A message as HTML: a page for mail programs, and a fragment of the few tags that chat clients keep.

Nothing is loaded from anywhere and nothing runs: no script, no style sheet, no picture but one that travels with the
message. Mail programs know old HTML best, so the page is tables with styles on each element; the style sheet adds only
what may be missing: dark colours and narrow screens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape as escape_markup
from html.parser import HTMLParser

from alerts.message import Action, Fact, Message
from alerts.plain import DRILL_NOTE, footer, headline, unlinked, web_address

__all__ = ["TemplateEscape", "escape", "fragment", "page", "text_of"]

_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_DRILL_COLOUR = "#5b21b6"
_STYLE = """
body{margin:0;padding:0}
@media (max-width:480px){.card{border-radius:0!important}.in{padding:14px!important}.name{display:block!important;
width:auto!important;padding-bottom:0!important}.value{display:block!important}.button{display:block!important;
margin-right:0!important;text-align:center!important}}
@media (prefers-color-scheme:dark){body,.around{background:#111418!important}.card{background:#1c2026!important}
.text,.value{color:#e6e8eb!important}.name,.small{color:#9aa3ad!important}.row{border-color:#2d333b!important}
.link{color:#8ab4f8!important}.outline{color:#e6e8eb!important;border-color:#9aa3ad!important}}
"""


def escape(text: str, keep: str = "") -> str:
    """``text`` for HTML, attributes included: no markup of its own, and nothing that a program would make a link of.

    >>> escape("<a href='https://evil.example'>")
    '&lt;a href=&#x27;https[:]//evil[.]example&#x27;&gt;'
    """
    return escape_markup(unlinked(text, keep), quote=True)


class TemplateEscape:
    """`escape` for values in an owner's template, which may well put an address of ours into a link.

    The addresses of buttons and explorers of the message at hand stay as they are; its entity's name does, too.

    Parameters
    ----------
    markup : false for a template of plain text: then only ``harmless``
    harmless : makes a text harmless, given what stays as it is: `unlinked` or `alerts.plain.inert`
    """

    def __init__(self, *, markup: bool = True, harmless: Callable[[str, str], str] = unlinked) -> None:
        self._markup = markup
        self._unlinked = harmless
        self._addresses: frozenset[str] = frozenset()
        self._keep = ""

    def __call__(self, text: str) -> str:
        shown = text if text in self._addresses else self._unlinked(text, self._keep)
        return escape_markup(shown, quote=True) if self._markup else shown

    def applied(self, render: Callable[[Message], str | None], message: Message) -> str | None:
        """What ``render`` makes of ``message``, with this as its escape."""
        given = (*(action.url for action in message.actions), *(fact.url for fact in message.facts))
        self._addresses, self._keep = frozenset(filter(None, map(web_address, given))), message.entity
        try:
            return render(message)
        finally:
            self._addresses, self._keep = frozenset(), ""


# -- for mail programs --------------------------------------------------------------------------------------------


def page(message: Message, *, body: str | None = None, picture: str = "") -> str:
    """The whole document.

    Parameters
    ----------
    body : what stands in place of facts and lines: HTML that the owner's template made
    picture : the Content-ID of the chart that travels with the message, empty where there is none
    """
    keep = message.entity
    inside = [_bar(message), '<tr><td class="in" style="padding:20px 24px">']
    inside += _buttons(message.actions, message.colour)
    if body is not None:
        inside.append(f'<div class="text" style="{_text()};white-space:pre-line">{body}</div>')
    else:
        inside += _table(message.facts, keep)
        inside += _picture(picture)
        inside += (
            f'<p class="text" style="{_text()};margin:0 0 8px">{escape(line, keep)}</p>' for line in message.lines
        )
    if message.runbook:
        inside.append(
            f'<p class="text" style="{_text()};margin:16px 0 0;padding:12px 14px;border-left:4px solid '
            f'{message.colour}"><strong>What to do:</strong> {escape_markup(message.runbook)}</p>'
        )
    inside.append(
        f'<p class="small" style="{_FONT};font-size:12px;line-height:18px;color:#6b7280;margin:20px 0 0;'
        f'word-break:break-word">{escape_markup(footer(message))}</p></td></tr>'
    )
    return _document(escape(headline(message), keep), "\n".join(inside))


def _document(title: str, rows: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
        '<meta name="format-detection" content="telephone=no,date=no,address=no,email=no,url=no">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        '<body class="around" style="margin:0;padding:0;background:#eef0f3">\n'
        '<table role="presentation" class="around" width="100%" cellpadding="0" cellspacing="0" border="0" '
        'style="background:#eef0f3"><tr><td align="center" style="padding:16px 0">\n'
        '<table role="presentation" class="card" width="100%" cellpadding="0" cellspacing="0" border="0" '
        'style="max-width:640px;background:#ffffff;border-radius:8px;overflow:hidden">\n'
        f"{rows}\n</table>\n</td></tr></table>\n</body></html>\n"
    )


def _bar(message: Message) -> str:
    drill = (
        f'<tr><td class="in" style="padding:12px 24px;background:{_DRILL_COLOUR};color:#ffffff;{_FONT};'
        f'font-size:15px;font-weight:bold">{DRILL_NOTE}</td></tr>\n'
        if message.drill
        else ""
    )
    badge, _, title = headline(message).partition("] ")
    return (
        f'{drill}<tr><td class="in" bgcolor="{message.colour}" style="padding:18px 24px;background:'
        f'{message.colour};color:#ffffff;{_FONT}"><div style="font-size:13px;font-weight:bold;letter-spacing:1px">'
        f'{escape(badge[1:])}</div><div style="font-size:20px;line-height:26px;font-weight:bold;margin-top:4px;'
        f'word-break:break-word">{escape(title, message.entity)}</div></td></tr>'
    )


def _buttons(actions: tuple[Action, ...], colour: str) -> Iterator[str]:
    """The first is filled, the others are outlined; each is a plain link, so that it works wherever links do."""
    links = [(action.label, web_address(action.url)) for action in actions]
    buttons: list[str] = []
    for label, url in links:
        if not url:
            continue
        look = f"color:{colour}" if buttons else f"background:{colour};color:#ffffff"
        kind = "button outline" if buttons else "button"
        buttons.append(
            f'<a class="{kind}" href="{escape_markup(url)}" style="display:inline-block;{_FONT};font-size:15px;'
            f"font-weight:bold;text-decoration:none;padding:11px 18px;margin:0 8px 10px 0;border-radius:6px;"
            f'border:1px solid {colour};{look}">{escape(label)}</a>'
        )
    if buttons:
        yield f'<div style="margin:0 0 14px">{"".join(buttons)}</div>'


def _table(facts: tuple[Fact, ...], keep: str) -> Iterator[str]:
    if not facts:
        return
    yield '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="margin:0 0 16px">'
    for fact in facts:
        value, url = escape(fact.value, keep), web_address(fact.url)
        shown = f'<a class="link" href="{escape_markup(url)}" style="color:#1a56db">{value}</a>' if url else value
        yield (
            f'<tr class="row" style="border-top:1px solid #e3e6ea"><td class="name" valign="top" width="150" '
            f'style="{_FONT};font-size:14px;line-height:20px;color:#6b7280;padding:6px 12px 6px 0">{escape(fact.name)}'
            f'</td><td class="value" valign="top" style="{_FONT};font-size:14px;line-height:20px;color:#1f2328;'
            f'padding:6px 0;word-break:break-word;overflow-wrap:anywhere">{shown}</td></tr>'
        )
    yield "</table>"


def _picture(content_id: str) -> Iterator[str]:
    if content_id:
        yield (
            f'<img src="cid:{escape_markup(content_id)}" alt="Chart: what left, against what is usual" width="592" '
            'style="display:block;width:100%;max-width:592px;height:auto;margin:0 0 16px;border:0">'
        )


def _text() -> str:
    return f"{_FONT};font-size:14px;line-height:21px;color:#1f2328;word-break:break-word"


# -- for chat clients ---------------------------------------------------------------------------------------------


def fragment(message: Message, *, title: str | None = None, body: str | None = None) -> str:
    """The message in tags that Matrix clients are told to keep: no table, as telephones do not draw them.

    Parameters
    ----------
    title : HTML that the owner's template made
    body : what stands in place of facts and lines: HTML that the owner's template made
    """
    keep = message.entity
    badge, _, plain_title = headline(message).partition("] ")
    mark = f'<span data-mx-bg-color="{message.colour}" data-mx-color="#ffffff">&nbsp;{escape(badge[1:])}&nbsp;</span>'
    parts = [f"<p><strong>{DRILL_NOTE}</strong></p>"] if message.drill else []
    parts.append(f"<p>{mark} <strong>{escape(plain_title, keep) if title is None else title}</strong></p>")
    links = [(action.label, web_address(action.url)) for action in message.actions]
    if shown := [f'<a href="{escape_markup(url)}">{escape(label)}</a>' for label, url in links if url]:
        parts.append(f"<p>{' | '.join(shown)}</p>")
    if body is not None:
        parts.append(f"<p>{body.strip().replace(chr(10), '<br>')}</p>")
    else:
        parts += _list(message.facts, keep)
        if message.lines:
            parts.append(f"<p>{'<br>'.join(escape(line, keep) for line in message.lines)}</p>")
    if message.runbook:
        parts.append(f"<p><strong>What to do:</strong> {escape_markup(message.runbook)}</p>")
    return "".join([*parts, f"<p><em>{escape_markup(footer(message))}</em></p>"])


def _list(facts: tuple[Fact, ...], keep: str) -> Iterator[str]:
    if not facts:
        return
    yield "<ul>"
    for fact in facts:
        value, url = escape(fact.value, keep), web_address(fact.url)
        shown = f'<a href="{escape_markup(url)}">{value}</a>' if url else value
        yield f"<li><strong>{escape(fact.name)}:</strong> {shown}</li>"
    yield "</ul>"


# -- back to text -------------------------------------------------------------------------------------------------


def text_of(markup: str) -> str:
    """What a reader sees of ``markup``, for those who read no HTML: the plain form of what a template made.

    >>> text_of("<p>Stop &amp; <a href='https://wiki.example/x'>read</a></p>")
    'Stop & read (https://wiki.example/x)'
    """
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.pieces).split("\n")]
    return "\n".join(lines).strip("\n")


class _Reader(HTMLParser):
    """Collects text; blocks begin lines, and a link shows its address."""

    _BLOCKS = frozenset(
        ("p", "div", "tr", "li", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre", "blockquote")
    )
    _HIDDEN = frozenset(("script", "style", "head", "title"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag == "br" or (tag in self._BLOCKS and self.pieces and not self.pieces[-1].endswith("\n")):
            self.pieces.append("\n")
        elif tag == "a":
            self._links.append(web_address(dict(attrs).get("href") or ""))

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "a" and self._links:
            if url := self._links.pop():
                self.pieces.append(f" ({url})")
        elif tag in self._BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if not self._hidden:
            self.pieces.append(data)
