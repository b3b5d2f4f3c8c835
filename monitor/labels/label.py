"""One label, and the cleaning of texts and times that come with it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from monitor.ids import from_iso
from monitor.labels.kind import LabelKind

__all__ = ["Label", "clean", "day_known", "moment"]

MAX_TEXT = 200  # characters of a name or a source
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_EARLIEST, _LATEST = 1_230_768_000, 4_102_444_800  # 2009, before the first chain, and 2100: else it is another unit


@dataclass(frozen=True, slots=True)
class Label:
    """What one source says of one address.

    ``chain`` is CAIP-2, None where it holds on every chain that has this address (EVM networks). ``address`` is
    canonical, see `monitor.addresses`. ``known_since`` is in UTC seconds: before it nobody could know.
    """

    chain: str | None
    address: str
    name: str
    kind: LabelKind
    source: str
    known_since: int

    @property
    def order(self) -> tuple[int, int, str, str, str]:
        """Sort key: earliest first, then gravest."""
        return self.known_since, -self.kind, self.name, self.source, self.chain or ""


def clean(text: str) -> str:
    """One line without control, invisible and bidirectional characters, of 200 characters at most.

    >>> clean("Binance\\n\\x1b[31m 14 ")
    'Binance [31m 14'
    """
    shown = text[: 10 * MAX_TEXT]
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in shown)
    return " ".join(shown.split())[:MAX_TEXT]


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def moment(text: str) -> int:
    """UTC seconds of a time as a person wrote it; ValueError says what was expected.

    >>> moment("2022-08-08") == moment("2022-08-08T00:00:00Z") == moment("1659916800")
    True
    """
    seconds = from_iso(text)
    if not _EARLIEST <= seconds < _LATEST:
        raise ValueError(f"time was {text[:40]!r}, expected ISO 8601 or UTC seconds, between 2009 and 2100")
    return seconds


def day_known(text: str) -> int:
    """As `moment`, for a date of which the source does not say the hour: the day's end, so that it is never too early.

    >>> day_known("2022-08-08") == moment("2022-08-09"), day_known("2022-08-08 10:00") == moment("2022-08-08T10:00")
    (True, True)
    """
    seconds = moment(text)
    return seconds + 86_400 if _DAY.fullmatch(text.strip()) else seconds
