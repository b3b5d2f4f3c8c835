"""The monitor on loopback NIS1 nodes: Coincheck, nodes that fail and lie, control, what waits, deep rewrites."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from chains.nem.decode import EPOCH
from chains.recorded.nem import Move, RecordedNemServer, construct
from chains.recorded.nem_blocks import Recording
from chains.recorded.pace import Pace
from monitor.addresses.nem import of_public_key
from monitor.case import load_case
from monitor.config import config_from_mapping
from monitor.model import Incident, Severity
from monitor.running import Parts, running

KEY, COSIGNER, STRANGER = "11" * 32, "22" * 32, "33" * 32
OWNER = of_public_key(KEY, 0x68)
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
XEM = "nem:mainnet/slip44:43"
T0 = 1_516_892_520
PATIENCE = 90.0
DAYS = 10  # of the ordinary traffic before a theft


class Live:
    """A monitor that watches; `incidents` as they are now, `until` waits for a change that makes something true."""

    def __init__(self, parts: Parts, changes: asyncio.Event) -> None:
        self.parts, self._changes = parts, changes

    @property
    def incidents(self) -> list[Incident]:
        """All of them, those that were retracted too."""
        found: list[Incident] = self.parts.pipeline.correlator.all()
        return found

    async def until(self, look: Callable[[], Any]) -> Any:
        """The first true answer."""
        async with asyncio.timeout(PATIENCE):
            while not (found := look()):
                self._changes.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changes.wait()
        return found

    async def at(self, block: Json) -> None:
        """Until that block is the tip, and stored."""
        item, at = next(iter(self.parts.watch.followed.values())), block["timeStamp"] + EPOCH
        await self.until(
            lambda: item.stored_time == at and item.follower.tip is not None
            and item.follower.tip.number == block["height"]
        )  # fmt: skip


Watch = Callable[..., Awaitable[Live]]


@pytest_asyncio.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    """Starts monitors; each ends with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(mapping: Mapping[str, Any], *servers: RecordedNemServer, **chain: Any) -> Live:
            signers = dict(servers[0]._signers)
            entry = {
                "name": "nem", "replay": True, "endpoints": [server.url for server in servers],
                "poll_seconds": 0.01, "start": 1, "options": {"signers": signers}, **chain,
            }  # fmt: skip
            whole = {"version": 1, **mapping, "chains": [entry], "store": {"url": f"sqlite:///{tmp_path}/nem.db"}}
            changes = asyncio.Event()
            config = config_from_mapping(whole, tmp_path, "test")
            parts = await stack.enter_async_context(running(config, on_change=lambda _: changes.set()))
            watching = asyncio.create_task(parts.watch.run())

            async def end() -> None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

            stack.push_async_callback(end)
            return Live(parts, changes)

        yield start


@pytest_asyncio.fixture
async def nis() -> AsyncIterator[Callable[..., Awaitable[RecordedNemServer]]]:
    """Starts loopback nodes whose blocks are shown by ``pace.release``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(recording: Recording, shown: int, **options: Any) -> RecordedNemServer:
            server = RecordedNemServer(recording, pace=Pace(manual=True), **options)
            await stack.enter_async_context(server)
            await server._pace.release(shown - server._pace.visible)
            return server

        yield start


# -- Coincheck --------------------------------------------------------------------------------------------------------


async def test_coincheck_over_http_while_a_node_fails_and_another_lies(nis: Any, watch: Watch) -> None:
    """By the second payment of 100,000,000 XEM at the latest, to the last one, in one incident.

    The first node fails in the middle of the theft, the second serves a branch without it: two others outvote it.
    """
    case = load_case("coincheck-2018")
    since = case.theft_starts_at - DAYS * 86_400
    opening = {row["address"]: int(row["value"]) for row in case.balances() if row["asset"] == "native"}
    moves = []
    for row in case.rows():
        move = Move(row["block_timestamp"], row["from_address"], row["to_address"], int(row["value"]), 0)
        if move.at >= since:
            moves.append(move)
            continue
        for address, value in ((move.sender, -move.value), (move.receiver, move.value)):
            if address in opening:
                opening[address] += value
    recording = construct(moves)
    quiet = sum(block["timeStamp"] + EPOCH < case.theft_starts_at for block in recording.blocks)
    base = recording.blocks[quiet]
    hushed = [Move(m.at + 1, "".join(m.receiver), m.receiver, 1, 0) for m in moves if m.at >= case.theft_starts_at]
    lie = construct(hushed[1:], parent=base, salt="lie")
    lies = Recording(recording.network, (*recording.blocks[: quiet + 1], *lie.blocks), recording.signers)
    first, *others = [await nis(recording, quiet, balances=opening) for _ in range(3)]
    liar = await nis(lies, quiet, balances=opening)
    servers = [first, liar, *others]
    for server in servers:
        server._signers.update(lie.signers)
    live = await watch(case.config(), *servers)
    await live.at(recording.blocks[quiet - 1])
    assert live.incidents == []
    for place in range(quiet, len(recording.blocks)):
        if place == quiet + 3:
            await first.stop()
        for server in servers:
            await server._pace.release(1)
        await live.at(recording.blocks[place])
    (incident,) = live.incidents
    assert incident.opened_tx in _hashes(recording, quiet)[:3] and incident.severity is Severity.CRITICAL
    assert dict(incident.lost) == {XEM: 526_300_010_000_000}
    assert incident.suspects == (("nem:mainnet", THIEF),)
    assert incident.share_lost_at_open is not None and incident.share_lost_at_open <= 0.40
    assert len(incident.movements) == len(moves) - sum(m.at < case.theft_starts_at for m in moves)


def _hashes(recording: Recording, quiet: int) -> list[str]:
    from chains.nem.binary import transaction_hash

    return [transaction_hash(tx) for block in recording.blocks[quiet:] for tx in block["transactions"]]
