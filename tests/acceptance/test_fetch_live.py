"""What `heistwatch fetch` stores gives the backtest that the live monitor gave: anvil, litecoind, NIS1."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.recorded.nem import Move, RecordedNemServer, construct
from monitor.addresses.nem import of_public_key
from monitor.app import run_backtest
from monitor.config import Config, config_from_mapping
from monitor.published import incident_data
from monitor.running import running

DEV = "eip155:31337"
LITECOIN = "bip122:530827f38f93b43ed12af0b3ad25a288"
HOUR = 3600
ROOT = Path(__file__).parents[2]
START = 1_700_000_000
PATIENCE = 60.0
VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
CUSTOMERS = [of_public_key(f"{number:064x}", 0x68) for number in range(1, 4)]
_OF_THE_MOMENT = ("history", "updated_at", "revision", "status")


async def reached(parts: Any, last: int) -> None:
    """Wait until block ``last`` is stored."""
    (item,) = parts.watch.followed.values()
    async with asyncio.timeout(PATIENCE):
        while (tip := parts.pipeline.tips.get(item.chain)) is None or tip.number < last:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def told(parts: Any) -> list[dict[str, Any]]:
    """The incidents as published, without what depends on when it was looked at."""
    found = [incident_data(incident, parts.names) for incident in parts.pipeline.correlator.all()]
    return [{key: value for key, value in one.items() if key not in _OF_THE_MOMENT} for one in found]


async def watched(config: Config, last: int) -> list[dict[str, Any]]:
    """The incidents of a monitor that followed a chain up to block ``last``."""
    async with running(config) as parts:
        watching = asyncio.create_task(parts.watch.run())
        try:
            await reached(parts, last)
            return told(parts)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def backtested(config: Config, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(incidents, the whole report) of a backtest of a folder."""
    report = run_backtest(config, [str(folder)])
    return [{k: v for k, v in one.items() if k not in _OF_THE_MOMENT} for one in report["incidents"]], report


def near(value: Any) -> Any:
    """The same with floats to ten digits."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, Mapping):
        return {key: near(one) for key, one in value.items()}
    return [near(one) for one in value] if isinstance(value, list) else value


async def fetched(path: Path, out: Path, *more: object) -> tuple[int, str, str]:
    """Run the command as a process of its own: (exit code, standard output, standard error)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "fetch", str(path), "--out", str(out), *map(str, more),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said, err = await process.communicate()
    return process.returncode or 0, said.decode(), err.decode()


def table(folder: Path, name: str) -> pl.DataFrame:
    """All rows of one table of a folder, in the order of its files."""
    return pl.concat([pl.read_parquet(path) for path in sorted((folder / name).glob("*.parquet"))])


def linked(folder: Path, first: int, last: int) -> None:
    """Every block of the range is there, once, and the child of the one below."""
    blocks = table(folder, "blocks")
    assert blocks["number"].to_list() == list(range(first, last + 1))
    assert blocks["parent_hash"].to_list()[1:] == blocks["hash"].to_list()[:-1]


# -- an Ethereum node -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def anvil(make_node: Callable[..., Any]) -> Any:
    """A node with twelve days of ordinary payments of a wallet, and its theft at the end."""
    node = make_node("--timestamp", str(START - 60))
    wallet, customers = node.accounts[0], node.accounts[1:6]
    for number, hour in enumerate(range(0, 12 * 24, 6)):
        node.rpc("evm_setNextBlockTimestamp", START + hour * 3600)
        node.send(wallet, customers[number % 5], 3 + number % 4)
        node.rpc("anvil_mine", "0x2", hex(900))
    node.send(node.accounts[7], wallet, 20)
    for ether in (300, 500, 6000):
        node.send(wallet, "0x" + "0bad" * 10, ether)
    node.rpc("anvil_mine", "0x6", hex(12))
    return node


def of_anvil(node: Any, **chain: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "chains": [{
            "name": "dev", "kind": "evm", "chain_id": DEV, "endpoints": [f"http://127.0.0.1:{node.port}"],
            "finality_depth": 4, "poll_seconds": 0.05, "backfill": 0, **chain,
        }],
        "wallets": [
            {"id": "hot", "entity": "Example", "role": "hot", "addresses": [f"dev:{node.accounts[0]}"]},
            {"id": "quiet", "entity": "Quiet", "role": "hot", "addresses": [f"dev:{node.accounts[9]}"]},
        ],
        "store": {"url": "memory://"},
    }  # fmt: skip


@pytest.mark.parametrize("part", [1000, 30])
def test_anvil(anvil: Any, heistwatch: Any, tmp_path: Path, part: int) -> None:
    """The same incidents, to the last digit; every block linked, balances of every wallet at the ends of the parts."""
    mapping = of_anvil(anvil)
    path, out = tmp_path / "c.yaml", tmp_path / "history"
    path.write_text(json.dumps(mapping))
    last = anvil.height - 2
    code, said, err = heistwatch(
        "fetch", path, "--chain", "dev", "--from", 1, "--to", last + 1, "--out", out, "--part", part
    )
    assert code == 0, err
    assert "every block is the child of the one below" in said and f"blocks above {anvil.height - 4}" in said
    linked(out, 1, last)
    balances = table(out, "balances")
    ends = sorted({0, *range(part - 1, last, part), last})
    assert sorted(set(balances["block_number"])) == ends and len(balances) == 2 * len(ends)
    held = int(anvil.rpc("eth_getBalance", anvil.accounts[0], hex(last)), 16)
    assert int(balances.filter(pl.col("address") == anvil.accounts[0])["value"][-1]) == held
    found, report = backtested(config_from_mapping(mapping, tmp_path, "test"), out)
    live = asyncio.run(watched(config_from_mapping(of_anvil(anvil, start=1), tmp_path, "test"), last))
    assert len(live) == 1 and report["data"]["bad_rows"] == 0
    if part == 1000:
        assert found == live
    else:  # balances of the parts' ends take the place of sums of floats
        assert near(found) == near(live)


# -- a node of the Bitcoin family -------------------------------------------------------------------------------------


class Payer:
    """A node that pays out of one watched address, one block every few hours of its own clock."""

    def __init__(self, node: Any) -> None:
        self.node, self._now = node, START
        node.rpc("setmocktime", START)
        node.mine(101)
        self.address = str(node.rpc("getnewaddress", "", "bech32"))
        self.customers = [str(node.rpc("getnewaddress", "", "bech32")) for _ in range(3)]
        self.thief = str(node.rpc("getnewaddress", "", "bech32"))
        node.pay({self.address: Decimal(40)})
        node.mine(1)

    def pay(self, to: str, coins: str) -> int:
        """Pay out of the address, change back to it, and mine; the height."""
        self._now += 5 * HOUR
        self.node.rpc("setmocktime", self._now)
        unspent = self.node.rpc("listunspent", 0, 9999999, [self.address])
        held = sum((Decimal(str(coin["amount"])) for coin in unspent), Decimal(0))
        left = held - Decimal(coins) - Decimal("0.001")
        inputs = [{"txid": coin["txid"], "vout": coin["vout"]} for coin in unspent]
        outputs = {to: coins, **({self.address: str(left)} if left > Decimal("0.01") else {})}
        raw = self.node.rpc("createrawtransaction", inputs, outputs)
        signed = self.node.rpc("signrawtransactionwithwallet", raw)
        self.node.rpc("sendrawtransaction", signed["hex"])
        self.node.mine(1)
        return int(self.node.height)


def of_litecoin(payer: Payer, url: str, **chain: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "chains": [{
            "name": "ltc", "kind": "bitcoin", "chain_id": LITECOIN, "endpoints": [url], "poll_seconds": 0.05,
            "replay": True, "mempool": "off", "finality_depth": 2, **chain,
        }],
        "wallets": [{"id": "hot", "entity": "Example", "role": "hot", "addresses": [f"ltc:{payer.address}"]}],
        "store": {"url": "memory://"},
    }  # fmt: skip


async def test_litecoin(litecoind: Any, tmp_path: Path) -> None:
    """The same incidents from coins: inputs as lists, and balances told at the end, carried back to the beginning."""
    payer = await asyncio.to_thread(Payer, litecoind(txindex=True))
    mapping = of_litecoin(payer, payer.node.url)
    first = payer.node.height
    config = config_from_mapping(mapping, tmp_path, "test")
    async with running(config) as parts:
        watching = asyncio.create_task(parts.watch.run())
        try:
            await reached(parts, first)
            for number in range(24):
                at = await asyncio.to_thread(payer.pay, payer.customers[number % 3], f"0.{3 + number % 4}")
                await reached(parts, at)
            await reached(parts, await asyncio.to_thread(payer.pay, payer.thief, "26"))
            live = told(parts)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    path, out = tmp_path / "c.yaml", tmp_path / "history"
    path.write_text(json.dumps(mapping))
    last = payer.node.height
    code, said, err = await fetched(path, out, "--from", first, "--to", last + 1, "--part", 20)
    assert code == 0, err
    assert f"told after block {last} and carried back by what moved since block {first}" in said
    linked(out, first, last)
    transfers, balances = table(out, "transfers"), table(out, "balances")
    assert transfers["from_address"].dtype == pl.List(pl.String) and transfers["value"].dtype == pl.String
    assert set(transfers["script_type"].drop_nulls()) == {"p2wpkh"} and transfers["version"].null_count() == 0
    opening = balances.filter(pl.col("block_number") == first - 1)
    assert opening["value"].to_list() == ["0"]  # it was paid in the first block
    found, _ = await asyncio.to_thread(backtested, config, out)
    assert len(live) == 1 and found == live
    assert payer.node.password not in said + err + (out / "_fetch.ndjson").read_text()


# -- NIS1 -------------------------------------------------------------------------------------------------------------


async def test_nem(tmp_path: Path) -> None:
    """The same incidents on NEM, whose node tells balances at its head alone."""
    payments = [Move(START + 6 * HOUR * n, VICTIM, CUSTOMERS[n % 3], (90 + n % 9) * 10**6) for n in range(40)]
    theft = [Move(payments[-1].at + HOUR + 120 * n, VICTIM, THIEF, 3_000 * 10**6) for n in range(3)]
    recording = construct([*payments, *theft])
    async with RecordedNemServer(recording, balances={VICTIM: 15_000 * 10**6}) as server:
        mapping = {
            "version": 1,
            "chains": [{
                "name": "nem", "replay": True, "endpoints": [server.url], "poll_seconds": 0.01, "start": 2,
                "backfill": 0, "options": {"signers": dict(recording.signers)},
            }],
            "wallets": [{"id": "hot", "entity": "Example", "role": "hot", "addresses": [f"nem:{VICTIM}"]}],
            "store": {"url": "memory://"},
        }  # fmt: skip
        config = config_from_mapping(mapping, tmp_path, "test")
        live = await watched(config, recording.blocks[-1]["height"])
        path, out = tmp_path / "c.yaml", tmp_path / "history"
        path.write_text(json.dumps(mapping))
        last = recording.blocks[-1]["height"]
        code, said, err = await fetched(path, out, "--chain", "nem", "--from", 0, "--to", last + 1, "--part", 25)
        before = await fetched(path, tmp_path / "before", "--from", 3, "--to", last - 1)  # the head is above its end
    assert code == 0, err
    assert "carried back" in said and "harvested fees" in said
    linked(out, 1, last)
    found, _ = await asyncio.to_thread(backtested, config, out)
    assert len(live) == 1 and found == live
    assert before[0] == 0, before[2]
    transfers, balances = (table(tmp_path / "before", name) for name in ("transfers", "balances"))
    opening, closing = balances.rows()
    assert (opening[3], closing[3]) == (2, last - 2) and "carried back" in before[1]
    assert int(opening[4]) == 15_000 * 10**6 - 90 * 10**6 - 50_000  # after block 2, which paid once, and a fee
    assert int(opening[4]) - int(closing[4]) == sum(map(int, transfers["value"]))
