"""What calls would do, from calldata alone, encoded by the contracts' own interfaces where there are such."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eth_abi import encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.abi import topic
from chains.evm.controls import effects
from chains.evm.controls.control import ZERO
from chains.evm.controls.effects import DEEPEST, MOST_EFFECTS, Call, Move, effects_of
from chains.evm.controls.events import PERMIT2
from chains.evm.controls.pending import pending_controls, pending_transfers
from chains.evm.wire import RpcAuthorization, RpcTx
from tests.contracts.artifacts import artifact
from tests.contracts.chain import multisend

ME, FRIEND, OTHER, TOKEN, SAFE, CODE = ("0x" + c * 20 for c in ("a1", "b2", "c3", "d4", "e5", "f6"))
CHAIN = "eip155:1"
ETHER, COIN = "eip155:1/slip44:60", f"eip155:1/erc20:{TOKEN}"
ROLE = bytes.fromhex(topic("UPGRADER_ROLE")[2:])


def tx(to: str | None, data: str = "0x", value: int = 0, sender: str = ME, **more: Any) -> RpcTx:
    return RpcTx("0x1", sender, to, hex(value), input=msgspec.Raw(msgspec.json.encode(data)), **more)


def call(name: str, function: str, *arguments: Any) -> str:
    return artifact(name).call(function, *arguments)


def by_hand(signature: str, *values: Any, types: list[str] | None = None) -> str:
    """A call of a function that none of the contracts at hand has."""
    kinds = types if types is not None else signature[signature.index("(") + 1 : -1].split(",")
    return topic(signature)[:10] + encode(kinds, values).hex()


def controls(data: str, to: str = TOKEN, sender: str = ME) -> list[tuple[str, str, str, dict[str, str]]]:
    found = pending_controls(tx(to, data, sender=sender), CHAIN)
    return [(str(one.kind), one.account, one.subject, dict(one.detail)) for one in found]


def moves(data: str, to: str = TOKEN, value: int = 0) -> list[tuple[str, str, str, str, int]]:
    found = pending_transfers(tx(to, data, value), CHAIN)
    return [(str(one.kind), one.asset, one.sender, one.receiver, one.value) for one in found]


def execute(to: str, data: str = "0x", value: int = 0, operation: int = 0, **more: Any) -> str:
    """A call of a Safe, as its owners sign it."""
    terms = {"gas_price": 0, "token": ZERO, "refund": ZERO, **more}
    return call(
        "Safe", "execTransaction", to, value, bytes.fromhex(data[2:]), operation, 0, 0, terms["gas_price"],
        terms["token"], terms["refund"], b"\1" * 65,
    )  # fmt: skip


# -- tokens -----------------------------------------------------------------------------------------------------------

ERC20, ERC721, ERC1155 = "ERC20PresetMinterPauser", "ERC721PresetMinterPauserAutoId", "ERC1155PresetMinterPauser"
NFT, ITEMS = f"eip155:1/erc721:{TOKEN}", f"eip155:1/erc1155:{TOKEN}"
AUTHORIZED = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (lambda: call(ERC20, "transfer", FRIEND, 7), [("token", COIN, ME, FRIEND, 7)]),
        (lambda: call(ERC20, "transferFrom", OTHER, FRIEND, 7), [("token", COIN, OTHER, FRIEND, 7)]),
        (lambda: by_hand(AUTHORIZED, OTHER, FRIEND, 7, 0, 9, bytes(32), 27, bytes(32), bytes(32)),
         [("token", COIN, OTHER, FRIEND, 7)]),
        (lambda: by_hand("safeTransferFrom(address,address,uint256)", ME, FRIEND, 9), [("token", NFT, ME, FRIEND, 1)]),
        (lambda: by_hand("safeTransferFrom(address,address,uint256,bytes)", ME, FRIEND, 9, b"x"),
         [("token", NFT, ME, FRIEND, 1)]),
        (lambda: call(ERC1155, "safeTransferFrom", ME, FRIEND, 9, 4, b""),
         [("token", f"{ITEMS}/9", ME, FRIEND, 4)]),
        (lambda: call(ERC1155, "safeBatchTransferFrom", ME, FRIEND, [9, 8], [4, 5], b""),
         [("token", f"{ITEMS}/9", ME, FRIEND, 4), ("token", f"{ITEMS}/8", ME, FRIEND, 5)]),
        (lambda: call(ERC1155, "safeBatchTransferFrom", ME, FRIEND, [9, 8], [4], b""), []),  # it would fail
        (lambda: call(ERC20, "transfer", FRIEND, 7)[:-2], []),  # cut short
    ],
)  # fmt: skip
def test_tokens_that_would_move(data: Any, wanted: Any) -> None:
    assert moves(data()) == wanted


def test_coins_that_would_move() -> None:
    assert moves("0x", FRIEND, 5) == [("native", ETHER, ME, FRIEND, 5)]
    assert pending_transfers(tx(None, "0x6001", 5), CHAIN) == []
    assert moves(call(ERC20, "transfer", FRIEND, 7), value=5)[0] == ("native", ETHER, ME, TOKEN, 5)


def allowed(owner: str, value: int, via: str = "approval", **more: str) -> list[Any]:
    detail = {"asset": COIN, "value": str(value), "standard": "erc20", "via": via, **more}
    return [("approval", owner, FRIEND, detail)]


PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
DAI = "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (lambda: call(ERC20, "approve", FRIEND, 7), allowed(ME, 7)),
        (lambda: call(ERC20, "increaseAllowance", FRIEND, 7), allowed(ME, 7)),
        (lambda: call(ERC721, "setApprovalForAll", FRIEND, True),
         allowed(ME, 1, asset=NFT, standard="erc721", all="1")),
        (lambda: call(ERC721, "setApprovalForAll", FRIEND, False),
         allowed(ME, 0, asset=NFT, standard="erc721", all="1")),
        (lambda: by_hand(PERMIT, OTHER, FRIEND, 7, 9, 27, bytes(32), bytes(32)), allowed(OTHER, 7, "permit")),
        (lambda: by_hand("permit(address,address,uint256,uint256,bytes)", OTHER, FRIEND, 7, 9, b"sig"),
         allowed(OTHER, 7, "permit")),
        (lambda: by_hand(DAI, OTHER, FRIEND, 3, 9, True, 27, bytes(32), bytes(32)),
         allowed(OTHER, 2**256 - 1, "permit")),
        (lambda: by_hand(DAI, OTHER, FRIEND, 3, 9, False, 27, bytes(32), bytes(32)), allowed(OTHER, 0, "permit")),
    ],
)  # fmt: skip
def test_approvals(data: Any, wanted: Any) -> None:
    assert controls(data()) == wanted


DETAILS, MOST = "(address,uint160,uint48,uint48)", 2**160 - 1


def permit2(batch: bool) -> str:
    many = "[]" if batch else ""
    kinds = ["address", f"({DETAILS}{many},address,uint256)", "bytes"]
    one = (TOKEN, MOST, 99, 0)
    terms = ([one, (OTHER, 5, 98, 0)] if batch else one, FRIEND, 100)
    return by_hand(f"permit({','.join(kinds)})", OTHER, terms, b"sig", types=kinds)


def test_permit2_allowances() -> None:
    """Single and batch; the same words to another contract are nothing."""
    wanted = allowed(OTHER, MOST, "permit2", standard="permit2", expiration="99")
    assert controls(permit2(False), PERMIT2) == wanted
    more = {"asset": f"eip155:1/erc20:{OTHER}", "standard": "permit2", "expiration": "98"}
    assert controls(permit2(True), PERMIT2) == [*wanted, *allowed(OTHER, 5, "permit2", **more)]
    approve = by_hand("approve(address,address,uint160,uint48)", TOKEN, FRIEND, MOST, 99)
    assert controls(approve, PERMIT2) == allowed(ME, MOST, "permit2", standard="permit2", expiration="99")
    assert controls(permit2(True), TOKEN) == controls(approve, TOKEN) == []


def test_permit2_spending() -> None:
    """By allowance and by signature, single and batch."""
    one = by_hand("transferFrom(address,address,uint160,address)", OTHER, FRIEND, 7, TOKEN)
    wanted = ("token", COIN, OTHER, FRIEND, 7)
    assert moves(one, PERMIT2) == [wanted]
    kinds = ["(address,address,uint160,address)[]"]
    rows = [(OTHER, FRIEND, 7, TOKEN)] * 2
    assert moves(by_hand(f"transferFrom({kinds[0]})", rows, types=kinds), PERMIT2) == [wanted] * 2
    kinds = ["((address,uint256),uint256,uint256)", "(address,uint256)", "address", "bytes"]
    signed = by_hand(
        f"permitTransferFrom({','.join(kinds)})", ((TOKEN, 9), 0, 99), (FRIEND, 7), OTHER, b"sig", types=kinds
    )
    assert moves(signed, PERMIT2) == [wanted]
    kinds = ["((address,uint256)[],uint256,uint256)", "(address,uint256)[]", "address", "bytes"]
    signed = by_hand(
        f"permitTransferFrom({','.join(kinds)})", ([(TOKEN, 9)], 0, 99), [(FRIEND, 7)], OTHER, b"sig", types=kinds
    )
    assert moves(signed, PERMIT2) == [wanted]


# -- contracts --------------------------------------------------------------------------------------------------------

UPGRADED = ("implementation_change", TOKEN, CODE, {"slot": "eip1967"})


@pytest.mark.parametrize(
    ("data", "to", "wanted"),
    [
        (lambda: call("Treasury", "transferOwnership", FRIEND), TOKEN,
         ("owner_change", TOKEN, FRIEND, {"change": "transferred"})),
        (lambda: topic("renounceOwnership()")[:10], TOKEN, ("owner_change", TOKEN, ZERO, {"change": "transferred"})),
        (lambda: topic("acceptOwnership()")[:10], TOKEN, ("owner_change", TOKEN, ME, {"change": "transferred"})),
        (lambda: call("TimelockController", "grantRole", ROLE, FRIEND), TOKEN,
         ("role_change", TOKEN, FRIEND, {"role": "0x" + ROLE.hex(), "change": "granted", "role_name": "UPGRADER"})),
        (lambda: by_hand("upgradeTo(address)", CODE), TOKEN, UPGRADED),
        (lambda: by_hand("upgradeToAndCall(address,bytes)", CODE, b"x"), TOKEN, UPGRADED),
        (lambda: call("ProxyAdmin", "upgrade", TOKEN, CODE), OTHER, UPGRADED),
        (lambda: call("ProxyAdmin", "changeProxyAdmin", TOKEN, FRIEND), OTHER,
         ("owner_change", TOKEN, FRIEND, {"change": "admin"})),
    ],
)  # fmt: skip
def test_contracts(data: Any, to: str, wanted: Any) -> None:
    assert controls(data(), to) == [wanted]


# -- Safes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "wanted"),
    [
        ("addOwnerWithThreshold", (FRIEND, 2),
         [("owner_change", FRIEND, {"change": "added"}), ("threshold_change", "2", {})]),
        ("removeOwner", (OTHER, FRIEND, 1),
         [("owner_change", FRIEND, {"change": "removed"}), ("threshold_change", "1", {})]),
        ("swapOwner", (OTHER, FRIEND, CODE),
         [("owner_change", FRIEND, {"change": "removed"}), ("owner_change", CODE, {"change": "added"})]),
        ("changeThreshold", (1,), [("threshold_change", "1", {})]),
        ("enableModule", (CODE,), [("module_change", CODE, {"change": "enabled"})]),
        ("disableModule", (OTHER, CODE), [("module_change", CODE, {"change": "disabled"})]),
        ("setGuard", (ZERO,), [("guard_change", ZERO, {"which": "guard"})]),
        ("setFallbackHandler", (CODE,), [("fallback_change", CODE, {})]),
    ],
)  # fmt: skip
def test_a_safe_that_would_change_itself(function: str, arguments: Any, wanted: Any) -> None:
    """Only itself may: called from outside the same function fails, and another Safe's is that one's business."""
    inner = call("Safe", function, *arguments)
    assert [(kind, subject, detail) for kind, _, subject, detail in controls(execute(SAFE, inner), SAFE)] == wanted
    assert controls(inner, SAFE) == controls(execute(OTHER, inner), SAFE) == []


def test_what_a_safe_would_pay() -> None:
    """In coins, in tokens, in batches; a delegate call pays nothing that could be read."""
    transfer = call(ERC20, "transfer", FRIEND, 7)
    coins, tokens = ("internal", ETHER, SAFE, FRIEND, 5), ("token", COIN, SAFE, FRIEND, 7)
    assert moves(execute(FRIEND, value=5), SAFE) == [coins]
    assert moves(execute(TOKEN, transfer), SAFE) == [tokens]
    calls = multisend([(0, FRIEND, 5, "0x"), (0, TOKEN, 0, transfer), (1, TOKEN, 0, transfer)])
    batch = call("MultiSend", "multiSend", calls)
    assert moves(execute(CODE, batch, operation=1), SAFE) == [coins, tokens]
    found = controls(execute(CODE, batch, operation=1), SAFE)
    assert [(kind, subject) for kind, _, subject, _ in found] == [("delegate_call", CODE), ("delegate_call", TOKEN)]
    approve = controls(execute(TOKEN, call(ERC20, "approve", FRIEND, 7)), SAFE)
    assert approve == allowed(SAFE, 7)


def test_safes_within_safes_end() -> None:
    """The nesting is hostile: it is followed a little, and everything else is left out."""
    inner = execute(FRIEND, value=1)
    assert moves(execute(OTHER, inner), SAFE) == [("internal", ETHER, OTHER, FRIEND, 1)]
    for _ in range(DEEPEST + 2):
        inner = execute(OTHER, inner)
    assert moves(inner, SAFE) == []
    calls = multisend([(0, FRIEND, 1, "0x")] * (MOST_EFFECTS // 2 + 50))
    assert len(moves(execute(CODE, call("MultiSend", "multiSend", calls), operation=1), SAFE)) <= MOST_EFFECTS


def test_authorizations_that_wait() -> None:
    key = Account.from_key(b"\x07" * 32)
    made = Account.sign_authorization({"chainId": 1, "address": CODE, "nonce": 0}, key.key)
    entry = RpcAuthorization(CODE, "0x1", "0x0", hex(made.y_parity), hex(made.r), hex(made.s))
    (found,) = pending_controls(tx(FRIEND, authorization_list=[entry]), CHAIN)
    assert (str(found.kind), found.account, found.subject) == ("delegation", key.address.lower(), CODE)


SELECTORS = sorted({*effects._CALLS, *effects._PERMIT2, *effects._OF_ITSELF, bytes.fromhex(execute(CODE)[2:10])})
WORDS = st.lists(
    st.integers(0, 12).map(lambda n: (32 * n).to_bytes(32, "big")) | st.binary(min_size=32, max_size=32), max_size=14
)


@given(st.sampled_from(SELECTORS), WORDS, st.binary(max_size=40), st.sampled_from([PERMIT2, SAFE, ME]))
def test_hostile_calls_never_raise(head: bytes, words: list[bytes], rest: bytes, to: str) -> None:
    """Nor do they give anything without bounds, or a value that is none."""
    found = effects_of(Call(ME, to, 1, head + b"".join(words) + rest, CHAIN))
    assert len(found) <= MOST_EFFECTS
    for one in found:
        value = one.value if isinstance(one, Move) else int(one.detail.get("value", "0"))
        assert 0 <= value < 2**256
