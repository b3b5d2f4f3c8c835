"""Coins and tokens that move without a trace, found by their balances on a real node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.reconcile import RECONCILED, net_of
from chains.evm.watcher import EvmChain
from monitor.model import UNEXPLAINED, Block, Transfer, TransferKind
from tests.contracts.chain import deploy, send
from tests.contracts.driver import Driver

CHAIN = "eip155:31337"
NATIVE = f"{CHAIN}/slip44:60"
ETHER = 10**18


@pytest.fixture
async def watcher() -> Any:
    """Make watchers that read no traces and end with the test."""
    chains = []

    def make(url: str, *accounts: str, watch: Sequence[str] = (), **options: Any) -> EvmChain:
        spec = ChainSpec("local", "evm", CHAIN, (url,), accounts=accounts, options={"traces": "off", **options})
        chains.append(EvmChain(spec, frozenset([*accounts, *watch])))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


@pytest.fixture
def node(anvil: Any) -> Driver:
    """The node, driven."""
    return Driver(anvil.url)


async def last(chain: EvmChain) -> Block:
    return await chain.block((await chain.head()).number)


def reconciled(block: Block) -> list[Transfer]:
    return [transfer for transfer in block.transfers if transfer.kind is TransferKind.RECONCILED]


async def test_coins_leave_inside_a_call(node: Driver, watcher: Any) -> None:
    """A payment out of a contract, in its block, with the transaction that made it; its benign twin shows nothing."""
    boss, thief = node.accounts[0], node.accounts[9]
    treasury = deploy(node, boss, "Treasury")
    send(node, boss, treasury.address, value=9 * ETHER)
    chain = watcher(node.url, treasury.address)
    assert reconciled(await last(chain)) == []
    send(node, boss, treasury.address, value=ETHER)
    explained = await last(chain)
    assert reconciled(explained) == [] and RECONCILED in explained.blind_spots
    assert "internal transfers" not in explained.blind_spots
    assert explained.balances == ((treasury.address, NATIVE, 9 * ETHER),)
    receipt = treasury.send(boss, "payThroughPurse", thief, 4 * ETHER)
    block = await last(chain)
    (lost,) = reconciled(block)
    assert (lost.from_addresses, lost.to_address, lost.value) == ((treasury.address,), UNEXPLAINED, 4 * ETHER)
    assert (lost.asset, lost.tx.hash, lost.tx.initiator) == (NATIVE, receipt["transactionHash"], boss)
    assert lost.input_values == (4 * ETHER,) and block.ref == lost.block
    assert block.balances == ((treasury.address, NATIVE, 10 * ETHER),)
    treasury.send(boss, "tryToPay", thief, ETHER)  # the inner payment is reverted
    assert reconciled(await last(chain)) == []
    treasury.send(boss, "end", thief)
    (lost,) = reconciled(await last(chain))
    assert (lost.to_address, lost.value) == (UNEXPLAINED, 6 * ETHER)


async def test_the_first_block_that_is_read(node: Driver, watcher: Any) -> None:
    """What a contract had before it is asked for."""
    boss = node.accounts[0]
    treasury = deploy(node, boss, "Treasury")
    send(node, boss, treasury.address, value=9 * ETHER)
    treasury.send(boss, "pay", node.accounts[9], 5 * ETHER)
    (lost,) = reconciled(await last(watcher(node.url, treasury.address)))
    assert lost.value == 5 * ETHER


async def test_several_transactions(node: Driver, watcher: Any) -> None:
    """Which of two transactions took the coins is not known: a name that says so, the same in another block."""
    boss, thief = node.accounts[0], node.accounts[9]
    treasury = deploy(node, boss, "Treasury")
    send(node, boss, treasury.address, value=9 * ETHER)
    chain = watcher(node.url, treasury.address)
    await last(chain)
    names = []
    for seconds in (1, 100):
        snapshot = node.rpc("evm_snapshot")
        node.rpc("evm_increaseTime", seconds)
        node.rpc("evm_setAutomine", False)
        for amount in (2, 3):
            terms = {
                "from": boss,
                "to": treasury.address,
                "data": treasury.data("pay", thief, amount),
                "gas": "0x30000",
            }
            node.rpc("eth_sendTransaction", terms)
        node.rpc("evm_mine")
        node.rpc("evm_setAutomine", True)
        (lost,) = reconciled(await last(chain))
        assert (lost.value, lost.tx.index, lost.tx.initiator, lost.tx.target) == (5, 2, None, None)
        names.append((lost.tx.hash, lost.index, lost.block.hash))
        node.rpc("evm_revert", snapshot)
    assert names[0][:2] == names[1][:2] and names[0][2] != names[1][2]
    assert names[0][0].startswith("unexplained-") and len(names[0][0]) == len("unexplained-") + 16


async def test_coins_arrive_inside_a_call(node: Driver, watcher: Any) -> None:
    """A rise comes from `unexplained`."""
    boss = node.accounts[0]
    payer, treasury = deploy(node, boss, "Treasury"), deploy(node, boss, "Treasury")
    send(node, boss, payer.address, value=9 * ETHER)
    chain = watcher(node.url, treasury.address)
    await last(chain)
    payer.send(boss, "pay", treasury.address, 3 * ETHER)
    (found,) = reconciled(await last(chain))
    assert (found.from_addresses, found.to_address, found.value) == ((UNEXPLAINED,), treasury.address, 3 * ETHER)


async def test_a_delegated_account(node: Driver, watcher: Any) -> None:
    """An account that runs foreign code loses coins as a contract does; its own payments and fees are explained."""
    boss, owner = node.accounts[:2]
    sweeper = deploy(node, boss, "Sweeper")
    chain = watcher(node.url, owner)
    node.rpc("anvil_setCode", owner, "0xef0100" + sweeper.address[2:])
    node.rpc("evm_mine")
    assert reconciled(await last(chain)) == []
    send(node, owner, boss, value=5)
    block = await last(chain)
    assert reconciled(block) == [] and len(block.transfers) == 2
    before = int(node.rpc("eth_getBalance", owner, "latest"), 16)
    send(node, node.accounts[9], owner, sweeper.data("sweep", node.accounts[9]))
    (lost,) = reconciled(await last(chain))
    assert (lost.from_addresses, lost.value) == ((owner,), before)


async def test_a_token_with_a_fee(node: Driver, watcher: Any) -> None:
    """What a token takes beyond its log is a transfer of its own; balances before the block are told."""
    boss, other = node.accounts[0], node.accounts[9]
    token, honest = deploy(node, boss, "OddToken", 100), deploy(node, boss, "OddToken", 0)
    chain = watcher(node.url, boss)
    await last(chain)
    for coin, taken in ((honest, 0), (token, 10**20)):
        receipt = coin.send(boss, "transfer", other, 10**21)
        block = await last(chain)
        asset = f"{CHAIN}/erc20:{coin.address}"
        lost = reconciled(block)
        assert [(one.asset, one.value, one.to_address) for one in lost] == [(asset, taken, UNEXPLAINED)][: taken and 1]
        assert [one.tx.hash for one in lost] == [receipt["transactionHash"]][: taken and 1]
        assert (boss, asset, 10**24) in block.balances
        assert net_of(block.transfers)[boss, asset] == -(10**21) - taken


async def test_a_token_that_changes_balances(node: Driver, watcher: Any) -> None:
    """A balance that fell without a log is explained when the token moves next."""
    boss, other = node.accounts[0], node.accounts[9]
    token = deploy(node, boss, "OddToken", 0)
    asset = f"{CHAIN}/erc20:{token.address}"
    chain = watcher(node.url, boss)
    token.send(boss, "transfer", other, 10**21)
    assert reconciled(await last(chain)) == []
    token.send(boss, "rebase", 500)
    assert reconciled(await last(chain)) == []
    token.send(boss, "transfer", other, 10**18)
    block = await last(chain)
    (lost,) = reconciled(block)
    assert (lost.asset, lost.value) == (asset, (10**24 - 10**21) // 2)


async def test_a_token_that_logs_falsely(node: Driver, watcher: Any) -> None:
    """A forged log moved nothing: what it says is taken back."""
    boss, thief = node.accounts[0], node.accounts[9]
    fake = deploy(node, thief, "FakeToken", "USDT")
    chain = watcher(node.url, boss)
    await last(chain)
    fake.send(thief, "forge", boss, thief, 10**9)
    block = await last(chain)
    assert sum(one.value for one in reconciled(block)) == 10**9
    assert net_of(block.transfers)[boss, f"{CHAIN}/erc20:{fake.address}"] == 0


async def test_a_block_without_answers(node: Driver, watcher: Any) -> None:
    """Where the state of a block could not be asked for, the next block explains what was lost in it."""
    boss = node.accounts[0]
    treasury = deploy(node, boss, "Treasury")
    send(node, boss, treasury.address, value=9 * ETHER)
    chain = watcher(node.url, treasury.address)
    await last(chain)
    treasury.send(boss, "pay", node.accounts[9], 5 * ETHER)
    chain._accounts._patience = 0.0
    block = await last(chain)
    assert reconciled(block) == [] and block.blind_spots == ("internal transfers", "state of accounts")
    chain._accounts._patience = 60.0
    send(node, boss, treasury.address, value=ETHER)
    (lost,) = reconciled(await last(chain))
    assert lost.value == 5 * ETHER


async def test_turned_off_and_partly_blind(node: Driver, watcher: Any) -> None:
    """Without reconciliation, and where others are watched whose balances nobody asks for, the blind spot stays."""
    boss = node.accounts[0]
    treasury = deploy(node, boss, "Treasury")
    send(node, boss, treasury.address, value=9 * ETHER)
    treasury.send(boss, "pay", node.accounts[9], 5 * ETHER)
    block = await last(watcher(node.url, treasury.address, reconcile="off"))
    assert reconciled(block) == [] and "internal transfers" in block.blind_spots and block.readings
    block = await last(watcher(node.url, treasury.address, watch=[node.accounts[5]]))
    assert len(reconciled(block)) == 1 and "internal transfers" in block.blind_spots
