"""What a verdict does to the engine's state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

from monitor.engine import Engine
from monitor.model import Incident
from monitor.spool import Said
from monitor.store import Delta

__all__ = ["Effect", "effect_of"]


@dataclass(frozen=True, slots=True)
class Effect:
    """What changed, how to undo it, and what to say to a later fold of the same blocks, by chain."""

    state: Delta = ()
    undo: Delta = ()
    said: tuple[tuple[str, Said], ...] = ()


def effect_of(engine: Engine, kind: str, incident: Incident, *, confirmed: bool, only: str | None = None) -> Effect:
    """Let a verdict take effect.

    Parameters
    ----------
    kind : what was said, see `monitor.verdicts`
    confirmed : whether somebody said before that it is a theft
    only : on that chain; None: on all
    """
    findings = [f for f in incident.findings if only in (None, f.chain)]
    suspects = sorted({(f.wallet, f.chain, f.destination) for f in findings})
    if kind == "confirm":
        said = tuple((chain, Said("confirm", wallet, address)) for wallet, chain, address in suspects)
        return Effect(*engine.confirm_theft(suspects), said)
    false_alarm = kind == "false-alarm"
    if not false_alarm and (kind != "resolve" or confirmed):
        return Effect()
    effect = Effect()
    for wallet, chain, address in filter(itemgetter(2), suspects):  # a finding may name no suspect
        learned: dict[str, int] = {}
        for m in incident.movements if false_alarm else ():
            if (m.wallet, m.chain, m.counterparty) == (wallet, chain, address):
                learned[m.asset] = max(learned.get(m.asset, 0), m.value)
        told = Said(kind, wallet, address, tuple(sorted(learned.items())))
        changed, before = engine.clear_suspect(wallet, chain, address, learned, false_alarm=false_alarm)
        effect = Effect(effect.state + changed, effect.undo + before, (*effect.said, (chain, told)))
    return effect
