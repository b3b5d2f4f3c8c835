"""Ethereum blocks to transfers: pure, no I/O.

Positions: each transaction takes one place for its native value, one for each of its logs by ``logIndex``, and one for
its fee, whether they move value or not. A transfer's ``index`` therefore depends on the block alone, neither on the
watch set nor on the way the block was read (recorded blocks without logs apart).
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from chains.evm.calls import InternalCall, Reward, Traced
from chains.evm.controls.authorization import authority_of
from chains.evm.controls.calldata import SAFE_CALLS
from chains.evm.controls.told import Happened, controls_of, tells_safe
from chains.evm.reader import TxReader, created_address, number_of
from chains.evm.screen import Screen
from chains.evm.tokens import MOVES, TRANSFER, moves_of, parties_of
from chains.evm.wire import (
    RpcBlock,
    RpcLog,
    RpcReceipt,
    RpcTx,
    RpcWithdrawal,
    check_logs,
    check_receipts,
    check_same_block,
    parse_block,
    with_system,
)
from monitor.errors import DecodeError
from monitor.model import Block, BlockRef, ControlEvent, Transfer, TransferKind, Tx
from monitor.networks import by_chain

__all__ = ["decode_block", "decode_recorded", "native_asset", "screen_of", "touching"]

NO_TRACES = "internal transfers"
NO_STATUS = "transaction status"
NO_TOKENS = "token transfers"
NO_FEES = "fees paid in tokens"
INTERNAL_BASE = 2**32  # of the index of internal transfers: above all places of transactions and logs
BATCH_BASE = 2**40  # of the index of further items of a batch: above those
MINT_PLACE = -1  # what a deposit gives comes before what its transaction spends
ARBITRUM_DEPOSIT = "0x64"
GWEI = 10**9


def native_asset(chain: str) -> str:
    """The CAIP-19 native asset of an ``eip155:N`` chain; DecodeError for any other."""
    network = by_chain(chain)
    if network is None or network.kind != "evm":
        raise DecodeError(f"{chain!r} is not an EVM chain, expected eip155:N")
    return network.asset


def decode_block(
    block: RpcBlock,
    receipts: Sequence[RpcReceipt] | None,
    watch: Container[str],
    chain: str,
    *,
    logs: Sequence[RpcLog] | None = None,
    source: str = "",
    screen: Screen | None = None,
    traced: Traced | None = None,
) -> Block:
    """What a block moved, as far as it touches ``watch`` (canonical addresses, lower case).

    Parameters
    ----------
    block : the block with its transactions in full
    receipts : of all its transactions; with ``logs`` those of the transactions that `touching` names are enough; None
        where there are none: then failed transactions count as successful, and `Block.blind_spots` says so
    chain : CAIP-2
    logs : all logs of the block, where the endpoint has no receipts by the block
    source : the redacted endpoint
    screen : of ``watch``, where there are many blocks to screen (see `screen_of`)
    traced : what contracts moved inside of the transactions; None where that was not read

    Raises
    ------
    ChainInconsistent : receipts or logs are not those of this block
    DecodeError : the header makes no sense. A transaction or log that makes none goes to `Block.undecoded`.
    """
    if logs is None and receipts is not None:
        block = with_system(block, receipts, chain)
    blind = [] if traced is not None and traced.whole else [NO_TRACES]
    blind += _checked(block, receipts, logs)
    try:
        ref = BlockRef(chain, int(block.number, 16), block.hash.lower())
        timestamp = int(block.timestamp, 16)
    except ValueError:
        raise DecodeError(f"{chain}: block {block.hash[:66]} has an unreadable number or time") from None
    reading = _Reading(ref, watch, native_asset(chain))
    told = _aligned(block.transactions, receipts)
    grouped = _by_transaction(logs) if logs is not None else None
    own = [grouped.get(tx.hash, ()) for tx in block.transactions] if grouped is not None else [
        receipt.told or () if receipt is not None else () for receipt in told
    ]
    reading.read(block.transactions, told, own, screen or screen_of(watch), traced)
    blind += [NO_FEES] if reading.unknown_fees else []
    if traced is not None:
        reading.internal(block.transactions, told, traced)
    reading.credits(len(block.transactions), block.withdrawals or (), traced.rewards if traced is not None else ())
    return Block(
        ref,
        block.parent_hash.lower(),
        timestamp,
        transfers=tuple(reading.transfers),
        controls=tuple(reading.controls),
        transfers_seen=reading.seen,
        undecoded=tuple(reading.undecoded),
        source=source,
        blind_spots=tuple(blind),
    )


def _checked(block: RpcBlock, receipts: Sequence[RpcReceipt] | None, logs: Sequence[RpcLog] | None) -> list[str]:
    """What the parts of a block cannot show; ChainInconsistent where they do not belong together."""
    if logs is not None:
        check_same_block(block, receipts or ())
        check_logs(block, logs)
    elif receipts is not None:
        check_receipts(block, receipts)
    else:
        return [NO_STATUS, NO_TOKENS]
    return [NO_STATUS] if None in {receipt.status for receipt in receipts or ()} else []


def screen_of(watch: Container[str]) -> Screen:
    """The screen of a watch set, made once for all blocks."""
    return Screen(watch, TRANSFER, frozenset((TRANSFER,)))


def decode_recorded(data: bytes, watch: Container[str], chain: str, *, source: str = "") -> Block:
    """A recorded block (JSON, see `chains.evm.wire.parse_block`) without its receipts.

    Token transfers are not in it, and failed transactions look like successful ones: `Block.blind_spots` names both.

    Raises
    ------
    DecodeError : not an Ethereum block with full transactions
    """
    return decode_block(parse_block(data), None, watch, chain, source=source)


def touching(block: RpcBlock, logs: Sequence[RpcLog], watch: Container[str]) -> list[str]:
    """The hashes of the transactions whose sender, target, created contract, signers or logs touch ``watch``."""
    by_logs = {log.transaction_hash for log in logs if _touches(log, watch)}
    return [tx.hash for tx in block.transactions if tx.hash in by_logs or _involves(tx, watch)]


class _Reading:
    """One pass over the transactions of a block."""

    def __init__(self, ref: BlockRef, watch: Container[str], asset: str) -> None:
        self.transfers: list[Transfer] = []
        self.controls: list[ControlEvent] = []
        self.undecoded: dict[str, None] = {}
        self.seen = 0
        self.unknown_fees = False
        self._ref, self._watch, self._asset = ref, watch, asset
        network = by_chain(ref.chain)
        assert network is not None  # the asset is one of an EVM chain
        self._network = network
        self._readers: dict[int, TxReader] = {}  # by position

    def read(
        self,
        transactions: Sequence[RpcTx],
        receipts: Sequence[RpcReceipt | None],
        logs: Sequence[Sequence[RpcLog]],
        screen: Screen,
        traced: Traced | None,
    ) -> None:
        candidates, self.seen = screen.of(transactions, receipts, logs)
        calls = self._calls(traced, {found.position for found in candidates})
        for found in candidates:
            at = found.position
            tx = self._readers[at] = TxReader(transactions[at], receipts[at], at)
            self._transaction(tx, found.place, _in_order(logs[at]))
            self._controls(tx, logs[at], calls.pop(at, None if traced is None else ()))
        for at, inside in calls.items():  # a Safe without logs was called from inside
            tx = self._readers[at] = TxReader(transactions[at], receipts[at], at)
            self._controls(tx, logs[at], inside)

    def _calls(self, traced: Traced | None, wanted: Container[int]) -> dict[int, list[InternalCall]]:
        """Calls by the position of their transaction: those of the wanted ones, and of others that tell a Safe."""
        found: dict[int, list[InternalCall]] = {}
        for call in traced.calls if traced is not None else ():
            if call.position in wanted or (
                call.input[:10] in SAFE_CALLS and tells_safe(call) and call.receiver in self._watch
            ):
                found.setdefault(call.position, []).append(call)
        return found

    def _transaction(self, tx: TxReader, place: int, logs: Sequence[RpcLog]) -> None:
        if tx.status is None:
            self.undecoded[tx.hash] = None
        self._minted(tx)
        if tx.status != 0:
            self._native(tx, place)
            for offset, log in enumerate(logs, 1):
                if log.topics and log.topics[0] in MOVES:
                    self._token(tx, place + offset, log)
        self.unknown_fees |= tx.raw.fee_currency is not None and tx.sender in self._watch
        if tx.fee and tx.sender in self._watch and not self._network.coin_tells_all:
            self._keep(tx, place + 1 + len(logs), TransferKind.FEE, self._asset, tx.sender, "", tx.fee)

    def _minted(self, tx: TxReader) -> None:
        """What a rollup's deposit gives its sender, to spend in the same transaction; it stays where that fails."""
        value = number_of(tx.raw.mint) or number_of(tx.raw.deposit_value)
        value = value or (tx.value if tx.raw.type == ARBITRUM_DEPOSIT else 0)
        if value and tx.sender in self._watch:
            self._keep(tx, MINT_PLACE, TransferKind.INTERNAL, self._asset, "", tx.sender, value)

    def _native(self, tx: TxReader, place: int) -> None:
        if self._network.coin_tells_all:
            return
        try:
            receiver = tx.receiver() if tx.value else ""
        except ValueError:
            receiver = None
        if receiver is None or tx.value is None:
            self.undecoded[tx.hash] = None
        elif tx.value:
            self._move(tx, place, TransferKind.NATIVE, self._asset, tx.sender, receiver, tx.value)
        elif tx.target is not None and tx.target in self._watch and bytes(tx.raw.input) == b'"0x"':
            # Nothing is sent and nothing is called: what is left is the sender's address in the account's history.
            self._keep(tx, place, TransferKind.NATIVE, self._asset, tx.sender, tx.target, 0)

    def _token(self, tx: TxReader, place: int, log: RpcLog) -> None:
        try:
            moves = moves_of(log, self._ref.chain, self._network.wrapped)
        except ValueError:
            self.undecoded[tx.hash] = None
            return
        coin = self._network.coin and log.address.lower() == self._network.coin
        for n, move in enumerate(moves):
            index = BATCH_BASE + (place << 16) + n if n else place
            kind, asset = (TransferKind.INTERNAL, self._asset) if coin else (TransferKind.TOKEN, move.asset)
            self._move(tx, index, kind, asset, move.sender, move.receiver, move.value)

    def internal(
        self, transactions: Sequence[RpcTx], receipts: Sequence[RpcReceipt | None], traced: Traced
    ) -> None:
        """What moved inside of the transactions."""

        def reader(at: int) -> TxReader:
            if at not in self._readers:
                self._readers[at] = TxReader(transactions[at], receipts[at], at)
            return self._readers[at]

        moving = (call for call in traced.calls if call.moves and not self._network.coin_tells_all)
        for n, call in enumerate(moving):
            if call.sender not in self._watch and call.receiver not in self._watch:
                self.seen += 1
                continue
            tx, kind = reader(call.position), TransferKind.INTERNAL
            if tx.status == 0:
                continue  # the tracer left the failure out: what failed moved nothing
            self._move(tx, INTERNAL_BASE + n, kind, self._asset, call.sender, call.receiver, call.value)

    def credits(self, count: int, withdrawals: Sequence[RpcWithdrawal], rewards: Sequence[Reward]) -> None:
        """What the chain itself gave: validators' withdrawals, and rewards of miners. They belong to no transaction."""
        number = self._ref.number
        withdrawals = withdrawals if self._network.withdrawals else ()
        given = [
            (w.address.lower(), (number_of(w.amount) or 0) * GWEI, f"withdrawal-{number_of(w.index)}")
            for w in withdrawals
        ]
        given += [(r.receiver, r.value, f"reward-{r.receiver}-{number}-{n}") for n, r in enumerate(rewards)]
        for n, (receiver, value, name) in enumerate(given):
            self.seen += bool(value)
            if value and receiver in self._watch:
                tx = Tx(hash=name, index=count)
                self.transfers.append(
                    Transfer(self._ref, tx, n, TransferKind.INTERNAL, self._asset, ("",), receiver, value, (value,))
                )

    def _controls(self, tx: TxReader, logs: Sequence[RpcLog], calls: Sequence[InternalCall] | None) -> None:
        """Changes of control of watched accounts."""
        created = tx.receipt.contract_address if tx.receipt is not None else None
        what = Happened(tx.raw, _in_order(logs), tx.status != 0, (created or "").lower(), calls)
        for control in controls_of(what, self._watch, self._ref.chain):
            self.controls.append(control.at(self._ref, tx.noun()))

    def _move(
        self, tx: TxReader, place: int, kind: TransferKind, asset: str, sender: str, receiver: str, value: int
    ) -> None:
        self.seen += bool(value)
        if sender in self._watch or receiver in self._watch:
            self._keep(tx, place, kind, asset, sender, receiver, value)

    def _keep(
        self, tx: TxReader, place: int, kind: TransferKind, asset: str, sender: str, receiver: str, value: int
    ) -> None:
        self.transfers.append(
            Transfer(self._ref, tx.noun(), place, kind, asset, (sender,), receiver, value, input_values=(value,))
        )


def _touches(log: RpcLog, watch: Container[str]) -> bool:
    if not log.topics:
        return False
    if log.address.lower() in watch:
        return True
    if log.topics[0] in MOVES:
        return any(party in watch for party in parties_of(log))
    return any("0x" + word[26:].lower() in watch for word in log.topics[1:])


def _involves(tx: RpcTx, watch: Container[str]) -> bool:
    if tx.sender.lower() in watch:
        return True
    if any(authority_of(entry) in watch for entry in tx.authorization_list or ()):
        return True
    if tx.to:
        return tx.to.lower() in watch
    try:
        return created_address(tx.sender, number_of(tx.nonce) or 0) in watch
    except ValueError:
        return False


def _by_transaction(logs: Sequence[RpcLog]) -> dict[str, list[RpcLog]]:
    grouped: dict[str, list[RpcLog]] = {}
    for log in logs:
        grouped.setdefault(log.transaction_hash or "", []).append(log)
    return grouped


def _aligned(
    transactions: Sequence[RpcTx], receipts: Sequence[RpcReceipt] | None
) -> Sequence[RpcReceipt | None]:
    """The receipt of each transaction; nodes give them in this order, but nothing rests on it."""
    if receipts and [r.transaction_hash for r in receipts] == [tx.hash for tx in transactions]:
        return receipts
    known = {r.transaction_hash: r for r in receipts or ()}
    return [known.get(tx.hash) for tx in transactions]


def _in_order(logs: Sequence[RpcLog]) -> Sequence[RpcLog]:
    """By ``logIndex``; the endpoint's order where those cannot be read."""
    try:
        return sorted(logs, key=lambda log: int(log.log_index or "", 16))
    except ValueError:
        return logs
