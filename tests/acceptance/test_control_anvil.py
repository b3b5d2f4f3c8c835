"""Changes of control on a real node with released contracts: alerted in their block, and silent where they are planned.

One node, one monitor, an entity a scenario: each theft has a benign twin that uses the same means.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import function_signature_to_4byte_selector, to_checksum_address

from tests.contracts.artifacts import PERMIT2, permit2_code
from tests.contracts.chain import ZERO, Safe, deploy, multisend, send

CHAIN = "eip155:1"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ETHER = 10**18
MNEMONIC = "test test test test test test test test test test test junk"  # anvil's own, public
LIMIT = 2**256 - 1


def key_of(number: int) -> Any:
    """The key of the node's account of that number."""
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}")


def fresh(number: int) -> str:
    """An address that nobody has used."""
    return f"0x{0xFEED0000 + number:040x}"


class Field:
    """The node, its contracts and the wallets of all scenarios."""

    def __init__(self, node: Any) -> None:
        self.node = node
        node.rpc("anvil_setCode", PERMIT2, permit2_code())
        self.boss, self.thief, self.helper = node.accounts[:3]
        self.people = iter(range(3, 100))  # numbers of accounts that belong to nobody yet
        self.singleton = deploy(node, self.boss, "Safe")
        self.factory = deploy(node, self.boss, "SafeProxyFactory")
        self.feed = deploy(node, self.boss, "Feed", 2_000 * 10**8)
        self.token = deploy(node, self.boss, "ERC20PresetMinterPauser", "Coin", "COIN")
        self.wallets: list[dict[str, Any]] = []
        self.planned: list[dict[str, Any]] = []

    def person(self) -> tuple[str, Any]:
        """An account of its own, with its key."""
        number = next(self.people)
        return self.node.accounts[number], key_of(number)

    def watch(self, entity: str, address: str, role: str = "treasury", **more: Any) -> None:
        """Put an address on the watch list."""
        entry = {"id": f"w-{entity}", "entity": entity, "role": role, "addresses": [f"ethereum:{address}"]}
        self.wallets.append({**entry, **more})

    def plan(self, account: str, kind: str, value: str) -> None:
        """Announce a change of control."""
        self.planned.append({"account": f"ethereum:{account}", "kind": kind, "value": value})

    def safe(self, entity: str, threshold: int = 2, **more: Any) -> Safe:
        """A watched Safe with three owners and 100 ETH."""
        owners = [self.person()[0] for _ in range(3)]
        safe = Safe(self.node, owners, threshold, self.singleton, self.factory)
        send(self.node, self.boss, safe.address, value=100 * ETHER)
        self.watch(entity, safe.address, **more)
        return safe


SCENES: dict[str, Callable[[Field], Any]] = {}
ORDER = ["low", "medium", "high", "critical"]


def scene(build: Callable[[Field], Any]) -> Callable[[Field], Any]:
    """What a test finds in the field under the name of this function; made before the monitor starts."""
    SCENES[build.__name__] = build
    return build


@pytest.fixture(scope="module")
def made(
    make_node: Callable[..., Any], make_receiver: Callable[[], Any], watch: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:  # fmt: skip
    """Everything deployed and watched, before anything happens."""
    node = make_node("--chain-id", "1", "--accounts", "100")
    field = Field(node)
    made = SimpleNamespace(field=field, **{name: build(field) for name, build in SCENES.items()})
    receiver = make_receiver()
    hook = f"http://127.0.0.1:{receiver.port}/hook"
    config = {
        "version": 1,
        "chains": [{"name": "ethereum", "endpoints": json.loads(node.endpoints), "backfill": 0}],
        "assets": [{"chain": "ethereum", "asset": field.token.address, "symbol": "COIN", "decimals": 18}],
        "wallets": field.wallets,
        "planned": field.planned,
        "prices": {"source": "chainlink", "feeds": {"ethereum:native": f"ethereum:{field.feed.address}"}, "every": 1},
        "http": {"listen": "127.0.0.1:0", "token": "a-token-of-the-tests"},
        "receivers": [{"name": "soc", "channels": [{"type": "webhook", "url": hook, "secret": SECRET}]}],
        "route": {"receiver": "soc"},
    }
    path = tmp_path_factory.mktemp("control") / "heistwatch.yaml"
    path.write_text(json.dumps(config))
    made.monitor, made.receiver = watch(path).ready(), receiver
    node.mine(2)
    made.monitor.scanned(node.height, CHAIN)
    assert receiver.posts == []  # what was there from the beginning is no news
    yield made


def alerted(made: Any, entity: str, receipt: Mapping[str, Any], detector: str, severity: str = "critical") -> Any:
    """The newest message about the entity, once its block is read: opened in that very block, by this detector."""
    first = made.receiver.wait(entity, "incident.opened").incident
    assert first["opened_block"] == receipt["block"], (first["opened_block"], receipt["block"], first["findings"])
    made.monitor.scanned(receipt["block"], CHAIN)
    incident = made.receiver.of(entity)[-1].incident
    assert detector in {finding["detector"] for finding in incident["findings"]}, incident["findings"]
    assert ORDER.index(incident["severity"]) >= ORDER.index(severity), incident["findings"]
    return incident


def with_loss(made: Any, entity: str, assets: int = 1) -> Any:
    """The incident as the first message tells it that knows of a loss of so many assets."""
    for count in itertools.count(1):
        incident = made.receiver.wait(entity, None, count).incident
        if len(incident["lost"]) >= assets:
            return incident


def silent(made: Any, entity: str, receipt: Mapping[str, Any]) -> None:
    """The block was read, and nobody was told anything."""
    made.monitor.scanned(receipt["block"] + 1, CHAIN)
    assert [post.incident["findings"] for post in made.receiver.of(entity)] == []


def after(made: Any, receipt: Mapping[str, Any]) -> Mapping[str, Any]:
    """The receipt, once there is a block above it."""
    made.field.node.mine()
    return receipt


# -- a Safe -----------------------------------------------------------------------------------------------------------


@scene
def swapped(field: Field) -> Any:
    """The implementation is exchanged by a delegatecall that looks like a token transfer."""
    writer, door = deploy(field.node, field.thief, "SlotWriter"), deploy(field.node, field.thief, "Backdoor")
    return SimpleNamespace(safe=field.safe("swapped"), writer=writer, door=door)


def test_a_safe_whose_implementation_is_swapped_without_an_event(made: Any) -> None:
    """Before any coin moves; when it does, it is the same incident."""
    scene, thief = made.swapped, fresh(1)
    data = scene.writer.data("transfer", scene.door.address, 0)
    receipt = scene.safe.execute(scene.writer.address, data, operation=1)
    incident = alerted(made, "swapped", receipt, "CT-1")
    assert {"CT-1", "CT-2"} <= {finding["detector"] for finding in incident["findings"]}
    assert incident["lost"] == [] and incident["opened_tx"] == receipt["transactionHash"]
    assert scene.door.address in json.dumps(incident["findings"])
    swept = send(made.field.node, made.field.thief, scene.safe.address, scene.door.data("sweepETH", thief))
    made.monitor.scanned(swept["block"], CHAIN)
    grown = with_loss(made, "swapped")
    assert grown["id"] == incident["id"] and [item["value"] for item in grown["lost"]] == [str(100 * ETHER)]
    assert thief in grown["suspects"]


@scene
def batched(field: Field) -> Any:
    """Two small payments at once, through the library that was made for it."""
    friend = fresh(2)
    batch = deploy(field.node, field.boss, "MultiSendCallOnly")
    safe = field.safe("batched", trusted=[f"ethereum:{friend}"])
    return SimpleNamespace(safe=safe, batch=batch, friend=friend)


def test_a_batch_through_the_released_library_is_silent(made: Any) -> None:
    """A delegatecall like that of the theft, to pinned code."""
    scene = made.batched
    calls = multisend([(0, scene.friend, ETHER, "0x"), (0, scene.friend, 2 * ETHER, "0x")])
    receipt = scene.safe.execute(scene.batch.address, scene.batch.data("multiSend", calls), operation=1)
    silent(made, "batched", after(made, receipt))


@scene
def owners_written(field: Field) -> Any:
    """One owner is exchanged in storage, without an event."""
    return SimpleNamespace(safe=field.safe("written"), writer=deploy(field.node, field.thief, "OwnerWriter"))


def test_owners_that_change_without_an_event(made: Any) -> None:
    """The state says it: nobody emitted anything."""
    scene = made.owners_written
    first, second = scene.safe.owners[:2]  # in the Safe's linked list the second follows the first
    data = scene.writer.data("exchange", first, second, made.field.thief)
    receipt = scene.safe.execute(scene.writer.address, data, operation=1)
    incident = alerted(made, "written", receipt, "CT-3")
    assert made.field.thief in json.dumps(incident["findings"])


SAFE_CHANGES = [  # entity, function, arguments, detector, least severity, kind and value of the plan
    ("owner", "addOwnerWithThreshold", lambda f: (fresh(10), 2), "CT-3", "high", ("owner_change", fresh(10))),
    ("threshold", "changeThreshold", lambda f: (1,), "CT-3", "critical", ("threshold_change", "1")),
    ("module", "enableModule", lambda f: (f.module.address,), "CT-4", "critical", ("module_change", "module")),
    ("guard", "setGuard", lambda f: (f.guard.address,), "CT-4", "high", ("guard_change", "guard")),
    ("fallback", "setFallbackHandler", lambda f: (fresh(11),), "CT-4", "high", ("fallback_change", fresh(11))),
]


@scene
def changed(field: Field) -> Any:
    """A Safe for each change of control, and its twin that announced the same change."""
    field.module = deploy(field.node, field.thief, "PayingModule")
    field.guard = deploy(field.node, field.thief, "IdleGuard")
    found = {}
    for entity, _, _, _, _, (kind, value) in SAFE_CHANGES:
        found[entity], twin = field.safe(entity), field.safe(f"{entity}-planned")
        found[f"{entity}-planned"] = twin
        field.plan(twin.address, kind, {"module": field.module.address, "guard": field.guard.address}.get(value, value))
    return found


@pytest.mark.parametrize(("entity", "function", "arguments", "detector", "severity", "plan"), SAFE_CHANGES)
def test_changes_of_a_safe(
    made: Any, entity: str, function: str, arguments: Any, detector: str, severity: str, plan: Any
) -> None:
    """Each is alerted in its block, and silent where exactly it was announced."""
    receipt = made.changed[entity].on_itself(function, *arguments(made.field))
    alerted(made, entity, receipt, detector, severity)
    twin = made.changed[f"{entity}-planned"].on_itself(function, *arguments(made.field))
    silent(made, f"{entity}-planned", after(made, twin))


@scene
def unguarded(field: Field) -> Any:
    """A Safe with a guard from the beginning."""
    safe, guard = field.safe("unguarded"), deploy(field.node, field.boss, "IdleGuard")
    safe.on_itself("setGuard", guard.address)
    return safe


def test_a_guard_that_is_removed(made: Any) -> None:
    """Critical: what protected is gone."""
    alerted(made, "unguarded", made.unguarded.on_itself("setGuard", ZERO), "CT-4")


@scene
def moduled(field: Field) -> Any:
    """A module that was enabled long ago pays: an internal transfer, with no transaction from the Safe."""
    safe, module = field.safe("moduled"), deploy(field.node, field.thief, "PayingModule")
    safe.on_itself("enableModule", module.address)
    return SimpleNamespace(safe=safe, module=module)


# -- proxies, owners, time locks --------------------------------------------------------------------------------------


@scene
def upgraded(field: Field) -> Any:
    """Two proxies with ether, one of which announced its upgrade."""
    one, two = deploy(field.node, field.boss, "LogicOne"), deploy(field.node, field.boss, "LogicTwo")
    admin = deploy(field.node, field.boss, "ProxyAdmin")
    made = []
    for entity in ("upgraded", "upgraded-planned"):
        proxy = deploy(field.node, field.boss, "TransparentUpgradeableProxy", one.address, admin.address, b"")
        send(field.node, field.boss, proxy.address, value=10 * ETHER)
        field.watch(entity, proxy.address)
        made.append(proxy)
    field.plan(made[1].address, "implementation_change", two.address)
    return SimpleNamespace(proxies=made, two=two, admin=admin)


def test_a_proxy_that_is_upgraded(made: Any) -> None:
    scene = made.upgraded
    receipts = [scene.admin.send(made.field.boss, "upgrade", p.address, scene.two.address) for p in scene.proxies]
    incident = alerted(made, "upgraded", receipts[0], "CT-5", "high")
    assert scene.two.address in json.dumps(incident["findings"])
    silent(made, "upgraded-planned", after(made, receipts[1]))


@scene
def beaconed(field: Field) -> Any:
    """A proxy that asks a beacon for its implementation: the watched contract itself never changes."""
    one, two = deploy(field.node, field.boss, "LogicOne"), deploy(field.node, field.boss, "LogicTwo")
    beacon = deploy(field.node, field.boss, "UpgradeableBeacon", one.address)
    proxy = deploy(field.node, field.boss, "BeaconProxy", beacon.address, b"")
    field.watch("beaconed", proxy.address)
    return SimpleNamespace(beacon=beacon, two=two)


def test_a_beacon_that_is_upgraded(made: Any) -> None:
    receipt = made.beaconed.beacon.send(made.field.boss, "upgradeTo", made.beaconed.two.address)
    alerted(made, "beaconed", receipt, "CT-5", "high")


@scene
def owned(field: Field) -> Any:
    """Two treasuries of their own, one of which announced its next owner."""
    made = [deploy(field.node, field.boss, "Treasury") for _ in range(2)]
    for entity, treasury in zip(("owned", "owned-planned"), made, strict=True):
        send(field.node, field.boss, treasury.address, value=10 * ETHER)
        field.watch(entity, treasury.address)
    field.plan(made[1].address, "owner_change", field.helper)
    return made


def test_a_treasury_with_another_owner(made: Any) -> None:
    receipts = [t.send(made.field.boss, "transferOwnership", made.field.helper) for t in made.owned]
    alerted(made, "owned", receipts[0], "CT-6", "high")
    silent(made, "owned-planned", after(made, receipts[1]))


@scene
def locked(field: Field) -> Any:
    """A time lock of two days."""
    lock = deploy(field.node, field.boss, "TimelockController", 0, [field.boss], [field.boss], field.boss)
    field.watch("locked", lock.address)
    how = (lock.address, 0, bytes.fromhex(lock.data("updateDelay", 172_800)[2:]), bytes(32), bytes(32))
    lock.send(field.boss, "schedule", *how, 0)
    lock.send(field.boss, "execute", *how)
    return lock


def test_a_role_in_a_time_lock(made: Any) -> None:
    """Somebody new may execute."""
    role = bytes.fromhex(made.locked.ask("EXECUTOR_ROLE")[2:])
    receipt = made.locked.send(made.field.boss, "grantRole", role, made.field.thief)
    alerted(made, "locked", receipt, "CT-6", "high")


# -- accounts of people -----------------------------------------------------------------------------------------------


@scene
def delegated(field: Field) -> Any:
    """Two accounts, and code that lets anybody sweep them (EIP-7702)."""
    sweeper = deploy(field.node, field.thief, "Sweeper")
    people = [field.person(), field.person()]
    field.watch("delegated", people[0][0], "hot")
    field.watch("delegated-planned", people[1][0], "hot")
    field.plan(people[1][0], "delegation", sweeper.address)
    return SimpleNamespace(sweeper=sweeper, people=people)


def delegate(node: Any, key: Any, target: str) -> Mapping[str, Any]:
    """A type-4 transaction in which the account lets ``target`` act for it; the receipt."""
    nonce = int(node.rpc("eth_getTransactionCount", key.address, "latest"), 16)
    terms = {"chainId": 1, "address": to_checksum_address(target), "nonce": nonce + 1}
    allowed = Account.sign_authorization(terms, key.key)
    signed = Account.sign_transaction(
        {"type": 4, "chainId": 1, "nonce": nonce, "to": key.address, "value": 0, "gas": 200_000, "data": b"",
         "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "authorizationList": [allowed]}, key.key,
    )  # fmt: skip
    receipt = node.rpc("eth_sendRawTransactionSync", "0x" + signed.raw_transaction.hex())
    assert receipt["status"] == "0x1"
    return {**receipt, "block": int(receipt["blockNumber"], 16)}


def test_an_account_that_lets_others_act_for_it(made: Any) -> None:
    scene, node = made.delegated, made.field.node
    receipts = [delegate(node, key, scene.sweeper.address) for _, key in scene.people]
    alerted(made, "delegated", receipts[0], "CT-12")
    silent(made, "delegated-planned", after(made, receipts[1]))


@scene
def approving(field: Field) -> Any:
    """Holders of a token; a drainer who is a plain account, and a contract that one of them trusts."""
    people = [field.person(), field.person()]
    market = deploy(field.node, field.boss, "Purse")
    for address, _ in people:
        field.token.send(field.boss, "mint", address, 1000 * ETHER)
    field.watch("approving", people[0][0], "personal")
    field.watch("approving-trusted", people[1][0], "personal", trusted=[f"ethereum:{market.address}"])
    return SimpleNamespace(people=[address for address, _ in people], market=market)


def test_an_approval_and_what_follows(made: Any) -> None:
    """The approval itself is alerted; the spending joins it."""
    scene, token, thief = made.approving, made.field.token, made.field.thief
    receipt = token.send(scene.people[0], "approve", thief, LIMIT)
    incident = alerted(made, "approving", receipt, "PW-5", "high")
    taken = token.send(thief, "transferFrom", scene.people[0], fresh(20), 990 * ETHER)
    made.monitor.scanned(taken["block"], CHAIN)
    grown = with_loss(made, "approving")
    assert grown["id"] == incident["id"] and [item["value"] for item in grown["lost"]] == [str(990 * ETHER)]
    twin = token.send(scene.people[1], "approve", scene.market.address, LIMIT)
    silent(made, "approving-trusted", after(made, twin))


@scene
def permitting(field: Field) -> Any:
    """Holders who use Permit2: two tokens, approved for it long ago."""
    other = deploy(field.node, field.boss, "ERC20PresetMinterPauser", "Other", "OTHER")
    people = [field.person(), field.person()]
    for address, _ in people:
        for token in (field.token, other):
            token.send(field.boss, "mint", address, 500 * ETHER)
            token.send(address, "approve", PERMIT2, LIMIT)
    router = deploy(field.node, field.boss, "Purse")
    field.watch("permitting", people[0][0], "personal")
    field.watch("permitting-trusted", people[1][0], "personal", trusted=[f"ethereum:{router.address}"])
    return SimpleNamespace(people=people, other=other, router=router)


def permit(field: Field, key: Any, tokens: list[str], spender: str) -> Mapping[str, Any]:
    """A signed batch permission, brought to the chain by the thief; the receipt."""
    end = 2**48 - 1
    details = [{"token": to_checksum_address(t), "amount": 2**160 - 1, "expiration": end, "nonce": 0} for t in tokens]
    message = {"details": details, "spender": to_checksum_address(spender), "sigDeadline": end}
    one = [("token", "address"), ("amount", "uint160"), ("expiration", "uint48"), ("nonce", "uint48")]
    types = {
        "PermitBatch": [{"name": "details", "type": "PermitDetails[]"}, {"name": "spender", "type": "address"},
                        {"name": "sigDeadline", "type": "uint256"}],
        "PermitDetails": [{"name": name, "type": kind} for name, kind in one],
    }  # fmt: skip
    domain = {"name": "Permit2", "chainId": 1, "verifyingContract": to_checksum_address(PERMIT2)}
    signed = Account.sign_typed_data(key.key, domain, types, message)
    head = function_signature_to_4byte_selector(
        "permit(address,((address,uint160,uint48,uint48)[],address,uint256),bytes)"
    )
    rows = [(d["token"], d["amount"], d["expiration"], d["nonce"]) for d in details]
    body = encode(
        ["address", "((address,uint160,uint48,uint48)[],address,uint256)", "bytes"],
        [key.address, (rows, message["spender"], end), signed.signature],
    )
    return send(field.node, field.thief, PERMIT2, "0x" + (head + body).hex())


def test_a_batch_permission_that_was_signed_off_the_chain(made: Any) -> None:
    """Its first trace on the chain is the thief's own transaction: alerted there, and when he spends, one incident."""
    scene, field = made.permitting, made.field
    tokens = [field.token.address, scene.other.address]
    receipt = permit(field, scene.people[0][1], tokens, field.thief)
    incident = alerted(made, "permitting", receipt, "PW-5", "high")
    head = function_signature_to_4byte_selector("transferFrom((address,address,uint160,address)[])")
    owner = to_checksum_address(scene.people[0][0])
    moves = [(owner, to_checksum_address(fresh(21)), 500 * ETHER, to_checksum_address(token)) for token in tokens]
    body = encode(["(address,address,uint160,address)[]"], [moves])
    taken = send(field.node, field.thief, PERMIT2, "0x" + (head + body).hex())
    made.monitor.scanned(taken["block"], CHAIN)
    grown = with_loss(made, "permitting", 2)
    assert grown["id"] == incident["id"] and len(grown["lost"]) == 2
    silent(made, "permitting-trusted", after(made, permit(field, scene.people[1][1], tokens, scene.router.address)))


@scene
def poisoned(field: Field) -> Any:
    """A holder who pays a friend; somebody plants an address that looks like the friend's."""
    people = [field.person(), field.person()]
    friend = "0xabcde00000000000000000000000000000012345"
    look_alike = "0xabcde99999999999999999999999999999912345"
    fake = deploy(field.node, field.thief, "FakeToken", "COIN")
    for entity, (address, _) in zip(("poisoned", "careful"), people, strict=True):
        field.watch(entity, address, "personal")
    return SimpleNamespace(
        people=[address for address, _ in people], friend=friend, look_alike=look_alike, fake=fake
    )


def test_a_planted_address_that_is_then_paid(made: Any) -> None:
    """The planting is no alarm; paying it is. Who pays the friend again hears nothing."""
    scene, node = made.poisoned, made.field.node
    for person in scene.people:
        send(node, person, scene.friend, value=50 * ETHER)
        planted = scene.fake.send(made.field.thief, "forge", person, scene.look_alike, 50 * 10**6)
    made.monitor.scanned(planted["block"], CHAIN)
    assert made.receiver.of("poisoned") == made.receiver.of("careful") == []
    receipt = send(node, scene.people[0], scene.look_alike, value=50 * ETHER)
    incident = alerted(made, "poisoned", receipt, "PW-6")
    assert scene.friend in json.dumps(incident["findings"]) and incident["suspects"] == [scene.look_alike]
    silent(made, "careful", after(made, send(node, scene.people[1], scene.friend, value=50 * ETHER)))


# -- coins that move inside of calls ----------------------------------------------------------------------------------


@scene
def inner(field: Field) -> Any:
    """Treasuries that pay from inside a call."""
    friend, made = fresh(30), []
    for entity, more in (("inner", {}), ("inner-trusted", {"trusted": [f"ethereum:{friend}"]}), ("reverted", {})):
        treasury = deploy(field.node, field.boss, "Treasury")
        send(field.node, field.boss, treasury.address, value=100 * ETHER)
        field.watch(entity, treasury.address, **more)
        made.append(treasury)
    return SimpleNamespace(treasuries=made, friend=friend)


def test_a_treasury_that_is_emptied_from_inside(made: Any) -> None:
    """No log, no transaction of its own. The twins: a trusted receiver, and a payment that was reverted."""
    scene, boss, thief = made.inner, made.field.boss, fresh(31)
    receipt = scene.treasuries[0].send(boss, "payThroughPurse", thief, 90 * ETHER)
    incident = alerted(made, "inner", receipt, "GUARD")
    assert [item["value"] for item in incident["lost"]] == [str(90 * ETHER)]
    assert incident["lost_usd"] == incident["lost"][0]["usd"] == 180_000.0  # the feed is read through the same node
    twin = scene.treasuries[1].send(boss, "pay", scene.friend, 90 * ETHER)
    undone = scene.treasuries[2].send(boss, "tryToPay", thief, 90 * ETHER)
    silent(made, "inner-trusted", after(made, twin))
    silent(made, "reverted", after(made, undone))


def test_a_module_that_pays(made: Any) -> None:
    receipt = made.moduled.module.send(made.field.thief, "pay", made.moduled.safe.address, fresh(32), 95 * ETHER)
    alerted(made, "moduled", receipt, "GUARD")
