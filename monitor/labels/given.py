"""From a row as some source wrote it to a label."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from monitor.labels.kind import LabelKind, mapped, told
from monitor.labels.label import Label, clean, day_known, moment
from monitor.labels.place import Places

__all__ = ["Given", "Maker", "fields_of", "given_of"]


@dataclass(frozen=True, slots=True)
class Given:
    """The texts of one row; empty is "not said".

    ``chain`` and ``kind`` must be right, ``coin`` and ``category`` are other people's words and may be unknown.
    ``known_since`` is a time as written, ``dated`` a source's date, of which the hour may be missing.
    """

    address: str
    chain: str = ""
    coin: str = ""
    name: str = ""
    kind: str = ""
    category: str = ""
    source: str = ""
    known_since: str = ""
    dated: str = ""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes labels of the rows of one file.

    ``undated`` (UTC seconds) stands in where the source has no date; ``hint`` where nothing says the kind; ``source``
    and ``chain`` or ``coin`` where the row has none.
    """

    places: Places
    undated: int
    source: str
    hint: LabelKind | None = None
    chain: str = ""
    coin: str = ""

    def label(self, given: Given) -> Label:
        """The label of a row.

        Raises
        ------
        monitor.labels.place.Foreign : its chain is not known here
        ValueError : it cannot be read; the message is safe to print
        """
        if not given.address.strip():
            raise ValueError("the address is missing")
        if not given.chain and not given.coin:
            given = replace(given, chain=self.chain, coin=self.coin)
        name, source = clean(given.name), clean(given.source) or self.source
        kind = self._kind(given, name, source)
        since = self._since(given)
        chain, address = self.places.settle(given.address, given.chain.strip(), given.coin)
        return Label(chain, address, name or clean(source), kind, source, since)

    def _kind(self, given: Given, name: str, source: str) -> LabelKind:
        if given.kind.strip():
            return LabelKind.parse(given.kind)
        kind = mapped(given.category)
        if kind in (None, LabelKind.OTHER):
            return told(name) or told(source) or (kind if self.hint is None else self.hint) or LabelKind.OTHER
        return kind or LabelKind.OTHER

    def _since(self, given: Given) -> int:
        if given.known_since.strip():
            return moment(given.known_since)
        return day_known(given.dated) if given.dated.strip() else self.undated


_COLUMNS = {  # in the order of preference
    "address": "address banned_address contract_address flagged_address wallet_address account addr",
    "chain": "chain chain_id network",
    "coin": "currency coin blockchain",
    "name": "label name wallet_tag etherscan_tag contract_tag name_tag tag remark title entity",
    "kind": "kind",
    "category": "category abuse etherscan_labels labels label_type type contract_creator_etherscan_label",
    "source": "source data_source reference url reporter",
    "known_since": "known_since",
    "dated": "lastmod last_modified designated designation_date reported_at report_date date added created_at",
}
_CREATOR = "contract_creator"


def fields_of(columns: list[str]) -> dict[str, list[str]]:
    """Which columns of a table give which field of a `Given`, best first; without ``address`` it is no label table."""
    plain = {re.sub(r"[\s\-]+", "_", column.strip().lower()): column for column in columns}
    found = {name: [plain[word] for word in words.split() if word in plain] for name, words in _COLUMNS.items()}
    return {name: given for name, given in found.items() if given}


def given_of(row: Mapping[str, str], fields: Mapping[str, list[str]]) -> list[Given]:
    """What a row of a table says: one address, and a malicious contract's creator where that is flagged too."""
    texts = {name: next((row[c] for c in columns if row.get(c, "").strip()), "") for name, columns in fields.items()}
    given = Given(**{"address": "", **texts})
    creator, tag = row.get(_CREATOR, ""), row.get(f"{_CREATOR}_tag", "")
    flagged = row.get(f"{_CREATOR}_etherscan_label", "")
    if not creator.strip() or not (tag.strip() or flagged.strip()):
        return [given]
    if tag.strip() and not given.name:
        given = replace(given, name=f"contract of {tag}")
    return [given, replace(given, address=creator, name=tag or f"creator of {given.name or given.address}")]
