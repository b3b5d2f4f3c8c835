"""What waits on NEM: unconfirmed transactions of named accounts, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chains.base import ChainSpec, PendingGone, PendingSeen
from chains.nem import pending
from chains.nem.binary import transaction_hash
from chains.nem.pending import NemMempool
from chains.recorded.nem import Move, construct, make_block
from chains.recorded.nem_blocks import Recording
from monitor.addresses.nem import of_public_key
from monitor.errors import ConfigError
from monitor.model import ControlKind, TransferKind

KEY, COSIGNER, STRANGER = ("11" * 32, "22" * 32, "33" * 32)
OWNER, PARTNER = of_public_key(KEY, 0x68), of_public_key(COSIGNER, 0x68)
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
T0 = 1_516_892_520
Start = Callable[..., Awaitable[Any]]


def transfer(amount: int, *, signer: str = KEY, to: str = THIEF) -> dict[str, Any]:
    """A transfer, signed."""
    return {
        "type": 257, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 50_000, "signer": signer,
        "recipient": to, "amount": amount, "message": {}, "signature": f"{amount:02x}".rjust(128, "0"),
    }  # fmt: skip


def multisig(inner: dict[str, Any], signatures: int = 0) -> dict[str, Any]:
    """Of the owner's account, proposed by a cosignatory."""
    bare = {key: value for key, value in inner.items() if key != "signature"}
    return {
        "type": 4100, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 150_000, "signer": COSIGNER,
        "signature": "cc" * 64, "otherTrans": bare,
        "signatures": [{"fee": 150_000, "signer": STRANGER, "type": 4098} for _ in range(signatures)],
    }  # fmt: skip


class Looks:
    """A mempool whose rounds are counted: `until` collects what it tells."""

    def __init__(self, mempool: NemMempool, known: dict[str, tuple[str, int]]) -> None:
        self.mempool, self.told = mempool, []
        self._stream = mempool.pending(known)

    async def until(self, count: int) -> list[Any]:
        """Everything told so far, once it is that much."""
        async with asyncio.timeout(20):
            while len(self.told) < count:
                self.told += await anext(self._stream)
        return self.told

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self.mempool.aclose()


@contextlib.asynccontextmanager
async def looking(
    server: Any, *accounts: str, known: dict[str, tuple[str, int]] | None = None, urls: tuple[str, ...] = ()
) -> AsyncIterator[Looks]:
    spec = ChainSpec("nem", "nem", "nem:mainnet", (server.url, *urls), poll_seconds=0.001, accounts=accounts)
    looks = Looks(NemMempool(spec, frozenset(accounts), sleep=_no_pause), known or {})
    try:
        yield looks
    finally:
        await looks.aclose()


async def _no_pause(_: float) -> None:
    await asyncio.sleep(0)


def chain_of(*transactions: dict[str, Any]) -> Recording:
    base = construct([Move(T0, STRANGER, THIEF, 1)])
    return Recording(base.network, (*base.blocks, make_block(base.blocks[-1], T0 + 60, transactions)))


async def test_a_payment_is_told_while_it_waits_and_when_it_is_mined(nis: Start) -> None:
    """Once, with the hash that it will be mined under; then where."""
    theft = transfer(77)
    server = await nis(chain_of(theft), shown=2)
    server.waiting = [theft, transfer(5, signer=STRANGER)]
    async with looking(server, OWNER, PARTNER) as looks:
        (seen,) = await looks.until(1)
        assert isinstance(seen, PendingSeen)
        assert (seen.pending.tx.hash, seen.pending.tx.initiator, seen.pending.tx.nonce) == (
            transaction_hash(theft), OWNER, None)  # fmt: skip
        assert [(t.kind, t.value) for t in seen.pending.transfers] == [
            (TransferKind.NATIVE, 77), (TransferKind.FEE, 50_000)]  # fmt: skip
        await server._pace.release(1)
        assert (await looks.until(2))[1:] == [PendingGone(transaction_hash(theft), "mined", 3)]


async def test_a_multisig_transaction_is_told_from_the_first_signature_on(nis: Start) -> None:
    """It waits for cosignatories; more signatures are no other transaction."""
    theft = multisig(transfer(88))
    server = await nis(chain_of(multisig(transfer(88), 1)), shown=2)
    server.waiting = [theft]
    async with looking(server, OWNER) as looks:
        (seen,) = await looks.until(1)
        assert seen.pending.tx.initiator == OWNER and seen.pending.transfers[0].value == 88
        server.waiting = [multisig(transfer(88), 1)]
        await server._pace.release(1)
        assert (await looks.until(2))[1:] == [PendingGone(transaction_hash(theft), "mined", 3)]


async def test_control_changes_wait_too(nis: Start) -> None:
    """A cosignatory that is about to be added to a watched account."""
    change = {
        "type": 4097, "version": 0x68 << 24 | 2, "timeStamp": 5, "deadline": 9, "fee": 500_000, "signer": KEY,
        "signature": "dd" * 64, "minCosignatories": {"relativeChange": -1},
        "modifications": [{"modificationType": 1, "cosignatoryAccount": STRANGER}],
    }  # fmt: skip
    server = await nis(chain_of())
    server.waiting = [change]
    async with looking(server, OWNER) as looks:
        (seen,) = await looks.until(1)
        assert [c.kind for c in seen.pending.controls] == [ControlKind.SIGNATORY_CHANGE]


async def test_what_expires_is_dropped(nis: Start) -> None:
    """Gone from the lists, and in no block."""
    server = await nis(chain_of())
    server.waiting = [transfer(9)]
    async with looking(server, OWNER) as looks:
        await looks.until(1)
        server.waiting = []
        assert (await looks.until(2))[1:] == [PendingGone(transaction_hash(transfer(9)), "dropped")]


async def test_after_a_restart(nis: Start) -> None:
    """What still waits is told again, what was mined or dropped meanwhile is told to be gone."""
    mined, waits, lost = transfer(1), transfer(2), transfer(3)
    server = await nis(chain_of(mined))
    server.waiting = [waits]
    known = {transaction_hash(tx): (transaction_hash(tx), 0) for tx in (mined, waits, lost)}
    async with looking(server, OWNER, known=known) as looks:
        seen, *gone = await looks.until(3)
        assert seen.pending.tx.hash == transaction_hash(waits)
        assert gone == [PendingGone(transaction_hash(mined), "mined", 3),
                        PendingGone(transaction_hash(lost), "dropped")]  # fmt: skip


async def test_another_node_takes_over(nis: Start) -> None:
    """While one is down the other tells, and nothing is told twice."""
    first, second = await nis(chain_of()), await nis(chain_of())
    first.waiting, second.waiting = [transfer(1)], [transfer(1), transfer(2)]
    async with looking(first, OWNER, urls=(second.url,)) as looks:
        await looks.until(1)
        await first.stop()
        told = await looks.until(2)
        assert [event.pending.transfers[0].value for event in told] == [1, 2]


@pytest.mark.parametrize("answer", [[], {"data": 5}, {}, None])
async def test_senseless_answers_tell_nothing(nis: Start, answer: Any) -> None:
    """They are tried again; transactions that cannot be understood are counted."""
    server = await nis(chain_of())
    damaged = [{"transaction": {**transfer(1), "amount": "x"}}, {"transaction": None}, 5]
    answers = iter([answer, answer, {"data": damaged}, {"data": [*damaged, {"transaction": transfer(4)}]}])
    server._unconfirmed = lambda _: next(answers)
    await server.stop()
    await server.start()
    async with looking(server, OWNER) as looks:
        (seen,) = await looks.until(1)
        assert seen.pending.transfers[0].value == 4
        assert looks.mempool.dropped == 1


async def test_everything_is_dropped_after_long_silence(nis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer nobody knows whether anything still waits."""
    monkeypatch.setattr(pending, "LOST_SECONDS", 0.0)
    server = await nis(chain_of())
    server.waiting = [transfer(1)]
    async with looking(server, OWNER) as looks:
        await looks.until(1)
        await server.stop()
        assert (await looks.until(2))[1:] == [PendingGone(transaction_hash(transfer(1)), "dropped")]


async def test_bounds(nis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many transactions of one account, and of too many that are waited for, the rest is counted."""
    monkeypatch.setattr(pending, "MOST_LISTED", 4)
    monkeypatch.setattr(pending, "MOST_TOLD", 3)
    server = await nis(chain_of())
    server.waiting = [transfer(n + 1) for n in range(6)]
    async with looking(server, OWNER) as looks:
        told = await looks.until(5)
        assert [type(event) for event in told[:5]] == [PendingSeen] * 4 + [PendingGone]
        assert looks.mempool.dropped == 3


async def test_a_flood_of_small_payments_hides_no_theft(nis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than are looked at, those that the account itself sends come first."""
    monkeypatch.setattr(pending, "MOST_LISTED", 2)
    server = await nis(chain_of())
    server.waiting = [*(transfer(n, signer=STRANGER, to=OWNER) for n in range(1, 5)), transfer(900)]
    server.waiting.append(multisig(transfer(901)))
    async with looking(server, OWNER) as looks:
        told = await looks.until(2)
    assert [event.pending.transfers[0].value for event in told] == [900, 901]
    assert looks.mempool.dropped == 4


async def test_no_named_account_no_mempool(nis: Start) -> None:
    """It ends at once; another family's chain is refused."""
    server = await nis(chain_of())
    async with looking(server) as looks:
        with pytest.raises(StopAsyncIteration):
            await looks.until(1)
    with pytest.raises(ConfigError):
        NemMempool(ChainSpec("x", "nem", "eip155:1", (server.url,)), set())


async def test_another_network_ends_it(nis: Start) -> None:
    """As the watcher says it, without an error here."""
    server = await nis(chain_of())
    spec = ChainSpec("nem", "nem", "nem:testnet", (server.url,), accounts=("TX",))
    mempool = NemMempool(spec, {"TX"}, sleep=_no_pause)
    try:
        assert [event async for event in mempool.pending({})] == []
    finally:
        await mempool.aclose()
