"""Damaged answers of nodes: whatever JSON comes, the decoders give a result or one of the declared errors."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.base import ChainSpec
from chains.nem import accounts, balances
from chains.nem.accounts import AccountViews
from chains.nem.binary import inner_hash, transaction_hash
from chains.nem.decode import decode_block, decode_transaction, mosaics_sent, parse_block
from chains.nem.definitions import Definitions
from chains.nem.mosaic import Levy, parse_definition
from chains.nem.nodes import parsed
from chains.nem.pending import NemMempool
from monitor.errors import ChainError, DecodeError
from monitor.model import BlockRef
from monitor.networks import by_name

NETWORK = by_name("nem")
assert NETWORK is not None
REF = BlockRef("nem:mainnet", 7, "00")
LEVIES = {("nextem", "nex"): Levy(1, "N" + "A" * 39, ("nem", "xem"), 5)}
TRIES = float(os.environ.get("HEISTWATCH_EXAMPLES", "1"))


class Everyone:
    """A watch set that holds every address."""

    def __contains__(self, _: object) -> bool:
        return True


def tries(usual: int) -> settings:
    """``usual`` examples, times ``HEISTWATCH_EXAMPLES``."""
    return settings(
        max_examples=max(1, int(usual * TRIES)), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=70)
    | st.sampled_from(["", "00", "zz", "N" * 40, 257, 2049, 4097, 4100, 8193, 16385, 16386, 1 << 63, 1 << 64, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += places(inner, (*path, number))
    return found


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value of which up to three places are replaced, removed, or doubled."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        paths = places(value)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        target = value
        for step in way:
            target = target[step]
        how = draw(st.sampled_from(["replace", "replace", "remove", "double", "other"]))
        if how == "remove":
            del target[last]
        elif how == "double" and isinstance(target, list):
            target.append(copy.deepcopy(target[last]))
        elif how == "other":  # the part of another place
            other = value
            for step in draw(st.sampled_from(paths)):
                if not ((isinstance(other, dict) and step in other) or (isinstance(other, list) and step < len(other))):
                    break
                other = other[step]
            target[last] = copy.deepcopy(other)
        else:
            target[last] = draw(JUNK)
    return value


@cache
def answers(root: Path) -> dict[str, list[Any]]:
    """Real answers, by what they are."""
    guide = json.loads((root / "nem/nem-exchange-guide/transactions.json").read_text())
    sdk = {a["call"]: a["response"] for a in json.loads((root / "nem/nem-nem1-sdk/responses.json").read_text())}
    product = json.loads((root / "nem/nem-symbol-product/nem_connector_responses.json").read_text())
    block = product["CHAIN_BLOCK_1"]
    txes = [entry["tx"] for entry in block["txes"]]
    return {
        "transactions": [*(case["response"]["transaction"] for case in guide), *txes],
        "blocks": [sdk["nem1.chain.lastBlock"], {**block["block"], "transactions": txes}],
        "definitions": [*sdk["nem1.account.mosaic.definition.page"]["data"], txes[4]["mosaicDefinition"]],
        "views": [sdk[f"nem1.account.transfers.{kind}"] for kind in ("all", "incoming", "outgoing")],
        "accounts": [sdk["nem1.account.get"], sdk["nem1.account.mosaic.owned"], sdk["nem1.chain.height"]],
    }


@tries(200)
@given(data=st.data())
def test_transactions(data: st.DataObject, data_root: Path) -> None:
    """A decoded transaction or DecodeError; so are hashes."""
    raw = data.draw(damaged(data.draw(st.sampled_from(answers(data_root)["transactions"]))))
    for read in (transaction_hash, inner_hash, lambda tx: _decoded(tx, None), lambda tx: _decoded(tx, "f" * 64)):
        try:
            read(raw)
        except DecodeError:
            pass


def _decoded(raw: Any, known: str | None) -> None:
    assert NETWORK is not None
    found = decode_transaction(raw, REF, 0, 0, NETWORK, known_hash=known, levies=LEVIES)
    assert all(type(t.value) is int and t.value > 0 and 0 <= t.index < found.places for t in found.transfers)
    assert all(len(t.from_addresses[0]) == 40 and len(t.to_address) in (0, 40) for t in found.transfers)
    for control in found.controls:
        assert len(control.account) == len(control.subject) == 40
        assert type(control.detail.get("min_cosignatories_change", 0)) is int


@tries(150)
@given(data=st.data())
def test_blocks(data: st.DataObject, data_root: Path) -> None:
    """A block, its bad transactions named, or one of the declared errors."""
    assert NETWORK is not None
    raw = data.draw(damaged(data.draw(st.sampled_from(answers(data_root)["blocks"]))) | JUNK)
    try:
        block = parse_block(raw)
    except DecodeError:
        return
    mosaics_sent(block, NETWORK, Everyone())
    found = decode_block(block, "00", NETWORK, Everyone(), levies=LEVIES)
    assert len(found.undecoded) <= len(block.transactions)
    try:
        parsed(raw, block.height)
    except ChainError:
        pass


@tries(150)
@given(data=st.data())
def test_definitions(data: st.DataObject, data_root: Path) -> None:
    """A definition or DecodeError."""
    raw = data.draw(damaged(data.draw(st.sampled_from(answers(data_root)["definitions"]))) | JUNK)
    try:
        found = parse_definition(raw)
    except DecodeError:
        return
    assert 0 <= found.divisibility <= 6


class Answers:
    """Stands for endpoints that give one answer for everything, and nothing after it."""

    endpoint, names = "one", ("one",)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def only(self, _: str) -> Answers:
        return self

    async def get(self, *_: Any) -> Any:
        answer, self.answer = self.answer, {"data": []}
        return answer


async def _free() -> None:
    """No bound on requests."""


@tries(100)
@given(data=st.data())
async def test_answers_about_accounts(data: st.DataObject, data_root: Path) -> None:
    """Views, what waits, balances and pages of definitions: a result or a ChainError."""
    known = answers(data_root)
    raw = data.draw(st.sampled_from([*known["views"], *known["accounts"]]).flatmap(damaged) | JUNK)
    spec = ChainSpec("nem", "nem", "nem:mainnet", ("http://node.example",), accounts=("N" * 40,))
    mempool = NemMempool(spec, Everyone())
    mempool._nodes = type("Nodes", (), {"pool": Answers(raw)})()
    reader = balances.Balances(mempool._nodes, NETWORK)  # type: ignore[arg-type]

    async def waiting() -> None:
        for tx in await mempool._listed("N" * 40):
            await mempool._decoded(tx)

    for ask in (
        lambda: AccountViews(Answers(raw), ("N" * 40,), _free).between(1, 10),  # type: ignore[arg-type]
        waiting,
        lambda: mempool._mined(["N" * 40]),
        reader._height,
        lambda: reader._xem("N" * 40),
        lambda: reader._mosaics("N" * 40),
        lambda: Definitions(Answers(raw), "nem:mainnet").definition(("a", "b")),  # type: ignore[arg-type]
        lambda: Definitions(Answers(raw), "nem:mainnet").supply(("a", "b")),  # type: ignore[arg-type]
    ):
        mempool._nodes.pool.answer = raw
        try:
            await ask()
        except (ChainError, accounts.TooBusy):
            pass
