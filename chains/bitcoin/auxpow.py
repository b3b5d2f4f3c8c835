"""Merged mining: a block that shows the work of another chain's header.

Source: Bitcoin wiki, "Merged mining specification", and Dogecoin's rules of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chains.bitcoin import merkle, wire, work
from monitor.errors import DecodeError
from monitor.networks import Network

if TYPE_CHECKING:
    from chains.bitcoin.block import Header

__all__ = ["FLAG", "MergedWork", "parse"]

FLAG = 0x100  # of the version
_MAGIC = bytes.fromhex("fabe6d6d")
_MOST = 30  # hashes of a branch
_CHAIN_SHIFT = 16  # the version holds the chain's identifier above


@dataclass(frozen=True, slots=True)
class MergedWork:
    """The part of a block between its header and its transactions."""

    script: bytes  # of the only input of the parent's coinbase
    coinbase: bytes  # its hash
    branch: tuple[bytes, ...]  # from it to the parent's merkle root
    place: int
    chain_branch: tuple[bytes, ...]  # from our hash to the root in the parent's coinbase
    chain_place: int
    parent: bytes  # its header, 80 bytes

    def check(self, header: Header, network: Network) -> None:
        """Whether the parent's header stands for our block.

        Parameters
        ----------
        header : ours, see `chains.bitcoin.block.Header`

        Raises
        ------
        DecodeError : it does not
        """
        version, own = header.version, bytes.fromhex(header.hash)
        chain = int(network.params["merged"])
        if version >> _CHAIN_SHIFT != chain:
            raise DecodeError(f"merged mining of chain {version >> _CHAIN_SHIFT}, not {chain}")
        if int.from_bytes(self.parent[:4], "little") >> _CHAIN_SHIFT == chain:
            raise DecodeError("merged mining on the same chain")
        if self.place:
            raise DecodeError("merged mining: the parent's transaction is no coinbase")
        if merkle.branch_root(self.coinbase, self.branch, self.place) != self.parent[36:68]:
            raise DecodeError("merged mining: the parent's coinbase is not in the parent")
        root = merkle.branch_root(own[::-1], self.chain_branch, self.chain_place)[::-1]
        self._check_root(root, chain)

    def _check_root(self, root: bytes, chain: int) -> None:
        at = self.script.find(root)
        if at < 0:
            raise DecodeError("merged mining: the parent's coinbase does not name the block")
        magic = self.script.find(_MAGIC)
        if magic >= 0:
            if self.script.find(_MAGIC, magic + 1) >= 0 or magic + 4 != at:
                raise DecodeError("merged mining: the mark in the parent's coinbase is not in its place")
        elif at > 20:
            raise DecodeError("merged mining: the block's hash lies too far behind in the parent's coinbase")
        rest = self.script[at + 32 : at + 40]
        if len(rest) < 8:
            raise DecodeError("merged mining: the parent's coinbase is cut off")
        size, nonce = int.from_bytes(rest[:4], "little"), int.from_bytes(rest[4:], "little")
        if size != 1 << len(self.chain_branch):
            raise DecodeError("merged mining: the size of the tree is another")
        if self.chain_place != _expected(nonce, chain, len(self.chain_branch)):
            raise DecodeError("merged mining: the block has another place in the tree")


def parse(data: bytes, at: int) -> tuple[MergedWork, int]:
    """The part at byte ``at``, and the place after it.

    Raises
    ------
    DecodeError : it is cut off or makes no sense
    """
    found = wire.index(np.frombuffer(data, np.uint8), at, 1)
    status, after, txs, ins, _, _, _ = found
    if status != wire.OK or len(ins) != 1:
        raise DecodeError(f"merged mining: {wire.PROBLEMS.get(status, 'the parent has no coinbase')}")
    start, body, rest, end, flag = txs[0].tolist()
    text = data[start:end] if not flag else data[start : start + 4] + data[body:rest] + data[end - 4 : end]
    script = data[int(ins[0, 1]) : int(ins[0, 2])]
    at = after + 32  # the parent's hash, which its header says as well
    branch, at = _branch(data, at)
    place, at = _number(data, at)
    chain_branch, at = _branch(data, at)
    chain_place, at = _number(data, at)
    parent = data[at : at + 80]
    if len(parent) < 80:
        raise DecodeError("merged mining: the parent's header is cut off")
    made = MergedWork(script, work.sha256d(text), branch, place, chain_branch, chain_place, parent)
    return made, at + 80


def _branch(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    if at >= len(data):
        raise DecodeError("merged mining: it is cut off")
    count = data[at]
    if count > _MOST or at + 1 + 32 * count > len(data):
        raise DecodeError("merged mining: a branch is longer than there can be")
    first = at + 1
    return tuple(data[first + 32 * n : first + 32 * n + 32] for n in range(count)), first + 32 * count


def _number(data: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(data):
        raise DecodeError("merged mining: it is cut off")
    return int.from_bytes(data[at : at + 4], "little"), at + 4


def _expected(nonce: int, chain: int, height: int) -> int:
    """The place of a chain in a tree of that height: pseudo-random, so that two chains rarely want the same."""
    number = (nonce * 1103515245 + 12345 + chain) & 0xFFFFFFFF
    number = (number * 1103515245 + 12345) & 0xFFFFFFFF
    return number % (1 << height)
