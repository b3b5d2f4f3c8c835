"""Raw blocks and transactions of the Bitcoin family: `parse_block`, `parse_tx`.

What a block claims is checked before anything of it is used: the hash of its transactions against the merkle root, the
witnesses against their commitment, the work of the header. Its parts are cut out only where they are asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from chains.bitcoin import auxpow, merkle, wire, work
from chains.bitcoin.transaction import NOTHING, Parts, RawTx, parse_tx
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["HEADER", "Header", "RawBlock", "RawTx", "parse_block", "parse_header", "parse_tx"]

HEADER = 80  # bytes
_COMMITMENT = bytes.fromhex("6a24aa21a9ed")  # BIP 141


@dataclass(frozen=True, slots=True)
class Header:
    """A block header. Hashes are as people write them; ``time`` is in UTC seconds."""

    version: int
    parent: str
    merkle_root: str
    time: int
    bits: int
    nonce: int
    hash: str


class RawBlock(Parts):
    """A checked block; flat columns over all of its transactions, and the transactions themselves."""

    def __init__(self, data: bytes, header: Header, found: tuple[Any, ...], network: Network) -> None:
        super().__init__(data, found, network)
        self.header = header

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def has_extension(self) -> bool:
        """Whether its last transaction stands for an extension block of Litecoin (LIP 2)."""
        return bool(self.txs_at[-1][4] & wire.MWEB)


def parse_header(data: bytes) -> Header:
    """The header in the first 80 bytes; nothing of it is checked.

    Raises
    ------
    DecodeError : there are fewer
    """
    if len(data) < HEADER:
        raise DecodeError(f"a block header has {HEADER} bytes, found {len(data)}")
    number = [int.from_bytes(data[at : at + 4], "little") for at in (68, 72, 76)]
    return Header(
        version=int.from_bytes(data[:4], "little", signed=True),
        parent=data[35:3:-1].hex(),
        merkle_root=data[67:35:-1].hex(),
        time=number[0],
        bits=number[1],
        nonce=number[2],
        hash=work.sha256d(data[:HEADER])[::-1].hex(),
    )


def parse_block(data: bytes | memoryview, network: Network, *, check_work: bool = True) -> RawBlock:
    """A serialised block, checked.

    Parameters
    ----------
    data : the block as nodes give it, with the work of another chain where it has that (AuxPoW)
    network : whose it is
    check_work : whether the header must show the work that it claims

    Raises
    ------
    DecodeError : it is cut off or has too much, its transactions are not those of the merkle root, its witnesses not
        those of the commitment, or its work is missing
    """
    data = bytes(data)
    header = parse_header(data)
    merged, at = None, HEADER
    if header.version & auxpow.FLAG and "merged" in network.params:
        merged, at = auxpow.parse(data, HEADER)
    if check_work:
        if merged is not None:
            merged.check(header, network)
        work.check(data[:HEADER] if merged is None else merged.parent, header.bits, network)
    count, at = _checked_length(data, at)
    if not count:
        raise DecodeError("a block without transactions")
    found = wire.index(np.frombuffer(data, np.uint8), at, count)
    status, at = found[0], found[1]
    if status != wire.OK:
        raise DecodeError(f"not a block: {wire.PROBLEMS[status]} (byte {at})")
    block = RawBlock(data, header, found, network)
    if at != len(data) and not _is_extension(block, at):
        raise DecodeError(f"{len(data) - at} bytes too many after the last transaction")
    _check_transactions(block)
    return block


def _is_extension(block: RawBlock, at: int) -> bool:
    """Whether what follows the transactions is Litecoin's extension block, or says that it is not there (LIP 3).

    The last transaction stands for it. What is in it is private, and not read.
    """
    data = block.data
    return block.has_extension and ((data[at] == 1 and at + 1 < len(data)) or data[at:] == b"\0")


def _check_transactions(block: RawBlock) -> None:
    root, is_doubled = merkle.root(block.hashes)
    if root[::-1].hex() != block.header.merkle_root:
        raise DecodeError("its transactions are not those of its merkle root")
    if is_doubled:
        raise DecodeError("transactions are repeated in a way that keeps the merkle root (CVE-2012-2459)")
    first, last = block.first_input[0], block.first_input[1]
    if last - first != 1 or block.outpoints[0] != NOTHING:
        raise DecodeError("its first transaction makes no new coins")
    if NOTHING in block.outpoints[1:]:
        raise DecodeError("another transaction than the first makes new coins")
    if any(flag & wire.WITNESS for *_, flag in block.txs_at):
        _check_witnesses(block)


def _check_witnesses(block: RawBlock) -> None:
    """BIP 141: a commitment in the coinbase's last output of that form. Those of before segwit cannot have any."""
    scripts = block.output_scripts[: block.first_output[1]]
    said = [script for script in scripts if script.startswith(_COMMITMENT) and len(script) >= 38]
    reserved = block.witness(0)
    if not said or len(reserved) != 1 or len(reserved[0]) != 32:
        raise DecodeError("it has witnesses that its coinbase does not commit to")
    data, sha = block.data, hashlib.sha256
    hashes = [
        sha(sha(data[start:end]).digest()).digest() if flag & wire.WITNESS else hash
        for (start, _, _, end, flag), hash in zip(block.txs_at, block.hashes, strict=True)
    ]
    root, _ = merkle.root([bytes(32), *hashes[1:]])
    if work.sha256d(root + reserved[0]) != said[-1][6:38]:
        raise DecodeError("its witnesses are not those of the commitment")


def _checked_length(data: bytes, at: int) -> tuple[int, int]:
    value, after, status = wire.varint(np.frombuffer(data, np.uint8), at, len(data))
    if status != wire.OK:
        raise DecodeError(f"not a block: {wire.PROBLEMS[status]} (byte {at})")
    return int(value), int(after)
