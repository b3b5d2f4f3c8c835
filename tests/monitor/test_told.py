"""Balances that a block brings along, names that tokens give themselves, and what is only a token's word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.errors import ChainUnavailable
from monitor.model import Block, BlockRef, Role, Transfer, TransferKind, Tx, Wallet
from monitor.naming import REST, Naming
from monitor.told import brought, corrections
from monitor.watchlist import Watchlist

CHAIN = "eip155:1"
NATIVE = f"{CHAIN}/slip44:60"
TOKEN = f"{CHAIN}/erc20:0x" + "77" * 20
ONE, TWO, OTHER = ("0x" + digit * 40 for digit in "123")
REF = BlockRef(CHAIN, 7, "0x" + "ab" * 32)
BLOCK = Block(REF, "0x" + "cd" * 32, 1_700_000_000)


def engine(*addresses: str, listed: Sequence[str] = ()) -> Engine:
    wallet = Wallet("w", "Exchange", Role.TREASURY, tuple((CHAIN, address) for address in addresses))
    return Engine(Watchlist([wallet]), listed)


def reconciled(asset: str, initiator: str | None = None, target: str | None = None) -> Transfer:
    tx = Tx("unexplained-1", 3, initiator=initiator, target=target)
    return Transfer(REF, tx, 2**33, TransferKind.RECONCILED, asset, (ONE,), "unexplained", 5, input_values=(5,))


def test_whole_wallets_alone() -> None:
    """The balance of one of two addresses says nothing of the wallet; strangers are not asked about."""
    both = replace(BLOCK, balances=((ONE, NATIVE, 3), (TWO, NATIVE, 4), (OTHER, NATIVE, 9)))
    assert brought(engine(ONE, TWO), both) == {("w", CHAIN, NATIVE): 7}
    assert brought(engine(ONE, TWO), replace(BLOCK, balances=((ONE, NATIVE, 3),))) == {}


def test_corrections() -> None:
    """What the engine keeps is put right where it is wrong; nothing is opened, nothing repeated."""
    found = engine(ONE)
    place = ("w", CHAIN, NATIVE)
    assert corrections(found, {place: 10**20}) == {}
    found.connect(BLOCK, {place: 10**20})
    assert corrections(found, {place: 10**20}) == {}
    assert corrections(found, {place: 9 * 10**19, ("w", CHAIN, TOKEN): 5}) == {place: 9 * 10**19}


@pytest.mark.parametrize(
    ("asset", "initiator", "target", "listed", "real"),
    [
        (NATIVE, None, None, False, True),
        (TOKEN, None, None, False, False),
        (TOKEN, OTHER, TOKEN[-42:], False, False),
        (TOKEN, ONE, TOKEN[-42:], False, True),
        (TOKEN, None, None, True, True),
    ],
)
def test_what_is_only_a_tokens_word(
    asset: str, initiator: str | None, target: str | None, listed: bool, real: bool
) -> None:
    """An unexplained fall of the coin is real; that of a token where the owner listed it, or the wallet moved it."""
    block = replace(BLOCK, transfers=(reconciled(asset, initiator, target),))
    folded = engine(ONE, listed=[TOKEN] if listed else []).connect(block)
    assert (len(folded.flows), folded.ignored) == ((1, 0) if real else (0, 1))


def test_unverified_names() -> None:
    """A token's own name is marked, and never stands for the one that the owner gave."""
    names = AssetNames()
    assert names.display(TOKEN, 12_500_000) == "12500000 base units of 0x7777…7777" and not names.is_named(TOKEN)
    names.tell(TOKEN, "USDT", 6)
    assert names.display(TOKEN, 12_500_000) == "12.5 USDT (unverified 0x7777…7777)" and names.is_named(TOKEN)
    names.tell(NATIVE, "SCAM", 1)
    assert names.display(NATIVE, 10**18) == "1 ETH"


class Source:
    """Answers, or fails, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails: BaseException | None = None

    async def describe(self, assets: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        self.asked.append(list(assets))
        if self.fails is not None:
            raise self.fails
        return {TOKEN: ("ODD", 2)}


async def test_naming() -> None:
    """Asked once for what has no name; after a failure not for a while, whatever is sent."""
    names, source = AssetNames(), Source()
    naming = Naming(names, source.describe)
    source.fails = ChainUnavailable("gone")
    for _ in range(REST):
        await naming.learn([NATIVE, TOKEN, TOKEN])
    assert source.asked == [[TOKEN]]
    source.fails = None
    await naming.learn([NATIVE, TOKEN])
    await naming.learn([TOKEN])
    assert len(source.asked) == 2 and names.display(TOKEN, 150) == "1.5 ODD (unverified 0x7777…7777)"


async def test_naming_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that stalls costs a block a moment, once."""
    monkeypatch.setattr("monitor.naming.PATIENCE", 0.0)

    async def stall(assets: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        await asyncio.Event().wait()
        raise AssertionError

    names = AssetNames()
    await Naming(names, stall).learn([TOKEN])
    assert not names.is_named(TOKEN)
