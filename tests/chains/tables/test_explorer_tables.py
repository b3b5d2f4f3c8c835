"""Downloads and API answers of block explorers: decimal coins made exact, one transfer seen from both its ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chains.tables import ChainInfo
from monitor.errors import ConfigError

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
TOKEN = "0x" + "d" * 40
NOW = 1_600_000_000
SHOWN = ("kind", "from_address", "to_address", "value")


def save(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as explorers do: every field of CSV quoted."""
    if path.suffix == ".csv":
        lines = [",".join(f'"{name}"' for name in rows[0])]
        lines += [",".join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".parquet":
        pl.DataFrame(list(rows)).write_parquet(path)
    elif path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(list(rows)))
    return path


def normal(got: str = "0", gave: str = "0", **changes: Any) -> dict[str, str]:
    """A row of the download of normal transactions."""
    row = {
        "Txhash": "0x01", "Blockno": "10", "UnixTimestamp": str(NOW), "DateTime (UTC)": "2020-09-13 12:26:40",
        "From": ALICE, "To": BOB, "ContractAddress": "", "Value_IN(ETH)": got, "Value_OUT(ETH)": gave,
        "CurrentValue @ $1642.27/Eth": "1", "TxnFee(ETH)": "0.000021", "TxnFee(USD)": "1",
        "Historical $Price/Eth": "1", "Status": "", "ErrCode": "", "Method": "Transfer",
    }  # fmt: skip
    return row | changes


@pytest.mark.parametrize("form", ["csv", "ndjson", "json", "parquet"])
def test_normal_transactions(tmp_path: Path, read_alice: Any, form: str) -> None:
    """Amounts and fees are exact; failed ones pay; a creation goes to its contract; too many digits are bad."""
    rows = [
        normal(gave="1,234.000000000000000001"),
        normal(gave="1", Txhash="0x02", Status="Error(0)", ErrCode="Reverted"),
        normal(gave="0.5", Txhash="0x03", To="", ContractAddress=CAROL),
        normal(got="2", Txhash="0x04", From=BOB, To=ALICE, **{"TxnFee(ETH)": ""}),
        normal(gave="0.1234567890123456789", Txhash="0x05"),
        normal(gave="1", got="2", Txhash="0x06"),
        normal(gave="1", Status="pending", Txhash="0x07"),
        normal(gave="x", Txhash="0x08"),
    ]
    reading = read_alice(save(tmp_path / f"a.{form}", rows))
    fee = "21000000000000"
    assert reading.frame.select(SHOWN).rows() == [
        ("native", ALICE, BOB, "1234000000000000000001"), ("fee", ALICE, "", fee), ("fee", ALICE, "", fee),
        ("native", ALICE, CAROL, "500000000000000000"), ("fee", ALICE, "", fee),
        ("native", BOB, ALICE, "2000000000000000000"),
    ]  # fmt: skip
    reasons = [bad.reason for bad in reading.bad]
    assert "no digits beyond the base unit of the coin" in reasons[0]
    assert reasons[1:] == [
        "Value_IN and Value_OUT are both given, and differ",
        "Status was 'pending', expected success or an error",
        "value_out was 'x', expected an amount in the coin",
    ]
    assert (reading.rows, reading.transfers) == (8, 3)
    assert reading.blind_spots == {"eip155:1": ("internal transfers", "token transfers")}


def test_a_transfer_seen_from_both_ends_is_one(tmp_path: Path, read_alice: Any) -> None:
    """The downloads of sender and receiver differ in price and side, headers in their age: one flow."""
    old = {
        "Transaction Hash" if name == "Txhash" else "DateTime" if name == "DateTime (UTC)" else name: value
        for name, value in normal(got="1.5").items()
        if name not in ("UnixTimestamp", "CurrentValue @ $1642.27/Eth")
    } | {"DateTime": "9/13/2020 12:26:40 PM", "CurrentValue @ $2000/Eth": "9"}
    new, older = save(tmp_path / "a.csv", [normal(gave="1.5")]), save(tmp_path / "b.csv", [old])
    one = read_alice(new, watched=(ALICE, BOB))
    assert_frame_equal(read_alice(older, watched=(ALICE, BOB)).frame, one.frame)
    both = read_alice(new, older, watched=(ALICE, BOB))
    assert_frame_equal(both.frame, one.frame)
    assert "1 watched rows equal another one in every column and were dropped" in both.notes


def test_an_internal_transfer_among_others_is_one(tmp_path: Path, read_alice: Any) -> None:
    """Two downloads hold a transfer whose transaction is unknown; what stands beside it in each does not part them."""
    known = [
        {"hash": hash, "block_number": 10, "transaction_index": place, "from_address": sender, "to_address": CAROL,
         "value": 1, "gas": 21000, "block_timestamp": NOW}
        for hash, place, sender in (("0x01", 3, ALICE), ("0x02", 7, BOB))
    ]  # fmt: skip

    def inner(hash: str, sender: str, receiver: str, got: str, gave: str) -> dict[str, str]:
        row = normal(got=got, gave=gave, Txhash=hash, From=sender) | {"ParentTxFrom": CAROL, "TxTo": receiver}
        return {name: value for name, value in row.items() if name not in ("To", "TxnFee(ETH)", "TxnFee(USD)")}

    seen = [inner("0x03", BOB, ALICE, "2", "0"), inner("0x01", CAROL, ALICE, "3", "0")]
    given = [inner("0x02", CAROL, BOB, "4", "0"), inner("0x03", BOB, ALICE, "0", "2")]
    paths = [save(tmp_path / f"{name}.csv", rows) for name, rows in (("a", known), ("b", seen), ("c", given))]
    reading = read_alice(*paths, watched=(ALICE, BOB))
    assert sorted(reading.frame["transaction_hash"]) == ["0x01", "0x01", "0x02", "0x02", "0x03"]
    assert "1 watched rows equal another one in every column and were dropped" in reading.notes


def test_other_coins(tmp_path: Path, read_alice: Any) -> None:
    """The header names the chain's coin, whatever it is."""
    row = {name.replace("(ETH)", "(BNB)"): value for name, value in normal(gave="1.5").items()}
    assert read_alice(save(tmp_path / "a.csv", [row])).frame["value"].to_list()[0] == str(15 * 10**17)


def test_amounts_with_their_coin(tmp_path: Path, read_alice: Any) -> None:
    """The newest downloads name the coin behind the amount; another one is refused, not taken for ether."""
    rows = [
        {
            "Transaction Hash": f"0x0{n}", "Status": status, "Method": "Transfer", "Blockno": "10",
            "DateTime (UTC)": "2020-09-13 12:26:40", "From": ALICE, "From_Nametag": "", "To": BOB, "To_Nametag": "",
            "Amount": amount, "Value (USD)": "$1.00", "Txn Fee": "0.000021",
        }
        for n, (amount, status) in enumerate([
            ("0.5 ETH", "Success"), ("1,000 wei", "Success"), ("5 USDT", "Success"), ("7", "Success"),
            ("9 ETH", "Fail"),
        ])
    ]  # fmt: skip
    reading = read_alice(save(tmp_path / "a.csv", rows))
    values = reading.frame.filter(kind="native")["value"].to_list()
    assert values == [str(5 * 10**17), "1000"]
    assert [bad.reason for bad in reading.bad] == [
        "Amount was '5 USDT', expected the chain's own coin", "Amount was '7', expected the chain's own coin",
    ]  # fmt: skip
    inner = [
        {"Parent Transaction Hash" if k == "Transaction Hash" else k: v for k, v in row.items() if "Fee" not in k}
        for row in rows[:1]
    ]
    assert read_alice(save(tmp_path / "b.csv", inner)).frame.select(SHOWN).rows() == [
        ("internal", ALICE, BOB, str(5 * 10**17))
    ]


def test_internal_transactions(tmp_path: Path, read_alice: Any) -> None:
    """Here 0 is success; the transaction's own facts come from the other download."""
    row = {
        "Txhash": "0x01", "Blockno": "10", "UnixTimestamp": str(NOW), "DateTime": "x", "ParentTxFrom": CAROL,
        "ParentTxTo": BOB, "ParentTxETH_Value": "0", "From": BOB, "TxTo": ALICE, "ContractAddress": "",
        "Value_IN(ETH)": "0.25", "Value_OUT(ETH)": "0", "CurrentValue @ $1/Eth": "", "Historical $Price/Eth": "",
        "Status": "0", "ErrCode": "", "Type": "call",
    }  # fmt: skip
    rows = [row, row | {"Status": "1", "Value_IN(ETH)": "1"}, row | {"ErrCode": "x", "Value_IN(ETH)": "2"}]
    rows += [row | {"Type": "delegatecall", "Value_IN(ETH)": "3"}]
    reading = read_alice(save(tmp_path / "a.csv", rows))
    assert reading.frame.select(*SHOWN, "tx_from").rows() == [("internal", BOB, ALICE, "250000000000000000", CAROL)]
    assert (reading.transfers, reading.blind_spots) == (1, {"eip155:1": ("token transfers",)})


def _token(**changes: Any) -> dict[str, str]:
    row = {
        "Txhash": "0x01", "Blockno": "10", "UnixTimestamp": str(NOW), "DateTime (UTC)": "x", "From": ALICE, "To": BOB,
        "TokenValue": "1,234.5", "USDValueDayOfTx": "$1,234", "ContractAddress": TOKEN, "TokenName": "USD Coin",
        "TokenSymbol": "USDC",
    }  # fmt: skip
    return row | changes


def test_token_amounts_need_decimals(tmp_path: Path, read_alice: Any, infos: dict[str, ChainInfo]) -> None:
    """Known ones scale exactly; without them a row is bad, and says what to do; a column may tell them."""
    path = save(tmp_path / "a.csv", [_token()])
    unknown = read_alice(path)
    assert [bad.reason for bad in unknown.bad] == ["the token's decimals are not known: add it under assets"]
    known = {f"eip155:1/erc20:{TOKEN}": 6}
    chains = {"ethereum": ChainInfo("eip155:1", "evm", infos["ethereum"].native, 12, known)}
    asset = f"eip155:1/erc20:{TOKEN}"
    found = read_alice(path, save(tmp_path / "b.csv", [normal()]), chains=chains).frame.filter(kind="token")
    assert found.select("asset", "value", "fee", "tx_from").rows() == [(asset, "1234500000", "21000000000000", ALICE)]
    told = read_alice(save(tmp_path / "c.csv", [_token(TokenDecimal="2")]))
    assert told.frame["value"].to_list() == ["123450"]


def _answer(**changes: Any) -> dict[str, str]:
    row = {
        "blockNumber": "10", "timeStamp": str(NOW), "hash": "0x01", "nonce": "5", "blockHash": "0xb",
        "transactionIndex": "3", "from": ALICE, "to": BOB, "value": str(2**100), "gas": "21000", "gasPrice": "1000",
        "isError": "0", "txreceipt_status": "1", "input": "0x", "contractAddress": "", "gasUsed": "21000",
        "cumulativeGasUsed": "1", "confirmations": "1",
    }  # fmt: skip
    return row | changes


def test_answers_of_the_api(tmp_path: Path, read_alice: Any) -> None:
    """In their envelope or without, over several lines, several one after another: units, facts, failures."""
    rows = [_answer(), _answer(hash="0x02", isError="1"), _answer(hash="0x03", txreceipt_status="0")]
    rows += [_answer(hash="0x04", isError="x")]
    envelope = {"status": "1", "message": "OK", "result": rows}
    files = [save(tmp_path / f"a.{form}", rows) for form in ("csv", "ndjson", "json", "parquet")]
    for name, text in {
        "one.json": json.dumps(envelope), "lines.json": json.dumps(envelope, indent=2),
        "pages.json": "\n".join(json.dumps(envelope | {"result": page}) for page in (rows[:2], rows[2:])),
    }.items():  # fmt: skip
        files.append(tmp_path / name)
        files[-1].write_text(text)
    for path in files:
        reading = read_alice(path)
        assert reading.frame.select("transaction_index", "kind", "value", "nonce", "fee").rows() == [
            (3, "native", str(2**100), 5, "21000000"), *[(3, "fee", "21000000", 5, "21000000")] * 3,
        ], path.name  # fmt: skip
        assert [bad.reason for bad in reading.bad] == ["isError was 'x', expected 0 or 1"]
        assert "transaction status" not in reading.blind_spots["eip155:1"]
    (tmp_path / "error.json").write_text('{"status": "0", "message": "NOTOK", "result": "Max rate limit reached"}')
    with pytest.raises(ConfigError, match="the explorer's answer is an error: Max rate limit reached"):
        read_alice(tmp_path / "error.json")


def test_inner_and_token_answers(tmp_path: Path, read_alice: Any) -> None:
    """``txlistinternal`` and ``tokentx`` join their transactions; equal calls with other places are two."""
    inner = {name: value for name, value in _answer().items() if name not in ("gasPrice", "nonce", "txreceipt_status")}
    calls = [inner | {"type": "call", "traceId": place, "value": "7", "errCode": ""} for place in ("0_1", "0_2", "0_2")]
    calls += [inner | {"type": "delegatecall", "traceId": "0_3", "value": "8", "errCode": ""}]
    token = {name: value for name, value in _answer().items() if name not in ("isError", "txreceipt_status")}
    tokens = [token | {
        "contractAddress": TOKEN, "tokenName": "T", "tokenSymbol": "T", "tokenDecimal": "6", "value": str(2**255),
    }]  # fmt: skip
    for form in ("csv", "json"):
        reading = read_alice(
            save(tmp_path / f"1.{form}", calls), save(tmp_path / f"2.{form}", tokens),
            save(tmp_path / f"3.{form}", [_answer()]),
        )  # fmt: skip
        assert reading.frame.sort("kind", maintain_order=True).select("kind", "value", "nonce").rows() == [
            ("fee", "21000000", 5), ("internal", "7", 5), ("internal", "7", 5), ("native", str(2**100), 5),
            ("token", str(2**255), 5),
        ]  # fmt: skip
        assert reading.blind_spots == {}
