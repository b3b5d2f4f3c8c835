"""Detectors of one's own: copy this file, change it, and try it on history.

    heistwatch detectors --detectors config/detectors/example.py
    heistwatch backtest heistwatch.yaml --data history/ --detectors config/detectors/example.py

`detectors: [detectors/example.py]` in a configuration takes them into `watch`, `calibrate` and every backtest. A wallet
sets their parameters as those of built-in ones: `detectors: {NIGHT-1: {share: 0.1}, PACE-1: {enabled: false}}`.
"""

from __future__ import annotations

from monitor.model import ControlEvent, Flow
from monitor.own import Said, View, detector


@detector("NIGHT-1", "Large payment at night", parameters={"share": (0.05, 0, 1, "share of the balance")})
def night(flow: Flow, view: View) -> Said:
    """An unexpected payment of more than 5 % of the balance between midnight and five o'clock UTC."""
    if view.time.hour < 5 and not view.expected and view.share is not None and view.share > view.number("share"):
        return "high", f"{view.amount} left at night"
    return None


@detector(
    "PACE-1",
    "Many addresses in a short time",
    roles=("hot", "treasury", "personal"),
    parameters={
        "addresses": (8, 2, 200, "unexpected addresses that were paid within the window"),
        "minutes": (10, 1, 1440, "length of the window"),
    },
    misses="A thief who takes all at once, or who is patient.",
    lookalikes="A batch of withdrawals: trust its addresses, or raise the number.",
)
def pace(flow: Flow, view: View) -> Said:
    """Eight unexpected addresses that are paid within ten minutes."""
    if view.expected:
        return None
    since = view.at - 60 * view.number("minutes")
    paid = {address: at for address, at in view.memory.get("paid", {}).items() if at > since}
    paid[flow.counterparty] = view.at
    view.memory["paid"] = paid  # kept and undone with the block; nowhere else may a detector remember anything
    if len(paid) < view.number("addresses"):
        return None
    text = f"{len(paid)} addresses were paid within {view.number('minutes')} minutes"
    return "medium", text, {"addresses": len(paid)}


@detector("GRANT-1", "Somebody may spend coins of a treasury", roles="treasury", sees="controls")
def grant(event: ControlEvent, view: View) -> Said:
    """An approval of a treasury, whoever gets it."""
    if event.kind == "approval" and event.detail.get("value") != "0":
        return "medium", f"{event.subject} may spend coins of {event.account}"
    return None
