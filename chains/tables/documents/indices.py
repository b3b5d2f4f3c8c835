"""Indices over the files of a chain, made once for all of its tables in a process."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from chains.tables.documents.coin_index import CoinIndex
from chains.tables.documents.document import Document
from chains.tables.documents.evm_index import EvmIndex
from chains.tables.documents.nem_index import NemIndex
from chains.tables.lines import reading
from chains.tables.place import Url, address
from monitor.networks import Network

__all__ = ["coin_index", "evm_index", "nem_index"]

_KEPT = 3  # one for each family
Key = tuple[object, ...]
_made: OrderedDict[Key, EvmIndex | CoinIndex | NemIndex] = OrderedDict()


def evm_index(document: Document) -> EvmIndex:
    """That of a document's files."""
    found = _known(key := _key(document)) or _keep(key, EvmIndex([path for path, _ in document.beside]))
    assert isinstance(found, EvmIndex)
    return found


def coin_index(document: Document, network: Network) -> CoinIndex:
    """That of a document's files."""
    found = _known(key := _key(document)) or _keep(key, CoinIndex(document.beside, network))
    assert isinstance(found, CoinIndex)
    return found


def nem_index(document: Document, network: Network) -> NemIndex:
    """That of a document's files."""
    found = _known(key := _key(document)) or _keep(key, NemIndex([path for path, _ in document.beside], network))
    assert isinstance(found, NemIndex)
    return found


def _known(key: Key) -> EvmIndex | CoinIndex | NemIndex | None:
    if key in _made:
        _made.move_to_end(key)
    return _made.get(key)


def _keep(key: Key, index: EvmIndex | CoinIndex | NemIndex) -> EvmIndex | CoinIndex | NemIndex:
    _made[key] = index
    while len(_made) > _KEPT:
        _made.popitem(last=False)[1].close()
    return index


def _key(document: Document) -> Key:
    """What an index rests on: the chain, and the files as they are now."""
    return (document.sight.family, document.chain, *(_state(path) for path, _ in document.beside))


def _state(path: str) -> tuple[object, ...]:
    if isinstance(path, Url):
        return (address(path),)
    with reading(path):
        found = Path(path).stat()
    return (path, found.st_size, found.st_mtime_ns)
