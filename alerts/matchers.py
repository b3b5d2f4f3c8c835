"""What an alert is, label by label, and what a matcher asks for: shared by routes, silences and inhibition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from monitor.errors import Problem
from monitor.model import Alert, AlertKind, Role, Severity
from monitor.networks import NETWORKS, by_name
from monitor.registry import did_you_mean

__all__ = [
    "LABELS", "Labels", "Match", "MatchReader", "agrees", "entity_of", "incident_of", "is_list", "labels_of",
    "severity_of", "shown",
]  # fmt: skip

LABELS = ("severity", "entity", "wallet", "role", "chain", "detector", "kind", "incident")
"""The labels that can be matched."""

Labels = Mapping[str, frozenset[str]]
"""What an alert carries: a label may hold several values."""

Match = Mapping[str, frozenset[str]]
"""What is asked for: every label must agree, with any one of its values. Nothing asked agrees with everything."""

_JOINED = {"wallet", "role", "chain", "detector"}  # labels that hold several values, joined by commas
_WORDS: dict[str, tuple[str, ...]] = {
    "severity": tuple(str(severity) for severity in Severity),
    "role": tuple(role.value for role in Role),
    "kind": tuple(kind.value for kind in AlertKind),
}


def labels_of(alert: Alert) -> dict[str, frozenset[str]]:
    """The labels of ``alert``, those among them that it carries as a field.

    >>> labels = labels_of(Alert("1", AlertKind.OPENED, "", "", Severity.HIGH, {"wallet": "hot-1,hot-2"}))
    >>> sorted(labels["wallet"]), sorted(labels["severity"]), sorted(labels["kind"])
    (['hot-1', 'hot-2'], ['high'], ['opened'])
    """
    labels = {
        name: frozenset(value.split(",")) if name in _JOINED else frozenset((value,))
        for name, value in alert.labels.items()
    }
    if alert.severity is not None:
        labels.setdefault("severity", frozenset((str(alert.severity),)))
    if incident := incident_of(alert):
        labels.setdefault("incident", frozenset((incident,)))
    # A drill that plays an incident carries the played kind as its label and is a drill all the same.
    labels["kind"] = labels.get("kind", frozenset()) | {str(alert.kind)}
    return labels


def incident_of(alert: Alert) -> str:
    """The id of the incident that ``alert`` is about, empty where there is none."""
    return str(alert.incident.get("id", "")) if alert.incident is not None else ""


def entity_of(alert: Alert) -> str:
    """Whose coins ``alert`` is about, empty where that is not said."""
    return alert.labels.get("entity") or str((alert.incident or {}).get("entity", ""))


def severity_of(alert: Alert) -> Severity | None:
    """How bad it is: the worse of field and label, should they differ; None where neither says."""
    said = [alert.severity] if alert.severity is not None else []
    try:
        said.append(Severity.parse(alert.labels.get("severity", "")))
    except ValueError:
        pass
    return max(said, default=None)


def agrees(match: Match, labels: Labels) -> bool:
    """Whether every label asked for has one of the values asked for."""
    return all(not values.isdisjoint(labels.get(name, ())) for name, values in match.items())


def shown(match: Mapping[str, Collection[str]]) -> str:
    """A matcher as the command line takes it.

    >>> shown({"severity": {"low", "info"}, "role": {"hot"}})
    'role=hot severity=info,low'
    """
    return " ".join(f"{label}={','.join(sorted(values))}" for label, values in sorted(match.items()))


class MatchReader:
    """Reads matchers, and collects what is wrong with them in ``problems``.

    Parameters
    ----------
    known : values that exist by label (entity, wallet, detector), since a misspelt one would match nothing for ever;
        a label that is not in it accepts any value
    chains : CAIP-2 identifiers by configured chain name; the names of built-in networks are known without it
    """

    def __init__(
        self, known: Mapping[str, Collection[str]] | None = None, chains: Mapping[str, str] | None = None
    ) -> None:
        self.problems: list[Problem] = []
        self._known = known or {}
        self._chains = chains or {}

    def wrong(self, where: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(message, where))

    def match(self, mapping: object, where: str) -> dict[str, frozenset[str]]:
        """A mapping from label to a value or a list of values."""
        if mapping is None:
            return {}
        if not isinstance(mapping, Mapping):
            self.wrong(where, "expected a mapping from label to values, {severity: [critical]} for example")
            return {}
        match = {}
        for label, values in mapping.items():
            if label in LABELS:
                match[label] = frozenset(self._values(label, values, f"{where}.{label}"))
            else:
                self.wrong(where, f"unknown label {label!r}: {did_you_mean(str(label), LABELS)}")
        return match

    def labels(self, given: object, where: str) -> tuple[str, ...]:
        """A list of labels, each once."""
        items: Sequence[Any] = given if is_list(given) else () if given is None else (given,)
        for label in items:
            if label not in LABELS:
                self.wrong(where, f"unknown label {label!r}: {did_you_mean(str(label), LABELS)}")
        return tuple(dict.fromkeys(label for label in items if label in LABELS))

    def pairs(self, texts: Sequence[str], where: str) -> dict[str, frozenset[str]]:
        """A matcher from texts such as ``severity=low,medium``; a label that comes twice takes the values of both."""
        match: dict[str, frozenset[str]] = {}
        for text in texts:
            label, sign, values = text.partition("=")
            label = label.strip()
            if not sign:
                self.wrong(where, f"expected LABEL=VALUE, {text!r} has no =")
            elif label not in LABELS:
                self.wrong(where, f"unknown label {label!r}: {did_you_mean(label, LABELS)}")
            elif not values.strip():
                self.wrong(where, f"expected LABEL=VALUE, {text!r} has no value")
            else:  # a name may have a comma of its own
                whole = values.strip() in self._known.get(label, ())
                items = [values] if whole else values.split(",")
                match[label] = match.get(label, frozenset()) | set(self._values(label, items, where))
        return match

    def _values(self, label: str, values: object, where: str) -> Iterator[str]:
        items: Sequence[Any] = values if is_list(values) else (values,)
        if not items:
            self.wrong(where, "an empty list matches nothing: name values, or remove the label")
        for item in items:
            if not isinstance(item, str) or not item.strip():
                self.wrong(where, "expected text or a list of texts")
            else:
                yield self._value(label, item.strip(), where)

    def _value(self, label: str, value: str, where: str) -> str:
        if label == "chain" and ":" not in value:
            network = by_name(value)
            chain = self._chains.get(value) or (network.chain if network else None)
            if chain is None:
                names = [*self._chains, *(network.name for network in NETWORKS)]
                self.wrong(where, f"unknown chain {value!r}: {did_you_mean(value, names)}")
            return chain or value
        words = _WORDS.get(label)
        if words is not None:
            value = value.lower()
        valid = words if words is not None else self._known.get(label)
        if label == "detector" and valid is not None and value not in valid:
            value = value.upper()
        if valid is not None and value not in valid:
            self.wrong(where, f"unknown {label} {value!r}: {did_you_mean(value, valid)}")
        return value


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """A list or tuple, no text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
