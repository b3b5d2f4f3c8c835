"""Output descriptors (BIP 380 to 386 and 389) and bare extended keys, as runs of addresses.

They are read by embit, which also makes the scripts; what it lets pass and the standards do not is refused here. Only
public keys are accepted. Single keys are derived without its objects, which is five times as fast.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

from embit import ec
from embit.descriptor import miniscript as ms
from embit.descriptor.arguments import AllowedDerivation, KeyOrigin
from embit.descriptor.checksum import checksum
from embit.descriptor.descriptor import Descriptor as Parsed

from monitor.addresses import PrivateKeyGiven, canonical
from monitor.addresses.derivation import Run, single_key
from monitor.addresses.encode import address_of
from monitor.addresses.extended import is_extended, plain, read_extended, refuse_private, short
from monitor.networks import Network

__all__ = ["Descriptor", "is_descriptor", "read_descriptor"]

LONGEST = 10_000  # characters; twenty keys with their origins have 3,500
DEEPEST = 40  # brackets within each other
BRANCHES = 16  # of one multipath step
# embit's classes carry no types
_parse: Callable[[str], Any] = Parsed.from_string
_parse_miniscript: Callable[[BytesIO], Any] = ms.Miniscript.read_from
_derivation: Callable[[list[int | None]], Any] = AllowedDerivation
_origin: Callable[[bytes, list[int]], Any] = KeyOrigin
_START = re.compile(r"(?:pk|pkh|wpkh|sh|wsh|tr|multi|sortedmulti|combo|addr|raw|rawtr)\(")
_KEY = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{1,4}[ptg]ub[1-9A-HJ-NP-Za-km-z]{90,}")
_ORIGIN = re.compile(r"\[([^\]]*)\]?")
_GOOD_ORIGIN = re.compile(r"[0-9a-fA-F]{8}(?:/[0-9]{1,10}[h'H]?)*")
_HARD_STEP = re.compile(r"[ptg]ub[1-9A-HJ-NP-Za-km-z]{90,}/[^,)]*[0-9*][h'H]")
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{40,}(?![0-9A-Za-z])")
_SHAPE = "wpkh(xpub.../0/*) for example"
_BARE_KEYS, _P2SH_KEYS, _KEYS = 3, 15, 20  # BIP 383
_P2SH_BYTES, _WITNESS_BYTES = 520, 3600  # largest scripts that can be spent: BIP 16, and what nodes pass on


class Descriptor:
    """What a descriptor stands for.

    Attributes
    ----------
    runs : addresses of each of its branches (one, unless it has a multipath step)
    shown : a short form that is fit to be printed: whoever has the whole one knows all addresses of the wallet
    """

    __slots__ = ("runs", "shown")

    def __init__(self, runs: Sequence[Run], shown: str) -> None:
        self.runs, self.shown = tuple(runs), shown

    def __repr__(self) -> str:
        return f"Descriptor({self.shown})"


def is_descriptor(text: str) -> bool:
    """Whether a text has the look of a descriptor or of an extended public key.

    >>> is_descriptor("wpkh(xpub.../0/*)"), is_descriptor("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    (True, False)
    """
    return _START.match(text) is not None or is_extended(text)


def read_descriptor(text: str, network: Network) -> Descriptor:
    """The addresses of a descriptor, or of an extended key by the form that its version stands for (SLIP 132).

    Raises
    ------
    PrivateKeyGiven : anything in it may spend
    ValueError : it is wrong, or not for this network; no key is in the message
    """
    refuse_private(text)
    if len(text) > LONGEST:
        raise ValueError(f"the descriptor has over {LONGEST:,} characters")
    if is_extended(text):
        return _of_key(text, network)
    body = _without_checksum(text)
    if body.startswith("addr("):
        return Descriptor([Run((canonical(network, _argument(body)),))], f"addr({_argument(body)})")
    if body.startswith("raw("):
        return Descriptor([Run((address_of(_script(_argument(body)), network),))], "raw(…)")
    _check_text(body)
    normal = _KEY.sub(lambda match: plain(read_extended(match[0], network)), body)
    return Descriptor(_runs(normal, network), _shown(body))


def _of_key(text: str, network: Network) -> Descriptor:
    """Both branches of an account, payments and change (BIP 44)."""
    key = read_extended(text, network)
    if not key.script:
        raise ValueError(
            f"a {key.name} is one of several keys of a multi-signature wallet: give its descriptor, "
            "wsh(sortedmulti(2,...)) for example"
        )
    runs = _runs(key.script.format(f"{plain(key)}/<0;1>/*"), network)
    return Descriptor(runs, key.script.format(f"{short(text)}/<0;1>/*"))


# -- text -------------------------------------------------------------------------------------------------------------


def _without_checksum(text: str) -> str:
    body, mark, given = text.partition("#")
    try:
        wanted = checksum(body)
    except Exception:  # embit's errors show the text
        raise ValueError("a descriptor has plain ASCII characters only: copy it again") from None
    if mark and given != wanted:
        raise ValueError("checksum of the descriptor does not match: a character is wrong or missing")
    return body


def _argument(body: str) -> str:
    if not body.endswith(")"):
        raise ValueError("the descriptor does not end with ')'")
    return body.partition("(")[2][:-1]


def _script(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not found or len(found) > LONGEST or len(found) * 2 != len(text):
        raise ValueError("raw() takes an output script in hex")
    return found


def _check_text(body: str) -> None:
    """What embit would take, or refuse without saying why."""
    if any(not _GOOD_ORIGIN.fullmatch(match[1]) or not match[0].endswith("]") for match in _ORIGIN.finditer(body)):
        raise ValueError("the origin of a key is not [fingerprint/path], [d34db33f/84h/0h/0h] for example")
    if _HARD_STEP.search(body):
        raise ValueError(
            "hardened steps after an extended public key need the private one: export the key below them, and write "
            "them before it, in brackets"
        )
    if re.search(r"/[,)/]", body):
        raise ValueError("a step of a key's path is missing after '/'")
    deep = worst = 0
    for sign in body:
        deep += (sign in "({") - (sign in ")}")
        worst = max(worst, deep)
    if worst > DEEPEST or re.search(r"[a-z]{12,}:", body):
        raise ValueError("the descriptor is nested too deeply")


def _shown(body: str) -> str:
    """Short forms of all keys; fingerprints stay, so that people know which one is meant."""
    text = re.sub(r"\[([0-9a-fA-F]{8})/[^\]]*\]", r"[\1/…]", body)
    text = _KEY.sub(lambda match: short(match[0]), text)
    return _HEX.sub(lambda match: short(match[0]) if len(match[0]) in (66, 130) else "…", text)


# -- parsing ----------------------------------------------------------------------------------------------------------


def _runs(body: str, network: Network) -> list[Run]:
    """The runs of a descriptor in which all extended keys are in the form of BIP 380."""
    kind, parse = body.partition("(")[0], _parse
    if kind in ("pk", "combo"):
        body = f"pkh{body[len(kind):]}"
    elif kind in ("multi", "sortedmulti"):
        parse = _parse_bare
    elif kind == "rawtr":
        raise ValueError("rawtr() is not supported: give the addresses")
    try:
        parsed = parse(body)
        keys = list(parsed.keys)
        _check(parsed, keys, kind)
        _check_segwit(parsed, keys, network)
        widths = {len(key.branches) for key in keys if key.branches is not None}
        return [_run(parsed, kind, n if widths else None, network) for n in range(max(widths, default=1))]
    except (PrivateKeyGiven, _Refused):
        raise
    except Exception:  # of many kinds, and their texts show keys
        raise ValueError(f"not a descriptor that can be read: expected {_SHAPE}") from None


class _Refused(ValueError):
    """Understood, and refused with a reason that shows no key."""


class _Bare:
    """A multisig script that is paid as it is, in the shape of embit's descriptors."""

    sh = taproot = wpkh = wsh = False
    key = taptree = None

    def __init__(self, miniscript: Any) -> None:
        self.miniscript = miniscript

    @property
    def keys(self) -> Any:
        return self.miniscript.keys

    def branch(self, number: int | None) -> _Bare:
        return _Bare(self.miniscript.branch(number))

    def derive(self, index: int) -> _Bare:
        return _Bare(self.miniscript.derive(index))

    def script(self) -> bytes:
        return bytes(self.miniscript.compile())


def _parse_bare(body: str) -> _Bare:
    stream = BytesIO(body.encode())
    found = _parse_miniscript(stream)
    if stream.read():
        raise _Refused("there is more text after the descriptor's last bracket")
    found.verify()
    return _Bare(found)


def _check(parsed: Any, keys: Sequence[Any], kind: str) -> None:
    """Rules of BIP 380, 383 and 389 that embit leaves out."""
    if any(isinstance(key.key, ec.PrivateKey) or (key.is_extended and key.key.is_private) for key in keys):
        raise PrivateKeyGiven("there is a private key in this descriptor: remove it, give the public one")
    multis = [part for part in _parts(parsed.miniscript) if isinstance(part, ms.Multi)]
    most = _BARE_KEYS if kind in ("multi", "sortedmulti") else _P2SH_KEYS if parsed.sh and not parsed.wsh else _KEYS
    if any(len(part.args) - 1 > most for part in multis):
        raise _Refused(f"a multisig has at most {most} keys here")
    in_p2sh = parsed.miniscript if parsed.sh and not parsed.wsh else None
    if in_p2sh is not None and not isinstance(in_p2sh, ms.Multi | ms.Pk | ms.Pkh):
        raise _Refused("sh() takes wpkh(), wsh(), pk(), pkh() or a multisig")
    widths = set()
    for key in keys:
        steps = key.allowed_derivation.indexes if key.allowed_derivation is not None else []
        if None in steps[:-1]:
            raise _Refused("the * is the last step of a key's path")
        for step in steps:
            if isinstance(step, list):
                widths.add(len(step))
                if not 2 <= len(step) <= BRANCHES or len(set(step)) < len(step) or None in step:
                    raise _Refused("a multipath step has two or more different numbers, <0;1> for example")
    if len(widths) > 1:
        raise _Refused("the multipath steps of all keys have to be of the same length")


def _parts(node: Any) -> Iterator[Any]:
    if node is not None:
        yield node
        for part in getattr(node, "args", ()):
            if isinstance(part, ms.Miniscript):
                yield from _parts(part)


def _check_segwit(parsed: Any, keys: Sequence[Any], network: Network) -> None:
    by_script = parsed.wsh and parsed.miniscript is not None
    is_segwit = parsed.taproot or by_script or (parsed.wpkh and parsed.key is not None)
    if is_segwit and "hrp" not in network.params:
        raise _Refused(f"{network.name} has no segwit: expected pkh(), sh(multi()) or the like")
    if is_segwit and any(isinstance(key.key, ec.PublicKey) and not key.key.compressed for key in keys):
        raise _Refused("an uncompressed public key cannot be used with segwit")


# -- derivation -------------------------------------------------------------------------------------------------------


def _run(parsed: Any, kind: str, number: int | None, network: Network) -> Run:
    """The addresses of one branch. The work above the last step is done once."""
    branch = parsed.branch(number)
    keys = [key for key in branch.keys if key.is_extended and key.allowed_derivation is not None]
    paths = [list(key.allowed_derivation.indexes) for key in keys]
    is_ranged = any(path and path[-1] is None for path in paths)
    last = {path[-1] for path in paths if path}
    kin = None
    if not is_ranged and len(last) == 1 and all(paths):  # one address of what may be a run
        [kin] = last
    for key, path in zip(keys, paths, strict=True):
        cut = bool(path) and (path[-1] is None or kin is not None)
        key.key = key.key.derive(path[:-1] if cut else path)
        key.allowed_derivation = _derivation([None]) if cut else None
        key.origin = _origin(b"\0" * 4, [])  # else embit derives a child to have one
    scripts = _scripts(branch, "pkh" if kind == "combo" and "hrp" not in network.params else kind)
    addresses = _to_addresses(scripts, network)
    addresses(0)  # what cannot be made is told now
    if is_ranged:
        return Run(addresses)
    return Run(addresses(kin or 0), addresses(0)[0] if kin is not None else "")


def _scripts(branch: Any, kind: str) -> Callable[[int], tuple[bytes, ...]]:
    if branch.miniscript is None and not branch.taptree:
        form = kind if kind in ("pk", "combo") else "tr" if branch.taproot else ""
        form = form or ("sh(wpkh" if branch.sh else "wpkh" if branch.wpkh else "pkh")
        return single_key(form, branch.key.key, branch.key.allowed_derivation is not None)

    def scripts(index: int) -> tuple[bytes, ...]:
        found = branch.derive(index)
        if isinstance(found, _Bare):
            return (found.script(),)
        if found.miniscript is not None:
            size = len(found.miniscript.compile())
            if size > (_WITNESS_BYTES if found.wsh else _P2SH_BYTES):
                raise _Refused("the script of this descriptor is too large to be spent")
        return (bytes(found.script_pubkey().data),)

    return scripts


def _to_addresses(scripts: Callable[[int], tuple[bytes, ...]], network: Network) -> Callable[[int], tuple[str, ...]]:
    def addresses(index: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(address_of(script, network) for script in scripts(index)))

    return addresses
