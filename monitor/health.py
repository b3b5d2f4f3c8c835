"""Does the monitor see? What is wrong with a running monitor, judged from what its parts say of themselves. Pure.

Ages are seconds of the monotonic clock: neither a wrong wall clock nor a chain's own times can hide that nothing comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "ChainStatus", "MonitorStatus", "Trouble", "blind_after", "for_people", "is_fresh", "is_over", "scans", "troubles",
]  # fmt: skip

LEAST_SECONDS = 60.0  # without a new head, a chain is blind: so long, or BLOCKS usual block times
UNKNOWN_SECONDS = 300.0  # the least on a network of whose rhythm nothing is known: a private one may pause
BLOCKS = 12  # on a chain with random block times (Bitcoin's) one pause in 160,000 is longer
HUNG_SECONDS = 60.0  # that the consumer may be busy with one thing
BEHIND_BLOCKS = 12  # behind the head that are no trouble as long as they become fewer
UNDECODED = 10  # transactions in the last hour that could not be understood
DOWN = ("open", "quarantined")  # circuits of an endpoint that is not asked


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """What one chain says of itself.

    Parameters
    ----------
    name, chain : as configured; CAIP-2
    patience : seconds after which silence is blindness, see `blind_after`
    replay : it repeats history, whose end is no trouble
    head, tip, scanned : heights: the newest block that is known, the last one read, the last one stored
    head_age : since a head arrived that was new, None: none did since the start
    started_age : since the start, which counts where no head arrived so far
    tip_age : since the last block was read
    error, error_age : what is wrong with the last look, and since when there is no good one; None: nothing
    lag, lag_age : blocks from tip to head, and since when they have not become fewer
    endpoints : (name without secrets, state of its circuit)
    undecoded : transactions of the last hour that could not be understood
    filling : how far missed blocks are fetched, None: none are missing
    """

    name: str
    chain: str
    patience: float
    replay: bool = False
    head: int | None = None
    tip: int | None = None
    scanned: int | None = None
    head_age: float | None = None
    started_age: float = 0.0
    tip_age: float = 0.0
    error: str | None = None
    error_age: float = 0.0
    lag: int = 0
    lag_age: float = 0.0
    endpoints: tuple[tuple[str, str], ...] = ()
    undecoded: int = 0
    filling: str | None = None


@dataclass(frozen=True, slots=True)
class MonitorStatus:
    """What the whole monitor says of itself; ``busy_age`` is since when its consumer does one thing, None: it waits."""

    chains: tuple[ChainStatus, ...] = ()
    busy_age: float | None = None
    waiting: int = 0  # events between the followers and the consumer


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. ``key`` tells it from others and stays while it lasts, ``age`` is how long it lasted."""

    key: str
    what: str  # the title
    why: str  # what it means, and what to look at
    age: float
    chain: str = ""  # CAIP-2, where it is one chain's
    labels: tuple[tuple[str, str], ...] = field(default=())


def blind_after(block_seconds: float, *, known: bool, chosen: float | None = None) -> float:
    """Seconds without a new head after which a chain is blind.

    Parameters
    ----------
    block_seconds : usual time between blocks
    known : a public network keeps its rhythm; a private one may have no block for a while
    chosen : what the owner says instead

    Examples
    --------
    >>> blind_after(12, known=True), blind_after(600, known=True), blind_after(2, known=False)
    (144, 7200, 300.0)
    """
    if chosen is not None:
        return chosen
    return max(LEAST_SECONDS if known else UNKNOWN_SECONDS, BLOCKS * block_seconds)


def troubles(status: MonitorStatus) -> tuple[Trouble, ...]:
    """Everything that is wrong, at most one thing a key.

    While the consumer hangs, chains are not judged: their readers wait for it, and say nothing of the chain.
    """
    if _is_hung(status):
        return (_hung(status),)
    found: list[Trouble] = []
    for chain in status.chains:
        found += filter(None, (_blind(chain), _undecoded(chain)))
    return tuple(found)


def is_fresh(chain: ChainStatus) -> bool:
    """Whether the newest head is recent enough; at the end of a repeated history there is none to come."""
    # After a restart the head may be the very block that is stored: nothing new, and nothing wrong either.
    age = chain.started_age if chain.head_age is None else chain.head_age
    return chain.replay or age < chain.patience


def is_over(status: MonitorStatus, key: str) -> bool:
    """Whether a trouble that people were told of is known to be over: after a start, that nothing is wrong is no sign.

    A chain must have shown a head that was new, and the blocks up to it must be read, or nearly.
    """
    if _is_hung(status) or any(trouble.key == key for trouble in troubles(status)):
        return False
    kind, _, name = key.partition("/")
    if kind != "chain":
        return True
    chain = next((item for item in status.chains if item.chain == name), None)
    if chain is None:
        return True  # no more followed
    arrived = chain.head is not None and (chain.head_age is not None or chain.replay)
    return chain.error is None and arrived and chain.lag <= BEHIND_BLOCKS


def scans(status: MonitorStatus) -> bool:
    """Whether everything is watched as it should be: for those who must hear that it is."""
    return not any(trouble.key == "consumer" or trouble.chain for trouble in troubles(status)) and all(
        chain.head is not None and chain.tip is not None for chain in status.chains
    )


def _is_hung(status: MonitorStatus) -> bool:
    return status.busy_age is not None and status.busy_age >= HUNG_SECONDS


def _hung(status: MonitorStatus) -> Trouble:
    age = status.busy_age or 0.0
    return Trouble(
        "consumer",
        "The monitor hangs: blocks are read, but not looked at",
        f"For {for_people(age)} it has been busy with one and the same thing; {status.waiting} events wait. Nothing "
        "that happens now is found before it goes on. Look at the machine's load and at its disk, then restart the "
        "monitor: it goes on where it stopped.",
        age,
    )


def _blind(chain: ChainStatus) -> Trouble | None:
    """What keeps a chain from being seen, the nearest cause first: one trouble, whatever causes join it."""
    what, why, age = next(_causes(chain), ("", "", 0.0))
    if not what:
        return None
    place = f"The last block that was looked at is {chain.scanned}." if chain.scanned is not None else ""
    hosts = ", ".join(f"{name} ({circuit})" for name, circuit in chain.endpoints)
    asked = f"Endpoints: {hosts}." if hosts else ""
    text = " ".join(filter(None, (why, place, asked, "Thefts on this chain are not seen until it is over.")))
    return Trouble(f"chain/{chain.chain}", f"{chain.name}: {what}", text, age, chain.chain)


def _causes(chain: ChainStatus) -> Iterator[tuple[str, str, float]]:
    down = bool(chain.endpoints) and all(circuit in DOWN for _, circuit in chain.endpoints)
    if chain.error is not None and chain.error_age >= min(chain.patience, LEAST_SECONDS):
        what = "no endpoint can be used" if down else "it cannot be read"
        yield what, f"For {for_people(chain.error_age)} no look succeeded: {chain.error}.", chain.error_age
    if not is_fresh(chain):
        age = chain.started_age if chain.head_age is None else chain.head_age
        yield (
            f"no new block for {for_people(age)}",
            "Either the chain stands still or its endpoints do not say what happens on it.",
            age,
        )
    if chain.lag > 0 and chain.tip_age >= chain.patience:
        yield (
            f"block {chain.tip if chain.tip is not None else '?'} is not left behind, {chain.lag} are missing",
            f"Heads arrive, but for {for_people(chain.tip_age)} no block was read.",
            chain.tip_age,
        )
    if chain.lag > BEHIND_BLOCKS and chain.lag_age >= 2 * chain.patience:
        yield (
            f"{chain.lag} blocks behind, and not catching up",
            f"For {for_people(chain.lag_age)} blocks came faster than they could be read.",
            chain.lag_age,
        )


def _undecoded(chain: ChainStatus) -> Trouble | None:
    if chain.undecoded < UNDECODED:
        return None
    return Trouble(
        f"undecoded/{chain.chain}",
        f"{chain.name}: {chain.undecoded} transactions of the last hour could not be understood",
        "What they moved is not judged. The log names them. A new kind of transaction needs a new version of "
        "heistwatch; an endpoint that garbles answers needs another one beside it.",
        0.0,
    )


def for_people(seconds: float) -> str:
    """A length of time.

    >>> for_people(59), for_people(600), for_people(7300), for_people(200000)
    ('59 s', '10 min', '2.0 h', '2.3 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"
