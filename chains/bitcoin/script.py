"""Output scripts and addresses, both ways; and what an input shows of the script that it spends.

Sources: BIP 16, 141, 173, 341, 350; CashAddr, and its P2SH32. Scripts to addresses is `monitor.addresses.encode`, since
descriptors need it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from embit import base58, bech32

from monitor.addresses import cashaddr
from monitor.addresses.encode import HASHED, address_of, hash160, script_hash
from monitor.networks import Network

__all__ = ["HASHED", "address_of", "script_hash", "script_of", "spent_scripts", "type_of"]

# embit's functions carry no types
_decode_segwit: Callable[[str, str], tuple[int | None, Sequence[int] | None]] = bech32.decode


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
        if kind is cashaddr.Kind.P2SH and len(digest) == 32:
            return b"\xaa\x20" + digest + b"\x87"
        if len(digest) != 20:
            raise ValueError("not an address: its length is wrong")
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
    if script[:2] == {23: b"\xa9\x14", 35: b"\xaa\x20"}.get(size) and script[-1] == 0x87:  # 35: Bitcoin Cash
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
    digest = hash160(last)
    if witness:  # segwit in P2SH: nothing but the program may be pushed
        return (_paying(True, digest),)
    if _is_key(last) and len(items) > 1:
        return (_paying(False, digest), _paying(True, digest))
    if len(items) == 1 or _is_signature(last):
        return ()  # a signature alone, or several: bare keys
    longer = hashlib.sha256(hashlib.sha256(last).digest()).digest()  # P2SH32 of Bitcoin Cash
    return (_paying(True, digest), b"\xaa\x20" + longer + b"\x87")


def _of_witness(witness: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(witness) < 2:
        return ()  # a taproot key, or nothing
    last = witness[-1]
    if last[:1] == b"\x50" or (len(last) >= 33 and (len(last) - 33) % 32 == 0 and _is_leaf_version(last[0])):
        return ()  # an annex, or the control block of a taproot script
    in_script = b"\x00\x20" + hashlib.sha256(last).digest()
    if len(witness) == 2 and _is_key(last):
        return (b"\x00\x14" + hash160(last), in_script)
    return (in_script,)


# -- parts of scripts -------------------------------------------------------------------------------------------------


def _paying(to_script: bool, digest: bytes) -> bytes:
    return b"\xa9\x14" + digest + b"\x87" if to_script else b"\x76\xa9\x14" + digest + b"\x88\xac"


def _is_witness(script: bytes) -> bool:
    size = len(script)
    return 4 <= size <= 42 and script[1] == size - 2 and (script[0] == 0 or 0x51 <= script[0] <= 0x60)


def _is_leaf_version(byte: int) -> bool:
    """Of taproot's scripts: the bytes with which no other script can begin, which BIP 341 sets apart for them."""
    byte &= 0xFE
    return byte >= 0xC0 or byte in (0x66, 0x7E, 0x80, 0x84, 0x96, 0x98, 0xBA, 0xBC, 0xBE)


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
