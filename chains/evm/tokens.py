"""What the logs of tokens move: ERC-20, ERC-721, ERC-1155, and the network's own coin in a token's form. Pure.

A log is its contract's word: whether a token is worth anything to its owner is decided later. What a token's function
returns (or forgets to) does not matter here, and a fee that it takes beyond its log shows in balances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chains.evm.abi import address_of, array_at, topic, word_at
from chains.evm.wire import RpcLog
from monitor.networks import token_asset

__all__ = ["MOVES", "TRANSFER", "TokenMove", "moves_of", "parties_of"]

TRANSFER = topic("Transfer(address,address,uint256)")  # ERC-20 and ERC-721
SINGLE = topic("TransferSingle(address,address,address,uint256,uint256)")  # ERC-1155
BATCH = topic("TransferBatch(address,address,address,uint256[],uint256[])")
DEPOSIT = topic("Deposit(address,uint256)")  # WETH9: coins were wrapped
WITHDRAWAL = topic("Withdrawal(address,uint256)")
MOVES = frozenset((TRANSFER, SINGLE, BATCH, DEPOSIT, WITHDRAWAL))
MOST_ITEMS = 1000  # of one batch


@dataclass(frozen=True, slots=True)
class TokenMove:
    """What a log moved: ``value`` in base units (1 for an ERC-721), ``asset`` CAIP-19."""

    sender: str
    receiver: str
    value: int
    asset: str


def moves_of(log: RpcLog, chain: str, wrapped: str = "") -> Sequence[TokenMove]:
    """What a log of one of the `MOVES` moved, in its order; empty where it is of a contract that means another thing.

    Parameters
    ----------
    wrapped : contract that gives the native coin a token's form

    Raises
    ------
    ValueError : a shape that no standard knows
    """
    kind, topics = log.topics[0], log.topics
    if kind == TRANSFER:
        return (_transfer(log, chain),)
    if kind in (DEPOSIT, WITHDRAWAL):
        contract = log.address.lower()
        if contract != wrapped or len(topics) != 2:
            return ()
        account, value, asset = address_of(topics[1]), word_at(log.data, 0), token_asset(chain, contract)
        sides = (contract, account) if kind == DEPOSIT else (account, contract)
        return (TokenMove(*sides, value, asset),)
    if len(topics) != 4:
        raise ValueError("an ERC-1155 transfer with other topics")
    sender, receiver, prefix = address_of(topics[2]), address_of(topics[3]), f"{chain}/erc1155:{log.address.lower()}"
    if kind == SINGLE:
        return (TokenMove(sender, receiver, word_at(log.data, 1), f"{prefix}/{word_at(log.data, 0)}"),)
    tokens, values = array_at(log.data, 0, MOST_ITEMS), array_at(log.data, 1, MOST_ITEMS)
    if len(tokens) != len(values):
        raise ValueError("a batch of other lengths")
    return [TokenMove(sender, receiver, v, f"{prefix}/{t}") for t, v in zip(tokens, values, strict=True)]


def parties_of(log: RpcLog) -> tuple[str, ...]:
    """The accounts between which a log of one of the `MOVES` moves something; none where it makes no sense."""
    topics = log.topics
    try:
        if topics[0] == TRANSFER:
            move = _transfer(log, "")
            return (move.sender, move.receiver)
        places = (1,) if topics[0] in (DEPOSIT, WITHDRAWAL) else (2, 3)
        return tuple(address_of(topics[place]) for place in places if place < len(topics))
    except ValueError:
        return ()


def _transfer(log: RpcLog, chain: str) -> TokenMove:
    topics, contract = log.topics, log.address.lower()
    if len(topics) == 3 and len(log.data) == 66:
        asset = token_asset(chain, contract)
        return TokenMove(address_of(topics[1]), address_of(topics[2]), word_at(log.data, 0), asset)
    if len(topics) == 4:
        return TokenMove(address_of(topics[1]), address_of(topics[2]), 1, f"{chain}/erc721:{contract}")
    if len(topics) == 1 and len(log.data) == 2 + 3 * 64:  # the first collectibles index nothing (CryptoKitties)
        sender, receiver = address_of("0x" + log.data[2:66]), address_of("0x" + log.data[66:130])
        return TokenMove(sender, receiver, 1, f"{chain}/erc721:{contract}")
    raise ValueError("Transfer with other topics or data")
