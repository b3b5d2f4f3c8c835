"""Facts about built-in networks: names, CAIP-2 identifiers, native assets, block times, finality, address forms.

Sources: CAIP-2 and CAIP-19 (ChainAgnostic), SLIP-44 coin types, each network's own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CAIP2", "NETWORKS", "Network", "by_chain", "by_name", "token_asset"]

CAIP2 = re.compile(r"[a-z0-9-]{3,8}:[A-Za-z0-9_-]{1,32}")
"""A chain's identifier, ``namespace:reference`` (CAIP-2)."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network. ``decimals`` are those of the native asset; ``block_seconds`` the usual time between blocks."""

    name: str
    kind: str  # chain family: evm | bitcoin | nem
    chain: str  # CAIP-2
    symbol: str
    asset: str  # CAIP-19 of the native asset
    decimals: int
    block_seconds: float
    finality_depth: int
    explorer_tx: str = ""  # URL with {} for the transaction hash
    params: Mapping[str, Any] = field(default_factory=dict)  # family specific, see monitor.addresses
    finalized: bool = False  # its nodes say what is final (the tag ``finalized``) within minutes to an hour
    withdrawals: bool = True  # the withdrawals of its validators are paid in its own coin
    coin: str = ""  # the contract whose ``Transfer`` logs move the coin itself
    coin_tells_all: bool = False  # and there is such a log for every movement, fees and internal calls included
    wrapped: str = ""  # the contract that gives the native coin a token's form, as WETH9 does, and nothing else


def _evm(
    name: str,
    chain_id: int,
    symbol: str,
    slip44: int,
    seconds: float,
    depth: int,
    explorer: str = "",
    **more: Any,
) -> Network:
    chain = f"eip155:{chain_id}"
    url = f"https://{explorer}/tx/{{}}" if explorer else ""
    return Network(
        name, "evm", chain, symbol, f"{chain}/slip44:{slip44}", 18, seconds, depth, url, **more
    )


#: Of ``params`` of the Bitcoin family, beside the address forms: ``work`` is the hash that miners look for
#: (``sha256d``, ``scrypt``; ``unknown``: not checked here), ``easiest`` the number of bits of the easiest target,
#: ``merged`` the chain identifier where blocks may carry the work of another chain, ``at`` the height of the block that
#: the CAIP-2 identifier names (0: the genesis block), ``maturity`` after how many blocks new coins may be spent (100).


def _bitcoin(
    name: str, genesis: str, symbol: str, slip44: int, seconds: float, depth: int, explorer: str = "", **params: Any
) -> Network:
    chain = f"bip122:{genesis}"
    return Network(name, "bitcoin", chain, symbol, f"{chain}/slip44:{slip44}", 8, seconds, depth, explorer, params)


def _nem(name: str, reference: str, network_byte: int, explorer: str = "") -> Network:
    chain = f"nem:{reference}"
    return Network(
        name, "nem", chain, "XEM", f"{chain}/slip44:43", 6, 60, 360, explorer, {"network_byte": network_byte}
    )


_OP_STACK_WETH = "0x4200000000000000000000000000000000000006"  # a predeploy

NETWORKS: tuple[Network, ...] = (
    _evm(
        "ethereum", 1, "ETH", 60, 12, 64, "etherscan.io",
        finalized=True, wrapped="0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    ),
    _evm(
        "sepolia", 11155111, "ETH", 1, 12, 64, "sepolia.etherscan.io",
        finalized=True, wrapped="0xfff9976782d46cc05630d1f6ebab18b2324d6b14",
    ),
    _evm(
        "bsc", 56, "BNB", 714, 0.75, 64, "bscscan.com",
        finalized=True, wrapped="0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
    ),
    _evm(
        "polygon", 137, "POL", 966, 2, 256, "polygonscan.com",
        finalized=True, wrapped="0x0d500b1d8e8ef31e21c99d1db9a6444d3adf1270",
    ),
    _evm("arbitrum", 42161, "ETH", 60, 0.25, 256, "arbiscan.io", finalized=True),  # its WETH can credit others
    _evm("optimism", 10, "ETH", 60, 2, 256, "optimistic.etherscan.io", finalized=True, wrapped=_OP_STACK_WETH),
    _evm("base", 8453, "ETH", 60, 2, 256, "basescan.org", finalized=True, wrapped=_OP_STACK_WETH),
    _evm(
        "avalanche", 43114, "AVAX", 9005, 2, 32, "snowtrace.io",
        finalized=True, wrapped="0xb31f66aa3c1e785363f0875a1b74e27b85fd66c7",
    ),
    _evm("fantom", 250, "FTM", 1007, 1, 32, "ftmscan.com", wrapped="0x21be370d5312f44cb42ce377bc9b8a0cef1a4c83"),
    _evm("sonic", 146, "S", 10007, 0.4, 32, "sonicscan.org", wrapped="0x039e2fb66102314ce7b64ce5ce3e5183bc94ad38"),
    _evm(
        "gnosis", 100, "xDAI", 700, 5, 64, "gnosisscan.io",
        finalized=True, wrapped="0xe91d153e0b41518a2ce8dd3d7944fa863463a97d", withdrawals=False,  # they are GNO
    ),
    _evm("linea", 59144, "ETH", 60, 2, 256, "lineascan.build", wrapped="0xe5d7c2a44ffddf6b295a15c148167daaaf5cf34f"),
    _evm("scroll", 534352, "ETH", 60, 2, 256, "scrollscan.com", wrapped="0x5300000000000000000000000000000000000004"),
    _evm(
        "zksync", 324, "ETH", 60, 1, 256, "explorer.zksync.io",
        coin="0x000000000000000000000000000000000000800a", coin_tells_all=True,
    ),
    _evm(
        "celo", 42220, "CELO", 52752, 1, 256, "celoscan.io",
        finalized=True, coin="0x471ece3750da237f93b8e339c536989b8978a438",
    ),
    _evm(
        "mantle", 5000, "MNT", 60, 2, 256, "mantlescan.xyz",
        finalized=True, wrapped="0x78c1b0c915c4faa5fffa6cabf0219da63d7f4cb8",
    ),
    _evm("blast", 81457, "ETH", 60, 2, 256, "blastscan.io", finalized=True),  # balances of its WETH grow on their own
    _bitcoin(
        "bitcoin", "000000000019d6689c085ae165831e93", "BTC", 0, 600, 6, "https://mempool.space/tx/{}",
        p2pkh=(0x00,), p2sh=(0x05,), hrp="bc", work="sha256d", easiest=224,
    ),
    _bitcoin(
        "bitcoin-testnet", "000000000933ea01ad0ee984209779ba", "tBTC", 1, 600, 6,
        "https://mempool.space/testnet/tx/{}", p2pkh=(0x6F,), p2sh=(0xC4,), hrp="tb", work="sha256d", easiest=224,
    ),
    _bitcoin(
        "bitcoin-testnet4", "00000000da84f2bafbbc53dee25a72ae", "tBTC", 1, 600, 6,
        "https://mempool.space/testnet4/tx/{}", p2pkh=(0x6F,), p2sh=(0xC4,), hrp="tb", work="sha256d", easiest=224,
    ),
    _bitcoin(
        "bitcoin-signet", "00000008819873e925422c1ff0f99f7c", "sBTC", 1, 600, 6,
        "https://mempool.space/signet/tx/{}", p2pkh=(0x6F,), p2sh=(0xC4,), hrp="tb", work="sha256d", easiest=234,
    ),
    _bitcoin(
        "bitcoin-regtest", "0f9188f13cb7b2c71f2a335e3a4fc328", "rBTC", 1, 600, 6,
        p2pkh=(0x6F,), p2sh=(0xC4,), hrp="bcrt", work="sha256d", easiest=255,
    ),
    _bitcoin(
        "bitcoin-cash", "000000000000000000651ef99cb9fcbe", "BCH", 145, 600, 10,
        "https://blockchair.com/bitcoin-cash/transaction/{}", p2pkh=(0x00,), p2sh=(0x05,), cashaddr="bitcoincash",
        work="sha256d", easiest=224, at=478559,
    ),
    _bitcoin(
        "litecoin", "12a765e31ffd4059bada1e25190f6e98", "LTC", 2, 150, 12,
        "https://litecoinspace.org/tx/{}", p2pkh=(0x30,), p2sh=(0x32, 0x05), hrp="ltc", work="scrypt", easiest=236,
    ),
    _bitcoin(
        "litecoin-testnet", "4966625a4b2851d9fdee139e56211a0d", "tLTC", 1, 150, 12,
        p2pkh=(0x6F,), p2sh=(0x3A, 0xC4), hrp="tltc", work="scrypt", easiest=236,
    ),
    _bitcoin(
        "litecoin-regtest", "530827f38f93b43ed12af0b3ad25a288", "rLTC", 1, 150, 12,
        p2pkh=(0x6F,), p2sh=(0x3A, 0xC4), hrp="rltc", work="scrypt", easiest=255,
    ),
    _bitcoin(
        "dogecoin", "1a91e3dace36e2be3bf030a65679fe82", "DOGE", 3, 60, 40,
        "https://blockchair.com/dogecoin/transaction/{}", p2pkh=(0x1E,), p2sh=(0x16,), work="scrypt", easiest=236,
        merged=0x62, maturity=240,
    ),
    _bitcoin(
        "dogecoin-testnet", "bb0a78264637406b6360aad926284d54", "tDOGE", 1, 60, 40,
        p2pkh=(0x71,), p2sh=(0xC4,), work="scrypt", easiest=236, merged=0x62, maturity=240,
    ),
    _bitcoin(
        "dogecoin-regtest", "3d2160a3b5dc4a9d62e7e66a295f7031", "rDOGE", 1, 60, 40,
        p2pkh=(0x6F,), p2sh=(0xC4,), work="scrypt", easiest=255, merged=0x62, maturity=60,
    ),
    _bitcoin(
        "monacoin", "ff9f1c0116d19de7c9963845e129f9ed", "MONA", 22, 90, 40,
        p2pkh=(0x32,), p2sh=(0x37, 0x05), hrp="mona", work="unknown",
    ),
    _bitcoin(
        "monacoin-testnet", "a2b106ceba3be0c6d097b2a6a6aacf9d", "tMONA", 1, 90, 40,
        p2pkh=(0x6F,), p2sh=(0x75, 0xC4), hrp="tmona", work="unknown",
    ),
    _bitcoin(
        "monacoin-regtest", "7543a69d7c2fcdb29a5ebec2fc064c07", "rMONA", 1, 90, 40,
        p2pkh=(0x6F,), p2sh=(0x75, 0xC4), hrp="rmona", work="unknown",
    ),
    _nem("nem", "mainnet", 0x68, "https://explorer.nemtool.com/#/s_tx?hash={}"),
    _nem("nem-testnet", "testnet", 0x98),
)

_BY_NAME = {network.name: network for network in NETWORKS}
_BY_CHAIN = {network.chain: network for network in NETWORKS}


def by_name(name: str) -> Network | None:
    """The built-in network of that name, or None."""
    return _BY_NAME.get(name)


def by_chain(chain: str) -> Network | None:
    """The network of a CAIP-2 identifier; any ``eip155:N`` that is not built in gets plain defaults; else None.

    >>> by_chain("eip155:31337").asset
    'eip155:31337/slip44:60'
    """
    if chain in _BY_CHAIN:
        return _BY_CHAIN[chain]
    namespace, _, reference = chain.partition(":")
    if namespace == "eip155" and reference.isdigit():
        return _evm(f"evm-{reference}", int(reference), "ETH", 60, 12, 64)
    return None


def token_asset(chain: str, contract: str) -> str:
    """CAIP-19 of an ERC-20 token.

    >>> token_asset("eip155:1", "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599")
    'eip155:1/erc20:0x2260fac5e5542a773aa44fbcfedf7c193bc2c599'
    """
    return f"{chain}/erc20:{contract.lower()}"
