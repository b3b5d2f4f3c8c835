"""The documents of a file, numbered: blocks from 1 on, and what is no document as its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from chains.tables.documents.forms import Form, Piece, pieces_of
from chains.tables.documents.streams import Cut, values_of
from monitor.errors import DecodeError

__all__ = ["BLOCKS", "pieces_in"]

BLOCKS = frozenset({
    Form.EVM_BLOCK, Form.EVM_HEADER, Form.EVM_TRACED, Form.BITCOIN_BLOCK, Form.BITCOIN_HEX, Form.NEM_BLOCK,
    Form.NEM_TRANSACTION,
})  # fmt: skip


def pieces_in(
    path: str, tick: Callable[[int], None] | None = None, most: int | None = None
) -> Iterator[tuple[int, Piece | str]]:
    """Documents of a JSON file as (place, document); a text in its stead says what is wrong there.

    ``place`` counts blocks from 1 on (of NEM also transactions that lie there alone); what is broken counts as one, and
    what belongs to a block has the place of the block before it, at least 1. Frames of traces that lie in an array one
    after another are one document.

    Parameters
    ----------
    tick : told the bytes of the file on disk read so far
    most : values of the file that are looked at, whether they are documents or not; None: all

    Raises
    ------
    ConfigError : the file cannot be opened
    """
    place = 0
    frames: list[bytes] = []
    try:
        for value in islice(values_of(path, tick), most):
            try:
                found = pieces_of(value)
            except DecodeError as error:
                place += 1
                yield place, str(error)
                continue
            for piece in found:
                if _is_nameless(piece):
                    frames.append(piece.raw)
                    continue
                place += piece.form in BLOCKS
                if piece.form is Form.REFUSAL:
                    place += 1
                    yield place, f"the node answered with an error: {piece.raw[:150].decode('utf-8', 'replace')}"
                else:
                    yield max(1, place), piece
    except Cut as cut:
        yield place + 1, str(cut)
    if frames:
        yield max(1, place), Piece(Form.EVM_FRAMES, {}, b"[" + b",".join(frames) + b"]")


def _is_nameless(piece: Piece) -> bool:
    """A frame of one transaction that does not say of which."""
    return piece.form is Form.EVM_FRAMES and piece.raw[:1] == b"{" and not piece.fields.keys() & {
        "block_number", "txHash",
    }  # fmt: skip
