"""Which transactions of a block touch which accounts: pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from chains.evm.wire import RpcBlock, RpcLog, RpcTx
from monitor.model import Block, Tx

__all__ = ["Touches"]


class Touches:
    """Transactions that may have changed an account, or moved its coins.

    Parameters
    ----------
    block, raw : the same block, decoded and as it was read
    logs : of the block, as far as they are known
    accounts : of interest, canonical
    """

    def __init__(self, block: Block, raw: RpcBlock, logs: Iterable[RpcLog], accounts: Container[str]) -> None:
        self._transactions = raw.transactions
        self._nouns = {event.tx.hash: event.tx for event in block.controls}
        self._nouns |= {transfer.tx.hash: transfer.tx for transfer in block.transfers}
        self._found: dict[str, int] | None = None  # places by hash, made when needed
        self._calls: dict[str, set[int]] = {}  # that call an account, or in which it says something
        self._parties: dict[str, set[int]] = {}  # beside them: that it signed, or that move something of it
        self._signed: set[str] = set()
        self.spoke: set[str] = set()  # accounts with logs of their own: they have code
        self._read_transactions(raw.transactions, accounts)
        self._read_logs(logs, accounts)
        for transfer in block.transfers:
            for party in (*transfer.from_addresses, transfer.to_address):
                if party in accounts and (place := self._place(transfer.tx.hash)) is not None:
                    self._parties.setdefault(party, set()).add(place)

    def _read_transactions(self, transactions: Sequence[RpcTx], accounts: Container[str]) -> None:
        known = _among({tx.to for tx in transactions} | {tx.sender for tx in transactions}, accounts)
        for place, tx in enumerate(transactions) if known else ():
            if (called := known.get(tx.to)) is not None:
                self._calls.setdefault(called, set()).add(place)
            if (sender := known.get(tx.sender)) is not None:
                self._signed.add(sender)
                self._parties.setdefault(sender, set()).add(place)

    def _read_logs(self, logs: Iterable[RpcLog], accounts: Container[str]) -> None:
        logs = list(logs)
        known = _among({log.address for log in logs}, accounts)
        for log in logs if known else ():
            if (speaker := known.get(log.address)) is not None:
                self.spoke.add(speaker)
                if (place := self._place(log.transaction_hash or "")) is not None:
                    self._calls.setdefault(speaker, set()).add(place)

    def _place(self, hash: str) -> int | None:
        if self._found is None:
            self._found = {tx.hash.lower(): place for place, tx in enumerate(self._transactions)}
        return self._found.get(hash.lower())

    @property
    def count(self) -> int:
        """How many transactions the block has."""
        return len(self._transactions)

    @property
    def accounts(self) -> set[str]:
        """Those that anything touches."""
        return {*self._calls, *self._parties}

    def add(self, account: str, hash: str) -> None:
        """Another transaction that is known to have changed an account."""
        if (place := self._place(hash)) is not None:
            self._calls.setdefault(account, set()).add(place)

    def signed(self, account: str) -> bool:
        """Whether the account sent a transaction of its own."""
        return account in self._signed

    def last(self, account: str) -> Tx | None:
        """The last transaction that called the account, or in which it said something."""
        places = self._calls.get(account)
        return self._noun(max(places)) if places else None

    def only(self, account: str) -> Tx | None:
        """The transaction that touches the account, where it is the only one."""
        places = self._calls.get(account, set()) | self._parties.get(account, set())
        return self._noun(next(iter(places))) if len(places) == 1 else None

    def _noun(self, place: int) -> Tx:
        tx = self._transactions[place]
        return self._nouns.get(tx.hash.lower()) or _bare(tx, place)


def _among(addresses: Iterable[str | None], accounts: Container[str]) -> dict[str | None, str]:
    """Those of interest, as they are written, with their canonical form: a block names few addresses many times."""
    return {one: one.lower() for one in addresses if one is not None and one.lower() in accounts}


def _bare(tx: RpcTx, place: int) -> Tx:
    """A transaction of which nothing was decoded: without fees, which are in its receipt."""
    return Tx(
        hash=tx.hash.lower(),
        index=place,
        initiator=tx.sender.lower(),
        nonce=_number(tx.nonce),
        gas_limit=_number(tx.gas),
        version=_number(tx.type),
        target=tx.to.lower() if tx.to else None,
    )


def _number(quantity: object) -> int | None:
    try:
        return int(quantity, 16) if isinstance(quantity, str) else None
    except ValueError:
        return None
