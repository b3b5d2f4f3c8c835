"""Delegations that wait in the mempool, on a real node: told where they could hold, whoever brings them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from eth_account import Account

from chains.base import ChainSpec, PendingSeen
from chains.evm.controls.events import PERMIT2
from chains.evm.pending import EvmMempool
from monitor.model import ControlKind

CHAIN, DELEGATE = "eip155:31337", "0x" + "f6" * 20
VICTIM = Account.from_key("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")  # anvil's, public


async def bring(anvil: Any, sender: str, nonce: int) -> None:
    """A stranger sends an authorization that the victim signed."""
    made = Account.sign_authorization({"chainId": 31337, "address": DELEGATE, "nonce": nonce}, VICTIM.key)
    entry = {"chainId": "0x7a69", "address": DELEGATE, "nonce": hex(nonce), "yParity": hex(made.y_parity),
             "r": hex(made.r), "s": hex(made.s)}  # fmt: skip
    await anvil.rpc("eth_sendTransaction", {
        "from": sender, "to": DELEGATE, "gas": "0x40000", "type": "0x4", "authorizationList": [entry],
        "maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(10**9),
    })  # fmt: skip


async def first(mempool: EvmMempool) -> Sequence[Any]:
    """What the mempool tells first."""
    async for events in mempool.pending({}):
        return events
    raise AssertionError("it ended")


@pytest.mark.parametrize("scheme", ["url", "ws"])
async def test_a_delegation_that_waits(start_anvil: Any, scheme: str) -> None:
    """The one with a nonce that is used up is nothing: anybody can bring it at any time."""
    anvil = await start_anvil("--no-mining")
    victim = VICTIM.address.lower()
    spec = ChainSpec("local", "evm", CHAIN, (getattr(anvil, scheme),), poll_seconds=0.1, accounts=(victim,))
    await bring(anvil, anvil.accounts[2], 7)
    await bring(anvil, anvil.accounts[3], 0)
    mempool = EvmMempool(spec, {victim, PERMIT2})
    try:
        events = await first(mempool)
    finally:
        await mempool.aclose()
    assert [type(event) for event in events] == [PendingSeen]
    said = events[0].pending
    ((control,), sender) = said.controls, said.tx.initiator
    assert (control.kind, control.account, control.subject) == (ControlKind.DELEGATION, victim, DELEGATE)
    assert sender == anvil.accounts[3] and control.tx.pending
