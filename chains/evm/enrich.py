"""What control events say of other contracts, made fuller: is the spender a contract, which code is called, how old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chains.evm.code import Codes, kind_of
from monitor.model import Block, ControlEvent, ControlKind

__all__ = ["enrich"]

MOST_SUBJECTS = 40  # that are asked about in one block
_ADDRESS = 42  # characters
_OF_CODE = {ControlKind.DELEGATE_CALL: "target_code", ControlKind.DELEGATION: "code_hash"}


async def enrich(block: Block, codes: Codes) -> Block:
    """Approvals get ``spender_code`` and ``spender_age``, delegate calls ``target_code``, delegations ``code_hash``.

    What cannot be told is left out; what an event says already stays.

    Raises
    ------
    ChainUnavailable, ChainInconsistent : see `Pinned.ask`
    """
    subjects = [event.subject for event in block.controls if _wants(event)]
    if not subjects:
        return block
    found = await codes.of(list(dict.fromkeys(subjects))[:MOST_SUBJECTS], block.ref)
    spenders = [event.subject for event in block.controls if event.kind is ControlKind.APPROVAL and _wants(event)]
    ages = await codes.ages([one for one in spenders if kind_of(found.get(one, "0x")) != "none"], block.ref)
    controls = tuple(
        replace(event, detail={**_said(event, found[event.subject], codes, ages), **event.detail})
        if _wants(event) and event.subject in found
        else event
        for event in block.controls
    )
    return replace(block, controls=controls)


def _wants(event: ControlEvent) -> bool:
    """Whether the code of the event's subject matters."""
    if not event.subject.startswith("0x") or len(event.subject) != _ADDRESS or not event.subject[2:].strip("0"):
        return False
    if event.kind is ControlKind.APPROVAL:
        return event.detail.get("value") != "0"
    return event.kind in _OF_CODE


def _said(event: ControlEvent, code: str, codes: Codes, ages: Mapping[str, str]) -> dict[str, str]:
    if event.kind is not ControlKind.APPROVAL:
        return {_OF_CODE[event.kind]: codes.hash(code)}
    age = ages.get(event.subject)
    return {"spender_code": kind_of(code), **({"spender_age": age} if age is not None else {})}
