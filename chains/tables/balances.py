"""The balances table: what an address held of an asset after a block."""

from __future__ import annotations

from chains.tables.chain import ChainColumn
from chains.tables.layout import Build, Layout
from chains.tables.raw import Raw

__all__ = ["BALANCES_TABLE"]


def _build(raw: Raw, chain: ChainColumn) -> Build:
    raw.need("address")
    address = chain.address(raw.text("address"))
    columns = {
        "address": address,
        "asset": chain.asset("asset"),
        "block_number": raw.whole("block_number", needed=True),
        "value": raw.value("value"),
    }
    return Build(columns, receiver=address)


BALANCES_TABLE = Layout(
    name="the balances table",
    gives="balances",
    kind=None,
    required=frozenset({"address", "asset", "block_number", "value"}),
    optional=("chain",),
    build=_build,
)
