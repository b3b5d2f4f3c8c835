"""Definitions of mosaics over HTTP: names and decimal places for people, levies as transfers, supply, past balances."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chains.nem.decode import BLIND_SPOTS, LEVIES, decode_transaction, mosaics_sent, parse_block
from chains.nem.mosaic import MOST, Levy, mosaic_asset, parse_definition
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, construct, make_block
from chains.recorded.nem_blocks import Recording
from monitor.addresses.nem import of_public_key
from monitor.assets import AssetNames
from monitor.errors import DecodeError
from monitor.model import BlockRef, TransferKind
from monitor.naming import Naming
from monitor.networks import by_name

KEY = "11" * 32
OWNER = of_public_key(KEY, 0x68)
ISSUER = of_public_key("22" * 32, 0x68)
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
T0 = 1_516_892_520
GOLD, COIN, PLAIN = (mosaic_asset("nem:mainnet", "acme", name) for name in ("gold", "coin", "plain"))
XEM = "nem:mainnet/slip44:43"
Start = Callable[..., Awaitable[Any]]
Open = Callable[..., Awaitable[NemChain]]


def definition(name: str, places: int = 0, levy: dict[str, Any] | None = None, supply: int = 1000) -> dict[str, Any]:
    """As NIS1 writes it."""
    return {
        "creator": "22" * 32, "description": "x", "id": {"namespaceId": "acme", "name": name},
        "properties": [
            {"name": "divisibility", "value": str(places)}, {"name": "initialSupply", "value": str(supply)},
            {"name": "supplyMutable", "value": "false"}, {"name": "transferable", "value": "true"},
        ],
        "levy": levy or {},
    }  # fmt: skip


def levy(kind: int, fee: int, namespace: str = "nem", name: str = "xem") -> dict[str, Any]:
    return {"type": kind, "recipient": ISSUER, "mosaicId": {"namespaceId": namespace, "name": name}, "fee": fee}


DEFINITIONS = [
    definition("gold", 3, levy(1, 500)),  # an absolute levy, in XEM
    definition("coin", 6, levy(2, 10, "acme", "coin")),  # 0.1 % of itself
    definition("plain"),
]


def transfer(*mosaics: tuple[str, int], amount: int = 1_000_000, signer: str = KEY, to: str = THIEF) -> dict[str, Any]:
    """A version 2 transfer of mosaics."""
    attached = [{"mosaicId": {"namespaceId": "acme", "name": name}, "quantity": count} for name, count in mosaics]
    return {
        "type": 257, "version": 0x68 << 24 | 2, "timeStamp": 5, "deadline": 9, "fee": 50_000, "signer": signer,
        "recipient": to, "amount": amount, "message": {}, "mosaics": attached, "signature": "ab" * 64,
    }  # fmt: skip


def recording(*transactions: dict[str, Any]) -> Recording:
    base = construct([Move(T0, KEY, THIEF, 1)])
    return Recording(base.network, (*base.blocks, make_block(base.blocks[-1], T0 + 60, transactions)))


async def test_levies_are_transfers_of_their_own(nis: Start, opened: Open) -> None:
    """Absolute and percentile, from the definition; a position is kept for each whether or not it is known."""
    made = recording(transfer(("gold", 7), ("coin", 19_999), ("plain", 3), amount=2_000_000))
    chain = await opened(await nis(made, definitions=DEFINITIONS), watch={OWNER})
    block = await chain.block(3)
    assert [(t.index, t.kind, t.asset, t.to_address, t.value) for t in block.transfers] == [
        (0, TransferKind.TOKEN, GOLD, THIEF, 14),
        (1, TransferKind.NATIVE, XEM, ISSUER, 500),
        (2, TransferKind.TOKEN, COIN, THIEF, 39_998),
        (3, TransferKind.TOKEN, COIN, ISSUER, 39),  # 39,998 x 10 / 10,000, rounded down
        (4, TransferKind.TOKEN, PLAIN, THIEF, 6),
        (6, TransferKind.FEE, XEM, "", 50_000),
    ]
    assert block.blind_spots == BLIND_SPOTS
    without = await opened(await nis(made), watch={OWNER})
    bare = await without.block(3)
    assert [(t.index, t.value) for t in bare.transfers] == [(0, 14), (2, 39_998), (4, 6), (6, 50_000)]
    assert bare.blind_spots == (*BLIND_SPOTS, LEVIES)


async def test_strangers_mosaics_cost_no_request(nis: Start, opened: Open) -> None:
    """Who sends a watched account a mosaic pays the levy himself: nothing is asked, nothing is missing."""
    made = recording(transfer(("gold", 1), signer="33" * 32, to=OWNER))
    server = await nis(made, definitions=DEFINITIONS)
    block = await (await opened(server, watch={OWNER})).block(3)
    assert [t.value for t in block.transfers] == [1] and block.blind_spots == BLIND_SPOTS
    assert server.calls["/mosaic/definition"] == 0


async def test_definitions_from_pages_where_a_node_answers_for_none(nis: Start, opened: Open) -> None:
    """Through all pages of the namespace, once."""
    many = [definition(f"m{n}") for n in range(250)]
    server = await nis(recording(transfer(("gold", 1))), definitions=[*DEFINITIONS, *many])
    server._catalogue._name = _refuse  # type: ignore[method-assign]
    chain = await opened(server, watch={OWNER})
    for _ in range(2):
        assert [t.value for t in (await chain.block(3)).transfers] == [1, 500, 50_000]
    assert server.calls["/namespace/mosaic/definition/page"] == 3
    assert await chain.definitions.supply(("acme", "gold")) is None


def _refuse(_: Any) -> Any:
    raise KeyError("not offered")


async def test_a_new_definition_is_asked_for_again(nis: Start, opened: Open) -> None:
    """What was known of a mosaic holds until a block defines it anew."""
    anew = {
        "type": 16385, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 1, "signer": "22" * 32,
        "signature": "cd" * 64, "creationFee": 10, "creationFeeSink": THIEF, "mosaicDefinition": definition("gold"),
    }  # fmt: skip
    made = recording(transfer(("gold", 1)))
    blocks = [*made.blocks, make_block(made.blocks[-1], T0 + 120, [anew])]
    blocks.append(make_block(blocks[-1], T0 + 180, [transfer(("gold", 1))]))
    server = await nis(Recording(made.network, tuple(blocks)), definitions=DEFINITIONS)
    chain = await opened(server, watch={OWNER})
    await chain.block(3)
    await chain.block(4)
    server._catalogue.__init__([definition("gold", 3, levy(1, 9))])
    assert [t.value for t in (await chain.block(5)).transfers] == [1, 9, 50_000]


async def test_amounts_of_mosaics_are_shown_right(nis: Start, opened: Open) -> None:
    """With their decimal places and name, as unverified; each asked once, unknown ones not again at once."""
    server = await nis(recording(transfer(("gold", 1))), definitions=DEFINITIONS)
    chain = await opened(server)
    unknown = mosaic_asset("nem:mainnet", "acme", "none")
    wanted = [GOLD, COIN, PLAIN, unknown, XEM, "eip155:1/erc20:0x00"]
    assert await chain.describe(wanted) == {GOLD: ("gold", 3), COIN: ("coin", 6), PLAIN: ("plain", 0)}
    asked = server.calls.total()
    assert len(await chain.describe(wanted)) == 3 and server.calls.total() == asked
    names = AssetNames()
    await Naming(names, chain.describe).learn([GOLD])
    assert names.display(GOLD, 1_234_567).startswith("1,234.567 gold (unverified ")


async def test_supply(nis: Start, opened: Open) -> None:
    """In whole units."""
    server = await nis(recording(), definitions=[definition("gold", 3, supply=4321)])
    definitions = (await opened(server)).definitions
    assert await definitions.supply(("acme", "gold")) == 4321
    assert await definitions.supply(("acme", "none")) is None


async def test_balances_of_several_mosaics_and_of_the_past(nis: Start, opened: Open) -> None:
    """Everything at the head; XEM after a past block where a node keeps that, and nothing of another branch."""
    made = recording(transfer(("gold", 5), ("coin", 7)))
    later = make_block(made.blocks[-1], T0 + 120, [transfer(("gold", 1))])
    made = Recording(made.network, (*made.blocks, later))
    wanted = [(THIEF, XEM), (THIEF, GOLD), (THIEF, COIN), (THIEF, PLAIN), (OWNER, XEM)]
    funded = {OWNER: 1_000_000}
    for historical, past in ((False, [None] * 5), (True, [1, None, None, None, 1_000_000 - 1 - 50_000])):
        chain = await opened(await nis(made, historical=historical, definitions=DEFINITIONS, balances=funded))
        refs = {n: (await chain.block(n)).ref for n in range(1, 5)}
        at_head = await chain.balances(wanted, refs[4])
        assert list(at_head.values()) == [1, 6, 7, 0, 1_000_000 - 1 - 3 * 50_000 - 2 * 500]
        assert list((await chain.balances(wanted, refs[2])).values()) == past
        elsewhere = BlockRef(refs[2].chain, 2, "00" * 32)
        assert set((await chain.balances(wanted, elsewhere)).values()) == {None}


async def test_past_balances_are_not_asked_again_where_no_node_keeps_them(nis: Start, opened: Open) -> None:
    """One refusal is enough."""
    server = await nis(recording(transfer(("gold", 5))))
    chain = await opened(server)
    ref = (await chain.block(2)).ref
    for _ in range(3):
        await chain.balances([(OWNER, XEM)], ref)
    assert server.calls["/account/historical/get"] == 1


# What definitions say


def test_parsed_definition() -> None:
    """Divisibility, supply and levy; dashes in addresses do not matter."""
    raw = definition("coin", 6, {**levy(2, 10, "acme", "coin"), "recipient": f"{ISSUER[:6]}-{ISSUER[6:]}"})
    found = parse_definition(raw)
    assert (found.name, found.divisibility, found.initial_supply) == (("acme", "coin"), 6, 1000)
    assert found.levy == Levy(2, ISSUER, ("acme", "coin"), 10)
    assert parse_definition(definition("plain")).levy is None


@pytest.mark.parametrize(
    "damage",
    [
        {"properties": None}, {"properties": [{"name": "divisibility", "value": "7"}]}, {"id": {"name": "x"}},
        {"properties": [{"name": "initialSupply", "value": str(MOST + 1)}]}, {"levy": {"type": 3}}, {"levy": [1]},
        {"levy": levy(1, -1)}, {"levy": levy(3, 1)}, {"levy": levy(1, 1) | {"recipient": "N"}},
        {"properties": [{"name": "divisibility", "value": "x"}]}, {"id": {"namespaceId": 1, "name": 2}},
    ],
)  # fmt: skip
def test_senseless_definitions(damage: dict[str, Any]) -> None:
    """DecodeError, nothing else."""
    with pytest.raises(DecodeError):
        parse_definition(definition("gold") | damage)
    with pytest.raises(DecodeError):
        parse_definition(damage.get("properties"))


def test_levies_that_come_to_nothing() -> None:
    """A percentile of little is 0: no transfer, and the position stays."""
    network = by_name("nem")
    assert network is not None
    ref = BlockRef("nem:mainnet", 7, "00")
    levies = {("acme", "coin"): Levy(2, ISSUER, ("acme", "coin"), 10)}
    decoded = decode_transaction(transfer(("coin", 999)), ref, 0, 0, network, levies=levies)
    assert [(t.index, t.value) for t in decoded.transfers] == [(0, 999), (2, 50_000)]
    assert (decoded.places, decoded.unlevied) == (3, 0)


def test_which_mosaics_matter() -> None:
    """Those that a watched account sends, also from within a multisig; senseless transactions are no obstacle."""
    network = by_name("nem")
    assert network is not None
    inner = {k: v for k, v in transfer(("coin", 1)).items() if k != "signature"}
    outer = {**transfer(), "type": 4100, "signer": "44" * 32, "otherTrans": inner, "signatures": []}
    made = recording(transfer(("gold", 1)), {"type": 257}, outer, transfer(("plain", 1), signer="33" * 32))
    block = parse_block(made.blocks[-1])
    assert mosaics_sent(block, network, {OWNER}) == {("acme", "gold"), ("acme", "coin")}
