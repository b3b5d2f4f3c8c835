"""Random chains with thefts, forgeries and reorgs; runners that feed them to the engine; and what must be equal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings

from chains.tables.layout import BALANCES, CONTROLS, FRAME
from monitor.assets import AssetNames
from monitor.config.types import Planned, Rule, RuleKind
from monitor.engine import Engine, Folded
from monitor.ids import stable_id
from monitor.incidents import Correlator
from monitor.labels import Label, LabelBook, LabelKind
from monitor.memory_store import MemoryStore
from monitor.model import (
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
    Direction,
    Incident,
    Reading,
    Role,
    Severity,
    Status,
    Transfer,
    TransferKind,
    Trusted,
    Tx,
    Wallet,
)
from monitor.own import Said, detector
from monitor.own import View as Sight
from monitor.pipeline import Pipeline
from monitor.policies.approvals import Approvals
from monitor.policies.book import PolicyBook
from monitor.policies.cold import ColdWallets
from monitor.policies.control.policy import ControlChanges
from monitor.policies.own import OwnDetectors
from monitor.policies.plain import PlainRules
from monitor.policies.poisoning import Poisoning
from monitor.policies.third_party import ThirdPartySpends
from monitor.replay import replay
from monitor.store import OutboxRow
from monitor.watchlist import Watchlist

ETH, BSC = "eip155:1", "eip155:56"
BTC = "bip122:000000000019d6689c085ae165831e93"
NATIVE = {ETH: f"{ETH}/slip44:60", BSC: f"{BSC}/slip44:714", BTC: f"{BTC}/slip44:0"}
UNIT = 10**20  # what a hot wallet holds, roughly
DAY = 86400
START = 1_700_000_000
TRIES = int(float(os.environ.get("HEISTWATCH_EXAMPLES", "1")) * 1000)  # thousandths of the usual number of examples

Told = Mapping[tuple[str, str, str], int]
Key = tuple[str, str, str]


def tries(usual: int) -> settings:
    """Settings of a property: ``usual`` examples, times ``HEISTWATCH_EXAMPLES``; the same ones in every run."""
    return settings(
        max_examples=max(1, usual * TRIES // 1000),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


WALLETS = (
    Wallet(
        "hot",
        "One",
        Role.HOT,
        ((ETH, "h1"), (ETH, "h2"), (BSC, "h3"), (BTC, "q1"), (BTC, "q2")),
        trusted=(
            Trusted(ETH, "partner", NATIVE[ETH], UNIT // 5, DAY),
            Trusted(ETH, "partner", None, UNIT // 50),
            Trusted(BSC, "partner", None, UNIT // 4, 3 * DAY, START + 5 * DAY, START + 30 * DAY),
            Trusted(BTC, "partner", None, UNIT // 5, DAY),
        ),
    ),
    Wallet("cold", "One", Role.COLD, ((ETH, "c1"), (BTC, "q3")), budget=0.1),
    Wallet("other", "Two", Role.HOT, ((ETH, "o1"), (BSC, "o2"), (BTC, "q4")), budget=3.0),
    Wallet("mine", "Three", Role.PERSONAL, ((ETH, "m1"), (BSC, "m2"))),
)
SETTINGS = {"other": {"HW-1": {"familiar": 2.0}, "GUARD": {"to_one": 0.5}}, "mine": {"PW-3": {"weight": 1.5}}}
LABELS = (
    Label(None, "thief1", "", LabelKind.MIXER, "list", START + 6 * DAY),
    Label(ETH, "customer2", "", LabelKind.EXCHANGE, "list", START - DAY),
    Label(BTC, "customer3", "", LabelKind.BRIDGE, "list", START + DAY),
)
PLANNED = (Planned(ETH, "h1", ControlKind.OWNER_CHANGE, "friend", START, START + 8 * DAY),)
KNOWN = frozenset((chain, f"customer{n}") for chain in NATIVE for n in range(4))
RULES = {
    "other": (
        Rule(RuleKind.OVER, tuple((asset, UNIT // 4) for asset in NATIVE.values()), 6 * 3600, severity=Severity.HIGH),
        Rule(RuleKind.OVER, share=Fraction(1, 3), window=DAY),
        Rule(RuleKind.OVER, ((NATIVE[ETH], UNIT // 2),)),
        Rule(RuleKind.NOT_IN, list_name="known", severity=Severity.LOW),
        Rule(RuleKind.BALANCE_BELOW, tuple((asset, UNIT // 2) for asset in NATIVE.values())),
    ),
}
OWN = {chain: [a for w in WALLETS for on, a in w.addresses if on == chain] for chain in NATIVE}
WATCHED = {(chain, a): w for w in WALLETS for chain, a in w.addresses}


def token(chain: str, name: str) -> str:
    return f"{chain}/erc20:{name}"


@dataclass(frozen=True)
class Move:
    """One transfer to be; on UTXO chains one output."""

    asset: str
    sources: tuple[tuple[str, int], ...]
    to: str
    value: int
    kind: TransferKind = TransferKind.NATIVE


@dataclass(frozen=True)
class Draft:
    """A transaction that is not in a block yet."""

    hash: str
    moves: tuple[Move, ...]
    initiator: str | None = None
    fee: int | None = None
    approval: tuple[str, str] | None = None  # account, asset
    change: tuple[ControlKind, str, str, tuple[tuple[str, str], ...]] | None = None  # kind, account, subject, detail
    read: tuple[str, tuple[tuple[str, str], ...], bool] | None = None  # account, values, whether this touched it


def look_of(chain: str, draft: Draft) -> dict[str, Any]:
    """Fee rate, nonce and so on of a transaction: mostly alike, now and then quite another, or not told."""
    rng = Random(draft.hash)
    if rng.random() < 0.2:
        return {}
    usual = rng.random() < 0.85
    rate = rng.uniform(5e10, 7e10) if usual else 10 ** rng.uniform(8.0, 13.0)
    if chain == BTC:
        signed = {"version": 2, "flags": 1, "script_type": "p2wpkh"} if usual else {"version": 1, "flags": 12}
        return {"fee_rate": rate / 1e9, "n_outputs": len(draft.moves), **signed}
    number = int("0" + "".join(c for c in draft.hash.rsplit("tx", 1)[-1] if c.isdigit()))
    return {"fee_rate": rate, "gas_limit": 21_000 if usual else 900_000, "nonce": number + rng.choice([0, 0, 0, 40])}


def made(chain: str, number: int, parent: str, timestamp: int, drafts: Sequence[Draft]) -> Block:
    """A block of drafts; its hash is one of all that it holds."""
    name = stable_id(chain, number, parent, timestamp, repr(drafts))
    ref = BlockRef(chain, number, name)
    transfers: list[Transfer] = []
    controls: list[ControlEvent] = []
    readings: list[Reading] = []
    for place, draft in enumerate(drafts):
        tx = Tx(draft.hash, place, initiator=draft.initiator, fee=draft.fee, **look_of(chain, draft))
        for move in draft.moves:
            senders = tuple(address for address, _ in move.sources)
            values = tuple(value for _, value in move.sources)
            transfers.append(
                Transfer(ref, tx, len(transfers), move.kind, move.asset, senders, move.to, move.value, values)
            )
        if draft.approval:
            account, asset = draft.approval
            controls.append(ControlEvent(ref, tx, ControlKind.APPROVAL, account, "spender", {"asset": asset}))
        if draft.change:
            kind, account, subject, detail = draft.change
            controls.append(ControlEvent(ref, tx, kind, account, subject, dict(detail)))
        if draft.read:
            account, values, touched = draft.read
            readings.append(Reading(account, dict(values), tx if touched else None))
    count = len(transfers)
    return Block(ref, parent, timestamp, tuple(transfers), tuple(controls), count, readings=tuple(readings))


class Traffic:
    """Random transactions of one chain."""

    def __init__(self, rng: Random, chain: str, *, approvals: bool = False, controls: str = "") -> None:
        self._rng = rng
        self._chain = chain
        self._approvals = approvals
        self._controls = controls  # "events", "readings" too, or none
        self._made = 0
        self._fresh = 0

    def draft(self) -> Draft:
        self._made += 1
        name = f"{self._chain}-tx{self._made}"
        if self._controls and self._rng.random() < 0.3:
            return self._control(name)
        return self._utxo(name) if self._chain == BTC else self._account(name)

    def _control(self, name: str) -> Draft:
        """A change of who may move an account's coins: told by an event, shown by its state, or both."""
        rng, own = self._rng, self._rng.choice(OWN[self._chain])
        pool = ["thief0", "thief1", "friend", "partner"]
        one = rng.choice(pool)
        change: Any = rng.choice([
            (ControlKind.OWNER_CHANGE, one, {"change": rng.choice(["added", "removed"])}),
            (ControlKind.THRESHOLD_CHANGE, str(rng.randrange(4)), {}),
            (ControlKind.MODULE_CHANGE, one, {"change": rng.choice(["enabled", "disabled"])}),
            (ControlKind.IMPLEMENTATION_CHANGE, one, {"slot": "safe"}),
            (ControlKind.DELEGATE_CALL, one, {"target_code": "0xcode"}),
            (ControlKind.DELEGATION, one, {}),
            (ControlKind.PROPOSAL, f"safe{rng.randrange(3)}",
             {"would": "delegate_call", "to": one, "confirmations": str(rng.randrange(4)), "threshold": "3"}),
        ])  # fmt: skip
        kind, subject, detail = change
        read = None
        if self._controls == "readings" and rng.random() < 0.6:
            values = {
                "code": "contract", "form": "safe", "owners": ",".join(sorted(rng.sample(pool, rng.randrange(1, 4)))),
                "threshold": str(rng.randrange(4)), "modules": rng.choice(["", "thief0"]),
                "implementation": rng.choice(pool),
                "implementation_code": rng.choice(["0xone", "0xtwo"]), "delegate": rng.choice(["", "thief0"]),
            }  # fmt: skip
            kept = {key: value for key, value in values.items() if rng.random() < 0.9}
            read = (own, tuple(sorted(kept.items())), rng.random() < 0.7)
        said = (kind, own, subject, tuple(sorted(detail.items())))
        return Draft(name, (), "stranger", change=said if read is None or rng.random() < 0.6 else None, read=read)

    def _value(self, low: float, high: float) -> int:
        return int(UNIT * self._rng.uniform(low, high))

    def _customer(self) -> str:
        if self._rng.random() < 0.25:
            self._fresh += 1
            return f"new{self._fresh}"
        return f"customer{self._rng.randrange(4)}"

    def _thief(self) -> str:
        return f"thief{self._rng.randrange(2)}"

    # -- account chains -------------------------------------------------------------------------------------------

    def _account(self, name: str) -> Draft:
        rng, chain = self._rng, self._chain
        native = NATIVE[chain]
        own = rng.choice(OWN[chain])
        kind = rng.choices(
            ["deposit", "pay", "theft", "more", "token in", "token out", "spent", "forged", "dust", "inside",
             "trusted", "return", "approve", "call"],
            [18, 26, 9, 7, 8, 8, 5, 6, 3, 5, 6, 5, 2, 5],
        )[0]  # fmt: skip
        started = rng.choice([own, own, own, None])
        if kind == "deposit":
            to = own
            return Draft(name, (self._one(native, self._customer(), to, self._value(0.001, 0.2)),), "customer")
        if kind == "return":
            coin = rng.choice([native, native, token(chain, "usd")])
            form = TransferKind.NATIVE if coin == native else TransferKind.TOKEN
            thief = self._thief()
            return Draft(name, (self._one(coin, thief, own, self._value(0.01, 1.5), form),), thief)
        if kind == "pay":
            count = rng.choice([1, 1, 3])
            moves = [self._one(native, own, self._customer(), self._value(0.001, 0.02)) for _ in range(count)]
            return Draft(name, (*moves, self._fee(own)), started)
        if kind == "theft":
            count = rng.choice([1, 1, 2])
            parts = [self._one(native, own, self._thief(), self._value(0.05, 0.7)) for _ in range(count)]
            if rng.random() < 0.4:
                parts.append(self._token(own, self._thief(), self._value(0.2, 1.0), rng.choice(["usd", "odd"])))
            return Draft(name, tuple(parts), started)
        if kind == "more":
            return Draft(name, (self._one(native, own, self._thief(), self._value(0.0001, 0.01)),), started)
        if kind == "token in":
            return Draft(name, (self._token(self._customer(), own, self._value(0.1, 1.0), self._coin()),), "customer")
        if kind == "token out":
            return Draft(name, (self._token(own, self._customer(), self._value(0.01, 0.3), self._coin()),), own)
        if kind == "spent":  # by somebody else, with an allowance
            to = rng.choice([self._thief(), self._customer()])
            return Draft(name, (self._token(own, to, self._value(0.1, 0.6), rng.choice(["usd", "odd"])),), "stranger")
        if kind == "forged":
            self._fresh += 1
            fake = self._token(own, self._thief(), self._value(1, 9), f"fake{self._fresh % 3}")
            return Draft(name, (fake, self._token("stranger", own, 1, f"fake{self._fresh % 3}")), "stranger")
        if kind == "dust":
            moves = (self._one(native, "stranger", own, 1), self._one(native, own, self._thief(), 0))
            return Draft(name, moves, "stranger")
        if kind == "call":  # without coins: known to be the wallet's own, or not
            to = rng.choice([self._thief(), self._customer(), rng.choice(OWN[chain])])
            moves = (self._token(own, to, 0, self._coin()), self._one(native, own, to, 0))
            return Draft(name, moves, rng.choice([own, own, rng.choice(OWN[chain]), "stranger", None]))
        if kind == "inside":
            return Draft(name, (self._one(native, own, rng.choice(OWN[chain]), self._value(0.01, 0.5)),), started)
        if kind == "trusted":
            coin = rng.choice([native, native, token(chain, "usd")])
            form = TransferKind.NATIVE if coin == native else TransferKind.TOKEN
            return Draft(name, (self._one(coin, own, "partner", self._value(0.01, 0.15), form),), own)
        if self._approvals:
            return Draft(name, (), rng.choice([own, "stranger"]), approval=(own, token(chain, "odd")))
        return Draft(name, (self._fee(own),), own)

    def _coin(self) -> str:
        return self._rng.choice(["usd", "odd", "odd2"])

    @staticmethod
    def _one(asset: str, source: str, to: str, value: int, kind: TransferKind = TransferKind.NATIVE) -> Move:
        return Move(asset, ((source, value),), to, value, kind)

    def _token(self, source: str, to: str, value: int, name: str) -> Move:
        return self._one(token(self._chain, name), source, to, value, TransferKind.TOKEN)

    def _fee(self, own: str) -> Move:
        return self._one(NATIVE[self._chain], own, "", self._value(0.00001, 0.0001), TransferKind.FEE)

    # -- UTXO chains ----------------------------------------------------------------------------------------------

    def _utxo(self, name: str) -> Draft:
        rng = self._rng
        kinds = ["deposit", "pay", "theft", "more", "mixed", "inside", "trusted", "return"]
        kind = rng.choices(kinds, [22, 30, 9, 6, 10, 8, 6, 5])[0]
        own = rng.choice(OWN[BTC])
        if kind == "deposit":
            value = self._value(0.001, 0.2)
            inputs = [(self._customer(), value * 2)]
            return self._joined(name, inputs, [(own, value), ("customer9", value - 5)])
        if kind == "return":
            value = self._value(0.01, 1.0)
            inputs = [(self._thief(), value), (rng.choice([self._thief(), self._customer()]), value // 3 + 1)]
            return self._joined(name, inputs, [(own, value), ("customer9", value // 3)])
        sources = [(own, self._value(0.3, 1.0))]
        if rng.random() < 0.4:
            sources.append((rng.choice(OWN[BTC]), self._value(0.1, 0.3)))
        if kind == "mixed":
            sources.append((rng.choice(["stranger", "q4"]), self._value(0.01, 0.5)))
        total = sum(value for _, value in sources)
        fee = rng.choice([0, self._value(0.00001, 0.001)])
        share = {"pay": 0.02, "theft": rng.uniform(0.3, 1.0), "more": 0.005, "trusted": 0.1}.get(kind, 0.05)
        to = {"theft": self._thief(), "more": self._thief(), "trusted": "partner"}.get(kind) or self._customer()
        if kind == "inside":
            to = rng.choice(OWN[BTC])
        paid = max(1, int((total - fee) * share * rng.uniform(0.2, 1.0)))
        outputs = [(to, paid)]
        if rng.random() < 0.3:
            outputs.append((self._customer(), self._value(0.0001, 0.003)))
        change = total - fee - sum(value for _, value in outputs)
        if change > 0:
            outputs.insert(rng.randrange(2), (rng.choice([own, own, "stranger"]) if kind == "mixed" else own, change))
        return self._joined(name, sources, outputs, rng.choice([None, max(0, fee)]))

    @staticmethod
    def _joined(
        name: str, sources: list[tuple[str, int]], outputs: list[tuple[str, int]], fee: int | None = None
    ) -> Draft:
        moves = tuple(Move(NATIVE[BTC], tuple(sources), to, value) for to, value in outputs)
        return Draft(name, moves, None, fee)


@dataclass
class View:
    """A chain as an endpoint shows it at some moment."""

    chain: str
    blocks: tuple[Block, ...]


@dataclass
class Script:
    """What happens: views in order of real time; balances that are told, by (chain, height that they hold after)."""

    views: list[View]
    told: dict[tuple[str, int], dict[Key, int]]
    chains: tuple[str, ...]

    def final(self, chain: str) -> tuple[Block, ...]:
        """The chain in the end."""
        return [view.blocks for view in self.views if view.chain == chain][-1]

    def told_at(self, block: Block) -> Told:
        """Balances before a block."""
        return self.told.get((block.ref.chain, block.ref.number - 1), {})


@dataclass
class _Growing:
    chain: str
    traffic: Traffic
    blocks: list[Block] = field(default_factory=list)
    drafts: dict[str, tuple[Draft, ...]] = field(default_factory=dict)  # by block hash
    orphans: list[Draft] = field(default_factory=list)
    highest: int = 0


GAPS = (12, 12, 60, 600, 3600, 5 * 3600, 11 * 3600)


def script(
    seed: int,
    steps: int,
    chains: Sequence[str] = (ETH,),
    *,
    reorgs: bool = True,
    approvals: bool = False,
    controls: str = "",
    quiet: int = 12,
) -> Script:
    """A random script: about ``quiet`` blocks over nine days, then ``steps`` with thefts, reorgs and gaps."""
    rng = Random(seed)
    told: dict[tuple[str, int], dict[Key, int]] = {}
    for chain in chains:
        for height in (0, quiet + 2):
            names = sorted({WATCHED[chain, a].id for a in OWN[chain]})
            told[chain, height] = {
                (name, chain, NATIVE[chain]): int(UNIT * rng.uniform(0.8, 1.5)) for name in names if rng.random() < 0.6
            }
    growing = {chain: _Growing(chain, Traffic(rng, chain, approvals=approvals, controls=controls)) for chain in chains}
    views: list[View] = []

    def grow(item: _Growing, gap: int, count: int) -> None:
        number = len(item.blocks) + 1
        parent = item.blocks[-1] if item.blocks else None
        drafts = [item.traffic.draft() for _ in range(count)]
        while item.orphans and rng.random() < 0.7:
            drafts.insert(rng.randrange(len(drafts) + 1), item.orphans.pop(rng.randrange(len(item.orphans))))
        if (item.chain, number - 1) in told:
            drafts.insert(0, _pulse(item.chain, number))
        at = (parent.timestamp if parent else START) + gap
        block = made(item.chain, number, parent.ref.hash if parent else "", at, drafts)
        item.drafts[block.ref.hash] = tuple(drafts)
        item.blocks.append(block)
        item.highest = max(item.highest, number)

    def show(item: _Growing) -> None:
        views.append(View(item.chain, tuple(item.blocks)))

    for _ in range(quiet):
        for item in growing.values():
            grow(item, rng.randrange(14 * 3600, 22 * 3600), rng.choice([2, 4]))
            show(item)
    for _ in range(steps):
        item = growing[rng.choice(list(chains))]
        if reorgs and rng.random() < 0.3:
            for _ in range(min(rng.choice([1, 1, 2, 3, 5]), len(item.blocks))):
                gone = item.blocks.pop()
                pulse = f"{item.chain}-pulse"
                item.orphans += [d for d in item.drafts[gone.ref.hash] if not d.hash.startswith(pulse)]
            for _ in range(rng.choice([0, 1, 1, 2, 4])):
                grow(item, rng.choice(GAPS[:4]), rng.choice([0, 1]))
        else:
            back = -900 if item.chain == BTC and rng.random() < 0.15 else 0
            grow(item, back or rng.choice(GAPS), rng.choice([0, 1, 1, 2, 3]))
        show(item)
    for item in growing.values():
        item.orphans.clear()
        for _ in range(max(item.highest + 1, quiet + 4) - len(item.blocks)):  # past every old tip
            grow(item, 12, 0)
        show(item)
        grow(item, 12, 1)
        show(item)
    return Script(views, told, tuple(chains))


def _pulse(chain: str, number: int) -> Draft:
    """Arrivals at every wallet: told balances hold before this block, live and in tables."""
    name = f"{chain}-pulse{number}"
    if chain == BTC:
        return Draft(name, tuple(Move(NATIVE[chain], (("customer", 10**9),), a, 10**6) for a in OWN[chain]))
    return Draft(name, tuple(Move(NATIVE[chain], (("customer", 10**6),), a, 10**6) for a in OWN[chain]), "customer")


# -- runners ----------------------------------------------------------------------------------------------------------


@detector("PACE-1", "Many payments", roles=("hot", "cold"), sees="flows", parameters={"hours": (6, 1, 99, "window")})
def pace(flow: Any, view: Sight) -> Said:
    """A third payment within six hours, of half of the balance: as a user's own file might remember and forget."""
    since = view.at - 3600 * view.number("hours")
    paid = [[at, name] for at, name in view.memory.pop("paid", []) if at > since]
    if flow.direction == Direction.OUT:
        paid.append([view.at, flow.counterparty])
    if paid:
        view.memory["paid"] = paid
    if len(paid) < 3 or flow.direction != Direction.OUT or view.share is None or 2 * view.share < 1:
        return None
    return "info", f"{view.amount} is one of {len(paid)}", {"left": str(view.after), "share": str(view.share)}


@detector("SIGN-1", "Control changed", roles=("hot", "treasury"), sees="controls")
def sign(event: Any, view: Sight) -> Said:
    """Every second change of control."""
    view.memory["seen"] = view.memory.get("seen", 0) + 1
    return ("info", f"{event.kind} {view.memory['seen']}") if view.memory["seen"] % 2 == 0 else None


def engine_of(kind: type[Engine] = Engine) -> Engine:
    """An engine for the wallets of the scripts: statistics with settings, labels, rules, detectors of users' own."""
    listed = {token(ETH, "usd"), token(BSC, "usd"), *NATIVE.values()}
    watchlist = Watchlist(WALLETS)
    labels = LabelBook(LABELS)
    policies = (
        PlainRules(RULES, {"known": KNOWN}),
        ColdWallets(watchlist, (), listed),
        ControlChanges(watchlist, PLANNED, labels),
        Approvals(watchlist, PLANNED, listed, labels),
        ThirdPartySpends(watchlist, listed, labels),
        Poisoning(watchlist, listed),
        OwnDetectors(watchlist, (pace, sign), labels, {"other": {"PACE-1": {"hours": 48}}}),
    )
    return kind(watchlist, listed, PolicyBook(watchlist, policies), labels, SETTINGS)


class Live:
    """A monitor on one store: follows what endpoints show, by the rule of the chain follower."""

    def __init__(
        self,
        story: Script,
        store: Any,
        *,
        engine: Engine | None = None,
        correlator: Correlator | None = None,
        pipeline: type[Pipeline] = Pipeline,
        rng: Random | None = None,
    ) -> None:
        self.engine = engine or engine_of()
        self.correlator = correlator or Correlator()
        self.store = store
        self.folded: list[Folded] = []
        self._story = story
        self._rng = rng or Random(0)
        self._held: dict[str, list[BlockRef]] = {}
        self.pipeline = pipeline(
            self.engine, self.correlator, store, AssetNames(), self._route, lambda: 0.0, dict.fromkeys(NATIVE, 64)
        )

    @staticmethod
    def _route(alert: Any, now: float, also: Sequence[str] = ()) -> Sequence[Any]:
        incident = alert.incident["id"]
        return [OutboxRow(alert.id, "soc", "0:test", b"", now, alert.type, incident, int(alert.severity))]

    async def start(self) -> Live:
        """Take over what is stored."""
        await self.pipeline.start()
        for chain in self._story.chains:
            tip = await self.store.checkpoint(chain)
            self.pipeline.tips[chain] = tip
            heights = range(1, tip.number + 1) if tip else range(0)
            self._held[chain] = [(await self.store.block(chain, number)).ref for number in heights]
        return self

    async def see(self, view: View) -> None:
        """Follow one view."""
        held = self._held[view.chain]
        refs = [block.ref for block in view.blocks]
        while held and (len(held) > len(refs) or refs[len(held) - 1] != held[-1]):
            await self.pipeline.disconnect(held.pop())
            await self._maybe_flush(view.chain)
        for block in view.blocks[len(held) :]:
            self.folded.append(await self.pipeline.connect(block, self._story.told_at(block)))
            held.append(block.ref)
            await self._maybe_flush(view.chain)

    async def _maybe_flush(self, chain: str) -> None:
        if self._rng.random() < 0.6:
            await self.pipeline.flush(chain)

    async def run(self, views: Iterable[View]) -> Live:
        """Follow several views, and store everything."""
        for view in views:
            await self.see(view)
        for chain in self._story.chains:
            await self.pipeline.flush(chain)
        return self


async def live(story: Script, *, store: Any = None, rng: Random | None = None, **parts: Any) -> Live:
    """A monitor that saw the whole script."""
    runner = await Live(story, store or MemoryStore(), rng=rng, **parts).start()
    return await runner.run(story.views)


async def plain(story: Script) -> Live:
    """A monitor that saw nothing but the final chains."""
    runner = await Live(story, MemoryStore()).start()
    return await runner.run([View(chain, story.final(chain)) for chain in story.chains])


def frame_of(story: Script) -> pl.DataFrame:
    """The final chains as a history table."""
    rows = [_row(t, block) for chain in story.chains for block in story.final(chain) for t in block.transfers]
    return pl.DataFrame(rows, schema=dict(FRAME), orient="row")


def _row(t: Transfer, block: Block) -> dict[str, Any]:
    utxo = block.ref.chain == BTC
    return {
        "chain": block.ref.chain, "block_number": block.ref.number, "block_timestamp": block.timestamp,
        "transaction_hash": t.tx.hash, "transaction_index": t.tx.index, "transfer_index": t.index,
        "kind": str(t.kind), "asset": t.asset, "from_address": None if utxo else t.from_addresses[0],
        "inputs": list(t.from_addresses) if utxo else None,
        "input_values": [str(v) for v in t.input_values] if utxo else None,
        "to_address": t.to_address, "value": str(t.value), "amount": float(t.value), "tx_from": t.tx.initiator,
        "nonce": t.tx.nonce, "fee": str(t.tx.fee) if t.tx.fee is not None else None, "fee_rate": t.tx.fee_rate,
        "gas_limit": t.tx.gas_limit, "n_outputs": t.tx.n_outputs, "version": t.tx.version, "flags": t.tx.flags,
        "script_type": t.tx.script_type or None,
    }  # fmt: skip


def balances_of(story: Script) -> pl.DataFrame:
    """What the script tells of balances, as a table."""
    watchlist = Watchlist(WALLETS)
    rows = [
        (chain, watchlist.addresses(wallet, chain)[0], asset, height, str(value))
        for (chain, height), told in story.told.items()
        for (wallet, _, asset), value in told.items()
    ]
    return pl.DataFrame(rows, schema=dict(BALANCES), orient="row")


def controls_of(story: Script) -> pl.DataFrame:
    """The changes of control of the final chains as a table, approvals apart."""
    rows = [
        (chain, block.ref.number, block.timestamp, event.tx.hash, event.tx.index, str(event.kind), event.account,
         event.subject, json.dumps(event.detail))
        for chain in story.chains
        for block in story.final(chain)
        for event in block.controls
        if event.kind is not ControlKind.APPROVAL
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(CONTROLS), orient="row")


def backtest(story: Script) -> tuple[Engine, Correlator]:
    """The final chains through the replay of history tables."""
    engine = engine_of()
    controls = controls_of(story)
    return engine, replay(engine, frame_of(story), AssetNames(), balances_of(story), controls=controls).correlator


# -- what must be equal -----------------------------------------------------------------------------------------------


def essence(incidents: Iterable[Incident]) -> list[tuple[Any, ...]]:
    """Of incidents that stand: membership, severity, lost amounts and what follows from them; sorted."""
    found = [
        (
            i.opened_at, i.opened_chain, i.opened_block, i.opened_tx, i.entity, i.wallets, i.severity, i.findings,
            i.suspects, i.lost, tuple(sorted(map(repr, i.movements))), i.share_lost, i.share_lost_at_open,
            i.paged_at, i.paged_tx, i.return_period_days, i.budget_exceeded, i.returned, i.status,
            [entry for entry in i.history if entry["what"] == "resolve"],
        )
        for i in incidents
        if i.status is not Status.RETRACTED
    ]  # fmt: skip
    return sorted(found, key=repr)


def same_state(one: Engine, two: Engine) -> None:
    """AssertionError that names the records which differ."""
    left, right = dict(one.dump()), dict(two.dump())
    differ = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    shown = [key.decode().replace("\x1f", "|") for key in differ]
    assert not differ, f"{len(differ)} of {len(left)} records differ: {shown[:6]}"
    assert left, "nothing was folded"


def same_incidents(one: Correlator, two: Correlator) -> None:
    """AssertionError with the first incident that differs."""
    left, right = essence(one.all()), essence(two.all())
    for a, b in zip(left, right, strict=False):
        assert a == b
    assert len(left) == len(right)


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """Everything above, for the test files of this folder."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
