"""Incidents in plain words: what was seen against what is usual, what would clear it, what to do next."""

from __future__ import annotations

import shlex

from monitor.assets import AssetNames
from monitor.explain_control import CLEARED, advice, also, announcement, headline, is_control
from monitor.explain_pending import UNCONFIRMED, gone, leaving, waits
from monitor.findings import THEFTS_PER_MONTH, span, title_of
from monitor.ids import iso
from monitor.model import UNEXPLAINED, Incident, Severity, Status
from monitor.returns import is_returned
from monitor.signals import is_signal

__all__ = ["body", "commands", "explain", "title"]

SURE = 0.99  # no chance is worded beyond
LONGEST_PERIOD_DAYS = 1095.0  # "about once in N" is never worded beyond three years


def title(incident: Incident, names: AssetNames) -> str:
    """One line: severity, entity, what left."""
    if incident.status is Status.RETRACTED:
        return f"RETRACTED: {incident.entity}: {gone(incident)}"
    lost = ", ".join(names.display(asset, value) for asset, value in incident.lost[:3])
    more = f" and {len(incident.lost) - 3} more" if len(incident.lost) > 3 else ""
    control = headline(incident.findings)
    what = control or "abnormal outflow"
    if lost:
        what = f"{lost}{more} {leaving(incident)} to suspects{', after a change of control' if control else ''}"
    if is_returned(dict(incident.lost), dict(incident.returned)):
        what += ", and returned"
    before = f"{UNCONFIRMED}: " if incident.unconfirmed else ""
    return f"{before}{str(incident.severity).upper()}: {incident.entity}: {what}"


def _worth(incident: Incident, names: AssetNames) -> list[str]:
    """What was lost in US dollars, where anybody told a price, and what has none."""
    if incident.lost_usd is None:
        return []
    priced = dict(incident.worth)
    left_out = [names.info(asset).symbol for asset, _ in incident.lost if asset not in priced]
    more = f", without {', '.join(left_out[:5])}{' and others' if len(left_out) > 5 else ''} (no price)"
    return [f"Worth about ${incident.lost_usd:,.0f} as of the blocks{more if left_out else ''}."]


def explain(incident: Incident, names: AssetNames) -> tuple[str, ...]:
    """Lines for people; the first says the most."""
    lines: list[str] = []
    if not incident.findings:
        return ()
    first = max(incident.findings, key=lambda f: ("replaced_by" not in f.evidence, f.severity, f.score, -f.at))
    lines.append(f"{title_of(first)}: {first.summary}.")
    lines += waits(incident)
    lines += also(incident, first)
    lines += advice(incident)
    against = first.evidence.get("against_usual") or ()
    if against:
        lines.append(f"At the same time, of the typical balance: {'; '.join(against)}.")
    if incident.share_lost is not None and incident.lost:
        verb = "would go" if incident.unconfirmed else "has gone"
        lines.append(f"{incident.share_lost * 100:.1f} % of the balance before the incident {verb} to suspects.")
    lines += _worth(incident, names)
    lines += _returned(incident, names)
    period = incident.return_period_days
    if period is not None:
        shown = min(period, LONGEST_PERIOD_DAYS)
        rarer = "rarer than once" if period > LONGEST_PERIOD_DAYS else "about once"
        lines.append(f"For this wallet this is {rarer} in {span(shown * 86400)}.")
    elif any(f.evidence.get("guard_rail") for f in incident.findings):
        lines.append("The guard rail fired: it needs no history and says nothing of how rare this is.")
    if all(map(is_signal, incident.findings)):
        lines.append(
            "Each payment alone is under its threshold; that several wallets or chains come so close to theirs "
            "within two hours is rare."
        )
    chance = max((f.evidence.get("chance_of_theft") or 0.0 for f in incident.findings), default=0.0)
    if chance:
        lines.append(
            f"Chance that it is a theft: {_chance(chance)}, if one wallet in {1 / (THEFTS_PER_MONTH * 12):.0f} is "
            "robbed a year and every theft shows as much."
        )
    chains = sorted({f.chain for f in incident.findings})
    if len(chains) > 1:
        lines.append(f"Evidence on {len(chains)} chains: {', '.join(chains)}.")
    missing = {text.partition(":")[0]: text for f in incident.findings for text in f.evidence.get("missing", ())}
    if missing:
        lines.append(f"Evidence that was missing: {'; '.join(missing.values())}.")
    if all(map(is_control, incident.findings)) and not incident.lost:
        lines.append(CLEARED)
    elif not is_returned(dict(incident.lost), dict(incident.returned)):
        lines.append(
            "It would be cleared by: the owner knows the destination (a new cold address, a large customer), "
            "or the funds return."
        )
    return tuple(lines)


def _chance(chance: float) -> str:
    return f"{chance * 100:.1f} %" if chance <= SURE else f"over {SURE * 100:.0f} %"


def _returned(incident: Incident, names: AssetNames) -> list[str]:
    """What came back, where anything did."""
    if not incident.returned:
        return []
    lost, returned = dict(incident.lost), dict(incident.returned)
    parts = [
        f"{names.display(asset, value)} of {names.display(asset, lost[asset])} ({_percent(value, lost[asset])} %)"
        for asset, value in incident.returned[:3]
    ]
    more = f" and of {len(returned) - 3} more assets" if len(returned) > 3 else ""
    if is_returned(lost, returned):
        return [f"The funds came back from the suspects: {', '.join(parts)}{more}."]
    return [
        f"In part returned by the suspects: {', '.join(parts)}{more}. "
        "The incident counts as returned once 90 % of every lost asset is back."
    ]


def _percent(part: int, whole: int) -> str:
    """Rounded down: nothing is called whole that is not."""
    tenths = part * 1000 // whole if whole else 0
    return f"{tenths // 10}.{tenths % 10}"


def commands(incident: Incident, config: str = "") -> tuple[str, ...]:
    """Exact commands to confirm, dismiss or trust; ``config`` is the path of the configuration."""
    option = f" -c {shlex.quote(config)}" if config else ""
    lines = [
        f"heistwatch incidents confirm {incident.id}{option}       # it is a theft",
        f"heistwatch incidents false-alarm {incident.id}{option}   # it is not",
    ]
    lines += announcement(incident)
    suspects = [(chain, address) for chain, address in incident.suspects if address != UNEXPLAINED]
    if suspects and not all(map(is_control, incident.findings)):
        chain, address = suspects[0]
        entry = f'trusted: ["{chain}:{address}"]'
        lines.append(f"to trust the destination, add to the wallet in the configuration: {entry}")
    return tuple(lines)


def body(incident: Incident, names: AssetNames, config: str = "") -> str:
    """The message below the title."""
    lines = [*(incident.explanation or explain(incident, names)), ""]
    lines.append(f"opened {iso(incident.opened_at)} in block {incident.opened_block} of {incident.opened_chain}")
    lines.append(f"wallets: {', '.join(incident.wallets)}")
    for chain, address in incident.suspects[:5]:
        lines.append(f"suspect: {address} on {chain}")
    if len(incident.suspects) > 5:
        lines.append(f"and {len(incident.suspects) - 5} more suspects")
    if incident.status is not Status.RETRACTED:
        lines += ["", *commands(incident, config)]
    return "\n".join(lines)


def runbook(severity: Severity, *, over: bool = False) -> str:
    """What to do first; ``over``: the incident was resolved or retracted."""
    if over:
        return "Nothing more for this alarm: what was stopped because of it may go on, once its owner agrees."
    if severity >= Severity.HIGH:
        return (
            "Stop withdrawals from the wallet; move what is left to cold storage with keys that were never on the "
            "same machine; tell the exchanges and issuers that can freeze; then read the explanation."
        )
    return "Ask whoever runs the wallet whether the payment is theirs; confirm or dismiss the incident."
