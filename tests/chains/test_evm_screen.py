"""Screening: nothing that touches the watch set is ever left out, however a node writes addresses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.abi import topic
from chains.evm.decode import decode_block
from chains.evm.tokens import DEPOSIT, SINGLE, TRANSFER
from chains.evm.wire import RpcBlock, RpcReceipt
from monitor.model import Block, Transfer

PARTIES = [f"0x{n:02x}{'ab' * 19}" for n in range(6)]
some = st.sampled_from(PARTIES)


class Everyone:
    """A watch set of all addresses."""

    def __contains__(self, address: object) -> bool:
        return True


class Crowd:
    """A watch set that is asked for many at once."""

    def __init__(self, addresses: Collection[str]) -> None:
        self._addresses = frozenset(addresses)

    def __contains__(self, address: object) -> bool:
        return address in self._addresses

    def among(self, addresses: Collection[str]) -> frozenset[str]:
        return self._addresses.intersection(addresses)


def word(value: int | str) -> str:
    return f"0x{value if isinstance(value, int) else int(value, 16):064x}"


@st.composite
def logs(draw: Any) -> dict[str, Any]:
    a, b, value = draw(some), draw(some), draw(st.integers(0, 3))
    shape = draw(st.integers(0, 4))
    return {
        "address": draw(some),
        "topics": [
            [TRANSFER, word(a), word(b)], [TRANSFER, word(a), word(b), word(7)], [TRANSFER],
            [SINGLE, word(a), word(a), word(b)], [DEPOSIT, word(a)],
        ][shape],
        "data": [word(value), "0x", word(a) + word(b)[2:] + word(7)[2:], word(5) + word(value)[2:], word(1)][shape],
    }  # fmt: skip


@st.composite
def blocks(draw: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block and its receipts."""
    transactions, receipts, count = [], [], 0
    for n in range(draw(st.integers(0, 5))):
        hash, status = f"0x{n:064x}", draw(st.sampled_from(["0x0", "0x1", "0x1"]))
        told = draw(st.lists(logs(), max_size=3)) if status == "0x1" else []
        to, value = draw(st.none() | some), hex(draw(st.integers(0, 2)))
        transactions.append({"hash": hash, "from": draw(some), "to": to, "value": value, "nonce": "0x1", "gas": "0x9"})
        for place, log in enumerate(told, count):
            log |= {"logIndex": hex(place), "transactionHash": hash, "blockHash": "0xab"}
        count += len(told)
        receipts.append(
            {
                "transactionHash": hash, "blockHash": "0xab", "logs": told, "gasUsed": "0x3",
                "effectiveGasPrice": "0x2", "status": status,
            }
        )  # fmt: skip
    raw = {"hash": "0xab", "parentHash": "0xaa", "number": "0x10", "timestamp": "0x64", "transactions": transactions}
    return raw, receipts


def read(made: tuple[dict[str, Any], list[dict[str, Any]]], watch: Any) -> Block:
    block, receipts = msgspec.json.encode(made[0]), msgspec.json.encode(made[1])
    return decode_block(
        msgspec.json.decode(block, type=RpcBlock), msgspec.json.decode(receipts, type=list[RpcReceipt]), watch,
        "eip155:1",
    )  # fmt: skip


def touches(transfer: Transfer, watch: set[str]) -> bool:
    """Coins that are none concern only whom they were sent to: it is a stranger's name in their history."""
    parties = {transfer.to_address} if transfer.kind == "native" and not transfer.value else {
        transfer.to_address, *transfer.from_addresses,
    }  # fmt: skip
    return bool(parties & watch)


@given(blocks(), st.sets(some, min_size=1))
def test_what_is_screened_out_touches_nothing(made: Any, watch: set[str]) -> None:
    """The same transfers as without screening, less what touches nobody, for each kind of watch set; and counts.

    Of transactions that are screened out only coins and tokens of the commonest standards are counted.
    """
    every = read(made, Everyone())
    counted = all(log["topics"][0] == TRANSFER for receipt in made[1] for log in receipt["logs"])
    mine = tuple(t for t in every.transfers if touches(t, watch))
    for form in (watch, dict.fromkeys(watch), Crowd(watch)):
        found = read(made, form)
        assert found.transfers == mine
        if counted:
            assert found.transfers_seen == every.transfers_seen


def test_capital_letters_in_logs_alone() -> None:
    """A node that writes addresses of logs with checksums, and all others without: no change of control is missed."""
    contract = PARTIES[0]
    kind = topic("OwnershipTransferred(address,address)")
    said = {"topics": [kind, word(PARTIES[1]), word(PARTIES[2])], "data": "0x"}
    for written in (contract, to_checksum_address(contract)):
        transactions = [
            {"hash": f"0x{n:064x}", "from": PARTIES[4], "to": PARTIES[5], "value": "0x0", "nonce": "0x1"}
            for n in range(9)
        ]
        log = {**said, "address": written, "logIndex": "0x0", "transactionHash": f"0x{8:064x}", "blockHash": "0xab"}
        receipts = [
            {"transactionHash": tx["hash"], "blockHash": "0xab", "status": "0x1", "logs": [log] if n == 8 else []}
            for n, tx in enumerate(transactions)
        ]
        raw = {"hash": "0xab", "parentHash": "0xaa", "number": "0x10", "timestamp": "0x64"}
        (control,) = read(({**raw, "transactions": transactions}, receipts), {contract}).controls
        assert (control.account, control.subject) == (contract, PARTIES[2])
