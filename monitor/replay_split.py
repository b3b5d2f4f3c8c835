"""Rows of a table as flows of wallets, compiled: who pays and who gets, and what each flow is to the fold."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.rows import IN, OUT, SPEND, TOUCH

__all__ = ["split", "to_rows"]


@compiled(nogil=True)
def split(  # type: ignore[no-untyped-def]
    sender, receiver, starter, unknown, amounts, times, fee, nowhere, assets, mine,
    row, out, wallet, other, asset, own, is_fee, touch, counts, ends,
):
    """Flows of rows in chain order; one between two wallets is two, what is paid first.

    Parameters
    ----------
    sender, receiver, starter : int32 (n), wallet of each address, -1 where nobody's is watched
    unknown : bool (n), whether nothing says who started the transaction
    amounts, times : float64 base units, int64 UTC seconds (n)
    fee, nowhere : bool (n), whether it is a fee; whether nobody gets it
    assets : int32 (n)
    mine : bool (wallets), whose flows are wanted
    row, out, wallet, other, asset, own, is_fee, touch : (2 n), columns of `monitor.replay_rows.Accounts`, filled
    counts : int64 (wallets, 2), flows that are no fees, and those of them that are payments; added to
    ends : int64 (wallets, 2), time of the first and last of them; widened

    Returns
    -------
    how many flows there are
    """
    n = 0
    for i in range(len(sender)):
        s, r = sender[i], receiver[i]
        moves = amounts[i] > 0.0
        if s >= 0 and s == r:
            if moves and mine[s]:
                _count(counts, ends, s, times[i], False)
            continue
        calls = not moves and not fee[i] and starter[i] == s and not nowhere[i]  # without value, signed by the wallet
        for side in range(2):
            pays = side == 0
            who, whom = (s, r) if pays else (r, s)
            if who < 0 or not mine[who] or not (moves or (pays and calls)):
                continue
            row[n] = i
            out[n] = pays
            wallet[n] = who
            other[n] = whom
            asset[n] = assets[i]
            own[n] = unknown[i] or starter[i] == who
            is_fee[n] = fee[i]
            touch[n] = not moves
            n += 1
            if moves and not fee[i]:
                _count(counts, ends, who, times[i], pays)
    return n


@compiled()
def _count(counts, ends, wallet, at, pays):  # type: ignore[no-untyped-def]
    counts[wallet, 0] += 1
    if pays:
        counts[wallet, 1] += 1
    ends[wallet, 0] = min(ends[wallet, 0], at)
    ends[wallet, 1] = max(ends[wallet, 1], at)


@compiled(nogil=True)
def to_rows(  # type: ignore[no-untyped-def]
    row, out, wallet, fee, touch, nowhere, times, amounts, places,
    wallets, at, ops, values,
):
    """What flows are to the fold.

    Parameters
    ----------
    row, out, wallet, fee, touch : (m), columns of `monitor.replay_rows.Accounts`
    nowhere, times, amounts : (n), of the rows that they are of
    places : int32 (wallets), fusion record of each wallet
    wallets, at, ops, values : (m), columns of `monitor.rows.FlowRows`, filled
    """
    for i in range(len(row)):
        r = row[i]
        wallets[i] = places[wallet[i]]
        at[i] = times[r]
        values[i] = amounts[r]
        if touch[i]:
            ops[i] = TOUCH
        elif not out[i]:
            ops[i] = IN
        else:
            ops[i] = SPEND if fee[i] or nowhere[r] else OUT
