"""Raw blocks and undo data in files: one alone, or many one after another as nodes keep them on disk.

In the latter each record has a mark of its network and its length before it; undo data has a check sum after it.
Nodes of Bitcoin Core from version 28 on hide both behind a key (``blocks/xor.dat``) unless ``-blocksxor=0`` was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum

from chains.tables.documents.streams import LARGEST, Cut, blocks_of

__all__ = ["Binary", "binary_of", "records_in"]

HEAD = 1 << 24  # bytes to look at: a record and the beginning of the next
_CHECK = 32  # bytes after undo data
_HEADER = 80  # bytes
_FIRST_TIME = 1_231_006_505  # of Bitcoin's genesis block; no chain of the family is older
_HEX_TEXT = re.compile(rb"[0-9a-fA-F]{160}")


class Binary(StrEnum):
    """What a file holds that is no JSON."""

    BLOCK = "a raw block"
    BLOCKS = "raw blocks"
    UNDO = "undo data of blocks"
    PLAIN_UNDO = "undo data of a block"
    HEX = "raw blocks in hexadecimal"


def binary_of(head: bytes, is_whole: bool) -> Binary | None:
    """What a file holds by its beginning, None where it is nothing of the kind.

    Parameters
    ----------
    head : up to `HEAD` bytes
    is_whole : whether that is all of the file
    """
    if _HEX_TEXT.match(head.lstrip(b"\xef\xbb\xbf \t\r\n")[:160].removeprefix(b"0x")):
        return Binary.HEX
    if (kind := _framed(head, is_whole)) is not None:
        return kind
    if _is_header(head, 0):
        return Binary.BLOCK
    return Binary.PLAIN_UNDO if _is_plain(head) else None


def _framed(head: bytes, is_whole: bool) -> Binary | None:
    """Of what there are records with a mark and a length; the next one begins where the first ends."""
    size = int.from_bytes(head[4:8], "little")
    if len(head) <= 12 or size > LARGEST:
        return None

    def ends(after: int) -> bool:
        goes_on = len(head) >= after + 4 and head[after : after + 4] in (head[:4], bytes(4))
        return goes_on or (is_whole and len(head) == after)

    is_block = size > _HEADER and _is_header(head, 8)
    if is_block and ends(8 + size):
        return Binary.BLOCKS
    if ends(8 + size + _CHECK):
        return Binary.UNDO
    return Binary.BLOCKS if is_block and len(head) < 12 + size and not _is_header(head, 0) else None


def records_in(path: str, kind: Binary, tick: Callable[[int], None] | None = None) -> Iterator[tuple[int, bytes | str]]:
    """The records of a file as (place from 1 on, bytes); a text in their stead says what is wrong there.

    Of undo data with a check sum, that comes first.

    Raises
    ------
    ConfigError : the file cannot be opened
    """
    if kind is Binary.HEX:
        yield from _lines(path, tick)
        return
    if kind in (Binary.BLOCK, Binary.PLAIN_UNDO):
        yield from _alone(path, tick)
        return
    reader, place = _Stream(path, tick), 0
    extra = _CHECK if kind is Binary.UNDO else 0
    try:
        mark = b""
        while len(start := reader.take(8)) == 8:
            if not any(start[:4]) and (not mark or start[:4] != mark):
                return  # room that the node made beforehand
            place += 1
            mark = mark or start[:4]
            size = int.from_bytes(start[4:], "little")
            if start[:4] != mark or size > LARGEST:
                yield place, "what follows is no record"
                return
            data = reader.take(size + extra)
            if len(data) < size + extra:
                yield place, "the file ends inside of a record"
                return
            yield place, data[size:] + data[:size]
        if start.strip(b"\0"):
            yield place + 1, "the file ends inside of a record"
    except Cut as cut:
        yield place + 1, str(cut)


def _alone(path: str, tick: Callable[[int], None] | None) -> Iterator[tuple[int, bytes | str]]:
    data = bytearray()
    try:
        for block in blocks_of(path, tick):
            data += block
            if len(data) > LARGEST:
                yield 1, f"a record of more than {LARGEST >> 20} MiB"
                return
    except Cut as cut:
        yield 1, str(cut)
        return
    yield 1, bytes(data)


def _lines(path: str, tick: Callable[[int], None] | None) -> Iterator[tuple[int, bytes | str]]:
    """Records in hexadecimal, one a line."""
    rest, place = bytearray(), 0
    try:
        for block in blocks_of(path, tick):
            rest += block
            *lines, tail = bytes(rest).split(b"\n") if b"\n" in block else (bytes(rest),)
            if lines or b"\n" in block:
                rest = bytearray(tail)
            for line in lines:
                if line.strip():
                    place += 1
                    yield place, _unhex(line)
            if len(rest) > LARGEST:
                yield place + 1, f"a line of more than {LARGEST >> 20} MiB"
                return
    except Cut as cut:
        yield place + 1, str(cut)
        return
    if rest.strip():
        yield place + 1, _unhex(bytes(rest))


def _unhex(line: bytes) -> bytes | str:
    try:
        return bytes.fromhex(line.decode("ascii", "replace").strip().strip("\ufeff").removeprefix("0x"))
    except ValueError:
        return "not hexadecimal"


class _Stream:
    def __init__(self, path: str, tick: Callable[[int], None] | None) -> None:
        self._blocks, self._rest = blocks_of(path, tick), bytearray()

    def take(self, count: int) -> bytes:
        """So many bytes, fewer at the end."""
        while len(self._rest) < count and (block := next(self._blocks, b"")):
            self._rest += block
        taken = bytes(self._rest[:count])
        del self._rest[:count]
        return taken


def _is_header(data: bytes, at: int) -> bool:
    """Whether a block header may lie here: by its time and its target, which no random bytes have."""
    if len(data) < at + _HEADER:
        return False
    time, exponent = int.from_bytes(data[at + 68 : at + 72], "little"), data[at + 75]
    return time >= _FIRST_TIME and 1 <= exponent <= 0x21 and data[at + 74] < 0x80


def _is_plain(data: bytes) -> bool:
    """Whether outputs lie one after another: amounts of coins, and scripts with their lengths."""
    at = count = 0
    while at + 9 < len(data) and count < 16:
        value, size = int.from_bytes(data[at : at + 8], "little"), data[at + 8]
        if value > 10**17 or size > 0xFD:
            return False
        at += 9 + size if size < 0xFD else 11 + int.from_bytes(data[at + 9 : at + 11], "little")
        count += 1
    return count > 0 and (at == len(data) or count == 16)
