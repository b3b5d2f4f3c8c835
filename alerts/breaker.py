"""The request to pause withdrawals: when it is made, its fields, its own signature. Pure.

How a receiver checks one. It was posted as Standard Webhooks says, so first the headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature`` are checked against the body with the channel's ``secret``, as for every
webhook. Then the request inside, ``data.request``, with the second secret::

    quoted = lambda text: text.replace("%", "%25").replace("|", "%7C").replace(",", "%2C")
    r = body["data"]["request"]
    fields = [quoted(r["action"]), quoted(r["incident"]), quoted(r["entity"]), ",".join(map(quoted, r["wallets"])),
              quoted(r["requested_at"]), quoted(r["expires_at"]), quoted(r["nonce"])]
    signed = "|".join(fields)
    right = hmac.new(request_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(right, body["data"]["request_signature"])

Then ``action`` must be ``pause_withdrawals`` (dry runs and drills say ``pause_withdrawals.dry_run``, in the signed text
as well), ``expires_at`` must not be over, and ``nonce`` must be new: one that came before is the same request again,
answered as before and not carried out a second time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.text import clean, encodable
from monitor.ids import iso
from monitor.model import Alert, AlertKind, Severity

__all__ = ["DRY_RUN", "PAUSE", "Rule", "request", "signed_text"]

PAUSE = "pause_withdrawals"
DRY_RUN = "pause_withdrawals.dry_run"
_KINDS = {AlertKind.OPENED, AlertKind.ESCALATED, AlertKind.UPDATED}
_PLAYED = {"drill.opened", "drill.escalated", "drill.updated"}
_STATUSES = {"open", "acknowledged", "confirmed"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which alerts ask for a pause: critical ones of an open incident that agree with every label named here.

    ``share_lost`` is the least share of the balance that must be gone, between 0 and 1.
    """

    labels: Mapping[str, frozenset[str]]
    share_lost: float = 0.0
    unconfirmed: bool = False

    def against(self, alert: Alert) -> str:
        """Why this alert asks for no pause, empty where it does."""
        incident = alert.incident
        drill = alert.kind is AlertKind.DRILL
        if incident is None or not incident.get("id") or not (alert.kind in _KINDS or alert.type in _PLAYED):
            return f"{alert.type} is no news of an open incident"
        if alert.severity is not Severity.CRITICAL:
            return f"the severity is {alert.severity or 'none'}, only critical asks for a pause"
        if not drill and incident.get("status", "open") not in _STATUSES:
            return f"the incident is {incident.get('status')}"
        if incident.get("unconfirmed") and not self.unconfirmed:
            return "nothing of the incident is mined yet"
        for name, values in self.labels.items():
            if values.isdisjoint(_values(alert, name)):
                return f"no {name} of the rule"
        share = incident.get("share_lost")
        if not self.share_lost or (isinstance(share, int | float) and share >= self.share_lost):
            return ""
        known = f"{share:.3f}" if isinstance(share, int | float) else "not known"
        return f"the share lost is {known}, the rule asks for {self.share_lost:g}"


def _values(alert: Alert, name: str) -> set[str]:
    told = alert.labels.get(name, "")
    return {told} if name == "entity" else set(told.split(","))


def request(alert: Alert, queued_at: float, valid: float, dry: bool, secret: str) -> dict[str, Any]:
    """``{request, request_signature, dry_run, reason}`` of an alert that asks for a pause; the same for the same alert.

    Parameters
    ----------
    queued_at : wall clock, UTC seconds
    valid : seconds for which the request holds
    dry : it only shows what would be asked
    secret : the second secret
    """
    incident = alert.incident or {}
    made = {
        "action": DRY_RUN if dry else PAUSE,
        "incident": clean(str(incident.get("id", ""))),
        "entity": clean(str(incident.get("entity") or alert.labels.get("entity", ""))),
        "wallets": sorted(clean(str(name)) for name in incident.get("wallets") or _listed(alert.labels)),
        "requested_at": iso(queued_at) or "",
        "expires_at": iso(queued_at + valid) or "",
        "nonce": _mac(secret, f"nonce|{alert.id}|{queued_at!r}|{dry}")[:32],
    }
    made = encodable(made)
    return {"request": made, "request_signature": _mac(secret, signed_text(made)), "dry_run": dry}


def signed_text(made: Mapping[str, Any]) -> str:
    """What the second signature covers: the fields, joined by ``|``, in which ``%``, ``|`` and ``,`` are encoded.

    >>> signed_text({"action": "a", "incident": "i", "entity": "A|B", "wallets": ["x,y", "z"],
    ...              "requested_at": "1", "expires_at": "2", "nonce": "n"})
    'a|i|A%7CB|x%2Cy,z|1|2|n'
    """
    wallets: Sequence[str] = made["wallets"]
    fields = [_quoted(made[name]) for name in ("action", "incident", "entity")]
    fields.append(",".join(map(_quoted, wallets)))
    fields += [_quoted(made[name]) for name in ("requested_at", "expires_at", "nonce")]
    return "|".join(fields)


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("|", "%7C").replace(",", "%2C")


def _mac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _listed(labels: Mapping[str, str]) -> list[str]:
    return [name for name in labels.get("wallet", "").split(",") if name]
