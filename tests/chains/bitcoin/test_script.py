"""Output scripts and addresses: both ways, by the rule of `monitor.addresses`; what inputs show of what they spend."""

from __future__ import annotations

import hashlib

import pytest
from Crypto.Hash import RIPEMD160
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.script import address_of, script_hash, script_of, spent_scripts, type_of
from chains.bitcoin.tokens import without_token
from chains.bitcoin.watched import WatchedScripts
from chains.bitcoin.work import sha256d
from monitor.addresses import canonical, cashaddr
from monitor.networks import NETWORKS, Network, by_name

FAMILY = [network for network in NETWORKS if network.kind == "bitcoin"]
KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")  # the generator: BIP 173
BIG = bytes.fromhex(
    "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
)
SIGNATURE = b"\x30" + b"\x44" * 70


def net(name: str) -> Network:
    """A built-in network."""
    found = by_name(name)
    assert found is not None
    return found


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of the SHA-256."""
    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def p2pkh(key: bytes) -> bytes:
    """Pays the hash of a key."""
    return b"\x76\xa9\x14" + hash160(key) + b"\x88\xac"


def p2sh(script: bytes) -> bytes:
    """Pays the hash of a script."""
    return b"\xa9\x14" + hash160(script) + b"\x87"


@given(
    st.sampled_from(FAMILY), st.binary(min_size=20, max_size=20), st.binary(min_size=2, max_size=40), st.integers(0, 16)
)
def test_addresses_are_canonical(network: Network, digest: bytes, program: bytes, version: int) -> None:
    """Each address is the one form that the watch list has, and gives its script back."""
    scripts = [b"\x76\xa9\x14" + digest + b"\x88\xac", b"\xa9\x14" + digest + b"\x87"]
    if "cashaddr" in network.params:
        scripts.append(b"\xaa\x20" + (program * 20)[:32] + b"\x87")
    if "hrp" in network.params:
        size = len(program) if version else (20 if len(program) < 30 else 32)
        witness = (program * 20)[:size]
        scripts.append(bytes([version + 0x50 if version else 0, size]) + witness)
    for script in scripts:
        address = address_of(script, network)
        assert canonical(network, address) == address
        assert script_of(address, network) == script


@pytest.mark.parametrize(
    ("script", "name", "address"),
    [  # BIP 173, BIP 350, and the genesis block's key
        ("0014751e76e8199196d454941c45d1b3a323f1433bd6", "bitcoin", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("5210751e76e8199196d454941c45d1b3a323", "bitcoin", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"),
        (
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "bitcoin",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        (
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262", "bitcoin-testnet",
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        ),
        ("51024e73", "bitcoin", "bc1pfeessrawgf"),
        (f"41{BIG.hex()}ac", "bitcoin", "1EHNa6Q4Jz2uvNExL497mE43ikXhwF6kZm"),
        (f"21{KEY.hex()}ac", "bitcoin", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"),
        ("76a91476a04053bda0a88bda5177b86a15c3b29f55987388ac", "bitcoin-cash",
         "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"),
        ("aa20000000000000000000000000000012345678900000000000000000000000000087", "bitcoin-cash",
         "bitcoincash:pvqqqqqqqqqqqqqqqqqqqqqqzg69v7ysqqqqqqqqqqqqqqqqqqqqqpkp7fqn0"),
    ],
)  # fmt: skip
def test_vectors(script: str, name: str, address: str) -> None:
    """Published pairs of script and address."""
    assert address_of(bytes.fromhex(script), net(name)) == address


@pytest.mark.parametrize(
    ("written", "address"),
    [  # the table of CashTokens: addresses that say that their owner knows of tokens, and the same without that
        (
            "bitcoincash:zr6m7j9njldwwzlg9v7v53unlr4jkmx6eycnjehshe",
            "bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2",
        ),
        (
            "bitcoincash:rpawqn2h74a4t50phuza84kdp3794pq3cct3k50p0y",
            "bitcoincash:ppawqn2h74a4t50phuza84kdp3794pq3ccvm92p8sh",
        ),
        (
            "bitcoincash:rvqqqqqqqqqqqqqqqqqqqqqqzg69v7ysqqqqqqqqqqqqqqqqqqqqqn9alsp2y",
            "bitcoincash:pvqqqqqqqqqqqqqqqqqqqqqqzg69v7ysqqqqqqqqqqqqqqqqqqqqqpkp7fqn0",
        ),
    ],
)
def test_addresses_for_tokens(written: str, address: str) -> None:
    """Both name one destination."""
    assert canonical(net("bitcoin-cash"), written) == address
    assert canonical(net("bitcoin-cash"), written.partition(":")[2].upper()) == address


def test_hashes_that_nothing_pays() -> None:
    """A key's hash has 20 bytes, a script's 20 or 32, whatever the checksum says."""
    for kind, size in ((cashaddr.Kind.P2PKH, 32), (cashaddr.Kind.P2SH, 24), (cashaddr.Kind.P2PKH, 64)):
        with pytest.raises(ValueError, match=f"hash of {size} bytes"):
            canonical(net("bitcoin-cash"), cashaddr.encode("bitcoincash", kind, bytes(size)))


CATEGORY = b"\xef" + b"\xbb" * 32


@pytest.mark.parametrize(
    "token",
    [
        b"\x10\x01", b"\x10\xfd\xfd\x00", b"\x10\xff" + b"\xff" * 7 + b"\x7f", b"\x20", b"\x21", b"\x22", b"\x30\x01",
        b"\x60\x01\xcc", b"\x72\x0acccccccccc\xfe\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_tokens_before_a_script(token: bytes) -> None:
    """Amounts, unique ones, commitments: the script comes after them."""
    assert without_token(CATEGORY + token + p2pkh(KEY)) == p2pkh(KEY)
    assert without_token(CATEGORY + token) == b""


@pytest.mark.parametrize(
    "token",
    [
        b"", b"\x00", b"\x90\x01", b"\x80", b"\x11\x01", b"\x50\x01\xcc\x01", b"\x23", b"\x10", b"\x10\x00",
        b"\x10\xfd\xfc\x00", b"\x10\xff" + b"\xff" * 8, b"\x60\x00", b"\x60\x20\xcc", b"\x60", b"\x10\xfd\x01",
    ],
)  # fmt: skip
def test_what_is_no_token(token: bytes) -> None:
    """A form that the rules do not allow is no token: nothing is cut off."""
    assert without_token(CATEGORY + token) == CATEGORY + token
    assert without_token(b"\xee" + CATEGORY[1:] + b"\x10\x01") == b"\xee" + CATEGORY[1:] + b"\x10\x01"


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (p2pkh(KEY), "p2pkh"), (p2sh(KEY), "p2sh"), (b"\x00\x14" + bytes(20), "p2wpkh"),
        (b"\x00\x20" + bytes(32), "p2wsh"), (b"\x51\x20" + bytes(32), "p2tr"), (b"\x51\x02\x4e\x73", "witness_v1"),
        (b"\x59\x20" + bytes(32), "witness_v9"), (b"\x21" + KEY + b"\xac", "p2pk"), (b"\x41" + BIG + b"\xac", "p2pk"),
        (b"\x51\x21" + KEY + b"\x51\xae", "multisig"), (b"\x52\x21" + KEY + b"\x41" + BIG + b"\x52\xae", "multisig"),
        (b"\x52\x21" + KEY + b"\x51\xae", "nonstandard"), (b"\x6a\x04abcd", "null_data"), (b"\x6a", "null_data"),
        (b"", "nonstandard"), (b"\x51", "nonstandard"), (b"\x00\x10" + bytes(16), "nonstandard"),
        (b"\x21" + bytes(33) + b"\xac", "nonstandard"), (b"\xaa\x20" + bytes(32) + b"\x87", "p2sh"),
    ],
)  # fmt: skip
def test_forms(script: bytes, wanted: str) -> None:
    """The names of the field for forms of scripts."""
    assert type_of(script) == wanted


@pytest.mark.parametrize("script", [b"\x51\x21" + KEY + b"\x51\xae", b"\x6a\x04abcd", b"", b"\x59\x20" + bytes(32)])
def test_without_an_address(script: bytes) -> None:
    """A script without an address has Electrum's script hash, which the watch list takes."""
    network = net("dogecoin")
    address = address_of(script, network)
    assert address == "scripthash:" + hashlib.sha256(script).digest()[::-1].hex()
    assert canonical(network, address) == address and script_of(address, network) is None
    assert WatchedScripts({address: None}, network).match([script, p2pkh(KEY)]) == {script: address}


def test_programs_of_another_length() -> None:
    """The first version of witness programs has two lengths: another cannot be spent, and has no address."""
    for size in (2, 19, 21, 31, 33, 40):
        script = bytes([0, size]) + bytes(size)
        assert address_of(script, net("bitcoin")) == script_hash(script) and type_of(script) == "nonstandard"


def push(*items: bytes) -> bytes:
    """A script that pushes items."""
    return b"".join((bytes([len(i)]) if len(i) < 76 else b"\x4c" + bytes([len(i)])) + i for i in items)


MULTISIG = b"\x51\x21" + KEY + b"\x21" + KEY + b"\x52\xae"
PROGRAM = b"\x00\x14" + hash160(KEY)
IN_SCRIPT = b"\x00\x20" + hashlib.sha256(MULTISIG).digest()


@pytest.mark.parametrize(
    ("script_sig", "witness", "true"),
    [
        (push(SIGNATURE, KEY), [], p2pkh(KEY)),
        (push(SIGNATURE, BIG), [], p2pkh(BIG)),
        (push(b"\x01", SIGNATURE, KEY), [], p2pkh(KEY)),  # something more below, which consensus allows
        (b"\x00" + push(SIGNATURE, MULTISIG), [], p2sh(MULTISIG)),
        (push(SIGNATURE, MULTISIG), [], b"\xaa\x20" + sha256d(MULTISIG) + b"\x87"),
        (push(PROGRAM), [SIGNATURE, KEY], p2sh(PROGRAM)),
        (push(IN_SCRIPT), [b"", SIGNATURE, MULTISIG], p2sh(IN_SCRIPT)),
        (b"", [SIGNATURE, KEY], PROGRAM),
        (b"", [SIGNATURE, BIG], b"\x00\x14" + hash160(BIG)),  # only nodes' policy refuses it
        (b"", [b"", SIGNATURE, MULTISIG], IN_SCRIPT),
        (push(SIGNATURE, KEY), [], p2sh(KEY)),  # a key as a script, odd as it is
    ],
)  # fmt: skip
def test_what_inputs_show(script_sig: bytes, witness: list[bytes], true: bytes) -> None:
    """The script that is spent is among those that the input shows."""
    assert true in spent_scripts(script_sig, witness)


@pytest.mark.parametrize(
    ("script_sig", "witness"),
    [
        (push(SIGNATURE), []),  # a bare key
        (b"\x00" + push(SIGNATURE, SIGNATURE), []),  # a bare multisig
        (b"", [b"\x01" * 64]),  # a taproot key
        (b"", [b"\x01" * 65, b"\x50annex"]),  # and an annex
        (b"", [b"\x01" * 64, b"\x51", b"\xc0" + bytes(32)]),  # a taproot script
        (b"", [b"\x51", b"\x67" + bytes(96)]),  # one of another version, deeper in its tree
        (b"", []),
        (push(SIGNATURE, KEY) + b"\x7c", []),  # the items are swapped: it shows nothing for sure
        (b"\x4c", []),
    ],
)
def test_what_inputs_do_not_show(script_sig: bytes, witness: list[bytes]) -> None:
    """Where an input may spend what it does not show, it shows nothing: it has to be asked about."""
    assert spent_scripts(script_sig, witness) == ()
