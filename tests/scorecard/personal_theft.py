"""Thefts from simulated personal wallets, and a wallet's year with or without one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.scorecard.personal import LISTED, MINUTE, OUT, OWN, STOLEN, Living, Year, ordinary
from tests.scorecard.world import DAY, HOUR, generator

__all__ = ["THEFTS", "live"]


def _key_sweep(life: Living, at: float) -> None:
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


def _steal(life: Living, at: float, asset: int, share: float, thief: int, **more: object) -> None:
    life.pay(at, asset, life.amount(asset, share), f"thief {thief}", STOLEN, **more)  # type: ignore[arg-type]


def _moved_tokens(life: Living) -> list[int]:
    """Tokens that the owner himself moved before, or that the configuration lists; largest first."""
    moved = {m.asset for m in life.year.moves if m.what == OUT and m.signer == OWN}
    known = [a for a in range(1, len(life.balance)) if a in moved or life.year.holdings[a].token < LISTED]
    return _largest(life, [a for a in known if life.balance[a] > 0])


def _largest(life: Living, assets: list[int]) -> list[int]:
    return sorted(assets, key=lambda a: -life.balance[a] * life.year.holdings[a].price)


def _approval_drain(life: Living, at: float) -> None:
    """Up to three approved tokens, moved by the thief's own transactions, to one fresh address or one each."""
    one = life.r.random() < 0.5
    for n, asset in enumerate(_moved_tokens(life)[:3]):
        look = life.begin("token", at, "thief contract")
        _steal(life, at, asset, life.r.uniform(0.95, 1.0), 0 if one else n, look=look)
        at += life.r.uniform(12, 100)


def _split_drain(life: Living, at: float) -> None:
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


def _topup_sweep(life: Living, at: float) -> None:
    """A stranger pays for the fees, then the owner's key sends the tokens away within twenty minutes."""
    r = life.r
    life.arrive(at - r.uniform(1, 10) * MINUTE, 0, 5_000, "thief funder")
    tokens = _largest(life, [a for a in range(1, len(life.balance)) if life.balance[a] > 0])
    odd = bool(r.random() < 0.5)
    for asset in tokens[:7]:
        _steal(life, at, asset, 1.0, 0, odd=odd)
        at += r.uniform(12, 80)


def _poisoned(life: Living, at: float) -> None:
    """The owner himself pays 30 to 90 % of an asset to a look-alike of somebody he pays."""
    asset = life.any_asset()
    if asset is not None:
        value = life.amount(asset, life.r.uniform(0.3, 0.9))
        life.pay(at, asset, value, f"alike {life.known[0]}", STOLEN)


THEFTS: dict[str, Callable[[Living, float], None]] = {
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
    life = Living(seed, days, 2 if theft in _TOKENS_FOR else 0, sleep)
    ordinary(life)
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


def _fill(life: Living, at: float, tokens: bool) -> None:
    """Thieves go where something is: what ran empty comes back before the theft, and tokens were used once."""
    for asset, holding in enumerate(life.year.holdings):
        if life.balance[asset] < 0.2 * holding.start:
            life.arrive(at, asset, 0.5 * holding.start, "payer 0")
        if tokens and asset and not any(m.asset == asset and m.what == OUT for m in life.year.moves):
            life.pay(at + HOUR, asset, life.amount(asset, 0.02), f"router {life.router}")
