"""The parts of a fetch: cuts, bounds, rows, the manifest and the folder under a kill, balances carried back."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from embit.bip32 import HDKey

from chains.base import Stretch
from chains.tables import ChainInfo, parse_source, read
from monitor.addresses.compact import AddressSet
from monitor.derived import DerivedAddresses
from monitor.engine import Engine
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError, HistoryRefused, StoreError
from monitor.fetching.books import Books, restore_use, use_of
from monitor.fetching.bounds import Bound, block_from, read_bound
from monitor.fetching.cut import Cut
from monitor.fetching.folder import Folder
from monitor.fetching.manifest import NAME, Header, Part
from monitor.fetching.piece import piece_of
from monitor.fetching.reader import Ahead, Reader
from monitor.fetching.rows import balance_rows, control_rows, transfer_rows
from monitor.fetching.span import Span, span_of
from monitor.fetching.watched import watch_print
from monitor.model import (
    Block,
    BlockRef,
    ControlEvent,
    ControlKind,
    Role,
    Transfer,
    TransferKind,
    Tx,
    Wallet,
)
from monitor.networks import by_name
from monitor.replay_policies import control_events
from monitor.watchlist import Watchlist

CHAIN = "eip155:1"
COIN = "bip122:12a765e31ffd4059bada1e25190f6e98"
ETHER = f"{CHAIN}/slip44:60"
HOT, THIEF = "0x" + "1" * 40, "0x" + "b" * 40
TOKEN = f"{CHAIN}/erc20:0x{'c' * 40}"


def hash_of(number: int) -> str:
    return f"0x{number:064x}"


def block(number: int, *transfers: Transfer, controls: tuple[ControlEvent, ...] = ()) -> Block:
    ref = BlockRef(CHAIN, number, hash_of(number))
    return Block(ref, hash_of(number - 1), 1000 + 12 * number, transfers, controls)


def transfer(number: int, sender: str, to: str, value: int, **more: Any) -> Transfer:
    facts: dict[str, Any] = {"kind": TransferKind.NATIVE, "asset": ETHER, "index": 0, **more}
    tx = Tx(hash_of(1000 + number), 2, initiator=sender, nonce=7, fee=21, fee_rate=1.5, gas_limit=21_000, version=2)
    return Transfer(
        BlockRef(CHAIN, number, hash_of(number)), tx, from_addresses=(sender,), to_address=to, value=value,
        input_values=(value,), **facts,
    )  # fmt: skip


def stretch(blocks: Sequence[Block], first: int, last: int) -> Stretch:
    headers = tuple((hash_of(number), 1000 + 12 * number) for number in range(first, last + 1))
    return Stretch(
        BlockRef(CHAIN, first, hash_of(first)), hash_of(first - 1), BlockRef(CHAIN, last, hash_of(last)),
        1000 + 12 * first, 1000 + 12 * last, "here", (), tuple(blocks), headers,
    )  # fmt: skip


@pytest.fixture
def engine() -> Engine:
    return Engine(Watchlist([Wallet("hot", "Example", Role.HOT, ((CHAIN, HOT),))]), {ETHER})


# -- cuts and bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "step"), [(10, 4), (4, 10), (7, 7), (1, 3)])
def test_cuts_do_not_depend_on_the_beginning(part: int, step: int) -> None:
    """Wherever a run begins again at a cut, it cuts at the same places as one that never stopped."""
    cut = Cut(part, step)

    def places(start: int) -> list[int]:
        found = [start]
        while found[-1] < 53:
            found.append(cut.step_end(found[-1], 53))
        return found

    whole = places(3)
    assert whole[-1] == 53 and {n for n in range(4, 53) if n % part == 0} <= set(whole)
    assert all(places(start) == whole[n:] for n, start in enumerate(whole[:-1]))


async def test_the_block_of_a_time() -> None:
    """Bisection finds the first block at or after a time, also where the oldest blocks are not to be had."""
    times = [100, 100, 130, 131, 200, 200, 200, 340, 500]
    asked: list[int] = []

    async def time_of(number: int) -> int:
        asked.append(number)
        if number < 2:
            raise HistoryRefused("pruned")
        return times[number]

    for wanted, number in ((131, 3), (132, 4), (200, 4), (201, 7), (500, 8), (501, 9)):
        assert await block_from(time_of, wanted, 0, 8, 60) == number
    many = list(range(0, 10**6 * 12, 12))

    async def even(number: int) -> int:
        asked.append(number)
        return many[number]

    asked.clear()
    assert await block_from(even, many[1234] - 3, 0, len(many) - 1, 12.0) == 1234
    assert len(asked) < 50 and await block_from(even, 0, 0, len(many) - 1, 1e9) == 0


async def test_spans() -> None:
    """What bounds come to, and what there is not."""

    async def time_of(number: int) -> int:
        return 10 * number

    async def span(start: str, end: str | None) -> Span:
        bounds = read_bound(start, "--from"), None if end is None else read_bound(end, "--to")
        return await span_of(
            *bounds, head=100, final=90, lowest=1, block_seconds=10, time_of=time_of
        )

    assert await span("0", "50") == Span(1, 50, 100, 90)
    assert await span("5", None) == Span(5, 91, 100, 90)
    assert await span("1970-01-01T00:01:00Z", "2030-01-01") == Span(6, 101, 100, 90)
    assert read_bound("17_000,000", "--to") == Bound(17_000_000)
    for start, end, said in (
        ("101", None, "its newest is 100"), ("95", None, "not final yet"), ("5", "102", "at most 101"),
        ("9", "9", "no block from 9"), ("2030-01-01", None, "2030-01-01T00:00:00Z on yet"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            await span(start, end)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_read_back(tmp_path: Path) -> None:
    """Transfers, controls and balances through the readers of history: every field is what it was."""
    huge = 2**256 - 1
    event = ControlEvent(
        BlockRef(CHAIN, 5, ""), Tx(hash_of(9), 4), ControlKind.OWNER_CHANGE, HOT, THIEF, {"role": "owner", "n": 2**70}
    )
    withdrawal = transfer(6, "", HOT, 5, kind=TransferKind.INTERNAL)
    paid = transfer(5, HOT, THIEF, huge, kind=TransferKind.TOKEN, asset=TOKEN)
    fee = transfer(5, HOT, "", 21, kind=TransferKind.FEE, index=1)
    blocks = [block(5, fee, paid, controls=(event,)), block(6, withdrawal)]
    for name, frame in (
        ("a", transfer_rows(blocks, utxo=False)), ("b", control_rows(blocks)),
        ("c", balance_rows(CHAIN, [(HOT, TOKEN, 4, huge), (HOT, TOKEN, 4, huge)])),
    ):  # fmt: skip
        frame.write_parquet(tmp_path / f"{name}.parquet")
    reading = read(
        [parse_source(str(tmp_path))], chains={"eth": ChainInfo(CHAIN, "evm", ETHER)}, watch={CHAIN: frozenset({HOT})}
    )
    assert (reading.bad_rows, reading.rows) == (0, 5), reading.bad
    first, second, third = reading.frame.iter_rows(named=True)
    assert (first["kind"], first["asset"], first["value"]) == ("token", TOKEN, str(huge))
    assert (second["kind"], second["to_address"], second["transfer_index"]) == ("fee", None, 1)
    assert (third["kind"], third["from_address"], third["block_timestamp"]) == ("internal", None, 1072)
    facts = ("tx_from", "nonce", "fee", "fee_rate", "gas_limit", "version")
    assert tuple(first[name] for name in facts) == (HOT, 7, "21", 1.5, 21_000, 2)
    (time, (told,)) = control_events(reading.controls)[CHAIN][5]
    assert time == 1060 and (told.kind, told.account, told.subject) == (event.kind, HOT, THIEF)
    assert dict(told.detail) == dict(event.detail) and told.tx.index == 4
    assert reading.balances is not None and reading.balances["value"].to_list() == [str(huge)]


def test_outputs_read_back(tmp_path: Path) -> None:
    """On UTXO chains inputs are lists, also of new coins, which have none."""
    ref = BlockRef(COIN, 7, "aa")
    asset = f"{COIN}/slip44:2"
    spend = Tx("f1", 1, fee=10, fee_rate=1.25, flags=1, n_inputs=2, n_outputs=2, script_type="p2wpkh", version=2)
    minted = Tx("f0", 0, flags=32, n_inputs=0, n_outputs=1)
    outputs = (
        Transfer(ref, minted, 0, TransferKind.NATIVE, asset, (), "mine", 50),
        Transfer(ref, spend, 1, TransferKind.NATIVE, asset, ("mine", ""), "thief", 60, (40, 35)),
        Transfer(ref, spend, 2, TransferKind.NATIVE, asset, ("mine", ""), "", 5, (40, 35)),
    )
    transfer_rows([Block(ref, "a9", 1000, outputs)], utxo=True).write_parquet(tmp_path / "a.parquet")
    reading = read(
        [parse_source(str(tmp_path))], chains={"ltc": ChainInfo(COIN, "bitcoin", asset)},
        watch={COIN: frozenset({"mine"})},
    )  # fmt: skip
    assert (reading.bad_rows, len(reading.frame)) == (0, 3), reading.bad
    assert reading.frame["inputs"].to_list() == [[], ["mine", ""], ["mine", ""]]
    assert reading.frame["input_values"].to_list()[1] == ["40", "35"]
    assert reading.frame["flags"].to_list() == [32, 1, 1] and reading.frame["script_type"].to_list()[1] == "p2wpkh"


# -- pieces and books -------------------------------------------------------------------------------------------------


def test_a_piece_says_what_begins(engine: Engine) -> None:
    """A forged token does not matter; one that the wallet pays itself does, with what came in before."""
    blocks = [
        block(3, transfer(3, THIEF, HOT, 100, kind=TransferKind.TOKEN, asset=TOKEN)),
        block(4, transfer(4, HOT, THIEF, 30, kind=TransferKind.TOKEN, asset=TOKEN)),
        block(6, transfer(6, HOT, THIEF, 5)),
    ]
    piece = piece_of(stretch(blocks, 2, 8), engine)
    assert [(b.wallet, b.asset, b.number, dict(b.before)) for b in piece.begins] == [
        ("hot", TOKEN, 4, {HOT: 100}), ("hot", ETHER, 6, {})
    ]  # fmt: skip
    assert dict(piece.net) == {(HOT, TOKEN): 70, (HOT, ETHER): -5}
    assert piece.tables["blocks"]["parent_hash"].to_list() == [hash_of(number) for number in range(1, 8)]
    books = Books()
    books.net[HOT, TOKEN] = 1000
    (token, ether) = books.news([piece], {"hot": [HOT]})
    assert dict(token.before) == {HOT: 1100} and token.parent == hash_of(3) and ether.number == 6
    assert [b.asset for b in Books(begun={("hot", TOKEN): token}).news([piece], {})] == [ETHER]


def test_a_piece_without_its_headers(engine: Engine) -> None:
    """A stretch whose headers are missing, or are of other blocks, is not taken."""
    good = stretch([block(4)], 2, 5)
    other = replace(block(4), ref=BlockRef(CHAIN, 4, hash_of(44)))
    for wrong in (
        replace(good, headers=()), replace(good, headers=good.headers[1:]), replace(good, blocks=(other,)),
        replace(good, blocks=(replace(block(4), parent_hash=hash_of(33)),)),
    ):  # fmt: skip
        with pytest.raises(ChainInconsistent):
            piece_of(wrong, engine)


def test_how_far_descriptors_are_in_use() -> None:
    """What was watched when a part was stored is watched again after a restart."""
    key = HDKey.from_seed(b"s" * 32).derive("m/84h/0h/0h").to_public().to_base58()

    def watchlist() -> Watchlist:
        derived = (DerivedAddresses(f"wpkh({key}/0/*)", network, gap_limit=5),)
        return Watchlist([Wallet("hot", "Example", Role.HOT, (), derived=derived)])

    network = by_name("bitcoin")
    assert network is not None
    first, again = watchlist(), watchlist()
    (derived,) = first.wallets["hot"].derived
    assert derived.use(derived.addresses[3])
    used = use_of(first, network.chain)
    assert list(used.values()) == [4] and used == json.loads(json.dumps(used))
    assert watch_print(first, network.chain) == watch_print(again, network.chain)  # use does not make it another one
    restore_use(again, network.chain, used)
    assert again.derived.count(network.chain) == first.derived.count(network.chain) == 9


# -- the folder -------------------------------------------------------------------------------------------------------


HEADER = Header(CHAIN, "evm", 0, 10, 5, "w", 1, "r")


def part(first: int, last: int) -> Part:
    return Part(first, last, hash_of(first - 1), hash_of(last), 0, 0, {}, {})


def rows(*numbers: int) -> dict[str, pl.DataFrame]:
    return {"balances": balance_rows(CHAIN, [(HOT, ETHER, number, number) for number in numbers])}


def test_a_torn_manifest(tmp_path: Path) -> None:
    """Wherever a kill cuts the manifest, what is whole is kept, what is not is gone, and it goes on."""
    folder = Folder(tmp_path / "out")
    folder.begin(HEADER)
    folder.commit(part(0, 9), rows(1, 2))
    folder.commit(part(10, 19), rows(11))
    folder.close()
    whole = (tmp_path / "out" / NAME).read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    near = {end + step for end in (0, *ends) for step in (-1, 0, 1)}
    for cut in sorted(near.union(range(0, len(whole), 41)).intersection(range(len(whole) + 1))):
        (tmp_path / "out" / NAME).write_bytes(whole[:cut])
        folder = Folder(tmp_path / "out")
        assert folder.header == (HEADER if cut >= ends[0] else None)
        assert len(folder.parts) == max(0, sum(end <= cut for end in ends) - 1)
        folder.close()
        assert (tmp_path / "out" / NAME).stat().st_size in (0, *ends)


def test_what_is_not_listed_goes(tmp_path: Path) -> None:
    """Files of a part that a kill cut short are removed; what is listed and gone is taken off the list."""
    out = tmp_path / "out"
    folder = Folder(out)
    folder.begin(HEADER)
    for first in (0, 10, 20):
        folder.commit(part(first, first + 9), rows(first))
    folder.close()
    (out / "balances" / "000000000030-000000000039.parquet").write_bytes(b"PAR1")
    (out / "balances" / ".x.parquet.part").write_bytes(b"PAR1")
    (out / "balances" / "000000000010-000000000019.parquet").unlink()
    folder = Folder(out)
    assert "from block 10 on" in folder.begin(HEADER)
    assert [p.first for p in folder.parts] == [0] and folder.hold.rows["balances"] == 1
    assert [path.name for path in (out / "balances").iterdir()] == ["000000000000-000000000009.parquet"]
    folder.close()


@pytest.mark.parametrize("what", ["os.write", "os.fsync", "pathlib.Path.mkdir"])
def test_a_full_disk(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step finds it: a declared error, and what is whole stays and goes on."""
    folder = Folder(tmp_path / "out")
    folder.begin(HEADER)
    folder.commit(part(0, 9), {})

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(what, full)
        with pytest.raises(StoreError, match="cannot be written: No space left"):
            folder.commit(part(10, 19), rows(11))
    folder.close()
    folder = Folder(tmp_path / "out")
    folder.begin(HEADER)
    first = len(folder.parts) * 10  # a line that was written whole but not made durable counts
    folder.commit(part(first, first + 9), rows(first))
    assert [p.first for p in folder.parts] == list(range(0, first + 1, 10))
    folder.close()


def test_who_may_work_in_a_folder(tmp_path: Path) -> None:
    """One process at a time; nothing that somebody else made; what was begun for the same."""
    out = tmp_path / "out"
    folder = Folder(out)
    folder.begin(HEADER)
    folder.commit(part(0, 9), {})
    with pytest.raises(ConfigError, match="another fetch works in it"):
        Folder(out)
    folder.close()
    for other, said in (
        (replace_(chain="eip155:5"), "history of eip155:1, not of eip155:5"), (replace_(watch="x"), "other addresses"),
        (replace_(reading="x"), "other options"), (replace_(first=11), "blocks 10 to 10 would be missing"),
    ):  # fmt: skip
        folder = Folder(out)
        with pytest.raises(ConfigError, match=said):
            folder.begin(other)
        folder.close()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="was not made by fetch"):
        Folder(tmp_path / "mine")
    (out / NAME).write_text(json.dumps({"line": "header", "schema": "later"}) + "\n")
    with pytest.raises(ConfigError, match="another version"):
        Folder(out)


def replace_(**changes: Any) -> Header:
    return msgspec.structs.replace(HEADER, **changes)


def test_the_fingerprint(engine: Engine) -> None:
    """Addresses and which belong together count, on this chain alone; names and order do not."""

    def of(*wallets: Wallet) -> str:
        return watch_print(Watchlist(wallets), CHAIN)

    one = Wallet("a", "A", Role.HOT, ((CHAIN, HOT), (CHAIN, THIEF), ("eip155:5", HOT)))
    same = Wallet("b", "B", Role.COLD, ((CHAIN, THIEF), (CHAIN, HOT)))
    apart = (Wallet("a", "A", Role.HOT, ((CHAIN, HOT),)), Wallet("b", "A", Role.HOT, ((CHAIN, THIEF),)))
    assert of(one) == of(same) != of(*apart)
    fleet = Wallet("f", "F", Role.DEPOSIT, (), fleets=((CHAIN, AddressSet.of([HOT, THIEF])),))
    again = Wallet("f", "F", Role.DEPOSIT, (), fleets=((CHAIN, AddressSet.of([THIEF, HOT])),))
    more = Wallet("f", "F", Role.DEPOSIT, (), fleets=((CHAIN, AddressSet.of([THIEF])),))
    assert of(fleet) == of(again) not in (of(more), of(one))


# -- reading ----------------------------------------------------------------------------------------------------------


class Source:
    """Answers with what it was given, errors among it; counts who was turned to another endpoint."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.turned = list(answers), 0

    async def history(self, start: int, end: int) -> Stretch:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: Stretch = answer
        return found

    async def time_of(self, number: int) -> int:
        return number

    def contradicted(self) -> None:
        self.turned += 1

    async def aclose(self) -> None: ...


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def reader(source: Source, clock: Clock, patience: float = 60.0) -> Reader:
    return Reader("dev", source, patience=patience, sleep=clock.sleep, clock=clock)


async def test_hope(engine: Engine) -> None:
    """Contradictions are read again elsewhere, outages waited for, refusals believed after a few."""
    good, clock = stretch([], 1, 2), Clock()
    source = Source(ChainInconsistent("no child"), ChainUnavailable("down", 7.0), ChainUnavailable("down"), good)
    assert await reader(source, clock).stretch(1, 3) is good
    assert source.turned == 1 and clock.now > 7.5
    with pytest.raises(HistoryRefused):
        await reader(Source(*[HistoryRefused("pruned")] * 9), clock).stretch(1, 3)
    with pytest.raises(ChainInconsistent, match="dev: blocks 1 to 2: no child"):
        await reader(Source(*[ChainInconsistent("no child")] * 9), clock).stretch(1, 3)
    before = clock.now
    with pytest.raises(ChainUnavailable, match="dev: block 1: down"):
        await reader(Source(*[ChainUnavailable("down")] * 99), clock).stretch(1, 2)
    assert 30 < clock.now - before <= 60


async def test_several_at_once(engine: Engine) -> None:
    """Readings overlap up to the width, are handed over in order, and are not repeated."""
    under_way: set[int] = set()
    most, begun = 0, []

    async def read_one(start: int, end: int) -> Any:
        nonlocal most
        under_way.add(start)
        begun.append((start, end))
        most = max(most, len(under_way))
        for _ in range(3 if start % 20 else 9):
            await asyncio.sleep(0)
        under_way.discard(start)
        return start

    ahead = Ahead(read_one, Cut(20, 10), 3)
    at, taken = 5, []
    while at < 78:
        taken.append(await ahead.take(at, 78))
        at = Cut(20, 10).step_end(at, 78)
    assert taken == [5, 10, 20, 30, 40, 50, 60, 70] and most == 3
    assert sorted(begun) == [(5, 10), *((n, min(78, n + 10)) for n in range(10, 78, 10))]
    await ahead.forget()
