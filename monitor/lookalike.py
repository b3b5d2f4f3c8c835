"""What looks like something else to people: addresses with equal ends, and letters of other alphabets. Pure.

People compare the ends of an address, and wallets show no more of it. So two addresses look alike where the first
three and the last four characters behind the chain's prefix are equal. An address of 16 signs does so by chance once in
16^7, 270 million.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

import polars as pl

from monitor.ids import chain_of_asset

__all__ = [
    "LEADING", "TRAILING", "Lookalikes", "chance", "difference", "folded", "is_counterfeit", "key_of", "keys_of",
    "shared",
]  # fmt: skip

LEADING, TRAILING = 3, 4  # characters that are equal at least
_SHORTEST = 16  # characters behind the prefix: what is shorter is read as a whole
_SYSTEM = "0" * 20  # no account: precompiles, system contracts and the zero address differ in their end alone
_BECH32 = re.compile(r"[a-z]{1,10}1[02-9ac-hj-np-z]+")
_SIGNS = {"hex": 16, "bech32": 32, "cashaddr": 32, "other": 32}  # base58 has 34 without regard to case, NEM 32


def _split(address: str) -> tuple[str, str]:
    """The form of an address, and what tells it from others: no prefix, no sign for its kind, no case."""
    if address.startswith("0x"):
        return "hex", address[2:].lower()
    if ":" in address:
        return "cashaddr", address.partition(":")[2][1:].lower()
    if _BECH32.fullmatch(address):
        return "bech32", address.rpartition("1")[2][1:]
    return "other", address[1:].lower()  # base58, and base32 of NEM: the first character is of the network


@lru_cache(maxsize=1 << 15)
def key_of(address: str) -> str | None:
    """What people see of an address: its ends; None where it is too short to be mistaken, or of the system.

    >>> key_of("0x28c6c06298d514db089934071355e5743bf21d60"), key_of("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq")
    ('28c1d60', 'ar05mdq')
    """
    body = address[2:].lower() if address[:2] == "0x" else _split(address)[1]
    if len(body) < _SHORTEST or body.startswith(_SYSTEM):
        return None
    return body[:LEADING] + body[-TRAILING:]


def keys_of(addresses: pl.Series) -> pl.Series:
    """`key_of` of each address: shape (n,); null has none."""
    text = pl.col("address")
    plain = text.str.starts_with("0x") & (text.str.len_bytes() == text.str.len_chars())
    seen = (text.str.len_bytes() >= 2 + _SHORTEST) & ~text.str.starts_with(f"0x{_SYSTEM}")
    ends = pl.concat_str(text.str.slice(2, LEADING), text.str.tail(TRAILING)).str.to_lowercase()
    frame = pl.DataFrame({"address": addresses.cast(pl.String)})
    found = frame.select(pl.when(plain & seen).then(ends)).to_series()
    odd = frame.select((~plain).fill_null(False)).to_series().arg_true()
    if len(odd):
        keys = [key_of(address) for address in frame["address"].gather(odd).to_list()]
        found = found.scatter(odd, pl.Series(keys, dtype=pl.String))
    return found


def shared(one: str, other: str) -> tuple[int, int]:
    """How many characters behind the prefix are equal at the beginning and at the end.

    >>> shared("0xabc1000000000000000000000000000000001234", "0xabc2000000000000000000000000000000051234")
    (3, 4)
    """
    first, second = _split(one)[1], _split(other)[1]
    length = min(len(first), len(second))
    begin = next((n for n in range(length) if first[n] != second[n]), length)
    end = next((n for n in range(length - begin) if first[-1 - n] != second[-1 - n]), length - begin)
    return begin, end


def chance(address: str, characters: int) -> float:
    """The chance that another address agrees with this one in so many characters.

    >>> f"{chance('0x28c6c06298d514db089934071355e5743bf21d60', 7):.1e}"
    '3.7e-09'
    """
    return float(_SIGNS[_split(address)[0]]) ** -characters


def difference(one: str, other: str) -> tuple[str, str]:
    """What lies between the equal ends of both.

    >>> difference("0xabc1000000000000000000000000000000001234", "0xabc2000000000000000000000000000000051234")
    ('100000000000000000000000000000000', '200000000000000000000000000000005')
    """
    begin, end = shared(one, other)
    first, second = _split(one)[1], _split(other)[1]
    return first[begin : len(first) - end], second[begin : len(second) - end]


class Lookalikes:
    """A set of addresses that answers which of them look like another one.

    >>> known = Lookalikes(["0xabc1000000000000000000000000000000001234"])
    >>> known.like("0xabc2000000000000000000000000000000051234")
    ('0xabc1000000000000000000000000000000001234',)
    """

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        self._by_key: dict[str, tuple[str, ...]] = {}  # nearly always one: there may be millions
        for address in addresses:
            self.add(address)

    def add(self, address: str) -> None:
        """Take an address in; one that is too short to be mistaken is left out."""
        key = key_of(address)
        if key is not None:
            self.put(key, address)

    def put(self, key: str, address: str) -> None:
        """As `add`, where the key is known."""
        known = self._by_key.get(key, ())
        if address not in known:
            self._by_key[key] = (*known, address)

    def discard(self, address: str) -> None:
        """Take an address out, where it is in."""
        key = key_of(address)
        if key is not None and key in self._by_key:
            left = tuple(known for known in self._by_key[key] if known != address)
            if left:
                self._by_key[key] = left
            else:
                del self._by_key[key]

    def like(self, address: str) -> tuple[str, ...]:
        """Others that look like it, sorted."""
        found = self._by_key.get(key_of(address) or "", ())
        return tuple(sorted(known for known in found if known != address))


# -- letters ----------------------------------------------------------------------------------------------------------

_ALIKE = {  # by the Latin letter that they are taken for: Cyrillic, Greek, Armenian, small capitals, signs of money
    "a": "аαɑᴀӕ∀", "b": "ьвЬƄʙβ₿ƀ", "c": "сϲᴄ¢ҫ", "d": "ԁᴅɗđժ", "e": "еεҽᴇєξ€ɛ℮", "f": "ƒꜰғք", "g": "ɡԍցɢ",
    "h": "һнհʜԋη", "j": "јϳᴊյ", "k": "кκᴋќқ", "l": "ӏіιıɩɪ|ʟןӀ1iǀ", "m": "мᴍϻ", "n": "пոռɴո", "o": "оοσօᴏ0øөѳ",
    "p": "рρᴘƿþ", "q": "ԛգզ", "r": "гᴦʀя", "s": "ѕꜱʂƽ$տ", "t": "тτᴛ₮ŧƭ", "u": "υսᴜʋцμ", "v": "ѵνᴠⅴט",
    "w": "ѡԝшωᴡա₩", "x": "хχҳ×ⅹ", "y": "уγʏүყ¥ұ", "z": "ᴢʐƶ",
}  # fmt: skip
_TO_LATIN = {ord(form): latin for latin, forms in _ALIKE.items() for sign in forms for form in (sign, sign.casefold())
             if len(form) == 1}  # fmt: skip


def folded(text: str) -> str:
    """What people take a symbol for: one small Latin letter for all that look like it, without marks and gaps.

    It is for comparison alone: ``i`` and ``1`` become ``l``, ``0`` becomes ``o``.

    >>> folded("UЅDТ") == folded("ＵＳＤＴ") == folded("U\u200bSD₮ ") == folded("USDT")
    True
    >>> folded("USDC.e") == folded("USDC")
    False
    """
    wide = unicodedata.normalize("NFKC", text).lstrip("$ ")  # a sign before a symbol is an ornament
    plain = unicodedata.normalize("NFKC", wide.translate(_TO_LATIN).casefold())
    latin = unicodedata.normalize("NFKD", plain.translate(_TO_LATIN))
    return "".join(sign for sign in latin.translate(_TO_LATIN) if sign.isalnum())


def is_counterfeit(symbol: str, asset: str, listed: Mapping[str, str]) -> bool:
    """Whether an asset bears the name of another one that is known to be real on its chain.

    Parameters
    ----------
    symbol : as the asset calls itself
    asset : CAIP-19
    listed : symbols by CAIP-19 of what is known to be real, the chains' own coins among them

    >>> listed = {"eip155:1/erc20:0xda": "USDT"}
    >>> is_counterfeit("UЅDT", "eip155:1/erc20:0xfa", listed), is_counterfeit("USDT", "eip155:1/erc20:0xda", listed)
    (True, False)
    """
    name = folded(symbol)
    if not name or asset in listed:
        return False
    chain = chain_of_asset(asset)
    return any(chain_of_asset(real) == chain and folded(known) == name for real, known in listed.items())
