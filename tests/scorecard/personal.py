"""Simulated personal wallets: a holder's year, drawn from a seed, and thefts from holders.

People pay rarely and unevenly: they sell all of a coin now and then, swap, pay strangers, let protocols move their
tokens, sleep for months, and get dust and forged transfers. Amounts are millionths of a coin, times are whole seconds
from the start of the simulation. `tests.scorecard.holder` makes tables of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.scorecard.world import DAY, HOUR, World, generator

__all__ = [
    "COIN", "FEE", "FORGED", "IN", "LISTED", "OUT", "OWN", "PERSONAL", "STOLEN", "THEFTS", "TOKENS", "TOUCH",
    "Holding", "Move", "Year", "live",
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


class _Life:
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
                self._move(at, FEE, 0, fee, "", look)
        return look

    def _move(self, at: float, what: int, asset: int, value: int, other: str, look: dict[str, object]) -> None:
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
        self._move(at, IN, asset, int(value), other, {"tx": self.tx, "signer": other})

    def pay(
        self, at: float, asset: int, value: float, other: str, what: int = OUT, *,
        signer: str = OWN, odd: bool = False, look: dict[str, object] | None = None,
    ) -> None:  # fmt: skip
        if look is None:
            look = self.begin("pay" if asset == 0 else "token", at, signer, odd)
        self._move(at, what, asset, int(value), other, look)

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


def _session(life: _Life, at: float) -> None:
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


def _act(life: _Life, at: float) -> None:
    r, kind = life.r, life.r.random()
    if kind < life.swaps:
        _swap(life, at)
    elif kind < life.swaps + life.relayed:
        _pulled(life, at)
    elif kind < life.swaps + life.relayed + life.calls:
        if r.random() < 0.6:
            life._move(at, TOUCH, 0, 0, f"contract {int(r.integers(60))}", life.begin("call", at))
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


def _swap(life: _Life, at: float) -> None:
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
    life._move(at, IN, into, int(value * prices[asset] / prices[into]), router, look)


def _pulled(life: _Life, at: float) -> None:
    """A protocol that the holder approved moves tokens in a transaction of its own, and pays back in another asset."""
    asset = life.any_asset(first=1)
    if asset is None:
        return
    relayer = f"relayer {life.relayer}"
    look, value = life.begin("swap", at, relayer), life.amount(asset, life.share())
    life.pay(at, asset, value, f"settlement {life.relayer}", look=look)
    if life.r.random() < 0.8:
        price = life.year.holdings[asset].price / life.year.holdings[0].price
        life._move(at, IN, 0, int(value * price), f"settlement {life.relayer}", look)


def _liquidate(life: _Life, at: float) -> None:
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


def _refill(life: _Life, at: float, asset: int) -> None:
    """What ran low comes back in time, more often than not."""
    start = life.year.holdings[asset].start
    if life.balance[asset] < 0.2 * start and life.r.random() < 0.6:
        value, other = start * life.r.uniform(0.3, 1.2), f"exchange {int(life.r.integers(40))}"
        life.plan(at + life.r.uniform(0.2, 30) * DAY, lambda t: life.arrive(t, asset, value, other))


def _poison(life: _Life, at: float, other: str) -> None:
    """A stranger forges a transfer of nothing in the wallet's name, or sends dust, from a look-alike."""
    look_alike = f"alike {other}"
    life.tx += 1
    look: dict[str, object] = {"tx": life.tx, "signer": look_alike}
    if len(life.balance) > 1 and life.r.random() < 0.7:
        life._move(at, FORGED, int(life.r.integers(1, len(life.balance))), 0, look_alike, look)
    else:
        life._move(at, IN, 0, 5, look_alike, look)


def _migrate(life: _Life, at: float) -> None:
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


def _ordinary(life: _Life) -> None:
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


# -- thefts -----------------------------------------------------------------------------------------------------------


def _key_sweep(life: _Life, at: float) -> None:
    """The coin and up to six tokens within ten minutes, largest or smallest first, to one or two fresh addresses."""
    r = life.r
    odd, thieves = bool(r.random() < 0.5), int(r.integers(1, 3))
    worth = np.array([b * h.price for b, h in zip(life.balance, life.year.holdings, strict=True)])
    order = [int(a) for a in np.argsort(-worth)[:7] if worth[a] > 0]
    if r.random() < 0.5:
        order.reverse()
    times = at + np.sort(np.r_[0.0, r.uniform(0, 10 * MINUTE, len(order) - 1)])
    for asset, t in zip(order, times, strict=True):
        _steal(life, t, asset, r.uniform(0.97, 1.0), int(r.integers(thieves)), odd=odd)


def _steal(life: _Life, at: float, asset: int, share: float, thief: int, **more: object) -> None:
    life.pay(at, asset, life.amount(asset, share), f"thief {thief}", STOLEN, **more)  # type: ignore[arg-type]


def _moved_tokens(life: _Life) -> list[int]:
    """Tokens that the owner himself moved before, or that the configuration lists; largest first."""
    moved = {m.asset for m in life.year.moves if m.what == OUT and m.signer == OWN}
    known = [a for a in range(1, len(life.balance)) if a in moved or life.year.holdings[a].token < LISTED]
    return sorted((a for a in known if life.balance[a] > 0), key=lambda a: -life.balance[a] * life.year.holdings[a].price)


def _approval_drain(life: _Life, at: float) -> None:
    """Up to three approved tokens, moved by the thief's own transactions, to one fresh address or one each."""
    one = life.r.random() < 0.5
    for n, asset in enumerate(_moved_tokens(life)[:3]):
        look = life.begin("token", at, "thief contract")
        _steal(life, at, asset, life.r.uniform(0.95, 1.0), 0 if one else n, look=look)
        at += life.r.uniform(12, 100)


def _split_drain(life: _Life, at: float) -> None:
    """A token leaves to thief and supplier in one transaction; up to three tokens after each other."""
    r = life.r
    part, signer = float(r.choice([0.8, 0.8, 0.75, 0.7])), OWN if r.random() < 0.5 else "thief contract"
    tokens = _moved_tokens(life)[:3] or [0]
    for asset in tokens:
        look = life.begin("swap", at, OWN if asset == 0 else signer)
        value = life.amount(asset, r.uniform(0.95, 1.0))
        pieces = [(int(value * part), "thief 0"), (value - int(value * part), "thief 1")]
        for piece, thief in pieces if r.random() < 0.5 else pieces[::-1]:
            life.pay(at, asset, piece, thief, STOLEN, look=look)
        at += r.uniform(12, 100)


def _topup_sweep(life: _Life, at: float) -> None:
    """A stranger pays for the fees, then the owner's key sends the tokens away within twenty minutes."""
    r = life.r
    life.arrive(at - r.uniform(1, 10) * MINUTE, 0, 5_000, "thief funder")
    tokens = [a for a in range(1, len(life.balance)) if life.balance[a] > 0]
    tokens.sort(key=lambda a: -life.balance[a] * life.year.holdings[a].price)
    odd = bool(r.random() < 0.5)
    for asset in tokens[:7]:
        _steal(life, at, asset, 1.0, 0, odd=odd)
        at += r.uniform(12, 80)


def _poisoned(life: _Life, at: float) -> None:
    """The owner himself pays 30 to 90 % of an asset to a look-alike of somebody he pays."""
    asset = life.any_asset()
    if asset is not None:
        value = life.amount(asset, life.r.uniform(0.3, 0.9))
        life.pay(at, asset, value, f"alike {life.known[0]}", STOLEN)


THEFTS: dict[str, Callable[[_Life, float], None]] = {
    "key_sweep": _key_sweep,
    "approval_drain": _approval_drain,
    "split_drain": _split_drain,
    "topup_sweep": _topup_sweep,
    "dormant_sweep": _key_sweep,
    "poisoned_payment": _poisoned,
}
_TOKENS_FOR = ("approval_drain", "split_drain", "topup_sweep")


def live(seed: int, days: int, theft: str | None = None, between: tuple[float, float] = (0.0, 0.0)) -> Year:
    """A wallet's year; with a theft that begins between two days, and everything ends two hours after it."""
    r = generator("theft", theft or "", seed)
    start = r.uniform(*between) if theft else 0.0
    sleep = (start - r.uniform(100, 250), start + 1) if theft == "dormant_sweep" else None
    life = _Life(seed, days, 2 if theft in _TOKENS_FOR else 0, sleep)
    _ordinary(life)
    if theft is not None:
        life.plan((start - (1 if sleep is None else 90)) * DAY, lambda t: _fill(life, t, theft in _TOKENS_FOR))
        life.plan(start * DAY, lambda t: THEFTS[theft](life, t))
    year = life.run()
    if theft is not None:
        stolen = [m.at for m in year.moves if m.what == STOLEN]
        if not stolen:
            raise AssertionError(f"nothing to steal: wallet {seed}, {theft}")
        year.moves = [m for m in year.moves if m.at <= stolen[-1] + 2 * HOUR]
    return year


def _fill(life: _Life, at: float, tokens: bool) -> None:
    """Thieves go where something is: what ran empty comes back before the theft, and tokens were used once."""
    for asset, holding in enumerate(life.year.holdings):
        if life.balance[asset] < 0.2 * holding.start:
            life.arrive(at, asset, 0.5 * holding.start, "payer 0")
        if tokens and asset and not any(m.asset == asset and m.what == OUT for m in life.year.moves):
            life.pay(at + HOUR, asset, life.amount(asset, 0.02), f"router {life.router}")
