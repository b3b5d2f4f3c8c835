"""What a call would do, as far as its own words say: coins that would move, and changes in who may move them. Pure.

For calls that have not happened yet: transactions that wait to be mined, and those that are proposed to a Safe. There
are no logs and no traces of them, so a contract that calls others in turn shows nothing here but its own function. What
a Safe is told to do is followed into its batches.

Sources: EIP-20, 721, 1155, 2612, 3009; Permit2 (``IAllowanceTransfer``, ``ISignatureTransfer``); OpenZeppelin (Ownable,
AccessControl, UUPSUpgradeable, ProxyAdmin, TimelockController); Safe 1.0 to 1.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from chains.evm.abi import topic
from chains.evm.controls.calldata import executions, safe_controls
from chains.evm.controls.control import ZERO, Control
from chains.evm.controls.events import PERMIT2
from chains.evm.controls.roles import role_name
from chains.evm.controls.words import Words
from monitor.model import ControlKind, TransferKind
from monitor.networks import by_chain, token_asset

__all__ = ["Call", "Move", "effects_of"]

MOST_ITEMS = 200  # of an array
MOST_EFFECTS = 1000  # of one transaction
DEEPEST = 4  # Safes that call Safes
_KIND = ControlKind


@dataclass(frozen=True, slots=True)
class Call:
    """``sender`` calls ``to`` (addresses in lower case) on ``chain`` (CAIP-2); ``value`` in wei."""

    sender: str
    to: str
    value: int
    data: bytes
    chain: str
    depth: int = 0  # calls of Safes around it; 0 is a transaction itself

    @property
    def token(self) -> str:
        """The called contract as an asset."""
        return token_asset(self.chain, self.to)


@dataclass(frozen=True, slots=True)
class Move:
    """Value that would move; ``asset`` is CAIP-19, ``value`` in base units."""

    kind: TransferKind
    asset: str
    sender: str
    receiver: str
    value: int


Effect = Control | Move
_Reader = Callable[[Call, Words], Iterator[Effect]]


def effects_of(call: Call) -> list[Effect]:
    """Everything that a call would do, in its order; what makes no sense is left out.

    >>> data = bytes.fromhex("a9059cbb" + "2b".rjust(64, "0") + "5".rjust(64, "0"))
    >>> (move,) = effects_of(Call("0x" + "0" * 39 + "a", "0x" + "c" * 40, 0, data, "eip155:1"))
    >>> move.receiver[-2:], move.value
    ('2b', 5)
    """
    return list(islice(_effects(call), MOST_EFFECTS))


def _effects(call: Call) -> Iterator[Effect]:
    network = by_chain(call.chain)
    if call.value and network is not None:
        kind = TransferKind.INTERNAL if call.depth else TransferKind.NATIVE
        yield Move(kind, network.asset, call.sender, call.to, call.value)
    head, words = call.data[:4], Words(call.data[4:])
    try:  # all or nothing: a call that makes no sense in one place fails as a whole
        found = list(_CALLS[head](call, words)) if head in _CALLS else []
        if head in _PERMIT2 and call.to == PERMIT2:
            found += _PERMIT2[head](call, words)
        if head in _OF_ITSELF and call.sender == call.to:
            found += _OF_ITSELF[head](call, words)
    except ValueError:
        return
    yield from found
    yield from _of_safe(call)


def _of_safe(call: Call) -> Iterator[Effect]:
    """What a Safe is told to do; nothing where the called function is another one."""
    yield from safe_controls(call.to, call.data)
    for made in executions(call.data) if call.depth < DEEPEST else ():
        if not made.delegate:
            yield from _effects(Call(call.to, made.to, made.value, made.data, call.chain, call.depth + 1))


# -- tokens -----------------------------------------------------------------------------------------------------------


def _move(asset: str, sender: str, receiver: str, value: int) -> Move:
    return Move(TransferKind.TOKEN, asset, sender, receiver, value)


def _transfer(call: Call, words: Words) -> Iterator[Effect]:
    yield _move(call.token, call.sender, words.address(0), words.number(1))


def _transfer_from(call: Call, words: Words) -> Iterator[Effect]:
    yield _move(call.token, words.address(0), words.address(1), words.number(2))


def _nft(call: Call, words: Words) -> Iterator[Effect]:
    words.number(2)  # the token, as in the event: each contract is one asset
    yield _move(f"{call.chain}/erc721:{call.to}", words.address(0), words.address(1), 1)


def _multi(call: Call, words: Words) -> Iterator[Effect]:
    asset = f"{call.chain}/erc1155:{call.to}/{words.number(2)}"
    yield _move(asset, words.address(0), words.address(1), words.number(3))


def _multi_batch(call: Call, words: Words) -> Iterator[Effect]:
    sender, receiver = words.address(0), words.address(1)
    tokens = [row.number(0) for row in words.rows(2, 1, MOST_ITEMS)]
    values = [row.number(0) for row in words.rows(3, 1, MOST_ITEMS)]
    for token, value in zip(tokens, values, strict=True):
        yield _move(f"{call.chain}/erc1155:{call.to}/{token}", sender, receiver, value)


def _allowance(owner: str, spender: str, asset: str, value: int, via: str, **more: str) -> Control:
    detail = {"asset": asset, "value": str(value), "standard": "erc20", "via": via, **more}
    return Control(_KIND.APPROVAL, owner, spender, detail)


def _approve(call: Call, words: Words) -> Iterator[Effect]:
    yield _allowance(call.sender, words.address(0), call.token, words.number(1), "approval")


def _approve_all(call: Call, words: Words) -> Iterator[Effect]:
    asset, on = f"{call.chain}/erc721:{call.to}", int(bool(words.number(1)))
    yield _allowance(call.sender, words.address(0), asset, on, "approval", standard="erc721", all="1")


def _permit(call: Call, words: Words) -> Iterator[Effect]:
    """EIP-2612, with the signature in parts or as bytes."""
    yield _allowance(words.address(0), words.address(1), call.token, words.number(2), "permit")


def _permit_allowed(call: Call, words: Words) -> Iterator[Effect]:
    """The form that DAI had before EIP-2612: all or nothing."""
    value = 2**256 - 1 if words.number(4) else 0
    yield _allowance(words.address(0), words.address(1), call.token, value, "permit")


# -- Permit2 ----------------------------------------------------------------------------------------------------------


def _through(owner: str, spender: str, terms: Words, chain: str) -> Control:
    """An allowance at Permit2: token, amount and expiration."""
    asset, expiration = token_asset(chain, terms.address(0)), str(terms.number(2))
    value = terms.number(1) % 2**160
    return _allowance(owner, spender, asset, value, "permit2", standard="permit2", expiration=expiration)


def _approve2(call: Call, words: Words) -> Iterator[Effect]:
    asset, expiration = token_asset(call.chain, words.address(0)), str(words.number(3))
    value = words.number(2) % 2**160
    yield _allowance(
        call.sender, words.address(1), asset, value, "permit2", standard="permit2", expiration=expiration
    )  # fmt: skip


def _permit2(call: Call, words: Words) -> Iterator[Effect]:
    yield _through(words.address(0), words.address(5), words.after(1), call.chain)


def _permit2_batch(call: Call, words: Words) -> Iterator[Effect]:
    owner, batch = words.address(0), words.part(1)
    for terms in batch.rows(0, 4, MOST_ITEMS):
        yield _through(owner, batch.address(1), terms, call.chain)


def _spend2(call: Call, words: Words) -> Iterator[Effect]:
    asset = token_asset(call.chain, words.address(3))
    yield _move(asset, words.address(0), words.address(1), words.number(2) % 2**160)


def _spend2_batch(call: Call, words: Words) -> Iterator[Effect]:
    for row in words.rows(0, 4, MOST_ITEMS):
        yield from _spend2(call, row)


def _signed2(call: Call, words: Words) -> Iterator[Effect]:
    """A transfer that its owner signed, without an allowance."""
    yield _move(token_asset(call.chain, words.address(0)), words.address(6), words.address(4), words.number(5))


def _signed2_batch(call: Call, words: Words) -> Iterator[Effect]:
    owner, tokens = words.address(2), [row.address(0) for row in words.part(0).rows(0, 2, MOST_ITEMS)]
    for token, row in zip(tokens, words.rows(1, 2, MOST_ITEMS), strict=True):
        yield _move(token_asset(call.chain, token), owner, row.address(0), row.number(1))


# -- contracts --------------------------------------------------------------------------------------------------------


def _owner(change: str) -> _Reader:
    def read(call: Call, words: Words) -> Iterator[Effect]:
        yield Control(_KIND.OWNER_CHANGE, call.to, words.address(0), {"change": change})

    return read


def _renounced(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, call.to, ZERO, {"change": "transferred"})


def _accepted(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, call.to, call.sender, {"change": "transferred"})


def _role(change: str) -> _Reader:
    def read(call: Call, words: Words) -> Iterator[Effect]:
        role = f"0x{words.number(0):064x}"
        name = role_name(role)
        detail = {"role": role, "change": change, **({"role_name": name} if name else {})}
        yield Control(_KIND.ROLE_CHANGE, call.to, words.address(1), detail)

    return read


def _upgraded(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.IMPLEMENTATION_CHANGE, call.to, words.address(0), {"slot": "eip1967"})


def _upgraded_for(call: Call, words: Words) -> Iterator[Effect]:
    """By a ``ProxyAdmin``, which names the proxy."""
    yield Control(_KIND.IMPLEMENTATION_CHANGE, words.address(0), words.address(1), {"slot": "eip1967"})


def _admin_for(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, words.address(0), words.address(1), {"change": "admin"})


# -- what a Safe or a time lock does to itself ------------------------------------------------------------------------


def _added(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, call.to, words.address(0), {"change": "added"})
    yield Control(_KIND.THRESHOLD_CHANGE, call.to, str(words.number(1)))


def _removed(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, call.to, words.address(1), {"change": "removed"})
    yield Control(_KIND.THRESHOLD_CHANGE, call.to, str(words.number(2)))


def _swapped(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.OWNER_CHANGE, call.to, words.address(1), {"change": "removed"})
    yield Control(_KIND.OWNER_CHANGE, call.to, words.address(2), {"change": "added"})


def _threshold(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.THRESHOLD_CHANGE, call.to, str(words.number(0)))


def _set(kind: ControlKind, place: int = 0, **detail: str) -> _Reader:
    def read(call: Call, words: Words) -> Iterator[Effect]:
        yield Control(kind, call.to, words.address(place), detail)

    return read


def _delay(call: Call, words: Words) -> Iterator[Effect]:
    yield Control(_KIND.DELAY_CHANGE, call.to, str(words.number(0)))


def _table(readers: Mapping[str, _Reader]) -> dict[bytes, _Reader]:
    """By selector: the first four bytes of the hash of the signature."""
    return {bytes.fromhex(topic(signature)[2:10]): reader for signature, reader in readers.items()}


_CALLS = _table(
    {
        "transfer(address,uint256)": _transfer,
        "transferFrom(address,address,uint256)": _transfer_from,
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)":
            _transfer_from,
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)": _transfer_from,
        "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)":
            _transfer_from,
        "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)": _transfer_from,
        "safeTransferFrom(address,address,uint256)": _nft,
        "safeTransferFrom(address,address,uint256,bytes)": _nft,
        "safeTransferFrom(address,address,uint256,uint256,bytes)": _multi,
        "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)": _multi_batch,
        "approve(address,uint256)": _approve,
        "approveAndCall(address,uint256,bytes)": _approve,
        "increaseAllowance(address,uint256)": _approve,
        "increaseApproval(address,uint256)": _approve,
        "setApprovalForAll(address,bool)": _approve_all,
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)": _permit,
        "permit(address,address,uint256,uint256,bytes)": _permit,
        "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)": _permit_allowed,
        "transferOwnership(address)": _owner("transferred"),
        "renounceOwnership()": _renounced,
        "acceptOwnership()": _accepted,
        "changeAdmin(address)": _owner("admin"),
        "grantRole(bytes32,address)": _role("granted"),
        "revokeRole(bytes32,address)": _role("revoked"),
        "upgradeTo(address)": _upgraded,
        "upgradeToAndCall(address,bytes)": _upgraded,
        "upgrade(address,address)": _upgraded_for,
        "upgradeAndCall(address,address,bytes)": _upgraded_for,
        "changeProxyAdmin(address,address)": _admin_for,
    }
)  # fmt: skip
_PERMIT2 = _table(
    {
        "approve(address,address,uint160,uint48)": _approve2,
        "permit(address,((address,uint160,uint48,uint48),address,uint256),bytes)": _permit2,
        "permit(address,((address,uint160,uint48,uint48)[],address,uint256),bytes)": _permit2_batch,
        "transferFrom(address,address,uint160,address)": _spend2,
        "transferFrom((address,address,uint160,address)[])": _spend2_batch,
        "permitTransferFrom(((address,uint256),uint256,uint256),(address,uint256),address,bytes)": _signed2,
        "permitWitnessTransferFrom(((address,uint256),uint256,uint256),(address,uint256),address,bytes32,string,bytes)":
            _signed2,
        "permitTransferFrom(((address,uint256)[],uint256,uint256),(address,uint256)[],address,bytes)": _signed2_batch,
        "permitWitnessTransferFrom(((address,uint256)[],uint256,uint256),(address,uint256)[],address,bytes32,string,"
        "bytes)": _signed2_batch,
    }
)  # fmt: skip
_OF_ITSELF = _table(
    {
        "addOwnerWithThreshold(address,uint256)": _added,
        "removeOwner(address,address,uint256)": _removed,
        "swapOwner(address,address,address)": _swapped,
        "changeThreshold(uint256)": _threshold,
        "enableModule(address)": _set(_KIND.MODULE_CHANGE, change="enabled"),
        "disableModule(address,address)": _set(_KIND.MODULE_CHANGE, 1, change="disabled"),
        "setGuard(address)": _set(_KIND.GUARD_CHANGE, which="guard"),
        "setModuleGuard(address)": _set(_KIND.GUARD_CHANGE, which="module_guard"),
        "setFallbackHandler(address)": _set(_KIND.FALLBACK_CHANGE),
        "changeMasterCopy(address)": _set(_KIND.IMPLEMENTATION_CHANGE, slot="safe"),
        "updateDelay(uint256)": _delay,
    }
)
