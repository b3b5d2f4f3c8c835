"""Output scripts of the Bitcoin family to canonical addresses.

Sources: BIP 16, 141, 173, 350; CashAddr; Electrum's script hashes. Encoding is by tables and whole numbers, since a
block holds thousands of scripts; `monitor.addresses.bitcoin.canonical` is the rule that it has to agree with.
"""

from __future__ import annotations

import hashlib

from monitor.addresses import cashaddr
from monitor.networks import Network

__all__ = ["HASHED", "address_of", "hash160"]

HASHED = "scripthash:"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [a + b for a in _BASE58 for b in _BASE58]
_BASE32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DOUBLES = [a + b for a in _BASE32 for b in _BASE32]
_BECH32, _BECH32M = 1, 0x2BC830A3
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
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
    is_witness = 4 <= size <= 42 and script[1] == size - 2 and (script[0] == 0 or 0x51 <= script[0] <= 0x60)
    if is_witness and "hrp" in network.params:
        return _segwit(str(network.params["hrp"]), script)
    if size in (35, 67) and script[-1] == 0xAC and script[0] == size - 2 and script[1] in _KEYS[size]:
        return _hashed("p2pkh", hash160(script[1:-1]), network)
    return HASHED + hashlib.sha256(script).digest()[::-1].hex()


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256."""
    from Crypto.Hash import RIPEMD160

    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def _hashed(kind: str, digest: bytes, network: Network) -> str:
    prefix = network.params.get("cashaddr")
    if prefix is not None:
        return cashaddr.encode(str(prefix), cashaddr.Kind[kind.upper()], digest)
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


def _polymod_table() -> list[int]:
    """What the five bits that leave the checksum's register do to the rest (BIP 173)."""
    table = []
    for top in range(32):
        mixed = 0
        for bit, generator in enumerate(_GENERATORS):
            mixed ^= generator if top >> bit & 1 else 0
        table.append(mixed)
    return table


_POLYMOD = _polymod_table()
_PREFIXES: dict[str, int] = {}  # the register after a human-readable part


def _after_prefix(hrp: str) -> int:
    known = _PREFIXES.get(hrp)
    if known is None:
        known = 1
        for value in (*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp)):
            known = (known & 0x1FFFFFF) << 5 ^ value ^ _POLYMOD[known >> 25]
        _PREFIXES[hrp] = known
    return known


def _segwit(hrp: str, script: bytes) -> str:
    version = script[0] - 0x50 if script[0] else 0
    program = script[2:]
    bits = len(program) * 8
    groups = -(-bits // 5)
    number = int.from_bytes(program) << (groups * 5 - bits)
    register = _after_prefix(hrp)
    register = (register & 0x1FFFFFF) << 5 ^ version ^ _POLYMOD[register >> 25]
    for shift in range(groups * 5 - 5, -1, -5):
        register = (register & 0x1FFFFFF) << 5 ^ (number >> shift & 31) ^ _POLYMOD[register >> 25]
    for _ in range(6):
        register = (register & 0x1FFFFFF) << 5 ^ _POLYMOD[register >> 25]
    register ^= _BECH32M if version else _BECH32
    text = "".join(_DOUBLES[number >> shift & 1023] for shift in range(groups * 5 - 10, -1, -10))
    if groups % 2:
        text += _BASE32[number & 31]
    check = "".join(_DOUBLES[register >> shift & 1023] for shift in (20, 10, 0))
    return f"{hrp}1{_BASE32[version]}{text}{check}"
