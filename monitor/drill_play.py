"""A theft that is not real: a built-in case through a fresh engine, and what it would have told people.

Nothing of the owner's is touched: engine, pipeline and store are made for the play and forgotten after it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monitor.assets import AssetNames
from monitor.case import Case
from monitor.case_blocks import blocks_of, told_of
from monitor.config import Config, config_from_mapping
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.ids import stable_id
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Block, BlockRef, Role, Wallet
from monitor.pipeline import Pipeline
from monitor.registry import did_you_mean
from monitor.store import OutboxRow
from monitor.verdicts import verdict

__all__ = ["as_drill", "played", "script", "staged_on"]

DAY = 86400
TOLD = ("opened", "escalated", "resolved")  # what a drill says; each growth in between would only be noise
NOT_REAL = "THIS IS A DRILL: nothing was stolen, and there is nothing to stop."


def staged_on(config: Config, wallet: str | None = None) -> Wallet:
    """The owner's wallet that a drill is about: the one named, else the first hot one, else the first.

    Raises
    ------
    ConfigError : there is no such wallet, or none at all
    """
    wallets = {item.id: item for item in config.wallets}
    if wallet is not None:
        if wallet not in wallets:
            raise ConfigError(f"unknown wallet {wallet!r}: {did_you_mean(wallet, wallets)}")
        return wallets[wallet]
    hot = next((item for item in config.wallets if item.role is Role.HOT), None)
    found = hot or next(iter(config.wallets), None)
    if found is None:
        raise ConfigError("the configuration watches no wallet: add one under `wallets:`")
    return found


async def played(case: Case, wallet: Wallet, now: float, make_engine: Callable[[Config], Engine]) -> list[Alert]:
    """What the monitor says of a case, as if it were ``wallet`` that is robbed, the last theft within a day before now.

    Parameters
    ----------
    now : wall clock, UTC seconds; the case is moved there by whole days
    make_engine : for a configuration, without state

    Returns
    -------
    every alert of the case's worst incident, the first one ``opened``, the last one ``resolved``

    Raises
    ------
    ConfigError : the case cannot be replayed, or the engine raised nothing (which a test excludes for built-in cases)
    """
    config = config_from_mapping(_mapping(case, wallet), Path.cwd(), f"case {case.id}")
    store = MemoryStore()
    said: list[Alert] = []

    def route(alert: Alert, _: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        said.append(alert)
        return []

    names = AssetNames(config.assets)
    pipeline = Pipeline(make_engine(config), Correlator(), store, names, route, lambda: now, {})
    await pipeline.start()
    shift = int(now - case.theft_ends_at) // DAY * DAY
    last = await _fold(case, pipeline, shift)
    worst = max(pipeline.correlator.all(), key=lambda item: (item.severity, item.opened_at), default=None)
    if worst is None:
        raise ConfigError(f"case {case.id} raises no incident here: choose another with `drill.case`")
    await store.say(verdict("resolve", worst.id, by="drill", comment="the drill is over", at=now))
    end = BlockRef(last.ref.chain, last.ref.number + 1, f"{last.ref.hash}+1")
    await pipeline.connect(Block(end, last.ref.hash, last.timestamp + 1))
    await pipeline.flush(end.chain)
    return [alert for alert in said if alert.incident is not None and alert.incident["id"] == worst.id]


def as_drill(alert: Alert, drill_id: str, case_id: str, wallet: Wallet, path: str = "") -> Alert:
    """An alert of a played incident as what it is: a drill, in its kind, its title, its first line and its incident.

    It is routed like a theft from ``wallet``: severity, entity, wallet, role and chain are what that one's would be.
    ``path`` is that of the configuration, which its command names.
    """
    incident = dict(alert.incident or {})
    told = alert.body.rpartition("\n\n")[0]  # without commands that trust the thief
    intro = f"It plays {case_id} on {wallet.id}, to see who is reached. Acknowledge it as in earnest."
    option = f" -c {shlex.quote(path)}" if path else ""
    explanation = [NOT_REAL, *incident.get("explanation", ())]
    chains = ",".join(sorted(wallet.chains))
    labels = {"role": str(wallet.role), "chain": chains, "kind": str(alert.kind), "incident": drill_id, "drill": "true"}
    return replace(
        alert,
        id=stable_id("drill", drill_id, alert.id),
        kind=AlertKind.DRILL,
        title=f"DRILL: {alert.title}",
        body=f"{NOT_REAL}\n{intro}\n{told}\n\nheistwatch incidents ack {drill_id}{option}",
        labels={**alert.labels, **labels},
        runbook=f"{NOT_REAL} In earnest: {alert.runbook}",
        incident={**incident, "id": drill_id, "explanation": explanation},
    )


def script(alerts: Sequence[Alert]) -> list[Alert]:
    """Of what was said, what a drill sends: opened, escalated, resolved; the last of these alone ends it."""
    return [alert for alert in alerts if alert.kind in TOLD]


def _mapping(case: Case, wallet: Wallet) -> dict[str, Any]:
    """The case's configuration with the owner's names on the wallet that is robbed first."""
    mapping = case.config()
    robbed = {address for address, _ in case.replay.stolen[0].inputs}
    for entry in mapping["wallets"]:
        addresses = {text.partition(":")[2] for text in entry["addresses"]}
        if addresses & robbed:
            entry |= {"id": wallet.id, "entity": wallet.entity}
            break
    else:
        mapping["wallets"][0] |= {"id": wallet.id, "entity": wallet.entity}
    return mapping


async def _fold(case: Case, pipeline: Pipeline, shift: int) -> Block:
    """All blocks of the case; the last one."""
    told = told_of(case, pipeline.engine.watchlist)
    block: Block | None = None
    for block in blocks_of(case.rows(), shift):
        balances = {key: told.pop(key) for key in [key for key in told if key[1] == block.ref.chain]}
        await pipeline.connect(block, balances)
        if pipeline.changes:
            await pipeline.flush(block.ref.chain)
    if block is None:
        raise ConfigError(f"case {case.id} has no transactions")
    await pipeline.flush(block.ref.chain)
    return block
