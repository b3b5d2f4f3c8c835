"""How far a fetch is, and what it will take: numbers for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CALLS", "Estimate", "Standing", "estimate"]

CALLS = {"bitcoin": 3.0, "evm": 1.1, "nem": 1.0}
"""Requests that a block costs at least: on Bitcoin's its hash, itself and what its inputs spend; on EVM itself and its
share of the questions for logs. Blocks that touch a wallet cost more."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be fetched: blocks, requests at least, and seconds at least at ``rate`` requests a second."""

    first: int
    last: int
    blocks: int
    requests: int
    rate: float | None
    seconds: float | None  # None where nothing bounds the rate: as fast as the node answers


@dataclass(frozen=True, slots=True)
class Standing:
    """How far it is. ``block`` is the highest that is stored or read in order; ``seconds`` are those of this run."""

    done: int
    total: int
    block: int
    requests: int
    seconds: float
    what: str = "fetching"

    @property
    def rate(self) -> float:
        """Blocks a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at that rate; None while unknown."""
        return (self.total - self.done) / self.rate if self.done and self.seconds > 0 else None


def estimate(kind: str, first: int, end: int, rate: float | None) -> Estimate:
    """What blocks ``first`` to ``end`` (exclusive) will take.

    >>> estimate("bitcoin", 100, 200, 10.0).seconds
    30.0
    """
    blocks = max(0, end - first)
    requests = round(blocks * CALLS.get(kind, 1.0))
    return Estimate(first, end - 1, blocks, requests, rate, None if rate is None else round(requests / rate, 1))
