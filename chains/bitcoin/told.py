"""Prevouts that a node tells with a block: whether they can be right. Pure.

Nothing in a block commits to them. But most inputs show the hash that their output has to have, and no transaction pays
more than it has. So mistakes of a node are found; one that means to deceive could as well withhold the block.
"""

from __future__ import annotations

from collections.abc import Mapping

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock
from chains.bitcoin.script import spent_scripts, type_of

__all__ = ["can_be"]

LOOKED_AT = 256  # inputs of a block, evenly spread: each costs two hashes
_SHOWN = frozenset({"p2pkh", "p2sh", "p2wpkh", "p2wsh"})  # forms that an input has to show


def can_be(raw: RawBlock, told: Mapping[bytes, Prevout]) -> bool:
    """Whether nothing in a block contradicts what was told of its inputs."""
    step = max(1, len(raw.outpoints) // LOOKED_AT)
    ins, outs, values, txs = raw.first_input, raw.first_output, raw.output_values, raw.txs
    for tx in range(1, len(ins) - 1):
        prevouts = [told.get(point) for point in raw.outpoints[ins[tx] : ins[tx + 1]]]
        known = [prevout for prevout in prevouts if prevout is not None]
        paid = sum(values[outs[tx] : outs[tx + 1]])
        if len(known) == len(prevouts) and sum(prevout.value for prevout in known) < paid:
            return False
        for n in range(-ins[tx] % step, len(prevouts), step):
            prevout = prevouts[n]
            if prevout is None or type_of(prevout.script) not in _SHOWN:
                continue
            shown = spent_scripts(*txs[tx].shown(n))
            if shown and prevout.script not in shown:
                return False
    return True
