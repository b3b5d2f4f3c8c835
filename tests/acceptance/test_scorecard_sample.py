"""The published scorecard is what the engine does: its sample rows are computed again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "scorecard.json"
HOW = "run `make scorecard` after a change that moves detection, and say so in the CHANGELOG"


def keyed(card: dict[str, Any]) -> dict[tuple[str, str, float | None], dict[str, Any]]:
    """The sample rows and the cases of a card."""
    return {
        (row.get("world") or row["case"], row["kind"], row["budget"]): row
        for row in card["rows"]
        if "case" in row or row["kind"].endswith(", sample")
    }


def differences(published: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What differs by more than half a unit of the third digit, or is there on one side alone."""
    old, new = keyed(published), keyed(found)
    faults = [f"{key}: only in one of the two" for key in sorted(old.keys() ^ new.keys(), key=str)]
    for key in sorted(old.keys() & new.keys(), key=str):
        for name in sorted(old[key].keys() | new[key].keys()):
            was, now = old[key].get(name), new[key].get(name)
            if was != now and not (_number(was) and _number(now) and was == pytest.approx(now, rel=5e-3, abs=1e-9)):
                faults.append(f"{key} {name}: published {was}, now {now}")
    return faults


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@pytest.mark.timeout(900)  # a minute on a free machine of two cores
def test_the_sample_rows_are_those_published(tmp_path: Path) -> None:
    """Every sample row and every case of docs/scorecard.json, to three digits."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scorecard", "--sample", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "scorecard.json").read_text("utf-8"))
    published = json.loads(PUBLISHED.read_text("utf-8"))
    assert found["schema"] == published["schema"] == "heistwatch/scorecard/1"
    faults = differences(published, found)
    assert not faults, "\n".join([f"docs/scorecard.json is out of date: {HOW}", *faults])
    assert len(keyed(found)) >= 30


def test_a_changed_row_is_found() -> None:
    """Planted faults: a figure that moved in its third digit, a row that is gone, a verdict that flipped."""
    row = {"world": "base", "kind": "clean, sample", "budget": 1.0, "realised": 0.85, "recall": None}
    case = {"case": "a", "kind": "historical", "budget": None, "paged": True}
    card = {"rows": [row, case, {**row, "kind": "clean"}]}
    assert differences(card, {"rows": [{**row, "realised": 0.8501}, case]}) == []
    assert len(differences(card, {"rows": [{**row, "realised": 0.86}, case]})) == 1
    assert len(differences(card, {"rows": [{**row, "recall": 0.0}, case]})) == 1
    assert len(differences(card, {"rows": [row, {**case, "paged": False}]})) == 1
    assert len(differences(card, {"rows": [row]})) == 1
