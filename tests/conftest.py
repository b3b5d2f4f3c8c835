"""What holds for every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.acceptance.engine_data", "tests.nodes", "tests.rest_servers"]

LIMIT = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def recursion_limit() -> Iterator[None]:
    """Python's own, as heistwatch runs: py_ecc, which web3 imports, raises it to where nested JSON ends the process."""
    sys.setrecursionlimit(LIMIT)
    yield
