"""What tokens call themselves, as far as it may be shown."""

from __future__ import annotations

from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.names import shown_symbol, text_of
from chains.evm.watcher import EvmChain
from tests.contracts.chain import deploy
from tests.contracts.driver import Driver

CHAIN = "eip155:31337"


@pytest.fixture
async def chain(anvil: Any) -> Any:
    """A watcher of the node."""
    found = EvmChain(ChainSpec("local", "evm", CHAIN, (anvil.url,)), frozenset())
    yield found
    await found.aclose()


def encoded(text: bytes) -> str:
    """Text as a contract returns a string."""
    return (
        "0x"
        + (32).to_bytes(32, "big").hex()
        + len(text).to_bytes(32, "big").hex()
        + text.ljust(-len(text) % 32 + len(text), b"\0").hex()
    )


async def test_real_tokens(anvil: Any, chain: EvmChain) -> None:
    """Symbol and decimals of tokens; accounts that are none, and other assets, are left out; asked once."""
    node = Driver(anvil.url)
    boss = node.accounts[0]
    odd, fake = deploy(node, boss, "OddToken", 0), deploy(node, boss, "FakeToken", "US\u202eDT <b>")
    purse = deploy(node, boss, "Purse")
    assets = [f"{CHAIN}/erc20:{one.address}" for one in (odd, fake, purse)]
    others = [f"{CHAIN}/erc20:{boss}", f"{CHAIN}/slip44:60", f"eip155:1/erc20:{odd.address}"]
    found = await chain.describe([*assets, *others])
    assert found == {assets[0]: ("ODD", 18), assets[1]: ("USDT<b>", 6)}
    node.rpc("anvil_setCode", odd.address, "0x00")
    assert await chain.describe(assets) == found


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (encoded(b"USDC"), "USDC"),
        ("0x" + b"MKR".ljust(32, b"\0").hex(), "MKR"),
        (encoded("₮".encode()), "₮"),
        ("0x", ""),
        (None, ""),
        ("0x" + "ff" * 64, ""),
        (encoded(b"x" * 5000)[:700], "x" * 64),
        (encoded(b"\xff\xfeOK"), "OK"),
        ("not hex", ""),
    ],
)
def test_text(answer: Any, text: str) -> None:
    """Both forms, and no answer that raises."""
    assert text_of(answer) == text


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("USDT", "USDT"),
        ("U S\tD\nT", "USDT"),
        ("USDC\u200b\u202e", "USDC"),
        ("USDT (verified)", "USDTverified"),
        ("wstETH-v2.0", "wstETH-v2.0"),
        ("A" * 40, "A" * 16),
        ("\u0000", ""),
        ("USD₮", "USD₮"),
    ],
)
def test_symbol(symbol: str, shown: str) -> None:
    """Nothing that breaks a line, hides, or claims to be more than a symbol."""
    assert shown_symbol(symbol) == shown
