"""What an address is: a closed list, and how the words of sources map to it."""

from __future__ import annotations

import re
from enum import IntEnum

from monitor.registry import did_you_mean

__all__ = ["LabelKind", "hinted", "mapped", "told"]


class LabelKind(IntEnum):
    """What an address is, the graver the higher. ``str()`` is the lower-case word, 0 is kept for "no label".

    Files and outputs have the words; the numbers are of this process and may change.
    """

    OTHER = 1
    SERVICE = 2
    DEFI = 3
    DEX = 4
    CUSTODIAN = 5
    EXCHANGE = 6
    BRIDGE = 7
    MIXER = 8
    SCAM = 9
    THEFT = 10
    SANCTIONED = 11

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> LabelKind:
        """The kind of a word of this list or of a known source; ValueError names the nearest word.

        >>> LabelKind.parse("exchange").name, LabelKind.parse("mixing_service").name
        ('EXCHANGE', 'MIXER')
        """
        kind = mapped(word)
        if kind is None:
            raise ValueError(f"unknown kind {word[:40]!r}: {did_you_mean(_plain(word), map(str, cls))}")
        return kind


_WORDS = {  # categories, abuses and concepts of TagPacks; labels of explorers; what lists call themselves
    LabelKind.SANCTIONED: "sanction sanctions ofac sdn",
    LabelKind.THEFT: "service_hack hack hacker hacked heist exploit exploiter thief stolen stolen_funds",
    LabelKind.SCAM: (
        "phish_hack phish phishing phishing_scam scams scammer fraud ponzi_scheme ponzi sextortion extortion ransomware"
        " rug_pull investment_fraud giveaway_scam fake malicious"
    ),
    LabelKind.MIXER: "mixing_service mixing coinjoin tumbler privacy_mixer tornado_cash",
    LabelKind.BRIDGE: "defi_bridge cross_chain_bridge token_bridge",
    LabelKind.EXCHANGE: "exchanges cex centralized_exchange centralised_exchange hot_wallet cold_wallet",
    LabelKind.CUSTODIAN: "wallet_service hosted_wallet custody custodial_wallet",
    LabelKind.DEX: "defi_dex decentralized_exchange decentralised_exchange amm",
    LabelKind.DEFI: "defi_lending lending yield_farming staking liquid_staking defi_protocol",
    LabelKind.SERVICE: "services gambling market marketplace miner mining mining_pool payment_processor faucet atm",
    LabelKind.OTHER: "user organization organisation individual donation unknown entity",
}
_KINDS = {str(kind): kind for kind in LabelKind} | {
    word: kind for kind, words in _WORDS.items() for word in words.split()
}
_TELLING = (  # only what explorers and lists write on purpose: a harmless kind is never read from a name
    (LabelKind.SANCTIONED, re.compile(r"\b(sanction\w*|ofac|sdn)\b", re.I)),
    (
        LabelKind.THEFT,
        re.compile(
            r"\b(exploiters?|hackers?|thief|heist|(hack|exploit)( \d[\d.]*)?$|hack:|hack funds)|-(exploit|heist)-", re.I
        ),
    ),
    (LabelKind.SCAM, re.compile(r"fake_?phishing|\bphish(ing)?\b|^scam:", re.I)),
    (LabelKind.MIXER, re.compile(r"\btornado\.?\s?cash\b(?! token)", re.I)),
)
_GOOD = re.compile(r"white ?hat|gitcoin grants", re.I)
_HINTS = (  # words of a file's name
    (LabelKind.SANCTIONED, re.compile(r"sanction|ofac|(?<![a-z])sdn(?![a-z])", re.I)),
    (LabelKind.THEFT, re.compile(r"hack|heist|exploit|theft|thief|stolen", re.I)),
    (LabelKind.SCAM, re.compile(r"phish|scam|fraud|malicious|ransom", re.I)),
    (LabelKind.MIXER, re.compile(r"mixer|mixing|tornado|tumbler", re.I)),
    (LabelKind.BRIDGE, re.compile(r"bridge", re.I)),
    (LabelKind.CUSTODIAN, re.compile(r"custod", re.I)),
    (LabelKind.EXCHANGE, re.compile(r"exchange", re.I)),
)


def _plain(word: str) -> str:
    return re.sub(r"[\s\-]+", "_", word.strip().lower())


def mapped(word: str) -> LabelKind | None:
    """The kind that a category of a source stands for, the gravest where it has several; None: an unknown word.

    >>> str(mapped("phish-hack, exploit")), mapped("whatever")
    ('theft', None)
    """
    found = [_KINDS[part] for text in re.split(r"[,;|]", word) if (part := _plain(text)) in _KINDS]
    return max(found, default=None)


def told(name: str) -> LabelKind | None:
    """The kind that a name says by itself, where it is a grave one: ``Upbit Hacker 1.2``, ``Fake_Phishing12``."""
    if _GOOD.search(name):
        return None
    return next((kind for kind, pattern in _TELLING if pattern.search(name)), None)


def hinted(stem: str) -> LabelKind | None:
    """The kind that a file's name suggests, for content that does not say one."""
    return next((kind for kind, pattern in _HINTS if pattern.search(stem)), None)
