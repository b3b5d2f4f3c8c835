"""Output scripts and addresses, both ways; and what an input shows of the script that it spends.

Sources: BIP 16, 141, 173, 341, 350; CashAddr; Electrum's script hashes. Encoding is by tables and whole numbers, since
a block holds thousands of scripts; `monitor.addresses.bitcoin.canonical` is the rule that it has to agree with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from embit import base58, bech32

from monitor.addresses import cashaddr
from monitor.networks import Network

__all__ = ["HASHED", "address_of", "script_of", "spent_scripts", "type_of"]

HASHED = "scripthash:"
# embit's functions carry no types
_decode_segwit: Callable[[str, str], tuple[int | None, Sequence[int] | None]] = bech32.decode
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = [a + b for a in _BASE58 for b in _BASE58]
_BASE32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DOUBLES = [a + b for a in _BASE32 for b in _BASE32]
_BECH32, _BECH32M = 1, 0x2BC830A3
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def address_of(script: bytes, network: Network) -> str:
    """The canonical address that an output script pays.

    A bare public key gives the address of its hash, as wallets and explorers show it. What has no address (a bare
    multisig, data, anything else) gives ``scripthash:`` and Electrum's script hash in hex, which can be watched, too.
    """
    kind = type_of(script)
    if kind == "p2pkh":
        return _hashed("p2pkh", script[3:23], network)
    if kind == "p2sh":
        return _hashed("p2sh", script[2:22], network)
    if kind == "p2pk":
        return _hashed("p2pkh", _hash160(script[1:-1]), network)
    if "hrp" in network.params and _is_witness(script):
        return _segwit(str(network.params["hrp"]), script)
    return HASHED + hashlib.sha256(script).digest()[::-1].hex()


def script_of(address: str, network: Network) -> bytes | None:
    """The output script of a canonical address; None for a script hash, which does not tell it.

    Raises
    ------
    ValueError : it is none
    """
    if address.startswith(HASHED):
        return None
    prefix = network.params.get("cashaddr")
    if prefix is not None and address.startswith(f"{prefix}:"):
        kind, digest = cashaddr.decode(address, prefix)
        return _paying(kind is cashaddr.Kind.P2SH, digest)
    hrp = network.params.get("hrp")
    if hrp is not None and address.startswith(f"{hrp}1"):
        version, program = _decode_segwit(hrp, address)
        if version is None or program is None:
            raise ValueError("not a segwit address")
        return bytes([version + 0x50 if version else 0, len(program)]) + bytes(program)
    raw = base58.decode_check(address)
    if len(raw) != 21:
        raise ValueError("not an address: its length is wrong")
    if raw[0] in network.params["p2pkh"]:
        return _paying(False, raw[1:])
    if raw[0] in network.params["p2sh"]:
        return _paying(True, raw[1:])
    raise ValueError(f"not an address of {network.name}")


def type_of(script: bytes) -> str:
    """The form of an output script: p2pk, p2pkh, p2sh, p2wpkh, p2wsh, p2tr, multisig, null_data, witness_v1 to
    witness_v16, nonstandard.

    >>> type_of(bytes.fromhex("0014" + "00" * 20))
    'p2wpkh'
    """
    size = len(script)
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return "p2pkh"
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return "p2sh"
    if _is_witness(script):
        version = script[0] - 0x50 if script[0] else 0
        if version == 0:
            return {20: "p2wpkh", 32: "p2wsh"}.get(size - 2, "nonstandard")
        return "p2tr" if version == 1 and size == 34 else f"witness_v{version}"
    if size in (35, 67) and script[-1] == 0xAC and script[0] == size - 2 and _is_key(script[1:-1]):
        return "p2pk"
    if size and script[0] == 0x6A:
        return "null_data"
    return "multisig" if _is_multisig(script) else "nonstandard"


def spent_scripts(script_sig: bytes, witness: Sequence[bytes]) -> tuple[bytes, ...]:
    """The output scripts that an input may spend, as it shows them itself: the true one is among them.

    Empty where it may spend one that it does not show: a bare public key or multisig, taproot, anything unusual. An
    input that satisfies one of these scripts has to end with the key or the script whose hash is in it.
    """
    if not script_sig:
        return _of_witness(witness)
    items = _pushed(script_sig)
    if not items:
        return ()
    last = items[-1]
    paid_to_hash = _paying(True, _hash160(last))
    if witness:  # segwit in P2SH: nothing but the program may be pushed
        return (paid_to_hash,)
    if _is_key(last) and len(items) > 1:
        return (_paying(False, _hash160(last)), paid_to_hash)
    if len(items) == 1 or _is_signature(last):
        return ()  # a signature alone, or several: bare keys
    return (paid_to_hash,)


def _of_witness(witness: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(witness) < 2:
        return ()  # a taproot key, or nothing
    last = witness[-1]
    if last[:1] == b"\x50" or (len(last) >= 33 and (len(last) - 33) % 32 == 0 and last[0] & 0xFE >= 0xC0):
        return ()  # an annex, or the control block of a taproot script
    in_script = b"\x00\x20" + hashlib.sha256(last).digest()
    if len(witness) == 2 and len(last) == 33 and last[0] in (2, 3):
        return (b"\x00\x14" + _hash160(last), in_script)
    return (in_script,)


# -- parts of scripts -------------------------------------------------------------------------------------------------


def _hash160(data: bytes) -> bytes:
    from Crypto.Hash import RIPEMD160

    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def _paying(to_script: bool, digest: bytes) -> bytes:
    return b"\xa9\x14" + digest + b"\x87" if to_script else b"\x76\xa9\x14" + digest + b"\x88\xac"


def _is_witness(script: bytes) -> bool:
    size = len(script)
    return 4 <= size <= 42 and script[1] == size - 2 and (script[0] == 0 or 0x51 <= script[0] <= 0x60)


def _is_key(data: bytes) -> bool:
    return (len(data) == 33 and data[0] in (2, 3)) or (len(data) == 65 and data[0] in (4, 6, 7))


def _is_signature(data: bytes) -> bool:
    """DER with a hash type, or Schnorr as Bitcoin Cash has it."""
    return (9 <= len(data) <= 73 and data[0] == 0x30) or len(data) in (64, 65)


def _is_multisig(script: bytes) -> bool:
    if len(script) < 37 or script[-1] != 0xAE or not (0x51 <= script[0] <= script[-2] <= 0x60):
        return False
    keys = _pushed(script[1:-2])
    return keys is not None and len(keys) == script[-2] - 0x50 and all(map(_is_key, keys))


def _pushed(script: bytes) -> list[bytes] | None:
    """The items that a script of pushes alone puts on the stack; None where it does anything else."""
    items, at = [], 0
    while at < len(script):
        code = script[at]
        at += 1
        if code > 0x60:
            return None
        if code > 0x4E:
            items.append(bytes([code - 0x50]) if code != 0x4F else b"\x81")
            continue
        size = code
        if code >= 0x4C:
            width = 1 << (code - 0x4C)
            if at + width > len(script):
                return None
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        if at + size > len(script):
            return None
        items.append(script[at : at + size])
        at += size
    return items


# -- encoding ---------------------------------------------------------------------------------------------------------


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
