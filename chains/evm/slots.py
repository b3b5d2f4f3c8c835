"""Where contracts keep who may move their coins: storage positions, and words read from them. Pure.

Sources: EIP-1967 (proxies), EIP-1822 and the OpenZeppelin SDK before 1967 (older proxies), EIP-7702 (delegation), and
the Safe contracts 1.0 to 1.4.1 and 1.5, which share a layout (``Singleton.sol``, ``ModuleManager.sol``,
``OwnerManager.sol``, ``GuardManager.sol``, ``FallbackManager.sol``).
"""

from __future__ import annotations

from chains.evm.abi import keccak

__all__ = [
    "ADMIN",
    "BEACON",
    "DELEGATED",
    "FALLBACK",
    "GUARD",
    "IMPLEMENTATION",
    "MODULES",
    "MODULE_GUARD",
    "OLD_ADMIN",
    "OLD_IMPLEMENTATION",
    "OWNERS",
    "OWNER_COUNT",
    "PROXIABLE",
    "PROXY_SLOTS",
    "SAFE_SLOTS",
    "SENTINEL",
    "SINGLETON",
    "THRESHOLD",
    "address_in",
    "code_hash",
    "delegate_of",
    "is_safe",
    "member",
    "number_in",
    "selector",
]

SENTINEL = "0x" + "0" * 39 + "1"  # begins and ends the linked lists of a Safe
DELEGATED = "0xef0100"  # EIP-7702: code that is a pointer to the code of another account
MOST_OWNERS = 10_000  # of what may still be taken for a Safe


def _named(name: str, less: int = 0) -> str:
    return f"0x{int.from_bytes(keccak(name.encode()), 'big') - less:064x}"


IMPLEMENTATION = _named("eip1967.proxy.implementation", 1)
ADMIN = _named("eip1967.proxy.admin", 1)
BEACON = _named("eip1967.proxy.beacon", 1)
PROXIABLE = _named("PROXIABLE")
OLD_IMPLEMENTATION = _named("org.zeppelinos.proxy.implementation")
OLD_ADMIN = _named("org.zeppelinos.proxy.admin")
SINGLETON, _, _, OWNER_COUNT, THRESHOLD = (f"0x{place:064x}" for place in range(5))
MODULES, OWNERS = 1, 2  # places of the mappings
GUARD = _named("guard_manager.guard.address")
FALLBACK = _named("fallback_manager.handler.address")
MODULE_GUARD = _named("module_manager.module_guard.address")

PROXY_SLOTS = (IMPLEMENTATION, ADMIN, BEACON, PROXIABLE, OLD_IMPLEMENTATION, OLD_ADMIN)
SAFE_SLOTS = (SINGLETON, OWNER_COUNT, THRESHOLD, GUARD, FALLBACK, MODULE_GUARD)


def member(address: str, mapping: int) -> str:
    """The position of ``mapping[address]``, for a mapping at place ``mapping``.

    >>> member(SENTINEL, OWNERS)[:10]
    '0xe90b7bce'
    """
    return "0x" + keccak(bytes.fromhex(address[2:]).rjust(32, b"\0") + mapping.to_bytes(32, "big")).hex()


def address_in(word: str) -> str:
    """The address in a word of storage, as a contract reads it; empty where it is zero.

    Contracts look at the lower 20 bytes alone, so whatever lies in the others cannot hide an address.

    >>> address_in("0xff" + "0" * 61 + "1")
    '0x0000000000000000000000000000000000000001'
    """
    digits = f"{number_in(word):064x}"[-40:]
    return f"0x{digits}" if digits.strip("0") else ""


def number_in(word: str) -> int:
    """The number in a word of storage; ValueError where it is none, or longer."""
    number = int(word, 16)
    if not 0 <= number < 2**256:
        raise ValueError("not a word of storage")
    return number


def delegate_of(code: str) -> str | None:
    """The account whose code a delegated account runs (EIP-7702); None where ``code`` is no such pointer."""
    text = code.lower()
    return "0x" + text[len(DELEGATED) :] if text.startswith(DELEGATED) and len(text) == 48 else None


def code_hash(code: str) -> str:
    """The hash of a contract's code, given as hex; ValueError where it is no hex."""
    return "0x" + keccak(bytes.fromhex(code.removeprefix("0x"))).hex()


def is_safe(singleton: str, owner_count: str, first_owner: str) -> bool:
    """Whether words of storage are those of a Safe: an implementation, owners, and as many as are counted.

    The threshold is no part of it: a thief may have made it anything.

    Parameters
    ----------
    singleton, owner_count : the words at `SINGLETON` and `OWNER_COUNT`
    first_owner : the word at ``member(SENTINEL, OWNERS)``
    """
    return (
        0 < number_in(singleton) < 2**160
        and 0 < number_in(first_owner) < 2**160
        and 0 < number_in(owner_count) <= MOST_OWNERS
    )


def selector(signature: str) -> str:
    """The first four bytes of a call of this function.

    >>> selector("owner()")
    '0x8da5cb5b'
    """
    return "0x" + keccak(signature.encode())[:4].hex()
