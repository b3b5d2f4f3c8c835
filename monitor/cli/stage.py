"""The chains of a built-in case as loopback nodes: what the live monitor follows in `heistwatch demo`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from monitor.case_file import network_of

if TYPE_CHECKING:
    from chains.recorded.bitcoin_blocks import Draft
    from chains.recorded.pace import Pace
    from monitor.case import Case

__all__ = ["Stage", "drafts_of", "staged"]

BEFORE = 60  # seconds from an empty first block to the first movement
Rows = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Stage:
    """One chain: its node, when blocks become visible, and the blocks' times."""

    chain: dict[str, Any]  # the chain's entry in the configuration
    pace: Pace
    times: list[int]
    server: Any
    hashes: Mapping[str, str]  # of transactions on the chain, by what the case calls them, where they differ

    @property
    def network(self) -> str:
        """CAIP-2."""
        return network_of(self.chain["name"]).chain

    @property
    def release(self) -> Callable[[int], Awaitable[int]]:
        """Show more blocks."""
        return self.pace.release


@asynccontextmanager
async def staged(case: Case) -> AsyncIterator[list[Stage]]:
    """A node for each chain of a case, its first block visible."""
    rows = case.rows()
    balances = case.balances()
    async with AsyncExitStack() as stack:
        stages = []
        for name in case.chains:
            mine = [row for row in rows if row["chain"] == name]
            opening = {
                row["address"]: int(row["value"])
                for row in balances
                if (row["chain"], row["asset"]) == (name, "native")
            }
            stages.append(await stack.enter_async_context(_STAGES[network_of(name).kind](name, mine, opening, case)))
        yield stages


def drafts_of(rows: Iterable[Mapping[str, Any]]) -> list[Draft]:
    """Rows of the native table of one chain of the Bitcoin family, in order, as blocks to be made."""
    from chains.recorded.bitcoin_blocks import Draft, Move

    drafts = []
    for (_, time), block in groupby(rows, key=lambda row: (row["block_number"], row["block_timestamp"])):
        moves = []
        for name, found in groupby(block, key=lambda row: row["transaction_hash"]):
            outputs = list(found)
            values = (int(value) for value in outputs[0]["input_values"])
            inputs = tuple(zip(outputs[0]["from_address"], values, strict=True))
            moves.append(Move(inputs, tuple((row["to_address"], int(row["value"])) for row in outputs), name))
        drafts.append(Draft(time, tuple(moves)))
    return drafts


@asynccontextmanager
async def _bitcoin(name: str, rows: Rows, opening: Mapping[str, int], case: Case) -> AsyncIterator[Stage]:
    """The theft begins at its own height; quiet time has fewer blocks than there really were."""
    from chains.recorded.bitcoin import Draft, RecordedBitcoinServer, Recording
    from chains.recorded.pace import Pace

    drafts = [Draft(rows[0]["block_timestamp"] - BEFORE), *drafts_of(rows)]
    robbed = min(row["block_number"] for row in rows if row["transaction_hash"] in set(case.theft_transactions))
    quiet = 1 + len({row["block_number"] for row in rows if row["block_number"] < robbed})
    recording = Recording(network_of(name), drafts, height=robbed - quiet, opening=opening)
    pace = Pace(manual=True)
    async with RecordedBitcoinServer(recording, pace=pace) as server:
        chain = _entry(name, server.url, start=recording.base)
        yield Stage(chain, pace, [draft.time for draft in drafts], server, dict(recording.names))


@asynccontextmanager
async def _nem(name: str, rows: Rows, opening: Mapping[str, int], _: Case) -> AsyncIterator[Stage]:
    from chains.nem.decode import EPOCH
    from chains.recorded.nem import RecordedNemServer
    from chains.recorded.nem_blocks import Move, construct
    from chains.recorded.pace import Pace

    moves = [
        Move(row["block_timestamp"], row["from_address"], row["to_address"], int(row["value"]), 0) for row in rows
    ]
    recording = construct(moves)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, balances=opening) as server:
        chain = _entry(name, server.url, start=1) | {"options": {"signers": dict(recording.signers)}}
        yield Stage(chain, pace, [block["timeStamp"] + EPOCH for block in recording.blocks], server, {})


@asynccontextmanager
async def _evm(name: str, rows: Rows, opening: Mapping[str, int], _: Case) -> AsyncIterator[Stage]:
    from chains.recorded.evm import RecordedEvmServer
    from chains.recorded.evm_blocks import Draft, Move, construct
    from chains.recorded.pace import Pace

    by_time: dict[int, list[Move]] = {}
    for row in rows:
        move = Move(row["from_address"], row["to_address"], int(row["value"]))
        by_time.setdefault(row["block_timestamp"], []).append(move)
    drafts = [Draft(min(by_time) - BEFORE), *(Draft(at, tuple(found)) for at, found in sorted(by_time.items()))]
    chain_id = int(network_of(name).chain.partition(":")[2])
    pace = Pace(manual=True)
    balances: dict[tuple[str, str | None], int | Mapping[int, int]] = {
        (address, None): value for address, value in opening.items()
    }
    blocks = construct(chain_id, drafts)
    async with RecordedEvmServer(chain_id, blocks, pace=pace, shown=1, balances=balances) as server:
        yield Stage(_entry(name, server.url, start=0), pace, [draft.timestamp for draft in drafts], server, {})


def _entry(name: str, url: str, start: int) -> dict[str, Any]:
    return {"name": name, "replay": True, "endpoints": [url], "poll_seconds": 0.05, "start": start}


_STAGES = {"bitcoin": _bitcoin, "nem": _nem, "evm": _evm}
