"""From hits to findings: which detector speaks, how severe it is, and what people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.detectors import DETECTORS
from monitor.detectors.pw4 import SPLITS, WITHIN
from monitor.engine import SIGNAL, Hit
from monitor.features.dtypes import CHANNELS, STATISTICS
from monitor.features.maths import exp10
from monitor.fusion import FAST, OF_CHANNEL
from monitor.ids import finding_id
from monitor.look import BLIND_INPUTS, ODD, has_unknown_inputs, made_by, unlike
from monitor.model import UNEXPLAINED, Finding, Flow, Movement, Severity
from monitor.policies import POLICIES
from monitor.rows import BAD, EXCHANGE, SERVICE, UNLABELLED
from monitor.signals import UNDER

__all__ = [
    "MEDIUM_DAYS",
    "SAYS",
    "bare_findings",
    "finding_of",
    "is_news",
    "movement_of",
    "severity_of",
    "span",
    "title_of",
    "with_blind_spots",
]

MEDIUM_DAYS, HIGH_DAYS, CRITICAL_DAYS = 365.0, 3650.0, 10950.0
CRITICAL_GONE = 0.60
GUARD_BIT = 8
SHORT_DAYS = 14
STANDS_OUT = 1.0  # -log10 of the share of days on which a statistic shows as much
_LABELLED = {UNLABELLED: None, BAD: "mixer or known bad", SERVICE: "bridge or swap", EXCHANGE: "exchange"}
_OF_STATISTIC = {
    "single": "HW-1", "dest_1h": "HW-2", "dest_24h": "HW-2", "again_1h": "HW-2", "again_24h": "HW-2",
    "again_10d": "HW-2", "total_10m": "HW-3", "total_1h": "HW-3", "total_6h": "HW-3", "total_24h": "HW-3",
    "fresh_1h": "HW-3",
}  # fmt: skip
THEFTS_PER_MONTH = 0.004  # stated prior: thefts a wallet and month
SAYS = {
    "single": "in one payment",
    "dest_1h": "to one address within an hour",
    "dest_24h": "to one address within a day",
    "total_10m": "to unfamiliar addresses within ten minutes",
    "total_1h": "to unfamiliar addresses within an hour",
    "total_6h": "to unfamiliar addresses within six hours",
    "total_24h": "to unfamiliar addresses within a day",
    "fresh_1h": "to addresses first paid within a day, within an hour",
    "again_1h": "to one address beyond its largest payment, within an hour",
    "again_24h": "in repeated payments to the same addresses, within a day",
    "again_10d": "to one address beyond its largest payment, within ten days",
}
_IN_SHARES = np.isin(np.arange(len(STATISTICS)), (STATISTICS.index("single"), STATISTICS.index("dest_1h")))
TITLES = {detector.id: detector.title for detector in (*DETECTORS, *POLICIES)}


def title_of(finding: Finding) -> str:
    """What the detector of a finding is called; detectors of the user's own say it in their evidence."""
    return TITLES.get(finding.detector) or str(finding.evidence.get("title") or finding.detector)


def severity_of(return_days: float, *, statistical: bool, guard: bool, gone: float) -> Severity:
    """Severity by rarity: ``low`` at the budget, ``medium`` once a year, ``high`` once in ten, ``critical`` in thirty.

    The guard rail is ``high``, and ``critical`` with at least 60 % of the balance gone.
    """
    severity = Severity.INFO
    if statistical:
        severity = Severity.LOW
        for days, level in (
            (MEDIUM_DAYS, Severity.MEDIUM),
            (HIGH_DAYS, Severity.HIGH),
            (CRITICAL_DAYS, Severity.CRITICAL),
        ):
            if return_days >= days:
                severity = level
    if guard:
        severity = max(severity, Severity.CRITICAL if gone >= CRITICAL_GONE else Severity.HIGH)
    return severity


def finding_of(hit: Hit, names: AssetNames) -> Finding:
    """The finding of a hit that fired; of one close under its threshold, a signal (see `monitor.signals`)."""
    r, flow = hit.record, hit.flow
    fired = int(r["fired"])
    channels = [c for c in range(len(CHANNELS)) if fired & (1 << c)]
    guard = bool(fired & GUARD_BIT)
    gone = float(r["gone"])
    severity = severity_of(float(r["return_days"]), statistical=bool(channels), guard=guard, gone=gone)
    top = _top_statistic(hit, channels)
    under = int(r["kind"]) == SIGNAL
    detector = _detector_of(r, top) if channels or under else "GUARD"
    score = max((float(r["score"][c] - r["tau"][c]) for c in channels), default=0.0)
    evidence = _evidence(hit, top, names, guard=guard)
    if under:
        score = min(0.0, float((r["score"][FAST] - r["tau"][FAST]) / r["width"][FAST]))
        evidence[UNDER] = round(-score, 6)
    period = float(r["return_days"]) if channels else None
    summary = _summary(hit, top, names, guard=guard)
    return _finding(flow, detector, severity, score, period, under=under, evidence=evidence, summary=summary)


def bare_findings(
    flows: Sequence[Flow],
    records: NDArray[np.void],
    said: Sequence[dict[tuple[str, int], Finding]],
    scored: Sequence[bool],
) -> list[Finding]:
    """Findings without what people read, all at once: for counting incidents, when there are very many.

    Parameters
    ----------
    flows, records : of hits that fired or are signals, shape (n,)
    said : of each flow, what was said of it before by (detector, severity): then that is given, not an equal one
    scored : whether the score matters: others get the score 0, and no period
    """
    fired, days = records["fired"].tolist(), records["return_days"].tolist()
    under, gone = (records["kind"] == SIGNAL).tolist(), records["gone"].tolist()
    bits = (records["fired"][:, None] >> np.arange(len(CHANNELS))) & 1
    above = records["score"] - records["tau"]
    deficit = (above[:, FAST] / records["width"][:, FAST]).tolist()
    asked = np.where(bits.any(axis=1, keepdims=True), bits, np.arange(len(CHANNELS)) == FAST) == 1
    judged = np.where((records["personal"] == 1)[:, None], _IN_SHARES, asked[:, np.array(OF_CHANNEL)])
    top = np.where(judged, records["z"], -np.inf).argmax(axis=1).tolist()
    personal = (records["personal"] == 1).tolist()
    scores = np.where(bits.any(axis=1), np.where(bits == 1, above, -np.inf).max(axis=1), 0.0).tolist()
    found = []
    for n, (flow, known) in enumerate(zip(flows, said, strict=True)):
        statistical, guard = bool(fired[n] & ~GUARD_BIT), bool(fired[n] & GUARD_BIT)
        severity = severity_of(days[n], statistical=statistical, guard=guard, gone=gone[n])
        if not (statistical or under[n]):
            detector = "GUARD"
        else:
            detector = _detector_of(records[n], top[n]) if personal[n] else _OF_STATISTIC[STATISTICS[top[n]]]
        if under[n]:
            score = min(0.0, deficit[n])
            evidence = {UNDER: round(-score, 6)}
            found.append(_finding(flow, detector, severity, score, None, under=True, evidence=evidence))
            continue
        if scored[n]:
            found.append(_finding(flow, detector, severity, scores[n], None, under=False, evidence={}))
            continue
        if (detector, severity) not in known:
            known[detector, severity] = _finding(flow, detector, severity, 0.0, None, under=False, evidence={})
        found.append(known[detector, severity])
    return found


def _finding(
    flow: Flow,
    detector: str,
    severity: Severity,
    score: float,
    period: float | None,
    *,
    under: bool,
    evidence: dict[str, Any],
    summary: str = "",
) -> Finding:
    """The finding about a payment; ``period`` in days."""
    transfer = flow.transfer
    return Finding(
        id=finding_id(detector, flow.wallet, transfer.tx.hash, transfer.asset, flow.counterparty),
        detector=detector,
        wallet=flow.wallet,
        chain=transfer.block.chain,
        severity=severity,
        score=score,
        summary=summary,
        tx=transfer.tx.hash,
        at=flow.timestamp,
        block_number=transfer.block.number,
        index=transfer.index,
        asset=transfer.asset,
        destination=flow.counterparty,
        value=flow.value,
        return_period_days=period,
        budget_exceeded=not under,
        evidence=evidence,
    )


def with_blind_spots(finding: Finding, blind_spots: Sequence[str]) -> Finding:
    """A statistical finding that also names what its block could not show; others rest on what they name alone."""
    if not blind_spots or "missing" not in finding.evidence:
        return finding
    missing = list(dict.fromkeys([*finding.evidence["missing"], *blind_spots]))
    return replace(finding, evidence={**finding.evidence, "missing": missing})


def is_news(hit: Hit) -> bool:
    """Whether a hit is a finding or a signal, and not just a payment to a suspect."""
    return hit.fired or int(hit.record["kind"]) == SIGNAL


def movement_of(hit: Hit) -> Movement:
    """The exact amount behind a hit."""
    flow = hit.flow
    transfer = flow.transfer
    return Movement(
        wallet=flow.wallet,
        chain=transfer.block.chain,
        asset=transfer.asset,
        counterparty=flow.counterparty,
        value=flow.value,
        at=flow.timestamp,
        tx=transfer.tx.hash,
        index=transfer.index,
        block_number=transfer.block.number,
    )


def _top_statistic(hit: Hit, channels: list[int]) -> int:
    if hit.record["personal"]:  # signs decide there; these are in shares that people understand
        places = [STATISTICS.index("single"), STATISTICS.index("dest_1h")]
    else:
        places = [k for k in range(len(STATISTICS)) if OF_CHANNEL[k] in (channels or (FAST,))]
    return max(places, key=lambda k: (float(hit.record["z"][k]), -k))


def _detector_of(r: Any, top: int) -> str:
    """Who speaks: in personal wallets the strongest sign, else the strongest statistic."""
    if not r["personal"]:
        return _OF_STATISTIC[STATISTICS[top]]
    signs = (
        ("PW-4", _is_split(r)), ("PW-3", bool(r["foreign"])), ("PW-2", _is_empty(r) or r["others"] > 0),
        ("PW-9", r["topup"] >= 0), ("PW-7", float(r["idle"]) > 90 * 86400),
    )  # fmt: skip
    return next((name for name, seen in signs if seen), "PW-1")


def _is_split(r: Any) -> bool:
    return any(abs(float(r["split"]) - share) <= WITHIN for share in SPLITS)


def _is_empty(r: Any) -> bool:
    return float(r["drain"]) < 0.05


def _chance_of_theft(return_days: float) -> float:
    """Chance that a finding this rare is a theft, given `THEFTS_PER_MONTH` and that any theft would show as much.

    >>> _chance_of_theft(30.0), _chance_of_theft(3650.0)
    (0.004, 0.327)
    """
    return round(THEFTS_PER_MONTH / (THEFTS_PER_MONTH + 30.0 / max(return_days, 1e-9)), 3)


def _missing(hit: Hit) -> list[str]:
    """Evidence that this finding had to do without."""
    tx = hit.flow.transfer.tx
    missing = []
    if not bool(hit.record["warm"]):
        missing.append("history: the wallet is still learning, only the guard rail judges it")
    elif int(hit.record["days"]) < SHORT_DAYS:
        days = int(hit.record["days"])
        known = f"{days} active day{'' if days == 1 else 's'}"
        missing.append(f"long history: {known}, the rest is what wallets in general do")
    if hit.flow.transfer.block.chain.startswith("bip122:"):  # who spends coins signs
        missing += [BLIND_INPUTS] if has_unknown_inputs(hit.flow) else []
        return missing if tx.fee_rate is not None or tx.version is not None else [*missing, "fee rate and version"]
    if tx.initiator is None:
        missing.append("who signed")
    if tx.fee_rate is None and tx.gas_limit is None and tx.nonce is None and tx.version is None:
        missing.append("fee, nonce and gas limit")
    return missing


def _share(log_share: float) -> float:
    return float(exp10(log_share))


def _evidence(hit: Hit, top: int, names: AssetNames, *, guard: bool) -> dict[str, Any]:
    r = hit.record
    return {
        "statistic": STATISTICS[top],
        "share_of_typical": round(_share(float(r["x"][top])), 6),
        "usual_daily_maximum": round(_share(float(r["u"][top])), 6),
        "against_usual": _against_usual(r, top),
        "share_of_balance": round(float(r["share"]), 6),
        "gone_in_last_hour": round(float(r["gone"]), 6),
        "left_of_recent_peak": round(float(r["drain"]), 6),
        "balance_after": float(r["balance"]),
        "typical_balance": float(r["typical"]),
        "destination_age_seconds": int(r["age"]),
        "probe_seconds_before": int(r["probe"]) if r["probe"] >= 0 else None,
        "other_assets": int(r["others"]),
        "assets_swept": int(r["swept"]),
        "unlike_own_transactions": round(float(r["odd"]), 3),
        "unlike": unlike(hit.flow, r, names) if float(r["odd"]) >= ODD else [],
        "idle_seconds": int(r["idle"]) if r["idle"] >= 0 else None,
        "fees_topped_up_seconds_before": int(r["topup"]) if r["topup"] >= 0 else None,
        "destination_label": _LABELLED[int(r["kind_of"])],
        "signed_by_another": bool(r["foreign"]),
        "chance_of_theft": _chance_of_theft(float(r["return_days"])) if int(r["fired"]) & ~GUARD_BIT else None,
        "missing": _missing(hit),
        "active_days_known": int(r["days"]),
        "learning": not bool(r["warm"]),
        "guard_rail": guard,
    }


def span(seconds: float) -> str:
    """A span of time for people.

    >>> span(150), span(7200), span(0)
    ('2 minutes', '2 hours', 'a moment')
    """
    for size, word in ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            n = int(seconds // size)
            return f"{n} {word}{'s' if n > 1 else ''}"
    return "a moment"


def _summary(hit: Hit, top: int, names: AssetNames, *, guard: bool) -> str:
    r, flow = hit.record, hit.flow
    amount = names.display(flow.transfer.asset, flow.value)
    statistic = STATISTICS[top]
    age = float(r["age"])
    familiar = "an address first paid just now" if age <= 0 else f"an address first paid {span(age)} before"
    if flow.counterparty == UNEXPLAINED:
        familiar = "an unknown place (the balance fell, and no transfer that was read says why)"
    parts = [f"{amount} to {familiar}"]
    parts.append(f"{_percent(_share(float(r['x'][top])))} of the typical balance {SAYS[statistic]}")
    if bool(r["warm"]):
        parts.append(f"usual daily maximum {_percent(_share(float(r['u'][top])))}")
    if guard:
        parts.append("guard rail exceeded")
    if r["probe"] >= 0:
        parts.append(f"a tiny test payment came {span(float(r['probe']))} before")
    if r["others"] > 0:
        parts.append(f"{int(r['others'])} other asset(s) of the wallet moved within two hours")
    parts += [text for seen, text in _signs(r) if seen]
    parts += made_by(flow, r, names)
    return "; ".join(parts)


def _signs(r: Any) -> list[tuple[bool, str]]:
    kind = _LABELLED[int(r["kind_of"])]
    part = round(float(r["split"]) * 100)
    return [
        (float(r["swept"]) >= 3, f"{int(r['swept'])} assets went to this address within ten minutes"),
        (kind is not None, f"the destination is labelled: {kind}"),
        (bool(r["foreign"]), "another account's transaction moved it"),
        (_is_split(r), f"it left in two parts at once, {part} to {100 - part}, as a thief shares with his supplier"),
        (_is_empty(r), "less than 5 % of its recent peak is left"),
        (float(r["topup"]) >= 0, f"a stranger paid for the fees {span(max(0.0, float(r['topup'])))} before"),
        (float(r["idle"]) > 90 * 86400, f"the wallet had paid nobody for {span(max(0.0, float(r['idle'])))}"),
    ]


def _against_usual(r: Any, top: int) -> list[str]:
    """The next two statistics that stand out most, in words; none while nothing is usual yet, or where none does."""
    if not bool(r["warm"]) or bool(r["personal"]):
        return []
    others = sorted((k for k in range(len(STATISTICS)) if k != top), key=lambda k: (-float(r["z"][k]), k))
    return [
        f"{_percent(_share(float(r['x'][k])))} {SAYS[STATISTICS[k]]} (usual daily maximum "
        f"{_percent(_share(float(r['u'][k])))})"
        for k in others[:2]
        if float(r["z"][k]) > STANDS_OUT
    ]


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"
