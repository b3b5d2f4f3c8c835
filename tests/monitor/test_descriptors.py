"""Descriptors and extended keys against the vectors of their standards; what is private, and what is wrong."""

from __future__ import annotations

import hashlib
import string

import pytest
from embit import base58, bip32, bip39
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.addresses import PrivateKeyGiven, canonical
from monitor.addresses.descriptor import is_descriptor, read_descriptor
from monitor.addresses.encode import address_of
from monitor.addresses.extended import refuse_private
from monitor.networks import NETWORKS, by_name

BTC = by_name("bitcoin")
ABANDON = "abandon " * 11 + "about"  # BIP 49, 84, 86 and SLIP 132
ALL = "all " * 11 + "all"  # SLIP 14
PUBLIC = {
    "xpub": "0488b21e", "ypub": "049d7cb2", "zpub": "04b24746", "Ypub": "0295b43f", "Zpub": "02aa7ed3",
    "tpub": "043587cf", "upub": "044a5262", "vpub": "045f1cf6", "Upub": "024289ef", "Vpub": "02575483",
    "Ltub": "019da462", "Mtub": "01b26ef6", "ttub": "0436f6e1", "dgub": "02facafd",
}  # fmt: skip
PRIVATE = {
    "xprv": "0488ade4", "yprv": "049d7878", "zprv": "04b2430c", "Yprv": "0295b005", "Zprv": "02aa7a99",
    "tprv": "04358394", "uprv": "044a4e28", "vprv": "045f18bc", "Uprv": "024285b5", "Vprv": "02575048",
    "Ltpv": "019d9cfe", "Mtpv": "01b26792", "ttpv": "0436ef7d", "dgpv": "02fac398",
}  # fmt: skip
WIF = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1"
WIF_LONG = "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss"
KEY = "03a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"  # of both
KEY_LONG = f"04{KEY[2:]}5b8dec5235a0fa8722476c7709c02559e3aa73aa03918ba2d492eea75abea235"
X1 = "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"
X2 = "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL"
X3 = "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6oDaPPLPxSb7gwQN3ih19Zm4Y"
ROOT = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"
X4 = "xpub69H7F5dQzmVd3vPuLKtcXJziMEQByuDidnX3YdwgtNsecY5HRGtAAQC5mXTt4dsv9RzyjgDjAQs9VGVV6ydYCHnprc9vvaA5YtqWyL6hyds"


def account(path: str, version: str, words: str = ABANDON) -> str:
    """The extended public key of a published seed."""
    key = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(words)).derive(path).to_public()
    return str(base58.encode_check(bytes.fromhex(PUBLIC[version]) + key.serialize()[4:]))


def secret(path: str, version: str) -> str:
    """The extended private key of a published seed."""
    key = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(ABANDON)).derive(path)
    return str(base58.encode_check(bytes.fromhex(PRIVATE[version]) + key.serialize()[4:]))


def addresses(text: str, network: str = "bitcoin", count: int = 1) -> list[list[str]]:
    """The first addresses of each branch."""
    found = read_descriptor(text, by_name(network))
    return [[run.at(n)[0] for n in range(count if run.is_ranged else 1)] for run in found.runs]


@pytest.mark.parametrize(
    ("network", "path", "version", "words", "first", "second", "change"),
    [
        # SLIP 132
        ("bitcoin", "m/44h/0h/0h", "xpub", ABANDON, "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA", "", ""),
        ("bitcoin", "m/49h/0h/0h", "ypub", ABANDON, "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf", "", ""),
        # BIP 84
        (
            "bitcoin", "m/84h/0h/0h", "zpub", ABANDON, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
            "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g", "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
        ),
        # BIP 49
        ("bitcoin-testnet", "m/49h/1h/0h", "upub", ABANDON, "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2", "", ""),
        # SLIP 14
        (
            "bitcoin", "m/44h/0h/0h", "xpub", ALL, "1JAd7XCBzGudGpJQSDSfpmJhiygtLQWaGL",
            "1GWFxtwWmNVqotUPXLcKVL2mUKpshuJYo", "",
        ),
        (
            "bitcoin-testnet", "m/44h/1h/0h", "tpub", ALL, "mvbu1Gdy8SUjTenqerxUaZyYjmveZvt33q",
            "mopZWqZZyQc3F2Sy33cvDtJchSAMsnLi7b", "",
        ),
        (
            "litecoin", "m/44h/2h/0h", "Ltub", ALL, "LcubERmHD31PWup1fbozpKuiqjHZ4anxcL",
            "LVWBmHBkCGNjSPHucvL2PmnuRAJnucmRE6", "",
        ),
    ],
)  # fmt: skip
def test_accounts(network, path, version, words, first, second, change):
    """An extended key alone stands for payments and change of an account, in the form of its version."""
    payments, changes = addresses(account(path, version, words), network, 2)
    assert payments[0] == first
    assert second in ("", payments[1])
    assert change in ("", changes[0])


def test_taproot_accounts():
    """BIP 86."""
    key = account("m/86h/0h/0h", "xpub")
    assert addresses(f"tr([73c5da0a/86h/0h/0h]{key}/<0;1>/*)", count=2) == [
        [
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
            "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
        ],
        [
            "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7",
            "bc1ptdg60grjk9t3qqcqczp4tlyy3z47yrx9nhlrjsmw36q5a72lhdrs9f00nj",
        ],
    ]


def test_public_derivation():
    """BIP 32, test vector 2: the child 0 of the root is the next key."""
    assert addresses(f"pkh({ROOT}/0/7)") == addresses(f"pkh({X1}/7)")
    assert addresses(f"pkh({ROOT}/*)", count=1) == addresses(f"pkh({X1})")


SIXTEEN = (
    "03669b8afcec803a0d323e9a17f3ea8e68e8abe5a278020a929adbec52421adbd0,"
    "0260b2003c386519fc9eadf2b5cf124dd8eea4c4e68d5e154050a9346ea98ce600,"
    "0362a74e399c39ed5593852a30147f2959b56bb827dfa3e60e464b02ccf87dc5e8,"
    "0261345b53de74a4d721ef877c255429961b7e43714171ac06168d7e08c542a8b8,"
    "02da72e8b46901a65d4374fe6315538d8f368557dda3a1dcf9ea903f3afe7314c8,"
    "0318c82dd0b53fd3a932d16e0ba9e278fcc937c582d5781be626ff16e201f72286,"
    "0297ccef1ef99f9d73dec9ad37476ddb232f1238aff877af19e72ba04493361009,"
    "02e502cfd5c3f972fe9a3e2a18827820638f96b6f347e54d63deb839011fd5765d,"
    "03e687710f0e3ebe81c1037074da939d409c0025f17eb86adb9427d28f0f7ae0e9,"
    "02c04d3a5274952acdbc76987f3184b346a483d43be40874624b29e3692c1df5af,"
    "02ed06e0f418b5b43a7ec01d1d7d27290fa15f75771cb69b642a51471c29c84acd,"
    "036d46073cbb9ffee90473f3da429abc8de7f8751199da44485682a989a4bebb24,"
    "02f5d1ff7c9029a80a4e36b9a5497027ef7f3e73384a4a94fbfe7c4e9164eec8bc,"
    "02e41deffd1b7cce11cde209a781adcffdabd1b91c0ba0375857a2bfd9302419f3,"
    "02d76625f7956a7fc505ab02556c23ee72d832f1bac391bcd2d3abce5710a13d06,"
    "0399eb0a5487515802dc14544cf10b3666623762fbed2ec38a3975716e2c29c232"
)


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        # BIP 381
        (f"pk({KEY})", [f"21{KEY}ac"]),
        (f"pkh([deadbeef/1/2'/3/4']{KEY})", ["76a9149a1c78a507689f6f54b847ad1cef1e614ee23f1e88ac"]),
        (f"pkh([deadbeef/1/2h/3/4h]{KEY})", ["76a9149a1c78a507689f6f54b847ad1cef1e614ee23f1e88ac"]),
        (f"pk({KEY_LONG})", [f"41{KEY_LONG}ac"]),
        (f"pkh({KEY_LONG})", ["76a914b5bd079c4d57cc7fc28ecf8213a6b791625b818388ac"]),
        (f"sh(pk({KEY}))", ["a9141857af51a5e516552b3086430fd8ce55f7c1a52487"]),
        (f"sh(pkh({KEY}))", ["a9141a31ad23bf49c247dd531a623c2ef57da3c400c587"]),
        (f"pkh([bd16bee5/2147483647h]{X4}/0)", ["76a914ebdc90806a9c4356c1c88e42216611e1cb4c1c1788ac"]),
        (f"pk({X3}/0)", ["210379e45b3cf75f9c5f9befd8e9506fb962f6a9d185ac87001ec44a8d3df8d4a9e3ac"]),
        # BIP 382
        (f"wpkh({KEY})", ["00149a1c78a507689f6f54b847ad1cef1e614ee23f1e"]),
        (
            f"wpkh([ffffffff/13']{X1}/1/2/*)",
            [
                "0014326b2249e3a25d5dc60935f044ee835d090ba859", "0014af0bd98abc2f2cae66e36896a39ffe2d32984fb7",
                "00141fa798efd1cbf95cebf912c031b8a4a6e9fb9f27",
            ],
        ),
        (f"wsh(pkh({KEY}))", ["0020338e023079b91c58571b20e602d7805fb808c22473cbc391a41b1bd3a192e75b"]),
        (f"wsh(pk({KEY}))", ["00202e271faa2325c199d25d22e1ead982e45b64eeb4f31e73dbdf41bd4b5fec23fa"]),
        (f"sh(wsh(pkh({KEY})))", ["a914b61b92e2ca21bac1e72a3ab859a742982bea960a87"]),
        # BIP 383
        (f"multi(1,{KEY},{KEY_LONG})", [f"5121{KEY}41{KEY_LONG}52ae"]),
        (f"sortedmulti(1,{KEY_LONG},{KEY})", [f"5121{KEY}41{KEY_LONG}52ae"]),
        (
            f"sortedmulti(2,{X2}/*,{X3}/0/0/*)",
            [
                "5221025d5fc65ebb8d44a5274b53bac21ff8307fec2334a32df05553459f8b1f7fe1b62102fbd47cc8034098f0e6a94c6aeee8"
                "528abf0a2153a5d8e46d325b7284c046784652ae",
                "52210264fd4d1f5dea8ded94c61e9641309349b62f27fbffe807291f664e286bfbe6472103f4ece6dfccfa37b211eb3d0af4d0"
                "c61dba9ef698622dc17eecdf764beeb005a652ae",
                "5221022ccabda84c30bad578b13c89eb3b9544ce149787e5b538175b1d1ba259cbb83321024d902e1a2fc7a8755ab5b694c575"
                "fce742c48d9ff192e63df5193e4c7afe1f9c52ae",
            ],
        ),
        (f"sh(wsh(multi(16,{SIXTEEN})))", ["a9147fc63e13dc25e8a95a3cee3d9a714ac3afd96f1e87"]),
        # BIP 385
        ("raw(deadbeef)", ["deadbeef"]),
        ("addr(3PUNyaW7M55oKWJ3kDukwk9bsKvryra15j)", ["a914eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee87"]),
        # BIP 386
        (f"tr({KEY[2:]})", ["512077aab6e066f8a7419c5ab714c12c67d25007ed55a43cadcacb4d7a970a093f11"]),
        (
            f"tr({KEY[2:]},pk(669b8afcec803a0d323e9a17f3ea8e68e8abe5a278020a929adbec52421adbd0))",
            ["512017cf18db381d836d8923b1bdb246cfcd818da1a9f0e6e7907f187f0b2f937754"],
        ),
        # BIP 67: keys are sorted in the script
        (
            "sh(sortedmulti(2,022df8750480ad5b26950b25c7ba79d3e37d75f640f8e5d9bcd5b150a0f85014da,"
            "03e3818b65bcc73a7d64064106a859cc1a5a728c4345ff0b641209fba0d90de6e9,"
            "021f2f6e1e50cb6a953935c3601284925decd3fd21bc445712576873fb8c6ebc18))",
            ["3Q4sF6tv9wsdqu2NtARzNCpQgwifm2rAba"],
        ),
        (
            "sh(sortedmulti(2,02ff12471208c14bd580709cb2358d98975247d8765f92bc25eab3b2763ed605f8,"
            "02fe6f0a5a297eb38c391581c4413e084773ea23954d93f7753db7dc0adc188b2f))",
            ["39bgKC7RFbpoCRbtD5KEdkYKtNyhpsNa3Z"],
        ),
    ],
)  # fmt: skip
def test_scripts(text, scripts):
    """The vectors of the descriptors' own standards."""
    expected = [s if s[0] == "3" else address_of(bytes.fromhex(s), BTC) for s in scripts]
    assert addresses(text, count=len(scripts)) == [expected]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"pk({X3}/<0;1>)", [f"pk({X3}/0)", f"pk({X3}/1)"]),
        (f"wpkh([ffffffff/13h]{X1}/<1;3>/2/*)", [f"wpkh({X1}/1/2/*)", f"wpkh({X1}/3/2/*)"]),
        (f"multi(2,{X2}/<1;2>/*,{X3}/<3;4>/0/*)", [f"multi(2,{X2}/1/*,{X3}/3/0/*)", f"multi(2,{X2}/2/*,{X3}/4/0/*)"]),
        (f"pkh({ROOT}/<0;1;2>)", [f"pkh({ROOT}/0)", f"pkh({ROOT}/1)", f"pkh({ROOT}/2)"]),
        (
            f"sh(multi(2,{X2}/<1;2;3>/0/*,{X3}/0/*,{ROOT}/0/0/<3;4;5>/*))",
            [f"sh(multi(2,{X2}/{n}/0/*,{X3}/0/*,{ROOT}/0/0/{n + 2}/*))" for n in (1, 2, 3)],
        ),
    ],
)
def test_multipath(text, parts):
    """BIP 389: one descriptor stands for several."""
    assert addresses(text, count=3) == [addresses(part, count=3)[0] for part in parts]


def test_a_key_in_all_forms():
    """BIP 384: the forms of a key at once; a bare key is shown by the address of its hash."""
    [run] = read_descriptor(f"combo({X1}/*)", BTC).runs
    forms = (f"pkh({X1}/5)", f"wpkh({X1}/5)", f"sh(wpkh({X1}/5))")
    assert run.at(5) == tuple(addresses(form)[0][0] for form in forms)
    [legacy] = read_descriptor(f"combo({KEY_LONG})", BTC).runs
    assert legacy.at(0) == tuple(addresses(f"pkh({KEY_LONG})")[0])
    [without] = read_descriptor(f"combo({X1}/*)", by_name("dogecoin")).runs
    assert len(without.at(0)) == 1


def test_miniscript():
    """A time lock beside a key: the address is that of the script, put together by hand."""
    script = bytes.fromhex(f"21{KEY}ad03cd0a00b2".replace("03cd0a00", "02cd0a"))  # <key> CHECKSIGVERIFY <2765> CSV
    expected = address_of(b"\x00\x20" + hashlib.sha256(script).digest(), BTC)
    assert addresses(f"wsh(and_v(v:pk({KEY}),older(2765)))") == [[expected]]


@pytest.mark.parametrize("name", sorted(n.name for n in NETWORKS if n.kind == "bitcoin"))
def test_every_network_has_its_own_addresses(name):
    """Descriptors are the same everywhere, addresses are those of the network; no segwit where it has none."""
    network = by_name(name)
    test = network.asset.endswith("/slip44:1")
    key = account("m/44h/0h/0h", "tpub" if test else "xpub")
    for form in ("pkh({}/0/*)", "sh(multi(1,{}/0/*))", "wpkh({}/0/*)", "tr({}/0/*)", "sh(wpkh({}/*))"):
        text = form.format(key)
        if "hrp" not in network.params and ("wpkh" in text or "tr" in text):
            with pytest.raises(ValueError, match="has no segwit"):
                read_descriptor(text, network)
            continue
        [address] = addresses(text, name)[0]
        assert canonical(network, address) == address
    with pytest.raises(ValueError, match=f"of {'main' if test else 'test'} networks, not of {name}"):
        read_descriptor(account("m/44h/0h/0h", "xpub" if test else "tpub"), network)


def test_checksums():
    """BIP 380: checked where it is there."""
    assert addresses("raw(deadbeef)#89f8spxm") == addresses("raw(deadbeef)")
    wrong = ["raw(deadbeef)#", "raw(deadbeef)#89f8spxmx", "raw(deadbeef)#89f8spx", "raw(deedbeef)#89f8spxm"]
    for text in (*wrong, "raw(deedbeef)##9f8spxm"):
        with pytest.raises(ValueError, match="checksum"):
            read_descriptor(text, BTC)
    with pytest.raises(ValueError, match="ASCII"):
        read_descriptor("raw(Ü)#00000000", BTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # BIP 380, 381
        (f"pkh([deadbeef/0h/0h/0h/*]{KEY})", "origin"),
        (f"pkh([deadbeef/0h/0h/0h/]{KEY})", "origin"),
        (f"pkh([deadbef/0h/0h/0h]{KEY})", "origin"),
        (f"pkh([deadbeef/0h{KEY})", "origin"),
        (f"pkh({X1}/3h/4h/5h/*)", "hardened"),
        (f"pkh({X1}/3/*h)", "hardened"),
        (f"pkh({X1}/*/0)", "last step"),
        (f"pk(pk({KEY}))", "read"),
        (f"pkh(pk({KEY}))", "read"),
        (f"sh({KEY})", "read"),
        (f"sh(sh(pkh({KEY})))", "read"),
        # BIP 382
        (f"wpkh({KEY_LONG})", "uncompressed"),
        (f"sh(wpkh({KEY_LONG}))", "uncompressed"),
        (f"wsh(pk({KEY_LONG}))", "uncompressed"),
        (f"wsh(wpkh({KEY}))", "read"),
        (f"wsh(wsh(pkh({KEY})))", "read"),
        (f"sh(wsh(wsh(pkh({KEY}))))", "read"),
        (f"wpkh(wsh(pkh({KEY})))", "read"),
        (f"wsh({KEY})", "read"),
        # BIP 383
        (f"sh(multi(16,{SIXTEEN}))", "at most 15 keys"),
        (f"multi(4,{','.join([KEY] * 4)})", "at most 3 keys"),
        (f"multi(a,{KEY},{KEY_LONG})", "read"),
        (f"multi(0,{KEY},{KEY_LONG})", "read"),
        (f"wsh(multi(3,{KEY},{KEY}))", "read"),
        (f"multi(1,{KEY}),", "more text"),
        # BIP 385, 386
        ("raw(asdf)", "hex"),
        ("addr(asdf)", "expected base58"),
        ("sh(raw(deadbeef))", "read"),
        ("wsh(addr(3PUNyaW7M55oKWJ3kDukwk9bsKvryra15j))", "read"),
        (f"tr({KEY_LONG})", "uncompressed"),
        (f"rawtr({KEY})", "not supported"),
        # BIP 389
        (f"pkh({X1}/<0;1>/<2;3>)", "read"),
        (f"pkh([deadbeef/<0;1>]{X1}/0)", "origin"),
        (f"tr({X1}/<6;7;8;9>/*,{{pk({X2}/<1;2;3>/0/*),pk({X3}/0/0/<3;4;5>/*)}})", "same length"),
        (f"wpkh({X1}/<>/*)", "read"),
        (f"wpkh({X1}/0>/*)", "read"),
        (f"wpkh({X1}/<0/*)", "read"),
        (f"wpkh({X1}/<0;>/*)", "read"),
        (f"wpkh({X1}/<0;0>/*)", "different numbers"),
        (f"wpkh({X1}/<{';'.join(map(str, range(17)))}>/*)", "different numbers"),
        # others
        (f"wpkh({X1[:-1]}a/0/*)", "checksum"),
        (f"wpkh({X1}", "read"),
        (f"wpkh({X1}/{1 << 31})", "read"),
        (f"wpkh({X1}/)", "missing after"),
        (f"wpkh({X1}//*)", "missing after"),
        ("wpkh()", "read"),
        (f"sh(and_v(v:pk({KEY}),older(5)))", "takes wpkh"),
        ("wsh(" + "and_v(v:" * 60 + ")" * 61, "deeply"),
        (f"wsh({'v' * 500}:pk({KEY}))", "deeply"),
        (f"wsh(older(1{'0' * 5000}))", "read"),
        (f"wpkh({X1}{'/1' * 10_000})", "over 10,000"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_keys(text, said):
    """Errors of the standards and of hostile texts: a `ValueError` in plain words, which shows no key."""
    with pytest.raises(ValueError, match=said) as caught:
        read_descriptor(text, BTC)
    assert not isinstance(caught.value, PrivateKeyGiven)
    assert not any(key[8:24] in str(caught.value) for key in (KEY, X1, X2, X3))


@pytest.mark.parametrize("version", sorted(PRIVATE))
@pytest.mark.parametrize(
    "form", ["{}", "wpkh({}/0/*)", "wsh(multi(1,{x},{}/<0;1>/*))", "addr({})", "no descriptor {}", "tr({})"]
)
def test_extended_private_keys_are_refused(version, form):
    """All registered versions, alone and wherever in a text; also with a typo, and never shown."""
    good = secret("m/84h/0h/0h", version)
    assert good.startswith(version)
    middle = len(good) // 2
    for key in (good, good[:middle] + ("a" if good[middle] != "a" else "b") + good[middle + 1 :]):
        with pytest.raises(PrivateKeyGiven) as caught:
            read_descriptor(form.format(key, x=X1), BTC)
        assert key[4:16] not in str(caught.value) and key[-8:] not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize(
    "private",
    [WIF, WIF_LONG, "1f" * 32, "0x" + "1f" * 32, "6PRVWUbkzzsbcVac2qwfssoUJAN1Xhrg6bNk8J7Nzm5H7kxEbn2Nh2ZoGg"],
)
@pytest.mark.parametrize(
    "form", ["pkh({})", "wpkh([deadbeef/1h]{})", "sh(wpkh({}))", "wsh(multi(1,{},{}))", "multi(1,{},{})"]
)
def test_plain_private_keys_are_refused(private, form):
    """Wallet import format, hex, and encrypted ones (BIP 38)."""
    with pytest.raises(PrivateKeyGiven) as caught:
        read_descriptor(form.format(private, private), BTC)
    assert private[4:14] not in str(caught.value)


def test_seed_phrases_are_refused():
    """Whatever surrounds the words."""
    for text in (ABANDON, f"wpkh({ABANDON})", ABANDON.replace(" ", ","), f"tr({ALL})"):
        with pytest.raises(PrivateKeyGiven, match="seed phrase") as caught:
            read_descriptor(text, BTC)
        assert "abandon" not in str(caught.value)


def test_hex_that_is_public_is_not_refused():
    """Hashes in scripts, and x coordinates of taproot keys; what is no point is taken for a private key."""
    addresses(f"wsh(and_v(v:pk({KEY}),sha256({'1f' * 32})))")
    addresses(f"tr({KEY[2:]},multi_a(1,{KEY[2:]}))")
    refuse_private("scripthash:" + "1f" * 32)
    refuse_private("nem:" + "1f" * 32, digits=False)
    with pytest.raises(PrivateKeyGiven):
        read_descriptor(f"tr({'ff' * 32})", BTC)


def test_keys_of_several_signers_need_a_descriptor():
    """SLIP 132 has versions for them that say nothing of the others."""
    main, test = "bitcoin", "bitcoin-testnet"
    for version, network in (("Ypub", main), ("Zpub", main), ("Upub", test), ("Vpub", test)):
        key = account("m/48h/0h/0h/2h", version)
        with pytest.raises(ValueError, match=f"a {version} is one of several"):
            read_descriptor(key, by_name(network))
        plain = account("m/48h/0h/0h/2h", "tpub" if "test" in network else "xpub")
        forms = [f"wsh(sortedmulti(1,{each}/0/*,{KEY}))" for each in (key, plain)]
        assert addresses(forms[0], network, 2) == addresses(forms[1], network, 2)


def test_keys_of_another_chain():
    """Litecoin's and Dogecoin's own versions are theirs alone."""
    for version, of in (("Ltub", "litecoin"), ("Mtub", "litecoin"), ("dgub", "dogecoin"), ("ttub", "litecoin-testnet")):
        addresses(account("m/44h/2h/0h", version), of)
        for other in ("bitcoin", "monacoin", "dogecoin" if of != "dogecoin" else "litecoin"):
            with pytest.raises(ValueError, match=f"this {version} is of {of}, not of {other}"):
                read_descriptor(account("m/44h/2h/0h", version), by_name(other))


def test_short_forms():
    """Enough to know a descriptor again, too little to follow its wallet."""
    found = read_descriptor(f"wsh(sortedmulti(1,[d34db33f/48h/0h/0h/2h]{X1}/<0;1>/*,{KEY}))", BTC)
    assert found.shown == "wsh(sortedmulti(1,[d34db33f/…]xpub69…QTPH/<0;1>/*,03a34b…c5bd))"
    assert repr(found) == f"Descriptor({found.shown})"
    assert read_descriptor(account("m/84h/0h/0h", "zpub"), BTC).shown == "wpkh(zpub6r…tZYs/<0;1>/*)"
    assert read_descriptor(f"tr({KEY[2:]})", BTC).shown == "tr(…)"


def test_names_of_functions_are_no_seed_phrase():
    """A tree of many scripts has over a dozen of them."""
    leaves = [f"and_v(v:pk({X1}/{n}/*),older({n + 1}))" for n in range(13)]
    tree = leaves[0]
    for leaf in leaves[1:]:
        tree = f"{{{tree},{leaf}}}"
    assert addresses(f"tr({X1}/20/*,{tree})")[0][0].startswith("bc1p")


def test_one_address_knows_its_run():
    """A descriptor without * is part of the one with it."""
    [run] = read_descriptor(f"wpkh({X1}/0/5)", BTC).runs
    [whole] = read_descriptor(f"wpkh({X1}/0/*)", BTC).runs
    assert not run.is_ranged and run.kin == whole.at(0)[0] and run.at(0) == whole.at(5)
    [mixed] = read_descriptor(f"wsh(multi(1,{X1}/0/5,{X2}/0/6))", BTC).runs
    assert mixed.kin == ""
    assert read_descriptor(f"wpkh({KEY})", BTC).runs[0].kin == ""


SIGNS = string.ascii_letters + string.digits + "()[]{}<>/*;,'#:"
PIECES = st.sampled_from([
    X1, KEY, WIF, "/0/*", "/<0;1>/*", "[d34db33f/84h]", "wpkh(", "wsh(", "sh(", "tr(", "multi(", "and_v(v:pk(",
    "thresh(", "older(", ")", ",", "1", "2", "{", "}", "#", "combo(", "pk(", "sortedmulti(", "addr(", "raw(",
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(SIGNS, max_size=60) | st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """Nothing but a `ValueError`, and no secret in it, comes of any text."""
    try:
        found = read_descriptor(text, BTC)
    except ValueError as error:
        assert WIF not in str(error) and X1 not in str(error)
    else:
        assert WIF not in text and all(run.at(0) for run in found.runs)
    is_descriptor(text)
