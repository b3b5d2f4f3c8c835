"""Descriptors and extended public keys among a wallet's addresses."""

from __future__ import annotations

from monitor.config.chains import Chains
from monitor.config.types import ChainConfig
from monitor.derived import GAP_LIMIT, DerivedAddresses

__all__ = ["read_derived"]


def read_derived(
    chains: Chains, text: str, gap_limit: int = GAP_LIMIT, used: int = 0, chain: ChainConfig | None = None
) -> tuple[ChainConfig, DerivedAddresses] | None:
    """Chain and addresses of a descriptor or an extended public key; None where the text is neither.

    Parameters
    ----------
    text : with or without a chain before it
    gap_limit, used : how far it is watched, see `DerivedAddresses`
    chain : of texts that name none; else the only configured one

    Raises
    ------
    PrivateKeyGiven : the text holds anything that may spend, whatever else it is
    ValueError : it is wrong; no key is in the message
    """
    from monitor.addresses.descriptor import is_descriptor
    from monitor.addresses.extended import refuse_private

    text = text.strip()
    refuse_private(text, digits=False)
    if is_descriptor(text):
        chain = chain or chains.only
        if chain is None:
            raise ValueError("has no chain: expected chain:descriptor, bitcoin:wpkh(...) for example")
    elif (found := _split(chains, text)) is not None and is_descriptor(found[1]):
        chain, text = found
    else:
        return None
    if chain.network.kind != "bitcoin":
        raise ValueError(
            f"descriptors and extended keys are for chains of the Bitcoin family, not for {chain.name}: list addresses"
        )
    return chain, DerivedAddresses(text, chain.network, gap_limit, used)


def _split(chains: Chains, text: str) -> tuple[ChainConfig, str] | None:
    try:
        chain, rest = chains.split(text)
    except ValueError:  # said where addresses are read
        return None
    return chain, rest.strip()
