"""Real blocks of ninety coins: those of our networks decode with all checks; of the others it is known why not."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chains.bitcoin.block import parse_block
from monitor.errors import DecodeError
from monitor.networks import Network, by_name

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[4] / "shared/data") / "bitcoin"
REAL = pytest.mark.skipif(not DATA.is_dir(), reason="the real blocks are not here")

# Other blocks of the electrumx set that have Bitcoin's own form, by what their work is: those whose header hash is not
# SHA-256d ("elsewhere") are read as well, under another hash. The rest have other headers (Zcash and its family), times
# or signatures of stakers, or other transactions.
ALIKE = {
    "sha256d": """
        bitcoinsv_mainnet_100000 chips_mainnet_200000 digibyte_mainnet_4394891 electraprotocol_mainnet_1000
        flashcoin_mainnet_1000 iop_mainnet_1000 ixcoin_mainnet_1000 namecoin_mainnet_19204
        unobtanium_mainnet_1000
    """,
    "scrypt": """
        aryacoin_mainnet_1000 bata_mainnet_1000 beyondcoin_mainnet_143500 cannacoin_mainnet_1000
        defcoin_mainnet_1000 digitalcoin_mainnet_1000 egulden_mainnet_1000 ferrite_mainnet_143580
        ferrite_mainnet_150213 ferrite_testnet_6282 gamecredits_mainnet_500000 linx_mainnet_1000
        litecoincash_mainnet_1000
        lynx_mainnet_1000 newyorkcoin_mainnet_3956926 quebecoin_mainnet_472979 reddcoin_mainnet_8000
        smileycoin_mainnet_1000 sumcoin_mainnet_837000
    """,
    "other": """
        bitcoinzero_mainnet_50000 bitcore_mainnet_100000 donu_mainnet_1000 feathercoin_mainnet_2001000
        garlicoin_mainnet_42069 gravitycoin_mainnet_100000 gravitycoin_mainnet_400000 koto_mainnet_60000
        koto_testnet_10000 myriadcoin_mainnet_2587044 nix_mainnet_50000 noir_mainnet_370000
        uniformfiscalobject_mainnet_1300154 unitus_mainnet_88888 vertcoin_mainnet_1849000
        vertcoin_testnet_545000 zcoin_mainnet_100000
    """,
    "merged": """
        namecoin_mainnet_19200 syscoin_mainnet_430000
    """,
    "elsewhere": """
        axe_mainnet_30237 axe_testnet_30 bitsend_mainnet_571000 bolivarcoin_mainnet_500000 dash_mainnet_844898
        dash_testnet_2999 machinecoin_mainnet_500000 onixcoin_mainnet_300000 pac_mainnet_27676 pac_testnet_16275
        pivx_mainnet_10000 polis_mainnet_100000 ravencoin_mainnet_600000 ravencoin_testnet_100000
    """,
}

# What is not in that form, of those that do not decode. "signature": of a staker, after the transactions. "timed": each
# transaction has a time (Peercoin and its family). "header": it is longer (Zcash and its family, PIVX, Decred,
# Primecoin, Ravencoin's later work, Xaya's proof beside it). "hash": a single SHA-256 or another hash for transactions.
# "transaction": has fields of its own.
FOREIGN = {
    "signature": """
        axe_testnet_30237 bitcoingreen_mainnet_10000 bitcoingreen_mainnet_285000 colossusxt_mainnet_100000
        electra_mainnet_200000 electraprotocol_mainnet_130000 mnpcoin_mainnet_50000 myce_mainnet_710000
        nix_testnet_200 odin_mainnet_1337 simplicity_mainnet_1040000
    """,
    "timed": """
        bitcoinplus_mainnet_749740 blackcoin_mainnet_3984683 blackcointestnet_testnet_1088263 deeponion_mainnet_50000
        denarius_mainnet_10000 eccoin_mainnet_120000 eccoin_mainnet_200000 electra_mainnet_120000
        emercoin_mainnet_255544 emercoin_mainnet_80312 exos_mainnet_50000 exos_testnet_60000
        gravityzerocoin_mainnet_400000 gravityzerocoin_mainnet_42000 myce_mainnet_341500 navcoin_mainnet_3700000
        peercoin_mainnet_400000 peercoin_mainnet_42000 peercointestnet_testnet_1337 peercointestnet_testnet_310000
        simplicity_mainnet_400000 tokenpay_mainnet_20000 trezarcoin_mainnet_612581 verge_mainnet_30000
    """,
    "header": """
        adcoin_mainnet_1000 bitcoinatom_mainnet_586900 bitcoinatom_mainnet_586956 bitcoingold_mainnet_499912
        bitcoingold_mainnet_80000 bitcoinprivate_mainnet_1000 bitcoinz_mainnet_1000 decred_mainnet_100
        decred_mainnet_120000 decred_testnet_1000 decred_testnet_5107 emercoin_mainnet_357826 europecoin_mainnet_1000
        hodlcoin_mainnet_38200 hush_mainnet_160000 komodo_mainnet_491000 lbry_mainnet_1000000 minexcoin_mainnet_170999
        odin_mainnet_17000 pivx_mainnet_1000000 pivx_mainnet_2703076 pivx_testnet_1000 pivx_testnet_10000
        primecoin_mainnet_3117396 primecointestnet_testnet_530680 ravencoin_mainnet_1220400 ravencoin_testnet_250000
        snowgem_mainnet_102802 xaya_mainnet_neoscrypt_400021 xaya_mainnet_sha256d_100000 xuez_mainnet_1
        xuez_mainnet_15000 zcash_mainnet_1000 zcash_testnet_242100 zcash_testnet_283046 zcash_testnet_304290
        zclassic_mainnet_1001 zelcash_mainnet_100000 zero_mainnet_800000
    """,
    "hash": """
        groestlcoin_mainnet_2000000 groestlcoin_signet_281 groestlcoin_testnet_600000 smartcash_mainnet_200000
    """,
    "transaction": """
        bitcoindiamond_mainnet_496659 bitcoindiamond_mainnet_497773 reddcoin_mainnet_1200000
    """,
}


def net(name: str) -> Network:
    """A built-in network."""
    found = by_name(name)
    assert found is not None
    return found


OURS = ("bitcoin", "litecoin", "dogecoin", "monacoin")


def electrumx(others: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, description) of the set's blocks, of our networks or of all others."""
    with tarfile.open(DATA / "electrumx/blocks.tar.gz") as archive:
        for member in archive.getmembers():
            name = Path(member.name).stem
            if member.isfile() and (name.partition("_")[0] in OURS) is not others:
                content = archive.extractfile(member)
                assert content is not None
                yield name, json.load(content)


@REAL
def test_electrumx_blocks_of_our_networks() -> None:
    """Bitcoin and its test networks, Litecoin with its extension block, Dogecoin's merged work, Monacoin."""
    seen = set()
    for name, said in electrumx():
        coin, kind, _ = name.split("_")
        network = net(coin if kind == "mainnet" else f"{coin}-{kind}")
        block = parse_block(bytes.fromhex(said["block"]), network)
        assert block.header.hash == said["hash"], coin
        assert [tx.hash for tx in block.txs] == said["tx"] and block.header.merkle_root == said["merkleroot"]
        assert block.header.time == said["time"] and block.header.parent == said["previousblockhash"]
        seen.add((network.name, said["height"]))
    assert seen == {
        ("bitcoin", 951658), ("bitcoin-testnet4", 40000), ("bitcoin-signet", 31500), ("litecoin", 900000),
        ("litecoin", 2265985), ("dogecoin", 371337), ("monacoin", 1145140), ("monacoin-testnet", 56969),
    }  # fmt: skip


@REAL
def test_blocks_of_other_coins() -> None:
    """Blocks with Bitcoin's own form decode for coins that nobody configured; of all others it is known why not."""
    wanted = {name: work for work, names in ALIKE.items() for name in names.split()}
    foreign = {name: why for why, names in FOREIGN.items() for name in names.split()}
    seen = set()
    for name, said in electrumx(others=True):
        raw = bytes.fromhex(said["block"])
        kind = wanted.get(name)
        params = {"work": kind if kind in ("sha256d", "scrypt") else "unknown", "easiest": 255}
        if kind == "merged":
            params |= {"merged": int.from_bytes(raw[:4], "little") >> 16, "work": "sha256d"}
        network = replace(net("bitcoin"), params={**net("bitcoin").params, **params})
        try:
            block = parse_block(raw, network)
        except DecodeError as error:
            assert kind is None, f"{name}: {error}"
            assert foreign.get(name) == _strange(raw, str(error)), name
            seen.add(name)
            continue
        assert kind is not None, f"{name} decodes, too"
        seen.add(name)
        assert [tx.hash for tx in block.txs] == said["tx"], name
        assert (block.header.hash == said["hash"]) is (kind != "elsewhere")
    assert seen == wanted.keys() | foreign.keys()


def _strange(raw: bytes, problem: str) -> str:
    """Which part of a block is not in Bitcoin's form, from where its first transaction spends nothing."""
    if "too many after" in problem:
        return "signature"
    if "merkle root" in problem:
        return "hash"
    at = raw.find(bytes(32) + b"\xff" * 4)
    header, first = (int.from_bytes(raw[n : n + 4], "little") for n in (68, at - 5))
    if header > 1_000_000_000 and abs(first - header) < 7200:
        return "timed"
    return "header" if at > 88 else "transaction"
