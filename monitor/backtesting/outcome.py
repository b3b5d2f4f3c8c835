"""What a backtest gives: the report, and what it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import polars as pl

from monitor.assets import AssetNames
from monitor.backtesting.history import History
from monitor.config import Config
from monitor.model import Incident
from monitor.replayed import WalletCount

if TYPE_CHECKING:
    from monitor.backtesting.frames import Frames
    from monitor.backtesting.sweep import Sweep, Swept
    from monitor.backtesting.truth import Truth
    from monitor.backtesting.truth_score import Scored
    from monitor.backtesting.typed import Report
    from monitor.incidents import Correlator

__all__ = ["Outcome"]


@dataclass(eq=False, repr=False)
class Outcome(Mapping[str, Any]):
    """The result of a backtest; as a mapping it is the report itself.

    Close it, or use it as a context manager: rows that were too many for memory lie in a temporary folder until then.

    Attributes
    ----------
    report : schema ``heistwatch/backtest/1``
    config : what was watched, and how
    names : what assets are called
    incidents : those of the report, in its order
    history : rows that touch the watch list, in chain order
    wallets : what was seen of each wallet, by id
    told : told balances of watched addresses (``chain, address, asset, block_number, value``), None without any
    controls : changes of control (`chains.tables.layout.CONTROLS`), None without any
    blind_spots : what the data cannot show, by CAIP-2
    """

    report: dict[str, Any]
    config: Config
    names: AssetNames
    incidents: tuple[Incident, ...]
    history: History
    wallets: Mapping[str, WalletCount]
    told: pl.DataFrame | None = None
    controls: pl.DataFrame | None = None
    blind_spots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    correlator: Correlator | None = None
    swept: Swept | None = None

    def __repr__(self) -> str:
        """Short: a notebook shows it wherever a cell ends with it."""
        data = self.report["data"]
        return f"<Outcome: {len(self.incidents):,} incidents, {data['rows']:,} rows, {data['flows']:,} flows>"

    def __getitem__(self, key: str) -> Any:
        return self.report[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.report)

    def __len__(self) -> int:
        return len(self.report)

    @cached_property
    def typed(self) -> Report:
        """The report with types: times, base units as whole numbers."""
        from monitor.backtesting.typed import Report

        return Report.model_validate(self.report)

    @cached_property
    def frames(self) -> Frames:
        """What was found, and the history behind it, as data frames."""
        from monitor.backtesting.frames import Frames

        return Frames(self)

    def score(self, truth: Truth | str | Path) -> Scored:
        """Hold it against labelled incidents, or a file of them; needs the history.

        Raises
        ------
        ConfigError : the file is wrong; with every problem
        """
        from monitor.backtesting.truth import load_truth
        from monitor.backtesting.truth_score import score

        return score(self, load_truth(truth) if isinstance(truth, str | Path) else truth)

    def sweep(
        self, settings: Mapping[str, Sequence[float | bool]], truth: Truth | str | Path | None = None
    ) -> Sweep:
        """What other settings would have found, in one more pass over the history.

        Parameters
        ----------
        settings : values by key, every combination of them is tried: ``{"budget": [0.3, 1, 3]}``; keys are those of
            ``--sweep``
        truth : labelled incidents, against which every setting is scored

        Raises
        ------
        ConfigError : a setting or the file is wrong; with every problem
        """
        from monitor.backtesting.sweep import run_sweep
        from monitor.backtesting.sweep_grid import parse_sweep
        from monitor.backtesting.truth import load_truth

        texts = [f"{key}={','.join(json.dumps(value) for value in values)}" for key, values in settings.items()]
        labelled = load_truth(truth) if isinstance(truth, str | Path) else truth
        return run_sweep(self, parse_sweep(texts), labelled)

    def close(self) -> None:
        """Remove what was put aside on disk."""
        self.history.close()

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
