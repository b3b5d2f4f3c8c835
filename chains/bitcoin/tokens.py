"""CashTokens of Bitcoin Cash: outputs that carry tokens have them in front of the script, in the script's own bytes.

Source: CHIP-2022-02-CashTokens, "Token Encoding". Tokens are not followed; the coins of such an output are.
"""

from __future__ import annotations

__all__ = ["PREFIX", "without_token"]

PREFIX = b"\xef"
_RESERVED, _COMMITMENT, _UNIQUE, _AMOUNT = 0x80, 0x40, 0x20, 0x10  # of the byte that says what follows


def without_token(script: bytes) -> bytes:
    """The script that has to be satisfied; all of the bytes where no valid token lies before it.

    >>> without_token(b"\\xef" + bytes(32) + b"\\x10\\x05" + b"\\x51").hex()
    '51'
    """
    if not script.startswith(PREFIX) or len(script) < 34:
        return script
    says, at = script[33], 34
    if says & _RESERVED or not says & (_UNIQUE | _AMOUNT) or says & 0x0F > 2:
        return script
    if not says & _UNIQUE and says & (0x0F | _COMMITMENT):
        return script
    if says & _COMMITMENT:
        size, at = _number(script, at)
        if size <= 0:
            return script
        at += size
    if says & _AMOUNT:
        amount, at = _number(script, at)
        if not 0 < amount < 1 << 63:
            return script
    return script[at:] if at <= len(script) else script


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A length in its shortest form, and the place after it; -1 where it is none."""
    if at >= len(data):
        return -1, at
    first = data[at]
    if first < 0xFD:
        return first, at + 1
    size, least = {0xFD: (2, 0xFD), 0xFE: (4, 1 << 16), 0xFF: (8, 1 << 32)}[first]
    value = int.from_bytes(data[at + 1 : at + 1 + size], "little")
    if at + 1 + size > len(data) or value < least:
        return -1, at
    return value, at + 1 + size
