"""The chain of each row of a file, and what depends on it: address form, asset identifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from chains.tables.bad import Check
from chains.tables.raw import Raw
from chains.tables.source import ChainInfo
from monitor.networks import by_chain
from monitor.texts.letters import lower

__all__ = ["ChainColumn"]

_UTXO = frozenset({"bitcoin"})
_DECIMALS = {"evm": 18, "bitcoin": 8, "nem": 6}  # of the coins of networks that are not built in
_TOKEN_NAMESPACE = {"evm": "erc20", "nem": "mosaic"}  # CAIP-19 asset namespace of a bare token identifier


class ChainColumn:
    """Which chain the rows of one file belong to.

    Parameters
    ----------
    raw : the columns of the file
    chains : the configured chains by name
    default : chain of rows that name none
    """

    def __init__(self, raw: Raw, chains: Mapping[str, ChainInfo], default: ChainInfo | None) -> None:
        self._raw = raw
        self.constant: str | None = None  # CAIP-2 where every row is of one chain
        if raw.has("chain"):
            self._infos = {info.chain: info for info in chains.values()}
            names = {name: info.chain for name, info in chains.items()} | {chain: chain for chain in self._infos}
            numbers = {info.chain.rpartition(":")[2]: info.chain for info in chains.values() if info.kind == "evm"}
            names = numbers | names  # a chain may be said by its EVM chain id alone
            text = raw.text("chain")
            self.name = text.fill_null(default.chain if default else "")
            if default is None:
                raw.checks.append(Check(text.is_null(), pl.lit("chain is empty")))
        else:
            assert default is not None, "the plan gives every file without a chain column its chain"
            self.constant = default.chain
            self._infos = {default.chain: default}
            names = {default.chain: default.chain}
            self.name = pl.lit(default.chain)
        self._names = names
        self._seen: dict[Any, str | None] = {}

    @property
    def chain(self) -> pl.Expr:
        """CAIP-2 of the row, null where its chain is not configured."""
        if self.constant is not None:
            return pl.lit(self.constant)
        old, new = list(self._names), list(self._names.values())
        return self.name.replace_strict(old, new, default=None, return_dtype=pl.String)

    def of_all(self, constant: Mapping[str, Any]) -> str | None:
        """The chain (CAIP-2) of all rows of a batch; None where there are several, or it is not configured.

        Parameters
        ----------
        constant : what stands in columns of the file that are the same in all rows
        """
        if self.constant is not None or "chain" not in constant:
            return self.constant
        said = constant["chain"]
        if said not in self._seen:
            row = pl.DataFrame({"chain": [said]}, schema={"chain": self._raw.dtypes["chain"]})
            self._seen[said] = row.select(self.chain.alias("chain")).item()
        return self._seen[said]

    @property
    def known(self) -> pl.Expr:
        """Whether the row's chain is configured."""
        return pl.lit(True) if self.constant is not None else self.name.is_in(list(self._names))

    def of_name(self, name: str) -> str | None:
        """CAIP-2 of a name as rows write it, None where it is not configured."""
        return self._names.get(name)

    def is_evm(self, chain: str) -> bool:
        """Whether a configured chain (CAIP-2) writes addresses in hexadecimal, in any letter case."""
        return self._infos[chain].kind == "evm"

    def is_one(self, chain: str) -> pl.Expr:
        """Whether the row is of that chain (CAIP-2)."""
        if self.constant is not None:
            return pl.lit(self.constant == chain)
        return self.name.is_in([name for name, known in self._names.items() if known == chain])

    @property
    def may_be_utxo(self) -> bool:
        """Whether rows may be outputs of transactions with many inputs."""
        return any(info.kind in _UTXO for info in self._infos.values())

    @property
    def utxo(self) -> pl.Expr:
        """Whether the row is such an output."""
        return self._pick(lambda info: pl.lit(info.kind in _UTXO))

    @property
    def native(self) -> pl.Expr:
        """CAIP-19 of the chain's native asset."""
        return self._pick(lambda info: pl.lit(info.native))

    def address(self, text: pl.Expr) -> pl.Expr:
        """The canonical form: lower case on EVM, upper case without dashes on NEM, elsewhere as it is."""
        return self._pick(lambda info: self._canonical(text, info.kind))

    def hash(self, text: pl.Expr) -> pl.Expr:
        """Transaction hashes are hex: lower case."""
        return self._lower(text)

    def token(self, text: pl.Expr) -> pl.Expr:
        """CAIP-19 of a bare token identifier (contract address, mosaic); null where the chain has no tokens."""
        return self._pick(lambda info: _token(text, info))

    def decimals(self, asset: pl.Expr) -> pl.Expr:
        """How many decimals an asset (CAIP-19) of the configuration has, or the chain's own coin; else null. Int64."""
        known = {asset: decimals for info in self._infos.values() for asset, decimals in info.decimals.items()}
        for info in self._infos.values():
            network = by_chain(info.chain)
            known.setdefault(info.native, network.decimals if network is not None else _DECIMALS.get(info.kind, 0))
        return asset.replace_strict(known, default=None, return_dtype=pl.Int64)

    def asset(self, name: str) -> pl.Expr:
        """CAIP-19 of a column with ``native``, a bare token identifier or CAIP-19, checked."""
        text = self._raw.text(name)
        lower = text.str.to_lowercase()
        full = self._pick(lambda info: lower if info.kind == "evm" else text)
        is_full = text.str.contains("/", literal=True)
        native = lower == "native"
        self._raw.need(name)
        shown = text.str.slice(0, 60).fill_null("")
        self._raw.checks += [
            Check(
                self.known & is_full & ~self._pick(lambda info: full.str.starts_with(f"{info.chain}/")),
                pl.format("{} was '{}', expected an asset of {}", pl.lit(name), shown, self.chain),
            ),
            Check(
                self.known & ~is_full & ~native & ~self._pick(lambda info: _is_token(text, info)),
                pl.format("{} was '{}', expected native, a contract address or CAIP-19", pl.lit(name), shown),
            ),
        ]
        return pl.when(native).then(self.native).when(is_full).then(full).otherwise(self.token(text))

    def _canonical(self, text: pl.Expr, kind: str) -> pl.Expr:
        if kind == "evm":
            return self._lower(text)
        if kind == "nem":
            return text.str.replace_all("-", "", literal=True).str.to_uppercase()
        return text

    def _lower(self, text: pl.Expr) -> pl.Expr:
        return text.map_batches(lower, pl.String, is_elementwise=True)

    def _pick(self, of: Callable[[ChainInfo], pl.Expr]) -> pl.Expr:
        infos = list(self._infos.values())
        if not infos:
            return pl.lit(None)
        answers = {str(of(info)): of(info) for info in infos}
        if len(answers) == 1:
            return next(iter(answers.values()))
        return pl.coalesce([pl.when(self.is_one(info.chain)).then(of(info)) for info in infos])


def _is_token(text: pl.Expr, info: ChainInfo) -> pl.Expr:
    """Whether `_token` knows it by a name."""
    if info.kind == "evm":
        return text.str.starts_with("0x") | text.str.starts_with("0X")
    return text.is_not_null() & (info.kind in _TOKEN_NAMESPACE)


def _token(text: pl.Expr, info: ChainInfo) -> pl.Expr:
    namespace = _TOKEN_NAMESPACE.get(info.kind)
    if namespace is None:
        return pl.lit(None, dtype=pl.String)
    if info.kind == "evm":
        text = text.str.to_lowercase()
        text = pl.when(text.str.starts_with("0x")).then(text)
    if info.kind == "nem":  # namespace:name, encoded as chains.nem.mosaic.mosaic_asset does
        for plain, encoded in ((":", "%3A"), ("_", "%5F"), ("'", "%27"), (" ", "%20")):
            text = text.str.replace_all(plain, encoded, literal=True)
    return pl.concat_str(pl.lit(f"{info.chain}/{namespace}:"), text)
