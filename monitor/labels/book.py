"""`LabelBook`: labels by address and time, in arrays. Pure: it reads no file and no clock.

A look-up is one hash, one binary search over sorted 64-bit keys, and a comparison of the whole address: an address
that was ground to collide with another's key does not inherit its label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from monitor.addresses.digest import keys as keys_of
from monitor.ids import hash64
from monitor.labels.kind import LabelKind
from monitor.labels.label import Label

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SCHEMA", "LabelBook", "label_frame"]

SCHEMA: Mapping[str, pl.DataType] = {
    "chain": pl.String(), "address": pl.String(), "name": pl.String(), "kind": pl.Int8(), "source": pl.String(),
    "known_since": pl.Int64(),
}  # fmt: skip
"""Columns of labels: CAIP-2 or null, canonical, text, `LabelKind`, text, UTC seconds."""

_NEVER = int(np.iinfo(np.int64).max)
_GRAVEST = int(max(LabelKind))
_CHUNK = 1 << 16


def label_frame(labels: Iterable[Label]) -> pl.DataFrame:
    """Labels as a table of `SCHEMA`, in their order."""
    rows = [(x.chain, x.address, x.name, int(x.kind), x.source, x.known_since) for x in labels]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _chunks(column: pl.Series) -> Iterator[list[str]]:
    """The column as Python strings, part by part: a million of them at once are 90 MB."""
    for start in range(0, len(column), _CHUNK):
        yield column.slice(start, _CHUNK).to_list()


class _Texts:
    """Many strings in one piece of memory."""

    def __init__(self, column: pl.Series) -> None:
        ends = column.str.len_bytes().cum_sum().to_numpy()
        dtype = np.uint32 if not len(ends) or ends[-1] < 1 << 32 else np.uint64
        self.starts = np.concatenate((np.zeros(1, dtype), ends.astype(dtype)))
        parts = bytearray()
        for chunk in _chunks(column):
            parts += "".join(chunk).encode()
        self.blob = bytes(parts)

    def __getitem__(self, row: int) -> bytes:
        return self.blob[self.starts[row] : self.starts[row + 1]]


class _Words:
    """Strings of which there are few different ones (null too)."""

    def __init__(self, column: pl.Series) -> None:
        self.words: list[str | None] = column.unique().sort().to_list()
        known = pl.DataFrame({"word": pl.Series(self.words, dtype=pl.String)}).with_row_index("code")
        coded = pl.DataFrame({"word": column}).join(
            known, on="word", how="left", nulls_equal=True, maintain_order="left"
        )
        self.codes = coded["code"].to_numpy().astype(np.uint32)

    def __getitem__(self, row: int) -> str | None:
        return self.words[int(self.codes[row])]


class _Sketch:
    """Which texts may be among many: bits by a quick hash, so that nearly all others cost no more than that."""

    _BITS = 32  # for each text, so that one of so many others passes

    def __init__(self, column: pl.Series) -> None:
        size = max(16, (self._BITS * len(column)).bit_length())
        self._shift = np.uint64(64 - size)
        self._bits = np.zeros(1 << (size - 3), np.uint8)
        place, bit = self._places(column)
        np.bitwise_or.at(self._bits, place, bit)

    def _places(self, column: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Byte and bit of each text."""
        at = column.hash().to_numpy() >> self._shift
        return at >> np.uint64(3), np.uint8(1) << (at & np.uint64(7)).astype(np.uint8)

    def may_hold(self, column: pl.Series) -> NDArray[np.bool_]:
        """Whether each text may be one of them: shape (n,)."""
        place, bit = self._places(column)
        found: NDArray[np.bool_] = (self._bits[place] & bit) != 0
        return found


class LabelBook:
    """Labels of addresses. Nothing here depends on the order in which they came.

    Parameters
    ----------
    labels : labels, or a table of `SCHEMA`

    Examples
    --------
    >>> hot = Label(None, "0x28c6c06298d514db089934071355e5743bf21d60", "Binance 14", LabelKind.EXCHANGE, "x", 1000)
    >>> book = LabelBook([hot])
    >>> book.kind_at("eip155:1", hot.address, 999), str(book.kind_at("eip155:1", hot.address, 1000))
    (None, 'exchange')
    """

    def __init__(self, labels: Iterable[Label] | pl.DataFrame = ()) -> None:
        frame = labels if isinstance(labels, pl.DataFrame) else label_frame(labels)
        self._take(frame.get_column)

    @classmethod
    def of_columns(cls, column: Callable[[str], pl.Series]) -> LabelBook:
        """A book whose columns are handed over one by one, each let go before the next: less memory on the way.

        Parameters
        ----------
        column : the column of a name in `SCHEMA`, the same rows in the same order at each call
        """
        book = cls.__new__(cls)
        book._take(column)
        return book

    def _take(self, column: Callable[[str], pl.Series]) -> None:
        addresses = column("address")
        keys = keys_of(addresses)
        self._sketch = _Sketch(addresses)
        order = np.argsort(keys, kind="stable").astype(np.uint32)
        place = pl.Series(order)
        self._keys = keys[order]
        self._search = self._keys.data
        self._addresses = _Texts(addresses.gather(place))
        del addresses
        self._names = _Texts(column("name").gather(place))
        self._chains = _Words(column("chain").gather(place))
        self._sources = _Words(column("source").gather(place))
        self._kinds = column("kind").to_numpy().astype(np.int8)[order]
        self._since = column("known_since").to_numpy().astype(np.int64)[order]

    def __len__(self) -> int:
        return len(self._keys)

    def _rows(self, address: str, key: int | None = None) -> list[int]:
        """Rows of an address, on any chain."""
        key = hash64(address) if key is None else key
        row, found, whole = bisect_left(self._search, key), [], address.encode()
        while row < len(self._search) and self._search[row] == key:
            if self._addresses[row] == whole:
                found.append(row)
            row += 1
        return found

    def _on(self, chain: str, rows: list[int]) -> list[int]:
        return [row for row in rows if self._chains[row] in (chain, None)]

    def _label(self, row: int) -> Label:
        return Label(
            self._chains[row],
            self._addresses[row].decode(),
            self._names[row].decode(),
            LabelKind(int(self._kinds[row])),
            self._sources[row] or "",
            int(self._since[row]),
        )

    def _labels(self, rows: Iterable[int]) -> tuple[Label, ...]:
        return tuple(sorted({self._label(row) for row in rows}, key=lambda label: label.order))

    def at(self, chain: str, address: str, time: int) -> tuple[Label, ...]:
        """Every label of an address that was known at a time, earliest first.

        Parameters
        ----------
        chain : CAIP-2
        address : in canonical form, see `monitor.addresses`
        time : UTC seconds
        """
        return self._labels(row for row in self._on(chain, self._rows(address)) if self._since[row] <= time)

    def everywhere(self, address: str, time: int | None = None) -> tuple[Label, ...]:
        """Every label of an address on all chains, earliest first; ``time`` None: whenever it was known."""
        return self._labels(row for row in self._rows(address) if time is None or self._since[row] <= time)

    def kind_at(self, chain: str, address: str, time: int) -> LabelKind | None:
        """The gravest kind that was known of an address at a time (UTC seconds), None where nothing was."""
        rows = self._rows(address)
        if not rows:
            return None
        known = [int(self._kinds[row]) for row in self._on(chain, rows) if self._since[row] <= time]
        return LabelKind(max(known)) if known else None

    def first_known(self, chain: str, address: str) -> dict[LabelKind, int]:
        """From when on (UTC seconds) each kind was known of an address, gravest first."""
        found: dict[LabelKind, int] = {}
        for row in self._on(chain, self._rows(address)):
            kind, since = LabelKind(int(self._kinds[row])), int(self._since[row])
            found[kind] = min(since, found.get(kind, since))
        return dict(sorted(found.items(), reverse=True))

    def kinds(self, chain: str, addresses: pl.Series, times: ArrayLike) -> NDArray[np.int8]:
        """`kind_at` for many rows: the gravest kind known at each row's time, 0 where nothing was.

        Parameters
        ----------
        chain : CAIP-2, of all rows
        addresses : canonical addresses, shape (n,); null has no label
        times : UTC seconds, shape (n,)

        Returns
        -------
        `LabelKind` numbers, shape (n,)

        Raises
        ------
        ValueError : the two have different lengths
        """
        when = np.asarray(times, dtype=np.int64)
        if when.shape != (len(addresses),):
            raise ValueError(f"{len(addresses)} addresses and times of shape {when.shape}")
        out = np.zeros(len(addresses), np.int8)
        maybe = np.flatnonzero(self._sketch.may_hold(addresses))
        some = addresses.gather(maybe)
        known, first = self._first_of(chain, some.drop_nulls().unique())
        if not known:
            return out
        slots = some.replace_strict(known, range(len(known)), default=-1, return_dtype=pl.Int32).fill_null(-1)
        slot = slots.to_numpy()
        labelled = np.flatnonzero(slot >= 0)
        rows = maybe[labelled]
        since, at = first[slot[labelled]], when[rows]
        for kind in LabelKind:  # in rising gravity: the last one that holds is the gravest
            out[rows[since[:, kind] <= at]] = kind
        return out

    def _first_of(self, chain: str, unique: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
        """The labelled ones among different addresses, and when each kind of each was known first."""
        known: list[str] = []
        first: list[list[int]] = []
        if not len(self):
            return known, np.empty((0, 0), np.int64)
        keys = keys_of(unique)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        for hit in np.flatnonzero(self._keys[places] == keys).tolist():
            rows = self._on(chain, self._rows(unique[hit], int(keys[hit])))
            if rows:
                since = [_NEVER] * (_GRAVEST + 1)
                for row in rows:
                    kind = int(self._kinds[row])
                    since[kind] = min(since[kind], int(self._since[row]))
                known.append(unique[hit])
                first.append(since)
        return known, np.array(first, np.int64)
