"""What a detector of one's own is: a card as built-in detectors have one, and the function that judges."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from monitor.detectors.base import Detector, Parameter
from monitor.errors import ConfigError
from monitor.model import Role, Severity
from monitor.registry import did_you_mean

__all__ = ["SEES", "Judge", "OwnDetector", "Said", "detector", "place_of_code"]

Said = tuple[Severity | str, str] | tuple[Severity | str, str, Mapping[str, Any]] | None
"""What a detector says of one flow: nothing, or its severity, a sentence for people, and evidence (JSON values)."""

Judge = Callable[[Any, Any], Said]
F = TypeVar("F", bound=Judge)

SEES = ("payments", "flows", "controls")
"""What a function is called for: payments alone, arrivals and fees too, or changes of control."""

_ID = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST_ID = 32
_NOT_SAID = "Its author does not say."


@dataclass(frozen=True, slots=True)
class OwnDetector:
    """A function with its card. Calling it calls the function.

    Attributes
    ----------
    card : as `heistwatch detectors` shows it
    judge : ``judge(flow, view)``, or ``judge(event, view)`` where ``sees`` is ``controls``
    roles : of the wallets that it judges
    sees : one of `SEES`
    where : ``file:line`` of the function
    """

    card: Detector
    judge: Judge
    roles: frozenset[Role]
    sees: str
    where: str

    @property
    def id(self) -> str:
        """The detector's id."""
        return self.card.id

    def __call__(self, flow: Any, view: Any) -> Said:
        """What the function says."""
        return self.judge(flow, view)


def detector(
    id: str,
    title: str,
    *,
    catches: str = "",
    misses: str = _NOT_SAID,
    lookalikes: str = _NOT_SAID,
    roles: str | Role | Iterable[str | Role] = tuple(Role),
    sees: str = "payments",
    parameters: Mapping[str, tuple[float, float, float, str]] | None = None,
    references: Iterable[str] = (),
) -> Callable[[Judge], OwnDetector]:
    """Make a function a detector.

    Parameters
    ----------
    id : short name, ``NIGHT-1`` for example; no other detector has it, in any case of letters
    title : a few words
    catches, misses, lookalikes : sentences for people; what it catches may be the function's docstring instead
    roles : of the wallets that it judges; all of them unless told
    sees : ``payments`` (coins that leave), ``flows`` (also arrivals and fees), or ``controls`` (changes of control)
    parameters : numbers that a wallet may set: default, lowest, highest, and what it is
    references : papers or pages

    Raises
    ------
    ConfigError : with everything that is wrong, at the function's place

    Examples
    --------
    >>> @detector("BIG-1", "Large payment")
    ... def big(flow, view):
    ...     "Any payment of 1,000 base units or more."
    ...     return ("high", "too much") if flow.value >= 1000 else None
    >>> big.id, big.card.catches
    ('BIG-1', 'Any payment of 1,000 base units or more.')
    """

    def made(judge: Judge) -> OwnDetector:
        said = catches or " ".join((inspect.getdoc(judge) or "").split("\n\n")[0].split())
        where = place_of_code(judge)
        faults = list(_faults(id, title, said, misses, lookalikes, sees, judge))
        known, unknown = _roles(roles)
        faults += unknown
        numbers, wrong = _parameters(parameters)
        faults += wrong
        if faults:
            from monitor.errors import Problem

            raise ConfigError([Problem(f"detector {id!r}: {fault}", where) for fault in faults])
        card = Detector(id, title, said, misses, lookalikes, (), numbers, (), tuple(references))
        return OwnDetector(card, judge, known, sees, where)

    return made


def place_of_code(thing: Any) -> str:
    """``file:line`` of a function, a class or an object with a class; empty where it has none."""
    code = getattr(inspect.unwrap(thing), "__code__", None) if callable(thing) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _faults(
    id: Any, title: Any, catches: Any, misses: Any, lookalikes: Any, sees: Any, judge: Any
) -> Iterable[str]:
    """What is wrong with texts and function, in words."""
    if not isinstance(id, str) or _ID.fullmatch(id) is None or len(id) > _LONGEST_ID:
        yield f"the id must be letters, digits and hyphens, at most {_LONGEST_ID}, such as NIGHT-1"
    texts = {"title": title, "catches": catches, "misses": misses, "lookalikes": lookalikes}
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            hint = ": say it, or give the function a docstring" if name == "catches" else ""
            yield f"{name} is missing{hint}"
        elif not text.isprintable():
            yield f"{name} must be one line of plain text"
    if sees not in SEES:
        yield f"sees is {sees!r}: {did_you_mean(str(sees), SEES)}"
    yield from _unfit(judge)


def _unfit(judge: Any) -> Iterable[str]:
    if not inspect.isroutine(judge):
        yield f"it decorates {type(judge).__name__}, expected a function of (flow, view)"
        return
    if inspect.iscoroutinefunction(judge) or inspect.isgeneratorfunction(judge):
        yield "the function must return what it says: no async, no yield"
    try:
        inspect.signature(judge).bind(None, None)
    except TypeError:
        yield f"{getattr(judge, '__name__', 'the function')} must take two arguments, (flow, view)"


def _roles(given: Any) -> tuple[frozenset[Role], list[str]]:
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    known = frozenset(Role(name) for name in names if name in list(Role))
    strange = [name for name in names if name not in list(Role)]
    wrong = [f"role {name!r} is unknown: {did_you_mean(str(name), map(str, Role))}" for name in strange]
    return known, wrong if known or wrong else ["roles is empty: it would judge no wallet"]


def _parameters(given: Any) -> tuple[tuple[Parameter, ...], list[str]]:
    """Parameters of a card, and what is wrong with them."""
    if given is None:
        return (), []
    if not isinstance(given, Mapping):
        return (), ["parameters must be a mapping: {'share': (0.05, 0, 1, 'share of the balance')}"]
    found, wrong = [], []
    for name, value in given.items():
        fault = _parameter_fault(name, value)
        if fault:
            wrong.append(f"parameter {name!r}: {fault}")
        else:
            default, low, high, says = value
            whole = all(isinstance(number, int) for number in (default, low, high))
            found.append(Parameter(name, (), default, low, high, says, whole=whole))
    return tuple(found), wrong


def _parameter_fault(name: Any, value: Any) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name == "enabled":
        return "the name must be lower-case letters, digits and underscores, and not `enabled`"
    if not isinstance(value, tuple | list) or len(value) != 4:
        return "expected (default, lowest, highest, what it is)"
    *numbers, says = value
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        return "default, lowest and highest must be numbers"
    default, low, high = numbers
    if not low <= default <= high or not low < high or not all(abs(number) < 1e15 for number in numbers):
        return f"the default {default} must lie between {low} and {high}"
    if not isinstance(says, str) or not says.strip() or not says.isprintable():
        return "say in a few words what it is"
    return ""
