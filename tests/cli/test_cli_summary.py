"""The summary of a backtest: one line a wallet, or on a terminal a table that does not push the incidents away."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from monitor.cli.show import show_report


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _report(wallets: int) -> dict[str, Any]:
    """A report without incidents; wallet n has n outflows, and every seventh one was alarmed about."""
    data = {"rows": 9, "transfers": 9, "flows": 9, "first": None, "last": None, "bad_rows": 0, "bad": [], "notes": []}
    each = [
        {"id": f"w{n}", "flows_out": n, "days": 10.0, "incidents": int(n % 7 == 6), "per_30_days": 3.0 * (n % 7 == 6)}
        for n in range(wallets)
    ]
    return {"data": data, "speed": {"wall_seconds": 0.1}, "incidents": [], "wallets": each}


def _shown(monkeypatch: pytest.MonkeyPatch, wallets: int, budgets: dict[str, float] | None = None) -> str:
    monkeypatch.setattr(sys, "stdout", _Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    show_report(_report(wallets), budgets)
    return re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue())  # type: ignore[attr-defined]


def test_few_wallets_are_all_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the budget of each that has one."""
    text = _shown(monkeypatch, 8, {"w6": 0.3})
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if line.startswith("│")]
    assert rows[0] == ["w6", "6", "10.0", "1", "3.00", "0.3"]
    assert [row[0] for row in rows[1:]] == ["w0", "w1", "w2", "w3", "w4", "w5", "w7"]
    assert "more" not in text


def test_many_wallets_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were alarmed about come first; nothing is left out of the sums."""
    text = _shown(monkeypatch, 300)
    listed = [int(number) for number in re.findall(r"│ w(\d+) ", text)]
    assert listed == list(range(6, 140, 7)) and len(listed) == 20
    outflows, incidents = sum(range(300)) - sum(listed), sum(n % 7 == 6 for n in range(300)) - 20
    assert f"and 280 wallets more: {outflows:,} outflows, {incidents} incidents;" in text


def test_a_line_each_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads on by a program gets all of them."""
    show_report(_report(300))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wallet ")]
    assert len(lines) == 300
    assert lines[6] == "wallet w6: 6 outflows in 10.0 days, 1 incident, 3.00 in 30 days"
