"""Zaif live: three loopback nodes over HTTP, one incident, and the same as history tells."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from monitor.app import asset_names, run_backtest
from monitor.case import Case, load_case
from monitor.case_run import run_case
from monitor.cli import demo
from monitor.cli.stage import Stage, staged
from monitor.config import config_from_mapping
from monitor.model import Severity
from monitor.published import incident_data
from monitor.running import Parts, running

COIN = 100_000_000
PATIENCE = 90.0  # seconds that catching up may take on a loaded machine
DAYS = 8  # of ordinary traffic: a wallet is known after seven


def shortened(days: int) -> Case:
    """The case with fewer days before the theft."""
    file = load_case("zaif-2018").file
    assert file.background is not None
    return Case(file.model_copy(update={"background": file.background.model_copy(update={"days": days})}))


async def until(done: Callable[[], bool], watching: asyncio.Task[Any]) -> None:
    """The monitor tells no event for `done`; a monitor that ends is an error."""
    async with asyncio.timeout(PATIENCE):
        while not done():
            if watching.done():
                watching.result()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(case: Case, stages: Sequence[Stage], folder: Path) -> AsyncIterator[tuple[Parts, Any, Any]]:
    """The live monitor on these nodes, what waits for it to catch up, and its names of assets."""
    mapping = {
        **case.config(),
        "chains": [stage.chain for stage in stages],
        "store": {"url": f"sqlite:///{folder}/zaif.db"},
        "receivers": [{"name": "soc", "channels": [{"type": "file", "path": str(folder / "told.ndjson")}]}],
        "route": {"receiver": "soc"},
    }
    config = config_from_mapping(mapping, folder, "zaif")
    async with running(config) as parts:
        watching = asyncio.create_task(parts.watch.run())

        async def caught_up(stage: Stage, count: int) -> None:
            item = parts.watch.followed[stage.network]
            goal = stage.times[count - 1]
            await until(lambda: item.stored_time is not None and item.stored_time >= goal, watching)

        try:
            yield parts, caught_up, asset_names(config)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def served(stage: Stage) -> list[dict[str, Any]]:
    """Everything that a node serves, as rows of the native table, by its own JSON alone."""
    decode = msgspec.json.Decoder(float_hook=Decimal).decode
    rows: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session:

        async def call(method: str, *params: Any) -> Any:
            async with session.post(stage.server.url, json={"id": 1, "method": method, "params": params}) as answer:
                return decode(await answer.read())["result"]

        hash = await call("getblockhash", stage.chain["start"])
        while hash is not None:
            block = await call("getblock", hash, 3)
            number = 0
            for place, tx in enumerate(block["tx"]):
                inputs = [item["prevout"] for item in tx["vin"] if "prevout" in item]
                for output in tx["vout"]:
                    if inputs:
                        rows.append(row(stage.chain["name"], block, place, number, tx, inputs, output))
                    number += 1
            hash = block.get("nextblockhash")
    return rows


def row(chain: str, block: Any, place: int, number: int, tx: Any, inputs: Any, output: Any) -> dict[str, Any]:
    return {
        "chain": chain, "block_number": block["height"], "block_timestamp": block["time"],
        "transaction_hash": tx["txid"], "transaction_index": place, "transfer_index": number, "asset": "native",
        "from_address": [item["scriptPubKey"]["address"] for item in inputs],
        "input_values": [str(int(item["value"] * COIN)) for item in inputs],
        "to_address": output["scriptPubKey"]["address"], "value": str(int(output["value"] * COIN)),
        "fee": str(int(tx["fee"] * COIN)), "fee_rate": 0.0,
    }  # fmt: skip


def backtested(case: Case, rows: Sequence[Mapping[str, Any]], starts: Mapping[str, int], folder: Path) -> Any:
    """The report of a backtest on what the nodes served."""
    balances = [entry | {"block_number": starts[entry["chain"]] - 1} for entry in case.balances()]
    paths = []
    for name, table in (("transfers", rows), ("balances", balances)):
        path = folder / f"{name}.ndjson"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in table), encoding="utf-8")
        paths.append(str(path))
    return run_backtest(config_from_mapping(case.config(), folder, "served"), paths)


def essence(incident: Mapping[str, Any], hashes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What does not rest on the last digits of a float, nor on the look of transactions: tables tell little of that."""
    hashes = hashes or {}
    findings = [
        {
            **{key: finding[key] for key in ("detector", "chain", "severity", "at", "asset", "destination", "value")},
            "tx": hashes.get(finding["tx"], finding["tx"]),
            "summary": finding["summary"].partition("; the transaction looks unlike")[0],
        }
        for finding in incident["findings"]
    ]
    kept = ("entity", "wallets", "severity", "status", "opened_at", "opened_chain", "paged_at", "lost", "suspects")
    return {
        **{key: incident[key] for key in kept},
        **{key: hashes.get(incident[key], incident[key]) for key in ("opened_tx", "paged_tx")},
        **{key: round(incident[key], 9) for key in ("share_lost", "share_lost_at_open")},
        "findings": findings,
    }


async def test_live_over_http_is_the_backtest(tmp_path: Path) -> None:
    """Three nodes that run ahead of each other at will: the incident is that of their own blocks read as history,
    and that of the case."""
    case = shortened(DAYS)
    async with staged(case) as stages:
        async with watched(case, stages, tmp_path) as (parts, caught_up, names):
            for stage in stages:
                await caught_up(stage, 1)
                await stage.release(len(stage.times))
            for stage in stages:
                await caught_up(stage, len(stage.times))
            live = [incident_data(incident, names) for incident in parts.pipeline.correlator.all()]
        rows = [entry for stage in stages for entry in await served(stage)]
        hashes = {name: hash for stage in stages for name, hash in stage.hashes.items()}
        starts = {stage.chain["name"]: stage.chain["start"] for stage in stages}
    (one,) = live
    (other,) = backtested(case, rows, starts, tmp_path)["incidents"]
    assert essence(one) == essence(other) and one["opened_block"] == other["opened_block"]
    (known,) = run_case(case)["incidents"]
    assert essence(one) == essence(known, hashes)
    assert {entry["display"] for entry in one["lost"]} == {"5,966.1 BTC", "42,327.1 BCH", "6,236,810.1 MONA"}


async def test_the_first_block_opens_it_and_the_next_chain_raises_it(tmp_path: Path) -> None:
    """Monacoin first, of which least leaves at once; the other nodes stand still until then."""
    case = shortened(DAYS)
    async with staged(case) as stages, watched(case, stages, tmp_path) as (parts, caught_up, _):
        quiet = [sum(at < case.theft_starts_at for at in stage.times) for stage in stages]
        for stage, count in zip(stages, quiet, strict=True):
            await caught_up(stage, 1)
            await stage.release(count - 1)
        for stage, count in zip(stages, quiet, strict=True):
            await caught_up(stage, count)
        assert parts.pipeline.correlator.all() == []
        order = sorted(range(3), key=lambda n: (stages[n].chain["name"] != "monacoin", n))
        before = None
        for n in order:
            await stages[n].release(1)
            await caught_up(stages[n], quiet[n] + 1)
            (incident,) = parts.pipeline.correlator.all()
            assert stages[n].network in {finding.chain for finding in incident.findings}
            if before is not None:
                assert incident.id == before.id and incident.revision == before.revision + 1
                assert incident.severity > before.severity or before.severity is Severity.CRITICAL
            before = incident
        assert before is not None and len({finding.chain for finding in before.findings}) == 3
        await parts.dispatcher.idle()
    told = [json.loads(line) for line in (tmp_path / "told.ndjson").read_text("utf-8").splitlines()]
    assert told[0]["type"] == "incident.opened" and {m["data"]["incident"]["id"] for m in told} == {before.id}
    assert len(told[-1]["data"]["incident"]["lost"]) == 3


def test_the_demo_shows_three_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """`heistwatch demo --case zaif-2018`: one incident, verified webhooks that name all three coins."""
    case = shortened(2)
    monkeypatch.setattr("monitor.case.load_case", lambda name: case if name == case.id else load_case(name))
    done = CliRunner().invoke(demo.command, ["--case", "zaif-2018", "--fast"], standalone_mode=False)
    assert done.exception is None and done.return_value == 0, done.output
    assert "3 loopback nodes serve" in done.output and "0 alarms so far" in done.output
    assert re.search(r"incident\.opened +revision 1", done.output)
    assert "42,327.1 BCH, 5,966.1 BTC, 6,236,810.1 MONA sent to suspects" in done.output
    assert "for 1 incident, all verified" in done.output
