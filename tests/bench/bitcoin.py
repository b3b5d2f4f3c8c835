"""Blocks of the Bitcoin family: 2 MB decoded, a transaction of 11,000 inputs, a past of a wallet of 100,000 addresses.

CPU of this process, medians. The reference is the least that plain Python needs for outpoints, amounts and scripts,
with the same hashes compared; it trusts every length.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from chains.bitcoin.base import Fetched, Prevout, outpoint
from chains.bitcoin.block import parse_block
from chains.bitcoin.build import Input, build_block, build_coinbase, build_tx
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import Prevouts
from chains.bitcoin.watched import WatchedScripts
from monitor.addresses.compact import AddressSet
from monitor.addresses.encode import address_of, hash160
from monitor.engine import Engine
from monitor.model import Block, Role, Wallet
from monitor.networks import by_name
from monitor.watchlist import Watchlist

ROUNDS = 15
SIZE = 2_000_000  # bytes of the large block
BOUND = 60.0  # ms of CPU for it
MANY = 11_000  # inputs of one transaction
JOINED = 250  # ms of CPU for all that is done with it, at most
PACE, MEMORY = 10, 100  # what the past of the large wallet must keep to
MEMBERS = 100_000  # addresses of the wallet
BLOCKS, TXS, OWN = 120, 800, 8  # of its past: transactions a block, and those that touch it
NET = by_name("bitcoin-regtest")
assert NET is not None
SIGNATURE, KEY = b"\x30" + b"\x45" * 71, b"\x02" + b"\x11" * 32
WORTH = 10**7  # of each coin
STRANGER = Prevout(WORTH, b"\x00\x14" + hash160(KEY))
START = 1_700_000_000


def script(number: int) -> bytes:
    """An output script that no other number has: mostly P2WPKH, some taproot, some older ones."""
    digest = hashlib.sha256(number.to_bytes(8, "little")).digest()
    if number % 10 < 6:
        return b"\x00\x14" + digest[:20]
    if number % 10 < 8:
        return b"\x51\x20" + digest
    return b"\x76\xa9\x14" + digest[:20] + b"\x88\xac" if number % 10 == 8 else b"\xa9\x14" + digest[:20] + b"\x87"


def key(number: int) -> bytes:
    """A public key of the wallet."""
    return b"\x02" + hashlib.sha256(b"key" + number.to_bytes(8, "little")).digest()


def own(number: int) -> bytes:
    """The output script that this key spends."""
    return b"\x00\x14" + hash160(key(number))


def spending(point: bytes, by: bytes) -> Input:
    return point, b"", 0xFFFFFFFD, [SIGNATURE, by]


def payment(rng: Random, inputs: int = 2, outputs: int = 2) -> bytes:
    """A transaction between strangers."""
    spent = [spending(rng.randbytes(32) + b"\0" * 4, KEY) for _ in range(inputs)]
    paid = [(rng.randrange(10**4, WORTH), script(rng.getrandbits(40) | 1 << 41)) for _ in range(outputs)]
    return build_tx(spent, paid)


def sealed(number: int, txs: list[bytes], parent: str = "00" * 32) -> bytes:
    return build_block(parent, START + 600 * number, [build_coinbase(number, [(50 * 10**8, script(10**9))], txs), *txs])


# -- the reference ----------------------------------------------------------------------------------------------------


def _size(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first < 0xFD:
        return first, at + 1
    width, form = ((2, "<H"), (4, "<I"), (8, "<Q"))[first - 0xFD]
    return struct.unpack_from(form, data, at + 1)[0], at + 1 + width


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes += hashes[-1:] * (len(hashes) % 2)
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [hashlib.sha256(hashlib.sha256(a + b).digest()).digest() for a, b in pairs]
    return hashes[0]


def reference(data: bytes) -> tuple[list[bytes], list[int], list[bytes]]:
    """Outpoints, amounts and scripts of a block, its merkle root and witness commitment compared."""
    count, at = _size(data, 80)
    hashes, whole, points = list[bytes](), list[bytes](), list[bytes]()
    values, scripts = list[int](), list[bytes]()
    for _ in range(count):
        start, body = at, at + 4
        has_witness = data[at + 4] == 0
        body += 2 if has_witness else 0
        inputs, at = _size(data, body)
        for _ in range(inputs):
            points.append(data[at : at + 36])
            length, at = _size(data, at + 36)
            at += length + 4
        outputs, at = _size(data, at)
        for _ in range(outputs):
            values.append(struct.unpack_from("<Q", data, at)[0])
            length, at = _size(data, at + 8)
            scripts.append(data[at : at + length])
            at += length
        end = at
        for _ in range(inputs if has_witness else 0):
            items, at = _size(data, at)
            for _ in range(items):
                length, at = _size(data, at)
                at += length
        text = data[start : start + 4] + data[body:end] + data[at : at + 4]
        at += 4
        hashes.append(hashlib.sha256(hashlib.sha256(text).digest()).digest())
        whole.append(hashlib.sha256(hashlib.sha256(data[start:at]).digest()).digest())
    assert _root(hashes) == data[36:68]
    wanted = next(each[6:38] for each in scripts if each.startswith(b"\x6a\x24\xaa\x21\xa9\xed"))
    sealed = _root([bytes(32), *whole[1:]]) + bytes(32)
    assert hashlib.sha256(hashlib.sha256(sealed).digest()).digest() == wanted
    return points, values, scripts


# -- measuring --------------------------------------------------------------------------------------------------------


def cpu(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median ms of CPU; the first round is not counted."""
    found = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begin))
    return statistics.median(found[1:])


def most_memory() -> float:
    """MB that this process held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def memory_of(wallet: Wallet) -> float:
    """MB that watching a wallet takes, beside its addresses themselves."""
    assert NET is not None
    tracemalloc.start()
    watched = WatchedScripts(Watchlist([wallet]).watch(NET.chain), NET)
    watched.match([b""])
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept / 2**20


def large() -> dict[str, Any]:
    """A block of 2 MB."""
    rng, txs, size = Random(1), list[bytes](), 0
    while size < SIZE:
        txs.append(payment(rng))
        size += len(txs[-1])
    data = sealed(1, txs)
    assert NET is not None

    def whole() -> None:
        block = parse_block(data, NET)
        for each in block.output_scripts:
            address_of(each, NET)

    block = parse_block(data, NET)
    assert reference(data) == (block.outpoints, block.output_values, block.output_scripts)

    def columns() -> None:
        made = parse_block(data, NET)
        assert len(made.outpoints) + len(made.output_values) + len(made.output_scripts) > 3

    bare, ours, named = cpu(lambda: parse_block(data, NET)), cpu(columns), cpu(whole)
    plain = cpu(lambda: reference(data))
    return {
        "block": f"{len(data):,} bytes, {len(txs):,} transactions, {2 * len(txs):,} outputs",
        f"decode and check it, CPU ms (bound {BOUND:.0f})": round(bare, 1),
        "the same with outpoints, amounts and scripts, CPU ms": round(ours, 1),
        "the same with every address built, CPU ms": round(named, 1),
        "outpoints, amounts and scripts by plain Python, with the same hashes, CPU ms": round(plain, 1),
        "plain Python / ours": round(plain / ours, 2),
    }


def joined() -> dict[str, Any]:
    """A block with a transaction of 11,000 inputs, all of a watched wallet: decoded, as flows, folded."""
    assert NET is not None
    rng = Random(2)
    wallet = Wallet("hot", "Bench", Role.HOT, tuple((NET.chain, address_of(own(n), NET)) for n in range(500)))
    points = [outpoint(rng.randbytes(32).hex(), 0) for _ in range(MANY)]
    prevouts = {point: Prevout(10**6, own(n % 500)) for n, point in enumerate(points)}
    inputs = [spending(point, key(n % 500)) for n, point in enumerate(points)]
    tx = build_tx(inputs, [(MANY * 10**6 - 10**5, script(10**6))])
    data = sealed(1, [tx])

    def decoded(watchlist: Watchlist) -> Block:
        fetched = Fetched(parse_block(data, NET), prevouts, complete=True)
        watched = WatchedScripts(watchlist.watch(NET.chain), NET)
        found = asyncio.run(Prevouts(None, watched).of_block(fetched))  # type: ignore[arg-type]
        return decode_block(fetched, 1, found, watched, NET)

    watchlist = Watchlist([wallet])
    block = decoded(watchlist)
    assert len(block.transfers[0].from_addresses) == MANY
    told = {("hot", NET.chain, NET.asset): 2 * MANY * 10**6}
    assert Engine(watchlist, [NET.asset]).connect(block, told).hits
    decode, flows = cpu(lambda: decoded(watchlist)), cpu(lambda: watchlist.flows(block))
    folded = cpu(lambda: Engine(Watchlist([wallet]), [NET.asset]).connect(block, told))
    return {
        f"a transaction of {MANY:,} inputs: decode, CPU ms": round(decode, 1),
        "its flows, CPU ms": round(flows, 1),
        "flows and fold, CPU ms": round(folded, 1),
        f"decode, flows and fold, CPU ms (bound {JOINED})": round(decode + folded, 1),
    }


def past() -> Iterator[tuple[bytes, dict[bytes, Prevout]]]:
    """Blocks of a few hundred kB, of which one transaction in a hundred touches the wallet; what their inputs spend."""
    rng, parent = Random(3), "00" * 32
    for number in range(1, BLOCKS + 1):
        txs = [payment(rng) for _ in range(TXS - OWN)]
        spent = {}
        for n in range(OWN):
            point, member = outpoint(rng.randbytes(32).hex(), 0), rng.randrange(MEMBERS)
            to = own(rng.randrange(MEMBERS)) if n % 2 else script(10**7 + rng.randrange(50))
            spent[point] = Prevout(WORTH, own(member))
            change = (WORTH - 10**6 - 500, own(rng.randrange(MEMBERS)))
            txs.append(build_tx([spending(point, key(member))], [(10**6, to), change]))
        data = sealed(number, txs, parent)
        parent = parse_block(data, NET).header.hash if NET is not None else ""
        yield data, spent


def backfill() -> dict[str, Any]:
    """The past of a wallet of 100,000 addresses: each block decoded, matched and folded."""
    assert NET is not None
    blocks = list(past())
    found: dict[str, Any] = {"past": f"{BLOCKS} blocks of {len(blocks[0][0]) / 1000:.0f} kB, {TXS} transactions each"}
    names = [address_of(own(n), NET) for n in range(MEMBERS)]
    for title, wallet in (
        ("named one by one", Wallet("w", "Bench", Role.HOT, tuple((NET.chain, name) for name in names))),
        ("in a list", Wallet("w", "Bench", Role.HOT, (), fleets=((NET.chain, AddressSet.of(names)),))),
    ):
        kept = memory_of(wallet)
        watchlist = Watchlist([wallet])
        watched = WatchedScripts(watchlist.watch(NET.chain), NET)
        engine, prevouts = Engine(watchlist, [NET.asset]), Prevouts(None, watched)  # type: ignore[arg-type]
        begin, flows = time.process_time(), 0
        watched.match([b""])
        ready = time.process_time() - begin
        for number, (data, spent) in enumerate(blocks, 1):
            raw = parse_block(data, NET)
            known = {point: spent.get(point, STRANGER) for point in raw.outpoints[1:]}
            matched = asyncio.run(prevouts.of_block(Fetched(raw, known, complete=True)))
            flows += len(engine.connect(decode_block(Fetched(raw, known, True), number, matched, watched, NET)).flows)
        seconds = time.process_time() - begin - ready
        assert flows > 2 * BLOCKS * OWN
        found |= {
            f"{MEMBERS:,} addresses {title}: ready after, CPU s": round(ready, 2),
            f"{MEMBERS:,} addresses {title}: blocks a second of CPU (target {PACE})": round(BLOCKS / seconds, 1),
            f"{MEMBERS:,} addresses {title}: memory of the watch set, MB (target {MEMORY})": round(kept, 1),
        }
    return found


def main() -> None:
    """All of it."""
    found = {**large(), **joined(), **backfill()}
    found["memory of this process at most, the blocks with it, MB"] = round(most_memory())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
