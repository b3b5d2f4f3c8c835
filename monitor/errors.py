"""The errors of heistwatch.

::

    HeistwatchError
    ├── ConfigError          exit 2: the configuration, an argument or a data layout is wrong
    ├── ChainError           exit 3: a chain cannot be read
    │   ├── ChainUnavailable     no answer: retry, rotate the endpoint
    │   ├── ChainInconsistent    answers contradict each other: read again
    │   ├── ReorgTooDeep         the chain was rewritten below what is stored
    │   ├── HistoryRefused       no endpoint gives these past blocks, and asking again will not help
    │   └── DecodeError          one transaction cannot be understood: count it, keep it raw, continue
    ├── DetectorError        exit 2: a detector of the user's own failed; over history all stops there
    ├── StoreError           exit 3: the store failed: stop (crash only)
    ├── ChannelError         exit 3: a channel is misconfigured or cannot be opened
    └── WorkerLost           exit 3: the processes that did a part of a backtest ended, again and again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ChainError",
    "ChainInconsistent",
    "ChainUnavailable",
    "ChannelError",
    "ConfigError",
    "DecodeError",
    "DetectorError",
    "HeistwatchError",
    "HistoryRefused",
    "Problem",
    "ReorgTooDeep",
    "StoreError",
    "WorkerLost",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    ``where`` is ``file:line`` or the nearest thing to it, empty where there is no place.
    """

    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class HeistwatchError(Exception):
    """Base of every error that heistwatch raises on purpose."""

    exit_code = 1


class ConfigError(HeistwatchError):
    """The configuration, an argument or a data layout is wrong; carries every problem found, not the first."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ChainError(HeistwatchError):
    """A chain cannot be read."""

    exit_code = 3


class ChainUnavailable(ChainError):
    """No usable answer from an endpoint: retry with back-off, then rotate.

    ``retry_after`` is in seconds where the endpoint asked for a pause, else None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChainInconsistent(ChainError):
    """Answers contradict each other (hash against header, bloom against logs): read again."""


class ReorgTooDeep(ChainError):
    """The chain was rewritten below the oldest block that can be undone."""


class HistoryRefused(ChainError):
    """No endpoint gives these past blocks (any more), and asking again will not help."""


class DecodeError(ChainError):
    """One transaction or block cannot be understood."""


class DetectorError(HeistwatchError):
    """A detector of the user's own failed on a flow, or gave what is no finding: says where.

    Work on history stops. A live monitor goes on without what that detector would have said of that flow, and says so.
    """

    exit_code = 2


class StoreError(HeistwatchError):
    """The store cannot be read or written; the process stops and starts again from what is stored."""

    exit_code = 3


class ChannelError(HeistwatchError):
    """A channel is misconfigured or cannot be opened (a remote refusal is a receipt, never an error)."""

    exit_code = 3


class WorkerLost(HeistwatchError):
    """The worker processes that did a part of a backtest ended again and again: memory ran out, or it ends them."""

    exit_code = 3
