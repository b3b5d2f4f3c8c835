"""Signatures as Standard Webhooks says (https://www.standardwebhooks.com), with one key or several."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from alerts.options import Options

__all__ = ["MAKE_SECRET", "key_of", "signature", "signers"]

MAKE_SECRET = "python3 -c \"import base64,os; print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""
"""A command that makes a good secret."""


def signers(given: Options) -> list[Webhook]:
    """One a key of the options ``secret`` and ``secrets``, in that order; problems are noted in ``given``."""
    secret = given.text("secret")
    texts = [*([secret] if secret else []), *given.texts("secrets")]
    if not texts:
        given.wrong(f"it needs a secret to sign with; make one with: {MAKE_SECRET}")
    keys: dict[bytes, None] = {}
    for place, text in enumerate(texts, 1):
        key = key_of(text)
        if key:
            keys[key] = None
        else:
            which = f"secret {place} of {len(texts)}" if len(texts) > 1 else "secret"
            given.wrong(f"the {which} is not base64 (with or without whsec_ before it); make one with: {MAKE_SECRET}")
    return [Webhook(key) for key in keys]


def signature(keys: Sequence[Webhook], message_id: str, body: bytes, now: float) -> dict[str, str]:
    """The three headers that sign ``body`` at wall clock ``now`` (UTC seconds): id, time, a signature a key."""
    seconds = math.floor(now)
    moment = datetime.fromtimestamp(seconds, UTC)
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(key.sign(message_id, moment, text) for key in keys),
    }


def key_of(text: str) -> bytes:
    """The key in a secret, empty where it is none. Strict: receivers' libraries skip stray characters, each its own."""
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
