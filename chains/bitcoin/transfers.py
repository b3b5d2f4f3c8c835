"""Transactions of the Bitcoin family to transfers: pure. One transfer an output, all inputs on each."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chains.bitcoin.base import Prevout, outpoint_text
from chains.bitcoin.block import RawTx
from chains.bitcoin.script import address_of
from chains.bitcoin.shape import shape_of
from monitor.model import BlockRef, Transfer, TransferKind, Tx, TxFlag
from monitor.networks import Network

__all__ = ["Spent", "transfers_of"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What inputs spend, by outpoint.

    ``known`` is certain. ``claimed`` is, where that is not to be had, the script that an input itself shows: it must be
    right where it names one of the forms of `chains.bitcoin.script.spent_scripts`, but its amount is not known.
    """

    known: Mapping[bytes, Prevout] = field(default_factory=dict)
    claimed: Mapping[bytes, bytes] = field(default_factory=dict)


def transfers_of(
    tx: RawTx,
    ref: BlockRef,
    position: int,
    first_output: int,
    spent: Spent,
    watch: Container[str],
    network: Network,
) -> tuple[Transfer, ...]:
    """The outputs of a transaction.

    Parameters
    ----------
    ref, position : its block and its place there
    first_output : outputs of the block before it, watched or not
    spent : what its inputs spend
    watch : canonical addresses

    Notes
    -----
    Where amounts of inputs are not known, the fee is not known either, and what the outputs hold beyond the known
    inputs is put to the account of the first unknown input, a watched one where there is any: nothing that leaves a
    watched wallet is missed, and no input total is below that of the outputs.
    """
    book = _Addresses(network)
    values, scripts = tx.output_values, tx.output_scripts
    prevouts = [] if tx.is_coinbase else [spent.known.get(point) for point in tx.outpoints]
    senders = [
        book.of(prevout.script if prevout is not None else spent.claimed.get(point))
        for point, prevout in zip(tx.outpoints, prevouts, strict=False)
    ]
    total = sum(values)
    mine = [sender in watch for sender in senders]
    amounts = _amounts(prevouts, mine, total)
    fee = _fee(tx, prevouts, total)
    receivers = [book.of(script) for script in scripts]
    payers, is_ours = set(senders) - {""}, any(mine)
    change = {n for n, to in enumerate(receivers) if to in payers or (is_ours and to in watch)}
    shape = shape_of(tx, prevouts, change, fee)
    shown = Tx(
        hash=tx.hash,
        index=position,
        fee=fee,
        fee_rate=fee / tx.vsize if fee is not None and tx.vsize else None,
        version=tx.version,
        flags=int(shape.flags | (TxFlag.COINBASE if tx.is_coinbase else 0)),
        n_inputs=len(prevouts),
        n_outputs=len(values),
        script_type=shape.script_type,
        spends=tuple(outpoint_text(point) for point, is_own in zip(tx.outpoints, mine, strict=False) if is_own),
    )
    senders_, amounts_ = tuple(senders), tuple(amounts)
    return tuple(
        Transfer(
            ref, shown, first_output + n, TransferKind.NATIVE, network.asset, senders_, receiver, value,
            input_values=amounts_,
        )
        for n, (receiver, value) in enumerate(zip(receivers, values, strict=True))
    )


class _Addresses:
    """Addresses of scripts; a wallet's coins often lie on few of them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[bytes, str] = {}

    def of(self, script: bytes | None) -> str:
        if script is None:
            return ""
        found = self._known.get(script)
        if found is None:
            found = self._known[script] = address_of(script, self._network)
        return found


def _amounts(prevouts: Sequence[Prevout | None], own: Iterable[bool], total: int) -> list[int]:
    """Amounts of the inputs, see `transfers_of` for those that are not known."""
    amounts = [prevout.value if prevout is not None else 0 for prevout in prevouts]
    unknown = [n for n, prevout in enumerate(prevouts) if prevout is None]
    missing = total - sum(amounts)
    if unknown and missing > 0:
        watched = {n for n, is_own in enumerate(own) if is_own}
        amounts[next((n for n in unknown if n in watched), unknown[0])] = missing
    return amounts


def _fee(tx: RawTx, prevouts: Sequence[Prevout | None], total: int) -> int | None:
    if tx.is_coinbase or any(prevout is None for prevout in prevouts):
        return None
    paid = sum(prevout.value for prevout in prevouts if prevout is not None) - total
    return paid if paid >= 0 else None  # what leaves an extension block (MWEB) has no input here
