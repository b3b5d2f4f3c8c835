"""Address forms of every chain family."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from embit import base58, bech32
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.addresses import PrivateKeyGiven, canonical, cashaddr, evm, nem
from monitor.networks import NETWORKS, Network, by_name

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
BASE58 = base58.B58_DIGITS
SEGWIT: Callable[[str, int, bytes], str] = bech32.encode


def network(name: str) -> Network:
    found = by_name(name)
    assert found is not None
    return found


def read(name: str, text: str) -> str:
    return canonical(network(name), text)


@pytest.mark.parametrize(
    "text",
    [  # the examples of ERC-55
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ],
)
def test_evm_checksum(text: str) -> None:
    """EIP-55 addresses pass, become lower-case, and come back for display."""
    assert read("ethereum", text) == text.lower()
    assert evm.checksum(text.lower()) == text
    assert read("bsc", "0x" + text[2:].upper()) == text.lower()
    assert read("polygon", text.lower()) == text.lower()


def test_evm_checksum_mismatch() -> None:
    """Mixed case that does not check is refused, and the message holds the way out."""
    with pytest.raises(ValueError, match=r"expected 0x28C6c06298d514Db089934071355E5743bf21d60 .*lower case"):
        read("ethereum", "0x28c6c06298d514Db089934071355E5743bf21d60")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("28c6c06298d514db089934071355e5743bf21d60", "0x is missing"),
        ("0x28c6c06298d514db089934071355e5743bf21d6", "found 39"),
        ("0x28c6c06298d514db089934071355e5743bf21d6g", "hexadecimal"),
        ("vitalik.eth", "a name is not an address"),
        ("", "empty"),
        ("0x28c6c06298d514db089934071355e5743bf21d\u200b60", r"U\+200B"),
        ("0x28c6c06298d514db0 89934071355e5743bf21d60", "white space"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "hexadecimal"),
    ],
)
def test_evm_refusals(text: str, message: str) -> None:
    """What is no EVM address is refused with what was expected."""
    with pytest.raises(ValueError, match=message):
        read("ethereum", text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bitcoin", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", None),  # genesis
        ("bitcoin", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG", None),  # BIP-13
        ("bitcoin", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("bitcoin", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", None),  # BIP-350
        ("bitcoin", "BC1SW50QGDZ25J", "bc1sw50qgdz25j"),
        ("bitcoin-testnet", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", None),
        ("bitcoin-testnet", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", None),
        ("dogecoin", "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L", None),
        ("monacoin", "MBEYH8JuAHynTA7unLjon7p7im2U9JbitV", None),
    ],
)
def test_bitcoin_family_accepts(name: str, text: str, expected: str | None) -> None:
    """Every form of the Bitcoin family is read; base58 keeps its letter case."""
    assert read(name, text) == (expected or text)


def test_litecoin_script_has_one_form() -> None:
    """The old prefix byte of script addresses becomes the new one: one destination, one text."""
    digest = bytes(range(20))
    old, new = (base58.encode_check(bytes([byte]) + digest) for byte in (0x05, 0x32))
    assert old[0] == "3" and new[0] == "M"
    assert read("litecoin", old) == read("litecoin", new) == new


@pytest.mark.parametrize(
    ("legacy", "address"),
    [  # the table of the CashAddr specification
        ("1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu", "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"),
        ("1KXrWXciRDZUpQwQmuM1DbwsKDLYAYsVLR", "bitcoincash:qr95sy3j9xwd2ap32xkykttr4cvcu7as4y0qverfuy"),
        ("16w1D5WRVKJuZUsSRzdLp9w3YGcgoxDXb", "bitcoincash:qqq3728yw0y47sqn6l2na30mcw6zm78dzqre909m2r"),
        ("3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC", "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq"),
        ("3LDsS579y7sruadqu11beEJoTjdFiFCdX4", "bitcoincash:pr95sy3j9xwd2ap32xkykttr4cvcu7as4yc93ky28e"),
        ("31nwvkZwyPdgzjBJZXfDmSWsC4ZLKpYyUw", "bitcoincash:pqq3728yw0y47sqn6l2na30mcw6zm78dzq5ucqzc37"),
    ],
)
def test_cashaddr_and_legacy_are_one(legacy: str, address: str) -> None:
    """Legacy, bare, prefixed and upper-case spellings give the same canonical form."""
    bare = address.partition(":")[2]
    assert {read("bitcoin-cash", t) for t in (legacy, address, bare, address.upper(), bare.upper())} == {address}


def test_cashaddr_longer_hashes() -> None:
    """Hashes of 32 bytes, which newer scripts use, round trip."""
    digest = bytes(range(32))
    address = cashaddr.encode("bitcoincash", cashaddr.Kind.P2SH, digest)
    assert cashaddr.decode(address, "bitcoincash") == (cashaddr.Kind.P2SH, digest)
    assert read("bitcoin-cash", address) == address


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bitcoin", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "address of bitcoin-testnet "),
        ("bitcoin", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "address of bitcoin-testnet "),
        ("bitcoin", "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "address of bitcoin-cash "),
        ("bitcoin", "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L", "address of dogecoin "),
        ("bitcoin", "bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "without the part before"),
        ("bitcoin", "TBooefeY6FvGuyKfvp5yE1HmzhzvXnvA1P", "0x41 belongs to no network"),
        ("bitcoin-cash", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "address of bitcoin "),
        ("bitcoin-cash", "bchtest:pr6m7j9njldwwzlg9v7v53unlr4jkmx6eyvwc0uz5t", "Bitcoin Cash testnet"),
        ("litecoin", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "address of bitcoin or bitcoin-cash "),
        ("dogecoin", "0x28c6c06298d514db089934071355e5743bf21d60", "EVM network"),
        ("bitcoin", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "bitcoin-regtest"),
        ("nem", "TCJLCZSOQ6RGWHTPSV2DW467WZSHK4NBSITND4OF", "address of nem-testnet, not of nem"),
        ("nem-testnet", "NCXIQA4FF5JB6AMQ53NQ3ZMRD3X3PJEWDJJJIGHT", "address of nem, not of nem-testnet"),
    ],
)
def test_wrong_network_is_named(name: str, text: str, message: str) -> None:
    """An address of another network is refused, and the message names that network."""
    with pytest.raises(ValueError, match=message):
        read(name, text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bitcoin", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "needs a bech32 checksum"),  # BIP-350
        ("bitcoin", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "needs a bech32m checksum"),
        ("bitcoin", "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "20 or 32 bytes"),
        ("bitcoin", "bc1gmk9yu", "not valid"),
        ("bitcoin", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3T4", "never mixed"),
        ("bitcoin", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum does not match"),
        ("bitcoin", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "checksum of the bitcoin address"),
        ("bitcoin", "196 addresses", "white space"),
        ("bitcoin", "pizza", r"expected base58 or bc1\.\.\."),
        ("bitcoin-cash", "bitcoincash:Qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "never mixed"),
        ("bitcoin-cash", "bitcoincash:", "checksum"),
        ("nem", "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CS", "39 characters are a Symbol address"),
        ("nem", "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CS1", "2 to 7"),
        ("nem", "NC3BI3", "found 6"),
    ],
)
def test_damaged_addresses(name: str, text: str, message: str) -> None:
    """What is damaged is refused with what is wrong."""
    with pytest.raises(ValueError, match=message):
        read(name, text)


SECRETS = [
    # BIP-32 test vector 1, master key
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
    "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",  # a published example of the wallet import format
    "KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617",
    "1111111111111111111111111111111111111111111111111111111111111111",
    " ".join(["abandon"] * 11 + ["about"]),
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", ["bitcoin", "bitcoin-cash", "litecoin"])
def test_private_keys_are_refused_without_echo(name: str, secret: str) -> None:
    """A private key is recognised, also with a typo, and no part of it enters the error."""
    for text in (secret, secret[:-1] + "z") if secret[0] != "1" else (secret,):
        with pytest.raises(PrivateKeyGiven) as caught:
            read(name, text)
        assert text[4:12] not in str(caught.value) and text[-8:] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_nothing_before_a_colon_is_shown() -> None:
    """A key may stand there, with more text behind it: only what may be a prefix is named."""
    key = "KwDiBf89QgGbjEhKnhXJuH7" + "9" * 29
    for text in (f"{key}:", f"{key}:x", f"pay:{key}:qqq"):
        with pytest.raises(ValueError) as refused:
            read("bitcoin-cash", text)
        assert key[:20].lower() not in str(refused.value).lower()
    with pytest.raises(ValueError, match="prefix bchtest:"):
        read("bitcoin-cash", "bchtest:qqqq")


def test_private_keys_of_other_families() -> None:
    """32 bytes of hex on EVM, and NEM's 33-byte form, are refused as secrets; an xpub is refused as no address."""
    for name, text in (("ethereum", "0x" + "1f" * 32), ("ethereum", "1f" * 32), ("nem", "00" + "1f" * 32)):
        with pytest.raises(PrivateKeyGiven) as caught:
            read(name, text)
        assert "1f1f" not in str(caught.value)
    with pytest.raises(ValueError, match="extended public key"):
        read("bitcoin", "xpub" + "6" * 107)


def test_nem_forms() -> None:
    """Dashes, letter case and public keys lead to the one form."""
    address = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
    assert read("nem", "nc3bi3-dnmr2p-geoomp-2nkxqg-sakms7-gyrkva-5csz") == address
    assert read("nem", f" {address}\n") == address
    key = "107051c28a2c009a83ae0861cdbff7c1cbab387c964cc433f7d191d9c3115ed7"
    assert read("nem", key) == read("nem", key.upper()) == "NCXIQA4FF5JB6AMQ53NQ3ZMRD3X3PJEWDJJJIGHT"
    assert read("nem-testnet", key)[0] == "T"
    with pytest.raises(ValueError, match="64 hexadecimal"):
        nem.of_public_key("10", 0x68)


def _checksummed(name: str, digest: bytes) -> list[str]:
    """Every checksummed spelling of a 20-byte hash on a network."""
    target = network(name)
    if target.kind == "evm":
        return [evm.checksum("0x" + digest.hex())]
    if target.kind == "nem":
        return [nem.of_public_key((digest + digest[:12]).hex(), target.params["network_byte"])]
    found = [base58.encode_check(bytes([b]) + digest) for k in ("p2pkh", "p2sh") for b in target.params[k]]
    if "hrp" in target.params:
        found += [SEGWIT(target.params["hrp"], 0, digest), SEGWIT(target.params["hrp"], 1, digest * 2)]
    if "cashaddr" in target.params:
        found += [cashaddr.encode(target.params["cashaddr"], kind, digest) for kind in cashaddr.Kind]
    return [text for text in found if text]


DIGEST = st.binary(min_size=20, max_size=20)
NAME = st.sampled_from([n.name for n in NETWORKS])


@settings(deadline=None)
@given(NAME, DIGEST)
def test_canonical_is_a_fixed_point(name: str, digest: bytes) -> None:
    """Reading the canonical form again changes nothing, for every spelling on every network."""
    for text in _checksummed(name, digest):
        once = read(name, text)
        assert read(name, once) == once
        assert canonical(network(name), f" {text} ") == once


@settings(deadline=None)
@given(NAME, DIGEST, st.data())
def test_one_changed_character_is_refused(name: str, digest: bytes, data: st.DataObject) -> None:
    """No checksummed address survives the change of one character into another of its alphabet."""
    text = data.draw(st.sampled_from(_checksummed(name, digest)))
    kind = network(name).kind
    hrp = network(name).params.get("hrp", "?")
    start = {"0x": 2}.get(text[:2], text.find(":") + 1 or (len(hrp) + 1) * text.startswith(hrp + "1"))
    alphabet = {"evm": "0123456789abcdef", "nem": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"}.get(kind, BASE58)
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if kind == "bitcoin" and start else alphabet
    place = data.draw(st.integers(min_value=start, max_value=len(text) - 1))
    character = data.draw(st.sampled_from([c for c in alphabet if c.lower() != text[place].lower()]))
    changed = text[:place] + character + text[place + 1 :]
    one_case = changed[2:] in (changed[2:].lower(), changed[2:].upper())
    if kind == "evm" and (one_case or evm.checksum(changed) == changed):
        return  # one letter case carries no checksum; EIP-55 itself misses about 1 change in 4,000
    with pytest.raises(ValueError):
        read(name, changed)


def _incident_addresses() -> Iterator[tuple[str, str]]:
    def walk(node: Any) -> Iterator[tuple[str, str]]:
        if isinstance(node, dict):
            if "chain" in node and "address" in node:
                yield node["chain"], node["address"]
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    yield from walk(yaml.load((DATA / "incidents" / "incidents.yaml").read_text(), yaml.CSafeLoader))


@pytest.mark.skipif(not (DATA / "incidents" / "incidents.yaml").exists(), reason="no real data (HEISTWATCH_DATA)")
def test_addresses_of_real_incidents() -> None:
    """Every address of the recorded thefts on a network of ours is accepted; base58 and hex stay as they are."""
    count = 0
    for chain, address in sorted(set(_incident_addresses())):
        target = by_name(chain)
        if target is None or " " in address:  # some entries describe a group of addresses in words
            continue
        expected = f"bitcoincash:{address}" if chain == "bitcoin-cash" else address
        assert canonical(target, address) == expected, address
        count += 1
    assert count > 100


@pytest.mark.skipif(not (DATA / "labels" / "ofac").exists(), reason="no real data (HEISTWATCH_DATA)")
@pytest.mark.parametrize(
    ("suffix", "name"),
    [("XBT", "bitcoin"), ("ETH", "ethereum"), ("LTC", "litecoin"), ("BCH", "bitcoin-cash"), ("ARB", "arbitrum")],
)
def test_addresses_of_a_real_sanctions_list(suffix: str, name: str) -> None:
    """Every address of a published list is accepted, but for entries of another chain that it holds by mistake."""
    path = DATA / "labels" / "ofac" / f"sanctioned_addresses_{suffix}.txt"
    lines = path.read_text().split()
    assert lines
    foreign = [line for line in lines if line[0] == "T" and len(line) == 34]  # Tron
    for line in foreign:
        with pytest.raises(ValueError, match="belongs to no network"):
            read(name, line)
    for line in sorted(set(lines) - set(foreign)):
        read(name, line)
