"""What a page is made from: an outcome, and where they are asked for verdicts on labels and results by setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from monitor.assets import AssetNames
from monitor.config import Config
from monitor.model import Incident

__all__ = ["Fate", "Labelled", "Setting", "Told"]



class Told(Protocol):
    """What the page is made from, see `monitor.backtesting.outcome.Outcome`."""

    @property
    def report(self) -> Mapping[str, Any]:
        """Schema ``heistwatch/backtest/1``."""

    @property
    def config(self) -> Config:
        """What it was run with."""

    @property
    def names(self) -> AssetNames:
        """What assets are called."""

    @property
    def incidents(self) -> Sequence[Incident]:
        """Those of the report, in its order."""

    @property
    def history(self) -> Any:
        """Has ``batches()``, see `monitor.backtesting.history.History`; None: it is not kept."""

    @property
    def told(self) -> pl.DataFrame | None:
        """Balances that were told, None: none were."""

    @property
    def controls(self) -> pl.DataFrame | None:
        """Changes of control, None: none were told."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one labelled incident.

    Attributes
    ----------
    name, whose, lost, note : as the label says: its id, its entity or wallets, what it lost, what is known of it
    fate : in a word: ``caught``, ``missed``, or why it does not count
    incidents : ids of the incidents that match it
    opened_after, paged_after : seconds from its first transaction, None: never
    share_lost_at_open : of what was lost in all, None: not known
    """

    name: str
    whose: str
    fate: str
    incidents: tuple[str, ...] = ()
    opened_after: float | None = None
    paged_after: float | None = None
    share_lost_at_open: float | None = None
    lost: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The outcome against labelled incidents.

    Attributes
    ----------
    fates : one a label, in their order
    false_alarms : ids of the incidents that match none
    figures : (name, value) pairs in words, such as ``("recall", "3 of 4 (30 % to 95 %)")``
    apart : which labels the figures leave out, in words
    """

    fates: tuple[Fate, ...]
    false_alarms: frozenset[str]
    figures: tuple[tuple[str, str], ...] = ()
    apart: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """The result of one setting.

    Attributes
    ----------
    values : what is set, in words, by name
    incidents : their count
    false_alarms : of a wallet in 30 days: incidents that match no label; all where there are no labels
    share_lost_at_open : mean, None: nothing was lost
    caught : labelled incidents that it catches; what it misses is all lost in the share. None: there are no labels
    figures : further (name, value) pairs in words, the same names for each setting
    """

    values: Mapping[str, str]
    incidents: int
    false_alarms: float
    share_lost_at_open: float | None
    figures: tuple[tuple[str, str], ...] = field(default=())
    caught: int | None = None
