"""A case as data: generated traffic and theft as rows of the native table, and the balances they start from. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.addresses import canonical
from monitor.background import DAY, generate
from monitor.block_clock import BlockClock
from monitor.case_file import CaseFile, Leg, Movement, Phase, Total, WalletEntry, network_of
from monitor.made_addresses import made_address

__all__ = ["STOLEN", "Replay", "Step"]

STOLEN = (Phase.PROBE, Phase.THEFT)
Key = tuple[str, str, str]  # chain name, address, asset


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of the replay, theft or ordinary. ``inputs`` and ``outputs`` are (address, base units)."""

    at: int
    chain: str
    tx: str
    asset: str  # native or a contract
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    phase: Phase | None  # None: generated
    internal: bool  # a contract paid, in somebody else's transaction

    @property
    def value(self) -> int:
        """Base units of the payment itself, without change."""
        return self.outputs[0][1]


class Replay:
    """Everything that a replay of ``file`` consists of. Raises ValueError where the facts contradict each other."""

    def __init__(self, file: CaseFile) -> None:
        self._file = file
        self.addresses = {wallet.id: self._wallet_addresses(wallet) for wallet in file.wallets}
        self._contracts = {
            key for wallet in file.wallets if wallet.contract for key in self.addresses[wallet.id]
        }
        self._known = {movement.tx for movement in file.theft if movement.tx is not None}
        self.theft = self._theft()
        self.clocks = {chain: self._clock(chain) for chain in file.chains}
        self.held_before = self._held_before()
        self.start = self.theft_starts_at - self._background_days() * DAY
        self.background = self._background()
        self.steps = self._as_coins(sorted([*self.background, *self.theft], key=lambda step: step.at))  # theft is last
        self.background = [step for step in self.steps if step.phase is None]
        self.theft = [step for step in self.steps if step.phase is not None]

    @property
    def stolen(self) -> list[Step]:
        """The thief's transactions, in order."""
        return [step for step in self.theft if step.phase in STOLEN]

    @property
    def theft_starts_at(self) -> int:
        """UTC seconds of the first of them."""
        return self.stolen[0].at

    # -- facts ----------------------------------------------------------------------------------------------------

    def _background_days(self) -> int:
        assert self._file.background is not None, "checked by CaseFile"
        return self._file.background.days

    def _wallet_addresses(self, wallet: WalletEntry) -> list[tuple[str, str]]:
        found = []
        for text in wallet.addresses:
            chain, _, address = text.partition(":")
            found.append((chain, canonical(network_of(chain), address)))
        for chain, count in wallet.made.items():
            text = f"heistwatch stand-in {self._file.id} {wallet.id}"
            found += [(chain, made_address(network_of(chain), f"{text} {n}")) for n in range(count)]
        return found

    def _senders(self, chain: str, names: Sequence[str]) -> list[str]:
        found: list[str] = []
        for name in names:
            own = [address for on, address in self.addresses.get(name, []) if on == chain]
            found += own or [canonical(network_of(chain), name)]
        return found

    def _theft(self) -> list[Step]:
        movements: list[Movement | tuple[Total, int, int]] = list(self._file.theft)
        for total in self._file.totals:
            movements += _split(total, self._file.amount(total.chain, total.asset, total.value))
        movements.sort(key=lambda m: m.at if isinstance(m, Movement) else m[1])
        steps = []
        for number, movement in enumerate(movements, 1):
            name = f"case:{self._file.id}:{number}"
            if isinstance(movement, Movement):
                steps.append(self._movement(movement, name))
            else:
                steps.append(self._part(movement, name))
        return steps

    def _movement(self, m: Movement, name: str) -> Step:
        value = self._file.amount(m.chain, m.asset, m.value)
        senders = self._senders(m.chain, m.sender)
        if m.inputs is not None:
            shares = [self._file.amount(m.chain, m.asset, text) for text in m.inputs]
        else:
            shares = [value // 2 // len(senders)] * len(senders)  # half from the address that the traffic uses
            shares[0] += value - sum(shares)
        if sum(shares) != value:
            raise ValueError(f"{self._file.id}: inputs of {name} do not add up to its value")
        return self._step(m.at, m.chain, m.tx or name, m.asset, senders, shares, m.to, m.phase)

    def _part(self, part: tuple[Total, int, int], name: str) -> Step:
        total, at, value = part
        sender = self._senders(total.chain, [total.wallet])[0]
        return self._step(at, total.chain, name, total.asset, [sender], [value], total.to, Phase.THEFT)

    def _step(
        self, at: int, chain: str, tx: str, asset: str, senders: list[str], shares: list[int], to: str,
        phase: Phase | None,
    ) -> Step:
        return Step(
            at, chain, tx, self._file.asset(chain, asset)[0], tuple(zip(senders, shares, strict=True)),
            ((canonical(network_of(chain), to), sum(shares)),), phase, (chain, senders[0]) in self._contracts,
        )

    def _clock(self, chain: str) -> BlockClock:
        """Anchors are the blocks of the theft: where the number is not known, one is made up from the pace."""
        seconds = network_of(chain).block_seconds
        known = {m.at: m.block for m in self._file.theft if m.chain == chain and m.block is not None}
        anchors: list[tuple[int, int]] = []
        for at in sorted({step.at for step in self.theft if step.chain == chain}):
            if at in known:
                number = known[at]
            elif anchors:
                number = anchors[-1][0] + max(1, round((at - anchors[-1][1]) / seconds))
            elif chain in self._file.heights:
                number = self._file.heights[chain].number
            else:
                raise ValueError(f"{self._file.id}: no block number to begin with on {chain}")
            anchors.append((number, at))
        return BlockClock(anchors, seconds)

    # -- balances -------------------------------------------------------------------------------------------------

    def _held_before(self) -> dict[Key, int]:
        """Balances right before the theft: each address holds what is taken from it, the first one all the rest."""
        held: dict[Key, int] = defaultdict(int)
        owners = {key: wallet for wallet, keys in self.addresses.items() for key in keys}
        taken: dict[tuple[str, str, str], int] = defaultdict(int)
        for step in self.stolen:
            for address, value in step.inputs:
                held[step.chain, address, step.asset] += value
                taken[owners[step.chain, address], step.chain, step.asset] += value
        for entry in self._file.balance_before:
            asset = self._file.asset(entry.chain, entry.asset)[0]
            rest = self._file.amount(entry.chain, entry.asset, entry.value) - taken.pop(
                (entry.wallet, entry.chain, asset), 0
            )
            if rest < 0:
                raise ValueError(f"{self._file.id}: more was taken from {entry.wallet} than it held")
            held[entry.chain, self._first(entry.wallet, entry.chain), asset] += rest
        if taken:
            raise ValueError(f"{self._file.id}: balance_before is missing for {sorted(taken)}")
        return dict(held)

    def starting_balances(self) -> dict[Key, int]:
        """Balances before the first generated payment, so that `held_before` is what is left when the theft starts."""
        return self._starting_balances(self.steps)

    def _starting_balances(self, steps: Sequence[Step]) -> dict[Key, int]:
        held = dict(self.held_before)
        for step in steps:
            if step.phase in STOLEN:
                continue
            for address, value in step.inputs:
                key = step.chain, address, step.asset
                if key in held:
                    held[key] += value
            for address, value in step.outputs:
                key = step.chain, address, step.asset
                if key in held:
                    held[key] -= value
        return held

    def _as_coins(self, steps: list[Step]) -> list[Step]:
        """On chains with coins, payments of which only the amount is known or generated: change comes back.

        The address spends all that it holds. Where theft and traffic paid with coins of different sizes, the theft
        would stand out by what nobody knows of it.
        """
        held = self._starting_balances(steps)
        found = []
        for step in steps:
            (payer, value), *others = step.inputs
            key = step.chain, payer, step.asset
            if key in held and network_of(step.chain).kind == "bitcoin" and not others and step.tx not in self._known:
                left = held[key] - value
                change = ((payer, left),) if left else ()
                step = replace(step, inputs=((payer, value + left),), outputs=(*step.outputs, *change))
            for sign, side in ((-1, step.inputs), (1, step.outputs)):
                for address, amount in side:
                    if (other := (step.chain, address, step.asset)) in held:
                        held[other] += sign * amount
            found.append(step)
        return found

    def _first(self, wallet: str, chain: str) -> str:
        return next(address for on, address in self.addresses[wallet] if on == chain)

    # -- generated traffic ----------------------------------------------------------------------------------------

    def _background(self) -> list[Step]:
        assert self._file.background is not None, "checked by CaseFile"
        found: list[Step] = []
        for place, leg in enumerate(self._file.background.legs):
            found += self._leg(place, leg)
        found.sort(key=lambda step: step.at)
        return found

    def _leg(self, place: int, leg: Leg) -> list[Step]:
        assert self._file.background is not None, "checked by CaseFile"
        seed = self._file.background.seed
        network = network_of(leg.chain)
        own = self._first(leg.wallet, leg.chain)
        asset = self._file.asset(leg.chain, leg.asset)[0]
        target = self._target(leg)
        payments = generate(
            leg.traffic, f"{seed} {place}", self.start, self._ends(leg), target,
            lambda n: made_address(network, f"heistwatch background {seed} {n}"),
        )
        steps = []
        for number, p in enumerate(payments):
            tx = f"background:{self._file.id}:{place}:{number}"
            sender, receiver = (own, p.counterparty) if p.out else (p.counterparty, own)
            internal = p.out and (leg.chain, own) in self._contracts
            steps.append(
                Step(p.at, leg.chain, tx, asset, ((sender, p.value),), ((receiver, p.value),), None, internal)
            )
        return steps

    def _ends(self, leg: Leg) -> int:
        """Traffic ends before the block in which the wallet is first robbed: from there the replay is the theft."""
        own = self.addresses[leg.wallet]
        robbed = min(
            (step.at for step in self.stolen if (step.chain, step.inputs[0][0]) in own), default=self.theft_starts_at
        )
        return self.clocks[leg.chain].at(robbed)[1]

    def _target(self, leg: Leg) -> int:
        for entry in self._file.balance_before:
            if (entry.wallet, entry.chain, entry.asset) == (leg.wallet, leg.chain, leg.asset):
                return self._file.amount(entry.chain, entry.asset, entry.value)
        raise ValueError(f"{self._file.id}: balance_before is missing for the traffic of {leg.wallet}")

    # -- rows -----------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the native table in the order of time, and of the chain within each chain."""
        placed = [(*self.clocks[step.chain].at(step.at), step) for step in self.steps]
        placed.sort(key=lambda item: item[1])
        rows: list[dict[str, Any]] = []
        transactions: dict[tuple[str, int], int] = defaultdict(int)
        transfers: dict[tuple[str, int], int] = defaultdict(int)
        for number, time, step in placed:
            block = step.chain, number
            for row in self._rows_of(step):
                row |= {
                    "block_number": number,
                    "block_timestamp": time,
                    "transaction_index": transactions[block],
                    "transfer_index": transfers[block],
                }
                transfers[block] += 1
                rows.append(row)
            transactions[block] += 1
        return rows

    def _rows_of(self, step: Step) -> list[dict[str, Any]]:
        network = network_of(step.chain)
        utxo = network.kind == "bitcoin"
        decimals, symbol = self._written(step)
        sender = step.inputs[0][0]
        common: dict[str, Any] = {
            "chain": step.chain,
            "transaction_hash": step.tx,
            "from_address": [address for address, _ in step.inputs] if utxo else sender,
            "asset": step.asset,
            "decimals": decimals,
            "symbol": symbol,
            "kind": "token" if step.asset != "native" else "internal" if step.internal else "native",
            "tx_from": None if utxo or step.internal else sender,
            "fee": "0" if utxo else None,  # fees are left out, so that sums are those of the sources
        }
        if utxo:
            common["input_values"] = [str(value) for _, value in step.inputs]
        return [common | {"to_address": address, "value": str(value)} for address, value in step.outputs]

    def _written(self, step: Step) -> tuple[int, str]:
        if step.asset == "native":
            network = network_of(step.chain)
            return network.decimals, network.symbol
        entry = next(e for e in self._file.assets if (e.chain, e.asset.lower()) == (step.chain, step.asset))
        return entry.decimals, entry.symbol


def _split(total: Total, value: int) -> list[Movement | tuple[Total, int, int]]:
    """Equal payments at equal distances from the first to the last time; the last one takes the remainder."""
    part = value // total.payments
    gap = (total.last - total.first) / (total.payments - 1)
    parts: list[Movement | tuple[Total, int, int]] = []
    for n in range(total.payments):
        last = n == total.payments - 1
        parts.append((total, total.first + int(n * gap), value - part * n if last else part))
    return parts
