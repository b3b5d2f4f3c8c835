"""The campaign of damaged inputs (`tests.soak.decode`) at a size for every day, and that it can tell."""

from __future__ import annotations

import os

import pytest

from tests.soak.decode import FAULTS, case, planted, run
from tests.soak.decoding.targets import TARGETS

TRIES = float(os.environ.get("HEISTWATCH_EXAMPLES", "1"))
INPUTS = {"raw blocks": 150, "sealed blocks": 100, "descriptors": 400}


@pytest.mark.parametrize("name", TARGETS)
def test_only_declared_errors(name: str) -> None:
    """Whatever comes is read, or refused with one of the errors that the decoder declares."""
    outcome = run(name, 1, inputs=int(INPUTS.get(name, 1000) * TRIES))
    assert outcome.crashes == [] and outcome.kinds["read"] and sum(outcome.kinds.values()) == outcome.inputs
    assert not TARGETS[name].declared or len(outcome.kinds) > 1  # some were damaged enough


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault: str) -> None:
    """A decoder that lets something through: the campaign says so."""
    with planted(fault):
        assert run(FAULTS[fault], 1, inputs=400).crashes
    assert run(FAULTS[fault], 1, inputs=400).crashes == []


def test_an_input_can_be_had_again() -> None:
    """It follows from the seed, the target and its number."""
    for name in TARGETS:
        assert repr(case(name, 1, 7)[0]) == repr(case(name, 1, 7)[0])
    assert case("transactions", 1, 7)[0] != case("transactions", 2, 7)[0]
