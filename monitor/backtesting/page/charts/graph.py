"""Whom an incident's wallets paid, as a graph: amounts, small first payments, what came back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.svg import LETTER, chart, el
from monitor.backtesting.page.words import amount, clock, short, visible
from monitor.grouping import order
from monitor.model import Incident, Movement

__all__ = ["Edge", "edges_of", "graph"]

MOST = 10  # nodes a side
ROW, TOP, WIDTH = 44, 26, 400
BOX = 116  # width of a wallet's box, and
SUSPECT = 168  # of a suspect's
ROOM = int((SUSPECT - 12) / LETTER)  # letters of its amounts
PROBE = 0.01  # a first payment below this share of all of the same asset that followed is marked
REST = "\x00rest"


@dataclass(slots=True)
class Edge:
    """What one wallet paid one suspect, base units by asset."""

    wallet: str
    chain: str
    address: str
    sums: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    payments: int = 0
    begin: int = 0
    end: int = 0

    @property
    def probed(self) -> bool:
        """Whether it began with a payment that is tiny beside what followed."""
        return self.payments > 1 and any(self.first[asset] < PROBE * total for asset, total in self.sums.items())

    def add(self, move: Movement) -> None:
        """One payment more, later than the ones before."""
        self.begin = move.at if not self.payments else self.begin
        self.end = move.at
        self.payments += 1
        self.first.setdefault(move.asset, move.value)
        self.sums[move.asset] = self.sums.get(move.asset, 0) + move.value


def edges_of(incident: Incident) -> list[Edge]:
    """Who paid whom, the largest shares of what was lost first."""
    found: dict[tuple[str, str, str], Edge] = {}
    for move in sorted(incident.movements, key=order):
        key = (move.wallet, move.chain, move.counterparty)
        found.setdefault(key, Edge(*key)).add(move)
    lost = dict(incident.lost)
    return sorted(found.values(), key=lambda edge: (-_weight(edge, lost), edge.wallet, edge.chain, edge.address))


def _weight(edge: Edge, lost: Mapping[str, int]) -> float:
    """Mean share of what was lost of each asset."""
    return sum(value / lost[asset] for asset, value in edge.sums.items() if lost.get(asset)) / max(1, len(lost))


def graph(key: str, incident: Incident, names: AssetNames) -> Markup:
    """The chart; nothing where no coins moved."""
    edges = edges_of(incident)
    if not edges:
        return Markup("")
    lost = dict(incident.lost)
    wallets = _places(list(dict.fromkeys(edge.wallet for edge in edges)))
    suspects = _places(list(dict.fromkeys(f"{edge.chain} {edge.address}" for edge in edges)))
    rows = max(max(wallets.values()), max(suspects.values())) + 1
    height = TOP + rows * ROW + (22 if incident.returned else 0) + 6
    merged: dict[tuple[int, int], list[Edge]] = {}
    for edge in edges:
        merged.setdefault((_row(wallets, edge.wallet), _row(suspects, f"{edge.chain} {edge.address}")), []).append(edge)
    parts = [_curve(rows, wallets, suspects, ends, both, lost, names) for ends, both in merged.items()]
    parts += [_wallet(name, _middle(at, len(wallets), rows)) for name, at in wallets.items()]
    for name, at in suspects.items():
        mine = [edge for edge in edges if _row(suspects, f"{edge.chain} {edge.address}") == at]
        parts.append(_suspect(name, mine, _middle(at, len(suspects), rows), names, len(edges)))
    if incident.returned:
        parts.append(_returned(incident, names, height))
    said = "; ".join(
        f"{edge.wallet} paid {edge.address} {_sums(edge.sums, names)} in {edge.payments}" for edge in edges[:MOST]
    )
    return chart(key, "Where it went", said, *parts, height=height, kind="graph")


def _places(given: Sequence[str]) -> dict[str, int]:
    """Rows of the first nodes; one for all others."""
    kept = given if len(given) <= MOST else [*given[: MOST - 1], REST]
    return {name: n for n, name in enumerate(kept)}


def _row(places: Mapping[str, int], name: str) -> int:
    return places.get(name, places.get(REST, 0))


def _middle(row: int, count: int, rows: int) -> float:
    """Height of a node's middle: the shorter side is spread over the longer one."""
    return TOP + (row + 0.5) * rows * ROW / count


def _sums(sums: Mapping[str, int], names: AssetNames, most: int = 2) -> str:
    """Amounts, those first of which is known how much a coin is."""
    shown = [names.display(asset, sums[asset]) for asset in _known_first(sums, names)[:most]]
    return " + ".join(shown) + (f" + {len(sums) - most} more" if len(sums) > most else "")


def _known_first(sums: Mapping[str, int], names: AssetNames) -> list[str]:
    return sorted(sums, key=lambda asset: (names.info(asset).decimals is None, asset))


def _brief(sums: Mapping[str, int], names: AssetNames) -> str:
    """The same for a box: as many amounts as there is room for, else the first one with few digits."""
    for most in (2, 1):
        if len(text := visible(_sums(sums, names, most), 200)) <= ROOM:
            return text
    first = _known_first(sums, names)[0]
    text = amount(names, first, sums[first])
    return text if len(text) <= ROOM else f"{text[: ROOM - 1]}…"


def _curve(
    rows: int, wallets: Mapping[str, int], suspects: Mapping[str, int], ends: tuple[int, int], edges: Sequence[Edge],
    lost: Mapping[str, int], names: AssetNames,
) -> Markup:  # fmt: skip
    y1, y2 = _middle(ends[0], len(wallets), rows), _middle(ends[1], len(suspects), rows)
    x1, x2 = BOX, WIDTH - SUSPECT
    half = (x1 + x2) / 2
    share = sum(_weight(edge, lost) for edge in edges)
    said = "; ".join(f"{_sums(edge.sums, names)} in {edge.payments} payments" for edge in edges[:3])
    return el(
        "path", el("title", said), class_="edge probed" if any(edge.probed for edge in edges) else "edge",
        d=f"M{x1} {y1:.1f}C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {x2} {y2:.1f}",
        stroke_width=1.2 + 10 * min(1.0, share),
    )  # fmt: skip


def _wallet(name: str, y: float) -> Markup:
    shown = "other wallets" if name == REST else visible(name, 60)
    cut = shown if len(shown) <= 16 else f"{shown[:15]}…"
    return el(
        "g",
        el("title", shown),
        el("rect", class_="node", x=0, y=y - 14, width=BOX, height=28, rx=4),
        el("text", cut, class_="label", x=8, y=y + 4),
    )


def _suspect(name: str, edges: Sequence[Edge], y: float, names: AssetNames, count: int) -> Markup:
    chain, _, address = name.partition(" ")
    sums: dict[str, int] = {}
    for edge in edges:
        for asset, value in edge.sums.items():
            sums[asset] = sums.get(asset, 0) + value
    many = len({(edge.chain, edge.address) for edge in edges})
    title = f"{many} other addresses" if name == REST else f"{visible(address)} on {visible(chain)}"
    amounts = _sums(sums, names)
    shown = f"{many} others" if name == REST else short(address, 6, 5)
    begin = min((edge.begin for edge in edges), default=0)
    probed = any(edge.probed for edge in edges)
    left = WIDTH - SUSPECT
    return el(
        "g",
        el("title", f"{title}: {amounts}, first {clock(begin)} UTC{', first a small one' if probed else ''}"),
        el("rect", class_="node bad", x=left, y=y - 18, width=SUSPECT, height=36, rx=4),
        el("text", shown, class_="label code", x=left + 8, y=y - 3),
        *([el("text", "probed first", class_="tick probe", x=WIDTH - 6, y=y - 3, text_anchor="end")] if probed else []),
        el("text", _brief(sums, names), class_="tick", x=left + 8, y=y + 11),
    )


def _returned(incident: Incident, names: AssetNames, height: float) -> Markup:
    y = height - 14
    back = "came back: " + _sums(dict(incident.returned), names)
    return el(
        "g",
        el("title", back),
        el("path", class_="back", d=f"M{WIDTH - 10} {y}L12 {y}M18 {y - 4}L12 {y}L18 {y + 4}"),
        el("text", visible(back, 60), class_="note", x=24, y=y - 5),
        class_="returned",
    )

