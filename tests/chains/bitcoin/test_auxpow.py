"""Merged mining: a made block with the work of another chain's header is taken, and nothing that is a little else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from chains.bitcoin import merkle, work
from chains.bitcoin.block import parse_block
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from chains.bitcoin.transaction import NOTHING
from monitor.errors import DecodeError
from monitor.networks import by_name

DOGE = by_name("dogecoin-regtest")
assert DOGE is not None
CHAIN = 0x62
MAGIC = bytes.fromhex("fabe6d6d")
BITS = 0x207FFFFF


def place(nonce: int, chain: int, height: int) -> int:
    """Where a chain's hash has to lie, from the words of the specification."""
    value = (nonce * 1103515245 + 12345) % 2**32
    value = ((value + chain) * 1103515245 + 12345) % 2**32
    return value % 2**height


def has_work(header: bytes) -> bool:
    """By Litecoin's hash."""
    digest = hashlib.scrypt(header, salt=header, n=1024, r=1, p=1, dklen=32)
    return int.from_bytes(digest, "little") <= work.target(BITS)


@dataclass
class Merged:
    """The parts of such a block; each may be changed before it is put together."""

    version: int = CHAIN << 16 | 0x104
    nonce: int = 7  # of the tree of chains
    size: int = 4  # of that tree, as the coinbase says it
    chain_branch: list[bytes] = field(default_factory=lambda: [b"\x01" * 32, b"\x02" * 32])
    chain_place: int = place(7, CHAIN, 2)
    branch: list[bytes] = field(default_factory=lambda: [b"\x03" * 32, b"\x04" * 32, b"\x05" * 32])
    place: int = 0
    parent_version: int = 0x20000000
    has_work: bool = True
    script: Callable[[bytes, bytes], bytes] = lambda root, rest: b"\x03abc" + MAGIC + root + rest
    root: bytes | None = None  # of the parent's transactions, where it is not the right one

    def data(self) -> bytes:
        """The block."""
        plain = build_block(
            "11" * 32, 1_700_000_000, [build_coinbase(9, [(5, b"\x51")])], bits=BITS, kind="", version=self.version
        )
        own, rest = plain[:80], plain[80:]
        root = merkle.branch_root(work.sha256d(own), self.chain_branch, self.chain_place)[::-1]
        said = self.size.to_bytes(4, "little") + self.nonce.to_bytes(4, "little")
        coinbase = build_tx([(NOTHING, self.script(root, said), 0xFFFFFFFF, ())], [(50, b"\x51")])
        top = self.root or merkle.branch_root(work.sha256d(coinbase), self.branch, self.place)
        start = self.parent_version.to_bytes(4, "little") + bytes(32) + top + bytes(8)
        parent = next(
            header
            for n in range(1000)
            if has_work(header := start + n.to_bytes(4, "little")) is self.has_work
        )
        return own + coinbase + bytes(32) + self._rows() + parent + rest

    def _rows(self) -> bytes:
        return b"".join(
            bytes([len(branch)]) + b"".join(branch) + number.to_bytes(4, "little")
            for branch, number in ((self.branch, self.place), (self.chain_branch, self.chain_place))
        )


def test_is_taken() -> None:
    """With the mark; without it near the start; alone in its tree; below no other transaction of the parent."""
    block = parse_block(Merged().data(), DOGE)
    assert len(block.txs) == 1 and block.output_values == [5] and block.header.version == CHAIN << 16 | 0x104
    for good in (
        Merged(script=lambda root, rest: b"\x03" + root + rest),
        Merged(script=lambda root, rest: bytes(20) + root + rest),
        Merged(chain_branch=[], chain_place=0, size=1),
        Merged(branch=[]),
        Merged(nonce=12, chain_place=place(12, CHAIN, 2)),
    ):
        assert parse_block(good.data(), DOGE).header.parent == "11" * 32


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Merged(has_work=False), "does not show the work"),
        (Merged(version=0x63 << 16 | 0x104), "of chain 99, not 98"),
        (Merged(parent_version=CHAIN << 16 | 2), "on the same chain"),
        (Merged(place=2), "is no coinbase"),
        (Merged(root=b"\x09" * 32), "is not in the parent"),
        (Merged(script=lambda root, rest: b"\x03abc" + MAGIC + root[::-1] + rest), "does not name the block"),
        (Merged(script=lambda root, rest: MAGIC + b"\x00" + root + rest), "not in its place"),
        (Merged(script=lambda root, rest: MAGIC + root + rest + MAGIC), "not in its place"),
        (Merged(script=lambda root, rest: root + rest + MAGIC), "not in its place"),
        (Merged(script=lambda root, rest: bytes(21) + root + rest), "too far behind"),
        (Merged(script=lambda root, rest: MAGIC + root + rest[:7]), "cut off"),
        (Merged(size=8), "size of the tree"),
        (Merged(nonce=8), "another place in the tree"),
        (Merged(chain_place=place(7, CHAIN, 2) ^ 1), "another place in the tree"),
        (Merged(branch=[b"\x03" * 32] * 31), "longer than there can be"),
    ],
)
def test_is_refused(bad: Merged, says: str) -> None:
    """Every rule is named where it is broken."""
    with pytest.raises(DecodeError, match=says):
        parse_block(bad.data(), DOGE)


def test_cut_off_anywhere() -> None:
    """Whatever is missing at the end, and wherever it ends."""
    data = Merged().data()
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            parse_block(data[:end], DOGE)


def test_only_where_there_is_merged_mining() -> None:
    """Elsewhere that bit of the version means nothing, and the block is one with too much in it."""
    bitcoin = by_name("bitcoin-regtest")
    assert bitcoin is not None
    with pytest.raises(DecodeError):
        parse_block(Merged().data(), bitcoin, check_work=False)
