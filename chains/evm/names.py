"""What tokens call themselves: symbol and decimals, asked from their contracts. Nothing of it is to be trusted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from chains.evm.slots import selector
from chains.rpc import JsonRpc, RpcError

__all__ = ["TokenNames", "shown_symbol", "text_of"]

MOST_NAMES = 10_000  # that are remembered
MOST_ASKED = 50  # assets of one question
LONGEST = 16  # characters of a symbol
MOST_DECIMALS = 77  # no uint256 has more digits
SYMBOL, DECIMALS = selector("symbol()"), selector("decimals()")

Name = tuple[str, int]


class TokenNames:
    """Asks each token once; those that give no usable answer are not asked again.

    Parameters
    ----------
    chain : CAIP-2
    """

    def __init__(self, rpc: JsonRpc, chain: str) -> None:
        self._rpc = rpc
        self._forms = {f"{chain}/erc20:": True, f"{chain}/erc721:": False}  # whether such tokens have decimals
        self._known: dict[str, Name | None] = {}

    async def describe(self, assets: Iterable[str]) -> Mapping[str, Name]:
        """(symbol, decimals) of CAIP-19 assets, those without an answer left out; symbols are fit to be shown.

        Raises
        ------
        ChainUnavailable : no endpoint gave a usable answer
        """
        wanted = list(dict.fromkeys(assets))
        missing = {asset: address for asset in wanted if asset not in self._known and (address := self._address(asset))}
        for asset in list(missing)[MOST_ASKED:]:
            del missing[asset]
        if missing:
            calls = [({"to": to, "data": data}, "latest") for to in missing.values() for data in (SYMBOL, DECIMALS)]
            answers = await self._rpc.batch([("eth_call", call) for call in calls])
            for place, asset in enumerate(missing):
                self._known[asset] = self._name(asset, *answers[2 * place : 2 * place + 2])
        found = {asset: name for asset in wanted if (name := self._known.get(asset)) is not None}
        while len(self._known) > MOST_NAMES:
            del self._known[next(iter(self._known))]
        return found

    def _address(self, asset: str) -> str:
        return next((asset.removeprefix(form) for form in self._forms if asset.startswith(form)), "")

    def _name(self, asset: str, symbol: Any, decimals: Any) -> Name | None:
        shown = "" if isinstance(symbol, RpcError) else shown_symbol(text_of(symbol))
        counted = any(asset.startswith(form) for form, has in self._forms.items() if has)
        places = _decimals(decimals) if counted else 0
        return (shown, places) if shown and places is not None else None


def text_of(answer: Any) -> str:
    """The text in an answer, ``string`` or ``bytes32`` as old tokens give it; empty where it is neither.

    >>> text_of("0x" + b"MKR".ljust(32, bytes(1)).hex())
    'MKR'
    """
    try:
        data = bytes.fromhex(answer.removeprefix("0x"))
    except (AttributeError, ValueError):
        return ""
    if len(data) == 32:
        raw = data.rstrip(b"\0")
    else:
        start = int.from_bytes(data[:32], "big")
        size = int.from_bytes(data[start : start + 32], "big") if start <= len(data) else 0
        raw = data[start + 32 : start + 32 + min(size, 4 * LONGEST)] if start <= len(data) else b""
    return raw.decode("utf-8", "ignore")


def shown_symbol(text: str) -> str:
    """A symbol fit to stand in a line: short, and without spaces, brackets, control or invisible characters.

    >>> shown_symbol("US\u202eDC (verified) 1,000")
    'USDCverified1000'
    """
    letters = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] in "LNS" or c in "-_.$")
    return "".join(letters)[:LONGEST]


def _decimals(answer: Any) -> int | None:
    if not isinstance(answer, str) or len(answer) != 66:
        return None
    try:
        number = int(answer, 16)
    except ValueError:
        return None
    return number if 0 <= number <= MOST_DECIMALS else None
