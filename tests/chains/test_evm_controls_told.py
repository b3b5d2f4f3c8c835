"""Control events of whole transactions: what took effect, who gave an approval, what a new contract says of itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eth_abi import encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chains.base import ChainSpec
from chains.evm.abi import topic
from chains.evm.calls import InternalCall
from chains.evm.controls.control import ZERO
from chains.evm.controls.events import _OWN, APPROVALS
from chains.evm.controls.safe_events import MODULE_RAN, PROXY, RAN, SETUP
from chains.evm.controls.told import Happened, controls_of
from chains.evm.decode import touching
from chains.evm.watcher import EvmChain
from chains.evm.wire import RpcAuthorization, RpcBlock, RpcLog, RpcTx
from tests.contracts.artifacts import artifact
from tests.contracts.chain import Safe, deploy
from tests.contracts.driver import Driver

OWNER, SPENDER, THIEF, TOKEN, SAFE, CODE = ("0x" + c * 20 for c in ("a1", "b2", "c3", "d4", "e5", "f6"))
CHAIN, WATCH = "eip155:1", {OWNER, SAFE}
ETHER = 10**18
APPROVAL, TRANSFER = topic("Approval(address,address,uint256)"), topic("Transfer(address,address,uint256)")


def word(value: int | str) -> str:
    return f"0x{value if isinstance(value, int) else int(value, 16):064x}"


def call(name: str, function: str, *arguments: Any) -> str:
    return artifact(name).call(function, *arguments)


def tx(sender: str, to: str | None, data: str = "0x", **more: Any) -> RpcTx:
    return RpcTx("0x1", sender, to, "0x0", input=msgspec.Raw(msgspec.json.encode(data)), **more)


def inside(sender: str, receiver: str, data: str, kind: str = "call") -> InternalCall:
    return InternalCall(0, kind, sender, receiver, 0, 1, data)


def log(address: str, *topics: str, data: str = "0x") -> RpcLog:
    return RpcLog(address, topics, data)


def approved(value: int = 5) -> RpcLog:
    return log(TOKEN, APPROVAL, word(OWNER), word(SPENDER), data=word(value))


def seen(transaction: RpcTx, *logs: RpcLog, **more: Any) -> list[tuple[str, str, dict[str, str]]]:
    found = controls_of(Happened(transaction, logs, **more), WATCH, CHAIN)
    return [(str(one.kind), one.subject, dict(one.detail)) for one in found]


# -- who gave an approval ---------------------------------------------------------------------------------------------

APPROVE = "0x095ea7b3"
PERMIT = topic("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)")[:10]
SPEND = topic("transferFrom(address,address,uint256)")[:10]
ROUTE = "0x12345678"


@pytest.mark.parametrize(
    ("transaction", "calls", "via"),
    [
        (tx(OWNER, TOKEN, APPROVE), None, "approval"),
        (tx(OWNER, TOKEN, PERMIT), None, "permit"),  # brought there by its signer
        (tx(THIEF, TOKEN, PERMIT), None, "permit"),
        (tx(THIEF, TOKEN, SPEND), None, None),  # what is left of an older one, no new one
        (tx(THIEF, CODE, ROUTE), None, "permit"),  # nobody can tell: the graver of the two
        (tx(THIEF, OWNER, ROUTE), None, "approval"),  # a contract wallet that was called
        (tx(THIEF, CODE, ROUTE), [inside(CODE, TOKEN, SPEND)], None),
        (tx(THIEF, CODE, ROUTE), [inside(CODE, TOKEN, PERMIT), inside(CODE, TOKEN, SPEND)], "permit"),
        (tx(THIEF, CODE, ROUTE), [inside(OWNER, TOKEN, APPROVE)], "approval"),  # a contract wallet behind a relay
        (tx(OWNER, CODE, ROUTE), [inside(CODE, TOKEN, SPEND)], None),
        (tx(OWNER, CODE, ROUTE), [inside(CODE, TOKEN, SPEND, "staticcall")], "approval"),
    ],
)
def test_how_an_approval_was_given(transaction: RpcTx, calls: Any, via: str | None) -> None:
    """By a call, by a signature, or not at all: many tokens say the same when somebody spends."""
    found = seen(transaction, approved(), calls=calls)
    assert [detail["via"] for _, _, detail in found] == ([] if via is None else [via])


# -- what took effect -------------------------------------------------------------------------------------------------


def execution(operation: int = 1, gas_price: int = 0, base_gas: int = 0, token: str = ZERO, to: str = CODE) -> str:
    return call("Safe", "execTransaction", to, 0, b"", operation, 0, base_gas, gas_price, token, THIEF, b"")


FAILURE = log(SAFE, topic("ExecutionFailure(bytes32,uint256)"), word(1), data=word(0))
SUCCESS = log(SAFE, topic("ExecutionSuccess(bytes32,uint256)"), word(1), data=word(0))


def test_a_safe_transaction_that_failed_inside_is_paid_all_the_same() -> None:
    """Its call had no effect; its refund had. Code that it ran cannot make it look so."""
    paid = execution(gas_price=3, token=TOKEN)
    assert [kind for kind, _, _ in seen(tx(THIEF, SAFE, paid), SUCCESS)] == ["delegate_call", "refund"]
    assert [kind for kind, _, _ in seen(tx(THIEF, SAFE, paid), FAILURE)] == ["refund"]
    assert [kind for kind, _, _ in seen(tx(THIEF, SAFE, paid), FAILURE, SUCCESS)] == ["delegate_call", "refund"]
    assert seen(tx(THIEF, SAFE, paid), SUCCESS, is_ok=False) == []


def test_refunds_in_ether() -> None:
    """Relayers are paid so every day; not for gas that was never used."""
    assert seen(tx(THIEF, SAFE, execution(0, gas_price=3, base_gas=90_000))) == []
    assert [kind for kind, _, _ in seen(tx(THIEF, SAFE, execution(0, 3, base_gas=5_000_000)))] == ["refund"]


def test_a_safe_that_is_called_from_inside() -> None:
    """Seen in traces, and in the L2 variant's own logs; told once."""
    through = [inside(CODE, SAFE, execution()), inside(SAFE, CODE, execution(), "delegatecall")]
    wanted = [("delegate_call", CODE, {"depth": "0"})]
    assert seen(tx(THIEF, CODE, ROUTE), SUCCESS, calls=through) == wanted
    said = log(SAFE, RAN, data="0x" + encode(
        ["address", "uint256", "bytes", "uint8", "uint256", "uint256", "uint256", "address", "address", "bytes",
         "bytes"], [CODE, 0, b"\1\2\3", 1, 0, 0, 0, ZERO, ZERO, b"", b"\7" * 96]).hex())  # fmt: skip
    assert seen(tx(THIEF, CODE, ROUTE), said, SUCCESS) == wanted
    assert seen(tx(THIEF, CODE, ROUTE), said, SUCCESS, calls=through) == wanted
    module = log(SAFE, MODULE_RAN, data="0x" + encode(
        ["address", "address", "uint256", "bytes", "uint8"], [THIEF, CODE, 0, b"\1\2\3", 1]).hex())  # fmt: skip
    assert seen(tx(THIEF, CODE, ROUTE), module) == wanted
    assert seen(tx(THIEF, CODE, ROUTE), log(SAFE, MODULE_RAN, data="0x" + "ff" * 64)) == []


def test_authorizations_hold_though_their_transaction_failed() -> None:
    """EIP-7702: delegations are processed before execution, and are not taken back with it."""
    key = Account.from_key(b"\x07" * 32)
    made = Account.sign_authorization({"chainId": 1, "address": CODE, "nonce": 0}, key.key)
    entry = RpcAuthorization(CODE, "0x1", "0x0", hex(made.y_parity), hex(made.r), hex(made.s))
    happened = Happened(tx(THIEF, CODE, authorization_list=[entry]), (SUCCESS,), is_ok=False)
    (found,) = controls_of(happened, {key.address.lower()}, CHAIN)
    assert (str(found.kind), found.account, found.subject) == ("delegation", key.address.lower(), CODE)
    assert controls_of(happened, {key.address.lower()}, "eip155:5") == []
    block = RpcBlock("0xab", "0x1", "0xaa", "0x1", [happened.tx])
    assert touching(block, [], {key.address.lower()}) == ["0x1"] and touching(block, [], {OWNER}) == []


# -- new contracts ----------------------------------------------------------------------------------------------------

OWNED = log(SAFE, topic("OwnershipTransferred(address,address)"), word(ZERO), word(THIEF))
SET_UP = log(SAFE, SETUP, word(CODE), data="0x" + encode(
    ["address[]", "uint256", "address", "address"], [[THIEF, SPENDER], 2, ZERO, CODE]).hex())  # fmt: skip
MADE = log(CODE, PROXY, word(SAFE), data=word(TOKEN))


def test_what_a_contract_says_while_it_is_made_is_no_change() -> None:
    """Its constructor's logs; the same log of one that exists is a change."""
    assert [kind for kind, _, _ in seen(tx(THIEF, None), OWNED)] == ["owner_change"]
    assert seen(tx(THIEF, None), OWNED, created=SAFE) == []
    assert seen(tx(THIEF, CODE), OWNED, calls=[inside(CODE, SAFE, "0x", "create")]) == []
    assert [kind for kind, _, _ in seen(tx(THIEF, CODE), OWNED, calls=[])] == ["owner_change"]


def test_a_safe_that_is_set_up() -> None:
    """By its factory it is a new one. Without, somebody took one over; and nobody can feign a factory for another."""
    assert seen(tx(THIEF, CODE), MADE, SET_UP) == []
    assert seen(tx(THIEF, CODE), SET_UP) == [
        ("owner_change", THIEF, {"change": "added"}),
        ("owner_change", SPENDER, {"change": "added"}),
        ("threshold_change", "2", {}),
        ("fallback_change", CODE, {}),
    ]
    added = log(SAFE, topic("AddedOwner(address)"), word(THIEF))
    assert seen(tx(THIEF, CODE), MADE, added) == [("owner_change", THIEF, {"change": "added"})]


def test_an_approval_of_the_first_collectibles() -> None:
    """They index nothing."""
    data = "0x" + encode(["address", "address", "uint256"], [OWNER, SPENDER, 9]).hex()
    ((_, subject, detail),) = seen(tx(OWNER, TOKEN), log(TOKEN, APPROVAL, data=data))
    assert (subject, detail["standard"], detail["token_id"]) == (SPENDER, "erc721", "9")


HEX = st.text("0123456789abcdefxZ", max_size=70)
LOGS = st.builds(
    RpcLog, st.sampled_from([SAFE, TOKEN, OWNER]),
    st.lists(
        st.sampled_from([*APPROVALS, *_OWN, SETUP, RAN, MODULE_RAN, PROXY]) | st.just(word(SAFE)) | HEX, max_size=4
    )
    .map(tuple),
    st.binary(max_size=400).map(lambda noise: "0x" + noise.hex()) | HEX,
)  # fmt: skip


@given(st.lists(LOGS, max_size=4), HEX, st.lists(HEX, max_size=2), st.booleans())
def test_hostile_transactions_never_raise(logs: Any, data: str, inner: list[str], ok: bool) -> None:
    """Whatever is in them, only watched accounts come out."""
    calls = [inside(THIEF, SAFE, text) for text in inner]
    found = controls_of(Happened(tx(THIEF, SAFE, data), logs, ok, calls=calls), WATCH, CHAIN)
    assert {one.account for one in found} <= WATCH


# -- a real node ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "traces", "wanted"), [("Safe", "auto", 1), ("SafeL2", "off", 1), ("Safe", "off", 0)])
async def test_a_safe_owned_by_a_safe(anvil: Any, kind: str, traces: str, wanted: int) -> None:
    """The inner Safe runs foreign code, and no transaction calls it: traces show it, or its own logs do."""
    node = Driver(anvil.url)
    node.rpc("anvil_autoImpersonateAccount", True)
    factory, writer = deploy(node, node.accounts[0], "SafeProxyFactory"), deploy(node, node.accounts[1], "SlotWriter")
    outer = Safe(node, node.accounts[2:4], 2, deploy(node, node.accounts[0], "Safe"), factory)
    node.rpc("anvil_setBalance", outer.address, hex(ETHER))
    inner = Safe(node, [outer.address], 1, deploy(node, node.accounts[0], kind), factory)
    signature = bytes.fromhex(outer.address[2:]).rjust(32, b"\0") + bytes(32) + b"\x01"
    data = bytes.fromhex(writer.data("transfer", node.accounts[5], 0)[2:])
    order = inner.contract.data("execTransaction", writer.address, 0, data, 1, 0, 0, 0, ZERO, ZERO, signature)
    outer.execute(inner.address, order)
    chain = EvmChain(
        ChainSpec("local", "evm", "eip155:31337", (anvil.url,), options={"traces": traces, "state": "off"}),
        frozenset({inner.address}),
    )
    try:
        block = await chain.block(node.height)
    finally:
        await chain.aclose()
    found = [one for one in block.controls if one.kind == "delegate_call"]
    assert [(one.account, one.subject) for one in found] == [(inner.address, writer.address)] * wanted
