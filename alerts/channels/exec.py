"""Alerts to a command of the owner's: no shell, arguments only, a time limit."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.base import ChannelTraits, Receipt
from alerts.options import Options
from alerts.phase import problem_key
from alerts.process import Ended, run
from alerts.template import Templates
from alerts.text import bounded, clean
from alerts.wire import wire
from monitor.ids import canonical_json
from monitor.model import Alert, AlertKind, Outcome, Reason
from monitor.registry import did_you_mean
from monitor.store import OutboxRow

__all__ = ["ExecChannel"]

FIELDS = ("id", "type", "kind", "severity", "entity", "incident", "title", "drill")
VALUE_CHARACTERS = 1000
ERROR_CHARACTERS = 200  # of the standard error that are shown
ATTEMPTS = 5  # for exit codes that say neither "later" nor "never"
INHERITED = ("PATH", "HOME", "LANG")

# https://man.openbsd.org/sysexits.3
_LATER = {68: "no host", 69: "unavailable", 71: "system error", 74: "input or output failed", 75: "temporary failure"}
_NEVER = {
    64: "usage error", 65: "it did not take the data", 66: "no input", 67: "no such user", 76: "protocol error",
    77: "no permission", 78: "its configuration is wrong",
}  # fmt: skip
_PLACE = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OPTIONS = ("command", "env", "timeout", "template")


class ExecChannel(ChannelTraits):
    """Starts a command for each alert, with the alert as JSON (the body of a webhook) on its standard input.

    Options
    -------
    command : list of the program and its arguments; there is no shell, so a single text is refused. An argument that is
        wholly ``{id}``, ``{type}``, ``{kind}``, ``{severity}``, ``{entity}``, ``{incident}``, ``{title}`` or
        ``{drill}`` (``true`` or ``false``) is replaced by that of the alert
    env : further environment variables
    timeout : seconds, 30 unless told; after it the command and all processes of its group are killed
    template : ``{title, body}``: own words for these two in the JSON

    The environment holds ``PATH``, ``HOME`` and ``LANG`` of the monitor, what ``env`` says, and ``HEISTWATCH_ID``,
    ``HEISTWATCH_TYPE`` and so on for each of the names above; nothing else, so that no secret of the monitor gets
    there. Values have no control character in them and at most 1000 characters. In an argument a value that does not
    begin with a letter or digit is written after ``text: ``, so that no name on a chain becomes an option.

    Exit code 0 is an acceptance. A time-out and the codes of sysexits for what may pass (68, 69, 71, 74, and 75, which
    is EX_TEMPFAIL) are tried again for a day; those for what will not (64 to 67, 76, 77, 78) are dead letters. Any
    other code, a signal among them, is tried five times. A command that cannot be started is tried for a day. The last
    line that the command wrote to its standard error is shown, without the values of ``env`` and ``command``; the
    standard output is thrown away.
    """

    type = "exec"
    templated = True
    machine = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._command = _command(given)
        own = given.mapping("env")
        for name, value in own.items():
            if not _NAME.fullmatch(name) or "\0" in value or name.startswith("HEISTWATCH_"):
                given.wrong("env holds a name or value that an environment cannot, or a name that begins HEISTWATCH_")
        self._timeout = given.seconds("timeout", 30.0, 240.0)
        texts = given.mapping("template")
        given.check()
        self._own = Templates(texts, str) if texts else None
        self._env = {name: os.environ[name] for name in INHERITED if name in os.environ} | own
        words = [*self._command[1:], *own.values()]
        self._hidden = sorted({word for word in words if len(word) > 2}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"ExecChannel(program={os.path.basename(self._command[0])!r})"  # noqa: PTH119

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The values for arguments and environment, and the JSON for the standard input."""
        fields = {
            "id": alert.id,
            "type": alert.type,
            "kind": str(alert.kind),
            "severity": "" if alert.severity is None else str(alert.severity),
            "entity": alert.labels.get("entity", ""),
            "incident": problem_key(alert) if alert.incident else "",
            "title": alert.title,
            "drill": str(alert.kind is AlertKind.DRILL).lower(),
        }
        values = {name: bounded(clean(str(value)), VALUE_CHARACTERS) for name, value in fields.items()}
        return canonical_json({"fields": values, "input": wire(alert, queued_at, self._own)})

    def preview(self, body: bytes) -> str:
        """The standard input, indented, after the names of the placeholders in use."""
        used = [part for part in self._command if _PLACE.fullmatch(part)]
        shown = json.dumps(json.loads(body)["input"], indent=2, ensure_ascii=False)
        return f"{self!r} {' '.join(used)}\n{shown}"

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """Run the command once."""
        message = json.loads(row.body)
        fields = message["fields"]
        arguments = [_filled(part, fields) for part in self._command]
        env = self._env | {f"HEISTWATCH_{name.upper()}": value for name, value in fields.items()}
        try:
            ended = await run(arguments, env, canonical_json(message["input"]), self._timeout)
        except (OSError, ValueError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
            return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=f"the command cannot be started: {why}")
        return self._receipt(ended, row.attempts)

    async def probe(self, now: float) -> Receipt:
        """Whether the program is there; it is not started."""
        name = os.path.basename(self._command[0])  # noqa: PTH119
        if shutil.which(self._command[0], path=self._env.get("PATH")) is not None:
            return Receipt(Outcome.ACCEPTED, Reason.OK, detail=f"{name} can be started")
        return Receipt(Outcome.REJECTED, Reason.INTERNAL, detail=f"{name} is no program that can be started")

    async def aclose(self) -> None:
        """Nothing stays open."""

    def _receipt(self, ended: Ended, before: int) -> Receipt:
        """What an end means; ``before`` is the number of earlier attempts."""
        code, words = ended.code, self._shown(ended.error)
        if code == 0:
            return Receipt(Outcome.ACCEPTED, Reason.OK)
        if code is None:
            detail = f"the command was killed after {self._timeout:g} s{words}"
            return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail=detail)
        said = f"the command was ended by signal {-code}" if code < 0 else f"the command ended with code {code}"
        if code in _LATER:
            return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=f"{said} ({_LATER[code]}){words}")
        if code in _NEVER:
            reason = Reason.AUTH if code == 77 else Reason.CLIENT_ERROR
            return Receipt(Outcome.REJECTED, reason, detail=f"{said} ({_NEVER[code]}){words}")
        outcome = Outcome.RETRY if before + 1 < ATTEMPTS else Outcome.REJECTED
        return Receipt(outcome, Reason.INTERNAL, detail=f"{said}{words}")

    def _shown(self, error: bytes) -> str:
        """The last line of the standard error; what the owner put into command or environment may be a secret."""
        lines = [line for line in error.decode("utf-8", "replace").splitlines() if line.strip()]
        text = lines[-1] if lines else ""
        for word in self._hidden:
            text = text.replace(word, "<hidden>")
        return f": {bounded(clean(text).strip(), ERROR_CHARACTERS)}" if text else ""


def _command(given: Options) -> list[str]:
    value = given.raw("command")
    if isinstance(value, str):
        given.wrong("command must be a list, [program, argument, ...]: there is no shell that would split a text")
        return []
    if not isinstance(value, Sequence) or not value or not all(isinstance(part, str) for part in value):
        given.wrong("command is missing, or no list of texts: [program, argument, ...]")
        return []
    parts = [str(part) for part in value]
    if not parts[0].strip() or any("\0" in part for part in parts):
        given.wrong("command names no program, or holds a character that no argument may have")
    for place, part in enumerate(parts):
        found = _PLACE.findall(part)
        whole = _PLACE.fullmatch(part)
        known = [name for name in found if name in FIELDS]
        if place == 0 and known:
            given.wrong("the program itself cannot be a placeholder")
        elif whole and not known:
            given.wrong(f"argument {place} is an unknown placeholder: {did_you_mean(whole[1], FIELDS)}")
        elif known and not whole:
            given.wrong(f"argument {place}: {{{known[0]}}} must be an argument of its own, so that it stays one")
    return parts


def _filled(part: str, fields: Mapping[str, str]) -> str:
    place = _PLACE.fullmatch(part)
    if place is None or place[1] not in fields:
        return part
    value = fields[place[1]]
    return value if not value or value[0].isalnum() else f"text: {value}"
