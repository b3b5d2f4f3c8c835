"""Control events: every kind of log, what Safes are told to do, authorizations, and hostile input of each kind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.abi import topic
from chains.evm.controls.authorization import authorities, authority_of
from chains.evm.controls.calldata import DEEPEST, EXECUTE, FROM_MODULE, MULTISEND, executions, safe_controls
from chains.evm.controls.control import ZERO
from chains.evm.controls.events import _OWN, APPROVALS, PERMIT2, control_of
from chains.evm.controls.roles import role_name
from chains.evm.decode import decode_block
from chains.evm.wire import RpcAuthorization, RpcBlock, RpcLog, RpcReceipt, RpcTx
from tests.contracts.artifacts import artifact

A, B, COIN, OTHER = ("0x" + c * 20 for c in ("a1", "b2", "c3", "d4"))
CHAIN = "eip155:1"
ROLE = topic("MINTER_ROLE")


def word(value: int | str) -> str:
    return f"0x{value if isinstance(value, int) else int(value, 16):064x}"


def log(*topics: str, data: str = "0x", address: str = A) -> RpcLog:
    return RpcLog(address, topics, data)


def abi(types: list[str], *values: Any) -> str:
    return "0x" + encode(types, values).hex()


def said(entry: RpcLog, *watch: str) -> Any:
    found = control_of(entry, CHAIN, set(watch or (A,)))
    return found and (str(found.kind), found.account, found.subject, dict(found.detail))


# -- events -----------------------------------------------------------------------------------------------------------


def test_topics_are_those_of_the_standards():
    """Against values that are published with the standards."""
    assert "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925" in APPROVALS
    assert "0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31" in APPROVALS
    for known in (
        "0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0",  # OwnershipTransferred
        "0x2f8788117e7eff1d82e926ec794901d17c78024a50270940304540a733656f0d",  # RoleGranted
        "0x9465fa0c962cc76958e6373a993326400c1c94f8be2fe3a952adfa7f60b2ea26",  # AddedOwner
        "0x610f7ff2b304ae8903c3de74c60c6ab1f7d6226b3f52c5161905bb5ad4039c93",  # ChangedThreshold
    ):
        assert known in _OWN


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (
            log(topic("Approval(address,address,uint256)"), word(A), word(B), data=word(7), address=COIN),
            ("approval", A, B,
             {"asset": f"{CHAIN}/erc20:{COIN}", "value": "7", "standard": "erc20", "via": "approval"}),
        ),
        (
            log(topic("Approval(address,address,uint256)"), word(A), word(B), word(9), address=COIN),
            ("approval", A, B, {"asset": f"{CHAIN}/erc721:{COIN}", "value": "1", "standard": "erc721", "token_id": "9",
                                "via": "approval"}),
        ),
        (
            log(topic("ApprovalForAll(address,address,bool)"), word(A), word(B), data=word(1), address=COIN),
            ("approval", A, B, {"asset": f"{CHAIN}/erc721:{COIN}", "value": "1", "standard": "erc721", "all": "1",
                                "via": "approval"}),
        ),
        (
            log(topic("Permit(address,address,address,uint160,uint48,uint48)"), word(A), word(COIN), word(B),
                data=abi(["uint160", "uint48", "uint48"], 5, 99, 0), address=PERMIT2),
            ("approval", A, B, {"asset": f"{CHAIN}/erc20:{COIN}", "value": "5", "standard": "permit2",
                                "expiration": "99", "via": "permit2"}),
        ),
        (
            log(topic("Lockdown(address,address,address)"), word(A), data=abi(["address", "address"], COIN, B),
                address=PERMIT2),
            ("approval", A, B,
             {"asset": f"{CHAIN}/erc20:{COIN}", "value": "0", "standard": "permit2", "via": "permit2"}),
        ),
        (log(topic("OwnershipTransferred(address,address)"), word(OTHER), word(B)),
         ("owner_change", A, B, {"change": "transferred", "before": OTHER})),
        (log(topic("OwnershipTransferStarted(address,address)"), word(OTHER), word(B)),
         ("owner_change", A, B, {"change": "started", "before": OTHER})),
        (log(topic("AdminChanged(address,address)"), data=abi(["address", "address"], OTHER, B)),
         ("owner_change", A, B, {"change": "admin", "before": OTHER})),
        (log(topic("RoleGranted(bytes32,address,address)"), ROLE, word(B), word(OTHER)),
         ("role_change", A, B, {"role": ROLE, "change": "granted", "role_name": "MINTER"})),
        (log(topic("RoleRevoked(bytes32,address,address)"), word(0), word(B), word(OTHER)),
         ("role_change", A, B, {"role": word(0), "change": "revoked", "role_name": "DEFAULT_ADMIN"})),
        (log(topic("Upgraded(address)"), word(B)), ("implementation_change", A, B, {"slot": "eip1967"})),
        (log(topic("BeaconUpgraded(address)"), word(B)), ("implementation_change", A, B, {"slot": "beacon"})),
        (log(topic("ChangedMasterCopy(address)"), data=word(B)), ("implementation_change", A, B, {"slot": "safe"})),
        (
            log(topic("DiamondCut((address,uint8,bytes4[])[],address,bytes)"),
                data=abi(["(address,uint8,bytes4[])[]", "address", "bytes"],
                         [(ZERO, 2, [b"\1\2\3\4"]), (B, 0, [b"\1\2\3\4"] * 3), (OTHER, 1, [])], ZERO, b"")),
            ("implementation_change", A, B, {"slot": "diamond", "facets": f"{B},{OTHER}"}),
        ),
        (log(topic("AddedOwner(address)"), data=word(B)), ("owner_change", A, B, {"change": "added"})),  # to 1.3
        (log(topic("AddedOwner(address)"), word(B)), ("owner_change", A, B, {"change": "added"})),  # from 1.4
        (log(topic("RemovedOwner(address)"), word(B)), ("owner_change", A, B, {"change": "removed"})),
        (log(topic("ChangedThreshold(uint256)"), data=word(2)), ("threshold_change", A, "2", {})),
        (log(topic("EnabledModule(address)"), word(B)), ("module_change", A, B, {"change": "enabled"})),
        (log(topic("DisabledModule(address)"), word(B)), ("module_change", A, B, {"change": "disabled"})),
        (log(topic("ChangedGuard(address)"), data=word(0)), ("guard_change", A, ZERO, {"which": "guard"})),
        (log(topic("ChangedModuleGuard(address)"), word(B)), ("guard_change", A, B, {"which": "module_guard"})),
        (log(topic("ChangedFallbackHandler(address)"), word(B)), ("fallback_change", A, B, {})),
        (log(topic("MinDelayChange(uint256,uint256)"), data=abi(["uint256", "uint256"], 9, 1)),
         ("delay_change", A, "1", {"before": "9"})),
    ],
)  # fmt: skip
def test_every_kind_of_log(entry: RpcLog, wanted: Any):
    """What it says, and that it is nobody's business where the account is not watched."""
    assert said(entry) == wanted
    assert said(entry, OTHER) is None


def test_what_a_time_lock_schedules_for_itself():
    lock = artifact("TimelockController")
    name = topic("CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)")

    def scheduled(target: str, call: str) -> Any:
        data = abi(
            ["address", "uint256", "bytes", "bytes32", "uint256"], target, 0, bytes.fromhex(call[2:]), bytes(32), 60
        )
        return said(log(name, word(5), word(0), data=data))

    found = scheduled(A, lock.call("updateDelay", 0))
    assert found[0] == "proposal" and found[2] == word(5)
    assert found[3]["would"] == "delay_change" and found[3]["new_delay"] == "0"
    assert scheduled(A, lock.call("grantRole", bytes(32), B))[3]["would"] == "role_change"
    assert scheduled(B, lock.call("updateDelay", 0)) is None  # another time lock's
    assert scheduled(A, "0x12345678") is None


def test_other_contracts_under_the_same_names():
    """Odd shapes, Permit2's events from elsewhere, approvals of somebody else."""
    assert said(log(topic("Approval(address,address,uint256)"), data=word(1))) is None
    assert said(log(topic("Approval(address,address,uint256)"), word(A), word(B), data="0x")) is None
    permit = topic("Permit(address,address,address,uint160,uint48,uint48)")
    assert said(log(permit, word(A), word(COIN), word(B), data=word(5) * 1, address=COIN)) is None
    assert said(log(topic("Upgraded(address)"), word(2**200))) is None
    assert said(log(topic("DiamondCut((address,uint8,bytes4[])[],address,bytes)"), data=word(2**200))) is None


@given(
    st.sampled_from(sorted({*APPROVALS, *_OWN})),
    st.lists(st.one_of(st.text("0123456789abcdefxZ", max_size=70), st.integers(0, 2**256 - 1).map(word)), max_size=3),
    st.one_of(st.text("0123456789abcdef", max_size=500).map("0x".__add__), st.binary(max_size=400).map(
        lambda b: "0x" + b.hex())),
    st.sampled_from([A, PERMIT2]),
)  # fmt: skip
def test_hostile_logs_never_raise(kind, topics, data, address):
    found = control_of(log(kind, *topics, data=data, address=address), CHAIN, {A, PERMIT2})
    assert found is None or found.account in (A, PERMIT2)


def test_names_of_roles():
    assert role_name(topic("UPGRADER_ROLE")) == "UPGRADER" and role_name(word(5)) == ""


# -- what a Safe is told ----------------------------------------------------------------------------------------------


def execute(to: str, data: str = "0x", *, operation: int = 0, gas_price: int = 0, token: str = ZERO,
            refund: str = ZERO) -> bytes:  # fmt: skip
    """The data of execTransaction."""
    call = artifact("Safe").call(
        "execTransaction", to, 0, bytes.fromhex(data[2:]), operation, 0, 0, gas_price, token, refund, b"\1" * 65
    )
    return bytes.fromhex(call[2:])


def batch(*calls: tuple[int, str, bytes]) -> str:
    """The data of multiSend."""
    packed = b"".join(
        bytes([op]) + bytes.fromhex(to[2:]) + bytes(32) + len(data).to_bytes(32, "big") + data for op, to, data in calls
    )
    return artifact("MultiSend").call("multiSend", packed)


def kinds(data: bytes) -> list[tuple[str, str, dict[str, str]]]:
    return [(str(c.kind), c.subject, dict(c.detail)) for c in safe_controls(A, data)]


def test_calls_and_delegate_calls():
    assert kinds(execute(B)) == []
    assert kinds(execute(B, operation=1)) == [("delegate_call", B, {"depth": "0"})]
    module = artifact("PayingModule")
    assert module  # its calls of the Safe are found in traces
    inner = bytes.fromhex(artifact("Safe").call("execTransactionFromModule", B, 0, b"", 1)[2:])
    assert inner[:4] == FROM_MODULE and kinds(inner) == [("delegate_call", B, {"depth": "0"})]


def test_a_delegate_call_hidden_in_batches():
    """Batches within batches are opened; calls that are not delegated run in their own name, and are not."""
    hidden = batch((0, B, b""), (1, OTHER, b"\1\2\3\4"))
    outer = batch((1, COIN, bytes.fromhex(hidden[2:])))
    found = kinds(execute(COIN, outer, operation=1))
    assert [(subject, detail["depth"]) for _, subject, detail in found] == [(COIN, "0"), (OTHER, "2")]
    assert [call.to for call in executions(execute(COIN, hidden, operation=0))] == [COIN]
    deep = hidden
    for _ in range(DEEPEST + 3):
        deep = batch((1, COIN, bytes.fromhex(deep[2:])))
    assert all(call.depth <= DEEPEST for call in executions(execute(COIN, deep, operation=1)))


def test_refunds_that_pay_whoever_executes():
    assert kinds(execute(B, gas_price=5, token=COIN, refund=OTHER)) == [
        ("refund", OTHER, {"gas_token": COIN, "gas_price": "5"})
    ]
    for more in ({"gas_price": 0}, {"token": ZERO}, {"refund": ZERO}):
        assert kinds(execute(B, **{"gas_price": 5, "token": COIN, "refund": OTHER, **more})) == []


@given(st.sampled_from([EXECUTE, FROM_MODULE, MULTISEND, b"\0\0\0\0"]), st.binary(max_size=900))
def test_hostile_calls_never_raise(head, body):
    safe_controls(A, head + body)


@given(st.binary(max_size=300), st.integers(0, 320))
def test_truncated_calls_never_raise(noise, cut):
    whole = execute(COIN, batch((1, B, noise)), operation=1)
    safe_controls(A, whole[: max(4, len(whole) - cut)])


# -- authorizations ---------------------------------------------------------------------------------------------------


def signed(key: Any, chain_id: int = 1, nonce: int = 0, target: str = B) -> RpcAuthorization:
    made = Account.sign_authorization(
        {"chainId": chain_id, "address": to_checksum_address(target), "nonce": nonce}, key.key
    )
    return RpcAuthorization(target, hex(chain_id), hex(nonce), hex(made.y_parity), hex(made.r), hex(made.s))


@pytest.mark.parametrize(("chain_id", "nonce"), [(1, 0), (0, 1), (1, 127), (1, 128), (1, 2**40), (2**32, 300)])
def test_who_signed_an_authorization(chain_id: int, nonce: int):
    key = Account.from_key(b"\x07" * 32)
    assert authority_of(signed(key, chain_id, nonce)) == key.address.lower()


def test_authorizations_of_this_chain():
    """For this chain or for all; another chain's have no effect here, nor have signatures that are none."""
    key = Account.from_key(b"\x07" * 32)
    broken = signed(key)
    broken.r = "0x0"
    entries = [signed(key, 1), signed(key, 0, target=OTHER), signed(key, 5), broken, RpcAuthorization("0xzz")]
    tx = RpcTx("0x1", A, authorization_list=entries)
    assert list(authorities(tx, 1)) == [(key.address.lower(), B), (key.address.lower(), OTHER)]


@given(
    st.text("0123456789abcdefxz", max_size=44),
    st.lists(st.one_of(st.none(), st.integers(-1, 2**257), st.integers(0, 2**300).map(hex), st.text(max_size=5)),
             min_size=5, max_size=5),
)  # fmt: skip
def test_hostile_authorizations_never_raise(address, parts):
    authority_of(RpcAuthorization(address, *parts))


# -- in a block -------------------------------------------------------------------------------------------------------


def block(tx: dict[str, Any], *logs: dict[str, Any], status: str = "0x1") -> Any:
    """A block with one transaction, decoded for A."""
    base = {"hash": "0x1", "from": OTHER, "to": A, "value": "0x0", "nonce": "0x0", "gas": "0x9", "gasPrice": "0x1"}
    raw = {
        "hash": "0xab", "parentHash": "0xaa", "number": "0x10", "timestamp": "0x64", "transactions": [{**base, **tx}]
    }  # fmt: skip
    receipt = {"transactionHash": "0x1", "blockHash": "0xab", "status": status, "logs": list(logs)}
    return decode_block(
        msgspec.json.decode(msgspec.json.encode(raw), type=RpcBlock),
        msgspec.json.decode(msgspec.json.encode([receipt]), type=list[RpcReceipt]), {A}, CHAIN,
    )  # fmt: skip


def test_only_what_took_effect():
    """A call that failed changed nothing: the transaction's own failure, and the Safe's word that its call failed."""
    call = "0x" + execute(B, operation=1).hex()
    assert [str(c.kind) for c in block({"input": call}).controls] == ["delegate_call"]
    assert block({"input": call}, status="0x0").controls == ()
    failed = {"address": A, "topics": [topic("ExecutionFailure(bytes32,uint256)"), word(1)], "data": word(0),
              "logIndex": "0x0", "transactionHash": "0x1", "blockHash": "0xab"}  # fmt: skip
    assert block({"input": call}, failed).controls == ()


def test_a_delegation_in_a_block():
    key = Account.from_key(b"\x07" * 32)
    entry = signed(key)
    raw = {"address": entry.address, "chainId": entry.chain_id, "nonce": entry.nonce, "yParity": entry.y_parity,
           "r": entry.r, "s": entry.s}  # fmt: skip
    base = {
        "hash": "0xab", "parentHash": "0xaa", "number": "0x10", "timestamp": "0x64",
        "transactions": [{"hash": "0x1", "from": OTHER, "to": OTHER, "value": "0x0", "nonce": "0x0", "type": "0x4",
                          "authorizationList": [raw]}],
    }  # fmt: skip
    receipt = RpcReceipt("0x1", "0xab", [], "0x1")
    read = msgspec.json.decode(msgspec.json.encode(base), type=RpcBlock)
    (event,) = decode_block(read, [receipt], {key.address.lower()}, CHAIN).controls
    assert (str(event.kind), event.account, event.subject, event.tx.initiator) == (
        "delegation", key.address.lower(), B, OTHER,
    )  # fmt: skip
