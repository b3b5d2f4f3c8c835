"""Mosaics, NEM's tokens: their names as CAIP-19, what their definitions say, and levies. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from monitor.errors import DecodeError

__all__ = [
    "MOST",
    "XEM",
    "Definition",
    "Levy",
    "Name",
    "account",
    "mosaic_asset",
    "mosaic_name",
    "name_of",
    "parse_definition",
    "quantity_of",
    "whole",
]

Name = tuple[str, str]  # namespace and name
Json = Mapping[str, Any]

XEM: Name = ("nem", "xem")
MICRO = 1_000_000
MOST = 9_000_000_000_000_000  # smallest units: NIS1 lets no supply be larger, and there are fewer micro-XEM
LONG = 1 << 63  # NIS1's amounts are 64 bits with a sign
MOST_DIVISIBILITY = 6
ABSOLUTE, PERCENTILE = 1, 2  # kinds of levies
SHARES = 10_000  # what a percentile levy's fee is a part of

_ADDRESS = re.compile(r"[A-Z2-7]{40}")
_PLAIN = re.compile(r"[-.a-zA-Z0-9]")


@dataclass(frozen=True, slots=True)
class Levy:
    """What the sender of a mosaic pays to its owner beside it, in ``mosaic`` (which may be another, or XEM)."""

    kind: int  # `ABSOLUTE` | `PERCENTILE`
    recipient: str
    mosaic: Name
    fee: int  # smallest units, or ten thousandths of what is sent

    def of(self, quantity: int) -> int:
        """The levy on ``quantity`` smallest units; rounded down, as NIS1 does."""
        return self.fee if self.kind == ABSOLUTE else quantity * self.fee // SHARES


@dataclass(frozen=True, slots=True)
class Definition:
    """What a mosaic is: ``divisibility`` decimal places, ``initial_supply`` in whole units."""

    name: Name
    creator: str  # public key
    divisibility: int
    initial_supply: int
    levy: Levy | None


def quantity_of(mosaic: Json, amount: int) -> int:
    """Smallest units that an attached mosaic moves: the transfer's ``amount`` is a multiplier, in millionths."""
    return whole(mosaic["quantity"]) * amount // MICRO


def name_of(mosaic_id: Json) -> Name:
    """Namespace and name of a ``mosaicId`` structure."""
    namespace, name = mosaic_id["namespaceId"], mosaic_id["name"]
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise ValueError("expected text")
    return namespace, name


def parse_definition(raw: Any) -> Definition:
    """A mosaic definition as NIS1 writes it; DecodeError where it makes no sense."""
    try:
        properties = {entry["name"]: entry["value"] for entry in raw["properties"]}
        divisibility = int(properties.get("divisibility", "0"))
        supply = int(properties.get("initialSupply", "0"))
        if not 0 <= divisibility <= MOST_DIVISIBILITY or not 0 <= supply * 10**divisibility <= MOST:
            raise ValueError("out of range")
        levy = raw.get("levy") or None
        return Definition(
            name_of(raw["id"]), str(raw["creator"]), divisibility, supply, None if levy is None else _levy(levy)
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DecodeError(f"not a mosaic definition: {type(error).__name__}") from None


def _levy(raw: Json) -> Levy:
    kind = raw["type"]
    if kind not in (ABSOLUTE, PERCENTILE):
        raise ValueError("unknown kind of levy")
    return Levy(kind, account(raw["recipient"]), name_of(raw["mosaicId"]), whole(raw["fee"]))


def account(text: str) -> str:
    """An address as NIS1 writes it, without dashes and in capitals; ValueError for what has not the form of one."""
    address = text.replace("-", "").upper()
    if not _ADDRESS.fullmatch(address):
        raise ValueError("expected an address")
    return address


def whole(value: Any) -> int:
    """An amount; ValueError for what is no whole number that NIS1 could hold."""
    if type(value) is not int or not 0 <= value < LONG:
        raise ValueError("expected a whole number below 2^63")
    return value


def mosaic_asset(chain: str, namespace: str, name: str) -> str:
    """CAIP-19 of a mosaic; characters that a CAIP-19 reference cannot hold are percent-encoded.

    >>> mosaic_asset("nem:mainnet", "salaryman-toushi", "test_1")
    'nem:mainnet/mosaic:salaryman-toushi%3Atest%5F1'
    """
    text = "".join(
        chr(byte) if _PLAIN.match(chr(byte)) else f"%{byte:02X}" for byte in f"{namespace}:{name}".encode()
    )
    return f"{chain}/mosaic:{text}"


def mosaic_name(asset: str) -> Name | None:
    """Namespace and name of a mosaic's CAIP-19 identifier; None where it is something else.

    >>> mosaic_name("nem:mainnet/mosaic:nextem%3Anex"), mosaic_name("nem:mainnet/slip44:43")
    (('nextem', 'nex'), None)
    """
    kind, _, text = asset.partition("/")[2].partition(":")
    namespace, colon, name = unquote(text).partition(":")
    return (namespace, name) if kind == "mosaic" and colon else None
