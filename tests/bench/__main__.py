"""`make bench`: speed and memory as ratios within one run, medians of several rounds, written to docs/bench.md.

Figures of one machine mean little; the ratios are what to watch. Each part runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PARTS = ("kernel", "backtest", "block", "bitcoin", "ingest", "fleet", "labels", "deliver")
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run every part and write the table."""
    found: dict[str, dict[str, object]] = {}
    for part in PARTS:
        print(f"bench: {part}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{part}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"bench {part} failed:\n{done.stderr}")
        found[part] = json.loads(done.stdout.splitlines()[-1])
    lines = ["# Benchmarks", "", "Written by `make bench`: medians of one run on one machine; watch the ratios.", ""]
    for part, values in found.items():
        lines += [f"## {part}", "", "| what | figure |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in values.items()]
        lines.append("")
    text = "\n".join(lines)
    (ROOT / "docs" / "bench.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
