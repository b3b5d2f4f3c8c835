"""One file of documents as a table: what it holds, and which other files tell more about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass

from chains.tables.documents.bitcoin_files import HEAD, Binary, binary_of
from chains.tables.documents.forms import FAMILY, Form, Piece
from chains.tables.documents.pieces import pieces_in
from chains.tables.documents.streams import start_of
from chains.tables.lines import head, packing
from chains.tables.text import Chunk

__all__ = ["Document", "Sight", "sight_of"]

_LOOKED_AT = 50  # documents, and what is broken, at the beginning of a file that is not known yet
_PASSED = 1000  # values there, which may all be rows of a table, or a node's answers without a block
_SNIFFED = 1 << 16  # bytes
_NAMES = {  # of which one stands in the beginning of a document that cannot be read as a whole
    b'"parentHash"': "evm", b'"transactionHash"': "evm", b'"traceAddress"': "evm", b'"previousblockhash"': "bitcoin",
    b'"scriptPubKey"': "bitcoin", b'"prevBlockHash"': "nem",
}  # fmt: skip
_NOTHING = rb"\s*(\[\s*\]|\{\s*\}|null)\s*"  # what a node answers where there is nothing
_EMPTY = re.compile(_NOTHING + rb'|\s*\{[^{}\[\]]*"result"\s*:' + _NOTHING + rb"[^{}\[\]]*\}\s*")
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}


@dataclass(frozen=True)
class Sight:
    """What the beginning of a file shows: the chain's family, and its form where it is no JSON.

    The family is empty where the answer of a node is: then there is nothing to read. ``times``: it has blocks that
    carry their time; ``timeless``: it has some that do not.
    """

    family: str
    binary: Binary | None = None
    times: bool = True
    timeless: bool = False


@dataclass(frozen=True)
class Document:
    """A file of documents, for one table.

    Attributes
    ----------
    path : the file
    sight : what it holds
    gives : ``transfers``, ``controls`` or ``times``
    chain : CAIP-2; empty until it is known
    timed : whether the table has a column of times
    beside : all files of the chain's documents with what they hold, this one among them
    """

    path: str
    sight: Sight
    gives: str
    chain: str = ""
    timed: bool = True
    beside: tuple[tuple[str, Binary | None], ...] = ()

    def chunks(
        self,
        wanted: frozenset[str],
        tick: Callable[[int], None] | None = None,
        watch: Mapping[str, Container[str]] | None = None,
    ) -> Iterator[Chunk]:
        """The rows of the table, see `chains.tables.documents.rows`.

        Parameters
        ----------
        wanted : columns to give
        tick : told the bytes of the file on disk read so far
        watch : CAIP-2 to watched addresses: where amounts of inputs are not known, they go to a watched one's account
        """
        from chains.tables.documents.read import chunks_of

        return chunks_of(self, wanted, tick, (watch or {}).get(self.chain, frozenset()))


def sight_of(path: str) -> Sight | None:
    """What a file holds where it is one of documents, else None.

    Raises
    ------
    ConfigError : the file cannot be opened
    """
    is_lines = packing(path) in ("zstd", "remote")  # which are read as text
    start = head(path, _SNIFFED) if is_lines else start_of(path, _SNIFFED)[0]
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")[:1]
    if first in (b"{", b"[", b'"'):
        return _json(path, start)
    if _EMPTY.fullmatch(start):
        return Sight("")
    if start[:4] == b"PAR1" or not start:
        return None
    if _is_text(start) and binary_of(start, False) is not Binary.HEX:
        return None
    if is_lines and not _is_text(start):
        return None
    binary = binary_of(*start_of(path, HEAD))
    return Sight("bitcoin", binary) if binary is not None else None


def _is_text(start: bytes) -> bool:
    sample = start[:512]
    return sum(byte in _TEXT or byte >= 0x80 for byte in sample) == len(sample) and _decodes(sample)


def _decodes(sample: bytes) -> bool:
    try:
        sample[: len(sample) - 4].decode()
    except UnicodeDecodeError:
        return False
    return True


def _json(path: str, start: bytes) -> Sight | None:
    found: list[Piece] = []
    n = 0
    for n, (_, piece) in enumerate(pieces_in(path, most=_PASSED)):
        if isinstance(piece, Piece) and piece.form in FAMILY:
            found.append(piece)
        if len(found) > 1 or n >= _LOOKED_AT:
            break
    if not found:
        if _EMPTY.fullmatch(start):
            return Sight("")
        family = next((family for name, family in _NAMES.items() if name in start), None)
        return Sight(family) if family is not None and n < 2 else None
    family = FAMILY[found[0].form]
    blocks = [piece for piece in found if piece.form in (Form.EVM_BLOCK, Form.EVM_HEADER, Form.EVM_TRACED)]
    known = [_has_time(piece) for piece in blocks]
    return Sight(family, None, family != "evm" or any(known), not all(known))


def _has_time(piece: Piece) -> bool:
    names = ("timestamp", "block_timestamp", "blockTimestamp")
    return any(piece.fields.get(name, b"null") != b"null" for name in names)
