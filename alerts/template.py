"""The owner's own words: Jinja2 templates for a title and a body, in a sandbox, each value escaped for the channel.

A template's own text is the channel's markup (HTML for e-mail and Telegram, mrkdwn for Slack, Markdown elsewhere); what
is put into it, names of tokens among it, is text and nothing more. A template that fails must not cost the alarm: the
channel's own form takes its place, with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alerts.message import Action, Fact, Message
from alerts.text import bounded, clean
from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["Templates"]

CHARACTERS = 20_000  # of a result
_NAMES = ("title", "body")
_SAMPLE = Message(
    id="0", type="incident.opened", at="2018-01-25T15:04:00Z", badge="CRITICAL", severity="critical",
    colour="#b00020", title="CRITICAL: Example Exchange: 100 ETH sent to suspects", entity="Example Exchange",
    facts=(Fact("left", "100 ETH"), Fact("destination", "0x", "https://example.com/address/0x")), lines=("a line",),
    runbook="Stop withdrawals.", actions=(Action("Acknowledge", "https://example.com/act"),), incident_id="0",
    revision=1, drill=False,
)  # fmt: skip


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
        self._environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, finalize=self._harmless, trim_blocks=True, lstrip_blocks=True
        )
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
            text = "\n".join((*message.lines, "(the body's own template failed and is left out)"))
            return self._escape(text)
        return made

    def _try(self, name: str, message: Message) -> str | None:
        if name not in self._made:
            return None
        try:
            return bounded(self._render(name, message), CHARACTERS)
        except Exception:
            return None

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
