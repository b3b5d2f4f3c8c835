"""What a recorded NIS1 node says of accounts and mosaics: pages of transactions, definitions, supply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chains.nem.binary import MULTISIG, inner_hash, transaction_hash
from chains.nem.mosaic import Levy, Name, name_of, parse_definition
from chains.recorded.nem_blocks import Json
from monitor.addresses.nem import of_public_key
from monitor.networks import Network

__all__ = ["Catalogue", "Refusal", "account_page", "parties_of"]

PER_BLOCK = 1000  # ids of transactions that a block has


class Refusal(Exception):
    """An error in the shape in which NIS1 gives it."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"timeStamp": 0, "error": error, "message": message, "status": status}


def parties_of(tx: Json, network: Network, signers: Mapping[str, str]) -> set[str]:
    """Addresses in whose lists NIS1 shows a transaction: sender, receiver, cosignatories, who comes or goes."""

    def of_key(key: str) -> str:
        return signers.get(key) or of_public_key(key, network.params["network_byte"])

    found = {of_key(tx["signer"])}
    if tx.get("type") == MULTISIG:
        found |= {of_key(one["signer"]) for one in tx.get("signatures") or () if "signer" in one}
        found |= parties_of(tx["otherTrans"], network, signers)
    if tx.get("recipient"):
        found.add(tx["recipient"].replace("-", ""))
    if tx.get("remoteAccount"):
        found.add(of_key(tx["remoteAccount"]))
    return found | {of_key(change["cosignatoryAccount"]) for change in tx.get("modifications") or ()}


def account_page(
    blocks: Sequence[Json], parties: Callable[[Json], set[str]], address: str, before: str | None, size: int
) -> Json:
    """One page of an account's transactions, newest first, of those with an id below ``before``."""
    rows: list[Json] = []
    for block in reversed(blocks):
        for place in reversed(range(len(block["transactions"]))):
            tx, number = block["transactions"][place], block["height"] * PER_BLOCK + place
            if (before is None or number < int(before)) and address in parties(tx):
                inner = inner_hash(tx)
                meta = {
                    "innerHash": {"data": inner} if inner else {},
                    "id": number,
                    "hash": {"data": transaction_hash(tx)},
                    "height": block["height"],
                }
                rows.append({"meta": meta, "transaction": tx})
            if len(rows) == size:
                return {"data": rows}
    return {"data": rows}


class Catalogue:
    """Mosaics by name.

    Parameters
    ----------
    definitions : as NIS1 writes them
    """

    def __init__(self, definitions: Iterable[Json] = ()) -> None:
        self._raw: dict[Name, Json] = {name_of(one["id"]): one for one in definitions}
        parsed = {name: parse_definition(one) for name, one in self._raw.items()}
        self._supplies = {name: one.initial_supply for name, one in parsed.items()}
        self.levies: dict[Name, Levy | None] = {name: one.levy for name, one in parsed.items()}

    def definition(self, query: Mapping[str, Any]) -> Json:
        """Of one mosaic."""
        return self._raw[self._name(query)]

    def supply(self, query: Mapping[str, Any]) -> Json:
        """Of one mosaic, in whole units."""
        name = self._name(query)
        return {"mosaicId": {"namespaceId": name[0], "name": name[1]}, "supply": self._supplies[name]}

    def page(self, query: Mapping[str, Any]) -> Json:
        """Definitions of one namespace, newest first."""
        size, before = min(100, max(5, int(query.get("pageSize", 25)))), int(query.get("id", 1 << 40))
        found = [
            {"meta": {"id": number}, "mosaic": raw}
            for number, (name, raw) in enumerate(self._raw.items(), 1)
            if name[0] == query["namespace"] and number < before
        ]
        return {"data": found[::-1][:size]}

    def _name(self, query: Mapping[str, Any]) -> Name:
        namespace, _, name = query["mosaicId"].partition(":")
        if (namespace, name) not in self._raw:
            raise Refusal(404, "Not Found", "invalid mosaic definition")
        return namespace, name
