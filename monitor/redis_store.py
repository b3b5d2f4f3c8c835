"""The store in Redis: every write is one transaction, and what Redis lost is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from monitor import redis_commit as plan
from monitor import redis_rows as wire
from monitor.model import BlockRef, Delivery
from monitor.redis_link import Pipe, RedisLink
from monitor.redis_ready import Ready
from monitor.redis_records import Records
from monitor.redis_rows import MARKER, field
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, Notes, OperatorEvent, OutboxRow
from monitor.store_rules import FLOW_SECONDS, RowKey, check_record_state, clean_delivery, clean_event

__all__ = ["RedisStore"]


class RedisStore:
    """`monitor.store.Store` in one Redis database.

    Nothing is tried twice: a connection that breaks is a StoreError, and the process starts again from what is
    stored. Writers exclude each other by watching one key, so a second monitor's commit finds that the chain went on
    and fails instead of mixing with the first one's.

    Parameters
    ----------
    url : ``redis://``, ``rediss://`` or ``unix://``; ConfigError where it cannot be used
    prefix : of every key; ``{name}:`` keeps them on one node of a cluster
    """

    def __init__(self, url: str, prefix: str = "heistwatch:") -> None:
        self._link = RedisLink(url, prefix)
        self._keys = self._link.keys
        self._records = Records(self._link)
        self._ready = Ready(self._link)
        self._link.on_written = self._ready.written
        self._noted: tuple[int, dict[str, bytes]] = (-1, {})  # notes as they were at a revision

    async def open(self) -> None:
        """Reach the server and create or check the layout.

        StoreError where it cannot be reached, may drop keys, holds another version or lost a part of the store.
        """
        await self._link.open()

    async def aclose(self) -> None:
        """Close the connections; calling it twice is fine."""
        await self._link.aclose()

    async def commit(self, commit: Commit) -> None:
        """Store everything of ``commit`` in one transaction, or nothing."""

        async def flows(answers: list[Any]) -> list[Any]:
            before = plan.read(commit, answers)
            asked = plan.flow_keys(self._keys, commit.chain, before.blocks)
            found = await self._link.read(lambda pipe: plan.ask_flows(pipe, asked)) if asked else []
            before.flows = plan.read_flows(asked, found)
            return [before]

        await self._link.transact(
            lambda pipe: plan.ask(pipe, self._keys, commit),
            lambda pipe, before, revision: plan.write(pipe, self._keys, commit, before[0], revision),
            flows,
        )

    async def checkpoint(self, chain: str) -> BlockRef | None:
        """The last block that is wholly stored; None is "never seen". StoreError where Redis lost a part."""
        [found] = await self._link.read(lambda pipe: pipe.hget(self._keys.checkpoint, field(chain)))
        return None if found is None else wire.unpack_ref(chain, found)

    async def block(self, chain: str, number: int) -> BlockRecord | None:
        """A stored block with its undo (empty once the block is final); None where it is not, or no more, known."""

        def ask(pipe: Pipe) -> None:
            pipe.zrangebyscore(self._keys.blocks(chain), number, number)
            pipe.zrangebyscore(self._keys.undo(chain), number, number)

        found, undo = await self._link.read(ask)
        if not found:
            return None
        row = wire.unpack_block(found[0])
        delta = wire.unpack_undo(undo[0]) if undo else ()
        return BlockRecord(BlockRef(chain, row.number, row.hash), row.parent_hash, row.timestamp, delta)

    async def state(self, prefix: bytes = b"") -> AsyncIterator[tuple[bytes, bytes]]:
        """The state in key order, all as it was at one moment."""
        [found] = await self._link.read(lambda pipe: pipe.hgetall(self._keys.state))
        start = wire.field(prefix)
        for name in sorted(name for name in found if name.startswith(start)):
            yield name[1:], found[name]

    async def flows(
        self, wallet: str, chain: str, counterparty: str | None = None, since: int = 0, until: int | None = None
    ) -> Sequence[FlowRecord]:
        """Kept flows in chain order; ``since`` inclusive, ``until`` exclusive, UTC seconds."""
        key, end = self._keys.flows(chain, wallet), "+inf" if until is None else f"({until}"
        [members] = await self._link.read(lambda pipe: pipe.zrangebyscore(key, since, end))
        found = sorted((wire.flow_row(chain, wallet, member) for member in members), key=lambda item: item[0])
        return [flow for _, flow in found if counterparty is None or flow.counterparty == counterparty]

    async def _placed(self, key: str) -> list[bytes]:
        """The values of a hash in order of insertion."""
        [found] = await self._link.read(lambda pipe: pipe.hgetall(key))
        return [wire.split_place(value)[1] for value in sorted(_values(found))]

    async def incidents(self) -> Sequence[bytes]:
        """Every incident as JSON, oldest first."""
        return await self._placed(self._keys.incidents)

    async def incident(self, incident_id: str) -> bytes | None:
        """One incident as JSON."""
        [found] = await self._link.read(lambda pipe: pipe.hget(self._keys.incidents, field(incident_id)))
        return None if found is None else wire.split_place(found)[1]

    async def say(self, event: OperatorEvent) -> None:
        """Record what a person said; an id that is already there stays as it is."""
        cleaned = clean_event(event)

        def write(pipe: Pipe, answers: list[Any], revision: int) -> None:
            if answers[0] is None:
                value = wire.place(revision, 0) + wire.pack_event(cleaned)
                pipe.hset(self._keys.events, field(event.id), value)

        await self._link.transact(lambda pipe: pipe.hget(self._keys.events, field(event.id)), write)

    async def said(self, *, pending: bool) -> Sequence[OperatorEvent]:
        """What people said, in order of insertion; ``pending`` leaves out what is in force."""
        events = [wire.unpack_event(value) for value in await self._placed(self._keys.events)]
        return [event for event in events if not pending or event.effective is None]

    async def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Queue alerts that belong to no block; a row that is already there stays as it is."""

        def write(pipe: Pipe, answers: list[Any], revision: int) -> list[plan.Placed]:
            return plan.write_outbox(pipe, self._keys, rows, plan.there(rows, answers[0]), revision)

        await self._link.transact(lambda pipe: plan.ask_outbox(pipe, self._keys, rows), write)

    async def due(self, now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``now``, by (queued_at, order of insertion)."""
        [members] = await self._link.read(lambda pipe: pipe.zrangebyscore(self._keys.due, "-inf", now))
        order = sorted(wire.due_order(member) for member in members if not member.startswith(MARKER))[:limit]
        found = [_row(value) for value in await self._stored([name for *_, name in order])]
        return [row for row in found if row.state == "due" and row.next_at <= now]

    async def _stored(self, names: Sequence[bytes]) -> list[bytes]:
        """Outbox rows with their places; StoreError where one that must be there is not."""
        if not names:
            return []
        [found] = await self._link.read(lambda pipe: pipe.hmget(self._keys.outbox, list(names)))
        if any(value is None for value in found):
            raise self._link.lost()
        return list(found)

    async def next_due(self) -> float | None:
        """The earliest ``next_at`` of rows still due; None where nothing waits."""
        [first] = await self._link.read(lambda pipe: pipe.zrange(self._keys.due, 0, 0, withscores=True))
        member, at = first[0]
        return None if member.startswith(MARKER) else float(at)

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``destination``: urgent incidents first, then by age."""
        return await self._ready.rows(destination, now, limit)

    async def next_ready(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of a row still due at ``destination``; None: there is none."""
        return await self._ready.next_at(destination, after)

    async def destinations(self) -> Sequence[tuple[str, str]]:
        """Every destination that rows are still due for."""
        return await self._ready.destinations()

    async def record(self, delivery: Delivery, *, state: str, next_at: float = 0.0) -> None:
        """Record an attempt; StoreError where its row is not in the outbox. Calls that wait share a transaction."""
        check_record_state(state)
        await self._records.write(clean_delivery(delivery), state, next_at)

    async def outbox(
        self, *, state: str | None = None, alert_id: str | None = None, incident_id: str | None = None
    ) -> Sequence[OutboxRow]:
        """Outbox rows in order of insertion."""
        if not alert_id and not incident_id:
            found = [wire.unpack_outbox(value) for value in await self._placed(self._keys.outbox)]
        else:
            key = self._keys.alert(alert_id) if alert_id else self._keys.messages(incident_id or "")
            [names] = await self._link.read(lambda pipe: pipe.smembers(key))
            found = [_row(value) for value in sorted(await self._stored(list(names)))]
        return [
            row for row in found
            if (state is None or row.state == state)
            and (alert_id is None or row.alert_id == alert_id)
            and (incident_id is None or row.incident_id == incident_id)
        ]  # fmt: skip

    async def revive(self, keys: Sequence[RowKey], now: float) -> int:
        """Make dead rows due again, as if queued at ``now`` and never tried; how many were dead."""
        names, changed = list(dict.fromkeys(keys)), list[plan.Placed]()

        def write(pipe: Pipe, answers: list[Any], _: int) -> list[plan.Placed]:
            nonlocal changed
            changed = plan.write_revived(pipe, self._keys, answers[0], now)
            return changed

        await self._link.transact(lambda pipe: plan.ask_rows(pipe, self._keys, names), write)
        return len(changed)

    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """What is kept for alerts, in key order."""
        revision, _ = await self._link.read_at(lambda pipe: None)
        if revision != self._noted[0]:  # they are asked for every second, and seldom change
            revision, [found] = await self._link.read_at(lambda pipe: pipe.hgetall(self._keys.notes))
            named = {name[1:].decode(): value for name, value in found.items() if name != MARKER}
            self._noted = revision, dict(sorted(named.items()))
        return [item for item in self._noted[1].items() if item[0].startswith(prefix)]

    async def note(self, changes: Notes, outbox: Sequence[OutboxRow] = (), expect: Notes = ()) -> bool:
        """Change notes and queue alerts in one transaction, where everything is as ``expect`` says."""
        same = True

        def ask(pipe: Pipe) -> None:
            plan.ask_outbox(pipe, self._keys, outbox)
            pipe.hmget(self._keys.notes, [*(field(key) for key, _ in expect), MARKER])

        def write(pipe: Pipe, answers: list[Any], revision: int) -> list[plan.Placed]:
            nonlocal same
            pairs = zip(expect, answers[-1][:-1], strict=True)
            same = all(found == value for (_, value), found in pairs)
            if not same:
                return []
            plan.write_notes(pipe, self._keys, changes)
            return plan.write_outbox(pipe, self._keys, outbox, plan.there(outbox, answers[0]), revision)

        await self._link.transact(ask, write)
        return same

    async def deliveries(self, alert_id: str | None = None) -> Sequence[Delivery]:
        """Recorded attempts, oldest first."""
        alerts = {row.alert_id for row in await self.outbox()} if alert_id is None else {alert_id}

        def ask(pipe: Pipe) -> None:
            for name in sorted(alerts):
                pipe.lrange(self._keys.deliveries(name), 0, -1)

        found = [value for values in await self._link.read(ask) for value in values]
        return [wire.unpack_delivery(wire.split_place(value)[1]) for value in sorted(found)]

    async def coverage(self, chain: str | None = None) -> Sequence[CoverageRange]:
        """Scanned ranges by chain, lowest first."""
        chains = [chain]
        if chain is None:
            [found] = await self._link.read(lambda pipe: pipe.smembers(self._keys.chains))
            chains = sorted(name.decode() for name in found)

        def ask(pipe: Pipe) -> None:
            for name in chains:
                pipe.zrange(self._keys.coverage(str(name)), 0, -1)

        result = []
        for name, members in zip(chains, await self._link.read(ask), strict=True):
            parts = [wire.unpack_coverage(str(name), member) for member in members]
            result += sorted(parts, key=lambda part: (part.first, part.last, part.source, part.blind_spots))
        return result

    async def prune(self, now: float) -> int:
        """Forget flows older than 400 days at wall clock ``now``; how many went."""
        [found] = await self._link.read(lambda pipe: pipe.smembers(self._keys.wallets))
        names = [self._keys.flows(*wire.unpack_wallet(member)) for member in sorted(found)]

        def prune(pipe: Pipe) -> None:
            for name in names:
                pipe.zremrangebyscore(name, "-inf", f"({now - FLOW_SECONDS}")

        return sum(await self._link.read(prune))  # needs no revision: no other write depends on old flows



def _row(value: bytes) -> OutboxRow:
    return wire.unpack_outbox(wire.split_place(value)[1])


def _values(found: dict[bytes, bytes]) -> Iterator[bytes]:
    return (value for name, value in found.items() if name != MARKER)
