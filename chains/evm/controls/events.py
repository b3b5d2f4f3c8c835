"""Control changes that contracts announce: each kind of log by its first topic.

Two kinds matter: what a watched contract says of itself (its owners, its implementation, its modules), and approvals,
which a token says in the name of their owner. Whether the token may be believed is decided later.

Sources: EIP-20, 721, 1155, 2612; EIP-1967, 1822, 2535; OpenZeppelin (Ownable, Ownable2Step, AccessControl,
TimelockController); Safe 1.0 to 1.5; Permit2.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from chains.evm.abi import address_of, topic, word_at
from chains.evm.controls.control import ZERO, Control
from chains.evm.controls.roles import role_name
from chains.evm.controls.scheduled import scheduled
from chains.evm.wire import RpcLog
from monitor.model import ControlKind
from monitor.networks import token_asset

__all__ = ["APPROVALS", "PERMIT2", "control_of"]

PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"  # the same on every chain
MOST_FACETS = 200
Decode = Callable[[RpcLog, str], Control | None]


def control_of(log: RpcLog, chain: str, watch: Container[str]) -> Control | None:
    """The change that a log tells of, where it is one of a watched account; None for everything else.

    Logs of a known kind but another shape are other contracts' use of the same name.
    """
    if not log.topics:
        return None
    kind = log.topics[0]
    try:
        if kind in APPROVALS:
            found = APPROVALS[kind](log, chain)
            return found if found is not None and found.account in watch else None
        if kind in _OWN and log.address.lower() in watch:
            return _OWN[kind](log, log.address.lower())
    except (ValueError, IndexError):  # another shape: fewer topics, or less data
        pass
    return None


def _approval(log: RpcLog, chain: str) -> Control | None:
    """ERC-20 with the amount as data, ERC-721 with the token as fourth topic."""
    topics, contract = log.topics, log.address.lower()
    if len(topics) == 1 and len(log.data) == 194:  # the first collectibles index nothing (CryptoKitties)
        topics = (*topics, *("0x" + log.data[at : at + 64] for at in (2, 66, 130)))
    owner, spender = address_of(topics[1]), address_of(topics[2])
    if len(topics) == 4:
        detail = {
            "asset": f"{chain}/erc721:{contract}", "value": "0" if spender == ZERO else "1", "standard": "erc721",
            "token_id": str(int(topics[3], 16)), "via": "approval",
        }  # fmt: skip
        return Control(ControlKind.APPROVAL, owner, spender, detail)
    if len(log.data) != 66:
        return None
    value = str(word_at(log.data, 0))
    detail = {"asset": token_asset(chain, contract), "value": value, "standard": "erc20", "via": "approval"}
    return Control(ControlKind.APPROVAL, owner, spender, detail)


def _approval_for_all(log: RpcLog, chain: str) -> Control:
    owner, operator, contract = address_of(log.topics[1]), address_of(log.topics[2]), log.address.lower()
    detail = {
        "asset": f"{chain}/erc721:{contract}", "value": str(int(bool(word_at(log.data, 0)))), "standard": "erc721",
        "all": "1", "via": "approval",
    }  # fmt: skip
    return Control(ControlKind.APPROVAL, owner, operator, detail)


def _permit2(log: RpcLog, chain: str) -> Control | None:
    """What Permit2 itself says: an allowance that its owner gave there, by a call or by a signature."""
    if log.address.lower() != PERMIT2 or len(log.topics) != 4:
        return None
    owner, token, spender = (address_of(word) for word in log.topics[1:])
    detail = {
        "asset": token_asset(chain, token), "value": str(word_at(log.data, 0)), "standard": "permit2",
        "expiration": str(word_at(log.data, 1)), "via": "permit2",
    }  # fmt: skip
    return Control(ControlKind.APPROVAL, owner, spender, detail)


def _lockdown(log: RpcLog, chain: str) -> Control | None:
    if log.address.lower() != PERMIT2:
        return None
    owner, token, spender = address_of(log.topics[1]), _word_address(log, 0), _word_address(log, 1)
    detail = {"asset": token_asset(chain, token), "value": "0", "standard": "permit2", "via": "permit2"}
    return Control(ControlKind.APPROVAL, owner, spender, detail)


def _changed(kind: ControlKind, **detail: str) -> Decode:
    """One address, indexed or not: both forms are in use."""

    def decode(log: RpcLog, account: str) -> Control:
        subject = address_of(log.topics[1]) if len(log.topics) > 1 else _word_address(log, 0)
        return Control(kind, account, subject, detail)

    return decode


def _transferred(change: str) -> Decode:
    """From one address to another, indexed or not."""

    def decode(log: RpcLog, account: str) -> Control:
        words = [*log.topics[1:], *("0x" + log.data[at : at + 64] for at in (2, 66))]
        sides = [address_of(word) for word in words[:2]]
        return Control(ControlKind.OWNER_CHANGE, account, sides[1], {"change": change, "before": sides[0]})

    return decode


def _role(change: str) -> Decode:
    def decode(log: RpcLog, account: str) -> Control | None:
        if len(log.topics) != 4:
            return None
        role = log.topics[1].lower()
        subject = log.topics[3].lower() if change == "admin" else address_of(log.topics[2])
        name = role_name(role)
        detail = {"role": role, "change": change, **({"role_name": name} if name else {})}
        return Control(ControlKind.ROLE_CHANGE, account, subject, detail)

    return decode


def _threshold(log: RpcLog, account: str) -> Control:
    value = int(log.topics[1], 16) if len(log.topics) > 1 else word_at(log.data, 0)
    return Control(ControlKind.THRESHOLD_CHANGE, account, str(value))


def _delay(log: RpcLog, account: str) -> Control:
    before = str(word_at(log.data, 0))
    return Control(ControlKind.DELAY_CHANGE, account, str(word_at(log.data, 1)), {"before": before})


def _diamond(log: RpcLog, account: str) -> Control:
    """The facets that a diamond got (EIP-2535): the first of them stands for all."""
    data, begin = log.data, word_at(log.data, 0) // 32
    count = word_at(data, begin)
    if count > MOST_FACETS:
        raise ValueError("too many facets")
    facets, actions = [], []
    for n in range(count):
        at = begin + 1 + word_at(data, begin + 1 + n) // 32
        facets.append(f"0x{word_at(data, at) % 2**160:040x}")
        actions.append(word_at(data, at + 1))
    named = [facet for facet, action in zip(facets, actions, strict=True) if action != 2] or [ZERO]  # 2: removed
    detail = {"slot": "diamond", "facets": ",".join(sorted(set(named)))}
    return Control(ControlKind.IMPLEMENTATION_CHANGE, account, named[0], detail)


def _word_address(log: RpcLog, place: int) -> str:
    return address_of(f"0x{word_at(log.data, place):064x}")


_KIND = ControlKind
APPROVALS: Mapping[str, Decode] = {
    topic("Approval(address,address,uint256)"): _approval,
    topic("ApprovalForAll(address,address,bool)"): _approval_for_all,
    topic("Approval(address,address,address,uint160,uint48)"): _permit2,
    topic("Permit(address,address,address,uint160,uint48,uint48)"): _permit2,
    topic("Lockdown(address,address,address)"): _lockdown,
}
_OWN: Mapping[str, Decode] = {
    topic("OwnershipTransferred(address,address)"): _transferred("transferred"),
    topic("OwnershipTransferStarted(address,address)"): _transferred("started"),
    topic("AdminChanged(address,address)"): _transferred("admin"),
    topic("RoleGranted(bytes32,address,address)"): _role("granted"),
    topic("RoleRevoked(bytes32,address,address)"): _role("revoked"),
    topic("RoleAdminChanged(bytes32,bytes32,bytes32)"): _role("admin"),
    topic("Upgraded(address)"): _changed(_KIND.IMPLEMENTATION_CHANGE, slot="eip1967"),
    topic("BeaconUpgraded(address)"): _changed(_KIND.IMPLEMENTATION_CHANGE, slot="beacon"),
    topic("DiamondCut((address,uint8,bytes4[])[],address,bytes)"): _diamond,
    topic("ChangedMasterCopy(address)"): _changed(_KIND.IMPLEMENTATION_CHANGE, slot="safe"),
    topic("AddedOwner(address)"): _changed(_KIND.OWNER_CHANGE, change="added"),
    topic("RemovedOwner(address)"): _changed(_KIND.OWNER_CHANGE, change="removed"),
    topic("ChangedThreshold(uint256)"): _threshold,
    topic("EnabledModule(address)"): _changed(_KIND.MODULE_CHANGE, change="enabled"),
    topic("DisabledModule(address)"): _changed(_KIND.MODULE_CHANGE, change="disabled"),
    topic("ChangedGuard(address)"): _changed(_KIND.GUARD_CHANGE, which="guard"),
    topic("ChangedModuleGuard(address)"): _changed(_KIND.GUARD_CHANGE, which="module_guard"),
    topic("ChangedFallbackHandler(address)"): _changed(_KIND.FALLBACK_CHANGE),
    topic("MinDelayChange(uint256,uint256)"): _delay,
    topic("CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)"): scheduled,
}
