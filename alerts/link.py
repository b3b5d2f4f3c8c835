"""Signed links in messages: one incident, one action, one receiver, until a time; each acts once.

A token is ``payload.signature``, both base64url without padding (RFC 4648, section 5). The payload is the JSON list
[incident, action, receiver, expiry, nonce], the signature HMAC-SHA256 (RFC 2104) over the payload's text. Whoever holds
the link may act, as with any link that acts: so it expires, acts once, and names the receiver that it was made for.
Nothing of it is secret but the signature; no redirect and no other address is ever taken from it.

Programs that look at links (previews of chats, scanners of mail) fetch them: a GET shows a page, a POST acts. That a
nonce was used is remembered by whoever acts (note ``link/NONCE``), not here. Pure.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from monitor.errors import ConfigError
from monitor.ids import stable_id

__all__ = ["ACTIONS", "Claim", "Links", "base_url", "keys_of"]

ACTIONS = ("incident", "acknowledge", "confirm", "false_alarm", "resolve")
"""What a link may do: show the incident, or say one of the verdicts."""

PATH = "/act/"
MOST = 2000  # characters of a token: what browsers and chats pass on whole
_LABEL = b"heistwatch/link/1"  # so that the key signs nothing but links, though it comes from a token of another use


@dataclass(frozen=True, slots=True)
class Claim:
    """What a valid link says. ``expires`` in UTC seconds; ``nonce`` is unique to the link."""

    incident_id: str
    action: str
    receiver: str
    expires: int
    nonce: str


def keys_of(*secrets: str | None) -> tuple[bytes, ...]:
    """Signing keys of secrets, those that are not given left out; the first signs, all of them verify.

    >>> len(keys_of("new secret", "old secret", None)), len(keys_of(None))
    (2, 0)
    """
    return tuple(hmac.digest(secret.encode(), _LABEL, sha256) for secret in secrets if secret)


def base_url(public_url: str | None, address: str) -> str:
    """Where links lead: the public URL, else the monitor itself where it listens on loopback, else nowhere ("").

    An address such as ``0.0.0.0`` is no name that a phone could open: without a public URL there are no links then.

    >>> base_url("https://watch.example.com/", "127.0.0.1:8787"), base_url(None, "127.0.0.1:8787")
    ('https://watch.example.com', 'http://127.0.0.1:8787')
    >>> base_url(None, "0.0.0.0:8787")
    ''
    """
    if public_url:
        return public_url.rstrip("/")
    host = urlsplit(f"//{address}").hostname or ""
    return f"http://{address}" if host in ("localhost", "::1") or host.startswith("127.") else ""


class Links:
    """Makes links and reads them.

    Parameters
    ----------
    base_url : where the monitor's HTTP interface is to be reached, no slash at its end; it may be set later, when the
        port is known. Empty: no links
    keys : see `keys_of`; empty: no links, and none is valid
    hours : for which a link is valid
    """

    def __init__(self, base_url: str, keys: Sequence[bytes], hours: float = 24.0) -> None:
        if not (math.isfinite(hours) and hours > 0):
            raise ConfigError("http.link_hours must be over 0")
        self.base_url = base_url.rstrip("/")
        self._keys = tuple(keys)
        self._seconds = hours * 3600.0

    def __repr__(self) -> str:
        return f"Links({len(self._keys)} keys)"

    def links(self, receiver: str, incident_id: str, now: float) -> Mapping[str, str]:
        """URLs by action for one message: equal arguments give equal links, another time another nonce.

        Parameters
        ----------
        receiver : who gets the message
        now : wall clock when it is queued, UTC seconds
        """
        if not self._keys or not self.base_url or not incident_id:
            return {}
        return {action: f"{self.base_url}{PATH}{self.token(receiver, incident_id, action, now)}" for action in ACTIONS}

    def token(self, receiver: str, incident_id: str, action: str, now: float) -> str:
        """One token; ``action`` is one of `ACTIONS`."""
        nonce = stable_id("link", incident_id, receiver, action, repr(float(now)))
        payload = [incident_id, action, receiver, math.ceil(now + self._seconds), nonce]
        text = _encoded(json.dumps(payload, separators=(",", ":")).encode())
        return f"{text}.{_signature(self._keys[0], text)}"

    def read(self, token: str, now: float) -> Claim | str:
        """What a token claims, or why it does not count: ``forged`` (by nobody with a key) or ``expired``."""
        text, _, signature = token.partition(".")
        if len(token) > MOST or not token.isascii():
            return "forged"
        # Text is compared, not bytes: of several texts that decode to the same bytes one is the signature. All keys
        # are tried, so that the time does not tell which one fits.
        valid = [hmac.compare_digest(signature.encode(), _signature(key, text).encode()) for key in self._keys]
        if not any(valid):
            return "forged"
        claim = _claim(text)
        if claim is None:
            return "forged"
        return claim if now < claim.expires else "expired"


def _claim(text: str) -> Claim | None:
    """The payload, which a key of ours signed: one that does not fit is of another version."""
    try:
        payload = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        incident_id, action, receiver, expires, nonce = json.loads(payload)
    except (ValueError, TypeError):
        return None
    claim = Claim(incident_id, action, receiver, expires, nonce)
    words = (incident_id, action, receiver, nonce)
    is_whole = all(isinstance(word, str) for word in words) and isinstance(expires, int)
    return claim if is_whole and action in ACTIONS else None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signature(key: bytes, text: str) -> str:
    return _encoded(hmac.digest(key, text.encode(), sha256))
