"""Long lists of addresses in a configuration: every form, every problem, one owner an address, and little memory."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from monitor.addresses.evm import checksum
from monitor.config import Config, load_config
from monitor.config.fleets import LONG_LIST
from monitor.errors import ConfigError
from monitor.made_addresses import made_address
from monitor.networks import by_name
from monitor.watchlist import Watchlist

RANDOM = random.Random(11)
ETH, NEM = "eip155:1", "nem:mainnet"
ALL = [f"0x{RANDOM.getrandbits(160):040x}" for _ in range(LONG_LIST + 500)]
STRANGER = "0x" + "5" * 40


def write(path: Path, rows: list[str], chain: list[str] | None = None) -> Path:
    """A list in the form that its suffix says."""
    if path.suffix == ".parquet":
        pl.DataFrame({"address": rows} | ({"chain": chain} if chain else {})).write_parquet(path, row_group_size=4_000)
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        cells = [f"{a}{mark}{b}" for a, b in zip(rows, chain, strict=True)] if chain else rows
        path.write_text("\n".join([f"Address{mark}Chain" if chain else "address", *cells]) + "\n")
    else:
        assert path.suffix == ".txt"
        path.write_text("# deposits\n\n" + "".join(f"{row}  # one\n" for row in rows))
    return path


def load(folder: Path, *wallets: dict[str, Any]) -> Config:
    (folder / "c.yaml").write_text(yaml.safe_dump({"wallets": list(wallets)}))
    return load_config(folder / "c.yaml", {})


def fleet(*addresses: str, id: str = "users") -> dict[str, Any]:
    return {"id": id, "entity": "One", "role": "deposit", "addresses": list(addresses)}


def problems(folder: Path, *wallets: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, *wallets)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("form", ["txt", "csv", "tsv", "parquet"])
def test_a_long_list_becomes_a_compact_set(tmp_path: Path, form: str) -> None:
    """Every form and every letter case gives the same members; repeats count once; single addresses stay beside it."""
    forms = [checksum(a) if i % 3 == 0 else "0x" + a[2:].upper() if i % 3 == 1 else a for i, a in enumerate(ALL)]
    write(tmp_path / f"all.{form}", [*forms, *forms[:100]])
    config = load(tmp_path, fleet(f"ethereum:file:all.{form}", f"ethereum:{STRANGER}"))
    (wallet,) = config.wallets
    ((chain, members),) = wallet.fleets
    assert chain == ETH and len(members) == len(ALL) and all(a in members for a in ALL)
    assert wallet.addresses == ((ETH, STRANGER),)
    watchlist = Watchlist(config.wallets)
    watch = watchlist.watch(ETH)
    assert watchlist.chains == (ETH,) and len(watch) == len(ALL) + 1 and STRANGER in watch and ALL[-1] in watch
    assert watch.get(ALL[7]) is watch.get(STRANGER) is wallet and watch.get("0x" + "6" * 40) is None
    assert pickle.loads(pickle.dumps(config.wallets)) == config.wallets
    assert f"{len(ALL) + 1:,} addresses on ethereum" in "\n".join(config.summary())


@pytest.mark.parametrize("form", ["txt", "csv", "parquet"])
def test_a_list_of_several_chains(tmp_path: Path, form: str) -> None:
    """A chain column, or a prefix where there is none, says whose address it is; each chain has its own set."""
    nem = by_name("nem")
    assert nem is not None
    coins = [made_address(nem, f"n{i}") for i in range(300)]
    names = ["ethereum", "eip155:137"]
    if form == "txt":
        rows = [f"{names[i % 2]}:{a}" for i, a in enumerate(ALL)] + [f"nem:{a}" for a in coins]
        write(tmp_path / "all.txt", rows)
    else:
        chains = [names[i % 2] for i in range(len(ALL))] + ["nem"] * len(coins)
        write(tmp_path / f"all.{form}", [*ALL, *coins], chains)
    (wallet,) = load(tmp_path, fleet(f"file:all.{form}")).wallets
    sets = dict(wallet.fleets)
    assert {chain: len(members) for chain, members in sets.items()} == {
        ETH: len(ALL[::2]), "eip155:137": len(ALL[1::2]), NEM: 300
    }  # fmt: skip
    assert ALL[0] in sets[ETH] and ALL[0] not in sets["eip155:137"] and coins[9] in sets[NEM]
    assert Watchlist([wallet]).budget("users", ETH) == pytest.approx(wallet.budget / 3)


def test_a_list_at_the_limit_is_kept_as_texts(tmp_path: Path) -> None:
    """Up to the limit a wallet has its addresses as before."""
    write(tmp_path / "all.txt", ALL[:LONG_LIST])
    (wallet,) = load(tmp_path, fleet("ethereum:file:all.txt")).wallets
    assert not wallet.fleets and [address for _, address in wallet.addresses] == ALL[:LONG_LIST]


def test_bad_rows_of_a_long_list_are_told_with_their_places(tmp_path: Path) -> None:
    """Twenty problems are shown, the others counted; the reasons are those of short lists."""
    right = checksum(ALL[3])
    at = next(i for i, c in enumerate(right) if i > 1 and c.isalpha())
    wrong = right[:at] + right[at].swapcase() + right[at + 1 :]
    rows = [*ALL[:9], wrong, *ALL[9:], *["0xnot"] * 30]
    write(tmp_path / "all.txt", rows)
    found = problems(tmp_path, fleet("ethereum:file:all.txt"))
    assert found[0].startswith("all.txt:12: bad address: checksum does not match: expected 0x")
    assert found[1].startswith(f"all.txt:{len(ALL) + 4}: bad address: not an address of ethereum")
    assert len(found) == 21 and found[20] == "c.yaml:3: 11 more problems in all.txt"


def test_an_unknown_chain_in_a_long_list(tmp_path: Path) -> None:
    """Rows of a chain that nobody knows are problems, with a hint."""
    write(tmp_path / "all.csv", ALL, ["ethereum"] * (len(ALL) - 1) + ["etherum"])
    (found,) = problems(tmp_path, fleet("file:all.csv"))
    assert found.startswith(f"all.csv:{len(ALL) + 1}: bad address: unknown chain 'etherum': did you mean 'ethereum'")


@pytest.mark.parametrize("first", ["single", "list"])
def test_an_address_in_a_long_list_and_in_another_wallet(tmp_path: Path, first: str) -> None:
    """One owner an address, whichever wallet comes first; the list's line is named."""
    write(tmp_path / "all.txt", ALL)
    other = fleet(f"ethereum:{checksum(ALL[40])}", id="hot")
    wallets = [other, fleet("ethereum:file:all.txt")]
    (found,) = problems(tmp_path, *(wallets if first == "single" else reversed(wallets)))
    assert f"address ethereum:{ALL[40]} is in two wallets: " in found
    assert "all.txt:43" in found and "c.yaml:" in found and "'hot'" in found and "'users'" in found


def test_two_long_lists_with_common_addresses(tmp_path: Path) -> None:
    """Each common address is a problem; those beyond the first twenty are counted."""
    write(tmp_path / "a.txt", ALL)
    more = [f"0x{RANDOM.getrandbits(160):040x}" for _ in range(LONG_LIST)]
    write(tmp_path / "b.csv", [*more, *ALL[:50]])
    found = problems(tmp_path, fleet("ethereum:file:a.txt", id="a"), fleet("ethereum:file:b.csv", id="b"))
    assert found[1] == (
        f"b.csv:{LONG_LIST + 2}: address ethereum:{ALL[0]} is in two wallets: 'a' (a.txt:3) and 'b'"
    )
    assert len(found) == 20 and all(" in two wallets: " in p for p in found)
    assert found[0] == "b.csv: 31 more addresses of ethereum are in two wallets: 'a' and 'b'"


def test_one_wallet_may_name_an_address_twice(tmp_path: Path) -> None:
    """In its list and by itself, or in two lists: no problem, no matter."""
    write(tmp_path / "a.txt", ALL)
    write(tmp_path / "b.txt", list(reversed(ALL)))
    config = load(tmp_path, fleet("ethereum:file:a.txt", "ethereum:file:b.txt", f"ethereum:{ALL[0]}"))
    assert Watchlist(config.wallets).wallet_at(ETH, ALL[5]) is config.wallets[0]


def test_the_same_address_on_two_chains_is_two_addresses(tmp_path: Path) -> None:
    """Look-alike of a double claim: another chain."""
    write(tmp_path / "a.txt", ALL)
    config = load(tmp_path, fleet("ethereum:file:a.txt"), fleet("base:file:a.txt", id="b"))
    assert [wallet.fleets[0][0] for wallet in config.wallets] == [ETH, "eip155:8453"]


def test_a_planned_change_at_a_member(tmp_path: Path) -> None:
    """A planned change may be of an address that only a long list has."""
    write(tmp_path / "a.txt", ALL)
    entry = {"account": f"ethereum:{ALL[1]}", "kind": "delegation", "value": "0x" + "1" * 40}
    document = {"wallets": [fleet("ethereum:file:a.txt")], "planned": [entry]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    assert load_config(tmp_path / "c.yaml", {}).planned[0].account == ALL[1]


def test_a_broken_long_list(tmp_path: Path) -> None:
    """Text that stops to be UTF-8 after thousands of lines is one problem."""
    path = write(tmp_path / "a.txt", ALL)
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    (found,) = problems(tmp_path, fleet("ethereum:file:a.txt"))
    assert found == "c.yaml:3: wallets[0].addresses[0]: file a.txt is not UTF-8 text"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_csv_with_and_without_quotes(tmp_path: Path, quote: str, ends: str) -> None:
    """Quotes, empty lines, short rows and every kind of line end read the same."""
    cells = [f"{i},{quote}{address}{quote},ethereum" for i, address in enumerate(ALL)]
    (tmp_path / "all.csv").write_text(ends.join(["n,address,chain", "", *cells, ",,"]), newline="")
    (wallet,) = load(tmp_path, fleet("file:all.csv")).wallets
    assert len(wallet.fleets[0][1]) == len(ALL)
    (tmp_path / "all.csv").write_text(ends.join(["n,address,chain", *cells, "7"]), newline="")
    (found,) = problems(tmp_path, fleet("file:all.csv"))
    assert found.startswith(f"all.csv:{len(ALL) + 2}: bad address: has no chain: expected chain:address")
