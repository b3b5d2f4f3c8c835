"""One run of a command: fed, waited for, its whole process group killed when time is up or nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Ended", "run"]

LAST_WORDS_SECONDS = 0.5  # for a standard error that a child of the command holds open


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: ``code`` as of `subprocess` (negative: a signal), None where time was up."""

    code: int | None
    error: bytes  # the end of its standard error


async def run(
    arguments: Sequence[str], env: Mapping[str, str], given: bytes, seconds: float, keep: int = 4096
) -> Ended:
    """Run a program without a shell, ``given`` on its standard input; its standard output is thrown away.

    Parameters
    ----------
    env : the whole environment
    seconds : after so many the process and all others of its group are killed
    keep : bytes of the standard error that are kept, the last ones

    Raises
    ------
    OSError, ValueError : the program cannot be started
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=pipe, stdout=asyncio.subprocess.DEVNULL, stderr=pipe, env=dict(env), start_new_session=True
    )
    tail = bytearray()
    feeding = asyncio.create_task(_feed(process, given))
    hearing = asyncio.create_task(_hear(process, tail, keep))
    ended = False
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
        ended = True
        await asyncio.wait((hearing,), timeout=LAST_WORDS_SECONDS)
    except TimeoutError:
        pass
    finally:
        if not ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        for task in (feeding, hearing):
            task.cancel()
        await asyncio.gather(feeding, hearing, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]  # pipes that a child still holds stay open otherwise
    return Ended(process.returncode if ended else None, bytes(tail))


async def _feed(process: asyncio.subprocess.Process, given: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # a command need not read
        process.stdin.write(given)
        await process.stdin.drain()
    with contextlib.suppress(ConnectionError):
        process.stdin.close()
        await process.stdin.wait_closed()


async def _hear(process: asyncio.subprocess.Process, tail: bytearray, keep: int) -> None:
    assert process.stderr is not None
    while piece := await process.stderr.read(keep):
        tail += piece
        del tail[:-keep]
