"""Proposed Safe transactions: what they would do, told once with the next block, and a service that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chains.base import ChainSpec
from chains.evm.controls.control import ZERO
from chains.evm.controls.proposed import Confirmation, Proposed, proposal_of
from chains.evm.proposals import NO_PROPOSALS, SECONDS, STALE, Proposals
from chains.evm.watcher import EvmChain
from monitor.addresses.evm import checksum
from monitor.errors import ConfigError
from monitor.model import Block, BlockRef
from tests.contracts.artifacts import artifact
from tests.contracts.chain import multisend

SAFE, PERSON, FRIEND, TOKEN, CODE = ("0x" + c * 20 for c in ("e5", "a1", "b2", "d4", "f6"))
CHAIN, HASH = "eip155:1", "0x" + "ab" * 32


def call(name: str, function: str, *arguments: Any) -> str:
    return artifact(name).call(function, *arguments)


def proposed(to: str = FRIEND, data: str | None = None, value: Any = "0", **more: Any) -> Proposed:
    given = {"nonce": 7, "safe_tx_hash": HASH, "confirmations_required": 2, **more}
    return Proposed(checksum(to), value=value, data=data, **given)


def told(what: Proposed, threshold: int | None = None) -> dict[str, str]:
    found = proposal_of(what, SAFE, CHAIN, threshold)
    return {} if found is None else dict(found.detail)


# -- what it would do -------------------------------------------------------------------------------------------------


def test_a_payment() -> None:
    """Of coins, of tokens, of both in a batch: whom it pays is told, not only whom it calls."""
    assert told(proposed(value="5", confirmations=[Confirmation(PERSON), Confirmation(PERSON)])) == {
        "would": "payment", "to": FRIEND, "value": "5", "nonce": "7", "confirmations": "1", "threshold": "2",
        "receivers": FRIEND,
    }  # fmt: skip
    transfer = call("ERC20PresetMinterPauser", "transfer", FRIEND, 7)
    assert told(proposed(TOKEN, transfer))["receivers"] == FRIEND
    batch = call("MultiSend", "multiSend", multisend([(0, PERSON, 1, "0x"), (0, TOKEN, 0, transfer)]))
    both = told(proposed(CODE, batch, operation=1))
    assert (both["would"], both["delegates"]) == ("delegate_call,payment", CODE)
    assert both["receivers"] == f"{PERSON},{FRIEND}"


def test_a_change_of_control() -> None:
    """The threshold that an added owner names is no change where it is the same."""
    added = call("Safe", "addOwnerWithThreshold", PERSON, 2)
    assert told(proposed(SAFE, added))["would"] == "owner_change"
    assert told(proposed(SAFE, added), 3)["would"] == "owner_change,threshold_change"
    assert told(proposed(SAFE, call("Safe", "setGuard", ZERO)))["would"] == "guard_change"
    assert told(proposed(TOKEN, call("Treasury", "transferOwnership", PERSON)))["would"] == "owner_change"
    inner = call("MultiSend", "multiSend", multisend([(1, PERSON, 0, "0x12345678")]))
    assert told(proposed(CODE, inner, operation=1))["delegates"] == f"{PERSON},{CODE}"
    refund = {"gas_price": "3", "gas_token": TOKEN, "refund_receiver": PERSON}
    assert told(proposed(CODE, "0x12345678", **refund))["would"] == "refund"


def test_daily_work_is_not_told() -> None:
    """Other calls, approvals, a rejection (a payment of nothing to itself), tokens of others."""
    assert told(proposed(CODE, "0x12345678")) == {}
    assert told(proposed(TOKEN, call("ERC20PresetMinterPauser", "approve", FRIEND, 7))) == {}
    assert told(proposed(SAFE, None)) == {}
    assert told(proposed(TOKEN, call("ERC20PresetMinterPauser", "transferFrom", PERSON, FRIEND, 7))) == {}


ANY = st.none() | st.integers(-5, 2**260) | st.text(max_size=70) | st.just("7")


@given(
    to=st.just(FRIEND) | st.text(max_size=44), data=st.none() | st.binary(max_size=200).map(lambda b: "0x" + b.hex()),
    value=ANY, nonce=ANY, operation=ANY, gas_price=ANY, base_gas=ANY,
    gas_token=st.none() | st.just(TOKEN) | st.text(max_size=44), safe_tx_hash=st.just(HASH) | st.text(max_size=70),
)  # fmt: skip
def test_hostile_proposals_are_refused_by_one_error(**given: Any) -> None:
    try:
        found = proposal_of(Proposed(**given), SAFE, CHAIN)
    except ValueError:
        return
    assert found is None or found.subject == HASH


# -- the service ------------------------------------------------------------------------------------------------------


class Service:
    """A Safe Transaction Service: ``answers`` by path, and what it was asked."""

    def __init__(self, canned: Any) -> None:
        self.results: list[Any] = []
        self.info: dict[str, Any] | None = {"nonce": 5, "threshold": 2}
        self.fault: web.Response | None = None
        self.asked: list[Any] = []
        canned.handler = self.answer
        self.url = canned.url

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        base = f"/service/api/v1/safes/{checksum(SAFE)}/"
        if self.fault is not None:
            return web.Response(status=self.fault.status, body=self.fault.body, headers=self.fault.headers)
        if request.path == base + "multisig-transactions/":
            return web.json_response({"count": len(self.results), "results": self.results})
        if request.path == base and self.info is not None:
            return web.json_response(self.info)
        return web.json_response({"detail": "Not found."}, status=404)


@pytest.fixture
def service(canned: Any) -> Service:
    """A service on the loopback."""
    return Service(canned)


class Rounds:
    """Pauses that end when the test says so; time passes with them."""

    def __init__(self) -> None:
        self.now, self.paused = 1000.0, asyncio.Event()
        self.go = asyncio.Event()
        self.seconds: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if seconds < 1:
            return
        self.paused.set()
        await self.go.wait()
        self.go.clear()
        self.now += seconds

    async def round(self) -> None:
        """Let one round of questions begin, and wait for its end."""
        self.paused.clear()
        self.go.set()
        async with asyncio.timeout(10):
            await self.paused.wait()


def entry(nonce: int = 7, confirmations: int = 0, **more: Any) -> dict[str, Any]:
    """A payment as the service lists it."""
    owners = [{"owner": checksum(f"0x{n:040x}"), "signature": "0x"} for n in range(1, confirmations + 1)]
    return {
        "safe": checksum(SAFE), "to": checksum(FRIEND), "value": "5", "data": None, "operation": 0, "gasToken": ZERO,
        "safeTxGas": 0, "baseGas": 0, "gasPrice": "0", "refundReceiver": ZERO, "nonce": nonce, "isExecuted": False,
        "safeTxHash": f"0x{nonce:064x}", "confirmationsRequired": 2, "confirmations": owners, "trusted": True,
        "proposer": checksum(PERSON), **more,
    }  # fmt: skip


def block(number: int) -> Block:
    return Block(BlockRef(CHAIN, number, f"0x{number:064x}"), "0x", 100)


def said(found: Block) -> list[tuple[str, str]]:
    return [(event.subject[-2:], event.detail["confirmations"]) for event in found.controls]


@pytest.fixture
async def make(service: Service) -> Any:
    """Make proposals that ask the service; each ends with the test."""
    found = []

    async def build(rounds: Rounds, **options: Any) -> Proposals:
        url = service.url + "/service/"
        spec = ChainSpec("local", "evm", CHAIN, (), accounts=(SAFE,), options={"safe_service": url, **options})
        made = Proposals(spec, sleep=rounds.sleep, clock=rounds.clock)
        found.append(made)
        made.start()
        made.start()
        async with asyncio.timeout(10):
            await rounds.paused.wait()
        return made

    yield build
    for one in found:
        await one.aclose()
        await one.aclose()


Make = Callable[..., Any]


async def test_each_is_told_once_until_somebody_signs(service: Service, make: Make) -> None:
    """With a transaction that is none yet, after all of the block's; again for a block that took another's place."""
    service.results = [entry(), entry(4), {"nonsense": 1}, entry(8, to="0x12"), entry(9, isExecuted=True)]
    rounds = Rounds()
    proposals = await make(rounds)
    found = proposals.attach(block(10), 3)
    (event,) = found.controls  # the nonce of the other is used up
    assert (event.subject, event.account, str(event.kind)) == (f"0x{7:064x}", SAFE, "proposal")
    assert (event.tx.hash, event.tx.index, event.tx.pending, event.tx.initiator) == (event.subject, 3, True, None)
    assert event.detail["proposer"] == PERSON and event.detail["threshold"] == "2" and found.blind_spots == ()
    assert said(proposals.attach(block(11), 0)) == []
    assert said(proposals.attach(block(10), 3)) == [("07", "0")]  # after a reorganisation
    service.results = [entry(7, 1)]
    await rounds.round()
    assert said(proposals.attach(block(12), 0)) == [("07", "1")]
    assert said(proposals.attach(block(13), 0)) == []
    service.results = []
    await rounds.round()
    assert said(proposals.attach(block(14), 0)) == []
    asked = service.asked[0]
    assert asked.query["executed"] == "false" and asked.query["ordering"] == "-nonce"
    assert "Authorization" not in asked.headers


async def test_a_service_that_knows_no_nonce_or_wants_a_key(service: Service, make: Make) -> None:
    """Then everything that waits is told."""
    service.results, service.info = [entry(4), entry(7, trusted=False)], None
    proposals = await make(Rounds(), safe_service_key="s3cret-key")
    assert said(proposals.attach(block(10), 0)) == [("04", "0")]  # a stranger's that nobody signed is noise
    assert service.asked[0].headers["Authorization"] == "Bearer s3cret-key"


@pytest.mark.parametrize(
    "fault",
    [
        web.Response(status=500), web.Response(body=b"<html>"), web.Response(status=302, headers={"Location": "/"}),
        web.Response(body=b'{"results": 5}'), web.Response(status=429, headers={"Retry-After": "77"}),
    ],
    ids=["500", "html", "redirect", "other", "429"],
)  # fmt: skip
async def test_a_service_that_fails_is_a_blind_spot(
    service: Service, make: Make, fault: web.Response, caplog: pytest.LogCaptureFixture
) -> None:
    """Never an error, and no secret in the log; what was known stays until it answers again."""
    service.results = [entry()]
    rounds = Rounds()
    proposals = await make(rounds, safe_service_key="s3cret-key")
    service.fault = fault
    for _ in range(STALE + 2):
        await rounds.round()
    found = proposals.attach(block(10), 0)
    assert found.blind_spots == (NO_PROPOSALS,) and said(found) == [("07", "0")]
    assert (77.0 if fault.status == 429 else SECONDS) in rounds.seconds
    assert len([line for line in caplog.messages if "proposed Safe" in line]) == 1
    assert "s3cret" not in caplog.text and "/service" not in caplog.text
    service.fault = None
    await rounds.round()
    assert proposals.attach(block(11), 0).blind_spots == ()


async def test_an_account_that_is_no_safe(service: Service, make: Make) -> None:
    """It is asked about now and then, and is no blind spot."""
    service.fault = web.Response(status=404)
    rounds = Rounds()
    proposals = await make(rounds)
    await rounds.round()
    assert len(service.asked) == 1 and proposals.attach(block(10), 0).blind_spots == ()


def test_without_a_service_nothing_is_asked() -> None:
    """Absent by default; nonsense is refused at once, without showing what was written."""
    plain = Proposals(ChainSpec("local", "evm", CHAIN, (), accounts=(SAFE,)))
    plain.start()
    assert plain.attach(block(1), 0) == block(1)
    for bad in ("ftp://user:s3cret@host/", 5, "https://", "http://[::1"):
        with pytest.raises(ConfigError, match="safe_service") as caught:
            Proposals(ChainSpec("local", "evm", CHAIN, (), options={"safe_service": bad}))
        assert "s3cret" not in str(caught.value)


async def test_with_a_node(service: Service, anvil: Any) -> None:
    """A block that is read carries what waits; no block waits for the service."""
    service.results = [entry()]
    options = {"safe_service": service.url + "/service"}
    spec = ChainSpec("local", "evm", "eip155:31337", (anvil.url,), accounts=(SAFE,), options=options)
    chain = EvmChain(spec, frozenset({SAFE}))
    found: list[Any] = []
    try:
        async with asyncio.timeout(20):
            while not found:
                await anvil.rpc("evm_mine")
                found += (await chain.block((await chain.head()).number)).controls
    finally:
        await chain.aclose()
    assert [event.subject for event in found] == [f"0x{7:064x}"]
