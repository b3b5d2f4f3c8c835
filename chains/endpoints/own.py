"""Whether an endpoint is a node of the user's own, as far as its address tells."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["is_own"]

_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")  # reserved for networks of one's own


def is_own(url: str) -> bool:
    """Whether the host is this machine, in a private network, or has a name that only a private network knows.

    >>> is_own("http://10.0.0.7:8545"), is_own("ws://geth:8546"), is_own("https://rpc.example.org/KEY")
    (True, True, False)
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "ipc":  # a socket of this machine
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_SUFFIXES))
    return address.is_loopback or address.is_private or address.is_link_local
