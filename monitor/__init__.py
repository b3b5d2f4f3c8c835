"""heistwatch: tells the owner of a wallet within one block that their coins are being stolen.

Nothing is imported at import time. ``monitor.backtest`` is a lazy attribute (see `monitor.app.backtest`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.app import backtest as backtest

__version__ = "0.1.0"
__all__ = ["__version__", "backtest"]


def __getattr__(name: str) -> Any:
    if name == "backtest":
        from monitor.app import backtest

        return backtest
    raise AttributeError(f"module 'monitor' has no attribute {name!r}")
