"""`heistwatch fetch`: arguments that cannot be, before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"


@pytest.fixture
def reached(here: Path, free_url: str) -> Path:
    """A configuration of two chains, of which one has an endpoint, which nobody serves."""
    path = here / "heistwatch.yaml"
    path.write_text(
        f"""version: 1
chains:
  - {{name: dev, kind: evm, chain_id: "eip155:31337", endpoints: ["{free_url}"]}}
  - {{name: other, kind: evm, chain_id: "eip155:31338"}}
  - {{name: empty, kind: evm, chain_id: "eip155:31339", endpoints: ["{free_url}"]}}
wallets: [{{id: hot, entity: Example, role: hot, addresses: ["dev:{HOT}", "other:{HOT}"]}}]
"""
    )
    return path


@pytest.fixture
def free_url() -> str:
    """An endpoint that is never asked: the discard port."""
    return "http://127.0.0.1:" + str(9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "soon"), "--from was 'soon', expected a block number, or a time"),
        (("--from", "1", "--to", "-5"), "--to was '-5', expected a block number"),
        (("--from", "9" * 30), "--from: no chain has a block"),
        (("--from", "1", "--rate", "0"), "--rate was 0, expected a number above 0"),
        (("--from", "1", "--rate", "nan"), "--rate was nan"),
        (("--from", "1", "--patience", "-1"), "--patience was -1"),
        (("--from", "1", "--workers", "0"), "Invalid value for '--workers'"),
        ((), "Missing option '--from'"),
        (("--from", "1"), "--chain is missing: which of the chains with endpoints (dev, empty)?"),
        (("--from", "1", "--chain", "dve"), "did you mean 'dev'?"),
        (("--from", "1", "--chain", "other"), "chain other has no endpoint"),
        (("--from", "1", "--chain", "empty"), "no wallet has an address there"),
    ],
)
def test_wrong_arguments(
    refused: Callable[..., str], reached: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Each is one line that says what was expected; no folder is made."""
    assert said in refused(2, "fetch", reached, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_nobody_there(heistwatch: Callable[..., Any], reached: Path, tmp_path: Path) -> None:
    """An endpoint that cannot be reached is exit 3, and makes no folder."""
    ran = heistwatch("fetch", reached, "--chain", "dev", "--from", "1", "--to", "5", "--out", tmp_path / "out")
    assert ran.code == 3 and ran.out == "" and "127.0.0.1" in ran.err
    assert not (tmp_path / "out").exists()
