"""A block of the Bitcoin family as a `Block`: what of it touches the watch set."""

from __future__ import annotations

from collections.abc import Container

from chains.bitcoin.base import Fetched
from chains.bitcoin.prevouts import Found
from chains.bitcoin.transfers import transfers_of
from monitor.model import Block, BlockRef, Transfer
from monitor.networks import Network

__all__ = ["BLIND_WORK", "decode_block"]

BLIND_WORK = "proof of work"
BLIND_INPUTS = "owners and amounts of some inputs"


def decode_block(fetched: Fetched, number: int, found: Found, watch: Container[str], network: Network) -> Block:
    """What a block moved, as far as it touches ``watch``.

    Parameters
    ----------
    fetched : the block, checked
    number : its height: a header does not say it
    found : what of it touches the watch set, see `chains.bitcoin.prevouts`
    """
    raw = fetched.raw
    ref = BlockRef(network.chain, number, raw.header.hash)
    transfers: list[Transfer] = []
    for place in found.touched:
        transfers += transfers_of(
            raw.txs[place], ref, place, raw.first_output[place], found.spent, watch, network
        )
    spots = [BLIND_WORK] if network.params.get("work") == "unknown" else []
    spots += [BLIND_INPUTS] if found.blind else []
    return Block(
        ref=ref,
        parent_hash=raw.header.parent,
        timestamp=raw.header.time,
        transfers=tuple(transfers),
        transfers_seen=len(raw.output_scripts),
        source=fetched.endpoint,
        blind_spots=tuple(spots),
    )
