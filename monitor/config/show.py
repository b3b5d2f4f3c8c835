"""A configuration for people and scripts, without its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from monitor.config.own_detectors import cards_of
from monitor.ids import iso
from monitor.model import ControlKind

if TYPE_CHECKING:
    from monitor.config.types import ChainConfig, Config, EndpointConfig, Rule
    from monitor.derived import DerivedAddresses
    from monitor.model import Trusted, Wallet

__all__ = ["MASK", "READ_CONTROLS", "mask", "not_applied", "public", "summary", "waiting"]

MASK = "<secret>"
MAX_LINES = 50  # of wallets in a summary
_OF_NEM = frozenset({ControlKind.SIGNATORY_CHANGE, ControlKind.IMPORTANCE_TRANSFER})
READ_CONTROLS = {
    "evm": frozenset(ControlKind) - _OF_NEM,
    "nem": _OF_NEM,
}
"""Changes of control that the reading of a chain family shows."""


def mask(value: Any) -> Any:
    """A printable form with ``<secret>`` for every secret."""
    if isinstance(value, Mapping):
        return {k: mask(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(item) for item in value]
    return MASK if isinstance(value, SecretStr) else value


def public(config: Config) -> dict[str, Any]:
    """See `Config.public`."""
    return {
        "path": None if config.path is None else str(config.path),
        "budget": {"false_alarms_per_wallet_month": config.false_alarms_per_wallet_month},
        "chains": [_chain(chain) for chain in config.chains],
        "assets": [
            {"asset": info.asset, "symbol": info.symbol, "decimals": info.decimals} for info in config.assets.values()
        ],
        "wallets": [_wallet(wallet, config) for wallet in config.wallets],
        "planned": [
            {
                "account": f"{planned.chain}:{planned.account}",
                "kind": str(planned.kind),
                "value": planned.value,
                "from": iso(planned.start),
                "until": iso(planned.end),
            }
            for planned in config.planned
        ],
        "lists": {name: len(addresses) for name, addresses in config.lists.items()},
        "detectors": [item.path if hasattr(item, "path") else item.id for item in config.own],
        "labels": list(config.labels),
        "prices": {
            "source": config.prices.source,
            "path": config.prices.path,
            "url": mask(config.prices.url),
            "feeds": [{"asset": asset, "feed": f"{chain}:{feed}"} for asset, chain, feed in config.prices.feeds],
            "ids": dict(config.prices.ids),
            "every": config.prices.every,
            "max_age": config.prices.max_age,
            "options": mask(config.prices.options),
        },
        "store": {"kind": config.store.kind, "url": MASK if config.store.kind != "sqlite" else _store_url(config)},
        "http": {
            "listen": config.http.listen,
            "token": mask(config.http.token),
            "public_url": config.http.public_url,
            "link_secret": mask(config.http.link_secrets),
            "link_hours": config.http.link_hours,
        },
        "receivers": [
            {
                "name": receiver.name,
                "channels": [{"type": c.type, **mask(c.options)} for c in receiver.channels],
                "template": dict(receiver.template),
                "storm": receiver.storm,
                "zone": receiver.zone,
            }
            for receiver in config.receivers
        ],
        "route": mask(config.route),
        "times": mask(config.alerting.times),
        "inhibit": mask(config.alerting.inhibit),
        "escalations": mask(config.alerting.escalations),
        "drill": mask(config.alerting.drill),
        "heartbeat": [
            {"type": entry.type, "url": mask(entry.url), "every": entry.every} for entry in config.alerting.heartbeat
        ],
        "warnings": [str(warning) for warning in config.warnings],
    }


def _store_url(config: Config) -> str:
    return config.store.url.get_secret_value()  # a path on this machine


def _endpoint(endpoint: EndpointConfig) -> Any:
    """As it was written: a URL alone, or with what is said of it."""
    if (endpoint.weight, endpoint.rate) == (1.0, None):
        return MASK
    return {"url": MASK, "weight": endpoint.weight, "rate": endpoint.rate}


def _chain(chain: ChainConfig) -> dict[str, Any]:
    return {
        "name": chain.name,
        "kind": chain.kind,
        "chain": chain.chain,
        "endpoints": [_endpoint(each) for each in chain.endpoints],
        "quorum": chain.quorum,
        "replay": chain.replay,
        "poll_seconds": chain.poll_seconds,
        "start": chain.start,
        "finality_depth": chain.finality_depth,
        "mempool": chain.mempool,
        "finality": chain.finality,
        "timeout": chain.timeout,
        "backfill": chain.backfill,
        "backfill_rate": chain.backfill_rate,
        "catch_up_seconds": chain.catch_up_seconds,
        "blind_after": chain.blind_after,
        "options": mask(chain.options),
    }


def _wallet(wallet: Wallet, config: Config) -> dict[str, Any]:
    return {
        "id": wallet.id,
        "entity": wallet.entity,
        "role": str(wallet.role),
        "addresses": [f"{chain}:{address}" for chain, address in wallet.addresses],
        "fleets": [{"chain": chain, "addresses": len(members)} for chain, members in wallet.fleets],
        "derived": [_derived(each) for each in wallet.derived],
        "trusted": [_trusted(trusted) for trusted in wallet.trusted],
        "rules": [_rule(rule) for rule in config.rules.get(wallet.id, ())],
        "labels": dict(wallet.labels),
        "budget": wallet.budget,
        "detectors": mask(config.detectors.get(wallet.id, {})),
    }


def _derived(derived: DerivedAddresses) -> dict[str, Any]:
    """Never the descriptor itself, which shows all addresses that ever were and will be."""
    return {
        "chain": derived.chain,
        "descriptor": derived.shown,
        "gap_limit": derived.gap_limit,
        "used": derived.used,
        "addresses": len(derived),
        "first": list(derived.addresses[:2]),
    }


def _trusted(trusted: Trusted) -> dict[str, Any]:
    return {
        "address": f"{trusted.chain}:{trusted.address}",
        "asset": trusted.asset,
        "max": None if trusted.max_value is None else str(trusted.max_value),
        "window": trusted.window,
        "from": iso(trusted.start),
        "until": iso(trusted.end),
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "kind": str(rule.kind),
        "limits": [{"asset": asset, "value": str(value)} for asset, value in rule.limits],
        "window": rule.window,
        "share": None if rule.share is None else str(rule.share),
        "assets": list(rule.assets),
        "list": rule.list_name,
        "severity": None if rule.severity is None else str(rule.severity),
    }


def summary(config: Config) -> list[str]:
    """See `Config.summary`."""
    lines = [_chain_line(chain) for chain in config.chains]
    for wallet in config.wallets[:MAX_LINES]:
        lines += [_wallet_line(wallet, config), *(_derived_line(wallet, each) for each in wallet.derived)]
    if len(config.wallets) > MAX_LINES:
        lines.append(f"and {len(config.wallets) - MAX_LINES:,} more wallets")
    lines += [f"detector {each.id} of your own: {each.card.title}" for each in cards_of(config.own).values()]
    lines += [f"receiver {r.name}: {', '.join(c.type for c in r.channels)}" for r in config.receivers]
    if not config.receivers:
        lines.append("no receivers: alerts go to the console")
    lines.append(f"store {_store_url(config) if config.store.kind == 'sqlite' else config.store.kind}")
    lines.append(f"http {config.http.listen}, {'with a' if config.http.token else 'without a'} token")
    if config.prices.source != "none":
        lines.append(f"prices from {_prices_line(config)}")
    lines += [f"note: {line}" for line in waiting(config)]
    lines += [f"not applied by this version: {line}" for line in not_applied(config)]
    return lines + [f"warning: {warning}" for warning in config.warnings]


def not_applied(config: Config) -> list[str]:
    """What a configuration says, is checked, and changes nothing yet: nobody may believe it protects them."""
    found = []
    chains = {chain.chain: chain for chain in config.chains}
    unread = {
        f"{planned.kind} on {chains[planned.chain].name}"
        for planned in config.planned
        if planned.kind not in READ_CONTROLS.get(chains[planned.chain].kind, ())
    }
    if unread:
        found.append(f"planned changes that no reading of their chain shows: {', '.join(sorted(unread))}")
    return found


def waiting(config: Config) -> list[str]:
    """Which rules say nothing until a balance is told, a wallet a line, and who tells it."""
    found = []
    for wallet in config.wallets:
        rules = enumerate(config.rules.get(wallet.id, ()))
        if not config.detectors.get(wallet.id, {}).get("RULE", {}).get("enabled", True):
            continue
        names = [f"rules[{n}] ({rule.kind}{' a share' if rule.share else ''})" for n, rule in rules if rule.waits]
        if not names:
            continue
        who = "the chain tells it at its first block, in a backtest a balances table"
        if wallet.fleets:
            who = "only a balances table tells it, in a backtest or to calibrate: its addresses are too many to ask for"
        verb = "say" if len(names) > 1 else "says"
        found.append(f"wallet {wallet.id}: {' and '.join(names)} {verb} nothing until its balance is known; {who}")
    more = len(found) - MAX_LINES
    return [*found[:MAX_LINES], f"rules of {more:,} more wallets wait for a balance"] if more > 0 else found


_CALLS = {"bitcoin": 3}  # requests that a past block costs: its hash, itself, its prevouts


def _chain_line(chain: ChainConfig) -> str:
    reach = _count(len(chain.endpoints), "endpoint") if chain.endpoints else "no endpoint, history only"
    if chain.quorum > 1:
        reach += f", of which {chain.quorum} must agree on each block"
    learns = ""
    if chain.endpoints and chain.backfill:
        blocks = int(chain.backfill / chain.network.block_seconds)
        hours = blocks * _CALLS.get(chain.kind, 1) / chain.backfill_rate / 3600
        learns = (
            f"; at its first start it learns from {chain.backfill / 86400:g} days of history, about {blocks:,} blocks, "
            f"{hours:.1f} hours at {chain.backfill_rate:g} requests a second, the guard rail alone watches until then"
        )
    return f"chain {chain.name} ({chain.kind}, {chain.chain}): {reach}{learns}"


def _prices_line(config: Config) -> str:
    prices = config.prices
    if prices.source == "file":
        return f"the table {prices.path}"
    count = len(prices.feeds) if prices.source == "chainlink" else len(prices.ids)
    return f"{prices.source}, {_count(count, 'asset')}, every {prices.every} s"


def _wallet_line(wallet: Wallet, config: Config) -> str:
    names = {chain.chain: chain.name for chain in config.chains}
    on = ", ".join(names[chain] for chain in wallet.chains)
    return f"wallet {wallet.id} ({wallet.role}): {', '.join([*_parts(wallet, on, config)])}"


def _derived_line(wallet: Wallet, derived: DerivedAddresses) -> str:
    count = _count(len(derived), "address", "addresses")
    more = f" (gap limit {derived.gap_limit:,})" if derived.is_ranged else ""
    return f"wallet {wallet.id}: {derived.shown} gives {count}{more}, first {', '.join(derived.addresses[:2])}"


def _parts(wallet: Wallet, on: str, config: Config) -> Iterator[str]:
    number = len(wallet.addresses) + sum(len(members) for _, members in wallet.fleets) + sum(map(len, wallet.derived))
    yield f"{_count(number, 'address', 'addresses')} on {on}"
    if not wallet.role.is_exact:
        yield f"budget {wallet.budget:g} a month"
    if wallet.trusted:
        yield f"{len(wallet.trusted)} trusted"
    if config.rules.get(wallet.id):
        yield _count(len(config.rules[wallet.id]), "rule")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
