"""Addresses of Bitcoin and its relatives: base58check, bech32 (witness version 0), bech32m (1 and up), CashAddr.

Sources: BIP-173, BIP-350, SLIP-132 (extended keys). Prefix bytes, human-readable parts and CashAddr prefixes are those
of `monitor.networks`. Where a network knows one destination under several forms (a script under an old and a new
prefix byte, legacy and CashAddr) the canonical form is the newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from embit import base58, bech32

from monitor.addresses import PrivateKeyGiven, cashaddr
from monitor.addresses.extended import refuse_private
from monitor.networks import NETWORKS, Network

__all__ = ["canonical"]

# embit's functions carry no types: (encoding or None, human-readable part, 5-bit groups without the checksum)
_decode_bech32: Callable[[str], tuple[int | None, str, list[int]]] = bech32.bech32_decode

_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_EXTENDED_PRIVATE = re.compile(r"[A-Za-z]{1,4}prv[1-9A-HJ-NP-Za-km-z]{20,}|[A-Za-z]{1,4}pv[1-9A-HJ-NP-Za-km-z]{90,}")
_EXTENDED_PUBLIC = re.compile(r"[A-Za-z]{1,4}pub[1-9A-HJ-NP-Za-km-z]{90,}")
_WIF = re.compile(r"[5-9KLcTQPUV6][1-9A-HJ-NP-Za-km-z]{50,51}|6P[1-9A-HJ-NP-Za-km-z]{56}")
_HEX_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_PART = re.compile(r"^[A-Za-z_]+\(|[A-Za-z]{1,4}pub[1-9A-HJ-NP-Za-km-z]{90,}")
_HASHED = "scripthash:"
_LONGEST_PREFIX = 15  # of a CashAddr, that is shown in a message
_TEST_HRPS = {"sb": "a private signet"}


class _Form(NamedTuple):
    kind: str  # "p2pkh" or "p2sh"
    digest: bytes


def canonical(text: str, network: Network) -> str:
    """The one form of an address of ``network``; base58 keeps its letter case, the others are lower-case.

    Raises
    ------
    PrivateKeyGiven : an extended private key, a private key in wallet import format, or 64 hex digits
    ValueError : not an address of this network; the message names the network it belongs to where that can be told

    Examples
    --------
    >>> from monitor.networks import by_name
    >>> canonical("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", by_name("bitcoin"))
    'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4'
    >>> canonical("1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu", by_name("bitcoin-cash"))
    'bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a'
    """
    _refuse_secrets(text)
    if text[: len(_HASHED)].lower() == _HASHED:
        return _script_hash(text.lower())
    if text[:2].lower() == "0x":
        raise ValueError(f"this is an address of an EVM network, not of {network.name}")
    if _segwit_hrp(text) is not None:
        return _segwit(text, network)
    if not text.isalnum():
        _refuse_more(text)
    if ":" in text or ("cashaddr" in network.params and len(text) >= 40):  # longer than any base58 address
        return _cashaddr(text, network)
    return _base58(text, network)


def _script_hash(text: str) -> str:
    """What has no address, a bare multisig for example, goes by the hash that Electrum's protocol has for scripts."""
    if not re.fullmatch("[0-9a-f]{64}", text.removeprefix(_HASHED)):
        raise ValueError(f"a script hash is {_HASHED} and 64 hex digits")
    return text


def _refuse_secrets(text: str) -> None:
    """Nothing of the text may enter the message, even where its checksum is broken: a typo does not make it public."""
    if _EXTENDED_PUBLIC.fullmatch(text):
        raise ValueError("this is an extended public key, not an address: it has its place in a wallet's `addresses`")
    if _EXTENDED_PRIVATE.fullmatch(text):
        raise PrivateKeyGiven("this is an extended private key, which can spend: remove it, and list addresses only")
    if _WIF.fullmatch(text) or _HEX_KEY.fullmatch(text):
        raise PrivateKeyGiven("this looks like a private key, which can spend: remove it, and list addresses only")


def _refuse_more(text: str) -> None:
    """Secrets inside of something, and descriptors where one address is wanted or that are of no known form."""
    refuse_private(text)
    if _PART.search(text):
        raise ValueError(
            "this looks like a part of a descriptor, or like one of a function that is not known: expected "
            "wpkh(xpub.../0/*) for example, in a wallet's `addresses`"
        )


def _base58(text: str, network: Network) -> str:
    if not _BASE58.fullmatch(text) or not 25 <= len(text) <= 36:
        raise ValueError(f"not an address of {network.name}: expected {_forms(network)}")
    try:
        raw = base58.decode_check(text)
    except ValueError:
        raise ValueError(f"checksum of the {network.name} address does not match: a character is wrong") from None
    if len(raw) != 21 or base58.encode_check(raw) != text:
        raise ValueError(f"not an address of {network.name}: its length is wrong")
    form = _form(raw, network)
    if form is None:
        owners = [n.name for n in NETWORKS if n.kind == "bitcoin" and _form(raw, n)]
        raise ValueError(_elsewhere(owners, f"prefix byte 0x{raw[0]:02x}", network))
    prefix = network.params.get("cashaddr")
    if prefix:
        return cashaddr.encode(prefix, cashaddr.Kind[form.kind.upper()], form.digest)
    return str(base58.encode_check(bytes([network.params[form.kind][0]]) + form.digest))


def _form(raw: bytes, network: Network) -> _Form | None:
    for kind in ("p2pkh", "p2sh"):
        if raw[0] in network.params.get(kind, ()):
            return _Form(kind, raw[1:])
    return None


def _segwit_hrp(text: str) -> str | None:
    """The human-readable part where it is one that a network uses, else None."""
    hrp = text.rpartition("1")[0].lower()
    known = {n.params["hrp"] for n in NETWORKS if "hrp" in n.params} | set(_TEST_HRPS)
    return hrp if hrp in known else None


def _segwit(text: str, network: Network) -> str:
    if text not in (text.lower(), text.upper()):
        raise ValueError("a bech32 address is all lower case or all upper case, never mixed")
    encoding, hrp, data = _decode_bech32(text)
    if encoding is None:
        raise ValueError("bech32 checksum does not match: a character is wrong or missing")
    if hrp != network.params.get("hrp"):
        owners = [n.name for n in NETWORKS if n.params.get("hrp") == hrp] or [_TEST_HRPS[hrp]] * (hrp in _TEST_HRPS)
        raise ValueError(_elsewhere(owners, f"prefix {hrp}1", network))
    _check_witness(encoding, data)
    return text.lower()


def _check_witness(encoding: int, data: list[int]) -> None:
    """Witness version, program length, and the checksum that the version demands (BIP-350)."""
    version = data[0] if data else 17
    program = cashaddr.convert_bits(data[1:], 5, 8, pad=False)
    if version > 16 or program is None or not 2 <= len(program) <= 40:
        raise ValueError("witness version or program is not valid")
    if version == 0 and len(program) not in (20, 32):
        raise ValueError(f"a version 0 program has 20 or 32 bytes, found {len(program)}")
    if encoding != (bech32.Encoding.BECH32 if version == 0 else bech32.Encoding.BECH32M):
        rule = "bech32" if version == 0 else "bech32m"
        raise ValueError(f"witness version {version} needs a {rule} checksum: made by software that is out of date")


def _cashaddr(text: str, network: Network) -> str:
    given = text.rpartition(":")[0].lower()
    prefix = network.params.get("cashaddr")
    if prefix is None or given not in ("", prefix):
        owners = [n.name for n in NETWORKS if n.params.get("cashaddr") == given]
        owners = owners or ["Bitcoin Cash testnet"] * (given in ("bchtest", "bchreg"))
        if not owners and prefix is None:
            raise ValueError(f"not an address of {network.name}: write it without the part before ':'")
        shown = f"prefix {given}:" if len(given) <= _LONGEST_PREFIX else "the part before ':'"  # it may be a key
        raise ValueError(_elsewhere(owners, shown, network))
    kind, digest = cashaddr.decode(text, prefix)
    if len(digest) != 20 and (kind, len(digest)) != (cashaddr.Kind.P2SH, 32):
        raise ValueError(f"nothing can be paid to a {kind.name} hash of {len(digest)} bytes")
    return cashaddr.encode(prefix, kind, digest)


def _elsewhere(owners: list[str], mark: str, network: Network) -> str:
    if owners:
        return f"this is an address of {' or '.join(owners)} ({mark}), not of {network.name}"
    return f"{mark} belongs to no network that is known here, and not to {network.name}: expected {_forms(network)}"


def _forms(network: Network) -> str:
    forms = ["base58"]
    if "hrp" in network.params:
        forms.append(f"{network.params['hrp']}1...")
    if "cashaddr" in network.params:
        forms.append(f"{network.params['cashaddr']}:...")
    return " or ".join(forms)
