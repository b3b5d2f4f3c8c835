"""From checked entries to a `Config`: references, addresses and amounts, each problem at its place."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from monitor.config.alerting import build_alerting, check_zone
from monitor.config.chains import Chains
from monitor.config.claims import Claims
from monitor.config.file import ConfigFile, HttpEntry, TrustedEntry, WalletEntry
from monitor.config.named import build_lists
from monitor.config.own_addresses import OwnAddresses
from monitor.config.own_detectors import Own, build_own, cards_of
from monitor.config.planned import build_planned
from monitor.config.prices import build_prices
from monitor.config.routes import build_route
from monitor.config.rules import build_rules, build_trusted
from monitor.config.tree import Node, key_shown
from monitor.config.types import (
    ChannelConfig,
    Config,
    HttpConfig,
    Receiver,
    Rule,
    StoreConfig,
    seal,
)
from monitor.errors import ConfigError, Problem
from monitor.model import Role, Trusted, Wallet
from monitor.registry import CHANNELS, STORES, did_you_mean

if TYPE_CHECKING:
    from monitor.own import OwnDetector, OwnFile

__all__ = ["build"]

PERSONAL_BUDGET = 0.1  # false alarms a 30 days
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):(?P<port>[0-9]{1,5})")
_SECRET_CHARACTERS = 16
_LINK_HOURS = 8760
_CHANNEL_PATHS = {"file": ("path",), "email": ("ca",)}  # options that are paths, by type of channel


def build(
    file: ConfigFile,
    root: Node,
    path: Path | None,
    base: Path,
    problems: list[Problem],
    detectors: Collection[str],
    own: Sequence[Own] = (),
) -> Config:
    """The configuration of ``file``. What is wrong joins ``problems``: then the result must not be used."""
    builder = _Builder(file, root, problems, detectors, build_own(root.child("detectors"), own, problems))
    wallets = [builder.wallet(entry, node) for entry, node in zip(file.wallets, _items(root, "wallets"), strict=True)]
    if root.is_empty("wallets"):
        problems.append(root.at("wallets").problem("wallets is empty: there is nothing to watch"))
    receivers = builder.receivers()
    escalated = {step.receiver for steps in file.escalations.values() for step in steps}
    route = build_route(file.route, root.child("route"), receivers, problems, builder.warnings, escalated)
    alerting = build_alerting(file, root, receivers, problems, builder.warnings)
    planned = [
        build_planned(entry, node, builder.chains, builder.claims, problems)
        for entry, node in zip(file.planned, _items(root, "planned"), strict=True)
    ]
    return Config(
        path=path,
        base=base,
        chains=tuple(builder.chains.by_name.values()),
        wallets=tuple(wallets),
        rules=builder.rules,
        detectors=builder.settings,
        planned=tuple(entry for entry in planned if entry is not None),
        assets=builder.chains.assets,
        labels=tuple(builder.labels()),
        prices=build_prices(file.prices, root.at("prices"), builder.chains, problems),
        store=builder.store(),
        http=builder.http(),
        receivers=receivers,
        route=route,
        false_alarms_per_wallet_month=file.budget.false_alarms_per_wallet_month,
        warnings=tuple(builder.warnings),
        lists=builder.lists,
        alerting=alerting,
        own=builder.own,
        budgets=frozenset(entry.id for entry in file.wallets if entry.budget is not None),
        places=dict(_places(root, ())),
    )


def _places(node: Node, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield path, node.where
    if len(path) < 2 or path[0] in ("route", "times", "inhibit", "escalations", "receivers"):
        for child in node.children():
            yield from _places(child, (*path, child.key))


def _items(root: Node, key: str) -> list[Node]:
    child = root.child(key)
    return [] if child is None else child.value


class _Builder:
    """The parts of one configuration and what they share: chains, addresses taken so far, problems."""

    def __init__(
        self,
        file: ConfigFile,
        root: Node,
        problems: list[Problem],
        detectors: Collection[str],
        own: tuple[OwnFile | OwnDetector, ...] = (),
    ) -> None:
        self.file, self.root, self.problems, self.more_detectors = file, root, problems, detectors
        self.own = own
        self.warnings: list[Problem] = []
        self.rules: dict[str, tuple[Rule, ...]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.ids: dict[str, str] = {}  # wallet id -> where
        self.claims = Claims()
        self.chains = Chains(problems)
        self.chains.add_entries(file.chains, _items(root, "chains"))
        self.chains.add_assets(file.assets, _items(root, "assets"))
        self.lists = build_lists(root.child("lists"), self.chains, problems)

    def wallet(self, entry: WalletEntry, node: Node) -> Wallet:
        if entry.id in self.ids:
            place = node.at("id")
            self.problems.append(
                place.problem(f"wallet id {_said(place)} is used twice, first at {self.ids[entry.id]}")
            )
        self.ids.setdefault(entry.id, node.at("id").where)
        earlier = len(self.claims.fleets)
        reading = OwnAddresses(self.chains, self.claims, self.problems, self.warnings)
        addresses = tuple(dict.fromkeys(reading.read(entry, node, _said(node.at("id")))))
        derived = tuple(dict.fromkeys(reading.derived))
        fleets = tuple((fleet.chain.chain, fleet.members) for fleet in self.claims.fleets[earlier:])
        on = dict.fromkeys((*(chain for chain, _ in (*addresses, *fleets)), *(each.chain for each in derived)))
        chains = [self.chains.by_chain[chain] for chain in on]
        rules = build_rules(entry.rules, node.child("rules"), chains, self.chains, self.problems, self.lists)
        if rules:
            self.rules[entry.id] = rules
        if entry.budget is not None and entry.role.is_exact:
            place = node.at("budget")
            self.warnings.append(
                place.problem(f"{place.label} has no effect: wallets of role {entry.role} are judged by exact rules")
            )
        if entry.detectors:
            self.settings[entry.id] = self._detectors(node.at("detectors"), entry)
        return Wallet(
            id=entry.id,
            entity=entry.entity or entry.id,
            role=entry.role,
            addresses=addresses,
            trusted=tuple(self._trusted(entry.trusted, node.child("trusted"))),
            labels=entry.labels,
            budget=entry.budget or self._budget(entry.role),
            fleets=fleets,
            derived=derived,
        )

    def _budget(self, role: Role) -> float:
        general = self.file.budget.false_alarms_per_wallet_month
        return min(PERSONAL_BUDGET, general) if role is Role.PERSONAL else general

    def _trusted(self, entries: list[TrustedEntry], node: Node | None) -> Iterator[Trusted]:
        for entry, item in zip(entries, node.value if node else (), strict=True):
            trusted = build_trusted(entry, item, self.chains, self.problems)
            if trusted is not None:
                yield trusted

    def _detectors(self, node: Node, entry: WalletEntry) -> dict[str, Any]:
        from monitor.parameters import JUDGES, LISTED, faults_at  # compiles code: only where it is needed

        own = cards_of(self.own)
        cards = {**LISTED, **{name: each.card for name, each in own.items()}}
        judges = {**JUDGES, **{name: each.roles for name, each in own.items()}}
        known = {name.lower(): name for name in (*cards, *self.more_detectors)}
        out: dict[str, Any] = {}
        for name, settings in entry.detectors.items():
            place = node.at(name)
            found = known.get(name.lower())
            if found is None:
                hint = did_you_mean(name.upper(), known.values())
                self.problems.append(place.problem(f"{node.label}: unknown detector {key_shown(name)}: {hint}"))
                continue
            if found in out:
                self.problems.append(place.problem(f"{node.label}.{name}: {found} is given twice"))
            out[found] = settings
            if found not in cards:
                continue
            for key, fault in faults_at(cards[found], settings):
                self.problems.append(node.at(name, key).problem(f"{node.label}.{name}: {fault}"))
            if entry.role not in judges[found]:
                roles = ", ".join(sorted(judges[found]))
                self.warnings.append(
                    place.problem(f"{node.label}.{name} has no effect: {found} judges only wallets of role {roles}")
                )
        return out

    def receivers(self) -> tuple[Receiver, ...]:
        out: dict[str, Receiver] = {}
        for entry, node in zip(self.file.receivers, _items(self.root, "receivers"), strict=True):
            if entry.name in out:
                self.problems.append(node.at("name").problem(f"receiver {_said(node.at('name'))} is given twice"))
            if node.is_empty("channels"):
                self.problems.append(node.at("channels").problem(f"{node.label}.channels is empty"))
            channels = []
            for channel, item in zip(entry.channels, node.at("channels").value, strict=True):
                if channel.type not in CHANNELS:
                    place = item.at("type")
                    self.problems.append(
                        place.problem(f"{place.label} is unknown: {did_you_mean(channel.type, CHANNELS)}")
                    )
                options = _rooted(channel.type, channel.model_extra or {}, item.source.folder.absolute())
                channels.append(ChannelConfig(channel.type, seal(options), item.where))
            template = entry.template.model_dump(exclude_none=True) if entry.template is not None else {}
            if entry.zone is not None:
                check_zone(entry.zone, node.at("zone"), self.problems)
            out[entry.name] = Receiver(entry.name, tuple(channels), template, entry.storm, entry.zone or "")
        return tuple(out.values())

    def labels(self) -> Iterator[str]:
        written = self.root.child("labels")
        if written is None:
            return
        for item in written.value if isinstance(written.value, list) else [written]:
            pattern = str(item.source.folder.absolute() / item.value)
            if not glob.has_magic(item.value):
                if not _is_file(Path(pattern)):
                    what = item.spoken(pattern)
                    self.problems.append(item.problem(f"{item.label}: file {what} does not exist"))
            elif not glob.glob(pattern, recursive=True):  # noqa: PTH207 (the pattern is absolute)
                self.warnings.append(item.problem(f"{item.label} matches no file"))
            yield pattern

    def store(self) -> StoreConfig:
        from monitor.store_url import redis_url

        node = self.root.at("store", "url")
        url = self.file.store.url.get_secret_value()
        scheme, colon, rest = url.partition("://")
        scheme = scheme.lower()
        kind = "redis" if scheme in ("rediss", "unix") else scheme
        if not colon or kind not in STORES:
            self.problems.append(node.problem(f"store.url has an unknown scheme: {did_you_mean(kind, STORES)}"))
        elif kind == "sqlite":
            if not re.fullmatch(r"/[^\0]*[^\0/]", rest) or rest == "/:memory:":
                self.problems.append(node.problem("store.url names no file: sqlite:///heistwatch.db for example"))
            else:  # sqlite:///relative, sqlite:////absolute
                url = f"sqlite:///{node.source.folder.absolute() / rest[1:]}"
        elif kind == "redis":
            try:
                redis_url(url)
            except ConfigError as error:
                self.problems += [node.problem(f"store.url: {problem.message}") for problem in error.problems]
        return StoreConfig(kind, SecretStr(url))

    def http(self) -> HttpConfig:
        entry, node = self.file.http, self.root.at("http", "listen")
        match = _LISTEN.fullmatch(entry.listen)
        if match is None or int(match["port"]) > 65535:
            self.problems.append(node.problem("http.listen is not host:port, such as 127.0.0.1:8787"))
            return HttpConfig()
        host = match["host"].strip("[]")
        self._http_secrets(entry, node)
        if entry.token is None and "token" not in self.root.at("http").lost and not _is_loopback(host):
            self.warnings.append(node.problem("http.listen is open to other machines, and there is no http.token"))
        public = entry.public_url or ""
        if public and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", public):
            place = self.root.at("http", "public_url")
            self.problems.append(place.problem("http.public_url is no address such as https://watch.example.com"))
        if public and not (entry.token or entry.link_secret):
            self.warnings.append(
                node.problem("http.public_url has no effect: links need http.token or http.link_secret to sign them")
            )
        return HttpConfig(
            host, int(match["port"]), entry.token, public.rstrip("/"), tuple(entry.link_secret), entry.link_hours
        )


    def _http_secrets(self, entry: HttpEntry, node: Node) -> None:
        """A link shows its signature to whoever gets it, who may try secrets for as long as they like."""
        secrets = [item.get_secret_value().strip() for item in (entry.token, *entry.link_secret) if item is not None]
        if "" in secrets:
            self.problems.append(node.problem("http.token and http.link_secret must not be blank: leave them out"))
        elif any(len(text) < _SECRET_CHARACTERS for text in secrets):
            what = f"http.token or http.link_secret has fewer than {_SECRET_CHARACTERS} characters and can be guessed"
            self.warnings.append(node.problem(f"{what}; make one with: openssl rand -hex 32"))
        if entry.link_hours > _LINK_HOURS:
            what = f"http.link_hours is over {_LINK_HOURS}, a year: a link acts for whoever holds it"
            self.problems.append(node.problem(what))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _said(node: Node) -> str:
    return repr(node.value if node.raw is None else node.raw)


def _rooted(kind: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A channel's options, relative paths among them made to start at ``folder``; what is no text is left to check."""
    made = dict(options)
    for name in _CHANNEL_PATHS.get(kind, ()):
        if isinstance(made.get(name), str) and made[name].strip():
            made[name] = str(folder / made[name].strip())
    command = made.get("command")
    if kind == "exec" and isinstance(command, list) and command and "/" in str(command[0]):
        made["command"] = [str(folder / str(command[0])), *command[1:]]
    return made
