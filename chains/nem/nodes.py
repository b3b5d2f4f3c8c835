"""The NIS1 nodes of one chain: which are asked, what height they agree on, and who is believed where they differ.

Of several nodes all are asked for their heads, and the height that most have reached is the chain's. A node that lags,
stands still or runs ahead is asked after the others. A block counts once no majority of those who have its height says
otherwise: a node that serves another block than two honest ones is not believed, so that it disconnects nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from chains.base import ChainSpec, EndpointState
from chains.endpoints.endpoint import Endpoint
from chains.exchange import Kind, clean
from chains.nem.agreement import APART, Agreement, Heights, Told, Voice, is_settled, outvoted, voice
from chains.nem.decode import RawBlock, identity, parse_block
from chains.rpc import HttpPool, Single
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import BlockRef

__all__ = ["AFTER", "NemNodes", "parsed", "with_port"]

log = logging.getLogger(__name__)

AFTER = "local/chain/blocks-after"
LARGEST = 16 * 2**20  # bytes of an answer: a block has at most 120 transactions, a page at most 100
PORTS = {"http": 7890, "https": 7891}
PATIENCE = 2.0  # seconds that the slower nodes get once one has answered
AGREED = 1024  # heights whose identity is remembered
_NETWORK_IDS = {104: "nem:mainnet", -104: "nem:testnet", 152: "nem:testnet", 96: "mijin", -96: "mijin"}


class NemNodes:
    """All endpoints of one chain.

    Parameters
    ----------
    spec : an endpoint without a port means 7890, with ``https`` 7891
    sleep, clock, rng : pause, monotonic time and jitter, for tests

    Attributes
    ----------
    pool : the endpoints as one `Exchange`
    local : names of those that answer the local API
    """

    def __init__(
        self,
        spec: ChainSpec,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.spec = spec
        self._clock = clock
        self.pool = HttpPool(
            [with_port(url) for url in spec.endpoints], timeout=spec.timeout_seconds, rng=rng, sleep=sleep, clock=clock,
            on_connect=self._greet, terms={with_port(url): terms for url, terms in spec.terms.items()}, largest=LARGEST,
        )  # fmt: skip
        self.local: set[str] = set()
        self._heights = Heights()
        self._agreed: dict[int, Voice] = {}  # blocks that were compared, the last one last
        self._asking: dict[str, asyncio.Task[bool]] = {}

    def states(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self.pool.states()

    async def open(self) -> None:
        """Check the network of every endpoint, and whether it answers the local API; see `Pool.check`."""
        await self.pool.check()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        tasks, self._asking = list(self._asking.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.pool.aclose()

    async def at(self, number: int) -> RawBlock:
        """A block, from the best endpoint that has it; errors as in `HttpPool.post`, ChainInconsistent if it is none.

        ``pool.endpoint`` says who answered, until something else is asked.
        """
        return parsed(await self.pool.post("block/at/public", {"height": number}), number)

    # -- heads ----------------------------------------------------------------------------------------------------

    async def head(self) -> BlockRef:
        """The newest block that most nodes have."""
        if len(self.pool.endpoints) > 1:
            await self._ask_all()
            if (head := await self._agreed_head()) is not None:
                return head
        answer = await self.pool.get("chain/last-block")
        try:
            block = parsed(answer)
        except ChainInconsistent as error:
            message = f"{self.spec.name}: {self.pool.endpoint}: {error}"
            self.pool.rotate()
            raise ChainInconsistent(message) from None
        self._see(self.pool.endpoint, block)
        return BlockRef(self.spec.chain, block.height, identity(block))

    async def _ask_all(self) -> None:
        """Ask every node that can be asked; one that hangs is not waited for, and not asked again meanwhile."""
        for endpoint in self.pool.endpoints:
            if _is_free(endpoint) and endpoint.name not in self._asking:
                task = asyncio.create_task(self._ask(endpoint.name), name=f"head of {endpoint.name}")
                self._asking[endpoint.name] = task
        tasks = set(self._asking.values())
        left = await _first_answer(tasks)
        if left:
            await asyncio.wait(left, timeout=PATIENCE)

    async def _ask(self, name: str) -> bool:
        """Whether a node told its head."""
        try:
            block = parsed(await self.pool.only(name).get("chain/last-block"))
        except ChainInconsistent:
            self.pool.find(name).count(Kind.INCONSISTENT)
            self.set_aside(name)
            return False
        except ChainError:
            return False  # counted with the endpoint; its circuit says the rest
        finally:
            self._asking.pop(name, None)
        self._see(name, block)
        return True

    def _see(self, name: str, block: RawBlock) -> None:
        self.pool.find(name).head = block.height
        self._heights.see(name, Told(block.height, identity(block), self._clock()))

    async def _agreed_head(self) -> BlockRef | None:
        """The head of a node that stands at the height that was agreed on; None where no node has told one lately."""
        names = [name for name in self.pool.names if self._is_sound(name)]
        while (found := self._heights.agree(names, self._clock())) is not None:
            liar = await self._doubtful(names, found)
            if liar is None:
                break
            names.remove(liar)
            self._mark(liar, "tells of blocks that it does not give")
        if found is None:
            return None
        for name in names:
            wrong = "runs ahead" if name in found.ahead else "lags" if name in found.behind else ""
            self._mark(name, wrong)
        told = self._heights.of(names, self._clock())
        there = {name: one.identity for name, one in told.items() if one.height == found.height}
        known = self._agreed_identity(found.height)
        most = max(there.values(), key=lambda one: (one == known, list(there.values()).count(one)))
        return BlockRef(self.spec.chain, found.height, most)

    def _is_sound(self, name: str) -> bool:
        endpoint = self.pool.find(name)
        return endpoint.askable and not endpoint.breaker.suspect

    async def _doubtful(self, names: Sequence[str], found: Agreement) -> str | None:
        """Of two nodes that are far apart, the one that does not give the block that it says is its newest."""
        told = self._heights.of(names, self._clock())
        if len(told) != 2:
            return None
        (_, lower), (high, higher) = sorted(told.items(), key=lambda item: item[1].height)
        if higher.height - lower.height <= APART or found.height != higher.height:
            return None
        single = self.pool.only(high)
        try:
            same = identity(await _at(single, lower.height)) == lower.identity
            top = identity(await _at(single, higher.height)) == higher.identity
        except (ChainUnavailable, ChainInconsistent):
            return high
        if same and top:
            return None
        known = self._agreed_identity(lower.height)  # on a fork of its own: who agrees with what was agreed on before?
        return high if not top or known == lower.identity else None

    def _agreed_identity(self, number: int) -> str | None:
        agreed = self._agreed.get(number)
        return None if agreed is None else agreed.identity

    def _mark(self, name: str, wrong: str) -> None:
        endpoint = self.pool.find(name)
        if bool(wrong) != endpoint.lagging:
            endpoint.lagging = bool(wrong)
            text = f"{wrong} (block {endpoint.head})" if wrong else "is with the others again"
            log.log(logging.WARNING if wrong else logging.INFO, "%s: %s %s", self.spec.name, name, text)

    # -- who is believed ------------------------------------------------------------------------------------------

    async def is_agreed(self, number: int, own: Voice, source: str) -> bool:
        """Whether no majority says that block ``number`` is another one than ``own``, which ``source`` gave.

        Nodes that do not have it, or do not answer within `PATIENCE`, have no vote. A source that is outvoted is asked
        after the others for a while.
        """
        if self._agreed.get(number) == own:
            return True
        others = [e.name for e in self.pool.endpoints if e.name != source and self._may_vote(e.name, number)]
        others.sort(key=lambda name: _slowness(self.pool.find(name).state(in_use=False)))
        enough = (1 + len(others)) // 2  # of one opinion with the source, they are a majority
        votes = await self._votes(others[:enough], number)
        if not is_settled(own, votes, len(others) - len(votes)):
            votes += await self._votes(others[enough:], number)
        if outvoted(own, votes) is not None:
            log.warning(
                "%s: %s gives another block %d than %d others", self.spec.name, source, number, len(votes)
            )
            self.pool.find(source).count(Kind.INCONSISTENT)
            self.set_aside(source)
            return False
        if len(votes) == len(others) or is_settled(own, votes, len(others) - len(votes)):
            if any(vote != own for vote in votes):
                log.warning("%s: endpoints differ about block %d, %s is believed", self.spec.name, number, source)
            self._agreed[number] = own
            while len(self._agreed) > AGREED:
                del self._agreed[next(iter(self._agreed))]
        return True

    def set_aside(self, name: str) -> None:
        """Ask an endpoint after the others for a while."""
        self.pool.find(name).set_aside()

    def _may_vote(self, name: str, number: int) -> bool:
        endpoint = self.pool.find(name)
        return _is_free(endpoint) and (endpoint.head is None or endpoint.head >= number)

    async def _votes(self, names: Sequence[str], number: int) -> list[Voice]:
        """What these say that a block is, as far as they say it within `PATIENCE`."""
        if not names:
            return []
        tasks = [asyncio.create_task(self._vote(name, number)) for name in names]
        try:
            done, _ = await asyncio.wait(tasks, timeout=PATIENCE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [vote for task in done if (vote := task.result()) is not None]

    async def _vote(self, name: str, number: int) -> Voice | None:
        """What one node says that a block is; None where it does not say."""
        try:
            return voice(await _at(self.pool.only(name), number))
        except ChainError:
            return None  # counted with the endpoint

    # -- greeting -------------------------------------------------------------------------------------------------

    async def _greet(self, single: Single) -> None:
        answer = await single.get("node/info")
        try:
            network_id = answer["metaData"]["networkId"]
        except (KeyError, TypeError):
            raise ChainError(f"endpoint {single.endpoint} does not answer as a NIS1 node") from None
        served = _NETWORK_IDS.get(network_id, "an unknown network") if type(network_id) is int else "an unknown network"
        if served != self.spec.chain:
            raise ChainError(
                f"endpoint {single.endpoint} serves {served} (networkId {clean(network_id, length=20)}), "
                f"configuration says {self.spec.chain}"
            )
        self.local.discard(single.endpoint)
        try:
            answer = await single.post(AFTER, {"height": 1})
        except ChainUnavailable:
            return  # the rule on public nodes
        if isinstance(answer, dict) and "data" in answer:
            self.local.add(single.endpoint)


def _is_free(endpoint: Endpoint) -> bool:
    """Whether an endpoint can be asked at once."""
    limited = endpoint.limiter is not None and endpoint.limiter.delay() > 0
    return endpoint.askable and not endpoint.resting and not limited


def _slowness(state: EndpointState) -> tuple[int, float]:
    """Whoever failed least and answers fastest comes first."""
    return sum(state.failures.values()), state.seconds / max(1, state.requests)


async def _at(single: Single, number: int) -> RawBlock:
    return parsed(await single.post("block/at/public", {"height": number}), number)


async def _first_answer(tasks: set[asyncio.Task[bool]]) -> set[asyncio.Task[bool]]:
    """Wait until one has its answer, or all have failed; those that are not done yet."""
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if any(task.result() for task in done):
            break
    return left


def parsed(answer: Any, number: int | None = None) -> RawBlock:
    """The block behind an answer; ChainInconsistent where it is none, or another than was asked for."""
    try:
        block = parse_block(answer)
    except DecodeError as error:
        raise ChainInconsistent(str(error)) from None
    if number is not None and block.height != number:
        raise ChainInconsistent(f"asked for block {number}, got {block.height}")
    return block


def with_port(url: str) -> str:
    """The endpoint with NIS1's port where it names none; what is no URL is left for `HttpPool` to refuse."""
    try:
        parts = urlsplit(url)
        if parts.port is not None or not parts.hostname or parts.scheme not in PORTS:
            return url
    except ValueError:
        return url
    return parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{PORTS[parts.scheme]}").geturl()
