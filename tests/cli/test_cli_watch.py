"""The status of `heistwatch watch`: what it says of telling people."""

from __future__ import annotations

from alerts.ailing import Ailing
from alerts.board import Board
from alerts.held import Held
from alerts.silence import make_silence
from monitor.cli.watch import told
from monitor.memory_store import MemoryStore
from monitor.model import Delivery, Outcome, Reason

AT = 1_700_000_000.0


def test_how_telling_goes() -> None:
    """Nothing to say is said briefly; a failing channel, what is held back and silences that hold are counted."""
    places = [("soc", "0:slack"), ("soc", "1:email")]
    ailing, board = Ailing(MemoryStore(), places, lambda alert, names, now: []), Board()
    assert told(None, ailing, board, AT) == "last delivery -, failing channels -, held back 0 messages, 0 silences"
    ailing.heard(Delivery("a1", "soc", "0:slack", 1, Outcome.RETRY, Reason.TIMEOUT, AT))
    for length in (60.0, 0.5):
        silence = make_silence({"entity": ["X"]}, author="ann", comment="move", created=AT - 1, expires=AT - 1 + length)
        board.silences[silence.id] = silence
    board.put(Held("soc", "i1", "X", "", "quiet", "night", AT, None, ["a1", "a2"], ["opened", "updated"]))
    assert told("2026-01-01T00:00:00Z", ailing, board, AT) == (
        "last delivery 2026-01-01T00:00:00Z, failing channels soc/0:slack, held back 2 messages, 1 silence"
    )
