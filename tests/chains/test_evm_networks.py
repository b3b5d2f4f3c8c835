"""Networks with ways of their own: deposits of rollups, the system's transactions, coins that are tokens too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chains.evm.decode import decode_block
from chains.evm.tokens import TRANSFER
from chains.evm.wire import RpcBlock, RpcReceipt
from monitor.errors import ChainInconsistent
from monitor.model import Block
from monitor.networks import NETWORKS, by_name

A, B, ZERO = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "0" * 40


def word(value: int | str) -> str:
    return f"0x{value if isinstance(value, int) else int(value, 16):064x}"


def tx(hash: str = "0x1", **more: Any) -> dict[str, Any]:
    return {"hash": hash, "from": A, "to": B, "value": "0x5", "nonce": "0x0", "gas": "0x9", "gasPrice": "0x2", **more}


def receipt(hash: str = "0x1", *logs: dict[str, Any], **more: Any) -> dict[str, Any]:
    placed = [{**log, "logIndex": hex(n), "transactionHash": hash, "blockHash": "0xab"} for n, log in enumerate(logs)]
    return {"transactionHash": hash, "blockHash": "0xab", "status": "0x1", "gasUsed": "0x3", "logs": placed, **more}


def moved(contract: str, sender: str, receiver: str, value: int) -> dict[str, Any]:
    return {"address": contract, "topics": [TRANSFER, word(sender), word(receiver)], "data": word(value)}


def decoded(
    name: str, transactions: list[dict[str, Any]], receipts: list[dict[str, Any]], watch: str = A, **more: Any
) -> Block:
    network = by_name(name)
    assert network is not None
    raw = {"hash": "0xab", "parentHash": "0xaa", "number": "0x10", "timestamp": "0x64", "transactions": transactions}
    return decode_block(
        msgspec.json.decode(msgspec.json.encode({**raw, **more}), type=RpcBlock),
        msgspec.json.decode(msgspec.json.encode(receipts), type=list[RpcReceipt]), {watch}, network.chain,
    )  # fmt: skip


def moves(block: Block) -> list[tuple[str, str, str, int]]:
    ordered = sorted(block.transfers, key=lambda t: (t.tx.index, t.index))
    return [(str(t.kind), t.from_addresses[0], t.to_address, t.value) for t in ordered]


def test_a_deposit_gives_before_it_spends():
    """Optimism's type 0x7e, Arbitrum's 0x64: what comes from Ethereum is new to the account that sends it on."""
    deposit = tx(type="0x7e", mint="0x9", gasPrice="0x0")
    found = moves(decoded("optimism", [deposit], [receipt(effectiveGasPrice="0x0")]))
    assert found == [("internal", "", A, 9), ("native", A, B, 5)]
    failed = receipt(status="0x0", effectiveGasPrice="0x0")
    assert moves(decoded("base", [deposit], [failed])) == [("internal", "", A, 9)]
    arbitrum = decoded("arbitrum", [tx(type="0x64")], [receipt(gasUsed="0x0")])
    assert moves(arbitrum) == [("internal", "", A, 5), ("native", A, B, 5)]


def test_a_deposit_with_a_message_on_arbitrum():
    """Type 0x69: what came along is the sender's; the message spends it later, in a transaction of its own."""
    found = decoded("arbitrum", [tx(type="0x69", value="0x0", depositValue="0x9")], [receipt()])
    assert moves(found) == [("internal", "", A, 9), ("fee", A, "", 6)]


def test_gas_paid_in_a_token():
    """Celo's feeCurrency: prices are in the token's units, so nothing is told of the coin; the token's logs tell it."""
    token = "0x" + "c3" * 20
    paid = receipt("0x1", moved(token, A, ZERO, 6), effectiveGasPrice="0x2")
    block = decoded("celo", [tx(type="0x7b", feeCurrency=token)], [paid])
    assert moves(block) == [("native", A, B, 5), ("token", A, ZERO, 6)]
    assert {(t.tx.fee, t.tx.fee_rate) for t in block.transfers} == {(None, None)}
    assert block.blind_spots == ("internal transfers", "fees paid in tokens")
    assert decoded("celo", [tx(feeCurrency=None)], [receipt()]).blind_spots == ("internal transfers",)


def test_the_receipt_of_a_state_synchronisation():
    """Polygon's nodes give it with or without its transaction, or a transaction without it; its deposits count."""
    token = "0x" + "c3" * 20
    sync = receipt("0x5", moved(token, ZERO, A, 7))
    nobody = tx("0x5", **{"from": ZERO, "to": ZERO, "value": "0x0"})
    for transactions, receipts in (
        ([tx()], [receipt(), sync]), ([tx(), nobody], [receipt(), sync]), ([tx(), nobody], [receipt()]),
    ):  # fmt: skip
        block = decoded("polygon", transactions, receipts)
        given = [("token", ZERO, A, 7)] if len(receipts) == 2 else []
        assert moves(block) == [("native", A, B, 5), ("fee", A, "", 6), *given]
    with pytest.raises(ChainInconsistent):
        decoded("ethereum", [tx()], [receipt(), sync])
    with pytest.raises(ChainInconsistent):
        decoded("polygon", [tx(), tx("0x6")], [receipt()])


def test_coins_that_are_tokens_too():
    """Celo moves its coin by token calls as well; on zkSync every movement of the coin is such a log, fees included."""
    celo, zksync = by_name("celo"), by_name("zksync")
    assert celo is not None and zksync is not None
    block = decoded("celo", [tx(value="0x0")], [receipt("0x1", moved(celo.coin, A, B, 7))])
    assert moves(block) == [("internal", A, B, 7), ("fee", A, "", 6)]
    assert {t.asset for t in block.transfers} == {celo.asset}
    bootloader = "0x" + "0" * 36 + "8001"
    logs = [moved(zksync.coin, A, bootloader, 9), moved(zksync.coin, A, B, 5), moved(zksync.coin, bootloader, A, 2)]
    block = decoded("zksync", [tx()], [receipt("0x1", *logs)])
    assert moves(block) == [("internal", A, bootloader, 9), ("internal", A, B, 5), ("internal", bootloader, A, 2)]


def test_withdrawals_in_the_coin_and_in_another():
    """Of validators, in gwei; Gnosis pays them in a token, which has a log of its own."""
    given = [{"index": "0x7", "validatorIndex": "0x1", "address": A, "amount": "0x3"}]
    block = decoded("ethereum", [], [], withdrawals=given)
    assert moves(block) == [("internal", "", A, 3 * 10**9)] and block.transfers[0].tx.hash == "withdrawal-7"
    assert moves(decoded("gnosis", [], [], withdrawals=given)) == []


def test_what_nodes_leave_out():
    """No type, no effective price, no status, no bloom, capital letters: the block is read all the same."""
    plain = {"hash": "0x1", "from": A.upper().replace("X", "x"), "to": B, "value": "0x5"}
    block = decoded("sonic", [plain], [{"transactionHash": "0x1", "blockHash": "0xab", "logs": []}])
    assert moves(block) == [("native", A, B, 5)] and "transaction status" in block.blind_spots
    no_logs = {"transactionHash": "0x1", "blockHash": "0xab", "status": "0x1", "logs": None}
    assert moves(decoded("sonic", [plain], [no_logs])) == [("native", A, B, 5)]


def test_every_network_is_sound():
    """Names and identifiers once, addresses as they must be, a time between blocks."""
    wanted = {"ethereum", "sepolia", "bsc", "polygon", "arbitrum", "optimism", "base", "avalanche", "fantom", "sonic",
              "gnosis", "linea", "scroll", "zksync", "celo", "mantle", "blast"}  # fmt: skip
    evm = [network for network in NETWORKS if network.kind == "evm"]
    assert len({n.name for n in evm}) == len({n.chain for n in evm}) == len(evm) == len(wanted)
    assert wanted <= {n.name for n in evm}
    for network in evm:
        assert network.block_seconds > 0 and network.finality_depth > 0
        for contract in (network.wrapped, network.coin):
            assert contract == "" or (len(contract) == 42 and contract == contract.lower())
