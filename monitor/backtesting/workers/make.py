"""Engines of a backtest by name."""

from __future__ import annotations

from monitor.backtesting.workers.base import Workers, usable_cores
from monitor.errors import ConfigError

__all__ = ["ENGINES", "workers"]

ENGINES = ("local", "processes", "ray")


def workers(engine: str = "local", count: int | None = None) -> Workers:
    """Workers of an engine; they start when there is work.

    Parameters
    ----------
    engine : ``local``, ``processes`` or ``ray``
    count : how many; None is one a core that this process may use, or all that a running Ray cluster has

    Raises
    ------
    ConfigError : no such engine, a count below 1, or Ray is not installed
    """
    if count is not None and count < 1:
        raise ConfigError(f"the number of workers was {count}, expected at least 1")
    if engine == "local":
        from monitor.backtesting.workers.local import LocalWorkers

        return LocalWorkers()
    if engine == "processes":
        from monitor.backtesting.workers.processes import ProcessWorkers

        return ProcessWorkers(count or usable_cores())
    if engine == "ray":
        from monitor.backtesting.workers.ray import RayWorkers

        return RayWorkers(count)
    raise ConfigError(f"no engine is called {engine!r}: expected one of {', '.join(ENGINES)}")
