"""Extended public keys of BIP 32, with the version bytes of SLIP 132; and what is private, which nothing here accepts.

Sources: BIP 32, SLIP 132; for Dogecoin, which is not in that registry, the parameters of its reference node.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from embit import base58

from monitor.addresses import PrivateKeyGiven
from monitor.networks import Network, by_name

__all__ = ["Extended", "hide_private", "is_extended", "plain", "read_extended", "refuse_private", "short"]

_SIZE = 78  # bytes of a serialised key, without its checksum
_XPUB = bytes.fromhex("0488b21e")
_TOKEN = re.compile(r"[0-9A-Za-z]+")
_EXTENDED_PUBLIC = re.compile(r"[A-Za-z]{1,4}[ptg]ub[1-9A-HJ-NP-Za-km-z]{90,}")
_EXTENDED_PRIVATE = re.compile(r"[A-Za-z]{1,4}prv[1-9A-HJ-NP-Za-km-z]{20,}|[A-Za-z]{1,4}pv[1-9A-HJ-NP-Za-km-z]{90,}")
_WIF = re.compile(r"[5-9KLcTQPUV6][1-9A-HJ-NP-Za-km-z]{50,51}|6P[1-9A-HJ-NP-Za-km-z]{56}")
_HEX_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_HASH_BEFORE = re.compile(r"(?:sha256|hash256)\($")
_SEED_WORDS = 12
_WORD = re.compile(r"[A-Za-z]{3,8}")
_FUNCTION = re.compile(r"[a-z_:]+\(")

_SPENDS = "which can spend: remove it, a watch list needs public keys or addresses only"


class _Version(NamedTuple):
    """What version bytes say. ``script``: the descriptor that a key stands for (empty: one of several signers).

    ``of``: ``main`` or ``test`` for any network of that sort, else the name of the only one.
    """

    name: str
    script: str
    of: str


_PKH, _WRAPPED, _WPKH = "pkh({})", "sh(wpkh({}))", "wpkh({})"
_PUBLIC = {
    "0488b21e": _Version("xpub", _PKH, "main"),
    "049d7cb2": _Version("ypub", _WRAPPED, "main"),
    "04b24746": _Version("zpub", _WPKH, "main"),
    "0295b43f": _Version("Ypub", "", "main"),
    "02aa7ed3": _Version("Zpub", "", "main"),
    "043587cf": _Version("tpub", _PKH, "test"),
    "044a5262": _Version("upub", _WRAPPED, "test"),
    "045f1cf6": _Version("vpub", _WPKH, "test"),
    "024289ef": _Version("Upub", "", "test"),
    "02575483": _Version("Vpub", "", "test"),
    "019da462": _Version("Ltub", _PKH, "litecoin"),
    "01b26ef6": _Version("Mtub", _WRAPPED, "litecoin"),
    "0436f6e1": _Version("ttub", _PKH, "litecoin-testnet"),
    "02facafd": _Version("dgub", _PKH, "dogecoin"),
}
_PRIVATE = frozenset((
    "0488ade4", "049d7878", "04b2430c", "0295b005", "02aa7a99", "04358394", "044a4e28", "045f18bc", "024285b5",
    "02575048", "019d9cfe", "01b26792", "0436ef7d", "02fac398",
))  # fmt: skip


class Extended(NamedTuple):
    """An extended public key: the parts that BIP 32 derives with, and what its version says of it."""

    name: str  # how people call its form: xpub, zpub, ...
    script: str  # a descriptor with {} for the key, empty where it is one of several signers
    payload: bytes  # all but the version


def is_extended(text: str) -> bool:
    """Whether a text has the look of an extended public key, right or wrong.

    >>> is_extended("zpub" + "6" * 107), is_extended("1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu")
    (True, False)
    """
    return _EXTENDED_PUBLIC.fullmatch(text) is not None


def read_extended(text: str, network: Network) -> Extended:
    """An extended public key of ``network``.

    Raises
    ------
    PrivateKeyGiven : it is a private one
    ValueError : its checksum or its parts are wrong, or it belongs to other networks; the text is not in the message
    """
    refuse_private(text)
    try:
        raw = base58.decode_check(text)
    except ValueError:
        raise ValueError("checksum of the extended public key does not match: a character is wrong") from None
    if len(raw) != _SIZE:
        raise ValueError("not an extended public key: its length is wrong")
    version = _PUBLIC.get(raw[:4].hex())
    if version is None:
        raise ValueError("the form of this extended public key is not known here: give it as xpub, or a descriptor")
    if not _serves(version, network):
        whose = {"main": "of main networks", "test": "of test networks"}.get(version.of, f"of {version.of}")
        raise ValueError(f"this {version.name} is {whose}, not of {network.name}")
    depth, parent, number = raw[4], raw[5:9], raw[9:13]
    if (depth == 0 and (any(parent) or any(number))) or not _is_point(raw[45:]):
        raise ValueError(f"this {version.name} is not valid: its parts contradict each other")
    return Extended(version.name, version.script, raw[4:])


def plain(key: Extended) -> str:
    """The same key as an ``xpub``, the one form that descriptors know (BIP 380)."""
    return str(base58.encode_check(_XPUB + key.payload))


def short(text: str) -> str:
    """The two ends of a key: enough to know it again, too little to derive from.

    >>> short("xpub6C" + "U" * 101 + "DVmz")
    'xpub6C…DVmz'
    """
    return f"{text[:6]}…{text[-4:]}"


def refuse_private(text: str, *, digits: bool = True) -> None:
    """PrivateKeyGiven where a text holds anything that may spend, wherever in it, also with a typo.

    64 hex digits are allowed where a descriptor has a hash, or the x coordinate of a taproot key.

    Parameters
    ----------
    digits : whether other 64 hex digits are refused; public keys of some chains are such
    """
    if _has_seed_phrase(text):
        raise PrivateKeyGiven("this looks like a seed phrase: a watch list needs addresses, never secrets; remove it")
    for match in _TOKEN.finditer(text):
        token = match[0]
        if _EXTENDED_PRIVATE.fullmatch(token) or _is_private_payload(token):
            raise PrivateKeyGiven(f"this is an extended private key, {_SPENDS}")
        is_number = digits and _HEX_KEY.fullmatch(token) is not None
        if _WIF.fullmatch(token) or (is_number and not _is_harmless(text, match)):
            raise PrivateKeyGiven(f"this looks like a private key, {_SPENDS}")


def hide_private(text: str) -> str:
    """A text for people, without what looks like a private key: they paste one where a name belongs, too.

    >>> hide_private("no incident 'xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4st'")
    "no incident '(a private key)'"
    """
    return _TOKEN.sub(lambda match: "(a private key)" if _is_private(match[0]) else match[0], text)


def _is_private(token: str) -> bool:
    """Whether it is a private key by its form; 64 hex digits may be anything."""
    is_key = _EXTENDED_PRIVATE.fullmatch(token) or _WIF.fullmatch(token) or _is_private_payload(token)
    return bool(is_key)


def _is_harmless(text: str, match: re.Match[str]) -> bool:
    """Whether 64 hex digits stand where a descriptor has none that is private."""
    before = text[: match.start()]
    if _HASH_BEFORE.search(before) or before.endswith("scripthash:"):
        return True
    return re.match(r"(?:[^\s(]*:)?tr\(", text) is not None and _is_point(b"\x02" + bytes.fromhex(match[0][-64:]))


def _is_private_payload(token: str) -> bool:
    if not 105 <= len(token) <= 115:
        return False
    try:
        raw = base58.decode_check(token)
    except ValueError:
        return False
    return len(raw) == _SIZE and (raw[:4].hex() in _PRIVATE or raw[45] == 0)


def _has_seed_phrase(text: str) -> bool:
    words = re.split(r"[\s,;()/\[\]]+", _FUNCTION.sub("(", text))
    return sum(_WORD.fullmatch(word) is not None for word in words) >= _SEED_WORDS


def _is_point(key: bytes) -> bool:
    from coincurve import PublicKey

    try:
        PublicKey(key)
    except ValueError:
        return False
    return True


def _serves(version: _Version, network: Network) -> bool:
    is_test = network.asset.endswith("/slip44:1")
    if version.of in ("main", "test"):
        return is_test == (version.of == "test")
    only = by_name(version.of)
    return only is not None and network.params.get("p2pkh") == only.params["p2pkh"] and (
        network.params.get("p2sh") == only.params["p2sh"]
    )
