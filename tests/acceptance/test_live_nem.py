"""The monitor on loopback NIS1 nodes: Coincheck, nodes that fail and lie, control, what waits, deep rewrites."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chains.nem.binary import transaction_hash
from chains.nem.decode import EPOCH
from chains.nem.history import NemHistory
from chains.recorded.nem import Move, RecordedNemServer, construct, made_up_key, make_block
from chains.recorded.nem_blocks import Json, Recording
from chains.recorded.pace import Pace
from monitor import app
from monitor.addresses.nem import of_public_key
from monitor.case import load_case
from monitor.config import config_from_mapping
from monitor.model import Incident, Severity, Status
from monitor.running import Parts, running

KEY, COSIGNER, STRANGER = "11" * 32, "22" * 32, "33" * 32
OWNER = of_public_key(KEY, 0x68)
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
XEM = "nem:mainnet/slip44:43"
T0 = 1_516_892_520
PATIENCE = 90.0


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
    numbers = itertools.count()
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            mapping: Mapping[str, Any], *servers: RecordedNemServer, history: Path | None = None, **chain: Any
        ) -> Live:
            signers = dict(servers[0]._signers)
            entry = {
                "name": "nem", "replay": True, "endpoints": [server.url for server in servers],
                "poll_seconds": 0.01, "start": 1, "options": {"signers": signers}, **chain,
            }  # fmt: skip
            entry = {key: value for key, value in entry.items() if value is not None}
            store = {"url": f"sqlite:///{tmp_path}/nem{next(numbers)}.db"}
            whole = {"version": 1, **mapping, "chains": [entry], "store": store}
            changes = asyncio.Event()
            config = config_from_mapping(whole, tmp_path, "test")
            if history is not None:
                await asyncio.to_thread(app.calibrate, config, [str(history)])
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


def _table(recording: Recording, end: int, path: Path) -> Path:
    """The transfers of the blocks below height ``end`` as the native table, to learn from."""
    rows = []
    for block in recording.blocks[: end - 1]:
        for place, tx in enumerate(block["transactions"]):
            payer = recording.signers[tx["signer"]]
            fields = ["nem", block["height"], block["timeStamp"] + EPOCH, transaction_hash(tx), place, 0]
            rows.append(",".join(map(str, [*fields, payer, tx["recipient"], "native", tx["amount"]])))
    columns = "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index"
    path.write_text("\n".join([f"{columns},from_address,to_address,asset,value", *rows]) + "\n")
    return path


async def test_coincheck_over_http_while_a_node_fails_and_another_lies(nis: Any, watch: Watch, tmp_path: Path) -> None:
    """By the second payment of 100,000,000 XEM at the latest, to the last one, in one incident.

    The first node fails in the middle of the theft, the second serves a branch without it: two others outvote it.
    """
    case = load_case("coincheck-2018")
    opening = {row["address"]: int(row["value"]) for row in case.balances() if row["asset"] == "native"}
    moves = [
        Move(row["block_timestamp"], row["from_address"], row["to_address"], int(row["value"]), 0)
        for row in case.rows()
    ]
    recording = construct(moves)
    quiet = sum(block["timeStamp"] + EPOCH < case.theft_starts_at for block in recording.blocks)
    theft = [move for move in moves if move.at >= case.theft_starts_at]
    hushed = [Move(move.at + 1, STRANGER, move.receiver, 1) for move in theft[1:]]
    lie = construct(hushed, parent=recording.blocks[quiet], salt="lie")
    lies = Recording(recording.network, (*recording.blocks[: quiet + 1], *lie.blocks), recording.signers)
    first, *others = [await nis(recording, quiet, balances=opening) for _ in range(3)]
    servers = [first, liar := await nis(lies, quiet, balances=opening), *others]
    history = _table(recording, quiet - 5, tmp_path / "history.csv")
    live = await watch(case.config(), *servers, history=history, start=quiet - 5)
    await live.at(recording.blocks[quiet - 1])
    assert live.incidents == []
    for place in range(quiet, len(recording.blocks)):
        if place == quiet + 3:
            await first.stop()
        for server in servers:
            await server._pace.release(1)
        await live.at(recording.blocks[place])
    (incident,) = live.incidents
    hashes = [transaction_hash(tx) for block in recording.blocks[quiet:] for tx in block["transactions"]]
    assert incident.opened_tx in hashes[1:3] and incident.severity is Severity.CRITICAL
    assert dict(incident.lost) == {XEM: 526_300_010_000_000}
    assert incident.suspects == (("nem:mainnet", THIEF),)
    assert incident.share_lost_at_open is not None and incident.share_lost_at_open <= 0.40
    assert {movement.tx for movement in incident.movements} == set(hashes)
    states = {state.name: state for state in next(iter(live.parts.watch.followed.values())).source.endpoints()}
    assert states[liar.url.removeprefix("http://")].failures["inconsistent"] >= 1


async def test_a_theft_soon_after_a_long_catch_up_alarms(nis: Any, watch: Watch) -> None:
    """Nodes tell no balances of the past: once the head is reached the balance is asked for, however often in vain."""
    payer = made_up_key(OWNER)
    moves = [Move(T0 + 60 * n, OWNER, THIEF, 1_000_000 + n) for n in range(200)]
    moves.append(Move(T0 + 60 * 200, OWNER, of_public_key(STRANGER, 0x68), 800_000_000_000))
    recording = construct(moves)
    server = await nis(recording, 201, balances={OWNER: 1_000_000_000_000})
    live = await watch(_mapping(), server, options={"signers": {payer: OWNER}})
    await live.at(recording.blocks[200])
    assert live.incidents == []
    await server._pace.release(1)
    await live.at(recording.blocks[201])
    (incident,) = live.incidents
    assert incident.severity is Severity.CRITICAL and dict(incident.lost) == {XEM: 800_000_000_000}


# -- control ----------------------------------------------------------------------------------------------------------


def _modification(version: int = 2, least: int = 0, **changes: int) -> Json:
    """Cosignatories who come (1) or go (2), by the name of their key."""
    keys = {"cosigner": COSIGNER, "stranger": STRANGER}
    tx: Json = {
        "type": 4097, "version": 0x68 << 24 | version, "timeStamp": 5, "deadline": 9, "fee": 500_000, "signer": KEY,
        "modifications": [
            {"modificationType": kind, "cosignatoryAccount": keys[name]} for name, kind in changes.items()
        ],
    }  # fmt: skip
    return tx | ({"minCosignatories": {"relativeChange": least}} if version > 1 else {})


def _signed(tx: Json, signature: str = "ab") -> Json:
    return {**tx, "signature": signature * 64}


def _by_multisig(inner: Json, signature: str = "cd") -> Json:
    """What the owner's account does, proposed and signed by a cosignatory."""
    outer = {"type": 4100, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 150_000}
    return {**outer, "signer": COSIGNER, "signature": signature * 64, "otherTrans": inner, "signatures": []}


def _mapping(role: str = "hot") -> dict[str, Any]:
    return {"wallets": [{"id": "vault", "entity": "One", "role": role, "addresses": [f"nem:{OWNER}"]}]}


def _blocks(*transactions: Json) -> Recording:
    """A block of ordinary traffic, then one a transaction."""
    base = construct([Move(T0, made_up_key("somebody"), THIEF, 1)])
    blocks = list(base.blocks)
    for number, tx in enumerate(transactions, 1):
        blocks.append(make_block(blocks[-1], T0 + 60 * number, [tx]))
    return Recording(base.network, tuple(blocks))


@pytest.mark.parametrize(
    ("tx", "severity"),
    [
        (_signed(_modification(1, stranger=1)), Severity.HIGH),  # the account becomes a multisig's
        (_signed(_modification(2, 1, cosigner=1, stranger=1)), Severity.HIGH),
        (_by_multisig(_modification(2, stranger=1)), Severity.HIGH),
        (_by_multisig(_modification(2, -1)), Severity.CRITICAL),
        (_by_multisig(_modification(2, -1, stranger=2)), Severity.CRITICAL),
    ],
)
async def test_changes_of_control_alarm_live(nis: Any, watch: Watch, tx: Json, severity: Severity) -> None:
    """Cosignatories added and fewer signatures needed, versions 1 and 2, within the block."""
    recording = _blocks(tx)
    live = await watch(_mapping(), await nis(recording, 3))
    await live.at(recording.blocks[-1])
    (incident,) = live.incidents
    assert (incident.severity, [f.detector for f in incident.findings]) == (severity, ["CT-11"])


async def test_many_cosignatories_at_once_fit_a_message(nis: Any, watch: Watch) -> None:
    """The first ones are named, the others counted."""
    change = _modification(2, 31, cosigner=1)
    change["modifications"] = [{"modificationType": 1, "cosignatoryAccount": f"{n:02x}" * 32} for n in range(1, 33)]
    recording = _blocks(_signed(change))
    live = await watch(_mapping(), await nis(recording, 3))
    await live.at(recording.blocks[-1])
    (finding,) = live.incidents[0].findings
    assert finding.summary.endswith(" and 28 more; 31 signatures more needed")


@pytest.mark.parametrize(("mode", "word"), [(1, "activate"), (2, "deactivate")])
async def test_importance_of_a_cold_wallet_handed_over(nis: Any, watch: Watch, mode: int, word: str) -> None:
    """A key that should rest was used."""
    transfer = {
        "type": 2049, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 150_000, "signer": KEY,
        "mode": mode, "remoteAccount": STRANGER,
    }  # fmt: skip
    recording = _blocks(_signed(transfer))
    live = await watch(_mapping("cold"), await nis(recording, 3))
    await live.at(recording.blocks[-1])
    (incident,) = live.incidents
    finding = next(f for f in incident.findings if f.detector == "CW-3" and word in f.summary)
    assert finding.severity is Severity.CRITICAL


# -- what waits -------------------------------------------------------------------------------------------------------


def _payment(value: int) -> Json:
    return {
        "type": 257, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 50_000, "signer": KEY,
        "recipient": THIEF, "amount": value, "message": {},
    }  # fmt: skip


@pytest.mark.parametrize("multisig", [False, True])
async def test_an_unconfirmed_theft_alerts_first(nis: Any, watch: Watch, multisig: bool) -> None:
    """Before any block has it; mined, it is the same incident, and confirmed."""
    theft = _by_multisig(_payment(900)) if multisig else _signed(_payment(900))
    recording = _blocks(_signed(_payment(1), "ef"), theft)
    mapping = _mapping("cold")
    live = await watch(mapping, server := await nis(recording, 3), mempool="on")
    await live.at(recording.blocks[2])
    before = len(live.incidents)
    server.waiting = [theft]
    incident = await live.until(
        lambda: next((i for i in live.incidents if any(f.evidence.get("pending") for f in i.findings)), None)
    )
    assert incident.status is Status.OPEN
    await server._pace.release(1)
    await live.at(recording.blocks[3])
    again = next(i for i in live.incidents if i.id == incident.id)
    assert again.status is Status.OPEN and not any(f.evidence.get("pending") for f in again.findings)
    assert len(live.incidents) <= before + 1


async def test_an_unconfirmed_theft_that_expires_is_retracted(nis: Any, watch: Watch) -> None:
    """No node lists it any more, and no block has it."""
    recording = _blocks(*(_signed({**_modification(1), "signer": STRANGER}, f"{n:02x}") for n in range(1, 9)))
    live = await watch(_mapping("cold"), server := await nis(recording, 3), mempool="on")
    await live.at(recording.blocks[2])
    server.waiting = [_signed(_payment(900))]
    incident = await live.until(lambda: next(iter(live.incidents), None))
    assert incident.unconfirmed
    server.waiting = []
    for block in recording.blocks[3:]:
        await server._pace.release(1)
        await live.at(block)
    await live.until(lambda: live.incidents[0].status is Status.RETRACTED)


# -- deep rewrites ----------------------------------------------------------------------------------------------------


def _quiet(count: int, *, parent: Json | None = None, salt: str = "") -> list[Json]:
    """Blocks of nobody that is watched."""
    start = T0 if parent is None else parent["timeStamp"] + EPOCH + 60
    moves = [Move(start + 60 * n, made_up_key("somebody"), THIEF, 1) for n in range(count)]
    return list(construct(moves, parent=parent, salt=salt).blocks)


async def test_a_rewrite_of_350_blocks_is_undone(nis: Any, watch: Watch) -> None:
    """The theft at its bottom is retracted, and the new branch followed: NEM may rewrite 360 blocks."""
    blocks = _quiet(20)
    blocks.append(make_block(blocks[-1], blocks[-1]["timeStamp"] + EPOCH + 60, [_signed(_payment(900))]))
    fork = len(blocks) - 1  # the block with the theft is the first that goes
    blocks += _quiet(349, parent=blocks[-1])
    recording = Recording(construct([Move(T0, STRANGER, THIEF, 1)]).network, tuple(blocks))
    server = await nis(recording, len(blocks))
    live = await watch(_mapping("cold"), server)
    await live.at(blocks[-1])
    (incident,) = live.incidents
    assert incident.status is Status.OPEN
    branch = _quiet(352, parent=blocks[fork - 1], salt="new")
    server.reorg(350, branch)
    await live.at(branch[-1])
    await live.until(lambda: live.incidents[0].status is Status.RETRACTED)


async def test_a_rewrite_below_what_can_be_undone_is_said(nis: Any, watch: Watch, tmp_path: Path) -> None:
    """Deeper than the finality depth: people are told (`monitor.blind`), and the new branch is followed."""
    blocks = _quiet(60)
    recording = Recording(construct([Move(T0, STRANGER, THIEF, 1)]).network, tuple(blocks))
    server = await nis(recording, len(blocks))
    out = tmp_path / "told.ndjson"
    mapping = {
        **_mapping(), "receivers": [{"name": "soc", "channels": [{"type": "file", "path": str(out)}]}],
        "route": {"receiver": "soc"},
    }  # fmt: skip
    live = await watch(mapping, server, finality_depth=40)
    await live.at(blocks[-1])
    branch = _quiet(52, parent=blocks[10], salt="new")
    server.reorg(len(blocks) - 11, branch)
    await live.at(branch[-1])
    await live.until(lambda: out.exists() and "rewritten" in out.read_text())
    assert '"monitor.blind"' in out.read_text()


# -- history ----------------------------------------------------------------------------------------------------------


async def test_account_views_teach_what_blocks_teach(
    nis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    """A backfill of ten hours leaves the same state both ways, with a part of the requests."""
    somebody = made_up_key("somebody")
    moves = [Move(T0 + 60 * n, somebody, THIEF, 10 + n) for n in range(1_000)]
    moves += [Move(T0 + 60 * n, KEY, THIEF, 10**6 + n) for n in range(3, 1_000, 41)]
    moves += [Move(T0 + 60 * n, somebody, OWNER, 10**7 + n) for n in range(9, 1_000, 53)]
    recording = construct(moves)
    dumps, asked = [], []
    for views in (True, False):
        if not views:
            monkeypatch.delattr(NemHistory, "brief")
        server = await nis(recording, len(recording.blocks), balances={OWNER: 10**12})
        live = await watch(_mapping(), server, start=None, backfill="10h", backfill_rate=10_000.0)
        marks = live.parts.pipeline.marks
        await live.until(lambda marks=marks: "nem:mainnet" in marks and not marks["nem:mainnet"].is_filling)
        dumps.append(live.parts.pipeline.engine.dump())
        asked.append(server.calls["/block/at/public"])
    assert dumps[0] == dumps[1] and len(dumps[0]) == 3
    assert asked[0] < asked[1] - 200
