"""Names of the roles that OpenZeppelin's contracts and those built on them use."""

from __future__ import annotations

from functools import cache

from chains.evm.abi import topic

__all__ = ["role_name"]

_NAMED = (
    "MINTER_ROLE", "PAUSER_ROLE", "UPGRADER_ROLE", "BURNER_ROLE", "OPERATOR_ROLE", "ADMIN_ROLE", "MANAGER_ROLE",
    "WITHDRAWER_ROLE", "PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE", "TIMELOCK_ADMIN_ROLE", "GOVERNOR_ROLE",
    "GUARDIAN_ROLE", "SNAPSHOT_ROLE",
)  # fmt: skip


@cache
def _names() -> dict[str, str]:
    return {topic(name): name.removesuffix("_ROLE") for name in _NAMED} | {"0x" + "0" * 64: "DEFAULT_ADMIN"}


def role_name(role: str) -> str:
    """The name of a role (32 bytes as hex), "" where it is not one of the usual.

    >>> role_name("0x" + "0" * 64)
    'DEFAULT_ADMIN'
    """
    return _names().get(role, "")
