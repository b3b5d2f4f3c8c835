"""Built-in historical thefts: facts with their sources, and their replay over generated ordinary traffic.

A case is one file of ``monitor/cases``. What is known is stated there with its source and the precision of its time;
what is not known is never filled in silently: a chosen time, an assumed balance, a stand-in address, a placeholder for
a transaction hash (``case:ID:N``) and all traffic before the theft are marked as such, and `Case.narrative` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from monitor.amounts import display
from monitor.case_file import CaseFile, Movement, Sourced, Total
from monitor.case_replay import Replay
from monitor.errors import ConfigError, Problem
from monitor.ids import iso
from monitor.model import Role
from monitor.registry import did_you_mean

__all__ = ["Case", "Stolen", "case_ids", "load_case", "parse_case"]

MAX_SHOWN = 16  # movements in a narrative
UNVERIFIED = " [unverified]"
PERSONAL_BUDGET = 0.1  # false alarms a 30 days


@dataclass(frozen=True, slots=True)
class Stolen:
    """What was taken of one asset in the replayed part of a theft. ``value`` in base units."""

    chain: str  # name of the network
    asset: str  # native or a contract
    caip19: str
    symbol: str
    value: int
    display: str


@dataclass(frozen=True)
class Case:
    """One theft. The replay members raise ConfigError where the case is a fact sheet only (``replayable`` false)."""

    file: CaseFile

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return self.file.id

    @property
    def title(self) -> str:
        """One line for people."""
        return self.file.title

    @property
    def date(self) -> str:
        """Day of the theft, UTC."""
        return self.file.date

    @property
    def entity(self) -> str:
        """The victim."""
        return self.file.entity

    @property
    def replayable(self) -> bool:
        """Whether enough is known to play the theft again."""
        return self.file.replayable

    @property
    def why_not(self) -> str | None:
        """Why it cannot be replayed."""
        return self.file.why_not.strip() if self.file.why_not else None

    @property
    def chains(self) -> tuple[str, ...]:
        """Names of the networks that take part."""
        return self.file.chains

    @cached_property
    def replay(self) -> Replay:
        """The case as transactions."""
        if not self.file.replayable:
            raise ConfigError(f"case {self.id} cannot be replayed: {self.why_not}")
        try:
            return Replay(self.file)
        except ValueError as error:
            raise ConfigError(Problem(str(error), f"case {self.id}")) from None

    @property
    def background_starts_at(self) -> int:
        """UTC seconds from which there is generated traffic."""
        return self.replay.start

    @property
    def theft_starts_at(self) -> int:
        """UTC seconds of the thief's first transaction."""
        return self.replay.theft_starts_at

    @property
    def theft_ends_at(self) -> int:
        """UTC seconds of the thief's last replayed transaction."""
        return self.replay.stolen[-1].at

    @property
    def theft_transactions(self) -> tuple[str, ...]:
        """Identifiers of the thief's transactions, in order; ``case:ID:N`` where the hash is not known."""
        return tuple(step.tx for step in self.replay.stolen)

    @property
    def noticed_at(self) -> int | None:
        """UTC seconds when the victim noticed; None: not known, or never."""
        return self.file.noticed.at if self.file.noticed else None

    @property
    def noticed_mark(self) -> str:
        """What stands behind that time wherever it is shown: nothing, or that it is not verified."""
        return "" if self.file.noticed is None or self.file.noticed.verified else UNVERIFIED

    @property
    def stolen(self) -> tuple[Stolen, ...]:
        """What the replayed transactions took, by asset, in the order in which the assets were first taken."""
        return self.stolen_after(-1)

    def stolen_after(self, at: int) -> tuple[Stolen, ...]:
        """What was taken later than ``at`` (UTC seconds): what an alarm then could still have saved."""
        sums: dict[tuple[str, str], int] = {}
        for step in self.replay.stolen:
            if step.at > at:
                key = step.chain, step.asset
                sums[key] = sums.get(key, 0) + step.value
        return tuple(self._named(chain, asset, value) for (chain, asset), value in sums.items())

    def _named(self, chain: str, asset: str, value: int) -> Stolen:
        names = {entry.asset.lower(): entry.symbol for entry in self.file.assets if entry.chain == chain}
        info = self.file.asset(chain, names.get(asset, asset))[1]
        return Stolen(chain, asset, info.asset, info.symbol, value, display(value, info.decimals, info.symbol))

    # -- replay ---------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """A heistwatch configuration that watches the victim's wallets: `version`, `budget`, `chains`, `wallets`."""
        addresses = self.replay.addresses
        wallets = []
        for wallet in self.file.wallets:
            entry: dict[str, Any] = {
                "id": wallet.id,
                "entity": wallet.entity or self.entity,
                "role": str(wallet.role),
                # CashAddr without its own prefix: the name of the chain stands there
                "addresses": [f"{chain}:{address.rpartition(':')[2]}" for chain, address in addresses[wallet.id]],
            }
            if wallet.role is Role.PERSONAL:
                entry["budget"] = PERSONAL_BUDGET
            wallets.append(entry)
        config: dict[str, Any] = {
            "version": 1,
            "budget": {"false_alarms_per_wallet_month": 1},
            "chains": [{"name": name, "replay": True} for name in self.chains],
            "wallets": wallets,
        }
        if self.file.assets:
            config["assets"] = [entry.model_dump() for entry in self.file.assets]
        return config

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the native table, generated traffic and theft, in chain order.

        ``block_timestamp`` is in UTC seconds, ``value``, ``fee`` and ``input_values`` are base units as text;
        ``from_address`` and ``input_values`` are lists on UTXO chains.
        """
        return self.replay.rows()

    def balances(self) -> list[dict[str, Any]]:
        """Rows of the balances table: what each watched address held before the first row of `rows`."""
        found = []
        for (chain, address, asset), value in self.replay.starting_balances().items():
            number = self.replay.clocks[chain].at(self.replay.start)[0] - 1
            found.append(
                {"chain": chain, "address": address, "asset": asset, "block_number": number, "value": str(value)}
            )
        return found

    # -- for people -----------------------------------------------------------------------------------------------

    @property
    def narrative(self) -> str:
        """What happened, what is known how well, and what the replay adds: plain text, one statement a line."""
        f = self.file
        lines = [f"{f.title} ({f.date}, {f.entity})", "", f.summary.strip(), ""]
        if f.theft or f.totals:
            lines += ["What left:", *self._movements(), ""]
        if f.noticed is not None:
            lines += [_noticed(f), ""]
        if f.facts:
            lines += ["Also known:", *(f"  {_when(fact)}{fact.text}{_mark(fact)}" for fact in f.facts), ""]
        if f.conflicts:
            lines += ["Sources disagree:", *(f"  {fact.text}{_mark(fact)}" for fact in f.conflicts), ""]
        lines += ["Replay:", *(f"  {line}" for line in self._replay_notes()), "", "Sources:"]
        lines += [f"  {key}: {s.title}{f' <{s.url}>' if s.url else ''}" for key, s in f.sources.items()]
        return "\n".join(lines)

    def _movements(self) -> list[str]:
        f = self.file
        every: list[Movement | Total] = [*f.theft, *f.totals]
        timed = sorted(every, key=lambda m: m.at if isinstance(m, Movement) else m.first)
        lines = [
            f"  {_movement(m, self._amount(m.chain, m.asset, m.value))}{_mark(m)}" for m in timed[:MAX_SHOWN]
        ]
        if len(timed) > MAX_SHOWN:
            lines.append(f"  ... and {len(timed) - MAX_SHOWN} more until {iso(self.theft_ends_at)}")
        return lines

    def _amount(self, chain: str, asset: str, text: str) -> str:
        info = self.file.asset(chain, asset)[1]
        return display(self.file.amount(chain, asset, text), info.decimals, info.symbol)

    def _replay_notes(self) -> list[str]:
        f = self.file
        if not f.replayable:
            return [f"none: {self.why_not}"]
        notes = [(f.background_note or "").strip()]
        every: list[Movement | Total] = [*f.theft, *f.totals]
        notes += dict.fromkeys(m.placed for m in every if m.placed)
        for b in f.balance_before:
            held = self._amount(b.chain, b.asset, b.value)
            how = f"assumed, {b.assumed}" if b.assumed else f"from {_keys(b.source or [])}"
            notes.append(f"{b.wallet} holds {held} before the theft: {how}")
        notes += [
            f"{sum(w.made.values())} address(es) of {w.id} are stand-ins, since the real ones are not known here"
            for w in f.wallets if w.made
        ]
        notes += [f"block numbers of {chain} are made up: {height.note}" for chain, height in f.heights.items()]
        if any(tx.startswith("case:") for tx in self.theft_transactions):
            notes.append(f"transactions named case:{f.id}:N are placeholders: their hashes are not known here")
        return notes


def _movement(m: Movement | Total, amount: str) -> str:
    if isinstance(m, Total):
        return f"{iso(m.first)} to {iso(m.last)}: {amount} in all on {m.chain}, single payments not known, to {m.to}"
    phase = "" if m.phase == "theft" else f" ({m.phase})"
    exact = "" if m.precision == "second" else f" ({m.precision})"
    return f"{iso(m.at)}{exact}: {amount}{phase} on {m.chain} to {m.to}, {m.tx or 'hash not known'}"


def _noticed(f: CaseFile) -> str:
    assert f.noticed is not None
    n = f.noticed
    when = f"{iso(n.at)} ({n.precision})" if n.at is not None else "not known"
    return f"Noticed by the victim: {when}{f', {n.note}' if n.note else ''}{_mark(n)}"


def _when(fact: Any) -> str:
    return f"{iso(fact.at)} ({fact.precision}): " if fact.at is not None else ""


def _mark(claim: Sourced) -> str:
    return f" [{_keys(claim.source)}]{'' if claim.verified else UNVERIFIED}"


def _keys(keys: Sequence[str]) -> str:
    return ", ".join(keys)


def case_ids() -> tuple[str, ...]:
    """Names of the built-in cases, sorted."""
    found = (entry.name for entry in files("monitor").joinpath("cases").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


@lru_cache(maxsize=16)
def load_case(case_id: str) -> Case:
    """A built-in case.

    Raises
    ------
    ConfigError : there is none of that name (with a hint), or its file is broken

    Examples
    --------
    >>> load_case("coincheck-2018").stolen[0].display
    '526,300,010 XEM'
    """
    valid = case_ids()
    if case_id not in valid:
        raise ConfigError(f"unknown case {case_id!r}: {did_you_mean(case_id, valid)}")
    text = files("monitor").joinpath("cases", f"{case_id}.yaml").read_text("utf-8")
    return parse_case(text, f"{case_id}.yaml")


def parse_case(text: str, where: str) -> Case:
    """A case from the text of its file; ConfigError lists everything that is wrong with it."""
    try:
        return Case(CaseFile.model_validate(yaml.safe_load(text)))
    except yaml.YAMLError as error:
        raise ConfigError(Problem(f"not YAML: {error}".replace("\n", " "), where)) from None
    except ValidationError as error:
        raise ConfigError(
            [Problem(f"{'.'.join(map(str, e['loc'])) or 'case'}: {e['msg']}", where) for e in error.errors()]
        ) from None
