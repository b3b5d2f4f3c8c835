"""`heistwatch detectors`: what each one is, whom it judges, what may be set and within which limits."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from monitor.parameters import LISTED, fault_of

Run = Callable[..., Any]


def test_every_detector_has_its_card(heistwatch: Run) -> None:
    """Compiled ones and policies, each with its limits; off a terminal every text is one line."""
    out = heistwatch("detectors").out
    for detector in LISTED.values():
        assert f"\n{detector.id}  {detector.title}\n" in f"\n{out}"
        assert f"  catches      {detector.catches}\n" in out and f"  misses       {detector.misses}\n" in out
    assert "  set          days = 180 (1 to 3650): days of silence, whole or in part\n" in out
    assert "  set          weight = 0.3, personal wallets -0.3 (-1 to 6): added after a probe\n" in out


def test_one_detector_in_any_case_of_letters(heistwatch: Run) -> None:
    """One card alone; limits are numbers that a configuration takes."""
    out = heistwatch("detectors", "df-2").out
    assert out.startswith("DF-2  ") and "DF-1  " not in out and "  judges       wallets of role deposit\n" in out
    assert "  set          critical = 0.00001 (0.000000000001 to 0.5): " in out
    assert "  judges       every wallet\n" in heistwatch("detectors", "RULE").out


def test_an_unknown_name(refused: Callable[..., str]) -> None:
    """Code 2 and what was meant."""
    assert "did you mean 'CW-2'?" in refused(2, "detectors", "CW-22")


def test_json_is_enough_to_set_everything(heistwatch: Run) -> None:
    """Defaults and limits as JSON numbers; each default, written as the text shows it, is accepted again."""
    found = {entry["id"]: entry for entry in json.loads(heistwatch("detectors", "--json").out)}
    assert set(found) == set(LISTED) and found["CW-1"]["roles"] == ["cold"]
    assert found["DF-1"]["parameters"]["members"]["whole"] is True
    cards = heistwatch("detectors").out
    for name, entry in found.items():
        for parameter, limits in entry["parameters"].items():
            assert limits["low"] <= limits["default"] <= limits["high"]
            shown = cards.split(f"\n{name}  ")[-1].split(f"  {parameter} = ")[1].split()[0].rstrip(",")
            assert fault_of(LISTED[name], parameter, yaml.safe_load(shown)) is None, (name, parameter, shown)


EXAMPLE = Path(__file__).parents[2] / "config" / "detectors" / "example.py"


def test_own_ones_are_listed_beside_them(heistwatch: Run, refused: Callable[..., str], config: Path) -> None:
    """With cards and limits as built-in ones have; of files, or of what a configuration names."""
    out = heistwatch("detectors", "pace-1", "--detectors", EXAMPLE).out
    assert out.startswith("PACE-1  Many addresses in a short time\n") and "hot, personal, treasury" in out
    assert "  set          minutes = 10 (whole, 1 to 1440): length of the window\n" in out
    with config.open("a") as file:
        file.write(f"detectors: {EXAMPLE}\n")
    found = {entry["id"]: entry for entry in json.loads(heistwatch("detectors", "-c", config, "--json").out)}
    assert set(found) == {*LISTED, "NIGHT-1", "PACE-1", "GRANT-1"}
    assert [name for name, entry in found.items() if entry["own"]] == ["NIGHT-1", "PACE-1", "GRANT-1"]


def test_a_file_that_is_wrong_is_one_line(refused: Callable[..., str], here: Path) -> None:
    """Code 2, the file and the line."""
    (here / "mine.py").write_text("x = 1\ny = z\n")
    said = refused(2, "detectors", "--detectors", "mine.py")
    assert said == "mine.py:2: it does not run: NameError: name 'z' is not defined"


def test_a_terminal_gets_lines_that_fit() -> None:
    """On a terminal long texts are wrapped under themselves, at words."""
    lead, follow = pty.openpty()
    command = [sys.executable, "-m", "monitor", "detectors", "HW-7"]
    ran = subprocess.Popen(command, stdout=follow, env={**os.environ, "COLUMNS": "72", "TERM": "dumb"})
    os.close(follow)
    out = b""
    while True:
        try:
            part = os.read(lead, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        out += part
    os.close(lead)
    assert ran.wait(60) == 0
    lines = out.decode().replace("\r", "").splitlines()
    assert all(len(line) <= 80 for line in lines) and max(len(line) for line in lines[1:]) <= 72
    words = " ".join(line.strip() for line in lines).replace("catches      ", "")
    assert LISTED["HW-7"].catches in words
