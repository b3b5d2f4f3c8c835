"""Compact sets of addresses: what they hold, what they do not, and that compiled digests are the standard ones."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import polars as pl
import pytest

from monitor.addresses.compact import AddressSet, AddressSetBuilder, WatchedAddresses
from monitor.addresses.digest import PIECE, digest, digests, evm_digests, keys
from monitor.addresses.evm import checksum
from monitor.ids import hash64
from monitor.texts.blake import LONGEST
from monitor.texts.located import Texts

RANDOM = random.Random(7)
MANY = [f"0x{RANDOM.getrandbits(160):040x}" for _ in range(20_000)]
OTHERS = [f"0x{RANDOM.getrandbits(160):040x}" for _ in range(5_000)]


def pairs(numbers: np.ndarray) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in numbers.reshape(-1, 2)]


@pytest.mark.parametrize("text", ["", "a", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "é" * 9, "x" * 127, "x" * LONGEST])
def test_the_compiled_digest_is_the_standard_one(text: str) -> None:
    """Blake2b with 16 bytes of output, as hashlib gives it, for texts up to one block."""
    standard = hashlib.blake2b(text.encode(), digest_size=16).digest()
    expected = int.from_bytes(standard[:8], "little"), int.from_bytes(standard[8:], "little")
    assert digest(text) == expected
    assert pairs(digests(Texts(pl.Series(["before", text, "after"]))))[1] == expected


@pytest.mark.parametrize("prefix", [(), ("to",), ("a", "é" * 40)])
def test_compiled_keys_are_hash64(prefix: tuple[str, ...]) -> None:
    """For empty, long and other than Latin texts, few of them and more than one piece; null is an empty text."""
    odd = [None, "", "a", "é" * 62, "\U0001f4a5" * 31, *("x" * n for n in range(LONGEST - 90, LONGEST + 3)), "y" * 999]
    for texts in (odd, [*odd, *MANY, *odd], MANY[:1] * (PIECE + 1)):
        expected = [hash64(*prefix, text or "") for text in texts]
        assert keys(pl.Series(texts, dtype=pl.String), *prefix).tolist() == expected


def test_checksums_are_checked_compiled() -> None:
    """Lower, upper and right mixed case give the digest of the lower-case form."""
    forms = [form for text in MANY[:300] for form in (text, "0X" + text[2:].upper(), checksum(text))]
    numbers, good = evm_digests(Texts(pl.Series(forms)))
    assert good.all()
    assert pairs(numbers) == [digest(text) for text in MANY[:300] for _ in range(3)]


def test_what_is_no_plain_evm_address_is_left_to_the_careful_reader() -> None:
    """One wrong letter case, a foreign letter, a wrong length, a prefix, null: none of these is taken."""
    right = checksum(MANY[0])
    at = next(i for i, c in enumerate(right) if i > 1 and c.isalpha())
    wrong = right[:at] + right[at].swapcase() + right[at + 1 :]
    texts = [wrong, MANY[0][:-1] + "g", MANY[0] + "0", MANY[0][:-1], "1x" + MANY[0][2:], " " + MANY[0], "", None]
    numbers, good = evm_digests(Texts(pl.Series(texts, dtype=pl.String)))
    assert not good.any() and not numbers.any()


def test_members_and_strangers() -> None:
    """Every member is in, no stranger is: one by one and column by column; repeats count once."""
    fleet = AddressSet.of(MANY + MANY[:777])
    assert len(fleet) == len(MANY) and repr(fleet) == "AddressSet(20,000 addresses)"
    assert all(text in fleet for text in MANY[:2000]) and not any(text in fleet for text in OTHERS[:2000])
    column = pl.Series([*OTHERS, None, *MANY, "", "x" * 500])
    expected = [False] * (len(OTHERS) + 1) + [True] * len(MANY) + [False] * 2
    assert fleet.contains(column).tolist() == expected
    assert MANY[0].upper() not in fleet and None not in fleet and 7 not in fleet and "x" * 500 not in fleet
    assert fleet.nbytes < 18 * len(MANY)


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_small_sets(count: int) -> None:
    """An empty set and tiny ones are no special case."""
    fleet = AddressSet.of(MANY[:count])
    assert len(fleet) == count
    assert [text in fleet for text in MANY[:20]] == [i < count for i in range(20)]
    assert fleet.contains(pl.Series(MANY[:20])).tolist() == [i < count for i in range(20)]


def test_one_address_a_hundred_thousand_times() -> None:
    """Repeats cost nothing but the time to read them."""
    builder = AddressSetBuilder()
    for _ in range(10):
        assert builder.add_evm(pl.Series([MANY[0], MANY[1]] * 5_000)).all()
    assert len(builder) == 100_000
    assert builder.build() == AddressSet.of(MANY[:2])


def test_order_and_pieces_do_not_matter() -> None:
    """Equal sets are equal however they were put together."""
    builder = AddressSetBuilder()
    for start in range(0, len(MANY), 999):
        assert builder.add_evm(pl.Series([checksum(t) for t in reversed(MANY[start : start + 999])])).all()
    made, whole = builder.build(), AddressSet.of(MANY)
    assert made == whole and hash(made) == hash(whole) and made != AddressSet.of(MANY[1:])
    assert len(builder) == 0


def test_common_members() -> None:
    """What is in two sets, whichever is asked."""
    first, second = AddressSet.of(MANY[:5000]), AddressSet.of(MANY[4990:] + OTHERS)
    assert first.common(second) == second.common(first) == AddressSet.of(MANY[4990:5000])
    assert len(first.common(AddressSet.of(OTHERS))) == 0


def test_a_set_cannot_be_changed() -> None:
    """The arrays are read-only, also those of a common part."""
    for fleet in (AddressSet.of(MANY), AddressSet.of(MANY).common(AddressSet.of(MANY[:9]))):
        with pytest.raises(ValueError, match="read-only"):
            fleet._keys[0] = 1


def test_watched_addresses() -> None:
    """Single addresses and lists answer as one set."""
    watched = WatchedAddresses(frozenset(MANY[:3]), (AddressSet.of(MANY[3:9]), AddressSet.of(MANY[9:12])))
    assert len(watched) == 12 and [text in watched for text in MANY[:14]] == [True] * 12 + [False] * 2
    assert watched.contains(pl.Series([*MANY[:14], None])).tolist() == [True] * 12 + [False] * 3
    assert not WatchedAddresses()
