"""What inputs spend: told with the block, by coins seen before, by the source, or by the input itself."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from Crypto.Hash import RIPEMD160

from chains.bitcoin.base import Coin, Fetched, Prevout, outpoint, outpoint_text
from chains.bitcoin.block import parse_block, parse_tx
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import COSTLY, Prevouts
from chains.bitcoin.script import address_of
from chains.bitcoin.transfers import Spent, transfers_of
from chains.bitcoin.watched import WatchedScripts
from monitor.keepsakes import Keepsakes
from monitor.model import BlockRef, TxFlag
from monitor.networks import by_name

NET = by_name("bitcoin-regtest")
assert NET is not None
KEY = b"\x02" + b"\x11" * 32
OTHER_KEY = b"\x03" + b"\x22" * 32
SIGNATURE = b"\x30" + b"\x05" * 70


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of the SHA-256."""
    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def witness_to(key: bytes) -> bytes:
    """The script that pays a key (P2WPKH)."""
    return b"\x00\x14" + hash160(key)


OURS, THEIRS, THIEF = witness_to(KEY), witness_to(OTHER_KEY), b"\x00\x14" + b"\x99" * 20
TAPROOT = b"\x51\x20" + b"\x77" * 32
ADDRESS = address_of(OURS, NET)


class Known:
    """A source that knows some outputs, and remembers what it was asked."""

    def __init__(self, outputs: Mapping[bytes, Prevout], costly: bool = False) -> None:
        self.outputs, self.costly = outputs, costly
        self.asked: list[bytes] = []

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """Those that it knows."""
        self.asked += wanted
        return {point: self.outputs[point] for point in wanted if point in self.outputs}


def point(number: int) -> bytes:
    """An outpoint that no other number has."""
    return outpoint(f"{number:064x}", 0)


def spend(points: Sequence[tuple[bytes, bytes]], outputs: Sequence[tuple[int, bytes]]) -> bytes:
    """A transaction whose inputs are (outpoint, key), signed as P2WPKH asks."""
    inputs = [(at, b"", 0xFFFFFFFE, [SIGNATURE, key] if key else [b"\x01" * 64]) for at, key in points]
    return build_tx(inputs, outputs)


def block_of(*txs: bytes, height: int = 7) -> Any:
    """A block of these transactions behind a coinbase."""
    coinbase = build_coinbase(height, [(50, THEIRS)], txs)
    return parse_block(build_block("00" * 32, 1_600_000_000, [coinbase, *txs]), NET)


def made(source: Any, *watch: str) -> Prevouts:
    """A resolver for these addresses."""
    return Prevouts(source, WatchedScripts(dict.fromkeys(watch or (ADDRESS,)), NET))


async def test_told_with_the_block() -> None:
    """Where the source tells all prevouts nothing is asked; what touches nobody is left out."""
    ours, theirs = spend([(point(1), KEY)], [(90, THIEF)]), spend([(point(2), OTHER_KEY)], [(5, THEIRS)])
    known = {point(1): Prevout(100, OURS), point(2): Prevout(6, THEIRS)}
    source = Known({})
    found = await made(source).of_block(Fetched(block_of(theirs, ours), known, True))
    assert found.touched == (2,) and not found.blind and source.asked == []


@pytest.mark.parametrize(
    "told",
    [
        {point(1): Prevout(100, THIEF), point(2): Prevout(60, THEIRS)},  # another owner than the input shows
        {point(1): Prevout(1, OURS), point(2): Prevout(60, THEIRS)},  # less than is paid
        {point(1): Prevout(100, THIEF)},
    ],
)
async def test_told_wrongly(told: Mapping[bytes, Prevout], caplog: pytest.LogCaptureFixture) -> None:
    """What the block contradicts is not believed: it is looked up, and said."""
    ours = spend([(point(1), KEY), (point(2), OTHER_KEY)], [(150, THIEF)])
    source = Known({point(1): Prevout(100, OURS), point(2): Prevout(60, THEIRS)})
    found = await made(source).of_block(Fetched(block_of(ours), told, len(told) == 2, "node:1"))
    assert found.touched == (1,) and found.spent.known[point(1)] == Prevout(100, OURS)
    assert "node:1 tells impossible inputs" in caplog.text


async def test_asked_of_the_source() -> None:
    """Without prevouts, those inputs are asked about that show a watched key, and then the others of the same one."""
    ours = spend([(point(1), KEY), (point(2), OTHER_KEY)], [(150, THIEF)])
    theirs = spend([(point(3), OTHER_KEY)], [(5, THEIRS)])
    source = Known({point(1): Prevout(100, OURS), point(2): Prevout(60, THEIRS)})
    fetched = Fetched(block_of(theirs, ours))
    found = await made(source).of_block(fetched)
    assert found.touched == (2,) and not found.blind
    assert source.asked == [point(1), point(2)]
    block = decode_block(fetched, 7, found, {ADDRESS}, NET)
    (transfer,) = block.transfers
    assert transfer.from_addresses == (ADDRESS, address_of(THEIRS, NET)) and transfer.input_values == (100, 60)
    assert (transfer.tx.fee, transfer.tx.spends) == (10, (outpoint_text(point(1)),))
    assert transfer.index == 3 and block.transfers_seen == 4  # coinbase, its commitment, the stranger's


async def test_within_the_block_and_seen_before() -> None:
    """Coins of the block itself, and those that earlier blocks paid, need no question."""
    first = spend([(point(1), OTHER_KEY)], [(70, TAPROOT)])
    made_here = bytes.fromhex(parse_tx(first).hash)[::-1] + bytes(4)
    second = spend([(made_here, b"")], [(69, THIEF)])
    source, address = Known({}), address_of(TAPROOT, NET)
    resolver = made(source, address)
    found = await resolver.of_block(Fetched(block_of(first, second)))
    assert found.touched == (1, 2) and made_here not in source.asked
    assert found.spent.known[made_here] == Prevout(70, TAPROOT)
    later = await resolver.of_block(Fetched(block_of(spend([(made_here, b"")], [(69, THIEF)]), height=8)))
    assert later.touched == (1,) and made_here not in source.asked


async def test_no_index_and_unknown_amounts() -> None:
    """Where nobody knows the coin, what the input shows counts: the payment is seen in full, the fee is not known."""
    fetched = Fetched(block_of(spend([(point(1), KEY)], [(90, THIEF), (8, THEIRS)])))
    resolver = made(Known({}))
    found = await resolver.of_block(fetched)
    assert found.touched == (1,) and found.blind and resolver.wants_coins
    block = decode_block(fetched, 7, found, {ADDRESS}, NET)
    assert [t.value for t in block.transfers] == [90, 8] and block.blind_spots
    assert block.transfers[0].from_addresses == (ADDRESS,) and block.transfers[0].input_values == (98,)
    assert block.transfers[0].tx.fee is None and block.transfers[0].tx.spends == (outpoint_text(point(1)),)


async def test_what_the_source_says_counts_more_than_what_an_input_shows() -> None:
    """A stranger who puts our public key into his input spends his own coin: the index tells."""
    forged = spend([(point(1), KEY)], [(90, THIEF)])
    found = await made(Known({point(1): Prevout(95, TAPROOT)})).of_block(Fetched(block_of(forged)))
    assert found.touched == () and not found.blind


async def test_coins_of_the_wallet() -> None:
    """Coins that were read from the node show spends of taproot keys, which show nothing themselves."""
    resolver = made(Known({}), address_of(TAPROOT, NET))
    resolver.learn([Coin(point(5), 400, TAPROOT, 3)])
    found = await resolver.of_block(Fetched(block_of(spend([(point(5), b"")], [(390, THIEF)]))))
    assert found.touched == (1,) and not found.blind


async def test_services_that_count_requests() -> None:
    """At a service, taproot inputs are not all asked about; who watches none asks about none."""
    tx = spend([(point(n), b"") for n in range(COSTLY + 50)], [(1, THIEF)])
    plain, source = Known({}, costly=True), Known({}, costly=True)
    found = await made(plain).of_block(Fetched(block_of(tx)))
    assert found.touched == () and plain.asked == []
    resolver = made(source, address_of(TAPROOT, NET))
    await resolver.of_block(Fetched(block_of(tx)))
    assert len(source.asked) == COSTLY and resolver.wants_coins


class Growing(dict[str, None]):
    """A watch set of which more comes into use: paying one of the first two watches the next."""

    def __init__(self, chain: Sequence[str]) -> None:
        super().__init__(dict.fromkeys(chain[:1]))
        self._chain = list(chain)

    def used(self, address: str) -> bool:
        """Watch the one after it."""
        after = self._chain[self._chain.index(address) + 1 : self._chain.index(address) + 2]
        grown = any(one not in self for one in after)
        self.update(dict.fromkeys(after))
        return grown


async def test_gap_limit_moves_within_a_block() -> None:
    """Each payment may bring the next address into use: a block is matched until nothing moves."""
    scripts = [b"\x00\x14" + bytes([n]) * 20 for n in range(1, 5)]
    txs = [spend([(point(n), OTHER_KEY)], [(n + 1, script)]) for n, script in enumerate(reversed(scripts[:3]))]
    watch = Growing([address_of(script, NET) for script in scripts])
    found = await Prevouts(Known({}), WatchedScripts(watch, NET)).of_block(Fetched(block_of(*txs)))
    assert found.touched == (1, 2, 3) and len(watch) == 4


@pytest.mark.parametrize("listed", [True, False])
async def test_bare_keys_and_scripts_without_address(listed: bool) -> None:
    """A bare public key is its address's; a bare multisig is watched by its script hash; long lists know both."""
    bare = b"\x21" + KEY + b"\xac"
    multisig = b"\x51\x21" + KEY + b"\x21" + OTHER_KEY + b"\x52\xae"
    hashed = address_of(multisig, NET)
    assert hashed.startswith("scripthash:")
    names = {address_of(bare, NET), hashed}
    watch: Any = dict.fromkeys(names) if listed else _Asked(names)
    found = WatchedScripts(watch, NET).match([bare, multisig, THIEF, b"\x6a\x01\x00"])
    assert set(found) == {bare, multisig} and set(found.values()) == names


class _Asked:
    """A watch set that can only be asked."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = set(names)

    def __contains__(self, address: object) -> bool:
        return address in self._names

    def __len__(self) -> int:
        return len(self._names)


def test_coinbase_and_flags() -> None:
    """New coins have no sender and are marked; a transaction tells whether it may be replaced."""
    block = block_of(build_tx([(point(1), b"", 0xFFFFFFFD, [SIGNATURE, KEY])], [(10_000_000, THIEF)], lock_time=5))
    ref = BlockRef(NET.chain, 7, block.header.hash)
    (coinbase, *_) = transfers_of(block.txs[0], ref, 0, 0, Spent(), {ADDRESS}, NET)
    assert coinbase.from_addresses == () and TxFlag(coinbase.tx.flags) == TxFlag.COINBASE
    spent = Spent({point(1): Prevout(10_130_000, OURS)})
    (paid,) = transfers_of(block.txs[1], ref, 1, block.first_output[1], spent, {ADDRESS}, NET)
    wanted = TxFlag.REPLACEABLE | TxFlag.LOCKED | TxFlag.ROUND_FEE | TxFlag.ROUND_AMOUNT
    assert TxFlag(paid.tx.flags) == wanted and paid.tx.script_type == "p2wpkh"
    assert (paid.tx.n_inputs, paid.tx.n_outputs, paid.tx.version) == (1, 1, 2)


async def test_coins_outlast_a_restart() -> None:
    """A taproot coin that arrived before a restart is known after it, though nobody can tell it any more."""
    kept, address = Keepsakes(NET.chain), address_of(TAPROOT, NET)
    watched = WatchedScripts({address: None, ADDRESS: None}, NET)
    before = Prevouts(Known({}), watched, kept)
    arrival = spend([(point(1), OTHER_KEY)], [(70, TAPROOT), (5, OURS)])
    await before.of_block(Fetched(block_of(arrival)))
    before.learn([Coin(point(9), 30, TAPROOT, 3)])
    await before.of_block(Fetched(block_of(height=8)))
    assert len(kept.facts) == 2  # an input that spends the other one shows its key
    again = Keepsakes(NET.chain, [(key, value) for key, value in kept.taken() if value is not None])
    made_there = bytes.fromhex(parse_tx(arrival).hash)[::-1] + bytes(4)
    theft = spend([(made_there, b""), (point(9), b"")], [(90, THIEF)])
    found = await Prevouts(Known({}), watched, again).of_block(Fetched(block_of(theft, height=9)))
    assert found.touched == (1,) and not found.blind
    assert found.spent.known[made_there] == Prevout(70, TAPROOT) and found.spent.known[point(9)].value == 30


async def test_sources_that_tell_prevouts_keep_nothing() -> None:
    """Where blocks come with what their inputs spend, nothing has to outlast a restart."""
    kept = Keepsakes(NET.chain)
    resolver = Prevouts(Known({}), WatchedScripts({address_of(TAPROOT, NET): None}, NET), kept)
    arrival = block_of(spend([(point(1), OTHER_KEY)], [(70, TAPROOT)]))
    await resolver.of_block(Fetched(arrival, {point(1): Prevout(80, THEIRS)}, True))
    assert not kept.facts and not resolver.wants_coins
