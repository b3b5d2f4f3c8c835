"""NEM addresses: a network byte, the RIPEMD-160 of the Keccak of the public key, a Keccak checksum, in base 32.

Source: NEM technical reference, "Addresses". The canonical form is 40 upper-case characters without dashes.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re

from Crypto.Hash import RIPEMD160, keccak

from monitor.addresses import PrivateKeyGiven
from monitor.networks import NETWORKS, Network

__all__ = ["canonical", "of_public_key"]

_BASE32 = re.compile(r"[A-Z2-7]{40}")
_PUBLIC_KEY = re.compile(r"[0-9a-fA-F]{64}")
_PRIVATE_KEY = re.compile(r"00[0-9a-fA-F]{64}")  # as wallets export it: 33 bytes with a leading zero


def canonical(text: str, network: Network) -> str:
    """The upper-case form without dashes; a public key (64 hex digits) becomes its address.

    A public and a private key look the same: paste public keys with care.

    Raises
    ------
    PrivateKeyGiven : 66 hex digits that begin with 00, as wallets export private keys
    ValueError : not an address of this network, or its checksum does not match

    Examples
    --------
    >>> from monitor.networks import by_name
    >>> canonical("051beb2871a4dad21bb8b241a49837442a46a5628fc0c3951ae322121508a4a1", by_name("nem"))
    'NAX3EP4EKUMLH4T3N7GJSTQDG2AMUK5T26P5EA2M'
    """
    if _PRIVATE_KEY.fullmatch(text):
        raise PrivateKeyGiven("this looks like a private key: a watch list needs addresses, never secrets; remove it")
    if _PUBLIC_KEY.fullmatch(text):
        return of_public_key(text, network.params["network_byte"])
    address = text.replace("-", "").upper()
    if not _BASE32.fullmatch(address):
        raise ValueError(_shape(address, network))
    raw = base64.b32decode(address)
    if _keccak(raw[:21])[:4] != raw[21:]:
        raise ValueError(f"checksum of the {network.name} address does not match: a character is wrong, copy it again")
    if raw[0] != network.params["network_byte"]:
        raise ValueError(f"this is an address of {_owner(raw[0])}, not of {network.name}")
    return address


@functools.lru_cache(maxsize=1 << 16)
def of_public_key(public_key: str, network_byte: int) -> str:
    """The address of a public key (64 hex digits) on the network of that byte (0x68, 0x98).

    Raises
    ------
    ValueError : not 32 bytes of hexadecimal

    Examples
    --------
    >>> of_public_key("107051c28a2c009a83ae0861cdbff7c1cbab387c964cc433f7d191d9c3115ed7", 0x68)
    'NCXIQA4FF5JB6AMQ53NQ3ZMRD3X3PJEWDJJJIGHT'
    """
    try:
        key = binascii.unhexlify(public_key)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("a public key is 64 hexadecimal digits")
    body = bytes([network_byte]) + RIPEMD160.new(_keccak(key)).digest()
    return base64.b32encode(body + _keccak(body)[:4]).decode()


def _keccak(data: bytes) -> bytes:
    return bytes(keccak.new(digest_bits=256, data=data).digest())


def _owner(network_byte: int) -> str:
    for network in NETWORKS:
        if network.params.get("network_byte") == network_byte:
            return network.name
    return "mijin" if network_byte == 0x60 else f"an unknown network (byte 0x{network_byte:02x})"


def _shape(address: str, network: Network) -> str:
    if len(address) == 39 and address[0] in "NT":
        return f"39 characters are a Symbol address, not one of {network.name} (40 characters)"
    if len(address) != 40:
        return f"an address of {network.name} has 40 characters besides dashes, found {len(address)}"
    return f"an address of {network.name} is made of A to Z and 2 to 7 only"
