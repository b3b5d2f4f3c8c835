"""Sound inputs to be damaged: made ones, and where real data is there, real ones."""

from __future__ import annotations

import json
import os
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from embit import bip32
from embit import ec as keys

from chains.bitcoin.base import outpoint
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from monitor.addresses.encode import address_of
from monitor.networks import NETWORKS, Network, by_name

__all__ = ["addresses", "blocks", "descriptors", "nis", "secrets", "transactions", "undo"]

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).resolve().parents[4] / "shared/data")
REAL = ("bitcoin", "litecoin", "dogecoin", "monacoin")
LARGEST = 60_000  # bytes of a real block: damage to it is as deep, and a hundred times as often
KEY, SIGNATURE = b"\x02" + b"\x11" * 32, b"\x30" + b"\x05" * 70
SCRIPTS = (
    b"\x76\xa9\x14" + b"\x01" * 20 + b"\x88\xac",
    b"\xa9\x14" + b"\x02" * 20 + b"\x87",
    b"\x00\x14" + b"\x03" * 20,
    b"\x00\x20" + b"\x04" * 32,
    b"\x51\x20" + b"\x05" * 32,
    b"\x60\x03\x01\x02\x03",
    b"\x21" + KEY + b"\xac",
    b"\x51\x21" + KEY + b"\x21" + KEY + b"\x52\xae",
    b"\x6a\x04data",
    b"\xaa\x20" + b"\x06" * 32 + b"\x87",
    b"",
)


def network(name: str) -> Network:
    found = by_name(name)
    assert found is not None
    return found


@cache
def transactions() -> tuple[bytes, ...]:
    """Of every form: inputs of several kinds, with and without witness."""
    outputs = [(10**8 * n + 1, each) for n, each in enumerate(SCRIPTS)]
    point = outpoint("ab" * 32, 1)
    push = bytes([len(SIGNATURE)]) + SIGNATURE + b"\x21" + KEY
    plain = build_tx([(point, push, 0xFFFFFFFF, ())], outputs, version=1)
    program = b"\x16\x00\x14" + b"\x03" * 20
    wrapped = build_tx([(point, program, 0xFFFFFFFD, [SIGNATURE, KEY])], outputs[:3], lock_time=9)
    inputs = [
        (point, b"", 0, [SIGNATURE, KEY]), (outpoint("cd" * 32, 0), push, 0xFFFFFFFE, ()),
        (outpoint("ef" * 32, 9), b"", 1, [b"\x01" * 64]), (outpoint("01" * 32, 300), b"", 1, [b"", KEY, b"\x50annex"]),
    ]  # fmt: skip
    return plain, wrapped, build_tx(inputs, outputs), build_tx(inputs[:1], [(5, SCRIPTS[2])] * 300)


@cache
def blocks() -> dict[str, tuple[bytes, ...]]:
    """Raw blocks by network."""
    txs = transactions()
    coinbase = build_coinbase(7, [(50 * 10**8, SCRIPTS[0])], txs)
    made = build_block("00" * 32, 1_700_000_000, [coinbase, *txs])
    found: dict[str, list[bytes]] = {"bitcoin-regtest": [made], "litecoin-regtest": [made], "bitcoin-cash": [made]}
    archive = DATA / "bitcoin/electrumx/blocks.tar.gz"
    if archive.exists():
        with tarfile.open(archive) as members:
            for member in members.getmembers():
                name, _, rest = Path(member.name).stem.partition("_")
                if name in REAL and member.name.endswith(".json") and (content := members.extractfile(member)):
                    data = bytes.fromhex(json.load(content)["block"])
                    if len(data) < LARGEST:
                        found.setdefault(name if rest.startswith("mainnet") else f"{name}-testnet", []).append(data)
    return {name: tuple(each) for name, each in found.items() if by_name(name) is not None}


@cache
def undo() -> tuple[bytes, ...]:
    """What the inputs of the made block spent, in the form of a node's files, and of plain outputs."""
    one = b"\x80\x00\x05\x00" + b"\x03" * 20
    core = bytes([4]) + b"\x01" + one + b"\x01" + one + b"\x04" + one * 4 + b"\x01" + one
    plain = b"".join((10**8).to_bytes(8, "little") + bytes([len(each)]) + each for each in SCRIPTS[:7])
    return core, plain


@cache
def addresses() -> dict[str, tuple[str, ...]]:
    """Canonical ones by network."""
    ours = [each for each in NETWORKS if each.kind == "bitcoin"]
    found = {each.name: tuple(address_of(form, each) for form in SCRIPTS) for each in ours}
    return found | {"nem": ("NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ",), "ethereum": ("0x" + "ab" * 20,)}


@cache
def descriptors() -> tuple[str, ...]:
    """Public ones, of each form."""
    root = bip32.HDKey.from_seed(bytes(range(64)))
    xpub, other = (str(root.derive(f"m/{path}").to_public()) for path in ("84h/0h/0h", "48h/0h/0h/2h"))
    origin = "[d34db33f/84h/0h/0h]"
    single = KEY.hex()
    return (
        xpub, f"wpkh({origin}{xpub}/0/*)", f"pkh({xpub}/<0;1>/*)", f"sh(wpkh({xpub}/1/*))", f"tr({xpub}/0/*)",
        f"wsh(sortedmulti(2,{origin}{xpub}/0/*,{other}/0/*))", f"sh(multi(1,{xpub},{other}))", f"wpkh({single})",
        f"combo({single})", f"addr({address_of(SCRIPTS[2], network('bitcoin'))})", f"raw({SCRIPTS[1].hex()})",
        f"wsh(and_v(v:pk({xpub}/0/*),older(1000)))", f"multi(1,{single},{single})", f"pk({single})",
    )  # fmt: skip


@cache
def secrets() -> tuple[str, ...]:
    """Private keys, alone and within descriptors."""
    root = bip32.HDKey.from_seed(bytes(range(64)))
    xprv, wif = str(root.derive("m/84h/0h/0h")), str(keys.PrivateKey(bytes(range(1, 33))).wif())
    return xprv, wif, f"wpkh({xprv}/0/*)", f"pkh({wif})", f"wsh(sortedmulti(1,{xprv}/0/*,{descriptors()[0]}/0/*))"


@cache
def nis() -> dict[str, tuple[Any, ...]]:
    """Answers of NIS1: made ones, and real ones where they are there."""
    signer, to = "ab" * 32, "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
    head = {"timeStamp": 9_111_526, "fee": 50_000, "signer": signer, "deadline": 9_154_726, "signature": "cd" * 64}
    sent = {
        **head, "type": 257, "version": 0x68000002, "recipient": to, "amount": 10**6,
        "message": {"payload": "00ff", "type": 1},
        "mosaics": [{"mosaicId": {"namespaceId": "nem", "name": "xem"}, "quantity": 5}],
    }  # fmt: skip
    plain = {**head, "type": 257, "version": 0x68000001, "recipient": to, "amount": 10**6, "message": {}}
    change = {
        **head, "type": 4097, "version": 0x68000002, "minCosignatories": {"relativeChange": 1},
        "modifications": [{"modificationType": 1, "cosignatoryAccount": "ef" * 32}],
    }  # fmt: skip
    multisig = {**head, "type": 4100, "version": 0x68000001, "otherTrans": sent, "signatures": [{**head, "fee": 6}]}
    handed = {**head, "type": 2049, "version": 0x68000001, "mode": 1, "remoteAccount": "01" * 32}
    txs = [sent, plain, change, multisig, handed]
    block = {**head, "type": 1, "version": 0x68000001, "height": 7, "prevBlockHash": {"data": "aa" * 32},
             "transactions": txs}  # fmt: skip
    definition = {
        "creator": signer, "description": "a coin", "id": {"namespaceId": "one", "name": "coin"}, "levy": {},
        "properties": [{"name": "divisibility", "value": "3"}, {"name": "initialSupply", "value": "9000000000"},
                       {"name": "supplyMutable", "value": "true"}, {"name": "transferable", "value": "true"}],
    }  # fmt: skip
    found: dict[str, list[Any]] = {"transactions": txs, "blocks": [block], "definitions": [definition]}
    guide = DATA / "nem/nem-exchange-guide/transactions.json"
    if guide.exists():
        found["transactions"] += [case["response"]["transaction"] for case in json.loads(guide.read_text())]
    product = DATA / "nem/nem-symbol-product/nem_connector_responses.json"
    if product.exists():
        real = json.loads(product.read_text())["CHAIN_BLOCK_1"]
        found["blocks"].append({**real["block"], "transactions": [entry["tx"] for entry in real["txes"]]})
    return {name: tuple(each) for name, each in found.items()}
