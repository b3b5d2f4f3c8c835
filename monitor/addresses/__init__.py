"""Addresses: one canonical text form per chain family, checked at the boundary.

`canonical` is all that the rest of the program needs. Families are found by name through
`monitor.registry.ADDRESSES`, one file each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from monitor.networks import Network
from monitor.registry import ADDRESSES, load

__all__ = ["PrivateKeyGiven", "canonical"]


class PrivateKeyGiven(ValueError):
    """The text is, or may be, a private key or a seed phrase: never print it, not even shortened.

    The message of every `ValueError` of this package is safe to print; the text that caused it is not when the error
    is this one.
    """


def canonical(network: Network, text: str) -> str:
    """The one form in which an address of ``network`` is compared, stored and shown.

    Parameters
    ----------
    network : whose address it is, see `monitor.networks`
    text : the address as a person or a file wrote it; surrounding white space is ignored

    Raises
    ------
    PrivateKeyGiven : the text looks like a secret
    ValueError : it is not an address of that network; the message says what is wrong and what to do
    ConfigError : the network's family is unknown

    Examples
    --------
    >>> from monitor.networks import by_name
    >>> canonical(by_name("ethereum"), "0x28C6c06298d514Db089934071355E5743bf21d60")
    '0x28c6c06298d514db089934071355e5743bf21d60'
    >>> canonical(by_name("nem"), "NC3BI3-DNMR2P-GEOOMP-2NKXQG-SAKMS7-GYRKVA-5CSZ")
    'NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ'
    """
    text = text.strip()
    if not text:
        raise ValueError("the address is empty")
    _refuse_seed_phrase(text)
    _refuse_strange_characters(text)
    family = cast(Callable[[str, Network], str], load(ADDRESSES, network.kind, "chain kind"))
    return family(text, network)


def _refuse_seed_phrase(text: str) -> None:
    words = text.split()
    if len(words) < 12:
        return
    if all(word.isalpha() for word in words):
        raise PrivateKeyGiven("this looks like a seed phrase: a watch list needs addresses, never secrets; remove it")
    from monitor.addresses.extended import refuse_private  # loads a library: only where it is needed

    refuse_private(text)  # words within a descriptor


def _refuse_strange_characters(text: str) -> None:
    """Look-alike letters and invisible characters come with copying from chats and pages."""
    for place, character in enumerate(text, 1):
        if not "!" <= character <= "~":
            what = "white space" if character.isspace() else f"U+{ord(character):04X}"
            raise ValueError(f"character {place} is {what}: an address is plain ASCII in one piece, copy it again")
