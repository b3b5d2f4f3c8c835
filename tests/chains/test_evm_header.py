"""The hash of a header, recomputed: real blocks, a real node, and what is made of headers that do not agree."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chains.evm.header import FAILS, FAILS_ALONE, NO_HEADER, HeaderCheck, check_header, header_hash
from chains.evm.wire import RpcBlock, parse_block
from chains.recorded.evm import Draft, construct
from monitor.errors import ChainInconsistent


def test_real_blocks(data_root: Path) -> None:
    """Blocks of Ethereum from Frontier to Cancun recompute, and no longer do when any one field of them is changed."""
    folders = sorted((data_root / "ethereum/pevm").iterdir(), key=lambda folder: int(folder.name))
    assert len(folders) > 50
    for folder in folders:
        block = parse_block(gzip.decompress((folder / "block.json.gz").read_bytes()))
        assert check_header(block), folder.name
    for name in ("state_root", "gas_used", "extra_data", "base_fee_per_gas", "excess_blob_gas", "withdrawals_root"):
        value = getattr(block, name)
        assert value is not None, f"the last block is of Cancun, but has no {name}"
        changed = msgspec.structs.replace(block, **{name: value[:-1] + ("1" if value[-1] != "1" else "2")})
        assert not check_header(changed)


async def test_real_node(anvil: Any) -> None:
    """A node's own headers, with the fields of Prague, recompute."""
    await anvil.send(**{"from": anvil.accounts[0], "to": anvil.accounts[1], "value": "0x5"})
    block = parse_block(msgspec.json.encode(await anvil.rpc("eth_getBlockByNumber", "latest", True)))
    assert block.requests_hash is not None and check_header(block)


def blocks(count: int = 4) -> list[RpcBlock]:
    """Blocks whose headers recompute."""
    return [parse_block(msgspec.json.encode(m.block)) for m in construct(1, [Draft(100 + n) for n in range(count)])]


def lying(block: RpcBlock, digit: str = "0") -> RpcBlock:
    """The same block with another hash."""
    return msgspec.structs.replace(block, hash="0x" + digit * 64)


def test_missing_and_odd_fields() -> None:
    """What cannot be read has no hash; a hash in upper case is the same."""
    block = blocks(1)[0]
    assert header_hash(block) == block.hash
    assert check_header(msgspec.structs.replace(block, hash="0x" + block.hash[2:].upper()))
    for change in ({"state_root": None}, {"nonce": "0xzz"}, {"gas_used": "12"}, {"miner": ""}):
        assert header_hash(msgspec.structs.replace(block, **change)) is None


def test_one_liar_among_others() -> None:
    """Where headers recompute, one that does not is a contradiction, however often it is told."""
    first, second, *_ = blocks()
    check = HeaderCheck("chain", 2)
    for _ in range(2):
        with pytest.raises(ChainInconsistent, match="liar: the hash of block 0x0000"):
            check.see(lying(first), "liar")
    assert check.see(first, "honest") is None
    for _ in range(3 * FAILS_ALONE):
        with pytest.raises(ChainInconsistent):
            check.see(lying(second), "liar")
    assert check.see(second, "honest") is None


def test_a_network_with_hashes_of_its_own() -> None:
    """Two endpoints that both fail, or one that fails again and again, are a network that is made otherwise."""
    first, second, *_ = blocks()
    check = HeaderCheck("chain", 2)
    with pytest.raises(ChainInconsistent):
        check.see(lying(first), "a")
    assert check.see(lying(first), "b") == NO_HEADER
    assert check.see(lying(second, "1"), "a") == NO_HEADER
    alone = HeaderCheck("chain", 1)
    for _ in range(FAILS - 1):
        with pytest.raises(ChainInconsistent):
            alone.see(lying(first), "a")
    assert alone.see(lying(first), "a") == NO_HEADER
    assert alone.see(second, "a") is None  # it recomputes after all: from now on it must
    with pytest.raises(ChainInconsistent):
        alone.see(lying(first), "a")


def test_nothing_to_recompute_from() -> None:
    """A header without its roots is a blind spot where none was ever whole, and a contradiction where one was."""
    block = blocks(1)[0]
    bare = msgspec.structs.replace(block, state_root=None, transactions_root=None, receipts_root=None)
    check = HeaderCheck("chain", 2)
    assert check.see(bare, "a") == NO_HEADER
    assert check.see(block, "a") is None
    with pytest.raises(ChainInconsistent):
        check.see(bare, "a")


def test_a_fork_with_new_fields() -> None:
    """Headers that stop recomputing everywhere are a blind spot, not an outage; one endpoint alone takes longer."""
    old, new, *_ = blocks()
    check = HeaderCheck("chain", 2)
    assert check.see(old, "a") is None
    with pytest.raises(ChainInconsistent):
        check.see(lying(new), "a")
    assert check.see(lying(new), "b") == NO_HEADER
    alone = HeaderCheck("chain", 1)
    assert alone.see(old, "a") is None
    for _ in range(FAILS_ALONE - 1):
        with pytest.raises(ChainInconsistent):
            alone.see(lying(new), "a")
    assert alone.see(lying(new), "a") == NO_HEADER


def test_two_liars_that_disagree() -> None:
    """On a network whose headers recompute, different wrong hashes from different endpoints are not believed."""
    first, second, *_ = blocks()
    check = HeaderCheck("chain", 3)
    assert check.see(first, "honest") is None
    for _ in range(FAILS_ALONE):
        for endpoint, digit in (("a", "1"), ("b", "2")):
            with pytest.raises(ChainInconsistent):
                check.see(lying(second, digit), endpoint)
