"""Coins that come back from a suspect: which arrivals count, and when a loss is made good. Pure.

An arrival counts where its sender was a suspect before it on the same chain, at most 30 days ago, and is no address
that serves many people (an exchange, a swap, a mixer): what comes from there need not be the coins that were lost. All
of that follows from one chain's own order, so that it does not matter how chains interleave.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import accumulate

from monitor.model import Finding, Flow, Movement

__all__ = ["WINDOW", "Answers", "is_returned", "returned_at", "returns_of", "total"]

WINDOW = 30 * 86400  # seconds after the last finding about its sender in which a return counts
_ENOUGH, _WHOLE = 9, 10  # of every lost asset nine tenths must be back: thieves may send dust


def returns_of(flow: Flow, suspects: Container[tuple[str, str]]) -> list[Movement]:
    """An arrival as movements, one a sender that is a suspect; ``counterparty`` is the sender.

    Parameters
    ----------
    suspects : (chain, address); those of other incidents do no harm

    Where a transaction has inputs of several addresses, each counts in proportion to what it put in.
    """
    transfer = flow.transfer
    chain = transfer.block.chain
    senders = transfer.from_addresses
    if not any((chain, sender) in suspects for sender in senders):
        return []
    puts = transfer.input_values if len(transfer.input_values) == len(senders) else (1,) * len(senders)
    whole = sum(puts)
    found: dict[str, int] = {}
    before = 0
    for sender, put in zip(senders, puts, strict=True):
        part = flow.value * (before + put) // whole - flow.value * before // whole if whole else 0
        before += put
        if part and (chain, sender) in suspects:
            found[sender] = found.get(sender, 0) + part
    return [
        Movement(
            flow.wallet, chain, transfer.asset, sender, value, flow.timestamp, transfer.tx.hash, transfer.index,
            transfer.block.number,
        )
        for sender, value in found.items()
    ]  # fmt: skip


class Answers:
    """Findings by the chain and address that they are about, for returns to look up which one they answer."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._about: dict[tuple[str, str], list[Finding]] = {}
        self._sorted: dict[tuple[str, str], _About] = {}
        for f in findings:
            self._about.setdefault((f.chain, f.destination), []).append(f)

    def to(self, back: Movement) -> Finding | None:
        """The finding that a return answers: the latest before it about its sender; None where it counts for nothing.

        Its time does not grow with how many findings there are.
        """
        key = (back.chain, back.counterparty)
        if key not in self._sorted:
            self._sorted[key] = _About(self._about.get(key, ()))
        return self._sorted[key].before(back)


class _About:
    """Findings about one address of one chain, in its order."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        told = (f for f in findings if not f.evidence.get("destination_label"))
        self._findings = sorted(told, key=lambda f: (f.block_number, f.index, f.id))
        self._places = [(f.block_number, f.index) for f in self._findings]
        self._latest = list(accumulate((f.at for f in self._findings), max))  # times of blocks may go back

    def before(self, back: Movement) -> Finding | None:
        end = bisect_left(self._places, (back.block_number, back.index))
        while end and back.at <= self._latest[end - 1] + WINDOW:
            end -= 1
            if back.at <= self._findings[end].at + WINDOW:
                return self._findings[end]
        return None


def total(movements: Iterable[Movement]) -> dict[str, int]:
    """Sums by asset, base units."""
    found: dict[str, int] = {}
    for m in movements:
        found[m.asset] = found.get(m.asset, 0) + m.value
    return found


def is_returned(lost: Mapping[str, int], returned: Mapping[str, int]) -> bool:
    """Whether at least 90 % of every lost asset came back; exact.

    >>> is_returned({"coin": 100}, {"coin": 90}), is_returned({"coin": 100, "token": 1}, {"coin": 100})
    (True, False)
    """
    return bool(lost) and all(returned.get(asset, 0) * _WHOLE >= value * _ENOUGH for asset, value in lost.items())


def returned_at(lost: Mapping[str, int], returns: Sequence[Movement]) -> int | None:
    """UTC seconds of the arrival with which enough was back, of returns in order of time; None: not enough is."""
    so_far: dict[str, int] = {}
    for m in returns:
        so_far[m.asset] = so_far.get(m.asset, 0) + m.value
        if is_returned(lost, so_far):
            return m.at
    return None
