"""Who may import whom: the layers of the project, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What chains and alerts may see of monitor.
SHARED = {"model", "ids", "errors", "registry", "store", "addresses", "networks", "texts"}
# Beside monitor/cli/, these know chains and alerts.
ROOTS = {
    "monitor/app.py", "monitor/alerting.py", "monitor/followed.py", "monitor/running.py",
    "monitor/backtesting/run.py", "monitor/backtesting/stages.py",
}  # fmt: skip
ENGINE = [  # pure: no clock, no I/O, no random number
    "fold", "fusion", "features", "detectors", "state", "engine", "intake", "trust", "watchlist", "rows", "grouping",
    "incident_record", "incidents", "evidence", "returns", "signals", "findings", "policies", "replay",
    "replay_policies", "report", "published", "explain", "explain_control", "priors", "model", "ids", "block_clock",
    "amounts", "assets", "networks", "addresses", "texts", "errors", "marks", "spool", "refold", "effects",
    "open_commit", "gap", "told", "lookalike", "replay_accounts", "replay_rows", "replay_split", "replay_unweighed",
    "health", "drill_schedule", "drill_report",
    "mempool", "unconfirmed", "explain_pending", "fees", "look", "derived", "keepsakes", "coin_flows",
    "maturity", "trial", "backtesting/page/probe", "backtesting/page/windows", "backtesting/page/charts",
]  # fmt: skip
IMPURE = {
    "time", "random", "secrets", "asyncio", "aiohttp", "socket", "threading", "subprocess", "sqlite3", "redis", "web3",
    "requests", "urllib", "http", "uuid", "concurrent", "multiprocessing",
}  # fmt: skip


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it; ``package`` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_of(name: str, path: str) -> bool:
    """Whether a file is of an engine module (a file, or a folder)."""
    return path == f"monitor/{name}.py" or path.startswith(f"monitor/{name}/")


def faults(path: str, source: str) -> list[str]:
    """What a file imports against the rules."""
    top, *rest = path.removesuffix(".py").split("/")
    found = []
    for name in imported(ast.parse(source), ".".join([top, *rest[:-1]])):
        layer, *inner = name.split(".")
        forbidden = {"chains": "alerts", "alerts": "chains"}.get(top)
        if layer == forbidden:
            found.append(f"{path} imports {name}")
        if top in ("chains", "alerts") and layer == "monitor" and (not inner or inner[0] not in SHARED):
            found.append(f"{path} imports {name}: of monitor only {', '.join(sorted(SHARED))}")
        if top == "monitor" and layer in ("chains", "alerts") and path not in ROOTS and "cli" not in rest:
            found.append(f"{path} imports {name}: only the composition root and the command line may")
        if layer == "tests":
            found.append(f"{path} imports {name}")
        if any(is_of(engine, path) for engine in ENGINE) and layer in IMPURE:
            found.append(f"{path} imports {name}: the engine reads no clock, does no I/O, draws no random number")
        if any(is_of(engine, path) for engine in ENGINE) and name.startswith(("numpy.random", "datetime.datetime.now")):
            found.append(f"{path} imports {name}")
    if path == "monitor/__init__.py":
        found += _at_import_time(source)
    return found


def _at_import_time(source: str) -> list[str]:
    """Imports of monitor/__init__.py outside its functions, those for types apart."""
    return [
        f"monitor/__init__.py imports at line {node.lineno}: nothing may be, at import time"
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and getattr(node, "module", "") not in ("__future__", "typing")
    ]


def files() -> list[Path]:
    return [path for top in ("monitor", "chains", "alerts") for path in sorted((ROOT / top).rglob("*.py"))]


def test_every_import_keeps_the_layers() -> None:
    """chains and alerts know of monitor its nouns alone, and nothing of each other; only the roots know them."""
    assert len(files()) > 100
    found = [
        fault for path in files() for fault in faults(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_every_engine_module_is_there() -> None:
    """The list of pure modules names files that exist."""
    paths = [path.relative_to(ROOT).as_posix() for path in files()]
    assert [name for name in ENGINE if not any(is_of(name, path) for path in paths)] == []


def test_the_engine_calls_no_clock() -> None:
    """Nor does it reach a clock or chance through something that it may import."""
    calls = {"now", "utcnow", "today", "urandom", "default_rng", "getrandom"}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if any(is_of(engine, name) for engine in ENGINE):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert node.func.attr not in calls, f"{name}:{node.lineno} calls {node.func.attr}"
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"open", "print", "input"}, f"{name}:{node.lineno} does I/O"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("chains/evm/watcher.py", "import alerts.base"),
        ("alerts/route.py", "from chains import base"),
        ("chains/evm/watcher.py", "from monitor.engine import Engine"),
        ("chains/tables/read.py", "import monitor"),
        ("alerts/channels/webhook.py", "from monitor import config"),
        ("monitor/pipeline.py", "    from chains.follow import Follower"),
        ("monitor/watch.py", "from alerts import dispatch"),
        ("monitor/features/kernel.py", "import time"),
        ("monitor/engine.py", "from asyncio import sleep"),
        ("monitor/incidents.py", "import random"),
        ("monitor/state.py", "from numpy.random import default_rng"),
        ("monitor/__init__.py", "import numpy"),
        ("monitor/__init__.py", "from monitor.app import backtest"),
        ("monitor/store.py", "import tests.conftest"),
        ("alerts/route.py", "from ..chains import base"),
    ],
)
def test_a_wrong_import_is_found(path: str, line: str) -> None:
    """Planted faults: each of these lines, alone or inside a function, is named."""
    nested = f"def f():\n    {line.strip()}\n"
    assert faults(path, f"{line.strip()}\n")
    assert faults(path, nested) or path == "monitor/__init__.py"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("chains/evm/watcher.py", "from monitor.errors import ChainError"),
        ("alerts/route.py", "from monitor import model, ids"),
        ("monitor/app.py", "from chains.tables import read"),
        ("monitor/cli/demo.py", "from alerts.channels import webhook"),
        ("monitor/watch.py", "import asyncio, time"),
        ("monitor/__init__.py", "from __future__ import annotations"),
        ("chains/tables/read.py", "from . import layout"),
    ],
)
def test_a_right_import_is_not_found(path: str, line: str) -> None:
    """Look-alikes: what the table allows passes."""
    assert faults(path, f"{line}\n") == []


def test_importing_monitor_imports_nothing_else() -> None:
    """A fresh interpreter that imports ``monitor`` has loaded no other module of the project."""
    code = "import sys, monitor; print([n for n in sys.modules if n.split('.')[0] in ('monitor', 'chains', 'alerts')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['monitor']"
