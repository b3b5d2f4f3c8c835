"""Real transactions and answers of NIS1 nodes, each by its name, also through HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chains.base import ChainSpec
from chains.nem.accounts import AccountViews
from chains.nem.balances import Balances
from chains.nem.binary import inner_hash, transaction_hash
from chains.nem.decode import decode_transaction
from chains.nem.mosaic import parse_definition
from chains.nem.nodes import NemNodes
from chains.nem.pending import NemMempool
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, construct, make_block
from chains.recorded.nem_blocks import Recording
from monitor.addresses.nem import canonical, of_public_key
from monitor.ids import iso
from monitor.model import BlockRef, TransferKind
from monitor.networks import Network, by_name

XEM = "nem:mainnet/slip44:43"
ACCOUNT = "NAX3EP4EKUMLH4T3N7GJSTQDG2AMUK5T26P5EA2M"
GUIDE = (
    "v1 transfer",
    "v2 transfer, empty mosaics",
    "v2 transfer, nem:xem in mosaics, multiplier 1",
    "v2 transfer, nem:xem in mosaics, multiplier >1",
    "v2 transfer, nem:xem in mosaics, multiplier 0",
    "multisig, inner v1 transfer",
    "multisig, inner v2 transfer, empty mosaics",
    "multisig, inner v2 transfer, nem:xem in mosaics, multiplier 1",
    "multisig, inner v2 transfer, nem:xem in mosaics, multiplier 100",
    "v2 transfer of another mosaic with nem:xem attached in amount only (other-mosaic transfer)",
    "spam mosaic transfer with text message (GetBlock docs, /account/transfers/all)",
)
CALLS = (
    "heartbeat", "status", "account.get", "account.transfers.incoming", "account.transfers.outgoing",
    "account.transfers.all", "account.harvests", "account.importances", "account.namespace.page",
    "account.mosaic.definition.page", "account.mosaic.owned", "chain.height", "chain.score", "chain.lastBlock",
)  # fmt: skip


class Everyone:
    """A watch set that holds every address."""

    def __contains__(self, _: object) -> bool:
        return True


@pytest.fixture
def main() -> Network:
    """NEM's main network."""
    found = by_name("nem")
    assert found is not None
    return found


@pytest.fixture
def guide(data_root: Path) -> dict[str, Any]:
    """The transactions of the exchange guide, by case."""
    cases = json.loads((data_root / "nem/nem-exchange-guide/transactions.json").read_text())
    return {case["case"]: case for case in cases}


@pytest.fixture
def answers(data_root: Path) -> dict[str, Any]:
    """The answers of a node, by call."""
    found = json.loads((data_root / "nem/nem-nem1-sdk/responses.json").read_text())
    return {answer["call"].removeprefix("nem1."): answer["response"] for answer in found}


def test_names_are_complete(guide: dict[str, Any], answers: dict[str, Any]) -> None:
    """Every transaction and every answer has its test."""
    assert tuple(guide) == GUIDE and tuple(answers) == CALLS


@pytest.mark.parametrize("name", GUIDE)
def test_exchange_guide(name: str, guide: dict[str, Any], main: Network) -> None:
    """The stated amount of XEM, to the right address, under the chain's own hash, at the full fee."""
    response = guide[name]["response"]
    tx = response["transaction"]
    decoded = decode_transaction(tx, BlockRef("nem:mainnet", 1, ""), 0, 0, main)
    xem = [t for t in decoded.transfers if t.kind is TransferKind.NATIVE]
    assert Decimal(sum(t.value for t in xem)).scaleb(-6) == Decimal(guide[name]["expected_xem"])
    inner = tx.get("otherTrans", tx)
    assert {t.to_address for t in xem} <= {inner["recipient"]}
    assert (decoded.tx.hash, inner_hash(tx)) == (
        response["meta"]["hash"]["data"], response["meta"]["innerHash"].get("data"))  # fmt: skip
    assert decoded.transfers[-1].value == decoded.tx.fee


@pytest.mark.parametrize("local_api", [False, True])
async def test_exchange_guide_over_http(
    local_api: bool, guide: dict[str, Any], nis: Callable[..., Awaitable[Any]], spec: Callable[..., ChainSpec]
) -> None:
    """All eleven in one block of a loopback node, with both forms of its API."""
    txs = [case["response"]["transaction"] for case in guide.values()]
    base = construct([Move(1_516_892_520, "11" * 32, ACCOUNT, 1)])
    blocks = (*base.blocks, make_block(base.blocks[-1], 1_516_892_580, txs))
    server = await nis(Recording(base.network, blocks), local_api=local_api)
    chain = NemChain(spec(server.url), Everyone())
    try:
        await chain.open()
        block = await chain.block(3)
    finally:
        await chain.aclose()
    assert block.undecoded == () and block.ref.number == 3
    by_tx = {tx["signature"]: place for place, tx in enumerate(txs)}
    for case in guide.values():
        place = by_tx[case["response"]["transaction"]["signature"]]
        mine = [t for t in block.transfers if t.tx.index == place]
        xem = sum(t.value for t in mine if t.kind is TransferKind.NATIVE)
        assert Decimal(xem).scaleb(-6) == Decimal(case["expected_xem"]), case["case"]
        assert {t.tx.hash for t in mine} == {case["response"]["meta"]["hash"]["data"]}


PATHS = {
    "/node/info": lambda _: {"metaData": {"networkId": 104}},
    "/chain/height": lambda a: a["chain.height"],
    "/chain/last-block": lambda a: a["chain.lastBlock"],
    "/block/at/public": lambda a: a["chain.lastBlock"],
    "/account/get": lambda a: a["account.get"],
    "/account/mosaic/owned": lambda a: a["account.mosaic.owned"],
    "/account/transfers/all": lambda a: a["account.transfers.all"],
    "/account/unconfirmedTransactions": lambda a: a["account.transfers.outgoing"],
}


@pytest.fixture
async def node(canned: Any, answers: dict[str, Any]) -> Any:
    """A loopback server that gives the real answers, whatever is asked for."""

    async def handler(request: web.Request) -> web.Response:
        make = PATHS.get(request.path)
        return web.json_response(make(answers)) if make else web.json_response({"message": "no"}, status=404)

    canned.handler = handler
    return canned


async def _read(node: Any, call: str, answers: dict[str, Any], main: Network) -> Any:
    """What the adapter makes of one answer, over HTTP where it asks for it."""
    spec = ChainSpec("nem", "nem", "nem:mainnet", (node.url,), accounts=(ACCOUNT,))
    nodes, mempool = NemNodes(spec), NemMempool(spec, {ACCOUNT})
    balances = Balances(nodes, main)
    try:
        match call:
            case "chain.height":
                return await balances._height()
            case "chain.lastBlock":
                return await nodes.head()
            case "account.get":
                return await balances._xem(ACCOUNT)
            case "account.mosaic.owned":
                return await balances._mosaics(ACCOUNT)
            case "account.transfers.all":
                views = AccountViews(nodes.pool, (ACCOUNT,), _free)
                return await views.between(answers[call]["data"][-1]["meta"]["height"] + 1, 1 << 40)
            case "account.transfers.outgoing":
                listed = await mempool._listed(ACCOUNT)
                return [await mempool._decoded(tx) for tx in listed]
    finally:
        await nodes.aclose()
        await mempool.aclose()


async def _free() -> None:
    """No bound on requests."""


@pytest.mark.parametrize("call", CALLS)
async def test_answers_of_a_node(call: str, node: Any, answers: dict[str, Any], main: Network) -> None:
    """Each gives what is in it."""
    answer = answers[call]
    found = await _read(node, call, answers, main)
    rows = answer.get("data", []) if isinstance(answer.get("data", []), list) else []
    match call:
        case "heartbeat" | "status":
            assert set(answer) == {"code", "type", "message"}  # asked by nobody: a block answers the same question
        case "chain.height":
            assert found == 2_501_758
        case "chain.score":
            assert int(answer["score"], 16) > 0
        case "chain.lastBlock":
            assert found.number == 2_508_166
        case "account.get":
            account = answer["account"]
            assert found == 5_000_599_306
            assert of_public_key(account["publicKey"], 0x68) == canonical(account["address"], main) == ACCOUNT
        case "account.mosaic.owned":
            assert found[("opening-line", "fific")] == 2 and len(found) == len(rows) - 1  # XEM is no mosaic here
        case "account.transfers.all":
            assert sum(map(len, found.values())) == sum(
                row["meta"]["height"] > rows[-1]["meta"]["height"] for row in rows
            )
        case "account.transfers.outgoing":
            assert [p.tx.hash for p in found] == [row["meta"]["hash"]["data"] for row in rows]
        case "account.transfers.incoming":
            for row in rows:
                assert transaction_hash(row["transaction"]) == row["meta"]["hash"]["data"]
        case "account.mosaic.definition.page":
            assert [parse_definition(row).divisibility for row in rows].count(0) >= 1
            assert {parse_definition(row).creator for row in rows} == {rows[0]["creator"]}
        case "account.harvests":
            assert all(iso(1_427_587_585 + row["timeStamp"]).startswith("20") for row in rows) and rows
        case "account.importances":
            assert all(canonical(row["address"], main) == row["address"] for row in rows) and rows
        case "account.namespace.page":
            assert {row["owner"] for row in rows} == {ACCOUNT}


# Hashes of the types that real answers here lack: transactions of both networks, by what explorers call them.

ALICE, GIMRE = (
    "244fa194e2509ac0d2fbc18779c2618d8c2ebb61c16a3bcbebcf448c661ba8dc",
    "994793ba1c789fa9bdea918afc9b06e2d0309beb1081ac5b6952991e4defd324",
)
TEST_VERSION = -1_744_830_463


def _properties(*values: str) -> list[dict[str, str]]:
    names = ("divisibility", "initialSupply", "supplyMutable", "transferable")
    return [{"name": name, "value": value} for name, value in zip(names, values, strict=True)]


@pytest.mark.parametrize(
    ("hash", "fields"),
    [
        (
            "7ddd5fe607e1bfb5606e0ac576024c318c8300d237273117d4db32a60c49524d",
            {
                "type": 8193, "timeStamp": 21_496_797, "deadline": 21_500_397, "signer": ALICE, "newPart": "misc",
                "parent": "alice", "rentalFeeSink": "TAMESP-ACEWH4MKFMBCVFERDPOOP4FK7MTDJEYP35",
                "rentalFee": 5_000_000_000,
            },
        ),
        (
            "b2f4a98113ff1f3a8f1e9d7197aa982545297fe0aa3fa6094af8031569953a55",
            {
                "type": 16385, "timeStamp": 21_497_248, "deadline": 21_500_848, "signer": ALICE,
                "creationFeeSink": "TBMOSAICOD4F54EE5CDMR23CCBGOAM2XSJBR5OLC", "creationFee": 50_000_000_000,
                "mosaicDefinition": {
                    "creator": ALICE, "id": {"namespaceId": "alice.misc", "name": "bar"},
                    "description": "Special offer: get one bar extra by bying one foo!",
                    "properties": _properties("0", "1000", "false", "true"),
                    "levy": {
                        "type": 1, "recipient": "TALICE2GMA34CXHD7XLJQ536NM5UNKQHTORNNT2J",
                        "mosaicId": {"namespaceId": "nem", "name": "xem"}, "fee": 1,
                    },
                },
            },
        ),
        (
            "68364353c29105e6d361ad1a42abbccbf419cfc7adb8b74c8f35d8f8bdaca3fa",
            {
                "type": 16385, "timeStamp": 14_070_896, "deadline": 14_074_496, "signer": GIMRE,
                "creationFeeSink": "TBMOSAICOD4F54EE5CDMR23CCBGOAM2XSJBR5OLC", "creationFee": 50_000_000_000,
                "mosaicDefinition": {
                    "creator": GIMRE, "id": {"namespaceId": "gimre.games.pong", "name": "paddles"},
                    "description": "Paddles for the bong game.\n",
                    "properties": _properties("0", "10000", "true", "true"), "levy": {},
                },
            },
        ),
        (
            "33a50fdd4a54913643a580b2af08b9a5b51b7cee922bde380e84c573a7969c50",
            {
                "type": 16386, "timeStamp": 14_071_648, "deadline": 14_075_248, "signer": GIMRE, "supplyType": 1,
                "delta": 1234, "mosaicId": {"namespaceId": "gimre.games.pong", "name": "paddles"},
            },
        ),
    ],
)  # fmt: skip
def test_hashes_of_namespaces_and_mosaics(hash: str, fields: dict[str, Any]) -> None:
    """A sub-namespace, definitions with and without a levy, and a supply change of the test network."""
    assert transaction_hash({"version": TEST_VERSION, "fee": 108_000_000, **fields}) == hash
