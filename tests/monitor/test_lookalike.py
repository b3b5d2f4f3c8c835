"""Look-alike addresses and symbols: what people take for the same, and what they do not."""

from __future__ import annotations

from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.assets import AssetNames
from monitor.lookalike import Lookalikes, chance, difference, folded, is_counterfeit, key_of, keys_of, shared

REAL = "0xd9a1c3788d81257612e2581a6ea0ada244853a91"
FAKE = "0xd9a1b0b1e1ae382dbdc898ea68012ffcb2853a91"
ETH, BSC = "eip155:1", "eip155:56"
USDT, OTHER = f"{ETH}/erc20:0xdac17f958d2ee523a2206206994597c13d831ec7", f"{ETH}/erc20:0x{'9' * 40}"
LISTED = {USDT: "USDT", f"{ETH}/slip44:60": "ETH"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (REAL, FAKE),
        (REAL, REAL.upper().replace("0X", "0x")),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaf5mdq"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1bvbXXXXXXXXXXXXXXXXXXXXXXXXJaNVN2"),
        ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", "TR7NabcdefghijkLMNOPQRSTUVWXgjLj6t"),
        ("NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ", "NC3BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5CSZ"),
        ("bitcoincash:qpm2qsznhks23z7629mms6s", "bitcoincash:qpm2aaaaaaaaaaaaaaams6s"),
    ],
)
def test_equal_ends_look_alike(one: str, other: str) -> None:
    """Three characters behind the prefix and four at the end, in every form of address, whatever their case."""
    assert key_of(one) == key_of(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (REAL, FAKE[:4] + "f" + FAKE[5:]),  # two leading characters
        (REAL, FAKE[:-4] + "f" + FAKE[-3:]),  # three trailing ones
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qzz0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1CvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ],
)
def test_less_does_not_look_alike(one: str, other: str) -> None:
    """One character short of it, at either end."""
    assert key_of(one) != key_of(other)


@settings(max_examples=200, deadline=None)
@given(
    addresses=st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=24),
            st.text("0abAB\u03a3\u00e9", max_size=40).map(lambda body: f"0x{body}"),
            st.text("0", min_size=14, max_size=22).map(lambda body: f"0x{body}1234567"),
            st.sampled_from([REAL, FAKE, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bitcoincash:qpm2qsznhks23z7"]),
        ),
        max_size=6,
    )
)
def test_keys_of_a_column_are_those_of_each(addresses: list[str | None]) -> None:
    """Every form of address, whatever else is in the column."""
    expected = [None if address is None else key_of(address) for address in addresses]
    assert keys_of(pl.Series(addresses, dtype=pl.String)).to_list() == expected


def test_the_prefix_is_no_likeness() -> None:
    """What all addresses of a chain begin with counts for nothing."""
    assert shared("bc1qaaaaaaaaaaaaaaaaaaaaaaaa", "bc1qzzzzzzzzzzzzzzzzzzzzzzzz") == (0, 0)
    assert shared("1aaaaaaaaaaaaaaaaaaaaaaaaa", "1zzzzzzzzzzzzzzzzzzzzzzzzz") == (0, 0)


@pytest.mark.parametrize("address", ["", "h", "unexplained", "0x" + "0" * 40, "0x" + "0" * 36 + "1010"])
def test_what_is_short_or_of_the_system_is_never_mistaken(address: str) -> None:
    """Pseudo addresses, the zero address, and contracts that the chain itself has at low numbers."""
    assert key_of(address) is None
    known = Lookalikes([address])
    assert known.like(address[:-1] + "2") == ()


def test_shared_and_difference_cover_the_whole_address() -> None:
    """Equal beginning, what differs, equal end: together the address; nothing is counted twice."""
    begin, end = shared(REAL, FAKE)
    one, other = difference(REAL, FAKE)
    assert (begin, end) == (4, 6) and len(one) == len(other) == 30
    assert "0x" + REAL[2:6] + one + REAL[-6:] == REAL and "0x" + FAKE[2:6] + other + FAKE[-6:] == FAKE
    assert shared(REAL, REAL) == (40, 0)


def test_chance() -> None:
    """One in 16^7 for seven characters of an EVM address."""
    assert chance(REAL, 7) == pytest.approx(3.725e-9, rel=1e-3)


HEX = st.text("12", min_size=20, max_size=20).map(lambda middle: "0x" + middle)


@given(st.sets(HEX, max_size=40), HEX, st.data())
@settings(max_examples=150, deadline=None)
def test_the_index_finds_what_comparing_all_pairs_finds(known: set[str], asked: str, data: st.DataObject) -> None:
    """Added and taken out in any order; an alphabet of two signs makes look-alikes common."""
    index = Lookalikes(known)
    gone = data.draw(st.sets(st.sampled_from(sorted(known)))) if known else set()
    for address in gone:
        index.discard(address)
        index.discard(address)
    left = known - gone

    def alike(one: str, other: str) -> bool:
        begin, end = shared(one, other)
        return one != other and begin >= 3 and end >= 4

    assert index.like(asked) == tuple(sorted(address for address in left if alike(asked, address)))
    for one, other in combinations(sorted(left), 2):
        assert (other in index.like(one)) == alike(one, other) == (one in index.like(other))


@pytest.mark.parametrize(
    "text",
    [
        "UЅDТ",  # Cyrillic
        "ＵＳＤＴ",
        "𝐔𝐒𝐃𝐓",
        "ᴜꜱᴅᴛ",
        "U\u200bS\u2060D\ufeffT",
        "\u202eUSDT\u202c",
        "USD₮",
        "Ú\u0301ṢḌṬ",
        " usdt ✅",
        "U.S.D.T",
        "υѕԁτ",
        "$USDT",
        "U$DT",
    ],
)
def test_symbols_that_look_alike_fold_to_one(text: str) -> None:
    """Other alphabets, wide and mathematical letters, marks, and what is not to be seen."""
    assert folded(text) == folded("USDT")


@pytest.mark.parametrize("text", ["USDC", "USDT.e", "USD", "TUSD", "USDTT", "", "✅"])
def test_other_symbols_stay_others(text: str) -> None:
    """Look-alikes of the fold: honest symbols that share letters."""
    assert folded(text) != folded("USDT")


def test_digits_that_look_like_letters() -> None:
    """Zero and one, the capital I and the small l."""
    assert folded("L0L1") == folded("lOli") and folded("LINK") == folded("l1nk")


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_folding_is_stable_and_never_fails(text: str) -> None:
    """Any text of a token; folding twice changes nothing; the result is letters and digits."""
    once = folded(text)
    assert folded(once) == once and (not once or once.isalnum())


def test_counterfeit() -> None:
    """A known symbol on another contract of the chain, the native coin's too; not the real one, nor another chain's."""
    assert is_counterfeit("UЅDТ", OTHER, LISTED) and is_counterfeit("USDT", OTHER, LISTED)
    assert is_counterfeit("ЕТН", OTHER, LISTED)
    assert not is_counterfeit("USDT", USDT, LISTED)
    assert not is_counterfeit("USDC", OTHER, LISTED) and not is_counterfeit("", OTHER, LISTED)
    assert not is_counterfeit("USDT", f"{BSC}/erc20:0x{'9' * 40}", LISTED)


def test_a_counterfeit_never_bears_the_bare_name() -> None:
    """What a token calls itself is shown with its contract, and a counterfeit as such."""
    names = AssetNames()
    names.tell(OTHER, "ЕTH", 18)
    assert names.is_counterfeit(OTHER)
    assert names.display(OTHER, 10**18) == "1 ЕTH (counterfeit 0x9999…9999)"
    names.tell(OTHER, "ODD", 18)
    assert not names.is_counterfeit(OTHER) and "unverified" in names.display(OTHER, 1)
