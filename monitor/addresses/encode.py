"""Output scripts of the Bitcoin family to canonical addresses.

Sources: BIP 16, 141, 173, 350; CashAddr, and its P2SH32; Electrum's script hashes. Encoding is by tables and whole
numbers, since a block holds thousands of scripts; `monitor.addresses.bitcoin.canonical` is the rule that it has to
agree with.
"""

from __future__ import annotations

import hashlib
from functools import cache

from monitor.addresses import cashaddr, checksum
from monitor.networks import Network

__all__ = ["HASHED", "address_of", "hash160", "script_hash"]

HASHED = "scripthash:"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [a + b for a in _BASE58 for b in _BASE58]
_BASE32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32, _BECH32M = 1, 0x2BC830A3
_KEYS = {35: (2, 3), 67: (4, 6, 7)}  # first bytes of public keys, by the size of a script that pays one


def address_of(script: bytes, network: Network) -> str:
    """The canonical address that an output script pays.

    A bare public key gives the address of its hash, as wallets and explorers show it. What has no address (a bare
    multisig, data, anything else) gives ``scripthash:`` and Electrum's script hash in hex, which can be watched, too.
    """
    size = len(script)
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return _hashed("p2pkh", script[3:23], network)
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return _hashed("p2sh", script[2:22], network)
    if "hrp" in network.params and _is_witness(script):
        return _segwit(str(network.params["hrp"]), script)
    if size in (35, 67) and script[-1] == 0xAC and script[0] == size - 2 and script[1] in _KEYS[size]:
        return _hashed("p2pkh", hash160(script[1:-1]), network)
    if size == 35 and script[:2] == b"\xaa\x20" and script[34] == 0x87 and "cashaddr" in network.params:
        return _hashed("p2sh", script[2:34], network)  # P2SH32 of Bitcoin Cash
    return script_hash(script)


def script_hash(script: bytes) -> str:
    """Electrum's hash of a script, in the form in which it can be watched."""
    return HASHED + hashlib.sha256(script).digest()[::-1].hex()


def _is_witness(script: bytes) -> bool:
    """A witness program of a length that its version allows (BIP 141): others cannot be spent, and have no address."""
    size = len(script)
    if not 4 <= size <= 42 or script[1] != size - 2:
        return False
    return size in (22, 34) if script[0] == 0 else 0x51 <= script[0] <= 0x60


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256."""
    from Crypto.Hash import RIPEMD160

    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def _hashed(kind: str, digest: bytes, network: Network) -> str:
    prefix = network.params.get("cashaddr")
    if prefix is not None:
        return _cashaddr(str(prefix), cashaddr.Kind[kind.upper()], digest)
    raw = bytes([network.params[kind][0]]) + digest
    sha = hashlib.sha256
    return _base58(raw + sha(sha(raw).digest()).digest()[:4])


def _base58(raw: bytes) -> str:
    number, parts = int.from_bytes(raw), []
    while number:
        number, pair = divmod(number, 3364)
        parts.append(_PAIRS[pair])
    text = "".join(reversed(parts)).lstrip("1")
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _segwit(hrp: str, script: bytes) -> str:
    version = script[0] - 0x50 if script[0] else 0
    program = script[2:]
    check = checksum.BECH32.of(_before(hrp, version), program, _BECH32M if version else _BECH32)
    return f"{hrp}1{_BASE32[version]}{checksum.text(program, check, 6)}"


def _cashaddr(prefix: str, kind: cashaddr.Kind, digest: bytes) -> str:
    payload = bytes([kind << 3 | (0 if len(digest) == 20 else 3)]) + digest
    check = checksum.CASHADDR.of(_after(prefix), payload, 1)
    return f"{prefix}:{checksum.text(payload, check, 8)}"


@cache
def _before(hrp: str, version: int) -> tuple[int, ...]:
    """What the checksum of a segwit address covers before the program."""
    return (*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp), version)


@cache
def _after(prefix: str) -> tuple[int, ...]:
    """What the checksum of a CashAddr covers before the payload."""
    return (*(ord(c) & 31 for c in prefix), 0)
