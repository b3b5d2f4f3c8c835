"""Generated ordinary traffic: seeded, within its stated limits, never overdrawing a wallet."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise

import pytest

from monitor.background import DAY, HOUR, Hot, Occasional, Payment, Storage, Traffic, generate
from monitor.networks import NETWORKS

START = 1_500_000_000 - 1_500_000_000 % DAY
BALANCE = 5 * 10**14
HOT = Hot("hot", per_day=150.0)
GOLDEN = Payment(at=1499991654, out=True, counterparty="customer 0", value=160900000000)
GOLDEN_COUNT = 5240
BUSY = Hot("hot", per_day=20.0, turnover=0.3, cap=0.05, hour_cap=0.1)
KINDS = [HOT, BUSY, Occasional("personal"), Storage("storage")]


def made(traffic: Traffic, seed: str = "s", days: int = 30, balance: int = BALANCE) -> tuple[Payment, ...]:
    return generate(traffic, seed, START, START + days * DAY, balance, lambda n: f"customer {n}")


def outs(payments: tuple[Payment, ...]) -> list[Payment]:
    return [p for p in payments if p.out]


@pytest.mark.parametrize("traffic", KINDS)
def test_the_same_seed_gives_the_same_payments(traffic: Traffic) -> None:
    """Equal seeds give equal payments, another seed gives others."""
    assert made(traffic) == made(traffic)
    assert made(traffic) != made(traffic, "other")


def test_payments_are_the_same_on_every_machine() -> None:
    """A golden value: the generator does not change by accident."""
    assert made(HOT)[0] == GOLDEN
    assert len(made(HOT)) == GOLDEN_COUNT


@pytest.mark.parametrize("traffic", KINDS)
@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_a_wallet_is_never_overdrawn_and_time_never_runs_back(traffic: Traffic, seed: str) -> None:
    """The balance stays positive, payments are in order and inside the period, amounts are positive."""
    balance = BALANCE
    payments = made(traffic, seed, 60)
    for payment in payments:
        balance += -payment.value if payment.out else payment.value
        assert payment.value > 0 and balance > 0
        assert START <= payment.at < START + 60 * DAY
    assert all(a.at <= b.at for a, b in pairwise(payments))


@pytest.mark.parametrize("traffic", KINDS[:3])
@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_no_payment_and_no_hour_is_above_its_cap(traffic: Hot | Occasional, seed: str) -> None:
    """The policy caps are hard."""
    payments = outs(made(traffic, seed, 60))
    assert payments
    hour: deque[Payment] = deque()
    for payment in payments:
        hour.append(payment)
        while hour[0].at <= payment.at - HOUR:
            hour.popleft()
        assert payment.value <= traffic.cap * BALANCE
        assert sum(p.value for p in hour) <= traffic.hour_cap * BALANCE


def test_a_cap_really_bites() -> None:
    """Without the cap there are larger payments: the limit above is not met by chance."""
    wide = Hot("hot", per_day=150.0, cap=0.5, hour_cap=0.5)
    assert max(p.value for p in outs(made(wide))) > HOT.cap * BALANCE


def test_deposits_keep_the_balance_of_a_hot_wallet_near_its_target() -> None:
    """After any day of two months the balance is within a fifth of its target."""
    balance = BALANCE
    for payment in made(HOT, "near", 60):
        balance += -payment.value if payment.out else payment.value
        assert 0.8 * BALANCE < balance < 1.2 * BALANCE


def test_a_hot_wallet_has_a_daily_rhythm_and_its_stated_rate() -> None:
    """About ``per_day`` withdrawals a day, more at the peak hour than opposite; the stated turnover."""
    payments = outs(made(HOT, "rhythm", 60))
    hours = Counter(p.at // HOUR % 24 for p in payments)
    assert len(payments) / 60 == pytest.approx(HOT.per_day, rel=0.1)
    assert sum(hours[h] for h in (11, 12, 13)) > 1.5 * sum(hours[h] for h in (23, 0, 1))
    assert sum(p.value for p in payments) / 60 == pytest.approx(HOT.turnover * BALANCE, rel=0.15)


def test_customers_of_a_hot_wallet_come_back() -> None:
    """About ``new_share`` of the withdrawals go to new addresses, the rest to known ones."""
    payments = outs(made(HOT, "customers", 60))
    assert len({p.counterparty for p in payments}) / len(payments) == pytest.approx(HOT.new_share, abs=0.06)


def test_a_person_pays_a_handful_of_people() -> None:
    """A personal wallet makes a few small payments a month, to its few counterparties."""
    traffic = Occasional("personal", per_month=8.0, counterparties=4)
    payments = outs(made(traffic, "person", 300))
    assert 50 < len(payments) < 110
    assert len({p.counterparty for p in payments}) == 4


def test_nothing_leaves_storage() -> None:
    """Storage gets deposits only."""
    payments = made(Storage("storage"), days=90)
    assert payments and not outs(payments)


def test_small_balances_are_paid_in_whole_base_units() -> None:
    """A balance of a few base units gives no fractions and no payment of nothing."""
    assert all(p.value >= 1 for p in made(Hot("hot", cap=0.5, hour_cap=1.0), balance=50))


def test_every_network_has_decimals_for_amounts() -> None:
    """Amounts keep six digits of the balance on every network: the unit divides them."""
    for network in NETWORKS:
        balance = 1000 * 10**network.decimals
        unit = 10 ** (len(str(balance)) - 7)
        assert all(p.value % unit == 0 for p in made(HOT, days=2, balance=balance))
