"""What will be one commit of one chain: blocks, state, incidents and messages, gathered until it is stored. Pure."""

from __future__ import annotations

from dataclasses import replace

from monitor.model import BlockRef, Flow, TransferKind
from monitor.refold import Refolded
from monitor.store import BlockRecord, CoverageRange, FlowRecord, OutboxRow

__all__ = ["KEPT", "OpenCommit", "anew", "flow_record"]

KEPT = (b"undo", None)  # in every undo, so that "nothing to undo" is not taken for "no undo"


def flow_record(flow: Flow) -> FlowRecord:
    """A flow as it is kept."""
    transfer = flow.transfer
    return FlowRecord(
        chain=transfer.block.chain,
        block_number=transfer.block.number,
        tx=transfer.tx.hash,
        transfer_index=transfer.index,
        wallet=flow.wallet,
        direction=int(flow.direction),
        asset=transfer.asset,
        counterparty=flow.counterparty if transfer.kind is not TransferKind.FEE else "",
        value=flow.value,
        timestamp=flow.timestamp,
        initiator=transfer.tx.initiator,
    )


def anew(old: BlockRecord, item: Refolded | None) -> BlockRecord:
    """A stored block with the undo and the flows of another fold; None: that had nothing to do with it."""
    if item is None:
        return replace(old, undo=(KEPT,))
    return replace(old, undo=(KEPT, *item.undo), flows=tuple(flow_record(flow) for flow in item.folded.flows))


class OpenCommit:
    """A commit under construction, for one chain."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.tip: BlockRef | None = None
        self.disconnected: list[BlockRef] = []
        self.connected: list[BlockRecord] = []
        self.state: dict[bytes, bytes | None] = {}
        self.incidents: dict[str, None] = {}
        self.outbox: list[OutboxRow] = []
        self.notes: list[tuple[str, bytes | None]] = []
        self.coverage: list[CoverageRange] = []
        self.effective: dict[str, BlockRef | None] = {}
        self.base: BlockRef | None = None

    def __len__(self) -> int:
        return len(self.connected) + len(self.disconnected)
