"""What people say of an incident: what it changes, and what it must not."""

from __future__ import annotations

import pytest

from monitor.incidents import Correlator
from monitor.model import Finding, Severity
from monitor.verdicts import KINDS, verdict

AT = 1_700_000_000


def incident() -> tuple[Correlator, str]:
    """One that is open."""
    found = Correlator()
    finding = Finding(
        id="f", detector="GUARD", wallet="hot", chain="eip155:1", severity=Severity.HIGH, score=0.0, summary="s",
        tx="0x1", at=AT, block_number=7, asset="eip155:1/slip44:60", destination="0xbad",
    )  # fmt: skip
    [name] = found.add("Example", [finding], [])
    return found, name


@pytest.mark.parametrize(
    ("before", "what", "expected"),
    [
        ([], "acknowledge", "acknowledged"),
        ([], "note", "open"),
        (["acknowledge"], "note", "acknowledged"),
        (["acknowledge"], "confirm", "confirmed"),
        (["confirm"], "acknowledge", "confirmed"),  # that somebody looks takes no verdict back
        (["resolve"], "acknowledge", "resolved"),
        (["false-alarm"], "acknowledge", "false_alarm"),
        (["false-alarm"], "note", "false_alarm"),
        (["resolve"], "reopen", "open"),
        (["resolve", "reopen"], "acknowledge", "acknowledged"),
        (["confirm"], "reopen", "open"),
    ],
)
def test_where_an_incident_stands(before: list[str], what: str, expected: str) -> None:
    """An acknowledgement counts for what is open alone; a note never changes anything; all are in the history."""
    found, name = incident()
    for word in (*before, what):
        assert found.verdict(name, word, "ann", "", "2023-11-14T22:20:00Z") == [name]
    assert str(found.incident(name).status) == expected
    assert [entry["what"] for entry in found.incident(name).history] == [*before, what]


def test_ids() -> None:
    """Said twice through one link it is one event, whoever says it; otherwise every word is its own."""
    said = [verdict("ack", "i1", by=by, comment="", at=at, nonce="n1").id for by in ("ann", "bob") for at in (1.0, 2.0)]
    assert len(set(said)) == 1
    other = [verdict(word, "i1", by="ann", comment="", at=at).id for word in KINDS for at in (1.0, 2.0)]
    assert len({*said, *other, verdict("ack", "i1", by="ann", comment="", at=1.0, nonce="n2").id}) == len(other) + 2
