"""One run of a command: fed, waited for, its whole process group killed when time is up or nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
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
    reading, writing = os.pipe()
    try:
        with tempfile.TemporaryFile() as told:  # a file can be written whole before anybody reads
            told.write(given)
            told.seek(0)
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=told,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=writing,
                env=dict(env),
                start_new_session=True,
            )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    # The process has no pipe of asyncio's: `wait` would wait for whoever else holds its other end.
    tail = bytearray()
    hearing = asyncio.create_task(_hear(reading, tail, keep))
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
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
    return Ended(process.returncode if ended else None, bytes(tail))


async def _hear(reading: int, tail: bytearray, keep: int) -> None:
    """Read a pipe to its end; its last ``keep`` bytes are left in ``tail``."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
    try:
        while piece := await reader.read(keep):
            tail += piece
            del tail[:-keep]
    finally:
        transport.close()
