"""What is not mined yet, in plain words: that it waits, that a race is on, why it never happened. Pure."""

from __future__ import annotations

from monitor.model import Finding, Incident, Status

__all__ = ["UNCONFIRMED", "gone", "leaving", "waits"]

UNCONFIRMED = "Unconfirmed"
MOST_LINES = 5
_BY_NONCE = "of the same sender and nonce that pays more for gas"


def gone(incident: Incident) -> str:
    """Why nothing is left of an incident, in few words."""
    if incident.unconfirmed:
        return "the transactions were never mined as they were seen"
    return "the transactions are no longer part of the chain"


def leaving(incident: Incident) -> str:
    """What coins do that went to suspects, or are about to."""
    return "about to go" if incident.unconfirmed else "sent"


def waits(incident: Incident) -> list[str]:
    """Lines about what waits to be mined; of a retracted incident about why it did not happen."""
    pending = [f for f in incident.findings if f.evidence.get("pending")]
    if not pending:
        return []
    if incident.status is Status.RETRACTED:
        reasons = dict.fromkeys(f"{f.tx}: {f.evidence['gone']}" for f in pending if "gone" in f.evidence)
        return [f"Transaction {reason}." for reason in list(reasons)[:MOST_LINES]]
    lines = []
    if incident.unconfirmed:
        rival = "that spends the same coins at a higher fee" if all(map(_spends_coins, pending)) else _BY_NONCE
        lines.append(
            "Not yet confirmed: the transaction waits to be mined. Until it is, it may still be dropped, or replaced "
            f"by another one {rival}."
        )
    else:
        said = "Not yet confirmed, and not counted as lost"
        lines += [f"{said}: {f.summary} (transaction {f.tx})." for f in pending[:MOST_LINES]]
        if len(pending) > MOST_LINES:
            lines.append(f"And {len(pending) - MOST_LINES} more that are not yet confirmed.")
    return [*lines, *_races(pending), *_signs(pending)]


def _races(pending: list[Finding]) -> list[str]:
    """Transactions that compete for one nonce, or for the same coins."""
    pairs: dict[tuple[str, str], bool] = {}
    for f in pending:
        if (other := f.evidence.get("replaced_by")) is not None:
            pairs[f.tx, str(other)] = _spends_coins(f)
        for rival in f.evidence.get("replaces", ()):
            pairs[str(rival), f.tx] = _spends_coins(f)
    return [
        f"A race is on: {new} spends the coins of {old} at a higher fee; only one of them can be mined."
        if coins
        else f"A race is on: {new} takes the nonce of {old} and pays more for gas; only one of them can be mined."
        for (old, new), coins in list(pairs.items())[:MOST_LINES]
    ]


def _spends_coins(finding: Finding) -> bool:
    return finding.chain.startswith("bip122:")


def _signs(pending: list[Finding]) -> list[str]:
    lines = []
    gap = max((int(f.evidence.get("nonce_gap", 0)) for f in pending), default=0)
    if gap:
        lines.append(f"It skips {gap} nonce{'s' if gap > 1 else ''} of its sender: it cannot be mined before they are.")
    if any(f.evidence.get("replaceable") for f in pending):
        lines.append("It may be replaced by its own word (BIP 125): who holds the keys can still outbid it.")
    parents = dict.fromkeys(str(one) for f in pending for one in f.evidence.get("unconfirmed_parents", ()))
    if parents:
        lines.append(f"It spends coins of {', '.join(list(parents)[:MOST_LINES])}, not mined either.")
    times = max((float(f.evidence.get("fee_times_usual", 0.0)) for f in pending), default=0.0)
    if times:
        lines.append(f"It offers {times:.0f} times the wallet's usual fee, more than nearly all of its own payments.")
    return lines
