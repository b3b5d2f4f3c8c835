"""Where an address belongs: from a chain's name, a coin's symbol, or the address's own form."""

from __future__ import annotations

import re
from collections.abc import Iterable

from monitor.addresses import PrivateKeyGiven, canonical
from monitor.networks import NETWORKS, Network, by_chain
from monitor.registry import did_you_mean

__all__ = ["Foreign", "Places"]

_COINS = {  # symbols as label sources use them; sources: the networks' own documentation, chain ids of EIP-155
    "ETH": "eip155:1", "ETHEREUM": "eip155:1", "ERC20": "eip155:1",
    "BSC": "eip155:56", "BEP20": "eip155:56", "BNB": "eip155:56",
    "MATIC": "eip155:137", "POL": "eip155:137", "ARB": "eip155:42161", "OP": "eip155:10", "AVAX": "eip155:43114",
    "XDAI": "eip155:100", "ETC": "eip155:61", "FTM": "eip155:250", "KCS": "eip155:321", "RBTC": "eip155:30",
    "XBT": "BTC",
}  # fmt: skip
# on many chains: the form of the address decides
_TOKENS = frozenset(("USDT", "USDC", "DAI", "BUSD", "TUSD", "USDP", "PAX", "WBTC", "WETH"))
_TRON = re.compile(r"T[1-9A-HJ-NP-Za-km-z]{33}")


class Foreign(ValueError):
    """An address of a chain that is not known here: no fault of the row. ``args[0]`` is the coin."""


class Places:
    """Chains by name (those of a configuration too), and canonical addresses.

    Parameters
    ----------
    named : further (name, network) pairs, as a configuration defines them; they go before built-in names
    """

    def __init__(self, named: Iterable[tuple[str, Network]] = ()) -> None:
        self._names = {network.name: network for network in NETWORKS} | dict(named)
        own = {network.chain: network for network in self._names.values()}
        self._chains = {network.chain: network for network in NETWORKS} | own
        self._coins = {n.symbol.upper(): n for n in NETWORKS if n.kind != "evm"}

    def find(self, word: str) -> Network | None:
        """The network of a name or a CAIP-2 identifier, or None."""
        return self._names.get(word) or self._names.get(word.lower()) or self._chains.get(word) or by_chain(word)

    def chain(self, word: str) -> Network:
        """As `find`, with ValueError for an unknown word; a bare number is an EVM chain id."""
        network = self.find(f"eip155:{word}" if word.isdigit() else word)
        if network is None:
            raise ValueError(f"unknown chain {word[:40]!r}: {did_you_mean(word, self._names)}")
        return network

    def settle(self, text: str, chain: str = "", coin: str = "") -> tuple[str | None, str]:
        """(chain or None, canonical address) of an address as written.

        Parameters
        ----------
        text : the address, with ``CHAIN:`` before it or not
        chain : name or CAIP-2 identifier where it is given apart; goes before ``coin``
        coin : symbol as sources write it: ``ETH``, ``XBT``, ``USDT``

        Raises
        ------
        PrivateKeyGiven : the text looks like a secret
        Foreign : a coin whose chain is not known here
        ValueError : not an address; the message is safe to print
        """
        text = text.strip()
        head, colon, tail = text.rpartition(":")
        prefixed = self.find(head) if colon else None
        if prefixed is not None:
            text = tail
        network: Network | None
        if chain:
            network = self.chain(chain)
            if prefixed is not None and prefixed.chain != network.chain:
                raise ValueError(f"the address says {prefixed.name}, its chain {network.name}")
        else:
            network = prefixed or self._of_coin(coin)
        if network is None:
            return self._by_form(text, coin.strip())
        return network.chain, canonical(network, text)

    def _of_coin(self, coin: str) -> Network | None:
        symbol = coin.strip().upper()
        if not symbol or symbol in _TOKENS:
            return None
        symbol = _COINS.get(symbol, symbol)
        network = self._coins.get(symbol) or self.find(symbol) or self.find(coin.strip())
        if network is None:
            raise Foreign(coin.strip()[:20])
        return network

    def _by_form(self, text: str, token: str) -> tuple[str | None, str]:
        if text[:2].lower() == "0x":
            return None, canonical(self._names["ethereum"], text)
        if _TRON.fullmatch(text):
            raise Foreign("TRX")
        reason = None
        for network in NETWORKS:
            if network.kind != "evm":
                try:
                    return network.chain, canonical(network, text)
                except PrivateKeyGiven:
                    raise
                except ValueError as error:
                    reason = reason or (error if "checksum" in str(error) else None)
        if token and reason is None:
            raise Foreign(token)  # a token of a chain that is not known here
        raise reason or ValueError("not an address of a chain that is known here: give its chain where it has one")
