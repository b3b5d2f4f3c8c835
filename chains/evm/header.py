"""Is a block's hash the hash of its header? It is recomputed, so that an endpoint cannot pass off what it likes.

Sources: the Yellow Paper, section 4.3; EIP-1559, 4895, 4844, 4788 and 7685 for the fields that forks added, in their
order. Networks with headers of their own (their JSON-RPC shows the usual fields, or some of them) do not recompute.
"""

from __future__ import annotations

import logging
from collections import Counter

from chains.evm.abi import keccak
from chains.evm.wire import RpcBlock
from monitor.errors import ChainInconsistent

__all__ = ["NO_HEADER", "HeaderCheck", "check_header", "header_hash"]

log = logging.getLogger(__name__)

NO_HEADER = "header hash"  # the blind spot's name
_FIELDS = (
    "parent_hash", "sha3_uncles", "miner", "state_root", "transactions_root", "receipts_root", "logs_bloom",
    "difficulty", "number", "gas_limit", "gas_used", "timestamp", "extra_data", "mix_hash", "nonce",
)  # fmt: skip
_LATER = (
    "base_fee_per_gas", "withdrawals_root", "blob_gas_used", "excess_blob_gas", "parent_beacon_block_root",
    "requests_hash",
)  # fmt: skip
_QUANTITIES = frozenset(
    {"difficulty", "number", "gas_limit", "gas_used", "timestamp", "base_fee_per_gas", "blob_gas_used",
     "excess_blob_gas"}
)  # fmt: skip
_ROOTS = ("state_root", "transactions_root", "receipts_root")
FAILS = 3  # readings of a block that do not recompute before a network that never did is one that does not
MOST_HASHES = 256  # that failed and are remembered
FAILS_ALONE = 8  # the same where it did before and no other endpoint can be asked: a fork with new fields


def header_hash(block: RpcBlock) -> str | None:
    """The hash that the fields of ``block`` must have; None where fields are missing or unreadable."""
    try:
        names = [*_FIELDS, *(name for name in _LATER if getattr(block, name) is not None)]
        parts = [_item(name, getattr(block, name)) for name in names]
    except (TypeError, ValueError, AttributeError):
        return None
    body = b"".join(parts)
    return "0x" + keccak(_prefix(len(body), 0xC0) + body).hex()


def check_header(block: RpcBlock) -> bool:
    """Whether the hash of ``block`` is that of its header."""
    return header_hash(block) == block.hash.lower()


class HeaderCheck:
    """What to make of headers that do not recompute, on one chain.

    A header that recomputes proves that the network's do: then one that does not is a contradiction. A network whose
    headers never did, from several endpoints or several times over, is one that makes its hashes in another way; so is
    one that changed, where two endpoints tell the same such hash. That is a blind spot, never an outage.

    Parameters
    ----------
    name : the chain, for the log
    endpoints : how many there are
    """

    def __init__(self, name: str, endpoints: int) -> None:
        self._name, self._several = name, endpoints > 1
        self._proven = False
        self._fails: Counter[str] = Counter()  # readings that failed, by hash, since one succeeded
        self._by: dict[str, set[str]] = {}  # endpoints that told a hash that failed
        self._blind = False

    def see(self, block: RpcBlock, endpoint: str) -> str | None:
        """The blind spot of this reading, or None.

        Raises
        ------
        ChainInconsistent : the hash is not that of the header: ask another endpoint
        """
        if check_header(block):
            self._proven = True
            if self._blind or self._fails:
                self._blind = False
                self._fails.clear()
                self._by.clear()
            return None
        if not self._proven and all(getattr(block, name) is None for name in _ROOTS):
            return NO_HEADER  # nothing to recompute from
        if len(self._by) > MOST_HASHES:
            self._by.clear()
            self._fails.clear()
        tellers = self._by.setdefault(block.hash, set())
        tellers.add(endpoint)
        self._fails[block.hash] += 1
        if self._believed(block.hash):
            if not self._blind:
                log.warning("%s: block hashes are not those of the headers: they cannot be checked", self._name)
            self._blind = True
            self._by = {block.hash: tellers}
            return NO_HEADER
        raise ChainInconsistent(f"{endpoint}: the hash of block {block.hash[:66]} is not that of its header")

    def _believed(self, hash_: str) -> bool:
        if self._blind or len(self._by[hash_]) > 1:
            return True
        if not self._proven:
            return self._fails[hash_] >= FAILS or len(set().union(*self._by.values())) > 1
        return not self._several and self._fails[hash_] >= FAILS_ALONE


def _item(name: str, value: str) -> bytes:
    if value[:2] != "0x":
        raise ValueError(value)
    digits = value[2:]
    if name in _QUANTITIES:
        number = int(digits, 16)
        data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    else:
        data = bytes.fromhex(digits)
    return data if len(data) == 1 and data[0] < 0x80 else _prefix(len(data), 0x80) + data


def _prefix(length: int, base: int) -> bytes:
    """The head of an RLP text (``base`` 0x80) or list (0xc0)."""
    if length < 56:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size
