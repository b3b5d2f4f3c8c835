"""Making transactions and blocks: for recorded nodes, benches and tests. Nothing here signs anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from chains.bitcoin import merkle, work
from chains.bitcoin.transaction import NOTHING, parse_tx

__all__ = ["Input", "Output", "build_block", "build_coinbase", "build_tx", "length"]

Input = tuple[bytes, bytes, int, Sequence[bytes]]  # outpoint, script, sequence, witness
Output = tuple[int, bytes]  # base units, script
_COMMITMENT = bytes.fromhex("6a24aa21a9ed")


def length(number: int) -> bytes:
    """A length in its shortest form."""
    if number < 0xFD:
        return bytes([number])
    size = 2 if number <= 0xFFFF else 4 if number <= 0xFFFFFFFF else 8
    return bytes([{2: 0xFD, 4: 0xFE, 8: 0xFF}[size]]) + number.to_bytes(size, "little")


def build_tx(
    inputs: Sequence[Input], outputs: Sequence[Output], *, version: int = 2, lock_time: int = 0
) -> bytes:
    """A serialised transaction; with marker and flag where an input has a witness."""
    body = [length(len(inputs))]
    for point, script, sequence, _ in inputs:
        body += [point, length(len(script)), script, sequence.to_bytes(4, "little")]
    body.append(length(len(outputs)))
    for value, script in outputs:
        body += [value.to_bytes(8, "little"), length(len(script)), script]
    witness = b""
    if any(items for *_, items in inputs):
        for *_, items in inputs:
            witness += length(len(items)) + b"".join(length(len(item)) + item for item in items)
    head, tail = version.to_bytes(4, "little", signed=True), lock_time.to_bytes(4, "little")
    return head + (b"\0\1" if witness else b"") + b"".join(body) + witness + tail


def build_coinbase(height: int, outputs: Sequence[Output], txs: Sequence[bytes] = (), extra: bytes = b"") -> bytes:
    """The first transaction of a block: it names its height (BIP 34), and commits to the witnesses of the others.

    Parameters
    ----------
    txs : the other transactions of the block, serialised
    extra : bytes that make it another one
    """
    size = max(1, (height.bit_length() + 8) // 8)
    script = bytes([size]) + height.to_bytes(size, "little") + extra
    script += b"\0" * max(0, 2 - len(script))
    if not any(tx[4:6] == b"\0\1" for tx in txs):
        return build_tx([(NOTHING, script, 0xFFFFFFFF, ())], outputs)
    root, _ = merkle.root([bytes(32), *(work.sha256d(tx) for tx in txs)])
    commitment = _COMMITMENT + work.sha256d(root + bytes(32))
    return build_tx([(NOTHING, script, 0xFFFFFFFF, [bytes(32)])], [*outputs, (0, commitment)])


def build_block(
    parent: str, time: int, txs: Sequence[bytes], *, bits: int = 0x207FFFFF, kind: str = "sha256d", version: int = 4
) -> bytes:
    """A block with the work that ``bits`` asks for; by default one hash in two has it.

    Parameters
    ----------
    parent : hash of the block below, as people write it
    time : UTC seconds
    txs : serialised, the coinbase first
    kind : the hash of the work: sha256d, scrypt; anything else needs none
    """
    root, _ = merkle.root([bytes.fromhex(parse_tx(tx).hash)[::-1] for tx in txs])
    start = version.to_bytes(4, "little", signed=True) + bytes.fromhex(parent)[::-1] + root
    start += time.to_bytes(4, "little") + bits.to_bytes(4, "little")
    wanted = work.target(bits)
    for nonce in range(1 << 32):
        header = start + nonce.to_bytes(4, "little")
        if kind == "sha256d":
            digest = work.sha256d(header)
        elif kind == "scrypt":
            digest = hashlib.scrypt(header, salt=header, n=1024, r=1, p=1, dklen=32)
        else:
            break
        if int.from_bytes(digest, "little") <= wanted:
            break
    return header + length(len(txs)) + b"".join(txs)
