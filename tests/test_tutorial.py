"""The tutorial runs: its cells, from top to bottom in one namespace, print what stands under each."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITE = os.environ.get("HEISTWATCH_WRITE_TUTORIAL") == "1"  # put what the cells print into the page, instead


def run(code: str, name: str, namespace: dict[str, Any]) -> str:
    """What a cell prints. Its lines are shown in tracebacks."""
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, name, "exec"), namespace)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def cells(text: str) -> list[tuple[re.Match[str], re.Match[str] | None]]:
    """Cells, each with the block of output that stands right under it, if any."""
    blocks = list(FENCE.finditer(text))
    found: list[tuple[re.Match[str], re.Match[str] | None]] = []
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] == "python":
            near = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
            found.append((block, after if near else None))
    return found


def test_every_cell_prints_what_stands_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in an empty folder; the first cell that prints anything else is named by its line."""
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    written, place = "", 0
    for cell, said in cells(text):
        name = f"tutorial.md:{text.count(chr(10), 0, cell.start()) + 1}"
        printed = run(cell[2], name, namespace)
        if WRITE and said is not None:
            written += text[place : said.start()] + f"```text\n{printed}```"
            place = said.end()
            continue
        assert printed == ("" if said is None else said[2]), f"{name}: HEISTWATCH_WRITE_TUTORIAL=1 writes it anew"
    if WRITE:
        PAGE.write_text(written + text[place:], encoding="utf-8")


def test_the_tutorial_has_cells_and_outputs() -> None:
    """No cell shows an empty output, and no output stands alone."""
    text = PAGE.read_text("utf-8")
    outputs = [said for _, said in cells(text) if said is not None]
    assert len(cells(text)) >= 7 and all(said[2].strip() for said in outputs)
    assert len(outputs) == sum(block[1] == "text" for block in FENCE.finditer(text))
