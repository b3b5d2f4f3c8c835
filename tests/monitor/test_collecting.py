"""Python's search for cycles is off while a replay runs, and afterwards as it was."""

from __future__ import annotations

import gc

import pytest

from monitor.backtesting.collecting import put_off


@pytest.mark.parametrize("was_on", [True, False])
def test_it_is_afterwards_as_it_was(was_on: bool) -> None:
    """An error in between changes nothing."""
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(KeyError), put_off():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == was_on
    finally:
        (gc.enable if before else gc.disable)()
