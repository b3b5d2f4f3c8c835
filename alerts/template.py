"""The owner's own words: Jinja2 templates for a title and a body, in a sandbox, each value escaped for the channel.

A template's own text is the channel's markup (HTML for e-mail and Telegram, mrkdwn for Slack, Markdown elsewhere); what
is put into it, names of tokens among it, is text and nothing more. A template that fails must not cost the alarm: the
channel's own form takes its place, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alerts.message import Action, Fact, Message
from alerts.text import clean
from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["Templates"]

CHARACTERS = 20_000  # of a result
RANGE = 1000  # numbers of a range
_NAMES = ("title", "body")
_SAMPLE = Message(
    id="0", type="incident.opened", at="2018-01-25T15:04:00Z", badge="CRITICAL", severity="critical",
    colour="#b00020", title="CRITICAL: Example Exchange: 100 ETH sent to suspects", entity="Example Exchange",
    facts=(Fact("left", "100 ETH"), Fact("destination", "0x", "https://example.com/address/0x")), lines=("a line",),
    runbook="Stop withdrawals.", actions=(Action("Acknowledge", "https://example.com/act"),), incident_id="0",
    revision=1, drill=False,
)  # fmt: skip


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses what takes for ever: whoever renders a message keeps the monitor from its blocks meanwhile."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options)
        self.globals["range"] = _short_range
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiplication, power and formatting, where the result is small."""
        if operator == "*" and (hasattr(left, "__len__") or hasattr(right, "__len__")):
            text, times = (left, right) if hasattr(left, "__len__") else (right, left)
            if isinstance(times, int) and len(text) * times > CHARACTERS:
                raise TemplateRuntimeError(f"* makes more than {CHARACTERS} characters")
        elif operator == "**" and isinstance(right, int | float) and abs(right) > _POWER:
            raise TemplateRuntimeError(f"a power of more than {_POWER} takes too long")
        elif operator == "%" and isinstance(left, str) and _WIDE.search(left):
            raise TemplateRuntimeError("a field of a thousand characters or more")
        return super().call_binop(context, operator, left, right)


_POWER = 100
_WIDE = re.compile(r"%[^a-zA-Z%]*(?:\d{4}|\*)")


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > RANGE:
        raise TemplateRuntimeError(f"a range of more than {RANGE} numbers")
    return numbers


class Templates:
    """The templates of one channel.

    Parameters
    ----------
    given : ``title`` and ``body``, each optional; the fields of `alerts.message.Message` are their variables
    escape : makes text harmless in the channel's markup

    Raises
    ------
    ConfigError : a template is wrong, or names something that no message has

    Examples
    --------
    >>> own = Templates({"title": "*{{ severity }}* {{ entity }}"}, lambda text: text.replace("*", "(star)"))
    >>> own.title(_SAMPLE)
    '*critical* Example Exchange'
    """

    def __init__(self, given: Mapping[str, str], escape: Callable[[str], str]) -> None:
        self._escape = escape
        self._environment = _Sandbox(finalize=self._harmless)
        self._made: dict[str, Template] = {}
        problems = []
        for name, text in given.items():
            if name not in _NAMES:
                problems.append(Problem(f"template: unknown part {name!r}: {did_you_mean(str(name), _NAMES)}"))
                continue
            try:
                self._made[name] = self._environment.from_string(text)
                self._render(name, _SAMPLE)
            except Exception as error:
                problems.append(Problem(f"template: {name}: {_said(error)}"))
        if problems:
            raise ConfigError(problems)

    def title(self, message: Message) -> str:
        """One line in the channel's markup; a drill is always called one."""
        made = self._try("title", message)
        title = self._escape(message.title) if made is None else " ".join(made.split())
        return title if not message.drill or "DRILL" in title else f"DRILL: {title}"

    def body(self, message: Message) -> str | None:
        """The whole body in the channel's markup; None where the channel writes its own form."""
        if "body" not in self._made:
            return None
        made = self._try("body", message)
        if made is None:
            return "\n".join(self._plainly(message))
        return made

    def _plainly(self, message: Message) -> Iterator[str]:
        """What the body of a message says, without form; buttons and such are beside it."""
        for fact in message.facts:
            yield " ".join(map(self._escape, filter(None, (f"{fact.name}: {fact.value}", fact.url))))
        yield from map(self._escape, (*message.lines, "(the body's own template failed and is left out)"))

    def _try(self, name: str, message: Message) -> str | None:
        if name not in self._made:
            return None
        try:
            made = self._render(name, message)
        except Exception:
            return None
        return made if len(made) <= CHARACTERS else None  # cut, its markup could break

    def _render(self, name: str, message: Message) -> str:
        fields = {**asdict(message), "message": message}
        return self._made[name].render(fields)

    def _harmless(self, value: Any) -> str:
        return self._escape(clean(str(value), lines=True))


def _said(error: Exception) -> str:
    if isinstance(error, TemplateError):
        line = getattr(error, "lineno", None)
        return f"{error.message or type(error).__name__}{f' (line {line})' if line else ''}"
    return f"it cannot be filled in: {type(error).__name__}"
