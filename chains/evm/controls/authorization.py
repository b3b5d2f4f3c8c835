"""EIP-7702: whose accounts a type-4 transaction delegates, and to what code.

An authorization is signed by the account itself, off the chain; whoever brings it there pays. Whether it took effect
(its nonce may be used up) is seen in the account's code afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from coincurve import PublicKey

from chains.evm.abi import keccak
from chains.evm.wire import RpcAuthorization, RpcTx

__all__ = ["authorities", "authority_of", "nonces_of"]

MAGIC = b"\x05"
HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # greater s are not valid (EIP-2)


def authorities(tx: RpcTx, chain_id: int) -> Iterator[tuple[str, str]]:
    """(account, delegate) of a transaction's authorizations that hold on this chain; those that make no sense are none.

    The delegate is the zero address where the delegation is taken back.
    """
    for entry in tx.authorization_list or ():
        if _number(entry.chain_id) not in (0, chain_id):
            continue
        authority = authority_of(entry)
        if authority is not None:
            yield authority, entry.address.lower()


def nonces_of(tx: RpcTx, chain_id: int) -> Iterator[tuple[str, int]]:
    """(account, nonce) of the same authorizations: each holds only while the account's next nonce is this one."""
    for entry in tx.authorization_list or ():
        authority, nonce = authority_of(entry), _number(entry.nonce)
        if authority is not None and nonce is not None and _number(entry.chain_id) in (0, chain_id):
            yield authority, nonce


def authority_of(entry: RpcAuthorization) -> str | None:
    """Who signed an authorization; None where the signature is none."""
    numbers = [_number(part) for part in (entry.chain_id, entry.nonce, entry.y_parity, entry.r, entry.s)]
    try:
        target = bytes.fromhex(entry.address.removeprefix("0x"))
    except ValueError:
        return None
    chain_id, nonce, parity, r, s = (-1 if number is None else number for number in numbers)
    if min(chain_id, nonce) < 0 or parity not in (0, 1) or len(target) != 20 or not (0 < r < 2**256 and 0 < s <= HALF):
        return None
    body = _number_rlp(chain_id) + b"\x94" + target + _number_rlp(nonce)
    digest = keccak(MAGIC + _list_head(len(body)) + body)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # the library raises its own and plain ones for points that are none
        return None
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def _number(quantity: object) -> int | None:
    if isinstance(quantity, int) and not isinstance(quantity, bool):
        return quantity
    try:
        return int(quantity, 16) if isinstance(quantity, str) and quantity[:2] == "0x" and len(quantity) > 2 else None
    except ValueError:
        return None


def _number_rlp(number: int) -> bytes:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) > 55:
        return b""
    return data if len(data) == 1 and data[0] < 0x80 else bytes([0x80 + len(data)]) + data


def _list_head(size: int) -> bytes:
    return bytes([0xC0 + size]) if size < 56 else b"\xf8" + bytes([size])
