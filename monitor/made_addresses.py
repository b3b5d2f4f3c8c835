"""Addresses that belong to nobody: for the counterparties of generated traffic and where a real one is not known.

They are hashes of a stated text in the form that each chain demands, so that their checksums hold, anybody can derive
them again, and nobody has their keys.
"""

from __future__ import annotations

import base64
import hashlib

from Crypto.Hash import keccak
from embit import base58

from monitor.addresses import canonical
from monitor.networks import Network

__all__ = ["made_address"]


def made_address(network: Network, text: str) -> str:
    """The canonical address whose 20 bytes are the start of the SHA-256 of ``text``.

    >>> from monitor.networks import by_name
    >>> made_address(by_name("ethereum"), "heistwatch background coincheck-2018 0")
    '0x0dde5425f08be0a89b7c773520c81b5a84a5a3e0'
    """
    digest = hashlib.sha256(text.encode()).digest()[:20]
    if network.kind == "nem":
        body = bytes([network.params["network_byte"]]) + digest
        check = keccak.new(digest_bits=256, data=body).digest()[:4]
        return base64.b32encode(body + check).decode()
    if network.kind == "bitcoin":
        return canonical(network, base58.encode_check(bytes([network.params["p2pkh"][0]]) + digest))
    return "0x" + digest.hex()
