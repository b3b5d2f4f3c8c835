"""A Safe and other contracts on a real node: made, and driven as their owners and thieves do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.contracts.artifacts import Artifact, artifact

__all__ = ["ZERO", "Contract", "Safe", "deploy", "multisend"]

ZERO = "0x" + "00" * 20
GAS = hex(15_000_000)


class Node(Protocol):
    """A node that signs for unlocked accounts and mines a block a transaction."""

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call."""


def send(node: Node, sender: str, to: str | None, data: str = "0x", value: int = 0) -> Mapping[str, Any]:
    """Send, mine, and return the receipt, with ``block`` as a number; it must have succeeded."""
    transaction = {"from": sender, "data": data, "value": hex(value), "gas": GAS}
    receipt = node.rpc("eth_sendTransactionSync", transaction if to is None else {**transaction, "to": to})
    assert receipt["status"] == "0x1", receipt
    return {**receipt, "block": int(receipt["blockNumber"], 16)}


@dataclass(frozen=True)
class Contract:
    """A contract at its address (lower case)."""

    node: Node
    address: str
    artifact: Artifact

    def data(self, function: str, *arguments: Any) -> str:
        """The data of a call."""
        return self.artifact.call(function, *arguments)

    def send(self, sender: str, function: str, *arguments: Any, value: int = 0) -> Mapping[str, Any]:
        """Call it in a transaction; the receipt."""
        return send(self.node, sender, self.address, self.data(function, *arguments), value)

    def ask(self, function: str, *arguments: Any) -> str:
        """Call it without one; what it answers, as hex."""
        return str(self.node.rpc("eth_call", {"to": self.address, "data": self.data(function, *arguments)}, "latest"))


def deploy(node: Node, sender: str, name: str, *arguments: Any, value: int = 0) -> Contract:
    """Make a contract."""
    made = artifact(name)
    receipt = send(node, sender, None, made.creation(*arguments), value)
    return Contract(node, str(receipt["contractAddress"]).lower(), made)


class Safe:
    """A Safe 1.4.1 behind its proxy. Owners agree by calling, so nobody needs a key here."""

    def __init__(self, node: Node, owners: Sequence[str], threshold: int, singleton: Contract, factory: Contract):
        self.node, self.owners, self.threshold = node, list(owners), threshold
        setup = singleton.data("setup", list(owners), threshold, ZERO, b"", ZERO, ZERO, 0, ZERO)
        how = (singleton.address, bytes.fromhex(setup[2:]), int(owners[0], 16) % 997)
        made = factory.send(owners[0], "createProxyWithNonce", *how)
        created = next(log for log in made["logs"] if log["address"].lower() == factory.address)
        self.contract = Contract(node, "0x" + created["topics"][1][26:].lower(), singleton.artifact)

    @property
    def address(self) -> str:
        """Lower case."""
        return self.contract.address

    def execute(
        self, to: str, data: str = "0x", value: int = 0, operation: int = 0, *, refund: str = ZERO
    ) -> Mapping[str, Any]:
        """What the owners decide, executed by the first of them; the receipt."""
        nonce = int(self.contract.ask("nonce"), 16)
        terms = (
            to, value, bytes.fromhex(data[2:]), operation, 0, 0, 0 if refund == ZERO else 1, ZERO, refund
        )
        digest = self.contract.ask("getTransactionHash", *terms, nonce)
        signers = sorted(self.owners[: self.threshold], key=lambda owner: int(owner, 16))
        for owner in signers:
            if owner != self.owners[0]:
                self.contract.send(owner, "approveHash", bytes.fromhex(digest[2:66]))
        agreed = b"".join(bytes.fromhex(owner[2:]).rjust(32, b"\0") + bytes(32) + b"\x01" for owner in signers)
        return self.contract.send(self.owners[0], "execTransaction", *terms, agreed)

    def on_itself(self, function: str, *arguments: Any) -> Mapping[str, Any]:
        """Change the Safe as only itself may."""
        return self.execute(self.address, self.contract.data(function, *arguments))


def multisend(calls: Sequence[tuple[int, str, int, str]]) -> bytes:
    """Several calls (operation, to, value, data) as MultiSend packs them."""
    return b"".join(
        bytes([operation]) + bytes.fromhex(to[2:]) + value.to_bytes(32, "big")
        + len(bytes.fromhex(data[2:])).to_bytes(32, "big") + bytes.fromhex(data[2:])
        for operation, to, value, data in calls
    )  # fmt: skip

