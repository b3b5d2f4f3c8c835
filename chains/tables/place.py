"""Places of files outside this machine: URLs that are read by their whole text and shown without their secrets."""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["SCHEMES", "Url", "address", "clean", "place"]

SCHEMES = {  # what polars reads; to the family whose objects can be listed, empty where a URL is one file alone
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "adl": "az", "abfs": "az",
    "abfss": "az", "hf": "hf", "http": "", "https": "",
}  # fmt: skip
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ANY_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#@]*@)?([^\s?#'\"<>()]*)(?:[?#][^\s'\"<>()]*)?")
# Parts of signed URLs: who signs again gets other ones for the same file.
_SIGNED = re.compile(
    r"(x-(amz|goog|ms|oss)-.*|sig|signature|se|sp|spr|sr|st|sv|ske|skoid|sks|skt|sktid|skv|expires|policy|key-pair-id|"
    r"awsaccesskeyid|googleaccessid|token|access_token|download)",
    re.IGNORECASE,
)


class Url(str):
    """The place of an object or file on another machine.

    As text it is what may be shown: without user, password and query. Two URLs that differ in what is hidden, a
    signature apart, differ in a few letters of a digest.

    Attributes
    ----------
    address : the whole URL, secrets and all; only for whoever opens it
    """

    address: str

    def __new__(cls, text: str, address: str | None = None) -> Url:
        """``text`` is a URL; with ``address`` it is one that may be shown already."""
        made = super().__new__(cls, text if address is not None else _shown(text))
        made.address = text if address is None else address
        return made

    def __reduce__(self) -> tuple[type[Url], tuple[str, str]]:
        return Url, (str(self), self.address)

    @property
    def scheme(self) -> str:
        """The scheme in lower case."""
        return urlsplit(self.address).scheme

    @property
    def listable(self) -> bool:
        """Whether the objects below it can be listed."""
        return bool(SCHEMES.get(self.scheme))


def place(text: str) -> str:
    """A path as it is; a URL as `Url`, ``file://`` as the path.

    Raises
    ------
    ValueError : a URL of a scheme that cannot be read, or with a login that would not be sent
    """
    match = _SCHEME.match(text)
    if match is None or isinstance(text, Url):
        return text
    scheme = match[1].lower()
    if scheme == "file":
        return unquote(urlsplit(text).path)
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// cannot be read, expected a path or one of {', '.join(SCHEMES)}")
    if not SCHEMES[scheme] and "@" in urlsplit(text).netloc:
        raise ValueError("user and password in a URL are not sent: use a signed URL, or download the file first")
    return Url(scheme + text[len(scheme) :])


def address(path: str) -> str:
    """What to open: the whole URL, or the path."""
    return path.address if isinstance(path, Url) else path


def clean(text: str) -> str:
    """Any text without users, passwords and queries of the URLs in it.

    >>> clean("GET https://me:secret@host/a.csv?sig=abc failed")
    'GET https://host/a.csv failed'
    """
    return _ANY_URL.sub(_bare, text)


def _bare(match: re.Match[str]) -> str:
    scheme, login, rest = match[1], match[2] or "", match[3]
    return scheme + (login if scheme.startswith("abfs") and ":" not in login else "") + rest  # there it is a container


def _shown(url: str) -> str:
    query = urlsplit(url).query
    if not query:
        return clean(url)
    told = sorted((name, value) for name, value in parse_qsl(query, True) if not _SIGNED.fullmatch(name))
    digest = blake2b(repr(told).encode(), digest_size=3).hexdigest() if told else ""
    return f"{clean(url)}?…{digest}"
