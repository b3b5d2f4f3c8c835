"""`heistwatch silence`: what is kept, what is refused, and what people see of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.silence import Silence, read_silence
from monitor.ids import iso
from monitor.sqlite_store import SqliteStore

Run = Callable[..., Any]


def kept(config: Path) -> list[Silence]:
    """What the store holds."""

    async def read() -> list[Silence]:
        store = SqliteStore(config.parent / "heistwatch.db")
        await store.open()
        try:
            return [read_silence(value) for _, value in await store.notes("silence/")]
        finally:
            await store.aclose()

    return asyncio.run(read())


def test_add_list_expire(heistwatch: Run, config: Path) -> None:
    """A silence is kept with who, why and how long, shown, and ended."""
    ran = heistwatch(
        "silence", "add", "--match", "severity=low,medium", "--match", "entity=Example", "--for", "2h",
        "--comment", "moving wallets", "--by", "ann",
    )  # fmt: skip
    [one] = kept(config)
    assert ran.code == 0 and f"silence {one.id} of entity=Example severity=low,medium holds until" in ran.out
    assert (one.author, one.comment, one.expires - one.created) == ("ann", "moving wallets", 7200.0)
    assert one.matchers == {"severity": ["low", "medium"], "entity": ["Example"]}
    [line] = heistwatch("silence", "list").out.splitlines()
    assert line.split("\t")[0::2] == [one.id, "entity=Example severity=low,medium", "moving wallets"]
    [data] = json.loads(heistwatch("silence", "list", "--json").out)
    assert (data["id"], data["active"], data["critical"]) == (one.id, True, False)
    assert heistwatch("silence", "expire", one.id[:5]).out == f"silence {one.id} ended\n"
    assert heistwatch("silence", "list").out == "no silences\n"
    assert [item["active"] for item in json.loads(heistwatch("silence", "list", "--all", "--json").out)] == [False]


def test_critical_is_said(heistwatch: Run, config: Path) -> None:
    """Whoever silences critical alerts reads that they did, and so does whoever lists silences."""
    add = ("silence", "add", "--for", "1d", "--comment", "test", "--match")
    assert "critical alerts, and those that say that an incident grew" in heistwatch(*add, "entity=Example").out
    assert "keeps CRITICAL alerts from being said" in heistwatch(*add, "severity=critical").out
    assert "keeps nothing from being said: messages of kind drill are" in heistwatch(*add, "kind=drill").out
    said = heistwatch("silence", "list").err
    assert said.startswith("CRITICAL alerts are silenced: SILENCED severity=critical until")


def test_until(heistwatch: Run, config: Path) -> None:
    """An end may be named instead of a length."""
    add = ("silence", "add", "--match", "severity=low", "--comment", "x", "--json", "--until")
    assert "within a year" in heistwatch(*add, "2099-01-01T00:00Z").err
    end = int(time.time()) + 3600
    ran = heistwatch(*add, str(iso(end)))
    [one] = kept(config)
    assert json.loads(ran.out)["id"] == one.id and one.expires == end


def test_every_problem_at_once(heistwatch: Run, config: Path) -> None:
    """With hints; nothing is kept."""
    ran = heistwatch(
        "silence", "add", "--match", "severty=low", "--match", "entity=Exampel", "--for", "2x", "--comment", " "
    )
    assert (ran.code, ran.problems) == (2, [
        "--match: unknown label 'severty': did you mean 'severity'?",
        "--match: unknown entity 'Exampel': did you mean 'Example'?",
        "--for: expected a length of time such as 30m, 6h, 1d or seconds",
        "--comment: says nothing: why is this silenced, and whom can one ask?",
    ])  # fmt: skip
    assert not (config.parent / "heistwatch.db").exists()


def test_a_length_or_an_end(refused: Callable[..., str], config: Path) -> None:
    """One of them, not both."""
    start = ("silence", "add", "--match", "severity=low", "--comment", "x")
    assert "say how long with --for 2h" in refused(2, *start)
    assert "and not both" in refused(2, *start, "--for", "2h", "--until", "2026-01-01")


@pytest.mark.parametrize("name", ["zzz", ""])
def test_no_such_silence(heistwatch: Run, config: Path, name: str) -> None:
    """An id that fits none is an error, and an empty one fits none."""
    heistwatch("silence", "add", "--match", "severity=low", "--for", "2h", "--comment", "x")
    ran = heistwatch("silence", "expire", name)
    assert (ran.code, ran.problems) == (2, [
        f"no silence {name!r} holds: `heistwatch silence list` shows those that do"
    ])  # fmt: skip
    assert kept(config)[0].expires > kept(config)[0].created + 7000


def test_a_store_that_keeps_nothing(refused: Callable[..., str], config: Path) -> None:
    """A silence that would be lost at once is refused."""
    config.write_text(f'{config.read_text()}store: {{url: "memory://"}}\n')
    add = ("silence", "add", "--match", "severity=low", "--for", "2h", "--comment", "x")
    assert "keeps nothing" in refused(2, *add)
