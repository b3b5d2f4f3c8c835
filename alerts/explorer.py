"""Links to block explorers: of known networks only, and only for what looks like an address or a transaction."""

from __future__ import annotations

import re

from monitor.networks import by_chain

__all__ = ["address_url", "transaction_url"]

_PLAIN = re.compile(r"[0-9A-Za-z]{20,120}|0x[0-9a-fA-F]{40,64}|[a-z]{2,12}:[0-9a-z]{30,80}")
_NEM_ACCOUNT = "https://explorer.nemtool.com/#/s_account?account={}"


def transaction_url(chain: str, tx: str) -> str:
    """Where a transaction can be looked at; empty where nobody knows.

    >>> transaction_url("eip155:1", "0x" + "ab" * 32)[:31]
    'https://etherscan.io/tx/0xababa'
    """
    network = by_chain(chain)
    if network is None or not network.explorer_tx or not _PLAIN.fullmatch(tx):
        return ""
    return network.explorer_tx.replace("{}", tx)


def address_url(chain: str, address: str) -> str:
    """Where an address can be looked at; empty where nobody knows.

    >>> address_url("nem:mainnet", "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG")
    'https://explorer.nemtool.com/#/s_account?account=NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG'
    """
    network = by_chain(chain)
    if network is None or not network.explorer_tx or not _PLAIN.fullmatch(address):
        return ""
    if network.kind == "nem":
        return _NEM_ACCOUNT.replace("{}", address)
    return network.explorer_tx.replace("/tx/", "/address/").replace("/transaction/", "/address/").replace("{}", address)
