"""From the configuration to whoever tells people: channels, the planner's rules, the desk, links, heartbeats.

A part of the composition root, beside `monitor.app`: it knows the engine's side and the alerts' side together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from monitor.config import Config
from monitor.config.own_detectors import cards_of
from monitor.config.yaml import sorted_problems
from monitor.errors import ConfigError, Problem
from monitor.registry import DETECTORS

__all__ = ["checked", "labels_known", "make_channels", "make_desk", "make_heartbeats", "make_links", "make_planner",
           "make_policies", "weaknesses"]  # fmt: skip

STORM = 30  # messages a minute to one receiver, from which on what may wait is gathered
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")

Channels = Mapping[str, tuple[Any, ...]]
T = TypeVar("T")


def make_channels(config: Config) -> dict[str, tuple[Any, ...]]:
    """Channels by receiver; without receivers one that prints to the console.

    Raises
    ------
    ConfigError : options that are wrong, each with its line
    """
    from alerts.make import make_channel

    if not config.receivers:
        return {"console": (make_channel({"type": "console"}),)}
    problems: list[Problem] = []
    made: dict[str, tuple[Any, ...]] = {}
    for place, receiver in enumerate(config.receivers):
        channels = []
        for channel in receiver.channels:
            try:
                channels.append(make_channel(channel.plain(), receiver.template))
            except ConfigError as error:
                problems += [Problem(p.message, p.where or channel.where) for p in error.problems]
        made[receiver.name] = tuple(channels)
        names = [(channel.name, channel.type) for channel in channels if channel.name]
        for name, kind in {pair for pair in names if names.count(pair) > 1}:
            text = f"receivers[{place}].channels: two {kind} channels have the name {name!r}"
            problems.append(Problem(text, config.place("receivers", place)))
    if problems:
        raise ConfigError(problems)
    return made


def checked(config: Config) -> dict[str, tuple[Any, ...]]:
    """The channels of a configuration in which nothing is wrong about telling people; ConfigError otherwise."""
    problems: list[Problem] = []
    unmade: dict[str, tuple[Any, ...]] = {receiver.name: () for receiver in config.receivers}
    channels = _collected(problems, lambda: make_channels(config), unmade)
    _collected(problems, lambda: make_planner(config, channels), None)
    _collected(problems, lambda: make_links(config), None)
    _collected(problems, lambda: make_heartbeats(config, lambda: False), None)
    if problems:
        raise ConfigError(sorted_problems(problems))
    return channels


def labels_known(config: Config) -> tuple[Mapping[str, set[str]], Mapping[str, str]]:
    """(values that exist by label, CAIP-2 by configured chain name): a matcher that names another matches nothing."""
    known = {
        "entity": {wallet.entity for wallet in config.wallets},
        "wallet": {wallet.id for wallet in config.wallets},
        "detector": set(DETECTORS).union(cards_of(config.own), *config.detectors.values()),
    }
    return known, {chain.name: chain.chain for chain in config.chains}


def make_policies(config: Config, channels: Channels) -> Mapping[str, Any]:
    """Policies of escalation by name."""
    from alerts.escalate import parse_policies

    return _placed(config, lambda: parse_policies(config.alerting.escalations, list(channels)))


def make_planner(config: Config, channels: Channels) -> Any:
    """The owner's rules of telling: routes, times, inhibition, storms.

    Raises
    ------
    ConfigError : each problem with its line
    """
    from alerts.inhibit import parse_rules
    from alerts.intervals import parse_times
    from alerts.plan import Planner
    from alerts.route import parse

    tree = dict(config.route) if config.route else {"receiver": next(iter(channels))}
    known, chains = labels_known(config)
    alerting = config.alerting
    problems: list[Problem] = []

    def read(work: Callable[[], Any], otherwise: Any) -> Any:
        return _collected(problems, lambda: _placed(config, work), otherwise)

    _collected(problems, lambda: make_policies(config, channels), None)
    times = read(lambda: parse_times(alerting.times), dict.fromkeys(alerting.times, ()))
    rules = read(lambda: parse_rules(alerting.inhibit, known=known, chains=chains), ())
    policies = list(alerting.escalations)
    route = read(
        lambda: parse(tree, list(channels), known=known, chains=chains, times=times, policies=policies), None
    )
    if problems or route is None:
        raise ConfigError(problems)
    given = {receiver.name: receiver.storm for receiver in config.receivers if receiver.storm is not None}
    machines = {name for name, group in channels.items() if all(channel.machine for channel in group)}
    storms = {name: given.get(name, STORM) for name in channels}
    return Planner(route, list(channels), times=times, rules=rules, storms=storms, machines=machines)


def make_links(config: Config, address: str | None = None) -> Any:
    """What makes and reads the links in messages; it makes none where nothing signs them.

    Parameters
    ----------
    address : where the HTTP interface listens, ``host:port``; the configured one unless told
    """
    from alerts.link import Links, base_url, keys_of

    http = config.http
    secrets = http.link_secrets or ((http.token,) if http.token is not None else ())
    base = base_url(http.public_url or None, address or http.listen)
    return Links(base, keys_of(*(secret.get_secret_value() for secret in secrets)), http.link_hours)


def make_desk(config: Config, channels: Channels, store: Any, links: Any = None) -> Any:
    """The desk over an open store; `load` it before anything else.

    Parameters
    ----------
    links : see `make_links`; made anew where it is not given
    """
    from alerts.desk import Desk

    found = links if links is not None else make_links(config)
    zones = {receiver.name: receiver.zone for receiver in config.receivers if receiver.zone}
    return Desk(
        store, make_planner(config, channels), channels,
        policies=make_policies(config, channels), links=found.links, zones=zones,
    )  # fmt: skip


def make_heartbeats(config: Config, healthy: Callable[[], bool]) -> list[Any]:
    """The dead-man's switches; ``healthy`` is asked before each ping."""
    from alerts.heartbeat import Heartbeat

    return [
        Heartbeat(entry.type, entry.url.get_secret_value(), entry.every, healthy)
        for entry in config.alerting.heartbeat
    ]


def weaknesses(config: Config, channels: Channels) -> list[str]:
    """What people should hear of their rules: escalation that goes the ways that were already tried."""
    from alerts.escalate import same_ways

    types = {name: [channel.type for channel in group] for name, group in channels.items()}
    found = []
    for name, policy in make_policies(config, channels).items():
        first = list(_led_by(config.route, name, next(iter(channels), "")))
        found += same_ways(policy, first, types)
    return found


def _led_by(route: Mapping[str, Any], policy: str, around: str, inherited: str = "") -> Sequence[str]:
    """Receivers of the routes that a policy of escalation holds for."""
    receiver = route.get("receiver") or around
    holds = route.get("escalation") or inherited
    found = [receiver] if holds == policy else []
    for inner in route.get("routes", ()):
        found += _led_by(inner, policy, receiver, holds)
    return found


def _collected(problems: list[Problem], work: Callable[[], T], otherwise: T) -> T:
    """What ``work`` gives; its problems join ``problems``, so that all of them are said at once."""
    try:
        return work()
    except ConfigError as error:
        problems += error.problems
        return otherwise


def _placed(config: Config, work: Callable[[], T]) -> T:
    """What ``work`` gives; its problems name the file and line instead of the place in the mapping."""
    try:
        return work()
    except ConfigError as error:
        raise ConfigError([_at(config, problem) for problem in error.problems]) from None


def _at(config: Config, problem: Problem) -> Problem:
    path = tuple(int(index) if index else name for name, index in _STEP.findall(problem.where or ""))
    line = config.place(*path) if path else ""
    return Problem(f"{problem.where}: {problem.message}", line) if line else problem
