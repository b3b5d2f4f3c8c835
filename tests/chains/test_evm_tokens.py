"""What token logs move: every standard's shapes, hostile ones, and real contracts on a real node."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from chains.base import ChainSpec
from chains.evm.decode import BATCH_BASE
from chains.evm.tokens import BATCH, DEPOSIT, MOVES, SINGLE, TRANSFER, WITHDRAWAL, moves_of, parties_of
from chains.evm.watcher import EvmChain
from chains.evm.wire import RpcLog
from monitor.networks import by_name
from tests.contracts.artifacts import artifact

A, B, COIN = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "c3" * 20
CHAIN = "eip155:1"
ETHEREUM = by_name("ethereum")
assert ETHEREUM is not None
WETH = ETHEREUM.wrapped


def word(value: int | str) -> str:
    return f"0x{value if isinstance(value, int) else int(value, 16):064x}"


def log(*topics: str, data: str = "0x", address: str = COIN) -> RpcLog:
    return RpcLog(address, topics, data)


def moved(entry: RpcLog) -> list[tuple[str, str, int, str]]:
    return [(m.sender, m.receiver, m.value, m.asset) for m in moves_of(entry, CHAIN, WETH)]


def abi(types: list[str], *values: Any) -> str:
    return "0x" + encode(types, values).hex()


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (log(TRANSFER, word(A), word(B), data=word(7)), [(A, B, 7, f"{CHAIN}/erc20:{COIN}")]),
        (log(TRANSFER, word(A), word(B), word(99)), [(A, B, 1, f"{CHAIN}/erc721:{COIN}")]),
        (log(TRANSFER, data=abi(["address", "address", "uint256"], A, B, 99)), [(A, B, 1, f"{CHAIN}/erc721:{COIN}")]),
        (
            log(SINGLE, word(COIN), word(A), word(B), data=abi(["uint256", "uint256"], 5, 70)),
            [(A, B, 70, f"{CHAIN}/erc1155:{COIN}/5")],
        ),
        (
            log(BATCH, word(COIN), word(A), word(B), data=abi(["uint256[]", "uint256[]"], [5, 6], [70, 80])),
            [(A, B, 70, f"{CHAIN}/erc1155:{COIN}/5"), (A, B, 80, f"{CHAIN}/erc1155:{COIN}/6")],
        ),
        (log(DEPOSIT, word(A), data=word(3), address=WETH), [(WETH, A, 3, f"{CHAIN}/erc20:{WETH}")]),
        (log(WITHDRAWAL, word(A), data=word(3), address=WETH), [(A, WETH, 3, f"{CHAIN}/erc20:{WETH}")]),
        (log(DEPOSIT, word(A), data=word(3)), []),  # another contract's word for another thing
    ],
)
def test_shapes(entry: RpcLog, wanted: list[Any]):
    """Each standard's log, and the parties that screening looks for."""
    assert moved(entry) == wanted
    assert set(parties_of(entry)) >= {p for sender, receiver, *_ in wanted for p in (sender, receiver)} - {WETH}


@pytest.mark.parametrize(
    "entry",
    [
        log(TRANSFER, word(A)),
        log(TRANSFER, word(A), word(B), data="0x"),
        log(SINGLE, word(COIN), word(A), word(B), data=word(5)),
        log(SINGLE, word(COIN), word(A), data=abi(["uint256", "uint256"], 5, 70)),
        log(BATCH, word(COIN), word(A), word(B), data=abi(["uint256[]", "uint256[]"], [5, 6], [70])),
        log(BATCH, word(COIN), word(A), word(B), data=word(2**255) + "00" * 32),
        log(BATCH, word(COIN), word(A), word(B), data=abi(["uint256", "uint256", "uint256"], 32, 32, 2**64)),
        log(TRANSFER, "0x" + "ff" * 32, word(B), data=word(1)),
    ],
)
def test_shapes_of_no_standard(entry: RpcLog):
    with pytest.raises(ValueError, match=r".+"):
        moves_of(entry, CHAIN, WETH)


@given(
    st.sampled_from(sorted(MOVES)),
    st.lists(st.text("0123456789abcdefxXzé", max_size=70), max_size=4),
    st.text("0123456789abcdefxz", max_size=400),
    st.booleans(),
)
def test_hostile_logs_never_raise_anything_else(kind, topics, data, prefixed):
    entry = log(kind, *topics, data="0x" + data if prefixed else data, address=WETH)
    parties_of(entry)
    try:
        moves_of(entry, CHAIN, WETH)
    except ValueError:
        pass


async def test_real_tokens_on_a_real_node(anvil: Any):
    """ERC-721 and ERC-1155 of OpenZeppelin: single and batch, from mint to sale; every item has its own index."""
    boss, friend = anvil.accounts[0], "0x" + "f1" * 20
    made = {}
    for name, how in (("ERC721PresetMinterPauserAutoId", ("N", "N", "")), ("ERC1155PresetMinterPauser", ("",))):
        receipt = await anvil.send(**{"from": boss, "data": artifact(name).creation(*how), "gas": hex(8_000_000)})
        made[name[:7].rstrip("P")] = (receipt["contractAddress"].lower(), artifact(name))
    nft, nft_code = made["ERC721"]
    many, many_code = made["ERC1155"]
    chain = EvmChain(ChainSpec("local", "evm", "eip155:31337", (anvil.url,)), {boss})

    async def moved_by(to: str, data: str) -> list[tuple[str, str, int, str]]:
        receipt = await anvil.send(**{"from": boss, "to": to, "data": data})
        block = await chain.block(int(receipt["blockNumber"], 16))
        assert block.undecoded == ()
        tokens = [t for t in block.transfers if t.kind == "token"]
        assert len({t.index for t in block.transfers}) == len(block.transfers)
        assert [t.index >= BATCH_BASE for t in tokens] == [n > 0 for n in range(len(tokens))]
        return [(t.from_addresses[0], t.to_address, t.value, t.asset.partition("/")[2]) for t in tokens]

    try:
        zero = "0x" + "0" * 40
        assert await moved_by(nft, nft_code.call("mint", boss)) == [(zero, boss, 1, f"erc721:{nft}")]
        sold = nft_code.call("transferFrom", boss, friend, 0)
        assert await moved_by(nft, sold) == [(boss, friend, 1, f"erc721:{nft}")]
        minted = many_code.call("mintBatch", boss, [1, 2], [10, 20], b"")
        assert await moved_by(many, minted) == [
            (zero, boss, 10, f"erc1155:{many}/1"), (zero, boss, 20, f"erc1155:{many}/2"),
        ]  # fmt: skip
        one = many_code.call("safeTransferFrom", boss, friend, 1, 4, b"")
        assert await moved_by(many, one) == [(boss, friend, 4, f"erc1155:{many}/1")]
        both = many_code.call("safeBatchTransferFrom", boss, friend, [1, 2], [6, 20], b"")
        assert await moved_by(many, both) == [
            (boss, friend, 6, f"erc1155:{many}/1"), (boss, friend, 20, f"erc1155:{many}/2"),
        ]  # fmt: skip
    finally:
        await chain.aclose()
