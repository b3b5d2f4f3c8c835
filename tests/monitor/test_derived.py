"""Derived addresses: configuration, growth with use, over restarts and in backtests; nothing private gets in."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from embit import base58, bip32, bip39

from chains.base import Stretch
from monitor import app
from monitor.addresses.compact import AddressSet
from monitor.assets import AssetNames
from monitor.calibrate import Past as Folded
from monitor.calibrate import calibrate
from monitor.cli import main
from monitor.config import Config, config_from_mapping, load_config
from monitor.derived import PREFIX, DerivedAddresses, DerivedBook
from monitor.engine import Engine
from monitor.errors import ConfigError, StoreError
from monitor.fetch import Fetch
from monitor.incidents import Correlator
from monitor.memory_store import MemoryStore
from monitor.model import Block, BlockRef, Direction, Role, Transfer, TransferKind, Tx, Wallet
from monitor.networks import by_name
from monitor.pipeline import Pipeline
from monitor.policies.poisoning import Poisoning
from monitor.spool import past_prefix, unpack_blocks
from monitor.sqlite_store import SqliteStore
from monitor.watchlist import Watchlist

BTC = by_name("bitcoin")
CHAIN, COIN = BTC.chain, BTC.asset
SEED = bip39.mnemonic_to_seed("abandon " * 11 + "about")
GAP = 20


def account(path: str = "m/84h/0h/0h", version: str = "04b24746") -> str:
    """The extended public key of a published seed."""
    key = bip32.HDKey.from_seed(SEED).derive(path).to_public()
    return str(base58.encode_check(bytes.fromhex(version) + key.serialize()[4:]))


ZPUB, OTHER = account(), account("m/84h/0h/1h")
BRANCH = f"wpkh({ZPUB}/0/*)"


def made(**options: Any) -> DerivedAddresses:
    return DerivedAddresses(options.pop("text", BRANCH), BTC, **options)


def watched(*derived: DerivedAddresses, **options: Any) -> Watchlist:
    return Watchlist([Wallet("own", "One", Role.PERSONAL, options.pop("addresses", ()), derived=derived, **options)])


def config_of(*wallets: dict[str, Any], **more: Any) -> Config:
    return config_from_mapping({"wallets": list(wallets), **more}, Path.cwd(), "c")


def problems_of(*wallets: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_of(*wallets)
    return [problem.message for problem in caught.value.problems]


def wallet(name: str, *addresses: Any) -> dict[str, Any]:
    return {"id": name, "role": "personal", "addresses": list(addresses)}


# -- growth -----------------------------------------------------------------------------------------------------------


def test_the_gap_limit_follows_use() -> None:
    """After index i is used, those up to i + gap limit are watched; nothing ever leaves."""
    derived = made()
    run = derived.runs[0]
    assert list(derived.addresses) == [run.at(n)[0] for n in range(GAP)]
    assert derived.use(run.at(7)[0]) and len(derived) == 8 + GAP
    assert not derived.use(run.at(7)[0]) and not derived.use(run.at(3)[0])  # nothing new
    assert derived.use(run.at(27)[0]) and run.at(27 + GAP)[0] in derived and run.at(28 + GAP)[0] not in derived
    assert not derived.use("bc1qnobody") and len(derived) == 28 + GAP


def test_branches_grow_by_themselves() -> None:
    """Change does not move the payments, and the other way round."""
    derived = made(text=ZPUB, gap_limit=3)
    payments, change = derived.runs
    assert len(derived) == 6
    assert derived.use(change.at(2)[0])
    assert change.at(5)[0] in derived and payments.at(3)[0] not in derived


def test_known_use_and_single_addresses() -> None:
    """`used` addresses are watched beside the gap; what has no * never grows; a key in all its forms grows at once."""
    assert len(made(used=30, gap_limit=5)) == 35
    single = made(text=f"wpkh({ZPUB}/0/9)")
    assert not single.is_ranged and not single.use(single.addresses[0]) and len(single) == 1
    forms = made(text=f"combo({account('m/44h/0h/0h', '0488b21e')}/*)", gap_limit=2)
    assert len(forms) == 6 and forms.use(forms.runs[0].at(1)[2]) and len(forms) == 12


def test_a_watch_list_grows_wherever_it_is_held() -> None:
    """Several watch lists of the same wallets, and what was handed out before, see the same addresses."""
    derived = made(gap_limit=2)
    one, two = watched(derived, addresses=((CHAIN, "1single"),)), watched(derived)
    watch = one.watch(CHAIN)
    third = derived.runs[0].at(2)[0]
    assert third not in watch and len(watch) == 3 and list(watch) == ["1single", *derived.addresses]
    assert not watch.used("1single") and not watch.used("nobody") and watch.used(derived.addresses[1])
    assert third in watch and watch.get(third) is one.wallets["own"] and len(watch) == 5
    for watchlist in (one, two):
        assert watchlist.wallet_at(CHAIN, third).id == "own"
        assert third in watchlist.watched(CHAIN) and third in watchlist.accounts(CHAIN)
        assert third in watchlist.addresses("own", CHAIN)
        assert watchlist.chains == (CHAIN,) and watchlist.chains_of("own") == (CHAIN,)
    assert one.addresses("own", CHAIN) == ("1single", *derived.addresses)


def test_a_watch_list_beside_a_long_list() -> None:
    """Long lists and descriptors of one chain: both are found, and use moves the descriptor."""
    derived = made(gap_limit=1)
    watchlist = watched(derived, fleets=((CHAIN, AddressSet.of(["1long"])),))
    watch = watchlist.watch(CHAIN)
    assert list(watch.single) == list(derived.addresses)  # type: ignore[attr-defined]
    second = derived.runs[0].at(1)[0]
    assert "1long" in watch and derived.addresses[0] in watch and second not in watch
    assert watch.used(derived.addresses[0]) and second in watch and not watch.used("1long")
    assert watchlist.owners(CHAIN, watch_column(["1long", second, "x"]), {"own": 4}).tolist() == [4, 4, -1]


def watch_column(values: Sequence[str]) -> Any:
    import polars as pl

    return pl.Series(values, dtype=pl.String)


def test_watch_lists_that_are_gone_are_not_told() -> None:
    """A reload leaves nothing behind."""
    derived = made(gap_limit=1)
    kept = watched(derived)
    for _ in range(10):
        watched(derived)
    gc.collect()
    assert derived.use(derived.addresses[0])
    assert len(derived._followers) == 1 and len(kept.watch(CHAIN)) == 2


def test_an_address_of_another_wallet_stays_with_it() -> None:
    """Where growth reaches what somebody else listed."""
    derived = made(gap_limit=1)
    second = derived.runs[0].at(1)[0]
    watchlist = Watchlist([
        Wallet("own", "One", Role.HOT, (), derived=(derived,)), Wallet("other", "Two", Role.HOT, ((CHAIN, second),)),
    ])  # fmt: skip
    watchlist.watch(CHAIN).used(derived.addresses[0])
    assert watchlist.wallet_at(CHAIN, second).id == "other"


def test_look_alikes_of_grown_addresses() -> None:
    """What imitates an address of one's own is told, whenever that came to be watched."""
    derived = made(gap_limit=1)
    policy = Poisoning(watched(derived))
    second = derived.runs[0].at(1)[0]
    imitation = second[:8] + ("q" if second[8] != "q" else "p") + second[9:]
    assert policy.likeness("own", CHAIN, imitation, 0) is None
    derived.use(derived.addresses[0])
    assert policy.likeness("own", CHAIN, imitation, 0).real == second


def test_pickles_and_copies() -> None:
    """Another process gets the same addresses; a fresh one starts from what the configuration says."""
    derived = made(used=2)
    derived.use(derived.runs[0].at(11)[0])
    again = pickle.loads(pickle.dumps(derived))
    assert again == derived and again.addresses == derived.addresses
    fresh = derived.fresh()
    assert fresh == derived and len(fresh) == 22 and len(derived) == 32
    assert fresh.use(fresh.addresses[-1]) and len(fresh) == 42 and len(derived) == 32
    assert made(used=3) != derived and len({derived, again}) == 1


# -- over restarts ----------------------------------------------------------------------------------------------------


def block(number: int, *to: str) -> Block:
    """A block in which a stranger pays these addresses."""
    ref = BlockRef(CHAIN, number, f"b{number}")
    transfers = tuple(
        Transfer(ref, Tx(f"t{number}-{n}", n), n, TransferKind.NATIVE, COIN, ("stranger",), address, 1000, (1000,))
        for n, address in enumerate(to)
    )
    return Block(ref, f"b{number - 1}", 1_700_000_000 + number * 600, transfers, source="node")


async def started(store: Any, *derived: DerivedAddresses) -> Pipeline:
    engine = Engine(watched(*derived), [COIN])
    pipeline = Pipeline(engine, Correlator(), store, AssetNames(), lambda *_: [], lambda: 5.0, {CHAIN: 6})
    await pipeline.start()
    pipeline.tips[CHAIN] = await store.checkpoint(CHAIN)
    return pipeline


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_use_is_kept_over_restarts(kind: str, tmp_path: Path) -> None:
    """It goes in with the block that showed it, and comes back before anything is read; however it is written then."""
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "h.db")
    await store.open()
    try:
        first = made()
        pipeline = await started(store, first)
        paid = first.runs[0].at(12)[0]
        assert pipeline.engine.watchlist.watch(CHAIN).used(paid)
        await pipeline.connect(block(1, paid))
        assert not await store.notes(PREFIX)  # one commit with the block
        await pipeline.flush(CHAIN)
        [(key, value)] = await store.notes(PREFIX)
        assert key == f"derived/{CHAIN}/{first.addresses[0]}" and ZPUB[8:] not in key + value.decode()
        assert value == b'{"used":13,"block":1,"hash":"b1"}'
        written_otherwise = made(text=ZPUB)
        await started(store, written_otherwise, made(text=OTHER))
        payments, change = written_otherwise.runs
        assert payments.at(32)[0] in written_otherwise and payments.at(33)[0] not in written_otherwise
        assert change.at(19)[0] in written_otherwise and change.at(20)[0] not in written_otherwise
    finally:
        await store.aclose()


class Past:
    """A chain's history as `chains.bitcoin.history` reads it: use that a block shows counts from there on."""

    def __init__(self, watchlist: Watchlist, blocks: Sequence[Block]) -> None:
        self._watch, self._blocks = watchlist.watch(CHAIN), blocks

    async def time_of(self, number: int) -> int:
        return self._blocks[number].timestamp

    async def history(self, start: int, end: int) -> Stretch:
        run, touching = self._blocks[start:end], []
        for item in run:
            mine = tuple(transfer for transfer in item.transfers if transfer.to_address in self._watch)
            touching += [replace(item, transfers=mine)] if mine else []
            for transfer in mine:
                self._watch.used(transfer.to_address)
        first, last = run[0], run[-1]
        times = first.timestamp, last.timestamp
        return Stretch(first.ref, first.parent_hash, last.ref, *times, "node", (), tuple(touching))

    async def aclose(self) -> None: ...


async def test_history_that_shows_more_use_is_read_again() -> None:
    """It is fetched newest first, and older blocks show what counts in newer ones; all of it is kept at once."""
    store, derived = MemoryStore(), made(gap_limit=2)
    run = derived.runs[0]
    blocks = [block(number, *([run.at(2 * number - 1)[0]] if number else ())) for number in range(11)]
    pipeline = await started(store, derived)
    pipeline.backfills[CHAIN] = 1_000_000
    await pipeline.connect(block(11))
    await pipeline.flush(CHAIN)
    past = Past(pipeline.engine.watchlist, blocks)
    fetch = Fetch("btc", CHAIN, lambda: past, pipeline, store, step=2, block_seconds=600, width=3, clock=lambda: 0.0)

    async def between(_: str, do: Any) -> Any:
        return await do()

    assert await fetch.fetch(await fetch.reach(pipeline.marks[CHAIN], between), between)
    stored = [unpack_blocks(value) async for _, value in store.state(past_prefix(CHAIN))]
    paid = [transfer.to_address for stretch in stored for item in stretch for transfer in item.transfers]
    assert paid == [run.at(2 * number - 1)[0] for number in range(1, 11)]
    again = made(gap_limit=2)
    await started(store, again)  # no live block came since
    assert run.at(21)[0] in again


async def test_only_news_are_stored() -> None:
    """A block that shows no new use adds no note, and what was restored is not stored again."""
    store = MemoryStore()
    derived = made()
    pipeline = await started(store, derived)
    pipeline.engine.watchlist.watch(CHAIN).used(derived.addresses[4])
    await pipeline.connect(block(1, derived.addresses[4]))
    await pipeline.flush(CHAIN)
    again = await started(store, made())
    assert again.engine.watchlist.derived.taken(BlockRef(CHAIN, 2, "b2")) == []
    assert again.engine.watchlist.derived.taken(BlockRef("bip122:other", 2, "b2")) == []


async def test_a_block_that_is_taken_back_takes_no_address_away() -> None:
    """Growth only adds."""
    store = MemoryStore()
    derived = made()
    pipeline = await started(store, derived)
    for number in (1, 2):
        pipeline.engine.watchlist.watch(CHAIN).used(derived.addresses[number])
        await pipeline.connect(block(number, derived.addresses[number]))
        await pipeline.flush(CHAIN)
    await pipeline.disconnect(BlockRef(CHAIN, 2, "b2"))
    await pipeline.flush(CHAIN)
    assert len(derived) == 23 and await store.notes(PREFIX)


async def test_calibration_keeps_use() -> None:
    """What history shows is known to the live monitor."""
    store = MemoryStore()
    derived = made()
    engine = Engine(watched(derived), [COIN])
    engine.watchlist.watch(CHAIN).used(derived.addresses[9])
    engine.connect(block(5, derived.addresses[9]))
    await calibrate(store, engine, [Folded(CHAIN, 1, 9, 1_700_000_000, 1_700_009_000)])
    live = made()
    await started(store, live)
    assert len(live) == 30


def test_a_note_that_cannot_be_read() -> None:
    """A store that lost data says so."""
    with pytest.raises(StoreError, match="derived addresses"):
        DerivedBook([made()]).restore([(f"{PREFIX}x", b"?")])


# -- history ----------------------------------------------------------------------------------------------------------

HEADER = (
    "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,to_address,"
    "asset,value,input_values"
)


def table(path: Path, rows: Sequence[tuple[int, str, str, int]]) -> str:
    """A native table of (block, from, to, value), one transaction a row."""
    lines = [HEADER] + [
        f"bitcoin,{number},{1_700_000_000 + number * 600},t{n},{n},0,{sender},{to},native,{value},{value}"
        for n, (number, sender, to, value) in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_backtest_follows_use(tmp_path: Path) -> None:
    """Payments to ever later addresses, each beyond the gap limit of the first: all are seen, also what leaves them."""
    config = config_of({**wallet("own", f"bitcoin:{BRANCH}"), "role": "hot"})
    run = config.wallets[0].derived[0].runs[0]
    indices = [19, 39, 59, 79]
    rows = [(n, "stranger", run.at(index)[0], 1000 + n) for n, index in enumerate(indices, 1)]
    rows += [(9, run.at(79)[0], "shop", 500), (9, "stranger", run.at(101)[0], 77)]
    data = table(tmp_path / "h.csv", rows)
    report, engine, _ = app.fold_history(config, [data])
    assert report["data"]["flows"] == 5  # the last one is beyond the gap of 79
    assert report["wallets"][0]["flows_out"] == 1
    assert run.at(99)[0] in engine.watchlist.watch(CHAIN) and run.at(100)[0] not in engine.watchlist.watch(CHAIN)
    assert len(config.wallets[0].derived[0]) == 20  # another backtest of the same configuration begins anew
    again = app.run_backtest(config, [data])
    assert {k: v for k, v in again.items() if k != "speed"} == {k: v for k, v in report.items() if k != "speed"}
    live = watched(made())
    seen = sum(len(flows_of(live, number, rows)) for number in range(1, 10))
    assert seen == report["data"]["flows"]


def flows_of(watchlist: Watchlist, number: int, rows: Sequence[tuple[int, str, str, int]]) -> list[Any]:
    """Flows of a block as a live monitor has them: use is noted before what is watched of it is taken."""
    mine = [row for row in rows if row[0] == number]
    for _, _, to, _ in mine:
        watchlist.watch(CHAIN).used(to)
    ref = BlockRef(CHAIN, number, "")
    transfers = tuple(
        Transfer(ref, Tx(f"{number}-{n}", n), n, TransferKind.NATIVE, COIN, (sender,), to, value, (value,))
        for n, (_, sender, to, value) in enumerate(mine)
    )
    flows = watchlist.flows(Block(ref, "", 0, transfers))
    return [flow for flow in flows if flow.direction is not Direction.INTERNAL]


# -- configuration ----------------------------------------------------------------------------------------------------


def test_forms_in_the_configuration() -> None:
    """Texts and mappings, with and without a chain, beside other addresses; CAIP-2 works as everywhere."""
    config = config_of(
        wallet(
            "own", f"bitcoin:{ZPUB}", f"{CHAIN}:wpkh({OTHER}/5/*)", "bitcoin:1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu",
            {"descriptor": f"bitcoin:wpkh({OTHER}/0/*)", "gap_limit": 100, "used": 7},
            f"litecoin:{account('m/84h/2h/0h')}",
        ),
    )  # fmt: skip
    found = config.wallets[0]
    assert [(each.network.name, len(each), each.gap_limit) for each in found.derived] == [
        ("bitcoin", 40, 20), ("bitcoin", 20, 20), ("bitcoin", 107, 100), ("litecoin", 40, 20),
    ]  # fmt: skip
    assert found.addresses == ((CHAIN, "1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"),)
    assert found.chains == (CHAIN, by_name("litecoin").chain)
    sole = config_of(wallet("own", f"wsh(and_v(v:pk({ZPUB}/0/*),older(9)))", ZPUB), chains=[{"name": "bitcoin"}])
    assert [len(each) for each in sole.wallets[0].derived] == [20, 40]
    assert config_of(wallet("own", *[f"bitcoin:{ZPUB}"] * 2)).wallets[0].derived == (made(text=ZPUB),)


def test_lists_of_keys(tmp_path: Path) -> None:
    """A file of addresses may have them, too."""
    single = "1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"
    (tmp_path / "a.txt").write_text(f"bitcoin:{ZPUB}  # ours\nbitcoin:{single}\n{OTHER[:-1]}a\n")
    mapping = {"wallets": [wallet("own", "bitcoin:file:a.txt")]}
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(mapping, tmp_path, "c")
    assert [str(p) for p in caught.value.problems] == [
        f"{tmp_path / 'a.txt'}:3: bad address: checksum of the extended public key does not match: a character is wrong"
    ]
    (tmp_path / "a.txt").write_text(f"{ZPUB}\n{single}\n")
    config = config_from_mapping(mapping, tmp_path, "c")
    assert len(config.wallets[0].derived[0]) == 40 and len(config.wallets[0].addresses) == 1


@pytest.mark.parametrize(
    "second",
    [
        ZPUB, f"wpkh({ZPUB}/1/*)", f"wpkh({ZPUB}/0/3)", f"wpkh({ZPUB}/0/500)",
        "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_two_wallets_with_the_same_addresses(second: str, turned: bool) -> None:
    """One problem names both, in short; also for an address that is watched only after some use."""
    one, two = wallet("one", f"bitcoin:{ZPUB}"), wallet("two", f"bitcoin:{second}")
    [said] = problems_of(*((two, one) if turned else (one, two)))
    assert ("overlaps with wallet" in said or "is in two wallets" in said) and "'one'" in said and "'two'" in said
    assert ZPUB[8:20] not in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"ethereum:{ZPUB}", "are for chains of the Bitcoin family, not for ethereum"),
        (ZPUB, "has no chain"),
        (f"dogecoin:{ZPUB}", "dogecoin has no segwit"),
        (f"litecoin-testnet:{ZPUB}", "this zpub is of main networks"),
        ({"descriptor": "bitcoin:1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"}, "no descriptor and no extended public key"),
        ({"descriptor": f"bitcoin:{ZPUB}", "gap_limit": 0}, "at least 1"),
        ({"descriptor": f"bitcoin:{ZPUB}", "gap_limit": 10_001}, "at most 10000"),
        ({"descriptor": f"bitcoin:{ZPUB}", "used": -1}, "at least 0"),
        ({"descriptor": f"bitcoin:{ZPUB}", "gaplimit": 3}, "did you mean 'gap_limit'"),
        ({"gap_limit": 3}, "descriptor is missing"),
    ],
)
def test_mistakes(address: Any, said: str) -> None:
    """Each in plain words, without the key."""
    found = problems_of(wallet("own", address))
    assert said in found[0] and not any(ZPUB[8:20] in text for text in found)


def test_keys_elsewhere() -> None:
    """Where one address is wanted, a key is none."""
    found = problems_of({**wallet("own", f"bitcoin:{ZPUB}"), "trusted": [f"bitcoin:{OTHER}"]})
    assert "extended public key" in found[0] and OTHER[8:20] not in found[0]


def test_what_is_shown() -> None:
    """`config show`, the summary and a repr have short forms alone."""
    config = config_of(wallet("own", f"bitcoin:{ZPUB}", f"bitcoin:wpkh([73c5da0a/84h/0h/1h]{OTHER}/0/*)"))
    short = f"wpkh([73c5da0a/…]{OTHER[:6]}…{OTHER[-4:]}/0/*)"
    public = config.public()["wallets"][0]["derived"]
    assert public[1] == {
        "chain": CHAIN, "descriptor": short, "gap_limit": 20, "used": 0, "addresses": 20,
        "first": list(config.wallets[0].derived[1].addresses[:2]),
    }  # fmt: skip
    lines = config.summary()
    assert "wallet own (personal): 60 addresses on bitcoin, budget 0.1 a month" in lines
    first = ", ".join(public[0]["first"])
    assert f"wallet own: wpkh({ZPUB[:6]}…{ZPUB[-4:]}/<0;1>/*) gives 40 addresses (gap limit 20), first {first}" in lines
    everything = "".join([*lines, repr(config), str(config.public())])
    assert ZPUB[8:30] not in everything and OTHER[8:30] not in everything


# -- nothing private --------------------------------------------------------------------------------------------------


def private(version: str) -> str:
    key = bip32.HDKey.from_seed(SEED).derive("m/84h/0h/0h")
    return str(base58.encode_check(bytes.fromhex(version) + key.serialize()[4:]))


WIF = bip32.HDKey.from_seed(SEED).derive("m/84h/0h/0h/0/0").key.wif()
HALF = "bee1"  # with it the hex is no point's x, as with every second number; the others could be taproot keys
CANARIES = {
    "xprv": private("0488ade4"), "zprv": private("04b2430c"), "tprv": private("04358394"), "Ltpv": private("019d9cfe"),
    "wif": WIF, "hex": "5ec7e7" * 10 + HALF, "seed": "abandon " * 11 + "about",
}  # fmt: skip
FORMS = {
    "text": 'addresses: ["bitcoin:{}"]',
    "no chain": 'addresses: ["{}"]',
    "descriptor": 'addresses: ["bitcoin:wpkh({}/0/*)"]',
    "origin": 'addresses: ["bitcoin:sh(wpkh([d34db33f/84h]{}))"]',
    "mapping": 'addresses: [{{descriptor: "bitcoin:wsh(sortedmulti(1,{}/0/*))", gap_limit: 5}}]',
    "mapping alone": 'addresses: [{{descriptor: "{}"}}]',
    "checksum": 'addresses: ["bitcoin:wpkh({})#89f8spxm"]',
    "single": 'addresses: "bitcoin:tr({})"',
    "variable": 'addresses: ["bitcoin:wpkh(${{SECRET}}/0/*)"]',
    "file": 'addresses: ["bitcoin:file:list.txt"]',
    "gap limit": 'addresses: [{{descriptor: "bitcoin:x", gap_limit: "{}"}}]',
    "trusted": 'addresses: ["bitcoin:1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"], trusted: ["bitcoin:{}"]',
    "trusted descriptor": 'addresses: ["bitcoin:1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"], trusted: ["bitcoin:wpkh({})"]',
}


@pytest.mark.parametrize("what", sorted(CANARIES))
@pytest.mark.parametrize("form", sorted(FORMS))
def test_nothing_private_is_ever_shown(
    what: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`heistwatch check` refuses it with exit code 2, and no part of it is printed or logged."""
    caplog.set_level(0)
    canary = CANARIES[what]
    monkeypatch.setenv("SECRET", canary)
    (tmp_path / "list.txt").write_text(f"{canary}\n")
    path = tmp_path / "h.yaml"
    path.write_text(f"wallets: [{{id: own, role: personal, {FORMS[form].format(canary)}}}]\n")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(path)])
    printed = "".join(capsys.readouterr()) + caplog.text
    assert stop.value.code == 2 and (path.name in printed or "list.txt" in printed)
    pieces = [canary[at : at + 10] for at in range(0, len(canary) - 10, 5)]
    assert not any(piece in printed for piece in pieces), printed
    could_be_public = what == "hex" and form == "no chain"  # of a NEM account
    if form not in ("variable", "gap limit") and not could_be_public:
        assert "private key" in printed or "seed phrase" in printed, printed


PLAIN = 'id: own, role: personal, addresses: ["bitcoin:1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"]'
NAMED = {
    "id": "wallets: [{id: KEY, role: personal, addresses: []}]",
    "entity": "wallets: [{PLAIN, entity: KEY}]",
    "label": "wallets: [{PLAIN, labels: {KEY: x}}]",
    "list": "lists: {KEY: []}\nwallets: [{PLAIN}]",
    "include": "include: [KEY]\nwallets: [{PLAIN}]",
    "variable": "wallets: [{id: '${KEY}', role: personal, addresses: []}]",
}


@pytest.mark.parametrize("what", ["xprv", "Ltpv", "wif"])
@pytest.mark.parametrize("place", sorted(NAMED))
def test_keys_are_no_names(what: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key in the place of a name, which messages would repeat for ever, is refused and not shown either."""
    path = tmp_path / "h.yaml"
    path.write_text(NAMED[place].replace("PLAIN", PLAIN).replace("KEY", CANARIES[what]) + "\n")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(path)])
    printed = "".join(capsys.readouterr())
    assert stop.value.code == 2 and "private key" in printed and CANARIES[what][4:14] not in printed, printed


def test_words_of_the_command_line_are_not_echoed(capsys: pytest.CaptureFixture[str]) -> None:
    """Where they are private keys."""
    with pytest.raises(SystemExit):
        main(["case", "show", CANARIES["xprv"]])
    printed = "".join(capsys.readouterr())
    assert "(a private key)" in printed and CANARIES["xprv"][4:14] not in printed


def test_the_schema_and_the_template_know_them(tmp_path: Path) -> None:
    """The published schema has both forms, and the starting configuration an example."""
    from monitor.config import json_schema
    from monitor.config.template import template

    schema = json_schema()["$defs"]
    assert set(schema["AddressEntry"]["properties"]) == {"descriptor", "gap_limit", "used"}
    assert schema["AddressEntry"]["additionalProperties"] is False
    text = template({"network": "bitcoin"})
    assert "descriptor: " in text and "xpub" in text
    path = tmp_path / "h.yaml"
    path.write_text(text)
    assert not load_config(path).wallets[0].derived


