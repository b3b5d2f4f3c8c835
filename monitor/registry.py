"""Everything that is found by name: chain families, address forms, channels, stores.

A plug-in is one file and one line here; it is imported only when its name is used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from monitor.errors import ConfigError

__all__ = ["ADDRESSES", "CHAINS", "CHANNELS", "DETECTORS", "HISTORIES", "MEMPOOLS", "STORES", "did_you_mean", "load"]

CHAINS = {
    "bitcoin": "chains.bitcoin.watcher:BitcoinChain",
    "evm": "chains.evm.watcher:EvmChain",
    "nem": "chains.nem.watcher:NemChain",
}
HISTORIES = {  # families that also give past blocks
    "bitcoin": "chains.bitcoin.history:BitcoinHistory",
    "evm": "chains.evm.history:EvmHistory",
    "nem": "chains.nem.history:NemHistory",
}
MEMPOOLS = {  # families that also tell what waits to be mined
    "bitcoin": "chains.bitcoin.pending:BitcoinMempool",
    "evm": "chains.evm.pending:EvmMempool",
    "nem": "chains.nem.pending:NemMempool",
}
ADDRESSES = {
    "evm": "monitor.addresses.evm:canonical",
    "bitcoin": "monitor.addresses.bitcoin:canonical",
    "nem": "monitor.addresses.nem:canonical",
}
CHANNELS = {
    "alertmanager": "alerts.channels.alertmanager:AlertmanagerChannel",
    "apprise": "alerts.channels.apprise:AppriseChannel",
    "circuit_breaker": "alerts.channels.circuit_breaker:CircuitBreakerChannel",
    "console": "alerts.channels.console:ConsoleChannel",
    "discord": "alerts.channels.discord:DiscordChannel",
    "email": "alerts.channels.smtp:SmtpChannel",
    "exec": "alerts.channels.exec:ExecChannel",
    "file": "alerts.channels.file:FileChannel",
    "matrix": "alerts.channels.matrix:MatrixChannel",
    "mattermost": "alerts.channels.mattermost:MattermostChannel",
    "opsgenie": "alerts.channels.opsgenie:OpsgenieChannel",
    "pagerduty": "alerts.channels.pagerduty:PagerDutyChannel",
    "slack": "alerts.channels.slack:SlackChannel",
    "teams": "alerts.channels.teams:TeamsChannel",
    "telegram": "alerts.channels.telegram:TelegramChannel",
    "webhook": "alerts.channels.webhook:WebhookChannel",
}
STORES = {
    "memory": "monitor.memory_store:MemoryStore",
    "sqlite": "monitor.sqlite_store:SqliteStore",
    "redis": "monitor.redis_store:RedisStore",
}

DETECTORS = (  # names alone: what judges is compiled, which takes seconds
    *(f"CT-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)),
    *(f"CW-{number}" for number in range(1, 5)),
    *(f"DF-{number}" for number in range(1, 4)),
    *(f"HW-{number}" for number in range(1, 9)),
    *(f"MP-{number}" for number in range(1, 5)),
    *(f"PW-{number}" for number in range(1, 10)),
    "FUSION", "GUARD", "RULE", "SWEEP",
)  # fmt: skip


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt word: the nearest valid ones, else all of them.

    >>> did_you_mean("webhok", ["webhook", "console"])
    "did you mean 'webhook'?"
    """
    choices = sorted(valid)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(choices) or 'nothing'}"


def load(table: dict[str, str], name: str, what: str) -> Any:
    """The object behind a name; ConfigError with a hint where the name is unknown.

    Parameters
    ----------
    table : one of the tables of this module
    name : the name as the user wrote it
    what : the noun for the error, "channel type" for example
    """
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}: {did_you_mean(name, table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
