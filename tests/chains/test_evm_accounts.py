"""State of watched accounts on a real node: changes without events, in their block, whatever the endpoint offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from eth_account import Account

from chains.base import ChainSpec
from chains.evm import accounts as module
from chains.evm.emitted import Emitted
from chains.evm.slots import ADMIN, BEACON, IMPLEMENTATION, OWNERS, SENTINEL, code_hash, member
from chains.evm.watcher import EvmChain
from monitor.errors import ConfigError
from monitor.model import Block, ControlKind, TransferKind
from tests.contracts.artifacts import artifact
from tests.contracts.chain import ZERO, Contract, Safe, deploy, send
from tests.contracts.driver import Driver

CHAIN = "eip155:31337"
ETHER = 10**18
KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"  # of anvil's second account, public


class Gate:
    """Stands before a node and refuses what an endpoint may not offer."""

    def __init__(self, url: str) -> None:
        self.node, self.url = url, ""
        self.refused: set[str] = set()  # methods
        self.hashes = True  # takes block hashes as parameters
        self.authorizations = True  # are part of its transactions
        self.ahead = 0  # requests about a block's state that are answered with the newest one
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        self.asked += [one["method"] for one in calls]
        if self.ahead and any(_block_hash(one) for one in calls):
            self.ahead -= 1
            calls = [
                {**one, "params": [*one["params"][:-1], "latest"]} if _block_hash(one) else one for one in calls
            ]  # fmt: skip
        passed = [one for one in calls if self.why(one) is None]
        replies = [
            {"jsonrpc": "2.0", "id": one["id"], "error": {"code": code, "message": text}}
            for one in calls if (code := self.why(one)) and (text := "no")
        ]  # fmt: skip
        if passed:
            async with aiohttp.ClientSession() as session, session.post(self.node, json=passed) as response:
                replies += await response.json()
        for reply in replies if not self.authorizations else ():
            result = reply.get("result")
            for tx in result.get("transactions", ()) if isinstance(result, dict) else ():
                if isinstance(tx, dict):
                    tx.pop("authorizationList", None)
        return web.json_response(replies if isinstance(body, list) else replies[0])

    def why(self, call: Mapping[str, Any]) -> int | None:
        """The error code of a call that is refused."""
        if call["method"] in self.refused:
            return -32601
        return -32602 if _block_hash(call) and not self.hashes else None


def _block_hash(call: Mapping[str, Any]) -> bool:
    """Whether a call asks for the state after a block by its hash."""
    last = call["params"][-1] if call["params"] else None
    return isinstance(last, dict) and "blockHash" in last and call["method"] != "eth_getLogs"


@pytest.fixture
async def gate(anvil: Any) -> Any:
    """A gate before the node."""
    found = Gate(anvil.url)
    application = web.Application()
    application.router.add_post("/", found.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def watcher() -> Any:
    """Make watchers that end with the test."""
    chains = []

    def make(url: str, *accounts: str, watch: Any = None, **options: Any) -> EvmChain:
        spec = ChainSpec("local", "evm", CHAIN, (url,), accounts=accounts, options={"traces": "off", **options})
        chains.append(EvmChain(spec, frozenset(accounts if watch is None else watch)))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


@pytest.fixture
def node(anvil: Any) -> Driver:
    """The node, driven."""
    return Driver(anvil.url)


@pytest.fixture
def safe(node: Driver) -> Safe:
    """A Safe of three owners, two of whom must agree."""
    people = node.accounts
    made = Safe(node, people[3:6], 2, deploy(node, people[0], "Safe"), deploy(node, people[0], "SafeProxyFactory"))
    send(node, people[0], made.address, value=10 * ETHER)
    return made


async def last(chain: EvmChain) -> Block:
    return await chain.block((await chain.head()).number)


def said(block: Block, account: str) -> Mapping[str, str] | None:
    """What a block says of an account."""
    found = [reading.values for reading in block.readings if reading.account == account]
    assert len(found) <= 1
    return found[0] if found else None


def word(address: str) -> str:
    return "0x" + address[2:].rjust(64, "0")


async def test_first_sight(node: Driver, safe: Safe, watcher: Any) -> None:
    """A Safe and a plain account are read once; a block that changes nothing says nothing."""
    plain = node.accounts[7]
    chain = watcher(node.url, safe.address, plain)
    block = await last(chain)
    values = said(block, safe.address)
    assert values is not None
    code = node.rpc("eth_getCode", values["implementation"], "latest")
    assert values["form"] == "safe" and values["code"] == "contract"
    assert values["owners"] == ",".join(sorted(safe.owners)) and values["threshold"] == "2"
    assert (values["modules"], values["guard"], values["module_guard"], values["fallback"]) == ("", "", "", "")
    assert values["implementation_code"] == code_hash(code) and values["implementation_age"] == "young"
    assert values["owner_delegates"] == ""
    assert said(block, plain) == {"code": "none", "code_hash": "", "delegate": "", "form": "account"}
    assert "state of accounts" not in block.blind_spots
    safe.execute(plain, value=1)  # the Safe's nonce changes, nothing that matters does
    again = await last(chain)
    assert again.readings == ()


@pytest.mark.parametrize("offers", ["all", "no proofs", "no hashes", "neither"])
async def test_safe_changes_without_events(node: Driver, safe: Safe, gate: Gate, watcher: Any, offers: str) -> None:
    """The implementation, and an owner, exchanged in storage by a delegate call: said in that very block."""
    gate.refused = {"eth_getProof"} if offers in ("no proofs", "neither") else set()
    gate.hashes = offers in ("all", "no proofs")
    thief = node.accounts[9]
    slots, owners, door = (deploy(node, thief, name) for name in ("SlotWriter", "OwnerWriter", "Backdoor"))
    chain = watcher(gate.url, safe.address)
    assert said(await last(chain), safe.address) is not None
    prior, old = _linked(node, safe)[1:3]
    swap = safe.execute(owners.address, owners.data("exchange", prior, old, thief), operation=1)
    block = await last(chain)
    values = said(block, safe.address)
    assert values is not None and block.readings[0].tx is not None
    assert set(values["owners"].split(",")) == {*safe.owners, thief} - {old} and values["threshold"] == "2"
    assert block.readings[0].tx.hash == swap["transactionHash"] and block.readings[0].tx.target == safe.address
    before = values["implementation"]
    safe.owners = [owner for owner in safe.owners if owner != old]
    safe.execute(slots.address, slots.data("transfer", door.address, 0), operation=1)
    values = said(await last(chain), safe.address)
    assert values is not None and before != door.address
    assert (values["form"], values["implementation"]) == ("safe", door.address)
    assert values["implementation_code"] == code_hash(node.rpc("eth_getCode", door.address, "latest"))
    node.rpc("evm_mine")
    block = await last(chain)
    assert block.readings == () and "state of accounts" not in block.blind_spots
    assert "eth_getProof" in gate.asked


def _linked(node: Driver, safe: Safe) -> list[str]:
    """A Safe's owners in the order of their list, after its sentinel."""
    found = [SENTINEL]
    while len(found) == 1 or found[-1] != SENTINEL:
        slot = member(found[-1], OWNERS)
        found.append("0x" + node.rpc("eth_getStorageAt", safe.address, slot, "latest")[26:])
    return found


@pytest.mark.parametrize("ahead", [1, 2, 3, 4])
async def test_a_node_that_is_ahead_of_itself(node: Driver, safe: Safe, gate: Gate, watcher: Any, ahead: int) -> None:
    """Answers about a block may hold what the next one does, as long as that one is being made: nothing is missed."""
    chain = watcher(gate.url, safe.address)
    for _ in range(2):
        node.rpc("evm_mine")
        base = (await last(chain)).ref.number
    send(node, node.accounts[0], safe.address, value=7)
    safe.on_itself("changeThreshold", 1)  # two blocks: an approval, and the change
    safe.threshold = 1
    safe.execute(node.accounts[9], value=5)
    gate.ahead = ahead
    blocks = [await chain.block(number) for number in range(base + 1, base + 5)]
    found = [said(block, safe.address) for block in blocks]
    assert [values["threshold"] for values in found if values][-1] == "1"
    moved = [one for block in blocks for one in block.transfers if one.kind is TransferKind.RECONCILED]
    assert sum(one.value if one.to_address == safe.address else -one.value for one in moved) == -5
    if ahead <= 2:  # that is for how long what looks like a change is not believed
        assert [values is not None for values in found] == [False, False, True, False]
        assert [(one.value, one.block.number - base) for one in moved] == [(5, 4)]


async def test_modules_and_guards(node: Driver, safe: Safe, watcher: Any) -> None:
    """What the Safe itself changes, with its events, is read as well."""
    module_, guard = deploy(node, node.accounts[0], "PayingModule"), deploy(node, node.accounts[0], "IdleGuard")
    chain = watcher(node.url, safe.address)
    await last(chain)
    for function, given, key in (
        ("enableModule", module_.address, "modules"), ("setGuard", guard.address, "guard"),
        ("setFallbackHandler", guard.address, "fallback"),
    ):  # fmt: skip
        safe.on_itself(function, given)
        values = said(await last(chain), safe.address)
        assert values is not None and values[key] == given
    safe.on_itself("changeThreshold", 3)
    safe.threshold = 3
    values = said(await last(chain), safe.address)
    assert values is not None and values["threshold"] == "3"


async def test_upgrade_by_a_write(node: Driver, watcher: Any) -> None:
    """A proxy's implementation, its admin's owner, and a beacon's implementation: changed where no event tells."""
    boss = node.accounts[0]
    one, two = deploy(node, boss, "LogicOne"), deploy(node, boss, "LogicTwo")
    treasury = deploy(node, boss, "Treasury")  # stands for a ProxyAdmin: a contract with an owner
    proxy, behind = deploy(node, boss, "Purse"), deploy(node, boss, "Purse")
    beacon = deploy(node, boss, "UpgradeableBeacon", one.address)
    node.store(proxy.address, IMPLEMENTATION, word(one.address))
    node.store(proxy.address, ADMIN, word(treasury.address))
    node.store(behind.address, BEACON, word(beacon.address))
    chain = watcher(node.url, proxy.address, behind.address)
    block = await last(chain)
    values, other = said(block, proxy.address), said(block, behind.address)
    assert values is not None and other is not None
    assert (values["form"], values["implementation"], values["admin"]) == ("proxy", one.address, treasury.address)
    assert (values["owner"], values["beacon"]) == (boss, "")
    assert (other["form"], other["implementation"], other["beacon"]) == ("proxy", one.address, beacon.address)
    node.store(proxy.address, IMPLEMENTATION, word(two.address))
    values = said(await last(chain), proxy.address)
    assert values is not None and values["implementation"] == two.address
    treasury.send(boss, "transferOwnership", node.accounts[9])
    block = await last(chain)
    assert said(block, proxy.address) == {**values, "owner": node.accounts[9]} and len(block.readings) == 1
    beacon.send(boss, "upgradeTo", two.address)
    block = await last(chain)
    assert said(block, behind.address) == {
        **other, "implementation": two.address, "implementation_code": values["implementation_code"]
    }  # fmt: skip
    assert len(block.readings) == 1


async def test_owner_of_a_contract(node: Driver, watcher: Any) -> None:
    """A plain contract is asked for its owner; a call that has no answer is no key."""
    boss = node.accounts[0]
    treasury = deploy(node, boss, "Treasury")
    chain = watcher(node.url, treasury.address)
    values = said(await last(chain), treasury.address)
    assert values is not None and (values["form"], values["owner"]) == ("contract", boss)
    assert "delay" not in values and "pending_owner" not in values
    node.store(treasury.address, "0x" + "0" * 64, word(node.accounts[9]))
    values = said(await last(chain), treasury.address)
    assert values is not None and values["owner"] == node.accounts[9]


def authorize(node: Driver, delegate: str, nonce: int) -> None:
    """Another account's transaction with an authorization that the owner of `KEY` signed."""
    signed = Account.sign_authorization({"chainId": 31337, "address": delegate, "nonce": nonce}, KEY)
    entry = {
        "chainId": "0x7a69", "address": delegate, "nonce": hex(nonce), "yParity": hex(signed.y_parity),
        "r": hex(signed.r), "s": hex(signed.s),
    }  # fmt: skip
    boss = node.accounts[0]
    terms = {"from": boss, "to": boss, "gas": "0x100000", "type": "0x4", "authorizationList": [entry]}
    assert node.rpc("eth_sendTransactionSync", terms)["status"] == "0x1"


@pytest.mark.parametrize("told", [False, True])
async def test_delegation(node: Driver, gate: Gate, watcher: Any, told: bool) -> None:
    """A type-4 transaction makes an account run other code, and takes it back; each is said in its block."""
    owner, plain = node.accounts[1], node.accounts[2]
    sweeper = deploy(node, node.accounts[0], "Sweeper")
    gate.authorizations = told
    chain = watcher(gate.url, owner, plain)
    assert said(await last(chain), owner) is not None
    authorize(node, sweeper.address, 0)
    block = await last(chain)
    values = said(block, owner)
    assert values is not None and len(block.readings) == 1
    assert (values["code"], values["delegate"], values["form"]) == ("delegated", sweeper.address, "account")
    assert values["implementation_code"] == code_hash(node.rpc("eth_getCode", sweeper.address, "latest"))
    assert (block.readings[0].tx is not None) is told
    node.rpc("evm_mine")
    assert (await last(chain)).readings == ()
    authorize(node, ZERO, 1)
    values = said(await last(chain), owner)
    assert values is not None and (values["code"], values["delegate"]) == ("none", "")


@pytest.mark.parametrize("told", [False, True])
async def test_owner_of_a_safe_delegates(node: Driver, gate: Gate, watcher: Any, told: bool) -> None:
    """An owner who lets foreign code act for him is named in that block, or at the hourly reading at the latest."""
    people = node.accounts
    singleton, factory = deploy(node, people[0], "Safe"), deploy(node, people[0], "SafeProxyFactory")
    safe, sweeper = Safe(node, [people[3], people[1]], 1, singleton, factory), deploy(node, people[0], "Sweeper")
    gate.authorizations = told
    chain = watcher(gate.url, safe.address)
    values = said(await last(chain), safe.address)
    assert values is not None and values["owner_delegates"] == ""
    node.rpc("evm_mine")
    assert (await last(chain)).readings == ()
    authorize(node, sweeper.address, 0)
    values = said(await last(chain), safe.address)
    if not told:
        assert values is None
        node.rpc("evm_increaseTime", module.SWEEP_SECONDS + 1)
        node.rpc("evm_mine")
        values = said(await last(chain), safe.address)
    assert values is not None and values["owner_delegates"] == f"{people[1]}={sweeper.address}"


async def test_created_later(node: Driver, watcher: Any) -> None:
    """A watched address without code becomes a Safe: seen in the block in which it first speaks."""
    people = node.accounts
    singleton, factory = deploy(node, people[0], "Safe"), deploy(node, people[0], "SafeProxyFactory")
    snapshot = node.rpc("evm_snapshot")
    address = Safe(node, people[3:6], 2, singleton, factory).address
    node.rpc("evm_revert", snapshot)
    node.rpc("anvil_dropAllTransactions")  # what was taken back may wait to be mined again
    node.rpc("evm_mine")
    chain = watcher(node.url, address)
    values = said(await last(chain), address)
    assert values is not None and values["code"] == "none"
    assert Safe(node, people[3:6], 2, singleton, factory).address == address
    values = said(await last(chain), address)
    assert values is not None and (values["form"], values["threshold"]) == ("safe", "2")


async def test_reorganisation(node: Driver, safe: Safe, watcher: Any) -> None:
    """The other branch says of a change what its own blocks show: nothing before it, and the change when it comes."""
    chain = watcher(node.url, safe.address)
    base = (await last(chain)).ref
    snapshot = node.rpc("evm_snapshot")
    safe.on_itself("changeThreshold", 1)
    gone = [await chain.block(number) for number in range(base.number + 1, node.height + 1)]
    assert [len(block.readings) for block in gone] == [0, 1]
    node.rpc("evm_revert", snapshot)
    node.rpc("evm_increaseTime", 77)  # other hashes
    node.rpc("evm_mine")
    other = await last(chain)
    assert other.parent_hash == base.hash and other.readings == ()  # as its parent showed it
    safe.on_itself("changeThreshold", 1)
    anew = [await chain.block(number) for number in range(other.ref.number + 1, node.height + 1)]
    assert [len(block.readings) for block in anew] == [0, 1]
    values = said(anew[-1], safe.address)
    assert values is not None and values["threshold"] == "1"


async def test_approvals_say_who_may_spend(node: Driver, watcher: Any) -> None:
    """Whether a spender is a contract, and how old, is part of an approval."""
    boss, stranger = node.accounts[0], node.accounts[9]
    token = deploy(node, boss, "OddToken", 0)
    spender = deploy(node, boss, "Purse")
    chain = watcher(node.url, boss)
    details = []
    for who in (spender.address, stranger):
        token.send(boss, "approve", who, 5)
        (event,) = [one for one in (await last(chain)).controls if one.kind is ControlKind.APPROVAL]
        details.append(event.detail)
    assert (details[0]["spender_code"], details[0]["spender_age"]) == ("contract", "young")
    assert details[1]["spender_code"] == "none" and "spender_age" not in details[1]


async def test_age(node: Driver, watcher: Any) -> None:
    """Code that was there a week ago is old."""
    treasury, one = deploy(node, node.accounts[0], "Treasury"), deploy(node, node.accounts[0], "LogicOne")
    node.store(treasury.address, IMPLEMENTATION, word(one.address))
    chain = watcher(node.url, treasury.address)
    chain._accounts._codes._week = 4  # blocks, in place of 50,400
    values = said(await last(chain), treasury.address)
    assert values is not None and values["implementation_age"] == "young"
    node.rpc("anvil_mine", "0x8", hex(module.SWEEP_SECONDS))
    values = said(await last(chain), treasury.address)
    assert values is not None and values["implementation_age"] == "old"


async def test_an_endpoint_without_state(node: Driver, safe: Safe, gate: Gate, watcher: Any) -> None:
    """What was decoded is handed over all the same, and the blind spot is named; later the change is said."""
    chain = watcher(gate.url, safe.address)
    await last(chain)
    gate.refused = {"eth_getProof", "eth_getStorageAt", "eth_getCode", "eth_getBalance"}
    safe.on_itself("changeThreshold", 1)
    send(node, node.accounts[0], safe.address, value=7)
    block = await last(chain)
    assert [transfer.value for transfer in block.transfers] == [7] and block.readings == ()
    assert "state of accounts" in block.blind_spots and "internal transfers" in block.blind_spots
    gate.refused = set()
    node.rpc("evm_mine")
    block = await last(chain)
    values = said(block, safe.address)
    assert values is not None and values["threshold"] == "1" and "state of accounts" not in block.blind_spots


async def test_a_stalled_endpoint(node: Driver, safe: Safe, gate: Gate, watcher: Any) -> None:
    """A block does not wait long for the state of its accounts."""
    chain = watcher(gate.url, safe.address)
    chain._accounts._patience = 0.0
    block = await last(chain)
    assert block.readings == () and "state of accounts" in block.blind_spots
    chain._accounts._patience = 60.0
    node.rpc("evm_mine")
    assert said(await last(chain), safe.address) is not None


async def test_many_accounts_in_rotation(node: Driver, watcher: Any, monkeypatch: Any) -> None:
    """More accounts than a block may ask about take turns, those that the block touches first."""
    boss = node.accounts[0]
    made = [deploy(node, boss, "Treasury").address for _ in range(5)]
    monkeypatch.setattr(module, "MOST_PROBES", 2)
    monkeypatch.setattr(module, "MOST_CHANGED", 2)
    monkeypatch.setattr(module, "MOST_FIRST", 3)
    chain = watcher(node.url, *made)
    first = await last(chain)
    assert len(first.readings) == 3 and "state of 2 accounts is read in rotation" in first.blind_spots
    node.rpc("evm_mine")
    second = await last(chain)
    assert {reading.account for reading in (*first.readings, *second.readings)} == set(made)
    for one in made:  # nobody touches it: its turn comes within three blocks
        node.store(one, "0x" + "0" * 64, word(node.accounts[9]))
        found = [said(await last(chain), one)]
        for _ in range(3):
            node.rpc("evm_mine")
            found.append(said(await last(chain), one))
        assert [values["owner"] for values in found if values] == [node.accounts[9]]
    Contract(node, made[3], artifact("Treasury")).send(node.accounts[9], "transferOwnership", boss)
    block = await last(chain)
    values = said(block, made[3])
    assert (
        values is not None
        and values["owner"] == boss
        and "state of 3 accounts is read in rotation" in block.blind_spots
    )


def test_options() -> None:
    """Reading can be turned off; anything else is said to be wrong."""
    spec = ChainSpec("local", "evm", CHAIN, ("http://127.0.0.1:1",), accounts=("0x1",), options={"state": "often"})
    with pytest.raises(ConfigError, match=r"options\.state"):
        EvmChain(spec, frozenset())


def test_news() -> None:
    """A reading is left out only where it is known to be no news."""
    emitted, old, new = Emitted(), {"owner": "a"}, {"owner": "b"}
    assert emitted.news("0", "1", {"x": old}) == ["x"]  # first sight
    assert emitted.news("1", "2", {"x": old}) == []
    assert emitted.news("3", "4", {"x": new}) == ["x"]  # read ahead of its parent
    assert emitted.news("2", "3", {"x": new}) == ["x"]  # its parent, later: it is the one that changed
    assert emitted.news("4", "5", {"x": new}) == []
    assert emitted.news("1", "2b", {"x": new}) == ["x"]  # another branch
    assert emitted.news("9", "10", {"x": old}) == ["x"]  # nothing known of the parent, and not all say so
    emitted.forget("5")
    assert emitted.news("5", "6", {"x": new}) == ["x"]
