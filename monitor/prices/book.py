"""The price book: what an asset was worth at a time, as far as anybody said. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from monitor.assets import AssetNames
from monitor.incident_record import Record

__all__ = ["MAX_AGE", "PriceBook"]

MAX_AGE = 3600  # seconds for which a price holds
KEPT = 4096  # prices of one asset that are kept where they arrive one by one


class PriceBook:
    """Prices by asset and time.

    Parameters
    ----------
    names : for the decimals of assets
    max_age : seconds for which a price holds; an older one is a missing one
    kept : prices of one asset that are kept, the latest; None: all
    """

    def __init__(self, names: AssetNames, max_age: int = MAX_AGE, kept: int | None = KEPT) -> None:
        self._names, self._max_age, self._kept = names, max_age, kept
        self._times: dict[str, list[int]] = {}
        self._prices: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._times.values()))

    @property
    def assets(self) -> tuple[str, ...]:
        """CAIP-19 of the assets that ever had a price."""
        return tuple(self._times)

    def add(self, asset: str, at: int, price: float) -> None:
        """US dollars for one whole unit of an asset from ``at`` (UTC seconds) on; a price of the same time replaces.

        Raises
        ------
        ValueError : it is not a price
        """
        if not 0 <= price < float("inf"):
            raise ValueError(f"{price!r} is not a price")
        times, prices = self._times.setdefault(asset, []), self._prices.setdefault(asset, [])
        place = bisect_right(times, at)
        if place and times[place - 1] == at:
            prices[place - 1] = price
            return
        times.insert(place, at)
        prices.insert(place, price)
        if self._kept is not None and len(times) > self._kept:
            del times[0], prices[0]

    def fill(self, asset: str, rows: Iterable[tuple[int, float]]) -> None:
        """Many prices of an asset at once: (UTC seconds, US dollars), in any order."""
        found = dict(zip(self._times.get(asset, ()), self._prices.get(asset, ()), strict=True))
        found.update(rows)
        self._times[asset] = sorted(found)
        self._prices[asset] = [found[at] for at in self._times[asset]]

    def price(self, asset: str, at: int) -> float | None:
        """US dollars for one unit at a time; None where nobody said, or what was said is too old."""
        times = self._times.get(asset, [])
        place = bisect_right(times, at) - 1
        if place < 0 or at - times[place] > self._max_age:
            return None
        return self._prices[asset][place]

    def value(self, asset: str, units: int, at: int) -> float | None:
        """What base units of an asset were worth; None where the price or the decimals are not known."""
        price, decimals = self.price(asset, at), self._names.info(asset).decimals
        return None if price is None or decimals is None else units / 10**decimals * price

    def appraise(self, record: Record) -> None:
        """Note the worth of an incident's losses, as of their blocks; what has one keeps it."""
        for key, movement in record.movements.items():
            if key not in record.usd:
                worth = self.value(movement.asset, movement.value, movement.at)
                if worth is not None:
                    record.usd[key] = worth
