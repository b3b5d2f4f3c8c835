"""The campaign of damaged inputs: whatever comes, is one of the declared errors all that a decoder raises?

``python -m tests.soak decode [--minutes 10] [--seed 1]``: raw blocks (and blocks whose seals are right again after the
damage), transactions, undo data, addresses, descriptors, and what NIS answers. Every input follows from the seed, the
name of the target and a number: ``python -m tests.soak decode --again "TARGET:N"`` reads one of them again, with its
traceback. Then the same with planted faults, each of which must be noticed.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chains.bitcoin import transaction
from monitor.addresses import bitcoin as bitcoin_addresses
from tests.soak.decoding.targets import TARGETS, Target

__all__ = ["FAULTS", "Outcome", "case", "main", "planted", "run"]

KEPT = 5  # crashes of a target that are shown
PER_FAULT = 3000  # inputs, within which a planted fault has to show
SHOWN = 300  # characters of an input


@dataclass(slots=True)
class Outcome:
    """What became of the inputs of one target."""

    inputs: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # ``read``, or the error's name
    crashes: list[str] = field(default_factory=list)
    crashed: int = 0
    slowest: float = 0.0  # seconds
    slowest_input: int = -1


def case(name: str, seed: int, number: int) -> tuple[Any, Random]:
    """An input, and the chance that its reading may use."""
    rng = Random(f"{seed}/{name}/{number}")
    return TARGETS[name].make(rng), rng


def _read(target: Target, name: str, seed: int, number: int, outcome: Outcome) -> None:
    made, rng = case(name, seed, number)
    begin = time.perf_counter()
    try:
        target.read(made, rng)
    except Exception as error:
        declared = type(error) in target.declared or (
            isinstance(error, target.declared) and not isinstance(error, UnicodeError)
        )
        outcome.kinds[type(error).__name__] += 1
        if not declared:
            outcome.crashed += 1
            if len(outcome.crashes) < KEPT:
                shown = made.hex() if isinstance(made, bytes) else repr(made)
                outcome.crashes.append(f"{name}:{number}: {type(error).__name__}: {error}; input {shown[:SHOWN]}")
    else:
        outcome.kinds["read"] += 1
    taken = time.perf_counter() - begin
    if taken > outcome.slowest:
        outcome.slowest, outcome.slowest_input = taken, number
    outcome.inputs += 1


def run(name: str, seed: int, inputs: int | None = None, seconds: float | None = None) -> Outcome:
    """Read so many inputs of a target, or for so long."""
    outcome, end = Outcome(), time.monotonic() + (seconds or 0.0)
    while (outcome.inputs < inputs) if inputs is not None else (time.monotonic() < end):
        _read(TARGETS[name], name, seed, outcome.inputs, outcome)
    return outcome


# -- planted faults ---------------------------------------------------------------------------------------------------

FAULTS = {  # fault: the target that has to notice it
    "a length is not checked": "transactions",
    "an error of a library passes": "addresses",
    "witnesses are left out": "transactions",
}


@contextmanager
def planted(fault: str) -> Iterator[None]:
    """The program with a fault in it."""
    if fault == "a length is not checked":
        holder: Any = transaction.wire
        name, whole = "index", transaction.wire.index

        def index(data: Any, at: int, count: int, **more: Any) -> Any:
            found = whole(data, at, count, **more)
            return (transaction.wire.OK, len(data), *found[2:])
    elif fault == "an error of a library passes":
        holder, name = bitcoin_addresses, "_base58"

        def index(text: str, network: Any) -> str:
            raise KeyError(text)
    else:
        holder, name = transaction.RawTx, "raw"
        index = property(lambda self: self._block.data[: self.size // 2])
    kept = getattr(holder, name)
    setattr(holder, name, index)
    try:
        yield
    finally:
        setattr(holder, name, kept)


def main(minutes: float = 10.0, seed: int = 1, again: str = "") -> None:
    """Run and judge."""
    if again:
        name, _, number = again.rpartition(":")
        made, rng = case(name, seed, int(number))
        print(made.hex() if isinstance(made, bytes) else made)
        TARGETS[name].read(made, rng)
        return
    bad = []
    for name in TARGETS:
        outcome = run(name, seed, seconds=minutes * 60 / len(TARGETS))
        figures = {
            "inputs": outcome.inputs, **outcome.kinds, "crashes": outcome.crashed,
            "slowest, ms": round(outcome.slowest * 1000, 1), "its number": outcome.slowest_input,
        }  # fmt: skip
        print(f"{name}: {json.dumps(figures)}", flush=True)
        for crash in outcome.crashes:
            print(f"  {crash}", flush=True)
        bad += [name] if outcome.crashed or not outcome.kinds["read"] else []
    for fault, name in FAULTS.items():
        with planted(fault):
            noticed = run(name, seed, inputs=PER_FAULT).crashed
        print(f"planted, {fault}: noticed {noticed} times", flush=True)
        bad += [] if noticed else [fault]
    if bad:
        sys.exit(f"the campaign failed: {', '.join(bad)}")
    print("every decoder kept to its declared errors, and every planted fault was noticed")


