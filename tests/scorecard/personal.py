"""Simulated personal wallets: a holder's year, drawn from a seed.

People pay rarely and unevenly: they sell all of a coin now and then, swap, pay strangers, let protocols move their
tokens, sleep for months, and get dust and forged transfers. Amounts are millionths of a coin, times are whole seconds
from the start of the simulation. `tests.scorecard.personal_theft` steals, `tests.scorecard.holder` makes tables of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.scorecard.world import DAY, HOUR, World, generator

__all__ = [
    "COIN", "FEE", "FORGED", "IN", "LISTED", "MINUTE", "OUT", "OWN", "PERSONAL", "STOLEN", "TOKENS", "TOUCH",
    "Holding", "Living", "Move", "Year", "ordinary",
]  # fmt: skip

PERSONAL = World("personal", "holders: 1 to 12 assets, 0.05 to 1.5 payments a day, months of sleep", quiet=True)
IN, OUT, FEE, TOUCH, FORGED, STOLEN = range(6)
OWN = "own"  # the holder signs
COIN = 10**6  # units
MINUTE = 60
TOKENS = 40  # that there are; each wallet holds some
LISTED = 20  # the first of them stand in the configuration
ROUTERS, RELAYERS = 4, 3
ALL_OF_IT = 1 / 60  # of payments take the whole of an asset
GAS = {"pay": 21_000, "token": 65_000, "swap": 180_000, "call": 120_000}


@dataclass(frozen=True, slots=True)
class Holding:
    """An asset of a wallet: token -1 is the chain's own coin; ``price`` in dollars a coin, ``start`` in units."""

    token: int
    price: float
    start: int


@dataclass(frozen=True, slots=True)
class Move:
    """One movement, or a call without coins. ``other`` is the other side, ``tx`` the same within a transaction."""

    at: int
    what: int
    asset: int
    value: int
    other: str
    tx: int
    signer: str = OWN
    gas: int = 0
    fee_rate: float = 0.0


@dataclass(slots=True)
class Year:
    """What happened in a wallet. ``told``: the source says who signed, nonce, gas limit and fee rate."""

    seed: int
    days: int
    holdings: list[Holding]
    told: bool
    moves: list[Move] = field(default_factory=list)
    labelled: dict[str, str] = field(default_factory=dict)  # other sides that labels know, and their kind
    trusted: list[str] = field(default_factory=list)


class Living:
    """A wallet while it is simulated: balances, who is known, and what is planned."""

    def __init__(self, seed: int, days: int, tokens: int, sleep: tuple[float, float] | None) -> None:
        r = self.r = generator(PERSONAL.name, seed)
        held = _holdings(r, tokens)
        self.year = Year(seed, days, held, bool(r.random() < 0.5))
        self.balance = [h.start for h in held]
        self.rate = 10 ** r.uniform(np.log10(0.05), np.log10(1.5))
        self.to_known = r.uniform(0.4, 0.7)
        self.swaps = r.uniform(0.05, 0.35) if len(held) > 1 else 0.0
        self.calls = r.uniform(0.0, 0.25)
        self.relayed = r.uniform(0.03, 0.15) if r.random() < 0.3 and len(held) > 1 else 0.0
        self.known: list[str] = []
        for i in range(int(r.integers(2, 9))):
            self.known.append(self._payee(f"friend {i}") if r.random() < 0.6 else self._deposit(f"known {i}"))
        self.router = int(r.integers(ROUTERS))
        self.relayer = int(r.integers(RELAYERS))
        self.gas_price = 10 ** r.uniform(0.8, 1.5)
        self.levels = np.exp(np.cumsum(0.15 * r.normal(size=days + 2)) * 0.5)
        self.tip = r.uniform(1.0, 1.3)
        self.tx = self.strangers = 0
        self.asleep = [sleep] if sleep else []
        if not sleep and r.random() < 0.2:
            begin = r.uniform(10, max(11, days * 0.7))
            self.asleep.append((begin, begin + r.uniform(60, 200)))
        self.planned: list[tuple[float, int, Callable[[float], None]]] = []

    # -- the other side

    def _payee(self, name: str) -> str:
        return f"payee {name}"

    def _deposit(self, name: str) -> str:
        """A deposit address at an exchange; labels know a third of them."""
        address = f"deposit {name}"
        if self.r.random() < 0.35:
            self.year.labelled[address] = "exchange"
        return address

    def _stranger(self) -> str:
        self.strangers += 1
        name = f"new {self.strangers}"
        return self._deposit(name) if self.r.random() < 0.35 else self._payee(name)

    def _receiver(self) -> str:
        if self.r.random() < self.to_known:
            return self.known[int(len(self.known) * self.r.random() ** 1.5)]
        other = self._stranger()
        if self.r.random() < 0.5:
            self.known.append(other)
        return other

    # -- what can be done

    def plan(self, at: float, what: Callable[[float], None]) -> None:
        self.planned.append((at, len(self.planned), what))

    def run(self) -> Year:
        """Carry out everything planned, also what is planned meanwhile, in order of time."""
        end = self.year.days * DAY
        while self.planned:
            self.planned.sort(key=lambda p: (p[0], p[1]), reverse=True)
            at, _, what = self.planned.pop()
            if 0 <= at < end:
                what(at)
        self.year.moves.sort(key=lambda m: m.at)
        return self.year

    def begin(self, kind: str, at: float, signer: str = OWN, odd: bool = False) -> dict[str, object]:
        """A transaction: its look, and the fee where the holder signs."""
        self.tx += 1
        level = self.gas_price * self.levels[int(at // DAY)] * np.exp(0.1 * self.r.normal())
        gas, tip = GAS[kind], self.tip
        if odd:  # a thief's software: half look unlike the owner's
            gas, tip = int(gas * self.r.uniform(1.5, 6)), self.r.uniform(1.8, 5)
        look: dict[str, object] = {"tx": self.tx, "signer": signer, "gas": gas, "fee_rate": float(level * tip) * 1e9}
        if signer == OWN:
            fee = min(self.balance[0] // 50, int(gas * level * tip * 1e-9 * COIN) + 1)
            if fee > 0:
                self.move(at, FEE, 0, fee, "", look)
        return look

    def move(self, at: float, what: int, asset: int, value: int, other: str, look: dict[str, object]) -> None:
        if what in (OUT, FEE, STOLEN):
            value = min(value, self.balance[asset])
        if value <= 0 and what not in (TOUCH, FORGED):
            return
        if what in (OUT, FEE, STOLEN):
            self.balance[asset] -= value
        elif what == IN:
            self.balance[asset] += value
        self.year.moves.append(Move(int(at), what, asset, value, other, **look))  # type: ignore[arg-type]

    def arrive(self, at: float, asset: int, value: float, other: str) -> None:
        self.tx += 1
        self.move(at, IN, asset, int(value), other, {"tx": self.tx, "signer": other})

    def pay(
        self, at: float, asset: int, value: float, other: str, what: int = OUT, *,
        signer: str = OWN, odd: bool = False, look: dict[str, object] | None = None,
    ) -> None:  # fmt: skip
        if look is None:
            look = self.begin("pay" if asset == 0 else "token", at, signer, odd)
        self.move(at, what, asset, int(value), other, look)

    def amount(self, asset: int, share: float) -> int:
        """So much of what is there; of the chain's own coin some stays for fees."""
        there = self.balance[asset]
        return int(there * min(share, 0.985)) if asset == 0 else int(there * share)

    def share(self) -> float:
        """Of an asset in one payment: a few per cent as a rule, now and then everything."""
        if self.r.random() < ALL_OF_IT:
            return 1.0
        return float(np.clip(10 ** self.r.normal(-1.6, 0.6), 0.001, 0.95))

    def any_asset(self, first: int = 0) -> int | None:
        """An asset that something is left of; larger ones more often."""
        worth = np.array([b * h.price for b, h in zip(self.balance, self.year.holdings, strict=True)]) / COIN
        start = np.array([h.start * h.price for h in self.year.holdings]) / COIN
        worth[worth < np.maximum(1.0, 0.001 * start)] = 0.0
        worth[:first] = 0.0
        if not worth.any():
            return None
        weight = np.sqrt(worth)
        return int(self.r.choice(len(worth), p=weight / weight.sum()))


def _holdings(r: np.random.Generator, tokens: int) -> list[Holding]:
    """The chain's own coin, and tokens in unequal parts."""
    count = max(tokens, int(min(11, r.geometric(0.25) - 1)))
    dollars = 10 ** r.uniform(2.7, 6.5)
    parts = r.dirichlet(np.full(count + 1, 0.7)) * 0.95 + 0.05 / (count + 1)
    which = [-1, *(int(i) for i in r.permutation(TOKENS)[:count])]
    made = []
    for token, part in zip(which, parts, strict=True):
        price = 2000.0 if token < 0 else float(10 ** generator("price", token).uniform(-2, 3))
        made.append(Holding(token, price, int(part * dollars / price * COIN)))
    return made


# -- an ordinary year -------------------------------------------------------------------------------------------------


def _session(life: Living, at: float) -> None:
    """The holder does something, or several things."""
    r = life.r
    if any(a * DAY <= at < b * DAY for a, b in life.asleep):
        return
    if r.random() < 0.1:  # coins for it come first, from a hot wallet of an exchange
        value = life.year.holdings[0].start * r.uniform(0.02, 0.3)
        life.arrive(at - r.uniform(2, 25) * MINUTE, 0, value, f"exchange {int(r.integers(40))}")
    if r.random() < 1 / 250:
        _liquidate(life, at)
        return
    for _ in range(1 + r.poisson(0.6)):
        _act(life, at)
        at += r.exponential(5) * MINUTE + 30


def _act(life: Living, at: float) -> None:
    r, kind = life.r, life.r.random()
    if kind < life.swaps:
        _swap(life, at)
    elif kind < life.swaps + life.relayed:
        _pulled(life, at)
    elif kind < life.swaps + life.relayed + life.calls:
        if r.random() < 0.6:
            life.move(at, TOUCH, 0, 0, f"contract {int(r.integers(60))}", life.begin("call", at))
        else:
            life.pay(at, 0, life.amount(0, r.uniform(0.001, 0.03)), f"market {int(r.integers(3))}")
    else:
        asset = life.any_asset()
        if asset is None:
            return
        other, share = life._receiver(), life.share()
        if share > 0.3 and r.random() < 0.3:
            life.pay(at - r.uniform(3, 40) * MINUTE, asset, life.amount(asset, 2e-5), other)
        life.pay(at, asset, life.amount(asset, share), other)
        _refill(life, at, asset)
        if r.random() < 0.25:
            _poison(life, at + r.uniform(60, 3 * HOUR), other)


def _swap(life: Living, at: float) -> None:
    """One asset to a router, another comes back in the same transaction."""
    r, asset = life.r, life.any_asset()
    if asset is None:
        return
    if r.random() < 0.15:
        life.router = int(r.integers(ROUTERS))
    router, look = f"router {life.router}", life.begin("swap", at)
    value = life.amount(asset, life.share() if r.random() < 0.7 else r.uniform(0.1, 1.0))
    life.pay(at, asset, value, router, look=look)
    into = int(r.choice([a for a in range(len(life.balance)) if a != asset]))
    prices = [h.price for h in life.year.holdings]
    life.move(at, IN, into, int(value * prices[asset] / prices[into]), router, look)


def _pulled(life: Living, at: float) -> None:
    """A protocol that the holder approved moves tokens in a transaction of its own, and pays back in another asset."""
    asset = life.any_asset(first=1)
    if asset is None:
        return
    relayer = f"relayer {life.relayer}"
    look, value = life.begin("swap", at, relayer), life.amount(asset, life.share())
    life.pay(at, asset, value, f"settlement {life.relayer}", look=look)
    if life.r.random() < 0.8:
        price = life.year.holdings[asset].price / life.year.holdings[0].price
        life.move(at, IN, 0, int(value * price), f"settlement {life.relayer}", look)


def _liquidate(life: Living, at: float) -> None:
    """The holder sells several assets altogether, at one exchange."""
    known = [other for other in life.known if other.startswith("deposit")]
    fresh = not known or life.r.random() < 0.3
    other = life._stranger() if fresh else known[0]
    for _ in range(int(life.r.integers(2, 5))):
        asset = life.any_asset()
        if asset is not None:
            life.pay(at, asset, life.amount(asset, 1.0), other)
            _refill(life, at, asset)
        at += life.r.uniform(1, 12) * MINUTE


def _refill(life: Living, at: float, asset: int) -> None:
    """What ran low comes back in time, more often than not."""
    start = life.year.holdings[asset].start
    if life.balance[asset] < 0.2 * start and life.r.random() < 0.6:
        value, other = start * life.r.uniform(0.3, 1.2), f"exchange {int(life.r.integers(40))}"
        life.plan(at + life.r.uniform(0.2, 30) * DAY, lambda t: life.arrive(t, asset, value, other))


def _poison(life: Living, at: float, other: str) -> None:
    """A stranger forges a transfer of nothing in the wallet's name, or sends dust, from a look-alike."""
    look_alike = f"alike {other}"
    life.tx += 1
    look: dict[str, object] = {"tx": life.tx, "signer": look_alike}
    if len(life.balance) > 1 and life.r.random() < 0.7:
        life.move(at, FORGED, int(life.r.integers(1, len(life.balance))), 0, look_alike, look)
    else:
        life.move(at, IN, 0, 5, look_alike, look)


def _migrate(life: Living, at: float) -> None:
    """All that is there goes to a new address of the owner; half of the owners say so before."""
    other = life._payee("new wallet")
    if life.r.random() < 0.5:
        life.year.trusted.append(other)
    if life.r.random() < 0.6:
        life.pay(at - 20 * MINUTE, 0, life.amount(0, 5e-5), other)
    for asset in np.argsort([-b * h.price for b, h in zip(life.balance, life.year.holdings, strict=True)]).tolist():
        life.pay(at, asset, life.amount(asset, 1.0), other)
        _refill(life, at, asset)
        at += life.r.uniform(0.5, 20) * MINUTE


def ordinary(life: Living) -> None:
    r, days = life.r, life.year.days
    for at in r.uniform(0, days, r.poisson(life.rate / 1.6 * days)):
        hour = (r.normal(15, 4)) % 24
        life.plan(int(at) * DAY + hour * HOUR, lambda t: _session(life, t))
    income, payer = 10 ** r.uniform(-2, -0.5), f"payer {int(r.integers(10**6))}"
    for at in r.uniform(0, days, r.poisson(income * days)):
        asset = int(r.integers(len(life.balance)))
        value = life.year.holdings[asset].start * 10 ** r.uniform(-1.6, -0.3)
        life.plan(at * DAY, lambda t, a=asset, v=value: life.arrive(t, a, v, payer))  # type: ignore[misc]
    for at in r.uniform(0, days, r.poisson(days / 40)):
        life.plan(at * DAY, lambda t: life.arrive(t, 0, 3, f"dust {int(t)}"))
    if r.random() < 0.08 * days / 360:
        life.plan(r.uniform(35, max(36, days)) * DAY, lambda t: _migrate(life, t))
