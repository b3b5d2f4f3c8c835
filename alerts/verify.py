"""The receiving side of signed webhooks: does a message hold, and did it come before? Pure; the clock is given.

The rules are those of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
Unlike a library that answers yes or no, this tells the failures apart, for people who set a receiver up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["KNOWN", "TOLERANCE", "Inbox", "Proof", "Seen", "verify"]

TOLERANCE = 300
"""A message may be signed so many seconds before or after the receiver's own time."""

KNOWN = 100_000
"""So many ids are remembered, the latest."""


class Proof(StrEnum):
    """What the headers and bytes of a message show."""

    VERIFIED = "verified"
    UNSIGNED = "not signed"  # a header is missing, or is no id, time or signature
    WRONG = "wrong signature"
    OLD = "too old"  # rightly signed, but long ago: a replay, or a clock that is wrong
    EARLY = "from the future"


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it came in. ``key`` is the place of the key that holds; ``age`` in seconds, of this attempt."""

    proof: Proof
    id: str = ""
    key: int | None = None
    age: float | None = None
    repeated: bool = False
    changed: bool = False  # repeated, with other bytes than before

    @property
    def verified(self) -> bool:
        """Whether it may be believed."""
        return self.proof is Proof.VERIFIED


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> Seen:
    """Check one message; `Inbox` also knows repetitions.

    Parameters
    ----------
    keys : secrets as bytes, see `alerts.signing.key_of`; one that holds is enough
    headers : of the request, whatever the case of their names
    body : as it came over the wire: a body that was parsed and written again is another
    now : wall clock, UTC seconds

    Examples
    --------
    >>> from alerts.signing import signature
    >>> from standardwebhooks import Webhook
    >>> headers = signature([Webhook(b"key")], "id-1", b"{}", 1000.0)
    >>> verify([b"old", b"key"], headers, b"{}", 1001.5)
    Seen(proof=<Proof.VERIFIED: 'verified'>, id='id-1', key=1, age=1.5, repeated=False, changed=False)
    >>> str(verify([b"key"], headers, b"{ }", 1001.5).proof)
    'wrong signature'
    """
    given = {name.lower(): value for name, value in headers.items()}
    message, stamp, signed = (given.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    signatures = [part.removeprefix("v1,") for part in signed.split(" ") if part.startswith("v1,")]
    if not (message and signatures and stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return Seen(Proof.UNSIGNED, message)
    age = now - int(stamp)
    content = b".".join((message.encode("utf-8", "surrogateescape"), stamp.encode(), body))
    for place, key in enumerate(keys):
        expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256))
        if any(hmac.compare_digest(expected, item.encode("utf-8", "surrogateescape")) for item in signatures):
            proof = Proof.OLD if age > TOLERANCE else Proof.EARLY if age < -TOLERANCE else Proof.VERIFIED
            return Seen(proof, message, place, age)
    return Seen(Proof.WRONG, message, age=age)


class Inbox:
    """Takes messages in, and knows those that came before by their ids.

    An id counts as known once a message with it was verified: what a stranger sends under it changes nothing.
    """

    def __init__(self, keys: Sequence[bytes], known: int = KNOWN) -> None:
        self._keys = tuple(keys)
        self._most = known
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def take(self, headers: Mapping[str, str], body: bytes, now: float) -> Seen:
        """What a message shows; ``now`` is wall clock, UTC seconds."""
        seen = verify(self._keys, headers, body, now)
        if not seen.verified:
            return seen
        digest = hashlib.sha256(body).digest()
        before = self._known.pop(seen.id, None)
        self._known[seen.id] = digest
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return Seen(
            seen.proof, seen.id, seen.key, seen.age, repeated=before is not None, changed=before not in (None, digest)
        )
