"""Which rows every store says are ready, against the rule itself; and that records which wait together all count."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from alerts.heads import Heads
from monitor.errors import StoreError
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OrderedOutbox, OutboxRow, ready_rows

SOC = ("soc", "0:x")


def made(rng: random.Random, count: int) -> list[OutboxRow]:
    """Rows of few incidents or none, to two destinations, some of them later, some critical."""
    return [
        OutboxRow(
            f"a{n:03}", rng.choice(["soc", "desk"]), "0:x", b"body", 100.0 + rng.randrange(4), "incident.opened",
            rng.choice(["", "i1", "i2", "i3", "i4"]), rng.choice([0, 1, 2, 3, 3, 4]),
            next_at=rng.choice([0.0, 0.0, 0.0, 50.0, 500.0]), state=rng.choice(["due", "due", "due", "done", "dead"]),
        )
        for n in range(count)
    ]  # fmt: skip


def outbox(store: Any) -> Any:
    return store if isinstance(store, OrderedOutbox) else Heads(store, 5)


@pytest.mark.parametrize("seed", range(25))
async def test_ready_is_the_rule(store: Any, seed: int) -> None:
    """With room for all, the rule's rows in its order; with less, a beginning of each incident, urgent ones first."""
    rng = random.Random(seed)
    rows = made(rng, 60)
    await store.enqueue(rows)
    mine = sorted((r for r in rows if r.state == "due" and r.receiver == "soc"), key=lambda r: r.queued_at)
    for now in (0.0, 60.0, 600.0):
        wanted = ready_rows(mine, now)
        assert list(await outbox(store).ready(SOC, now, 1000)) == wanted
        urgent = {r.incident_id or r.alert_id for r in wanted if r.severity == 4}
        for limit in (1, 3, 7):
            found = list(await outbox(store).ready(SOC, now, limit))
            assert len(found) == min(limit, len(wanted))
            for incident in {r.incident_id for r in found} - {""}:
                run = [r for r in found if r.incident_id == incident]
                assert run == [r for r in mine if r.incident_id == incident][: len(run)]
            first = [(r.incident_id or r.alert_id) in urgent for r in found]
            assert first == sorted(first, reverse=True)
            assert sum(first) == min(limit, sum((r.incident_id or r.alert_id) in urgent for r in wanted))
        later = min((r.next_at for r in mine if r.next_at > now), default=None)
        assert await outbox(store).next_ready(SOC, now) == later


async def test_records_that_wait_together(store: Any) -> None:
    """Attempts recorded at the same time are all recorded, in order; the one without a row fails alone."""
    rows = [OutboxRow(f"a{n}", "soc", "0:x", b"", 1.0) for n in range(40)]
    await store.enqueue(rows)

    def attempt(alert_id: str) -> Delivery:
        return Delivery(alert_id, "soc", "0:x", 1, Outcome.ACCEPTED, Reason.OK, 2.0)

    ids = [row.alert_id for row in rows[:20]] + ["nobody"] + [row.alert_id for row in rows[20:]]
    ended = await asyncio.gather(
        *(store.record(attempt(alert_id), state="done") for alert_id in ids), return_exceptions=True
    )
    assert [alert_id for alert_id, one in zip(ids, ended, strict=True) if one is not None] == ["nobody"]
    assert isinstance(ended[20], StoreError)
    assert [row.state for row in await store.outbox()] == ["done"] * 40
    assert [delivery.alert_id for delivery in await store.deliveries()] == [row.alert_id for row in rows]


async def test_a_record_whose_caller_gave_up_harms_no_other(store: Any) -> None:
    """A call that is cancelled may be recorded or not; the others are."""
    rows = [OutboxRow(f"a{n}", "soc", "0:x", b"", 1.0) for n in range(6)]
    await store.enqueue(rows)
    tasks = [
        asyncio.create_task(
            store.record(Delivery(row.alert_id, "soc", "0:x", 1, Outcome.ACCEPTED, Reason.OK, 2.0), state="done")
        )
        for row in rows
    ]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    states = {row.alert_id: row.state for row in await store.outbox()}
    del states["a3"]
    assert set(states.values()) == {"done"}
