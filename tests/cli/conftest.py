"""Running the command line in this process, and what its commands work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.cli import main

HOT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
THIEF = "0x000000000000000000000000000000000000bad1"
CUSTOMER = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
COLUMNS = (
    "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,to_address,"
    "asset,value"
)
ETHER = 10**18
START = 1_700_000_000


class Ran:
    """What a command left: exit ``code``, ``out`` and ``err``."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def problems(self) -> list[str]:
        """The error lines without the program's name."""
        return [line.removeprefix("heistwatch: ") for line in self.err.splitlines()]


@pytest.fixture
def heistwatch(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def refused(heistwatch: Callable[..., Ran]) -> Callable[..., str]:
    """Run a command that must fail with a code: its only error line. Nothing may be on standard output."""

    def run(code: int, *arguments: object) -> str:
        ran = heistwatch(*arguments)
        assert (ran.code, ran.out, len(ran.problems)) == (code, "", 1), (ran.code, ran.out, ran.err)
        assert ran.err.startswith("heistwatch: ") and not ran.err.startswith("heistwatch: internal")
        return ran.problems[0]

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no configuration in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEISTWATCH_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def config(here: Path) -> Path:
    """A configuration of one wallet, without endpoints, as the default file of the working folder."""
    path = here / "heistwatch.yaml"
    path.write_text(
        f"""version: 1
chains: [{{name: dev, kind: evm, chain_id: "eip155:31337"}}]
wallets: [{{id: hot, entity: Example, role: hot, addresses: ["dev:{HOT}"]}}]
"""
    )
    return path


def row(number: int, sender: str, to: str, ether: float, at: int | None = None) -> str:
    """One row of the native table; a block, a transaction and a transfer of the same number."""
    when = START + 600 * number if at is None else at
    value = int(ether * ETHER)
    return f"dev,{number},{when},0x{number:064x},0,0,{sender},{to},native,{value}"


@pytest.fixture
def theft(here: Path) -> Path:
    """A history of ten ordinary days and then a theft of 900 of 1,000 ether, as CSV."""
    rows = [row(1, CUSTOMER, HOT, 1000)]
    rows += [row(n, HOT, CUSTOMER, 1, START + 3600 * n) for n in range(2, 240)]
    rows += [row(n, CUSTOMER, HOT, 1, START + 3600 * n + 60) for n in range(240, 242)]
    rows.append(row(250, HOT, THIEF, 700, START + 3600 * 250))
    path = here / "theft.csv"
    path.write_text("\n".join([COLUMNS, *rows, ""]))
    return path
