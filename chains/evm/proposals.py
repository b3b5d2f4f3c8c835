"""CT-8: transactions that are proposed to watched Safes, told with the next block (see `chains.evm.safe_service`).

``safe_service: URL`` in the chain's options, and ``safe_service_key`` where the service wants one; without a URL
nothing is asked. A task of its own asks, so that no block waits for the service. While it does not answer, that is a
blind spot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from chains.base import ChainSpec
from chains.evm.controls.control import Control
from chains.evm.controls.proposed import proposal_of
from chains.evm.safe_service import SafeService
from monitor.errors import ChainUnavailable, ConfigError
from monitor.model import Block, Tx

__all__ = ["NO_PROPOSALS", "Proposals"]

log = logging.getLogger(__name__)

NO_PROPOSALS = "pending Safe transactions"
SECONDS = 20.0  # between two rounds
APART = 0.25  # seconds between two questions: the public service allows five a second
STALE = 4  # rounds without an answer about a Safe, after which it is a blind spot
MOST_SAFES = 500
MOST_FAILURES = 3  # of one round
STRANGER_ROUNDS = 90  # rounds until an account that the service does not know is asked about again
LONGEST_WAIT = 600.0  # seconds that the service may ask for


class Proposals:
    """Asks the service about ``spec.accounts``, and hands what it finds to blocks.

    Parameters
    ----------
    sleep, clock : pause and monotonic time, for tests

    Raises
    ------
    ConfigError : the options say nonsense
    """

    def __init__(
        self,
        spec: ChainSpec,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._chain, self._sleep, self._clock = spec.name, spec.chain, sleep, clock
        self._service = _service(spec)
        self._safes = spec.accounts[:MOST_SAFES]
        self._strangers: dict[str, int] = {}  # accounts that are no Safes, and the round in which that was said
        self._waiting: dict[str, tuple[Control, ...]] = {}  # by Safe
        self._answered: dict[str, float] = {}  # when the service last spoke of a Safe
        self._told: dict[tuple[str, str, str], int] = {}  # (Safe, hash, confirmations): number of the block
        self._round, self._failing = 0, False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask; calling it again is fine."""
        if self._service is not None and self._safes and self._task is None:
            self._task = asyncio.create_task(self._run(self._service), name=f"proposals {self._name}")

    def attach(self, block: Block, transactions: int) -> Block:
        """The block with the proposals that are news, and a blind spot where the service does not answer.

        What was told with this block or a later one is told again: it is read anew, or another took its place.

        Parameters
        ----------
        transactions : how many the block has
        """
        if self._task is None:
            return block
        news = []
        for key, control in self._current():
            if self._told.get(key, block.ref.number) >= block.ref.number:
                self._told[key] = block.ref.number
                news.append(control.at(block.ref, Tx(control.subject, transactions, pending=True)))
        blind = (NO_PROPOSALS,) if self._is_blind() else ()
        return replace(block, controls=(*block.controls, *news), blind_spots=(*block.blind_spots, *blind))

    async def aclose(self) -> None:
        """End the task and close connections; calling it twice is fine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._service is not None:
            await self._service.aclose()

    def _current(self) -> Iterable[tuple[tuple[str, str, str], Control]]:
        for safe, controls in self._waiting.items():
            for control in controls:
                yield (safe, control.subject, control.detail["confirmations"]), control

    def _is_blind(self) -> bool:
        oldest = self._clock() - STALE * (SECONDS + APART * 2 * len(self._safes))
        return any(
            self._answered.get(safe, oldest) <= oldest for safe in self._safes if safe not in self._strangers
        )

    # -- the task -------------------------------------------------------------------------------------------------

    async def _run(self, service: SafeService) -> None:
        while True:
            wait, failures = SECONDS, 0
            turn = self._round % len(self._safes)
            for safe in (*self._safes[turn:], *self._safes[:turn]):
                if self._round - self._strangers.get(safe, -STRANGER_ROUNDS) < STRANGER_ROUNDS:
                    continue
                try:
                    await self._ask(service, safe)
                except ChainUnavailable as error:
                    self._fail(error)
                    failures += 1
                    wait = max(wait, min(error.retry_after or 0.0, LONGEST_WAIT))
                    if failures >= MOST_FAILURES or error.retry_after is not None:
                        break
                await self._sleep(APART)
            self._failing = failures > 0
            self._forget()
            self._round += 1
            await self._sleep(wait)

    def _fail(self, error: ChainUnavailable) -> None:
        log.log(
            logging.DEBUG if self._failing else logging.WARNING,
            "%s: proposed Safe transactions cannot be asked for: %s", self._name, error,
        )  # fmt: skip
        self._failing = True

    async def _ask(self, service: SafeService, safe: str) -> None:
        answer = await service.waiting(safe)
        if answer is None:
            self._strangers[safe] = self._round
            self._waiting.pop(safe, None)
            return
        self._strangers.pop(safe, None)
        waiting, odd = answer
        nonce = threshold = None
        if waiting:
            info = await service.info(safe)
            nonce, threshold = _whole(info.nonce), _whole(info.threshold)
        found = []
        for one in waiting:
            mine = _whole(one.nonce)
            if nonce is not None and mine is not None and mine < nonce:
                continue  # another transaction took its nonce: it can never be executed
            try:
                found.append(proposal_of(one, safe, self._chain, threshold))
            except ValueError:
                odd += 1
        if odd:
            log.warning("%s: %d proposed transactions of Safe %s make no sense", self._name, odd, safe)
        self._waiting[safe] = tuple(one for one in found if one is not None)
        self._answered[safe] = self._clock()

    def _forget(self) -> None:
        """What waits no more may be forgotten."""
        current = {key for key, _ in self._current()}
        self._told = {key: at for key, at in self._told.items() if key in current}


def _service(spec: ChainSpec) -> SafeService | None:
    options = spec.options or {}
    url, key = options.get("safe_service"), options.get("safe_service_key")
    if url is None:
        return None
    problem = ConfigError(f"chain {spec.name}: options.safe_service is not a URL such as https://host/path")
    try:
        parts = urlsplit(url)
    except (ValueError, AttributeError, TypeError):
        raise problem from None
    if not isinstance(url, str) or parts.scheme not in ("http", "https") or not parts.hostname:
        raise problem
    if key is not None and not isinstance(key, str):
        raise ConfigError(f"chain {spec.name}: options.safe_service_key is not text")
    return SafeService(url, key, spec.timeout_seconds)


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 80:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
